package knocks

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"

	"github.com/mimid/mimid/node/account"
	"github.com/mimid/mimid/node/peering"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/knock"
	"github.com/mimid/mimid/protocol/mls/x509auth"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
	"github.com/mimid/mimid/store"
)

// The asking user's provider.

// SendKnock takes on a word of an own user, and says what a first attempt to bring it to
// the room has led to.
func (s *Service) SendKnock(ctx context.Context, who account.Identity, c *clientapi.SendKnock) (*clientapi.Knock, error) {
	w, err := knock.ParseWord(c.Word)
	if err != nil {
		return nil, invalid("the word does not decode: %v", err)
	}
	now := s.cfg.Now()
	v, err := w.Verify(s.cfg.Authenticator, now)
	if err != nil {
		return nil, forbidden("the word does not verify: %v", err)
	}
	if client, err := x509auth.ClientURI(w.Credential); err != nil || client != who.Client.String() || v.User() != who.User {
		return nil, forbidden("the word is not said by %s", who.Client)
	}
	if ok, wait := s.sent.Take(who.User.String(), 1, now); !ok {
		return nil, tooMany(wait, "%s has knocked much: wait", who.User)
	}
	k := ownKey{who.User, w.Room}
	if d, err := s.cfg.Rooms.Door(ctx, room.IDOf([]byte(w.Room.String())), who.User, uri.User{}); err == nil && d.Place == knock.Inside && w.What == knock.Ask {
		return nil, problem(http.StatusConflict, clientapi.CodeExists, "you take part in %s", w.Room)
	}
	err = s.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		old, err := readOwn(tx, k)
		if err != nil {
			return err
		}
		return s.take(tx, k, old, w, c.Word, now)
	})
	if err != nil {
		return nil, fmt.Errorf("storing a knock: %w", err)
	}
	s.mu.Lock()
	a := s.due[k]
	first := a == nil || !a.busy
	if a == nil {
		a = &attempt{}
		s.due[k] = a
	}
	a.busy, a.at = true, time.Time{}
	s.mu.Unlock()
	if first {
		once, cancel := context.WithTimeout(ctx, firstTime)
		s.bring(once, k)
		cancel()
		s.poke() // when it is due again
	}
	return s.ownKnock(k)
}

// take writes what a word makes of an own knock.
func (s *Service) take(tx *store.Tx, k ownKey, old *own, w *knock.Word, raw []byte, now time.Time) error {
	if old.state != 0 && !w.Issued.After(old.issued) {
		return invalid("the word is not newer than the last one about this room")
	}
	next := &own{issued: w.Issued, changed: now, hub: old.hub, word: raw}
	switch {
	case w.What == knock.Ask:
		next.state = asking
		n, err := add(tx, kindUser, []byte(k.user.String()), 0)
		if err != nil {
			return err
		}
		if old.state == 0 && n >= s.cfg.Limits.PerUser {
			return problem(http.StatusTooManyRequests, clientapi.CodeTooMany, "%s has knocked at %d rooms, which is the limit: cancel some, or wait a week for those that are answered", k.user, n)
		}
		if !old.state.pending() {
			next.hub = ""
		}
	case !old.state.pending():
		return problem(http.StatusNotFound, clientapi.CodeNotFound, "there is no knock at %s to take back", k.room)
	case old.state == asking && old.hub == "":
		next.state = cancelled // nobody has heard of it
	default:
		next.state = cancelling
	}
	if err := writeOwn(tx, k, old.state, next); err != nil {
		return err
	}
	return s.tellOwn(tx, k, next)
}

// tellOwn tells the user's devices.
func (s *Service) tellOwn(tx *store.Tx, k ownKey, o *own) error {
	return s.cfg.Feed.Put(tx, k.user, clientapi.EventKnock, s.describe(k, o))
}

func (s *Service) describe(k ownKey, o *own) clientapi.Knock {
	out := clientapi.Knock{Room: k.room.String(), User: k.user.String(), State: o.state.String(), Text: o.text, Hub: o.hub, Issued: o.issued.UnixMilli()}
	if w, err := knock.ParseWord(o.word); err == nil {
		out.Note = w.Note
	}
	s.mu.Lock()
	if a := s.due[k]; a != nil && o.state.pending() {
		out.Trouble = a.trouble
	}
	s.mu.Unlock()
	return out
}

func (s *Service) ownKnock(k ownKey) (*clientapi.Knock, error) {
	o, err := s.viewOwn(k)
	if err != nil {
		return nil, err
	}
	if o.state == 0 {
		return nil, problem(http.StatusNotFound, clientapi.CodeNotFound, "there is no knock at %s", k.room)
	}
	out := s.describe(k, o)
	return &out, nil
}

func (s *Service) viewOwn(k ownKey) (o *own, err error) {
	err = s.cfg.Store.View(func(tx *store.Tx) error {
		o, err = readOwn(tx, k)
		return err
	})
	return o, err
}

