package scenarios_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/mimid/mimid/simulations"
	"github.com/mimid/mimid/simulations/scenarios"
	"github.com/mimid/mimid/simulations/virtual"
)

// TestMain lets this program be the worker of its own tests.
func TestMain(m *testing.M) {
	if os.Getenv("MIMID_SIM_WORKER") != "" {
		if err := virtual.Serve(os.Stdin, os.Stdout, append(scenarios.All(), endless())); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// endless waits in virtual time for what never comes, and says nothing of how far it is.
func endless() simulations.Simulation {
	return simulations.New(simulations.About{Name: "endless", Engine: simulations.Stack}, struct {
		MiB int `toml:"mib"`
	}{}, func(r *simulations.Run, p struct {
		MiB int `toml:"mib"`
	}) error {
		held := make([]byte, p.MiB<<20)
		for r.Context().Err() == nil {
			time.Sleep(time.Second)
		}
		runtime.KeepAlive(held)
		return nil
	})
}

// worker starts one.
func worker(ctx context.Context) *exec.Cmd {
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), "MIMID_SIM_WORKER=1")
	return cmd
}

func stackScenario(t *testing.T, text string) *simulations.Scenario {
	t.Helper()
	sc, err := simulations.Parse([]byte(text), "x", append(scenarios.All(), endless()))
	if err != nil {
		t.Fatal(err)
	}
	sc.Worker = worker
	return sc
}

// A run of the stack engine is made by another process, in virtual time.
func TestWorker(t *testing.T) {
	sc := stackScenario(t, "simulation = \"gossip\"\nruns = 2\n[parameters]\nnodes = 5\nmessages = 4\nsettle = \"1m\"\n")
	said := 0
	r := sc.Execute(t.Context(), func(simulations.Progress) { said++ })
	if r.Err != nil || len(r.Outcomes) != 2 || said < 2 {
		t.Fatalf("%v, %d outcomes, %d times progress was told", r.Err, len(r.Outcomes), said)
	}
	for _, o := range r.Outcomes {
		if o.Virtual.Minutes() < 1 || o.Wall >= o.Virtual {
			t.Errorf("%s of virtual time took %s by the wall", o.Virtual, o.Wall)
		}
	}
	for _, g := range r.Groups() {
		if g.Metric == "reached" && g.Min < 1 {
			t.Errorf("a message reached %.2f of the nodes", g.Min)
		}
	}
}

// A limit, an interruption and a worker that dies are told, and end nothing else.
func TestWorkersThatEnd(t *testing.T) {
	const text = "simulation = \"gossip\"\n[parameters]\nnodes = 5\nmessages = 1000\nevery = \"1m\"\n"
	t.Run("limit", func(t *testing.T) {
		r := stackScenario(t, text+"[limits]\nwall = \"300ms\"\n").Execute(t.Context(), nil)
		if !errors.Is(r.Err, simulations.ErrLimit) || len(r.Outcomes) != 1 || strings.Count(r.Err.Error(), "limit reached") != 1 {
			t.Errorf("%v", r.Err)
		}
	})
	t.Run("limit, while it waits for what never comes", func(t *testing.T) {
		for text, want := range map[string]string{
			"[limits]\nwall = \"300ms\"\n":                    "limits.wall = 300ms is over, and the run did not end by itself",
			"[parameters]\nmib = 40\n[limits]\nmemory = 30\n": "more than limits.memory = 30 MiB of heap are in use",
		} {
			r := stackScenario(t, "simulation = \"endless\"\n"+text).Execute(t.Context(), nil)
			if !errors.Is(r.Err, simulations.ErrLimit) || !strings.Contains(r.Err.Error(), want) || len(r.Outcomes) != 1 {
				t.Errorf("%d runs, %v, want %q", len(r.Outcomes), r.Err, want)
			}
		}
	})
	t.Run("within the limit", func(t *testing.T) {
		r := stackScenario(t, "simulation = \"gossip\"\nruns = 2\n[parameters]\nnodes = 3\nmessages = 2\n[limits]\nwall = \"30m\"\nmemory = 8000\n").Execute(t.Context(), nil)
		if r.Err != nil || len(r.Outcomes) != 2 {
			t.Errorf("%d runs, %v", len(r.Outcomes), r.Err)
		}
	})
	t.Run("interrupted", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		r := stackScenario(t, text).Execute(ctx, func(p simulations.Progress) {
			if p.Virtual > 0 {
				cancel()
			}
		})
		cancel()
		if !errors.Is(r.Err, context.Canceled) {
			t.Errorf("%v", r.Err)
		}
	})
	t.Run("dies", func(t *testing.T) {
		sc := stackScenario(t, text)
		sc.Worker = func(ctx context.Context) *exec.Cmd {
			return exec.CommandContext(ctx, os.Args[0], "-test.run=NoSuchTest")
		}
		if r := sc.Execute(t.Context(), nil); r.Err == nil {
			t.Error("a worker without a result counts as one with")
		}
	})
}
