package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
)

// A direct room is the one conversation of two users: package room says what makes a room
// one, and which of several is the pair's. This is how devices keep to that.
//
// Direct gives the pair's room, and makes it if there is none. If both make one at once, each
// device comes to know of both, as it is added to the other's. Of those that it is in, the one
// with the lowest id is the pair's; the others yield to it: the device ends them by a commit
// that names that one (wishYield). All devices of both users may do so at once; the first
// commit in the log does it, and the others have nothing left to do. A device that was not in
// the successor yet comes into it by itself: it is on its list. It looks, before it does,
// whether the successor is a direct room with the same user, and follows no other.
//
// What was said in a room that yields is carried over (fold), as soon as this device is in the
// other: a message keeps its id, and with it answers, reactions and receipts; the room in which
// it was said stays noted, because its frank speaks of that. What was on its way when the room
// ended is not in its log, which is complete then, so it is sent in the other, the same content
// with the same salt, but for the name of the room in it. Its id there is another one, since
// ids are made of that name; so each message is known by the id that it would have had in the
// rooms that yielded, too, and one that comes in both is there once. Whoever names the room that yielded means the other from
// then on: for applications a pair has one room.
//
// Nothing is sent into a direct room before the other has a device in it: what is said waits
// in the outbox, so that whoever comes in later by itself can read it.
//
// Either may end the room, and leaving it is ending it: a conversation of one is none. Who
// wants it again makes another, which the other's device comes into as into the first; what
// was said before stays with the room that has ended.

// maxDirect is how many direct rooms with one user this device lets itself be brought into
// in directSpan. Two are a race of two people; more are a fault or a nuisance, each of which
// would cost a commit and could move the conversation to another provider.
const (
	maxDirect  = 8
	directSpan = 24 * time.Hour
)

// maxChain is how many rooms that have yielded one after the other are followed.
const maxChain = 64

// wishYield ends a direct room towards the pair's.
const wishYield = "yield"

// errCrowded: too many direct rooms with one user.
var errCrowded = errors.New("client: too many direct rooms with one user in a day")

// Direct returns the direct room with a user, and makes it if there is none, in which case it
// returns when the hub has it. The other must have consented. Errors: ErrNoConsent,
// ErrUnreachable, ErrRefused, *clientapi.Problem, ErrStopped, ErrStorage.
func (c *Client) Direct(ctx context.Context, who uri.User) (uri.Room, error) {
	u, err := c.direct(ctx, who)
	if err != nil {
		return u, fmt.Errorf("direct room with %s: %w", who, err)
	}
	return u, nil
}

func (c *Client) direct(ctx context.Context, who uri.User) (u uri.Room, err error) {
	if who == c.user {
		return u, fmt.Errorf("that is you: %w", ErrRefused)
	}
	err = c.do(ctx, func() (error, error) {
		c.untouched()
		if r := c.directWith(who.String()); r != nil {
			u = r.uri
		}
		return nil, nil
	})
	if err != nil {
		return u, err
	}
	if u.IsZero() {
		if u, err = c.makeDirect(ctx, who); err != nil {
			return u, err
		}
	}
	return c.created(ctx, u)
}

// makeDirect begins a direct room, unless there is one meanwhile.
func (c *Client) makeDirect(ctx context.Context, who uri.User) (u uri.Room, err error) {
	if _, _, err := c.self(ctx); err != nil {
		return u, err
	}
	if u, err = c.newRoomName(); err != nil {
		return u, err
	}
	kps, err := c.claim(ctx, u, who)
	later := false
	switch passing, _ := transient(err); {
	case err == nil, errors.Is(err, ErrNoKeyPackage): // it comes in by itself
	case passing && ctx.Err() == nil:
		later = true
	default:
		return u, err
	}
	err = c.do(ctx, func() (err, fatal error) {
		if r := c.directWith(who.String()); r != nil {
			c.untouched()
			u = r.uri
			return nil, nil
		}
		b := new(batch)
		r, _, err := c.createAs(b, u, NewRoom{with: who})
		if err != nil {
			return err, nil
		}
		c.within(r.id)
		if len(kps) > 0 || later {
			c.newWish(b, &wish{Room: r.id, Kind: wishAdd, User: who.String(), KeyPackages: kps, Waiting: later})
		}
		c.rooms[r.id] = r
		return nil, c.commit(b)
	})
	return u, err
}

// created waits until a direct room is at its hub, and returns which one is the pair's then.
func (c *Client) created(ctx context.Context, u uri.Room) (uri.Room, error) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		there := false
		err := c.do(ctx, func() (error, error) {
			c.untouched()
			r := c.roomOf(u)
			if r == nil {
				return ErrNoRoom, nil
			}
			if r.gone() && r.Into == "" {
				return fmt.Errorf("%s: %w", r.Reason, ErrNoRoom), nil
			}
			u, there = r.uri, r.State != roomCreating
			return nil, nil
		})
		if err != nil || there {
			return u, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return u, ctx.Err()
		case <-c.stopped:
			return u, ErrStopped
		}
	}
}

// Current returns the room that a room's conversation goes on in: another one if it was a
// direct room and has yielded, else itself.
func (c *Client) Current(ctx context.Context, u uri.Room) (uri.Room, error) {
	err := c.do(ctx, func() (error, error) {
		c.untouched()
		r := c.roomOf(u)
		if r == nil {
			return ErrNoRoom, nil
		}
		u = r.uri
		return nil, nil
	})
	return u, err
}

