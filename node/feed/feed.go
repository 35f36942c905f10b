// Package feed tells users' devices what happens: one order over all rooms of
// this provider, and for each device a stream that begins anywhere in it.
//
// Everything that concerns a local user gets a position when it is written: a
// batch of entries one for all its readers, a Welcome or a word about consent
// one for its user. A device's cursor is a position. So a batch is written once,
// however many devices read it, and encoded once, when it happens; a device that
// was away reads what it missed from the logs themselves.
//
// feed.go writes, and shared.go what is for several users; stream.go reads, backlog.go finds
// what a device has missed.
//
// # Keys in store.SpaceFeed, and values of version 1
//
//	'c'                        uint64 last position; uint8 id[8], drawn once: with the mark of
//	                           a store that was restored, what cursors begin with
//	'r' user 00 room[32]       uint8 version = 1; uint64 since; uint64 until:
//	                           positions between which the user takes part, both
//	                           included; until is the highest number while it does
//	'h' user 00 room[32]       uint8 version = 1; uint64 since: the user takes part, and its
//	                           devices hear nothing of it; there is no 'r', or an old one
//	'i' user 00 position[8]    uint8 version = 1; opaque type<V>; opaque json<V>:
//	                           what is for this user alone
//	                           uint8 version = 2; opaque type<V>; opaque hash[32]:
//	                           what several users are told, under its SHA-256
//	's' hash[32] index[2]      uint8 version = 1; opaque json<V>: what these are told, in
//	                           pieces; what is long is there for one user alone, too
//	'u' hash[32]               uint8 version = 1; uint64 uses: how many of 'i' name it;
//	                           it goes with the last of them
//	'n' user 00                uint8 version = 1; uint64 count; uint64 first: how many
//	                           of these there are, and the position of the oldest
//	'w' room[32] next[8]       uint8 version = 1: the Welcome of the commit before
//	                           entry next has been told
//
// A user is its URI, which holds no octet 0. Of the last kind a user has at most
// MaxInbox; then the oldest go, which 'n' finds without a look at the others.
package feed

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/presentation"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/store"
)

// MaxInbox is how many events of its own a user has in store.
const MaxInbox = 2000

const (
	version       = 1
	versionShared = 2
)

// Feed is the feed of one provider. Methods are safe for concurrent use; those
// that take a store.Tx are called inside its transaction.
type Feed struct {
	st *store.Store
	id string // tells this feed's cursors from those of another, and of what a restored store was before

	trimmed atomic.Uint64 // keys that trim has read

	mu      sync.Mutex
	streams map[uri.User]map[*Stream]struct{} // guarded by mu
	opened  uint64                            // guarded by mu: how many there were
	hidden  hiddenRooms                       // guarded by mu: who is told nothing, as it is durable
}

var counterKey = store.SpaceFeed.Key([]byte{'c'})

// Open reads the feed of a store, or begins it, for which the store must be
// running.
func Open(ctx context.Context, st *store.Store) (*Feed, error) {
	f := &Feed{st: st, streams: map[uri.User]map[*Stream]struct{}{}, hidden: hiddenRooms{}}
	err := st.Update(ctx, func(tx *store.Tx) error {
		b, err := tx.Get(counterKey)
		if errors.Is(err, store.ErrNotFound) {
			b = make([]byte, 16)
			rand.Read(b[8:])
			err = tx.Set(counterKey, b)
		}
		if err == nil && len(b) != 16 {
			err = fmt.Errorf("counter of %d bytes: %w", len(b), store.ErrCorrupted)
		}
		if err == nil {
			f.id, err = nameOf(tx, b[8:])
		}
		return err
	})
	if err == nil {
		err = f.loadHidden()
	}
	if err != nil {
		return nil, fmt.Errorf("opening feed: %w", err)
	}
	return f, nil
}

// nameOf is what cursors begin with. A store that came from a backup takes positions again that it had given away
// after the backup: by them a device would pass over what happens now.
func nameOf(tx *store.Tx, drawn []byte) (string, error) {
	mark, err := tx.Restored()
	if err != nil || mark == nil {
		return hex.EncodeToString(drawn), err
	}
	h := sha256.New()
	h.Write([]byte("mimid feed of a restored store\x00"))
	h.Write(drawn)
	h.Write(mark.Backup[:])
	h.Write(binary.BigEndian.AppendUint64(nil, uint64(mark.When.UnixMilli())))
	return hex.EncodeToString(h.Sum(nil)[:len(drawn)]), nil
}

