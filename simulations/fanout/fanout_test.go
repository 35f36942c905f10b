package fanout_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/mimid/mimid/simulations"
	"github.com/mimid/mimid/simulations/fanout"
)

// execute makes the runs of a scenario with some parameters.
func execute(t *testing.T, seed int, parameters string) *simulations.Result {
	t.Helper()
	text := fmt.Sprintf("simulation = \"fanout\"\nseed = %d\n[parameters]\n%s", seed, parameters)
	s, err := simulations.Parse([]byte(text), "x", []simulations.Simulation{fanout.Simulation()})
	if err != nil {
		t.Fatal(err)
	}
	r := s.Execute(context.Background(), nil)
	if r.Err != nil || len(r.Outcomes) == 0 {
		t.Fatalf("%v, %d outcomes", r.Err, len(r.Outcomes))
	}
	for _, v := range r.Violations() {
		t.Error(v)
	}
	return r
}

func group(t *testing.T, r *simulations.Result, metric string) simulations.Group {
	t.Helper()
	for _, g := range r.Groups() {
		if g.Metric == metric {
			return g
		}
	}
	t.Fatalf("no %s was observed", metric)
	return simulations.Group{}
}

// A seed is one run, and another seed another one: also by what happened in it, not only by what
// was observed.
func TestReplays(t *testing.T) {
	for _, mode := range []string{"gossip", "direct"} {
		p := "nodes = 40\nmessages = 6\nmode = \"" + mode + "\"\nlinks = {model = \"cities\", jitter = 0.1, loss = 0.02}\n"
		a, again, b := execute(t, 7, p).Outcomes[0], execute(t, 7, p).Outcomes[0], execute(t, 8, p).Outcomes[0]
		if a.Digest == 0 || a.Events == 0 || a.Digest != again.Digest || a.Events != again.Events {
			t.Errorf("%s: seed 7 is %x with %d events, and then %x with %d", mode, a.Digest, a.Events, again.Digest, again.Events)
		}
		if a.Digest == b.Digest {
			t.Errorf("%s: seeds 7 and 8 are the same run", mode)
		}
	}
}

// Where nothing is lost and nobody withholds, everybody gets everything, with at least one copy each, and
// nobody before the shortest way allows.
func TestCompleteAndNotTooFast(t *testing.T) {
	for _, mode := range []string{"gossip", "direct"} {
		for _, model := range []string{"fixed", "uniform", "star", "cities"} {
			r := execute(t, 3, "nodes = 60\nmessages = 8\nanybody = true\nmode = \""+mode+"\"\nlinks = {model = \""+model+"\", low = \"10ms\", high = \"90ms\", uplink = 50.0}\n")
			if g := group(t, r, "reached"); g.Count != 8 || g.Min != 1 || g.Max != 1 {
				t.Errorf("%s, %s: %d messages, the worst reached %.3f of the providers", mode, model, g.Count, g.Min)
			}
			if g := group(t, r, "stretch"); g.Count != 8 || g.Min < 1 {
				t.Errorf("%s, %s: %d messages, the fastest took %.3f of the shortest way", mode, model, g.Count, g.Min)
			}
			if g := group(t, r, "copies"); g.Min < 1 || mode == "direct" && g.Max != 1 {
				t.Errorf("%s, %s: %.3f to %.3f copies", mode, model, g.Min, g.Max)
			}
		}
	}
}

// Of providers that pass nothing on, each still gets what the others send, as long as these are connected; and a lossy
// link makes things later, and loses nothing.
func TestWithheldAndLost(t *testing.T) {
	calm := "nodes = 80\nmessages = 10\nlinks = {model = \"fixed\", low = \"30ms\""
	well := group(t, execute(t, 5, calm+"}\n"), "latency")
	lossy := execute(t, 5, calm+", loss = 0.2}\n")
	if g := group(t, lossy, "reached"); g.Min != 1 {
		t.Errorf("with loss a message reached %.3f of the providers", g.Min)
	}
	if g := group(t, lossy, "latency"); g.Mean <= well.Mean {
		t.Errorf("with loss a message takes %.1f ms, without %.1f", g.Mean, well.Mean)
	}
	held := execute(t, 5, "withholding = 0.3\n"+calm+"}\n")
	if g := group(t, held, "latency"); g.Mean <= well.Mean {
		t.Errorf("with a third that withholds a message takes %.1f ms, without %.1f", g.Mean, well.Mean)
	}
}
