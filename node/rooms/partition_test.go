package rooms_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/wire"
	"github.com/mimid/mimid/store"
)

// log is a provider's log of a room, entry by entry, as its operator sees it.
func (p *provider) log(id store.RoomID) []*room.Entry {
	t := p.w.t
	t.Helper()
	var out []*room.Entry
	for {
		page := must(p.rooms.Page(id, uint64(len(out)), 1000))(t)
		if len(page.Entries) == 0 {
			return out
		}
		for _, b := range page.Entries {
			out = append(out, must(room.ParseEntry(b))(t))
		}
	}
}

// alike waits until all providers have the same log, and returns it.
func (w *world) alike(id store.RoomID, least int) []*room.Entry {
	w.t.Helper()
	var first []*room.Entry
	eventually(w.t, fmt.Sprintf("all logs are alike, of %d entries at least", least), func() bool {
		first = nil
		for _, d := range three {
			l := w.ps[d].log(id)
			if first == nil {
				first = l
			}
			if len(l) < least || len(l) != len(first) || l[len(l)-1].Hash() != first[len(first)-1].Hash() {
				return false
			}
		}
		return true
	})
	return first
}

// heal has everybody ask everybody, as new connections would.
func (w *world) heal() {
	for _, p := range w.ps {
		p.set(func() { p.down = false })
	}
	for _, p := range w.ps {
		for _, d := range three {
			if d != p.domain {
				p.rooms.Exchange(context.Background(), d)
			}
		}
	}
}

// suspect has all that are up look for another hub.
func (w *world) suspect(id store.RoomID) {
	for _, p := range w.ps {
		if !p.isDown() {
			p.rooms.Suspect(room.ID(id))
		}
	}
}

// TestPartition: the hub is cut off and takes messages that nobody else stores. The
// others go on without it. When it is back, what it took was never shown to anybody,
// and is in the log once when it has been submitted again.
func TestPartition(t *testing.T) {
	w, alice, bob, carol, id := trio(t)
	bob.say(id, "before")
	carol.read(id, "before")
	atlanta := w.ps[three[0]]
	atlanta.set(func() { atlanta.down = true })
	alone := alice.message("alone")
	if r, err := alice.send(id, alone); err != nil || r.Code != wire.SubmitAccepted {
		t.Fatalf("the hub alone: %v, %v", r, err)
	}
	final := atlanta.stand(id).Next
	w.suspect(id)
	bob.say(id, "after")
	carol.read(id, "before", "after")
	if n := atlanta.stand(id).Next; n != final {
		t.Fatalf("what no majority has stored is in the hub's log: %d entries, %d were final", n, final)
	}
	w.heal()
	eventually(t, "the old hub follows", func() bool { return atlanta.stand(id).Hub != three[0] })
	eventually(t, "one entry is set aside", func() bool { return atlanta.rooms.Stats().Aside == 1 })
	eventually(t, "it is submitted again", func() bool {
		r, err := alice.send(id, alone)
		return err == nil && r.Code == wire.SubmitAccepted
	})
	bob.read(id, "alone")
	if r, err := alice.send(id, alone); err != nil || r.Code != wire.SubmitAccepted { // and once more
		t.Fatalf("a duplicate: %v, %v", r, err)
	}
	alice.say(id, "end")
	carol.read(id, "before", "after", "alone", "end")
	txns := map[room.TxnID]int{}
	for _, e := range w.alike(id, 9) {
		if e.Txn != (room.TxnID{}) {
			txns[e.Txn]++
		}
	}
	for txn, n := range txns {
		if n != 1 {
			t.Errorf("submission %s is in the log %d times", txn, n)
		}
	}
	// What devices were shown is what is in the log: follow fails on a gap.
	alice.read(id, "after")
}

// TestFiveKills: five hubs in a row die, and come back later. What was final stays,
// terms rise, the logs are one.
func TestFiveKills(t *testing.T) {
	w, alice, bob, carol, id := trio(t)
	people := map[string]*device{three[0]: alice, three[1]: bob, three[2]: carol}
	var last room.Term
	var before []*room.Entry
	for i := range 5 {
		hub := w.ps[three[0]].stand(id).Hub
		p := w.ps[hub]
		p.set(func() { p.down = true })
		p.restart()
		w.suspect(id)
		var alive *device
		for _, d := range three {
			if d != hub {
				alive = people[d]
			}
		}
		alive.say(id, fmt.Sprintf("without hub %d", i))
		w.heal()
		now := w.alike(id, len(before)+2)
		for j, e := range before {
			if e.Hash() != now[j].Hash() {
				t.Fatalf("kill %d: entry %d was final and is another one now", i, j)
			}
		}
		before = now
		term := now[len(now)-1].Term
		if term.Compare(last) <= 0 {
			t.Errorf("kill %d: the log ends in term %s after %s", i, term, last)
		}
		last = term
		eventually(t, "all know the hub", func() bool {
			h := alive.p.stand(id).Hub
			return h != hub && !slices.ContainsFunc(three, func(d string) bool { return w.ps[d].stand(id).Hub != h })
		})
	}
	carol.say(id, "end")
	alice.read(id, "end")
}

