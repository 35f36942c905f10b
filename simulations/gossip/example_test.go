package gossip_test

import (
	"fmt"
	"time"

	"github.com/mimid/mimid/simulations/engine"
	"github.com/mimid/mimid/simulations/gossip"
	"github.com/mimid/mimid/simulations/links"
)

// An adversary of one's own: sleepers do as they should until they have seen three entries, so that they are in
// everybody's mesh by then, and pass nothing on after that.
func ExampleNetwork_Withhold() {
	const providers, entries = 300, 6
	for _, sleepers := range []int{0, 150, 285} {
		e := engine.New(7)
		model := links.New(links.Spec{Model: "cities", Jitter: .05, Uplink: 100}, providers, e.Rand("links"))
		n := gossip.New(e, gossip.Usual(), providers, model)
		seen := make([]int, providers)
		last := make([]time.Duration, entries)
		n.Deliver = func(m *gossip.Message, node int) {
			last[m.ID] = e.Now() - m.Published
			if seen[node]++; node != 0 && node <= sleepers && seen[node] == 3 {
				n.Withhold(node)
			}
		}
		messages := make([]*gossip.Message, entries)
		for i := range messages {
			e.After(time.Duration(i)*5*time.Second, func() { messages[i] = n.Publish(i, 0, 1024) })
		}
		e.Run(time.Minute)
		awake, asleep := messages[1], messages[entries-1]
		fmt.Printf("%d sleepers: the second entry reaches %d after %s, the last one %d after %s\n", sleepers,
			awake.Reached, last[1].Round(10*time.Millisecond), asleep.Reached, last[entries-1].Round(10*time.Millisecond))
	}
	// Output:
	// 0 sleepers: the second entry reaches 300 after 230ms, the last one 300 after 230ms
	// 150 sleepers: the second entry reaches 300 after 230ms, the last one 300 after 570ms
	// 285 sleepers: the second entry reaches 300 after 230ms, the last one 21 after 2.2s
}
