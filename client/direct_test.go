package client_test

import (
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/mimid/mimid/client"
	"github.com/mimid/mimid/protocol/clientapi"
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
			alice.send(a, "more from alice")
			bob.send(b, "more from bob")
			f.meet()
			want := []string{"alice: from alice", "bob: from bob", "alice: more from alice", "bob: more from bob"}
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
