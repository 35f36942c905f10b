package outbox

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"time"
)

// target is a provider for which something waits. Owned by the goroutine of Run.
type target struct {
	name     string
	busy     bool      // its turn is going on
	again    bool      // got items during the turn
	back     bool      // could be reached again during the turn
	due      time.Time // when the next turn may begin
	failures int       // in a row

	// The first item's refusals. Used by the turn while busy.
	number   uint64
	refusals int
}

// result is how a turn ended.
type result struct {
	t     *target
	empty bool // nothing waits any more
	retry time.Duration
	err   error // the target does not take the next item; nil otherwise
	fatal error // the store is finished
}

// Run delivers until ctx ends, and then waits for the turns that are going on,
// whose requests are cancelled. It returns nil, or what ended the store. The
// store must outlive it. It may be called once at a time.
func (o *Outbox) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var turns sync.WaitGroup
	defer turns.Wait()
	defer cancel()

	waiting, err := o.Waiting()
	if err != nil {
		return fmt.Errorf("starting outbox: %w", err)
	}
	targets, running := map[string]*target{}, 0
	find := func(name string) *target {
		t := targets[name]
		if t == nil {
			t = &target{name: name}
			targets[name] = t
		}
		return t
	}
	for _, w := range waiting {
		find(w.Target)
	}
	results := make(chan result)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		o.count(len(targets))
		timer.Reset(o.begin(targets, &running, func(t *target) {
			turns.Go(func() {
				r := o.turn(ctx, t)
				select {
				case results <- r:
				case <-ctx.Done():
				}
			})
		}))
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		case <-o.signal:
			put, woken := o.take()
			for name := range put {
				if t := find(name); t.busy {
					t.again = true
				}
			}
			for name := range woken {
				if t := targets[name]; t != nil {
					t.back = t.busy
					t.due = time.Now()
				}
			}
		case r := <-results:
			running--
			if r.fatal != nil {
				return fmt.Errorf("delivering to %s: %w", r.t.name, r.fatal)
			}
			r.t.busy = false
			switch {
			case r.err != nil:
				r.t.failures++
				r.t.due = time.Now().Add(max(o.pause(r.t.failures), r.retry))
				if r.t.back { // not at once, lest a connection that flaps is a busy loop
					r.t.due = time.Now().Add(o.cfg.Shortest)
				}
			case r.empty && !r.t.again:
				delete(targets, r.t.name)
			default:
				r.t.failures = 0
				r.t.due = time.Now() // behind those that have waited longer
			}
			r.t.again, r.t.back = false, false
		}
	}
}

// take empties the sets.
func (o *Outbox) take() (put, woken map[string]bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	put, woken = o.put, o.woken
	o.put, o.woken = map[string]bool{}, map[string]bool{}
	return put, woken
}

// count notes how many targets there are.
func (o *Outbox) count(known int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.known = known
}

// begin starts turns of targets that are due, those first that have been due for
// longest, and returns how long until another is.
func (o *Outbox) begin(targets map[string]*target, running *int, start func(*target)) time.Duration {
	now, wait := time.Now(), time.Hour
	var due []*target
	for _, t := range targets {
		switch {
		case t.busy:
		case t.due.After(now):
			wait = min(wait, t.due.Sub(now))
		default:
			due = append(due, t)
		}
	}
	slices.SortFunc(due, func(a, b *target) int {
		return cmp.Or(a.due.Compare(b.due), cmp.Compare(a.name, b.name))
	})
	for _, t := range due {
		if *running >= o.cfg.Parallel {
			break // the next result comes before a timer would help
		}
		t.busy = true
		*running++
		start(t)
	}
	return wait
}

// pause is drawn from the upper half, so that targets that failed together do
// not come back together.
func (o *Outbox) pause(failures int) time.Duration {
	d := o.cfg.Longest
	if shift := failures - 1; shift < 30 && o.cfg.Shortest<<shift < d {
		d = o.cfg.Shortest << shift
	}
	var b [8]byte
	rand.Read(b[:])
	return d/2 + time.Duration(binary.BigEndian.Uint64(b[:])%uint64(d/2+1))
}
