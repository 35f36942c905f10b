package stack

import (
	"context"
	"iter"
	"maps"
	"slices"
	"sync"

	"github.com/mimid/mimid/client"
)

// storage is a client's, in memory: durable at once, and gone with the run.
type storage struct {
	mu     sync.RWMutex
	tables map[string]map[string][]byte
}

func newStorage() *storage { return &storage{tables: map[string]map[string][]byte{}} }

func (s *storage) View(fn func(client.Tx) error) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return fn(&storageTx{s: s})
}

// Update keeps what was there, for when fn fails.
func (s *storage) Update(_ context.Context, fn func(client.Tx) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	tx := &storageTx{s: s, before: map[[2]string][]byte{}}
	err := fn(tx)
	if err != nil {
		for k, v := range tx.before {
			tx.put(k[0], k[1], v)
		}
	}
	return err
}

type storageTx struct {
	s      *storage
	before map[[2]string][]byte // values before the transaction; nil: there was none
}

func (t *storageTx) Get(table, name string) ([]byte, error) {
	return slices.Clone(t.s.tables[table][name]), nil
}

func (t *storageTx) Set(table, name string, value []byte) error {
	t.note(table, name)
	t.put(table, name, slices.Clone(value))
	return nil
}

func (t *storageTx) Delete(table, name string) error {
	t.note(table, name)
	t.put(table, name, nil)
	return nil
}

func (t *storageTx) note(table, name string) {
	k := [2]string{table, name}
	if _, noted := t.before[k]; !noted {
		t.before[k] = t.s.tables[table][name]
	}
}

func (t *storageTx) put(table, name string, value []byte) {
	m := t.s.tables[table]
	switch {
	case value == nil:
		delete(m, name)
	case m == nil:
		t.s.tables[table] = map[string][]byte{name: value}
	default:
		m[name] = value
	}
}

func (t *storageTx) Scan(table, from string) iter.Seq2[client.Item, error] {
	return func(yield func(client.Item, error) bool) {
		m := t.s.tables[table]
		for _, name := range slices.Sorted(maps.Keys(m)) {
			if name >= from && !yield(client.Item{Name: name, Value: slices.Clone(m[name])}, nil) {
				return
			}
		}
	}
}
