package scenarios_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/mimid/mimid/simulations"
	"github.com/mimid/mimid/simulations/report"
	"github.com/mimid/mimid/simulations/scenarios"
)

// small are overrides with which each shipped scenario takes a second or so.
var small = map[string][]simulations.Override{
	"failover":     {{Key: "sweep.suspect", Value: `["500ms"]`}, {Key: "sweep.replicas", Value: "[3]"}, {Key: "faults", Value: "1"}, {Key: "runs", Value: "2"}},
	"departure":    {{Key: "sweep.replicas", Value: "[1, 3]"}, {Key: "sweep.announced", Value: "[false]"}, {Key: "runs", Value: "1"}},
	"eclipse":      {{Key: "nodes", Value: "100"}, {Key: "sweep.near", Value: "[10]"}, {Key: "searches", Value: "2"}, {Key: "runs", Value: "1"}},
	"lookup":       {{Key: "sweep.nodes", Value: "[100]"}, {Key: "searches", Value: "10"}, {Key: "runs", Value: "1"}},
	"spam":         {{Key: "lasts", Value: `"1h"`}, {Key: "sweep.attackers", Value: "[0, 4]"}, {Key: "runs", Value: "1"}},
	"exhaustion":   {{Key: "lasts", Value: `"1h"`}, {Key: "sweep.providers", Value: "[0, 2]"}, {Key: "runs", Value: "1"}},
	"mixing":       {{Key: "sweep.slots", Value: "[1.6]"}, {Key: "targets", Value: "20"}, {Key: "lasts", Value: `"10s"`}, {Key: "runs", Value: "1"}},
	"compromise":   {{Key: "sweep.hostile", Value: "[0.4]"}, {Key: "relays", Value: "20"}, {Key: "width", Value: "5"}, {Key: "users", Value: "10"}, {Key: "messages", Value: "50"}, {Key: "epochs", Value: "2"}, {Key: "runs", Value: "1"}},
	"intersection": {{Key: "sweep.cover", Value: "[0.0, 0.9]"}, {Key: "rounds", Value: "500"}, {Key: "runs", Value: "2"}},
	"snapshot":     {{Key: "sweep.hostile", Value: "[5]"}, {Key: "sweep.careless", Value: "[0.0]"}, {Key: "epochs", Value: "2"}, {Key: "tries", Value: "6"}, {Key: "runs", Value: "1"}},
	"roster":       {{Key: "sweep.level", Value: `["onion"]`}, {Key: "lasts", Value: `"24h"`}, {Key: "rooms", Value: "4"}, {Key: "runs", Value: "1"}},
	"fanout":       {{Key: "sweep.nodes", Value: "[10, 100]"}, {Key: "messages", Value: "5"}, {Key: "runs", Value: "2"}},
}

func run(t *testing.T, s simulations.Simulation, over ...simulations.Override) *simulations.Result {
	t.Helper()
	file, err := scenarios.File(s.Name)
	if err != nil {
		t.Fatal(err)
	}
	sc, err := simulations.Parse(file, s.Name, scenarios.All(), over...)
	if err != nil {
		t.Fatal(err)
	}
	sc.Worker = worker
	r := sc.Execute(t.Context(), nil)
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	if v := r.Violations(); len(v) > 0 {
		t.Fatalf("promises are broken: %v", v)
	}
	return r
}

// A seed of the event engine gives the same octets again, and another seed does not.
func TestReplays(t *testing.T) {
	for _, s := range scenarios.All() {
		if s.Engine != simulations.Event {
			continue
		}
		t.Run(s.Name, func(t *testing.T) {
			csv := func(seed string) string {
				var b bytes.Buffer
				r := run(t, s, append(small[s.Name], simulations.Override{Key: "seed", Value: seed})...)
				if err := r.WriteCSV(&b); err != nil {
					t.Fatal(err)
				}
				for _, o := range r.Outcomes {
					if o.Digest == 0 || o.Events == 0 {
						t.Errorf("seed %d has no digest: %+v", o.Seed, o)
					}
				}
				return b.String()
			}
			first := csv("5")
			if again := csv("5"); first != again {
				t.Error("a seed gives two results")
			}
			if first == csv("50") {
				t.Error("two seeds give one result")
			}
		})
	}
}

func TestReports(t *testing.T) {
	for _, s := range scenarios.All() {
		if s.Engine != simulations.Event {
			continue
		}
		t.Run(s.Name, func(t *testing.T) {
			dir := t.TempDir()
			r := run(t, s, small[s.Name]...)
			if err := r.Save(dir, r.Summarize("test")); err != nil {
				t.Fatal(err)
			}
			files, err := report.Write(dir, s)
			if err != nil {
				t.Fatal(err)
			}
			if len(files) != len(s.Plots)+1 {
				t.Errorf("%d plots are said to be there, %v were written", len(s.Plots), files)
			}
		})
	}
}

// What is shipped has a paragraph in the README, a question, and a golden summary about metrics that it makes.
func TestShipped(t *testing.T) {
	for _, s := range scenarios.All() {
		if !strings.HasSuffix(s.Question, "?") || len(s.Doc) < 100 {
			t.Errorf("%s does not say what it is about", s.Name)
		}
		if !strings.Contains(scenarios.Readme, "\n## "+s.Name+"\n") {
			t.Errorf("README.md has no paragraph about %s", s.Name)
		}
		if _, known, err := scenarios.Golden(s.Name); err != nil || !known {
			t.Errorf("%s: golden summary: %v, %v", s.Name, known, err)
		}
		for _, p := range s.Parameters() {
			if p.Doc == "" && !strings.Contains(p.Key, ".") {
				t.Errorf("%s: parameter %s is not explained", s.Name, p.Key)
			}
		}
	}
}
