package client_test

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/mimid/mimid/client"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/content"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
)

// foreign says whether an event is about a room of another provider, and is not to be heard.
func (f *fake) foreign(u *fakeUser, v any) bool {
	name := ""
	switch v := v.(type) {
	case *clientapi.Entries:
		name = v.Room
	case *clientapi.Welcome:
		name = v.Room
	}
	id, err := hex.DecodeString(name)
	if !f.apart || err != nil || len(id) != len(room.ID{}) {
		return false
	}
	who, _ := uri.ParseUser(u.uri)
	x := f.rooms[room.ID(id)]
	return x != nil && x.state.URI().Provider() != who.Provider()
}

// meet lets providers hear of each other's rooms again.
func (f *fake) meet() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.apart = false
	for _, u := range f.devices {
		u.feed, u.held = append(u.feed, u.held...), nil
		close(u.wake)
		u.wake = make(chan struct{})
	}
}

// direct returns the pair's room, which is made if there is none.
func (p *person) direct(with *person) uri.Room {
	p.t.Helper()
	u, err := p.c.Direct(ctx10(p.t), with.user())
	if err != nil {
		p.t.Fatalf("%s and %s: %v", p.name, with.name, err)
	}
	return u
}

// said lists the conversation of a room, each message with its state if that is not final.
func (p *person) said(u uri.Room) (out []string) {
	p.t.Helper()
	list, err := p.c.Conversation(u)
	if err != nil {
		p.t.Fatal(err)
	}
	for _, s := range list {
		line := s.Sender.Name() + ": " + s.Text
		if s.State != client.StateFinal {
			line += " (" + string(s.State) + ")"
		}
		for _, x := range s.Reactions {
			line += " " + x.Reaction
		}
		out = append(out, line)
	}
	return out
}

// converse waits until exactly this is said in a room, in whatever order.
func (p *person) converse(u uri.Room, want ...string) {
	p.t.Helper()
	slices.Sort(want)
	var got []string
	defer func() {
		if p.t.Failed() {
			p.t.Logf("%s has %q", p.name, got)
		}
	}()
	eventually(p.t, fmt.Sprintf("%s has %q", p.name, want), func() bool {
		got = p.said(u)
		slices.Sort(got)
		return slices.Equal(got, want)
	})
}

// live lists the direct rooms with somebody that are neither ended nor have yielded.
func (p *person) live(with *person) (out []uri.Room) {
	p.t.Helper()
	list, err := p.c.Rooms(ctx10(p.t))
	if err != nil {
		p.t.Fatal(err)
	}
	for _, r := range list {
		if r.Direct == with.user() && r.State != "left" && r.State != "stopped" {
			out = append(out, r.URI)
		}
	}
	return out
}

// TestDirect: there is one room for two, whoever asks for it; groups of the same two are
// other rooms.
func TestDirect(t *testing.T) {
	f := newFake(t)
	alice, bob := f.person("alice", "atlanta.example"), f.person("bob", "biloxi.example")
	f.ready(alice)
	f.ready(bob)
	u := alice.direct(bob)
	eventually(t, "bob comes in", func() bool { return bob.state(u) == "joined" })
	if x, y := bob.direct(alice), alice.direct(bob); x != u || y != u {
		t.Errorf("the rooms are %s, %s and %s", u, x, y)
	}
	group := alice.create("one")
	alice.add(group, bob)
	other := alice.create("two")
	alice.add(other, bob)
	if group == other || alice.direct(bob) != u {
		t.Error("groups are not told apart")
	}
	alice.send(u, "hello")
	bob.send(u, "hi")
	for _, p := range []*person{alice, bob} {
		p.converse(u, "alice: hello", "bob: hi")
	}
	agree(u, alice, bob)
	if _, err := alice.c.Direct(ctx10(t), alice.user()); err == nil {
		t.Error("a direct room with oneself")
	}
}

