package mix

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/mimid/mimid/protocol/onion"
	"github.com/mimid/mimid/store"
)

const (
	journalVersion = 1
	markSize       = len(onion.Tag{})
	// marksPerValue keeps a record within store.MaxValueSmall.
	marksPerValue = 4096
	// dropAtOnce bounds how many records one transaction takes away.
	dropAtOnce = 1024
)

// A StoreJournal is a Journal in a store. The tags of an Append are few records, so that they cost one
// write and one fsync, which is shared with whatever else the store writes at the time. In
// store.SpaceOnion, integers big-endian:
//
//	epoch[8] number[8]      uint8 version = 1; uint8 tag[16] each, 1 to 4,096
type StoreJournal struct{ st *store.Store }

// NewStoreJournal makes a journal of a store, whose Run has to be running when it is used.
func NewStoreJournal(st *store.Store) *StoreJournal { return &StoreJournal{st} }

func ofEpoch(e onion.Epoch) []byte { return binary.BigEndian.AppendUint64(nil, uint64(e)) }

// Append implements Journal. What is more than one record holds takes several transactions, which is
// allowed: after an error any of them may be on disk.
func (j *StoreJournal) Append(ctx context.Context, marks []Mark) error {
	for part := range slices.Chunk(marks, marksPerValue) {
		err := j.st.Update(ctx, func(tx *store.Tx) error {
			for rest := part; len(rest) > 0; {
				n := 1
				for n < len(rest) && rest[n].Epoch == rest[0].Epoch {
					n++
				}
				if err := appendRecord(tx, rest[:n]); err != nil {
					return err
				}
				rest = rest[n:]
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// appendRecord writes tags of one epoch behind the last record that there is of it.
func appendRecord(tx *store.Tx, marks []Mark) error {
	prefix := ofEpoch(marks[0].Epoch)
	var number uint64
	for it, err := range tx.Scan(store.Scan{Prefix: store.SpaceOnion.Prefix(prefix), Reverse: true, Limit: 1, KeysOnly: true}) {
		if err != nil {
			return err
		}
		_, last, err := parseJournalKey(it.Key)
		if err != nil {
			return err
		}
		number = last + 1
	}
	value := make([]byte, 1, 1+len(marks)*markSize)
	value[0] = journalVersion
	for _, m := range marks {
		value = append(value, m.Tag[:]...)
	}
	return tx.Set(store.SpaceOnion.Key(binary.BigEndian.AppendUint64(prefix, number)), value)
}

// Load implements Journal.
func (j *StoreJournal) Load(ctx context.Context, each func(onion.Epoch, onion.Tag) error) error {
	return j.st.View(func(tx *store.Tx) error {
		for it, err := range tx.Scan(store.Scan{Prefix: store.SpaceOnion.Prefix(nil)}) {
			if err != nil {
				return err
			}
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			e, tags, err := parseRecord(it)
			if err != nil {
				return err
			}
			for ; len(tags) > 0; tags = tags[markSize:] {
				if err := each(e, onion.Tag(tags[:markSize])); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// Drop implements Journal.
func (j *StoreJournal) Drop(ctx context.Context, before onion.Epoch) error {
	for {
		var old []store.Key
		err := j.st.View(func(tx *store.Tx) error {
			for it, err := range tx.Scan(store.Scan{Prefix: store.SpaceOnion.Prefix(nil), KeysOnly: true, Limit: dropAtOnce}) {
				if err != nil {
					return err
				}
				e, _, err := parseJournalKey(it.Key)
				if err != nil {
					return err
				}
				if e >= before {
					return nil // the keys are in the epochs' order
				}
				old = append(old, it.Key)
			}
			return nil
		})
		if err != nil || len(old) == 0 {
			return err
		}
		err = j.st.Update(ctx, func(tx *store.Tx) error {
			for _, k := range old {
				if err := tx.Delete(k); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
}

func parseJournalKey(k store.Key) (e onion.Epoch, number uint64, err error) {
	name, err := store.SpaceOnion.Parse(k)
	if err != nil {
		return 0, 0, err
	}
	if len(name) != 16 {
		return 0, 0, fmt.Errorf("%w: a key of %d octets", ErrDamaged, len(name))
	}
	return onion.Epoch(binary.BigEndian.Uint64(name)), binary.BigEndian.Uint64(name[8:]), nil
}

// parseRecord reads a record: its epoch, and its tags one after the other.
func parseRecord(it store.Item) (onion.Epoch, []byte, error) {
	e, _, err := parseJournalKey(it.Key)
	if err != nil {
		return 0, nil, err
	}
	v := it.Value
	if len(v) < 1+markSize || len(v) > 1+marksPerValue*markSize || (len(v)-1)%markSize != 0 || v[0] != journalVersion {
		return 0, nil, fmt.Errorf("%w: %d octets", ErrDamaged, len(v))
	}
	return e, v[1:], nil
}

// Check says whether a record of store.SpaceOnion is one that this package writes. Error: ErrDamaged.
func Check(it store.Item) error {
	_, _, err := parseRecord(it)
	return err
}
