package rooms

import (
	"context"
	"errors"
	"fmt"

	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/store"
)

// LeafKeys returns the signature keys of the leaves of a participant of a room, for
// *pseudonyms.Service. Error: a *clientapi.Problem.
func (r *Rooms) LeafKeys(ctx context.Context, name uri.Room, p uri.User) (keys [][]byte, err error) {
	h, err := r.lookup(room.IDOf([]byte(name.String())))
	if err != nil {
		return nil, asProblem(err)
	}
	err = r.view(ctx, h, func(s *room.State) {
		for _, l := range s.Roster().Leaves(p) {
			if m, ok := s.Group().Member(l); ok {
				keys = append(keys, m.Node.SignatureKey)
			}
		}
	})
	return keys, asProblem(err)
}

// Hear catches up with a room from a provider, also with one that is not here: what that brings
// proves itself, and it gives nothing of a room in which nobody of this one takes part. Error: a
// *clientapi.Problem.
func (r *Rooms) Hear(ctx context.Context, name uri.Room, from string) error {
	if _, err := uri.ParseDomain(from); err != nil || from == r.cfg.Domain {
		return problem(422, clientapi.CodeInvalid, "%.255q is no other provider", from)
	}
	h := r.obtain(room.IDOf([]byte(name.String())))
	defer r.release(h)
	return asProblem(r.do(ctx, h, task{catch: from}))
}

// Recall has an own user take part in a room in which it goes by a pseudonym, if it does by the
// room's log and is not known to: this provider has forgotten whose the pseudonym was, when the log
// said that it came.
func (r *Rooms) Recall(ctx context.Context, name uri.Room, u uri.User) error {
	as, err := r.as(u, name)
	if err != nil {
		return err
	}
	h, err := r.lookup(room.IDOf([]byte(name.String())))
	if err != nil {
		return asProblem(err)
	}
	// By the room's goroutine, so that it does not leave meanwhile.
	var bad error
	err = r.view(ctx, h, func(s *room.State) {
		if !s.Roles().Active(s.Role(as)) {
			return
		}
		bad = r.cfg.Store.Update(context.WithoutCancel(ctx), func(tx *store.Tx) error {
			f := r.cfg.Feed
			if in, err := f.Member(tx, u, h.id); err != nil || in {
				return err
			}
			pos, err := f.Next(tx)
			if err != nil {
				return err
			}
			return f.Join(tx, u, h.id, pos)
		})
	})
	if err = errors.Join(err, bad); err != nil {
		return fmt.Errorf("having a user take part again: %w", asProblem(err))
	}
	return nil
}
