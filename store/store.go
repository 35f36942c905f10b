package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
)

// formatVersion is the version of the key space. It goes up when an older program
// would misread what a newer one has written.
const formatVersion = 1

// Options say what Open opens.
type Options struct {
	// Dir is the directory of the store, and of nothing else. It is created, with mode
	// 0700, if it is missing; its parent must exist.
	Dir string

	// InMemory keeps everything in memory and nothing after Close. Dir must be empty.
	InMemory bool

	// Small is for tests and simulations: about 1.5 MB of memory per store instead of
	// 50 MB, and values up to MaxValueSmall instead of MaxValue. The same directory may
	// be opened with and without it.
	Small bool

	// Disk, if it is not nil, is called by Run before each commit, and what it takes, the commit takes
	// longer: simulations of a slow disk wait in it.
	Disk func()

	// Log receives what Badger has to say: its warnings and errors as warnings, the
	// rest at debug level. Nil discards it.
	Log *slog.Logger
}

// A Store is an open store. View and Update are safe for concurrent use.
type Store struct {
	// Set by Open and constant from then on.
	db       *badger.DB
	dir      string // empty in memory
	log      *slog.Logger
	reserve  uint64 // bytes that have to be free on the disk before a commit
	maxValue int
	maxSize  int64
	maxKeys  int

	// Shared.
	snaps snapshots
	queue chan *job // bounded: this is the back-pressure
	stats struct{ functions, commits atomic.Uint64 }

	// Life cycle. stopping is closed by whoever ends the store first, stopped when no
	// more functions will be answered.
	stopOnce  sync.Once
	stopping  chan struct{}
	stopped   chan struct{}
	mu        sync.Mutex // guards the next two
	ran       bool       // Run has been called
	closing   bool       // Close has been called
	closeOnce sync.Once
	closed    chan struct{} // Badger is closed, with this result
	closeErr  error
	failure   atomic.Pointer[error]

	// For tests: send is CommitAt, dirSynced is called after each fsync of the directory.
	send      func(txn *badger.Txn, commit uint64) error
	dirSynced func()
	disk      func() // Options.Disk

	// Owned by the goroutine in Run.
	commit  uint64 // number of the last durable commit, which is also Badger's timestamp
	acked   *ackedFile
	nextWAL int // number that Badger will give to its next write-ahead log
}

// Stats are counts since Open.
type Stats struct {
	Functions uint64 // functions that were part of a durable commit
	Commits   uint64 // Badger transactions, each with its fsync
}

// Stats may be called at any time.
func (s *Store) Stats() Stats {
	return Stats{s.stats.functions.Load(), s.stats.commits.Load()}
}

// Space is how much of the disk this process may still use, and below how much no commit is
// made any more; false: it is unknown, or there is no disk.
func (s *Store) Space() (free, reserve uint64, known bool) {
	if s.dir == "" {
		return 0, 0, false
	}
	free, known = freeSpace(s.dir)
	return free, s.reserve, known
}

