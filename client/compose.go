package client

import (
	"fmt"
	"strings"
	"time"
	"unicode"

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

// SayingMarkdown makes a message of Markdown (GFM-MIMI, which has no HTML: a "<" is written
// as "&lt;"). Each word such as @bob@biloxi.example becomes a mention of that user.
func SayingMarkdown(text string) *Content {
	return content.New(content.Origin{}, content.MarkdownText(withMentions(strings.ReplaceAll(text, "<", "&lt;"))))
}

// withMentions turns words that name users, after an @, into links that mention them.
func withMentions(text string) string {
	var b strings.Builder
	rest := text
	for {
		i := strings.IndexByte(rest, '@')
		if i < 0 {
			b.WriteString(rest)
			return b.String()
		}
		name := rest[i+1:]
		if end := strings.IndexFunc(name, func(c rune) bool {
			return c != '@' && c != '.' && c != '-' && c != '_' && !unicode.IsLetter(c) && !unicode.IsDigit(c)
		}); end >= 0 {
			name = name[:end]
		}
		name = strings.TrimRight(name, ".")
		begins := i == 0 || strings.ContainsRune(" \t\n(", rune(rest[i-1]))
		u, err := uri.ParseShort(name)
		b.WriteString(rest[:i])
		if rest = rest[i+1:]; err != nil || !begins {
			b.WriteByte('@')
			continue
		}
		b.WriteString(content.Mention("@"+name, u))
		rest = rest[len(name):]
	}
}

// EndingAt has a message end at a time. Error: content.ErrExpiry.
func EndingAt(m *Content, at time.Time) (err error) {
	m.Expires, err = content.ExpireAt(at)
	return err
}

// EndingAfterReading has a message end a while after each recipient has read it. Error:
// content.ErrExpiry.
func EndingAfterReading(m *Content, d time.Duration) (err error) {
	m.Expires, err = content.ExpireAfterReading(d)
	return err
}

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

// OpenTo returns the roles of a room that anybody joins by itself as a role, by its name;
// nil stands for the basic roles. Error: ErrName.
func OpenTo(roles *policy.Roles, as string) (*policy.Roles, error) {
	if roles == nil {
		roles = policy.Basic()
	}
	to, err := roles.Named(as)
	if err == nil {
		roles, err = roles.OpenTo(to)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", err, ErrName)
	}
	return roles, nil
}
