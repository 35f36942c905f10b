package simulations_test

import (
	"bytes"
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mimid/mimid/simulations"
)

func TestExecute(t *testing.T) {
	s := parse(t, "simulation = \"toy\"\nseed = 10\nruns = 3\n[sweep]\nnodes = [2, 10]\n")
	var last simulations.Progress
	r := s.Execute(t.Context(), func(p simulations.Progress) { last = p })
	if r.Err != nil || len(r.Outcomes) != 6 || last.Done != 6 || last.Share != 1 {
		t.Fatalf("%v, %d outcomes, %+v", r.Err, len(r.Outcomes), last)
	}
	groups := r.Groups()
	i := slices.IndexFunc(groups, func(g simulations.Group) bool { return g.Metric == "share" && g.Label("nodes") == "10" })
	g := groups[i]
	if g.Count != 3 || g.Seeds != 3 || g.Min != 10 || g.P50 != 11 || g.Max != 12 || g.Mean != 11 {
		t.Errorf("%+v", g)
	}
	// Three samples 10, 11, 12: standard deviation 1, t of 2 degrees of freedom 4.303.
	if off := 4.303 / math.Sqrt(3); math.Abs(g.OfP50.Low-(11-off)) > 1e-9 || math.Abs(g.OfP50.High-(11+off)) > 1e-9 {
		t.Errorf("interval %+v, want 11 by %g", g.OfP50, off)
	}
	if groups[0].Metric != "nodes" || groups[0].Label("nodes") != "2" {
		t.Errorf("the first group is %+v: numbers are not in order", groups[0])
	}
}

// failing is a toy that ends each run in some way.
func failing(run func(*simulations.Run) error) *simulations.Scenario {
	sim := simulations.New(simulations.About{Name: "toy", Engine: simulations.Stack}, parameters{Nodes: 1}, func(r *simulations.Run, _ parameters) error { return run(r) })
	s, err := simulations.Parse([]byte("simulation = \"toy\"\nruns = 5\n[limits]\nmemory = 4000\nwall = \"1h\""), "x", []simulations.Simulation{sim})
	if err != nil {
		panic(err)
	}
	return s
}

func TestRunsThatEndEarly(t *testing.T) {
	some := errors.New("some")
	t.Run("error", func(t *testing.T) {
		r := failing(func(r *simulations.Run) error {
			r.Observe("x", "1", 1)
			if r.Seed == 3 {
				return some
			}
			return nil
		}).Execute(t.Context(), nil)
		if !errors.Is(r.Err, some) || !strings.Contains(r.Err.Error(), "seed 3") || len(r.Outcomes) != 3 || r.Groups()[0].Count != 3 {
			t.Errorf("%v, %d outcomes", r.Err, len(r.Outcomes))
		}
	})
	t.Run("panic", func(t *testing.T) {
		r := failing(func(*simulations.Run) error { panic("ouch") }).Execute(t.Context(), nil)
		if r.Err == nil || !strings.Contains(r.Err.Error(), "ouch") || !strings.Contains(r.Err.Error(), "seed 1") {
			t.Error(r.Err)
		}
	})
	t.Run("interrupted", func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		r := failing(func(r *simulations.Run) error {
			r.Observe("x", "1", 1)
			if r.Seed == 2 {
				stop()
			}
			return r.At(time.Second, .5)
		}).Execute(ctx, nil)
		if !errors.Is(r.Err, context.Canceled) || len(r.Outcomes) != 2 || r.Groups()[0].Count != 2 {
			t.Errorf("%v, %d outcomes", r.Err, len(r.Outcomes))
		}
	})
	t.Run("too much", func(t *testing.T) {
		r := failing(func(r *simulations.Run) error {
			for range simulations.MaxObservations + 1 {
				r.Observe("x", "1", 1)
			}
			return nil
		}).Execute(t.Context(), nil)
		if !errors.Is(r.Err, simulations.ErrObservations) {
			t.Error(r.Err)
		}
	})
	t.Run("violation", func(t *testing.T) {
		r := failing(func(r *simulations.Run) error {
			r.Violate("%d is lost", r.Seed)
			r.Observe("nothing", "1", math.NaN())
			return nil
		}).Execute(t.Context(), nil)
		if v := r.Violations(); r.Err != nil || len(v) != 10 || v[0] != "seed 1: 1 is lost" || v[1] != "seed 1: nothing is NaN" {
			t.Errorf("%v %v", r.Err, v)
		}
	})
}

func TestLimits(t *testing.T) {
	sim := simulations.New(simulations.About{Name: "toy", Engine: simulations.Event}, parameters{Nodes: 1}, func(r *simulations.Run, _ parameters) error {
		kept := make([][]byte, 0, 100)
		for i := range 100 {
			kept = append(kept, make([]byte, 1<<20))
			if err := r.At(time.Duration(i), 0); err != nil {
				return err
			}
			time.Sleep(time.Millisecond)
		}
		_ = kept[len(kept)-1][0]
		return errors.New("nothing has stopped it")
	})
	for _, c := range []struct{ limits, want string }{{"memory = 30", "limits.memory = 30"}, {`wall = "30ms"`, "limits.wall = 30ms"}} {
		s, err := simulations.Parse([]byte("simulation = \"toy\"\n[limits]\n"+c.limits), "x", []simulations.Simulation{sim})
		if err != nil {
			t.Fatal(err)
		}
		if r := s.Execute(t.Context(), nil); !errors.Is(r.Err, simulations.ErrLimit) || !strings.Contains(r.Err.Error(), c.want) {
			t.Errorf("%s: %v", c.limits, r.Err)
		}
	}
}

