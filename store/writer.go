package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/dgraph-io/badger/v4"
)

const (
	// queueLen is how many functions may wait. More callers than that wait for a place.
	queueLen = 1024
	// Soft bounds of a batch: it takes no further function once it has reached one. They
	// keep one fsync's worth of work, and so the wait of the first function in it, small.
	batchFunctions = 1024
	batchBytes     = 1 << 20
)

// A job is one function in the queue.
type job struct {
	fn    func(*Tx) error
	state atomic.Int32 // waiting, then taken or left
	gone  atomic.Bool  // its caller does not wait any more, although it was taken
	done  chan result  // has room for the one result

	// Set by the writer once the function has run.
	err      error
	panicked any
	onCommit []func()
}

const (
	waiting int32 = iota
	taken         // by the writer, who will answer
	left          // by its caller: it will never run
)

type result struct {
	err      error
	panicked any
}

// Update runs fn on the writer goroutine and returns once its writes are on the disk.
//
// Functions of many callers share a transaction and an fsync; each sees the writes of
// those before it. An error from fn takes back its writes, all of them and no others,
// and is returned as it is, but not before the writes that fn may have seen are on the
// disk. A panic in fn takes back its writes and comes up again in the caller.
//
// fn may run a second time from the start, in an emptier batch, if it did not fit into
// the first: it must not change anything but tx, or set it anew each time. It must be
// quick and must not call Update, which would wait for itself.
//
// The end of ctx ends the waiting. Before fn was taken, that is as if Update had not
// been called. After that the error is ErrUnknown: fn may run to its end, and its
// writes become durable, after Update has returned. Other errors are ErrTooLarge,
// ErrDiskFull, ErrClosed and ErrFailed.
func (s *Store) Update(ctx context.Context, fn func(tx *Tx) error) error {
	j := &job{fn: fn, done: make(chan result, 1)}
	select {
	case <-s.stopping:
		return s.ended()
	default:
	}
	select {
	case s.queue <- j:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-s.stopping:
		return s.ended()
	}
	select {
	case r := <-j.done:
		return r.deliver()
	case <-ctx.Done():
		if j.state.CompareAndSwap(waiting, left) {
			return context.Cause(ctx)
		}
		j.gone.Store(true)
		select { // both may have happened at once, and then the answer is known
		case r := <-j.done:
			return r.deliver()
		default:
			return fmt.Errorf("%w: %w", ErrUnknown, context.Cause(ctx))
		}
	case <-s.stopped:
		if j.state.CompareAndSwap(waiting, left) {
			return s.ended()
		}
		return (<-j.done).deliver() // the writer answers all that it takes
	}
}

func (r result) deliver() error {
	if r.panicked != nil {
		panic(r.panicked)
	}
	return r.err
}

// ended is the error for functions that come too late.
func (s *Store) ended() error {
	if err := s.failure.Load(); err != nil {
		return *err
	}
	return ErrClosed
}

// Run is the writer: it blocks, and runs the functions given to Update until ctx ends
// or Close is called. Then it commits what is waiting, refuses what comes later, and
// returns nil. It returns ErrFailed if a commit failed. It may be called once.
func (s *Store) Run(ctx context.Context) error {
	s.mu.Lock()
	again, closing := s.ran, s.closing
	s.ran = s.ran || !closing
	s.mu.Unlock()
	if again {
		panic("store: Run called twice")
	}
	if closing {
		return ErrClosed
	}
	defer close(s.stopped)
	defer s.stop()

	var next *job
	for stopping := false; ; {
		switch {
		case next != nil: // did not fit into the batch before
		case stopping:
			select {
			case next = <-s.queue:
			default:
				return nil
			}
		default:
			select {
			case next = <-s.queue:
			case <-ctx.Done():
				s.stop() // from here on nobody queues anew, so what is waiting is bounded
				stopping = true
				continue
			case <-s.stopping:
				stopping = true
				continue
			}
		}
		var err error
		if next, err = s.round(next); err != nil {
			return err
		}
	}
}

// round makes one batch that begins with the given function, commits and answers it.
// It returns the function that did not fit, if any, and an error if the store has
// failed.
func (s *Store) round(first *job) (rest *job, err error) {
	b := &batch{writes: make(map[Key]write), maxSize: s.maxSize, maxKeys: s.maxKeys}
	var jobs []*job
	returned := false
	defer func() {
		// Reached without returned only if a function has called runtime.Goexit or a
		// callback has panicked. Nobody may wait for an answer for ever.
		if !returned {
			s.fail(errors.New("the writer goroutine was ended from within"))
			answer(jobs, s.ended())
			if rest != nil {
				rest.done <- result{err: s.ended()}
			}
		}
	}()

	snap := s.db.NewTransactionAt(s.commit, false)
	for j := first; j != nil; j = s.another(len(jobs), b) {
		if j.state.Load() != taken && !j.state.CompareAndSwap(waiting, taken) {
			continue // its caller has left
		}
		empty := len(b.writes) == 0
		jobs = append(jobs, j)
		s.call(j, &Tx{snap: snap, batch: b, maxValue: s.maxValue})
		if errors.Is(j.err, errBatchFull) && !empty {
			jobs, rest = jobs[:len(jobs)-1], j
			break
		}
	}
	snap.Discard()

	err = s.commitBatch(b)
	if err == nil {
		for _, j := range jobs {
			if len(b.writes) > 0 && j.err == nil && j.panicked == nil {
				s.stats.functions.Add(1)
			}
			for _, f := range j.onCommit {
				f()
			}
		}
	}
	returned = true
	answer(jobs, err)
	if errors.Is(err, ErrFailed) {
		if rest != nil {
			rest.done <- result{err: s.ended()}
		}
		return nil, err
	}
	return rest, nil
}

