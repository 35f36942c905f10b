package failover_test

import (
	"os"
	"strings"
	"testing"

	"github.com/mimid/mimid/simulations"
	"github.com/mimid/mimid/simulations/failover"
)

func experiment(t testing.TB, text string) *simulations.Result {
	t.Helper()
	s, err := simulations.Parse([]byte(text), "x", []simulations.Simulation{failover.Simulation(), failover.Departure(), failover.Liar()})
	if err != nil {
		t.Fatal(err)
	}
	r := s.Execute(t.Context(), nil)
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	return r
}

// of is the group of a metric, with a label's value if key is not empty.
func of(t *testing.T, r *simulations.Result, metric, key, value string) simulations.Group {
	t.Helper()
	for _, g := range r.Groups() {
		if g.Metric == metric && (key == "" || g.Label(key) == value) {
			return g
		}
	}
	t.Fatalf("no %s with %s = %s was observed", metric, key, value)
	return simulations.Group{}
}

// The time without service is the silence that counts as death, and what an election and a
// message take after it; so it follows the setting. Nothing that is promised is broken.
func TestExperiment(t *testing.T) {
	r := experiment(t, `simulation = "failover"
[parameters]
faults = 3
links = {model = "fixed", low = "10ms"}
[sweep]
fault = ["kill", "isolate"]
suspect = ["300ms", "1s", "3s"]`)
	if v := r.Violations(); len(v) > 0 {
		t.Fatal(v)
	}
	for _, fault := range []string{"kill", "isolate"} {
		for _, c := range []struct {
			suspect   string
			low, high float64 // ms
		}{{"300ms", 300, 2300}, {"1s", 1000, 3000}, {"3s", 3000, 5500}} {
			for _, g := range r.Groups() {
				if g.Metric == "service" && g.Label("fault") == fault && g.Label("suspect") == c.suspect && (g.P50 < c.low || g.P50 > c.high) {
					t.Errorf("%s, %s: %.0f ms without service, want %.0f to %.0f", fault, c.suspect, g.P50, c.low, c.high)
				}
				if g.Metric == "served" && g.Min < .8 {
					t.Errorf("only %.2f of the rooms were served again: %v", g.Min, g.Labels)
				}
			}
		}
	}
}

// A hub that stalls is alive, so nobody's silence gives it away: users' patience does.
func TestStall(t *testing.T) {
	r := experiment(t, "simulation = \"failover\"\n[parameters]\nfault = \"stall\"\nfaults = 2\nevery = \"20s\"")
	if v := r.Violations(); len(v) > 0 {
		t.Fatal(v)
	}
	if g := of(t, r, "service", "", ""); g.P50 < 3000 || g.P50 > 15_000 {
		t.Errorf("%.0f ms without service", g.P50)
	}
}

func TestDeparture(t *testing.T) {
	runs := "3"
	if testing.Short() {
		runs = "1"
	}
	r := experiment(t, "simulation = \"departure\"\nruns = "+runs+"\n[sweep]\nreplicas = [1, 3]\nannounced = [false, true]")
	if v := r.Violations(); len(v) > 0 {
		t.Fatal(v)
	}
	for _, g := range r.Groups() {
		alone := g.Label("replicas") == "1" && g.Label("announced") == "false"
		switch {
		case g.Metric == "live" && g.Min < 1:
			t.Errorf("rooms are not live at the end: %+v", g)
		case g.Metric == "kept_final" && !alone && g.Min < 1:
			t.Errorf("final entries are lost: %+v", g)
		case g.Metric == "kept_accepted" && g.Min < 1:
			t.Errorf("what was accepted is lost though its senders live: %+v", g)
		case g.Metric == "service" && alone && g.P50 < 5000:
			t.Errorf("rooms of one were moved before an administrator's patience ended: %+v", g)
		case g.Metric == "service" && g.Label("announced") == "true" && g.P50 > 1500:
			t.Errorf("rooms that were handed over stood still: %+v", g)
		}
	}
}

func TestExperimentMistakes(t *testing.T) {
	for text, want := range map[string]string{
		"fault = \"fire\"":                "parameters.fault",
		"replicas = 2":                    "parameters.replicas",
		"fault = \"stall\"\nreplicas = 1": "nobody could take over",
		"lasts = \"20s\"":                 "parameters.every",
		"suspect = \"1ms\"":               "parameters.suspect",
		"links = {model = \"x\"}":         "parameters.links.model",
		"faults = 0":                      "parameters.faults",
		"disk = \"2s\"":                   "parameters.disk",
		"say = \"1ms\"":                   "parameters.say",
	} {
		_, err := simulations.Parse([]byte("simulation = \"failover\"\n[parameters]\n"+text), "x", []simulations.Simulation{failover.Simulation()})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want one with %q", text, err, want)
		}
	}
}

// TestPlantedExperiment is what TestMutants runs: what `mimid sim run failover` checks finds a bug
// of the protocol, too.
func TestPlantedExperiment(t *testing.T) {
	if os.Getenv("MIMID_SIM_PLANTED") == "" {
		t.Skip("run by TestMutants, in a build with a bug")
	}
	for _, fault := range []string{"isolate", "kill"} {
		r := experiment(t, "simulation = \"failover\"\nruns = 4\n[parameters]\nfaults = 15\nfault = \""+fault+"\"")
		if v := r.Violations(); len(v) > 0 {
			t.Logf("found: %s", v[0])
			return
		}
	}
	t.Fatal("nothing was found")
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
