package client

import (
	"fmt"

	"github.com/mimid/mimid/protocol/content"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
)

// How a direct room that yields is carried over into the pair's: see direct.go.

// yielded follows the end of a direct room that names a successor, before the room is left.
// Whether that is a direct room with the same user is seen before it is entered; one that is
// known here and is not is no successor.
func (c *Client) yielded(b *batch, r *roomState, to uri.Room) error {
	r.Into = ""
	if r.Peer == "" || to.IsZero() || !room.Precedes(to, r.uri) {
		return nil
	}
	id := room.IDOf([]byte(to.String()))
	w := c.rooms[id]
	switch {
	case w == nil && c.welcome[id] == nil:
		e := &entering{Hubs: []string{to.Provider().Domain()}, Own: true, Peer: r.Peer}
		if _, err := c.enterRoom(b, to, nil, e, nil); err != nil {
			return err
		}
		c.looks.touched[id] = true
	case w != nil && w.group != nil && w.Peer != r.Peer, w != nil && w.gone() && w.Into == "":
		b.tell(Problem{r.uri, fmt.Errorf("the direct room with %s was ended towards %s, which is none: %w", r.Peer, to, ErrProtocol)})
		return nil
	}
	r.Into = to.String()
	return nil
}

// goesOn gives a direct room that this device loses without a successor another one, if there
// is one.
func (c *Client) goesOn(r *roomState) {
	if r.Peer == "" || r.Into != "" {
		return
	}
	if w := c.winner(r.Peer); w != nil && w != r {
		r.Into = w.URI
	}
}

// fold carries over what is in a direct room that yields, in parts, each one transaction. What
// is on its way stays until the room has ended.
func (c *Client) fold(r *roomState) error {
	if r.Into == "" || r.Folded {
		return nil
	}
	w := c.current(r)
	if w == r {
		if id := room.IDOf([]byte(r.Into)); r.gone() && c.welcome[id] == nil {
			if x := c.rooms[id]; x == nil || x.Peer != "" || x.group != nil {
				return c.foldsNowhere(r)
			}
		}
		return nil // not in it yet
	}
	for {
		b := new(batch)
		more, err := c.foldPart(b, r, w)
		if err != nil {
			return err
		}
		if !more && r.gone() {
			for _, o := range c.outboxOf(r) { // reports; nobody waits for them
				delete(c.outbox, o.n)
				b.del(tableOutbox, numberName(o.n))
			}
			r.Folded, r.owed = true, nil
			if err := b.clear(c.cfg.Storage, tableOwed(r.id)); err != nil {
				return storageError(err)
			}
			b.tell(RoomMerged{Room: r.uri, Into: w.uri})
			r.save(b)
		}
		if len(b.writes) > 0 {
			if err := c.commit(b); err != nil {
				return err
			}
		}
		if !more {
			c.looks.touched[w.id] = true
			return nil
		}
	}
}

// foldsNowhere ends a direct room whose successor is none that this device could follow.
func (c *Client) foldsNowhere(r *roomState) error {
	b := new(batch)
	into := r.Into
	if r.Into = ""; c.winner(r.Peer) != nil {
		c.goesOn(r)
		r.save(b)
		c.looks.touched[r.id] = true
		return c.commit(b)
	}
	r.save(b)
	for _, o := range c.outboxOf(r) {
		if err := c.failMessage(b, r, o, fmt.Errorf("%s: %w", r.Reason, ErrNoRoom)); err != nil {
			return err
		}
	}
	b.tell(Problem{r.uri, fmt.Errorf("the direct room with %s was ended towards %s, which could not be entered: %w", r.Peer, into, ErrRefused)})
	b.tell(RoomLeft{r.uri, r.Reason})
	return c.commit(b)
}

// foldPart carries some messages over from r to w; more: there are others.
func (c *Client) foldPart(b *batch, r, w *roomState) (more bool, err error) {
	own := map[uint64]*outItem{}
	for _, o := range c.outboxOf(r) {
		if !o.Report {
			own[o.Index] = o
		}
	}
	var list []*messageRecord
	err = c.cfg.Storage.View(func(tx Tx) error {
		list, more = nil, false
		size := 0
		for it, err := range tx.Scan(tableMessages(r.id), "") {
			if err != nil {
				return err
			}
			m := new(messageRecord)
			if err := unmarshal("message", it.Value, m); err != nil {
				return err
			}
			if own[m.Index] != nil && !r.gone() {
				continue // its log will tell
			}
			if size += len(it.Value); size > partBytes && len(list) > 0 {
				more = true
				return nil
			}
			list = append(list, m)
		}
		return nil
	})
	if err != nil {
		return false, storageError(err)
	}
	for _, m := range list {
		if err := c.carry(b, r, w, m, own[m.Index]); err != nil {
			return false, err
		}
	}
	if len(list) > 0 {
		w.save(b)
	}
	return more, nil
}

