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
	kindKey     = 1
	kindAsked   = 2
	kindSpent   = 3
	kindPending = 4
	kindTarget  = 5
	kindCount   = 6
	kindDecoy   = 7

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

// Forget deletes what is of days that are over, of weeks whose tokens are taken no longer, and
// requests that have waited too long.
func (s *Service) Forget(ctx context.Context) error {
	now := s.cfg.Now()
	week := introduction.WeekOf(now)
	if week > 0 && (week - 1).Takes(now) {
		week--
	}
	for _, x := range []struct {
		kind   byte
		before uint32
	}{{kindKey, uint32(week)}, {kindAsked, uint32(dayOf(now))}, {kindSpent, uint32(week)}, {kindCount, uint32(week)}} {
		old := func(it store.Item) (bool, error) {
			n, err := numberOf(it.Key)
			return n < x.before, err
		}
		if err := s.deleteWhile(ctx, x.kind, old); err != nil {
			return err
		}
	}
	return s.dropOld(ctx, now)
}

// deleteWhile deletes the records of a kind from the first on while they are old.
func (s *Service) deleteWhile(ctx context.Context, kind byte, old func(store.Item) (bool, error)) error {
	for more := true; more; {
		err := s.cfg.Store.Update(ctx, func(tx *store.Tx) error {
			var keys []store.Key
			for it, err := range tx.Scan(store.Scan{Prefix: store.SpaceTokens.Prefix([]byte{kind}), KeysOnly: true, Limit: forgetAtOnce}) {
				if err != nil {
					return err
				}
				yes, err := old(it)
				if err != nil {
					return err
				}
				if !yes {
					break
				}
				keys = append(keys, it.Key)
			}
			more = len(keys) == forgetAtOnce
			for _, k := range keys {
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
	return nil
}

// dropOld drops requests that nobody has answered, or followed, in time.
func (s *Service) dropOld(ctx context.Context, now time.Time) error {
	var from store.Key
	for more := true; more; {
		var handles []introduction.Handle
		err := s.cfg.Store.View(func(tx *store.Tx) error {
			n := 0
			for it, err := range tx.Scan(store.Scan{Prefix: store.SpaceTokens.Prefix([]byte{kindPending}), From: from, Limit: forgetAtOnce}) {
				if err != nil {
					return err
				}
				h, p, err := pendingOf(it)
				if err != nil {
					return err
				}
				if n++; !now.Before(p.until) {
					handles = append(handles, h)
				}
				from = store.SpaceTokens.Key(append(append([]byte{kindPending}, h[:]...), 0)) // the next one
			}
			more = n == forgetAtOnce
			return nil
		})
		if err == nil && len(handles) > 0 {
			err = s.cfg.Store.Update(ctx, func(tx *store.Tx) error {
				for _, h := range handles {
					p, err := readPending(tx, h)
					if err != nil {
						return err
					}
					if p != nil && !now.Before(p.until) { // a yes may have come
						if err := p.drop(tx, h); err != nil {
							return err
						}
					}
				}
				return nil
			})
		}
		if err != nil {
			return fmt.Errorf("dropping old anonymous requests: %w", err)
		}
	}
	return nil
}

// pendingOf reads a record of kindPending.
func pendingOf(it store.Item) (h introduction.Handle, p *pending, err error) {
	name, err := store.SpaceTokens.Parse(it.Key)
	if err != nil || len(name) != 1+len(h) {
		return h, nil, fmt.Errorf("%w: a key of %d octets", ErrDamaged, len(name))
	}
	b, err := body(it.Value)
	if err != nil {
		return h, nil, err
	}
	p, err = parsePending(b)
	return introduction.Handle(name[1:]), p, err
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
	case kindSpent:
		r.U32()
		r.Fixed(2 * len(hash{}))
		if r.Done() == nil && len(b) == len(hash{}) {
			return nil
		}
	case kindPending:
		_, _, err := pendingOf(it)
		return err
	case kindTarget:
		if _, _, err := parseTarget(it.Key); err != nil {
			return err
		}
		return checkDomain(b)
	case kindCount:
		if r.U32(); r.Err() == nil {
			_, err := parseCount(b)
			return errors.Join(err, checkDomain(r.Rest()))
		}
	case kindDecoy:
		if r.Done() == nil {
			_, err := parsePending(b)
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

func checkDomain(b []byte) error {
	if p, err := uri.ParseDomain(string(b)); err != nil || p.Domain() != string(b) {
		return fmt.Errorf("%w: no domain", ErrDamaged)
	}
	return nil
}
