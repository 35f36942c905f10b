package knocks

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/knock"
	"github.com/mimid/mimid/protocol/presentation"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/store"
)

const version = 1

// Kinds of keys, see the package documentation.
const (
	kindOwn      = 1
	kindHeld     = 2
	kindRoom     = 3
	kindProvider = 4
	kindAll      = 5
	kindUser     = 6
	kindShare    = 7
)

// ownState is where an own user's knock is. The numbers are stored.
type ownState uint8

const (
	asking     ownState = 1
	waiting    ownState = 2
	cancelling ownState = 3
	cancelled  ownState = 4
	refused    ownState = 5
	inside     ownState = 6
	closed     ownState = 7
	expired    ownState = 8
)

var ownNames = [...]string{asking: clientapi.KnockAsking, waiting: clientapi.KnockWaiting, cancelling: clientapi.KnockCancelling,
	cancelled: clientapi.KnockCancelled, refused: clientapi.KnockRefused, inside: clientapi.KnockInside, closed: clientapi.KnockClosed,
	expired: clientapi.KnockExpired}

func (s ownState) String() string { return ownNames[s] }

// pending: there is something to bring to the hub, now or again.
func (s ownState) pending() bool { return s == asking || s == waiting || s == cancelling }

// ownKey names an own user's knock.
type ownKey struct {
	user uri.User
	room uri.Room
}

func (k ownKey) key() store.Key {
	return store.SpaceKnocks.Key(append(append(append([]byte{kindOwn}, k.user.String()...), 0), k.room.String()...))
}

