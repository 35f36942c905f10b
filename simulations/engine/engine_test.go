package engine_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/mimid/mimid/simulations/engine"
)

// TestOrder: events happen by time, and those of one time as they were asked for.
func TestOrder(t *testing.T) {
	e := engine.New(1)
	var got []int
	r := e.Rand("order")
	type due struct {
		at time.Duration
		n  int
	}
	var want []due
	for n := range 2000 {
		d := due{time.Duration(r.IntN(50)), n}
		want = append(want, d)
		e.After(d.at, func() {
			if e.Now() != d.at {
				t.Errorf("event %d happens at %s, due at %s", n, e.Now(), d.at)
			}
			got = append(got, n)
		})
	}
	slices.SortStableFunc(want, func(a, b due) int { return int(a.at - b.at) })
	e.Run(time.Second)
	if len(got) != len(want) || e.Events() != uint64(len(want)) || e.Now() != time.Second {
		t.Fatalf("%d of %d events, now %s", len(got), len(want), e.Now())
	}
	for i := range got {
		if got[i] != want[i].n {
			t.Fatalf("event %d is the %dth, want %d", got[i], i, want[i].n)
		}
	}
}

// TestRun: a run ends at its time, goes on from there, and ends for good when halted.
func TestRun(t *testing.T) {
	e := engine.New(1)
	var got []string
	e.After(-time.Second, func() { got = append(got, "now") })
	e.After(time.Second, func() { got = append(got, "one"); e.After(0, func() { got = append(got, "and") }) })
	e.After(2*time.Second, func() { got = append(got, "two"); e.Halt() })
	e.After(3*time.Second, func() { got = append(got, "never") })
	e.Run(1500 * time.Millisecond)
	if s := fmt.Sprint(got, e.Now()); s != "[now one and] 1.5s" {
		t.Error(s)
	}
	e.Run(time.Minute)
	e.Run(time.Hour)
	if s := fmt.Sprint(got, e.Now()); s != "[now one and two] 2s" {
		t.Error(s)
	}
}

// TestRand: streams depend on seed and purpose, and on nothing else.
func TestRand(t *testing.T) {
	draw := func(seed uint64, purpose string, before int) uint64 {
		e := engine.New(seed)
		for range before {
			e.Rand("other").Uint64()
		}
		return e.Rand(purpose).Uint64()
	}
	if alone, after := draw(1, "a", 0), draw(1, "a", 5); alone != after {
		t.Error("what others draw shifts a stream")
	}
	if draw(1, "a", 0) == draw(1, "b", 0) || draw(1, "a", 0) == draw(2, "a", 0) {
		t.Error("two streams are one")
	}
}

// TestDigest: it depends on what happens, and when.
func TestDigest(t *testing.T) {
	run := func(x uint64, at time.Duration) uint64 {
		e := engine.New(1)
		e.After(at, func() { e.Note(x) })
		e.Run(time.Second)
		return e.Digest()
	}
	first, again := run(1, 1), run(1, 1)
	if first != again || first == run(2, 1) || first == run(1, 2) {
		t.Error("digests do not tell runs apart")
	}
}

// TestNetwork counts what links do.
func TestNetwork(t *testing.T) {
	for _, c := range []struct {
		name       string
		link       engine.Link
		least, top int // deliveries of 1000
	}{
		{"sound", engine.Link{Latency: 5, Jitter: 5}, 1000, 1000},
		{"loses half", engine.Link{Loss: 0.5}, 400, 600},
		{"twice", engine.Link{Duplicate: 1}, 2000, 2000},
		{"cut", engine.Link{Cut: true}, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := engine.New(3)
			n := engine.NewNetwork(e, 2, engine.Link{})
			n.Usual(c.link)
			n.Heal()
			got := 0
			for range 1000 {
				n.Send(0, 1, func() {
					got++
					if e.Now() < c.link.Latency || e.Now() > c.link.Latency+c.link.Jitter {
						t.Errorf("delivered after %s", e.Now())
					}
				})
			}
			e.Run(time.Second)
			if got < c.least || got > c.top {
				t.Errorf("%d deliveries, want %d to %d", got, c.least, c.top)
			}
			if n.Sent != 1000 || n.Sent-n.Lost-n.Cut+n.Twice != got {
				t.Errorf("counted %d sent, %d lost, %d cut, %d twice, and %d arrived", n.Sent, n.Lost, n.Cut, n.Twice, got)
			}
		})
	}
}

