package client_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/mimid/mimid/client"
	"github.com/mimid/mimid/protocol/content"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
)

func (p *person) receipts(x client.Receipts) {
	p.t.Helper()
	if err := p.c.SetReceipts(ctx10(p.t), x); err != nil {
		p.t.Fatal(err)
	}
}

// known lists what somebody knows of whom its messages have come to: "0 bob- carol+" is
// delivered to Bob and read by Carol.
func (p *person) known(u uri.Room) string {
	p.t.Helper()
	all, err := p.c.Conversation(u)
	if err != nil {
		p.t.Fatal(err)
	}
	var out []string
	for _, s := range all {
		line := fmt.Sprint(s.Index)
		for _, r := range s.Receipts {
			switch line += " " + r.User.Name(); {
			case !r.Read.IsZero():
				line += "+"
			case !r.Delivered.IsZero():
				line += "-"
			}
		}
		out = append(out, line)
	}
	return strings.Join(out, ", ")
}

func (p *person) knows(u uri.Room, want string) {
	p.t.Helper()
	got := ""
	defer func() {
		if p.t.Failed() {
			p.t.Logf("%s knows %q", p.name, got)
		}
	}()
	eventually(p.t, fmt.Sprintf("%s knows %q", p.name, want), func() bool {
		got = p.known(u)
		return got == want
	})
}

// entries counts what is in a room's log.
func (f *fake) entries(u uri.Room) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.rooms[room.IDOf([]byte(u.String()))].entries)
}

