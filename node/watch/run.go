package watch

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"
)

// result is how a ping ended.
type result struct {
	t   *target
	at  time.Duration
	err error
}

// Run watches until ctx ends, and then waits for the pings that are out, whose
// contexts have ended. It returns nil, or ErrRunning. Providers that were dead
// when it ended are so until it runs again.
func (w *Watch) Run(ctx context.Context) error {
	if !w.running.CompareAndSwap(false, true) {
		return ErrRunning
	}
	defer w.running.Store(false)
	ctx, cancel := context.WithCancel(ctx)
	var pings sync.WaitGroup
	defer pings.Wait()
	defer cancel()

	w.results, w.out = make(chan result), 0
	w.seen, w.wall = w.now(), w.cfg.Wall()
	for _, t := range w.targets { // of an earlier run
		t.out = false
		t.restart(w.seen)
	}
	w.pull(w.seen)
	w.scan(ctx, &pings, w.seen)
	timer := time.NewTimer(w.wake - w.seen)
	defer timer.Stop()
	for {
		var r result
		event := tick
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		case <-w.back:
			event = heard
		case r = <-w.results:
			event = answer
		}
		now := w.now()
		w.forgive(now)
		if event == answer {
			w.take(r, now)
		}
		if now >= w.pulled+w.cfg.Interval {
			w.pull(now)
		}
		// A look at all targets is too dear for each event when they are many.
		if event == heard || now >= w.wake {
			w.scan(ctx, &pings, now)
		}
		timer.Reset(w.wake - now)
	}
}

type event uint8

const (
	tick event = iota
	heard
	answer
)

// forgive gives everybody new time if this process stood still: the timer came
// far too late, or the time of day went on without the clock. Then it was us who
// were silent, our connections may be gone, and answers may wait unread.
//
// On a machine that is too busy for long that happens several times in a second. So
// where it was for less than Timeout, and no connection is gone for that, a provider gets
// new time once in a silence: one that is dead is found so, and one that is
// alive is heard in between.
func (w *Watch) forgive(now time.Duration) {
	wall := w.cfg.Wall()
	late := now - w.wake
	slept := wall.Sub(w.wall) - (now - w.seen)
	w.seen, w.wall = now, wall
	if max(late, slept) <= w.cfg.Timeout/4 {
		return
	}
	w.stats.suspended.Add(1)
	w.cfg.Log.Warn("this process stood still; other providers get new time to answer", "for", max(late, slept))
	for _, t := range w.targets {
		if t.forgiven && max(late, slept) < w.cfg.Timeout {
			continue
		}
		t.restart(now)
		t.forgiven = true
	}
	w.wake = now
}

// pull asks for the targets, and has all looked at, as their times may have
// changed. The list is made anew only if it changed.
func (w *Watch) pull(now time.Duration) {
	w.pulled, w.wake = now, now
	want := w.cfg.Targets()
	if n := len(want) - w.cfg.MaxTargets; n > 0 {
		if n != w.refused {
			w.cfg.Log.Warn("too many providers to watch", "watched", w.cfg.MaxTargets, "not_watched", n)
		}
		w.refused = n
		want = first(want, w.cfg.MaxTargets)
	} else {
		w.refused = 0
	}
	have, same := *w.view.Load(), 0
	for domain, rate := range want {
		if t := have[domain]; t != nil {
			t.hurry(rate, now)
			same++
		}
	}
	if same == len(want) && same == len(have) {
		return
	}
	next, dead := make(map[string]*target, len(want)), 0
	w.targets = w.targets[:0:0]
	for _, domain := range slices.Sorted(maps.Keys(want)) {
		t := have[domain]
		if t == nil {
			t = newTarget(&w.cfg, domain, want[domain], now)
		}
		if t.dead.Load() {
			dead++
		}
		next[domain] = t
		w.targets = append(w.targets, t)
	}
	for domain, t := range have {
		if next[domain] == nil && t.out {
			t.cancel()
		}
	}
	w.view.Store(&next)
	w.stats.targets.Store(int64(len(next)))
	w.stats.dead.Store(int64(dead))
}

// first returns n of the targets, busy ones first, then by name.
func first(want map[string]Rate, n int) map[string]Rate {
	names := slices.SortedFunc(maps.Keys(want), func(a, b string) int {
		return cmp.Or(cmp.Compare(want[b], want[a]), cmp.Compare(a, b))
	})
	out := make(map[string]Rate, n)
	for _, name := range names[:n] {
		out[name] = want[name]
	}
	return out
}

// take takes the result of a ping.
func (w *Watch) take(r result, now time.Duration) {
	t := r.t
	w.out--
	t.out = false
	if r.err == nil {
		t.heard.Store(max(int64(r.at), t.heard.Load()))
		if t.dead.Load() {
			t.due = now // the scan tells
		} else {
			t.note()
		}
	} else {
		w.stats.failed.Add(1)
		t.err = r.err
		t.failed(now)
	}
	w.wake = min(w.wake, max(t.due, w.scanned+w.grain()))
}

// grain is how long two scans are apart at least, unless somebody came back.
func (w *Watch) grain() time.Duration { return w.cfg.Interval / 40 }

// scan looks at each target: who died, who came back, whom to ping. It sets when
// to look again.
func (w *Watch) scan(ctx context.Context, pings *sync.WaitGroup, now time.Duration) {
	next := w.pulled + w.cfg.Interval
	for _, t := range w.targets {
		came := t.note()
		switch dead := t.dead.Load(); {
		case dead && came:
			w.revive(t, now)
		case !dead && now >= t.dies():
			w.bury(t, now)
		}
		if now >= t.due {
			w.ping(ctx, pings, t, now)
		}
		next = min(next, t.due)
		if !t.dead.Load() {
			next = min(next, t.dies())
		}
	}
	w.scanned = now
	w.wake = max(next, now+w.grain())
}

func (w *Watch) revive(t *target, now time.Duration) {
	t.dead.Store(false)
	w.stats.returns.Add(1)
	w.stats.dead.Add(-1)
	w.cfg.Log.Info("provider is back", "provider", t.domain)
	w.cfg.Changed(t.domain, false)
}

func (w *Watch) bury(t *target, now time.Duration) {
	t.pause = t.cfg.Interval
	t.dead.Store(true)
	w.stats.deaths.Add(1)
	w.stats.dead.Add(1)
	w.cfg.Log.Warn("provider is dead", "provider", t.domain, "silent", now-max(t.life, t.since), "pings", t.tries, "error", t.err)
	w.cfg.Changed(t.domain, true)
}

// ping begins a ping. If the last one does not return, it is ended and counts
// once more instead, so that even then a silent provider is found dead.
func (w *Watch) ping(ctx context.Context, pings *sync.WaitGroup, t *target, now time.Duration) {
	switch {
	case t.out && now < t.overdue():
		t.due = t.overdue()
		return
	case t.out:
		t.cancel()
		t.begin(now)
		return
	case w.out >= w.cfg.MaxTargets: // pings to former targets do not end
		t.due = now + t.cfg.Interval
		return
	}
	t.begin(now)
	w.stats.pings.Add(1)
	w.out++
	t.out = true
	one, cancel := context.WithTimeout(ctx, t.patience())
	t.cancel = cancel
	pings.Go(func() {
		defer cancel()
		err := w.cfg.Ping(one, t.domain)
		select {
		case w.results <- result{t, w.now(), err}:
		case <-ctx.Done():
		}
	})
}
