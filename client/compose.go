package client

import (
	"fmt"

	"github.com/mimid/mimid/protocol/content"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/uri"
)

// Names of types of other packages, for programs that need no more of these.
type (
	Content = content.Message
	RoomURI = uri.Room
	UserURI = uri.User
)

// What a message does, as Content.Action says.
const (
	ActionReply  = content.ActionReply
	ActionReact  = content.ActionReact
	ActionEdit   = content.ActionEdit
	ActionDelete = content.ActionDelete
	ActionUnlike = content.ActionUnlike
)

// Composer makes a message about another one, see About.
type Composer = func(about *content.Message, id content.MessageID) *content.Message

// Saying makes a message of text.
func Saying(text string) *Content { return content.New(content.Origin{}, content.Text(text)) }

// Answering answers with text.
func Answering(text string) Composer {
	return func(_ *content.Message, id content.MessageID) *content.Message {
		return content.Reply(content.Origin{}, id, content.Text(text))
	}
}

// Reacting reacts with an emoji.
func Reacting(emoji string) Composer {
	return func(_ *content.Message, id content.MessageID) *content.Message {
		return content.React(content.Origin{}, id, emoji)
	}
}

// Editing replaces the text.
func Editing(text string) Composer {
	return func(m *content.Message, id content.MessageID) *content.Message {
		return content.Edit(content.Origin{}, m, id, content.Text(text))
	}
}

// Deleting takes a message or a reaction back.
func Deleting() Composer {
	return func(m *content.Message, id content.MessageID) *content.Message {
		return content.Delete(content.Origin{}, m, id)
	}
}

// Preset returns the roles of a kind of room, for NewRoom: group, where it is nil for the
// basic ones, which no room stores, or channel. Error: ErrName.
func Preset(name string) (*policy.Roles, error) {
	switch name {
	case "group":
		return nil, nil
	case "channel":
		return policy.Channel(), nil
	}
	return nil, fmt.Errorf("%.40q is no kind of room; there are group and channel: %w", name, ErrName)
}
