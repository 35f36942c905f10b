package search_test

import (
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/mimid/mimid/protocol/hub/search"
)

// Each bug that can be planted, the scenario that has to find it, and how many
// steps the shortest history takes that shows it (of those from which rest is
// tried, if rest is what it breaks), with whole logs and with windows. A longer one
// means that the search has lost something.
var planted = []struct {
	tag, scenario string
	steps         int
	window        string // without "window: "
	windowSteps   int
}{
	{"mutant_no_term_fence", "order", 6, "three messages", 6},
	{"mutant_cosign_before_sync", "crash", 7, "crashes", 7},
	{"mutant_vote_not_durable", "election", 7, "crashes", 9},
	{"mutant_log_check_final_only", "order", 6, "three messages", 6},
	{"mutant_new_set_at_once", "shrink", 4, "three replicas", 4},
	{"mutant_new_set_when_final", "shrink", 6, "three replicas", 6},
	{"mutant_hand_over_alone", "hand over: in a set of five", 7, "a hand over in a set of five", 7},
	{"mutant_quorum_off_by_one", "order", 2, "three messages", 2},
	{"mutant_forget_resubmission", "resubmission", 3, "an accepted message", 2},
	{"mutant_era_crossing", "move: to one replica", 7, "an admin's move", 7},
	{"mutant_restored_signs", "restore", 5, "a backup", 3},
	{"mutant_release_taken_back", "both: a hand over", 3, "a hand over during", 3},
	{"mutant_new_set_stands_only", "both: shrink", 6, "shrink", 5},
	// Counting the hub that is replaced, if it is alive, would let the living two of three
	// move a room a second time in a row. It forks the room: see package hub.
	{"mutant_move_counts_hub", "lossy move: back to the hub", 6, "a lossy move", 6},
	// Who acknowledges a move onto the other of two final histories is bound by it as well.
	{"mutant_frozen_unbound", "conflict: two moves", 6, "a move for each", 6},
	// Who comes from a backup into a room that stands still asks before it acknowledges.
	{"mutant_frozen_forgets", "conflict: a backup", 8, "two histories, a backup", 8},
	// A forgotten acknowledgement may be of a move to a participant that is no replica.
	{"mutant_restored_moves", "both: a backup and two moves", 9, "a backup and two moves", 9},
	// A later era is believed from the log or a commit, not from somebody's word.
	{"mutant_era_unproven", "claim: of an era", 2, "an era that nobody", 3},
	// Who stands still votes for nobody, and shows nothing of its own to a move on the other history.
	{"mutant_frozen_votes", "liar: three take part, and the other", 3, "three take part, one", 3},
	{"mutant_frozen_shows", "liar: three take part, and the shorter", 2, "the shorter", 2},
	// A move that leaves liars out takes all the others, the replaced hub too.
	{"mutant_liars_left_out", "liar: three take part, and it is heard", 4, "three take part, one has lied", 4},
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
			cmd.Env = append(os.Environ(), "MIMID_HUB_PLANTED="+p.scenario+";window: "+p.window)
			if p.tag == "mutant_forget_resubmission" {
				// Rest is all that this one breaks, so it is looked for everywhere.
				cmd.Env = append(cmd.Env, "MIMID_HUB_CALM=1")
			}
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("not found: %v\n%s", err, out)
			}
			traces := strings.Split(string(out), "distinct states")
			if len(traces) != 3 {
				t.Fatalf("%d searches, want 2\n%s", len(traces)-1, out)
			}
			for i, want := range []int{p.steps, p.windowSteps} {
				t.Logf("%s", traces[i+1])
				if got := len(numbered.FindAllString(traces[i+1], -1)); got != want {
					t.Errorf("found after %d steps, want %d", got, want)
				}
			}
		})
	}
}

// TestPlanted is what TestMutants runs: it succeeds if a bug is found in the first
// scenario of each name.
func TestPlanted(t *testing.T) {
	names := os.Getenv("MIMID_HUB_PLANTED")
	if names == "" {
		t.Skip("run by TestMutants, in a build with a bug")
	}
	for name := range strings.SplitSeq(names, ";") {
		all := search.Scenarios()
		i := slices.IndexFunc(all, func(s *search.Scenario) bool { return strings.HasPrefix(s.Name, name) })
		if i < 0 {
			t.Fatalf("no scenario is named %q", name)
		}
		all[i].Limit = 600_000
		if os.Getenv("MIMID_HUB_CALM") != "" {
			all[i].Calm = 1
		}
		r := search.Run(all[i])
		t.Log(r)
		if r.Violation == "" {
			t.Errorf("nothing was found in %q", all[i].Name)
		}
	}
}
