package overlay_test

import (
	"errors"
	"testing"
	"time"

	"github.com/mimid/mimid/overlay"
)

// A node that announces nothing has no sweep, which begins with some hundred requests;
// the first key begins one, and taking back what was never announced does not.
func TestSweepBeginsWithFirstKey(t *testing.T) {
	a, _ := start(t, config("a.example"))
	c := config("b.example")
	c.Bootstrap = boot(a)
	b, stop := start(t, c)
	b.Withdraw([32]byte{1})
	if overlay.Sweeping(b) {
		t.Error("a sweep runs, and nothing is announced")
	}
	eventually(t, "announcing", func() error {
		err := b.Announce(within(t, 10*time.Second), [32]byte{1})
		if err == nil && !overlay.Sweeping(b) {
			err = errors.New("no sweep repeats it")
		}
		return err
	})
	stop()
	if err := b.Announce(t.Context(), [32]byte{2}); !errors.Is(err, overlay.ErrNotRunning) {
		t.Errorf("after the end: %v", err)
	}
}