// TestDirectRace: both make one at once, at two hubs, and say something before they know of
// the other's. One room is left, and each message is there once, on both sides: what was in
// the log of the one that yields, and what was on its way.
func TestDirectRace(t *testing.T) {
	for _, stuck := range []bool{false, true} {
		t.Run(fmt.Sprintf("stuck %v", stuck), func(t *testing.T) {
			f := newFake(t)
			alice, bob := f.person("alice", "atlanta.example"), f.person("bob", "biloxi.example")
			f.ready(alice)
			f.ready(bob)
			f.set(func() { f.apart = true })
			a, b := alice.direct(bob), bob.direct(alice)
			lower, higher := a, b
			if room.Precedes(b, a) {
				lower, higher = b, a
			}
			alice.send(a, "from alice")
			bob.send(b, "from bob")
			for _, u := range []uri.Room{a, b} {
				who := map[uri.Room]*person{a: alice, b: bob}[u]
				who.converse(u, who.name+": from "+who.name)
			}
			if stuck { // two more are on their way when the room ends
				gone := "/v1/rooms/" + room.IDOf([]byte(higher.String())).String() + "/messages"
				f.set(func() {
					f.refuse = func(r *http.Request) *clientapi.Problem {
						if strings.HasSuffix(r.URL.Path, gone) {
							return refused(503, clientapi.CodeUnavailable, "stuck")
						}
						return nil
					}
				})
			}
			i, j := alice.send(a, "more from alice"), bob.send(b, "more from bob")
			want := []string{"alice: from alice", "bob: from bob", "alice: more from alice", "bob: more from bob"}
			if stuck { // and a change of one of them, which names it as in the room that yields
				who, index, other := alice, i, 2
				if higher == b {
					who, index, other = bob, j, 3
				}
				if err := who.says(higher, must(who.c.About(higher, index, client.Editing("changed")))(t)); err != nil {
					t.Fatal(err)
				}
				want[other] = who.name + ": changed"
			}
			f.meet()
			for _, p := range []*person{alice, bob} {
				other := map[*person]*person{alice: bob, bob: alice}[p]
				eventually(t, p.name+" has one room", func() bool { return slices.Equal(p.live(other), []uri.Room{lower}) })
				for _, u := range []uri.Room{a, b} { // whichever name is used
					p.converse(u, want...)
				}
				if u := p.direct(other); u != lower {
					t.Errorf("%s is given %s, not %s", p.name, u, lower)
				}
			}
			// The name of the room that yielded means the other.
			alice.send(a, "one")
			alice.send(b, "two")
			want = append(want, "alice: one", "alice: two")
			bob.converse(lower, want...)
			agree(lower, alice, bob)
			for _, p := range []*person{alice, bob} {
				p.restart()
			}
			for _, p := range []*person{alice, bob} {
				p.converse(a, want...)
			}
		})
	}
}

// TestDirectEnds: to leave it is to end it for both. What was said stays, nothing more is sent
// in it, and who wants it again makes another.
func TestDirectEnds(t *testing.T) {
	f := newFake(t)
	alice, bob := f.person("alice", "atlanta.example"), f.person("bob", "biloxi.example")
	f.ready(alice)
	f.ready(bob)
	u := alice.direct(bob)
	alice.send(u, "hello")
	bob.converse(u, "alice: hello")
	if err := bob.c.Leave(ctx10(t), u); err != nil {
		t.Fatal(err)
	}
	for _, p := range []*person{alice, bob} {
		eventually(t, p.name+" is out", func() bool { return p.state(u) == "left" })
		if _, err := p.c.Send(ctx10(t), u, "more"); !errors.Is(err, client.ErrNoRoom) {
			t.Errorf("%s writes on: %v", p.name, err)
		}
	}
	again := alice.direct(bob)
	if again == u {
		t.Fatal("it is the room that has ended")
	}
	alice.send(again, "once more")
	bob.converse(again, "alice: once more")
	bob.converse(u, "alice: hello")
	if x := bob.direct(alice); x != again {
		t.Errorf("bob is given %s, not %s", x, again)
	}
	if r, err := bob.c.FindRoom(ctx10(t), "alice@atlanta.example"); err != nil || r.URI != again {
		t.Errorf("alice's name means %s, %v", r.URI, err)
	}
}

// TestDirectAlone: the other's KeyPackages have run out, so it comes in later, by itself. What
// was said meanwhile has waited, and can be read.
func TestDirectAlone(t *testing.T) {
	f := newFake(t)
	alice, bob := f.person("alice", "atlanta.example"), f.person("bob", "biloxi.example")
	f.ready(alice)
	f.ready(bob)
	bob.kill()
	f.set(func() { x := f.users[bob.user().String()]; x.packages, x.last = nil, nil })
	u := alice.direct(bob)
	alice.send(u, "are you there?")
	alice.converse(u, "alice: are you there? (queued)")
	if err := alice.c.Settle(ctx10(t)); err != nil {
		t.Errorf("a program cannot end: %v", err)
	}
	alice.restart()
	bob.open()
	bob.run()
	bob.converse(u, "alice: are you there?")
	alice.converse(u, "alice: are you there?")
	if x := bob.direct(alice); x != u {
		t.Errorf("bob is given %s", x)
	}
}

