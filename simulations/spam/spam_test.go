package spam

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mimid/mimid/simulations"
)

// One provider's spam takes no place of others' requests: a user's pending requests of one provider have a limit
// of their own. Four providers fill all places, and yield to others, in the modes in which requests wait; in mode open
// nothing is stored.
func TestThrough(t *testing.T) {
	for _, c := range []struct {
		mode        string
		attackers   int
		least, most float64 // of honest requests that get through
		stored      bool
	}{
		{"ask", 0, 1, 1, true},
		{"ask", 1, 1, 1, true},
		{"ask", 4, .99, 1, true},
		{"ask", 40, .9, 1, true}, // 60 providers have three or four places each
		{"quarantine", 1, 1, 1, true},
		{"quarantine", 4, .99, 1, true},
		{"open", 4, 1, 1, false},
		{"closed", 1, 0, 0, false},
	} {
		text := fmt.Sprintf("simulation = \"spam\"\nruns = 2\n[parameters]\nmode = %q\nattackers = %d\nrate = 2.0\nvictims = 3\nlasts = \"2h\"\n", c.mode, c.attackers)
		s, err := simulations.Parse([]byte(text), "x", []simulations.Simulation{Simulation()})
		if err != nil {
			t.Fatal(err)
		}
		r := s.Execute(t.Context(), nil)
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		for _, v := range r.Violations() {
			t.Errorf("%s, %d: %s", c.mode, c.attackers, v)
		}
		observed := 0
		for _, g := range r.Groups() {
			switch g.Metric {
			case "through":
				observed++
				if g.Min < c.least || g.Max > c.most {
					t.Errorf("%s, %d: %.3f to %.3f of the honest requests got through, want %g to %g", c.mode, c.attackers, g.Min, g.Max, c.least, c.most)
				}
			case "octets":
				observed++
				if (g.Min > 0) != c.stored {
					t.Errorf("%s, %d: records take %g octets", c.mode, c.attackers, g.Min)
				}
			}
		}
		if observed != 2 {
			t.Errorf("%s, %d: %d of two metrics were observed", c.mode, c.attackers, observed)
		}
	}
}

// A provider that sends too fast is told to wait, and all others are not.
func TestTooFast(t *testing.T) {
	p := newProvider(1)
	fast := 0
	for i := range 300 {
		if p.ask(scope{i, i, 0}, 0) == tooFast {
			fast++
		}
	}
	if fast != 100 {
		t.Errorf("%d of 300 were too fast, and 200 are allowed at once", fast)
	}
	if got := p.ask(scope{1000, 1, 1}, 0); got != shown {
		t.Errorf("another provider's request: %s", names[got])
	}
}

// Each run counts anew what the provider has, and finds a limit that did not hold.
func TestPlanted(t *testing.T) {
	for _, c := range []struct {
		name, want         string // of a violation; empty: none
		attackers, victims int
		plant              func(*provider)
	}{
		{"nothing", "", 8, 3, func(*provider) {}},
		{"no limit for a user", "user 0 has ", 8, 3, func(p *provider) { p.limits.PendingPerTarget = 1 << 20 }},
		{"no limit for a provider", "provider 0 has ", 1, 200, func(p *provider) { p.limits.PendingPerProvider = 1 << 20 }},
		{"no limit for one provider at one user", "of provider ", 1, 3, func(p *provider) { p.limits.PendingPerPair = 1 << 20 }},
		{"octets that are not counted", "counted were", 8, 3, func(p *provider) { p.octets -= 7 }},
	} {
		params := Parameters{Users: 200, Victims: c.victims, Attackers: c.attackers, Honest: 4, Mode: "ask", Rate: 3, Wants: 1, Lasts: simulations.Duration(2 * time.Hour)}
		sim := simulations.New(simulations.About{Name: "planted", Engine: simulations.Event}, params, func(r *simulations.Run, p Parameters) error { return planted(r, p, c.plant) })
		s, err := simulations.Parse([]byte("simulation = \"planted\"\n"), "x", []simulations.Simulation{sim})
		if err != nil {
			t.Fatal(err)
		}
		r := s.Execute(t.Context(), nil)
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		if v := strings.Join(r.Violations(), "\n"); c.want == "" && v != "" || !strings.Contains(v, c.want) {
			t.Errorf("%s: found %q, want %q", c.name, v, c.want)
		}
	}
}
