package knocks

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/mimid/mimid/node/account"
	"github.com/mimid/mimid/node/peering"
	"github.com/mimid/mimid/node/rooms"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/knock"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
	"github.com/mimid/mimid/store"
)

// A provider of users who may answer.

// serveShow takes what the hub of a room shows, or takes from view.
func (s *Service) serveShow(ctx context.Context, in *peering.Incoming) (*peering.Response, error) {
	x, err := knock.ParseShowing(in.Body)
	if err != nil {
		return nil, invalid("the showing does not decode: %v", err)
	}
	if x.Word != nil && x.Word.Room.String() != in.Subject {
		return nil, invalid("the word is about %s, the URL about %.200q", x.Word.Room, in.Subject)
	}
	k := heldKey{room.IDOf([]byte(in.Subject)), x.User}
	switch is, sure := s.cfg.Rooms.Orders(ctx, k.room, in.Source); {
	case !is && !sure:
		return nil, problem(http.StatusServiceUnavailable, clientapi.CodeUnavailable, "who orders %s cannot be found out now", in.Subject)
	case !is:
		return nil, forbidden("%s does not order %s", in.Source, in.Subject)
	}
	d, err := s.cfg.Rooms.Door(ctx, k.room, k.user, uri.User{})
	if err != nil {
		return nil, err
	}
	now := s.cfg.Now()
	change := 0
	err = s.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		change = 0
		old, err := readHeld(tx, k)
		if err != nil {
			return err
		}
		next := &held{}
		if x.Word != nil {
			if x.Word.Issued.Sub(now) > knock.Ahead || now.Sub(x.Word.Issued) > knock.Lifetime || d.Place == knock.Inside {
				return nil
			}
			if full, err := s.full(tx, k); err != nil || full != nil && old.State == knock.None {
				return err // it is the hub's to bound them; nobody is held up by what we do not keep
			}
			next = &held{knock.Record{State: knock.Waiting, Issued: x.Word.Issued, Since: now}, x.Word.Append(nil), nil}
		}
		if old.Record == next.Record || next.State == knock.Waiting && !next.Issued.After(old.Issued) {
			return nil
		}
		if err := writeHeld(tx, k, old.State, next); err != nil {
			return err
		}
		change = present(next.Record) - present(old.Record)
		return s.showHere(tx, k, d, next)
	})
	if err != nil {
		return nil, fmt.Errorf("storing who knocks: %w", err)
	}
	s.counted(k.room, change)
	if change > 0 {
		s.Changed(k.room)
	}
	return &peering.Response{Status: http.StatusCreated}, nil
}

// showHere tells own users who may answer that somebody waits, or no more.
func (s *Service) showHere(tx *store.Tx, k heldKey, d *rooms.Door, h *held) error {
	ev := clientapi.Knock{Room: d.URI.String(), User: k.user.String(), State: clientapi.KnockGone, Issued: h.Issued.UnixMilli()}
	if h.State == knock.Waiting {
		ev = waitingKnock(d.URI, k.user, h)
	} else {
		ev.Issued = 0
	}
	for i, u := range d.Here {
		if i == s.cfg.Limits.Told {
			break
		}
		if err := s.cfg.Feed.Put(tx, u, clientapi.EventKnock, ev); err != nil {
			return err
		}
	}
	return nil
}

func waitingKnock(u uri.Room, user uri.User, h *held) clientapi.Knock {
	out := clientapi.Knock{Room: u.String(), User: user.String(), State: clientapi.KnockWaiting, Issued: h.Issued.UnixMilli(), Word: h.word}
	if w, err := knock.ParseWord(h.word); err == nil {
		out.Note = w.Note
	}
	return out
}

// lookAtCopy forgets a copy whose user has come in, or has waited too long for the hub to
// still have her.
func (s *Service) lookAtCopy(ctx context.Context, k heldKey, d *rooms.Door) error {
	change := 0
	err := s.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		change = 0
		old, err := readHeld(tx, k)
		if err != nil || old.State == knock.None {
			return err
		}
		next, _, _, err := knock.Step(old.Record, d.Place, knock.Event{What: knock.Look}, s.cfg.Now())
		if err != nil || next == old.Record {
			return err
		}
		if err := writeHeld(tx, k, old.State, &held{}); err != nil {
			return err
		}
		change = -1
		if old.State != knock.Waiting {
			return nil
		}
		return s.showHere(tx, k, d, &held{})
	})
	s.counted(k.room, change)
	return err
}

// mayAnswer looks at a room of an own user who may answer there.
func (s *Service) mayAnswer(ctx context.Context, who account.Identity, id room.ID, user uri.User) (*rooms.Door, error) {
	d, err := s.cfg.Rooms.Door(ctx, id, user, who.User)
	if err != nil {
		return nil, err
	}
	if !d.Answers {
		// Whether the room is here is nobody's business who is not in it.
		if in, err := s.cfg.Rooms.Door(ctx, id, who.User, uri.User{}); err != nil || in.Place != knock.Inside {
			return nil, problem(http.StatusNotFound, clientapi.CodeNotFound, "there is no such room here, or it is not yours to see")
		}
		return nil, forbidden("your role does not let you answer those who knock at this room")
	}
	return d, nil
}

// RoomKnocks lists who waits at a room's door, for an own user who may answer, the one that
// has waited longest first.
func (s *Service) RoomKnocks(ctx context.Context, who account.Identity, id store.RoomID) (*clientapi.Knocks, error) {
	d, err := s.mayAnswer(ctx, who, room.ID(id), who.User)
	if err != nil {
		return nil, err
	}
	out := &clientapi.Knocks{Knocks: []clientapi.Knock{}}
	now := s.cfg.Now()
	err = s.cfg.Store.View(func(tx *store.Tx) error {
		for k, h := range heldOf(tx, room.ID(id)) {
			if h.State == knock.Waiting && now.Sub(h.Issued) <= knock.Lifetime {
				out.Knocks = append(out.Knocks, waitingKnock(d.URI, k.user, h))
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("listing who knocks: %w", err)
	}
	slices.SortStableFunc(out.Knocks, func(a, b clientapi.Knock) int { return int(min(1, max(-1, a.Issued-b.Issued))) })
	return out, nil
}

// RefuseKnock refuses somebody who waits, at the room's hub.
func (s *Service) RefuseKnock(ctx context.Context, who account.Identity, id store.RoomID, c *clientapi.RefuseKnock) error {
	u, err := uri.ParseUser(c.User)
	if err != nil {
		return invalid("who is refused: %v", err)
	}
	if err := knock.CheckNote(c.Text); err != nil {
		return invalid("%v", err)
	}
	d, err := s.mayAnswer(ctx, who, room.ID(id), u)
	if err != nil {
		return err
	}
	x := &knock.Refusal{User: u, By: who.User, Text: c.Text}
	if d.Hub == s.cfg.Domain {
		return s.refuse(ctx, room.ID(id), x)
	}
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	_, err = s.cfg.Caller.Call(ctx, peering.Request{Target: d.Hub, Endpoint: knock.EndpointRefuse, Subject: d.URI.String(),
		Room: wire.IdentifierURI(d.URI.String()), Body: x.Append(nil)})
	if refused, ok := errors.AsType[*peering.Refused](err); ok && refused.Problem.Status == http.StatusConflict {
		return nobodyWaits(u)
	}
	if p := peering.Problem(err); p != nil {
		return p
	}
	if err != nil {
		return fmt.Errorf("refusing a knock: %w", err)
	}
	return nil
}
