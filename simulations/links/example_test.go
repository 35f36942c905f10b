package links_test

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/mimid/mimid/simulations/engine"
	"github.com/mimid/mimid/simulations/gossip"
	"github.com/mimid/mimid/simulations/links"
)

// A latency model of one's own: providers on a ring around the earth, between which light in glass goes 200 km in a
// millisecond; and what an entry takes by gossip among them.
func ExampleOwn() {
	const providers, around = 200, 40_000 // km
	ring := func(a, b int) time.Duration {
		apart := math.Abs(float64(a - b))
		km := min(apart, providers-apart) / providers * around
		return time.Millisecond + time.Duration(km/200*float64(time.Millisecond))
	}
	e := engine.New(1)
	model := links.Own(ring, links.Spec{Jitter: .05, Uplink: 100})
	n := gossip.New(e, gossip.Usual(), providers, model)
	var took []time.Duration
	n.Deliver = func(m *gossip.Message, _ int) { took = append(took, e.Now()-m.Published) }
	n.Publish(0, 0, 1024)
	e.Run(10 * time.Second)
	slices.Sort(took)
	fmt.Printf("half around: %s; reached %d; half of them before %s\n", ring(0, providers/2), len(took), took[len(took)/2].Round(10*time.Millisecond))
	// Output: half around: 101ms; reached 200; half of them before 90ms
}
