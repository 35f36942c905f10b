package simulations_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/mimid/mimid/simulations"
)

type inner struct {
	Share float64 `toml:"share" doc:"a share"`
}

type parameters struct {
	Nodes int                  `toml:"nodes" doc:"how many"`
	Wait  simulations.Duration `toml:"wait" doc:"how long"`
	Mode  string               `toml:"mode" doc:"a word"`
	Inner inner                `toml:"inner"`
}

func (p *parameters) Check() error {
	if p.Nodes < 1 {
		return errors.New("parameters.nodes must be 1 or more")
	}
	return nil
}

// toy is a simulation that observes its parameters.
func toy() simulations.Simulation {
	return simulations.New(simulations.About{Name: "toy", Engine: simulations.Event, Question: "What is it?"},
		parameters{Nodes: 3, Wait: 1e9, Mode: "a"}, func(r *simulations.Run, p parameters) error {
			r.Observe("nodes", "1", float64(p.Nodes), simulations.Label{Key: "mode", Value: p.Mode})
			r.ObserveTime("wait", p.Wait.D())
			r.Observe("share", "1", p.Inner.Share+float64(r.Seed))
			return r.At(p.Wait.D(), 1)
		})
}

func parse(t *testing.T, text string, over ...simulations.Override) *simulations.Scenario {
	t.Helper()
	s, err := simulations.Parse([]byte(text), "x.toml", []simulations.Simulation{toy()}, over...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestMistakesNameTheirLine(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"no simulation", "seed = 1\n", `simulation = "" does not exist; there are toy`},
		{"another", "simulation = \"tow\"\n", `simulation = "tow" does not exist; there are toy`},
		{"unknown key", "simulation = \"toy\"\n\nsede = 2\n", `line 3: there is no key "sede"; here may be limits, parameters, runs, seed, simulation, sweep, title`},
		{"unknown parameter", "simulation = \"toy\"\n[parameters]\nnodes = 2\nnoeds = 3\n", `line 4: there is no key "parameters.noeds"; here may be inner, mode, nodes, wait`},
		{"unknown in a table", "simulation = \"toy\"\n[parameters.inner]\nshares = 2.0\n", `line 3: there is no key "parameters.inner.shares"; here may be share`},
		{"wrong type", "simulation = \"toy\"\n[parameters]\nnodes = \"many\"\n", `line 3`},
		{"no duration", "simulation = \"toy\"\n[parameters]\nwait = \"long\"\n", `"long" is no duration`},
		{"no TOML", "simulation = \"toy\"\n[parameters\n", `line 2`},
		{"twice", "simulation = \"toy\"\nseed = 1\nseed = 2\n", `seed`},
		{"runs", "simulation = \"toy\"\nruns = 0\n", `runs = 0; it must be 1 to 1000`},
		{"negative seed", "simulation = \"toy\"\nseed = -1\n", `line 2`},
		{"type", "simulation = \"toy\"\n[parameters]\nnodes = \"x\"\n", `x.toml, line 3: "parameters.nodes": the value must be of type integer`},
		{"type of a table", "simulation = \"toy\"\n[parameters]\ninner = 3\n", `line 3`},
		{"type of what is swept", "simulation = \"toy\"\n[sweep]\nnodes = [\"x\"]\n", `x.toml, nodes = x: "parameters.nodes": the value must be of type integer`},
		{"check", "simulation = \"toy\"\n[parameters]\nnodes = 0\n", `parameters.nodes must be 1 or more`},
		{"sweep of what is not there", "simulation = \"toy\"\n[sweep]\nnode = [1]\n", `node = 1`},
		{"sweep of nothing", "simulation = \"toy\"\n[sweep]\nnodes = []\n", `sweep.nodes has no values`},
		{"sweep fails the check", "simulation = \"toy\"\n[sweep]\nnodes = [1, 0]\n", `x.toml, nodes = 0: parameters.nodes must be 1 or more`},
		{"sweep too large", "simulation = \"toy\"\n[sweep]\nnodes = [" + strings.Repeat("1,", 40) + "1]\n\"inner.share\" = [" + strings.Repeat("1,", 40) + "1]\n", `more than 1000 settings`},
		{"too long", strings.Repeat("#\n", simulations.MaxScenario), `larger than`},
		{"limits", "simulation = \"toy\"\n[limits]\nmemory = -1\n", `must not be negative`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := simulations.Parse([]byte(c.text), "x.toml", []simulations.Simulation{toy()})
			if !errors.Is(err, simulations.ErrScenario) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "x.toml") {
				t.Errorf("got %v\nwant one with %q", err, c.want)
			}
		})
	}
}

