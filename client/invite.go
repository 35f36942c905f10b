package client

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"time"

	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/consent"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
)

// invitation is an offer of this device to a user, until it is answered, and then until the
// user is added. It is stored under the number n.
type invitation struct {
	n       uint64
	Room    string
	User    string
	Role    policy.Role // None: that of newcomers
	Granted bool
	Tries   int // to get KeyPackages, after the user has accepted

	// Of one that another device of this user has made, see otherinvite.go.
	Elsewhere bool
	As        string // the role by its name, instead of Role; empty: that of newcomers
	SignedAt  int64  // Unix milliseconds
	GrantedAt int64  // Unix milliseconds: when this device heard of it
	Done      bool   // it has come to its end here, and does not count again

	task
}

// maxClaims is how often KeyPackages of somebody who has accepted are asked for, with five
// minutes between at last.
const maxClaims = 300

func (v *invitation) save(b *batch) { b.put(tableInvite, numberName(v.n), v) }

func (c *Client) dropInvitation(b *batch, v *invitation) {
	delete(c.invites, v.n)
	b.del(tableInvite, numberName(v.n))
}

func (c *Client) invitationOf(u, who string) *invitation {
	for _, v := range c.invites {
		if v.Room == u && v.User == who {
			return v
		}
	}
	return nil
}

// Invite offers a user to be in a room, in a role by its name; "" is that of newcomers. It
// returns when the provider has taken it on. If the user accepts, this device adds it, and
// MembersChanged tells; if it declines, ConsentChanged says revoked. As with RequestContact,
// whether there is such a user is not heard.
//
// Errors: ErrNoRoom, ErrNotReady, ErrRefused (this user may not add somebody in this role, or
// the other is in the room or banned), ErrNote, ErrUnreachable, *clientapi.Problem.
func (c *Client) Invite(ctx context.Context, u uri.Room, who uri.User, role, note string) error {
	if err := c.invite(ctx, u, who, role, note); err != nil {
		return fmt.Errorf("inviting %s to %s: %w", who, u, err)
	}
	return nil
}

func (c *Client) invite(ctx context.Context, u uri.Room, who uri.User, role, note string) error {
	offer := &consent.Invitation{Role: role, Note: note}
	v := &invitation{Room: u.String(), User: who.String()}
	err := c.joined(ctx, u, func(r *roomState) (err error) {
		if m := r.metadata(); m != nil {
			offer.RoomName = m.Name
		}
		v.Role, err = c.offers(r, who, role)
		return err
	})
	if err != nil {
		return err
	}
	if (&consent.Invitation{RoomName: offer.RoomName}).Check() != nil {
		offer.RoomName = ""
	}
	if err := offer.Check(); err != nil {
		return fmt.Errorf("%w: %w", ErrNote, err)
	}
	if err := c.know(ctx, who.Provider().Domain()); err != nil {
		return err
	}
	// Kept before it is said: the answer may come at once.
	err = c.do(ctx, func() (error, error) {
		b := new(batch)
		if old := c.invitationOf(v.Room, v.User); old != nil {
			c.dropInvitation(b, old)
		}
		v.n = c.next
		c.next++
		c.invites[v.n] = v
		v.save(b)
		return nil, c.commit(b)
	})
	if err == nil {
		err = c.consentAbout(ctx, wire.ConsentRequest, who, u, offer)
	}
	if passing, _ := transient(err); err == nil || passing {
		return err // it may have been said
	}
	return errors.Join(err, c.forgetInvitation(ctx, u, who))
}

func (c *Client) forgetInvitation(ctx context.Context, u uri.Room, who uri.User) error {
	return c.do(ctx, func() (error, error) {
		b := new(batch)
		if v := c.invitationOf(u.String(), who.String()); v != nil {
			c.endInvitation(b, v)
		}
		return nil, c.commit(b)
	})
}

