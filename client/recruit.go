package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
)

// A room of two providers rests on one of them, unless a third one keeps it, too, in
// which nobody takes part: see room.Outside. Where an administrator has allowed that,
// administrators' devices have their provider look for one, name it, replace it when it is
// gone, and drop it when a third provider's user has come.

// Outside is what a room says of a replica from outside.
type Outside struct {
	Allowed bool
	Recruit string // the provider that keeps the room, and has nobody in it; "": none
}

// RecruitChanged: a provider in which nobody takes part keeps the room from now on: it
// sees who takes part, and when somebody says something, but not what. Or no such provider
// does any more; then Recruit is empty and Former is the one that did.
type RecruitChanged struct {
	Room            uri.Room
	Recruit, Former string
}

func (RecruitChanged) notice() {}

// found is what the own provider has found in place of a recruit.
type found struct {
	instead string    // of which one; "": of none
	recruit string    // "": none, and the present one does not keep the room
	until   time.Time // the recruit's promise ends
}

// maxRecruitWait is how long a device waits at most before it has a recruit looked for
// again where there was none.
const maxRecruitWait = time.Hour

// Outside returns what a room says of a replica from outside. Errors: ErrNoRoom,
// ErrNotReady.
func (c *Client) Outside(ctx context.Context, u uri.Room) (out Outside, err error) {
	err = c.joined(ctx, u, func(r *roomState) error {
		o, err := room.OutsideOf(r.group.Public().Context())
		if err == nil {
			out = Outside{Allowed: o.Allowed, Recruit: r.recruited()}
		}
		return err
	})
	if err != nil {
		return out, fmt.Errorf("looking who keeps %s: %w", u, err)
	}
	return out, nil
}

// AllowOutside says whether a provider in which nobody takes part may keep a room, and
// returns when the room says so; one that is not allowed any more is dropped. Where it is
// allowed, one is looked for by itself as long as two providers take part. Errors as
// AddUser; ErrRefused where the own role does not allow it.
func (c *Client) AllowOutside(ctx context.Context, u uri.Room, allow bool) error {
	if err := c.change(ctx, u, &wish{Kind: wishOutside, Allow: allow}); err != nil {
		return fmt.Errorf("saying whether another provider may keep %s: %w", u, err)
	}
	return nil
}

// Recruit has a provider found in which nobody takes part, and returns it when it keeps
// the room: the present one, if there is one. It allows that first. Errors as
// AllowOutside, *clientapi.Problem with CodeNotFound if there is none, ErrProviderKey.
func (c *Client) Recruit(ctx context.Context, u uri.Room) (provider string, err error) {
	if err := c.AllowOutside(ctx, u, true); err != nil {
		return "", err
	}
	fail := func(err error) (string, error) {
		return "", fmt.Errorf("recruiting a replica for %s: %w", u, err)
	}
	id := room.IDOf([]byte(u.String()))
	was, err := c.Outside(ctx, u)
	if err != nil {
		return fail(err)
	}
	got, p, err := c.askRecruit(ctx, id)
	if err != nil {
		return fail(err)
	}
	err = c.do(ctx, func() (error, error) { return c.foundRecruit(id, was.Recruit, got, p) })
	if err == nil && got.Present && got.Provider != was.Recruit {
		err = c.Sync(ctx) // the own provider knows already what is to come
	}
	if err == nil && !got.Present {
		err = c.change(ctx, u, &wish{Kind: wishHosting})
	}
	if err != nil {
		return fail(err)
	}
	now, err := c.Outside(ctx, u)
	if err == nil && (now.Recruit == "" || now.Recruit != got.Provider) {
		err = fmt.Errorf("the room has changed meanwhile, see who takes part: %w", ErrRefused)
	}
	if err != nil {
		return fail(err)
	}
	return now.Recruit, nil
}

// askRecruit asks the own provider for a recruit, and for what it knows of it.
func (c *Client) askRecruit(ctx context.Context, id room.ID) (*clientapi.Recruit, *clientapi.Provider, error) {
	got := new(clientapi.Recruit)
	if err := c.api.call(ctx, "POST", "/v1/rooms/"+id.String()+"/recruit", nil, got); err != nil {
		return nil, nil, err
	}
	if got.Present || got.Provider == "" {
		return got, nil, nil
	}
	p, err := c.lookUp(ctx, got.Provider)
	return got, p, err
}

// foundRecruit takes note of a recruit that the own provider has found in place of
// another, if its key is the one that it is known by. err is about the recruit.
func (c *Client) foundRecruit(id room.ID, instead string, got *clientapi.Recruit, p *clientapi.Provider) (err, fatal error) {
	r := c.rooms[id]
	if r == nil || r.State != roomJoined {
		return ErrNoRoom, nil
	}
	r.found = nil
	if got.Present || instead != r.recruited() {
		return nil, nil // another administrator's device may have been quicker
	}
	if p != nil {
		b := new(batch)
		if err := c.trust.learn(b, p); err != nil {
			c.trust.drop(p.Domain)
			return err, nil
		}
		if fatal := c.commit(b); fatal != nil {
			return nil, fatal
		}
		if !c.trust.is(got.Provider, got.Key) {
			return fmt.Errorf("%s promises to keep %s with key %.16x, by which it is not known: %w", got.Provider, r.uri, got.Key, ErrProviderKey), nil
		}
	}
	r.found, r.hostingAt = &found{instead, got.Provider, time.UnixMilli(got.Until)}, time.Time{}
	return nil, nil
}