// TestShrink: three become one again while messages come, and three again. With one,
// nothing of the machine is left.
func TestShrink(t *testing.T) {
	w, alice, bob, carol, id := trio(t)
	bob.say(id, "three")
	next := w.ps[three[0]].stand(id).Next
	alice.follow(id, next)
	if err := alice.rehost(id, w.hosting(alice, three[0], room.FirstTerm, three[0])); err != nil {
		t.Fatal(err)
	}
	alice.follow(id, next+2)
	bob.follow(id, next+2)
	bob.say(id, "one")
	carol.read(id, "three", "one")
	w.alike(id, int(next)+3)
	alice.follow(id, next+3)
	if err := alice.rehost(id, w.hosting(alice, three[0], room.FirstTerm, three...)); err != nil {
		t.Fatal(err)
	}
	bob.follow(id, next+5)
	bob.say(id, "three again")
	carol.read(id, "three", "one", "three again")
	atlanta := w.ps[three[0]]
	atlanta.set(func() { atlanta.down = true })
	w.suspect(id)
	bob.say(id, "and without atlanta")
	carol.read(id, "and without atlanta")
}

// TestSettling: while a replica set changes, which takes a majority of both, other
// handshakes are told to try again.
func TestSettling(t *testing.T) {
	w := prepareWorld(t, true, three...)
	watched(w)
	w.start()
	alice, bob, carol := w.device("alice@atlanta.example", "phone"), w.device("bob@biloxi.example", "phone"), w.device("carol@chicago.example", "phone")
	id, _, err := alice.create("settling")
	if err != nil {
		t.Fatal(err)
	}
	if err := alice.add(id, bob, carol); err != nil {
		t.Fatal(err)
	}
	for _, d := range []*device{alice, bob, carol} {
		d.follow(id, 2)
	}
	for _, d := range three[1:] {
		p := w.ps[d]
		p.set(func() { p.down = true })
	}
	done := make(chan error, 1)
	h := w.hosting(alice, three[0], room.FirstTerm, three...)
	raw := alice.handshake(mlsHosting(t, h))
	go func() { done <- alice.update(id, raw) }()
	select {
	case err := <-done:
		t.Fatalf("a handshake that no majority has is answered: %v", err)
	case <-time.After(300 * time.Millisecond):
	}
	if r, err := alice.send(id, alice.message("meanwhile")); err != nil || r.Code != wire.SubmitAccepted {
		t.Errorf("messages are available first: %v, %v", r, err)
	}
	other := w.device("andy@atlanta.example", "phone")
	err = alice.add(id, other)
	if p, ok := err.(*clientapi.Problem); !ok || p.Status != 503 || p.Retry == 0 {
		t.Errorf("a handshake during the change: %v; a 503 that says when to try again is expected", err)
	}
	w.heal()
	select {
	case err := <-done:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the change is not settled when the replicas are back")
	}
	carol.read(id, "meanwhile")
}

// TestMove: the hub hands the room over, of three replicas and of a set of one.
func TestMove(t *testing.T) {
	w, alice, bob, carol, id := trio(t)
	bob.say(id, "before")
	atlanta := w.ps[three[0]]
	if err := w.ps[three[1]].rooms.Move(context.Background(), room.ID(id), three[2]); err == nil {
		t.Error("who is not the hub moves the room")
	}
	if err := atlanta.rooms.Move(context.Background(), room.ID(id), "nowhere.example"); err == nil {
		t.Error("the room moves to a stranger")
	}
	if err := atlanta.rooms.Move(context.Background(), room.ID(id), three[2]); err != nil {
		t.Fatal(err)
	}
	eventually(t, "chicago orders the room everywhere", func() bool {
		return !slices.ContainsFunc(three, func(d string) bool { return w.ps[d].stand(id).Hub != three[2] })
	})
	bob.say(id, "after")
	alice.read(id, "before", "after")
	carol.read(id, "before", "after")
	w.alike(id, 7)
}

// TestMoveOfOne: a room that its hub alone decides about is given away.
func TestMoveOfOne(t *testing.T) {
	w := prepareWorld(t, true, three...)
	watched(w)
	w.start()
	alice, bob := w.device("alice@atlanta.example", "phone"), w.device("bob@biloxi.example", "phone")
	id, _, err := alice.create("given")
	if err != nil {
		t.Fatal(err)
	}
	if err := alice.add(id, bob); err != nil {
		t.Fatal(err)
	}
	alice.follow(id, 2)
	bob.follow(id, 2)
	if err := w.ps[three[0]].rooms.Move(context.Background(), room.ID(id), three[1]); err != nil {
		t.Fatal(err)
	}
	eventually(t, "biloxi orders the room", func() bool {
		return w.ps[three[0]].stand(id).Hub == three[1] && w.ps[three[1]].stand(id).Hub == three[1]
	})
	alice.say(id, "still here")
	bob.read(id, "still here")
	bob.say(id, "mine now")
	alice.read(id, "mine now")
}
