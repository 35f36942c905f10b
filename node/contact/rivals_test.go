package contact_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mimid/mimid/node/contact"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/discovery"
	"github.com/mimid/mimid/store"
)

// rivals are who else claims a user's identifiers, as its devices are told.
func (u *user) rivals() (out []string) {
	t := u.p.w.t
	t.Helper()
	for _, c := range must(u.p.Claims(t.Context(), u.who))(t).Claims {
		for _, r := range c.Rivals {
			out = append(out, fmt.Sprintf("%s: %s, %s", c.SII, r.User, r.Verified))
		}
	}
	return out
}

// TestNumberRecycled: a number changes hands. Whoever looks it up sees both owners and when each
// was verified; the old owner is told once that somebody else has it, by its provider's daily
// look, and of the end of that; nothing is sent to either of them.
func TestNumberRecycled(t *testing.T) {
	w := newWorld(t, chicago)
	for _, d := range []string{atlanta, biloxi} {
		w.add(d, func(c *contact.Config) { c.Authorities = []string{chicago} })
	}
	w.add("detroit.example", func(c *contact.Config) { c.Authorities = []string{chicago} })
	w.pass(time.Second)
	alice, bob, dora := w.user("alice@atlanta.example"), w.user("bob@biloxi.example"), w.user("dora@detroit.example")
	alice.p.run()
	bob.p.run()
	day := func() discovery.Day { return discovery.DayOf(w.clock()) }
	look := func(want int) {
		t.Helper()
		if n, err := alice.p.Look(t.Context()); err != nil || n != want {
			t.Fatalf("looked up %d claims, want %d: %v", n, want, err)
		}
	}
	told := func(what string, want ...string) {
		t.Helper()
		if diff := cmp.Diff(want, alice.p.seen()); diff != "" {
			t.Errorf("%s, Alice is told (-want +got):\n%s", what, diff)
		}
	}
	// again restarts Alice's provider and waits until it announces.
	again := func(announcers int) (stop func()) {
		t.Helper()
		alice.p.restart()
		announcer{alice.p}.Withdraw(secret(t, phone).DayKey(day()))
		stop = alice.p.run()
		w.announcers(phone, day(), announcers)
		return stop
	}
	if err := alice.publish(phone, alice.verified(chicago, nil)); err != nil {
		t.Fatal(err)
	}
	if err := alice.publish("handle:alice", nil); err != nil {
		t.Fatal(err)
	}
	w.announcers(phone, day(), 1)
	look(1) // the handle is not looked up
	told("alone")

	w.pass(60 * 24 * time.Hour)
	bob = w.user("bob@biloxi.example") // with a certificate of today
	if err := bob.publish(phone, bob.verified(chicago, nil)); err != nil {
		t.Fatal(err)
	}
	stop := again(2)
	const bobsWord = "alice: tel:+16505551000: mimi://biloxi.example/u/bob authority"
	look(1)
	told("when Bob has the number", bobsWord)
	if diff := cmp.Diff([]string{"tel:+16505551000: mimi://biloxi.example/u/bob, authority"}, alice.rivals()); diff != "" {
		t.Error(diff)
	}
	look(1)
	stop()
	stop = again(2)
	look(1)
	told("of the same again")

	// The searcher sees both, and which was verified later.
	d := must(dora.p.Discover(t.Context(), dora.who, &clientapi.Discover{Secret: secret(t, phone).Bytes()}))(t)
	if !d.Conflict || len(d.Found) != 2 || d.Found[0].Owner != 1 || d.Found[1].Owner != 2 || d.Found[0].Provider != atlanta ||
		d.Found[1].VerifiedAt-d.Found[0].VerifiedAt != 60*24*60*60*1000 {
		t.Errorf("Dora finds %+v", d.Found)
	}
	for _, p := range []*provider{alice.p, bob.p, dora.p} {
		if len(p.waits) != 0 {
			t.Errorf("%s sends %d words to others", p.domain, len(p.waits))
		}
	}
	if ev := bob.p.seen(); len(ev) != 0 {
		t.Errorf("Bob, whose provider has not looked, is told %v", ev)
	}

	// A provider that is away takes nobody off the list; one that withdraws does.
	bob.p.down = true
	look(1)
	told("while Bob's provider is away")
	if len(alice.rivals()) != 1 {
		t.Errorf("rivals %v", alice.rivals())
	}
	bob.p.down = false
	w.pass(time.Second)
	if err := bob.withdraw(phone); err != nil {
		t.Fatal(err)
	}
	w.announcers(phone, day(), 1)
	look(1)
	told("when Bob has withdrawn", "alice: tel:+16505551000:")
	if len(alice.rivals()) != 0 {
		t.Errorf("rivals %v", alice.rivals())
	}

	// What Alice withdraws is not looked up any more, and nothing of it stays.
	w.pass(time.Second)
	if err := bob.publish(phone, bob.verified(chicago, nil)); err != nil {
		t.Fatal(err)
	}
	w.announcers(phone, day(), 2)
	look(1)
	told("when he is back", bobsWord)
	alice = w.user("alice@atlanta.example")
	if err := alice.withdraw(phone); err != nil {
		t.Fatal(err)
	}
	look(0)
	err := alice.p.store.View(func(tx *store.Tx) error {
		for it, err := range tx.Scan(store.Scan{Prefix: store.SpaceClaims.Prefix(nil)}) {
			if err != nil {
				return err
			}
			name := must(store.SpaceClaims.Parse(it.Key))(t)
			if name[0] == 3 {
				t.Error("rivals of what was withdrawn are kept")
			}
			if err := contact.Check(it); err != nil {
				t.Error(err)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	stop()
}

// TestOneOwnerAtTwoProviders: the same user key at two providers is one owner, in its own order, and
// no rival of itself.
func TestOneOwnerAtTwoProviders(t *testing.T) {
	w := newWorld(t, chicago)
	for _, d := range []string{atlanta, biloxi} {
		w.add(d, func(c *contact.Config) { c.Authorities = []string{chicago} })
	}
	w.same = map[string]string{"mimi://biloxi.example/u/alice": "mimi://atlanta.example/u/alice"}
	w.pass(time.Second)
	home, work, carla := w.user("alice@atlanta.example"), w.user("alice@biloxi.example"), w.user("carla@chicago.example")
	home.p.run()
	work.p.run()
	for i, u := range []*user{work, home} {
		if err := u.publish(phone, func(x *discovery.Terms) {
			u.verified(chicago, nil)(x)
			x.Rank, x.Tags = uint8(i), []string{[]string{"work", "home"}[i]}
		}); err != nil {
			t.Fatal(err)
		}
	}
	w.announcers(phone, discovery.DayOf(w.clock()), 2)
	d := must(carla.p.Discover(t.Context(), carla.who, &clientapi.Discover{Secret: secret(t, phone).Bytes()}))(t)
	if d.Conflict || len(d.Found) != 2 || d.Found[0].Owner != 1 || d.Found[1].Owner != 1 || d.Found[0].User != string(work.uri()) || d.Found[0].Tags[0] != "work" ||
		d.Found[1].Tags[0] != "home" {
		t.Errorf("Carla finds %+v", d)
	}
	if n, err := home.p.Look(t.Context()); err != nil || n != 1 {
		t.Errorf("looked up %d: %v", n, err)
	}
	if got := home.p.seen(); len(got) != 0 || len(home.rivals()) != 0 {
		t.Errorf("told %v, rivals %v", got, home.rivals())
	}
}

// TestLooksAreFew: each claim is looked up once a day, with a pause between two.
func TestLooksAreFew(t *testing.T) {
	w := newWorld(t, chicago)
	w.add(atlanta, func(c *contact.Config) { c.Unverified = true; c.Limits.LookPause = time.Millisecond })
	w.pass(time.Second)
	for i := range 3 {
		u := w.user(fmt.Sprintf("u%d@atlanta.example", i))
		if err := u.publish(fmt.Sprintf("tel:+1650555100%d", i), func(x *discovery.Terms) { x.Method = discovery.MethodUnverified }); err != nil {
			t.Fatal(err)
		}
	}
	p := w.ps[atlanta]
	looks := func() int {
		w.mu.Lock()
		defer w.mu.Unlock()
		return p.looks
	}
	stop := p.watch()
	defer stop()
	waitFor := func(want int) {
		t.Helper()
		for range 2000 {
			if looks() >= want {
				break
			}
			time.Sleep(time.Millisecond)
		}
		if n := looks(); n != want {
			t.Errorf("%d looks, want %d", n, want)
		}
	}
	waitFor(3)
	time.Sleep(20 * time.Millisecond) // some twenty pauses
	waitFor(3)
	w.pass(23 * time.Hour)
	time.Sleep(20 * time.Millisecond)
	waitFor(3)
	w.pass(time.Hour)
	waitFor(6)
}
