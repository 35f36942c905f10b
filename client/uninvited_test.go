package client_test

import (
	"errors"
	"testing"
	"time"

	"github.com/mimid/mimid/client"
	"github.com/mimid/mimid/protocol/uri"
)

// TestUninvited: a hub that lies puts somebody on a room's list who has let nobody there add it.
// Its device does not come in by itself, and its user is told; it comes in when the user says
// so, or when somebody with a device in the room may add it after all.
func TestUninvited(t *testing.T) {
	f := newFake(t)
	mallory, alice := f.person("mallory", "atlanta.example"), f.person("alice", "atlanta.example")
	erin, frank := f.person("erin", "biloxi.example"), f.person("frank", "biloxi.example")
	u := mallory.create("den")
	for _, p := range []*person{alice, erin, frank} {
		f.ready(p)
	}
	mallory.add(u, alice)
	f.mu.Lock()
	f.shy = true // nobody has consented, and KeyPackages are asked for all the same
	for _, p := range []*person{erin, frank} {
		x := f.users[p.user().String()]
		x.packages, x.last = nil, nil
	}
	f.mu.Unlock()
	got, err := mallory.c.AddUsers(ctx10(t), u, []uri.User{erin.user(), frank.user()})
	if err != nil || got[0].State != client.AddListed || got[1].State != client.AddListed {
		t.Fatalf("%+v, %v", got, err)
	}
	for _, p := range []*person{erin, frank} {
		uninvited := func(x client.Problem) bool { return errors.Is(x.Err, client.ErrUninvited) && x.Room == u }
		await(p, uninvited)
		if err := p.c.Sync(ctx10(t)); err != nil {
			t.Fatal(err)
		}
		for more := true; more; {
			select {
			case n := <-p.c.Events():
				if x, ok := n.(client.Problem); ok && uninvited(x) {
					t.Errorf("%s was told again", p.user())
				}
			default:
				more = false
			}
		}
	}
	looks := func() int {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.calls["GET /v1/consent"] // asked in each look, while there is such a room
	}
	before := looks()
	mallory.send(u, "are you there?")
	alice.hears(u, "mallory: are you there?")
	for _, p := range []*person{erin, frank} {
		p.ahead.Add(int64(3 * time.Second)) // longer than a Welcome is waited for
	}
	mallory.send(u, "hello?")
	alice.hears(u, "mallory: are you there?", "mallory: hello?")
	time.Sleep(300 * time.Millisecond) // in which they would look
	if n := looks(); n != before {
		t.Errorf("messages made them look %d times", n-before)
	}
	for _, p := range []*person{erin, frank} {
		if s := p.state(u); s != "" {
			t.Errorf("%s's device is %s", p.user(), s)
		}
	}
	// Erin wants to, and Frank lets alice add him.
	if _, err := erin.c.JoinRoom(ctx10(t), u.String()); err != nil {
		t.Fatal(err)
	}
	f.mu.Lock()
	f.grants[alice.user().String()+" "+frank.user().String()] = true
	f.mu.Unlock()
	frank.restart() // as after an hour
	eventually(t, "frank joins", func() bool { return frank.state(u) == "joined" })
	frank.send(u, "I am")
	erin.hears(u, "frank: I am")
}
