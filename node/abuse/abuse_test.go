package abuse_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mimid/mimid/node/abuse"
	"github.com/mimid/mimid/store"
)

var ctx = context.Background()

type world struct {
	t    *testing.T
	st   *store.Store
	q    *abuse.Queue
	now  time.Time
	keep time.Duration
}

func newWorld(t *testing.T) *world {
	st, err := store.Open(store.Options{Dir: t.TempDir(), Small: true})
	if err != nil {
		t.Fatal(err)
	}
	run, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- st.Run(run) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-ended, st.Close(ctx)); err != nil {
			t.Error(err)
		}
	})
	w := &world{t: t, st: st, now: time.UnixMilli(1_700_000_000_000), keep: time.Hour}
	w.reopen()
	return w
}

func (w *world) reopen() {
	q, err := abuse.Open(abuse.Config{Store: w.st, Now: func() time.Time { return w.now }, Keep: w.keep})
	if err != nil {
		w.t.Fatal(err)
	}
	w.q = q
}

func report(what string) abuse.Report {
	r := abuse.Report{Room: "mimi://a.example/r/room", RoomID: store.RoomID{1}, Abuser: "mimi://a.example/u/mallory",
		Messages: []abuse.Message{{ID: what, Text: what, Content: []byte(what), AcceptedAt: time.UnixMilli(5).UTC(), Hub: "a.example"}}}
	copy(r.Messages[0].Frank[:], what)
	return r
}

func (w *world) put(what, note string) uint64 {
	w.t.Helper()
	n, err := w.q.Put(ctx, report(what), abuse.Voice{Provider: "b.example", Note: note})
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

func (w *world) list(all bool) string {
	w.t.Helper()
	list, err := w.q.List(0, 100, all)
	if err != nil {
		w.t.Fatal(err)
	}
	var out []string
	for _, r := range list {
		s := fmt.Sprintf("%d %s x%d", r.Number, r.Messages[0].Text, r.Times)
		if r.Outcome != "" {
			s += " " + string(r.Outcome)
		}
		out = append(out, s)
	}
	return strings.Join(out, ", ")
}

func TestQueue(t *testing.T) {
	w := newWorld(t)
	if n := w.put("insult", "he insults me"); n != 1 {
		t.Errorf("the first report has number %d", n)
	}
	w.put("spam", "")
	if n := w.put("insult", "me too"); n != 1 {
		t.Errorf("the same reported again is report %d", n)
	}
	r, err := w.q.Get(1)
	if err != nil {
		t.Fatal(err)
	}
	want := report("insult")
	want.Number, want.Received, want.Times = 1, w.now, 2
	want.Voices = []abuse.Voice{{Provider: "b.example", Note: "he insults me", At: w.now}, {Provider: "b.example", Note: "me too", At: w.now}}
	if d := cmp.Diff(&want, r, cmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) })); d != "" {
		t.Errorf("report 1 (-want +got):\n%s", d)
	}
	if got := w.list(false); got != "1 insult x2, 2 spam x1" {
		t.Errorf("open: %s", got)
	}
	if _, err := w.q.Resolve(ctx, 1, abuse.Banned); err != nil {
		t.Fatal(err)
	}
	if _, err := w.q.Resolve(ctx, 1, abuse.Dismissed); !errors.Is(err, abuse.ErrResolved) {
		t.Errorf("resolved twice: %v", err)
	}
	if _, err := w.q.Resolve(ctx, 9, abuse.Dismissed); !errors.Is(err, abuse.ErrUnknown) {
		t.Errorf("report 9: %v", err)
	}
	// What is said again after that is a new matter.
	if n := w.put("insult", ""); n != 3 {
		t.Errorf("reported after it was resolved: report %d", n)
	}
	if got := w.list(false); got != "2 spam x1, 3 insult x1" {
		t.Errorf("open: %s", got)
	}
	if got := w.list(true); got != "1 insult x2 banned, 2 spam x1, 3 insult x1" {
		t.Errorf("all: %s", got)
	}
	w.reopen()
	if s := w.q.Stats(); s.Open != 2 {
		t.Errorf("open after a restart: %+v", s)
	}
	// And is forgotten.
	w.now = w.now.Add(w.keep + time.Second)
	w.put("more", "")
	if got := w.list(true); got != "2 spam x1, 3 insult x1, 4 more x1" {
		t.Errorf("later: %s", got)
	}
	if _, err := w.q.Get(1); !errors.Is(err, abuse.ErrUnknown) {
		t.Errorf("report 1 later: %v", err)
	}
}

func TestBounds(t *testing.T) {
	w := newWorld(t)
	r := report("long")
	r.Messages[0].Content = make([]byte, abuse.MaxContent)
	if _, err := w.q.Put(ctx, r, abuse.Voice{}); !errors.Is(err, abuse.ErrLarge) {
		t.Errorf("a long report: %v", err)
	}
	for range abuse.MaxVoices + 3 {
		w.put("insult", "note")
	}
	got, err := w.q.Get(1)
	if err != nil || len(got.Voices) != abuse.MaxVoices || got.Times != abuse.MaxVoices+3 {
		t.Errorf("%d voices, %d times, %v", len(got.Voices), got.Times, err)
	}
	for i := 1; i < abuse.MaxOpen; i += 500 { // many at once, or this takes long
		errs := make(chan error, 500)
		for k := range 500 {
			go func() {
				_, err := w.q.Put(ctx, report(fmt.Sprintf("r %d", i+k)), abuse.Voice{})
				errs <- err
			}()
		}
		for range 500 {
			if err := <-errs; err != nil && !errors.Is(err, abuse.ErrFull) {
				t.Fatal(err)
			}
		}
	}
	if _, err := w.q.Put(ctx, report("one more"), abuse.Voice{}); !errors.Is(err, abuse.ErrFull) {
		t.Errorf("beyond the bound: %v", err)
	}
	if _, err := w.q.Put(ctx, report("insult"), abuse.Voice{}); err != nil {
		t.Errorf("a further voice of an open report: %v", err)
	}
	if n := w.q.Stats().Open; n != abuse.MaxOpen {
		t.Errorf("%d are open, the bound is %d", n, abuse.MaxOpen)
	}
}
