package client_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mimid/mimid/client"
	"github.com/mimid/mimid/protocol/content"
	"github.com/mimid/mimid/protocol/uri"
)

func ending(text string, e *content.Expiration) *content.Message {
	m := content.New(content.Origin{}, content.Text(text))
	m.Expires = e
	return m
}

// in is an expiration at a time after that of somebody's clock.
func (p *person) in(d time.Duration) *content.Expiration {
	p.t.Helper()
	e, err := content.ExpireAt(time.Now().Add(d + time.Duration(p.ahead.Load())))
	if err != nil {
		p.t.Fatal(err)
	}
	return e
}

func afterReading(t *testing.T, d time.Duration) *content.Expiration {
	t.Helper()
	e, err := content.ExpireAfterReading(d)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// pass lets time go by for somebody, and its device look.
func (p *person) pass(d time.Duration) {
	p.t.Helper()
	p.ahead.Add(int64(d))
	if err := p.c.Sync(ctx10(p.t)); err != nil {
		p.t.Fatal(err)
	}
}

func (p *person) says(u uri.Room, m *content.Message) error {
	_, err := p.c.SendContent(ctx10(p.t), u, m)
	return err
}

// TestExpiry: content draft, section 5.8: what ends is gone from what is shown and from the
// storage when it ends: at a time, or a while after it was read.
func TestExpiry(t *testing.T) {
	f := newFake(t)
	alice, bob := f.person("alice", "atlanta.example"), f.person("bob", "biloxi.example")
	u := alice.create("clubhouse")
	alice.add(u, bob)
	for _, m := range []*content.Message{ending("for an hour", alice.in(time.Hour)), ending("until read", afterReading(t, 10*time.Minute)), ending("for ever", nil)} {
		if err := alice.says(u, m); err != nil {
			t.Fatal(err)
		}
	}
	bob.hears(u, "alice: for an hour", "alice: until read", "alice: for ever")
	alice.hears(u, "alice: for an hour", "alice: until read", "alice: for ever")
	shows := func(p *person, want ...string) {
		t.Helper()
		if got := p.texts(u); !slices.Equal(got, want) {
			t.Errorf("%s has %q, expected %q", p.name, got, want)
		}
	}
	wiped := func(p *person, texts int) {
		t.Helper()
		eventually(t, p.name+"'s storage has nothing of it", func() bool { return p.store.count("message/") == texts })
	}
	// For who sent it, what ends after reading counts from then; for the others from when they read.
	bob.pass(30 * time.Minute)
	alice.pass(30 * time.Minute)
	shows(bob, "alice: for an hour", "alice: until read", "alice: for ever")
	shows(alice, "alice: for an hour", "alice: for ever")
	wiped(alice, 2)
	if err := bob.c.MarkRead(ctx10(t), u, 100); err != nil {
		t.Fatal(err)
	}
	bob.pass(9 * time.Minute)
	if err := bob.c.MarkRead(ctx10(t), u, 100); err != nil { // it was read before
		t.Fatal(err)
	}
	bob.restart() // what is to end is remembered
	bob.pass(2 * time.Minute)
	shows(bob, "alice: for an hour", "alice: for ever")
	wiped(bob, 2)
	if n := await(bob, func(n client.MessagesExpired) bool { return true }); n.Room != u || !slices.Equal(n.Messages, []uint64{1}) {
		t.Errorf("told %+v", n)
	}
	// Without running, nothing is shown that has ended, though it is still there.
	bob.kill()
	bob.ahead.Add(int64(time.Hour))
	shows(bob, "alice: for ever")
	if n := bob.store.count("message/"); n != 2 {
		t.Errorf("%d messages in the storage of a device that is off", n)
	}
	bob.restart()
	wiped(bob, 1)
	if bob.store.count("expiry/") != 0 {
		t.Error("what has ended is still to end")
	}

	// What was gone before it came is not kept, and the room goes on.
	bob.kill()
	if err := alice.says(u, ending("too late", alice.in(time.Minute))); err != nil {
		t.Fatal(err)
	}
	alice.send(u, "next")
	alice.hears(u, "alice: next")
	bob.restart()
	bob.hears(u, "alice: next")
	shows(bob, "alice: for ever", "alice: next")
	wiped(bob, 2)
	if err := bob.c.Sync(ctx10(t)); err != nil {
		t.Error(err)
	}

	// A copy of what has ended is no new message.
	copied := ending("for a while", afterReading(t, time.Minute))
	copied.Sender, copied.Room = alice.user().String(), u.String()
	octets, err := copied.Encode(content.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	send := func() {
		t.Helper()
		if err := alice.c.SendReport(ctx10(t), u, octets); err != nil {
			t.Fatal(err)
		}
		agree(u, alice, bob)
		if err := alice.c.SettleReceipts(ctx10(t)); err != nil {
			t.Fatal(err)
		}
		agree(u, alice, bob)
	}
	send()
	bob.hears(u, "alice: for a while")
	if err := bob.c.MarkRead(ctx10(t), u, 100); err != nil {
		t.Fatal(err)
	}
	bob.pass(2 * time.Minute)
	wiped(bob, 2)
	send()
	shows(bob, "alice: for ever", "alice: next")

	// Section 9.1: not more than a year, and none that is over when it is sent.
	for why, m := range map[string]*content.Message{
		"in more than a year":            ending("x", alice.in(367*24*time.Hour)),
		"more than a year after reading": ending("x", &content.Expiration{Relative: true, Seconds: 367 * 24 * 3600}),
		"a minute ago":                   ending("x", alice.in(-time.Minute)),
	} {
		if err := alice.says(u, m); !errors.Is(err, content.ErrExpiry) {
			t.Errorf("it ends %s: %v", why, err)
		}
	}
	for _, m := range []*content.Message{ending("x", alice.in(400*24*time.Hour)), ending("x", alice.in(-400*24*time.Hour))} {
		m.Sender, m.Room = alice.user().String(), u.String()
		b, err := m.Encode(content.Limits{})
		if err == nil {
			err = alice.c.SendReport(ctx10(t), u, b) // as it is: her device keeps nothing that has ended
		}
		if err != nil {
			t.Fatal(err)
		}
		await(bob, func(p client.Problem) bool { return errors.Is(p.Err, content.ErrExpiry) })
	}
	agree(u, alice, bob)
}

// TestRoomPolicies: room-policy draft, sections 8.1 and 8.7: what a room demands of receipts
// and of how long messages last, at whoever sends and at whoever receives.
func TestRoomPolicies(t *testing.T) {
	f := newFake(t)
	alice, bob := f.person("alice", "atlanta.example"), f.person("bob", "biloxi.example")
	u := alice.create("clubhouse")
	alice.add(u, bob)
	alice.receipts(client.Receipts{})
	demand := func(p client.StatusPolicy) {
		t.Helper()
		if err := alice.c.SetPolicy(ctx10(t), u, &p); err != nil {
			t.Fatal(err)
		}
		agree(u, alice, bob)
	}
	n := -1
	for _, x := range []struct {
		policy client.StatusPolicy
		wish   client.Receipts
		want   string // of one message that was read
	}{
		{client.StatusPolicy{}, client.Receipts{}, ""},
		{client.StatusPolicy{}, client.Receipts{Delivered: true}, " bob-"},
		{client.StatusPolicy{Delivery: 2}, client.Receipts{Delivered: true}, ""},
		{client.StatusPolicy{Delivery: 1}, client.Receipts{}, " bob-"},
		{client.StatusPolicy{Delivery: 1, Read: 2}, client.Receipts{Read: true}, " bob-"},
		{client.StatusPolicy{Delivery: 2, Read: 1}, client.Receipts{}, " bob+"},
	} {
		demand(x.policy)
		bob.receipts(x.wish)
		alice.send(u, "x")
		n++
		eventually(t, "bob has it", func() bool { return len(bob.texts(u)) == n+1 })
		if err := errors.Join(bob.c.MarkRead(ctx10(t), u, 1000), bob.c.SettleReceipts(ctx10(t)), alice.c.Sync(ctx10(t))); err != nil {
			t.Fatal(err)
		}
		agree(u, alice, bob)
		all := strings.Split(alice.known(u), ", ")
		if got := strings.TrimLeft(all[n], "0123456789"); got != x.want {
			t.Errorf("%+v, %+v: alice knows %q, expected %q", x.policy, x.wish, got, x.want)
		}
	}
	// A hostile device reports what is forbidden: nobody takes it.
	demand(client.StatusPolicy{Delivery: 2, Read: 2})
	alice.send(u, "x")
	n++
	eventually(t, "bob has it", func() bool { return len(bob.texts(u)) == n+1 })
	list, err := alice.c.Messages(u, uint64(n), 1)
	if err != nil {
		t.Fatal(err)
	}
	b, err := content.StatusReport{{ID: list[0].ID, Status: content.Delivered}, {ID: list[0].ID, Status: content.Read}}.Encode(content.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(bob.c.SendReport(ctx10(t), u, b), bob.c.SettleReceipts(ctx10(t)), alice.c.Sync(ctx10(t))); err != nil {
		t.Fatal(err)
	}
	agree(u, alice, bob)
	if all := strings.Split(alice.known(u), ", "); strings.ContainsAny(all[n], "+-") {
		t.Errorf("a forbidden report counts: %s", all[n])
	}

	// How long messages last.
	lasts := func(p client.ExpirationPolicy) {
		t.Helper()
		if err := alice.c.SetPolicy(ctx10(t), u, &p); err != nil {
			t.Fatal(err)
		}
		agree(u, alice, bob)
	}
	for _, x := range []struct {
		policy client.ExpirationPolicy
		m      *content.Message
		why    string // empty: allowed
	}{
		{client.ExpirationPolicy{Expiring: 2}, ending("a", alice.in(time.Hour)), "may not expire"},
		{client.ExpirationPolicy{Expiring: 2}, ending("b", nil), ""},
		{client.ExpirationPolicy{Expiring: 1, Min: 60, Max: 7200}, ending("c", nil), "must expire"},
		{client.ExpirationPolicy{Expiring: 1, Min: 60, Max: 7200}, ending("d", alice.in(time.Hour)), ""},
		{client.ExpirationPolicy{Expiring: 1, Min: 60, Max: 7200}, ending("e", afterReading(t, 2*time.Hour)), ""},
		{client.ExpirationPolicy{Expiring: 1, Min: 60, Max: 7200}, ending("f", afterReading(t, 3*time.Hour)), "in this room it is 60 to 7200"},
		{client.ExpirationPolicy{Expiring: 1, Min: 60, Max: 7200}, ending("g", alice.in(3*time.Hour)), "in this room it is 60 to 7200"},
	} {
		lasts(x.policy)
		if x.why == "" {
			if err := alice.says(u, x.m); err != nil {
				t.Errorf("%s: %v", x.m.Text(), err)
			}
			bob.hears(u, "alice: "+x.m.Text())
			continue
		}
		if err := alice.says(u, x.m); !errors.Is(err, client.ErrRefused) || !strings.Contains(err.Error(), x.why) {
			t.Errorf("%s: %v, expected %q", x.m.Text(), err, x.why)
		}
		if _, err := alice.c.SendUnjudged(ctx10(t), u, x.m); err != nil {
			t.Fatal(err)
		}
		await(bob, func(p client.Problem) bool { return strings.Contains(p.Err.Error(), x.why) })
	}
	// The room says how long messages last that do not say it.
	lasts(client.ExpirationPolicy{Expiring: 1, Min: 60, Max: 7200, Default: client.PolicyBound{N: 600, Set: true}})
	i := alice.send(u, "by default")
	bob.hears(u, "alice: by default")
	list, err = bob.c.Messages(u, 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	if d := time.Until(list[len(list)-1].ExpiresAt); d < 9*time.Minute || d > 10*time.Minute {
		t.Errorf("message %d ends in %v", i, d)
	}
}
