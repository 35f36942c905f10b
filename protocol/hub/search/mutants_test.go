package search_test

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/mimid/mimid/protocol/hub/search"
)

// Each bug that can be planted, the scenario that has to find it, and how many
// steps the shortest history takes that shows it (of those from which rest is
// tried, if rest is what it breaks). A longer one means that the search has lost
// something.
var planted = []struct {
	tag, scenario string
	steps         int
}{
	{"mutant_no_term_fence", "order", 6},
	{"mutant_cosign_before_sync", "crash", 7},
	{"mutant_vote_not_durable", "election", 7},
	{"mutant_log_check_final_only", "order", 6},
	{"mutant_new_set_at_once", "shrink", 4},
	{"mutant_new_set_when_final", "shrink", 6},
	{"mutant_hand_over_alone", "hand over: in a set of five", 7},
	{"mutant_quorum_off_by_one", "order", 2},
	{"mutant_forget_resubmission", "resubmission", 3},
	{"mutant_era_crossing", "move: to one replica", 6},
	{"mutant_restored_signs", "restore", 5},
	{"mutant_release_taken_back", "both: a hand over", 3},
	{"mutant_new_set_stands_only", "both: shrink", 7},
}

var numbered = regexp.MustCompile(`(?m)^ +\d+\. `)

// TestMutants runs the search against the machine with each of them.
func TestMutants(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles the machine for every bug")
	}
	goTool, err := exec.LookPath("go")
	if err != nil {
		t.Skip("there is no go command to compile them with")
	}
	for _, p := range planted {
		t.Run(p.tag, func(t *testing.T) {
			cmd := exec.Command(goTool, "test", "-vet=off", "-count=1", "-tags="+p.tag, "-run=^TestPlanted$", "-v", ".")
			cmd.Env = append(os.Environ(), "MIMID_HUB_PLANTED="+p.scenario)
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("not found: %v\n%s", err, out)
			}
			_, trace, _ := strings.Cut(string(out), "distinct states")
			t.Logf("%s", trace)
			if got := len(numbered.FindAllString(trace, -1)); got != p.steps {
				t.Errorf("found after %d steps, want %d", got, p.steps)
			}
		})
	}
}

// TestPlanted is what TestMutants runs: it succeeds if a bug is found.
func TestPlanted(t *testing.T) {
	name := os.Getenv("MIMID_HUB_PLANTED")
	if name == "" {
		t.Skip("run by TestMutants, in a build with a bug")
	}
	for _, s := range search.Scenarios() {
		if !strings.HasPrefix(s.Name, name) {
			continue
		}
		s.Limit = 600_000
		if name == "resubmission" {
			s.Calm = 1 // rest is all that this one breaks, so look for it everywhere
		}
		r := search.Run(s)
		t.Log(r)
		if r.Violation != "" {
			return
		}
	}
	t.Fatal("nothing was found")
}
