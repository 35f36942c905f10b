package overlay

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"sync"
)

// KV is the storage that an overlay needs. Keys have at most 1024 bytes, values at most
// 64 KiB. Every method may be called from many goroutines at once. A provider gives each
// overlay a part of its store of its own; doc.go lists what is written there.
type KV interface {
	// Get returns the value of a key, and false if there is none. The caller owns
	// the value.
	Get(ctx context.Context, key []byte) (value []byte, ok bool, err error)

	// Write does all writes or none, and returns when they are durable. It does not
	// keep the slices.
	Write(ctx context.Context, writes []Write) error

	// Scan calls fn with each key that starts with prefix, in the order of the keys,
	// and its value, until fn returns an error, which it then returns. The slices
	// are valid only during the call, and fn must not call the KV.
	Scan(ctx context.Context, prefix []byte, fn func(key, value []byte) error) error
}

// A Write sets or deletes one key.
type Write struct {
	Key   []byte
	Value []byte // nil deletes the key
}

// MemoryKV is a KV that forgets, for tests and simulations. The zero value is empty.
type MemoryKV struct {
	mu     sync.RWMutex
	values map[string][]byte
}

// Get implements KV.
func (m *MemoryKV) Get(_ context.Context, key []byte) ([]byte, bool, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	v, ok := m.values[string(key)]
	return bytes.Clone(v), ok, nil
}

// Write implements KV.
func (m *MemoryKV) Write(_ context.Context, writes []Write) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.values == nil {
		m.values = make(map[string][]byte)
	}
	for _, w := range writes {
		if w.Value == nil {
			delete(m.values, string(w.Key))
		} else {
			m.values[string(w.Key)] = bytes.Clone(w.Value)
		}
	}
	return nil
}

// Scan implements KV.
func (m *MemoryKV) Scan(ctx context.Context, prefix []byte, fn func(key, value []byte) error) error {
	m.mu.RLock()
	defer m.mu.RUnlock()
	var keys []string
	for k := range m.values {
		if strings.HasPrefix(k, string(prefix)) {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	for _, k := range keys {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := fn([]byte(k), bytes.Clone(m.values[k])); err != nil {
			return err
		}
	}
	return nil
}
