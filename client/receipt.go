package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mimid/mimid/protocol/content"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
)

// Receipts is what a user lets the others in its rooms know of what came to it
// (draft-mahy-mimi-message-status). A room's policy may demand or forbid either.
type Receipts struct {
	// Delivered says that messages have come to one of the user's devices. On by default,
	// in rooms of up to Config.ReceiptRoom participants.
	Delivered bool
	// Read says that they were read. Off by default.
	Read bool
}

const (
	maxReported = 512 // messages in one report, which is 18 KB
	maxReports  = 256 // users of whom is kept what they report of one message
)

// Receipt is what a user has reported of a message.
type Receipt struct {
	User      uri.User
	Delivered time.Time // when the hub took the report; zero: it was not reported
	Read      time.Time
}

// receiptRecord is a Receipt in the storage, with all that was said.
type receiptRecord struct {
	User string
	Said content.StatusSet
	// Times of the hub, milliseconds, of the first report that said so.
	DeliveredAt, ReadAt uint64 `json:",omitempty"`
}

func (x *receiptRecord) show() (Receipt, error) {
	u, err := uri.ParseParticipant(x.User)
	if err != nil {
		return Receipt{}, fmt.Errorf("reading a receipt: %w: %w", ErrStorage, err)
	}
	at := func(ms uint64) (t time.Time) {
		if ms > 0 {
			t = time.UnixMilli(int64(ms))
		}
		return t
	}
	return Receipt{u, at(x.DeliveredAt), at(x.ReadAt)}, nil
}

// demands returns what the room's policy (status_notification_policy) says of reports that
// messages were delivered and read.
func (r *roomState) demands() (delivered, read policy.Optionality) {
	if p := r.policies().Status; p != nil {
		return p.Delivery, p.Read
	}
	return policy.Optional, policy.Optional
}

// reports says whether this device reports a status in a room, as things are now.
func (c *Client) reports(r *roomState, s content.Status) bool {
	if r.State != roomJoined || !r.roles().Posts(c.roleIn(r, c.as(r))) {
		return false // the hub takes nothing from whom may send nothing
	}
	rule, wish := policy.Optional, false
	switch delivered, read := r.demands(); s {
	case content.Delivered:
		rule, wish = delivered, c.receipts.Delivered
	case content.Read:
		rule, wish = read, c.receipts.Read
	}
	switch rule {
	case policy.Required:
		return true
	case policy.Forbidden:
		return false
	}
	return wish && r.participants() <= c.cfg.ReceiptRoom
}

// participants is how many users have a device in the room.
func (r *roomState) participants() (n int) {
	list, _ := room.ParticipantsOf(r.group.Public().Context())
	for _, p := range list {
		if u, err := uri.ParseParticipant(string(p.User)); err == nil && r.roster.Clients(u) > 0 {
			n++
		}
	}
	return n
}

// tells says whether a message is one that others are told the fate of: what is shown by
// itself. What changes it, and reports, are not reported of, so that no report leads to
// another one.
func tells(m *content.Message) bool {
	a := m.Action()
	return a == content.ActionSay || a == content.ActionReply
}

// owe notes that others are to be told of a message, in the same transaction as what
// happened to it.
func (c *Client) owe(b *batch, r *roomState, m *messageRecord, said *content.Message, s content.Status) {
	if m.Sender == c.as(r).String() || !tells(said) || r.owed[m.Index] >= s || !c.reports(r, s) {
		return
	}
	if r.owed == nil {
		r.owed = map[uint64]content.Status{}
	}
	r.owed[m.Index] = s
	b.put(tableOwed(r.id), numberName(m.Index), s)
	if r.reportAt.IsZero() {
		r.reportAt = c.cfg.Now().Add(c.reportDelay(r))
	}
}

// reportDelay is how long receipts are gathered: the longer the more devices do the same,
// so that a room's log grows by few reports a second however many talk in it.
func (c *Client) reportDelay(r *roomState) time.Duration {
	return c.cfg.ReportDelay + c.cfg.ReportDelay*time.Duration(r.participants())/8
}

// loadOwed reads what others are to be told.
func (r *roomState) loadOwed(tx Tx) error {
	return scan(tx, tableOwed(r.id), func(name string, s *content.Status) error {
		n, err := nameNumber(name)
		if r.owed == nil {
			r.owed = map[uint64]content.Status{}
		}
		r.owed[n] = *s
		return err
	})
}

func (c *Client) owedNoMore(b *batch, r *roomState, index uint64) {
	delete(r.owed, index)
	b.del(tableOwed(r.id), numberName(index))
}

