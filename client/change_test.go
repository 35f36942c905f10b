package client_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mimid/mimid/client"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
)

// users lists who takes part in a room with clients, by name.
func (p *person) users(u uri.Room) []string {
	p.t.Helper()
	list, err := p.c.Rooms(ctx10(p.t))
	if err != nil {
		p.t.Fatal(err)
	}
	var out []string
	for _, r := range list {
		if r.URI != u {
			continue
		}
		for _, x := range r.Participants {
			if x.Clients > 0 {
				out = append(out, x.User.Name())
			}
		}
	}
	slices.Sort(out)
	return out
}

func three(t *testing.T) (*fake, *person, *person, *person, uri.Room) {
	t.Helper()
	f := newFake(t)
	alice, bob, carol := f.person("alice", "atlanta.example"), f.person("bob", "biloxi.example"), f.person("carol", "chicago.example")
	u := alice.create("clubhouse")
	alice.add(u, bob)
	alice.add(u, carol)
	agree(u, alice, bob, carol)
	return f, alice, bob, carol, u
}

// TestLeave: whoever leaves is committed by another, and reads nothing after.
func TestLeave(t *testing.T) {
	_, alice, bob, carol, u := three(t)
	if err := carol.c.Leave(ctx10(t), u); err != nil {
		t.Fatal(err)
	}
	left := await[client.RoomLeft](carol, nil)
	if left.Room != u || !strings.Contains(left.Reason, "left") {
		t.Errorf("told %+v", left)
	}
	await(alice, func(m client.MembersChanged) bool { return len(m.Removed) == 1 && m.Removed[0] == carol.user() })
	alice.send(u, "alone at last")
	bob.hears(u, "alice: alone at last")
	agree(u, alice, bob)
	if got := alice.users(u); !slices.Equal(got, []string{"alice", "bob"}) {
		t.Errorf("participants: %q", got)
	}
	if got := carol.texts(u); len(got) != 0 {
		t.Errorf("Carol reads %q", got)
	}
	if _, err := carol.c.Send(ctx10(t), u, "x"); !errors.Is(err, client.ErrNoRoom) {
		t.Errorf("sending after leaving: %v", err)
	}
	// She may be added again.
	bob.add(u, carol)
	carol.send(u, "back")
	alice.hears(u, "carol: back")
}

// TestLeaveAlone: the last member just goes.
func TestLeaveAlone(t *testing.T) {
	f := newFake(t)
	alice := f.person("alice", "atlanta.example")
	u := alice.create("cell")
	if err := alice.c.Leave(ctx10(t), u); err != nil {
		t.Fatal(err)
	}
	await[client.RoomLeft](alice, nil)
	if s := alice.state(u); s != "left" {
		t.Errorf("room is %s", s)
	}
}

// TestAllLeave: two of three leave at once; the third commits both.
func TestAllLeave(t *testing.T) {
	_, alice, bob, carol, u := three(t)
	if err := alice.c.SetRole(ctx10(t), u, carol.user(), "admin"); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for _, p := range []*person{alice, bob} {
		wg.Go(func() {
			if err := p.c.Leave(ctx10(t), u); err != nil {
				t.Errorf("%s leaves: %v", p.name, err)
			}
		})
	}
	wg.Wait()
	await[client.RoomLeft](alice, nil)
	await[client.RoomLeft](bob, nil)
	eventually(t, "Carol is alone", func() bool { return slices.Equal(carol.users(u), []string{"carol"}) })
}

func TestRemove(t *testing.T) {
	_, alice, bob, carol, u := three(t)
	if err := alice.c.RemoveUser(ctx10(t), u, bob.user()); err != nil {
		t.Fatal(err)
	}
	left := await[client.RoomLeft](bob, nil)
	if !strings.Contains(left.Reason, "removed") {
		t.Errorf("told %+v", left)
	}
	alice.send(u, "without Bob")
	carol.hears(u, "alice: without Bob")
	if err := alice.c.RemoveUser(ctx10(t), u, bob.user()); err != nil {
		t.Errorf("removing who is not there: %v", err)
	}
	// A member may not remove the admin, and the room says so before the hub does.
	if err := carol.c.RemoveUser(ctx10(t), u, alice.user()); !errors.Is(err, client.ErrRefused) {
		t.Errorf("Carol removes Alice: %v", err)
	}
	if got := bob.texts(u); len(got) != 0 {
		t.Errorf("Bob reads %q", got)
	}
}

