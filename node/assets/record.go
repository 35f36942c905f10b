package assets

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/mimid/mimid/protocol/asset"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/store"
)

// What the database holds, in store.SpaceAssets, integers big-endian:
//
//	01 user 00 hash[32]   what a user keeps here or uploads:
//	                        uint8 version = 1; uint8 state (0 upload, 1 asset);
//	                        uint64 size; uint64 begun; uint64 changed; (both Unix ms)
//	                        state 0: uint64 offset; opaque file[16]; opaque hashing[...]
//	02 hash[32] user      an asset of that user: empty
//	03 user               uint64 octets, with those still to come; uint32 assets; uint32 uploads
//	04                    uint64 octets of all users
//
// user is the user's URI. hashing is the standard library's encoding of a SHA-256 under
// way; one that another version of it cannot read is made anew from the file.
const (
	kindOwned = 0x01
	kindAsset = 0x02
	kindUsed  = 0x03
	kindTotal = 0x04

	recordVersion = 1
	fixedLength   = 1 + 1 + 8 + 8 + 8
	maxHashing    = 256
)

// errRecord means damage of the database.
var errRecord = errors.New("assets: a record cannot be read")

// record is an asset or an upload of one user.
type record struct {
	user string
	hash asset.Hash

	complete       bool
	size           int64
	begun, changed time.Time
	// Of an upload:
	offset  int64
	file    [16]byte
	hashing []byte
}

func ownedKey(user string, h asset.Hash) store.Key {
	return store.SpaceAssets.Key(append(append(append([]byte{kindOwned}, user...), 0), h[:]...))
}

func ownedPrefix(user string) store.Prefix {
	return store.SpaceAssets.Prefix(append(append([]byte{kindOwned}, user...), 0))
}

func assetKey(h asset.Hash, user string) store.Key {
	return store.SpaceAssets.Key(append(append([]byte{kindAsset}, h[:]...), user...))
}

func assetPrefix(h asset.Hash) store.Prefix {
	return store.SpaceAssets.Prefix(append([]byte{kindAsset}, h[:]...))
}

func usedKey(user string) store.Key { return store.SpaceAssets.Key(append([]byte{kindUsed}, user...)) }

func totalKey() store.Key { return store.SpaceAssets.Key([]byte{kindTotal}) }

