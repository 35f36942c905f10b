package lookup

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/mimid/mimid/overlay"
	"github.com/mimid/mimid/simulations"
	"github.com/mimid/mimid/simulations/churn"
	"github.com/mimid/mimid/simulations/engine"
	"github.com/mimid/mimid/simulations/links"
)

// A kadWalk is GetClosestPeers of go-libp2p-kad-dht: it begins with the 20 nearest of the own table, has ten requests open, and ends when
// the three nearest that it has heard of, and that have not failed, have answered. Hops are counted as the cited measurement counts them.
type kadWalk struct {
	n      *network
	place  [32]byte
	known  []int        // who was heard of, the nearest first
	depth  map[int]int  // of who was heard of, in the tree of who named whom first; who is in the own table: 1
	least  map[int]int  // the least depth at which somebody was named, by anybody
	state  map[int]byte // waiting, answered, failed
	open   int
	deaths int
}

func (k *kadWalk) hear(nodes []int, depth int) {
	for _, i := range nodes {
		if _, known := k.depth[i]; !known {
			k.depth[i] = depth
			k.known = append(k.known, i)
		}
		if d, known := k.least[i]; !known || depth < d {
			k.least[i] = depth
		}
	}
	slices.SortFunc(k.known, func(a, b int) int { return nearer(&k.n.nodes[a].place, &k.n.nodes[b].place, &k.place) })
}

// best are the nearest that have not failed.
func (k *kadWalk) best(count int) (out []int) {
	for _, i := range k.known {
		if k.state[i] != 'f' && len(out) < count {
			out = append(out, i)
		}
	}
	return out
}

func (k *kadWalk) over() bool {
	const beta = 3
	for _, i := range k.best(beta) {
		if k.state[i] != 'a' {
			return false
		}
	}
	return true
}

// counted are the total of hops, one more than nodes that answered are behind each other, and the hops at which the last of the 20 nearest
// was first named.
func (k *kadWalk) counted() (total, closest int) {
	for i, d := range k.depth {
		if k.state[i] == 'a' {
			total = max(total, d+1)
		}
	}
	for _, i := range k.best(bucket) {
		closest = max(closest, k.least[i])
	}
	return total, closest
}

// run walks on the engine, with a round trip for each request.
func (k *kadWalk) run(e *engine.Engine, model *links.Model, r *rand.Rand, from int, ended func()) {
	const atOnce, timeout = 10, 5 * time.Second
	done := false
	k.hear(k.numbers(k.n.nearest(from, k.place, bucket, e.Now())), 1)
	var pump func()
	pump = func() {
		if done {
			return
		}
		if k.over() {
			done = true
			ended()
			return
		}
		for _, i := range k.known {
			if k.open == atOnce {
				break
			}
			if k.state[i] != 0 {
				continue
			}
			k.state[i] = 'w'
			k.open++
			if !k.n.up(i, e.Now()) {
				k.deaths++
				e.After(timeout, func() {
					k.state[i] = 'f'
					k.open--
					pump()
				})
				continue
			}
			e.After(model.Transit(from, i, 200, r)+model.Transit(i, from, 2000, r), func() {
				k.open--
				if done {
					return
				}
				k.state[i] = 'a'
				k.hear(slices.DeleteFunc(k.numbers(k.n.nearest(i, k.place, bucket, e.Now())), func(x int) bool { return x == from }), k.depth[i]+1)
				pump()
			})
		}
	}
	pump()
}

func (k *kadWalk) numbers(ids []overlay.PeerID) (out []int) {
	for _, id := range ids {
		out = append(out, k.n.byID[id])
	}
	return out
}

// Hops of Kademlia's own walk in our networks are those that were measured in IPFS. Published are, for 10,000 walks in July 2022 of
// a kad-dht client that keeps the tree of who named whom, among 15,380 nodes (those that were to hold a record; as many were seen a day), by
// GetClosestPeers:
//
//	hops in total                      50 % of the walks took 4 or fewer, 90 % 6 or fewer
//	hops until the 20 nearest are named  50 % 3 or fewer, 95 % 4 or fewer
//
// Cortes-Goicoechea, Bautista-Gomez: RFM 17, Provider Record Liveness, sections 3.1 and 3.2 (figures 7, 8, 20, 21; two captions are
// exchanged there), github.com/probe-lab/network-measurements, results/rfm17-provider-record-liveness.md. What a hop is says the code of
// their walk (hops.go at 8564b87 of github.com/cortze/go-libp2p-kad-dht): the own routing table is the first, what its nodes name the
// second, and so on; a node stands where it was named first.
//
// Sessions are those the report goes by: half of the nodes leave within about two hours. Here half of all are away. Both medians are equal, and so is the 95th percentile
// of the second; the 90th of the first is one less: in our model a routing table is made anew every ten minutes and has 20 nodes of each distance wherever there
// are as many, which is better than what nodes of the Internet have. log2 of the nodes is 13.9: the walk takes a third of it.
func TestPublishedHops(t *testing.T) {
	const nodes, walks = 15_380, 500
	spec := churn.Spec{Model: "weibull", Up: simulations.Duration(2 * time.Hour), Down: simulations.Duration(2 * time.Hour), Shape: .5}
	e := engine.New(1)
	p := Parameters{Lasts: simulations.Duration(6 * time.Hour), Refresh: simulations.Duration(10 * time.Minute)}
	n := newNetwork(e.Rand("tables"), 1, 2*nodes, 20, churn.New(spec, e.Rand("churn")), p)
	model := links.New(links.Spec{Model: "cities", Jitter: .05}, 2*nodes, e.Rand("links"))
	r := e.Rand("walks")
	e.Run(time.Hour)
	if up := n.online(e.Now()); up < nodes*95/100 || up > nodes*105/100 {
		t.Fatalf("%d nodes are up, want %d", up, nodes)
	}
	var total, closest []int
	dead := 0
	for range walks {
		from := r.IntN(2 * nodes)
		for !n.up(from, e.Now()) {
			from = r.IntN(2 * nodes)
		}
		k := &kadWalk{n: n, depth: map[int]int{}, least: map[int]int{}, state: map[int]byte{}}
		for b := range k.place {
			k.place[b] = byte(r.Uint32())
		}
		k.run(e, model, r, from, func() {
			a, b := k.counted()
			total, closest = append(total, a), append(closest, b)
			dead += k.deaths
		})
		e.Run(e.Now() + 30*time.Second)
	}
	if len(total) != walks {
		t.Fatalf("%d of %d walks have ended", len(total), walks)
	}
	slices.Sort(total)
	slices.Sort(closest)
	t.Logf("%.1f of the nodes that a walk asked were gone", float64(dead)/walks)
	for _, c := range []struct {
		what      string
		hops      []int
		percent   int
		published int
		within    int
	}{
		{"total", total, 50, 4, 0},
		{"total", total, 90, 6, 1},
		{"until the nearest are named", closest, 50, 3, 0},
		{"until the nearest are named", closest, 95, 4, 0},
	} {
		got := c.hops[c.percent*walks/100-1]
		t.Logf("hops, %s: %d %% took %d or fewer, published %d", c.what, c.percent, got, c.published)
		if got < c.published-c.within || got > c.published+c.within {
			t.Errorf("hops, %s: %d %% of the walks took %d or fewer, published are %d", c.what, c.percent, got, c.published)
		}
	}
}
