package client

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"time"

	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/content"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/mls/x509auth"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
)

// How this device stands to a room.
const (
	roomCreating = "creating" // the group exists here, the hub does not know it
	roomJoined   = "joined"
	roomLost     = "lost"    // the log is followed, the group has to be entered again
	roomLeft     = "left"    // no longer a member
	roomStopped  = "stopped" // the hub did what it must not; nothing is followed
	roomParted   = "parted"  // moved away from before the end of what is here, see rejoin.go
)

// roomRecord is what is stored of a room beside the group's parts.
type roomRecord struct {
	URI   string
	State string
	At    room.Position
	// Lead is who orders the room and who decides, as its log says up to At.
	Lead room.Lead
	// Joined is the epoch in which this device came in.
	Joined uint64
	// NextMessage is the index of the next message.
	NextMessage uint64
	Reason      string `json:",omitempty"` // why left, stopped or parted
	Called      string `json:",omitempty"` // its name when it was left
	// Entering: this device comes into the room and was never in it, or not since it left.
	Entering *entering `json:",omitempty"`
	// ReadTo is the index of the first message that the user has not read.
	ReadTo uint64
	// Parting is set in a room that is parted.
	Parting *parting `json:",omitempty"`
	// Peer is with whom, in a direct room; Came is when this device came into it, Unix
	// milliseconds.
	Peer string `json:",omitempty"`
	Came uint64 `json:",omitempty"`
	// Overheard: a provider knows the topic that the room's gossip has, and takes part no more.
	Overheard bool `json:",omitempty"`
	// Into is the direct room that this one yields to; Folded: and all that was here is there.
	Into   string `json:",omitempty"`
	Folded bool   `json:",omitempty"`
	// Mask is what this device goes by, in a pseudonymous room.
	Mask *maskRecord `json:",omitempty"`
	// Privacy is how messages come to the hub; nil: openly.
	Privacy *Privacy `json:",omitempty"`
}

// roomState is a room in memory.
type roomState struct {
	roomRecord
	id     room.ID
	uri    uri.Room
	group  *mls.Group // nil unless creating or joined
	roster *room.Roster
	mask   *mask // nil in an open room

	fetch     bool // ask for what follows in the log
	fetching  task
	changing  task   // submitting a change
	sending   task   // submitting a message
	held      string // why the next message does not go out, as people were told; empty: it does
	rejoining task
	// looking for a replica from outside
	recruiting task
	attempt    *attempt                  // of rejoining
	unknown    []string                  // providers whose keys that lacked the last time
	commitAt   time.Time                 // when to commit what others proposed; zero: nothing pending
	refreshed  time.Time                 // when keys of providers were asked for again
	badLog     bool                      // told that the log does not verify
	silent     bool                      // told that the hub gives no sign of life
	stalls     bool                      // told that the hub orders nothing
	claim      *Claim                    // that stands, as people were told; nil: none
	claimAt    time.Time                 // when to look whether this device has to do something about it
	keeper     string                    // the provider from outside that people were told of
	found      *found                    // another one that the own provider has found; nil: none
	unfound    int                       // how often in a row none was found
	lookAt     time.Time                 // when to look at the room if nothing happens before
	owed       map[uint64]content.Status // what others are to be told of messages
	expiring   map[uint64]uint64         // when messages end, Unix milliseconds
	ruled      *room.Policies            // of epoch ruledAt
	ruledAt    uint64
	typing     typing
	reportAt   time.Time // when; zero: nothing is owed
	hostingAt  time.Time // when to change the replica set; zero: it is as it should be
}

