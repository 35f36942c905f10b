package client_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/mimid/mimid/client"
)

var errDisk = errors.New("test: the disk failed")

// memory is a Storage that is stricter than any: it runs functions twice, owns
// all slices, and fails when it is told to, before or after the deed.
type memory struct {
	mu   sync.Mutex
	data map[string][]byte // table NUL name
	// updates counts transactions. failAt is the one that fails, having happened
	// if happened is set; and all after it fail, as after a crash.
	updates, failAt int
	happened        bool
	most            int // bytes that a transaction holds; 0: any number
}

func newMemory() *memory { return &memory{data: map[string][]byte{}} }

// reopened is what the next process finds.
func (m *memory) reopened() *memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	return &memory{data: maps.Clone(m.data), most: m.most}
}

func (m *memory) View(fn func(client.Tx) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return fn(&memoryTx{m: m})
}

func (m *memory) Update(_ context.Context, fn func(client.Tx) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.updates++
	if m.failAt > 0 && m.updates > m.failAt {
		return errDisk
	}
	fails := m.failAt > 0 && m.updates == m.failAt
	if fails && !m.happened {
		return errDisk
	}
	old := m.data
	for range 2 {
		m.data = maps.Clone(old)
		tx := &memoryTx{m: m, writes: true}
		err := fn(tx)
		if err == nil && m.most > 0 && tx.size > m.most {
			err = fmt.Errorf("%d bytes, %d at most: %w", tx.size, m.most, errDisk)
		}
		if err != nil {
			m.data = old
			return err
		}
	}
	if fails {
		return errDisk
	}
	return nil
}

type memoryTx struct {
	m      *memory
	writes bool
	size   int // of what was written
}

func (t *memoryTx) Get(table, name string) ([]byte, error) {
	return slices.Clone(t.m.data[table+"\x00"+name]), nil
}

func (t *memoryTx) Set(table, name string, value []byte) error {
	if !t.writes || len(value) == 0 || strings.Contains(table, "\x00") {
		panic("test: write that no Storage has to take")
	}
	t.m.data[table+"\x00"+name] = slices.Clone(value)
	t.size += len(table) + len(name) + len(value)
	return nil
}

func (t *memoryTx) Delete(table, name string) error {
	if !t.writes {
		panic("test: delete in a View")
	}
	delete(t.m.data, table+"\x00"+name)
	return nil
}

func (t *memoryTx) Scan(table, from string) iter.Seq2[client.Item, error] {
	var names []string
	for k := range t.m.data {
		if n, ok := strings.CutPrefix(k, table+"\x00"); ok && n >= from {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	if len(names) > 0 && len(names[0]) != 8 {
		slices.Reverse(names) // no order is promised
	}
	return func(yield func(client.Item, error) bool) {
		for _, n := range names {
			if !yield(client.Item{Name: n, Value: slices.Clone(t.m.data[table+"\x00"+n])}, nil) {
				return
			}
		}
	}
}

// count counts what is in tables with this beginning.
func (m *memory) count(tables string) (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for k := range m.data {
		if strings.HasPrefix(k, tables) {
			n++
		}
	}
	return n
}