// carry moves one message from r to w. o is its place in the outbox, nil if it is not there.
func (c *Client) carry(b *batch, r, w *roomState, m *messageRecord, o *outItem) error {
	old := m.Index
	b.del(tableMessages(r.id), numberName(old))
	b.del(tableIDs(r.id), string(m.ID[:]))
	there, moved, err := movedTo(m, w.URI)
	if err != nil {
		return fmt.Errorf("message %d of %s: %w: %w", old, r.uri, ErrStorage, err)
	}
	ids := append([]content.MessageID{m.ID, there}, m.Also...)
	known, err := c.knows(b, w, ids)
	if err != nil {
		return err
	}
	if known != nil { // it was said in both
		for _, id := range ids {
			b.put(tableIDs(w.id), string(id[:]), *known)
		}
		if o != nil {
			delete(c.outbox, o.n)
			b.del(tableOutbox, numberName(o.n))
		}
		return c.again(b, w, marshal(*known), m)
	}
	m.Index = w.NextMessage
	if w.ReadTo == m.Index && old < r.ReadTo {
		w.ReadTo++ // it was read
	}
	w.NextMessage++
	untold := m.Untold
	m.Untold = false
	switch {
	case o == nil:
		m.Also = append(m.Also, there)
		if m.Room == "" {
			m.Room = r.URI
		}
	case w.gone():
		m.State, m.Failure = StateFailed, w.Reason
		delete(c.outbox, o.n)
		b.del(tableOutbox, numberName(o.n))
	default:
		m.Also, m.ID, m.State, m.AcceptedAt, m.Content = append(m.Also, m.ID), there, StateQueued, 0, moved
		o.Content, o.Room, o.Index, o.Request, o.Nonce, o.Epoch, o.Hashes, o.Accepted = moved, w.id, m.Index, nil, nil, 0, nil, false
		o.save(b)
		b.tell(SendState{Room: w.uri, Index: m.Index, State: StateQueued})
	}
	b.put(tableMessages(w.id), numberName(m.Index), m)
	for _, id := range ids {
		b.put(tableIDs(w.id), string(id[:]), m.Index)
	}
	if at, ok := r.expiring[old]; ok {
		delete(r.expiring, old)
		b.del(tableExpiry(r.id), numberName(old))
		w.expires(m.Index, at)
		b.put(tableExpiry(w.id), numberName(m.Index), at)
	}
	if s, ok := r.owed[old]; ok {
		c.owedNoMore(b, r, old)
		if w.owed == nil {
			w.owed = map[uint64]content.Status{}
		}
		w.owed[m.Index] = s
		b.put(tableOwed(w.id), numberName(m.Index), s)
	}
	receipts, err := c.get(b, tableReceipts(r.id), numberName(old))
	if err != nil {
		return err
	}
	if receipts != nil {
		b.del(tableReceipts(r.id), numberName(old))
		b.raw(tableReceipts(w.id), numberName(m.Index), receipts)
	}
	if untold {
		shown, err := m.show()
		if err != nil {
			return err
		}
		shown.Mentioned = c.mentioned(shown)
		b.tell(MessageReceived{w.uri, *shown})
	}
	return nil
}

// knows returns the index of a message in a room by any of its ids, nil if it is not there.
func (c *Client) knows(b *batch, r *roomState, ids []content.MessageID) (*uint64, error) {
	for _, id := range ids {
		if index, err := c.indexOf(b, r, id); index != nil || err != nil {
			return index, err
		}
	}
	return nil, nil
}

// idsIn returns the ids that a message of a direct room would have had in those that have
// yielded to it.
func (c *Client) idsIn(r *roomState, m *messageRecord) (out []content.MessageID) {
	for _, x := range c.directRooms(r.Peer) {
		if x == r || c.current(x) != r {
			continue
		}
		if id, _, err := movedTo(m, x.URI); err == nil && len(out) < 2*maxDirect {
			out = append(out, id)
		}
	}
	return out
}

// movedTo returns what a message would be in another room: the same with the same salt, but
// for the room's name in it.
func movedTo(m *messageRecord, name string) (id content.MessageID, b []byte, err error) {
	said, err := content.Decode(m.Content, content.Limits{})
	if err != nil {
		return id, nil, err
	}
	if said.Room != "" {
		said.Room = name
	}
	if b, err = said.Encode(content.Limits{}); err != nil {
		return id, nil, err
	}
	id, err = content.DeriveID(b, m.Sender, name)
	return id, b, err
}
