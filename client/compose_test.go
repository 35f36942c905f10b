package client_test

import (
	"testing"

	"github.com/mimid/mimid/client"
)

// TestMentions: content draft, section 5.4: words that name users become links to them, and
// nothing else does; there is no HTML.
func TestMentions(t *testing.T) {
	const bob = "[@bob@biloxi.example](mimi://biloxi.example/u/bob)"
	for in, want := range map[string]string{
		"hello":                       "hello",
		"@bob@biloxi.example":         bob,
		"hi @bob@biloxi.example, hi!": "hi " + bob + ", hi!",
		"ask @bob@biloxi.example.":    "ask " + bob + ".",
		"(@bob@biloxi.example)":       "(" + bob + ")",
		"bob@biloxi.example":          "bob@biloxi.example", // an address, perhaps of mail
		"x@bob@biloxi.example":        "x@bob@biloxi.example",
		"@bob":                        "@bob",
		"@":                           "@",
		"@ @@":                        "@ @@",
		"<script>":                    "&lt;script>",
	} {
		m := client.SayingMarkdown(in)
		if got := m.Text(); got != want {
			t.Errorf("%q becomes %q, expected %q", in, got, want)
		}
		if n := len(m.Mentions()); (n == 1) != (want != in && in != "<script>") {
			t.Errorf("%q mentions %v", in, m.Mentions())
		}
	}
}

// TestMentioned: who is mentioned is told, nobody else, and not whoever mentions himself.
func TestMentioned(t *testing.T) {
	f := newFake(t)
	alice, bob, carol := f.person("alice", "atlanta.example"), f.person("bob", "biloxi.example"), f.person("carol", "atlanta.example")
	u := alice.create("clubhouse")
	alice.add(u, bob)
	alice.add(u, carol)
	if err := alice.says(u, client.SayingMarkdown("@bob@biloxi.example and @alice@atlanta.example")); err != nil {
		t.Fatal(err)
	}
	for p, want := range map[*person]bool{alice: false, bob: true, carol: false} {
		if p != alice {
			if n := await(p, func(client.MessageReceived) bool { return true }); n.Message.Mentioned != want {
				t.Errorf("%s is told %v", p.name, n.Message.Mentioned)
			}
		}
		list, err := p.c.Messages(u, 0, 10)
		if err != nil || len(list) != 1 || list[0].Mentioned != want {
			t.Errorf("%s reads %+v, %v", p.name, list, err)
		}
	}
	// Plain text is no Markdown, whatever it looks like.
	alice.send(u, "[you](mimi://biloxi.example/u/bob)")
	if n := await(bob, func(client.MessageReceived) bool { return true }); n.Message.Mentioned {
		t.Error("mentioned by plain text")
	}
}