// TestConcurrentCommits: three members change the room at once, each its own way,
// and all changes come true.
func TestConcurrentCommits(t *testing.T) {
	f, alice, bob, carol, u := three(t)
	var others []*person
	for i := range 3 {
		p := f.person(fmt.Sprintf("guest%d", i), []string{"atlanta.example", "biloxi.example", "chicago.example"}[i])
		f.ready(p)
		others = append(others, p)
	}
	var wg sync.WaitGroup
	for i, p := range []*person{alice, bob, carol} {
		wg.Go(func() {
			if err := p.c.AddUser(ctx10(t), u, others[i].user()); err != nil {
				t.Errorf("%s: %v", p.name, err)
			}
		})
		p.send(u, "from "+p.name)
	}
	wg.Wait()
	all := append([]*person{alice, bob, carol}, others...)
	agree(u, all...)
	for _, p := range []*person{alice, bob, carol} {
		p.hears(u, "alice: from alice", "bob: from bob", "carol: from carol")
		if got := p.users(u); len(got) != 6 {
			t.Errorf("%s sees %q", p.name, got)
		}
	}
}

// TestRejoin: a device whose group is damaged comes back by itself, and what it
// wanted to say is said.
func TestRejoin(t *testing.T) {
	_, alice, bob, carol, u := three(t)
	alice.send(u, "before")
	bob.hears(u, "alice: before")
	bob.kill()
	damage := func() {
		bob.store.mu.Lock()
		defer bob.store.mu.Unlock()
		for k := range bob.store.data {
			if strings.HasPrefix(k, "mls/") && strings.HasSuffix(k, "\x00e") {
				bob.store.data[k] = []byte{1, 2, 3}
			}
		}
	}
	damage()
	alice.send(u, "while away")
	carol.hears(u, "alice: while away")
	bob.open()
	bob.run()
	bob.send(u, "I am back")
	alice.hears(u, "bob: I am back")
	alice.send(u, "welcome back")
	bob.hears(u, "alice: before", "bob: I am back", "alice: welcome back")
	agree(u, alice, bob, carol)
	if got := alice.users(u); len(got) != 3 {
		t.Errorf("participants: %q", got)
	}
	// Once more, and stopped between the commit and the log.
	bob.kill()
	damage()
	bob.f.mu.Lock()
	bob.f.holdEntries = true
	log := false
	bob.f.refuse = func(r *http.Request) *clientapi.Problem {
		if strings.HasSuffix(r.URL.Path, "/log") && !log {
			return refused(503, clientapi.CodeUnavailable, "no log today")
		}
		return nil
	}
	before := bob.f.calls["POST /v1/rooms/{room}/updates"]
	bob.f.mu.Unlock()
	bob.open()
	bob.run()
	eventually(t, "an external commit", func() bool {
		bob.f.mu.Lock()
		defer bob.f.mu.Unlock()
		return bob.f.calls["POST /v1/rooms/{room}/updates"] > before
	})
	bob.restart()
	bob.f.mu.Lock()
	bob.f.holdEntries, log = false, true
	bob.f.mu.Unlock()
	bob.send(u, "again")
	eventually(t, "Bob is back", func() bool { return bob.state(u) == "joined" })
	if err := errors.Join(alice.c.Sync(ctx10(t)), carol.c.Sync(ctx10(t))); err != nil {
		t.Fatal(err)
	}
	alice.hears(u, "bob: again")
	agree(u, alice, bob, carol)
}

// TestRejoinRefused: who was put out meanwhile stays out.
func TestRejoinRefused(t *testing.T) {
	_, alice, bob, _, u := three(t)
	bob.kill()
	bob.store.mu.Lock()
	for k := range bob.store.data {
		if strings.HasPrefix(k, "mls/") {
			delete(bob.store.data, k)
		}
	}
	bob.store.mu.Unlock()
	if err := alice.c.RemoveUser(ctx10(t), u, bob.user()); err != nil {
		t.Fatal(err)
	}
	bob.open()
	bob.run()
	await[client.RoomLeft](bob, nil)
}

