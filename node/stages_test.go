package node

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// journal notes what happens, in order.
type journal struct {
	mu  sync.Mutex
	all []string
}

func (j *journal) add(s string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.all = append(j.all, s)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Join(j.all, " ")
}

// part runs until it is told to end, which takes it so long, and returns err.
func (j *journal) part(name string, takes time.Duration, err error) func(context.Context) error {
	return func(ctx context.Context) error {
		j.add("+" + name)
		<-ctx.Done()
		time.Sleep(takes)
		j.add("-" + name)
		return err
	}
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// TestStageOrder: parts end in the opposite order, each only when those that were
// started after it have ended, and work on the side before all of them.
func TestStageOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		j := &journal{}
		s := newStages(ctx, quiet())
		for _, name := range []string{"a", "b", "c"} {
			s.start(name, j.part(name, time.Second, nil), nil)
			synctest.Wait()
		}
		s.spawn(func(ctx context.Context) { j.part("side", time.Second, nil)(ctx) })
		synctest.Wait()
		if !s.up() {
			t.Error("not up")
		}
		cancel()
		if err := s.wait(); err != nil {
			t.Errorf("ended by the caller: %v", err)
		}
		if err := s.stop(time.Minute); err != nil {
			t.Error(err)
		}
		if got := j.String(); got != "+a +b +c +side -side -c -b -a" {
			t.Errorf("%s", got)
		}
		s.spawn(func(context.Context) { t.Error("spawned after the end") })
		synctest.Wait()
	})
}

// TestStageReady: the next part is started only when one that says when it is ready
// has said so.
func TestStageReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &journal{}
		s := newStages(t.Context(), quiet())
		ready := make(chan struct{})
		time.AfterFunc(time.Hour, func() { j.add("ready"); close(ready) })
		s.start("a", j.part("a", 0, nil), ready)
		s.start("b", j.part("b", 0, nil), nil)
		synctest.Wait()
		if got := j.String(); got != "+a ready +b" {
			t.Error(got)
		}
		if err := s.stop(time.Minute); err != nil {
			t.Error(err)
		}
	})
}

// TestStageFails: a part that ends by itself ends the node, with its name and its
// error once; nothing more is started, and what others say at their end is told too.
func TestStageFails(t *testing.T) {
	lost, worse := errors.New("disk is gone"), errors.New("last words")
	for _, c := range []struct {
		err  error
		says string
	}{{lost, "b: disk is gone"}, {nil, "b: ended unexpectedly"}} {
		synctest.Test(t, func(t *testing.T) {
			j := &journal{}
			s := newStages(t.Context(), quiet())
			s.start("a", j.part("a", 0, worse), nil)
			s.start("b", func(context.Context) error { return c.err }, make(chan struct{})) // never ready
			s.start("c", j.part("c", 0, nil), nil)
			err := s.wait()
			if err == nil || err.Error() != c.says || c.err != nil && !errors.Is(err, lost) {
				t.Errorf("%v, want %s", err, c.says)
			}
			if s.up() {
				t.Error("up")
			}
			err = s.stop(time.Minute)
			if !errors.Is(err, worse) || errors.Is(err, lost) || !strings.Contains(err.Error(), "stopping a: ") {
				t.Errorf("stopping: %v", err)
			}
			if got := j.String(); got != "+a -a" {
				t.Error(got)
			}
		})
	}
}

// TestStageCancelled: who is stopped while starting is not up, and starts nothing more.
func TestStageCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		j := &journal{}
		s := newStages(ctx, quiet())
		time.AfterFunc(time.Second, cancel)
		s.start("a", j.part("a", 0, nil), make(chan struct{}))
		s.start("b", j.part("b", 0, nil), nil)
		if s.up() || s.failed() != nil {
			t.Errorf("up %v, failed %v", s.up(), s.failed())
		}
		if err := s.stop(time.Minute); err != nil {
			t.Error(err)
		}
		if got := j.String(); got != "+a -a" {
			t.Error(got)
		}
	})
}

// TestStageStuck: what does not end in time is named, and what is left is told to end
// without waiting for it.
func TestStageStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &journal{}
		s := newStages(t.Context(), quiet())
		s.start("a", j.part("a", 0, nil), nil)
		s.start("b", j.part("b", time.Hour, nil), nil)
		s.start("c", j.part("c", 0, nil), nil)
		synctest.Wait()
		begin := time.Now()
		err := s.stop(10 * time.Second)
		if err == nil || !strings.Contains(err.Error(), "b does not end") || time.Since(begin) != 10*time.Second {
			t.Errorf("after %v: %v", time.Since(begin), err)
		}
		synctest.Wait()
		if got := j.String(); !strings.HasSuffix(got, " -c -a") {
			t.Error(got)
		}
		time.Sleep(2 * time.Hour)
	})
	synctest.Test(t, func(t *testing.T) {
		j := &journal{}
		s := newStages(t.Context(), quiet())
		s.start("a", j.part("a", 0, nil), nil)
		s.spawn(func(context.Context) { time.Sleep(time.Hour) })
		synctest.Wait()
		if err := s.stop(time.Second); err == nil || !strings.Contains(err.Error(), "on the side") {
			t.Error(err)
		}
		synctest.Wait()
		if got := j.String(); got != "+a -a" {
			t.Error(got)
		}
		time.Sleep(2 * time.Hour)
	})
}
