package rooms_test

import (
	"testing"
)

// TestLaggingVoter: who was away votes for another hub, and has yet to hear what became
// final before: that is of a term that its own vote has ended.
func TestLaggingVoter(t *testing.T) {
	w, alice, bob, carol, id := trio(t)
	atlanta, chicago := w.ps[three[0]], w.ps[three[2]]
	chicago.set(func() { chicago.down = true })
	for _, text := range []string{"one", "two", "three"} {
		alice.say(id, text)
		bob.read(id, text) // final, by the others
	}
	atlanta.set(func() { atlanta.down = true })
	chicago.set(func() { chicago.down = false })
	w.suspect(id)
	took := bob.say(id, "four")
	t.Logf("another hub after %s", took)
	carol.read(id, "one", "two", "three", "four")
}
