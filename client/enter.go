package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/consent"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
)

// Coming into a room by itself, by an external commit: another device of a participant, a
// participant whose KeyPackages had run out when it was added, and who joins a room that
// is open. The log is then followed from its first entry, so that who orders the room is
// proven, whoever was asked.

// selfJoinDelay is how long this device leaves a room alone that its user takes part in and
// it does not: a Welcome may be on its way.
const selfJoinDelay = 2 * time.Second

// welcomePatience is for how long a device waits for a Welcome that must be on its way, because
// it is in the group already: who comes in by itself instead cannot read what was said since.
const welcomePatience = time.Minute

// errWelcomed: there must be a Welcome.
var errWelcomed = errors.New("client: in the group already, the Welcome is on its way")

// lookAgain is how often the provider is asked in which rooms the user takes part, if
// nothing hints at it.
const lookAgain = time.Hour

// lookUninvited is the same after news of a room that this device does not come into by
// itself: another device of the user may be in it by now.
const lookUninvited = 5 * time.Minute

// maxEnters is how often a commit that would join is made anew when the hub refuses it.
const maxEnters = 5

// entering is the part of a roomRecord of a room that this device was never in.
type entering struct {
	// Hubs are who may order the room, the likeliest first; none: the own provider knows.
	Hubs []string `json:",omitempty"`
	// Own: the user takes part already.
	Own bool `json:",omitempty"`
	// Since is when that began, Unix milliseconds; Sent: a commit may have reached the hub.
	Since int64 `json:",omitempty"`
	Sent  bool  `json:",omitempty"`
	// Peer: it must be a direct room with this user.
	Peer  string `json:",omitempty"`
	Tries int    `json:",omitempty"`
	// Link: it comes in by this. It is forgotten when it is in, or was refused.
	Link linkText `json:",omitempty"`
}

// JoinRoom joins a room by its URI, if it lets this user in without being added, or by a link
// (HeldLink.Reveal), and returns when this device is in. If ctx ends before, it goes on. Into a
// pseudonymous room it comes by a link, and tells its members who it is.
//
// Errors: ErrName, ErrLink, ErrRefused, ErrUnreachable, *clientapi.Problem, ErrStopped,
// ErrStorage.
func (c *Client) JoinRoom(ctx context.Context, address string) (uri.Room, error) {
	u, link, err := parseAddress(address)
	if err != nil {
		return u, err
	}
	hubs, err := c.hubsOf(ctx, u)
	if err != nil {
		return u, err
	}
	e := &entering{Hubs: hubs}
	var as *uri.Pseudonym
	if link != nil {
		e.Link = linkText(link.Reveal())
		if link.Pseudonymous {
			if !link.Pinned() {
				return u, fmt.Errorf("joining %s: %w: its end, which tells the room from one that is made up to hear who comes, is missing; ask whoever gave it to you for a new one: %w", u, ErrLink, ErrName)
			}
			p, err := c.ownPseudonym(ctx, u)
			if err != nil {
				return u, fmt.Errorf("joining %s: %w", u, err)
			}
			as = &p
		}
	}
	w := &wish{Kind: wishEnter}
	done := make(chan error, 1)
	err = c.do(ctx, func() (err, fatal error) {
		id := room.IDOf([]byte(u.String()))
		c.within(id)
		r := c.rooms[id]
		switch {
		case r != nil && (r.State == roomJoined || r.State == roomCreating):
			done <- nil
			return nil, nil
		case r != nil && r.State == roomStopped:
			return fmt.Errorf("%s: %w", r.Reason, ErrNoRoom), nil
		}
		b := new(batch)
		if r, err = c.enterRoom(b, u, r, e, as); err != nil {
			return err, nil
		}
		w.Room = r.id
		c.newWish(b, w)
		c.waiters[w.n] = append(c.waiters[w.n], done)
		return nil, c.commit(b)
	})
	if err == nil {
		err = c.wishedFor(ctx, w, c.wait(ctx, done))
	}
	if err != nil {
		return u, fmt.Errorf("joining %s: %w", u, err)
	}
	if as != nil {
		c.saysWho(ctx, u)
	}
	return u, nil
}

