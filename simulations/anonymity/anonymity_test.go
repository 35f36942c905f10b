package anonymity_test

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/mimid/mimid/simulations/anonymity"
)

// A passage is a packet's stay in a mix.
type passage struct {
	in, out float64
	packet  int
}

// A network is what happened in a small one: for each mix the passages.
type network struct {
	mixes [][]passage
	path  [][]int // of each packet: its mixes
	ends  []int
}

// draw makes a network of two layers with two mixes each.
func draw(r *rand.Rand, packets int) *network {
	n := &network{mixes: make([][]passage, 4), path: make([][]int, packets), ends: make([]int, packets)}
	for p := range packets {
		at := r.Float64() * 2
		n.ends[p] = r.IntN(3)
		for layer := range 2 {
			mix := 2*layer + r.IntN(2)
			out := at + r.ExpFloat64()
			n.mixes[mix] = append(n.mixes[mix], passage{at, out, p})
			n.path[p] = append(n.path[p], mix)
			at = out + .05
		}
	}
	return n
}

// log is what is seen, in its order.
func (n *network) log(target int, bad []bool) (*anonymity.Log, anonymity.Packet) {
	type happening struct {
		at float64
		do func()
	}
	l := anonymity.NewLog(bad)
	names := make([]anonymity.Packet, len(n.path))
	for p := range names {
		if p == target {
			names[p] = l.Target()
		} else {
			names[p] = l.Packet()
		}
	}
	var all []happening
	for mix, passages := range n.mixes {
		for _, s := range passages {
			all = append(all, happening{s.in, func() { l.Enter(names[s.packet], mix) }}, happening{s.out, func() { l.Leave(names[s.packet], mix) }})
			if mix >= 2 {
				all = append(all, happening{s.out + .05, func() { l.Out(names[s.packet], n.ends[s.packet]) }})
			}
		}
	}
	slices.SortFunc(all, func(a, b happening) int { return cmp.Compare(a.at, b.at) })
	for _, h := range all {
		h.do()
	}
	return l, names[target]
}

// permutations counts, of all ways in which what left a mix can be what came to it, how often passage i came in as that which
// left as passage j. Each way is as likely as any other, if nothing leaves before it came: the exponential
// distribution's density of all stays together depends on the sum of the times only, which is the same for all of them.
func permutations(passages []passage, bad bool) [][]float64 {
	n := len(passages)
	count := make([][]float64, n)
	for i := range count {
		count[i] = make([]float64, n)
	}
	total, to, used := 0.0, make([]int, n), make([]bool, n)
	var try func(i int)
	try = func(i int) {
		if i == n {
			total++
			for i, j := range to {
				count[i][j]++
			}
			return
		}
		for j := range n {
			if !used[j] && passages[j].out > passages[i].in && (!bad || i == j) {
				used[j], to[i] = true, j
				try(i + 1)
				used[j] = false
			}
		}
	}
	try(0)
	for i := range count {
		for j := range count[i] {
			count[i][j] /= total
		}
	}
	return count
}

// expected is where the target may be, by all permutations of all mixes.
func (n *network) expected(target int, bad []bool) []float64 {
	of := make([]float64, len(n.path))
	of[target] = 1
	for layer := range 2 {
		next := make([]float64, len(of))
		for mix := 2 * layer; mix < 2*layer+2; mix++ {
			for i, row := range permutations(n.mixes[mix], bad[mix]) {
				for j, p := range row {
					next[n.mixes[mix][j].packet] += of[n.mixes[mix][i].packet] * p
				}
			}
		}
		of = next
	}
	return of
}