// TestDirectRefused: without consent there is no room, not even an empty one.
func TestDirectRefused(t *testing.T) {
	f := newFake(t)
	f.strict = true
	alice, bob := f.person("alice", "atlanta.example"), f.person("bob", "biloxi.example")
	if _, err := alice.c.Direct(ctx10(t), bob.user()); !errors.Is(err, client.ErrNoConsent) {
		t.Errorf("without consent: %v", err)
	}
	if list, err := alice.c.Rooms(ctx10(t)); len(list) > 0 || err != nil {
		t.Errorf("there are %v, %v", list, err)
	}
}

// TestDirectAbout: answers, reactions and edits find what was said in the room that has
// yielded, and what was on its way when it did.
func TestDirectAbout(t *testing.T) {
	f := newFake(t)
	alice, bob := f.person("alice", "atlanta.example"), f.person("bob", "biloxi.example")
	f.ready(alice)
	f.ready(bob)
	lower := alice.direct(bob)
	eventually(t, "bob comes in", func() bool { return bob.state(lower) == "joined" })
	f.set(func() { f.apart = true })
	// Bob's other device could have made it. Here it is he himself, who is not asked.
	higher, err := bob.c.AnotherDirect(ctx10(t), alice.user(), func(u uri.Room) bool { return room.Precedes(lower, u) })
	if err != nil {
		t.Fatal(err)
	}
	stop := "/v1/rooms/" + room.IDOf([]byte(higher.String())).String() + "/updates"
	f.set(func() { // it cannot be ended yet, once alice is in it
		f.refuse = func(r *http.Request) *clientapi.Problem {
			if x := f.rooms[room.IDOf([]byte(higher.String()))]; x != nil && len(x.entries) > 1 && strings.HasSuffix(r.URL.Path, stop) {
				return refused(503, clientapi.CodeUnavailable, "not now")
			}
			return nil
		}
	})
	eventually(t, "alice's device is added", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		x := f.rooms[room.IDOf([]byte(higher.String()))]
		return x != nil && len(x.entries) > 1
	})
	if err := bob.c.SendIn(ctx10(t), higher, text("in the other")); err != nil {
		t.Fatal(err)
	}
	bob.converse(lower, "bob: in the other")
	f.meet()
	alice.converse(lower, "bob: in the other") // though that room has not ended
	n := await(alice, func(n client.MessageReceived) bool { return n.Message.Text == "in the other" })
	if n.Room != lower || n.Message.Room != higher {
		t.Errorf("told of in %s, said in %s", n.Room, n.Message.Room)
	}
	react := must(alice.c.About(lower, n.Message.Index, client.Reacting("👍")))(t)
	if err := alice.says(lower, react); err != nil {
		t.Fatal(err)
	}
	for _, p := range []*person{alice, bob} {
		p.converse(lower, "bob: in the other 👍")
	}
	// The same again, in the other room, is the same message; its sender's device would not say
	// it again. What comes after it shows that it has come.
	for _, m := range []*content.Message{n.Message.Content, text("after it")} {
		if err := bob.says(lower, m); err != nil {
			t.Fatal(err)
		}
	}
	alice.converse(lower, "bob: in the other 👍", "bob: after it")
	f.set(func() { f.refuse = nil })
	for _, p := range []*person{alice, bob} {
		eventually(t, p.name+" has left the other", func() bool { return p.state(higher) == "left" })
	}
	alice.converse(lower, "bob: in the other 👍", "bob: after it")
}