func (r *record) bytes() []byte {
	b := []byte{recordVersion, 0}
	if r.complete {
		b[1] = 1
	}
	for _, n := range []int64{r.size, r.begun.UnixMilli(), r.changed.UnixMilli()} {
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	if r.complete {
		return b
	}
	b = binary.BigEndian.AppendUint64(b, uint64(r.offset))
	return append(append(b, r.file[:]...), r.hashing...)
}

// parseOwned reads a record with its key.
func parseOwned(it store.Item) (*record, error) {
	name, err := store.SpaceAssets.Parse(it.Key)
	if err != nil {
		return nil, err
	}
	r := new(record)
	end := len(name) - len(r.hash) - 1
	if end < 1 || name[0] != kindOwned || name[end] != 0 {
		return nil, fmt.Errorf("%w: key of %d octets", errRecord, len(name))
	}
	r.user = string(name[1:end])
	copy(r.hash[:], name[end+1:])
	if _, err := uri.ParseUser(r.user); err != nil {
		return nil, fmt.Errorf("%w: %w", errRecord, err)
	}
	return r, r.parse(it.Value)
}

func (r *record) parse(b []byte) error {
	if len(b) < fixedLength || b[0] != recordVersion || b[1] > 1 {
		return fmt.Errorf("%w: %d octets, or another version", errRecord, len(b))
	}
	number := func(at int) int64 { return int64(binary.BigEndian.Uint64(b[at:])) }
	r.complete, r.size = b[1] == 1, number(2)
	r.begun, r.changed = time.UnixMilli(number(10)), time.UnixMilli(number(18))
	rest := b[fixedLength:]
	switch {
	case r.size < 1:
		return fmt.Errorf("%w: size %d", errRecord, r.size)
	case r.complete && len(rest) > 0, !r.complete && (len(rest) < 24 || len(rest) > 24+maxHashing):
		return fmt.Errorf("%w: %d octets", errRecord, len(b))
	case r.complete:
		r.offset = r.size
		return nil
	}
	r.offset = number(fixedLength)
	copy(r.file[:], rest[8:])
	r.hashing = append([]byte(nil), rest[24:]...)
	if r.offset < 0 || r.offset > r.size {
		return fmt.Errorf("%w: offset %d of %d", errRecord, r.offset, r.size)
	}
	return nil
}

// get returns a record, nil if there is none.
func get(tx *store.Tx, user string, h asset.Hash) (*record, error) {
	v, err := tx.Get(ownedKey(user, h))
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	r := &record{user: user, hash: h}
	return r, r.parse(v)
}

// there says whether anybody keeps the asset here.
func there(tx *store.Tx, h asset.Hash) (bool, error) {
	for _, err := range tx.Scan(store.Scan{Prefix: assetPrefix(h), Limit: 1, KeysOnly: true}) {
		return err == nil, err
	}
	return false, nil
}

// used is what a user keeps here.
type used struct {
	octets          int64
	assets, uploads uint32
}

func getUsed(tx *store.Tx, user string) (u used, err error) {
	v, err := tx.Get(usedKey(user))
	if errors.Is(err, store.ErrNotFound) {
		return u, nil
	}
	if err != nil {
		return u, err
	}
	if len(v) != 16 {
		return u, fmt.Errorf("%w: what a user keeps, %d octets", errRecord, len(v))
	}
	return used{int64(binary.BigEndian.Uint64(v)), binary.BigEndian.Uint32(v[8:]), binary.BigEndian.Uint32(v[12:])}, nil
}

func (u used) put(tx *store.Tx, user string) error {
	if u == (used{}) {
		return tx.Delete(usedKey(user))
	}
	b := binary.BigEndian.AppendUint64(nil, uint64(u.octets))
	b = binary.BigEndian.AppendUint32(b, u.assets)
	return tx.Set(usedKey(user), binary.BigEndian.AppendUint32(b, u.uploads))
}

func getTotal(tx *store.Tx) (int64, error) {
	v, err := tx.Get(totalKey())
	if errors.Is(err, store.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	if len(v) != 8 {
		return 0, fmt.Errorf("%w: the total, %d octets", errRecord, len(v))
	}
	return int64(binary.BigEndian.Uint64(v)), nil
}

// put writes a record; old is what was there, nil for nothing. It keeps the sums.
func put(tx *store.Tx, old, r *record) error {
	if err := tx.Set(ownedKey(r.user, r.hash), r.bytes()); err != nil {
		return err
	}
	if r.complete && (old == nil || !old.complete) {
		if err := tx.Set(assetKey(r.hash, r.user), nil); err != nil {
			return err
		}
	}
	return tally(tx, r.user, old, r)
}

// drop deletes a record.
func drop(tx *store.Tx, r *record) error {
	if err := tx.Delete(ownedKey(r.user, r.hash)); err != nil {
		return err
	}
	if r.complete {
		if err := tx.Delete(assetKey(r.hash, r.user)); err != nil {
			return err
		}
	}
	return tally(tx, r.user, r, nil)
}

// tally changes the sums from one record to another.
func tally(tx *store.Tx, user string, from, to *record) error {
	u, err := getUsed(tx, user)
	if err != nil {
		return err
	}
	total, err := getTotal(tx)
	if err != nil {
		return err
	}
	count := func(r *record, by int64) {
		if r == nil {
			return
		}
		u.octets += by * r.size
		total += by * r.size
		if r.complete {
			u.assets += uint32(by)
		} else {
			u.uploads += uint32(by)
		}
	}
	count(from, -1)
	count(to, 1)
	if err := u.put(tx, user); err != nil {
		return err
	}
	return tx.Set(totalKey(), binary.BigEndian.AppendUint64(nil, uint64(total)))
}
