package client_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mimid/mimid/client"
	"github.com/mimid/mimid/protocol/content"
)

// TestWords: content draft, sections 4.3 and 5.4: how text, Markdown and mentions become parts.
func TestWords(t *testing.T) {
	plain := func(s string) content.Part { return content.Text(s) }
	md := content.MarkdownText
	for _, x := range []struct {
		why      string
		in       client.Words
		want     content.Part
		mentions int
	}{
		{"text", client.Words{Text: "a *b* <c> x@y"}, plain("a *b* <c> x@y"), 0},
		{"Markdown", client.Words{Text: "a *b* <c>", Markdown: true}, md("a *b* &lt;c>"), 0},
		{"Markdown and the same in plain text", client.Words{Text: "*b*", Markdown: true, Plain: "b"},
			content.Multi(content.ChooseOne, md("*b*"), plain("b")), 0},
		{"text that mentions somebody has a form in Markdown that shows the same",
			client.Words{Text: "(@bob@biloxi.example, see [1]\n<b> * 5_6_7 é @nobody"},
			content.Multi(content.ChooseOne, plain("(@bob@biloxi.example, see [1]\n<b> * 5_6_7 é @nobody"),
				md("\\([@bob@biloxi.example](mimi://biloxi.example/u/bob)\\, see \\[1\\]\\\n&lt;b\\> \\* 5\\_6\\_7 é \\@nobody")), 1},
		{"Markdown with a mention", client.Words{Text: "**@bob@biloxi.example** @bob@biloxi.example.", Markdown: true},
			md("**@bob@biloxi.example** [@bob@biloxi.example](mimi://biloxi.example/u/bob)."), 1},
	} {
		m := x.in.Say()
		b, err := m.Encode(content.Limits{})
		if err != nil {
			t.Fatalf("%s: %v", x.why, err)
		}
		want := *m
		want.Body = x.want
		w, err := want.Encode(content.Limits{})
		if err != nil || string(b) != string(w) {
			t.Errorf("%s: %+v, want %+v, %v", x.why, m.Body, x.want, err)
		}
		if got := m.Mentions(); len(got) != x.mentions {
			t.Errorf("%s: mentions %v", x.why, got)
		}
	}
	if got := (client.Words{Text: "@bob@biloxi.example, *look*"}).Say().Text(); got != "@bob@biloxi.example, *look*" {
		t.Errorf("on a terminal it reads %q", got)
	}
}

// TestAttachWith: a file goes with words, answers a message, and ends, in one message.
func TestAttachWith(t *testing.T) {
	f := newFake(t)
	alice, bob := f.person("alice", "atlanta.example"), f.person("bob", "biloxi.example")
	alice.spool = newSpool(t)
	alice.restart()
	u := alice.create("clubhouse")
	alice.add(u, bob)
	alice.send(u, "one")
	bob.hears(u, "alice: one")
	attach := func(m *client.Content) client.Message {
		t.Helper()
		i, err := alice.c.Attach(ctx10(t), u, client.Outgoing{Name: "plan", MediaType: "text/plain", Content: strings.NewReader("x"), With: m})
		if err != nil {
			t.Fatal(err)
		}
		mine, err := alice.c.Messages(u, i, 1)
		if err != nil {
			t.Fatal(err)
		}
		var got client.Message
		eventually(t, "bob has it", func() bool {
			list, err := bob.c.Messages(u, 0, 100)
			k := slices.IndexFunc(list, func(m client.Message) bool { return m.ID == mine[0].ID })
			if k >= 0 {
				got = list[k]
			}
			return err == nil && k >= 0
		})
		if files := client.Attachments(got.Content); len(files) != 1 || files[0].Name != "plan" {
			t.Errorf("files %+v", files)
		}
		return got
	}
	about, err := alice.c.About(u, 0, client.Words{Text: "**as asked**", Markdown: true, Plain: "as asked"}.Answer())
	if err != nil {
		t.Fatal(err)
	}
	if err := client.EndingAt(about, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	m := attach(about)
	if m.About == nil || *m.About != 0 || m.ExpiresAt.IsZero() || !strings.HasPrefix(m.Text, "as asked\n") {
		t.Errorf("%+v", m)
	}
	if about, err = alice.c.About(u, 0, client.Words{}.Answer()); err != nil {
		t.Fatal(err)
	}
	if m = attach(about); m.About == nil || *m.About != 0 || m.Text != "[plan, text/plain, 1 bytes]" {
		t.Errorf("without words: %+v", m)
	}
}
