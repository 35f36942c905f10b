package node_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/mimid/mimid/client"
	"github.com/mimid/mimid/protocol/uri"
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

// BenchmarkIdleElections: the hub of so many idle rooms, and of one in which people talk, dies.
// How many rooms elect in a second, at worst, and what that costs each of the other two
// providers, each a process, in the first minute; and when the room in which people talk has
// another hub. With MIMID_TEST_PROFILES, a directory, they write there what they were at.
func BenchmarkIdleElections(b *testing.B) {
	for _, rooms := range []int{1_000, 10_000} {
		b.Run(fmt.Sprint(rooms), func(b *testing.B) {
			for range b.N {
				idleElections(b, rooms)
			}
		})
	}
}

func idleElections(b *testing.B, rooms int) {
	if testing.Short() {
		b.Skip("takes minutes")
	}
	const watched = time.Minute
	var talk *conversation
	nodes := makeTrios(b, rooms, func(nodes [3]*running) { talk = converse(b, nodes) })
	var c [3]*child
	for i, r := range nodes {
		c[i] = r.child()
	}
	for _, x := range c {
		x.listening(rooms + 1)
		for x.ask("").Peers < 2 {
			time.Sleep(100 * time.Millisecond)
		}
	}
	for quiet := 0; quiet < 3; quiet++ {
		was := [3]report{c[0].ask(""), c[1].ask(""), c[2].ask("")}
		time.Sleep(2 * time.Second)
		for i, x := range c {
			if x.ask("").CPU-was[i].CPU > 400*time.Millisecond {
				quiet = -1
			}
		}
	}
	calm := [3]report{c[0].ask(""), c[1].ask(""), c[2].ask("")}
	time.Sleep(watched / 6)
	for i, x := range c {
		b.Logf("%s, all quiet: %.1f %% of a core, %.0f MiB", nodes[i].cfg.Domain, 100*(x.ask("").CPU-calm[i].CPU).Seconds()/(watched/6).Seconds(), x.ask("").Anonymous.mib())
	}
	talk.begin()
	time.Sleep(2 * time.Second)
	if dir := os.Getenv("MIMID_TEST_PROFILES"); dir != "" {
		for i, x := range c[1:] {
			x.ask(fmt.Sprintf("profile %s/elections-%d-%d.pprof", dir, rooms, i+1))
		}
	}
	if err := c[0].cmd.Process.Kill(); err != nil {
		b.Fatal(err)
	}
	began := time.Now()
	from := [2]report{c[1].ask(""), c[2].ask("")}
	var worst, total int
	last := from[0].Led + from[1].Led
	talked := false
	for next := began.Add(time.Second); time.Since(began) < watched; next = next.Add(time.Second) {
		time.Sleep(time.Until(next))
		now := c[1].ask("").Led + c[2].ask("").Led
		worst = max(worst, now-last)
		total, last = total+now-last, now
		if _, ok := talk.served(began); ok && !talked {
			talk.end() // what follows is idle rooms only
			talked = true
		}
	}
	took := time.Since(began)
	for i, x := range c[1:] {
		to := x.ask("profile")
		b.ReportMetric(100*(to.CPU-from[i].CPU).Seconds()/took.Seconds(), fmt.Sprintf("cpu-%%-%d", i+1))
		n := float64(total)
		b.Logf("%s, for each of %d elections: said %.1f, %.1f writes in %.1f transactions, %.1f ms of CPU", nodes[i+1].cfg.Domain, total,
			float64(to.Said-from[i].Said)/n, float64(to.Writes-from[i].Writes)/n, float64(to.Syncs-from[i].Syncs)/n, float64((to.CPU-from[i].CPU).Microseconds())/1000/n)
	}
	b.ReportMetric(float64(total)/took.Seconds(), "elections/s")
	b.ReportMetric(float64(worst), "worst-second")
	d, ok := talk.served(began)
	if !ok {
		talk.end()
		b.Errorf("nothing that was said after the hub's death was accepted within %s", took)
	}
	b.ReportMetric(float64(d.Milliseconds()), "busy-room-ms")
	for _, x := range c[1:] {
		x.end()
	}
}

// conversation is a room of three providers in which two users talk, those of the second and
// of the third.
type conversation struct {
	people [3]*client.Client
	room   uri.Room
	leave  func()

	mu   sync.Mutex
	sent map[[2]uint64]time.Time // guarded by mu: by who and index
	got  map[[2]uint64]time.Time // guarded by mu: when it was accepted
}

func converse(t testing.TB, nodes [3]*running) *conversation {
	t.Helper()
	k := &conversation{sent: map[[2]uint64]time.Time{}, got: map[[2]uint64]time.Time{}}
	ctx := t.Context()
	for i, r := range nodes {
		k.people[i] = r.user("talker")
	}
	var err error
	if k.room, err = k.people[0].CreateRoom(ctx, "talk"); err != nil {
		t.Fatal(err)
	}
	for _, x := range k.people[1:] {
		if err := x.Accept(ctx, k.people[0].User()); err != nil {
			t.Fatal(err)
		}
		within(t, "somebody can be added", func() bool { return k.people[0].AddUser(ctx, k.room, x.User()) == nil })
	}
	for _, x := range k.people {
		within(t, "three providers decide", func() bool { v, err := x.Verify(ctx, k.room); return err == nil && v.Replicas == 3 })
	}
	return k
}

// begin has both say something every 100 ms.
func (k *conversation) begin() {
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	for i, x := range k.people[1:] {
		all.Go(func() {
			tick := time.NewTicker(100 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-ctx.Done():
					return
				case n := <-x.Events():
					if s, ok := n.(client.SendState); ok && (s.State == client.StateAccepted || s.State == client.StateFinal) {
						key := [2]uint64{uint64(i), s.Index}
						k.mu.Lock()
						if k.got[key].IsZero() {
							k.got[key] = time.Now()
						}
						k.mu.Unlock()
					}
				case <-tick.C:
					at := time.Now()
					if index, err := x.Send(ctx, k.room, "and then"); err == nil {
						k.mu.Lock()
						k.sent[[2]uint64{uint64(i), index}] = at
						k.mu.Unlock()
					}
				}
			}
		})
	}
	k.leave = func() { cancel(); all.Wait() }
}

func (k *conversation) end() { k.leave() }

// served is how long after a moment the first message that was sent after it was accepted.
func (k *conversation) served(after time.Time) (first time.Duration, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for key, at := range k.sent {
		if got := k.got[key]; at.After(after) && !got.IsZero() && (!ok || got.Sub(after) < first) {
			first, ok = got.Sub(after), true
		}
	}
	return first, ok
}
