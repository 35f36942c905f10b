package store

import (
	"log/slog"

	"github.com/dgraph-io/badger/v4"
)

// Wrap puts f around every commit: f decides whether and when to call commit, and what
// the writer gets to hear. Call it before Run.
func (s *Store) Wrap(f func(commit func() error) error) {
	send := s.send
	s.send = func(txn *badger.Txn, n uint64) error {
		return f(func() error { return send(txn, n) })
	}
}

// OnDirSync has f called after each fsync of the directory. Call it before Run.
func (s *Store) OnDirSync(f func()) { s.dirSynced = f }

// SetReserve changes how much must be free on the disk. Call it before Run.
func (s *Store) SetReserve(n uint64) { s.reserve = n }

// Limits are the bounds of one transaction.
func (s *Store) Limits() (bytes int64, keys int) { return s.maxSize, s.maxKeys }

// SetFormat overwrites the format version.
func (tx *Tx) SetFormat(v []byte) error { return tx.Set(formatKey, v) }

// Format reads it.
func (tx *Tx) Format() ([]byte, error) { return tx.Get(formatKey) }

const (
	QueueLen       = queueLen
	BatchFunctions = batchFunctions
	EntryOverhead  = entryOverhead
)

// Held is what Badger's tables hold, in octets.
func (s *Store) Held() (octets int64) {
	for _, l := range s.db.Levels() {
		octets += l.Size
	}
	return octets
}

// Queued is how many functions wait.
func (s *Store) Queued() int { return len(s.queue) }

// OpenNaive opens Badger as it comes, with the same options, and returns a function
// that appends in a transaction of its own.
func OpenNaive(dir string) (set func(Key, []byte) error, closeDB func() error, err error) {
	db, err := badger.Open(badgerOptions(Options{Dir: dir, Log: slog.New(slog.DiscardHandler)}))
	if err != nil {
		return nil, nil, err
	}
	return func(k Key, v []byte) error {
		return db.Update(func(txn *badger.Txn) error { return txn.Set(k.Bytes(), v) })
	}, db.Close, nil
}
