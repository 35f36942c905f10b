package store_test

import (
	"testing"

	"github.com/mimid/mimid/store"
)

// TestMemoryThins: a store in memory, which has no compactors, lets go of what has been overwritten, and has what has not.
func TestMemoryThins(t *testing.T) {
	s := start(t, memory())
	set(t, s, key("first"), "kept")
	const size, times = 32 << 10, 1024 // 32 MB
	for range times {
		err := s.Update(t.Context(), func(tx *store.Tx) error { return tx.Set(key("again"), make([]byte, size)) })
		if err != nil {
			t.Fatal(err)
		}
	}
	if held := s.Held(); held > size*times/3 {
		t.Errorf("it holds %d octets, of which %d are needed", held, size)
	}
	err := s.View(func(tx *store.Tx) error {
		for k, want := range map[string]int{"first": len("kept"), "again": size} {
			if v, err := tx.Get(key(k)); err != nil || len(v) != want {
				t.Errorf("%s: %d octets, %v", k, len(v), err)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
