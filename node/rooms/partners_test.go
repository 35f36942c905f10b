package rooms_test

import (
	"slices"
	"testing"
)

// TestPartners: whom to watch is known at once when something changes, and costs nothing
// while nothing does.
func TestPartners(t *testing.T) {
	w, alice, bob, _, id := trio(t)
	alice.say(id, "hello")
	bob.read(id, "hello")
	w.alike(id, 5)
	p := w.ps[three[0]]
	others := func(what string) {
		t.Helper()
		busy, idle := p.rooms.Partners()
		all := append(busy, idle...)
		slices.Sort(all)
		if !slices.Equal(all, three[1:]) {
			t.Errorf("%s: %v", what, all)
		}
	}
	eventually(t, "the room is not loaded", func() bool { busy, _ := p.rooms.Partners(); return len(busy) == 0 })
	looks := p.rooms.PartnerLooks()
	for range 10 {
		others("calm")
	}
	if n := p.rooms.PartnerLooks() - looks; n > 0 {
		t.Errorf("looked at all rooms %d times while nothing changed", n)
	}
	alice.say(id, "again")
	if busy, _ := p.rooms.Partners(); len(busy) != 2 {
		t.Errorf("busy with %v while something happens", busy)
	}
	if p.rooms.PartnerLooks() == looks {
		t.Error("what has changed was not looked at")
	}
	p.restart()
	others("after a restart")
	// A room that another provider begins to take part in.
	other, _, err := alice.create("other")
	if err != nil {
		t.Fatal(err)
	}
	others("a room of one's own")
	_ = other
}
