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
	// MessageID names a message in a room.
	MessageID = content.MessageID
	RoomURI   = uri.Room
	UserURI   = uri.User
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

// Words are what somebody says.
type Words struct {
	Text string
	// Markdown: Text is Markdown (GFM-MIMI, which has no HTML: a "<" is written as "&lt;").
	// Each word such as @bob@biloxi.example becomes a mention of that user.
	Markdown bool
	// Plain is what is shown in its place where Markdown is not; may be empty.
	Plain string
}

// body makes the words a part: of two forms a reader chooses one (content draft, section
// 4.3). Plain text that mentions somebody gets a form in Markdown, since a mention is a link.
func (w Words) body() content.Part {
	if w.Markdown {
		md := content.MarkdownText(withMentions(w.Text, func(s string) string { return strings.ReplaceAll(s, "<", "&lt;") }))
		if w.Plain == "" {
			return md
		}
		return content.Multi(content.ChooseOne, md, content.Text(w.Plain))
	}
	asIs := func(s string) string { return s }
	if withMentions(w.Text, asIs) == w.Text {
		return content.Text(w.Text)
	}
	return content.Multi(content.ChooseOne, content.Text(w.Text), content.MarkdownText(withMentions(w.Text, escaped)))
}

// escaped writes text as Markdown that shows it as it is. Any ASCII punctuation may have a
// backslash before it (CommonMark, section 2.4); lines are kept apart by one at their end.
func escaped(s string) string {
	var b strings.Builder
	for _, c := range s {
		switch {
		case c == '<':
			b.WriteString("&lt;")
			continue
		case c == '\n', c < 0x80 && (unicode.IsPunct(c) || unicode.IsSymbol(c)):
			b.WriteByte('\\')
		}
		b.WriteRune(c)
	}
	return b.String()
}

// Say makes a message.
func (w Words) Say() *Content { return content.New(content.Origin{}, w.body()) }

// Answer makes an answer.
func (w Words) Answer() Composer {
	return func(_ *content.Message, id content.MessageID) *content.Message {
		return content.Reply(content.Origin{}, id, w.body())
	}
}

// Edit puts the words in place of what was said.
func (w Words) Edit() Composer {
	return func(m *content.Message, id content.MessageID) *content.Message {
		return content.Edit(content.Origin{}, m, id, w.body())
	}
}

// Saying makes a message of text.
func Saying(text string) *Content { return content.New(content.Origin{}, content.Text(text)) }

// SayingMarkdown makes a message of Markdown, see Words.
func SayingMarkdown(text string) *Content { return Words{Text: text, Markdown: true}.Say() }

// withMentions turns words that name users, after an @, into links that mention them, and
// writes all else as rest says.
func withMentions(text string, rest func(string) string) string {
	var b strings.Builder
	done := 0 // of text, how much is written
	for at := 0; at < len(text); {
		i := strings.IndexByte(text[at:], '@')
		if i < 0 {
			break
		}
		i += at
		name := text[i+1:]
		if end := strings.IndexFunc(name, func(c rune) bool {
			return c != '@' && c != '.' && c != '-' && c != '_' && !unicode.IsLetter(c) && !unicode.IsDigit(c)
		}); end >= 0 {
			name = name[:end]
		}
		name = strings.TrimRight(name, ".")
		begins := i == 0 || strings.ContainsRune(" \t\n(", rune(text[i-1]))
		at = i + 1
		if u, err := uri.ParseShort(name); err == nil && begins {
			at += len(name)
			b.WriteString(rest(text[done:i]) + content.Mention("@"+name, u))
			done = at
		}
	}
	return b.String() + rest(text[done:])
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
func Answering(text string) Composer { return Words{Text: text}.Answer() }

// Reacting reacts with an emoji.
func Reacting(emoji string) Composer {
	return func(_ *content.Message, id content.MessageID) *content.Message {
		return content.React(content.Origin{}, id, emoji)
	}
}

// Editing replaces the text.
func Editing(text string) Composer { return Words{Text: text}.Edit() }

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
