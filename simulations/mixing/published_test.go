package mixing

import (
	"fmt"
	"math"
	"testing"

	"github.com/mimid/mimid/simulations"
)

// groups runs a scenario of this package's simulation.
func groups(t *testing.T, text string) []simulations.Group {
	t.Helper()
	s, err := simulations.Parse([]byte("simulation = \"mixing\"\n"+text), "x", []simulations.Simulation{Simulation()})
	if err != nil {
		t.Fatal(err)
	}
	r := s.Execute(t.Context(), nil)
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	if v := r.Violations(); len(v) > 0 {
		t.Fatalf("promises are broken: %v", v)
	}
	return r.Groups()
}

// find is the group of a metric that has a label, or any.
func find(t *testing.T, all []simulations.Group, metric, of string) simulations.Group {
	t.Helper()
	for _, g := range all {
		if g.Metric == metric && g.Label("of") == of {
			return g
		}
	}
	t.Fatalf("no %s of %q was observed", metric, of)
	panic("unreachable")
}

// mixim is a network as in the published figures: messages from many clients over layers of mixes, 50 ms on each link, end to end
// in a given time on average.
func mixim(rate float64, layers, width int, endToEnd, lasts float64, targets int, more string) string {
	const clients, link = 50, .05
	delay := (endToEnd - float64(layers+1)*link) / float64(layers)
	return fmt.Sprintf(`[parameters]
choice = "uniform"
providers = %d
rate = %g
slots = 0.0
acks = false
layers = %d
width = %d
delay = "%.9fs"
lasts = "%gs"
targets = %d
links = {model = "fixed", low = "50ms", jitter = 0.0}
%s`, clients, rate/clients, layers, width, delay, lasts, targets, more)
}

// TestFigure7: Ben Guirat, Gosain and Diaz, "MiXiM: Mixnet Design Decisions and Empirical Evaluation" (WPES 2021), figure 7a: 5,000 messages
// a second, layers of 10 mixes, 1 s end to end.
func TestFigure7(t *testing.T) {
	for layers, want := range []float64{1: 10.253424757723206, 2: 13.295961731532929, 3: 13.039229010619726, 4: 12.789012891339167, 5: 12.55219433733149} {
		if layers == 0 || testing.Short() && layers != 1 && layers != 3 {
			continue
		}
		all := groups(t, mixim(5000, layers, 10, 1, 6, 60, ""))
		got, limit := find(t, all, "entropy", "message"), find(t, all, "entropy", "closed form")
		t.Logf("%d layers: %.3f bits (%.3f to %.3f), published %.3f, closed form %.3f", layers, got.Mean, got.Min, got.Max, want, limit.Mean)
		if got.Count != 60 || math.Abs(got.Mean-want) > .02 {
			t.Errorf("%d layers: %.3f bits of %d packets, published are %.3f", layers, got.Mean, got.Count, want)
		}
		if d := limit.Mean - got.Mean; d < -.02 || d > .2 {
			t.Errorf("%d layers: %.3f bits, the closed form is %.3f", layers, got.Mean, limit.Mean)
		}
	}
}
