package engine

import "time"

// A Clock is what a process believes the time to be.
type Clock struct {
	Skew  time.Duration // how far it is ahead at the beginning
	Drift float64       // how much faster it runs: 0.01 is one second in a hundred
}

// At is what the clock shows at a true time.
func (c Clock) At(now time.Duration) time.Duration {
	return c.Skew + time.Duration(float64(now)*(1+c.Drift))
}

// True is how long something truly takes that takes d by the clock.
func (c Clock) True(d time.Duration) time.Duration {
	return time.Duration(float64(d) / (1 + c.Drift))
}

// A Process lives, dies and lives again. What its owner keeps in memory the owner
// forgets in the function that it gives to Start; what is on disk stays.
type Process struct {
	Clock Clock

	e       *Engine
	up      bool
	life    uint64    // timers and commits of an earlier one are void
	doom    int       // questions until death; 0: none is near
	died    func()    // told at each death
	flights []*flight // commits on their way to the disk, oldest first
}

// NewProcess returns a process that does not run yet. died is called at each of its
// deaths and may be nil.
func NewProcess(e *Engine, clock Clock, died func()) *Process {
	return &Process{e: e, Clock: clock, died: died}
}

// Up says whether the process runs.
func (p *Process) Up() bool { return p.up }

// Now is the time by the process's own clock.
func (p *Process) Now() time.Duration { return p.Clock.At(p.e.now) }

// Start begins a life with boot, unless one is going on.
func (p *Process) Start(boot func()) {
	if p.up {
		return
	}
	p.up, p.doom = true, 0
	p.life++
	boot()
}

// Doom lets the process die at the n-th question from now, the first being 1; 0 spares
// it again.
func (p *Process) Doom(n int) {
	if p.up {
		p.doom = max(n, 0)
	}
}

// May is asked before each effect. If it says no, the process has died instead, and
// the caller does nothing more.
func (p *Process) May() bool {
	if p.doom > 0 {
		if p.doom--; p.doom == 0 {
			p.Kill()
		}
	}
	return p.up
}

// Kill ends the process now. Each commit on its way is lost or done.
func (p *Process) Kill() {
	if !p.up {
		return
	}
	p.up, p.doom = false, 0
	p.life++
	for _, f := range p.flights {
		f.cut()
	}
	p.flights = nil
	if p.died != nil {
		p.died()
	}
}

// After has something done after a time by the process's own clock, if it still
// lives the same life.
func (p *Process) After(d time.Duration, do func()) {
	life := p.life
	p.e.After(p.Clock.True(d), func() {
		if p.life == life && p.up {
			do()
		}
	})
}