func TestSaveAndLoad(t *testing.T) {
	s := parse(t, "simulation = \"toy\"\nruns = 4\ntitle = \"A title\"\n[sweep]\nnodes = [1, 2]\n\"inner.share\" = [0.25, 0.5]\n")
	r := s.Execute(t.Context(), nil)
	r.Graph = &simulations.Graph{Nodes: []simulations.Node{{X: .5, Y: .5, Name: "a"}}, Note: "one"}
	dir := t.TempDir()
	if err := r.Save(dir, r.Summarize("v1")); err != nil {
		t.Fatal(err)
	}
	got, err := simulations.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got.Summary.Title != "A title" || len(got.Summary.Runs) != 16 || got.Graph.Note != "one" || got.Summary.Versions.Mimid != "v1" {
		t.Errorf("%+v", got.Summary)
	}
	// What was not set has its default there, and what was swept is not there.
	if p := got.Summary.Parameters; len(p) != len(s.Simulation.Parameters())-2 || p["nodes"] != "" || p["inner.share"] != "" {
		t.Errorf("parameters %v of %v", p, s.Simulation.Parameters())
	}
	for _, p := range s.Simulation.Parameters() {
		if p.Key != "nodes" && p.Key != "inner.share" && got.Summary.Parameters[p.Key] != p.Default {
			t.Errorf("%s is %q, its default %q", p.Key, got.Summary.Parameters[p.Key], p.Default)
		}
	}
	want := r.Groups()
	if len(got.Summary.Groups) != len(want) {
		t.Fatalf("%d groups, want %d", len(got.Summary.Groups), len(want))
	}
	for i, w := range want {
		g := got.Summary.Groups[i]
		if g.Metric != w.Metric || !slices.Equal(g.Labels, w.Labels) || !slices.Equal(g.Values, w.Values) || g.OfP50 != w.OfP50 || g.Seeds != w.Seeds {
			t.Errorf("group %d: %+v\nwant %+v", i, g, w)
		}
	}
	again := parse(t, got.Scenario)
	if len(again.Settings) != len(s.Settings) || again.Settings[3].Parameters != s.Settings[3].Parameters {
		t.Errorf("the kept scenario is another: %+v", again.Settings)
	}
	if err := os.WriteFile(filepath.Join(dir, "results.csv"), []byte("seed,metric,unit,value\n1,x,1,y\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := simulations.Load(dir); err == nil || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("a broken results.csv: %v", err)
	}
}

// Runs side by side share nothing, and what they leave does not depend on which is ready first.
func TestSideBySide(t *testing.T) {
	text := "simulation = \"toy\"\nruns = 8\n[sweep]\nnodes = [1, 2, 3]\n"
	var first bytes.Buffer
	if err := parse(t, text).Execute(t.Context(), nil).WriteCSV(&first); err != nil {
		t.Fatal(err)
	}
	done := make(chan string)
	for range 4 {
		s := parse(t, text)
		go func() {
			var b bytes.Buffer
			s.Execute(context.Background(), nil).WriteCSV(&b)
			done <- b.String()
		}()
	}
	for range 4 {
		if got := <-done; got != first.String() {
			t.Error("two runs of one scenario differ")
		}
	}
}

func TestQuantile(t *testing.T) {
	v := []float64{1, 2, 3, 10}
	for _, c := range []struct{ q, want float64 }{{0, 1}, {.5, 2.5}, {1, 10}, {.25, 1.75}, {.95, 8.95}} {
		if got := simulations.Quantile(v, c.q); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%g: %g, want %g", c.q, got, c.want)
		}
	}
	if !math.IsNaN(simulations.Quantile(nil, .5)) {
		t.Error("of nothing")
	}
}

func TestGoldenFindsDeviations(t *testing.T) {
	groups := parse(t, "simulation = \"toy\"\nruns = 3\n").Execute(t.Context(), nil).Groups()
	g, err := simulations.ParseGolden([]byte(`{"source": "by hand", "want": [
		{"metric": "share", "statistic": "p50", "value": 2.4, "within": 0.5},
		{"metric": "share", "statistic": "p50", "value": 2.6, "within": 0.5},
		{"metric": "share", "statistic": "p51", "value": 2, "within": 9},
		{"metric": "share", "labels": {"mode": "a"}, "statistic": "p50", "value": 2, "within": 9},
		{"metric": "nodes", "labels": {"mode": "a"}, "statistic": "mean", "value": 3, "within": 0}]}`))
	if err != nil {
		t.Fatal(err)
	}
	d := g.Compare(groups)
	if len(d) != 3 || d[0].Got != 2 || !strings.Contains(d[1].Why, "p51") || !strings.Contains(d[2].Why, "nothing") {
		t.Errorf("%+v", d)
	}
	for _, bad := range []string{`{}`, `{"want": [{"metrics": "x"}]}`, `x`} {
		if _, err := simulations.ParseGolden([]byte(bad)); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
}
