package content_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/mimid/mimid/protocol/content"
)

// story is a conversation: messages by name, in the order in which they are made.
type story struct {
	ids map[string]content.MessageID
	ms  map[string]*content.Message
	who map[string]string
}

func newStory() *story {
	return &story{map[string]content.MessageID{}, map[string]*content.Message{}, map[string]string{}}
}

func (s *story) make(t *testing.T, name, by string, m *content.Message) {
	t.Helper()
	m.Sender, m.Room = "mimi://a.example/u/"+by, "mimi://a.example/r/x"
	b, err := m.Encode(content.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	id, err := content.DeriveID(b, m.Sender, m.Room)
	if err != nil {
		t.Fatal(err)
	}
	s.ids[name], s.ms[name], s.who[name] = id, m, by
}

// show folds messages in an order and writes what is to see.
func (s *story) show(order ...string) string {
	var f content.Fold
	for i, n := range order {
		f.Add(s.ids[n], uint64(i), s.who[n], s.ms[n])
	}
	var out []string
	for _, x := range f.List() {
		line := fmt.Sprintf("%d %s: %s", x.Number, x.Sender, x.Message.Text())
		if x.Edited {
			line += " (edited)"
		}
		if x.Deleted {
			line += " (deleted)"
		}
		for _, r := range x.Reactions {
			line += " " + r.Sender + r.Reaction
		}
		out = append(out, line)
	}
	return strings.Join(out, "; ")
}

// TestFold: sections 4.1, 5.3 to 5.6: what a reader sees of messages in whatever order they
// come, and what changes nothing.
func TestFold(t *testing.T) {
	s := newStory()
	from := content.Origin{}
	say := func(name, by, text string) { s.make(t, name, by, content.New(from, content.Text(text))) }
	edit := func(name, by, of, text string) {
		s.make(t, name, by, content.Edit(from, s.ms[of], s.ids[of], content.Text(text)))
	}
	remove := func(name, by, of string) { s.make(t, name, by, content.Delete(from, s.ms[of], s.ids[of])) }
	say("hi", "alice", "hi")
	say("other", "bob", "other")
	s.make(t, "answer", "bob", content.Reply(from, s.ids["hi"], content.Text("hello")))
	s.make(t, "heart", "bob", content.React(from, s.ids["hi"], "h"))
	s.make(t, "again", "bob", content.React(from, s.ids["hi"], "h", "+"))
	s.make(t, "carols", "carol", content.React(from, s.ids["hi"], "h"))
	edit("hi2", "alice", "hi", "hi all")
	edit("hi3", "alice", "hi2", "hi everybody")
	s.make(t, "stray", "alice", func() *content.Message { // names the second version, not the first
		m := content.Edit(from, s.ms["hi"], s.ids["hi2"], content.Text("stray"))
		return m
	}())
	edit("mallorys", "mallory", "hi", "nonsense")
	remove("gone", "alice", "hi")
	remove("taken", "mallory", "hi")
	remove("unheart", "bob", "heart")
	remove("carolsunheart", "carol", "heart")
	s.make(t, "heart2", "bob", content.Edit(from, s.ms["heart"], s.ids["heart"], content.Part{Disposition: content.Reaction, Content: content.SinglePart{MediaType: content.PlainText, Content: []byte("!")}}))
	s.make(t, "mallorysheart", "mallory", content.Edit(from, s.ms["heart"], s.ids["heart"], content.Part{Disposition: content.Reaction, Content: content.SinglePart{MediaType: content.PlainText, Content: []byte("?")}}))
	s.make(t, "tohi2", "carol", content.React(from, s.ids["hi2"], "2"))
	for _, x := range []struct{ order, want string }{
		{"hi other answer", "0 alice: hi; 1 bob: other; 2 bob: hello"},
		{"hi hi2 hi3", "0 alice: hi everybody (edited)"},
		{"hi hi3 hi2", "0 alice: hi all (edited)"}, // the hub's order counts
		{"hi hi2 stray", "0 alice: stray (edited)"},
		{"hi2 hi", "1 alice: hi all (edited)"}, // it waits
		{"stray hi2 hi", "2 alice: stray (edited)"},
		{"hi mallorys", "0 alice: hi"},
		{"mallorys hi", "1 alice: hi"},
		{"hi heart again carols", "0 alice: hi bobh bob+ carolh"},
		{"heart hi", "1 alice: hi bobh"},
		{"hi hi2 tohi2", "0 alice: hi all (edited) carol2"},
		{"hi gone hi2 heart", "0 alice:  (deleted)"},
		{"hi heart gone", "0 alice:  (deleted)"},
		{"gone hi", "1 alice:  (deleted)"},
		{"hi taken", "0 alice:  (deleted)"}, // the room's policy let mallory
		{"taken hi", "1 alice: hi"},         // nobody could judge it
		{"hi heart unheart", "0 alice: hi"},
		{"hi heart carols unheart", "0 alice: hi carolh"},
		{"heart unheart hi", "2 alice: hi"},
		{"hi unheart heart", "0 alice: hi"},
		{"hi heart again unheart", "0 alice: hi bobh bob+"}, // said twice, taken back once
		{"hi heart heart2", "0 alice: hi bob!"},
		{"hi heart heart2 unheart", "0 alice: hi"},
		{"hi heart carolsunheart", "0 alice: hi"}, // carol may
		{"carolsunheart hi heart", "1 alice: hi bobh"},
		{"hi heart mallorysheart", "0 alice: hi bobh"},
	} {
		if got := s.show(strings.Fields(x.order)...); got != x.want {
			t.Errorf("%s:\n %s\nexpected\n %s", x.order, got, x.want)
		}
	}
}

// TestFoldAlias: a message that was said in two rooms has two ids, and is found by either,
// whatever comes first.
func TestFoldAlias(t *testing.T) {
	s := newStory()
	s.make(t, "first", "alice", content.New(content.Origin{}, content.Text("hello")))
	other := content.MessageID{content.SHA256, 7}
	s.make(t, "edit", "alice", content.Edit(content.Origin{}, s.ms["first"], other, content.Text("hello all")))
	s.make(t, "reaction", "bob", content.React(content.Origin{}, other, "+"))
	s.make(t, "foreign", "carol", content.Edit(content.Origin{}, s.ms["first"], other, content.Text("nonsense")))
	want := "hello all true bob+ [{dave 2}]"
	for _, order := range []string{"first alias edit reaction foreign status", "first edit alias reaction status foreign", "edit reaction foreign status first alias", "reaction first alias status foreign edit"} {
		var f content.Fold
		for i, n := range strings.Fields(order) {
			switch n {
			case "alias":
				f.Alias(s.ids["first"], other)
			case "status":
				f.AddStatus(other, "dave", 2)
			default:
				f.Add(s.ids[n], uint64(i), s.who[n], s.ms[n])
			}
		}
		var got string
		for _, x := range f.List() {
			got += fmt.Sprintf("%s %v", x.Message.Text(), x.Edited)
			for _, r := range x.Reactions {
				got += " " + r.Sender + r.Reaction
			}
			got += fmt.Sprintf(" %v", x.Statuses)
		}
		if got != want || f.Find(other) == nil || f.Find(other) != f.Find(s.ids["first"]) {
			t.Errorf("%s: %s, expected %s", order, got, want)
		}
	}
}