// TestAgainstAllPermutations: in small networks, some of whose mixes are bad, Follow gives what counting all
// permutations gives that fit what was seen.
func TestAgainstAllPermutations(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	spread := 0
	for round := range 200 {
		n := draw(r, 2+r.IntN(8))
		bad := make([]bool, 4)
		if round%3 == 0 {
			bad[r.IntN(4)] = true
		}
		l, target := n.log(0, bad)
		places, err := l.Follow(target)
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		got := make([]float64, len(n.path))
		for _, x := range places {
			// Names are given in the packets' order.
			got[x.Packet] += x.P
			if x.End != n.ends[x.Packet] {
				t.Fatalf("round %d: packet %d ends at %d, not at %d", round, x.Packet, x.End, n.ends[x.Packet])
			}
		}
		want := n.expected(0, bad)
		if len(places) > 2 {
			spread++
		}
		for p := range want {
			if math.Abs(got[p]-want[p]) > 2e-6 {
				t.Fatalf("round %d: packet %d is the target with %.9f, by all permutations with %.9f", round, p, got[p], want[p])
			}
		}
		if again, err := l.Follow(target); err != nil || !slices.Equal(again, places) {
			t.Fatalf("round %d: followed again it is elsewhere: %v", round, err)
		}
	}
	if spread < 100 {
		t.Errorf("in %d of 200 networks the packet could be one of more than two", spread)
	}
}

// TestByHand: small stories whose end can be told without counting.
func TestByHand(t *testing.T) {
	const mix = 0
	for _, c := range []struct {
		name string
		bad  bool
		tell func(l *anonymity.Log) anonymity.Packet
		want []float64
		ends []float64 // by end 0, 1, lost
	}{
		{"alone", false, func(l *anonymity.Log) anonymity.Packet {
			a := l.Target()
			l.Enter(a, mix)
			l.Leave(a, mix)
			l.Out(a, 0)
			return a
		}, []float64{1}, []float64{1, 0, 0}},
		{"two", false, func(l *anonymity.Log) anonymity.Packet {
			a, b := l.Target(), l.Packet()
			l.Enter(a, mix)
			l.Enter(b, mix)
			l.Leave(b, mix)
			l.Leave(a, mix)
			l.Out(b, 1)
			l.Out(a, 0)
			return a
		}, []float64{.5, .5}, []float64{.5, .5, 0}},
		{"the other came too late", false, func(l *anonymity.Log) anonymity.Packet {
			a, b := l.Target(), l.Packet()
			l.Enter(a, mix)
			l.Leave(a, mix)
			l.Enter(b, mix)
			l.Leave(b, mix)
			l.Out(a, 0)
			l.Out(b, 1)
			return a
		}, []float64{1}, []float64{1, 0, 0}},
		{"a bad mix", true, func(l *anonymity.Log) anonymity.Packet {
			a, b := l.Target(), l.Packet()
			l.Enter(a, mix)
			l.Enter(b, mix)
			l.Leave(b, mix)
			l.Leave(a, mix)
			l.Out(b, 1)
			l.Out(a, 0)
			return a
		}, []float64{1}, []float64{1, 0, 0}},
		{"a dummy that the next mix drops", false, func(l *anonymity.Log) anonymity.Packet {
			// Mix 0 makes one, and sends it to mix 1 before the packet: half of the probability waits there, and
			// is with whatever leaves mix 1 next.
			a, d, b := l.Target(), l.Packet(), l.Packet()
			l.Enter(a, 0)
			l.Enter(d, 0)
			l.Leave(d, 0)
			l.Drop(d, 1)
			l.Enter(b, 1)
			l.Leave(b, 1)
			l.Out(b, 1)
			l.Leave(a, 0)
			l.Enter(a, 1)
			l.Leave(a, 1)
			l.Out(a, 0)
			return a
		}, []float64{.5, .5}, []float64{.5, .5, 0}},
		{"lost on a link", false, func(l *anonymity.Log) anonymity.Packet {
			a, b := l.Target(), l.Packet()
			l.Enter(a, mix)
			l.Enter(b, mix)
			l.Leave(a, mix)
			l.Leave(b, mix)
			l.Out(a, anonymity.Lost)
			l.Out(b, 1)
			return a
		}, []float64{.5, .5}, []float64{0, .5, .5}},
		{"a mix that dies", false, func(l *anonymity.Log) anonymity.Packet {
			a, b, c := l.Target(), l.Packet(), l.Packet()
			for _, p := range []anonymity.Packet{a, b, c} {
				l.Enter(p, mix)
			}
			l.Leave(b, mix)
			l.Out(b, 1)
			l.Die(mix)
			return a
		}, []float64{1. / 3, 2. / 3}, []float64{0, 1. / 3, 2. / 3}},
	} {
		l := anonymity.NewLog([]bool{c.bad, c.bad})
		places, err := l.Follow(c.tell(l))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		var got []float64
		ends := make([]float64, 3)
		for _, x := range places {
			got = append(got, x.P)
			ends[(x.End+3)%3] += x.P
		}
		if fmt.Sprintf("%.3f", got) != fmt.Sprintf("%.3f", c.want) || fmt.Sprintf("%.3f", ends) != fmt.Sprintf("%.3f", c.ends) {
			t.Errorf("%s: %.3f at %.3f, want %.3f at %.3f", c.name, got, ends, c.want, c.ends)
		}
	}
}

