package node

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/mimid/mimid/store"
)

// TestHeard: how long others have been silent survives restarts, is never made longer by
// one or by the time in which the node did not run, and does not count for who is unknown.
func TestHeard(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	now := time.UnixMilli(1_700_000_000_000)
	clock := func() time.Time { return now }
	open := func() (*heard, func(save bool)) {
		st, err := store.Open(store.Options{Dir: dir, Small: true})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- st.Run(ctx) }()
		h, err := newHeard(st, clock, quiet())
		if err != nil {
			t.Fatal(err)
		}
		return h, func(save bool) {
			if save {
				done, cancel := context.WithCancel(context.Background())
				cancel()
				if err := h.run(done); err != nil { // stores at its end
					t.Error(err)
				}
			}
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
			if err := st.Close(context.Background()); err != nil {
				t.Error(err)
			}
		}
	}
	silence := func(h *heard, domain string, want time.Duration) {
		t.Helper()
		if got := h.silence(domain); got != want {
			t.Errorf("%s has been silent for %s, expected %s", domain, got, want)
		}
	}
	h, end := open()
	silence(h, "never.example", 0)
	h.note("gone.example")
	h.note("there.example")
	now = now.Add(48 * time.Hour)
	h.note("there.example")
	silence(h, "gone.example", 48*time.Hour)
	silence(h, "never.example", 48*time.Hour)
	silence(h, "there.example", 0)
	silence(h, "new.example", 0)
	end(true)

	now = now.Add(30 * 24 * time.Hour) // nobody ran
	h, end = open()
	silence(h, "gone.example", 48*time.Hour-heardGrain)
	silence(h, "there.example", 0)
	now = now.Add(time.Hour)
	silence(h, "gone.example", 49*time.Hour-heardGrain)
	silence(h, "there.example", time.Hour)
	end(false) // killed: what happened since the last time is not known

	h, end = open()
	silence(h, "gone.example", 48*time.Hour-heardGrain)
	h.note("gone.example")
	now = now.Add(-time.Hour) // a clock that is set back
	silence(h, "gone.example", 0)
	end(true)
}

// TestHeardIsBounded: strangers cannot fill the memory, nor keep those out whom a room
// asks for.
func TestHeardIsBounded(t *testing.T) {
	now := time.UnixMilli(0)
	h := &heard{now: func() time.Time { return now }, at: map[string]time.Time{}, saved: map[string]time.Time{}}
	for i := range maxHeard + 1000 {
		h.note(fmt.Sprint(i))
	}
	if len(h.at) != maxHeard {
		t.Errorf("%d are kept", len(h.at))
	}
	h.silence("asked.example")
	now = now.Add(time.Hour)
	h.note("asked.example")
	now = now.Add(time.Minute)
	if got := h.silence("asked.example"); got != time.Minute {
		t.Errorf("silent for %s", got)
	}
}
