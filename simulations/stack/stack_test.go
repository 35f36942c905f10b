package stack_test

import (
	"context"
	"testing"

	"github.com/mimid/mimid/simulations"
	"github.com/mimid/mimid/simulations/fanout"
	"github.com/mimid/mimid/simulations/stack"
	"github.com/mimid/mimid/simulations/virtual"
)

// run makes the runs of a scenario in virtual time.
func run(t *testing.T, text string) *simulations.Result {
	t.Helper()
	s, err := simulations.Parse([]byte(text), "x", []simulations.Simulation{stack.Gossip(), stack.Room(), stack.Discovery(), fanout.Simulation()})
	if err != nil {
		t.Fatal(err)
	}
	var r *simulations.Result
	virtual.Bubble(t, func() { r = s.Execute(context.Background(), nil) })
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	return r
}

func of(t *testing.T, r *simulations.Result, metric string) simulations.Group {
	t.Helper()
	for _, g := range r.Groups() {
		if g.Metric == metric {
			return g
		}
	}
	t.Fatalf("no %s was observed", metric)
	return simulations.Group{}
}

// The model of the event engine and the real nodes agree on the median within a fifth where
// everything else is the same.
func TestModelAgreesWithNodes(t *testing.T) {
	nodes := "30"
	if testing.Short() {
		nodes = "12"
	}
	parameters := "seed = 3\n[parameters]\nnodes = " + nodes + "\nmessages = 30\nevery = \"200ms\"\nlinks = {model = \"uniform\", low = \"20ms\", high = \"80ms\"}\n"
	real := run(t, "simulation = \"gossip\"\n"+parameters)
	model := run(t, "simulation = \"fanout\"\n"+parameters+"anybody = true\n")
	if got := of(t, real, "reached"); got.Min < 1 {
		t.Errorf("a message reached %.3f of the nodes", got.Min)
	}
	a, b := of(t, real, "latency"), of(t, model, "latency")
	if a.P50 < b.P50*.8 || a.P50 > b.P50*1.2 {
		t.Errorf("median of nodes %.1f ms, of the model %.1f ms", a.P50, b.P50)
	}
	x, y := of(t, real, "octets"), of(t, model, "octets")
	t.Logf("nodes %s: latency %.1f ms (95 %% %.1f), model %.1f (%.1f); octets %.0f, model %.0f; mesh %.1f", nodes, a.P50, a.P95, b.P50, b.P95, x.Mean, y.Mean, of(t, real, "mesh").Mean)
}
