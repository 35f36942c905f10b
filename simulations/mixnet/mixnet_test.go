package mixnet_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/mimid/mimid/protocol/onion"
	"github.com/mimid/mimid/simulations/anonymity"
	"github.com/mimid/mimid/simulations/engine"
	"github.com/mimid/mimid/simulations/mixnet"
)

const link = 50 * time.Millisecond

type told struct {
	arrived, lost []uint64
	took          []time.Duration
}

func network(e *engine.Engine, bad []bool, layers [][]int) (*mixnet.Network, *told) {
	w := &told{}
	return mixnet.New(e, mixnet.Config{Layers: layers, Bad: bad, Way: func(int, int) time.Duration { return link },
		Arrived: func(p *mixnet.Packet, d time.Duration) {
			w.arrived, w.took = append(w.arrived, p.Tag), append(w.took, d)
		},
		Lost: func(p *mixnet.Packet, _ time.Duration) { w.lost = append(w.lost, p.Tag) }}), w
}

func hops(ms int, mixes ...int) (h []mixnet.Hop) {
	for _, m := range mixes {
		h = append(h, mixnet.Hop{Mix: m, Delay: time.Duration(ms) * time.Millisecond})
	}
	return h
}

// TestTimes: a packet takes its links and its delays, and is followed to where it went.
func TestTimes(t *testing.T) {
	e := engine.New(1)
	n, w := network(e, make([]bool, 2), [][]int{{0}, {1}})
	p := &mixnet.Packet{From: 3, End: 5, Hops: hops(100, 0, 1), Target: true, Tag: 7}
	n.Send(p)
	e.Run(time.Minute)
	if !slices.Equal(w.arrived, []uint64{7}) || w.took[0] != 3*link+200*time.Millisecond || n.Passed() != 3 {
		t.Errorf("%+v over %d links", w, n.Passed())
	}
	places, err := n.Log.Follow(p.Seen)
	if err != nil || len(places) != 1 || places[0].End != 5 || places[0].P != 1 {
		t.Errorf("%+v, %v", places, err)
	}
}

// TestKill: a mix that dies loses what it holds and what comes to it, also if it is bad, and the log says so.
func TestKill(t *testing.T) {
	for _, bad := range []bool{false, true} {
		e := engine.New(1)
		n, w := network(e, []bool{bad}, [][]int{{0}})
		var sent []*mixnet.Packet
		for i := range 3 {
			e.After(time.Duration(i)*time.Second, func() {
				p := &mixnet.Packet{Hops: hops(1500, 0), Target: true, Tag: uint64(i)}
				sent = append(sent, p)
				n.Send(p)
			})
		}
		e.After(1900*time.Millisecond, func() { n.Kill(0); n.Kill(0) })
		e.Run(time.Minute)
		if !slices.Equal(w.arrived, []uint64{0}) || !slices.Equal(w.lost, []uint64{2, 1}) {
			t.Errorf("bad %t: %+v", bad, w)
		}
		for i, p := range sent {
			places, err := n.Log.Follow(p.Seen)
			if err != nil {
				t.Fatalf("bad %t: %v", bad, err)
			}
			lost := 0.0
			for _, x := range places {
				if x.End == anonymity.Lost {
					lost += x.P
				}
			}
			// The first left while the second was there, so that each may be the other, but for who knows.
			want := []float64{.5, .5, 1}[i]
			if bad {
				want = []float64{0, 1, 1}[i]
			}
			if lost != want {
				t.Errorf("bad %t: packet %d is lost with %g, want %g", bad, i, lost, want)
			}
		}
	}
}

// TestDummies: mixes make as many as they are told to, all but the bad and those of the last layer, and nothing comes out of
// the network that was not sent.
func TestDummies(t *testing.T) {
	for _, far := range []bool{false, true} {
		e := engine.New(1)
		n, w := network(e, []bool{false, true, false, false, false}, [][]int{{0, 1}, {2, 3}, {4}})
		n.Dummies(mixnet.Cover{Rate: 10, Delay: 100 * time.Millisecond, Far: far}, 100*time.Second)
		e.Run(200 * time.Second)
		// Three mixes make ten a second, and those of the first layer go over two links if they go far.
		want := 3 * 10 * 100.
		if far {
			want += 10 * 100
		}
		if math.Abs(float64(n.Passed())-want) > 4*math.Sqrt(want) || len(w.arrived)+len(w.lost) > 0 {
			t.Errorf("far %t: %d dummies on links, want %.0f; %+v", far, n.Passed(), want, w)
		}
		for mix := range 5 {
			if n.Log.Held(mix) != 0 {
				t.Errorf("mix %d still holds %d", mix, n.Log.Held(mix))
			}
		}
	}
}

// TestDirectory: relays that do not exist are chosen as those that do: the same for the same seed and epoch, others for
// others.
func TestDirectory(t *testing.T) {
	var list []mixnet.Relay
	for i := range 300 {
		list = append(list, mixnet.Own(i))
	}
	layers := func(seed uint64, previous byte) (all []int) {
		d, err := mixnet.NewDirectory(seed, mixnet.Epoch{Number: 9, Previous: [32]byte{previous}, Rate: 100, Delay: 500 * time.Millisecond,
			Format: onion.Format{Suite: onion.X25519, Class: onion.Class8K}, Listed: 200}, list)
		if err != nil {
			t.Fatal(err)
		}
		a, err := d.Cosigned.Active()
		if err != nil {
			t.Fatal(err)
		}
		for _, layer := range a.Layers {
			if len(layer) != 7 { // 100 * 0.5 / 7
				t.Errorf("a layer of %d", len(layer))
			}
			for _, r := range layer {
				all = append(all, d.Number(r.Node()))
			}
		}
		if d.Number(onion.NodeID{1}) != -1 {
			t.Error("a node that is not there has a number")
		}
		return all
	}
	first := layers(1, 1)
	if !slices.Equal(first, layers(1, 1)) || slices.Equal(first, layers(1, 2)) || slices.Equal(first, layers(2, 1)) {
		t.Error("the choice is not what seed and epoch say")
	}
	if slices.Max(first) >= 200 || slices.Min(first) < 0 {
		t.Errorf("%v: who is not listed mixes", first)
	}
}

func TestRandom(t *testing.T) {
	read := func(sizes ...int) (b []byte) {
		r := mixnet.Random(rand.New(rand.NewPCG(1, 2)))
		for _, n := range sizes {
			p := make([]byte, n)
			if k, err := r.Read(p); k != n || err != nil {
				t.Fatal(k, err)
			}
			b = append(b, p...)
		}
		return b
	}
	if a := read(8, 8); !slices.Equal(a, read(16)) || slices.Equal(a[:8], a[8:]) {
		t.Errorf("%x", a)
	}
}