func last(tx *store.Tx) (uint64, []byte, error) {
	b, err := tx.Get(counterKey)
	if err != nil {
		return 0, nil, fmt.Errorf("reading feed: %w", err)
	}
	return binary.BigEndian.Uint64(b), b, nil
}

// Next takes the next position.
func (f *Feed) Next(tx *store.Tx) (uint64, error) {
	pos, b, err := last(tx)
	if err != nil {
		return 0, err
	}
	pos++
	binary.BigEndian.PutUint64(b, pos)
	return pos, tx.Set(counterKey, b)
}

// Cursor is a position as clients see it.
func (f *Feed) cursor(pos uint64) string { return f.id + "." + strconv.FormatUint(pos, 10) }

// position reads a cursor; false if it is not one of this feed.
func (f *Feed) position(cursor string) (uint64, bool) {
	id, n, ok := strings.Cut(cursor, ".")
	pos, err := strconv.ParseUint(n, 10, 64)
	return pos, ok && id == f.id && err == nil
}

func userKey(kind byte, u uri.User, rest []byte) store.Key {
	return store.SpaceFeed.Key(append(userPrefix(kind, u), rest...))
}

func userPrefix(kind byte, u uri.User) []byte {
	return append(append([]byte{kind}, u.String()...), 0)
}

// membership is when a user takes part in a room.
type membership struct{ since, until uint64 }

func (m membership) bytes() []byte {
	return presentation.AppendU64(presentation.AppendU64([]byte{version}, m.since), m.until)
}

func parseMembership(b []byte) (membership, error) {
	r := presentation.NewReader(b)
	v := r.U8()
	m := membership{r.U64(), r.U64()}
	if err := r.Done(); err != nil || v != version {
		return m, fmt.Errorf("membership of version %d: %w", v, store.ErrCorrupted)
	}
	return m, nil
}

// Join notes that a local user takes part in a room from a position on. Whoever
// comes back sees also what happened in between.
func (f *Feed) Join(tx *store.Tx, u uri.User, id room.ID, pos uint64) error {
	k := userKey('r', u, id[:])
	m := membership{since: pos, until: math.MaxUint64}
	b, err := tx.Get(k)
	if err == nil {
		old, err := parseMembership(b)
		if err != nil {
			return err
		}
		m.since = old.since
	} else if !errors.Is(err, store.ErrNotFound) {
		return err
	}
	return tx.Set(k, m.bytes())
}

// Leave notes that a local user takes part up to a position and no longer.
func (f *Feed) Leave(tx *store.Tx, u uri.User, id room.ID, pos uint64) error {
	if _, hidden, err := f.unhide(tx, u, id); err != nil || hidden {
		return err
	}
	k := userKey('r', u, id[:])
	b, err := tx.Get(k)
	if err != nil {
		return err
	}
	m, err := parseMembership(b)
	if err != nil {
		return err
	}
	m.until = pos
	return tx.Set(k, m.bytes())
}

// Rooms returns the rooms that a user takes part in now.
func (f *Feed) Rooms(tx *store.Tx, u uri.User) ([]room.ID, error) {
	ms, err := memberships(tx, u)
	var out []room.ID
	for _, m := range ms {
		if m.until == math.MaxUint64 {
			out = append(out, m.room)
		}
	}
	return out, err
}

// Member says whether a user takes part in a room now.
func (f *Feed) Member(tx *store.Tx, u uri.User, id room.ID) (bool, error) {
	b, err := tx.Get(userKey('r', u, id[:]))
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	m, err := parseMembership(b)
	return err == nil && m.until == math.MaxUint64, err
}

