package eclipse

import (
	"testing"
	"time"

	"github.com/mimid/mimid/simulations/engine"
	"github.com/mimid/mimid/simulations/links"
)

// Who announces tells the size of the network from how near its own neighbours are (overlay.Walk). An announcer that is itself the
// honest node next to an attacked key has nobody but the attacker's 40 as neighbours, takes the network for far greater than it is, and the key's
// region for far smaller, so that all 30 whom it gives the record are the attacker's. That is the network of some
// hundred in which they hide a key, and it is a limit, not a wish: README.md has the figures. Everybody farther away gives it to honest ones, too.
func TestAnnouncerNextToTheKey(t *testing.T) {
	const seeds = 10
	hidden := map[int]int{}
	for _, rank := range []int{0, 3, 12, 200} { // among honest nodes, by their distance from the key
		for seed := range uint64(seeds) {
			e := engine.New(seed)
			n := newNetwork(e.Rand("network"), seed, 300, 1, 40)
			s := &searching{e: e, n: n, mode: "mimid", rand: e.Rand("searches"), model: links.New(links.Spec{Model: "cities", Jitter: .05}, len(n.nodes), e.Rand("links"))}
			var honest []int
			for i, x := range n.nodes {
				if !x.bad {
					honest = append(honest, i)
				}
			}
			n.sort(honest, n.key)
			good := 0
			s.lookup(honest[rank], func(l lookup) {
				for _, id := range l.course.Holders() {
					if !n.nodes[n.byID[id]].bad {
						good++
					}
				}
			})
			e.Run(time.Hour)
			if good == 0 {
				hidden[rank]++
			}
		}
	}
	if hidden[0] != seeds || hidden[3] == seeds || hidden[12] > 0 || hidden[200] > 0 {
		t.Errorf("of %d networks the record is at nobody honest in %d if the announcer is next to the key, in %d, %d, %d if three, twelve, two hundred are nearer", seeds, hidden[0], hidden[3], hidden[12], hidden[200])
	}
}