// another takes what is waiting, and does not wait for more: with one caller every
// function is committed at once, with many they gather while the fsync before runs.
func (s *Store) another(n int, b *batch) *job {
	if n >= batchFunctions || b.size >= min(batchBytes, b.maxSize/2) {
		return nil
	}
	select {
	case j := <-s.queue:
		return j
	default:
		return nil
	}
}

// call runs one function. Afterwards its writes are in the batch, or it has an error
// or a panic and they are not.
func (s *Store) call(j *job, tx *Tx) {
	j.err, j.panicked, j.onCommit = nil, nil, nil
	whole := false
	defer func() {
		if !whole {
			if v := recover(); v != nil {
				j.panicked = fmt.Sprintf("store: panic in a function given to Update: %v\n\n%s", v, debug.Stack())
			}
			if errors.Is(tx.err, errBatchFull) {
				j.err = tx.err // says more than what fn made of it
			}
			tx.rollback()
		}
		tx.snap = nil
	}()
	j.err = j.fn(tx)
	if tx.err != nil {
		j.err = tx.err // an ignored error of Set would otherwise commit half a function
	}
	if j.err == nil {
		j.onCommit = tx.onCommit
		whole = true
	}
}

// commitBatch makes a batch durable and visible, in this order. It returns ErrDiskFull
// if it did nothing, and ErrFailed if it does not know.
func (s *Store) commitBatch(b *batch) error {
	if len(b.writes) == 0 {
		return nil
	}
	if err := s.checkSpace(); err != nil {
		return err
	}
	if s.disk != nil {
		s.disk()
	}
	// A crash in here leaves the whole batch or nothing: Badger's log ends a transaction
	// with a mark and drops one without it.
	if err := s.writeBadger(s.commit+1, b.writes); err != nil {
		return s.fail(err)
	}
	s.commit++
	s.stats.commits.Add(1)
	// A crash here leaves a durable batch that nobody has heard of. Its callers will
	// repeat it, which is why room entries carry a transaction id.
	if s.acked != nil {
		if err := s.acked.write(s.commit); err != nil {
			s.log.Warn("writing ACKED", "err", err) // the bound stays older, and true
		}
	}
	s.db.SetDiscardTs(s.snaps.advance(s.commit))
	if s.dir == "" && s.commit%thinEvery == 0 {
		s.thin()
	}
	return nil
}

const (
	thinEvery  = 64 // commits
	thinTables = 5  // that have been flushed, as many as Badger's own compactors wait for
)

// thin lets go of what has been overwritten in a store in memory, which has no compactors.
func (s *Store) thin() {
	if s.db.Levels()[0].NumTables < thinTables {
		return
	}
	if err := s.db.Flatten(1); err != nil {
		s.log.Warn("compacting a store in memory", "err", err)
	}
}

// writeBadger commits one Badger transaction and returns when it is on the disk.
func (s *Store) writeBadger(commit uint64, writes map[Key]write) error {
	txn := s.db.NewTransactionAt(commit-1, true)
	defer txn.Discard()
	for k, w := range writes {
		var err error
		if w.deleted {
			err = txn.Delete([]byte(k.s))
		} else {
			err = txn.SetEntry(badger.NewEntry([]byte(k.s), w.value))
		}
		if err != nil {
			return fmt.Errorf("collecting a batch: %w", err)
		}
	}
	// Each commit writes its number, see recoverState.
	if err := txn.SetEntry(badger.NewEntry([]byte(commitKey.s), binary.BigEndian.AppendUint64(nil, commit))); err != nil {
		return fmt.Errorf("collecting a batch: %w", err)
	}
	if err := s.send(txn, commit); err != nil {
		return fmt.Errorf("committing: %w", err)
	}
	return s.syncWALName()
}

// findWAL notes which number Badger gives to its next log, and makes the names of the
// present ones durable.
func (s *Store) findWAL() error {
	files, err := os.ReadDir(s.dir)
	if err != nil {
		return classify(err, nil)
	}
	for _, f := range files {
		name, ok := strings.CutSuffix(f.Name(), ".mem")
		if n, err := strconv.Atoi(name); ok && err == nil {
			s.nextWAL = max(s.nextWAL, n+1)
		}
	}
	return syncDir(s.dir)
}

// syncWALName makes the name of a new write-ahead log durable. Badger syncs what it
// writes to the log, but not the directory when it begins a new one, and POSIX lets a
// crash take a file whose directory was not synced.
func (s *Store) syncWALName() error {
	for s.dir != "" && exists(filepath.Join(s.dir, fmt.Sprintf("%05d.mem", s.nextWAL))) {
		if err := syncDir(s.dir); err != nil {
			return fmt.Errorf("syncing the directory: %w", err)
		}
		s.nextWAL++
		if s.dirSynced != nil {
			s.dirSynced()
		}
	}
	return nil
}

// fail ends the store for good and returns the error that everybody gets.
func (s *Store) fail(cause error) error {
	err := fmt.Errorf("%w: %w", ErrFailed, classify(cause, nil))
	s.failure.CompareAndSwap(nil, &err)
	err = *s.failure.Load()
	s.snaps.close(err)
	return err
}

// answer tells all callers of a batch, after its commit also those whose function has
// returned an error: they may have seen what the others wrote.
func answer(jobs []*job, err error) {
	for _, j := range jobs {
		r := result{j.err, j.panicked}
		if err != nil && r.panicked == nil {
			r.err = err
		}
		j.done <- r
		if r.panicked != nil && j.gone.Load() {
			panic(r.panicked) // a bug must not pass unseen because its caller has gone
		}
	}
}
