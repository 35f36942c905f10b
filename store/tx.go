package store

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/dgraph-io/badger/v4"
)

// A Tx reads the store as it was at one moment and, in Update, also what its batch
// has written so far. It belongs to the goroutine that runs the function it was given
// to, and dies when that function returns: using it later panics, and so does writing
// in a View.
type Tx struct {
	snap     *badger.Txn // nil once the function has returned
	batch    *batch      // nil in a View
	maxValue int

	undo     []undo   // what the function has overwritten in batch, oldest first
	onCommit []func() // to be called if it succeeds
	own      int64    // what the function has written, what it has written over counted again
	err      error    // the first refused write: the function fails, even if it ignores it
}

// An Item is a key with its value. The caller owns the value.
type Item struct {
	Key   Key
	Value []byte // nil in a scan with KeysOnly
}

// A Scan says what to iterate over.
type Scan struct {
	Prefix   Prefix // the keys to visit
	From     Key    // first key to visit, or the next one in scan order; zero: from the end where the scan begins
	Reverse  bool   // from the highest key down
	Limit    int    // stop after so many; zero: no limit
	KeysOnly bool   // leave Item.Value nil
}

// A batch holds the writes of functions that share a Badger transaction. It lies over
// the snapshot instead of in a badger.Txn, because writes have to be taken back when a
// function fails, and Badger has no way to do so.
type batch struct {
	writes  map[Key]write
	size    int64 // of the Badger transaction, in Badger's counting
	maxSize int64
	maxKeys int
}

type write struct {
	value   []byte
	deleted bool
}

type keyWrite struct {
	key Key
	write
}

type undo struct {
	key Key
	old write
	had bool // false: the key was not in the batch
}

// errBatchFull means that a function did not fit beside the others of its batch, or
// into an empty one.
var errBatchFull = fmt.Errorf("%w: more than one transaction holds", ErrTooLarge)

// entryOverhead is at least what Badger adds to key and value when it checks the size
// of a transaction (12 bytes when an entry is set, 10 when it is sent).
const entryOverhead = 16

func (w write) cost(k Key) int64 { return int64(len(k.s) + len(w.value) + entryOverhead) }

// Get returns the value of a key, or ErrNotFound. The caller owns the slice.
func (tx *Tx) Get(k Key) ([]byte, error) {
	tx.alive()
	if err := checkKey(k); err != nil {
		return nil, err
	}
	if tx.batch != nil {
		if w, ok := tx.batch.writes[k]; ok {
			if w.deleted {
				return nil, ErrNotFound
			}
			return bytes.Clone(w.value), nil
		}
	}
	item, err := tx.snap.Get([]byte(k.s))
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, classify(err, ErrCorrupted)
	}
	v, err := item.ValueCopy(nil)
	if err != nil {
		return nil, classify(err, ErrCorrupted)
	}
	return v, nil
}

// Set writes a value. It copies the slice. An error (ErrTooLarge) also fails the
// function that got it.
func (tx *Tx) Set(k Key, value []byte) error {
	if len(value) > tx.maxValue {
		return tx.fail(fmt.Errorf("%w: value of %d bytes, at most %d", ErrTooLarge, len(value), tx.maxValue))
	}
	return tx.write(k, write{value: append([]byte{}, value...)}) // not nil: an empty value is a value
}

// Delete removes a key, whether it is there or not.
func (tx *Tx) Delete(k Key) error { return tx.write(k, write{deleted: true}) }

// OnCommit has f called once the function's writes are durable: on the writer
// goroutine, in the order of the calls of OnCommit over all functions of a batch,
// before any of them is acknowledged. It is not called if the function fails. f must
// be short, must not call Update, and may find that a reader has already seen the
// writes.
func (tx *Tx) OnCommit(f func()) {
	tx.writable()
	tx.onCommit = append(tx.onCommit, f)
}

func (tx *Tx) write(k Key, w write) error {
	tx.writable()
	if err := checkKey(k); err != nil {
		return tx.fail(err)
	}
	b := tx.batch
	old, had := b.writes[k]
	size := b.size + w.cost(k)
	keys := len(b.writes) + 1
	if had {
		size -= old.cost(k)
		keys--
	}
	if size > b.maxSize || keys > b.maxKeys {
		return tx.fail(errBatchFull)
	}
	tx.undo = append(tx.undo, undo{k, old, had})
	tx.own += w.cost(k)
	b.writes[k], b.size = w, size
	return nil
}