func TestOverrides(t *testing.T) {
	base := "simulation = \"toy\"\nruns = 2\n[parameters]\nnodes = 5\n[sweep]\nmode = [\"a\", \"b\"]\n"
	set := func(kv ...string) []simulations.Override {
		var all []simulations.Override
		for i := 0; i < len(kv); i += 2 {
			all = append(all, simulations.Override{Key: kv[i], Value: kv[i+1]})
		}
		return all
	}
	s := parse(t, base, set("nodes", "7", "parameters.wait", "2s", "inner.share", "0.5", "seed", "9", "runs", "3", "limits.wall", "1m")...)
	if s.Seed != 9 || s.Runs != 3 || s.Limits.Wall.D().Minutes() != 1 || len(s.Settings) != 2 {
		t.Fatalf("%+v", s)
	}
	for i, mode := range []string{"a", "b"} {
		want := parameters{Nodes: 7, Wait: 2e9, Mode: mode, Inner: inner{.5}}
		if got := s.Settings[i].Parameters; got != want {
			t.Errorf("setting %d: %+v, want %+v", i, got, want)
		}
	}
	if s := parse(t, base, set("mode", "c")...); len(s.Settings) != 1 || s.Settings[0].Parameters.(parameters).Mode != "c" {
		t.Errorf("what is set is swept all the same: %+v", s.Settings)
	}
	if s := parse(t, base, set("sweep.nodes", "[1, 2, 3]")...); len(s.Settings) != 6 {
		t.Errorf("%d settings, want 6", len(s.Settings))
	}
	for _, kv := range [][2]string{{"noeds", "1"}, {"nodes", "many"}, {"seed", "-1"}, {"runs", "x"}, {"limits.wall", "1"}, {"sweep.nodes", "3"}, {"nodes.x", "1"}, {"parameters", "1"}, {"wait", "2\n3"}} {
		if _, err := simulations.Parse([]byte(base), "x.toml", []simulations.Simulation{toy()}, set(kv[0], kv[1])...); !errors.Is(err, simulations.ErrScenario) {
			t.Errorf("--set %s=%s: %v", kv[0], kv[1], err)
		} else if strings.Contains(err.Error(), ", line ") {
			t.Errorf("--set %s=%s names a line, which nobody wrote: %v", kv[0], kv[1], err)
		}
	}
}

func TestParameters(t *testing.T) {
	got := toy().Parameters()
	want := []simulations.Parameter{{"nodes", "integer", "3", "how many"}, {"wait", "duration", `"1s"`, "how long"}, {"mode", "text", `"a"`, "a word"}, {"inner.share", "number", "0", "a share"}}
	if len(got) != len(want) {
		t.Fatalf("%v", got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("%+v, want %+v", got[i], want[i])
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("simulation = \"toy\"\n[sweep]\nnodes = [1]\n"), "nodes", "3")
	f.Add([]byte("simulation = \"toy\"\n[parameters.inner]\nshare = 1\n"), "inner.share", "[]")
	f.Fuzz(func(t *testing.T, text []byte, key, value string) {
		_, err := simulations.Parse(text, "x", []simulations.Simulation{toy()}, simulations.Override{Key: key, Value: value})
		if err != nil && !errors.Is(err, simulations.ErrScenario) {
			t.Errorf("%v is no ErrScenario", err)
		}
	})
}