// offers says in which role a user can be invited: policy.None is that of newcomers.
func (c *Client) offers(r *roomState, who uri.User, name string) (as policy.Role, err error) {
	if err := r.unmasked("inviting, which would tell both providers who it is"); err != nil {
		return as, err
	}
	roles, own, at := r.roles(), c.roleIn(r, c.user), c.roleIn(r, who)
	switch {
	case at == policy.Banned:
		return as, fmt.Errorf("%s is banned: %w", who, ErrRefused)
	case at != policy.None && r.roster.Clients(who) > 0:
		return as, fmt.Errorf("%s takes part already: %w", who, ErrRefused)
	case name == "":
		_, err = roles.Newcomer(own)
	default:
		if as, err = roles.Named(name); err != nil {
			return as, fmt.Errorf("%w: %w", err, ErrName)
		}
		if err = roles.SetRole(own, false, policy.None, as); err == nil {
			err = roles.AddClient(own, false, as)
		}
	}
	if err != nil {
		err = fmt.Errorf("%w: %w", err, ErrRefused)
	}
	return as, err
}

// Withdraw takes an invitation back, and with it the consent that has come of it.
func (c *Client) Withdraw(ctx context.Context, u uri.Room, who uri.User) error {
	err := c.forgetInvitation(ctx, u, who)
	if err == nil {
		err = c.consentAbout(ctx, wire.ConsentCancel, who, u, nil)
	}
	if err != nil {
		return fmt.Errorf("withdrawing the invitation of %s to %s: %w", who, u, err)
	}
	return nil
}

// AcceptInvitation accepts to be added to a room by whoever invites this user. Nothing needs to
// have come before: it is consent for this room.
func (c *Client) AcceptInvitation(ctx context.Context, u uri.Room, by uri.User) error {
	return c.consentAbout(ctx, wire.ConsentGrant, by, u, nil)
}

// Decline declines an invitation, which the inviter is told, or takes back consent for one
// room. The inviter is not heard about this room again.
func (c *Client) Decline(ctx context.Context, u uri.Room, by uri.User) error {
	return c.consentAbout(ctx, wire.ConsentRevoke, by, u, nil)
}

// Invitation is an offer to be in a room. Who makes it, and which room it is about, the
// own provider and the inviter's say; what is in it, the inviter.
type Invitation struct {
	Room     uri.Room
	By       uri.User
	RoomName string
	Role     string // empty: that of newcomers
	Note     string
	At       time.Time
}

// Invitations lists the offers to this user that wait for an answer.
func (c *Client) Invitations(ctx context.Context) ([]Invitation, error) {
	all, err := c.Consents(ctx)
	if err != nil {
		return nil, err
	}
	var out []Invitation
	for _, x := range all {
		if x.Target != c.user.String() || x.State != "requested" || x.Room == "" {
			continue
		}
		v := Invitation{At: time.UnixMilli(x.ChangedAt)}
		var err1, err2, err3 error
		v.Room, err1 = uri.ParseRoom(x.Room)
		v.By, err2 = uri.ParseUser(x.Requester)
		if x.Invitation != nil { // else a request for consent that is about a room
			var in *consent.Invitation
			if in, err3 = consent.ParseInvitation(x.Invitation); err3 == nil {
				v.RoomName, v.Role, v.Note = in.RoomName, in.Role, in.Note
			}
		}
		if err := errors.Join(err1, err2, err3); err != nil {
			return nil, fmt.Errorf("listing invitations: %w: %w", ErrProtocol, err)
		}
		out = append(out, v)
	}
	return out, nil
}

// consentAbout says a word on consent about one room, or about any if that is zero.
func (c *Client) consentAbout(ctx context.Context, op wire.ConsentOperation, who uri.User, about uri.Room, offer *consent.Invitation) error {
	_, api, err := c.self(ctx)
	if err != nil {
		return err
	}
	entry, err := c.consentEntry(ctx, op, who, about, offer)
	if err == nil {
		err = api.call(ctx, "POST", "/v1/consent", &clientapi.SendConsent{Entry: entry}, nil)
	}
	if err != nil {
		return fmt.Errorf("sending consent (%v) about %s: %w", op, who, err)
	}
	return nil
}

