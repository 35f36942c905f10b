package scenarios_test

import (
	"math"
	"testing"

	"github.com/mimid/mimid/simulations"
	"github.com/mimid/mimid/simulations/scenarios"
)

// The model of searches (engine event) asks as many nodes, and goes as far, as real nodes with libp2p's DHT do (engine stack):
// within a quarter of what the golden summary of discovery has of 50 and 80 nodes. That one is of 40 searches each, so that
// it is off itself, by some tenths.
func TestSearchesAgreeWithNodes(t *testing.T) {
	g, known, err := scenarios.Golden("discovery")
	if err != nil || !known {
		t.Fatalf("golden summary: %v, %v", known, err)
	}
	s, _ := scenarios.Find("lookup")
	r := run(t, s, simulations.Override{Key: "sweep.nodes", Value: "[50, 80]"}, simulations.Override{Key: "sweep.churn.model", Value: `["none"]`},
		simulations.Override{Key: "searches", Value: "300"})
	compared := 0
	for _, want := range g.Want {
		if want.Labels["silent"] != "0" || want.Metric == "found" {
			continue
		}
		for _, got := range r.Groups() {
			if got.Metric == want.Metric && got.Label("nodes") == want.Labels["nodes"] && (got.Metric != "hops" || got.Label("of") == "searches") {
				compared++
				t.Logf("%s, %s nodes: model %.2f, nodes %.2f", got.Metric, got.Label("nodes"), got.Mean, want.Value)
				if math.Abs(got.Mean-want.Value) > want.Value/4 {
					t.Errorf("%s of %s nodes: %.2f in the model, %.2f of real nodes", got.Metric, got.Label("nodes"), got.Mean, want.Value)
				}
			}
		}
	}
	if compared != 4 {
		t.Errorf("%d figures were compared, want messages and hops of two sizes", compared)
	}
}
