package content

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mimid/mimid/protocol/uri"
)

// Media types that every client can show (section 7.1).
const (
	PlainText = "text/plain;charset=utf-8"
	Markdown  = "text/markdown;variant=GFM-MIMI"
)

// Origin is who sends a message to which room: extensions 1 and 2.
type Origin struct {
	Sender string // URI of the user, or of the pseudonym in this room
	Room   string
}

// New returns a message with a new salt. Change its fields to add a topic, an
// expiration or extensions.
func New(from Origin, body Part) *Message {
	return &Message{Salt: NewSalt(), Sender: from.Sender, Room: from.Room, Body: body}
}

// Reply returns an answer to the message with the given id, which should be its
// latest version (section 4.1).
func Reply(from Origin, to MessageID, body Part) *Message {
	m := New(from, body)
	m.InReplyTo = &to
	return m
}

// React returns a reaction, mostly an emoji, to a message (section 5.3).
// Several are sent as a part each: one text of all could read as another emoji.
// Without any, the message cannot be encoded; use Delete to take back.
func React(from Origin, to MessageID, reactions ...string) *Message {
	parts := make([]Part, 0, len(reactions))
	for _, s := range reactions {
		parts = append(parts, Part{Disposition: Reaction, Content: SinglePart{PlainText, []byte(s)}})
	}
	if len(parts) == 1 {
		return Reply(from, to, parts[0])
	}
	return Reply(from, to, Part{Disposition: Reaction, Content: MultiPart{ProcessAll, parts}})
}

// Edit returns a message that replaces old, whose id is given, by one with
// another body. All else stays, because an edit may change nothing else
// (section 9.3); if old is an edit itself, the new one replaces the first
// version, too (section 5.5). Only the sender of old may do so, unless the
// room's policy says otherwise.
func Edit(from Origin, old *Message, id MessageID, body Part) *Message {
	m := New(from, body)
	m.Replaces = &id
	if old.Replaces != nil {
		first := *old.Replaces
		m.Replaces = &first
	}
	m.TopicID = bytes.Clone(old.TopicID)
	if old.Expires != nil {
		e := *old.Expires
		m.Expires = &e
	}
	if old.InReplyTo != nil {
		to := *old.InReplyTo
		m.InReplyTo = &to
	}
	m.Extensions = slices.Clone(old.Extensions)
	for i := range m.Extensions {
		m.Extensions[i].Value = bytes.Clone(m.Extensions[i].Value)
	}
	return m
}

// Delete returns a message that takes back old, whose id is given: a message
// (section 5.6) or a reaction (section 5.7, "unlike"). Like Edit otherwise.
func Delete(from Origin, old *Message, id MessageID) *Message {
	body := Part{Disposition: Render, Content: NullPart{}}
	if old.Body.Disposition == Reaction {
		body.Disposition = Reaction
	}
	return Edit(from, old, id, body)
}

// Text returns a body of plain text.
func Text(s string) Part {
	return Part{Disposition: Render, Content: SinglePart{PlainText, []byte(s)}}
}

// MarkdownText returns a body of Markdown: GitHub's, without HTML and without
// links made of bare URLs (section 7.1.1). Every "<" that begins an HTML tag
// has to be written as "&lt;"; this is the caller's business, as only a parser
// knows which do.
func MarkdownText(s string) Part {
	return Part{Disposition: Render, Content: SinglePart{Markdown, []byte(s)}}
}

// Attach returns a body of content elsewhere, to be downloaded (section 5.9).
// Use the disposition Inline for what should be shown at once.
func Attach(x ExternalPart) Part {
	return Part{Disposition: Attachment, Content: x}
}

// Multi returns a body of two or more parts.
func Multi(s Semantics, parts ...Part) Part {
	return Part{Disposition: Render, Content: MultiPart{s, parts}}
}

// Mention returns Markdown that mentions a user (section 5.4), with display as
// the text, which is escaped: it is shown as it is, on one line.
func Mention(display string, who uri.User) string {
	var b strings.Builder
	b.WriteByte('[')
	for _, c := range display {
		switch {
		case c == '<':
			b.WriteString("&lt;")
		case c == '\n', c == '\r':
			b.WriteByte(' ')
		case strings.ContainsRune("\\`*_[]>&~|!#", c):
			b.WriteByte('\\')
			b.WriteRune(c)
		default:
			b.WriteRune(c)
		}
	}
	b.WriteString("](")
	b.WriteString(who.String())
	b.WriteByte(')')
	return b.String()
}

// NewExtension returns an extension whose value is the deterministic encoding
// of v, as the CBOR library sees v. Errors: those of Encode; ErrMalformed for a
// value that cannot be encoded.
func NewExtension(k Key, v any) (Extension, error) {
	b, err := encoding.Marshal(v)
	if err != nil {
		err = fmt.Errorf("%v: %w", err, ErrMalformed)
	} else {
		err = single(b)
	}
	if err != nil {
		return Extension{}, fmt.Errorf("encoding extension: %w", err)
	}
	return Extension{k, b}, nil
}

// expiryYear is how far away an expiration may be (section 9.1). A leap year,
// so that no calendar's year is refused.
const expiryYear = 366 * 24 * time.Hour

// ExpireAt returns an expiration at a time, in whole seconds, rounded down.
// Errors: ErrExpiry for times before 1970 or after 2106.
func ExpireAt(t time.Time) (*Expiration, error) {
	s := t.Unix()
	if s < 0 || s > 1<<32-1 {
		return nil, fmt.Errorf("deleting at %d s: %w", s, ErrExpiry)
	}
	return &Expiration{Seconds: uint32(s)}, nil
}

// ExpireAfterReading returns an expiration a while after the recipient read the
// message, in whole seconds, rounded up. Errors: ErrExpiry for less than nothing
// and more than a year.
func ExpireAfterReading(d time.Duration) (*Expiration, error) {
	if d < 0 || d > expiryYear {
		return nil, fmt.Errorf("it would end %v after it is read, at most %v are allowed: %w", d, expiryYear, ErrExpiry)
	}
	return &Expiration{Relative: true, Seconds: uint32((d + time.Second - 1) / time.Second)}, nil
}

// At returns when to delete a message that was read at the given time; only
// relative expirations depend on it.
func (e Expiration) At(read time.Time) time.Time {
	if e.Relative {
		return read.Add(time.Duration(e.Seconds) * time.Second)
	}
	return time.Unix(int64(e.Seconds), 0)
}

// CheckExpiry refuses a message that is to be deleted more than a year before
// or after now, which is when the hub accepted it. Errors: ErrExpiry.
func (m *Message) CheckExpiry(now time.Time) error {
	if m.Expires == nil {
		return nil
	}
	if d := m.Expires.At(now).Sub(now); d > expiryYear || d < -expiryYear {
		return fmt.Errorf("it would end in %v, at most %v are allowed: %w", d.Round(time.Second), expiryYear, ErrExpiry)
	}
	return nil
}
