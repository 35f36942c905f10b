package eclipse

import (
	"fmt"
	"math/bits"
	"math/rand/v2"
	"testing"

	"github.com/mimid/mimid/simulations"
)

// Share of searches that find the announcer, by what is known of both searches: 40 nodes made nearer than
// any honest one end Kademlia's, and not ours; 600 of 300 honest ones' end ours too, mostly.
func TestFound(t *testing.T) {
	for _, c := range []struct {
		mode        string
		share       float64
		near        int
		least, most float64
	}{
		{"kademlia", 0, 40, 1, 1},
		{"kademlia", 0.25, 40, 1, 1},
		{"kademlia", 1, 40, 0, 0},
		{"mimid", 0, 40, 1, 1},
		{"mimid", 0.25, 40, 1, 1},
		{"mimid", 1, 40, 1, 1},
		{"mimid", 1, 600, 0, .8},
	} {
		text := fmt.Sprintf("simulation = \"eclipse\"\nruns = 4\nseed = 3\n[parameters]\nnodes = 300\nmode = %q\nshare = %g\nnear = %d\nsearches = 10\nlookups = 1\n", c.mode, c.share, c.near)
		s, err := simulations.Parse([]byte(text), "x", []simulations.Simulation{Simulation()})
		if err != nil {
			t.Fatal(err)
		}
		r := s.Execute(t.Context(), nil)
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		seen := false
		for _, g := range r.Groups() {
			switch g.Metric {
			case "found":
				seen = true
				if g.Count != 40 || g.Mean < c.least || g.Mean > c.most {
					t.Errorf("%s, %g of %d: found by %.3f of %d searches, want %g to %g", c.mode, c.share, c.near, g.Mean, g.Count, c.least, c.most)
				}
			case "hops":
				if g.Max > 8.3 { // log2 of 300
					t.Errorf("%s, %g of %d: %g hops", c.mode, c.share, c.near, g.Max)
				}
			}
		}
		if !seen {
			t.Errorf("%s, %g of %d: nothing was observed", c.mode, c.share, c.near)
		}
	}
}

// A routing table has up to 20 nodes of each distance, all of them if there are no more.
func TestTables(t *testing.T) {
	n := newNetwork(rand.New(rand.NewPCG(1, 2)), 1, 200, .5, 40)
	bad := 0
	for of, x := range n.nodes {
		if x.bad {
			bad++
		}
		have, all := map[int]int{}, map[int]int{}
		common := func(i int) int {
			for b := range 32 {
				if d := n.nodes[i].place[b] ^ x.place[b]; d != 0 {
					return 8*b + bits.LeadingZeros8(d)
				}
			}
			return 256
		}
		for i := range n.nodes {
			if i != of {
				all[common(i)]++
			}
		}
		seen := map[int]bool{}
		for _, i := range n.table(of) {
			if i == of || seen[i] {
				t.Fatalf("node %d knows itself, or node %d twice", of, i)
			}
			seen[i] = true
			have[common(i)]++
		}
		for depth, count := range all {
			if have[depth] != min(count, bucket) {
				t.Fatalf("of %d nodes that share %d bits with node %d it knows %d", count, depth, of, have[depth])
			}
		}
	}
	if bad != 20 {
		t.Errorf("%d nodes are the attacker's, want 20", bad)
	}
	near := make([]int, len(n.nodes))
	for i := range near {
		near[i] = i
	}
	n.sort(near, n.key)
	for _, i := range near[:40] {
		if n.nodes[i].bad {
			bad--
		}
	}
	if bad != 0 {
		t.Errorf("%d of the attacker's nodes are not among the 40 nearest", bad)
	}
}
