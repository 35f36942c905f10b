package report_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mimid/mimid/simulations"
	"github.com/mimid/mimid/simulations/report"
)

type parameters struct {
	Wait simulations.Duration `toml:"wait" doc:"how long"`
	Mode string               `toml:"mode" doc:"a word"`
}

// toy observes values that name a script: what people write into files must not become markup.
func toy() simulations.Simulation {
	return simulations.New(simulations.About{Name: "toy", Engine: simulations.Event, Question: "Is it < or > ?", Doc: "<b>Not bold.</b>",
		Plots: []simulations.Plot{
			{Name: "over", Title: "T", Metric: "value", Kind: simulations.Percentiles, X: "wait", By: "mode"},
			{Name: "means", Title: "T", Metric: "value", Kind: simulations.Means, X: "wait", By: "mode", LogX: true, LogY: true},
			{Name: "all", Title: "T", Metric: "value", Kind: simulations.Distribution, By: "mode"},
			{Name: "nothing", Title: "T", Metric: "never", Kind: simulations.Distribution},
			{Name: "unswept", Title: "T", Metric: "value", Kind: simulations.Means, X: "depth"},
		}},
		parameters{Wait: 1e9, Mode: "a"}, func(r *simulations.Run, p parameters) error {
			for i := range 10 {
				r.ObserveTime("value", p.Wait.D()*time.Duration(uint64(i)+r.Seed)/10)
			}
			r.Draw(simulations.Graph{Nodes: []simulations.Node{{X: 0, Y: 0, Name: "<script>", Group: "g"}, {X: 1, Y: 1}}, Edges: []simulations.Edge{{0, 1}, {5, 6}}, Note: "two"})
			return nil
		})
}

func TestReport(t *testing.T) {
	s, err := simulations.Parse([]byte("simulation = \"toy\"\ntitle = \"<script>alert(1)</script>\"\nruns = 3\n[sweep]\nwait = [\"3s\", \"300ms\", \"1s\"]\nmode = [\"a\", \"b\"]\n"),
		"x", []simulations.Simulation{toy()})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	r := s.Execute(t.Context(), nil)
	if err := r.Save(dir, r.Summarize("v1")); err != nil {
		t.Fatal(err)
	}
	// What is left of an earlier report is not shown as if it were of this one.
	if err := os.WriteFile(filepath.Join(dir, "nothing.svg"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	files, err := report.Write(dir, toy())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range files {
		names = append(names, filepath.Base(f))
	}
	if want := []string{"over.svg", "means.svg", "all.svg", "unswept.svg", "report.html"}; !slices.Equal(names, want) {
		t.Errorf("%v were written, want %v", names, want)
	}
	if _, err := os.Stat(filepath.Join(dir, "nothing.svg")); err == nil {
		t.Error("an old plot is still there")
	}
	b, err := os.ReadFile(filepath.Join(dir, "report.html"))
	if err != nil {
		t.Fatal(err)
	}
	page := string(b)
	if strings.Contains(page, "<script>") || strings.Contains(page, "<b>Not") {
		t.Error("text has become markup")
	}
	for _, want := range []string{"wait = 300ms", "mode = b", "&lt;script&gt;alert(1)", "mimid sim run scenario.toml", "3s"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not have %q", want)
		}
	}
	svg, err := os.ReadFile(filepath.Join(dir, "over.svg"))
	if err != nil {
		t.Fatal(err)
	}
	// Durations stand on the axis by their size.
	a, b2, c := strings.Index(string(svg), ">300ms<"), strings.Index(string(svg), ">1s<"), strings.Index(string(svg), ">3s<")
	if a < 0 || a > b2 || b2 > c {
		t.Errorf("marks at %d, %d, %d", a, b2, c)
	}
	if !strings.Contains(string(svg), "mode = a") {
		t.Error("lines have no names")
	}
	// A plot over what was not swept is one over what was, with lines for the rest.
	if svg, err = os.ReadFile(filepath.Join(dir, "unswept.svg")); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{">wait<", ">300ms<", "mode = b"} {
		if !strings.Contains(string(svg), want) {
			t.Errorf("the plot over what was swept in place of depth does not have %q", want)
		}
	}
	if _, err := report.Write(dir, simulations.New(simulations.About{Name: "other"}, parameters{}, func(*simulations.Run, parameters) error { return nil })); err == nil {
		t.Error("results of one simulation are shown as another's")
	}
}
