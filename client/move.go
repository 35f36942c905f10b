package client

import (
	"bytes"
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

// A room whose provider is gone for good, or hostile, is moved by one of its
// administrators: a commit that names the administrator's own provider goes to all
// others, and takes effect when most of them have acknowledged it.

// maxEra bounds how far beyond the room's present era a move tries to begin one: others
// may have begun some that came to nothing.
const maxEra = 6

// MoveRoom has the user's own provider order a room from now on, without the consent of
// the one that does. It returns when that has come about; if ctx ends before, the wish
// stays. Where most of the providers that decide about the room answer, they elect the
// user's own, if it is one of them. Otherwise what only the former provider had is not in
// the room any more. A room that stands still over two final histories may be moved from its own provider
// to itself, if that can prove who has lied. If the providers of all administrators are gone with the room's,
// those who succeed them (see Succession) can do it after the room's patience.
//
// Errors: ErrNoRoom, ErrRefused (not an administrator; most of the providers that decide
// answer, and the own one is none of them), ErrMoving (the own provider orders the room by
// its log, and has acknowledged that it is moved elsewhere), ErrUnreachable,
// *clientapi.Problem, ErrStopped, ErrStorage.
func (c *Client) MoveRoom(ctx context.Context, u uri.Room) error {
	err := c.know(ctx, c.user.Provider().Domain())
	var era uint32
	if err == nil {
		era, err = c.unbound(ctx, u)
	}
	if err == nil {
		err = c.change(ctx, u, &wish{Kind: wishMove, Era: era})
	}
	if err != nil {
		return fmt.Errorf("moving %s to %s: %w", u, c.user.Provider().Domain(), err)
	}
	return nil
}

// unbound says whether the own provider still orders a room that it orders by this device's
// log: it may have acknowledged that the room is moved, which stands in no log yet. If the
// room stands still there because two histories of it are final, it is the next era in which
// it can go on.
func (c *Client) unbound(ctx context.Context, u uri.Room) (era uint32, err error) {
	own, here := c.user.Provider().Domain(), false
	_, api, err := c.self(ctx)
	if err == nil {
		err = c.do(ctx, func() (error, error) {
			c.untouched()
			r := c.rooms[room.IDOf([]byte(u.String()))]
			if here = r != nil && r.State == roomJoined && r.Lead.Hub.Domain == own; here {
				era = r.Lead.Term.Era + 1
			}
			return nil, nil
		})
	}
	if err != nil || !here {
		return 0, err
	}
	x := new(clientapi.Room)
	if err := api.call(ctx, "GET", "/v1/rooms/"+room.IDOf([]byte(u.String())).String(), nil, x); err != nil {
		return 0, err
	}
	switch {
	case x.Conflict != nil:
		return era, nil
	case x.MovingTo != "" && x.MovingTo != own:
		return 0, fmt.Errorf("%s has acknowledged that the room is moved to %s, and has not heard whether it was: %w", own, x.MovingTo, ErrMoving)
	}
	return 0, nil
}

// SetRole gives a participant another role of the room, by its name, and returns when it
// has it. Who is banned leaves the group by the same change. Errors as AddUser; ErrRefused
// where there is no such role, or the own one does not allow it.
func (c *Client) SetRole(ctx context.Context, u uri.Room, who uri.User, name string) error {
	var role policy.Role
	err := c.joined(ctx, u, func(r *roomState) (err error) {
		if role, err = r.roles().Named(name); err != nil {
			err = fmt.Errorf("%w: %w", err, ErrRefused)
		}
		return err
	})
	if err == nil {
		err = c.change(ctx, u, &wish{Kind: wishRole, User: who.String(), Role: role})
	}
	if err != nil {
		return fmt.Errorf("making %s %.64s in %s: %w", who, name, u, err)
	}
	return nil
}

// Roles returns what the roles of a room mean. Errors: ErrNoRoom, ErrNotReady.
func (c *Client) Roles(ctx context.Context, u uri.Room) (roles *policy.Roles, err error) {
	err = c.joined(ctx, u, func(r *roomState) error { roles = r.roles(); return nil })
	if err != nil {
		return nil, fmt.Errorf("looking up the roles of %s: %w", u, err)
	}
	return roles, nil
}

// DefineRoles says anew what the roles of a room mean; who takes part keeps the role of the
// same index. Errors as SetRole.
func (c *Client) DefineRoles(ctx context.Context, u uri.Room, roles *policy.Roles) error {
	if err := c.change(ctx, u, &wish{Kind: wishDefine, Roles: roles.Append(nil)}); err != nil {
		return fmt.Errorf("saying what the roles of %s mean: %w", u, err)
	}
	return nil
}

// stageRoles puts new meanings of the roles into a commit; done: they have them.
func (c *Client) stageRoles(r *roomState, w *wish, o *mls.CommitOptions) (done bool, err error) {
	next, err := policy.ParseRoles(w.Roles)
	if err != nil {
		return false, fmt.Errorf("%w: %w", ErrStorage, err)
	}
	now := r.roles()
	if bytes.Equal(now.Append(nil), w.Roles) {
		return true, nil
	}
	if err := now.Need(c.roleIn(r, c.as(r)), policy.ChangeRoleDefinitions); err != nil {
		return false, fmt.Errorf("%w: %w", err, ErrRefused)
	}
	o.Proposals = append(o.Proposals, room.UpdateRoles(next))
	return false, nil
}

// Ban keeps a user out of a room, whether it takes part or not. Errors as SetRole.
func (c *Client) Ban(ctx context.Context, u uri.Room, who uri.User) error {
	return c.SetRole(ctx, u, who, policy.BannedName)
}

// Unban takes a banned user off the list, so that it can be added again. Errors as SetRole.
func (c *Client) Unban(ctx context.Context, u uri.Room, who uri.User) error {
	if err := c.change(ctx, u, &wish{Kind: wishUnban, User: who.String()}); err != nil {
		return fmt.Errorf("lifting the ban of %s in %s: %w", who, u, err)
	}
	return nil
}

// Kick takes a user's devices out of a room; the user stays a participant, whose devices
// can be added again. Errors as SetRole.
func (c *Client) Kick(ctx context.Context, u uri.Room, who uri.User) error {
	if err := c.change(ctx, u, &wish{Kind: wishKick, User: who.String()}); err != nil {
		return fmt.Errorf("removing the devices of %s from %s: %w", who, u, err)
	}
	return nil
}

// stageRole puts the change of a participant's role into a commit; done: it has the role.
func (c *Client) stageRole(r *roomState, w *wish, who uri.User, o *mls.CommitOptions) (done bool, err error) {
	// What is refused is known before anybody is asked, and said in words.
	roles, own, from := r.roles(), c.roleIn(r, c.as(r)), c.roleIn(r, who)
	deny := func(err error) (bool, error) { return false, fmt.Errorf("%w: %w", err, ErrRefused) }
	var set []room.Participant
	var remove []uri.User
	switch {
	case w.Kind == wishKick && from == policy.None:
		return deny(fmt.Errorf("%s is not in the room", who))
	case w.Kind == wishKick:
		if r.roster.Clients(who) == 0 {
			return true, nil
		}
		if err := roles.RemoveClient(own, false, from); err != nil {
			return deny(err)
		}
	case w.Kind == wishUnban:
		if from != policy.Banned {
			return deny(fmt.Errorf("%s is not banned", who))
		}
		if err := roles.SetRole(own, false, from, policy.None); err != nil {
			return deny(err)
		}
		remove = []uri.User{who}
	case from == w.Role:
		return true, nil
	case from == policy.None && w.Role != policy.Banned:
		return deny(fmt.Errorf("%s is not in the room", who))
	default:
		if err := roles.SetRole(own, who == c.as(r), from, w.Role); err != nil {
			return deny(err)
		}
		set = []room.Participant{{User: who, Role: w.Role}}
	}
	if w.Kind == wishKick || w.Kind == wishRole && !roles.Active(w.Role) {
		o.Remove = append(o.Remove, r.roster.Leaves(who)...)
	}
	p, err := room.UpdateParticipants(r.group.Public().Context(), set, remove)
	if p != nil {
		o.Proposals = append(o.Proposals, p)
	}
	return false, err
}

// stageMove returns the proposal that moves the room here, and who leads then; done: it
// is here.
func (c *Client) stageMove(r *roomState, w *wish) (p *mls.Proposal, lead *room.Lead, done bool, err error) {
	own := c.user.Provider().Domain()
	if r.Lead.Hub.Domain == own && r.Lead.Term.Era >= w.Era {
		return nil, nil, true, nil
	}
	if !c.admin(r) && !r.roster.Inherits(r.group.Public(), c.as(r).String(), r.Lead.Hub.Domain) {
		return nil, nil, false, fmt.Errorf("only an administrator moves a room, or who succeeds when the providers of all of them are gone: %w", ErrRefused)
	}
	x, ok := c.trust.replica(own)
	if !ok {
		return nil, nil, false, fmt.Errorf("%s does not say its keys: %w", own, ErrProtocol)
	}
	h, err := room.HostingOf(r.group.Public().Context())
	if err != nil {
		return nil, nil, false, err
	}
	next := *h
	next.Hub, next.Replicas, next.Failover = x, []room.Replica{x}, room.FailoverAdmin
	next.Term = room.Term{Era: r.Lead.Term.Era + 1<<min(w.Tries, maxEra), Number: 1}
	p, err = room.UpdateHosting(&next)
	return p, r.Lead.Moving(x, next.Term), false, err
}

// movedByCommit follows an administrator's move, which holds a commit.
func (c *Client) movedByCommit(b *batch, r *roomState, e *room.Entry, hc *room.HubChange) error {
	h, err := hc.Handshake()
	if err != nil {
		return c.diverge(b, r, err)
	}
	if h.Info() == nil {
		return c.diverge(b, r, fmt.Errorf("a move without a commit: %w", room.ErrBody))
	}
	if r.State == roomLost {
		// Others' commits cannot be read, nor who took part before; the provider has
		// verified both.
		providers := []string{r.Lead.Hub.Domain}
		for i := range hc.Acks {
			providers = append(providers, hc.Acks[i].Provider)
		}
		for i := range hc.Lies {
			providers = append(providers, hc.Lies[i].Provider)
		}
		slices.Sort(providers)
		providers = slices.Compact(providers)
		lead, err := r.Lead.FollowMove(e, r.At, hc, &h.Info().Context, providers, nil, c.trust.anchors)
		if errors.Is(err, room.ErrSignature) { // by a successor, in the administrators' absence
			lead, err = r.Lead.FollowMove(e, r.At, hc, &h.Info().Context, providers, []string{r.Lead.Hub.Domain}, c.trust.anchors)
		}
		if err != nil {
			if c.anchorless(r, err) {
				return errWait
			}
			return c.diverge(b, r, err)
		}
		c.ledBy(b, r, lead)
		return nil
	}
	own := c.wishBy(r, e.Txn)
	var ch *mls.Change
	var adopt func() error
	if own != nil && own.Staged != nil {
		s, err := r.group.LoadStaged(own.Staged)
		if err != nil {
			return c.diverge(b, r, err)
		}
		ch, adopt = s.Change, func() error { return r.group.Merge(s) }
	} else {
		x, err := r.group.Process(h.Bundle.Message, time.UnixMilli(int64(e.AcceptedAt)))
		if err != nil {
			if c.anchorless(r, err) {
				return errWait
			}
			return c.diverge(b, r, err)
		}
		ch, adopt = x.Change, func() error { return r.group.Apply(x) }
	}
	err = c.judgeAs(r, ch, r.Lead.Moving(hc.Hub, e.Term), time.UnixMilli(int64(e.AcceptedAt)))
	var away []string
	if err == nil {
		away, err = r.roster.Absent(r.group.Public(), ch, r.Lead.Hub.Domain)
	}
	var lead room.Lead
	if err == nil {
		lead, err = r.Lead.FollowMove(e, r.At, hc, ch.Context, r.providers(), away, c.trust.anchors)
	}
	if err != nil {
		if c.anchorless(r, err) {
			return errWait
		}
		return c.diverge(b, r, err)
	}
	r.overhears(ch)
	if err := adopt(); err != nil {
		return c.diverge(b, r, err)
	}
	r.hostingAt = time.Time{}
	if err := c.committed(b, r, ch, own); err != nil {
		return err
	}
	if r.State == roomJoined {
		c.ledBy(b, r, lead)
	}
	return nil
}

// moves picks the wish to move a room, which goes before all others: those wait for a hub
// that is perhaps no more.
func moves(all []*wish) []*wish {
	if i := slices.IndexFunc(all, func(w *wish) bool { return w.Kind == wishMove }); i >= 0 {
		return all[i : i+1]
	}
	return nil
}
