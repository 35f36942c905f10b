package client_test

import (
	"bytes"
	"context"
	"slices"
	"testing"
	"time"

	"github.com/mimid/mimid/client"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/uri"
)

const day = 24 * time.Hour

// stocked waits until a person's provider has n KeyPackages and a last resort that is another
// than was, and returns it.
func (p *person) stocked(n int, was []byte) (last []byte) {
	p.t.Helper()
	eventually(p.t, "KeyPackages of "+p.name, func() bool {
		p.f.mu.Lock()
		defer p.f.mu.Unlock()
		u := p.f.users[p.user().String()]
		last = u.last
		return len(u.packages) == n && last != nil && !bytes.Equal(last, was)
	})
	return last
}

// rests checks that a person's device does not look at its KeyPackages for a while, although
// it is awake.
func (p *person) rests(does func()) {
	p.t.Helper()
	p.f.mu.Lock()
	before := p.f.calls["GET /v1/keypackages"]
	p.f.mu.Unlock()
	does()
	for range 20 {
		if _, err := p.c.Rooms(ctx10(p.t)); err != nil { // a call wakes the loop
			p.t.Fatal(err)
		}
		time.Sleep(5 * time.Millisecond)
	}
	p.f.mu.Lock()
	defer p.f.mu.Unlock()
	if n := p.f.calls["GET /v1/keypackages"] - before; n > 0 {
		p.t.Errorf("%s's device looked %d times at its KeyPackages", p.name, n)
	}
}

// everyHour lets an hour and a quarter pass, after which a look is due at the latest.
func (p *person) everyHour() {
	p.later(76 * time.Minute)
}

// later lets time go by, for the provider, too.
func (p *person) later(d time.Duration) {
	p.ahead.Add(int64(d))
	p.f.set(func() { p.f.late += d })
	p.c.Rooms(context.Background()) // wakes the loop
}

// lets adds somebody, by whatever there is.
func (p *person) lets(u uri.Room, who *person) {
	p.t.Helper()
	if err := p.c.AddUser(ctx10(p.t), u, who.user()); err != nil {
		p.t.Fatal(err)
	}
	eventually(p.t, who.name+" is in", func() bool { return who.state(u) == "joined" })
}

// rest waits until the first look is over.
func (p *person) settled() {
	p.t.Helper()
	if err := p.c.Settle(ctx10(p.t)); err != nil {
		p.t.Fatal(err)
	}
}

// TestRefillIsOnSchedule: whoever takes KeyPackages, and even lets the device join, does not
// see it bring others; the hour does that.
func TestRefillIsOnSchedule(t *testing.T) {
	f := newFake(t)
	alice, bob := f.person("alice", "atlanta.example"), f.person("bob", "biloxi.example")
	bob.stocked(50, nil)
	bob.settled()
	u := alice.create("room")
	bob.rests(func() {
		f.set(func() { x := f.users[bob.user().String()]; x.packages = x.packages[:10] })
		alice.lets(u, bob)
		f.set(func() { f.users[bob.user().String()].packages = nil })
		// Told that only the last resort is left, it waits as well.
		f.set(func() { f.tellNow(clientapi.EventStock, &clientapi.Stock{Level: "reserve"}) })
		eventually(t, "bob's user is told", func() bool { return bob.stockLevel() == "reserve" })
	})
	bob.everyHour()
	bob.stocked(50, nil)
}

// stockLevel is the last one that the application was told.
func (p *person) stockLevel() (level string) {
	for {
		select {
		case n := <-p.c.Events():
			p.seen = append(p.seen, n)
			continue
		default:
		}
		break
	}
	for _, n := range p.seen {
		if x, ok := n.(client.StockChanged); ok {
			level = x.Level
		}
	}
	return level
}

