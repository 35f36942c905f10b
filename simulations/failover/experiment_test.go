package failover_test

import (
	"testing"

	"github.com/mimid/mimid/simulations"
	"github.com/mimid/mimid/simulations/failover"
)

func experiment(t testing.TB, text string) *simulations.Result {
	t.Helper()
	s, err := simulations.Parse([]byte(text), "x", []simulations.Simulation{failover.Simulation(), failover.Departure()})
	if err != nil {
		t.Fatal(err)
	}
	r := s.Execute(t.Context(), nil)
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	return r
}

func BenchmarkExperiment(b *testing.B) {
	events := uint64(0)
	for b.Loop() {
		for _, o := range experiment(b, "simulation = \"failover\"\n[parameters]\nfaults = 5").Outcomes {
			events += o.Events
		}
	}
	b.ReportMetric(float64(events)/b.Elapsed().Seconds(), "events/s")
}