// TestDirectLate: a message that comes to the hub after the room's end, because its sender had
// not heard of that, is sent in the room that goes on.
func TestDirectLate(t *testing.T) {
	f := newFake(t)
	alice, bob := f.person("alice", "atlanta.example"), f.person("bob", "biloxi.example")
	f.ready(alice)
	f.ready(bob)
	u := bob.direct(alice)
	eventually(t, "alice comes in", func() bool { return alice.state(u) == "joined" })
	lower, err := bob.c.AnotherDirect(ctx10(t), alice.user(), func(x uri.Room) bool {
		if room.Precedes(x, u) {
			f.set(func() { f.apart = true }) // alice hears of nothing
			return true
		}
		return false
	})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "bob has ended it", func() bool { return bob.state(u) == "left" })
	calls := func() int { f.mu.Lock(); defer f.mu.Unlock(); return f.calls["POST /v1/rooms/{room}/messages"] }
	before := calls()
	alice.send(u, "too late")
	eventually(t, "the hub is asked", func() bool { return calls() > before })
	f.meet()
	for _, p := range []*person{alice, bob} {
		p.converse(lower, "alice: too late")
	}
}

// TestDirectWelcomed: a device that comes in by itself, and is refused, is welcomed before it
// hears of the refusal: it is in.
func TestDirectWelcomed(t *testing.T) {
	f := newFake(t)
	alice, bob := f.person("alice", "atlanta.example"), f.person("bob", "biloxi.example")
	f.ready(alice)
	f.ready(bob)
	f.set(func() { f.apart = true })
	u := alice.direct(bob)
	eventually(t, "bob is added", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return len(f.rooms[room.IDOf([]byte(u.String()))].entries) > 1
	})
	bob.kill()
	network := bob.http.Transport
	asked := make(chan struct{}, 10)
	bob.http.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
		if !strings.HasSuffix(r.URL.Path, "/groupinfo") {
			return network.RoundTrip(r)
		}
		f.meet()
		eventually(t, "bob is welcomed", func() bool { return bob.state(u) == "joined" })
		asked <- struct{}{}
		body := `{"status":404,"code":"not_found","detail":"no such room"}`
		return &http.Response{StatusCode: 404, Header: http.Header{"Content-Type": {"application/problem+json"}}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
	})
	f.set(func() { // only the Welcome is held
		for _, x := range f.devices {
			if x.uri == bob.user().String() {
				held := x.held
				x.held = nil
				for _, e := range held {
					if e.kind == clientapi.EventWelcome {
						x.held = append(x.held, e)
					}
				}
			}
		}
		f.listed = true
	})
	bob.open()
	bob.run()
	<-asked
	alice.send(u, "hello")
	bob.converse(u, "alice: hello")
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func text(s string) *content.Message { return content.New(content.Origin{}, content.Text(s)) }

