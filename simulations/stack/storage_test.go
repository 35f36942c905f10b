package stack

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/mimid/mimid/client"
)

// A transaction that fails leaves everything as it was; one that does not is there, in order, and
// nobody holds its slices.
func TestStorage(t *testing.T) {
	s := newStorage()
	set := func(fail error, names ...string) error {
		return s.Update(context.Background(), func(tx client.Tx) error {
			for _, n := range names {
				if err := errors.Join(tx.Delete("t", "b"), tx.Set("t", n, []byte("old"))); err != nil {
					return err
				}
			}
			return fail
		})
	}
	names := func(from string) (out []string) {
		if err := s.View(func(tx client.Tx) error {
			for it, err := range tx.Scan("t", from) {
				if err != nil {
					return err
				}
				out = append(out, it.Name+"="+string(it.Value))
				it.Value[0] = 'X'
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return out
	}
	if err := set(nil, "c", "a", "b"); err != nil {
		t.Fatal(err)
	}
	want := []string{"a=old", "b=old", "c=old"}
	if got := names(""); !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
	planned := errors.New("planned")
	if err := set(planned, "d", "a"); !errors.Is(err, planned) {
		t.Errorf("%v", err)
	}
	if got := names(""); !slices.Equal(got, want) {
		t.Errorf("after a failure: %v", got)
	}
	if got := names("b"); !slices.Equal(got, want[1:]) {
		t.Errorf("from b: %v", got)
	}
}
