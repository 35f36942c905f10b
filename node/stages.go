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
}

func newStages(ctx context.Context, log *slog.Logger) *stages {
	s := &stages{ctx: ctx, log: log, end: make(chan struct{})}
	s.bg, s.bgCancel = context.WithCancel(context.WithoutCancel(ctx))
	return s
}

// start runs a part, and waits until it is ready if it says when that is. After a
// part has failed, or the node is to stop, it does nothing.
func (s *stages) start(name string, run func(context.Context) error, ready <-chan struct{}) {
	if s.ctx.Err() != nil || s.failed() != nil {
		return
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(s.ctx))
	st := &stage{name: name, cancel: cancel, done: make(chan struct{})}
	s.list = append(s.list, st)
	go func() {
		defer close(st.done)
		st.err = run(ctx)
		if ctx.Err() == nil { // by itself
			s.fail(name, st.err)
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

func (s *stages) fail(name string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return
	}
	s.ended = true
	if err == nil {
		err = errors.New("ended unexpectedly")
	}
	s.first = fmt.Errorf("%s: %w", name, err)
	close(s.end)
}

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

// stop ends the parts, the last one first, all within the time given.
func (s *stages) stop(within time.Duration) error {
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
			if st.err != nil && s.failed() == nil {
				errs = append(errs, fmt.Errorf("stopping %s: %w", st.name, st.err))
			}
		case <-deadline:
			return errors.Join(append(errs, fmt.Errorf("stopping: %s does not end", st.name))...)
		}
	}
	return errors.Join(errs...)
}
