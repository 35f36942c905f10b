package failover_test

import (
	"os"
	"os/exec"
	"testing"

	"github.com/mimid/mimid/simulations/failover"
)

// Bugs that can be planted in protocol/hub (its mutants.go), and how many seeds may
// pass until one shows it. The search beside protocol/hub finds all of them; here it is
// to be seen that this simulation finds what it is for.
var planted = []struct {
	tag   string
	test  string
	seeds string
}{
	{"mutant_forget_resubmission", "TestPlanted", "50"},
	{"mutant_quorum_off_by_one", "TestPlanted", "50"},
	{"mutant_no_term_fence", "TestPlanted", "100"},
	{"mutant_restored_signs", "TestPlanted", "200"},
	{"mutant_cosign_before_sync", "TestPlanted", "300"},
	{"mutant_log_check_final_only", "TestPlanted", "300"},
	{"mutant_no_term_fence", "TestPlantedExperiment", "1"},
	{"mutant_frozen_votes", "TestPlantedLiar", "1"},
}

// TestMutants runs seeds against the machine with each of them.
func TestMutants(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles the machine for every bug")
	}
	goTool, err := exec.LookPath("go")
	if err != nil {
		t.Skip("there is no go command to compile them with")
	}
	for _, p := range planted {
		t.Run(p.tag+"/"+p.test, func(t *testing.T) {
			cmd := exec.Command(goTool, "test", "-vet=off", "-count=1", "-tags="+p.tag, "-run=^"+p.test+"$", "-v", ".")
			cmd.Env = append(os.Environ(), "MIMID_SIM_PLANTED="+p.seeds)
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("not found: %v\n%s", err, out)
			}
			t.Logf("%s", out)
		})
	}
}

// TestPlanted is what TestMutants runs: it succeeds if a bug is found.
func TestPlanted(t *testing.T) {
	if os.Getenv("MIMID_SIM_PLANTED") == "" {
		t.Skip("run by TestMutants, in a build with a bug")
	}
	count := number(t, "MIMID_SIM_PLANTED", 0)
	for seed := range count {
		if r := failover.Run(seed, nil); r.Broken != "" {
			t.Logf("found in seed %d: %s", seed, r.Broken)
			return
		}
	}
	t.Fatalf("nothing was found in %d seeds", count)
}
