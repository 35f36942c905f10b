package failover

import (
	"time"

	"github.com/mimid/mimid/simulations/engine"
)

// A Result is what came of one seed.
type Result struct {
	Seed   uint64
	Plan   string
	Broken string // the first sentence that proved wrong, empty if all held
	Digest uint64 // the same whenever the seed is run with the same code
	Events uint64
	Time   time.Duration // virtual
	Stats
}

// Stats count what happened in a run.
type Stats struct {
	Troubles, Kills, Partitions, Restores, HandOvers, Moves, Lies, Stalls int

	Sent, Lost, Torn, DiskFailed int // messages, and commits

	Writes, Submitted, Finals, Elections, Suspicions, Aside, Convicted, Stopped, GivenUp, Forks int

	MostElections int             // in a second
	Recovery      []time.Duration // of each room, since everything was healed

	second   int64
	inSecond int
}

// Run runs a seed. trace, if it is not nil, gets a line for everything that happens.
// Runs share nothing and may go on side by side.
func Run(seed uint64, trace func(string)) Result {
	w := newWorld(seed, trace)
	if trace != nil {
		trace(w.plan.String())
	}
	w.begin()
	r := Result{Seed: seed, Plan: w.plan.String(), Broken: w.broken, Digest: w.e.Digest(), Events: w.e.Events(), Time: w.e.Now(), Stats: w.stats}
	r.Sent, r.Lost = w.net.Sent, w.net.Lost+w.net.Cut
	for _, p := range w.providers {
		r.Torn += p.disk.Torn
		r.DiskFailed += p.disk.Failed
	}
	return r
}

// begin lets a world live.
func (w *world) begin() {
	w.worsen(engine.Link{Loss: w.plan.loss})
	troubles := w.e.Rand("troubles")
	w.e.After(w.plan.pause, func() { w.disturb(troubles) })
	w.e.After(trouble, w.heal)
	w.e.Run(trouble + rest)
	if w.broken == "" {
		w.end()
	}
}

// worsen makes usual links lose messages.
func (w *world) worsen(by engine.Link) {
	l := w.plan.link
	l.Loss = by.Loss
	w.net.Usual(l)
	w.net.Heal()
}
