package mixing

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/mimid/mimid/protocol/onion"
	"github.com/mimid/mimid/simulations"
)

// TestGuesses: what is concluded is neither too sure nor too careful: the best guess, of a packet and of a provider, is right
// as often as it says.
func TestGuesses(t *testing.T) {
	for _, more := range []string{"", "bad = 0.2"} {
		all := groups(t, mixim(20, 2, 5, 1, 100, 400, more))
		for _, of := range []string{"message", "provider"} {
			guess, right := find(t, all, "guess", of), find(t, all, "right", of)
			if guess.Count != 400 || guess.Mean < .1 || guess.Mean > .9 {
				t.Fatalf("%s: guesses of %d packets are %.2f sure, which shows nothing", of, guess.Count, guess.Mean)
			}
			// Four times what chance leaves open.
			if off := 4 * math.Sqrt(guess.Mean*(1-guess.Mean)/400); math.Abs(guess.Mean-right.Mean) > off {
				t.Errorf("%s %s: guesses are %.3f sure, and %.3f of them right, which differs by more than %.3f", more, of, guess.Mean, right.Mean, off)
			}
		}
	}
}

// TestHeld: a mix is a queue that serves everybody at once: what it holds is distributed as Poisson's, with the mean
// rate times delay.
func TestHeld(t *testing.T) {
	g := find(t, groups(t, mixim(100, 3, 2, 1, 100, 1, "")), "held", "")
	want := 100. / 2 * .8 / 3
	variance := 0.0
	for _, v := range g.Values {
		variance += (v - g.Mean) * (v - g.Mean) / float64(g.Count)
	}
	if math.Abs(g.Mean-want) > .05*want || math.Abs(variance-want) > .2*want {
		t.Errorf("mixes hold %.2f packets with a variance of %.2f, want %.2f for both", g.Mean, variance, want)
	}
}

// TestRule: fifty providers with 1.6 packets a second, mixed by as many relays as the rule of nodes says, are hidden as was measured before this
// was written (7.97 bits of 8.31 for many packets); with 48 relays in place of 15 by a bit less (6.91).
func TestRule(t *testing.T) {
	const few = "runs = 1\n[parameters]\ntargets = 100\nlasts = \"60s\"\n"
	for _, c := range []struct {
		set         string
		width, bits float64
	}{
		{"", 5, 7.97},
		{"width = 16\n", 16, 6.91},
	} {
		all := groups(t, few+c.set)
		got, width := find(t, all, "entropy", "message"), find(t, all, "width", "")
		t.Logf("%g mixes in a layer: %.2f bits, measured before %.2f", width.Mean, got.Mean, c.bits)
		if width.Mean != c.width || math.Abs(got.Mean-c.bits) > .15 {
			t.Errorf("%q: layers of %g, %.2f bits, want layers of %g, %.2f bits", c.set, width.Mean, got.Mean, c.width, c.bits)
		}
		for _, g := range all {
			if (g.Metric == "lost" || g.Metric == "missing") && g.Max != 0 || g.Metric == "tries" && g.Max > 1.1 {
				t.Errorf("%s is %g, and no relay dies", g.Metric, g.Max)
			}
		}
	}
}

// TestRelaysDie: where relays die, what was called delivered is there (every run checks it), and trying again on other paths is what
// brings most of it there.
func TestRelaysDie(t *testing.T) {
	const set = "[parameters]\ntargets = 20\nlasts = \"60s\"\ndying = 0.4\nproviders = 30\nrelays = 30\nsize = 9000\n"
	once, four := groups(t, set+"tries = 1\n"), groups(t, set+"tries = 4\n")
	if a, b := find(t, once, "lost", "").Mean, find(t, four, "lost", "").Mean; a < .1 || b > a/3 {
		t.Errorf("%.3f are lost with one try, %.3f with four", a, b)
	}
	if there, known := find(t, four, "latency", ""), find(t, four, "acknowledged", ""); known.P50 <= there.P50 || known.Count > there.Count {
		t.Errorf("%d messages are there after %.0f ms, and %d known to be after %.0f", there.Count, there.P50, known.Count, known.P50)
	}
	if g := find(t, four, "tries", ""); g.Mean < 1.2 || g.Mean > 4 {
		t.Errorf("parts are sent %.2f times", g.Mean)
	}
	if a, b := find(t, four, "missing", "").Mean, find(t, four, "lost", "").Mean; a > b {
		t.Errorf("%.3f have not arrived, and senders know it of %.3f only", a, b)
	}
}

// TestWire: without cover and acknowledgements a message costs its parts on each link.
func TestWire(t *testing.T) {
	for _, c := range []struct {
		size, parts int
		class       onion.Class
	}{{1000, 1, onion.Class8K}, {20_000, 3, onion.Class8K}, {2500, 2, onion.Class2K}} {
		kib := map[onion.Class]int{onion.Class8K: 8, onion.Class2K: 2}[c.class]
		got := find(t, groups(t, mixim(20, 3, 3, 1, 100, 1, fmt.Sprintf("size = %d\nclass = %d\n", c.size, kib))), "wire", "").Mean
		want := 4 * float64(c.parts*onion.Format{Suite: onion.X25519, Class: c.class}.PacketSize()) / float64(c.size)
		if math.Abs(got-want) > .02*want {
			t.Errorf("%d octets in packets of %d KiB cost %.2f on the wire each, want %.2f", c.size, kib, got, want)
		}
	}
}

func TestCheck(t *testing.T) {
	for text, want := range map[string]string{
		"providers = 1":                   "parameters.providers = 1",
		"slots = 0.01":                    "parameters.slots = 0.01",
		"slots = 0.15":                    "acknowledgements",
		"layers = 4":                      "parameters.layers = 4",
		"relays = 60":                     "parameters.relays = 60",
		"choice = \"mine\"":               "parameters.choice",
		"choice = \"uniform\"\nwidth = 0": "parameters.width = 0",
		"class = 9":                       "parameters.class = 9",
		"size = 200000":                   "parameters.size = 200000",
		"bad = 1.5":                       "parameters.bad = 1.5",
		"delay = \"2m\"":                  "parameters.delay = 2m0s",
		"tries = 0":                       "parameters.tries = 0",
		"suite = \"RSA\"":                 "parameters.suite",
		"class = 2\nsuite = \"X-Wing\"":   "parameters.size",
		"lasts = \"1ms\"":                 "parameters.lasts",
		"targets = 0":                     "parameters.targets",
		"dummies = {rate = -1.0}":         "parameters.dummies.rate",
		"links = {model = \"\"}":          "links.model",
		"rate = 0.0":                      "parameters.rate = 0",
	} {
		_, err := simulations.Parse([]byte("simulation = \"mixing\"\n[parameters]\n"+text+"\n"), "x", []simulations.Simulation{Simulation()})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}
