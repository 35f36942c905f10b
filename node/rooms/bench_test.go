package rooms_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/wire"
	"github.com/mimid/mimid/store"
)

// room2 makes a world of two providers with a room of alice and bob, and n
// encrypted messages of 1 KiB by alice.
func room2(b *testing.B, n int) (w *world, alice, bob *device, id store.RoomID, ms []*clientapi.SubmitMessage) {
	w = makeWorld(b, true, "atlanta.example", "biloxi.example")
	alice, bob = w.device("alice@atlanta.example", "phone"), w.device("bob@biloxi.example", "phone")
	id, _, err := alice.create("room")
	if err != nil {
		b.Fatal(err)
	}
	if err := alice.add(id, bob); err != nil {
		b.Fatal(err)
	}
	alice.follow(id, 2)
	bob.follow(id, 2)
	text := strings.Repeat("x", 1024)
	for range n {
		ms = append(ms, alice.message(text))
	}
	return w, alice, bob, id, ms
}

// BenchmarkOrder: messages of 1 KiB, ordered by a hub and written by it and by a
// follower, with so many submitters at once; each waits for its answer. Both
// providers share the machine; MLS is not in it, nor the network.
func BenchmarkOrder(b *testing.B) {
	for _, submitters := range []int{1, 16, 256} {
		b.Run(fmt.Sprint(submitters), func(b *testing.B) {
			w, alice, _, id, ms := room2(b, b.N)
			hub, follower := w.ps["atlanta.example"], w.ps["biloxi.example"]
			before := hub.st.Stats()
			b.ReportAllocs()
			b.ResetTimer()
			var next atomic.Int64
			var wg sync.WaitGroup
			for range submitters {
				wg.Go(func() {
					for i := int(next.Add(1)) - 1; i < b.N; i = int(next.Add(1)) - 1 {
						if r, err := alice.send(id, ms[i]); err != nil || r.Code != wire.SubmitAccepted {
							b.Errorf("%v, %v", r, err)
							return
						}
					}
				})
			}
			wg.Wait()
			eventually(b, "the follower", func() bool { return follower.rooms.List()[0].Next == uint64(b.N)+2 })
			b.StopTimer()
			commits := hub.st.Stats().Commits - before.Commits
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "entries/s")
			b.ReportMetric(float64(b.N)/float64(commits), "entries/commit")
		})
	}
}

// BenchmarkCatchUp: a provider that was away asks for entries of 1 KiB, verifies
// and writes them.
func BenchmarkCatchUp(b *testing.B) {
	w, alice, _, id, ms := room2(b, b.N)
	follower := w.ps["biloxi.example"]
	follower.set(func() { follower.down = true })
	var wg sync.WaitGroup
	for part := range slices.Chunk(ms, max(1, len(ms)/64)) {
		wg.Go(func() {
			for _, m := range part {
				if _, err := alice.send(id, m); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	follower.set(func() { follower.down = false })
	b.ReportAllocs()
	b.ResetTimer()
	follower.rooms.Exchange(b.Context(), "atlanta.example")
	eventually(b, "the follower", func() bool { return follower.rooms.List()[0].Next == uint64(b.N)+2 })
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "entries/s")
}
