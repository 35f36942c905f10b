package intersection

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/mimid/mimid/simulations"
)

func groups(t *testing.T, text string) []simulations.Group {
	t.Helper()
	s, err := simulations.Parse([]byte("simulation = \"intersection\"\n"+text), "x", []simulations.Simulation{Simulation()})
	if err != nil {
		t.Fatal(err)
	}
	r := s.Execute(t.Context(), nil)
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	return r.Groups()
}

func find(t *testing.T, all []simulations.Group, metric, of string) simulations.Group {
	t.Helper()
	for _, g := range all {
		if g.Metric == metric && g.Label("of") == of {
			return g
		}
	}
	t.Fatalf("no %s of %q", metric, of)
	panic("unreachable")
}

// TestRounds: what is measured is what the closed form says, and of the size that was measured for this project before: 700 rounds without
// cover, 1,600 with cover in half of the idle rounds, 10,700 with nine of ten.
func TestRounds(t *testing.T) {
	for _, c := range []struct {
		cover  float64
		rounds int
		before float64
	}{{0, 3000, 700}, {.5, 8000, 1600}, {.9, 50_000, 10_700}} {
		if testing.Short() && c.cover > 0 {
			continue
		}
		all := groups(t, fmt.Sprintf("runs = 9\n[parameters]\ncover = %g\nrounds = %d\n", c.cover, c.rounds))
		got, want := find(t, all, "rounds", "measured"), find(t, all, "rounds", "closed form")
		t.Logf("cover %g: %.0f rounds (%.0f to %.0f), closed form %.0f, measured before %.0f", c.cover, got.P50, got.Min, got.Max, want.P50, c.before)
		if find(t, all, "disclosed", "").Min != 1 {
			t.Errorf("cover %g: not all is known after %d rounds", c.cover, c.rounds)
		}
		// It has to go on naming them, which it does later than it does first.
		if got.P50 < .7*want.P50 || got.P50 > 2*want.P50 {
			t.Errorf("cover %g: %.0f rounds, the closed form says %.0f", c.cover, got.P50, want.P50)
		}
		if got.P50 < c.before/2 || got.P50 > c.before*2 {
			t.Errorf("cover %g: %.0f rounds, measured before were %.0f", c.cover, got.P50, c.before)
		}
	}
}

// TestConstantRate: who sends in each round, written or not, is never found out; unless it is offline at times, for all to
// see.
func TestConstantRate(t *testing.T) {
	const set = "runs = 2\n[parameters]\ncover = 1.0\nrounds = 15000\n"
	if g := find(t, groups(t, set), "disclosed", ""); g.Max != 0 {
		t.Error("who always sends is found out")
	}
	if testing.Short() {
		return
	}
	all := groups(t, set+"online = 0.5\n")
	if g := find(t, all, "disclosed", ""); g.Min != 1 {
		t.Errorf("who is online half of the time, and sends all of that, is found out in %.2f of all cases", g.Mean)
	}
	if g := find(t, all, "rounds", "measured"); g.P50 < 2000 || g.P50 > 10_000 {
		t.Errorf("after %.0f rounds", g.P50)
	}
}

// TestClosedForm: the likelihood that all are named against drawing what it takes to be normal.
func TestClosedForm(t *testing.T) {
	p := Simulation().Parameters()
	if len(p) != 7 {
		t.Fatalf("%d parameters", len(p))
	}
	q := Parameters{Mailboxes: 100, Contacts: 3, Others: 50, Active: .3, Cover: .5, Online: 1}
	r := rand.New(rand.NewPCG(1, 2))
	for _, rounds := range []float64{300, 600, 1200} {
		const tries = 4000
		n, sends := 0, .3+.7*.5
		signal := .3 / sends / 3
		noise := math.Sqrt(.5/(rounds*sends) + .5/(rounds*(1-sends)))
		contact := math.Sqrt((.5+signal*(1-signal))/(rounds*sends) + .5/(rounds*(1-sends)))
		for range tries {
			greatest, least := math.Inf(-1), math.Inf(1)
			for range 97 {
				greatest = max(greatest, noise*r.NormFloat64())
			}
			for range 3 {
				least = min(least, signal+contact*r.NormFloat64())
			}
			if least > greatest {
				n++
			}
		}
		got := all(q, rounds)
		if drawn := float64(n) / tries; math.Abs(drawn-got) > .03 || got < .02 {
			t.Errorf("%g rounds: %.3f, drawn %.3f", rounds, got, drawn)
		}
	}
	q.Cover = 1
	if !math.IsInf(half(q), 1) || all(q, 1e9) != 0 {
		t.Error("with cover in all rounds there is nothing to compare")
	}
	q.Cover = .5
	if h := half(q); math.Abs(all(q, h)-.5) > .01 {
		t.Errorf("after %.0f rounds it is %.3f", h, all(q, h))
	}
}

// TestNamed by hand: ties count against the contacts.
func TestNamed(t *testing.T) {
	w := &watching{p: Parameters{Mailboxes: 5, Contacts: 2}}
	for _, c := range []struct {
		sent, idle [5]int
		rounds     [2]int // idle, sent
		want       int
	}{
		{[5]int{3, 3, 1, 1, 1}, [5]int{1, 1, 1, 1, 1}, [2]int{4, 4}, 2},
		{[5]int{3, 1, 3, 1, 1}, [5]int{1, 1, 1, 1, 1}, [2]int{4, 4}, 1},
		{[5]int{2, 2, 2, 2, 2}, [5]int{1, 1, 1, 1, 1}, [2]int{4, 4}, 0},
		{[5]int{4, 4, 9, 9, 9}, [5]int{0, 0, 9, 9, 9}, [2]int{4, 4}, 2},
		{[5]int{9, 9, 0, 0, 0}, [5]int{0, 0, 0, 0, 0}, [2]int{0, 4}, 0}, // nothing to compare with
	} {
		w.got, w.rounds = [2][]int{c.idle[:], c.sent[:]}, c.rounds
		if got := w.named(); got != c.want {
			t.Errorf("%v against %v: %d named, want %d", c.sent, c.idle, got, c.want)
		}
	}
}

func TestCheck(t *testing.T) {
	for text, want := range map[string]string{
		"mailboxes = 9":    "parameters.mailboxes = 9",
		"others = 0":       "parameters.others = 0",
		"active = 0.0":     "parameters.active = 0",
		"cover = 1.5":      "parameters.cover = 1.5",
		"online = 0.0":     "parameters.online = 0",
		"rounds = 1":       "parameters.rounds = 1",
		"rounds = 9000000": "parameters.rounds = 9000000",
	} {
		_, err := simulations.Parse([]byte("simulation = \"intersection\"\n[parameters]\n"+text+"\n"), "x", []simulations.Simulation{Simulation()})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}
