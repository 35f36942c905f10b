package ration

import (
	"sync"
	"time"
)

// Config says how large the budgets are.
type Config struct {
	// PerSecond is how many units of a key's budget come back per second.
	PerSecond float64
	// Burst is the budget of a key that has rested.
	Burst float64
	// MaxKeys is how many keys are remembered at once, at about 100 octets
	// each. Default 4,096.
	MaxKeys int
}

// Ration hands out budgets. Safe for concurrent use.
type Ration struct {
	cfg Config

	mu      sync.Mutex // guards what follows
	keys    map[string]*bucket
	crowd   bucket    // of all keys that found no place
	cleared time.Time // when full buckets were last looked for
}

type bucket struct {
	left float64
	at   time.Time // when left was true
}

// New returns a Ration in which every budget is full. It panics if PerSecond or
// Burst is not positive, which would refuse everything for ever.
func New(cfg Config) *Ration {
	if cfg.PerSecond <= 0 || cfg.Burst <= 0 {
		panic("ration: PerSecond and Burst must be positive")
	}
	if cfg.MaxKeys <= 0 {
		cfg.MaxKeys = 4096
	}
	return &Ration{cfg: cfg, keys: map[string]*bucket{}, crowd: bucket{left: cfg.Burst}}
}

// Take spends n units of the key's budget, all or none. If they are not there,
// wait is how long until they are; a request above Burst is never granted, and
// wait is then how long until the budget is full.
func (r *Ration) Take(key string, n float64, now time.Time) (ok bool, wait time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.bucket(key, now)
	r.refill(b, now)
	if b.left >= n {
		b.left -= n
		return true, 0
	}
	missing := min(n, r.cfg.Burst) - b.left
	return false, max(time.Duration(missing/r.cfg.PerSecond*float64(time.Second)), time.Millisecond)
}

// TakeUpTo spends as many whole units as there are, at most n, and returns how
// many.
func (r *Ration) TakeUpTo(key string, n int, now time.Time) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.bucket(key, now)
	r.refill(b, now)
	got := min(n, int(b.left))
	b.left -= float64(got)
	return got
}

// Return gives back what was taken and not used.
func (r *Ration) Return(key string, n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	b, known := r.keys[key]
	if !known {
		b = &r.crowd
	}
	b.left = min(b.left+float64(n), r.cfg.Burst)
}

// Len returns how many keys are remembered.
func (r *Ration) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.keys)
}

func (r *Ration) refill(b *bucket, now time.Time) {
	if d := now.Sub(b.at); d > 0 { // a clock that goes back gives nothing
		b.left = min(b.left+d.Seconds()*r.cfg.PerSecond, r.cfg.Burst)
		b.at = now
	}
}

func (r *Ration) bucket(key string, now time.Time) *bucket {
	if b, ok := r.keys[key]; ok {
		return b
	}
	if len(r.keys) >= r.cfg.MaxKeys {
		r.clear(now)
	}
	if len(r.keys) >= r.cfg.MaxKeys {
		return &r.crowd
	}
	b := &bucket{left: r.cfg.Burst, at: now}
	r.keys[key] = b
	return b
}

// clear forgets keys whose budget is full. It looks at all of them, so it does
// so at most once a second.
func (r *Ration) clear(now time.Time) {
	if now.Sub(r.cleared).Abs() < time.Second {
		return
	}
	r.cleared = now
	for k, b := range r.keys {
		if r.refill(b, now); b.left >= r.cfg.Burst {
			delete(r.keys, k)
		}
	}
}
