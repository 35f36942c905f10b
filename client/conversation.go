package client

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/mimid/mimid/protocol/content"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
)

// Said is a message with all that came of it.
type Said struct {
	Message
	Text    string // of the last version; empty if it was taken back
	Edited  bool
	Deleted bool
	// Answers is the message that this one answers, nil for none or one that is not here.
	Answers   *uint64
	Reactions []content.Reacted // Sender is a user's URI
	// Receipts are what others have reported of it, in order of their URIs; only of what
	// this user has sent.
	Receipts []Receipt
}

// DeliveredTo counts those to whom the message is known to have come.
func (s *Said) DeliveredTo() int { return s.count(func(x Receipt) time.Time { return x.Delivered }) }

// ReadBy counts those who say that they have read it.
func (s *Said) ReadBy() int { return s.count(func(x Receipt) time.Time { return x.Read }) }

func (s *Said) count(of func(Receipt) time.Time) (n int) {
	for _, x := range s.Receipts {
		if !of(x).IsZero() {
			n++
		}
	}
	return n
}

// Conversation returns what there is to see in a room, in the order of its log and then
// what is still on its way: messages with their last text and reactions. It works without
// Run, and reads all messages of the room. Errors as Messages.
func (c *Client) Conversation(u uri.Room) ([]Said, error) {
	var all []Message
	for from := uint64(0); ; {
		list, err := c.Messages(u, from, 1000)
		if err != nil {
			return nil, err
		}
		if len(list) == 0 {
			break
		}
		all = append(all, list...)
		from = list[len(list)-1].Index + 1
	}
	slices.SortStableFunc(all, func(a, b Message) int {
		if x, y := a.State == StateFinal, b.State == StateFinal; x != y {
			return map[bool]int{true: -1, false: 1}[x]
		}
		if a.Room != b.Room { // each log is in order of its times
			return cmp.Or(a.AcceptedAt.Compare(b.AcceptedAt), cmp.Compare(a.Room.String(), b.Room.String()))
		}
		return cmp.Compare(a.Seq, b.Seq)
	})
	var f content.Fold
	at := map[uint64]*Message{}
	for i := range all {
		m := &all[i]
		at[m.Index] = m
		if a := m.Content.Action(); m.State == StateFailed && a != content.ActionSay && a != content.ActionReply {
			continue // nobody else has it
		}
		f.Add(m.ID, m.Index, m.Sender.String(), m.Content)
		for _, id := range m.also {
			f.Alias(m.ID, id)
		}
	}
	given, err := c.receiptsOf(u)
	if err != nil {
		return nil, err
	}
	for index, list := range given {
		for _, x := range list {
			if m := at[index]; m != nil {
				f.AddStatus(m.ID, x.User, x.Said)
			}
		}
	}
	times := givenTimes(&f, at, given)
	var out []Said
	for _, s := range f.List() {
		x := Said{Message: *at[s.Number], Edited: s.Edited, Deleted: s.Deleted, Reactions: s.Reactions}
		if !s.Deleted {
			x.Text = s.Message.Text()
		}
		if to := s.Message.InReplyTo; to != nil {
			if of := f.Find(*to); of != nil {
				x.Answers = &of.Number
			}
		}
		for _, r := range s.Statuses {
			if y := times[s][r.Sender]; y != nil {
				receipt, err := y.show()
				if err != nil {
					return nil, err
				}
				x.Receipts = append(x.Receipts, receipt)
			}
		}
		out = append(out, x)
	}
	return out, nil
}

// receiptsOf reads what others have reported of a room's messages, by their indexes.
func (c *Client) receiptsOf(u uri.Room) (map[uint64][]receiptRecord, error) {
	given := map[uint64][]receiptRecord{}
	err := c.cfg.Storage.View(func(tx Tx) error {
		id := room.IDOf([]byte(u.String()))
		if rec, err := recordOf(tx, u); err != nil {
			return err
		} else if rec != nil {
			id = room.IDOf([]byte(rec.URI))
		}
		return scan(tx, tableReceipts(id), func(name string, list *[]receiptRecord) error {
			n, err := nameNumber(name)
			given[n] = *list
			for i := range *list {
				x := &(*list)[i]
				u, err := uri.ParseParticipant(x.User)
				if err == nil {
					u, err = namedIn(tx, id, u)
				}
				if err != nil {
					return err
				}
				x.User = u.String()
			}
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("reading receipts of %s: %w", u, storageError(err))
	}
	return given, nil
}

// givenTimes says since when, of each message that is shown and by each user, something is
// reported of any of its versions.
func givenTimes(f *content.Fold, at map[uint64]*Message, given map[uint64][]receiptRecord) map[*content.Shown]map[string]*receiptRecord {
	times := map[*content.Shown]map[string]*receiptRecord{}
	for index, list := range given {
		if at[index] == nil {
			continue
		}
		s := f.Find(at[index].ID)
		if s == nil {
			continue
		}
		if times[s] == nil {
			times[s] = map[string]*receiptRecord{}
		}
		for i := range list {
			x := &list[i]
			y := times[s][x.User]
			if y == nil {
				times[s][x.User] = x
				continue
			}
			y.DeliveredAt, y.ReadAt = first(y.DeliveredAt, x.DeliveredAt), first(y.ReadAt, x.ReadAt)
		}
	}
	return times
}

// first is the earlier of two times of which 0 is none.
func first(a, b uint64) uint64 {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}

// About makes the content of a message about another one, which is known by its index on
// this device: content.Reply, React, Edit and Delete. Errors: ErrNoMessage, and as Messages.
func (c *Client) About(u uri.Room, index uint64, compose Composer) (*content.Message, error) {
	list, err := c.Messages(u, index, 1)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 || list[0].Index != index {
		return nil, fmt.Errorf("message %d: %w", index, ErrNoMessage)
	}
	return compose(list[0].Content, list[0].ID), nil
}