// Was says whether a user takes part in a room, or has.
func (f *Feed) Was(tx *store.Tx, u uri.User, id room.ID) (bool, error) {
	_, err := tx.Get(userKey('r', u, id[:]))
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

type roomMembership struct {
	membership
	room room.ID
}

func memberships(tx *store.Tx, u uri.User) ([]roomMembership, error) {
	var out []roomMembership
	p := userPrefix('r', u)
	for it, err := range tx.Scan(store.Scan{Prefix: store.SpaceFeed.Prefix(p)}) {
		if err != nil {
			return nil, err
		}
		name, err := store.SpaceFeed.Parse(it.Key)
		if err != nil || len(name) != len(p)+len(room.ID{}) {
			return nil, fmt.Errorf("feed key of %d bytes: %w", len(name), store.ErrCorrupted)
		}
		m, err := parseMembership(it.Value)
		if err != nil {
			return nil, err
		}
		out = append(out, roomMembership{m, room.ID(name[len(p):])})
	}
	return out, nil
}

// Listening says whether any of the users has a stream open now.
func (f *Feed) Listening(users []uri.User) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, u := range users {
		if len(f.streams[u]) > 0 {
			return true
		}
	}
	return false
}

// Users returns those who have a stream open now that has been opened after others, and how
// many have been opened altogether. After 0 is everybody.
func (f *Feed) Users(after uint64) (list []uri.User, opened uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if after >= f.opened {
		return nil, f.opened
	}
	for u, streams := range f.streams {
		for s := range streams {
			if s.number > after {
				list = append(list, u)
				break
			}
		}
	}
	return list, f.opened
}

// Entries tells users of a batch that is being written at a position: the
// streams that are open get it as soon as it is durable. data is EntriesData, or
// nil if nobody was Listening when the batch was made: a stream that has been
// opened since reads it from the store.
func (f *Feed) Entries(tx *store.Tx, id room.ID, users []uri.User, pos uint64, data []byte) {
	tx.OnCommit(func() {
		users := f.Hearing(id, users)
		if data != nil {
			f.push(users, pos, clientapi.EventEntries, data)
			return
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, u := range users {
			for s := range f.streams[u] {
				s.lag()
			}
		}
	})
}

// EntriesData encodes a batch for its readers, once. It is clientapi.Entries in
// JSON, by hand, since a general encoder takes several times as long and this is
// what a provider does most.
func EntriesData(id room.ID, entries [][]byte, head []byte) []byte {
	enc := base64.StdEncoding
	size := 256
	for _, e := range entries {
		size += enc.EncodedLen(len(e)) + 3
	}
	b := make([]byte, 0, size)
	b = append(b, `{"room":"`...)
	b = hex.AppendEncode(b, id[:])
	b = append(b, `","entries":[`...)
	for i, e := range entries {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, '"')
		b = enc.AppendEncode(b, e)
		b = append(b, '"')
	}
	b = append(b, `],"head":"`...)
	b = enc.AppendEncode(b, head)
	return append(b, `"}`...)
}

// Tell tells users' open streams something that is not stored, and that leaves their
// cursors where they are. A stream that is behind does not get it.
func (f *Feed) Tell(users []uri.User, event string, data any) error {
	j, err := json.Marshal(data)
	if err != nil {
		return fmt.Errorf("encoding %s event: %w", event, err)
	}
	fr := frame("", event, j)
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, u := range users {
		for s := range f.streams[u] {
			s.offer(0, fr)
		}
	}
	return nil
}

// Put writes an event for one user, and tells its streams when it is durable.
func (f *Feed) Put(tx *store.Tx, u uri.User, event string, data any) error {
	j, err := json.Marshal(data)
	if err != nil {
		return fmt.Errorf("encoding %s event: %w", event, err)
	}
	pos, err := f.Next(tx)
	if err != nil {
		return err
	}
	v := presentation.AppendOpaque([]byte{version}, []byte(event))
	v = presentation.AppendOpaque(v, j)
	if err := tx.Set(userKey('i', u, binary.BigEndian.AppendUint64(nil, pos)), v); err != nil {
		return err
	}
	if err := f.trim(tx, u, pos); err != nil {
		return err
	}
	tx.OnCommit(func() { f.push([]uri.User{u}, pos, event, j) })
	return nil
}

// Once notes that the Welcome before a room's entry next is being told, and says
// whether it is for the first time.
func (f *Feed) Once(tx *store.Tx, id room.ID, next uint64) (bool, error) {
	k := store.SpaceFeed.Key(binary.BigEndian.AppendUint64(append([]byte{'w'}, id[:]...), next))
	if _, err := tx.Get(k); !errors.Is(err, store.ErrNotFound) {
		return false, err
	}
	return true, tx.Set(k, []byte{version})
}

