package engine

import (
	"errors"
	"math/rand/v2"
	"slices"
	"time"
)

// ErrDisk: a commit has failed. It may have happened all the same, so the only way
// on is to read what the disk holds.
var ErrDisk = errors.New("engine: the disk has failed, and what it holds must be read again")

// A Disk makes things durable, after a time. What it holds is its owner's: the
// functions given to Commit write it.
type Disk struct {
	Latency time.Duration // least time of a commit
	Jitter  time.Duration // at most so much more
	Fail    float64       // how many of all commits fail

	rand *rand.Rand

	// Commits counts all, Failed those that failed, Torn those that a crash met on
	// their way.
	Commits, Failed, Torn int
}

// NewDisk returns a disk with randomness of its own.
func NewDisk(r *rand.Rand) *Disk { return &Disk{rand: r} }

// flight is a commit on its way.
type flight struct {
	disk *Disk
	do   func()
}

// cut is a crash before the commit is known to be done.
func (f *flight) cut() {
	f.disk.Torn++
	if f.disk.rand.IntN(2) == 0 {
		f.do()
	}
}

// Commit does something durably for a process, and then calls done, with ErrDisk if
// the disk has failed. If the process dies before, nobody is told.
func (d *Disk) Commit(p *Process, do func(), done func(error)) {
	d.Commits++
	f := &flight{disk: d, do: do}
	p.flights = append(p.flights, f)
	life, wait := p.life, d.Latency
	if d.Jitter > 0 {
		wait += time.Duration(d.rand.Int64N(int64(d.Jitter)))
	}
	p.e.After(wait, func() {
		if p.life != life {
			return // cut
		}
		if i := slices.Index(p.flights, f); i >= 0 {
			p.flights = slices.Delete(p.flights, i, i+1)
		}
		if d.rand.Float64() < d.Fail {
			d.Failed++
			if d.rand.IntN(2) == 0 {
				do()
			}
			done(ErrDisk)
			return
		}
		do()
		done(nil)
	})
}