// enterRoom makes a room one that this device comes into; old is what is left of it here,
// nil if it is new. Messages that are here stay. as is what the user goes by in it, nil for its name.
func (c *Client) enterRoom(b *batch, u uri.Room, old *roomState, e *entering, as *uri.Pseudonym) (*roomState, error) {
	e.Since = c.cfg.Now().UnixMilli()
	rec := roomRecord{URI: u.String(), State: roomLost, Entering: e}
	if old != nil {
		rec.NextMessage = old.NextMessage
	}
	if as == nil && old != nil && old.mask != nil {
		as = &old.mask.user // whatever it is come into by
	}
	if as != nil {
		var err error
		if rec.Mask, err = c.wears(old, *as); err != nil {
			return nil, err
		}
	}
	r, err := newRoomState(&rec)
	if err != nil {
		return nil, err
	}
	if r.mask != nil && old != nil && old.mask != nil {
		r.mask.named = old.mask.named
	}
	c.rooms[r.id] = r
	r.save(b)
	return r, nil
}

// refusedEntry ends the attempt to come into a room, which is forgotten: nothing of it was
// ever here.
func (c *Client) refusedEntry(r *roomState, why error) error {
	b := new(batch)
	for _, w := range c.wishesOf(r) {
		c.wishDone(b, w, why)
	}
	c.log.Info("not let into a room", "room", r.uri, "error", why)
	if r.NextMessage > 0 { // it was here before
		r.Entering = nil
		if err := c.leaveGroup(b, r, roomLeft, why.Error()); err != nil {
			return err
		}
		return c.commit(b)
	}
	if r.Entering.Own {
		c.unwelcome[r.id] = true
	}
	delete(c.rooms, r.id)
	b.del(tableRoom, r.id.String())
	return c.commit(b)
}

// where says where a room is that is being entered, for the provider, and the hubs that may
// be asked.
func (r *roomState) where(hub string) *clientapi.Where {
	if r.Entering == nil || hub == "" {
		return nil
	}
	return &clientapi.Where{URI: r.URI, Hub: hub}
}

// askHubs asks the hubs of a room that is being entered, one after the other, for what an
// external commit needs; of another room its hub.
func (c *Client) askHubs(ctx context.Context, as *entrance, r *roomState, hubs, unknown []string, link *HeldLink) (info *mls.GroupInfo, tree *mls.RatchetTree, pending []*mls.PublicMessage, hub string, err error) {
	if len(hubs) == 0 {
		info, tree, pending, err = c.groupInfo(ctx, as, r.id, r.uri, link, nil)
		return info, tree, pending, "", err
	}
	// What a hub says of a link tells more than that another one is not it, or is away.
	var told error
	var tried []string
	ask := func(hubs []string) bool {
		for _, hub = range hubs {
			if slices.Contains(tried, hub) {
				continue
			}
			tried = append(tried, hub)
			if err = c.know(ctx, hub); err == nil {
				info, tree, pending, err = c.groupInfo(ctx, as, r.id, r.uri, link, &clientapi.Where{URI: r.uri.String(), Hub: hub, Unknown: unknown})
			}
			if err == nil {
				return true
			}
			if p, ok := errors.AsType[*clientapi.Problem](err); ok && linkFaults[p.Code] != 0 {
				told = err
			}
		}
		return false
	}
	if ask(hubs) {
		return info, tree, pending, hub, nil
	}
	if first := err; told == nil {
		// It may have moved since those were found.
		if again, late := c.hubsOf(ctx, r.uri); late == nil && ask(again) {
			return info, tree, pending, hub, nil
		}
		err = cmp.Or(err, first)
	}
	return nil, nil, nil, hub, cmp.Or(told, err)
}

