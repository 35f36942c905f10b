package contact

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"time"

	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/consent"
	"github.com/mimid/mimid/protocol/presentation"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/store"
)

const version = 1

// Kinds of keys in store.SpaceConsent, see the package documentation.
const (
	given           = 1 // what own users decided
	asked           = 2 // what own users asked for, and heard
	pendingTarget   = 3
	pendingProvider = 4
	countGiven      = 5
	countAsked      = 6
	decoyKind       = 7
	modeKind        = 8
	heldKind        = 9
	heldWelcome     = 10
	heldOfTarget    = 11
	heldOctets      = 12
	heldOfPair      = 13
	heldOfProvider  = 14
	pendingPair     = 15
)

// scope says whose consent is meant, and for whom and where.
type scope struct {
	requester, target uri.User
	room              uri.Room // zero: any
}

// record is a scope's state as stored.
type record struct {
	scope
	state   consent.State
	changed uint64
	invited []byte // consent.Invitation, while it waits for an answer; nil if it is none
}

// key puts the own user first, so that a user's scopes lie together.
func (sc scope) key(side byte) store.Key {
	first, second := sc.target, sc.requester
	if side == asked {
		first, second = sc.requester, sc.target
	}
	b := append([]byte{side}, first.String()...)
	b = append(append(b, 0), second.String()...)
	return store.SpaceConsent.Key(append(append(b, 0), sc.room.String()...))
}

func parseScope(side byte, k store.Key) (sc scope, err error) {
	name, err := store.SpaceConsent.Parse(k)
	if err != nil {
		return sc, err
	}
	parts := bytes.Split(name[1:], []byte{0})
	if len(parts) != 3 {
		return sc, fmt.Errorf("%w: key of %d parts", ErrDamaged, len(parts))
	}
	first, err1 := uri.ParseUser(string(parts[0]))
	second, err2 := uri.ParseUser(string(parts[1]))
	err3 := sc.room.UnmarshalText(parts[2])
	if err := errors.Join(err1, err2, err3); err != nil {
		return sc, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	sc.target, sc.requester = first, second
	if side == asked {
		sc.target, sc.requester = second, first
	}
	return sc, nil
}

func (rec *record) parse(b []byte) error {
	r := presentation.NewReader(b)
	if v := r.U8(); v != version && r.Err() == nil {
		return fmt.Errorf("%w: consent of version %d", ErrDamaged, v)
	}
	rec.state, rec.changed = consent.State(r.U8()), r.U64()
	if !r.Empty() {
		rec.invited = r.Opaque()
	}
	if err := r.Done(); err != nil {
		return fmt.Errorf("%w: consent: %w", ErrDamaged, err)
	}
	return nil
}

// readState returns None for a scope that nothing was said of.
func readState(tx *store.Tx, side byte, sc scope) (record, error) {
	rec := record{scope: sc}
	b, err := tx.Get(sc.key(side))
	if errors.Is(err, store.ErrNotFound) {
		return rec, nil
	}
	if err == nil {
		err = rec.parse(b)
	}
	if err != nil {
		return rec, fmt.Errorf("reading consent: %w", err)
	}
	return rec, nil
}

// scopesOf are the scopes in which a user gave consent, or asked for it.
func scopesOf(tx *store.Tx, side byte, user uri.User) iter.Seq2[record, error] {
	return scopesWith(tx, side, append(append([]byte{side}, user.String()...), 0))
}

func allScopes(tx *store.Tx, side byte) iter.Seq2[record, error] {
	return scopesWith(tx, side, []byte{side})
}

func scopesWith(tx *store.Tx, side byte, prefix []byte) iter.Seq2[record, error] {
	return func(yield func(record, error) bool) {
		for it, err := range tx.Scan(store.Scan{Prefix: store.SpaceConsent.Prefix(prefix)}) {
			var rec record
			if err == nil {
				rec.scope, err = parseScope(side, it.Key)
			}
			if err == nil {
				err = rec.parse(it.Value)
			}
			if !yield(rec, err) || err != nil {
				return
			}
		}
	}
}

// write stores a new state and counts: scopes of the user, and pending requests.
func (s *Service) write(tx *store.Tx, side byte, sc scope, old record, next consent.State, invited []byte, now time.Time) error {
	user, counter := sc.target, byte(countGiven)
	if side == asked {
		user, counter = sc.requester, countAsked
	}
	n, err := add(tx, counter, user.String(), entries(next)-entries(old.state))
	if err != nil {
		return err
	}
	if n > s.cfg.Limits.Scopes && next != consent.None && old.state == consent.None {
		return problem(http.StatusTooManyRequests, clientapi.CodeTooMany,
			"%s has consent with %d others, which is the limit: take some back", user, s.cfg.Limits.Scopes)
	}
	if side == given {
		change := pending(next) - pending(old.state)
		if _, err := add(tx, pendingTarget, sc.target.String(), change); err != nil {
			return err
		}
		if _, err := add(tx, pendingProvider, sc.requester.Provider().Domain(), change); err != nil {
			return err
		}
		if _, err := add(tx, pendingPair, sc.pair(), change); err != nil {
			return err
		}
	}
	if next == consent.None {
		return tx.Delete(sc.key(side))
	}
	b := presentation.AppendU64([]byte{version, byte(next)}, uint64(max(now.UnixMilli(), 0)))
	if (next == consent.Requested || next == consent.Held) && invited != nil {
		b = presentation.AppendOpaque(b, invited)
	}
	return tx.Set(sc.key(side), b)
}

func entries(s consent.State) int {
	if s == consent.None {
		return 0
	}
	return 1
}

func pending(s consent.State) int {
	if s == consent.Requested || s == consent.Held {
		return 1
	}
	return 0
}

// pair names a target and a requester's provider.
func (sc scope) pair() string { return sc.target.String() + "\x00" + sc.requester.Provider().Domain() }

// add changes a counter and returns it. A counter of 0 has no key.
func add(tx *store.Tx, kind byte, name string, change int) (int, error) {
	k := store.SpaceConsent.Key(append([]byte{kind}, name...))
	n := 0
	b, err := tx.Get(k)
	if err == nil {
		r := presentation.NewReader(b)
		if v := r.U8(); v != version && r.Err() == nil {
			return 0, fmt.Errorf("%w: counter of version %d", ErrDamaged, v)
		}
		n = int(r.U32())
		if err := r.Done(); err != nil {
			return 0, fmt.Errorf("%w: counter: %w", ErrDamaged, err)
		}
	} else if !errors.Is(err, store.ErrNotFound) {
		return 0, fmt.Errorf("reading counter: %w", err)
	}
	if change == 0 {
		return n, nil
	}
	if n += change; n <= 0 {
		return 0, tx.Delete(k)
	}
	return n, tx.Set(k, presentation.AppendU32([]byte{version}, uint32(n)))
}

// decoy writes as much as a state, so that the answer does not come sooner when
// there is nothing to write: what takes time is that the disk has it.
func (s *Service) decoy(tx *store.Tx, now time.Time) error {
	return tx.Set(store.SpaceConsent.Key([]byte{decoyKind}), presentation.AppendU64([]byte{version, 0}, uint64(max(now.UnixMilli(), 0))))
}