// Open opens the store in a directory or creates it. It starts none of this package's
// goroutines (Badger starts its own): reads work at once, Update waits for Run. Errors
// are ErrLocked, ErrPermission, ErrDiskFull, ErrFormat, ErrCorrupted and ErrLost.
func Open(o Options) (*Store, error) {
	if o.InMemory == (o.Dir != "") {
		return nil, errors.New("store: give either a directory or InMemory")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	bo := badgerOptions(o)
	s := &Store{
		dir: o.Dir, log: o.Log, disk: o.Disk,
		reserve:  reserve(bo),
		maxValue: MaxValue,
		queue:    make(chan *job, queueLen),
		stopping: make(chan struct{}),
		stopped:  make(chan struct{}),
		closed:   make(chan struct{}),
		send:     func(txn *badger.Txn, commit uint64) error { return txn.CommitAt(commit, nil) },
	}
	if o.Small {
		s.maxValue = MaxValueSmall
	}
	if err := s.open(bo); err != nil {
		if o.InMemory {
			return nil, fmt.Errorf("opening a store in memory: %w", err)
		}
		return nil, fmt.Errorf("opening the store in %s: %w", o.Dir, err)
	}
	return s, nil
}

// reserve is the free disk space to insist on: for the next log, for flushing full
// memtables, and for a compaction of level 0 (15 tables at most) into a base level that
// is as large as Badger lets it grow. Badger writes through memory maps of sparse
// files, and the kernel answers such a write to a full disk with SIGBUS, which nothing
// can catch: the process ends, as if killed. That comes to 2.1 GB, and 64 MB if small.
// As long as the store itself is smaller than that, no compaction can need more: what
// compactions write is never more than what they read, and no table is read by two.
// Beyond that it is a measure, not a proof, and none where other programs fill the disk:
// then a compaction can end the process, which loses nothing that was acknowledged.
func reserve(bo badger.Options) uint64 {
	return uint64(32*bo.MemTableSize + 16*bo.BaseLevelSize)
}

func badgerOptions(o Options) badger.Options {
	bo := badger.DefaultOptions(o.Dir)
	bo.InMemory = o.InMemory
	bo.Logger = badgerLog{o.Log}
	bo.SyncWrites = true
	// One writer, so nothing can conflict.
	bo.DetectConflicts = false
	bo.MetricsEnabled = false // they are global variables
	// What fills a store is ciphertext. Without compression Badger needs no block
	// cache: the page cache of the operating system is one.
	bo.Compression = options.None
	bo.BlockCacheSize = 0
	bo.ChecksumVerificationMode = options.OnBlockRead
	// The value log stays empty: MaxValue is below this threshold. Its fsync errors are
	// only logged by Badger, and nothing would clean it up.
	bo.ValueThreshold = MaxValue + 1
	bo.ValueLogFileSize = 1 << 20
	bo.NumCompactors = 2
	// What is not yet in tables takes (3 + 1) * 32 MiB at most. Larger ones make a
	// saturated store a little faster and its memory swing by several times as much.
	bo.MemTableSize = 32 << 20
	bo.NumMemtables = 3
	if o.Small {
		bo.MemTableSize = 1 << 20
		bo.ValueThreshold = MaxValueSmall + 1
		bo.NumMemtables = 1
		bo.BaseTableSize = 1 << 20
		bo.BaseLevelSize = 2 << 20
		bo.NumGoroutines = 1
	}
	if o.InMemory {
		// Badger's compactors look forty times a second whether there is work. In virtual time a
		// hundred idle stores would do little else: the writer compacts instead, see thin.
		bo.NumCompactors = 0
		bo.NumLevelZeroTablesStall = math.MaxInt
	}
	return bo
}

// open leaves nothing open when it fails.
func (s *Store) open(bo badger.Options) (err error) {
	var orphans []uint64
	if s.dir != "" {
		if err := s.prepareDir(); err != nil {
			return err
		}
		if orphans, err = checkFiles(s.dir); err != nil {
			return classify(err, nil)
		}
	}
	s.db, err = badger.OpenManaged(bo)
	if err != nil {
		return classify(err, ErrCorrupted)
	}
	s.maxSize = s.db.MaxBatchSize() - 1024 // Badger's own entry at the end, and commitKey
	s.maxKeys = int(s.db.MaxBatchCount()) - 4
	defer func() {
		if err != nil {
			s.acked.close()
			s.db.Close()
		}
	}()
	if err := s.recoverState(); err != nil {
		return err
	}
	if err := s.checkOrphans(orphans); err != nil {
		return err
	}
	s.snaps.init(s.commit)
	s.db.SetDiscardTs(s.commit)
	return nil
}

// prepareDir does what has to be done before Badger touches the directory.
func (s *Store) prepareDir() error {
	switch err := os.Mkdir(s.dir, 0o700); {
	case err == nil:
		// Or else a crash could take the name of the directory, with all that has been
		// acknowledged in it.
		if err := syncDir(filepath.Dir(s.dir)); err != nil {
			return classify(err, nil)
		}
	case !errors.Is(err, fs.ErrExist):
		return classify(err, nil)
	}
	if inUse(s.dir) {
		return fmt.Errorf("%w: another process has it open", ErrLocked)
	}
	return s.checkSpace()
}

func (s *Store) checkSpace() error {
	if s.dir == "" {
		return nil
	}
	if free, known := freeSpace(s.dir); known && free < s.reserve {
		return fmt.Errorf("%w: %d MB free, at least %d MB needed", ErrDiskFull, free>>20, s.reserve>>20)
	}
	return nil
}

// recoverState finds out where the store ends. A normal start and one after a crash
// take the same way.
func (s *Store) recoverState() error {
	var bound uint64
	var err error
	fresh := s.db.MaxVersion() == 0
	if s.dir != "" {
		if err := s.findWAL(); err != nil {
			return err
		}
		s.acked, bound, err = openAcked(s.dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return classify(err, nil)
		}
		fresh = fresh && s.acked == nil
	}
	if fresh {
		// A crash before the commit leaves an empty Badger: fresh again. A crash after it
		// leaves a store without ACKED, which is made below.
		if err := s.create(); err != nil {
			return err
		}
	}
	if err := s.readState(bound); err != nil {
		return err
	}
	if s.dir != "" && s.acked == nil {
		if !fresh {
			s.log.Warn("store has no ACKED file: cannot tell whether acknowledged writes are missing", "dir", s.dir, "commit", s.commit)
		}
		if s.acked, err = createAcked(s.dir, s.commit); err != nil {
			return classify(err, nil)
		}
	}
	return nil
}

func (s *Store) create() error {
	v := binary.BigEndian.AppendUint32(nil, formatVersion)
	v = binary.BigEndian.AppendUint64(v, uint64(time.Now().UnixMilli()))
	return s.writeBadger(1, map[Key]write{formatKey: {value: v}})
}

// View runs fn on the last durable state. It does not wait for writers, nor they for
// it. A long View keeps Badger from discarding what has been overwritten since. Its
// own errors are ErrClosed and ErrFailed.
func (s *Store) View(fn func(tx *Tx) error) error {
	ts, err := s.snaps.acquire()
	if err != nil {
		return err
	}
	defer s.snaps.release(ts)
	snap := s.db.NewTransactionAt(ts, false)
	defer snap.Discard()
	tx := &Tx{snap: snap}
	defer func() { tx.snap = nil }()
	return fn(tx)
}

// Close ends Run, if it is still running, waits for open Views, and closes the files.
// It must be called also when Run was never called or has failed. If ctx ends first, it
// returns an error that wraps the cause: then call it again, or end the process, which
// is safe at any time; the directory stays locked until then. When it is done, calling
// it again does nothing and returns the same.
func (s *Store) Close(ctx context.Context) error {
	s.mu.Lock()
	if !s.ran && !s.closing {
		close(s.stopped)
	}
	s.closing = true
	s.mu.Unlock()

	// The order matters: no function may be acknowledged after the files are closed, and
	// Badger crashes readers that are still there when it closes.
	s.stop()
	if err := wait(ctx, s.stopped, "the writer"); err != nil {
		return err
	}
	if err := wait(ctx, s.snaps.close(ErrClosed), "open reads"); err != nil {
		return err
	}
	// Badger writes its memtable out before it closes and repeats that for ever if it
	// fails. Doing without loses nothing, the write-ahead log has it.
	s.closeOnce.Do(func() {
		go func() {
			defer close(s.closed)
			s.closeErr = s.db.Close()
			if err := s.acked.close(); s.closeErr == nil {
				s.closeErr = err
			}
		}()
	})
	if err := wait(ctx, s.closed, "Badger"); err != nil {
		return err
	}
	if s.closeErr != nil {
		return fmt.Errorf("closing the store: %w", classify(s.closeErr, nil))
	}
	return nil
}

func (s *Store) stop() { s.stopOnce.Do(func() { close(s.stopping) }) }

func wait(ctx context.Context, done <-chan struct{}, what string) error {
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("closing the store: waiting for %s: %w", what, context.Cause(ctx))
	}
}
