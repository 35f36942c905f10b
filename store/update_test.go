package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mimid/mimid/store"
)

func key(name string) store.Key { return store.SpaceAccounts.Key([]byte(name)) }

// gate holds the writer in its first commit until open is called, so that a test can
// line up the functions of the second batch.
type gate struct {
	*running
	entered, open chan struct{}
	passed        atomic.Int32        // commits
	then          func(n int32) error // what the commit after the gate does instead, if not nil
}

func gated(t *testing.T, o store.Options) *gate {
	t.Helper()
	st, err := store.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{entered: make(chan struct{}), open: make(chan struct{})}
	st.Wrap(func(commit func() error) error {
		n := g.passed.Add(1)
		if n == 1 {
			close(g.entered)
			<-g.open
		} else if g.then != nil {
			if err := g.then(n); err != nil {
				return err
			}
		}
		return commit()
	})
	ctx, cancel := context.WithCancel(context.Background())
	g.running = &running{st, cancel, make(chan error, 1)}
	go func() { defer close(g.ended); g.ended <- st.Run(ctx) }()
	t.Cleanup(func() { g.shut() })
	go st.Update(context.Background(), func(tx *store.Tx) error { return tx.Set(key("gate"), nil) })
	<-g.entered
	return g
}

// queue puts a function into the queue and returns where its result will be.
func (g *gate) queue(ctx context.Context, fn func(tx *store.Tx) error) chan error {
	done := make(chan error, 1)
	before := g.Queued()
	go func() {
		defer func() {
			if v := recover(); v != nil {
				done <- fmt.Errorf("panic: %v", v)
			}
		}()
		done <- g.Update(ctx, fn)
	}()
	for g.Queued() == before {
		runtime.Gosched()
	}
	return done
}

