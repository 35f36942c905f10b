package client

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
)

// Who succeeds a room's administrators when they are gone: see room.Succession. A member
// claims the room and others endorse it because they want to; what follows, their devices
// do by themselves: the claimant's takes the room when the time has come, and the device
// of somebody against whom the claim is ends it.

// Succession is how a room's power passes on.
type Succession struct {
	Patience time.Duration // for how long administrators may be silent; 0: nobody succeeds
	Claim    *Claim        // nil: nobody claims it
	// Successors could claim the room or endorse a claim, those who have stood longest
	// first. Without a claim: if all administrators' providers were gone.
	Successors []uri.User
}

// Claim is a wish to succeed the administrators that stands in the room.
type Claim struct {
	Claimant  uri.User
	Since     time.Time
	Due       time.Time // when it takes effect; zero: as soon as nobody is missing
	Gone      []string  // domains and users that are said to be gone
	Endorsers []uri.User
	Missing   int // how many successors have to endorse it yet
}

// Step of a claim.
type Step string

// Steps.
const (
	StepClaimed  Step = "claimed"
	StepEndorsed Step = "endorsed"
	StepEnded    Step = "ended" // somebody whom it was against gave a sign of life, or the claimant gave up
	StepTaken    Step = "taken" // the claimant is an administrator now
)

// SuccessionStep: somebody claims the room's power, whose holders are said to be gone; or
// what became of that.
type SuccessionStep struct {
	Room  uri.Room
	Step  Step
	By    uri.User // who has taken the step
	Claim Claim    // as it stands, or stood before it ended
}

func (SuccessionStep) notice() {}

// Succession returns how a room's power passes on. Errors: ErrNoRoom, ErrNotReady.
func (c *Client) Succession(ctx context.Context, u uri.Room) (out Succession, err error) {
	err = c.joined(ctx, u, func(r *roomState) error {
		ctx := r.group.Public().Context()
		s, err := room.SuccessionOf(ctx)
		if err != nil {
			return err
		}
		list, err := room.ParticipantsOf(ctx)
		if err != nil {
			return err
		}
		out.Patience = s.Patience
		gone := room.DomainsOf(room.Holders(r.roles(), list))
		if s.Claim != nil {
			gone = s.Claim.Gone
			x := r.showClaim(r.viewClaim(s))
			out.Claim = &x
		}
		for _, x := range usersOf(room.Successors(r.roles(), list, r.roster.Clients, gone)) {
			out.Successors = append(out.Successors, r.shown(x))
		}
		return nil
	})
	if err != nil {
		return out, fmt.Errorf("looking who succeeds in %s: %w", u, err)
	}
	return out, nil
}

func usersOf(list []string) []uri.User {
	var out []uri.User
	for _, x := range list {
		if u, err := uri.ParseParticipant(x); err == nil {
			out = append(out, u)
		}
	}
	return out
}

func (r *roomState) viewClaim(s *room.Succession) Claim {
	x := s.Claim
	out := Claim{Since: time.UnixMilli(int64(x.At)), Gone: slices.Clone(x.Gone), Endorsers: usersOf(x.Endorsers)}
	out.Claimant, _ = uri.ParseParticipant(x.Claimant)
	if list, err := room.ParticipantsOf(r.group.Public().Context()); err == nil {
		missing, due := s.Missing(r.roles(), list, r.roster.Clients)
		if out.Missing = missing; due > 0 {
			out.Due = time.UnixMilli(int64(due))
		}
	}
	return out
}

// showClaim names who can be named.
func (r *roomState) showClaim(x Claim) Claim {
	x.Claimant, x.Endorsers, x.Gone = r.shown(x.Claimant), slices.Clone(x.Endorsers), slices.Clone(x.Gone)
	for i, u := range x.Endorsers {
		x.Endorsers[i] = r.shown(u)
	}
	for i, g := range x.Gone {
		if p, err := uri.ParsePseudonym(g); err == nil {
			x.Gone[i] = r.shown(p.Participant()).String()
		}
	}
	return x
}

// ClaimRoom claims the power in a room whose administrators are gone: gone are domains,
// and URIs of administrators; nil means all providers of administrators. It returns when
// the claim stands for all to see. The room is taken later, by itself, if nobody speaks
// against it and enough others endorse it. Errors as AddUser; ErrRefused with the rule
// that forbids it.
func (c *Client) ClaimRoom(ctx context.Context, u uri.Room, gone []string) error {
	return c.succession(ctx, u, &wish{Kind: wishClaim, Gone: gone}, "claiming")
}

// EndorseClaim joins the claim that stands in a room. Errors as ClaimRoom.
func (c *Client) EndorseClaim(ctx context.Context, u uri.Room) error {
	return c.succession(ctx, u, &wish{Kind: wishEndorse}, "endorsing the claim to")
}

// EndClaim ends the claim that stands in a room: an own one, or one against this user.
// Errors as ClaimRoom.
func (c *Client) EndClaim(ctx context.Context, u uri.Room) error {
	return c.succession(ctx, u, &wish{Kind: wishObject}, "ending the claim to")
}

// SetPatience says for how long administrators of a room may be silent before others may
// succeed them; 0: for ever. Errors as ClaimRoom.
func (c *Client) SetPatience(ctx context.Context, u uri.Room, patience time.Duration) error {
	if err := (&room.Succession{Patience: patience}).Check(); err != nil {
		return fmt.Errorf("setting the patience of %s: %w: %w", u, err, ErrRefused)
	}
	return c.succession(ctx, u, &wish{Kind: wishPatience, Patience: patience}, "setting the patience of")
}