// pumpReceipts makes of what is owed a report, when it is time: one application message
// about as many messages as there are, in the same transaction in which they are owed no
// more.
func (c *Client) pumpReceipts(r *roomState, now time.Time, soon func(*task) bool) error {
	if len(r.owed) == 0 || r.waits() {
		r.reportAt = time.Time{}
		return nil
	}
	if r.reportAt.IsZero() { // from before the device was opened
		r.reportAt = now.Add(c.reportDelay(r))
	}
	if !soon(&task{at: r.reportAt}) {
		return nil
	}
	b := new(batch)
	var report content.StatusReport
	for _, index := range sortedKeys(r.owed) {
		if len(report) == maxReported {
			break
		}
		s := r.owed[index]
		c.owedNoMore(b, r, index)
		if s == content.Read && !c.reports(r, s) {
			s = content.Delivered
		}
		if !c.reports(r, s) {
			continue // the policy, the user's wish or the room has changed
		}
		m, err := c.messageAt(b, r, index)
		if err != nil {
			return err
		}
		if m != nil {
			report = append(report, content.MessageStatus{ID: m.ID, Status: s})
		}
	}
	if r.reportAt = (time.Time{}); len(r.owed) > 0 {
		r.reportAt = now
		soon(&task{at: now.Add(1)}) // the rest at once, after this one
	}
	if len(report) > 0 {
		content, err := report.Encode(content.Limits{})
		if err != nil {
			return fmt.Errorf("reporting on messages of %s: %w", r.uri, err)
		}
		c.enqueue(b, &outItem{Room: r.id, Report: true, Content: content})
	}
	return c.commit(b)
}

// enqueue puts something into the outbox.
func (c *Client) enqueue(b *batch, o *outItem) {
	o.n = c.next
	c.next++
	o.save(b)
	b.after = append(b.after, func() { c.outbox[o.n] = o })
}

