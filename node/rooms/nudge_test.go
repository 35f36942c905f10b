package rooms_test

import (
	"crypto"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mimid/mimid/node/rooms"
	"github.com/mimid/mimid/protocol/wire"
)

// TestNudgeWithoutNodes: where the mesh carries a batch to enough providers, those with
// nodes hear it from these; one that has none, since it is reached by HTTPS only, hears
// no gossip ever, and is told of each batch.
func TestNudgeWithoutNodes(t *testing.T) {
	domains := []string{"atlanta.example", "biloxi.example"}
	for i := range 6 {
		domains = append(domains, fmt.Sprintf("p%d.example", i))
	}
	w := makeWorld(t, false, domains...)
	web := w.ps["biloxi.example"]
	web.set(func() { web.bare, web.deaf = true, true })
	alice := w.device("alice@atlanta.example", "phone")
	id, _, err := alice.create("room")
	if err != nil {
		t.Fatal(err)
	}
	next := uint64(1)
	has := func(d string, next uint64) {
		t.Helper()
		eventually(t, fmt.Sprintf("%s has %d entries", d, next), func() bool {
			list := w.ps[d].rooms.List()
			return len(list) == 1 && list[0].Next == next
		})
	}
	for _, d := range domains[1:] {
		if err := alice.add(id, w.device("user@"+d, "phone")); err != nil {
			t.Fatal(err)
		}
		next++
		alice.follow(id, next)
		has(d, next) // and is in the topic: this network has no gossip that repeats itself
	}
	hub := w.ps["atlanta.example"].rooms
	all := func(next uint64) {
		t.Helper()
		for _, d := range domains {
			has(d, next)
		}
	}
	all(next)
	before := hub.Stats().Nudges
	if _, err := alice.send(id, alice.message("to all")); err != nil {
		t.Fatal(err)
	}
	all(next + 1)
	eventually(t, "the nudge is counted", func() bool { return hub.Stats().Nudges > before })
	if n := hub.Stats().Nudges - before; n != 1 {
		t.Errorf("%d nudges, want one", n)
	}
}

// TestNewcomerOutsideTheMesh: a provider has begun to follow a room and nobody knows yet that
// it has joined the topic. The mesh holds enough others, so that it is not told of a batch. It
// has it soon, without another batch and before the next exchange, which is an hour away.
func TestNewcomerOutsideTheMesh(t *testing.T) {
	domains := []string{"atlanta.example"}
	for i := range 7 {
		domains = append(domains, fmt.Sprintf("p%d.example", i))
	}
	w := makeWorld(t, false, domains...)
	alice := w.device("alice@atlanta.example", "phone")
	id, _, err := alice.create("room")
	if err != nil {
		t.Fatal(err)
	}
	next := uint64(1)
	has := func(d string, next uint64) {
		t.Helper()
		eventually(t, fmt.Sprintf("%s has %d entries", d, next), func() bool { return w.ps[d].stand(id).Next == next })
	}
	for _, d := range domains[1:] {
		if d == domains[7] {
			w.ps[d].set(func() { w.ps[d].deaf = true })
			w.ps[d].rooms.SettleIn(500 * time.Millisecond)
		}
		if err := alice.add(id, w.device("user@"+d, "phone")); err != nil {
			t.Fatal(err)
		}
		next++
		alice.follow(id, next)
		has(d, next)
	}
	before := w.ps[domains[0]].rooms.Stats().Nudges
	if r, err := alice.send(id, alice.message("to all")); err != nil || r.Code != wire.SubmitAccepted {
		t.Fatal(r, err)
	}
	for _, d := range domains {
		has(d, next+1)
	}
	// None, but where this machine is slow the deaf one is told once before it asks.
	if n := w.ps[domains[0]].rooms.Stats().Nudges - before; n > 1 {
		t.Errorf("%d nudges", n)
	}
}

// TestToldWhileItBegins: a provider reads a room for the first time, and is told meanwhile of
// an entry that was ordered after what it has read. It asks for that when it is done.
func TestToldWhileItBegins(t *testing.T) {
	w := prepareWorld(t, false, "atlanta.example", "biloxi.example")
	atlanta, biloxi := w.ps["atlanta.example"], w.ps["biloxi.example"]
	var reading atomic.Bool
	gate := make(chan struct{})
	biloxi.tweak = func(c *rooms.Config) {
		anchors := c.Rules.Anchors
		c.Rules.Anchors = func(domain string) []crypto.PublicKey {
			if reading.Load() {
				<-gate // it verifies what it has read
			}
			return anchors(domain)
		}
	}
	w.start()
	alice, bob := w.device("alice@atlanta.example", "phone"), w.device("bob@biloxi.example", "phone")
	id, _, err := alice.create("room")
	if err != nil {
		t.Fatal(err)
	}
	alice.follow(id, 1)
	biloxi.rooms.SettleIn(time.Hour)
	reading.Store(true)
	asked := atlanta.called(rooms.EndpointLog)
	if err := alice.add(id, bob); err != nil {
		t.Fatal(err)
	}
	alice.follow(id, 2)
	eventually(t, "biloxi has asked for the log, and whether there is more", func() bool { return atlanta.called(rooms.EndpointLog) == asked+2 })
	told := biloxi.called(rooms.EndpointNudge)
	if r, err := alice.send(id, alice.message("meanwhile")); err != nil || r.Code != wire.SubmitAccepted {
		t.Fatal(r, err)
	}
	eventually(t, "biloxi is told of it", func() bool { return biloxi.called(rooms.EndpointNudge) > told })
	close(gate)
	eventually(t, "biloxi has it", func() bool { return biloxi.stand(id).Next == 3 })
	if n := atlanta.called(rooms.EndpointLog); n > asked+4 {
		t.Errorf("it has asked %d times", n-asked)
	}
}