// Left is about how many bytes more the function may write, keys and some overhead for each
// included, before it fails with ErrTooLarge: what it has not written of the largest transaction.
func (tx *Tx) Left() int {
	tx.writable()
	return int(max(0, tx.batch.maxSize-tx.own))
}

// rollback takes back all that the function has written.
func (tx *Tx) rollback() {
	b := tx.batch
	for _, u := range slices.Backward(tx.undo) {
		b.size -= b.writes[u.key].cost(u.key)
		if u.had {
			b.writes[u.key] = u.old
			b.size += u.old.cost(u.key)
		} else {
			delete(b.writes, u.key)
		}
	}
	tx.undo, tx.onCommit = nil, nil
}

// Scan visits the keys of a prefix in order. Writes that the function makes during
// the scan are not part of it. After an error the scan is over.
func (tx *Tx) Scan(sc Scan) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		tx.alive()
		opt := badger.DefaultIteratorOptions
		opt.Prefix = []byte(sc.Prefix.s)
		opt.Reverse = sc.Reverse
		opt.PrefetchValues = false // values lie beside their keys, see the package doc
		seek, some := sc.start()
		if !some {
			return
		}
		it := tx.snap.NewIterator(opt)
		defer it.Close()
		it.Seek([]byte(seek))
		over := tx.batch.within(sc, seek)
		for n := 0; sc.Limit <= 0 || n < sc.Limit; {
			// The next key is the nearer of the two; on a tie the batch hides the snapshot.
			order := -1
			switch {
			case !it.Valid() && len(over) == 0:
				return
			case !it.Valid():
			case len(over) == 0:
				order = 1
			default:
				order = strings.Compare(over[0].key.s, string(it.Item().Key()))
				if sc.Reverse {
					order = -order
				}
			}
			var item Item
			if order <= 0 {
				next := over[0]
				over = over[1:]
				if order == 0 {
					it.Next()
				}
				if next.deleted {
					continue
				}
				item.Key = next.key
				if !sc.KeysOnly {
					item.Value = bytes.Clone(next.value)
				}
			} else {
				item.Key = Key{string(it.Item().Key())}
				if !sc.KeysOnly {
					v, err := it.Item().ValueCopy(nil)
					if err != nil {
						yield(Item{}, classify(err, ErrCorrupted))
						return
					}
					item.Value = v
				}
				it.Next()
			}
			n++
			if !yield(item, nil) {
				return
			}
			tx.alive()
		}
	}
}

// start is where the scan begins. A From beyond the prefix, in scan order, leaves an
// empty scan; one before it changes nothing.
func (sc Scan) start() (seek string, some bool) {
	first := sc.Prefix.s
	if sc.Reverse {
		// Not less than any key with this prefix, and still with this prefix itself:
		// Badger ends an iteration at the first key without it.
		first += strings.Repeat("\xff", MaxKey)
	}
	if (sc.From == Key{}) {
		return first, true
	}
	if sc.Prefix.Has(sc.From) {
		return sc.From.s, true
	}
	return first, (sc.From.s < first) != sc.Reverse
}

// within returns the writes of the batch that a scan comes across, in scan order.
func (b *batch) within(sc Scan, seek string) []keyWrite {
	if b == nil {
		return nil
	}
	var found []keyWrite
	for k, w := range b.writes {
		if sc.Prefix.Has(k) && (k.s == seek || (k.s < seek) == sc.Reverse) {
			found = append(found, keyWrite{k, w})
		}
	}
	slices.SortFunc(found, func(x, y keyWrite) int {
		if sc.Reverse {
			x, y = y, x
		}
		return strings.Compare(x.key.s, y.key.s)
	})
	return found
}

func (tx *Tx) fail(err error) error {
	tx.writable()
	if tx.err == nil {
		tx.err = err
	}
	return err
}

func (tx *Tx) alive() {
	if tx.snap == nil {
		panic("store: Tx used after its function has returned")
	}
}

func (tx *Tx) writable() {
	tx.alive()
	if tx.batch == nil {
		panic("store: write in a View")
	}
}

func checkKey(k Key) error {
	switch {
	case k == Key{}:
		panic("store: the zero Key names nothing")
	case len(k.s) > MaxKey:
		return fmt.Errorf("%w: key of %d bytes, at most %d", ErrTooLarge, len(k.s), MaxKey)
	}
	return nil
}
