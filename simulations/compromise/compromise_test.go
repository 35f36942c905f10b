package compromise

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/mimid/mimid/simulations"
)

func groups(t *testing.T, text string) []simulations.Group {
	t.Helper()
	s, err := simulations.Parse([]byte("simulation = \"compromise\"\n"+text), "x", []simulations.Simulation{Simulation()})
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

func find(t *testing.T, all []simulations.Group, metric, entry string) float64 {
	t.Helper()
	for _, g := range all {
		if g.Metric == metric && g.Label("entry") == entry {
			return g.Mean
		}
	}
	t.Fatalf("no %s with entry %q", metric, entry)
	return 0
}

// TestFigure3: Ben Guirat, Gosain and Diaz, "MiXiM" (2021), figure 3: the share of fully hostile paths through three layers of a hundred
// mixes. The published program puts 34 of them into the last layer, and draws there as if they were 33: its figures are larger by 34/33.
func TestFigure3(t *testing.T) {
	for hostile, published := range map[int]float64{10: 0.0007646033620059595, 20: 0.007263731939056611, 30: 0.025869080414534968} {
		if got := chance(none, hostile, 100); math.Abs(got*34/33-published) > 1e-12 {
			t.Errorf("%d of 100 hostile: %.6g, published %.6g", hostile, got, published)
		}
		f := float64(hostile) / 100
		if got := chance(none, hostile*1000, 100_000); math.Abs(got-f*f*f) > 1e-5 {
			t.Errorf("%d %% of very many: %.6g, want %.6g", hostile, got, f*f*f)
		}
	}
}

// TestClosedForms by hand.
func TestClosedForms(t *testing.T) {
	p := Parameters{Relays: 100_000, Messages: 100, Epochs: 10, Lasts: simulations.Duration(24 * time.Hour)}
	const hostile, f = 20_000, .2
	near := func(what string, got, want float64) {
		t.Helper()
		if math.Abs(got-want) > 1e-4 {
			t.Errorf("%s: %.6f, want %.6f", what, got, want)
		}
	}
	once := 1 - math.Pow(1-f*f*f, 100)
	near("none", ever(none, hostile, p), once)
	near("fresh", ever(fresh, hostile, p), 1-math.Pow(1-f*f*f*f, 100))
	near("pinned", ever(pinned, hostile, p), f*once)
	p.Lasts = simulations.Duration(60 * 24 * time.Hour) // two entries, for 50 packets each
	half := f * (1 - math.Pow(1-f*f*f, 50))
	near("pinned twice", ever(pinned, hostile, p), 1-(1-half)*(1-half))
	near("nobody is hostile", ever(pinned, 0, p), 0)
	p.Relays = hostile
	near("all are hostile", ever(pinned, hostile, p), 1)
	near("all are hostile, none", ever(none, hostile, p), 1)
}

// TestMeasured: what is drawn by the code of nodes is what chance alone gives: as many packets, and as many users, by each way to
// choose an entry. Most users whose entry stays never meet hostile relays only; all others do sooner or later.
func TestMeasured(t *testing.T) {
	const hostile = .3
	users, messages, epochs := 200., 400., 20
	if testing.Short() {
		users, messages, epochs = 60, 200, 5
	}
	all := groups(t, fmt.Sprintf("[parameters]\nrelays = 60\nwidth = 20\nhostile = %g\nusers = %g\nmessages = %g\nepochs = %d\nlasts = \"480h\"\n", hostile, users, messages, epochs))
	for _, entry := range entries {
		got, want := find(t, all, "bad", entry), find(t, all, "bad", entry+", closed form")
		// A fifth for the choice of 20 epochs, more for that of fewer; what stays depends on how many entries are hostile.
		off := want/math.Sqrt(float64(epochs)) + 4*math.Sqrt(want/(users*messages))
		if entry == pinned {
			off += want * 4 * math.Sqrt((1-hostile)/hostile/users)
		}
		t.Logf("%s: %.5f of the packets, closed form %.5f, within %.5f", entry, got, want, off)
		if math.Abs(got-want) > off {
			t.Errorf("%s: %.5f of the packets met hostile relays only, want %.5f within %.5f", entry, got, want, off)
		}
		got, want = find(t, all, "ever", entry), find(t, all, "ever", entry+", closed form")
		off = 4*math.Sqrt(want*(1-want)/users) + .02
		t.Logf("%s: %.3f of the users, closed form %.3f, within %.3f", entry, got, want, off)
		if math.Abs(got-want) > off {
			t.Errorf("%s: %.3f of the users did, want %.3f within %.3f", entry, got, want, off)
		}
	}
	if none, stays := find(t, all, "ever", none), find(t, all, "ever", pinned); none < .7 || stays > .45 {
		t.Errorf("%.2f of the users without an entry, %.2f of those with one that stays", none, stays)
	}
}

// TestOperators: hostile relays that say whose they are, are never three on a path.
func TestOperators(t *testing.T) {
	const set = "[parameters]\nrelays = 30\nwidth = 5\nhostile = 0.4\nusers = 50\nmessages = 100\nepochs = 5\noperators = "
	for operators, some := range map[int]bool{1: false, 2: false, 6: true} {
		got := find(t, groups(t, set+fmt.Sprint(operators)+"\n"), "bad", none)
		if (got > 0) != some {
			t.Errorf("%d operators: %.4f of the packets met hostile relays only", operators, got)
		}
	}
}

func TestCheck(t *testing.T) {
	for text, want := range map[string]string{
		"relays = 3":        "parameters.relays = 3",
		"hostile = 1.1":     "parameters.hostile = 1.1",
		"width = 40":        "parameters.width = 40",
		"users = 0":         "parameters.users = 0",
		"messages = 33":     "parameters.messages = 33",
		"lasts = \"1m\"":    "parameters.lasts",
		"operators = -1":    "parameters.operators",
		"epochs = 0":        "parameters.epochs = 0",
		"messages = 200000": "parameters.messages = 200000",
	} {
		_, err := simulations.Parse([]byte("simulation = \"compromise\"\n[parameters]\n"+text+"\n"), "x", []simulations.Simulation{Simulation()})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}
