package rooms_test

import (
	"fmt"
	"strings"
	"testing"
)

// TestLaggingVoter: who was away votes for another hub, and has yet to hear what became
// final before: that is of a term that its own vote ends. It gets it all the same, also
// if it is more than one answer holds.
func TestLaggingVoter(t *testing.T) {
	for name, size := range map[string]int{"little": 10, "more than a piece": 60_000} {
		t.Run(name, func(t *testing.T) {
			w, alice, bob, carol, id := trio(t)
			atlanta, chicago := w.ps[three[0]], w.ps[three[2]]
			chicago.set(func() { chicago.down = true })
			var all []string
			for i := range 12 {
				text := fmt.Sprint(i, strings.Repeat("x", size))
				alice.say(id, text)
				all = append(all, text)
			}
			bob.read(id, all...) // final, by the others
			atlanta.set(func() { atlanta.down = true })
			chicago.set(func() { chicago.down = false })
			w.suspect(id)
			took := bob.say(id, "after")
			t.Logf("another hub after %s", took)
			carol.read(id, append(all, "after")...)
		})
	}
}