func newRoomState(rec *roomRecord) (*roomState, error) {
	u, err := uri.ParseRoom(rec.URI)
	if err != nil {
		return nil, fmt.Errorf("reading room: %w: %w", ErrStorage, err)
	}
	r := &roomState{roomRecord: *rec, uri: u, id: room.IDOf([]byte(rec.URI))}
	if rec.Mask != nil {
		if r.mask, err = newMask(rec.Mask); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// loadRoom reads a room; one whose group is damaged is lost, and rejoined.
func (c *Client) loadRoom(tx Tx, rec *roomRecord) error {
	r, err := newRoomState(rec)
	if err != nil {
		return err
	}
	c.rooms[r.id] = r
	if err := r.loadExpiring(tx); err != nil {
		return err
	}
	if r.mask != nil {
		if err := r.loadNamed(tx); err != nil {
			return err
		}
	}
	if r.State != roomJoined && r.State != roomCreating && r.State != roomParted {
		return nil
	}
	if err := r.loadOwed(tx); err != nil {
		return err
	}
	if r.group, err = c.loadGroup(tx, r.id); err == nil {
		r.roster, err = room.RosterOf(r.group.Public())
	}
	if err == nil && r.mask != nil {
		err = c.loadMask(tx, r)
	}
	if err == nil && len(r.Lead.Now) == 0 {
		var h *room.Hosting // stored before rooms could move: what is said there is true
		if h, err = room.HostingOf(r.group.Public().Context()); err == nil {
			r.Lead = room.LeadOf(h)
		}
	}
	if err == nil {
		c.tellSuccession(new(batch), r, uri.User{}) // they have been told
		c.tellRecruit(new(batch), r)
	}
	if errors.Is(err, mls.ErrState) {
		c.log.Error("group is damaged, rejoining", "room", r.uri, "error", err)
		if r.group = nil; r.State != roomParted {
			r.State = roomLost
		}
		return nil
	}
	return err
}

// loadGroup reads a group as it is stored.
func (c *Client) loadGroup(tx Tx, id room.ID) (*mls.Group, error) {
	var bad error
	g, err := mls.LoadGroup(func(yield func(string, []byte) bool) {
		for it, err := range tx.Scan(tableParts(id), "") {
			if err == nil && (len(it.Value) == 0 || it.Value[0] != recordVersion) {
				err = fmt.Errorf("part of an unknown version: %w", ErrStorage)
			}
			if err != nil {
				bad = err
				return
			}
			if !yield(it.Name, it.Value[1:]) {
				return
			}
		}
	}, c.config())
	if bad != nil {
		return nil, bad
	}
	return g, err
}

// save writes what has changed of a room.
func (r *roomState) save(b *batch) {
	b.put(tableRoom, r.id.String(), &r.roomRecord)
	if r.group == nil {
		return
	}
	for _, p := range r.group.Unsaved() {
		if p.Value == nil {
			b.del(tableParts(r.id), p.Key)
		} else {
			b.raw(tableParts(r.id), p.Key, append([]byte{recordVersion}, p.Value...))
		}
	}
}

// enter makes a group that was just joined the room's.
func (c *Client) enterGroup(b *batch, r *roomState, g *mls.Group) error {
	roster, err := room.RosterOf(g.Public())
	if err != nil {
		return err
	}
	h, err := room.HostingOf(g.Public().Context())
	if err != nil {
		return err
	}
	if len(c.trust.anchors(h.Hub.Domain)) == 0 { // a recruit: none of the members is of it
		return fmt.Errorf("hub %s: %w", h.Hub.Domain, x509auth.ErrUnknownProvider)
	}
	if !c.trust.is(h.Hub.Domain, h.Hub.ProviderKey[:]) {
		return fmt.Errorf("hub %s with key %x: %w", h.Hub.Domain, h.Hub.ProviderKey[:8], ErrProviderKey)
	}
	if err := b.clear(c.cfg.Storage, tableParts(r.id)); err != nil {
		return storageError(err)
	}
	r.group, r.roster, r.State, r.Reason = g, roster, roomJoined, ""
	if r.Lead.Term != r.At.Term || len(r.Lead.Now) == 0 {
		// A Welcome: the commit before it says what the log does. Who comes back by
		// itself has followed the log.
		r.Lead = room.LeadOf(h)
	}
	r.Joined, r.Entering, r.Into, r.Folded = g.Epoch(), nil, "", false
	c.noteDirect(r, g.Public().Context())
	for _, w := range c.wishesOf(r) {
		if w.Kind == wishEnter {
			c.wishDone(b, w, nil)
		}
	}
	r.attempt, r.commitAt, r.badLog = nil, time.Time{}, false
	var leaves []*mls.LeafNode
	for m := range g.Public().Members() {
		leaves = append(leaves, m.Node)
	}
	c.noteUsers(b, r, leaves)
	r.save(b)
	b.tell(RoomJoined{r.uri})
	c.tellSuccession(b, r, uri.User{})
	c.tellRecruit(b, r)
	return nil
}

// leaveGroup ends this device's part in a room. The group's secrets go; what was
// said stays.
func (c *Client) leaveGroup(b *batch, r *roomState, state, reason string) error {
	if err := b.clear(c.cfg.Storage, tableParts(r.id)); err != nil {
		return storageError(err)
	}
	if r.group != nil {
		if m := r.metadata(); m != nil {
			r.Called = m.Name
		}
		// Parts that were written in this very batch.
		for _, w := range b.writes {
			if w.table == tableParts(r.id) && w.value != nil {
				b.del(w.table, w.name)
			}
		}
	}
	r.group, r.roster, r.State, r.Reason, r.attempt, r.commitAt, r.claim = nil, nil, state, reason, nil, time.Time{}, nil
	c.forgetMask(b, r)
	if r.gone() {
		c.goesOn(r)
	}
	r.keeper, r.found = "", nil
	r.save(b)
	if state == roomLost {
		for _, w := range c.wishesOf(r) {
			c.unstage(b, w)
		}
		return nil
	}
	if r.Into != "" {
		for _, w := range c.allWishesOf(r) {
			c.wishDone(b, w, nil) // there is nothing to wish for here
		}
		return nil
	}
	r.owed, r.reportAt = nil, time.Time{}
	if err := b.clear(c.cfg.Storage, tableOwed(r.id)); err != nil {
		return storageError(err)
	}
	for _, w := range c.allWishesOf(r) {
		var err error
		if w.Kind != wishLeave {
			err = fmt.Errorf("%s: %w", reason, ErrNoRoom)
		}
		c.wishDone(b, w, err)
	}
	for _, o := range c.outboxOf(r) {
		if err := c.failMessage(b, r, o, fmt.Errorf("%s: %w", reason, ErrNoRoom)); err != nil {
			return err
		}
	}
	b.tell(RoomLeft{r.uri, reason})
	return nil
}

// fetchLog asks for what follows in a room's log.
func (c *Client) fetchLog(r *roomState) {
	r.fetch = false
	from, entering := r.At.Next, r.Entering != nil
	path := fmt.Sprintf("/v1/rooms/%s/log?from=%d&limit=1000", r.id, from)
	c.asyncIn(r, "reading the log of "+r.uri.String(), &r.fetching, func(ctx context.Context) (func() error, error) {
		got := new(clientapi.Log)
		if err := c.api.call(ctx, "GET", path, nil, got); err != nil {
			if entering && hasCode(err, clientapi.CodeNotFound) {
				// The own provider has not heard of the room yet, or of its new participant.
				return func() error { r.fetch = true; r.fetching.failed(c.cfg.Now(), c.cfg.Retry, 0); return nil }, nil
			}
			c.enter(ctx, func() error { c.within(r.id); r.fetch = true; return nil })
			return nil, err
		}
		return func() error {
			if len(got.Entries) == 0 {
				return nil
			}
			if err := c.take(new(batch), r.id, got.Entries, got.Head); err != nil {
				return err
			}
			r.fetch = true // until there is no more
			if r.At.Next == from {
				r.fetching.failed(c.cfg.Now(), c.cfg.Retry, 0)
			}
			return nil
		}, nil
	})
}

// verify checks that entries continue the room's log, and returns those that are
// new, none if nothing is or if some before them are missing.
func (c *Client) verify(r *roomState, raw [][]byte, head []byte) ([]*room.Entry, error) {
	var fresh []*room.Entry
	for _, x := range raw {
		e, err := room.ParseEntry(x)
		if err != nil {
			return nil, err
		}
		if e.Seq >= r.At.Next {
			fresh = append(fresh, e)
		}
	}
	if len(fresh) == 0 {
		return nil, nil
	}
	if fresh[0].Seq > r.At.Next {
		r.fetch = true
		return nil, nil
	}
	h, err := room.ParseSignedHead(head)
	if err != nil {
		return nil, err
	}
	// A new hub's first entry names the key; that it is the hub, lead checks.
	hub := r.Lead.Hub
	if fresh[0].Kind == room.KindCreate && r.Entering != nil {
		if err := c.begun(r, fresh[0]); err != nil {
			return nil, err
		}
		hub = r.Lead.Hub
	}
	for _, e := range fresh {
		if e.Kind == room.KindHubChange {
			x, err := room.HubOf(e)
			if err != nil {
				return nil, err
			}
			hub = *x
		}
	}
	if _, err := room.Verify(r.id, r.At, fresh, h, ed25519.PublicKey(hub.ProviderKey[:])); err != nil {
		return nil, err
	}
	return fresh, nil
}
