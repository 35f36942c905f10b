package pseudonyms

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/mimid/mimid/node/account"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/pseudonym"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/store"
)

// What was forgotten. A provider that was put back to a backup does not know whose the pseudonyms
// are that it drew or gave out since. Its users' devices do, and say so (pseudonym.Hold) when they hear
// of it by WantedPseudonyms. The room's log, which comes back from other providers, has the leaf whose
// key proves it, so nobody takes another's pseudonym, nor one that is in no room.

// Rooms knows which pseudonyms are in which rooms; *rooms.Rooms does.
type Rooms interface {
	// LeafKeys are the signature keys of the leaves under a pseudonym; none if there are none.
	// Error: a *clientapi.Problem, of a room that is not here.
	LeafKeys(ctx context.Context, name uri.Room, p uri.User) ([][]byte, error)
	// Hear asks a provider for what is missing of a room.
	Hear(ctx context.Context, name uri.Room, from string) error
	// Recall has an own user take part in a room again in which a pseudonym is its, from now on.
	Recall(ctx context.Context, name uri.Room, u uri.User) error
}

// restored says which backup this store is of, and since when; "" for none.
func (s *Service) restored() (mark string, err error) {
	err = s.cfg.Store.View(func(tx *store.Tx) error {
		r, err := tx.Restored()
		if r != nil {
			mark = fmt.Sprintf("%s.%d", r.Backup, r.When.UnixMilli())
		}
		return err
	})
	return mark, err
}

// Held takes the word of a device on what its user goes by in a room. What was given out for the
// pseudonym since is taken back; if somebody has used it in another room, or the user has another
// one in this room, it is refused.
func (s *Service) Held(ctx context.Context, who account.Identity, x *clientapi.HeldPseudonym) error {
	name, err := uri.ParseRoom(x.Room)
	if err != nil {
		return invalid("the room: %v", err)
	}
	p, err := uri.ParsePseudonym(x.Pseudonym)
	if err == nil {
		err = pseudonym.Check(p)
	}
	if err == nil && p.Provider() != s.provider {
		err = errors.New("it is at another provider")
	}
	if err != nil {
		return invalid("the pseudonym: %v", err)
	}
	unknown := func(keys [][]byte, err error) bool {
		q, ok := errors.AsType[*clientapi.Problem](err)
		return ok && q.Status == http.StatusNotFound || err == nil && len(keys) == 0
	}
	keys, err := s.cfg.Rooms.LeafKeys(ctx, name, p.Participant())
	if unknown(keys, err) && x.Hub != "" {
		if err := s.cfg.Rooms.Hear(ctx, name, x.Hub); err != nil {
			s.cfg.Log.Info("asking for a room that was forgotten", "room", name, "hub", x.Hub, "err", err)
		}
		keys, err = s.cfg.Rooms.LeafKeys(ctx, name, p.Participant())
	}
	if unknown(keys, err) {
		late := problem(http.StatusServiceUnavailable, clientapi.CodeUnavailable, "the log of %s, as far as it is here, has nobody under %s; try again when the others have brought the rest", name, p)
		late.Retry = 1000
		return late
	}
	if err != nil {
		return err
	}
	proved := false
	for _, k := range keys {
		proved = proved || pseudonym.Holds(room.Suite, k, x.Proof, name, p, who.User) == nil
	}
	if !proved {
		return problem(http.StatusForbidden, clientapi.CodeForbidden, "nothing shows that %s goes by %s in %s", who.User, p, name)
	}
	if err := s.assign(ctx, who.User, name, p); err != nil {
		return fmt.Errorf("taking a pseudonym back: %w", err)
	}
	if err := s.cfg.Rooms.Recall(ctx, name, who.User); err != nil {
		return fmt.Errorf("taking a pseudonym back: %w", err)
	}
	return nil
}

// assign writes whose a pseudonym is.
func (s *Service) assign(ctx context.Context, u uri.User, name uri.Room, p uri.Pseudonym) error {
	id, uuid, user := room.IDOf([]byte(name.String())), p.Name(), u.Name()
	other := "" // what the user goes by in the room by these records
	err := s.cfg.Store.View(func(tx *store.Tx) (err error) {
		other, _, err = get(tx, roomKey(user, id), parseNamed)
		return err
	})
	if err != nil {
		return err
	}
	if other != "" && other != uuid {
		o, err := s.named(other)
		if err != nil {
			return err
		}
		switch keys, err := s.cfg.Rooms.LeafKeys(ctx, name, o); {
		case err != nil:
			return err
		case len(keys) > 0:
			return problem(http.StatusConflict, clientapi.CodeForbidden, "%s goes by %s in %s, too, since the provider was put back to a backup", u, o, name)
		}
	}
	return s.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		o, found, err := get(tx, ownedKey(uuid), parseOwned)
		if err != nil {
			return err
		}
		switch {
		case found && o.user != user:
			return problem(http.StatusForbidden, clientapi.CodeForbidden, "%s is not of %s", p, u)
		case found && o.room == id && o.used:
			return nil // it was not forgotten
		case found && !o.open() && o.room != id && o.used:
			return problem(http.StatusConflict, clientapi.CodeForbidden, "%s is in use in another room since the provider was put back to a backup", p)
		case found && !o.open() && o.room != id:
			if err := tx.Delete(roomKey(user, o.room)); err != nil { // given there, and not used
				return err
			}
		}
		now, has, err := get(tx, roomKey(user, id), parseNamed)
		if err != nil {
			return err
		}
		if has && now != uuid {
			if now != other {
				return problem(http.StatusServiceUnavailable, clientapi.CodeUnavailable, "what %s goes by in %s has changed meanwhile", u, name)
			}
			x, found, err := get(tx, ownedKey(now), parseOwned)
			if err != nil {
				return err
			}
			if found {
				if err := s.forget(tx, now, x); err != nil {
					return err
				}
			}
		}
		if err := s.withdraw(tx, uuid); err != nil { // KeyPackages of before the backup: one was used
			return err
		}
		if err := tx.Set(ownedKey(uuid), (&owned{user: user, room: id, given: s.now(), used: true}).bytes()); err != nil {
			return err
		}
		if err := tx.Set(ofKey(user, uuid), named("")); err != nil {
			return err
		}
		return tx.Set(roomKey(user, id), named(uuid))
	})
}
