package content_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/mimid/mimid/protocol/content"
)

// TestIsStatusReport: a message and a report are told apart by their octets, whatever the
// length of the report is written as.
func TestIsStatusReport(t *testing.T) {
	m, err := content.New(content.Origin{}, content.Text("x")).Encode(content.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	one := content.MessageStatus{ID: content.MessageID{content.SHA256}, Status: content.Read}
	if content.IsStatusReport(m) {
		t.Error("a message is taken for a report")
	}
	for _, n := range []int{0, 1, 7, 23, 24, 255, 256, 4096} {
		b, err := content.StatusReport(slices.Repeat([]content.MessageStatus{one}, n)).Encode(content.Limits{})
		if err != nil || !content.IsStatusReport(b) {
			t.Errorf("a report of %d is not taken for one: %v", n, err)
		}
	}
	for _, b := range []string{"", "\x87", "\xa0", "\x9f\xff", "\x9b\x00", "x"} {
		content.IsStatusReport([]byte(b)) // no panic
	}
}

// TestStatusSet: message-status draft, section 3: what is known of a message after reports
// in whatever order.
func TestStatusSet(t *testing.T) {
	for _, x := range []struct {
		of              []content.Status
		delivered, read bool
	}{
		{nil, false, false},
		{[]content.Status{content.Unread}, false, false},
		{[]content.Status{content.Delivered}, true, false},
		{[]content.Status{content.Read}, true, true},
		{[]content.Status{content.Read, content.Delivered}, true, true}, // nothing is taken back
		{[]content.Status{content.Delivered, content.Read, content.Unread}, true, true},
		{[]content.Status{content.Expired}, true, false},
		{[]content.Status{content.Deleted, content.Hidden}, true, false},
		{[]content.Status{content.Failed}, false, false},
		{[]content.Status{7, 8, 9, 255}, false, false}, // no bit of another
	} {
		var s content.StatusSet
		for _, y := range x.of {
			s |= y.Of()
		}
		if s.Delivered() != x.delivered || s.Read() != x.read {
			t.Errorf("%v: delivered %v, read %v", x.of, s.Delivered(), s.Read())
		}
	}
}

// TestFoldStatuses: what is shown of messages and reports is the same in whatever order
// they come, each as often as it likes; reports of what is not here and of one's own
// change nothing.
func TestFoldStatuses(t *testing.T) {
	people := []string{"alice", "bob", "carol", "dave"}
	from := content.Origin{}
	rapid.Check(t, func(rt *rapid.T) {
		s := newStory()
		var names []string // messages
		say := func(name, by string, m *content.Message) {
			s.make(t, name, by, m)
			names = append(names, name)
		}
		who := rapid.SampledFrom(people)
		for i := range rapid.IntRange(1, 5).Draw(rt, "messages") {
			n, by := fmt.Sprint("m", i), who.Draw(rt, "by")
			say(n, by, content.New(from, content.Text(n)))
			// Of what changes a message one each: between two edits the hub's order decides.
			if rapid.Bool().Draw(rt, "edited") {
				say(n+"e", by, content.Edit(from, s.ms[n], s.ids[n], content.Text(n+" anew")))
			}
			if by2 := who.Draw(rt, "reacts"); rapid.Bool().Draw(rt, "reacted") {
				say(n+"r", by2, content.React(from, s.ids[n], "+"))
			}
			if rapid.IntRange(0, 4).Draw(rt, "deleted") == 0 {
				say(n+"d", by, content.Delete(from, s.ms[n], s.ids[n]))
			}
		}
		type event struct {
			message string
			about   content.MessageID
			by      string
			status  content.StatusSet
		}
		var events []event
		for _, n := range names {
			events = append(events, event{message: n})
		}
		stray := content.MessageID{content.SHA256, 7}
		for range rapid.IntRange(0, 12).Draw(rt, "reports") {
			about := stray
			if n := rapid.SampledFrom(append([]string{""}, names...)).Draw(rt, "about"); n != "" {
				about = s.ids[n]
			}
			x := event{about: about, by: who.Draw(rt, "reporter"), status: content.Status(rapid.IntRange(0, 9).Draw(rt, "status")).Of()}
			events = append(events, x, x)
		}
		show := func(list []event) string {
			var f content.Fold
			for _, e := range list {
				if e.message == "" {
					f.AddStatus(e.about, e.by, e.status)
				} else {
					f.Add(s.ids[e.message], uint64(slices.Index(names, e.message)), s.who[e.message], s.ms[e.message])
				}
			}
			var out []string
			for _, x := range f.List() {
				line := fmt.Sprint(x.Number, x.Sender, x.Message.Text(), x.Edited, x.Deleted, x.Statuses)
				for _, r := range x.Reactions {
					line += r.Sender + r.Reaction
				}
				for _, r := range x.Statuses {
					if r.Sender == x.Sender {
						rt.Fatalf("%s reports of its own message", r.Sender)
					}
				}
				out = append(out, line)
			}
			slices.Sort(out)
			return strings.Join(out, "\n")
		}
		want := show(events)
		if got := show(rapid.Permutation(events).Draw(rt, "order")); got != want {
			rt.Fatalf("in another order\n%s\nexpected\n%s", got, want)
		}
	})
}
