package links_test

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/mimid/mimid/simulations"
	"github.com/mimid/mimid/simulations/links"
)

func TestModels(t *testing.T) {
	ms := func(n int) simulations.Duration { return simulations.Duration(time.Duration(n) * time.Millisecond) }
	const nodes = 400
	for _, c := range []struct {
		spec      links.Spec
		low, high time.Duration
		mean      time.Duration // within a tenth
	}{
		{links.Spec{Model: "fixed", Low: ms(50)}, 50e6, 50e6, 50e6},
		{links.Spec{Model: "uniform", Low: ms(10), High: ms(100)}, 10e6, 100e6, 55e6},
		{links.Spec{Model: "star", Low: ms(10), High: ms(100)}, 10e6, 100e6, 55e6},
		{links.Spec{Model: "cities"}, 1e6, 174e6, 77e6}, // of the table: 45 pairs of 100 twice, 10 of 2 ms, halved, and 5 ms
	} {
		m := links.New(c.spec, nodes, rand.New(rand.NewPCG(1, 2)))
		again := links.New(c.spec, nodes, rand.New(rand.NewPCG(1, 2)))
		var sum time.Duration
		n := 0
		for a := range nodes {
			for b := range a {
				d := m.Latency(a, b)
				if d != m.Latency(b, a) || d != again.Latency(a, b) {
					t.Fatalf("%s: latency of %d and %d is not one", c.spec.Model, a, b)
				}
				if d < c.low || d > c.high {
					t.Fatalf("%s: %s of %d and %d is not between %s and %s", c.spec.Model, d, a, b, c.low, c.high)
				}
				sum += d
				n++
			}
		}
		if mean := sum / time.Duration(n); mean < c.mean*9/10 || mean > c.mean*11/10 {
			t.Errorf("%s: mean %s, want about %s", c.spec.Model, mean, c.mean)
		}
	}
}

// Known pairs of the published table, by hand: nodes 0 to 9 are in the ten cities.
func TestCities(t *testing.T) {
	m := links.New(links.Spec{Model: "cities"}, 10, rand.New(rand.NewPCG(1, 2)))
	for _, c := range []struct {
		a, b int
		rtt  time.Duration
	}{{3, 4, 13e6}, {6, 8, 9e6}, {0, 9, 146e6}, {7, 9, 328e6}, {2, 3, 91e6}, {5, 8, 258e6}} {
		d := m.Latency(c.a, c.b)
		if own := d - c.rtt/2; own < 0 || own > 10*time.Millisecond {
			t.Errorf("%d to %d: %s, half of %s and up to 10ms expected", c.a, c.b, d, c.rtt)
		}
	}
}

func TestLossAndJitter(t *testing.T) {
	ms10 := simulations.Duration(10 * time.Millisecond)
	r := rand.New(rand.NewPCG(1, 2))
	m := links.New(links.Spec{Model: "fixed", Low: ms10, Loss: .1}, 2, r)
	late := 0
	const n = 20_000
	for range n {
		switch d := m.Transit(0, 1, 2400, r); {
		case d < 10*time.Millisecond || (d-10*time.Millisecond)%(30*time.Millisecond) != 0:
			t.Fatalf("took %s", d)
		case d > 10*time.Millisecond:
			late++
		}
	}
	if share := float64(late) / n; share < .18 || share > .2 { // two packets: 1 - 0.9 * 0.9
		t.Errorf("%.3f were sent again, want 0.19", share)
	}
	m = links.New(links.Spec{Model: "fixed", Low: ms10, Jitter: .5, Uplink: 8}, 2, r)
	for range 1000 {
		if d := m.Transit(0, 1, 10, r); d < 10*time.Millisecond || d > 15*time.Millisecond {
			t.Fatalf("took %s", d)
		}
	}
	if d := m.Sending(1_000_000); d != time.Second {
		t.Errorf("a megabyte at 8 Mbit/s takes %s", d)
	}
}

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		spec links.Spec
		want string
	}{
		{links.Spec{Model: "king"}, `links.model = "king" does not exist`},
		{links.Spec{Model: "uniform", Low: 2, High: 1}, "high not below low"},
		{links.Spec{Model: "fixed", Loss: 1}, "links.loss"},
		{links.Spec{Model: "fixed", Jitter: -1}, "links.jitter"},
		{links.Spec{Model: "fixed", Uplink: -1}, "links.uplink"},
	} {
		if err := c.spec.Check(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v", c.spec, err)
		}
	}
}
