package simulations

import (
	"context"
	"fmt"
	"runtime/metrics"
	"time"
)

// MaxObservations bounds what one run may observe; a simulation that makes more
// should observe percentiles of its own.
const MaxObservations = 2_000_000

// An Observation is one value of a metric in one run.
type Observation struct {
	Metric string  // snake_case
	Unit   string  // "ms", "1" for counts and shares, "bytes"
	Value  float64 // finite
	Labels []Label
}

// A Run is one run of a simulation with one seed. It belongs to the goroutine that
// was given it.
type Run struct {
	Seed uint64

	ctx     context.Context
	stop    func() error         // in a worker: whether the run has to end; else nil
	wall    func() time.Duration // a clock on the wall: time.Now may be virtual
	limits  Limits
	begun   time.Duration // by wall, of all runs
	report  func(time.Duration, float64)
	reports time.Duration

	observed   []Observation
	violations []string
	digest     uint64
	events     uint64
	virtual    time.Duration
	graph      *Graph
	full       bool
}

// Context ends when the run should.
func (r *Run) Context() context.Context { return r.ctx }

// Observe keeps a value. What is not finite is a violation: it would make every mean unusable.
func (r *Run) Observe(metric, unit string, value float64, labels ...Label) {
	if value-value != 0 {
		r.Violate("%s is %v", metric, value)
		return
	}
	if len(r.observed) >= MaxObservations {
		r.full = true
		return
	}
	r.observed = append(r.observed, Observation{metric, unit, value, labels})
}

// ObserveTime keeps a time in milliseconds.
func (r *Run) ObserveTime(metric string, d time.Duration, labels ...Label) {
	r.Observe(metric, "ms", float64(d)/float64(time.Millisecond), labels...)
}

// Violate says that a promise did not hold. The run goes on; it counts as failed.
func (r *Run) Violate(format string, args ...any) {
	const most = 100
	if len(r.violations) < most {
		r.violations = append(r.violations, fmt.Sprintf(format, args...))
	}
}

// At says how far the run has come: the virtual time, and the share of all that it
// has to do. It returns an error when the run has to end: it was interrupted, or a
// limit was reached. Call it a few hundred times a run.
func (r *Run) At(virtual time.Duration, share float64) error {
	r.virtual = virtual
	if err := r.ctx.Err(); err != nil {
		return err
	}
	if r.stop != nil {
		if err := r.stop(); err != nil {
			return err
		}
	}
	if r.full {
		return fmt.Errorf("%w: a run may make %d", ErrObservations, MaxObservations)
	}
	now := r.wall()
	if wall, has := r.limits.wall(); has && now-r.begun > wall {
		return fmt.Errorf("%w: limits.wall = %s is over", ErrLimit, wall)
	}
	if r.limits.Memory > 0 {
		if used := heap() >> 20; used > uint64(r.limits.Memory) {
			return fmt.Errorf("%w: %d MiB of heap are in use, limits.memory = %d", ErrLimit, used, r.limits.Memory)
		}
	}
	if r.report != nil && now-r.reports > 50*time.Millisecond {
		r.reports = now
		r.report(virtual, share)
	}
	return nil
}

// heap is how many octets live objects take.
func heap() uint64 {
	s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

// Trace keeps what tells runs apart: a digest of all that happened, and how many
// events these were.
func (r *Run) Trace(digest, events uint64) { r.digest, r.events = digest, events }

// Draw keeps a network to be drawn in the report; of all runs the first one's is.
func (r *Run) Draw(g Graph) { r.graph = &g }

// A Graph is a network to be drawn.
type Graph struct {
	Nodes []Node `json:"nodes"`
	Edges []Edge `json:"edges"`
	Note  string `json:"note"` // what is seen
}

// MaxDrawn is how many nodes a picture can show.
const MaxDrawn = 1000

// A Node has a place, each coordinate between 0 and 1, and a group that gives its color.
type Node struct {
	X     float64 `json:"x"`
	Y     float64 `json:"y"`
	Name  string  `json:"name"`
	Group string  `json:"group,omitempty"`
}

// An Edge connects two nodes by their index.
type Edge [2]int
