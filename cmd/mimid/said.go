package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mimid/mimid/client"
)

// What is said about other messages, and how messages are shown. People name a message by
// its number on their device, which every list shows.

// onMessage is what the commands about a message have.
type onMessage struct {
	Room    string `arg:"" help:"Name or URI of the room, or the beginning of its id."`
	Message uint64 `arg:"" help:"Number of the message, as client read shows it."`
}

// about sends what compose makes of the message that is meant.
func (f *sending) about(s *session, on onMessage, compose client.Composer) error {
	return f.to(s, on.Room, func(cl *client.Client, r client.Room) (*client.Content, error) {
		return cl.About(r.URI, on.Message, compose)
	})
}

type clientReply struct {
	onMessage `embed:""`
	Text      []string `arg:"" help:"What to answer."`
	words     `embed:""`
	lasting   `embed:""`
	sending   `embed:""`
}

func (c *clientReply) Help() string {
	return "To answer with a file, see `mimid client attach --reply`.\n\nExample:\n  mimid client reply clubhouse 3 me too\n  mimid client reply clubhouse 3 --expires 1h in the upper drawer"
}

func (c *clientReply) Run(s *session) error {
	text := strings.Join(c.Text, " ")
	w, err := c.words.of(text)
	if err = errors.Join(messageText(text), err, c.lasting.check()); err != nil {
		return err
	}
	return c.to(s, c.onMessage.Room, func(cl *client.Client, r client.Room) (*client.Content, error) {
		m, err := cl.About(r.URI, c.Message, w.Answer())
		if err != nil {
			return nil, err
		}
		return c.lasting.of(m, time.Now())
	})
}

type clientReact struct {
	onMessage `embed:""`
	Reaction  string `arg:"" help:"One emoji, or a few characters."`
	sending   `embed:""`
}

func (c *clientReact) Help() string {
	return "To take a reaction back, delete it by its own number, which client read --follow shows.\n\nExample:\n  mimid client react clubhouse 3 \u2764"
}

// maxReaction is room for any emoji, with modifiers.
const maxReaction = 64

func reactionText(s string) error {
	if err := messageText(s); err != nil {
		return err
	}
	if len(s) > maxReaction || strings.ContainsAny(s, " \t\n") {
		return usageError("a reaction is one emoji or a few characters, without spaces")
	}
	return nil
}

func (c *clientReact) Run(s *session) error {
	if err := reactionText(c.Reaction); err != nil {
		return err
	}
	return c.about(s, c.onMessage, client.Reacting(c.Reaction))
}

type clientEdit struct {
	onMessage `embed:""`
	Text      []string `arg:"" help:"What it is to say."`
	words     `embed:""`
	sending   `embed:""`
}

func (c *clientEdit) Help() string {
	return "Only what you have sent yourself can be edited, and others may have read what it said before.\nWhen it ends stays as it was.\n\nExample:\n  mimid client edit clubhouse 3 hello everybody"
}

func (c *clientEdit) Run(s *session) error {
	text := strings.Join(c.Text, " ")
	w, err := c.words.of(text)
	if err = errors.Join(messageText(text), err); err != nil {
		return err
	}
	return c.about(s, c.onMessage, w.Edit())
}

type clientDelete struct {
	onMessage `embed:""`
	sending   `embed:""`
}

func (c *clientDelete) Help() string {
	return "Takes back a message or a reaction: your own, or another's where your role allows it. Every device is asked to show it no more; that it was never read nobody can promise.\n\nExample:\n  mimid client delete clubhouse 3"
}

func (c *clientDelete) Run(s *session) error {
	return c.about(s, c.onMessage, client.Deleting())
}

// about makes what a line of a chat says about a message: its number, and what follows it.
func (ch *chat) about(command, arg string) (*client.Content, error) {
	number, text, _ := strings.Cut(arg, " ")
	n, err := strconv.ParseUint(number, 10, 64)
	if err != nil {
		return nil, fmt.Errorf("%.40q is no number of a message: each has one before its time", number)
	}
	text = strings.TrimSpace(text)
	switch command {
	case "/reply", "/edit":
		err = messageText(text)
	case "/react":
		err = reactionText(text)
	}
	if err != nil {
		return nil, err
	}
	compose := client.Deleting()
	switch command {
	case "/reply":
		compose = client.Answering(text)
	case "/react":
		compose = client.Reacting(text)
	case "/edit":
		compose = client.Editing(text)
	}
	return ch.c.About(ch.room.URI, n, compose)
}

type shownMessage struct {
	Index      uint64    `json:"index"`
	Sender     string    `json:"sender"`
	Does       string    `json:"does,omitempty"` // of a single message; without it, what is to see now
	Text       string    `json:"text"`
	AcceptedAt time.Time `json:"accepted_at"`
	State      string    `json:"state"`
	// ID is the message's, and About that of the one that it answers, changes or reacts to.
	ID        string              `json:"id"`
	About     string              `json:"about,omitempty"`
	Answers   *uint64             `json:"answers,omitempty"` // index of the message that it answers
	Edited    bool                `json:"edited,omitempty"`
	Deleted   bool                `json:"deleted,omitempty"`
	Reactions map[string][]string `json:"reactions,omitempty"` // who reacts so
	Receipts  []shownReceipt      `json:"receipts,omitempty"`
	Files     []shownFile         `json:"files,omitempty"` // that client fetch saves
	Mentioned bool                `json:"mentions_you,omitempty"`
	Hidden    bool                `json:"over_relays,omitempty"` // the hub was not told who says it
	ExpiresAt *time.Time          `json:"expires_at,omitempty"`
}