func parseOwnKey(k store.Key) (out ownKey, err error) {
	name, err := store.SpaceKnocks.Parse(k)
	if err != nil || len(name) == 0 {
		return out, fmt.Errorf("%w: key %v", ErrDamaged, k)
	}
	user, name2, ok := bytes.Cut(name[1:], []byte{0})
	if !ok {
		return out, fmt.Errorf("%w: key %v", ErrDamaged, k)
	}
	var err2 error
	out.user, err = uri.ParseUser(string(user))
	out.room, err2 = uri.ParseRoom(string(name2))
	if err := errors.Join(err, err2); err != nil {
		return out, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return out, nil
}

// own is an own user's knock. The zero value is none.
type own struct {
	state   ownState
	issued  time.Time
	changed time.Time
	hub     string // who was asked last, or is being asked
	text    string // of a refusal
	word    []byte // the newest word
}

func (o *own) bytes() []byte {
	b := presentation.AppendU64([]byte{version, byte(o.state)}, millis(o.issued))
	b = presentation.AppendU64(b, millis(o.changed))
	b = presentation.AppendOpaque(b, []byte(o.hub))
	b = presentation.AppendOpaque(b, []byte(o.text))
	return presentation.AppendOpaque(b, o.word)
}

func parseOwn(b []byte) (*own, error) {
	r := presentation.NewReader(b)
	v := r.U8()
	o := &own{state: ownState(r.U8()), issued: timeOf(r.U64()), changed: timeOf(r.U64()), hub: string(r.Opaque()), text: string(r.Opaque()), word: r.Opaque()}
	if err := r.Done(); err != nil || v != version || o.state < asking || o.state > expired {
		return nil, fmt.Errorf("%w: version %d, state %d, %v", ErrDamaged, v, o.state, err)
	}
	return o, nil
}

// readOwn returns a zero own, whose state is 0, if there is none.
func readOwn(tx *store.Tx, k ownKey) (*own, error) {
	b, err := tx.Get(k.key())
	if errors.Is(err, store.ErrNotFound) {
		return &own{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading own knock: %w", err)
	}
	return parseOwn(b)
}

// writeOwn stores an own knock, and counts it if it is new.
func writeOwn(tx *store.Tx, k ownKey, was ownState, o *own) error {
	if was == 0 {
		if _, err := add(tx, kindUser, []byte(k.user.String()), 1); err != nil {
			return err
		}
	}
	return tx.Set(k.key(), o.bytes())
}

func deleteOwn(tx *store.Tx, k ownKey) error {
	if _, err := add(tx, kindUser, []byte(k.user.String()), -1); err != nil {
		return err
	}
	return tx.Delete(k.key())
}

// ownsOf are a user's knocks; a zero user means everybody's.
func ownsOf(tx *store.Tx, u uri.User) iter.Seq2[ownKey, *own] {
	return func(yield func(ownKey, *own) bool) {
		prefix := []byte{kindOwn}
		if !u.IsZero() {
			prefix = append(append(prefix, u.String()...), 0)
		}
		for it, err := range tx.Scan(store.Scan{Prefix: store.SpaceKnocks.Prefix(prefix)}) {
			if err != nil {
				return
			}
			k, err := parseOwnKey(it.Key)
			if err != nil {
				continue // `mimid verify` names it; one damaged record shall not hide the others
			}
			o, err := parseOwn(it.Value)
			if err != nil {
				continue
			}
			if !yield(k, o) {
				return
			}
		}
	}
}

// held is what a hub, or who has its copy, keeps of a user at a room.
type held struct {
	knock.Record
	word []byte   // while the user waits
	told []string // likewise: the providers that have been shown it, by this one as the hub
}

// maxTold is how many providers a knock is shown to.
const maxTold = 256

type heldKey struct {
	room room.ID
	user uri.User
}

func (k heldKey) key() store.Key {
	return store.SpaceKnocks.Key(append(append([]byte{kindHeld}, k.room[:]...), k.user.String()...))
}

func parseHeldKey(k store.Key) (out heldKey, err error) {
	name, err := store.SpaceKnocks.Parse(k)
	if err != nil || len(name) < 1+len(out.room) {
		return out, fmt.Errorf("%w: key %v", ErrDamaged, k)
	}
	out.room = room.ID(name[1 : 1+len(out.room)])
	if out.user, err = uri.ParseUser(string(name[1+len(out.room):])); err != nil {
		return out, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return out, nil
}

func (h *held) bytes() []byte {
	b := presentation.AppendU64([]byte{version, byte(h.State)}, millis(h.Issued))
	b = presentation.AppendOpaque(presentation.AppendU64(b, millis(h.Since)), h.word)
	return presentation.AppendList(b, func(b []byte) []byte {
		for _, d := range h.told {
			b = presentation.AppendOpaque(b, []byte(d))
		}
		return b
	})
}

func parseHeld(b []byte) (*held, error) {
	r := presentation.NewReader(b)
	v := r.U8()
	h := &held{Record: knock.Record{State: knock.State(r.U8()), Issued: timeOf(r.U64()), Since: timeOf(r.U64())}, word: r.Opaque()}
	r.List(maxTold, func() { h.told = append(h.told, string(r.Opaque())) })
	if err := r.Done(); err != nil || v != version || h.State == knock.None || h.State > knock.Refused {
		return nil, fmt.Errorf("%w: version %d, state %d, %v", ErrDamaged, v, h.State, err)
	}
	return h, nil
}

// readHeld returns a zero held if there is none.
func readHeld(tx *store.Tx, k heldKey) (*held, error) {
	b, err := tx.Get(k.key())
	if errors.Is(err, store.ErrNotFound) {
		return &held{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading knock: %w", err)
	}
	return parseHeld(b)
}

// writeHeld stores a record in place of another, and counts.
func writeHeld(tx *store.Tx, k heldKey, was knock.State, h *held) error {
	change := 0
	switch {
	case was == knock.None && h.State != knock.None:
		change = 1
	case was != knock.None && h.State == knock.None:
		change = -1
	}
	if change != 0 {
		for _, c := range countersOf(k) {
			if _, err := add(tx, c.kind, c.name, change); err != nil {
				return err
			}
		}
	}
	if h.State == knock.None {
		if was == knock.None {
			return nil
		}
		return tx.Delete(k.key())
	}
	if h.State != knock.Waiting {
		h.word, h.told = nil, nil
	}
	return tx.Set(k.key(), h.bytes())
}

type counter struct {
	kind byte
	name []byte
}

func countersOf(k heldKey) [4]counter {
	domain := []byte(k.user.Provider().Domain())
	return [4]counter{{kindRoom, k.room[:]}, {kindProvider, domain}, {kindAll, nil}, {kindShare, slices.Concat(k.room[:], domain)}}
}

// heldOf are the records of a room; a zero id means all rooms'. What is damaged is left out.
func heldOf(tx *store.Tx, id room.ID) iter.Seq2[heldKey, *held] {
	return func(yield func(heldKey, *held) bool) {
		prefix := []byte{kindHeld}
		if id != (room.ID{}) {
			prefix = append(prefix, id[:]...)
		}
		for it, err := range tx.Scan(store.Scan{Prefix: store.SpaceKnocks.Prefix(prefix)}) {
			if err != nil {
				return
			}
			k, err := parseHeldKey(it.Key)
			if err != nil {
				continue
			}
			h, err := parseHeld(it.Value)
			if err != nil {
				continue
			}
			if !yield(k, h) {
				return
			}
		}
	}
}

// add changes a counter and returns it. A counter of 0 has no key.
func add(tx *store.Tx, kind byte, name []byte, change int) (int, error) {
	k := store.SpaceKnocks.Key(append([]byte{kind}, name...))
	n := 0
	b, err := tx.Get(k)
	if err == nil {
		r := presentation.NewReader(b)
		v := r.U8()
		n = int(r.U32())
		if err := r.Done(); err != nil || v != version {
			return 0, fmt.Errorf("%w: counter of version %d, %v", ErrDamaged, v, err)
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

func millis(t time.Time) uint64 { return uint64(max(0, t.UnixMilli())) }

func timeOf(ms uint64) time.Time { return time.UnixMilli(int64(ms & (1<<48 - 1))) }
