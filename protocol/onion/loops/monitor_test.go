package loops_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/mimid/mimid/protocol/onion"
	"github.com/mimid/mimid/protocol/onion/loops"
)

var start = time.Date(2026, 11, 30, 0, 0, 0, 0, time.UTC)

func box(n int) onion.Mailbox  { return onion.Mailbox{byte(n >> 8), byte(n)} }
func node(n byte) onion.NodeID { return onion.NodeID{n} }

// TestAlarm: losses that chance explains are no alarm; a relay that drops what goes over it is one, and
// is named, and the alarm ends when loops come back.
func TestAlarm(t *testing.T) {
	m := loops.New(loops.Config{Slack: time.Second})
	random := rand.New(rand.NewPCG(1, 2))
	now, n := start, 0
	// Loops over three of nine relays, of which some never come back.
	run := func(many int, lost func(over []onion.NodeID) bool) {
		for range many {
			over := []onion.NodeID{node(byte(random.IntN(3))), node(byte(3 + random.IntN(3))), node(byte(6 + random.IntN(3)))}
			n++
			if !m.Sent(now, box(n), over, time.Second) {
				t.Fatal("not counted")
			}
			now = now.Add(500 * time.Millisecond)
			if !lost(over) && !m.Returned(now, box(n)) {
				t.Fatal("not known when it returns")
			}
		}
		now = now.Add(2 * time.Second)
	}
	run(200, func([]onion.NodeID) bool { return n%50 == 0 })
	if r := m.Report(now); r.Alarm || r.Sent != 200 || r.Lost != 4 || r.Returned != 196 || r.Suspects != nil {
		t.Errorf("2 of 100 are lost by chance: %+v", r)
	}
	run(64, func(over []onion.NodeID) bool { return over[1] == node(4) })
	if r := m.Report(now); !r.Alarm || !cmp.Equal(r.Suspects, []onion.NodeID{node(4)}) {
		t.Errorf("a relay drops everything: %+v", r)
	}
	run(64, func([]onion.NodeID) bool { return false })
	if r := m.Report(now); r.Alarm || r.Missing != 0 || r.Judged != 64 {
		t.Errorf("all come back again: %+v", r)
	}
}

// TestNoEarlyAlarm: before some are judged there is none, and then at once if all are lost.
func TestNoEarlyAlarm(t *testing.T) {
	m := loops.New(loops.Config{})
	now := start
	for n := range 20 {
		m.Sent(now, box(n), nil, 0)
		now = now.Add(11 * time.Second)
		if r := m.Report(now); r.Alarm != (n+1 >= 8) || r.Missing != n+1 {
			t.Errorf("after %d lost ones: %+v", n+1, r)
		}
	}
}

// TestLate: what comes when its time is over stays lost, and is known no more; and what came is judged
// once.
func TestLate(t *testing.T) {
	m := loops.New(loops.Config{Slack: 2 * time.Second, Outstanding: 2})
	m.Sent(start, box(1), nil, 3*time.Second)
	if m.Sent(start, box(1), nil, 0) {
		t.Error("a mailbox twice")
	}
	m.Sent(start, box(2), nil, 3*time.Second)
	if m.Sent(start, box(3), nil, 0) {
		t.Error("more than may be on their way")
	}
	if !m.Returned(start.Add(5*time.Second-1), box(1)) || m.Returned(start.Add(5*time.Second-1), box(1)) {
		t.Error("just in time, once")
	}
	if m.Returned(start.Add(5*time.Second), box(2)) {
		t.Error("too late")
	}
	if r := m.Report(start.Add(5 * time.Second)); r.Sent != 2 || r.Returned != 1 || r.Lost != 1 || r.Judged != 2 {
		t.Errorf("%+v", r)
	}
}

// TestEachJudgedOnce: whatever comes in whatever order, all that were sent are returned, lost or on
// their way.
func TestEachJudgedOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := loops.New(loops.Config{Slack: time.Second, Window: 5, Outstanding: 7})
		now, open := start, map[int]time.Time{}
		var sent, returned uint64
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 900).Draw(t, "ms")) * time.Millisecond)
			for k, until := range open {
				if !until.After(now) {
					delete(open, k)
				}
			}
			k := rapid.IntRange(0, 20).Draw(t, "box")
			_, on := open[k]
			if rapid.Bool().Draw(t, "send") {
				if m.Sent(now, box(k), nil, time.Second) != (!on && len(open) < 7) {
					t.Fatal("taken or not taken wrongly")
				} else if !on && len(open) < 7 {
					sent++
					open[k] = now.Add(2 * time.Second)
				}
				continue
			}
			if m.Returned(now, box(k)) != on {
				t.Fatalf("returned: %t", on)
			}
			if on {
				returned++
				delete(open, k)
			}
		}
		r := m.Report(now)
		if r.Sent != sent || r.Returned != returned || r.Lost != sent-returned-uint64(len(open)) || r.Judged > 5 || r.Missing > r.Judged {
			t.Fatalf("%+v, sent %d, returned %d, on their way %d", r, sent, returned, len(open))
		}
	})
}

// TestTrip: how long loops take is the median of the last ones that came back.
func TestTrip(t *testing.T) {
	m := loops.New(loops.Config{Slack: 2 * time.Second, Window: 5})
	if r := m.Report(start); r.Trip != 0 {
		t.Errorf("of none: %v", r.Trip)
	}
	now := start
	for n, took := range []time.Duration{9, 9, 9, 1, 4, 0, 3, 2} { // seconds; 0: lost
		m.Sent(now, box(n), nil, 20*time.Second)
		if now = now.Add(took * time.Second); took == 0 {
			now = now.Add(time.Minute)
			m.Expire(now)
			continue
		}
		m.Returned(now, box(n))
	}
	if r := m.Report(now); r.Trip != 3*time.Second { // of 1, 4, 3 and 2: the upper of both in the middle
		t.Errorf("%v", r.Trip)
	}
}
