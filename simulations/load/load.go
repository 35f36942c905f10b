package load

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"time"
)

// Config says what to run. Program and Dir are required.
type Config struct {
	// Program is the mimid program whose providers are measured.
	Program string
	// Dir is an empty directory for the providers' data.
	Dir string
	// Providers is how many there are, 2 or 3.
	Providers int
	// Replicas has all three providers decide about the room, so that what is received
	// is final by a majority; else the hub decides alone.
	Replicas bool
	// Receivers is how many users at the second provider have a stream open.
	Receivers int
	// Body is the size of a message's plaintext in bytes.
	Body int
	// Distinct is how many messages are encrypted at most. Default 20,000.
	Distinct int
	// Rate, messages per second, is of the first phase, which is open loop: messages
	// are sent when they are due, whatever became of the ones before. It takes Duration.
	// Without a rate there is no such phase.
	Rate     float64
	Duration time.Duration
	// Messages is how many the second phase sends, as fast as they are taken, on
	// Connections at once. Zero: there is no such phase.
	Messages    int
	Connections int
	// CatchUp is how many the third phase sends while the second provider is away; then
	// that is started again. Zero: there is no such phase.
	CatchUp int
	// Patience is how long to wait, after the last message was accepted, for the
	// last delivery. Default one minute.
	Patience time.Duration
	// Log tells of progress. Default: nothing.
	Log *slog.Logger
	// Logs receives the providers' logs. Default: kept for errors only.
	Logs io.Writer
}

// The bounds of a Config are those of what one machine can stand.
func (c Config) withDefaults() (Config, error) {
	if c.Distinct <= 0 {
		c.Distinct = 20_000
	}
	if c.Patience <= 0 {
		c.Patience = time.Minute
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	for _, x := range []struct {
		name           string
		is, least, top int
	}{
		{"providers", c.Providers, 2, 3}, {"receivers", c.Receivers, 1, 1000}, {"body", c.Body, 1, 64 << 10},
		{"messages", c.Messages, 0, 10_000_000}, {"catch-up", c.CatchUp, 0, 10_000_000},
		{"distinct messages", c.Distinct, 1, 1_000_000}, {"connections", c.Connections, 1, 1000},
	} {
		if x.is < x.least || x.is > x.top {
			return c, fmt.Errorf("%w: %s: %d is not between %d and %d", ErrConfig, x.name, x.is, x.least, x.top)
		}
	}
	if c.Replicas && c.Providers != 3 {
		return c, fmt.Errorf("%w: replicas: three providers decide together, not %d", ErrConfig, c.Providers)
	}
	if c.Rate < 0 || c.Rate > 100_000 {
		return c, fmt.Errorf("%w: rate: %v per second is not between 0 and 100000", ErrConfig, c.Rate)
	}
	if c.Rate > 0 && (c.Duration <= 0 || c.Rate*c.Duration.Seconds() < 1) {
		return c, fmt.Errorf("%w: duration: %s at %v per second is no message", ErrConfig, c.Duration, c.Rate)
	}
	if c.Rate == 0 && c.Messages == 0 && c.CatchUp == 0 {
		return c, fmt.Errorf("%w: neither a rate nor messages nor a catch-up: nothing to do", ErrConfig)
	}
	return c, nil
}

// run is one run under way. Run's goroutine owns it.
type run struct {
	cfg       Config
	providers []*provider
	w         *world
	report    *Report
}

// Run makes the providers, puts the load on them and measures. Whatever happens, the
// processes have ended when it returns. Errors: ErrConfig, ErrProvider, ErrRefused,
// ErrLate, and that of ctx.
func Run(ctx context.Context, cfg Config) (*Report, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	r := &run{cfg: cfg, report: &Report{
		CPUs: runtime.NumCPU(), Go: runtime.Version(), Providers: cfg.Providers, Replicas: cfg.Replicas, Receivers: cfg.Receivers, Body: cfg.Body, Connections: cfg.Connections,
	}}
	defer func() {
		for _, p := range r.providers {
			p.stop()
		}
	}()
	if err := r.setUp(ctx); err != nil {
		return nil, err
	}
	for _, phase := range []struct {
		is bool
		do func(context.Context) error
	}{{cfg.Rate > 0, r.atRate}, {cfg.Messages > 0, r.saturate}, {cfg.CatchUp > 0, r.catchUp}} {
		if !phase.is {
			continue
		}
		if err := phase.do(ctx); err != nil {
			return nil, err
		}
	}
	return r.report, nil
}

// names of the providers; the first is the hub.
var names = [...]string{"hub", "second", "third"}

func (r *run) setUp(ctx context.Context) error {
	if err := os.MkdirAll(r.cfg.Dir, 0o700); err != nil {
		return fmt.Errorf("making directory for providers: %w", err)
	}
	for _, name := range names[:r.cfg.Providers] {
		p, err := newProvider(ctx, r.cfg, name, filepath.Join(r.cfg.Dir, name), r.providers)
		if err != nil {
			return err
		}
		if err := p.start(ctx); err != nil {
			return err
		}
		r.providers = append(r.providers, p)
	}
	r.cfg.Log.Info("providers run", "providers", len(r.providers))
	var err error
	if r.w, err = newWorld(ctx, r.cfg, r.providers); err != nil {
		return err
	}
	most := max(int(r.cfg.Rate*r.cfg.Duration.Seconds()), r.cfg.Messages, r.cfg.CatchUp)
	begin := time.Now()
	if err := r.w.encrypt(min(most, r.cfg.Distinct), r.cfg.Body); err != nil {
		return err
	}
	r.report.Encrypted = len(r.w.requests)
	r.report.EncryptMicros = float64(time.Since(begin).Microseconds()) / float64(len(r.w.requests))
	r.cfg.Log.Info("messages encrypted", "messages", len(r.w.requests))
	r.report.Bare, err = bareSync(r.cfg.Dir, r.cfg.Body)
	return err
}
