package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// stages runs parts one after the other and stops them in the opposite order. Each
// has a context of its own, so that one stops only when those that need it have.
type stages struct {
	ctx  context.Context // the node's: its end begins the stopping
	log  *slog.Logger
	list []*stage
	end  chan struct{} // closed when the first part has ended

	mu    sync.Mutex
	first error // guarded by mu: why a part ended by itself
	ended bool  // guarded by mu

	bg       context.Context
	bgCancel context.CancelFunc
	bgWait   sync.WaitGroup
}

type stage struct {
	name   string
	cancel context.CancelFunc
	done   chan struct{}
	err    error // read after done
	told   bool  // read after done: err is what failed returns
}

func newStages(ctx context.Context, log *slog.Logger) *stages {
	s := &stages{ctx: ctx, log: log, end: make(chan struct{})}
	s.bg, s.bgCancel = context.WithCancel(context.WithoutCancel(ctx))
	return s
}

// start runs a part, and waits until it is ready if it says when that is. After a
// part has failed, or the node is to stop, it does nothing.
func (s *stages) start(name string, run func(context.Context) error, ready <-chan struct{}) {
	if !s.up() {
		return
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(s.ctx))
	st := &stage{name: name, cancel: cancel, done: make(chan struct{})}
	s.list = append(s.list, st)
	go func() {
		defer close(st.done)
		st.err = run(ctx)
		if ctx.Err() == nil { // by itself
			st.told = s.fail(name, st.err)
		}
	}()
	if ready != nil {
		select {
		case <-ready:
		case <-s.end:
		case <-s.ctx.Done():
		}
	}
}

// fail says whether this is why the node ends.
func (s *stages) fail(name string, err error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return false
	}
	s.ended = true
	if err == nil {
		err = errors.New("ended unexpectedly")
	}
	s.first = fmt.Errorf("%s: %w", name, err)
	close(s.end)
	return true
}

// up says whether all that was started runs, and nobody wants the node to stop.
func (s *stages) up() bool { return s.ctx.Err() == nil && s.failed() == nil }

// failed returns why a part has ended by itself, if one has.
func (s *stages) failed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.first
}

// wait waits until the node is to stop or a part has failed.
func (s *stages) wait() error {
	select {
	case <-s.ctx.Done():
		return nil
	case <-s.end:
		return s.failed()
	}
}

// spawn runs something on the side, which ends before any part is stopped.
func (s *stages) spawn(f func(ctx context.Context)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bg.Err() != nil {
		return
	}
	s.bgWait.Go(func() { f(s.bg) })
}

// stop ends the parts, the last one first, all within the time given. What does not
// end by then is named, and all that is left is told to end nevertheless.
func (s *stages) stop(within time.Duration) error {
	defer func() {
		for _, st := range s.list {
			st.cancel()
		}
	}()
	s.mu.Lock()
	s.bgCancel()
	s.mu.Unlock()
	deadline := time.After(within)
	var errs []error
	bg := make(chan struct{})
	go func() { s.bgWait.Wait(); close(bg) }()
	select {
	case <-bg:
	case <-deadline:
		return errors.New("stopping: work on the side does not end")
	}
	for i := len(s.list) - 1; i >= 0; i-- {
		st := s.list[i]
		st.cancel()
		select {
		case <-st.done:
			if st.err != nil && !st.told {
				errs = append(errs, fmt.Errorf("stopping %s: %w", st.name, st.err))
			}
		case <-deadline:
			return errors.Join(append(errs, fmt.Errorf("stopping: %s does not end", st.name))...)
		}
	}
	return errors.Join(errs...)
}
