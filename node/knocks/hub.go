package knocks

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/mimid/mimid/node/outbox"
	"github.com/mimid/mimid/node/peering"
	"github.com/mimid/mimid/node/rooms"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/knock"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
	"github.com/mimid/mimid/store"
)

// The room's hub.

// serveKnock takes a word of another provider's user.
func (s *Service) serveKnock(ctx context.Context, in *peering.Incoming) (*peering.Response, error) {
	now := s.cfg.Now()
	if ok, wait := s.words.Take(in.Source, 1, now); !ok {
		return nil, tooMany(wait, "%s brings many knocks: wait", in.Source)
	}
	w, err := knock.ParseWord(in.Body)
	if err != nil {
		return nil, invalid("the word does not decode: %v", err)
	}
	user, err := w.User()
	switch {
	case err != nil:
		return nil, invalid("%v", err)
	case user.Provider().Domain() != in.Source:
		return nil, forbidden("%s does not speak for %s", in.Source, user)
	case w.Room.String() != in.Subject:
		return nil, invalid("the word is about %s, the URL about %.200q", w.Room, in.Subject)
	}
	if ok, wait := s.users.Take(user.String(), 1, now); !ok {
		return nil, tooMany(wait, "%s knocks often: wait", user)
	}
	v, err := w.Verify(s.cfg.Authenticator, now)
	if err != nil {
		return nil, forbidden("the word does not verify: %v", err)
	}
	st, err := s.hear(ctx, v, in.Body)
	if err != nil {
		return nil, err
	}
	return &peering.Response{Body: st.Append(nil)}, nil
}

// door looks at a room that this provider is the hub of.
func (s *Service) door(ctx context.Context, id room.ID, user, by uri.User) (*rooms.Door, error) {
	d, err := s.cfg.Rooms.Door(ctx, id, user, by)
	if err != nil {
		return nil, err
	}
	if d.Hub != s.cfg.Domain {
		return nil, forbidden("%s does not order the room", s.cfg.Domain)
	}
	return d, nil
}

// hear takes a word at a room's door.
func (s *Service) hear(ctx context.Context, v *knock.VerifiedWord, raw []byte) (*knock.Status, error) {
	w := v.Word()
	k := heldKey{room.IDOf([]byte(w.Room.String())), v.User()}
	d, err := s.door(ctx, k.room, k.user, uri.User{})
	if err != nil {
		return nil, err
	}
	st := &knock.Status{User: k.user}
	err = s.step(ctx, k, d, knock.Event{What: w.What, Issued: w.Issued}, raw, "", &st.Answer)
	if err != nil {
		return nil, err
	}
	return st, nil
}

// step lets something happen to a record: it and all that follows is one write. word is what
// is kept while the user waits, text goes with a refusal.
func (s *Service) step(ctx context.Context, k heldKey, d *rooms.Door, e knock.Event, word []byte, text string, reply *knock.Answer) error {
	now := s.cfg.Now()
	var nobody error
	change := 0
	err := s.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		nobody, change = nil, 0
		old, err := readHeld(tx, k)
		if err != nil {
			return err
		}
		next, do, answer, err := knock.Step(old.Record, d.Place, e, now)
		if errors.Is(err, knock.ErrNobody) {
			nobody, err = err, nil
		}
		if err != nil {
			return fmt.Errorf("stepping a knock: %w", err)
		}
		if old.State == knock.None && next.State != knock.None {
			full, err := s.full(tx, k)
			if err != nil {
				return err
			}
			if full != nil && next.State == knock.Waiting {
				return full
			}
			if full != nil { // a cancel of what is not here needs no place
				next = knock.Record{}
			}
		}
		h := &held{next, old.word, old.told}
		if do.Show {
			h.word, h.told = word, nil
		}
		show, withdraw := h.tell(d, do, old.told)
		if old.Record != next || len(show) > 0 {
			if err := writeHeld(tx, k, old.State, h); err != nil {
				return err
			}
		}
		change = present(next) - present(old.Record)
		if reply != nil {
			*reply = answer
		}
		return s.perform(tx, k, d, h, do, show, withdraw, text)
	})
	if err != nil {
		return err
	}
	s.counted(k.room, change)
	if change > 0 {
		s.Changed(k.room) // in case the room has gone on since we looked
	}
	return nobody
}

func present(r knock.Record) int {
	if r.State == knock.None {
		return 0
	}
	return 1
}

// full says why no more knocks are kept; nil if they are.
func (s *Service) full(tx *store.Tx, k heldKey) (*clientapi.Problem, error) {
	l := &s.cfg.Limits
	limits := [...]int{l.PerRoom, l.PerProvider, l.Total, l.PerShare}
	for i, c := range countersOf(k) {
		n, err := add(tx, c.kind, c.name, 0)
		if err != nil {
			return nil, err
		}
		if n >= limits[i] {
			return tooMany(0, "too many wait to be let in: try again later"), nil
		}
	}
	return nil, nil
}

// tell says to which providers a record is shown after a step, and from which it is withdrawn.
func (h *held) tell(d *rooms.Door, do knock.Effects, told []string) (show, withdraw []string) {
	if h.State != knock.Waiting {
		if do.Withdraw {
			withdraw = told
		}
		return nil, withdraw
	}
	for _, domain := range d.Others {
		if !slices.Contains(h.told, domain) && len(h.told)+len(show) < maxTold {
			show = append(show, domain)
		}
	}
	h.told = slices.Concat(h.told, show)
	return show, nil
}

