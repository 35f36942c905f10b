package node_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/mimid/mimid/client"
)

// trios makes rooms that three providers decide about, all ordered by the first, and
// returns their data directories, of nodes that have stopped. Each of the companies of
// three users, one at each provider, shares as many rooms.
func trios(t testing.TB, companies, each int) (nodes [3]*running) {
	t.Helper()
	ctx := t.Context()
	nodes[0] = prepare(t, "atlanta.example").must()
	for i, d := range []string{"biloxi.example", "chicago.example"} {
		nodes[i+1] = prepare(t, d, nodes[0].status().Addresses[0]).must()
	}
	var leave []func()
	for _, r := range nodes {
		r.atEnd = func(f func()) { leave = append(leave, f) }
	}
	var all sync.WaitGroup
	for n := range companies {
		var people [3]*client.Client
		for i, r := range nodes {
			people[i] = r.user(fmt.Sprint("user", n))
		}
		for _, x := range people[1:] {
			if err := x.Accept(ctx, people[0].User()); err != nil {
				t.Fatal(err)
			}
		}
		all.Go(func() {
			found := func(i int) error {
				room, err := people[0].CreateRoom(ctx, fmt.Sprint("room ", i))
				for _, x := range people[1:] {
					for try := 0; err == nil; try++ {
						if err = people[0].AddUser(ctx, room, x.User()); err == nil || try > 100 {
							break
						}
						time.Sleep(20 * time.Millisecond)
						err = nil
					}
				}
				return err
			}
			for i := range each {
				if err := found(i); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	if t.Failed() {
		t.FailNow()
	}
	for _, r := range nodes {
		for range 600 {
			if n := r.decided(3); n == companies*each {
				break
			}
			time.Sleep(time.Second)
		}
		if n := r.decided(3); n != companies*each {
			t.Fatalf("%d of %d rooms have three replicas at %s", n, companies*each, r.cfg.Domain)
		}
	}
	for _, f := range leave {
		f()
	}
	for _, r := range nodes {
		r.atEnd = nil
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
	}
	return nodes
}

// decided counts the rooms that so many replicas decide about, with no change in progress.
func (r *running) decided(replicas int) (n int) {
	r.t.Helper()
	for after := ""; ; {
		page, err := r.operator().Rooms(r.t.Context(), after, 1000)
		if err != nil {
			r.t.Fatal(err)
		}
		for _, x := range page.Rooms {
			if len(x.Replicas) == replicas {
				n++
			}
		}
		if after = page.Next; after == "" {
			return n
		}
	}
}

// BenchmarkDrainThree: as BenchmarkDrain, of rooms that three providers decide about: a
// second one has to vote for each.
func BenchmarkDrainThree(b *testing.B) {
	if testing.Short() {
		b.Skip("takes minutes")
	}
	const companies, each = 8, 125
	for range b.N {
		b.StopTimer()
		nodes := trios(b, companies, each)
		for _, r := range nodes {
			r.must()
		}
		for _, r := range nodes {
			within(b, "they are connected", func() bool { return r.status().Peers == 2 })
		}
		op := nodes[0].operator()
		b.StartTimer()
		d, err := op.Drain(b.Context(), nil)
		b.StopTimer()
		if err != nil || d.Moved != companies*each || d.Stayed > 0 {
			b.Fatalf("%+v, %v", d, err)
		}
		b.ReportMetric(float64(d.Moved)/d.Took.Seconds(), "rooms/s")
		for _, r := range nodes {
			r.stop()
		}
	}
}

// BenchmarkHandOverThree: for how long nobody orders a room of three replicas that its
// operator hands over, to and fro.
func BenchmarkHandOverThree(b *testing.B) {
	nodes := trios(b, 1, 1)
	for _, r := range nodes {
		r.must()
	}
	for _, r := range nodes {
		within(b, "they are connected", func() bool { return r.status().Peers == 2 })
	}
	id := page(b, nodes[0].operator())[0].ID
	var pauses []time.Duration
	for i := range b.N {
		from, to := nodes[i%3], nodes[(i+1)%3]
		m, err := from.operator().MoveRoom(b.Context(), id, to.cfg.Domain)
		if err != nil {
			b.Fatal(err)
		}
		pauses = append(pauses, m.Pause)
		for _, r := range nodes {
			within(b, "all know", func() bool { return r.hubs()[to.cfg.Domain] == 1 })
		}
	}
	slices.Sort(pauses)
	b.ReportMetric(float64(pauses[len(pauses)/2].Microseconds())/1000, "ms-p50")
	b.ReportMetric(float64(pauses[len(pauses)-1].Microseconds())/1000, "ms-worst")
}

// BenchmarkIdleElections: the hub of 3,000 idle rooms dies (10,000 were not made yet, see
// BENCHMARKS.md). How many of them elect in a second, at worst, and what that costs each of the
// other two providers, each a process, in the first minute.
func BenchmarkIdleElections(b *testing.B) {
	if testing.Short() {
		b.Skip("takes ten minutes")
	}
	const companies, each, watched = 8, 375, time.Minute
	for range b.N {
		nodes := trios(b, companies, each)
		var c [3]*child
		for i, r := range nodes {
			c[i] = r.child()
		}
		for _, x := range c {
			x.listening(companies * each)
			for x.ask("").Peers < 2 {
				time.Sleep(100 * time.Millisecond)
			}
		}
		for quiet := 0; quiet < 3; quiet++ {
			was := [3]report{c[0].ask(""), c[1].ask(""), c[2].ask("")}
			time.Sleep(2 * time.Second)
			for i, x := range c {
				if x.ask("").CPU-was[i].CPU > 300*time.Millisecond {
					quiet = -1
				}
			}
		}
		if err := c[0].cmd.Process.Kill(); err != nil {
			b.Fatal(err)
		}
		from := [2]report{c[1].ask(""), c[2].ask("")}
		var worst, total int
		last := from[0].Led + from[1].Led
		began := time.Now()
		for next := began.Add(time.Second); time.Since(began) < watched; next = next.Add(time.Second) {
			time.Sleep(time.Until(next))
			now := c[1].ask("").Led + c[2].ask("").Led
			worst = max(worst, now-last)
			total, last = total+now-last, now
		}
		took := time.Since(began)
		for i, x := range c[1:] {
			to := x.ask("")
			b.ReportMetric(100*(to.CPU-from[i].CPU).Seconds()/took.Seconds(), fmt.Sprintf("cpu-%%-%d", i+1))
		}
		b.ReportMetric(float64(total)/took.Seconds(), "elections/s")
		b.ReportMetric(float64(worst), "worst-second")
		for _, x := range c[1:] {
			x.end()
		}
	}
}