// TestGroupCommit counts: one function alone is one transaction, and what waits
// during a commit is one transaction together.
func TestGroupCommit(t *testing.T) {
	g := gated(t, memory())
	var results []chan error
	for i := range 64 {
		results = append(results, g.queue(t.Context(), func(tx *store.Tx) error {
			return tx.Set(key(fmt.Sprint(i)), []byte("x"))
		}))
	}
	close(g.open)
	for _, r := range results {
		if err := <-r; err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(store.Stats{Functions: 65, Commits: 2}, g.Stats()); diff != "" {
		t.Errorf("64 functions that waited: %s", diff)
	}
	for i := range 10 {
		set(t, g.running, key("alone"), fmt.Sprint(i))
	}
	if diff := cmp.Diff(store.Stats{Functions: 75, Commits: 12}, g.Stats()); diff != "" {
		t.Errorf("10 functions one after another: %s", diff)
	}
}

// TestGroupCommitFree is the same without a gate, on a disk: 64 goroutines make far
// fewer transactions than appends.
func TestGroupCommitFree(t *testing.T) {
	s := start(t, small(t.TempDir()+"/store"))
	const waiters, each = 64, 20
	var group sync.WaitGroup
	for n := range waiters {
		group.Go(func() {
			for i := range each {
				k := store.RoomEntryKey(room(n), uint64(i))
				if err := s.Update(t.Context(), func(tx *store.Tx) error { return tx.Set(k, []byte("x")) }); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	st := s.Stats()
	if st.Functions != waiters*each {
		t.Errorf("%d functions, want %d", st.Functions, waiters*each)
	}
	if st.Commits > waiters*each/4 {
		t.Errorf("%d transactions for %d appends", st.Commits, waiters*each)
	}
	t.Logf("%d appends, %d transactions", st.Functions, st.Commits)
}

// TestBatchIsolation: in one batch, each function sees the writes of those before it,
// and one that fails or panics leaves nothing and disturbs nobody.
func TestBatchIsolation(t *testing.T) {
	g := gated(t, memory())
	errNo := errors.New("no")
	log := func(tx *store.Tx, name string) error {
		v, err := tx.Get(key("log"))
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		return tx.Set(key("log"), append(v, name...))
	}
	var called []string
	call := func(tx *store.Tx, name string) { tx.OnCommit(func() { called = append(called, name) }) }
	ctx := t.Context()
	results := []chan error{
		g.queue(ctx, func(tx *store.Tx) error { call(tx, "a1"); call(tx, "a2"); return log(tx, "a") }),
		g.queue(ctx, func(tx *store.Tx) error {
			call(tx, "b")
			tx.Delete(key("log"))
			tx.Set(key("b"), []byte("x"))
			return errNo
		}),
		g.queue(ctx, func(tx *store.Tx) error { call(tx, "c"); return log(tx, "c") }),
		g.queue(ctx, func(tx *store.Tx) error { log(tx, "d"); call(tx, "d"); panic("bug") }),
		g.queue(ctx, func(tx *store.Tx) error {
			tx.Set(key("big"), make([]byte, store.MaxValueSmall+1)) // and ignores the error
			return log(tx, "e")
		}),
		g.queue(ctx, func(tx *store.Tx) error { call(tx, "f"); return log(tx, "f") }),
	}
	close(g.open)
	for i, want := range []string{"<nil>", "no", "<nil>", "panic: store: panic in a function given to Update: bug",
		"store: too large: value of 131072 bytes, at most 131071", "<nil>"} {
		if got, _, _ := strings.Cut(fmt.Sprint(<-results[i]), "\n"); got != want {
			t.Errorf("function %d: got %q, want %q", i, got, want)
		}
	}
	if got := get(t, g.running, key("log")); got != "acf" {
		t.Errorf("log %q, want acf", got)
	}
	if got := get(t, g.running, key("b")); got != "-" {
		t.Errorf("the function that failed has written %q", got)
	}
	if diff := cmp.Diff([]string{"a1", "a2", "c", "f"}, called); diff != "" {
		t.Errorf("OnCommit: %s", diff)
	}
	if st := g.Stats(); st.Commits != 2 || st.Functions != 4 {
		t.Errorf("%+v, want 2 commits and 4 functions", st)
	}
}

// TestAckAfterCommit: at the moment of the fsync nobody has been acknowledged, no
// callback has run, and no reader sees anything; also not the function that returned
// an error, because it may have read what is not durable yet.
func TestAckAfterCommit(t *testing.T) {
	g := gated(t, memory())
	var early atomic.Int32
	var results []chan error
	var seen string
	g.then = func(int32) error {
		runtime.Gosched()
		for _, r := range results {
			early.Add(int32(len(r)))
		}
		seen = get(t, g.running, key("x"))
		return nil
	}
	errSeen := errors.New("seen")
	results = append(results,
		g.queue(t.Context(), func(tx *store.Tx) error {
			tx.OnCommit(func() {
				if g.passed.Load() != 2 || len(results[0]) > 0 {
					early.Add(100)
				}
				if get(t, g.running, key("x")) != "1" {
					early.Add(1000)
				}
			})
			return tx.Set(key("x"), []byte("1"))
		}),
		g.queue(t.Context(), func(tx *store.Tx) error {
			if _, err := tx.Get(key("x")); err != nil {
				return err
			}
			return errSeen
		}))
	close(g.open)
	if err := <-results[0]; err != nil {
		t.Error(err)
	}
	if err := <-results[1]; err != errSeen {
		t.Error(err)
	}
	if early.Load() != 0 {
		t.Errorf("acknowledged too early: %d", early.Load())
	}
	if seen != "-" {
		t.Errorf("a reader saw %q before the commit", seen)
	}
}

// TestCommitFails: everybody in the batch hears of it, nothing becomes visible, and
// the store answers nothing more; whether or not the commit has happened all the same.
func TestCommitFails(t *testing.T) {
	for _, happened := range []bool{false, true} {
		t.Run(fmt.Sprint("happened=", happened), func(t *testing.T) {
			dir := t.TempDir() + "/store"
			st, err := store.Open(small(dir))
			if err != nil {
				t.Fatal(err)
			}
			errDisk := errors.New("disk on fire")
			var commits int
			proceed := make(chan struct{})
			st.Wrap(func(commit func() error) error {
				if commits++; commits == 1 {
					return commit()
				}
				<-proceed
				if happened {
					if err := commit(); err != nil {
						return err
					}
				}
				return errDisk
			})
			ctx, cancel := context.WithCancel(context.Background())
			r := &running{st, cancel, make(chan error, 1)}
			go func() { defer close(r.ended); r.ended <- st.Run(ctx) }()
			set(t, r, key("before"), "1")

			called := false
			var results []chan error
			for i := range 3 {
				c := make(chan error, 1)
				results = append(results, c)
				go func() {
					c <- r.Update(ctx, func(tx *store.Tx) error {
						tx.OnCommit(func() { called = true })
						return tx.Set(key(fmt.Sprint(i)), []byte("1"))
					})
				}()
			}
			time.Sleep(time.Millisecond) // some are in the batch, some in the queue: all the same
			close(proceed)
			for _, c := range results {
				if err := <-c; !errors.Is(err, store.ErrFailed) || !errors.Is(err, errDisk) {
					t.Errorf("got %v, want ErrFailed with its cause", err)
				}
			}
			if called {
				t.Error("OnCommit ran")
			}
			if err := r.View(func(*store.Tx) error { return nil }); !errors.Is(err, store.ErrFailed) {
				t.Errorf("View: %v", err)
			}
			if err := r.Update(ctx, func(*store.Tx) error { return nil }); !errors.Is(err, store.ErrFailed) {
				t.Errorf("Update: %v", err)
			}
			if err := r.shut(); !errors.Is(err, store.ErrFailed) {
				t.Errorf("Run: %v", err)
			}

			again := start(t, small(dir))
			if got := get(t, again, key("before")); got != "1" {
				t.Errorf("acknowledged before: %q", got)
			}
		})
	}
}

// TestBatchBounds: functions that do not fit together are split between batches, and
// one that cannot fit is refused.
func TestBatchBounds(t *testing.T) {
	g := gated(t, memory())
	size, keys := g.Limits()
	v := make([]byte, size/5)
	runs := make([]int, 8)
	var results []chan error
	for i := range runs {
		results = append(results, g.queue(t.Context(), func(tx *store.Tx) error {
			runs[i]++
			return errors.Join(
				tx.Set(key(fmt.Sprint(i, "a")), v),
				tx.Set(key(fmt.Sprint(i, "b")), v))
		}))
	}
	tooLarge := g.queue(t.Context(), func(tx *store.Tx) error {
		for i := range 6 {
			if err := tx.Set(key(fmt.Sprint("large", i)), v); err != nil {
				return errors.New("a message of its own")
			}
		}
		return nil
	})
	tooMany := g.queue(t.Context(), func(tx *store.Tx) error {
		for i := range keys + 1 {
			tx.Set(key(fmt.Sprint("many", i)), nil)
		}
		return nil
	})
	last := g.queue(t.Context(), func(tx *store.Tx) error { return tx.Set(key("last"), nil) })
	close(g.open)
	for i, r := range append(results, last) {
		if err := <-r; err != nil {
			t.Errorf("function %d: %v", i, err)
		}
	}
	for _, r := range []chan error{tooLarge, tooMany} {
		if err := <-r; !errors.Is(err, store.ErrTooLarge) {
			t.Errorf("got %v, want ErrTooLarge", err)
		}
	}
	for _, name := range []string{"large0", "many0"} {
		if got := get(t, g.running, key(name)); got != "-" {
			t.Errorf("%s was written", name)
		}
	}
	for i, n := range runs {
		if n > 2 || get(t, g.running, key(fmt.Sprint(i, "b"))) != string(v) {
			t.Errorf("function %d ran %d times, or is not there", i, n)
		}
	}
	if st := g.Stats(); st.Commits < 5 || st.Commits > 7 {
		t.Errorf("%d commits for 8 functions of 0.4 transactions each", st.Commits)
	}
}

// TestLargest: the largest function that the store accepts is one that Badger takes,
// in keys and in bytes.
func TestLargest(t *testing.T) {
	s := start(t, small(t.TempDir()+"/store"))
	size, keys := s.Limits()
	err := s.Update(t.Context(), func(tx *store.Tx) error {
		for i := range keys {
			if err := tx.Set(key(fmt.Sprintf("%06d", i)), nil); err != nil {
				return fmt.Errorf("key %d of %d: %w", i, keys, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	err = s.Update(t.Context(), func(tx *store.Tx) error {
		left := size
		for i := 0; left > 0; i++ {
			k := key(fmt.Sprintf("%06d", i))
			n := max(0, min(int64(store.MaxValueSmall), left-int64(len(k.Bytes()))-store.EntryOverhead))
			if n == 0 {
				break
			}
			if err := tx.Set(k, make([]byte, n)); err != nil {
				return fmt.Errorf("value %d: %w", i, err)
			}
			left -= n + int64(len(k.Bytes())) + store.EntryOverhead
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	long := key(strings.Repeat("k", store.MaxKey-1))
	set(t, s, long, "x")
	err = s.Update(t.Context(), func(tx *store.Tx) error {
		return tx.Set(key(strings.Repeat("k", store.MaxKey)), nil)
	})
	if !errors.Is(err, store.ErrTooLarge) {
		t.Errorf("long key: %v", err)
	}
}

// TestContext: before a function is taken, the end of its context means that it never
// runs; afterwards that nobody knows, and yet it happens.
func TestContext(t *testing.T) {
	g := gated(t, memory())
	cause := errors.New("enough")
	ctx1, cancel1 := context.WithCancelCause(t.Context())
	ran := false
	waits := g.queue(ctx1, func(tx *store.Tx) error { ran = true; return nil })
	cancel1(cause)
	if err := <-waits; err != cause {
		t.Errorf("waiting: got %v, want its cause", err)
	}

	ctx2, cancel2 := context.WithCancelCause(t.Context())
	inside, goOn := make(chan struct{}), make(chan struct{})
	takenOne := g.queue(ctx2, func(tx *store.Tx) error {
		close(inside)
		<-goOn
		return tx.Set(key("x"), []byte("1"))
	})
	close(g.open)
	<-inside
	cancel2(cause)
	if err := <-takenOne; !errors.Is(err, store.ErrUnknown) || !errors.Is(err, cause) {
		t.Errorf("taken: got %v, want ErrUnknown with its cause", err)
	}
	close(goOn)
	set(t, g.running, key("y"), "")
	if got := get(t, g.running, key("x")); got != "1" {
		t.Errorf("the function that was taken left %q", got)
	}
	if ran {
		t.Error("the function whose caller left has run")
	}
}

// TestBackPressure: when the queue is full, callers wait for a place.
func TestBackPressure(t *testing.T) {
	g := gated(t, memory())
	var group sync.WaitGroup
	var ok atomic.Int32
	const more = 50
	for range store.QueueLen + more {
		group.Go(func() {
			if g.Update(context.Background(), func(tx *store.Tx) error { return nil }) == nil {
				ok.Add(1)
			}
		})
	}
	for g.Queued() < store.QueueLen {
		runtime.Gosched()
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := g.Update(ctx, nil); err != context.Canceled {
		t.Errorf("full queue, cancelled: %v", err)
	}
	close(g.open)
	group.Wait()
	if ok.Load() != store.QueueLen+more {
		t.Errorf("%d of %d functions", ok.Load(), store.QueueLen+more)
	}
}

// TestSnapshot: a View sees one state, however much is written, flushed and compacted
// while it is open.
func TestSnapshot(t *testing.T) {
	s := start(t, small(t.TempDir()+"/store"))
	set(t, s, key("x"), "old")
	err := s.View(func(tx *store.Tx) error {
		for i := range 60 {
			set(t, s, key("x"), fmt.Sprint("new", i))
			set(t, s, key(fmt.Sprint("fill", i%3)), strings.Repeat("y", 100<<10))
		}
		v, err := tx.Get(key("x"))
		if string(v) != "old" {
			t.Errorf("got %q", v)
		}
		for it, err := range tx.Scan(store.Scan{Prefix: store.SpaceAccounts.Prefix([]byte("fill"))}) {
			t.Errorf("scan comes across %v, %v", it.Key, err)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := get(t, s, key("x")); got != "new59" {
		t.Errorf("afterwards %q", got)
	}
}

// TestGoexit: a function that ends the writer's goroutine takes the store down, and
// leaves nobody waiting.
func TestGoexit(t *testing.T) {
	g := gated(t, memory())
	a := g.queue(t.Context(), func(tx *store.Tx) error { runtime.Goexit(); return nil })
	b := g.queue(t.Context(), func(tx *store.Tx) error { return nil })
	close(g.open)
	for _, c := range []chan error{a, b} {
		if err := <-c; !errors.Is(err, store.ErrFailed) {
			t.Errorf("got %v, want ErrFailed", err)
		}
	}
}

// TestSlices: the store keeps no slice of the caller, and gives none of its own away.
func TestSlices(t *testing.T) {
	s := start(t, memory())
	buf := []byte("value")
	err := s.Update(t.Context(), func(tx *store.Tx) error {
		if err := tx.Set(key("a"), buf); err != nil {
			return err
		}
		copy(buf, "XXXXX")
		v, err := tx.Get(key("a"))
		if err != nil || string(v) != "value" {
			t.Errorf("got %q, %v", v, err)
		}
		copy(v, "YYYYY")
		for it := range tx.Scan(store.Scan{Prefix: store.SpaceAccounts.Prefix(nil)}) {
			copy(it.Value, "ZZZZZ")
		}
		return nil
	})
	if err != nil || get(t, s, key("a")) != "value" {
		t.Errorf("%v, %q", err, get(t, s, key("a")))
	}
	if !bytes.Equal(buf, []byte("XXXXX")) {
		t.Error("the caller's slice was changed")
	}
}

// TestMisuse: these are bugs of the caller.
func TestMisuse(t *testing.T) {
	s := start(t, memory())
	set(t, s, key("x"), "") // so that Run runs
	var kept *store.Tx
	if err := s.View(func(tx *store.Tx) error { kept = tx; return nil }); err != nil {
		t.Fatal(err)
	}
	view := func(f func(tx *store.Tx)) func() {
		return func() { s.View(func(tx *store.Tx) error { f(tx); return nil }) }
	}
	for want, f := range map[string]func(){
		"store: Tx used after its function has returned": func() { kept.Get(key("x")) },
		"store: write in a View":                         view(func(tx *store.Tx) { tx.Set(key("x"), nil) }),
		"store: the zero Key names nothing":              view(func(tx *store.Tx) { tx.Get(store.Key{}) }),
		"store: Run called twice":                        func() { s.Run(t.Context()) },
	} {
		func() {
			defer func() {
				if v := recover(); v != want {
					t.Errorf("got %v, want %q", v, want)
				}
			}()
			f()
		}()
	}
}
