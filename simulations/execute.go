package simulations

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"time"
)

// A Progress is how far things are.
type Progress struct {
	Done, Runs int           // runs
	Virtual    time.Duration // of the run that reported last
	Share      float64       // of all the work, between 0 and 1
	Wall       time.Duration
}

// An Outcome is what one run left.
type Outcome struct {
	Setting      []Label
	Seed         uint64
	Observations []Observation
	Violations   []string
	Digest       uint64        // event engine: equal for equal seeds and code
	Events       uint64        // event engine: how many there were
	Virtual      time.Duration // virtual time at its end
	Wall         time.Duration
	Err          error `json:"-"` // it did not end by itself
}

// A Result is all runs of a scenario, in the order of settings and seeds.
type Result struct {
	Scenario *Scenario
	Outcomes []Outcome
	Graph    *Graph
	Begun    time.Time
	Wall     time.Duration
	Err      error // why runs are missing: interrupted, or a limit
}

// Execute runs a scenario. If the context ends or a limit is reached, what there is, is
// returned, with Result.Err; progress, which may be nil, is called by one goroutine
// at a time.
func (s *Scenario) Execute(ctx context.Context, progress func(Progress)) *Result {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	e := &execution{s: s, ctx: ctx, cancel: cancel, begun: time.Now(), progress: progress}
	total := len(s.Settings) * s.Runs
	e.outcomes = make([]*Outcome, total)
	e.shares = make([]float64, total)
	workers := 1
	if s.Simulation.Engine == Event {
		workers = min(runtime.GOMAXPROCS(0), total)
	}
	next := make(chan int)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := range next {
				if ctx.Err() == nil {
					e.run(i)
				}
			}
		})
	}
feed:
	for i := range total {
		select {
		case next <- i:
		case <-ctx.Done():
			break feed
		}
	}
	close(next)
	wg.Wait()
	r := &Result{Scenario: s, Begun: e.begun, Wall: time.Since(e.begun), Err: e.err, Graph: e.graph}
	if r.Err == nil {
		r.Err = ctx.Err()
	}
	for _, o := range e.outcomes {
		if o != nil {
			r.Outcomes = append(r.Outcomes, *o)
		}
	}
	return r
}

// execution is an Execute that goes on. mu guards what is below it.
type execution struct {
	s        *Scenario
	ctx      context.Context
	cancel   context.CancelFunc
	begun    time.Time
	progress func(Progress)

	mu       sync.Mutex
	outcomes []*Outcome
	shares   []float64
	done     int
	graph    *Graph
	err      error
}

// run makes the run of one index: settings change slower than seeds.
func (e *execution) run(i int) {
	report := func(virtual time.Duration, share float64) { e.reached(i, virtual, share) }
	seed, virtual := e.s.Seed+uint64(i%e.s.Runs), time.Duration(0)
	var o *Outcome
	var graph *Graph
	var err error
	if e.s.Simulation.Engine == Stack && e.s.Worker != nil {
		if o, graph, err = e.s.remote(e.ctx, i/e.s.Runs, seed, time.Since(e.begun), report); o == nil {
			o = &Outcome{Setting: e.s.Settings[i/e.s.Runs].Labels, Seed: seed}
		}
		if e.ctx.Err() != nil && err != nil {
			err = e.ctx.Err()
		}
		o.Err = err
	} else {
		o, graph, err = e.local(i, seed, report)
	}
	virtual = o.Virtual
	e.mu.Lock()
	defer e.mu.Unlock()
	e.outcomes[i] = o
	e.shares[i] = 1
	e.done++
	if i == 0 {
		e.graph = graph
	}
	if err != nil && e.err == nil {
		e.err = err
		e.cancel() // the other runs would meet the same limit, or the same mistake
	}
	e.tell(virtual)
}

// local makes a run in this process.
func (e *execution) local(i int, seed uint64, report func(time.Duration, float64)) (*Outcome, *Graph, error) {
	setting := e.s.Settings[i/e.s.Runs]
	since := func() time.Duration { return time.Since(e.begun) }
	r := &Run{Seed: seed, ctx: e.ctx, limits: e.s.Limits, wall: since, report: report}
	begun := time.Now()
	err := guarded(e.s.Simulation, r, setting.Parameters)
	return &Outcome{setting.Labels, r.Seed, r.observed, r.violations, r.digest, r.events, r.virtual, time.Since(begun), err}, r.graph, err
}

// guarded turns a panic of a simulation into an error that names the seed.
func guarded(s Simulation, r *Run, p any) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("simulation %s, seed %d: panic: %v\n%s", s.Name, r.Seed, v, debug.Stack())
		}
		if r.full && err == nil {
			err = fmt.Errorf("%w: a run may make %d", ErrObservations, MaxObservations)
		}
	}()
	if err := r.At(0, 0); err != nil {
		return err
	}
	if err := s.run(r, p); err != nil {
		if errors.Is(err, context.Canceled) || errors.Is(err, ErrLimit) || errors.Is(err, ErrObservations) {
			return err
		}
		return fmt.Errorf("simulation %s, seed %d: %w", s.Name, r.Seed, err)
	}
	return nil
}

func (e *execution) reached(i int, virtual time.Duration, share float64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.shares[i] = min(max(share, 0), 1)
	e.tell(virtual)
}

// tell is called with the lock.
func (e *execution) tell(virtual time.Duration) {
	if e.progress == nil {
		return
	}
	var sum float64
	for _, s := range e.shares {
		sum += s
	}
	e.progress(Progress{e.done, len(e.shares), virtual, sum / float64(len(e.shares)), time.Since(e.begun)})
}

// Violations are those of all runs, each with its seed and setting.
func (r *Result) Violations() []string {
	var all []string
	for _, o := range r.Outcomes {
		for _, v := range o.Violations {
			all = append(all, fmt.Sprintf("seed %d%s: %s", o.Seed, settingText(o.Setting), v))
		}
	}
	return all
}

func settingText(labels []Label) string {
	s := ""
	for _, l := range labels {
		s += ", " + l.Key + " = " + l.Value
	}
	return s
}
