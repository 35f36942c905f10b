package client

import (
	"fmt"

	"github.com/mimid/mimid/protocol/content"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/uri"
)

// permits says whether a user may send a message of this kind, by the room's roles as they
// are at the message's place in the log. The hub sees only that there is a message; what
// it is, each device judges for itself, and all alike: whoever may not react is shown to
// nobody as having reacted. Error: policy.Refusal, ErrStorage.
func (c *Client) permits(b *batch, r *roomState, sender uri.User, m *content.Message) error {
	roles, role := r.roles(), c.roleIn(r, sender)
	of := ""
	if m.Replaces != nil {
		var err error
		if of, err = c.senderOf(b, r, *m.Replaces); err != nil {
			return err
		}
	}
	// What it replaces may not be here, if that was before this device came: then it is
	// taken for the sender's own, as nothing here can be changed by it.
	own := of == "" || of == sender.String()
	var need policy.Capability
	switch m.Action() {
	case content.ActionReply:
		need = policy.ReplyToMessage
		if len(m.TopicID) > 0 && roles.May(role, policy.ReplyInTopic) {
			need = policy.ReplyInTopic
		}
	case content.ActionReact:
		need = policy.ReactToMessage
	case content.ActionEdit:
		if need = policy.EditOwnMessage; m.Body.Disposition == content.Reaction {
			need = policy.EditReaction
		}
		if !own {
			return &policy.Refusal{Role: roles.Name(role), Lacks: need, Why: "nobody edits what another has written"}
		}
	case content.ActionDelete:
		if need = policy.DeleteOwnMessage; !own {
			need = policy.DeleteOtherMessage
		}
	case content.ActionUnlike:
		if need = policy.DeleteOwnReaction; !own {
			need = policy.DeleteOtherReaction
		}
	default:
		need = policy.SendMessage
	}
	return roles.Need(role, need)
}

// senderOf returns who sent a message of a room, "" if it is not here.
func (c *Client) senderOf(b *batch, r *roomState, id content.MessageID) (string, error) {
	at, index, err := c.find(b, r, id)
	if err != nil || index == nil {
		return "", err
	}
	m, err := c.messageAt(b, at, *index)
	if err != nil || m == nil {
		return "", err
	}
	return m.Sender, nil
}

// permitted is permits for an own message, before it is kept.
func (c *Client) permitted(b *batch, r *roomState, m *content.Message) error {
	if err := c.lastsFor(r, m); err != nil {
		return err
	}
	if r.group == nil || r.State != roomJoined && r.State != roomCreating {
		return nil // it is sent when the device is in, or fails then
	}
	err := c.permits(b, r, c.as(r), m)
	if err == nil {
		err = r.attaches(c.as(r), m)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", err, ErrRefused)
	}
	return nil
}