// gone says whether this device has no part in a room any more.
func (r *roomState) gone() bool { return r.State == roomLeft || r.State == roomStopped }

// noteDirect notes whose direct room a group is.
func (c *Client) noteDirect(r *roomState, ctx *mls.GroupContext) {
	pair, ok := room.DirectOf(ctx)
	if !ok {
		return
	}
	if other, ok := pair.Other(c.user); ok && r.Peer == "" {
		r.Peer, r.Came = other.String(), uint64(max(0, c.cfg.Now().UnixMilli()))
	}
	for _, x := range c.directRooms(r.Peer) {
		c.looks.touched[x.id] = true // one may have to yield, or may be carried over
	}
}

// directRooms lists all rooms that were ever direct with a user, the lowest id first.
func (c *Client) directRooms(peer string) (out []*roomState) {
	if peer == "" {
		return nil
	}
	for _, r := range c.rooms {
		if r.Peer == peer {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b *roomState) int { return bytes.Compare(a.id[:], b.id[:]) })
	return out
}

// winner returns the pair's room of those that this device is in; nil: it is in none.
func (c *Client) winner(peer string) *roomState {
	for _, r := range c.directRooms(peer) {
		if r.State == roomJoined {
			return r
		}
	}
	return nil
}

// directWith returns the direct room with a user, or one that is going to be; nil: none.
func (c *Client) directWith(peer string) *roomState {
	if r := c.winner(peer); r != nil {
		return r
	}
	for _, r := range c.directRooms(peer) {
		if !r.gone() {
			return r
		}
	}
	// One may have ended towards a room that this device is not in yet.
	for _, r := range c.directRooms(peer) {
		if r.Into != "" && !r.Folded {
			return r
		}
	}
	return nil
}

// roomOf returns a room by its name, or the one that has taken its place.
func (c *Client) roomOf(u uri.Room) *roomState {
	return c.current(c.rooms[room.IDOf([]byte(u.String()))])
}

// current follows a direct room that yields or has yielded.
func (c *Client) current(r *roomState) *roomState {
	for n := 0; r != nil && r.Into != "" && n < maxChain; n++ {
		next := c.rooms[room.IDOf([]byte(r.Into))]
		if next == nil || next.Peer != r.Peer {
			break
		}
		if !r.gone() && next.gone() {
			break // it is found out at the next look
		}
		r = next
	}
	return r
}

// recordOf is roomOf in the storage alone; nil if the room is not there.
func recordOf(tx Tx, u uri.Room) (*roomRecord, error) {
	var rec *roomRecord
	for name, n := u.String(), 0; n < maxChain; n++ {
		b, err := tx.Get(tableRoom, room.IDOf([]byte(name)).String())
		if err != nil || b == nil {
			return rec, err
		}
		next := new(roomRecord)
		if err := unmarshal("room", b, next); err != nil {
			return nil, err
		}
		if rec != nil && next.Peer != rec.Peer {
			return rec, nil
		}
		if rec = next; rec.Into == "" {
			break
		}
		name = rec.Into
	}
	return rec, nil
}

// meets says whether a direct room may be entered: r is where, whose group has this context.
func (c *Client) meets(r *roomState, ctx *mls.GroupContext) error {
	pair, direct := room.DirectOf(ctx)
	other, _ := pair.Other(c.user)
	if e := r.Entering; e != nil && e.Peer != "" && (!direct || other.String() != e.Peer) {
		return fmt.Errorf("%s is no direct room with %s: %w", r.uri, e.Peer, ErrRefused)
	}
	if !direct || r.Peer != "" {
		return nil
	}
	n := 0
	since := uint64(max(0, c.cfg.Now().Add(-directSpan).UnixMilli()))
	for _, x := range c.directRooms(other.String()) {
		if x.Came > since {
			n++
		}
	}
	if n >= maxDirect {
		return fmt.Errorf("%s, of %s: %w: %w", r.uri, other, errCrowded, ErrRefused)
	}
	return nil
}

// waits says whether nothing is sent into a room for now: into a direct one in which the other
// has no device.
func (r *roomState) waits() bool {
	if r.Peer == "" || r.group == nil {
		return false
	}
	u, err := uri.ParseUser(r.Peer)
	return err == nil && r.roster.Clients(u) == 0
}

// watchDirect has a direct room yield to the pair's.
func (c *Client) watchDirect(r *roomState) error {
	if r.Peer == "" {
		return nil
	}
	into := ""
	w := c.winner(r.Peer)
	if w != r {
		into = w.URI
	}
	b := new(batch)
	if r.Into != into {
		r.Into = into
		r.save(b)
	}
	if into != "" && !slices.ContainsFunc(c.wishesOf(r), func(w *wish) bool { return w.Kind == wishYield }) {
		c.newWish(b, &wish{Room: r.id, Kind: wishYield})
	}
	if len(b.writes) > 0 {
		if err := c.commit(b); err != nil {
			return err
		}
	}
	return c.fold(r)
}

// stageYield puts the end of a direct room into a commit; done: it is the pair's.
func (c *Client) stageYield(r *roomState, o *mls.CommitOptions) (done bool) {
	w := c.winner(r.Peer)
	if w == nil || w == r {
		return true
	}
	o.Proposals = append(o.Proposals, room.Ends(w.uri))
	return false
}