// TestDryDeviceRefillsAtOnce: told that there is nothing of it, a device brings KeyPackages at
// once. That another device has none is not its to mend.
func TestDryDeviceRefillsAtOnce(t *testing.T) {
	f := newFake(t)
	alice := f.person("alice", "atlanta.example")
	alice.stocked(50, nil)
	alice.settled()
	var me string
	dry := func(client string) {
		f.set(func() { f.tellNow(clientapi.EventStock, &clientapi.Stock{Level: "none", Dry: []string{client}}) })
	}
	f.set(func() {
		x := f.users[alice.user().String()]
		x.packages, x.last, me = nil, nil, x.client
	})
	alice.rests(func() { dry(me + "x") })
	dry(me)
	alice.stocked(50, nil)
	if got := alice.stockLevel(); got != "none" {
		t.Errorf("the application was told of %q", got)
	}
}

// TestRenewsBeforeTheEnd: nothing that others can claim ends while the device looks every
// hour: new ones are there a week before.
func TestRenewsBeforeTheEnd(t *testing.T) {
	f := newFake(t)
	alice := f.person("alice", "atlanta.example")
	last := alice.stocked(50, nil)
	alice.settled()
	alice.later(22 * day)
	alice.stocked(50, last) // the last resort at its age
	alice.settled()
	alice.later(2 * day) // 24 of 30
	last = alice.stocked(100, nil)
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, raw := range append(slices.Clone(f.users[alice.user().String()].packages[50:]), last) {
		kp := must(mls.ParseKeyPackage(raw, mls.Limits{}))(t)
		if left := time.Unix(int64(kp.Leaf.Lifetime.NotAfter), 0).Sub(f.now()); left < 7*day {
			t.Errorf("number %d ends in %v", i, left)
		}
	}
}

// TestLastResortIsRotated: after a Welcome to it, at the next look; unused, after a week.
// A Welcome to the one before is read all the same.
func TestLastResortIsRotated(t *testing.T) {
	f := newFake(t)
	alice, bob := f.person("alice", "atlanta.example"), f.person("bob", "biloxi.example")
	first := bob.stocked(50, nil)
	bob.settled()
	f.set(func() { f.users[bob.user().String()].packages = nil })
	u := alice.create("one")
	alice.lets(u, bob)
	bob.everyHour()
	second := bob.stocked(50, first)
	bob.settled()
	f.set(func() { x := f.users[bob.user().String()]; x.packages, x.last = nil, first }) // claimed before
	u = alice.create("two")
	alice.lets(u, bob)
	f.set(func() { f.users[bob.user().String()].last = second })
	bob.everyHour()
	bob.stocked(50, first) // second stays: nobody has used it
	if got := bob.stocked(50, first); !bytes.Equal(got, second) {
		t.Error("a last resort was replaced that is new and was not used")
	}
	bob.settled()
	bob.later(7 * day)
	bob.everyHour()
	third := bob.stocked(50, second)
	bob.settled()
	// The private keys of those that are not handed out any more go after a week.
	n := bob.store.count("keypackage")
	bob.later(8 * day)
	bob.everyHour()
	bob.stocked(50, third)
	bob.settled()
	if m := bob.store.count("keypackage"); m >= n+1 || n < 100 {
		t.Errorf("%d private keys, and %d before the old last resorts' time was over", m, n)
	}
}

// TestUnknownKeyPackagesAreReplaced: the provider hands out what this device has no keys to, as
// after its storage was put back to an older copy: who is added by them never gets in.
func TestUnknownKeyPackagesAreReplaced(t *testing.T) {
	f := newFake(t)
	alice, bob := f.person("alice", "atlanta.example"), f.person("bob", "biloxi.example")
	old := bob.store.reopened()
	last := bob.stocked(50, nil)
	bob.settled()
	bob.kill()
	bob.store = old
	bob.open()
	bob.run()
	bob.stocked(50, last)
	bob.settled()
	s, err := bob.c.Stock(ctx10(t))
	if err != nil || !s.Usable || s.Available != 50 || !s.LastResort || s.Ends.IsZero() || s.LastResortEnds.IsZero() {
		t.Errorf("%+v, %v", s, err)
	}
	u := alice.create("room")
	alice.add(u, bob)
	eventually(t, "bob is in", func() bool { return bob.state(u) == "joined" })
}