func (c *Client) succession(ctx context.Context, u uri.Room, w *wish, what string) error {
	if err := c.change(ctx, u, w); err != nil {
		return fmt.Errorf("%s %s: %w", what, u, err)
	}
	return nil
}

// stageSuccession puts what a wish does to the succession into a commit. A claim that is
// against this user ends with whatever it commits. done: there is nothing left to wish for.
func (c *Client) stageSuccession(r *roomState, w *wish, o *mls.CommitOptions) (done bool, err error) {
	ctx := r.group.Public().Context()
	s, err := room.SuccessionOf(ctx)
	if err != nil {
		return false, err
	}
	list, err := room.ParticipantsOf(ctx)
	if err != nil {
		return false, err
	}
	self := c.as(r).String()
	claim := s.Claim
	none := func() (bool, error) {
		return false, fmt.Errorf("nobody claims %s: %w", r.uri, ErrRefused)
	}
	switch w.Kind {
	case wishClaim:
		if claim != nil && claim.Claimant == self {
			return true, nil
		}
		gone := slices.Clone(w.Gone)
		if gone == nil {
			gone = room.DomainsOf(room.Holders(r.roles(), list))
		}
		for i, x := range gone {
			if _, err := uri.ParseUser(x); err != nil {
				continue
			}
			if gone[i], err = c.goesBy(r, x); err != nil {
				return false, err
			}
		}
		slices.Sort(gone)
		s.Claim = &room.Claim{Claimant: self, At: uint64(max(0, c.cfg.Now().UnixMilli())), Gone: slices.Compact(gone), Endorsers: []string{self}}
	case wishEndorse:
		if claim == nil {
			return none()
		}
		if slices.Contains(claim.Endorsers, self) {
			return true, nil
		}
		claim.Endorsers = append(claim.Endorsers, self)
		slices.Sort(claim.Endorsers)
	case wishObject:
		if claim == nil {
			return true, nil
		}
		s.Claim = nil
	case wishTake:
		if claim == nil || claim.Claimant != self {
			return true, nil // it has ended, or come true
		}
		p, err := room.UpdateParticipants(ctx, []room.Participant{{User: c.as(r), Role: r.roles().Top()}}, nil)
		if err != nil {
			return false, err
		}
		if p != nil {
			o.Proposals = append(o.Proposals, p)
		}
		s.Claim = nil
	case wishPatience:
		if s.Patience == w.Patience {
			return true, nil
		}
		s.Patience, s.Claim = w.Patience, nil
	default:
		if claim == nil || !c.claimedAgainst(r, claim) {
			return false, nil
		}
		s.Claim = nil
	}
	p, err := room.UpdateSuccession(s)
	if err != nil {
		return false, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	o.Proposals = append(o.Proposals, p)
	return false, nil
}

// claimedAgainst says whether a claim is against this user, and ends with any commit.
func (c *Client) claimedAgainst(r *roomState, claim *room.Claim) bool {
	return room.Holds(r.roles(), c.roleIn(r, c.as(r))) || room.SaidGone(claim.Gone, c.as(r))
}

// successionPause is how long a device waits until it tries again what it does by itself.
const successionPause = time.Minute

// watchSuccession ends a claim that is against this user, and takes the room when the own
// claim's time has come.
func (c *Client) watchSuccession(r *roomState, now time.Time) error {
	if r.claim == nil || r.claimAt.After(now) || c.leaving(r) {
		return nil
	}
	if slices.ContainsFunc(c.wishesOf(r), func(w *wish) bool { return w.Kind == wishObject || w.Kind == wishTake }) {
		return nil
	}
	s, err := room.SuccessionOf(r.group.Public().Context())
	if err != nil || s.Claim == nil {
		return nil
	}
	kind := wishTake
	if c.claimedAgainst(r, s.Claim) {
		kind = wishObject
	} else {
		view := r.viewClaim(s)
		if view.Claimant != c.as(r) || view.Missing > 0 {
			r.claimAt = now.Add(successionPause)
			return nil
		}
		// The hub's clock decides; this one may be ahead of it.
		if due := view.Due.Add(time.Second); !view.Due.IsZero() && due.After(now) {
			r.claimAt = due
			return nil
		}
	}
	r.claimAt = now.Add(successionPause) // if it comes to nothing
	b := new(batch)
	c.newWish(b, &wish{Room: r.id, Kind: kind})
	return c.commit(b)
}

// tellSuccession tells what a commit by somebody, or coming into the room, has made of
// the claim.
func (c *Client) tellSuccession(b *batch, r *roomState, by uri.User) {
	s, err := room.SuccessionOf(r.group.Public().Context())
	if err != nil {
		return
	}
	was := r.claim
	r.claim, r.claimAt = nil, time.Time{}
	if s.Claim != nil {
		x := r.viewClaim(s)
		r.claim = &x
	}
	if by == (uri.User{}) && r.claim != nil {
		by = r.claim.Claimant
	}
	same := func(a, b *Claim) bool { return a.Claimant == b.Claimant && a.Since.Equal(b.Since) }
	if was != nil && (r.claim == nil || !same(was, r.claim)) {
		step := StepEnded
		if by == was.Claimant && room.Holds(r.roles(), c.roleIn(r, was.Claimant)) {
			step = StepTaken
		}
		b.tell(SuccessionStep{r.uri, step, r.shown(by), r.showClaim(*was)})
		was = nil
	}
	switch {
	case r.claim == nil:
	case was == nil:
		b.tell(SuccessionStep{r.uri, StepClaimed, r.shown(by), r.showClaim(*r.claim)})
	case len(was.Endorsers) != len(r.claim.Endorsers):
		b.tell(SuccessionStep{r.uri, StepEndorsed, r.shown(by), r.showClaim(*r.claim)})
	}
}