// TestDirectHostile: what a hostile device of the other may do to a direct room is bounded.
func TestDirectHostile(t *testing.T) {
	begin := func(t *testing.T) (*fake, *person, *person, uri.Room) {
		f := newFake(t)
		alice, bob := f.person("alice", "atlanta.example"), f.person("bob", "biloxi.example")
		f.ready(alice)
		f.ready(bob)
		u := bob.direct(alice)
		eventually(t, "alice comes in", func() bool { return alice.state(u) == "joined" })
		return f, alice, bob, u
	}
	t.Run("ends towards a group", func(t *testing.T) {
		_, alice, bob, u := begin(t)
		var group uri.Room
		for group.IsZero() || !room.Precedes(group, u) {
			group = bob.create("trap")
		}
		bob.add(group, alice)
		if err := bob.c.DestroyTowards(ctx10(t), u, group); err != nil {
			t.Fatal(err)
		}
		eventually(t, "alice is out", func() bool { return alice.state(u) == "left" })
		if x, err := alice.c.Current(ctx10(t), u); x != u || err != nil {
			t.Errorf("alice was led to %s, %v", x, err)
		}
		if _, err := alice.c.Send(ctx10(t), u, "secret"); !errors.Is(err, client.ErrNoRoom) {
			t.Errorf("alice sends: %v", err)
		}
		await(alice, func(n client.Problem) bool { return strings.Contains(n.Err.Error(), "which is none") })
		if x := alice.direct(bob); x == u || x == group {
			t.Errorf("alice is given %s", x)
		}
	})
	t.Run("ends towards an unknown group", func(t *testing.T) { // which alice could enter
		f, alice, bob, u := begin(t)
		carol := f.person("carol", "chicago.example")
		var group uri.Room
		for group.IsZero() || !room.Precedes(group, u) {
			open := must(policy.Basic().OpenTo(policy.Member))(t)
			group = must(carol.c.CreateRoomAs(ctx10(t), client.NewRoom{Name: "trap", Roles: open}))(t)
		}
		f.set(func() { // what alice says is on its way when the room ends
			f.refuse = func(r *http.Request) *clientapi.Problem {
				if strings.HasSuffix(r.URL.Path, room.IDOf([]byte(u.String())).String()+"/messages") {
					return refused(503, clientapi.CodeUnavailable, "stuck")
				}
				return nil
			}
		})
		i := alice.send(u, "on its way")
		if err := bob.c.DestroyTowards(ctx10(t), u, group); err != nil {
			t.Fatal(err)
		}
		await(alice, func(n client.SendState) bool { return n.Index == i && n.State == client.StateFailed })
		await(alice, func(n client.Problem) bool { return strings.Contains(n.Err.Error(), "which could not be entered") })
		if s := alice.state(group); s != "" {
			t.Errorf("alice's device is in a room with carol: %s", s)
		}
		alice.converse(u, "alice: on its way (failed)")
	})
	t.Run("makes many", func(t *testing.T) {
		f, alice, bob, _ := begin(t)
		for n := range 20 {
			x, err := bob.c.AnotherDirect(ctx10(t), alice.user(), func(uri.Room) bool { return true })
			if err != nil {
				t.Fatal(err)
			}
			eventually(t, fmt.Sprintf("room %d is there", n), func() bool {
				f.mu.Lock()
				defer f.mu.Unlock()
				r := f.rooms[room.IDOf([]byte(x.String()))]
				return r != nil && len(r.entries) > 1
			})
		}
		await(alice, func(n client.Problem) bool { return strings.Contains(n.Err.Error(), "too many direct rooms") })
		if err := alice.c.Sync(ctx10(t)); err != nil {
			t.Fatal(err)
		}
		// One at most: the last may have been ended towards one that came too late.
		eventually(t, "one is left", func() bool { return len(alice.live(bob)) <= 1 })
		list, err := alice.c.Rooms(ctx10(t))
		if n := len(list); err != nil || n != 8 {
			t.Errorf("alice's device has %d rooms, %v", n, err)
		}
	})
	t.Run("writes on in the one that yields", func(t *testing.T) {
		f, alice, bob, u := begin(t)
		alice.send(u, "first")
		bob.converse(u, "alice: first")
		lower, err := bob.c.AnotherDirect(ctx10(t), alice.user(), func(x uri.Room) bool { return room.Precedes(x, u) })
		if err != nil {
			t.Fatal(err)
		}
		id := room.IDOf([]byte(u.String()))
		f.set(func() { // its hub does not end it
			f.refuse = func(r *http.Request) *clientapi.Problem {
				if strings.HasSuffix(r.URL.Path, id.String()+"/updates") {
					return refused(503, clientapi.CodeUnavailable, "no")
				}
				return nil
			}
		})
		eventually(t, "alice is in both", func() bool { return alice.state(lower) == "joined" && alice.state(u) == "joined" })
		alice.converse(lower, "alice: first") // carried over
		first := must(alice.c.Messages(lower, 0, 1))(t)[0]
		for _, m := range []*content.Message{text("one"), content.Delete(content.Origin{}, first.Content, first.ID), text("two")} {
			if err := bob.c.SendIn(ctx10(t), u, m); err != nil {
				t.Fatal(err)
			}
		}
		alice.send(u, "here") // is sent in the other
		want := []string{"alice: first", "bob: one", "bob: two", "alice: here"}
		alice.converse(lower, want...)
		alice.converse(u, want...)
		await(alice, func(n client.Problem) bool { return strings.Contains(n.Err.Error(), "lacks canDeleteOtherMessage") })
		for _, m := range must(alice.c.Messages(lower, 0, 100))(t) {
			if yields := m.Room == u; yields == (m.Text == "here") {
				t.Errorf("%q was said in %s", m.Text, m.Room)
			}
		}
	})
}

