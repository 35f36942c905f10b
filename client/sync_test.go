package client_test

import (
	"testing"
	"time"
)

// TestSyncHearsOfTheEnd: who was taken out of a room, and looks in for a moment only, knows of it
// when it has caught up. Of such a room the provider lists nothing.
func TestSyncHearsOfTheEnd(t *testing.T) {
	f := newFake(t)
	alice, bob := f.person("alice", "atlanta.example"), f.person("bob", "biloxi.example")
	u := alice.create("clubhouse")
	alice.add(u, bob)
	alice.send(u, "hello")
	bob.hears(u, "alice: hello")
	f.set(func() { f.apart = true }) // bob's stream is late
	if err := alice.c.RemoveUser(ctx10(t), u, bob.user()); err != nil {
		t.Fatal(err)
	}
	calls := func() (n int) { f.set(func() { n = f.calls["GET /v1/rooms"] }); return n }
	before := calls()
	synced := make(chan string, 1)
	go func() {
		err := bob.c.Sync(ctx10(t))
		s := string(bob.state(u))
		if err != nil {
			s = err.Error()
		}
		synced <- s
	}()
	eventually(t, "bob's device asks for its rooms", func() bool { return calls() > before })
	time.Sleep(150 * time.Millisecond)      // in which it would take itself for up to date
	bob.ahead.Add(-int64(10 * time.Minute)) // on a slow machine, too, it is patient
	f.meet()
	if s := <-synced; s != "left" {
		t.Errorf("bob is up to date, and in the room: %s", s)
	}
}
