package client

import (
	"bytes"
	"context"
	"fmt"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
)

// What a room says about itself, and how it ends. Names of package policy that applications
// need, who import this package alone.
type (
	// Policies are a room's policy components.
	Policies = room.Policies
	// BasePolicy bounds who and how many take part.
	BasePolicy = policy.Base
	// StatusPolicy says whether delivery and reading are told.
	StatusPolicy = policy.Status
	// ExpirationPolicy says whether messages end by themselves.
	ExpirationPolicy = policy.Expiration
	// PolicyBound is a bound that may be absent.
	PolicyBound = policy.Bound
	// Optionality says whether something may, must or must not be.
	Optionality = policy.Optionality
	// Metadata are a room's name and what else describes it.
	Metadata = policy.Metadata
)

// ParseOptionality reads optional, required or forbidden.
func ParseOptionality(s string) (Optionality, error) { return policy.ParseOptionality(s) }

// Policies returns what a room's policy says. Errors: ErrNoRoom, ErrNotReady.
func (c *Client) Policies(ctx context.Context, u uri.Room) (p *Policies, err error) {
	err = c.joined(ctx, u, func(r *roomState) error {
		p, err = room.PoliciesOf(r.group.Public().Context())
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading the policy of %s: %w", u, err)
	}
	return p, nil
}

// SetPolicy puts a policy component in place of the room's: *BasePolicy, *StatusPolicy, and
// what else package room knows. It returns when the room has it. Errors as SetRole, and
// policy.ErrComponent.
func (c *Client) SetPolicy(ctx context.Context, u uri.Room, p room.Component) error {
	x, err := room.Update(p)
	if err == nil {
		err = c.change(ctx, u, &wish{Kind: wishPolicy, Component: uint16(x.AppData.Component), Data: x.AppData.Update})
	}
	if err != nil {
		return fmt.Errorf("setting the policy of %s: %w", u, err)
	}
	return nil
}

// Describing says which of a room's metadata to change; nil: stays as it is.
type Describing struct {
	Name, Topic, Description, Avatar, Mood *string `json:",omitempty"`
}

// Metadata returns a room's name and what else describes it. Errors: ErrNoRoom, ErrNotReady.
func (c *Client) Metadata(ctx context.Context, u uri.Room) (m *Metadata, err error) {
	err = c.joined(ctx, u, func(r *roomState) error {
		if m = r.metadata(); m == nil {
			m = &Metadata{URI: u.String()}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading what describes %s: %w", u, err)
	}
	return m, nil
}

// Describe changes a room's metadata, each field as its capability allows. It returns when
// the room has it. Errors as SetRole, and policy.ErrComponent.
func (c *Client) Describe(ctx context.Context, u uri.Room, d Describing) error {
	err := d.apply(&Metadata{URI: u.String()}).Check()
	if err == nil {
		err = c.change(ctx, u, &wish{Kind: wishDescribe, Describe: &d})
	}
	if err != nil {
		return fmt.Errorf("describing %s: %w", u, err)
	}
	return nil
}

// apply returns metadata with the changes.
func (d *Describing) apply(m *Metadata) *Metadata {
	out := *m
	set := func(to *string, s *string) {
		if s != nil {
			*to = *s
		}
	}
	set(&out.Name, d.Name)
	set(&out.Subject, d.Topic)
	set(&out.Avatar, d.Avatar)
	set(&out.Mood, d.Mood)
	if d.Description != nil {
		out.Descriptions = nil
		if *d.Description != "" {
			out.Descriptions = []policy.Description{{Content: *d.Description}}
		}
	}
	return &out
}

// Destroy ends a room for everybody, for good. What was said stays on the devices. Errors as
// SetRole.
func (c *Client) Destroy(ctx context.Context, u uri.Room) error {
	return c.destroy(ctx, u, uri.Room{})
}

// destroy ends a room, which says that it goes on as next, if that is not zero.
func (c *Client) destroy(ctx context.Context, u, next uri.Room) error {
	w := &wish{Kind: wishEnd}
	if !next.IsZero() {
		w.Data = []byte(next.String())
	}
	if err := c.change(ctx, u, w); err != nil {
		return fmt.Errorf("ending %s: %w", u, err)
	}
	return nil
}

// metadata returns the room's; nil: it has none that can be read.
func (r *roomState) metadata() *Metadata {
	m, err := room.MetadataOf(r.group.Public().Context())
	if err != nil {
		return nil
	}
	return m
}

// base returns the room's base policy. That it can be read was seen when it was judged.
func (r *roomState) base() *BasePolicy {
	p, err := room.PoliciesOf(r.group.Public().Context())
	if err != nil || p.Base == nil {
		return policy.DefaultBase()
	}
	return p.Base
}

// stagePolicy puts a component into a commit; done: it is as it is wished.
func (c *Client) stagePolicy(r *roomState, w *wish, o *mls.CommitOptions) (done bool, err error) {
	if w.Kind == wishYield {
		return c.stageYield(r, o), nil
	}
	if w.Kind == wishEnd {
		var next uri.Room
		if len(w.Data) > 0 {
			if next, err = uri.ParseRoom(string(w.Data)); err != nil {
				return false, fmt.Errorf("%w: %w", ErrStorage, err)
			}
		}
		o.Proposals = append(o.Proposals, room.Ends(next))
		return false, nil
	}
	var next room.Component
	if w.Kind == wishDescribe {
		before := r.metadata()
		if before == nil {
			before = &Metadata{URI: r.uri.String()}
		}
		next = w.Describe.apply(before)
	} else if next, err = room.ParseComponent(mls.ComponentID(w.Component), w.Data); err != nil {
		return false, fmt.Errorf("%w: %w", ErrStorage, err)
	}
	p, err := room.Update(next)
	if err != nil {
		return false, fmt.Errorf("%w: %w", err, ErrRefused)
	}
	d, err := r.group.Public().Context().Extensions.Dictionary(room.BodyLimits().Limits)
	if err != nil {
		return false, err
	}
	if now, ok := d[p.AppData.Component]; ok && bytes.Equal(now, p.AppData.Update) {
		return true, nil
	}
	o.Proposals = append(o.Proposals, p)
	return false, nil
}

// mayLeave says whether this user may leave a room in which others stay.
func (c *Client) mayLeave(r *roomState) error {
	v, err := r.roster.View(r.group.Public())
	if err != nil {
		return err
	}
	role := v.Role(c.as(r).String())
	if v.Base.Fixed {
		return nil // only its devices go
	}
	if err := v.Rules.SetRole(role, true, role, policy.None); err != nil {
		return fmt.Errorf("%w: %w", err, ErrRefused)
	}
	without := map[policy.Role]policy.Count{}
	for _, d := range v.Rules.All() {
		without[d.Index] = v.Count(d.Index)
	}
	before := without[role]
	now := map[policy.Role]policy.Count{}
	for k, x := range without {
		now[k] = x
	}
	now[role] = policy.Count{Users: before.Users - 1, Active: before.Active - 1}
	if err := v.Rules.Bounds(without, now); err != nil {
		return fmt.Errorf("%w; give the role %s to somebody else first (mimid client room role ROOM USER %s), or end the room for everybody (mimid client room destroy ROOM): %w",
			err, v.Rules.Name(role), v.Rules.Name(role), ErrRefused)
	}
	return nil
}

// deserted leaves a room that has ended because all who were in it have proposed to go.
func (c *Client) deserted(b *batch, r *roomState) error {
	v, err := r.roster.View(r.group.Public())
	if err == nil {
		v, err = v.Effective(r.group.Public(), r.roster)
	}
	if err != nil || !v.Over() {
		return err
	}
	reason := "the room has ended: everybody has left it"
	for _, w := range c.wishesOf(r) {
		if w.Kind == wishLeave {
			reason = "left the room, which has ended with that: nobody is in it any more"
		}
	}
	return c.leaveGroup(b, r, roomLeft, reason)
}

// roomEnded follows the commit that ended a room.
func (c *Client) roomEnded(b *batch, r *roomState, own *wish, by uri.User, end *room.Tombstone) error {
	if own != nil {
		c.wishDone(b, own, nil)
	}
	reason := "the room was ended by " + r.shown(by).Short()
	if err := c.yielded(b, r, end.Successor); err != nil {
		return err
	}
	if !end.Successor.IsZero() {
		reason += "; it goes on as " + end.Successor.String()
	}
	return c.leaveGroup(b, r, roomLeft, reason)
}