// TestReceipts: what came is reported in few messages, what was read only if the user wants
// that; reports lead to no reports; the storage keeps what is owed and what is known.
func TestReceipts(t *testing.T) {
	f := newFake(t)
	alice, bob, carol := f.person("alice", "atlanta.example"), f.person("bob", "biloxi.example"), f.person("carol", "atlanta.example")
	u := alice.create("clubhouse")
	alice.add(u, bob)
	alice.add(u, carol)
	carol.receipts(client.Receipts{})
	// Bob's device gathers for as long as the test takes, unless it is told not to.
	bob.patient = true
	bob.restart()
	before := f.entries(u)
	const n = 40
	for i := range n {
		alice.send(u, fmt.Sprint(i))
	}
	bob.hears(u, fmt.Sprintf("alice: %d", n-1))
	carol.hears(u, fmt.Sprintf("alice: %d", n-1))
	if got := f.entries(u) - before; got != n {
		t.Fatalf("%d entries for %d messages: reported before its time", got, n)
	}
	bob.restart() // what is owed is remembered
	settle := func(p *person) {
		t.Helper()
		if err := p.c.SettleReceipts(ctx10(t)); err != nil {
			t.Fatal(err)
		}
	}
	settle(bob)
	settle(carol)
	var want []string
	for i := range n {
		want = append(want, fmt.Sprintf("%d bob-", i))
	}
	alice.knows(u, strings.Join(want, ", "))
	if got := f.entries(u) - before; got != n+1 {
		t.Errorf("%d entries for %d messages and a report", got, n)
	}
	told := await(alice, func(x client.ReceiptsChanged) bool { return true })
	if told.From != bob.user() || told.Room != u || len(told.Delivered) != n || len(told.Read) != 0 {
		t.Errorf("told %+v", told)
	}

	// Read, without wanting it to be known, and with.
	mark := func(p *person, upTo uint64) {
		t.Helper()
		if err := p.c.MarkRead(ctx10(t), u, upTo); err != nil {
			t.Fatal(err)
		}
		settle(p)
	}
	mark(bob, 9)
	bob.receipts(client.Receipts{Read: true})
	mark(bob, 9) // it was read before
	if got := f.entries(u) - before; got != n+1 {
		t.Errorf("%d entries after reading in secret", got)
	}
	mark(bob, 10)
	want[10] = "10 bob+"
	alice.knows(u, strings.Join(want, ", "))
	mark(carol, 39)
	bob.restart()
	if x, err := bob.c.Receipts(ctx10(t)); err != nil || x != (client.Receipts{Read: true}) {
		t.Errorf("the setting after a restart: %+v, %v", x, err)
	}
	mark(bob, ^uint64(0))
	for i := 11; i < n; i++ {
		want[i] = fmt.Sprintf("%d bob+", i)
	}
	alice.restart()
	alice.knows(u, strings.Join(want, ", "))
	if got := f.entries(u) - before; got != n+3 {
		t.Errorf("%d entries for %d messages and three reports", got, n)
	}
	// What answers, reacts, edits or takes back: of the answer only.
	list, err := alice.c.Messages(u, 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	at := f.entries(u)
	for _, m := range []*content.Message{content.React(content.Origin{}, list[0].ID, "+"), content.Edit(content.Origin{}, list[0].Content, list[0].ID, content.Text("anew")),
		content.Reply(content.Origin{}, list[0].ID, content.Text("more"))} {
		if _, err := alice.c.SendContent(ctx10(t), u, m); err != nil {
			t.Fatal(err)
		}
	}
	bob.hears(u, "alice: more")
	bob.receipts(client.Receipts{Delivered: true})
	alice.send(u, "last")
	bob.hears(u, "alice: last")
	settle(bob)
	want = append(want, "42", "43 bob-") // of the answer it was not wanted
	alice.knows(u, strings.Join(want, ", "))
	if got := f.entries(u) - at; got != 5 {
		t.Errorf("%d entries for four messages and a report", got)
	}
	agree(u, alice, bob, carol)
}

// TestReceiptsLarge: in large rooms nobody reports by itself.
func TestReceiptsLarge(t *testing.T) {
	f := newFake(t)
	alice, bob, carol := f.person("alice", "atlanta.example"), f.person("bob", "biloxi.example"), f.person("carol", "atlanta.example")
	bob.receiptRoom = 2
	bob.restart()
	u := alice.create("clubhouse")
	alice.add(u, bob)
	alice.send(u, "to one")
	alice.knows(u, "0 bob-")
	alice.add(u, carol)
	carol.receipts(client.Receipts{})
	alice.send(u, "to two")
	bob.hears(u, "alice: to two")
	if err := bob.c.SettleReceipts(ctx10(t)); err != nil {
		t.Fatal(err)
	}
	bob.send(u, "marker")
	alice.hears(u, "bob: marker")
	if got := alice.known(u); got != "0 bob-, 1, 2" {
		t.Errorf("alice knows %q", got)
	}
}

// TestReceiptsHostile: reports about what is not here, about one's own or other people's
// messages, that take something back, that come again and again, or that are none.
func TestReceiptsHostile(t *testing.T) {
	f := newFake(t)
	alice, bob, carol := f.person("alice", "atlanta.example"), f.person("bob", "biloxi.example"), f.person("carol", "atlanta.example")
	u := alice.create("clubhouse")
	alice.add(u, bob)
	alice.add(u, carol)
	for _, p := range []*person{alice, bob, carol} {
		p.receipts(client.Receipts{})
	}
	alice.send(u, "by alice")
	bob.hears(u, "alice: by alice")
	bob.send(u, "by bob")
	for _, p := range []*person{alice, bob, carol} {
		p.hears(u, "bob: by bob")
	}
	ids := map[string]content.MessageID{"nobody": {content.SHA256, 9}}
	list, err := carol.c.Messages(u, 0, 2)
	if err != nil || len(list) != 2 {
		t.Fatal(list, err)
	}
	ids["alice"], ids["bob"] = list[0].ID, list[1].ID
	report := func(s content.Status, about ...string) []byte {
		t.Helper()
		var r content.StatusReport
		for _, a := range about {
			r = append(r, content.MessageStatus{ID: ids[a], Status: s})
		}
		b, err := r.Encode(content.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	marks := 0
	for _, x := range []struct {
		why  string
		b    []byte
		want string // what Alice knows of the first two messages
		bad  bool   // the users are told
	}{
		{why: "nothing", b: report(content.Read), want: "0, 1"},
		{why: "an id that is not here", b: report(content.Read, "nobody"), want: "0, 1"},
		{why: "her own message", b: report(content.Read, "bob"), want: "0, 1"},
		{why: "unread", b: report(content.Unread, "alice"), want: "0, 1"},
		{why: "what has no name", b: report(200, "alice"), want: "0, 1"},
		{why: "not a report", b: []byte{0x81, 0x81, 0x00}, want: "0, 1", bad: true},
		{why: "delivered", b: report(content.Delivered, "alice"), want: "0 bob-, 1"},
		{why: "read", b: report(content.Read, "alice"), want: "0 bob+, 1"},
		{why: "back to delivered", b: report(content.Delivered, "alice"), want: "0 bob+, 1"},
		{why: "back to unread", b: report(content.Unread, "alice"), want: "0 bob+, 1"},
		{why: "one thousand times", b: report(content.Read, slices.Repeat([]string{"alice", "nobody", "bob"}, 400)...), want: "0 bob+, 1"},
		{why: "more than a report may have", b: append([]byte{0x9a, 0, 1, 0, 0}, slices.Repeat(report(content.Read, "alice")[1:], 10)...), want: "0 bob+, 1", bad: true},
	} {
		if err := bob.c.SendReport(ctx10(t), u, x.b); err != nil {
			t.Fatal(err)
		}
		mark := fmt.Sprint("mark ", marks)
		marks++
		bob.send(u, mark)
		if x.bad {
			await(alice, func(p client.Problem) bool { return strings.Contains(p.Err.Error(), "cannot be read") })
		}
		for _, p := range []*person{alice, carol} {
			p.hears(u, "bob: "+mark)
		}
		if got := strings.Join(strings.Split(alice.known(u), ", ")[:2], ", "); got != x.want {
			t.Errorf("%s: alice knows %q, expected %q", x.why, got, x.want)
		}
		if strings.ContainsAny(carol.known(u), "+-") {
			t.Errorf("%s: carol keeps what is said of others' messages: %s", x.why, carol.known(u))
		}
	}
	// One entry a user and message, however often it was said.
	if n := alice.store.count("receipts/"); n != 1 {
		t.Errorf("%d records of receipts", n)
	}
	if n := carol.store.count("receipts/") + bob.store.count("receipts/"); n != 0 {
		t.Errorf("%d records of receipts of what others have sent", n)
	}
}
