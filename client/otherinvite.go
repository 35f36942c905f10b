package client

import (
	"time"

	"github.com/mimid/mimid/protocol/consent"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
)

// Who accepts an invitation is added by the device that made it, or else by another one of the
// same user that has heard of it: the provider shows what a user says on consent to all its
// devices. The other device waits a moment, in case the first one does it.
//
// It relies on no provider for that: the invitation is signed by the user's key. What a provider
// can do is to show an old one again. So each counts once here, whatever came of it, and one that
// is older than keptInvitation, which a new device may hear of for the first time, does not.

// keptInvitation is how long an invitation of another device counts, and is remembered.
const keptInvitation = 30 * 24 * time.Hour

// invitedElsewhere notes an invitation that another device of this user has made.
func (c *Client) invitedElsewhere(b *batch, e *wire.ConsentEntry, to uri.User, s *consent.Signature) {
	about := string(e.Scope.Room)
	if s == nil || e.Operation != wire.ConsentRequest || c.cfg.Now().Sub(s.At) > keptInvitation {
		return
	}
	in, err := consent.InvitationOf(e.Extensions)
	if err != nil || in == nil {
		return
	}
	at := s.At.UnixMilli()
	v := c.invitationOf(about, to.String())
	switch {
	case v == nil:
		v = &invitation{n: c.next, Room: about, User: to.String(), Elsewhere: true}
		c.next++
		c.invites[v.n] = v
	case !v.Elsewhere || at <= v.SignedAt:
		return // this device's own, or one that has had its time
	}
	v.As, v.SignedAt, v.Granted, v.GrantedAt, v.Done, v.Tries, v.task = in.Role, at, false, 0, false, 0, task{busy: v.task.busy}
	v.save(b)
}

// endInvitation: nothing more comes of an invitation, of this device or another one. It is
// remembered, so that what was signed until now does not count again.
func (c *Client) endInvitation(b *batch, v *invitation) {
	v.Elsewhere, v.Done, v.SignedAt = true, true, max(v.SignedAt, c.cfg.Now().UnixMilli())
	v.save(b)
}

// mineToAdd says whether this device is to add somebody now whom another one has invited.
func (c *Client) mineToAdd(v *invitation, soon func(*task) bool) bool {
	now := c.cfg.Now()
	over := func(as func(*batch, *invitation)) bool {
		b := new(batch)
		as(b, v)
		if err := c.commit(b); err != nil {
			c.log.Warn("noting that an invitation has come to its end", "error", err)
		}
		return false
	}
	switch {
	case now.Sub(time.UnixMilli(v.SignedAt)) > 2*keptInvitation: // it counts nowhere any more
		return over(c.dropInvitation)
	case v.Done || !v.Granted:
		return false
	}
	v.task.at = later(v.task.at, time.UnixMilli(v.GrantedAt).Add(c.cfg.CommitDelay))
	if !soon(&v.task) {
		return false
	}
	who, err := uri.ParseUser(v.User)
	r := c.rooms[room.IDOf([]byte(v.Room))]
	if err != nil || r == nil || r.State == roomLeft || r.State == roomStopped {
		return over(c.endInvitation)
	}
	if r.State != roomJoined {
		return false
	}
	as, err := c.offers(r, who, v.As)
	if err != nil {
		c.log.Info("who has accepted an invitation is not added by this device", "room", v.Room, "user", v.User, "error", err)
		return over(c.endInvitation) // in it already, banned since, or not this user's to add any more
	}
	if c.roleIn(r, who) != policy.None {
		return over(c.endInvitation) // on the list: its devices come in by themselves
	}
	v.Role = as
	return true
}
