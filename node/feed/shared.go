package feed

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/mimid/mimid/protocol/presentation"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/store"
)

// PutAll is Put for several users. What they are told is stored once, since a Welcome with
// its tree, for each of the users whom a commit adds, would be more than a transaction holds.
func (f *Feed) PutAll(tx *store.Tx, users []uri.User, event string, data any) error {
	if len(users) == 0 {
		return nil
	}
	j, err := json.Marshal(data)
	if err != nil {
		return fmt.Errorf("encoding %s event: %w", event, err)
	}
	if len(users) == 1 && len(j) <= pieceBytes {
		return f.Put(tx, users[0], event, json.RawMessage(j))
	}
	hash := sha256.Sum256(j)
	n, err := uses(tx, hash)
	if err != nil {
		return err
	}
	if n == 0 {
		i := uint16(0)
		for piece := range slices.Chunk(j, pieceBytes) {
			if err := tx.Set(pieceKey(hash, i), presentation.AppendOpaque([]byte{version}, piece)); err != nil {
				return err
			}
			i++
		}
	}
	if err := setUses(tx, hash, n+uint64(len(users))); err != nil {
		return err
	}
	v := append(presentation.AppendOpaque([]byte{versionShared}, []byte(event)), hash[:]...)
	at := make([]uint64, len(users))
	for i, u := range users {
		if at[i], err = f.Next(tx); err != nil {
			return err
		}
		if err := tx.Set(userKey('i', u, binary.BigEndian.AppendUint64(nil, at[i])), v); err != nil {
			return err
		}
		if err := f.trim(tx, u, at[i]); err != nil {
			return err
		}
	}
	tx.OnCommit(func() {
		for i, u := range users {
			f.push([]uri.User{u}, at[i], event, j)
		}
	})
	return nil
}

// pieceBytes is the most of a text that is one value in the store: the Welcome into a room of
// a thousand is more than any value may have.
const pieceBytes = 64 << 10

func pieceKey(hash [sha256.Size]byte, i uint16) store.Key {
	return store.SpaceFeed.Key(binary.BigEndian.AppendUint16(append([]byte{'s'}, hash[:]...), i))
}

// pieces are those of a text, in order.
func pieces(hash [sha256.Size]byte) store.Scan {
	return store.Scan{Prefix: store.SpaceFeed.Prefix(append([]byte{'s'}, hash[:]...))}
}

func sharedKey(kind byte, hash [sha256.Size]byte) store.Key {
	return store.SpaceFeed.Key(append([]byte{kind}, hash[:]...))
}

// uses reads how many events name what is shared, 0 if it is not there.
func uses(tx *store.Tx, hash [sha256.Size]byte) (uint64, error) {
	b, err := tx.Get(sharedKey('u', hash))
	if errors.Is(err, store.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return parseUses(b)
}

func parseUses(b []byte) (uint64, error) {
	r := presentation.NewReader(b)
	v, n := r.U8(), r.U64()
	if err := r.Done(); err != nil || v != version || n == 0 {
		return 0, fmt.Errorf("%d uses of version %d: %w", n, v, store.ErrCorrupted)
	}
	return n, nil
}

func setUses(tx *store.Tx, hash [sha256.Size]byte, n uint64) error {
	if n > 0 {
		return tx.Set(sharedKey('u', hash), presentation.AppendU64([]byte{version}, n))
	}
	var keys []store.Key
	of := pieces(hash)
	of.KeysOnly = true
	for it, err := range tx.Scan(of) {
		if err != nil {
			return err
		}
		keys = append(keys, it.Key)
	}
	for _, k := range append(keys, sharedKey('u', hash)) {
		if err := tx.Delete(k); err != nil {
			return err
		}
	}
	return nil
}

// forget deletes a user's event, and what it names if no other does.
func forget(tx *store.Tx, k store.Key) error {
	b, err := tx.Get(k)
	if err != nil {
		return err
	}
	ev, err := parseInbox(b)
	if err != nil {
		return err
	}
	if ev.shared {
		n, err := uses(tx, ev.hash)
		if err == nil && n == 0 {
			err = fmt.Errorf("an event names what is not there: %w", store.ErrCorrupted)
		}
		if err == nil {
			err = setUses(tx, ev.hash, n-1)
		}
		if err != nil {
			return err
		}
	}
	return tx.Delete(k)
}

// inboxEvent is a stored event of a user's own.
type inboxEvent struct {
	event  string
	data   []byte
	shared bool // then data is under hash
	hash   [sha256.Size]byte
}

func parseInbox(b []byte) (ev inboxEvent, err error) {
	r := presentation.NewReader(b)
	v := r.U8()
	ev.event = string(r.Opaque())
	if ev.shared = v == versionShared; ev.shared {
		copy(ev.hash[:], r.Fixed(len(ev.hash)))
	} else {
		ev.data = r.Opaque()
	}
	if err := r.Done(); err != nil || v != version && v != versionShared {
		return ev, fmt.Errorf("event of version %d: %w", v, store.ErrCorrupted)
	}
	return ev, nil
}

// read returns what the event says.
func (ev *inboxEvent) read(tx *store.Tx) ([]byte, error) {
	if !ev.shared {
		return ev.data, nil
	}
	var data []byte
	for it, err := range tx.Scan(pieces(ev.hash)) {
		if err != nil {
			return nil, fmt.Errorf("reading what several users are told: %w", err)
		}
		piece, err := parsePiece(it.Value)
		if err != nil {
			return nil, err
		}
		data = append(data, piece...)
	}
	if sha256.Sum256(data) != ev.hash {
		return nil, fmt.Errorf("what several users are told is not there, or not whole: %w", store.ErrCorrupted)
	}
	return data, nil
}

func parsePiece(b []byte) ([]byte, error) {
	r := presentation.NewReader(b)
	v, piece := r.U8(), r.Opaque()
	if err := r.Done(); err != nil || v != version {
		return nil, fmt.Errorf("what several users are told, of version %d: %w", v, store.ErrCorrupted)
	}
	return piece, nil
}
