package load_test

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mimid/mimid/simulations/load"
)

func config(t *testing.T) load.Config {
	return load.Config{Program: program, Dir: filepath.Join(t.TempDir(), "p"), Providers: 2, Receivers: 3, Body: 1024, Connections: 4, Patience: 20 * time.Second}
}

// TestRun: three providers, all phases; everything arrives once, and everything is
// counted.
func TestRun(t *testing.T) {
	cfg := config(t)
	cfg.Providers, cfg.Rate, cfg.Duration, cfg.Messages, cfg.Distinct, cfg.CatchUp = 3, 50, time.Second, 120, 50, 90
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r, err := load.Run(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Phases) != 2 || r.CatchUp == nil || r.Encrypted != 50 || r.EncryptMicros <= 0 || r.Bare.P99 < r.Bare.P50 {
		t.Fatalf("report %+v", r)
	}
	for i, n := range []int64{50, 120} {
		p := r.Phases[i]
		// Three receivers at the second provider, one at the third.
		if p.Accepted != n || p.Delivered != 4*n || p.Receivers != 4 || p.Lost != 0 || p.Duplicates != 0 {
			t.Errorf("phase %s: accepted %d, delivered %d to %d, lost %d, twice %d", p.Name, p.Accepted, p.Delivered, p.Receivers, p.Lost, p.Duplicates)
		}
		if p.AcceptedRate <= 0 || p.StoredRate <= 0 || p.StoredRate > p.AcceptedRate || p.DeliveryRate <= 0 || p.P50 <= 0 || p.P50 > p.P99 || p.P99 > p.Max {
			t.Errorf("phase %s: rates and times %+v", p.Name, p)
		}
		if len(p.Processes) != 3 {
			t.Fatalf("phase %s: %d processes", p.Name, len(p.Processes))
		}
		for _, x := range p.Processes {
			if x.Commits == 0 || x.Commits > uint64(2*n)+10 {
				t.Errorf("phase %s: %s made %d commits for %d messages", p.Name, x.Name, x.Commits, n)
			}
		}
	}
	if c := r.CatchUp; c.Entries != 90 || c.Total < c.Ready {
		t.Errorf("catch-up %+v", c)
	}
	var text strings.Builder
	r.Print(&text)
	for _, want := range []string{"50/s", "saturated", "Catch-up: 90 entries", "third"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the report does not show %q:\n%s", want, text.String())
		}
	}
	b, err := json.Marshal(r)
	if err != nil || !strings.Contains(string(b), `"deliveries_per_s"`) {
		t.Errorf("JSON %s, %v", b, err)
	}
}

// TestConfig: a run that makes no sense is refused before anything starts.
func TestConfig(t *testing.T) {
	for name, change := range map[string]func(c *load.Config){
		"providers":   func(c *load.Config) { c.Providers = 1 },
		"receivers":   func(c *load.Config) { c.Receivers = 0 },
		"body":        func(c *load.Config) { c.Body = 1 << 20 },
		"connections": func(c *load.Config) { c.Connections = 0 },
		"messages":    func(c *load.Config) { c.Messages = -1 },
		"catch-up":    func(c *load.Config) { c.CatchUp = -1 },
		"rate":        func(c *load.Config) { c.Rate = -1 },
		"duration":    func(c *load.Config) { c.Rate = 20 },
		"nothing":     func(c *load.Config) { c.Messages = 0 },
		"distinct":    func(c *load.Config) { c.Distinct = 2_000_000 },
	} {
		cfg := config(t)
		cfg.Messages = 1
		change(&cfg)
		_, err := load.Run(t.Context(), cfg)
		if !errors.Is(err, load.ErrConfig) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Stat(cfg.Dir); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: a directory was made", name)
		}
	}
}

// TestNoProvider: a program that is no provider is an error that says what it said.
func TestNoProvider(t *testing.T) {
	cfg := config(t)
	cfg.Messages = 1
	cfg.Program = filepath.Join(t.TempDir(), "false")
	if err := os.WriteFile(cfg.Program, []byte("#!/bin/sh\n[ \"$1\" = init ] && exec "+program+" \"$@\"\necho no such luck >&2\nexit 1\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := load.Run(t.Context(), cfg); !errors.Is(err, load.ErrProvider) || !strings.Contains(err.Error(), "no such luck") {
		t.Errorf("a provider that does not start: %v", err)
	}
	cfg.Dir = filepath.Join(t.TempDir(), "p")
	cfg.Program = "/bin/false"
	if _, err := load.Run(t.Context(), cfg); !errors.Is(err, load.ErrProvider) {
		t.Errorf("a directory that cannot be made: %v", err)
	}
}

// TestCancel: a run ends when its context does, with its processes.
func TestCancel(t *testing.T) {
	cfg := config(t)
	cfg.Rate, cfg.Duration = 20, time.Hour/60
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	begin := time.Now()
	if _, err := load.Run(ctx, cfg); !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled run: %v", err)
	}
	if took := time.Since(begin); took > 30*time.Second {
		t.Errorf("it took %s to stop", took)
	}
}
