package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
)

// An administrator may have moved a room away from a provider that was cut off and went on
// alone. What its users said since then was final to them, and nobody else has it. This
// device does not take that back by itself: it stands still in the room (roomParted) and
// says so, until its user wants it to come back. Then it goes back to where the branches
// part, which it checks itself. What was read since stays, marked StateLost; what the user
// has sent is sent again, the same messages. If nobody has changed the group since, its
// keys are still those of the room, and the log is followed from there as by everybody;
// otherwise the group is entered anew by an external commit, and what was said in the room
// before that cannot be read here.

// parting is where a device stands still.
type parting struct {
	From uint64 // the first entry that is not in the room any more
	Era  uint32 // in which the room goes on
	To   string // whom it was moved to, if that is known
}

func (p *parting) String() string {
	to := "another provider"
	if p.To != "" {
		to = p.To
	}
	return fmt.Sprintf("the room was moved to %s from entry %d on, without what was said here since", to, p.From)
}

// behind says whether this device has been shown more of a branch than the room has.
func (r *roomState) behind(p *parting) bool { return r.At.Term.Era < p.Era && r.At.Next > p.From }

func partingOf(p *clientapi.Parting) *parting { return &parting{From: p.From, Era: p.Era, To: p.To} }

// partedBy looks at entries for a move from before the end of what this device has: they
// are of a later era, at a place that it has another entry at.
func (r *roomState) partedBy(raw [][]byte) *parting {
	if r.State != roomJoined && r.State != roomLost {
		return nil
	}
	for _, x := range raw {
		e, err := room.ParseEntry(x)
		if err != nil || e.Seq >= r.At.Next {
			return nil
		}
		if e.Term.Era <= r.At.Term.Era || e.Room != r.id {
			continue
		}
		p := &parting{From: e.Seq, Era: e.Term.Era}
		if h, err := room.HubOf(e); err == nil {
			p.To = h.Domain
		}
		return p
	}
	return nil
}

// part has this device stand still in a room, and tells its user why.
func (c *Client) part(b *batch, r *roomState, p *parting) {
	r.State, r.Parting, r.Reason = roomParted, p, p.String()
	r.attempt, r.commitAt = nil, time.Time{}
	r.save(b)
	b.tell(RoomParted{Room: r.uri, From: p.From, Entries: r.At.Next - p.From, To: p.To})
}

// told takes the provider's word that a room was moved away.
func (c *Client) told(b *batch, r *roomState, p *clientapi.Parting) {
	if x := partingOf(p); (r.State == roomJoined || r.State == roomLost) && r.behind(x) {
		c.part(b, r, x)
	}
}

// Rejoined is what coming back into a room has meant.
type Rejoined struct {
	Hub     string // who orders the room now
	From    uint64 // the first entry that is in the lost branch
	Entries uint64 // how many are in it
	Resent  int    // own messages that are sent again
	Lost    int    // messages that are marked StateLost
	// Anew: the group was changed in the lost branch. This device has entered it anew: what
	// was said in the room before that cannot be read here, and the changes have to be made
	// again.
	Anew bool
}

// Rejoin comes back into a room that was moved away from before the end of what this
// device, or its provider, has had in it: the provider keeps that as a lost branch and
// follows the room as it was moved, and so does this device. With resend the
// user's own messages since then are sent again; they stay the same messages, so that who
// has them has them once. Who came in, left or got another role since then did so in the
// lost branch only.
//
// Errors: ErrNoRoom, ErrNothingLost, ErrLog if the branch does not prove where it parts,
// ErrUnreachable, *clientapi.Problem, ErrStopped, ErrStorage.
func (c *Client) Rejoin(ctx context.Context, u uri.Room, resend bool) (*Rejoined, error) {
	out, err := c.rejoinRoom(ctx, u, resend)
	if err != nil {
		return nil, fmt.Errorf("coming back into %s: %w", u, err)
	}
	return out, nil
}

