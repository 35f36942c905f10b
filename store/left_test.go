package store_test

import (
	"errors"
	"testing"

	"github.com/mimid/mimid/store"
)

// TestLeft: what a function has left it can write, and not more, whoever shares its batch.
func TestLeft(t *testing.T) {
	o := memory()
	o.Small = true
	s := start(t, o)
	size, _ := s.Limits()
	err := s.Update(t.Context(), func(tx *store.Tx) error {
		if got := tx.Left(); int64(got) != size {
			t.Errorf("%d left at first, of %d", got, size)
		}
		if err := tx.Set(key("a"), make([]byte, 1000)); err != nil {
			return err
		}
		k := key("b")
		left := tx.Left()
		if used := int(size) - left; used < 1000 || used > 1100 {
			t.Errorf("%d used by 1,000", used)
		}
		if err := tx.Set(k, make([]byte, store.MaxValueSmall)); err != nil {
			return err
		}
		n := tx.Left() - len(key("c").Bytes()) - int(store.EntryOverhead)
		if err := tx.Set(key("c"), make([]byte, n)); err != nil {
			return err
		}
		if tx.Left() != 0 {
			t.Errorf("%d left of all", tx.Left())
		}
		return nil
	})
	if err != nil {
		t.Fatalf("what was left could not be written: %v", err)
	}
	err = s.Update(t.Context(), func(tx *store.Tx) error {
		if err := tx.Set(key("a"), make([]byte, store.MaxValueSmall)); err != nil {
			return err
		}
		return tx.Set(key("b"), make([]byte, tx.Left()))
	})
	if !errors.Is(err, store.ErrTooLarge) {
		t.Errorf("more than was left: %v", err)
	}
}