// TestDirectInterleaved: in whatever order two people make direct rooms, write, meet, lose sight of
// each other and restart, in the end they have one room, the same, and each
// message is there once, on both sides.
func TestDirectInterleaved(t *testing.T) {
	seeds := 12
	if testing.Short() {
		seeds = 4
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(1, uint64(seed)))
			f := newFake(t)
			people := []*person{f.person("alice", "atlanta.example"), f.person("bob", "biloxi.example")}
			for _, p := range people {
				f.ready(p)
			}
			f.set(func() { f.apart = true })
			var want, story []string
			defer func() {
				if t.Failed() {
					t.Log(story)
					for _, p := range people {
						list, err := p.c.Rooms(ctx10(t))
						for _, r := range list {
							t.Logf("%s: %s %s %q -> %s, %q, %v", p.name, r.URI, r.State, r.Reason, r.Successor, p.texts(r.URI), err)
						}
					}
				}
			}()
			for n := range 14 {
				p, other := people[n%2], people[1-n%2]
				switch x := random.IntN(10); {
				case x < 6:
					text := fmt.Sprint(n)
					if u := p.direct(other); random.IntN(2) == 0 {
						story = append(story, p.name+" says "+text)
						p.send(u, text)
					} else { // and is restarted before it can be sent
						story = append(story, p.name+" says "+text+" and restarts")
						p.send(u, text)
						p.restart()
					}
					want = append(want, p.name+": "+text)
				case x < 8:
					story = append(story, "meet")
					f.meet()
				case x < 9:
					story = append(story, "part")
					f.set(func() { f.apart = true })
				default:
					story = append(story, p.name+" restarts")
					p.restart()
				}
			}
			f.meet()
			rooms := make([]uri.Room, 2)
			for i, p := range people {
				rooms[i] = p.direct(people[1-i])
				p.converse(rooms[i], slices.Clone(want)...)
				eventually(t, p.name+" has one room", func() bool { return len(p.live(people[1-i])) == 1 })
				rooms[i] = p.direct(people[1-i])
			}
			if rooms[0] != rooms[1] {
				t.Fatalf("alice has %s, bob %s", rooms[0], rooms[1])
			}
			for _, p := range people {
				p.converse(rooms[0], slices.Clone(want)...)
			}
			agree(rooms[0], people...)
		})
	}
}

// TestDirectCrash has one device fail at each of its transactions while a direct room yields to
// another: each message is there once, whatever was written.
func TestDirectCrash(t *testing.T) {
	steps, stride := 0, 1
	if testing.Short() {
		stride = 3
	}
	for _, happened := range []bool{false, true} {
		for at := 1; at < 60; at += stride {
			done := false
			t.Run(fmt.Sprintf("at %d, happened %v", at, happened), func(t *testing.T) { done = directCrash(t, at, happened) })
			if steps++; t.Failed() {
				return
			}
			if done {
				break
			}
		}
	}
	if steps < 12/stride {
		t.Errorf("only %d steps", steps)
	}
}

func directCrash(t *testing.T, at int, happened bool) (done bool) {
	f := newFake(t)
	alice, bob := f.person("alice", "atlanta.example"), f.person("bob", "biloxi.example")
	f.ready(alice)
	f.ready(bob)
	f.set(func() { f.apart = true })
	a, b := alice.direct(bob), bob.direct(alice)
	alice.send(a, "one")
	bob.send(b, "two")
	alice.converse(a, "alice: one")
	bob.converse(b, "bob: two")
	crashing := alice // the one whose room yields
	if room.Precedes(a, b) {
		crashing = bob
	}
	mine := map[*person]uri.Room{alice: a, bob: b}[crashing]
	f.set(func() {
		f.refuse = func(r *http.Request) *clientapi.Problem {
			if strings.HasSuffix(r.URL.Path, room.IDOf([]byte(mine.String())).String()+"/messages") {
				return refused(503, clientapi.CodeUnavailable, "stuck")
			}
			return nil
		}
	})
	crashing.send(mine, "three")
	crashing.store.mu.Lock()
	crashing.store.failAt, crashing.store.happened = crashing.store.updates+at, happened
	crashing.store.mu.Unlock()
	f.meet()
	crashed := false
	want := []string{"alice: one", "bob: two", crashing.name + ": three"}
	slices.Sort(want)
	for _, p := range []*person{alice, bob} {
		eventually(t, fmt.Sprintf("%s has %q", p.name, want), func() bool {
			select {
			case err := <-crashing.ended:
				if !errors.Is(err, client.ErrStorage) {
					t.Fatalf("Run ended with %v", err)
				}
				crashed = true
				crashing.store = crashing.store.reopened()
				crashing.open()
				crashing.run()
			default:
			}
			got := p.said(a)
			slices.Sort(got)
			return slices.Equal(got, want)
		})
	}
	return !crashed
}