func (c *Client) rejoinRoom(ctx context.Context, u uri.Room, resend bool) (*Rejoined, error) {
	id := room.IDOf([]byte(u.String()))
	_, api, err := c.self(ctx)
	if err != nil {
		return nil, err
	}
	path := "/v1/rooms/" + id.String()
	p := new(clientapi.Parting)
	err = c.inRoom(ctx, id, func(r *roomState) (err, fatal error) {
		if !slices.Contains([]string{roomJoined, roomLost, roomParted}, r.State) {
			return fmt.Errorf("it is %s: %w", r.State, ErrNoRoom), nil
		}
		return nil, nil
	})
	if err == nil {
		err = api.call(ctx, "POST", path+"/rejoin", nil, p)
	}
	if hasCode(err, clientapi.CodeNotFound) {
		return nil, fmt.Errorf("%w: %w", ErrNothingLost, err)
	}
	if err != nil {
		return nil, err
	}
	if p.From == 0 || p.End <= p.From {
		return nil, fmt.Errorf("a branch from %d to %d: %w", p.From, p.End, ErrProtocol)
	}
	out := &Rejoined{From: p.From, Entries: p.End - p.From}
	behind := false
	err = c.inRoom(ctx, id, func(r *roomState) (err, fatal error) {
		r.fetch = true
		if behind = r.behind(partingOf(p)); !behind {
			return nil, nil
		}
		b := new(batch)
		if r.State != roomParted {
			c.part(b, r, partingOf(p))
		}
		return nil, c.commit(b)
	})
	if err == nil && behind {
		if err = c.readBranch(ctx, api, path, id, p.End); err == nil {
			err = c.goBack(ctx, api, path, id, p, resend, out)
		}
	}
	if err == nil {
		out.Hub, err = c.back(ctx, id, p.Era)
	}
	return out, err
}

// inRoom runs f on the loop, about a room.
func (c *Client) inRoom(ctx context.Context, id room.ID, f func(r *roomState) (err, fatal error)) error {
	return c.do(ctx, func() (error, error) {
		r := c.rooms[id]
		if r == nil {
			return ErrNoRoom, nil
		}
		c.within(id)
		return f(r)
	})
}

// branchPage is how many entries of a branch are asked for at once.
const branchPage = 500

// readBranch reads what the provider has of a lost branch and this device has not, so that
// its user knows what was said there.
func (c *Client) readBranch(ctx context.Context, api *provider, path string, id room.ID, end uint64) error {
	for {
		var from uint64
		readable := false
		err := c.inRoom(ctx, id, func(r *roomState) (error, error) {
			from, readable = r.At.Next, r.State == roomParted && r.group != nil
			return nil, nil
		})
		if err != nil || !readable || from >= end {
			return err
		}
		got := new(clientapi.Log)
		if err := api.call(ctx, "GET", fmt.Sprintf("%s/branch?from=%d&limit=%d", path, from, branchPage), nil, got); err != nil {
			return err
		}
		moved := false
		err = c.inRoom(ctx, id, func(r *roomState) (error, error) {
			if r.State != roomParted || r.group == nil || r.At.Next != from {
				return nil, nil
			}
			p, why := r.Parting, r.Reason
			r.State = roomJoined // as it was read by everybody else in it
			if err := c.take(new(batch), id, got.Entries, got.Head); err != nil {
				return nil, err
			}
			moved = r.At.Next > from
			if r.State == roomJoined || r.State == roomLost {
				b := new(batch)
				r.State, r.Parting, r.Reason = roomParted, p, why
				r.save(b)
				return nil, c.commit(b)
			}
			return nil, nil
		})
		if err != nil || !moved {
			return err // what cannot be read is left
		}
	}
}

