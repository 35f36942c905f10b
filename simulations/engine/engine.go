package engine

import (
	"hash/fnv"
	"math/bits"
	"math/rand/v2"
	"time"
)

// An Engine is the clock and the queue of one run. It is owned by one goroutine.
type Engine struct {
	seed   uint64
	now    time.Duration
	last   uint64 // sequence number of the newest event
	queue  []event
	done   uint64
	digest uint64
	halted bool
}

// event is something due at a time. Events of one time happen in their sequence.
type event struct {
	at  time.Duration
	seq uint64
	do  Happening
	arg uint64
}

// A Happening is something that can happen. A type that implements it is scheduled without
// an allocation, which counts where there are millions (AfterDo).
type Happening interface{ Happen(arg uint64) }

// callback is a function that happens.
type callback func()

func (c callback) Happen(uint64) { c() }

// New returns an engine at time zero with nothing to do.
func New(seed uint64) *Engine { return &Engine{seed: seed, digest: seed} }

// Now is the true time of the run, which no process sees.
func (e *Engine) Now() time.Duration { return e.now }

// Events is how many events have happened.
func (e *Engine) Events() uint64 { return e.done }

// Rand returns a new stream of randomness for a purpose. Calling it twice for one
// purpose returns the same numbers again.
func (e *Engine) Rand(purpose string) *rand.Rand {
	h := fnv.New64a()
	h.Write([]byte(purpose))
	return rand.New(rand.NewPCG(e.seed, h.Sum64()))
}

// After has something done a while from now; a negative while is none.
func (e *Engine) After(d time.Duration, do func()) { e.AfterDo(d, callback(do), 0) }

// AfterDo is After for what is not a function. It gets the argument back.
func (e *Engine) AfterDo(d time.Duration, do Happening, arg uint64) {
	e.last++
	e.push(event{e.now + max(d, 0), e.last, do, arg})
}

// Run lets everything happen that is due up to a time, and then it is that time.
// It ends earlier if something calls Halt.
func (e *Engine) Run(until time.Duration) {
	for !e.halted && len(e.queue) > 0 && e.queue[0].at <= until {
		next := e.pop()
		e.now = next.at
		e.done++
		next.do.Happen(next.arg)
	}
	if !e.halted {
		e.now = max(e.now, until)
	}
}

// Halt ends the run after the present event, for good.
func (e *Engine) Halt() { e.halted = true }

// Note folds what happens, and when, into the run's digest.
func (e *Engine) Note(x uint64) {
	hi, lo := bits.Mul64(e.digest^x^0x9e3779b97f4a7c15, uint64(e.now)|0xd6e8feb800000001)
	e.digest = bits.RotateLeft64(hi^lo^x, 17) + e.done
}

// Digest tells runs apart: the same seed and the same code give the same digest.
func (e *Engine) Digest() uint64 { return e.digest }

func (a event) before(b event) bool {
	if a.at != b.at {
		return a.at < b.at
	}
	return a.seq < b.seq
}

// push and pop keep the queue a heap with four children to a parent, which is
// flatter than with two.
func (e *Engine) push(ev event) {
	q := append(e.queue, ev)
	i := len(q) - 1
	for i > 0 {
		up := (i - 1) / 4
		if !ev.before(q[up]) {
			break
		}
		q[i] = q[up]
		i = up
	}
	q[i] = ev
	e.queue = q
}

func (e *Engine) pop() event {
	q := e.queue
	top, n := q[0], len(q)-1
	ev := q[n]
	q[n] = event{} // so that what it holds can be collected
	q = q[:n]
	e.queue = q
	if n == 0 {
		return top
	}
	i := 0
	for {
		least := 4*i + 1
		if least >= n {
			break
		}
		for c := least + 1; c < min(4*i+5, n); c++ {
			if q[c].before(q[least]) {
				least = c
			}
		}
		if !q[least].before(ev) {
			break
		}
		q[i] = q[least]
		i = least
	}
	q[i] = ev
	return top
}
