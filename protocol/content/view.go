package content

import (
	"fmt"
	"iter"
	"mime"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/mimid/mimid/protocol/uri"
)

// Action is what a message does, as a client would list it.
type Action uint8

// Actions. Whether the sender may edit or delete the other message, and whether
// there is one, is for the client to find out.
const (
	ActionSay    Action = iota // something new
	ActionReply                // answers InReplyTo
	ActionReact                // reacts to InReplyTo
	ActionEdit                 // replaces the body of Replaces, which may be a reaction
	ActionDelete               // takes Replaces back
	ActionUnlike               // takes the reaction Replaces back
)

var actionNames = [...]string{"say", "reply", "react", "edit", "delete", "unlike"}

// String returns an English verb, such as "reply".
func (a Action) String() string {
	if int(a) < len(actionNames) {
		return actionNames[a]
	}
	return fmt.Sprintf("Action(%d)", uint8(a))
}

// Action returns what the message does.
func (m *Message) Action() Action {
	_, empty := m.Body.Content.(NullPart)
	reaction := m.Body.Disposition == Reaction
	switch {
	case m.Replaces != nil && empty && reaction:
		return ActionUnlike
	case m.Replaces != nil && empty:
		return ActionDelete
	case m.Replaces != nil:
		return ActionEdit
	case m.InReplyTo != nil && reaction:
		return ActionReact
	case m.InReplyTo != nil:
		return ActionReply
	}
	return ActionSay
}

// Parts returns all parts with their part indexes (section 4.4): depth first,
// the body being 0.
func (m *Message) Parts() iter.Seq2[int, Part] {
	return func(yield func(int, Part) bool) {
		next := 0
		m.Body.walk(&next, 1, yield)
	}
}

func (p Part) walk(next *int, level int, yield func(int, Part) bool) bool {
	if level > maxDepth {
		return true
	}
	i := *next
	*next++
	if !yield(i, p) {
		return false
	}
	if multi, ok := p.Content.(MultiPart); ok {
		for _, q := range multi.Parts {
			if !q.walk(next, level+1, yield) {
				return false
			}
		}
	}
	return true
}

// ContentID returns the URI by which parts of the same message name the one
// with the given index (section 4.4).
func ContentID(index int) string { return "cid:" + strconv.Itoa(index) + "@local.invalid" }

// PartByContentID returns the part that a URI such as cid:5@local.invalid
// names. There is none if the URI is another, or the part is neither a
// SinglePart nor an ExternalPart, which are the only ones it may name.
func (m *Message) PartByContentID(cid string) (Part, bool) {
	for i, p := range m.Parts() {
		if ContentID(i) != cid {
			continue
		}
		switch p.Content.(type) {
		case SinglePart, ExternalPart:
			return p, true
		}
	}
	return Part{}, false
}

// Text returns the message as plain text, for terminals, notifications and
// clients that cannot do better. Of alternatives it takes plain text before
// Markdown before others, and the sender's first among equals; Markdown is
// left as it was written; what is no text gets a line in brackets. Control
// characters other than tab and newline, and what is not UTF-8, become U+FFFD.
// A message that deletes gives "".
func (m *Message) Text() string {
	return printable(m.Body.text(1))
}

func (p Part) text(level int) string {
	switch c := p.Content.(type) {
	case SinglePart:
		if rank := textRank(c.MediaType); rank < notText {
			return string(c.Content)
		}
		return fmt.Sprintf("[%s, %d bytes]", mediaName(c.MediaType), len(c.Content))
	case ExternalPart:
		return c.text(p.Disposition)
	case MultiPart:
		if level >= maxDepth || len(c.Parts) == 0 {
			return ""
		}
		if c.Semantics == ChooseOne {
			best := slices.MinFunc(c.Parts, func(a, b Part) int { return a.rank(level+1) - b.rank(level+1) })
			return best.text(level + 1)
		}
		var lines []string
		for _, q := range c.Parts {
			if s := q.text(level + 1); s != "" {
				lines = append(lines, s)
			}
		}
		return strings.Join(lines, "\n")
	}
	return ""
}

func (x ExternalPart) text(d Disposition) string {
	if d == Session {
		return strings.TrimSpace(x.Description + " [" + x.URL + "]")
	}
	about := x.SafeFilename() + ", " + mediaName(x.MediaType)
	if x.Size > 0 {
		about += fmt.Sprintf(", %d bytes", x.Size)
	}
	return strings.TrimSpace(x.Description + " [" + about + "]")
}

