package gossip_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/mimid/mimid/simulations"
	"github.com/mimid/mimid/simulations/engine"
	"github.com/mimid/mimid/simulations/gossip"
	"github.com/mimid/mimid/simulations/links"
)

func world(seed uint64, nodes int, s gossip.Spec, l links.Spec) (*engine.Engine, *gossip.Network) {
	e := engine.New(seed)
	return e, gossip.New(e, s, nodes, links.New(l, nodes, e.Rand("links")))
}

// What must hold in every network in which nobody withholds: everybody gets each message, once for
// the first time, never before the fastest way allows, and each copy that was sent is a
// first one or a duplicate.
func TestEverybodyGetsItOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		nodes := rapid.IntRange(2, 120).Draw(t, "nodes")
		s := gossip.Usual()
		s.D = rapid.IntRange(1, 8).Draw(t, "d")
		s.Dlo, s.Known = min(s.D, 3), rapid.IntRange(8, 30).Draw(t, "known")
		s.Flood = rapid.Bool().Draw(t, "flood")
		l := links.Spec{Model: rapid.SampledFrom([]string{"fixed", "uniform", "star", "cities"}).Draw(t, "model"),
			Low: simulations.Duration(5 * time.Millisecond), High: simulations.Duration(90 * time.Millisecond),
			Jitter: rapid.Float64Range(0, .5).Draw(t, "jitter"), Loss: rapid.Float64Range(0, .2).Draw(t, "loss"),
			Uplink: rapid.SampledFrom([]float64{0, 1, 100}).Draw(t, "uplink")}
		e, n := world(rapid.Uint64().Draw(t, "seed"), nodes, s, l)
		const messages, size = 3, 1000
		bounds := make([][]time.Duration, messages)
		firsts := map[[2]int]int{}
		n.Deliver = func(m *gossip.Message, node int) {
			firsts[[2]int{m.ID, node}]++
			if took := e.Now() - m.Published; took < bounds[m.ID][node] {
				t.Fatalf("message %d is at %d after %s, the least is %s", m.ID, node, took, bounds[m.ID][node])
			}
		}
		var sent []*gossip.Message
		for i := range messages {
			from := rapid.IntRange(0, nodes-1).Draw(t, "from")
			bounds[i] = n.Bound(from, size)
			e.After(time.Duration(i)*100*time.Millisecond, func() { sent = append(sent, n.Publish(i, from, size)) })
		}
		e.Run(time.Minute)
		for _, m := range sent {
			if m.Reached != nodes {
				t.Fatalf("message %d reached %d of %d", m.ID, m.Reached, nodes)
			}
		}
		for k, times := range firsts {
			if times != 1 {
				t.Fatalf("node %d got message %d %d times for the first time", k[1], k[0], times)
			}
		}
		if want := int64(messages*(nodes-1)) + n.Duplicates; n.Copies != want {
			t.Fatalf("%d copies were sent, %d arrived", n.Copies, want)
		}
		if want := n.Copies*(size+gossip.Envelope) + (n.Told+n.Asked)*gossip.Control; n.Octets != want {
			t.Fatalf("%d octets, want %d", n.Octets, want)
		}
	})
}

func TestMeshIsWithinBounds(t *testing.T) {
	for _, nodes := range []int{2, 3, 10, 500} {
		_, n := world(1, nodes, gossip.Usual(), links.Spec{Model: "fixed"})
		for i := range nodes {
			mesh, known := n.Mesh(i), n.Known(i)
			if least := min(gossip.Usual().Dlo, nodes-1); len(mesh) < least || len(mesh) > gossip.Usual().Dhi {
				t.Errorf("%d nodes: the mesh of %d has %d", nodes, i, len(mesh))
			}
			for _, k := range mesh {
				if !slices.Contains(known, k) || int(k) == i {
					t.Errorf("%d has %d in its mesh, to whom it is not connected", i, k)
				}
				if !slices.Contains(n.Mesh(int(k)), int32(i)) {
					t.Errorf("%d has %d in its mesh, and not the other way", i, k)
				}
			}
		}
	}
}