// TestEpochTooOld: a message that was encrypted long ago is encrypted anew, and is
// the same message.
func TestEpochTooOld(t *testing.T) {
	f, alice, bob, carol, u := three(t)
	// Carol encrypts, but the hub does not hear her while six epochs go by.
	var mu sync.Mutex
	deaf := true
	f.mu.Lock()
	token := f.users[carol.user().String()].token
	f.refuse = func(r *http.Request) *clientapi.Problem {
		mu.Lock()
		defer mu.Unlock()
		if deaf && strings.HasSuffix(r.URL.Path, "/messages") && strings.HasSuffix(r.Header.Get("Authorization"), token) {
			return refused(503, clientapi.CodeUnavailable, "deaf")
		}
		return nil
	}
	before := f.calls["POST /v1/rooms/{room}/messages"]
	f.mu.Unlock()
	carol.send(u, "late")
	eventually(t, "an attempt", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.calls["POST /v1/rooms/{room}/messages"] > before
	})
	for range 3 {
		if err := alice.c.RemoveUser(ctx10(t), u, bob.user()); err != nil {
			t.Fatal(err)
		}
		eventually(t, "Bob is out", func() bool { return bob.state(u) == "left" })
		alice.add(u, bob)
	}
	mu.Lock()
	deaf = false
	mu.Unlock()
	alice.hears(u, "carol: late")
	bob.hears(u, "carol: late")
	carol.hears(u, "carol: late")
	a, err := alice.c.Messages(u, 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	c, err := carol.c.Messages(u, 0, 10)
	if err != nil || len(a) != 1 || len(c) != 1 || a[0].ID != c[0].ID {
		t.Errorf("Alice has %+v, Carol %+v, %v", a, c, err)
	}
}

// TestConsent: nobody is added who has not consented.
func TestConsent(t *testing.T) {
	f := newFake(t)
	f.strict = true
	alice, bob := f.person("alice", "atlanta.example"), f.person("bob", "biloxi.example")
	f.ready(bob)
	u := alice.create("clubhouse")
	if err := alice.c.AddUser(ctx10(t), u, bob.user()); !errors.Is(err, client.ErrNoConsent) {
		t.Errorf("adding without consent: %v", err)
	}
	if err := alice.c.RequestContact(ctx10(t), bob.user()); err != nil {
		t.Fatal(err)
	}
	n := await[client.ConsentChanged](bob, nil)
	if n.Requester != alice.user() || n.State != "requested" {
		t.Errorf("Bob is told %+v", n)
	}
	if err := bob.c.Accept(ctx10(t), alice.user()); err != nil {
		t.Fatal(err)
	}
	if n := await[client.ConsentChanged](alice, nil); n.State != "granted" {
		t.Errorf("Alice is told %+v", n)
	}
	alice.add(u, bob)
}

// TestUserKeyChanged: somebody who began anew is shown as such.
func TestUserKeyChanged(t *testing.T) {
	f, alice, bob, carol, u := three(t)
	bob.kill()
	if err := alice.c.RemoveUser(ctx10(t), u, bob.user()); err != nil {
		t.Fatal(err)
	}
	f.mu.Lock()
	delete(f.users, bob.user().String())
	f.mu.Unlock()
	again := f.person("bob", "biloxi.example")
	alice.add(u, again)
	for _, p := range []*person{alice, carol} {
		if n := await[client.UserKeyChanged](p, nil); n.User != again.user() || n.Room != u {
			t.Errorf("%s is told %+v", p.name, n)
		}
	}
}

// TestProviderKeyChanged: another key of a known provider is not believed, unless
// it comes with the known one.
func TestProviderKeyChanged(t *testing.T) {
	f, alice, bob, _, u := three(t)
	alice.send(u, "x")
	bob.hears(u, "alice: x")
	// The stream tells of a head that another key signed.
	f.mu.Lock()
	for _, x := range f.rooms {
		x.key = f.keys["biloxi.example"]
	}
	f.mu.Unlock()
	alice.send(u, "forged")
	n := await(bob, func(p client.Problem) bool { return errors.Is(p.Err, client.ErrLog) })
	if n.Room != u {
		t.Errorf("told of %v", n.Room)
	}
	if got := bob.texts(u); !slices.Equal(got, []string{"alice: x"}) {
		t.Errorf("Bob reads %q", got)
	}
}

