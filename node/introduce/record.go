package introduce

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/mimid/mimid/protocol/introduction"
	"github.com/mimid/mimid/protocol/presentation"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/store"
)

// Kinds of keys in store.SpaceTokens, see the package documentation.
const (
	kindKey   = 1
	kindAsked = 2

	recordVersion = 1
	maxKey        = 2 << 10 // of a private key, in octets
)

type hash = [32]byte

// day counts days of UTC since 1970 began.
type day uint32

const dayLength = 24 * time.Hour

func dayOf(t time.Time) day {
	return day(min(uint64(max(t.Unix(), 0))/uint64(dayLength/time.Second), 1<<32-1))
}

func (d day) ends() time.Time { return time.Unix((int64(d)+1)*int64(dayLength/time.Second), 0) }

func numbered(kind byte, n uint32, rest ...[]byte) store.Key {
	b := binary.BigEndian.AppendUint32([]byte{kind}, n)
	for _, r := range rest {
		b = append(b, r...)
	}
	return store.SpaceTokens.Key(b)
}

func weekKey(w introduction.Week) store.Key { return numbered(kindKey, uint32(w)) }
func askedKey(d day, user uri.User) store.Key {
	return numbered(kindAsked, uint32(d), []byte(user.String()))
}

// get reads a value behind its version; nil if there is none.
func get(tx *store.Tx, k store.Key) ([]byte, error) {
	b, err := tx.Get(k)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading tokens: %w", err)
	}
	return body(b)
}

func body(b []byte) ([]byte, error) {
	if len(b) < 2 || b[0] != recordVersion {
		return nil, fmt.Errorf("%w: %d octets, or a version from the future", ErrDamaged, len(b))
	}
	return b[1:], nil
}

// readKey returns nil if the week has no key.
func readKey(tx *store.Tx, w introduction.Week) ([]byte, error) {
	b, err := get(tx, weekKey(w))
	if err == nil && len(b) > maxKey {
		err = fmt.Errorf("%w: a key of %d octets", ErrDamaged, len(b))
	}
	if err != nil || b == nil {
		return nil, err
	}
	return append([]byte(nil), b...), nil
}

func readAsked(tx *store.Tx, d day, user uri.User) ([]hash, error) {
	b, err := get(tx, askedKey(d, user))
	if err != nil || b == nil {
		return nil, err
	}
	return parseAsked(b)
}

func parseAsked(b []byte) (out []hash, err error) {
	if len(b)%len(hash{}) != 0 || len(b) > MaxPerDay*len(hash{}) {
		return nil, fmt.Errorf("%w: %d octets of what was asked for", ErrDamaged, len(b))
	}
	for ; len(b) > 0; b = b[len(hash{}):] {
		out = append(out, hash(b[:len(hash{})]))
	}
	return out, nil
}

func appendAsked(l []hash) []byte {
	b := []byte{recordVersion}
	for _, h := range l {
		b = append(b, h[:]...)
	}
	return b
}

// forgetAtOnce is how many records one transaction deletes.
const forgetAtOnce = 500

// Forget deletes what is of days that are over, and of weeks whose tokens are taken no longer.
func (s *Service) Forget(ctx context.Context) error {
	now := s.cfg.Now()
	week := introduction.WeekOf(now)
	if week > 0 && (week - 1).Takes(now) {
		week--
	}
	for _, x := range []struct {
		kind   byte
		before uint32
	}{{kindKey, uint32(week)}, {kindAsked, uint32(dayOf(now))}} {
		for more := true; more; {
			err := s.cfg.Store.Update(ctx, func(tx *store.Tx) error {
				var old []store.Key
				for it, err := range tx.Scan(store.Scan{Prefix: store.SpaceTokens.Prefix([]byte{x.kind}), KeysOnly: true}) {
					if err != nil {
						return err
					}
					n, err := numberOf(it.Key)
					if err != nil {
						return err
					}
					if n >= x.before || len(old) == forgetAtOnce {
						break
					}
					old = append(old, it.Key)
				}
				more = len(old) == forgetAtOnce
				for _, k := range old {
					if err := tx.Delete(k); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				return fmt.Errorf("deleting old tokens: %w", err)
			}
		}
	}
	return nil
}

// numberOf is the week or day in a key.
func numberOf(k store.Key) (uint32, error) {
	name, err := store.SpaceTokens.Parse(k)
	if err != nil || len(name) < 5 {
		return 0, fmt.Errorf("%w: a key of %d octets", ErrDamaged, len(name))
	}
	return binary.BigEndian.Uint32(name[1:]), nil
}

// Check says whether a record of store.SpaceTokens is one that this package writes. Its errors
// quote neither users nor keys. Error: ErrDamaged.
func Check(it store.Item) error {
	name, err := store.SpaceTokens.Parse(it.Key)
	if err != nil || len(name) == 0 {
		return fmt.Errorf("%w: a key without a kind", ErrDamaged)
	}
	b, err := body(it.Value)
	if err != nil {
		return err
	}
	r := presentation.NewReader(name[1:])
	switch name[0] {
	case kindKey:
		if r.U32(); r.Done() == nil {
			_, err := parseIssuer(b)
			return err
		}
	case kindAsked:
		r.U32()
		if _, err := uri.ParseUser(string(r.Rest())); err == nil && r.Err() == nil {
			_, err := parseAsked(b)
			return err
		}
	}
	return fmt.Errorf("%w: tokens of kind %d, a key of %d octets", ErrDamaged, name[0], len(name))
}
