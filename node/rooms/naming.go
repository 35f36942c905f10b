package rooms

import (
	"fmt"

	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/store"
)

// Pseudonyms knows which own users go by which pseudonyms; *pseudonyms.Service does. What it
// once says of a pseudonym and a room it says for good.
type Pseudonyms interface {
	// User returns whose pseudonym somebody in a room is, the zero User for nobody's here.
	User(tx *store.Tx, p uri.User, name uri.Room) (uri.User, error)
	// In returns what an own user goes by in a room, the zero User for nothing.
	In(tx *store.Tx, u uri.User, name uri.Room) (uri.User, error)
}

// maxKnown bounds how many pseudonyms are remembered; then they are read again.
const maxKnown = 1 << 16

type mask struct {
	pseudonym uri.User
	room      uri.Room
}

// real returns who takes part in a room as p, if that is an own user: p itself in an open room.
// tx may be nil.
func (r *Rooms) real(tx *store.Tx, p uri.User, name uri.Room) (u uri.User, is bool, err error) {
	if p.Provider().Domain() != r.cfg.Domain {
		return uri.User{}, false, nil
	}
	if _, masked := p.Pseudonym(); !masked {
		return p, true, nil
	}
	if r.cfg.Pseudonyms == nil {
		return uri.User{}, false, nil
	}
	r.mu.RLock()
	u, is = r.masks[mask{p, name}]
	r.mu.RUnlock()
	if is {
		return u, true, nil
	}
	look := func(tx *store.Tx) (err error) {
		u, err = r.cfg.Pseudonyms.User(tx, p, name)
		return err
	}
	if tx != nil {
		err = look(tx)
	} else {
		err = r.cfg.Store.View(look)
	}
	if err != nil || u.IsZero() {
		return uri.User{}, false, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.masks) >= maxKnown {
		clear(r.masks)
	}
	r.masks[mask{p, name}] = u
	return u, true, nil
}

// usersIn returns the users of this provider that take part in a room, whatever they go by.
func (r *Rooms) usersIn(name uri.Room, list []room.Participant) ([]uri.User, error) {
	var out []uri.User
	for _, p := range list {
		if !p.Active {
			continue
		}
		u, own, err := r.real(nil, p.User, name)
		if err != nil {
			return nil, fmt.Errorf("looking up whose pseudonym %s is: %w", p.User, err)
		}
		if own {
			out = append(out, u)
		}
	}
	return out, nil
}

// localUsers is usersIn for what is only told to devices: who cannot be found is not told.
func (r *Rooms) localUsers(name uri.Room, list []room.Participant) []uri.User {
	out, err := r.usersIn(name, list)
	if err != nil {
		r.log.Error("looking up who takes part", "err", err)
	}
	return out
}

// as returns what an own user goes by in a room: the pseudonym, if it has one there.
func (r *Rooms) as(u uri.User, name uri.Room) (uri.User, error) {
	if r.cfg.Pseudonyms == nil {
		return u, nil
	}
	out := u
	err := r.cfg.Store.View(func(tx *store.Tx) error {
		p, err := r.cfg.Pseudonyms.In(tx, u, name)
		if !p.IsZero() {
			out = p
		}
		return err
	})
	return out, err
}
