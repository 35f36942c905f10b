package watch

import (
	"math"
	"sync/atomic"
	"time"
)

const never = time.Duration(math.MaxInt64)

// A target is one watched provider. Times are counted from Open.
type target struct {
	// Static.
	domain string
	cfg    *Config

	// From any goroutine.
	heard atomic.Int64 // last sign of life, or -1
	dead  atomic.Bool  // written by the goroutine of Run

	// Owned by the goroutine of Run.
	rate   Rate
	since  time.Duration // the first time it was watched, or when it was forgiven
	life   time.Duration // the last sign of life that the loop saw
	known  bool          // there was one after since
	out    bool          // a ping has not returned
	cancel func()        // of that ping
	sent   time.Duration // when it began
	tries  int           // pings since the last sign of life
	first  time.Duration // when the first of them began
	due    time.Duration // when the next may begin
	spread float64       // drawn anew for each ping
	pause  time.Duration // before the next ping to a dead provider
	err    error         // of the last ping
	// forgiven: it was given new time since its last sign of life.
	forgiven bool
}

func newTarget(cfg *Config, domain string, rate Rate, now time.Duration) *target {
	t := &target{domain: domain, cfg: cfg, rate: rate, life: -1}
	t.heard.Store(-1)
	t.restart(now)
	return t
}

// restart begins to watch, or begins again after we ourselves stood still:
// whatever was or was not heard before says nothing.
func (t *target) restart(now time.Duration) {
	t.since, t.known, t.tries = now, false, 0
	t.spread = t.cfg.Jitter()
	t.due = now + time.Duration(t.spread*float64(t.every()))
}

// every is the longest time between a sign of life and the next ping.
func (t *target) every() time.Duration {
	if t.rate == Busy {
		return t.cfg.Interval
	}
	return t.cfg.Idle
}

// shorten spreads an interval over its last fifth. It makes nothing longer, so
// that what is said about times holds with jitter too.
func (t *target) shorten(d time.Duration) time.Duration {
	return d - time.Duration(t.spread*float64(d)/5)
}

// patience is how long a ping may take. Where there may be no connection yet,
// it must suffice for making one, which takes several round trips.
func (t *target) patience() time.Duration {
	if t.known && !t.dead.Load() {
		return t.cfg.Timeout / 2
	}
	return 2 * t.cfg.Timeout
}

// overdue is when a ping that is still out is taken for lost, a little after its
// context has ended.
func (t *target) overdue() time.Duration {
	return t.sent + t.patience() + t.cfg.Timeout/20
}

// note takes over what was heard since. It says whether that was anything.
func (t *target) note() bool {
	h := time.Duration(t.heard.Load())
	if h <= t.life {
		return false
	}
	t.life, t.tries, t.forgiven = h, 0, false
	t.known = t.known || h >= t.since
	t.due = h + t.shorten(t.every())
	return true
}

// dies returns when the target is dead if nothing is heard: Timeout after the
// last sign of life. The silence of an idle target, which was not asked
// anything, counts from its first ping, as for a busy one. A target that was
// never heard gets three times as long, because we may have to connect first.
func (t *target) dies() time.Duration {
	if t.tries < 2 {
		return never
	}
	quiet, allowed := t.since, 3*t.cfg.Timeout
	if t.known {
		quiet, allowed = t.life, t.cfg.Timeout
	}
	return max(quiet, t.first-t.cfg.Interval) + allowed
}

// hurry sets the rate. A target that becomes busy is pinged soon.
func (t *target) hurry(rate Rate, now time.Duration) {
	if rate == t.rate {
		return
	}
	t.rate = rate
	if rate == Busy && !t.dead.Load() {
		soon := now + time.Duration(t.spread*float64(t.cfg.Interval)/4)
		t.due = min(t.due, max(soon, t.life+t.shorten(t.cfg.Interval)))
	}
}

// begin counts a ping.
func (t *target) begin(now time.Duration) {
	if t.tries++; t.tries == 1 {
		t.first = now
	}
	t.sent, t.spread = now, t.cfg.Jitter()
	t.due = t.overdue()
}

// failed plans the next ping after one that failed: after an interval, counted
// from its beginning, or after longer and longer pauses to a dead provider.
func (t *target) failed(now time.Duration) {
	if t.dead.Load() {
		t.due = now + t.shorten(t.pause)
		t.pause = min(2*t.pause, t.cfg.Idle)
		return
	}
	t.due = max(now, t.sent+t.shorten(t.cfg.Interval))
}
