package stack_test

import (
	"context"
	"math"
	"os"
	"testing"

	"github.com/mimid/mimid/simulations"
	"github.com/mimid/mimid/simulations/fanout"
	"github.com/mimid/mimid/simulations/lookup"
	"github.com/mimid/mimid/simulations/stack"
	"github.com/mimid/mimid/simulations/virtual"
)

// The two engines run one scenario of a hundred nodes each, gossip and searches: their medians agree within a fifth for the
// former, means of messages and hops within a quarter for the latter. A hundred real nodes take a minute and more to join, so this is
// on demand; TestModelAgreesWithNodes runs 30, and scenarios.TestSearchesAgreeWithNodes compares with 50 and 80.
func TestEnginesAgreeAtAHundred(t *testing.T) {
	if os.Getenv("MIMID_CALIBRATE") == "" {
		t.Skip("joins a hundred real nodes, twice; MIMID_CALIBRATE=1 runs it")
	}
	for _, c := range []struct {
		name, nodes, model string
		figures            []figure
	}{
		{"gossip", "simulation = \"gossip\"\nseed = 3\n[parameters]\nnodes = 100\nmessages = 30\nevery = \"200ms\"\nlinks = {model = \"uniform\", low = \"20ms\", high = \"80ms\"}\n",
			"simulation = \"fanout\"\nseed = 3\n[parameters]\nnodes = 100\nmessages = 30\nevery = \"200ms\"\nanybody = true\nlinks = {model = \"uniform\", low = \"20ms\", high = \"80ms\"}\n",
			[]figure{{"latency", "p50", .2}}},
		{"searches", "simulation = \"discovery\"\nseed = 3\n[parameters]\nnodes = 100\nkeys = 10\nsearches = 75\ndead = 0.0\nlinks = {model = \"cities\", jitter = 0.05}\n",
			"simulation = \"lookup\"\nseed = 3\nruns = 3\n[parameters]\nnodes = 100\nkeys = 10\nsearches = 300\nlinks = {model = \"cities\", jitter = 0.05}\n",
			[]figure{{"messages", "mean", .25}, {"hops", "mean", .25}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			nodes, model := both(t, c.nodes), both(t, c.model)
			for _, f := range c.figures {
				got, want := f.of(t, model), f.of(t, nodes)
				t.Logf("%s of %s: %.2f in the model, %.2f of nodes", f.statistic, f.metric, got, want)
				if math.Abs(got-want) > f.within*want {
					t.Errorf("%s of %s: %.2f in the model, %.2f of nodes, want it within %g", f.statistic, f.metric, got, want, f.within)
				}
			}
		})
	}
}

func both(t *testing.T, text string) (r *simulations.Result) {
	t.Helper()
	s, err := simulations.Parse([]byte(text), "x", []simulations.Simulation{stack.Gossip(), stack.Discovery(), fanout.Simulation(), lookup.Simulation()})
	if err != nil {
		t.Fatal(err)
	}
	virtual.Bubble(t, func() { r = s.Execute(context.Background(), nil) })
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	return r
}

// A figure is one statistic, and how far off it may be.
type figure struct {
	metric, statistic string
	within            float64
}

// of takes the group of searches where hops are those beside a bound.
func (f figure) of(t *testing.T, r *simulations.Result) float64 {
	t.Helper()
	for _, g := range r.Groups() {
		if of := g.Label("of"); g.Metric == f.metric && (of == "" || of == "searches") {
			if v, ok := g.Statistic(f.statistic); ok {
				return v
			}
		}
	}
	t.Fatalf("no %s of %s", f.statistic, f.metric)
	return 0
}
