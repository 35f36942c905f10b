package watch

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"
)

// Rate says how closely a provider is watched.
type Rate uint8

const (
	// Idle: nothing is going on with this provider. Its death may be noticed
	// late, within Config.Idle and Config.Timeout.
	Idle Rate = iota
	// Busy: somebody waits for it, or will soon. Its death is noticed within
	// Config.Timeout.
	Busy
)

// String returns "idle" or "busy".
func (r Rate) String() string {
	if r == Busy {
		return "busy"
	}
	return "idle"
}

// Config configures a Watch. Ping and Targets are required.
type Config struct {
	// Ping asks the provider for a sign of life: a cheap request that proves who
	// answers. It returns nil if the provider answered, also if it refused. It
	// must return soon after its context has ended; if it does not, only this
	// provider's pings wait for it. It is called from many goroutines, never
	// twice at once for a provider that stays among the targets.
	Ping func(ctx context.Context, domain string) error

	// Targets says whom to watch: the other providers of the rooms' replica
	// sets. It is called every Interval from the goroutine of Run, and should
	// be quick. The map is read until the next call: return a new one, or
	// the same one as long as nothing changes, but do not write to it. A target that is
	// missing from it is forgotten, dead or not, and Changed is not called.
	Targets func() map[string]Rate

	// Changed is told that a provider died (true) or came back (false). It is
	// called from the goroutine of Run, so nothing is watched until it returns;
	// Dead tells the same already. May be nil.
	Changed func(domain string, dead bool)

	// Interval is how long after the last sign of life a busy provider is
	// pinged, and an idle one again that has not answered. Default 400
	// milliseconds, at most 0.45 of Timeout, lest there is no time for two pings.
	Interval time.Duration
	// Idle is the same for idle providers, and the longest pause between pings
	// to a dead one. Default 5 seconds, at least Interval.
	Idle time.Duration
	// Timeout is how long a provider may be silent before it is dead. An answer
	// that takes longer than half of it comes too late. Default 1 second.
	Timeout time.Duration

	// MaxTargets is how many providers are watched at most, and how many pings
	// are out at most. Beyond it, busy ones go first, then names in order.
	// Default 1,024.
	MaxTargets int

	// Jitter returns a number from 0 to below 1, for spreading pings. It is
	// called from the goroutine of Run. Default: from crypto/rand.
	Jitter func() float64
	// Now is the clock. Its monotonic reading counts. Default time.Now.
	Now func() time.Time
	// Wall is the time of day. A leap against Now betrays that the machine was
	// asleep; it is used for nothing else. Default time.Now without its
	// monotonic reading.
	Wall func() time.Time

	// Log gets deaths, returns, and suspensions of our own. Default: none.
	Log *slog.Logger
}

func (c Config) withDefaults() (Config, error) {
	set := func(d *time.Duration, def time.Duration) {
		if *d == 0 {
			*d = def
		}
	}
	set(&c.Interval, 400*time.Millisecond)
	set(&c.Idle, max(5*time.Second, c.Interval))
	set(&c.Timeout, time.Second)
	if c.MaxTargets == 0 {
		c.MaxTargets = 1024
	}
	switch {
	case c.Ping == nil || c.Targets == nil:
		return c, fmt.Errorf("%w: Ping and Targets are required", ErrConfig)
	case c.Interval < time.Millisecond:
		return c, fmt.Errorf("%w: an interval of %v, at least 1ms is needed", ErrConfig, c.Interval)
	case c.Interval > c.Timeout/20*9:
		return c, fmt.Errorf("%w: an interval of %v leaves no time for two pings in a timeout of %v: at most %v", ErrConfig, c.Interval, c.Timeout, c.Timeout/20*9)
	case c.Idle < c.Interval:
		return c, fmt.Errorf("%w: idle providers would be pinged every %v, more often than busy ones (%v)", ErrConfig, c.Idle, c.Interval)
	case c.MaxTargets < 1:
		return c, fmt.Errorf("%w: at most %d targets, at least 1 is needed", ErrConfig, c.MaxTargets)
	}
	if c.Changed == nil {
		c.Changed = func(string, bool) {}
	}
	if c.Jitter == nil {
		c.Jitter = jitter
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Wall == nil {
		c.Wall = func() time.Time { return time.Now().Round(0) }
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c, nil
}

func jitter() float64 {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return float64(binary.LittleEndian.Uint64(b[:])>>11) / (1 << 53)
}

// Watch watches other providers. Its methods are safe for concurrent use.
type Watch struct {
	// Static.
	cfg  Config
	base time.Time // instants are counted from here

	// From any goroutine.
	view    atomic.Pointer[map[string]*target] // replaced, never written to
	back    chan struct{}                      // a dead provider was heard
	running atomic.Bool
	stats   counters

	// Owned by the goroutine of Run.
	targets []*target // by domain
	refused int       // targets above MaxTargets, when last told
	out     int       // pings that have not returned
	results chan result
	pulled  time.Duration // when Targets was asked last
	scanned time.Duration // when all targets were looked at last
	wake    time.Duration // what the timer is set to
	seen    time.Duration // the clock and
	wall    time.Time     // the time of day, when the loop last looked
}

type counters struct {
	targets, dead                             atomic.Int64
	pings, failed, deaths, returns, suspended atomic.Uint64
}

// Stats are what a Watch has counted since Open.
type Stats struct {
	Targets   int    // watched now
	Dead      int    // of them
	Pings     uint64 // sent
	Failed    uint64 // of them
	Deaths    uint64
	Returns   uint64
	Suspended uint64 // times that this process stood still and forgave all
}

// Open returns a Watch that does nothing until Run. Errors: ErrConfig.
func Open(cfg Config) (*Watch, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	w := &Watch{cfg: cfg, back: make(chan struct{}, 1), base: cfg.Now()}
	w.view.Store(&map[string]*target{})
	return w, nil
}

// Heard counts an authenticated request or answer of the provider as a sign of
// life. It costs little; call it for each. Providers that are not watched are
// ignored.
func (w *Watch) Heard(domain string) {
	t := (*w.view.Load())[domain]
	if t == nil {
		return
	}
	t.heard.Store(int64(w.now()))
	if t.dead.Load() {
		select {
		case w.back <- struct{}{}:
		default:
		}
	}
}

// Dead says whether the provider is watched and believed dead.
func (w *Watch) Dead(domain string) bool {
	t := (*w.view.Load())[domain]
	return t != nil && t.dead.Load()
}

// Stats returns the counts.
func (w *Watch) Stats() Stats {
	s := &w.stats
	return Stats{
		Targets: int(s.targets.Load()), Dead: int(s.dead.Load()),
		Pings: s.pings.Load(), Failed: s.failed.Load(),
		Deaths: s.deaths.Load(), Returns: s.returns.Load(), Suspended: s.suspended.Load(),
	}
}

// now returns how long after Open it is.
func (w *Watch) now() time.Duration { return w.cfg.Now().Sub(w.base) }