// TestOpen: a log that ends too early says so.
func TestOpen(t *testing.T) {
	l := anonymity.NewLog([]bool{false})
	a, b := l.Target(), l.Packet()
	l.Enter(a, 0)
	l.Enter(b, 0)
	l.Leave(a, 0)
	l.Out(a, 0)
	if _, err := l.Follow(a); !errors.Is(err, anonymity.ErrOpen) {
		t.Errorf("%v", err)
	}
}

func TestMeasures(t *testing.T) {
	p := func(p float64, packet anonymity.Packet, end int) anonymity.Place {
		return anonymity.Place{Packet: packet, End: end, P: p}
	}
	places := []anonymity.Place{p(.25, 1, 0), p(.25, 2, 1), p(.25, 3, 0), p(.25, 4, 2)}
	if h := anonymity.Entropy(places); h != 2 {
		t.Errorf("%g bits, want 2", h)
	}
	ends := anonymity.Ends(places)
	if h := anonymity.Entropy(ends); h != 1.5 || len(ends) != 3 {
		t.Errorf("%g bits over %d ends, want 1.5 over 3", h, len(ends))
	}
	if best, ok := anonymity.Likeliest(ends); !ok || best.End != 0 || best.P != .5 {
		t.Errorf("%+v", best)
	}
	if n := len(anonymity.Ends([]anonymity.Place{p(.5, 1, anonymity.Lost), p(.5, 2, anonymity.Lost)})); n != 2 {
		t.Errorf("two lost packets are %d", n)
	}
	if _, ok := anonymity.Likeliest(nil); ok || anonymity.Entropy(nil) != 0 {
		t.Error("nothing is something")
	}
}

// TestLimits: the constants as they were measured and published, and the entropy of the Erlang distribution by
// numerical integration.
func TestLimits(t *testing.T) {
	for layers, want := range map[int]float64{1: 1.4427, 2: 2.28, 3: 2.67, 4: 2.92, 5: 3.11} {
		got := anonymity.Limit(1, 1, layers, 1)
		if math.Abs(got-want) > .01 {
			t.Errorf("%d layers: %.4f, want %.4f", layers, got, want)
		}
		sum, gamma := 0.0, math.Gamma(float64(layers))
		const dx = .0005
		for x := dx / 2; x < 60; x += dx {
			f := math.Pow(x, float64(layers-1)) * math.Exp(-x) / gamma
			sum -= f * math.Log2(f) * dx
		}
		if math.Abs(got-sum) > 1e-3 {
			t.Errorf("%d layers: %.5f, by integration %.5f", layers, got, sum)
		}
	}
	if got, want := anonymity.Limit(5000, .9, 1, 10), math.Log2(500*.9*math.E); math.Abs(got-want) > 1e-9 {
		t.Errorf("one layer of ten mixes: %.4f, want %.4f", got, want)
	}
	if anonymity.Limit(0, 1, 3, 5) != 0 || anonymity.Limit(1, 1, 0, 5) != 0 {
		t.Error("nothing hides something")
	}
}
