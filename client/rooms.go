package client

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
)

func roleOf(p wire.UserRolePair) policy.Role { return policy.Role(p.Role) }

// Room is a room as this device sees it.
type Room struct {
	URI   uri.Room
	Name  string
	Topic string
	State State // creating, joining, joined, lost, left, stopped or parted
	// Reason says why it was left, lost or stopped, or whence it goes on without what is here.
	Reason       string
	Participants []Participant // while joined
	Messages     uint64        // how many there are here
	// Direct is with whom, if it is a direct room; else zero.
	Direct uri.User
	// Successor is the direct room that this one has yielded to; zero: none.
	Successor uri.Room
	// Pseudonymous: only its members know who takes part.
	Pseudonymous bool
	// Privacy is how this device's messages come to the room's hub.
	Privacy RoomPrivacy
	// Pending are users that this device is adding and that are not in yet.
	Pending []uri.User
}

// Participant is a user in a room.
type Participant struct {
	// User is who it is; in a pseudonymous room the pseudonym, where Unnamed says why.
	User    uri.User
	Role    string // as the room calls it
	Clients int
	// Pseudonym is what it goes by, in a pseudonymous room.
	Pseudonym uri.Pseudonym
	// Unnamed says why this device cannot name it: one of package pseudonym's errors.
	Unnamed error
	// Doubt says, of who is named, why one of its devices is not: it may have come just now, or
	// somebody says falsely to be a device of this user.
	Doubt error
}

// Rooms lists the rooms, those that were left included, in order of their ids.
func (c *Client) Rooms(ctx context.Context) (out []Room, err error) {
	err = c.do(ctx, func() (error, error) {
		c.untouched()
		for _, r := range c.sortedRooms() {
			x := Room{URI: r.uri, Pseudonymous: r.mask != nil, Privacy: r.privacy(), State: State(r.State), Reason: r.Reason, Messages: r.NextMessage}
			for _, w := range c.allWishesOf(r) {
				if u, err := uri.ParseUser(w.User); err == nil && w.Kind == wishAdd {
					x.Pending = append(x.Pending, u)
				}
			}
			if r.Entering != nil {
				x.State = "joining"
			}
			if r.Peer != "" {
				var err error
				if x.Direct, err = uri.ParseUser(r.Peer); err != nil {
					return fmt.Errorf("%w: %w", ErrStorage, err), nil
				}
			}
			if w := c.current(r); w != r {
				x.Successor = w.uri
			}
			if r.Folded {
				x.Messages = 0
			}
			x.Name = r.Called
			if r.group != nil {
				group := r.group.Public().Context()
				if m := r.metadata(); m != nil {
					x.Name, x.Topic = m.Name, m.Subject
				}
				list, _ := room.ParticipantsOf(group)
				roles := r.roles()
				for _, p := range list {
					if u, err := uri.ParseParticipant(string(p.User)); err == nil {
						x.Participants = append(x.Participants, c.participant(r, u, roles.Name(roleOf(p)), r.roster.Clients(u)))
					}
				}
			}
			out = append(out, x)
		}
		return nil, nil
	})
	return out, err
}

// Summary is what members of a room can compare by another way, such as reading
// aloud: if Authenticator and Head agree, they are in the same group and have
// seen the same log.
type Summary struct {
	Epoch         uint64
	Authenticator string // of the epoch, hexadecimal
	Next          uint64 // sequence number of the log's next entry
	Head          string // hash of the last entry, hexadecimal
	Hub           string // who orders the room now, by its log
	Term          string // in which term
	Replicas      int    // how many providers decide
}

// joined runs f, which only reads, about a room that this device is in, on the loop.
// Errors: ErrNoRoom, ErrNotReady, and that of f.
func (c *Client) joined(ctx context.Context, u uri.Room, f func(r *roomState) error) error {
	return c.do(ctx, func() (error, error) {
		c.untouched()
		r := c.roomOf(u)
		switch {
		case r == nil:
			return ErrNoRoom, nil
		case r.State != roomJoined:
			return fmt.Errorf("%s is %s: %w", u, r.State, ErrNotReady), nil
		}
		return f(r), nil
	})
}

// Verify returns where this device stands in a room.
func (c *Client) Verify(ctx context.Context, u uri.Room) (s Summary, err error) {
	err = c.joined(ctx, u, func(r *roomState) error {
		s = Summary{Epoch: r.group.Epoch(), Authenticator: hex.EncodeToString(r.group.EpochAuthenticator()),
			Next: r.At.Next, Head: r.At.Last.String(), Hub: r.Lead.Hub.Domain, Term: r.At.Term.String(), Replicas: len(r.Lead.Now)}
		return nil
	})
	if err != nil {
		return s, fmt.Errorf("verifying %s: %w", u, err)
	}
	return s, nil
}

