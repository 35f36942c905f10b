package rooms_test

import (
	"fmt"
	"testing"
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