// goBack finds where the branches part, by the branch itself: a chain of hashes leads from
// there to what this device has had last. Then it goes back to there.
func (c *Client) goBack(ctx context.Context, api *provider, path string, id room.ID, p *clientapi.Parting, resend bool, out *Rejoined) error {
	var had room.Position
	if err := c.inRoom(ctx, id, func(r *roomState) (error, error) { had = r.At; return nil, nil }); err != nil {
		return err
	}
	var at, end room.Position
	ledAnew := false
	out.Anew = false
	for next := p.From - 1; next < had.Next; {
		got := new(clientapi.Log)
		if err := api.call(ctx, "GET", fmt.Sprintf("%s/branch?from=%d&limit=%d", path, next, branchPage), nil, got); err != nil {
			return err
		}
		if len(got.Entries) == 0 {
			return fmt.Errorf("the branch ends before entry %d: %w", next, ErrLog)
		}
		for _, x := range got.Entries {
			e, err := room.ParseEntry(x)
			if err != nil {
				return fmt.Errorf("entry %d of the branch: %w: %w", next, ErrLog, err)
			}
			if next >= had.Next {
				break
			}
			if e.Room != id || e.Seq != next || next >= p.From && e.Prev != end.Last {
				return fmt.Errorf("entry %d of the branch continues nothing: %w", next, ErrLog)
			}
			next++
			end = room.Position{Term: e.Term, Next: next, Last: e.Hash(), AcceptedAt: e.AcceptedAt}
			if next == p.From {
				at = end
				continue
			}
			out.Anew = out.Anew || e.Kind != room.KindMessage
			ledAnew = ledAnew || e.Kind == room.KindHubChange || e.Kind == room.KindSettled
		}
	}
	if end.Last != had.Last || end.Next != had.Next {
		return fmt.Errorf("the branch does not lead to entry %d as this device knows it: %w", had.Next-1, ErrLog)
	}
	return c.inRoom(ctx, id, func(r *roomState) (error, error) {
		if r.At != had || !r.behind(partingOf(p)) {
			return ErrBusyRoom, nil
		}
		return nil, c.rollBack(r, at, ledAnew, resend, out)
	})
}

// rollBack goes back to a place of the log. Messages first, in parts: one that is done is
// not done again after a crash.
func (c *Client) rollBack(r *roomState, at room.Position, ledAnew, resend bool, out *Rejoined) error {
	var all []*messageRecord
	err := c.cfg.Storage.View(func(tx Tx) error {
		all = nil
		for it, err := range tx.Scan(tableMessages(r.id), "") {
			if err != nil {
				return err
			}
			m := new(messageRecord)
			if err := unmarshal("message", it.Value, m); err != nil {
				return err
			}
			if m.Seq >= at.Next && m.State == StateFinal {
				all = append(all, m)
			}
		}
		return nil
	})
	if err != nil {
		return storageError(err)
	}
	b := new(batch)
	var fresh []*outItem
	done := func() error {
		if err := c.commit(b); err != nil {
			return err
		}
		for _, o := range fresh {
			c.outbox[o.n] = o
		}
		b, fresh = new(batch), nil
		return nil
	}
	for _, m := range all {
		if b.size() > partBytes {
			if err := done(); err != nil {
				return err
			}
		}
		if m.State = StateLost; resend && m.Sender == c.as(r).String() {
			m.State, m.Seq, m.AcceptedAt = StateQueued, 0, 0
			o := &outItem{n: c.next, Room: r.id, Index: m.Index, Content: m.Content}
			c.next++
			o.save(b)
			fresh = append(fresh, o)
			out.Resent++
		} else {
			out.Lost++
		}
		b.put(tableMessages(r.id), numberName(m.Index), m)
	}
	if err := done(); err != nil {
		return err
	}
	for _, o := range c.outboxOf(r) { // made for an epoch that is no more
		o.Request, o.Nonce, o.Accepted = nil, nil, false
		o.save(b)
	}
	r.At, r.Parting, r.fetch = at, nil, true
	if out.Anew = out.Anew || r.group == nil; !out.Anew {
		r.State, r.Reason = roomJoined, ""
		r.save(b)
		return c.commit(b)
	}
	if ledAnew {
		r.Lead = room.Lead{} // who led there, the log's next entry says
	}
	if err := c.leaveGroup(b, r, roomLost, "coming back after the room was moved"); err != nil {
		return err
	}
	r.rejoining = task{}
	return c.commit(b)
}

// back waits until this device is in the room as it was moved, and says who orders it.
func (c *Client) back(ctx context.Context, id room.ID, era uint32) (hub string, err error) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		there := false
		err := c.do(ctx, func() (error, error) {
			c.untouched()
			r := c.rooms[id]
			switch {
			case r == nil:
				return ErrNoRoom, nil
			case r.State == roomLeft, r.State == roomStopped, r.State == roomParted:
				return fmt.Errorf("%s: %w", r.Reason, ErrNoRoom), nil
			}
			there = r.State == roomJoined && r.At.Term.Era >= era
			hub = r.Lead.Hub.Domain
			return nil, nil
		})
		if err != nil || there {
			return hub, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return "", fmt.Errorf("it goes on by itself: %w", errors.Join(ErrUnreachable, ctx.Err()))
		case <-c.stopped:
			return "", ErrStopped
		}
	}
}