// TestRegisterAgain: an answer that got lost is asked for again, with the keys of
// the first time.
func TestRegisterAgain(t *testing.T) {
	f := newFake(t)
	f.after = func(r *http.Request) *clientapi.Problem {
		f.after = nil
		return refused(503, clientapi.CodeUnavailable, "gone")
	}
	store := newMemory()
	web := &http.Client{Transport: &http.Transport{}}
	defer web.CloseIdleConnections()
	register := func() error {
		c, err := client.Open(client.Config{Storage: store, HTTP: web})
		if err != nil {
			t.Fatal(err)
		}
		return c.Register(context.Background(), f.url("atlanta.example"), "alice", "phone")
	}
	var p *clientapi.Problem
	if err := register(); !errors.As(err, &p) || p.Status != 503 {
		t.Fatalf("first: %v", err)
	}
	f.mu.Lock()
	first := true
	f.after = func(r *http.Request) *clientapi.Problem {
		if first && strings.HasSuffix(r.URL.Path, "/accounts") {
			first = false
			return refused(503, clientapi.CodeUnavailable, "gone")
		}
		return nil
	}
	f.mu.Unlock()
	if err := register(); !errors.As(err, &p) || p.Status != 503 {
		t.Fatalf("second: %v", err)
	}
	if err := register(); err != nil {
		t.Fatalf("third: %v", err)
	}
	if err := register(); !errors.Is(err, client.ErrRegistered) {
		t.Errorf("fourth: %v", err)
	}
}

// TestDiscover: a claim is believed if it verifies here, whatever the own provider
// says of it.
func TestDiscover(t *testing.T) {
	f := newFake(t)
	alice, bob := f.person("alice", "atlanta.example"), f.person("bob", "biloxi.example")
	if err := bob.c.Publish(ctx10(t), "handle:bob"); err != nil {
		t.Fatal(err)
	}
	got, err := alice.c.Discover(ctx10(t), "handle:bob")
	if err != nil || len(got.Found) != 1 || got.Found[0].User != bob.user().String() || got.Failed != 0 || got.Asked != 2 {
		t.Fatalf("found %+v, %v", got, err)
	}
	// Shown as somebody else's, under another identifier, or not a claim at all.
	f.mu.Lock()
	mallory := *f.claims[0]
	mallory.User = alice.user().String()
	f.claims = append(f.claims, &mallory, &clientapi.Found{User: bob.user().String(), Claim: []byte("claim")})
	f.mu.Unlock()
	if got, err = alice.c.Discover(ctx10(t), "handle:bob"); err != nil || len(got.Found) != 1 || got.Failed != 2 {
		t.Errorf("found %+v, %v", got, err)
	}
	if got, err = alice.c.Discover(ctx10(t), "handle:robert"); err != nil || len(got.Found) != 0 || got.Failed != 3 {
		t.Errorf("found %+v, %v", got, err)
	}
	if err := bob.c.Unpublish(ctx10(t), "handle:bob"); err != nil {
		t.Error(err)
	}
	if _, err := alice.c.Discover(ctx10(t), "no identifier"); err == nil {
		t.Error("something was searched for that is no identifier")
	}
}

// TestSecondWelcome: a copy of a Welcome, or one that conflicts, changes nothing.
func TestSecondWelcome(t *testing.T) {
	f, alice, bob, carol, u := three(t)
	f.mu.Lock()
	b, c := f.users[bob.user().String()], f.users[carol.user().String()]
	for _, from := range []*fakeUser{b, c} {
		for _, e := range from.feed {
			if e.kind == clientapi.EventWelcome {
				b.feed = append(b.feed, e)
				break
			}
		}
	}
	b.feed = append(b.feed, fakeEvent{clientapi.EventWelcome, []byte(`{"room":"zz"}`)}, fakeEvent{"entries", []byte(`{`)}, fakeEvent{"news", []byte(`{}`)})
	f.mu.Unlock()
	alice.send(u, "go on")
	bob.hears(u, "alice: go on")
	agree(u, alice, bob, carol)
}

// TestHubBreaksRules: an entry that the rules do not know, under the hub's own
// signature, ends the room here and is told of.
func TestHubBreaksRules(t *testing.T) {
	f, _, bob, _, u := three(t)
	f.mu.Lock()
	for _, x := range f.rooms {
		f.order(x, x.state.NewEntry(room.KindTombstone, room.TxnID{}, (&room.Tombstone{}).Bytes(), f.now()))
	}
	f.mu.Unlock()
	if p := await(bob, func(p client.Problem) bool { return errors.Is(p.Err, room.ErrKind) }); p.Room != u {
		t.Errorf("told %+v", p)
	}
	if s := bob.state(u); s != "stopped" {
		t.Errorf("the room is %s", s)
	}
	bob.restart()
	if s := bob.state(u); s != "stopped" {
		t.Errorf("after a restart the room is %s", s)
	}
	if _, err := bob.c.Verify(ctx10(t), u); !errors.Is(err, client.ErrNotReady) {
		t.Errorf("Verify: %v", err)
	}
}

