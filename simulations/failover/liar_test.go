package failover_test

import (
	"os"
	"strings"
	"testing"

	"github.com/mimid/mimid/simulations"
	"github.com/mimid/mimid/simulations/failover"
)

// TestLiar: a hub with two logs is found out in all rooms, sooner than heads are compared again, and all rooms go
// on. Among three both logs become final in most rooms, since the hub and any other are most of them, and people choose
// one; among five in fewer.
func TestLiar(t *testing.T) {
	r := experiment(t, "simulation = \"liar\"\nruns = 4\n[sweep]\nreplicas = [3, 5]")
	if v := r.Violations(); len(v) > 0 {
		t.Fatal(v)
	}
	for _, replicas := range []string{"3", "5"} {
		known, served, service := of(t, r, "known", "replicas", replicas), of(t, r, "served", "replicas", replicas), of(t, r, "service", "replicas", replicas)
		if noticed := of(t, r, "noticed", "replicas", replicas); noticed.Max > known.Max || known.Max > 2000 || noticed.P50 < 10 {
			t.Errorf("%s replicas: noticed after %.0f ms, known to all after %.0f at most", replicas, noticed.P50, known.Max)
		}
		if served.Min != 1 || service.Count != known.Count || known.Count < 12 {
			t.Errorf("%s replicas: %d rooms know, %d go on, %.2f of them", replicas, known.Count, service.Count, served.Min)
		}
	}
	three, five := of(t, r, "two", "replicas", "3"), of(t, r, "two", "replicas", "5")
	if three.Mean < .6 || five.Mean > .6 {
		t.Errorf("two final histories in %.2f of the rooms of three, and %.2f of those of five", three.Mean, five.Mean)
	}
	if slow, fast := of(t, r, "service", "replicas", "3"), of(t, r, "service", "replicas", "5"); slow.P50 < 4000 || fast.P50 > slow.P50 {
		t.Errorf("rooms of three go on after %.0f ms, those of five after %.0f; people talk for four seconds", slow.P50, fast.P50)
	}
}

func TestLiarMistakes(t *testing.T) {
	for text, want := range map[string]string{
		"replicas = 4":            "parameters.replicas",
		"suspect = \"1ms\"":       "parameters.suspect",
		"links = {model = \"x\"}": "parameters.links.model",
	} {
		_, err := simulations.Parse([]byte("simulation = \"liar\"\n[parameters]\n"+text), "x", []simulations.Simulation{failover.Liar()})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want one with %q", text, err, want)
		}
	}
}

// TestPlantedLiar is what TestMutants runs: what `mimid sim run liar` checks finds bugs that only a liar brings out.
func TestPlantedLiar(t *testing.T) {
	if os.Getenv("MIMID_SIM_PLANTED") == "" {
		t.Skip("run by TestMutants, in a build with a bug")
	}
	for _, replicas := range []string{"1", "3", "5"} {
		if v := experiment(t, "simulation = \"liar\"\nruns = 8\n[parameters]\nreplicas = "+replicas).Violations(); len(v) > 0 {
			t.Logf("found: %s", v[0])
			return
		}
	}
	t.Fatal("nothing was found")
}
