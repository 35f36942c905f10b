package client

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/mimid/mimid/protocol/content"
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
	}
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
		out = append(out, x)
	}
	return out, nil
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
