package memnet

import (
	"sync"
	"time"
)

// A bell guards something with its lock, and wakes who waits for that to change: at once, or at a time. Most goroutines
// of a network wait for octets, so one that waits holds neither a channel nor a timer of its own.
type bell struct {
	mu      sync.Mutex
	cond    sync.Cond
	waiting int         // guarded by mu
	timer   *time.Timer // guarded by mu
	due     time.Time   // when the timer rings; zero: it does not. Guarded by mu
}

func (b *bell) init() { b.cond.L = &b.mu }

// ring wakes all. It is called with the lock.
func (b *bell) ring() { b.cond.Broadcast() }

// ringAt wakes all that wait now, at some time: who goes on waiting says again until when. It is called with the lock.
func (b *bell) ringAt(t time.Time) {
	switch {
	case b.waiting == 0 || !b.due.IsZero() && !t.Before(b.due):
	case b.timer == nil:
		b.due, b.timer = t, time.AfterFunc(time.Until(t), b.rung)
	default:
		b.due = t
		b.timer.Reset(time.Until(t))
	}
}

func (b *bell) rung() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.due = time.Time{}
	b.ring()
}

// wait waits, until the first of some times at the latest; a zero one is none. It is called with the lock, which it
// gives up meanwhile. Who waits looks again whether there is what it waits for.
func (b *bell) wait(until ...time.Time) {
	b.waiting++
	for _, t := range until {
		if !t.IsZero() {
			b.ringAt(t)
		}
	}
	b.cond.Wait()
	b.waiting--
}

// passed says whether a deadline has.
func passed(t time.Time) bool { return !t.IsZero() && !time.Now().Before(t) }