// Knocks lists an own user's knocks, the newest first.
func (s *Service) Knocks(_ context.Context, who account.Identity) (*clientapi.Knocks, error) {
	out := &clientapi.Knocks{Knocks: []clientapi.Knock{}}
	err := s.cfg.Store.View(func(tx *store.Tx) error {
		for k, o := range ownsOf(tx, who.User) {
			out.Knocks = append(out.Knocks, s.describe(k, o))
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("listing knocks: %w", err)
	}
	slices.SortStableFunc(out.Knocks, func(a, b clientapi.Knock) int { return int(min(1, max(-1, b.Issued-a.Issued))) })
	return out, nil
}

// bring brings an own knock, which is busy, to the room's hub, and says when it is due again.
func (s *Service) bring(ctx context.Context, k ownKey) {
	again, trouble, err := s.try(ctx, k)
	if err != nil && ctx.Err() == nil {
		s.cfg.Log.Error("bringing a knock to its room", "user", k.user, "room", k.room, "err", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.due[k]
	switch {
	case a == nil:
		return
	case err == nil && !again:
		delete(s.due, k)
		return
	case err == nil && trouble == "":
		a.fails, a.at = 0, s.cfg.Now().Add(s.cfg.Repeat)
	default:
		wait := min(s.cfg.Retry<<min(a.fails, 16), s.cfg.Repeat)
		a.fails++
		a.at = s.cfg.Now().Add(wait/2 + rand.N(wait/2+1))
	}
	a.busy, a.trouble = false, trouble
}

// try asks those who may order the room until one says that it does. again: the knock is to
// be brought once more; trouble says, in words for the user, why nobody has taken it.
func (s *Service) try(ctx context.Context, k ownKey) (again bool, trouble string, err error) {
	o, err := s.viewOwn(k)
	if err != nil || !o.state.pending() {
		return false, "", err
	}
	if s.cfg.Now().Sub(o.issued) > knock.Lifetime {
		return s.settle(ctx, k, o, &knock.Status{Answer: knock.IsTooOld, User: k.user})
	}
	asked := map[string]bool{}
	n := 0
	for _, list := range []func() []string{
		func() []string { // by the log, if it is here; then where rooms begin
			hub, _ := s.cfg.Rooms.Hub(k.room.String())
			return []string{hub, k.room.Provider().Domain()}
		},
		func() []string { return s.cfg.Hubs(ctx, k.room) },
		func() []string { // the one that has taken it, though it seems to order the room no more
			if o.state == cancelling {
				return []string{o.hub}
			}
			return nil
		},
	} {
		for _, d := range list() {
			if d == "" || asked[d] {
				continue
			}
			if n++; n > maxHubs || ctx.Err() != nil {
				break
			}
			asked[d] = true
			st, err := s.ask(ctx, k, o, d)
			if err == nil {
				return s.settle(ctx, k, o, st)
			}
			p := peering.Problem(err)
			if q, ok := errors.AsType[*clientapi.Problem](err); ok {
				p = q
			}
			if p == nil {
				return true, "this provider is not well", err
			}
			if trouble == "" || p.Status == http.StatusTooManyRequests {
				trouble = p.Detail
			}
		}
	}
	if trouble == "" {
		trouble = "nobody could be found who orders the room"
	}
	return true, trouble, nil
}

// ask brings an own knock to one provider. That is written down before: whoever may know
// of the knock may let the user in, for which it needs her KeyPackages.
func (s *Service) ask(ctx context.Context, k ownKey, o *own, domain string) (*knock.Status, error) {
	w, err := knock.ParseWord(o.word)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if o.hub != domain && o.state != cancelling {
		err := s.change(ctx, k, o, func(now *own) bool { now.hub = domain; return true })
		if err != nil {
			return nil, err
		}
		o.hub = domain
	}
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	if domain == s.cfg.Domain {
		v, err := w.Verify(s.cfg.Authenticator, s.cfg.Now())
		if err != nil {
			return nil, forbidden("the word does not verify any more: %v", err)
		}
		return s.hear(ctx, v, o.word)
	}
	res, err := s.cfg.Caller.Call(ctx, peering.Request{Target: domain, Endpoint: knock.EndpointKnock, Subject: k.room.String(),
		Room: wire.IdentifierURI(k.room.String()), Body: o.word, MaxResponse: knock.MaxMessage})
	if err != nil {
		if ctx.Err() != nil {
			return nil, problem(http.StatusBadGateway, clientapi.CodeUnreachable, "%s does not answer", domain)
		}
		return nil, err
	}
	st, err := knock.ParseStatus(res.Body)
	if err != nil || st.User != k.user {
		return nil, problem(http.StatusBadGateway, clientapi.CodeUnreachable, "%s answers nonsense to a knock: %v", domain, err)
	}
	return st, nil
}

// errOvertaken: the user has said something else meanwhile.
var errOvertaken = errors.New("knocks: overtaken by another word")

// change changes an own knock if it is still about the word that is in o.
func (s *Service) change(ctx context.Context, k ownKey, o *own, f func(now *own) (tell bool)) error {
	return s.cfg.Store.Update(context.WithoutCancel(ctx), func(tx *store.Tx) error {
		now, err := readOwn(tx, k)
		if err != nil {
			return err
		}
		if !now.state.pending() || !now.issued.Equal(o.issued) {
			return errOvertaken
		}
		was := *now
		if !f(now) || now.state == was.state {
			return writeOwn(tx, k, was.state, now)
		}
		now.changed = s.cfg.Now()
		if err := writeOwn(tx, k, was.state, now); err != nil {
			return err
		}
		return s.tellOwn(tx, k, now)
	})
}

// settle writes what has become of an own knock, and says whether it is to be brought again.
func (s *Service) settle(ctx context.Context, k ownKey, o *own, st *knock.Status) (again bool, trouble string, err error) {
	err = s.change(ctx, k, o, func(now *own) bool {
		now.become(st)
		again = now.state.pending()
		return true
	})
	if errors.Is(err, errOvertaken) {
		return true, "another word comes first", nil // so at once, or nearly
	}
	if err != nil {
		return true, "this provider is not well", err
	}
	return again, "", nil
}

// become is what a hub's answer makes of a knock.
func (o *own) become(st *knock.Status) {
	if o.state == cancelling {
		if st.Answer != knock.IsWaiting { // said before the cancel came
			o.state, o.text = cancelled, ""
			if st.Answer == knock.IsInside {
				o.state = inside
			}
		}
		return
	}
	switch st.Answer {
	case knock.IsWaiting:
		o.state = waiting
	case knock.IsRefused:
		o.state, o.text = refused, st.Text
	case knock.IsInside:
		o.state = inside
	case knock.IsCancelled:
		o.state = cancelled
	case knock.IsClosed:
		o.state = closed
	case knock.IsTooOld:
		o.state = expired
	}
}

// serveStatus takes what the hub says of an own user's knock. Another provider than the
// one that was asked may be the hub by now: then it is asked, which finds out.
func (s *Service) serveStatus(ctx context.Context, in *peering.Incoming) (*peering.Response, error) {
	st, err := knock.ParseStatus(in.Body)
	if err != nil {
		return nil, invalid("the status does not decode: %v", err)
	}
	u, err := uri.ParseRoom(in.Subject)
	if err != nil || st.User.Provider().Domain() != s.cfg.Domain {
		return nil, invalid("%s is no user of %s", st.User, s.cfg.Domain)
	}
	k := ownKey{st.User, u}
	if err := s.heardOf(ctx, k, in.Source, st); err != nil {
		return nil, fmt.Errorf("storing what has become of a knock: %w", err)
	}
	return &peering.Response{Status: http.StatusCreated}, nil
}

func (s *Service) heardOf(ctx context.Context, k ownKey, source string, st *knock.Status) error {
	o, err := s.viewOwn(k)
	if err != nil || !o.state.pending() {
		return err
	}
	if o.hub == source {
		again, _, err := s.settle(ctx, k, o, st)
		if err != nil || again {
			return err
		}
		s.mu.Lock()
		if a := s.due[k]; a != nil && !a.busy {
			delete(s.due, k)
		}
		s.mu.Unlock()
		return nil
	}
	s.mu.Lock()
	if a := s.due[k]; a != nil && a.fails == 0 { // once; not whenever somebody says so
		a.at, a.fails = time.Time{}, 1
	}
	s.mu.Unlock()
	s.poke()
	return nil
}

// forgetOwn forgets knocks that came to an end long ago.
func (s *Service) forgetOwn(ctx context.Context) error {
	now := s.cfg.Now()
	var old []ownKey
	err := s.cfg.Store.View(func(tx *store.Tx) error {
		for k, o := range ownsOf(tx, uri.User{}) {
			if !o.state.pending() && now.Sub(o.changed) > keep {
				old = append(old, k)
			}
		}
		return nil
	})
	for _, k := range old {
		if err != nil {
			break
		}
		err = s.cfg.Store.Update(ctx, func(tx *store.Tx) error {
			if o, err := readOwn(tx, k); err != nil || o.state == 0 || o.state.pending() {
				return err
			}
			return deleteOwn(tx, k)
		})
	}
	return err
}

// Admits says whether an own user's knock lets a requester fetch her KeyPackages for a room:
// she waits to be let in, and it is the hub that asks, or somebody of whom this
// provider knows that it may add her. What it looks at besides depends on her having
// knocked, which the hub knows.
func (s *Service) Admits(ctx context.Context, requester, target uri.User, u uri.Room, source string) (bool, error) {
	o, err := s.viewOwn(ownKey{target, u})
	if err != nil || o.state != asking && o.state != waiting || s.cfg.Now().Sub(o.issued) > knock.Lifetime {
		return false, err
	}
	if source == o.hub && source != s.cfg.Domain {
		return true, nil
	}
	d, err := s.cfg.Rooms.Door(ctx, room.IDOf([]byte(u.String())), target, requester)
	if _, ok := errors.AsType[*clientapi.Problem](err); ok {
		return false, nil
	}
	return err == nil && d.Adds, err
}