// hubsOf finds out who may order a room, the likeliest first.
func (c *Client) hubsOf(ctx context.Context, u uri.Room) (hubs []string, err error) {
	found, err := c.WhoOrders(ctx, u.String())
	if hasCode(err, clientapi.CodeNotFound) {
		return []string{u.Provider().Domain()}, nil // it has not moved
	}
	if err != nil {
		return nil, err
	}
	for _, h := range found.Hubs {
		hubs = append(hubs, h.Provider)
	}
	return hubs, nil
}

// maxUnknown is how many providers the hub is asked for at once.
const maxUnknown = 8

// keyless are the providers that a room rests on and whose keys are not known here.
func (c *Client) keyless(u uri.Room, ctx *mls.GroupContext) (out []string) {
	all := []string{u.Provider().Domain()}
	if list, err := room.ParticipantsOf(ctx); err == nil {
		for _, p := range list {
			if x, err := uri.ParseParticipant(string(p.User)); err == nil {
				all = append(all, x.Provider().Domain())
			}
		}
	}
	for _, d := range all {
		if len(out) < maxUnknown && !slices.Contains(out, d) && !c.trust.knows(d) {
			out = append(out, d)
		}
	}
	return out
}

// entryOf returns what an external commit needs besides a leaf: the list update, if this
// user is not on the list: by a link, if it has one that counts.
func (c *Client) entryOf(r *roomState, from *entrance, g *mls.PublicGroup) ([]*mls.Proposal, error) {
	roster, err := room.RosterOf(g)
	if err != nil {
		return nil, err
	}
	v, err := roster.View(g)
	if err != nil {
		return nil, err
	}
	switch v.Role(c.as(r).String()) {
	case policy.None:
	case policy.Banned:
		return nil, fmt.Errorf("you are banned from the room: %w", ErrRefused)
	default:
		return nil, nil
	}
	role, err := v.Entry(from.Credential)
	if link := r.Entering.link(); link != nil {
		by, unusable := c.entryBy(r, link, g)
		if unusable == nil || err != nil {
			return by, unusable
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", err, ErrRefused)
	}
	p, err := room.UpdateParticipants(g.Context(), []room.Participant{{User: c.as(r), Role: role}}, nil)
	if err != nil {
		return nil, err
	}
	return []*mls.Proposal{p}, nil
}

// begun takes the first entry of a room's log, which says who orders it at first.
func (c *Client) begun(r *roomState, e *room.Entry) error {
	body, err := room.ParseCreate(e.Body)
	if err != nil {
		return err
	}
	if body.URI != r.uri {
		return fmt.Errorf("the log of %s: %w", body.URI, room.ErrWrongRoom)
	}
	h, err := room.HostingOf(&body.GroupInfo.Context)
	if err != nil {
		return err
	}
	// Where the first provider is gone for good nobody knows its key any more. Then the group
	// that lets this device in is what binds the room to its name.
	if len(c.trust.anchors(h.Hub.Domain)) > 0 && !c.trust.is(h.Hub.Domain, h.Hub.ProviderKey[:]) {
		return fmt.Errorf("first hub %s with key %x: %w", h.Hub.Domain, h.Hub.ProviderKey[:8], ErrProviderKey)
	}
	r.Lead = room.LeadOf(h)
	return nil
}

// lookForRooms asks the provider in which rooms the user takes part, and begins to come into
// those that this device does not know.
func (c *Client) lookForRooms() {
	c.async("looking for rooms", &c.unknown, func(ctx context.Context) (func() error, error) {
		list := new(clientapi.Rooms)
		if err := c.api.call(ctx, "GET", "/v1/rooms", nil, list); err != nil {
			return nil, err
		}
		if err := c.describeUnknown(ctx, c.api, list); err != nil {
			return nil, err
		}
		given, err := c.given(ctx, list)
		if err != nil {
			return nil, err
		}
		return func() error {
			c.unknown.at = c.cfg.Now().Add(lookAgain)
			for _, x := range list.Rooms {
				id, err := parseRoomID(x.ID)
				if err != nil || c.rooms[id] != nil || c.welcome[id] != nil || c.unwelcome[id] || !c.takesPart(&x) {
					continue
				}
				u, err := uri.ParseRoom(x.URI)
				if err != nil || room.IDOf([]byte(u.String())) != id {
					c.emit(Problem{Err: fmt.Errorf("room %.100q with id %.80q: %w", x.URI, x.ID, ErrProtocol)})
					continue
				}
				if !c.invited(&x, given) {
					if !c.uninvited[id] {
						c.uninvited[id] = true
						c.emit(Problem{u, ErrUninvited})
					}
					continue
				}
				delete(c.uninvited, id)
				var as *uri.Pseudonym
				if x.As != "" {
					p, err := c.checkPseudonym(x.As)
					if err != nil {
						c.emit(Problem{u, err})
						continue
					}
					as = &p
				}
				b := new(batch)
				c.within(id)
				if _, err := c.enterRoom(b, u, nil, &entering{Own: true}, as); err != nil {
					return err
				}
				if err := c.commit(b); err != nil {
					return err
				}
			}
			return nil
		}, nil
	})
}

// given lists the consent that the user gave, and its modes, if there is a room that the
// question is of.
func (c *Client) given(ctx context.Context, list *clientapi.Rooms) (*decisions, error) {
	var unknown bool
	err := c.do(ctx, func() (error, error) {
		c.untouched()
		for i := range list.Rooms {
			id, err := parseRoomID(list.Rooms[i].ID)
			unknown = unknown || err == nil && c.rooms[id] == nil && c.takesPart(&list.Rooms[i])
		}
		return nil, nil
	})
	if err != nil || !unknown {
		return nil, err
	}
	all := new(clientapi.Consents)
	if err := c.api.call(ctx, "GET", "/v1/consent", nil, all); err != nil {
		return nil, err
	}
	out := &decisions{about: map[consentScope]consent.State{}, modes: new(clientapi.ConsentModes)}
	if err := c.api.call(ctx, "GET", "/v1/consent/modes", nil, out.modes); err != nil {
		return nil, err
	}
	for _, x := range all.Consents {
		if state, ok := consent.ParseState(x.State); ok && x.Target == c.user.String() {
			out.about[consentScope{x.Requester, x.Room}] = state
		}
	}
	return out, nil
}

// consentScope is to whom this user gave consent, and for which room; "" for any.
type consentScope struct{ requester, room string }

// invited says whether this device comes into a room by itself, on whose list its user is: if
// another device of the user is in it, or one of somebody whom the user lets add it. Both are
// proven by the group, and a list is not: any hub can put anybody on that. Into a pseudonymous room
// nobody is put whom the own provider has not let be added, so there the first is enough.
func (c *Client) invited(x *clientapi.Room, given *decisions) bool {
	return slices.ContainsFunc(x.Participants, func(p clientapi.Participant) bool {
		return p.Clients > 0 && (p.User == cmp.Or(x.As, c.user.String()) || given.admits(p.User, x.URI))
	})
}

// takesPart says whether the provider's description of a room has this user on its list and
// not banned.
func (c *Client) takesPart(x *clientapi.Room) bool {
	return slices.ContainsFunc(x.Participants, func(p clientapi.Participant) bool {
		return p.User == cmp.Or(x.As, c.user.String()) && p.Role != "banned"
	})
}

// hintOfRoom notes that the stream told of a room that this device does not know. What is said
// in one that it was not to come into makes it look again, and not for every message.
func (c *Client) hintOfRoom(id room.ID) {
	delay := selfJoinDelay
	if c.uninvited[id] {
		delay = lookUninvited
	}
	if at := c.cfg.Now().Add(delay); !c.unwelcome[id] && c.unknown.at.After(at) {
		c.unknown.at = at
	}
}

var errNotLetIn = errors.New("the room lets nobody in who was not added, or there is no such room")
