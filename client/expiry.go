package client

import (
	"errors"
	"fmt"
	"time"

	"github.com/mimid/mimid/protocol/content"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/room"
)

// Messages that end by themselves (draft-ietf-mimi-content section 5.8). One that says when
// ends then; one that says how long after it was read ends that long after MarkRead here,
// and for whoever sent it that long after it was sent. Then it is gone from what is shown
// and from the storage: of it stays its id, so that a copy is not taken for a new message.

// expirySlack is what the clocks of a sender and a hub may differ by when a room's policy on
// how long messages last is judged.
const expirySlack = 5 * time.Minute

// policies returns the room's policy, as of the group's epoch; empty if there is none that
// can be read.
func (r *roomState) policies() *room.Policies {
	if r.ruled == nil || r.ruledAt != r.group.Epoch() {
		p, err := room.PoliciesOf(r.group.Public().Context())
		if err != nil || p == nil {
			p = new(room.Policies)
		}
		r.ruled, r.ruledAt = p, r.group.Epoch()
	}
	return r.ruled
}

// lasts judges for how long a message lasts by the room's policy, at a time: the hub's, or
// the own clock's before it is sent. Of what changes a message the message decides. Error:
// policy.Refusal.
func (r *roomState) lasts(m *content.Message, at time.Time) error {
	p := r.policies().Expiration
	if p == nil || !tells(m) {
		return nil
	}
	if m.Expires == nil {
		return p.Allows(false, 0)
	}
	d := m.Expires.At(at).Sub(at)
	err := p.Allows(true, seconds(d))
	if !m.Expires.Relative && err != nil && (p.Allows(true, seconds(d+expirySlack)) == nil || p.Allows(true, seconds(d-expirySlack)) == nil) {
		return nil
	}
	return err
}

func seconds(d time.Duration) uint64 { return uint64(max(0, d) / time.Second) }

// withDefault returns a message as it is to be sent in a room whose policy says how long
// messages last that do not say it.
func (r *roomState) withDefault(m content.Message, now time.Time) content.Message {
	if r.group == nil || m.Expires != nil || !tells(&m) {
		return m
	}
	if p := r.policies().Expiration; p != nil && p.Default.Set {
		if e, err := content.ExpireAt(now.Add(time.Duration(p.Default.N) * time.Second)); err == nil {
			m.Expires = e
		}
	}
	return m
}

// loadExpiring reads when messages end.
func (r *roomState) loadExpiring(tx Tx) error {
	return scan(tx, tableExpiry(r.id), func(name string, at *uint64) error {
		n, err := nameNumber(name)
		r.expires(n, *at)
		return err
	})
}

func (r *roomState) expires(index, at uint64) {
	if r.expiring == nil {
		r.expiring = map[uint64]uint64{}
	}
	r.expiring[index] = at
}

// endsAt notes when a message ends. What was noted first stays.
func (c *Client) endsAt(b *batch, r *roomState, m *messageRecord, e *content.Expiration, from time.Time) {
	if e == nil || m.ExpiresAt != 0 {
		return
	}
	m.ExpiresAt = uint64(max(1, e.At(from).UnixMilli()))
	r.expires(m.Index, m.ExpiresAt)
	b.put(tableExpiry(r.id), numberName(m.Index), m.ExpiresAt)
	b.put(tableMessages(r.id), numberName(m.Index), m)
}

// wipe deletes what has ended, and returns by soon when the next message will.
func (c *Client) wipe(r *roomState, now time.Time, soon func(*task) bool) error {
	b := new(batch)
	gone := MessagesExpired{Room: r.uri}
	for _, index := range sortedKeys(r.expiring) {
		if !soon(&task{at: time.UnixMilli(int64(r.expiring[index]))}) {
			continue
		}
		if b.size() > partBytes {
			soon(&task{at: now.Add(1)})
			break
		}
		delete(r.expiring, index)
		b.del(tableExpiry(r.id), numberName(index))
		b.del(tableMessages(r.id), numberName(index))
		b.del(tableReceipts(r.id), numberName(index))
		c.owedNoMore(b, r, index)
		for _, o := range c.outboxOf(r) {
			if o.Index == index && !o.Report { // nobody would show it any more
				delete(c.outbox, o.n)
				b.del(tableOutbox, numberName(o.n))
			}
		}
		gone.Messages = append(gone.Messages, index)
	}
	if len(gone.Messages) == 0 {
		return nil
	}
	b.tell(gone)
	return c.commit(b)
}

// lastsFor is lasts for an own message, before it is kept.
func (c *Client) lastsFor(r *roomState, m *content.Message) error {
	now := c.cfg.Now()
	if err := m.CheckExpiry(now); err != nil {
		return err
	}
	if m.Expires != nil && !m.Expires.Relative && !m.Expires.At(now).After(now) && tells(m) {
		return fmt.Errorf("it would have ended before it was sent: %w", content.ErrExpiry)
	}
	if r.group == nil {
		return nil
	}
	refused := new(policy.Refusal)
	if err := r.lasts(m, now); errors.As(err, &refused) {
		return fmt.Errorf("%w: %w", err, ErrRefused)
	}
	return nil
}