// Ranks of media types as text, the best first.
const (
	plainRank = iota
	markdownRank
	notText
)

// textRank judges a media type. HTML is not text: without its tags it can say
// something else, and with them nobody can read it.
func textRank(mediaType string) int {
	t, params, err := mime.ParseMediaType(mediaType)
	if charset, ok := params["charset"]; err != nil || ok && !strings.EqualFold(charset, "utf-8") && !strings.EqualFold(charset, "us-ascii") {
		return notText
	}
	switch t {
	case "text/plain":
		return plainRank
	case "text/markdown":
		return markdownRank
	}
	return notText
}

// rank is the rank of the worst part that text would show.
func (p Part) rank(level int) int {
	switch c := p.Content.(type) {
	case SinglePart:
		return textRank(c.MediaType)
	case MultiPart:
		if level >= maxDepth || len(c.Parts) == 0 {
			return notText
		}
		ranks := make([]int, 0, len(c.Parts))
		for _, q := range c.Parts {
			ranks = append(ranks, q.rank(level+1))
		}
		if c.Semantics == ChooseOne {
			return slices.Min(ranks)
		}
		return slices.Max(ranks)
	}
	return notText
}

// mediaName is a media type without parameters.
func mediaName(mediaType string) string {
	name, _, _ := strings.Cut(mediaType, ";")
	if name = strings.TrimSpace(name); name == "" {
		return "unknown type"
	}
	return name
}

func printable(s string) string {
	return strings.Map(func(c rune) rune {
		if c != '\t' && c != '\n' && unicode.IsControl(c) {
			return utf8.RuneError
		}
		return c
	}, strings.ToValidUTF8(strings.ReplaceAll(s, "\r\n", "\n"), string(utf8.RuneError)))
}

// Reactions returns the text reactions of a message that is a reaction: one, or
// one for each part (section 5.3). A reaction that is an image or a sound is
// not among them.
func (m *Message) Reactions() []string {
	var out []string
	if m.Body.Disposition != Reaction {
		return nil
	}
	for _, p := range m.Parts() {
		c, ok := p.Content.(SinglePart)
		if ok && p.Disposition == Reaction && textRank(c.MediaType) == plainRank {
			out = append(out, printable(string(c.Content)))
		}
	}
	return out
}

// Mentions returns the users whom the Markdown parts of the message link to
// (section 9.6), each once, in order. Whoever is not in the room is not
// mentioned, which the caller has to sort out.
//
// This looks for links and does not parse Markdown, so that a link inside a
// code block counts. HTML is not searched.
func (m *Message) Mentions() []uri.User {
	var out []uri.User
	seen := make(map[uri.User]bool)
	for _, p := range m.Parts() {
		c, ok := p.Content.(SinglePart)
		if !ok || textRank(c.MediaType) != markdownRank {
			continue
		}
		rest := string(c.Content)
		for {
			i := strings.Index(rest, "mimi://")
			if i < 0 {
				break
			}
			before := rest[:i]
			rest = rest[i:]
			end := strings.IndexAny(rest[:min(len(rest), uri.MaxLength+1)], ")> \t\n")
			if end < 0 || !strings.HasSuffix(before, "](") && !strings.HasSuffix(before, "<") {
				rest = rest[len("mimi://"):]
				continue
			}
			user, err := uri.ParseUser(rest[:end])
			rest = rest[end:]
			if err == nil && !seen[user] {
				seen[user] = true
				out = append(out, user)
			}
		}
	}
	return out
}

// SafeFilename returns a name under which the content can be saved inside a
// folder: the last element of Filename, without control characters, leading
// dots and the characters that some file system forbids, at most 200 bytes.
// "attachment" if nothing is left.
func (x ExternalPart) SafeFilename() string {
	s := strings.ToValidUTF8(x.Filename, "")
	s = s[strings.LastIndexAny(s, `/\`)+1:]
	s = strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) || strings.ContainsRune(`<>:"|?*`, c) {
			return -1
		}
		return c
	}, s)
	s = strings.Trim(strings.TrimLeft(s, ". "), " ")
	if len(s) > 200 {
		s = strings.ToValidUTF8(s[:200], "") // not half a character
	}
	if s = strings.TrimRight(s, ". "); s == "" {
		return "attachment"
	}
	return s
}