// Untold forgets which Welcomes of a room were told from a place of its log on: what stands
// there is another entry now.
func (f *Feed) Untold(tx *store.Tx, id room.ID, next uint64) error {
	var keys []store.Key
	prefix := append([]byte{'w'}, id[:]...)
	for it, err := range tx.Scan(store.Scan{Prefix: store.SpaceFeed.Prefix(prefix), From: store.SpaceFeed.Key(binary.BigEndian.AppendUint64(prefix, next+1)), KeysOnly: true}) {
		if err != nil {
			return err
		}
		keys = append(keys, it.Key)
	}
	for _, k := range keys {
		if err := tx.Delete(k); err != nil {
			return err
		}
	}
	return nil
}

// trim counts an event that was written at pos, and deletes the oldest of a user's
// own events if they are too many.
func (f *Feed) trim(tx *store.Tx, u uri.User, pos uint64) error {
	n, first, err := f.inbox(tx, u, pos)
	if err != nil {
		return err
	}
	p := store.SpaceFeed.Prefix(userPrefix('i', u))
	for n > MaxInbox {
		// From the oldest on, and not from the beginning: there lie the marks of those
		// that were deleted, and each would be read again.
		var keys []store.Key
		for it, err := range tx.Scan(store.Scan{Prefix: p, From: userKey('i', u, binary.BigEndian.AppendUint64(nil, first)), Limit: 2, KeysOnly: true}) {
			if err != nil {
				return err
			}
			f.trimmed.Add(1)
			keys = append(keys, it.Key)
		}
		if len(keys) < 2 {
			return fmt.Errorf("a user's %d events are %d: %w", n, len(keys), store.ErrCorrupted)
		}
		if err := forget(tx, keys[0]); err != nil {
			return err
		}
		name, err := store.SpaceFeed.Parse(keys[1])
		if err != nil {
			return err
		}
		n, first = n-1, binary.BigEndian.Uint64(name[len(name)-8:])
	}
	v := presentation.AppendU64(presentation.AppendU64([]byte{version}, n), first)
	return tx.Set(userKey('n', u, nil), v)
}

// inbox returns how many events of its own a user has, with one that was just
// written at pos, and where the oldest is.
func (f *Feed) inbox(tx *store.Tx, u uri.User, pos uint64) (n, first uint64, err error) {
	b, err := tx.Get(userKey('n', u, nil))
	if err == nil {
		r := presentation.NewReader(b)
		v := r.U8()
		n, first = r.U64(), r.U64()
		if err := r.Done(); err != nil || v != version {
			return 0, 0, fmt.Errorf("inbox of version %d: %w", v, store.ErrCorrupted)
		}
		return n + 1, first, nil
	}
	if !errors.Is(err, store.ErrNotFound) {
		return 0, 0, err
	}
	// The first event, or one of a store from before there was a count.
	first = pos
	for it, err := range tx.Scan(store.Scan{Prefix: store.SpaceFeed.Prefix(userPrefix('i', u)), KeysOnly: true}) {
		if err != nil {
			return 0, 0, err
		}
		f.trimmed.Add(1)
		name, err := store.SpaceFeed.Parse(it.Key)
		if err != nil || len(name) < 8 {
			return 0, 0, fmt.Errorf("feed key of %d bytes: %w", len(name), store.ErrCorrupted)
		}
		if n++; n == 1 {
			first = binary.BigEndian.Uint64(name[len(name)-8:])
		}
	}
	return n, first, nil
}

// frame is one event as it goes over the wire (text/event-stream).
func frame(cursor, event string, data []byte) []byte {
	b := make([]byte, 0, len(cursor)+len(event)+len(data)+32)
	if cursor != "" {
		b = append(append(append(b, "id: "...), cursor...), '\n')
	}
	b = append(append(append(b, "event: "...), event...), "\ndata: "...)
	return append(append(b, data...), "\n\n"...)
}

func (f *Feed) push(users []uri.User, pos uint64, event string, data []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var fr []byte
	for _, u := range users {
		for s := range f.streams[u] {
			if fr == nil {
				fr = frame(f.cursor(pos), event, data)
			}
			s.offer(pos, fr)
		}
	}
}
