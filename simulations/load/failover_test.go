//go:build unix

package load_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mimid/mimid/simulations/load"
)

func failoverConfig(t *testing.T) load.FailoverConfig {
	return load.FailoverConfig{Program: program, Dir: filepath.Join(t.TempDir(), "p"), Providers: 3, Kills: 1, Calm: time.Millisecond, Patience: 40 * time.Second}
}

// TestFailover: a hub is killed, or frozen; the others go on, and the report tells when,
// and that nothing is missing.
func TestFailover(t *testing.T) {
	for _, frozen := range []bool{false, true} {
		cfg := failoverConfig(t)
		cfg.Frozen = frozen
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		r, err := load.RunFailover(ctx, cfg)
		if err != nil {
			t.Fatal(err)
		}
		if !r.Whole() || len(r.Deaths) != 1 || r.Sent == 0 || r.Accepted != r.Sent || r.Final != r.Sent || len(r.Verified) != 3 || r.Entries < uint64(r.Sent) {
			t.Errorf("frozen %v: %+v", frozen, r)
		}
		d := r.Deaths[0]
		if d.Hub == d.Next || d.Next == "" || d.Term == "0.1" || d.Told <= 0 || d.Changed < d.Told || d.Accepts <= 0 || d.Served < d.Accepts || d.Back <= 0 {
			t.Errorf("frozen %v: %+v", frozen, d)
		}
		// Two members at the other providers.
		if r.Told.N != 2 || r.Served.N != 2 || r.Accepts.N != 1 || r.Told.Max != d.Told || r.Accepts.P50 != d.Accepts {
			t.Errorf("frozen %v: told %+v, served %+v, accepts %+v", frozen, r.Told, r.Served, r.Accepts)
		}
		var text strings.Builder
		r.Print(&text)
		for _, want := range []string{"was " + map[bool]string{false: "killed", true: "frozen"}[frozen], "death to members told", "Missing with somebody at the end: 0", "chicago.example"} {
			if !strings.Contains(text.String(), want) {
				t.Errorf("the report does not show %q:\n%s", want, text.String())
			}
		}
	}
}

// TestNotWhole: whatever is missing or too much is a fault.
func TestNotWhole(t *testing.T) {
	for what, r := range map[string]load.FailoverReport{
		"final lost":    {LostFinal: 1},
		"accepted lost": {LostAccepted: 1},
		"sent lost":     {LostSent: 1},
		"doubled":       {Doubled: 1},
		"strange":       {Strange: 1},
		"trouble":       {Trouble: []string{"x"}},
		"a fault":       {Verified: []load.Verified{{Faults: []string{"x"}}}},
		"short":         {Entries: 2, Verified: []load.Verified{{Entries: 1}}},
		"long":          {Entries: 2, Providers: 3, Verified: []load.Verified{{Entries: 7}}},
	} {
		if r.Whole() {
			t.Errorf("%s: whole", what)
		}
	}
	if r := (load.FailoverReport{Entries: 2, Providers: 3, Verified: []load.Verified{{Entries: 2}, {Entries: 6}}}); !r.Whole() {
		t.Error("nothing is missing, and yet it is not whole")
	}
}

func TestFailoverConfig(t *testing.T) {
	for what, change := range map[string]func(c *load.FailoverConfig){
		"two providers":  func(c *load.FailoverConfig) { c.Providers = 2 },
		"four providers": func(c *load.FailoverConfig) { c.Providers = 4 },
		"no kills":       func(c *load.FailoverConfig) { c.Kills = 0 },
		"too many kills": func(c *load.FailoverConfig) { c.Kills = 1 << 20 },
		"rare messages":  func(c *load.FailoverConfig) { c.Interval = time.Minute },
		"never calm":     func(c *load.FailoverConfig) { c.Calm = -1 },
		"no patience":    func(c *load.FailoverConfig) { c.Patience = -1 },
	} {
		cfg := failoverConfig(t)
		change(&cfg)
		if _, err := load.RunFailover(t.Context(), cfg); !errors.Is(err, load.ErrConfig) {
			t.Errorf("%s: %v", what, err)
		}
	}
	cfg := failoverConfig(t)
	cfg.Program = filepath.Join(t.TempDir(), "nothing")
	if _, err := load.RunFailover(t.Context(), cfg); !errors.Is(err, load.ErrProvider) {
		t.Errorf("no program: %v", err)
	}
}
