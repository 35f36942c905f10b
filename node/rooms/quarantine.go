package rooms

import (
	"context"

	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/store"
)

// Quarantine decides of which rooms own users' devices hear nothing, because strangers have
// put them there; *contact.Service is one. The room goes on like any other: the user takes
// part, and its log is kept. Methods with a tx are called inside the transaction that makes
// it so.
type Quarantine interface {
	// Enters says whether a user who comes into a room by somebody's doing is to hear
	// nothing. What counts for it begins at the entry next.
	Enters(tx *store.Tx, room uri.Room, u, by uri.User, next uint64) (held bool, err error)
	// Welcomed takes a Welcome, if the user hears nothing of the room.
	Welcomed(tx *store.Tx, u uri.User, w *clientapi.Welcome) (held bool, err error)
	// Left says that the user is in the room no longer.
	Left(tx *store.Tx, u uri.User, id room.ID) error
	// Comes says that the user comes into the room itself, and is to hear of it.
	Comes(ctx context.Context, u uri.User, id room.ID) error
}

// entering is called with a step before the state adopts it, and what it returns after that:
// it notes by whose doing own users have come in. In a replica set that is long before it is
// final; and what was noted of a step that is taken back is noted again when the user comes
// in after all.
func (l *live) entering(st *room.Step) (adopted func()) {
	c := st.Commit()
	if c == nil || l.r.cfg.Quarantine == nil || l.state.Roster().Pseudonymous() {
		return func() {}
	}
	by, err := l.state.Author(c)
	if err != nil {
		by = uri.User{}
	}
	was := l.r.localUsers(l.state.URI(), l.state.Participants())
	return func() {
		for _, u := range without(l.r.localUsers(l.state.URI(), l.state.Participants()), was) {
			if l.entrants == nil {
				l.entrants = map[uri.User]uri.User{}
			}
			l.entrants[u] = by
		}
	}
}

// comeIn writes that own users are in the room from a batch on that begins with the entry next
// and is told at pos.
func (l *live) comeIn(tx *store.Tx, users []uri.User, next, pos uint64) error {
	f, q := l.r.cfg.Feed, l.r.cfg.Quarantine
	if l.state.Roster().Pseudonymous() {
		q = nil // strangers get no KeyPackages of who would have it (contact.AdmitPseudonymous)
	}
	for _, u := range users {
		held := false
		if q != nil {
			var err error
			if held, err = q.Enters(tx, l.state.URI(), u, l.entrants[u], next); err != nil {
				return err
			}
		}
		join := f.Join
		if held {
			join = f.Hide
		}
		if err := join(tx, u, l.h.id, pos); err != nil {
			return err
		}
	}
	return nil
}

// goOut writes that own users are not in the room any more.
func (r *Rooms) goOut(tx *store.Tx, users []uri.User, id room.ID, pos uint64) error {
	for _, u := range users {
		if err := r.cfg.Feed.Leave(tx, u, id, pos); err != nil {
			return err
		}
		if r.cfg.Quarantine != nil {
			if err := r.cfg.Quarantine.Left(tx, u, id); err != nil {
				return err
			}
		}
	}
	return nil
}

// unheld returns those of users whose devices are told of a Welcome.
func (r *Rooms) unheld(tx *store.Tx, users []uri.User, w *clientapi.Welcome) ([]uri.User, error) {
	if r.cfg.Quarantine == nil {
		return users, nil
	}
	var out []uri.User
	for _, u := range users {
		held, err := r.cfg.Quarantine.Welcomed(tx, u, w)
		if err != nil {
			return nil, err
		}
		if !held {
			out = append(out, u)
		}
	}
	return out, nil
}

// comes lets a user's devices hear of a room that it comes into itself.
func (r *Rooms) comes(ctx context.Context, u uri.User, id room.ID) error {
	if r.cfg.Quarantine == nil {
		return nil
	}
	return r.cfg.Quarantine.Comes(ctx, u, id)
}