// consentEntry is a word on consent, signed.
func (c *Client) consentEntry(ctx context.Context, op wire.ConsentOperation, who uri.User, about uri.Room, offer *consent.Invitation) ([]byte, error) {
	return c.consentEntryWith(ctx, op, who, about, func(e *wire.ConsentEntry) {
		if offer != nil {
			e.Extensions = mls.Dictionary{consent.InvitationComponent: offer.Append(nil)}
		}
	})
}

// consentEntryWith is consentEntry with what extend adds before it is signed.
func (c *Client) consentEntryWith(ctx context.Context, op wire.ConsentOperation, who uri.User, about uri.Room, extend func(*wire.ConsentEntry)) ([]byte, error) {
	m, _, err := c.self(ctx)
	if err != nil {
		return nil, err
	}
	scope := wire.ConsentScope{Requester: wire.IdentifierURI(m.User), Target: wire.IdentifierURI(who.String()), Room: wire.IdentifierURI(about.String())}
	if op == wire.ConsentGrant || op == wire.ConsentRevoke {
		scope.Requester, scope.Target = scope.Target, scope.Requester
	}
	e := &wire.ConsentEntry{Operation: op, Scope: scope}
	extend(e)
	if err := consent.Sign(e, ed25519.NewKeyFromSeed(m.UserKey), m.UserCert, c.cfg.Now()); err != nil {
		return nil, err
	}
	return e.Bytes()
}

// invitationHeard notes what has become of an own invitation.
func (c *Client) invitationHeard(b *batch, to uri.User, about, state string) {
	v := c.invitationOf(about, to.String())
	switch {
	case v == nil || v.Done:
	case state == "granted" && !v.Granted:
		v.Granted, v.GrantedAt = true, c.cfg.Now().UnixMilli()
		v.save(b)
	case state == "revoked" || state == "none":
		c.endInvitation(b, v)
	}
}

// pumpInvitations adds those who have accepted.
func (c *Client) pumpInvitations(soon func(*task) bool) error {
	for _, v := range c.invites {
		if v.Elsewhere && !c.mineToAdd(v, soon) || !v.Granted {
			continue
		}
		u, err1 := uri.ParseRoom(v.Room)
		who, err2 := uri.ParseUser(v.User)
		if err := errors.Join(err1, err2); err != nil {
			return fmt.Errorf("reading an invitation: %w: %w", ErrStorage, err)
		}
		r := c.rooms[room.IDOf([]byte(v.Room))]
		if r == nil || r.State == roomLeft || r.State == roomStopped {
			b := new(batch)
			c.endInvitation(b, v)
			b.tell(Problem{u, fmt.Errorf("%s has accepted an invitation to a room that this device is not in any more: %w", who, ErrNoRoom)})
			if err := c.commit(b); err != nil {
				return err
			}
			continue
		}
		if r.State != roomJoined || !soon(&v.task) {
			continue
		}
		c.asyncIn(r, "adding "+v.User+", who has accepted", &v.task, func(ctx context.Context) (func() error, error) {
			kps, err := c.claim(ctx, u, who)
			if err != nil && !errors.Is(err, ErrNoConsent) && !errors.Is(err, ErrNoKeyPackage) {
				return nil, err
			}
			return func() error { return c.claimedFor(v, u, kps, err) }, nil
		})
	}
	return nil
}

// claimedFor turns an accepted invitation into the wish to add its user.
func (c *Client) claimedFor(v *invitation, u uri.Room, kps [][]byte, err error) error {
	if c.invites[v.n] != v {
		return nil
	}
	b := new(batch)
	switch v.Tries++; {
	case err == nil:
		c.endInvitation(b, v)
		c.newWish(b, &wish{Room: room.IDOf([]byte(v.Room)), Kind: wishAdd, User: v.User, Role: v.Role, KeyPackages: kps})
	case v.Tries < maxClaims:
		v.task.failed(c.cfg.Now(), c.cfg.Retry, 0)
		v.save(b)
	default:
		c.endInvitation(b, v)
		b.tell(Problem{u, fmt.Errorf("adding %s, who has accepted an invitation: %w", v.User, err)})
	}
	return c.commit(b)
}