func sortedKeys[V any](m map[uint64]V) []uint64 {
	out := make([]uint64, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// messageAt reads a message as it will be after the batch, nil if it is not here.
func (c *Client) messageAt(b *batch, r *roomState, index uint64) (*messageRecord, error) {
	v, err := c.get(b, tableMessages(r.id), numberName(index))
	if err != nil || v == nil {
		return nil, err
	}
	m := new(messageRecord)
	return m, unmarshal("message", v, m)
}

// reported takes a report of a participant, as of when the hub took it. Kept is what others
// say of this user's messages; what another device of this user has said need not be said
// again. All else changes nothing: ids that are not here, other people's messages, those of
// the reporter. As nothing is ever taken back, and each user has one entry a message, a
// flood of reports costs no more room than one.
func (c *Client) reported(b *batch, r *roomState, from uri.User, report content.StatusReport, accepted uint64) error {
	news := ReceiptsChanged{Room: r.uri, From: r.shown(from)}
	deliveries, readings := r.demands()
	for _, x := range report {
		said := x.Status.Of()
		if said == 0 || readings == policy.Forbidden && said.Read() || deliveries == policy.Forbidden && !said.Read() {
			continue
		}
		at, index, err := c.find(b, r, x.ID)
		if err != nil {
			return err
		}
		if index == nil {
			continue
		}
		if from == c.as(r) {
			if s, owed := at.owed[*index]; owed && (said.Read() || s == content.Delivered && said.Delivered()) {
				c.owedNoMore(b, at, *index)
			}
			continue
		}
		m, err := c.messageAt(b, at, *index)
		if err != nil {
			return err
		}
		if m == nil || m.Sender != c.as(at).String() {
			continue
		}
		delivered, read, err := c.noteReceipt(b, at, *index, from, said, accepted)
		if err != nil {
			return err
		}
		news.Room = at.uri
		if delivered {
			news.Delivered = append(news.Delivered, *index)
		}
		if read {
			news.Read = append(news.Read, *index)
		}
	}
	if len(news.Delivered)+len(news.Read) > 0 {
		b.tell(news)
	}
	return nil
}

// noteReceipt unites what is known of a message with what a user says, and tells what is
// new of it.
func (c *Client) noteReceipt(b *batch, r *roomState, index uint64, from uri.User, said content.StatusSet, at uint64) (delivered, read bool, err error) {
	v, err := c.get(b, tableReceipts(r.id), numberName(index))
	if err != nil {
		return false, false, err
	}
	var list []receiptRecord
	if v != nil {
		if err := unmarshal("receipts", v, &list); err != nil {
			return false, false, err
		}
	}
	i := slices.IndexFunc(list, func(x receiptRecord) bool { return x.User == from.String() })
	if i < 0 {
		if len(list) == maxReports {
			return false, false, nil
		}
		i = len(list)
		list = append(list, receiptRecord{User: from.String()})
	}
	x := &list[i]
	if x.Said|said == x.Said {
		return false, false, nil
	}
	x.Said |= said
	if x.Said.Delivered() && x.DeliveredAt == 0 {
		x.DeliveredAt, delivered = at, true
	}
	if x.Said.Read() && x.ReadAt == 0 {
		x.ReadAt, read = at, true
	}
	b.put(tableReceipts(r.id), numberName(index), list)
	return delivered, read, nil
}

// indexOf returns the index of a message by its id, nil if it is not here.
func (c *Client) indexOf(b *batch, r *roomState, id content.MessageID) (*uint64, error) {
	v, err := c.get(b, tableIDs(r.id), string(id[:]))
	if err != nil || v == nil {
		return nil, err
	}
	index := new(uint64)
	return index, unmarshal("where a message is", v, index)
}

// readPiece is how many messages are marked in one transaction.
const readPiece = 256

// MarkRead says that the user has read a room's messages up to an index. Applications call
// it when they have shown them. Others are told if the user wants that, or the room's
// policy does: see Receipts. What was marked before stays so. Errors: ErrNoRoom, ErrStopped.
func (c *Client) MarkRead(ctx context.Context, u uri.Room, upTo uint64) error {
	for more := true; more; {
		err := c.do(ctx, func() (error, error) {
			r := c.roomOf(u)
			if r == nil {
				return ErrNoRoom, nil
			}
			c.within(r.id)
			end := min(upTo+1, r.NextMessage)
			if upTo == ^uint64(0) {
				end = r.NextMessage
			}
			if r.ReadTo >= end {
				more = false
				return nil, nil
			}
			to := min(end, r.ReadTo+readPiece)
			b := new(batch)
			for i := r.ReadTo; i < to; i++ {
				if err := c.markRead(b, r, i); err != nil {
					return nil, err
				}
			}
			r.ReadTo = to
			more = to < end
			r.save(b)
			return nil, c.commit(b)
		})
		if err != nil {
			return fmt.Errorf("marking messages of %s: %w", u, err)
		}
	}
	return nil
}

func (c *Client) markRead(b *batch, r *roomState, index uint64) error {
	m, err := c.messageAt(b, r, index)
	if err != nil || m == nil {
		return err
	}
	said, err := content.Decode(m.Content, content.Limits{})
	if err != nil {
		return fmt.Errorf("reading message %d: %w: %w", index, ErrStorage, err)
	}
	if r.State == roomJoined {
		c.owe(b, r, m, said, content.Read)
	}
	c.endsAt(b, r, m, said.Expires, c.cfg.Now()) // how long after it was read
	return nil
}

// SetReceipts sets what others are told of what comes to this device's user. It is a
// setting of the device. Errors: ErrStopped.
func (c *Client) SetReceipts(ctx context.Context, x Receipts) error {
	err := c.do(ctx, func() (error, error) {
		c.untouched()
		b := new(batch)
		b.put(tableSelf, nameReceipts, x)
		c.receipts = x
		return nil, c.commit(b)
	})
	if err != nil {
		return fmt.Errorf("setting receipts: %w", err)
	}
	return nil
}

// Receipts returns what others are told. Errors: ErrStopped.
func (c *Client) Receipts(ctx context.Context) (x Receipts, err error) {
	err = c.do(ctx, func() (error, error) {
		c.untouched()
		x = c.receipts
		return nil, nil
	})
	return x, err
}

// SettleReceipts sends what is owed at once and waits until it stands in the logs: a
// short-lived program calls it before it ends, or the receipts go out the next time.
func (c *Client) SettleReceipts(ctx context.Context) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		busy := false
		err := c.do(ctx, func() (error, error) {
			c.untouched()
			for _, r := range c.rooms {
				if len(r.owed) > 0 && r.State == roomJoined {
					busy = true
					if now := c.cfg.Now(); r.reportAt.IsZero() || r.reportAt.After(now) {
						r.reportAt = now
						c.within(r.id)
					}
				}
			}
			for _, o := range c.outbox {
				busy = busy || o.Report
			}
			return nil, nil
		})
		if err != nil || !busy {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("sending receipts: %w", errors.Join(ctx.Err()))
		case <-c.stopped:
			return ErrStopped
		}
	}
}
