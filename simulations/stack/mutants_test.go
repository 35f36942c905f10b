package stack_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/mimid/mimid/simulations"
	"github.com/mimid/mimid/simulations/stack"
	"github.com/mimid/mimid/simulations/virtual"
)

// Bugs that can be planted in protocol/hub (its mutants.go), and which fault of room is to show each. The search beside
// that package finds all of them in small worlds; here it is to be seen that what each run of room checks would, in whole providers.
var planted = []struct{ tag, fault string }{
	{"mutant_forget_resubmission", "isolate"},
}

// TestMutants runs room with each of them. It compiles whole nodes for every bug, which takes a minute: on demand, by
// MIMID_MUTANTS=1.
func TestMutants(t *testing.T) {
	if os.Getenv("MIMID_MUTANTS") == "" {
		t.Skip("compiles whole nodes for every bug; MIMID_MUTANTS=1 runs it")
	}
	for _, p := range planted {
		t.Run(p.tag, func(t *testing.T) {
			cmd := exec.Command("go", "test", "-vet=off", "-count=1", "-tags="+p.tag, "-run=^TestPlantedRoom$", "-v", ".")
			cmd.Env = append(os.Environ(), "MIMID_SIM_PLANTED="+p.fault)
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("not found: %v\n%s", err, out)
			}
			t.Logf("%s", out)
		})
	}
}

// TestPlantedRoom is what TestMutants runs: it succeeds if a bug is found.
func TestPlantedRoom(t *testing.T) {
	fault := os.Getenv("MIMID_SIM_PLANTED")
	if fault == "" {
		t.Skip("run by TestMutants, in a build with a bug")
	}
	const seeds = 8
	for seed := range seeds {
		text := fmt.Sprintf("simulation = \"room\"\nseed = %d\n[parameters]\nproviders = 3\nsay = \"200ms\"\ncalm = \"2s\"\nlasts = \"12s\"\nfault = %q\nlinks = {model = \"uniform\", low = \"20ms\", high = \"100ms\"}\n", seed+1, fault)
		s, err := simulations.Parse([]byte(text), "x", []simulations.Simulation{stack.Room()})
		if err != nil {
			t.Fatal(err)
		}
		var r *simulations.Result
		virtual.Bubble(t, func() { r = s.Execute(context.Background(), nil) })
		if v := r.Violations(); len(v) > 0 || r.Err != nil {
			t.Logf("found by seed %d: %v %v", seed+1, r.Err, v)
			return
		}
	}
	t.Fatalf("nothing was found in %d seeds", seeds)
}