// perform does what follows from a step: it tells devices and puts into the outbox.
func (s *Service) perform(tx *store.Tx, k heldKey, d *rooms.Door, h *held, do knock.Effects, show, withdraw []string, text string) error {
	if len(show) > 0 {
		w, err := knock.ParseWord(h.word)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		if err := s.showTo(tx, show, d, &knock.Showing{User: k.user, Word: w}); err != nil {
			return err
		}
	}
	if err := s.showTo(tx, withdraw, d, &knock.Showing{User: k.user}); err != nil {
		return err
	}
	if do.Show || do.Withdraw {
		if err := s.showHere(tx, k, d, h); err != nil {
			return err
		}
	}
	if do.Tell == knock.Silence {
		return nil
	}
	st := &knock.Status{Answer: do.Tell, User: k.user}
	if do.Tell == knock.IsRefused {
		st.Text = text
	}
	to := k.user.Provider().Domain()
	if to == s.cfg.Domain {
		return s.settleHere(tx, ownKey{k.user, d.URI}, st)
	}
	err := s.cfg.Outbox.Put(tx, to, outbox.Item{Endpoint: knock.EndpointStatus, Subject: d.URI.String(), Room: wire.IdentifierURI(d.URI.String()), Body: st.Append(nil)})
	if errors.Is(err, outbox.ErrFull) {
		return nil // it does not answer; it asks again
	}
	return err
}

// showTo has providers shown a knock, or has it taken from their view.
func (s *Service) showTo(tx *store.Tx, list []string, d *rooms.Door, x *knock.Showing) error {
	body := x.Append(nil)
	for _, domain := range list {
		err := s.cfg.Outbox.Put(tx, domain, outbox.Item{Endpoint: knock.EndpointShow, Subject: d.URI.String(), Room: wire.IdentifierURI(d.URI.String()), Body: body})
		if errors.Is(err, outbox.ErrFull) {
			s.cfg.Log.Warn("a provider is not told who knocks at a room: too much waits for it", "room", d.URI, "provider", domain)
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// settleHere is settle for a user of the hub itself, within the hub's write.
func (s *Service) settleHere(tx *store.Tx, k ownKey, st *knock.Status) error {
	o, err := readOwn(tx, k)
	if err != nil || !o.state.pending() || o.hub != s.cfg.Domain {
		return err
	}
	was := o.state
	o.become(st)
	o.changed = s.cfg.Now()
	if err := writeOwn(tx, k, was, o); err != nil || o.state == was {
		return err
	}
	return s.tellOwn(tx, k, o) // what is due is forgotten when it is due
}

// serveRefuse takes a refusal by a user of another provider.
func (s *Service) serveRefuse(ctx context.Context, in *peering.Incoming) (*peering.Response, error) {
	x, err := knock.ParseRefusal(in.Body)
	if err != nil {
		return nil, invalid("the refusal does not decode: %v", err)
	}
	if x.By.Provider().Domain() != in.Source {
		return nil, forbidden("%s does not speak for %s", in.Source, x.By)
	}
	if err := s.refuse(ctx, room.IDOf([]byte(in.Subject)), x); err != nil {
		return nil, err
	}
	return &peering.Response{Status: http.StatusNoContent}, nil
}

// refuse is what the hub makes of a refusal.
func (s *Service) refuse(ctx context.Context, id room.ID, x *knock.Refusal) error {
	d, err := s.door(ctx, id, x.User, x.By)
	if err != nil {
		return err
	}
	if !d.Answers {
		return forbidden("%s may not answer those who knock", x.By)
	}
	err = s.step(ctx, heldKey{id, x.User}, d, knock.Event{What: knock.Refuse}, nil, x.Text, nil)
	if errors.Is(err, knock.ErrNobody) {
		return nobodyWaits(x.User)
	}
	return err
}

func nobodyWaits(u uri.User) *clientapi.Problem {
	return problem(http.StatusConflict, clientapi.CodeNotFound, "%s does not wait for an answer: it has had one, or has taken the knock back", u)
}

// look settles the records of a room: who has come in, or waits too long.
func (s *Service) look(ctx context.Context, id room.ID) error {
	var list []heldKey
	err := s.cfg.Store.View(func(tx *store.Tx) error {
		for k := range heldOf(tx, id) {
			list = append(list, k)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, k := range list {
		if err := ctx.Err(); err != nil {
			return nil
		}
		d, err := s.cfg.Rooms.Door(ctx, id, k.user, uri.User{})
		if p, ok := errors.AsType[*clientapi.Problem](err); ok && p.Code == clientapi.CodeNotFound {
			d, err = &rooms.Door{Place: knock.Inside}, nil // it is here no more: forget the copy
		}
		if err != nil {
			if _, ok := errors.AsType[*clientapi.Problem](err); ok {
				return nil // later
			}
			return err
		}
		if d.Hub != s.cfg.Domain {
			err = s.lookAtCopy(ctx, k, d)
		} else {
			err = s.step(ctx, k, d, knock.Event{What: knock.Look}, nil, "", nil)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
