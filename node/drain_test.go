//go:build linux

package node_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mimid/mimid/node/admin"
)

// hubs counts a node's rooms by who orders them.
func (r *running) hubs() map[string]int {
	r.t.Helper()
	out := map[string]int{}
	for after := ""; ; {
		page, err := r.operator().Rooms(r.t.Context(), after, 1000)
		if err != nil {
			r.t.Fatal(err)
		}
		for _, x := range page.Rooms {
			out[x.Hub]++
		}
		if after = page.Next; after == "" {
			return out
		}
	}
}

// TestDrain: a provider that decides alone about rooms gives them to the other one that
// takes part; what cannot go is said, and goes when it is drained again. Nothing goes to
// who does not answer.
func TestDrain(t *testing.T) {
	const n = 20
	a, z := pairOfRooms(t, n, 4)
	introduce(a, z)
	a.must()
	op := a.operator()
	d, err := op.Drain(t.Context(), nil)
	if err != nil || d.Rooms != n/2 || d.Moved != 0 || d.Stayed != n/2 || len(d.Left) != n/2 || !strings.Contains(d.Left[0].Why, "no answer from biloxi.example") {
		t.Fatalf("without the other provider: %+v, %v", d, err)
	}
	for _, r := range page(t, op) {
		_, err := op.MoveRoom(t.Context(), r.ID, "biloxi.example")
		want := "biloxi.example does not answer"
		if r.Hub != "atlanta.example" {
			want = "the room is ordered by biloxi.example"
		}
		refusedWith(t, err, want)
	}
	z.must()
	alice := a.user("carol") // a room that nobody else is in
	if _, err := alice.CreateRoom(t.Context(), "alone"); err != nil {
		t.Fatal(err)
	}
	within(t, "they are connected", func() bool { return a.status().Peers == 1 })
	one := ""
	for _, r := range page(t, op) {
		if r.Hub == "atlanta.example" && one == "" && r.Next == 4 {
			one = r.ID
		}
	}
	_, err = op.MoveRoom(t.Context(), one, "chicago.example")
	refusedWith(t, err, "it can go to biloxi.example")
	_, err = op.MoveRoom(t.Context(), one, "atlanta.example")
	refusedWith(t, err, "orders the room already")
	var m *admin.Moved
	within(t, "one can be moved", func() bool { // the silence is remembered for a while
		m, err = op.MoveRoom(t.Context(), one, "biloxi.example")
		return err == nil
	})
	if m.Hub != "biloxi.example" || m.Pause <= 0 || m.Role != "follower" {
		t.Errorf("%+v", m)
	}
	var told int
	d, err = op.Drain(t.Context(), func(p admin.Draining) { told = p.Moved })
	if err != nil || d.Rooms != n/2 || d.Moved != n/2-1 || d.Stayed != 1 || d.Voter != 0 || told != d.Moved || d.Left[0].Why != "no other provider takes part in it" {
		t.Fatalf("%+v, %v", d, err)
	}
	_, err = op.MoveRoom(t.Context(), d.Left[0].ID, "biloxi.example")
	refusedWith(t, err, "no other provider takes part")
	within(t, "both know", func() bool { return a.hubs()["biloxi.example"] == n && z.hubs()["biloxi.example"] == n })
	if d, err = op.Drain(t.Context(), nil); err != nil || d.Rooms != 1 || d.Moved != 0 {
		t.Errorf("again: %+v, %v", d, err)
	}
	for _, r := range []*running{a, z} {
		if err := r.stop(); err != nil {
			t.Error(err)
		}
		r.whole()
	}
}

func page(t testing.TB, op *admin.Client) []admin.Room {
	t.Helper()
	p, err := op.Rooms(t.Context(), "", 1000)
	if err != nil {
		t.Fatal(err)
	}
	return p.Rooms
}

// BenchmarkDrain: a provider hands 1,000 rooms over to another one, in one process.
func BenchmarkDrain(b *testing.B) {
	if testing.Short() {
		b.Skip("takes a minute")
	}
	const rooms = 1000
	for range b.N {
		b.StopTimer()
		a, z := pairOfRooms(b, 2*rooms, 20)
		introduce(a, z)
		a.must()
		z.must()
		within(b, "they are connected", func() bool { return a.status().Peers == 1 })
		op := a.operator()
		b.StartTimer()
		d, err := op.Drain(b.Context(), nil)
		b.StopTimer()
		if err != nil || d.Moved != rooms || d.Stayed > 0 {
			b.Fatalf("%+v, %v", d, err)
		}
		b.ReportMetric(float64(d.Moved)/d.Took.Seconds(), "rooms/s")
		a.stop()
		z.stop()
	}
}

// BenchmarkHandOver: the operator hands one room over to a provider that follows it, and
// for how long nobody orders it. It must not grow with the room.
func BenchmarkHandOver(b *testing.B) {
	for _, entries := range []int{100, 10_000, 100_000} {
		b.Run(fmt.Sprint(entries), func(b *testing.B) {
			if testing.Short() && entries > 100 {
				b.Skip("makes a long room")
			}
			a, z := pairOfRooms(b, 1, entries)
			introduce(a, z)
			a.must()
			z.must()
			within(b, "they are connected", func() bool { return a.status().Peers == 1 })
			nodes := []*running{a, z}
			id := page(b, a.operator())[0].ID
			var pauses []time.Duration
			for range b.N {
				to := nodes[1]
				m, err := nodes[0].operator().MoveRoom(b.Context(), id, to.cfg.Domain)
				if err != nil {
					b.Fatal(err)
				}
				pauses = append(pauses, m.Pause)
				within(b, "it knows, too", func() bool { return to.hubs()[to.cfg.Domain] == 1 })
				nodes[0], nodes[1] = nodes[1], nodes[0]
			}
			slices.Sort(pauses)
			b.ReportMetric(float64(pauses[len(pauses)/2].Microseconds())/1000, "ms-p50")
			b.ReportMetric(float64(pauses[len(pauses)-1].Microseconds())/1000, "ms-worst")
			a.stop()
			z.stop()
		})
	}
}
