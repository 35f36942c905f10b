package snapshot

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/mimid/mimid/simulations"
)

func groups(t *testing.T, text string) []simulations.Group {
	t.Helper()
	s, err := simulations.Parse([]byte("simulation = \"snapshot\"\n[parameters]\n"+defaulted(text)), "x", []simulations.Simulation{Simulation()})
	if err != nil {
		t.Fatal(err)
	}
	r := s.Execute(t.Context(), nil)
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	if v := r.Violations(); len(v) > 0 {
		t.Fatalf("promises are broken: %v", v)
	}
	return r.Groups()
}

func mean(all []simulations.Group, metric, of string) float64 {
	for _, g := range all {
		if g.Metric == metric && g.Label("of") == of {
			return g.Mean
		}
	}
	return math.NaN()
}

// TestQuorums: of seven witnesses, of whom five have to sign, five hostile ones can show a victim their list, three can keep everybody from having
// one, and fewer can do neither; and who signs two lists that are both valid is shown to have done so.
func TestQuorums(t *testing.T) {
	for hostile := range 8 {
		if testing.Short() && (hostile < 2 || hostile == 4 || hostile > 5) {
			continue
		}
		for _, withhold := range []bool{true, false} {
			if testing.Short() && withhold == (hostile == 3) {
				continue
			}
			all := groups(t, fmt.Sprintf("hostile = %d\nwithhold = %t\n", hostile, withhold))
			captured, others, proven := 0., 0., 0.
			if hostile >= 5 {
				captured = 1
			}
			if withhold && hostile >= 3 {
				others = 1
			}
			if !withhold && hostile >= 1 {
				proven = 1
			}
			name := fmt.Sprintf("%d hostile, withheld %t", hostile, withhold)
			for metric, want := range map[string]float64{"captured": captured, "denied": 1 - captured, "others": others, "proven": proven} {
				if got := mean(all, metric, ""); got != want {
					t.Errorf("%s: %s is %g, want %g", name, metric, got, want)
				}
			}
			if bad := mean(all, "bad", "victim"); (hostile >= 5) != (bad == 1) {
				t.Errorf("%s: %g of a victim's packets meet hostile relays only", name, bad)
			}
			if bad := mean(all, "bad", "others"); bad > .2 {
				t.Errorf("%s: %g of others' packets do", name, bad)
			}
			if bad := mean(all, "bad", "unsigned"); bad != 1 {
				t.Errorf("%s: without signatures %g of a victim's packets do", name, bad)
			}
		}
	}
}

// TestCareless: witnesses that sign what they are shown give a victim away with fewer hostile ones. Two lists are valid only if a third
// is hostile, which each run checks.
func TestCareless(t *testing.T) {
	if got := mean(groups(t, "hostile = 3\ncareless = 1.0\nepochs = 40\n"), "captured", ""); got < .4 || got > .95 { // two or more of four
		t.Errorf("%.2f of the epochs are captured, by hand 11 of 16", got)
	}
	if got := mean(groups(t, "hostile = 3\ncareless = 0.0\n"), "captured", ""); got != 0 {
		t.Errorf("%.2f of the epochs are captured, and nobody is careless", got)
	}
	if thirdOf(7) != 3 || thirdOf(3) != 1 || thirdOf(100) != 34 {
		t.Errorf("two quorums share %d of 7, %d of 3, %d of 100", thirdOf(7), thirdOf(3), thirdOf(100))
	}
}

// TestGrind: who can choose among lists finds one that pleases it better, and with more of them never a worse one.
func TestGrind(t *testing.T) {
	at := map[string]float64{}
	for _, g := range groups(t, "tries = 20\nepochs = 1\npackets = 1\n") {
		if g.Metric == "grind" {
			at[g.Label("tries")] = g.Mean
		}
	}
	if len(at) != 5 || at["1"] > at["5"] || at["5"] > at["20"] || at["20"] < .02 {
		t.Errorf("%v", at)
	}
}

func TestCheck(t *testing.T) {
	for text, want := range map[string]string{
		"relays = 3":     "parameters.relays = 3",
		"bad = -0.1":     "parameters.bad = -0.1",
		"width = 20":     "parameters.width = 20",
		"hostile = 8":    "parameters.hostile = 8",
		"careless = 2.0": "parameters.careless = 2",
		"tries = 0":      "parameters.tries = 0",
	} {
		_, err := simulations.Parse([]byte("simulation = \"snapshot\"\n[parameters]\n"+text+"\n"), "x", []simulations.Simulation{Simulation()})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// defaulted makes runs short where the text does not say otherwise.
func defaulted(text string) string {
	for _, d := range []string{"epochs = 2", "packets = 20", "tries = 2"} {
		if key, _, _ := strings.Cut(d, " "); !strings.Contains(text, key+" =") {
			text += d + "\n"
		}
	}
	return text
}