// TestUnauthorized: a device that was removed is told so and keeps what it has.
func TestUnauthorized(t *testing.T) {
	f, alice, bob, _, u := three(t)
	alice.send(u, "x")
	bob.hears(u, "alice: x")
	bob.kill()
	f.mu.Lock()
	delete(f.devices, f.users[bob.user().String()].token)
	f.mu.Unlock()
	bob.restart()
	bob.send(u, "y")
	await(bob, func(p client.Problem) bool {
		var x *clientapi.Problem
		return errors.As(p.Err, &x) && x.Code == clientapi.CodeUnauthorized
	})
	if got := bob.texts(u); !slices.Equal(got, []string{"alice: x", "bob: y (queued)"}) {
		t.Errorf("Bob has %q", got)
	}
}

// TestMoveElsewhere: the own provider orders a room by this device's log, and has acknowledged
// that it is moved elsewhere. That is not what the user wants, and does not succeed at once.
func TestMoveElsewhere(t *testing.T) {
	f, alice, _, _, u := three(t)
	if err := alice.c.MoveRoom(ctx10(t), u); err != nil {
		t.Errorf("a room that is here: %v", err)
	}
	f.mu.Lock()
	f.movingTo = "biloxi.example"
	f.mu.Unlock()
	if err := alice.c.MoveRoom(ctx10(t), u); !errors.Is(err, client.ErrMoving) || !strings.Contains(err.Error(), "moved to biloxi.example") {
		t.Errorf("a room that is being moved to biloxi: %v", err)
	}
	f.mu.Lock()
	f.movingTo = "atlanta.example" // its own move, under way
	f.mu.Unlock()
	if err := alice.c.MoveRoom(ctx10(t), u); err != nil {
		t.Errorf("a room that is being moved here: %v", err)
	}
}

// TestMoveFromItself: the own provider orders a room, and stands still in it because two
// histories of it are final. Then it may go on in a later era, with its own history.
func TestMoveFromItself(t *testing.T) {
	f, alice, _, _, u := three(t)
	asked := make(chan *room.Hosting, 1)
	f.mu.Lock()
	f.conflict = &clientapi.Conflict{From: 1}
	f.moves = func(b *wire.HandshakeBundle) error {
		h, err := room.HostingOf(&b.GroupInfo.Full.Context)
		if err == nil {
			select {
			case asked <- h:
			default:
			}
		}
		return refused(503, clientapi.CodeUnavailable, "a proof is lacking")
	}
	f.mu.Unlock()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- alice.c.MoveRoom(ctx, u) }()
	select {
	case h := <-asked:
		if h.Hub.Domain != "atlanta.example" || h.Term != (room.Term{Era: 1, Number: 1}) {
			t.Errorf("it is moved to %s in %s", h.Hub.Domain, h.Term)
		}
	case err := <-done:
		t.Fatalf("nothing was asked for: %v", err)
	case <-time.After(time.Minute):
		t.Fatal("nothing is asked for")
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("it is said to be done: %v", err)
	}
}

// TestToldOfConflict: whose provider stands still in a room because two histories of it are
// final is told so, who has certified both, and what is to be done.
func TestToldOfConflict(t *testing.T) {
	f, alice, bob, _, u := three(t)
	f.mu.Lock()
	f.tellHub(&clientapi.HubState{Room: room.IDOf([]byte(u.String())).String(), Hub: "atlanta.example", Stopped: true,
		Conflict: &clientapi.Conflict{From: 7, Liars: []string{"atlanta.example", "chicago.example"}}})
	f.mu.Unlock()
	for _, p := range []*person{alice, bob} {
		got := await(p, func(x client.Problem) bool { return errors.Is(x.Err, client.ErrConflict) })
		for _, s := range []string{"atlanta.example, chicago.example certified two histories", "from entry 7 on", "client room move"} {
			if got.Room != u || !strings.Contains(got.Err.Error(), s) {
				t.Errorf("%s is told %v, without %q", p.name, got.Err, s)
			}
		}
	}
}