// unknownPatience is how long Sync waits for the Welcome to a room in which the
// user has a client.
const unknownPatience = 3 * time.Second

// describeUnknown asks who takes part in the rooms that this device does not know.
func (c *Client) describeUnknown(ctx context.Context, api *provider, list *clientapi.Rooms) error {
	var unknown []int
	err := c.do(ctx, func() (error, error) {
		c.untouched()
		for i, x := range list.Rooms {
			id, err := parseRoomID(x.ID)
			if err != nil {
				return err, nil
			}
			if c.rooms[id] == nil {
				unknown = append(unknown, i)
			}
		}
		return nil, nil
	})
	for _, i := range unknown {
		if err == nil {
			err = api.call(ctx, "GET", "/v1/rooms/"+list.Rooms[i].ID, nil, &list.Rooms[i])
			var p *clientapi.Problem
			if errors.As(err, &p) && p.Code == clientapi.CodeNotFound {
				err = nil // left in the meantime
			}
		}
	}
	return err
}

// turn says whether this device has something to do for a room by itself, now or so soon
// that whoever looks in shortly should do it. What is to be done is known when the room
// has been looked at once. What is due is begun by the look that follows on each command.
func (c *Client) turn(r *roomState, first bool) bool {
	if r.State != roomJoined {
		return false
	}
	now := c.cfg.Now()
	soon := func(at time.Time) bool { return !at.IsZero() && at.Sub(now) < c.cfg.CommitDelay/2 }
	return first && c.admin(r) ||
		soon(r.hostingAt) && c.mayHost(r) || soon(r.commitAt) ||
		slices.ContainsFunc(c.wishesOf(r), func(w *wish) bool { return w.Kind == wishHosting || w.Kind == wishPending })
}

// Sync waits until this device has caught up with all its rooms, as far as its
// provider knew them when it was asked, has heard that it is out of those which the provider
// knows no more, and has no Welcome left to act on.
// What its turn has come for, to commit what others proposed or to mend the replica set, it
// does, within a short time: a user who only looks in now and then is an administrator, too.
// Messages that wait to be sent are not waited for.
func (c *Client) Sync(ctx context.Context) error {
	_, api, err := c.self(ctx)
	if err != nil {
		return err
	}
	var joined []room.ID
	err = c.do(ctx, func() (error, error) {
		c.untouched()
		for id, r := range c.rooms {
			if r.State == roomJoined {
				joined = append(joined, id)
			}
		}
		return nil, nil
	})
	if err != nil {
		return fmt.Errorf("synchronizing: %w", err)
	}
	list := new(clientapi.Rooms)
	if err := api.call(ctx, "GET", "/v1/rooms", nil, list); err != nil {
		return fmt.Errorf("synchronizing: %w", err)
	}
	// Where the user does not take part any more, the provider has said so in the stream, and
	// has nothing to list: the end is still to come here.
	gone := slices.DeleteFunc(joined, func(id room.ID) bool {
		return slices.ContainsFunc(list.Rooms, func(x clientapi.Room) bool { return x.ID == id.String() })
	})
	if err := c.describeUnknown(ctx, api, list); err != nil {
		return fmt.Errorf("synchronizing: %w", err)
	}
	patience := c.cfg.Now().Add(unknownPatience)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for first := true; ; first = false {
		behind := false
		err := c.do(ctx, func() (error, error) {
			c.untouched()
			behind = len(c.welcome) > 0
			for _, id := range gone {
				if r := c.rooms[id]; r != nil && r.State == roomJoined && c.cfg.Now().Before(patience) {
					behind = true
				}
			}
			for _, x := range list.Rooms {
				id, err := parseRoomID(x.ID)
				if err != nil {
					return err, nil
				}
				r := c.rooms[id]
				if r == nil {
					// The Welcome is on its way, or this device comes in by itself.
					if c.cfg.Now().Before(patience) && c.takesPart(&x) && !c.unwelcome[id] && !c.uninvited[id] {
						behind = true
					}
					continue
				}
				if x.Parting != nil {
					b := new(batch)
					c.within(id)
					c.told(b, r, x.Parting)
					if err := c.commit(b); err != nil {
						return nil, err
					}
				}
				if c.cfg.Now().Before(patience) && c.turn(r, first) {
					behind = true
				}
				if (r.State == roomJoined || r.State == roomCreating) && r.At.Next < x.Next || r.State == roomLost {
					c.within(id)
					r.fetch = true
					behind = true
				}
			}
			return nil, nil
		})
		if err != nil {
			return fmt.Errorf("synchronizing: %w", err)
		}
		if !behind {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("synchronizing: %w", ctx.Err())
		case <-c.stopped:
			return ErrStopped
		}
	}
}
