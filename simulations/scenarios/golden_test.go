package scenarios_test

import (
	"encoding/json"
	"math"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/mimid/mimid/simulations"
	"github.com/mimid/mimid/simulations/scenarios"
)

// looked are the statistics that golden summaries hold.
var looked = map[string][]struct{ metric, statistic string }{
	"failover":     {{"service", "p50"}, {"service", "p95"}, {"served", "mean"}, {"final", "p50"}},
	"liar":         {{"noticed", "p50"}, {"known", "p50"}, {"service", "p50"}, {"two", "mean"}, {"served", "min"}},
	"departure":    {{"kept_final", "mean"}, {"kept_accepted", "min"}, {"live", "min"}, {"service", "p50"}},
	"room":         {{"read", "p50"}, {"final", "p50"}, {"stretch", "p50"}, {"service", "p50"}, {"told", "p50"}, {"served", "min"}},
	"discovery":    {{"found", "min"}, {"messages", "mean"}, {"hops", "mean"}},
	"churn":        {{"found", "mean"}, {"back", "p50"}, {"online", "mean"}},
	"eclipse":      {{"found", "mean"}, {"holders", "p50"}, {"messages", "p50"}, {"hops", "mean"}, {"latency", "p50"}},
	"lookup":       {{"hops", "mean"}, {"found", "mean"}, {"messages", "mean"}, {"dead", "mean"}, {"latency", "p50"}, {"latency", "p95"}, {"within", "mean"}},
	"spam":         {{"through", "mean"}, {"octets", "mean"}, {"seen", "mean"}},
	"exhaustion":   {{"fresh", "mean"}, {"served", "min"}, {"dry", "mean"}, {"taken", "mean"}},
	"mixing":       {{"entropy", "mean"}, {"set", "mean"}, {"limit", "mean"}, {"found", "mean"}, {"held", "mean"}, {"latency", "p50"}, {"lost", "mean"}, {"wire", "mean"}},
	"compromise":   {{"bad", "mean"}, {"ever", "mean"}, {"ends", "mean"}},
	"intersection": {{"rounds", "p50"}, {"disclosed", "mean"}},
	"snapshot":     {{"captured", "mean"}, {"others", "mean"}, {"bad", "mean"}, {"grind", "mean"}},
	"roster":       {{"named", "mean"}, {"provider", "mean"}, {"sender", "mean"}, {"linked", "mean"}, {"late", "p50"}, {"octets", "mean"}},
	"gossip":       {{"latency", "p50"}, {"octets", "mean"}, {"mesh", "mean"}, {"reached", "mean"}},
	"fanout":       {{"latency", "p50"}, {"latency", "p95"}, {"octets", "mean"}, {"stretch", "p50"}, {"reached", "min"}},
}

// part is the setting that TestGolden runs of a scenario that takes long.
var part = map[string]struct {
	over  simulations.Override
	label simulations.Label
}{
	"discovery":    {simulations.Override{Key: "sweep.nodes", Value: "[50]"}, simulations.Label{Key: "nodes", Value: "50"}},
	"churn":        {simulations.Override{Key: "sweep.nodes", Value: "[20]"}, simulations.Label{Key: "nodes", Value: "20"}},
	"eclipse":      {simulations.Override{Key: "sweep.made_near_announcer", Value: "[20]"}, simulations.Label{Key: "made_near_announcer", Value: "20"}},
	"lookup":       {simulations.Override{Key: "sweep.nodes", Value: "[1000]"}, simulations.Label{Key: "nodes", Value: "1000"}},
	"mixing":       {simulations.Override{Key: "sweep.slots", Value: "[1.6]"}, simulations.Label{Key: "slots", Value: "1.6"}},
	"compromise":   {simulations.Override{Key: "sweep.hostile", Value: "[0.2]"}, simulations.Label{Key: "hostile", Value: "0.2"}},
	"intersection": {simulations.Override{Key: "sweep.cover", Value: "[0.5]"}, simulations.Label{Key: "cover", Value: "0.5"}},
	"snapshot":     {simulations.Override{Key: "sweep.hostile", Value: "[5]"}, simulations.Label{Key: "hostile", Value: "5"}},
	"room":         {simulations.Override{Key: "sweep.providers", Value: "[3]"}, simulations.Label{Key: "providers", Value: "3"}},
	"exhaustion":   {simulations.Override{Key: "sweep.providers", Value: "[8]"}, simulations.Label{Key: "providers", Value: "8"}},
}

// TestGolden runs each scenario as it is shipped, or a part of it, and compares what it gives with the golden
// summary. With MIMID_GOLDEN=NAME it runs all of that one, and writes its summary anew.
func TestGolden(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute")
	}
	for _, s := range scenarios.All() {
		t.Run(s.Name, func(t *testing.T) {
			var over []simulations.Override
			p, partly := part[s.Name]
			if partly = partly && os.Getenv("MIMID_GOLDEN") != s.Name; partly {
				over = append(over, p.over)
				if s.Name == "discovery" { // real nodes; fifty take ten seconds of CPU time to join
					over = append(over, simulations.Override{Key: "runs", Value: "1"})
				}
			}
			r := run(t, s, over...)
			if os.Getenv("MIMID_GOLDEN") == s.Name {
				write(t, s.Name, s.Engine == simulations.Stack, r.Groups())
			}
			g, known, err := scenarios.Golden(s.Name)
			if err != nil || !known {
				t.Fatalf("golden summary: %v, %v", known, err)
			}
			if partly {
				g.Want = slices.DeleteFunc(g.Want, func(e simulations.Expected) bool { return e.Labels[p.label.Key] != p.label.Value })
				if len(g.Want) == 0 {
					t.Fatal("the golden summary says nothing of what was run")
				}
			}
			for _, d := range g.Compare(r.Groups()) {
				t.Errorf("%s, %v", d.Why, d.Labels)
			}
		})
	}
}

// write makes a golden summary: within twice what the seeds leave open, at least a twentieth.
func write(t *testing.T, name string, stack bool, groups []simulations.Group) {
	t.Helper()
	g := simulations.Golden{Source: "the shipped scenario, " + time.Now().UTC().Format("2006-01-02")}
	for _, l := range looked[name] {
		for _, x := range groups {
			if x.Metric != l.metric {
				continue
			}
			v, _ := x.Statistic(l.statistic)
			open := map[string]simulations.Interval{"mean": x.Of, "p50": x.OfP50, "p95": x.OfP95}[l.statistic]
			e := simulations.Expected{Metric: x.Metric, Statistic: l.statistic, Value: v, Within: max(open.High-open.Low, math.Abs(v)/20)}
			if l.statistic == "min" {
				e.Within = 0
			}
			if stack {
				e.Within = max(e.Within, math.Abs(v)/5) // statistics, on whatever machine
			}
			for _, label := range x.Labels {
				if e.Labels == nil {
					e.Labels = map[string]string{}
				}
				e.Labels[label.Key] = label.Value
			}
			g.Want = append(g.Want, e)
		}
	}
	b, err := json.MarshalIndent(g, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name+".golden.json", append(b, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}