// TestCut: what is on its way when a link is cut is lost, in that direction only.
func TestCut(t *testing.T) {
	e := engine.New(1)
	n := engine.NewNetwork(e, 2, engine.Link{Latency: 10})
	var got []string
	n.Send(0, 1, func() { got = append(got, "there") })
	n.Send(1, 0, func() { got = append(got, "back") })
	e.After(5, func() { n.Link(0, 1).Cut = true })
	e.After(20, func() { n.Mend(0, 1); n.Send(0, 1, func() { got = append(got, "again") }) })
	e.Run(time.Second)
	if s := fmt.Sprint(got); s != "[back again]" {
		t.Error(s)
	}
}

// TestProcess: a doomed process dies between two effects, its timers with it, and
// memory is what the next life makes of it.
func TestProcess(t *testing.T) {
	e := engine.New(1)
	var done []int
	deaths := 0
	p := engine.NewProcess(e, engine.Clock{}, func() { deaths++ })
	if p.May() {
		t.Error("who does not run may do nothing")
	}
	p.Start(func() { p.After(10, func() { t.Error("a timer survives its process") }) })
	p.Start(func() { t.Error("started twice") })
	p.Doom(3)
	for i := range 5 {
		if p.May() {
			done = append(done, i)
		}
	}
	if s := fmt.Sprint(done, p.Up(), deaths); s != "[0 1] false 1" {
		t.Error(s)
	}
	woken := false
	p.Start(func() { p.After(10, func() { woken = true }) })
	p.Doom(1)
	p.Doom(0) // spared
	e.Run(time.Second)
	if !woken || !p.May() {
		t.Error("the second life does not go on")
	}
}

// TestClock: timers run by the process's own clock.
func TestClock(t *testing.T) {
	e := engine.New(1)
	p := engine.NewProcess(e, engine.Clock{Skew: time.Hour, Drift: 0.25}, nil)
	p.Start(func() {})
	var at time.Duration
	p.After(10*time.Second, func() { at = e.Now() })
	e.Run(20 * time.Second)
	if at != 8*time.Second || p.Now() != time.Hour+25*time.Second {
		t.Errorf("rang at %s, shows %s", at, p.Now())
	}
}

// TestDisk: a commit is done and told; it may fail and have happened or not; what a
// crash meets is lost or done, and nobody is told.
func TestDisk(t *testing.T) {
	count := func(fail float64, crash bool) (done, told, failed int) {
		e := engine.New(9)
		p := engine.NewProcess(e, engine.Clock{}, nil)
		d := engine.NewDisk(e.Rand("disk"))
		d.Latency, d.Jitter, d.Fail = 10, 10, fail
		p.Start(func() {})
		for range 1000 {
			d.Commit(p, func() { done++ }, func(err error) {
				told++
				if errors.Is(err, engine.ErrDisk) {
					failed++
				}
			})
		}
		if crash {
			e.After(5, p.Kill)
		}
		e.Run(time.Second)
		if d.Commits != 1000 || d.Failed != failed || (d.Torn == 1000) != crash {
			t.Errorf("counted %d commits, %d failed, %d torn", d.Commits, d.Failed, d.Torn)
		}
		return done, told, failed
	}
	if done, told, failed := count(0, false); done != 1000 || told != 1000 || failed != 0 {
		t.Error("sound:", done, told, failed)
	}
	if done, told, failed := count(1, false); done < 400 || done > 600 || told != 1000 || failed != 1000 {
		t.Error("failing:", done, told, failed)
	}
	if done, told, _ := count(0, true); done < 400 || done > 600 || told != 0 {
		t.Error("crash:", done, told)
	}
}
