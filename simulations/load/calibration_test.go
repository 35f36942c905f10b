//go:build unix

package load_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/mimid/mimid/simulations"
	"github.com/mimid/mimid/simulations/load"
	"github.com/mimid/mimid/simulations/stack"
	"github.com/mimid/mimid/simulations/virtual"
)

// TestStackAgreesWithProcesses: five whole providers in virtual time and five processes on loopback lose their
// hub, and users know another one after times whose medians differ by less than a fifth. Nearly all of that is the second of
// silence after which a provider counts as dead. Until a user's next message is accepted it takes processes longer, by their
// computing and their disks, which virtual time leaves out: that they are never faster than a tenth less is asked, and both figures
// are logged. It looks at the clock on the wall, so that it is asked for with MIMID_CALIBRATE=1.
func TestStackAgreesWithProcesses(t *testing.T) {
	if os.Getenv("MIMID_CALIBRATE") == "" {
		t.Skip("measures the machine: MIMID_CALIBRATE=1")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	real, err := load.RunFailover(ctx, load.FailoverConfig{Program: program, Dir: filepath.Join(t.TempDir(), "p"), Providers: 5, Kills: 5, Calm: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if !real.Whole() {
		t.Errorf("something is missing: %+v", real)
	}
	sc, err := simulations.Parse([]byte("simulation = \"room\"\nseed = 1\nruns = 10\n[parameters]\nproviders = 5\nsay = \"100ms\"\ncalm = \"3s\"\nlasts = \"5s\"\nlinks = {model = \"fixed\", low = \"100us\"}\n"),
		"x", []simulations.Simulation{stack.Room()})
	if err != nil {
		t.Fatal(err)
	}
	var r *simulations.Result
	virtual.Bubble(t, func() { r = sc.Execute(context.Background(), nil) })
	if r.Err != nil || len(r.Violations()) > 0 {
		t.Fatal(r.Err, r.Violations())
	}
	median := map[string]float64{}
	for _, g := range r.Groups() {
		median[g.Metric] = g.P50
		t.Logf("virtual time: %s %.1f %s (95 %%: %.1f, worst %.1f, of %d)", g.Metric, g.P50, g.Unit, g.P95, g.Max, g.Count)
	}
	told, service := median["told"], median["service"]
	t.Logf("told: %.0f ms in virtual time, %.0f by processes (worst %.0f, of %d)", told, real.Changed.P50, real.Changed.Max, real.Changed.N)
	t.Logf("service: %.0f ms in virtual time (final), %.0f by processes (accepted; worst %.0f)", service, real.Served.P50, real.Served.Max)
	if told < real.Changed.P50*.8 || told > real.Changed.P50*1.2 {
		t.Errorf("told: %.0f ms in virtual time, %.0f by processes", told, real.Changed.P50)
	}
	if service > real.Served.P50*1.1 {
		t.Errorf("service: %.0f ms in virtual time, only %.0f by processes", service, real.Served.P50)
	}
}