// recruited returns the provider that keeps the room and has nobody in it, as members have
// agreed; "" if there is none.
func (r *roomState) recruited() string {
	ctx := r.group.Public().Context()
	o, err := room.OutsideOf(ctx)
	if err != nil || o.Recruit == "" || slices.Contains(r.providers(), o.Recruit) {
		return ""
	}
	h, err := room.HostingOf(ctx)
	if err != nil || !slices.ContainsFunc(h.Replicas, func(x room.Replica) bool { return x.Domain == o.Recruit }) {
		return ""
	}
	return o.Recruit
}

// recruitFor returns which provider should keep the room, and has nobody in it: the one
// that does, unless the own provider has found another one in its place.
func (r *roomState) recruitFor() string {
	o, err := room.OutsideOf(r.group.Public().Context())
	providers := r.providers()
	if err != nil || !o.Allowed || len(providers) != room.MaxForRecruit {
		return ""
	}
	now := r.recruited()
	if f := r.found; f != nil && f.instead == now && !slices.Contains(providers, f.recruit) {
		return f.recruit
	}
	return now
}

// stageOutside puts into a commit what the room says of its recruit, which is to be
// recruit. done: there is nothing left to wish for.
func (c *Client) stageOutside(r *roomState, w *wish, o *mls.CommitOptions) (done bool, err error) {
	was, err := room.OutsideOf(r.group.Public().Context())
	if err != nil {
		return false, err
	}
	next := *was
	switch w.Kind {
	case wishOutside:
		if was.Allowed == w.Allow {
			return true, nil
		}
		if next.Allowed = w.Allow; !w.Allow {
			next.Recruit = ""
		}
	case wishHosting:
		next.Recruit = r.recruitFor()
	case wishMove: // a set of one; who moves it without power leaves the name, which means nothing then
		if c.admin(r) {
			next.Recruit = ""
		}
	}
	if next == *was {
		return false, nil
	}
	p, err := room.UpdateOutside(&next)
	if err != nil {
		return false, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	o.Proposals = append(o.Proposals, p)
	return false, nil
}

// misnamed says whether the room names as its recruit who should not be.
func (r *roomState) misnamed() bool {
	o, err := room.OutsideOf(r.group.Public().Context())
	return err == nil && o.Recruit != r.recruitFor()
}

// watchRecruit has an administrator's device see to the room's recruit. The lowest leaf of
// an administrator looks first, each next one later and more seldom.
func (c *Client) watchRecruit(r *roomState, now time.Time, soon func(*task) bool) {
	if f := r.found; f != nil && f.recruit != "" && !now.Before(f.until) {
		r.found = nil // nobody has named it, and it does not wait any longer
	}
	if r.recruiting.busy {
		return
	}
	o, err := room.OutsideOf(r.group.Public().Context())
	if err != nil || !o.Allowed || len(r.providers()) != room.MaxForRecruit || !c.admin(r) || c.leaving(r) {
		r.recruiting, r.found = task{}, nil
		return
	}
	if r.recruiting.at.IsZero() {
		r.recruiting.at = now.Add(time.Duration(c.adminsBefore(r))*c.cfg.CommitDelay + jitter(c.cfg.CommitDelay/4))
	}
	if r.Lead.Changing() || !soon(&r.recruiting) {
		return
	}
	instead := r.recruited()
	c.async("looking for a replica of "+r.uri.String(), &r.recruiting, func(ctx context.Context) (func() error, error) {
		got, p, err := c.askRecruit(ctx, r.id)
		var said *clientapi.Problem
		if err != nil && !errors.As(err, &said) {
			return nil, err
		}
		return func() error {
			if said == nil {
				var fatal error
				if err, fatal = c.foundRecruit(r.id, instead, got, p); fatal != nil {
					return fatal
				}
			}
			wait := c.cfg.RecruitLook * time.Duration(1+min(c.adminsBefore(r), 5))
			if r.unfound++; err == nil {
				r.unfound = 0
			} else {
				wait = min(c.cfg.RecruitLook/10<<min(r.unfound-1, 16), maxRecruitWait)
				if said != nil {
					wait = max(wait, min(time.Duration(said.Retry)*time.Millisecond, maxRecruitWait))
				}
				c.log.Info("no replica from outside", "room", r.uri, "error", err, "again_in", wait)
			}
			if errors.Is(err, ErrProviderKey) {
				c.emit(Problem{r.uri, err})
			}
			r.recruiting.at = c.cfg.Now().Add(wait - wait/4 + jitter(wait/4))
			return nil
		}, nil
	})
}

// adminsBefore is how many administrators' leaves come before the own one, at most 30.
func (c *Client) adminsBefore(r *roomState) int {
	rank := 0
	for m := range r.group.Public().Members() {
		if u, err := room.UserOf(m.Node); err == nil && m.Leaf < r.group.OwnLeaf() && r.roles().May(c.roleIn(r, u), policy.ChangeHosting) {
			rank++
		}
	}
	return min(rank, 30)
}

// tellRecruit tells when another provider keeps the room than people were told.
func (c *Client) tellRecruit(b *batch, r *roomState) {
	now := r.recruited()
	if now == r.keeper {
		return
	}
	b.tell(RecruitChanged{Room: r.uri, Recruit: now, Former: r.keeper})
	r.found = nil // it was found for a room that is not like that any more
	if r.keeper = now; now == "" && !r.recruiting.busy {
		r.recruiting = task{} // look soon
	}
}