type shownFile struct {
	Name string `json:"name"`
	Type string `json:"type,omitempty"`
	Size int64  `json:"size,omitempty"` // as the sender says
}

// shownReceipt is what somebody says of an own message.
type shownReceipt struct {
	User        string     `json:"user"`
	DeliveredAt *time.Time `json:"delivered_at,omitempty"`
	ReadAt      *time.Time `json:"read_at,omitempty"`
}

func receiptViews(x client.Said) (out []shownReceipt) {
	at := func(t time.Time) *time.Time {
		if t.IsZero() {
			return nil
		}
		return &t
	}
	for _, r := range x.Receipts {
		out = append(out, shownReceipt{r.User.Short(), at(r.Delivered), at(r.Read)})
	}
	return out
}

// receiptsLine sums up how many have it, "" if nothing is known.
func receiptsLine(x client.Said) string {
	line := ""
	if n := x.DeliveredTo(); n > 0 {
		line = fmt.Sprintf("delivered to %d", n)
	}
	if n := x.ReadBy(); n > 0 {
		line += fmt.Sprintf(", read by %d", n)
	}
	return line
}

func messageView(m client.Message) shownMessage {
	v := shownMessage{Index: m.Index, Text: m.Text, AcceptedAt: m.AcceptedAt, State: string(m.State)}
	if !m.Sender.IsZero() {
		v.Sender = m.Sender.Short()
	}
	v.Mentioned, v.Hidden = m.Mentioned, m.Hidden
	if !m.ExpiresAt.IsZero() {
		v.ExpiresAt = &m.ExpiresAt
	}
	if m.Content == nil {
		return v
	}
	v.ID = fmt.Sprintf("%x", m.ID)
	for _, a := range client.Attachments(m.Content) {
		v.Files = append(v.Files, shownFile{a.Name, a.MediaType, a.Size})
	}
	if v.Does = m.Content.Action().String(); m.Content.Replaces != nil {
		v.About = fmt.Sprintf("%x", *m.Content.Replaces)
	} else if m.Content.InReplyTo != nil {
		v.About = fmt.Sprintf("%x", *m.Content.InReplyTo)
	}
	return v
}

// printLine writes a message, which what tells about, as all lists do.
func printLine(w io.Writer, m client.Message, what string) {
	at := "        "
	if !m.AcceptedAt.IsZero() {
		at = m.AcceptedAt.Local().Format("15:04:05")
	}
	state := ""
	if m.State != client.StateFinal {
		state = "  (" + string(m.State) + ")"
	}
	if m.Mentioned {
		state += "  (mentions you)"
	}
	if !m.ExpiresAt.IsZero() {
		state += "  (until " + when(m.ExpiresAt) + ")"
	}
	fmt.Fprintf(w, "%4d %s %s%s%s\n", m.Index, at, m.Sender.Short(), what, state)
}

const underText = "                " // what stands under the text of a message

// printMessage shows one message as it came.
func printMessage(w io.Writer, m client.Message) {
	text := printable(m.Text, underText)
	what := ": " + text
	about := "a message that is not here"
	if m.About != nil {
		about = strconv.FormatUint(*m.About, 10)
	}
	switch m.Content.Action() {
	case client.ActionReply:
		what = " answers " + about + ": " + text
	case client.ActionReact:
		what = " reacts to " + about + ": " + printable(strings.Join(m.Content.Reactions(), " "), underText)
	case client.ActionEdit:
		what = " edits " + about + ": " + text
	case client.ActionDelete, client.ActionUnlike:
		what = " takes " + about + " back"
	}
	printLine(w, m, what)
}

// show lists a room as it is now.
func (c *clientRead) show(s *session, cl *client.Client, r client.Room) error {
	all, err := cl.Conversation(r.URI)
	if err != nil {
		return err
	}
	for _, x := range all {
		if x.Index < c.From {
			continue
		}
		v := messageView(x.Message)
		v.Does, v.Text, v.Edited, v.Deleted, v.Answers = "", x.Text, x.Edited, x.Deleted, x.Answers
		v.Receipts = receiptViews(x)
		var order []string
		for _, re := range x.Reactions {
			if v.Reactions == nil {
				v.Reactions = map[string][]string{}
			}
			if !slices.Contains(order, re.Reaction) {
				order = append(order, re.Reaction)
			}
			who := re.Sender
			if u, err := client.ParseUser(who); err == nil {
				who = u.Short()
			}
			v.Reactions[re.Reaction] = append(v.Reactions[re.Reaction], who)
		}
		err := s.out.result(v, func(w io.Writer) {
			what := ": " + printable(x.Text, underText)
			if x.Answers != nil {
				what = fmt.Sprintf(" answers %d: %s", *x.Answers, printable(x.Text, underText))
			}
			switch {
			case x.Deleted:
				what = ": (taken back)"
			case x.Edited:
				what += "  (edited)"
			}
			printLine(w, x.Message, what)
			for _, re := range order {
				fmt.Fprintf(w, "%s%s %s\n", underText, printable(re, ""), strings.Join(v.Reactions[re], ", "))
			}
			if line := receiptsLine(x); line != "" && !x.Deleted {
				fmt.Fprintf(w, "%s%s\n", underText, line)
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}