// In a ring of five with 10 ms between two, a copy is a millisecond on a line, and a millisecond checked
// before it goes on.
func TestTimesByHand(t *testing.T) {
	s := gossip.Spec{Known: 1, D: 1, Dlo: 1, Dhi: 2, Heartbeat: simulations.Duration(time.Second), Process: simulations.Duration(time.Millisecond)}
	e, n := world(3, 5, s, links.Spec{Model: "fixed", Low: simulations.Duration(10 * time.Millisecond), Uplink: .008 * (1000 + gossip.Envelope)}) // 1 ms a copy
	// Known 1 leaves the ring, so that every node has two neighbours.
	for i := range 5 {
		if len(n.Known(i)) != 2 {
			t.Fatalf("%d knows %v", i, n.Known(i))
		}
	}
	var times []time.Duration
	n.Deliver = func(m *gossip.Message, _ int) { times = append(times, e.Now()) }
	bound := n.Bound(0, 1000)
	slices.Sort(bound)
	if want := []time.Duration{0, 11e6, 11e6, 23e6, 23e6}; !slices.Equal(bound, want) {
		t.Errorf("bound %v, want %v", bound, want)
	}
	n.Push(0, 0, 1000)
	e.Run(time.Minute)
	if want := []time.Duration{0, 11e6, 12e6, 13e6, 14e6}; !slices.Equal(times, want) {
		t.Errorf("pushed %v, want %v", times, want)
	}
}

// Nodes that withhold are reached by others' telling them; with most of the meshes withholding,
// heartbeats make up for it.
func TestTellingHealsWithholding(t *testing.T) {
	s := gossip.Usual()
	for _, c := range []struct {
		lazy  int
		least float64
		most  float64
	}{{0, 0, .98}, {6, .999, 1}} {
		s.Lazy = c.lazy
		e, n := world(5, 300, s, links.Spec{Model: "uniform", Low: 1e6, High: 5e7})
		for i := range 200 {
			n.Withhold(i)
		}
		m := n.Publish(0, 299, 1000)
		e.Run(time.Minute)
		if share := float64(m.Reached) / 300; share < c.least || share > c.most {
			t.Errorf("with %d told at a heartbeat %.3f of all have it, want %.3f to %.3f", c.lazy, share, c.least, c.most)
		}
	}
}

func TestReplays(t *testing.T) {
	run := func(seed uint64) string {
		e, n := world(seed, 200, gossip.Usual(), links.Spec{Model: "cities", Jitter: .1, Loss: .01})
		n.Deliver = func(m *gossip.Message, node int) { e.Note(uint64(node)) }
		n.Publish(0, 5, 100)
		e.Run(10 * time.Second)
		return fmt.Sprintf("%x %d %d", e.Digest(), e.Events(), n.Octets)
	}
	if a, b := run(1), run(1); a != b {
		t.Errorf("one seed, two runs: %s and %s", a, b)
	}
	if run(1) == run(2) {
		t.Error("two seeds, one run")
	}
}

func BenchmarkGossip(b *testing.B) {
	for _, nodes := range []int{1_000, 10_000, 100_000} {
		b.Run(fmt.Sprint(nodes), func(b *testing.B) {
			events, i := uint64(0), uint64(0)
			for b.Loop() {
				i++
				b.StopTimer()
				e, n := world(i, nodes, gossip.Usual(), links.Spec{Model: "cities", Jitter: .1, Uplink: 100})
				b.StartTimer()
				for k := range 10 {
					e.After(time.Duration(k)*300*time.Millisecond, func() { n.Publish(k, k, 1000) })
				}
				e.Run(20 * time.Second)
				events += e.Events()
			}
			b.ReportMetric(float64(events)/b.Elapsed().Seconds(), "events/s")
		})
	}
}
