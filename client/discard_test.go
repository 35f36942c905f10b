package client_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/mimid/mimid/client"
	"github.com/mimid/mimid/protocol/content"
	"github.com/mimid/mimid/protocol/room"
)

// TestDiscard: content draft, section 9.1: which messages of a hostile device are discarded,
// with a word to the user, and which are not though they are odd. What comes after them is
// read all the same.
func TestDiscard(t *testing.T) {
	f := newFake(t)
	alice, bob := f.person("alice", "atlanta.example"), f.person("bob", "biloxi.example")
	u := alice.create("clubhouse")
	alice.add(u, bob)
	for _, p := range []*person{alice, bob} {
		p.receipts(client.Receipts{})
	}
	from := content.Origin{Sender: alice.user().String(), Room: u.String()}
	stray := content.MessageID{content.SHA256, 5, 5, 5, 5, 5, 5, 5}
	leaf := content.Part{Disposition: content.Render, Content: content.SinglePart{MediaType: "", Content: []byte("Z")}}
	nest := func(n int) content.Part {
		p := leaf
		for range n {
			p = content.Multi(content.ProcessAll, p, leaf)
		}
		return p
	}
	encode := func(m *content.Message) []byte {
		t.Helper()
		b, err := m.Encode(content.Limits{Parts: 4096, TopicID: 1 << 16})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	patched := func(b []byte, old, new string) []byte {
		t.Helper()
		if !bytes.Contains(b, []byte(old)) {
			t.Fatalf("%x is not in %x", old, b)
		}
		return bytes.Replace(b, []byte(old), []byte(new), 1)
	}
	const octets = "\x85\x01\x60\x01\x60\x41Z" // of the leaf
	say := func(change func(m *content.Message)) []byte {
		m := content.New(from, content.Text("odd"))
		change(m)
		return encode(m)
	}
	once := say(func(*content.Message) {})
	parts := slices.Repeat([]content.Part{leaf}, 1024)
	for _, x := range []struct {
		why  string
		b    []byte
		want error // nil: it is kept
		same bool  // it was there before: nothing is kept and nobody is told
	}{
		{why: "once", b: once},
		{why: "a message id that is there already", b: once, same: true},
		{why: "in another's name", b: say(func(m *content.Message) { m.Sender = bob.user().String() }), want: room.ErrTag},
		{why: "for another room", b: say(func(m *content.Message) { m.Room += "x" }), want: room.ErrTag},
		// Content leaves them optional, franking does not (MIMI protocol section 5.4.1).
		{why: "no sender and no room", b: say(func(m *content.Message) { m.Sender, m.Room = "", "" }), want: room.ErrTag},
		{why: "an id of an unknown hash", b: patched(say(func(m *content.Message) { m.InReplyTo = &stray }), "\x01\x05\x05\x05", "\x02\x05\x05\x05"), want: content.ErrHash},
		{why: "1,024 parts", b: say(func(m *content.Message) { m.Body = content.Multi(content.ProcessAll, parts[:1023]...) })},
		{why: "1,025 parts", b: say(func(m *content.Message) { m.Body = content.Multi(content.ProcessAll, parts...) }), want: content.ErrTooLarge},
		{why: "four levels", b: say(func(m *content.Message) { m.Body = nest(3) })},
		{why: "five levels", b: patched(say(func(m *content.Message) { m.Body = nest(3) }), octets, "\x85\x01\x60\x03\x02\x82"+octets+octets), want: content.ErrTooDeep},
		{why: "unknown semantics of parts", b: patched(say(func(m *content.Message) { m.Body = nest(1) }), "\x03\x02\x82", "\x03\x05\x82"), want: content.ErrMalformed},
		{why: "a long topic", b: say(func(m *content.Message) { m.TopicID = make([]byte, 4097) }), want: content.ErrTooLarge},
		{why: "no message", b: []byte("hello"), want: content.ErrMalformed},
		{why: "octets after the end", b: append(say(func(*content.Message) {}), 0), want: content.ErrMalformed},

		{why: "answers what is not here", b: say(func(m *content.Message) { m.InReplyTo = &stray })},
		{why: "replaces what is not here", b: say(func(m *content.Message) { m.Replaces = &stray })},
		{why: "an unknown disposition", b: say(func(m *content.Message) { m.Body.Disposition = 99 })},
		{why: "an unknown type", b: say(func(m *content.Message) {
			m.Body.Content = content.SinglePart{MediaType: "application/x-nobody-knows", Content: []byte{1}}
		})},
		{why: "a language that is none", b: say(func(m *content.Message) { m.Body.Language = "tlh-\u00fc, x" })},
	} {
		before := len(bob.texts(u))
		if err := alice.c.SendReport(ctx10(t), u, x.b); err != nil {
			t.Fatal(err)
		}
		if x.want != nil {
			await(bob, func(p client.Problem) bool { return errors.Is(p.Err, x.want) })
		}
		mark := "after " + x.why
		alice.send(u, mark)
		bob.hears(u, "alice: "+mark)
		got := len(bob.texts(u)) - before
		if want := map[bool]int{true: 2, false: 1}[x.want == nil && !x.same]; got != want {
			t.Errorf("%s: %d more messages with the one after it, expected %d", x.why, got, want)
		}
	}
	agree(u, alice, bob)
	if _, err := bob.c.Conversation(u); err != nil {
		t.Error(err)
	}
}

// TestEditScope: content draft, section 9.3: an edit changes only what is said, whatever else
// it claims, and section 4.1: answers lead nowhere in circles.
func TestEditScope(t *testing.T) {
	f := newFake(t)
	alice, bob := f.person("alice", "atlanta.example"), f.person("bob", "biloxi.example")
	u := alice.create("clubhouse")
	alice.add(u, bob)
	alice.send(u, "first")
	alice.send(u, "second")
	bob.hears(u, "alice: first", "alice: second")
	list, err := bob.c.Messages(u, 0, 2)
	if err != nil || len(list) != 2 {
		t.Fatal(list, err)
	}
	m := content.Edit(content.Origin{}, list[0].Content, list[0].ID, content.Text("changed"))
	m.InReplyTo, m.TopicID = &list[1].ID, []byte("topic") // and the answer's answer
	back := content.Reply(content.Origin{}, list[0].ID, content.Text("back"))
	for _, x := range []*content.Message{m, back} {
		if err := alice.says(u, x); err != nil {
			t.Fatal(err)
		}
	}
	bob.hears(u, "alice: changed", "alice: back")
	all, err := bob.c.Conversation(u)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range all {
		line := fmt.Sprint(s.Index, s.Text, s.Edited)
		if s.Answers != nil {
			line += fmt.Sprint(" to ", *s.Answers)
		}
		got = append(got, line)
	}
	if want := []string{"0changedtrue", "1secondfalse", "3backfalse to 0"}; !slices.Equal(got, want) {
		t.Errorf("bob sees %q, expected %q", got, want)
	}
}
