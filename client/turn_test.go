package client_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
)

// looksIn has a device that was away run as long as it takes to catch up, and no longer. Its
// clock goes slowly: what it waits for is done in time however busy the machine is.
func (p *person) looksIn() {
	p.t.Helper()
	begun := time.Now()
	p.clock = func() time.Time { return begun.Add(time.Since(begun) / 100) }
	p.restart()
	if err := p.c.Sync(ctx10(p.t)); err != nil {
		p.t.Error(err)
	}
	p.kill()
}

// at is what the hub has of a room.
func (f *fake) at(u uri.Room, look func(s *room.State)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	look(f.rooms[room.IDOf([]byte(u.String()))].state)
}

// TestLooksInReplicas: an administrator who only looks in sees to it that three providers
// decide about a room that a third one has come to while she was away.
func TestLooksInReplicas(t *testing.T) {
	f := newFake(t)
	f.replicas = true
	alice, bob, carol := f.person("alice", "atlanta.example"), f.person("bob", "biloxi.example"), f.person("carol", "chicago.example")
	u := alice.create("clubhouse")
	alice.add(u, bob)
	alice.kill()
	bob.add(u, carol)
	decide := func() (n int) {
		f.at(u, func(s *room.State) { n = len(s.Hosting().Replicas) })
		return n
	}
	if n := decide(); n != 1 {
		t.Fatalf("%d providers decide while no administrator is there", n)
	}
	f.set(func() { // what she submits has to be submitted once more
		times := 1
		f.refuse = func(r *http.Request) *clientapi.Problem {
			if times == 0 || !strings.HasSuffix(r.URL.Path, "/updates") {
				return nil
			}
			times--
			return refused(503, clientapi.CodeUnavailable, "not now")
		}
	})
	alice.looksIn()
	if n := decide(); n != 3 {
		t.Errorf("%d providers decide after one has looked in", n)
	}
}

// TestLooksInPending: a device that only looks in commits the departure that it is its turn
// to commit, also if its user is no administrator, and if it has read of it before.
func TestLooksInPending(t *testing.T) {
	for name, read := range map[string]bool{"unread": false, "read": true} {
		t.Run(name, func(t *testing.T) {
			f, alice, bob, carol, u := three(t)
			if err := alice.c.SetRole(ctx10(t), u, carol.user(), "admin"); err != nil {
				t.Fatal(err)
			}
			agree(u, alice, bob, carol)
			bob.kill()
			carol.kill()
			if err := alice.c.Leave(ctx10(t), u); err != nil {
				t.Fatal(err)
			}
			var members int
			var next uint64
			look := func(s *room.State) { members, next = s.Group().MemberCount(), s.At().Next }
			if read { // and ends before its turn comes
				now := time.Now()
				bob.clock = func() time.Time { return now }
				bob.restart()
				f.at(u, look)
				eventually(t, "bob has read that alice leaves", func() bool { s, err := bob.c.Verify(ctx10(t), u); return err == nil && s.Next == next })
				bob.kill()
			}
			if f.at(u, look); members != 3 {
				t.Fatalf("%d members, though nobody was there who could commit it", members)
			}
			bob.looksIn()
			if f.at(u, look); members != 2 {
				t.Errorf("%d members after bob has looked in", members)
			}
		})
	}
}
