package mixing

import (
	"testing"
	"time"

	"github.com/mimid/mimid/protocol/onion/retry"
	"github.com/mimid/mimid/simulations"
	"github.com/mimid/mimid/simulations/engine"
)

// TestMillionPackets: of a million packets through relays of which three in ten die, no message is lost without its sender
// knowing: each has a verdict, and what was called delivered is there. Messages have two parts, so that there are
// those of which one has come.
func TestMillionPackets(t *testing.T) {
	if testing.Short() {
		t.Skip("some ten seconds")
	}
	p := Defaults()
	p.Slots, p.Rate, p.Dying, p.Size, p.Targets, p.Lasts = 0, 10, .3, 9000, 1, simulations.Duration(8*time.Minute)
	w := silent(t, p)
	if w.sent < 1_000_000 {
		t.Fatalf("%d packets with parts of messages were sent, not a million", w.sent)
	}
	for verdict, part := range map[retry.Verdict]float64{retry.Delivered: .3, retry.Unknown: .1} {
		n := 0
		for _, m := range w.order {
			if m.verdict == verdict {
				n++
			}
		}
		if t.Logf("%d of %d messages: %v", n, len(w.order), verdict); float64(n) < part*float64(len(w.order)) {
			t.Errorf("%d of %d messages have verdict %v, which shows little", n, len(w.order), verdict)
		}
	}
}

// silent runs a network until all messages have their verdict, and fails if one is not what it says.
func silent(t *testing.T, p Parameters) *world {
	t.Helper()
	if err := p.Check(); err != nil {
		t.Fatal(err)
	}
	e := engine.New(1)
	w, err := newWorld(e, p, &check{say: t.Errorf}, planted{})
	if err != nil {
		t.Fatal(err)
	}
	w.begin()
	e.Run(w.stopped + time.Second)
	if w.err != nil {
		t.Fatal(w.err)
	}
	w.check.over(w.net)
	for _, m := range w.order {
		switch {
		case m.verdict == 0:
			t.Errorf("a message written at %v has no verdict at %v", m.written, e.Now())
		case m.verdict == retry.Delivered && !m.arrived:
			t.Errorf("a message written at %v was called delivered, and is not there", m.written)
		}
	}
	return w
}
