package feed

import (
	"errors"
	"fmt"

	"github.com/mimid/mimid/protocol/presentation"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/store"
)

// A user takes part in some rooms without its devices being told: strangers have put it
// there, and it has not accepted that (node/contact). Such a room has the key 'h' in the place
// of 'r', so that everything that looks for the user's rooms finds nothing; and who is pushed
// something is compared with what is in memory, when it is durable, on the goroutine that
// also makes the changes known.

// hiddenRooms are the users who hear nothing, by room.
type hiddenRooms map[room.ID]map[uri.User]struct{}

func (h hiddenRooms) set(id room.ID, u uri.User, hide bool) {
	switch {
	case hide && h[id] == nil:
		h[id] = map[uri.User]struct{}{u: {}}
	case hide:
		h[id][u] = struct{}{}
	default:
		if delete(h[id], u); len(h[id]) == 0 {
			delete(h, id)
		}
	}
}

// loadHidden reads who hears nothing. The number is bounded by that of rooms in the store
// and their participants.
func (f *Feed) loadHidden() error {
	return f.st.View(func(tx *store.Tx) error {
		for it, err := range tx.Scan(store.Scan{Prefix: store.SpaceFeed.Prefix([]byte{'h'})}) {
			if err != nil {
				return err
			}
			u, id, err := parseRoomKey(it.Key)
			if err == nil {
				_, err = parseHidden(it.Value)
			}
			if err != nil {
				return err
			}
			f.hidden.set(id, u, true)
		}
		return nil
	})
}

// parseRoomKey reads the user and the room of keys 'h' and 'r'.
func parseRoomKey(k store.Key) (u uri.User, id room.ID, err error) {
	name, err := store.SpaceFeed.Parse(k)
	if err != nil || len(name) < 2+len(id) || name[len(name)-len(id)-1] != 0 {
		return u, id, fmt.Errorf("feed key of %d bytes: %w", len(name), store.ErrCorrupted)
	}
	at := len(name) - len(id)
	if u, err = uri.ParseUser(string(name[1 : at-1])); err != nil {
		return u, id, fmt.Errorf("feed key: %w: %w", err, store.ErrCorrupted)
	}
	return u, room.ID(name[at:]), nil
}

func parseHidden(b []byte) (since uint64, err error) {
	r := presentation.NewReader(b)
	v := r.U8()
	since = r.U64()
	if err := r.Done(); err != nil || v != version {
		return 0, fmt.Errorf("hidden room of version %d: %w", v, store.ErrCorrupted)
	}
	return since, nil
}

// Hide notes that a local user takes part in a room from a position on, and that its devices
// are to hear nothing of it. Not for who is told of the room already.
func (f *Feed) Hide(tx *store.Tx, u uri.User, id room.ID, pos uint64) error {
	if err := tx.Set(userKey('h', u, id[:]), presentation.AppendU64([]byte{version}, pos)); err != nil {
		return err
	}
	tx.OnCommit(func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.hidden.set(id, u, true)
	})
	return nil
}

// Hidden says whether a user takes part in a room of which its devices hear nothing.
func (f *Feed) Hidden(tx *store.Tx, u uri.User, id room.ID) (bool, error) {
	_, err := tx.Get(userKey('h', u, id[:]))
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// Reveal has the user's devices hear of a room from now on, also of what was there since it
// takes part: its log is theirs to read. It says whether the room was hidden.
func (f *Feed) Reveal(tx *store.Tx, u uri.User, id room.ID) (bool, error) {
	since, hidden, err := f.unhide(tx, u, id)
	if err != nil || !hidden {
		return false, err
	}
	return true, f.Join(tx, u, id, since)
}

func (f *Feed) unhide(tx *store.Tx, u uri.User, id room.ID) (since uint64, hidden bool, err error) {
	b, err := tx.Get(userKey('h', u, id[:]))
	if errors.Is(err, store.ErrNotFound) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	if since, err = parseHidden(b); err != nil {
		return 0, false, err
	}
	if err := tx.Delete(userKey('h', u, id[:])); err != nil {
		return 0, false, err
	}
	tx.OnCommit(func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.hidden.set(id, u, false)
	})
	return since, true, nil
}

// hears says whether a user's devices are told of a room. f.mu is held.
func (f *Feed) hears(id room.ID, u uri.User) bool {
	_, hidden := f.hidden[id][u]
	return !hidden
}

// Hearing returns those of a room's users whose devices are told of it.
func (f *Feed) Hearing(id room.ID, users []uri.User) []uri.User {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.hidden[id]) == 0 {
		return users
	}
	var out []uri.User
	for _, u := range users {
		if f.hears(id, u) {
			out = append(out, u)
		}
	}
	return out
}
