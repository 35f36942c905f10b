package rooms_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mimid/mimid/node/ration"
	"github.com/mimid/mimid/node/rooms"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/room"
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

// BenchmarkHandshake: a commit that changes a role in a room of a thousand members, each with
// a device, from its submission to the answer: the hub has verified it, appended it and synced
// it. Beside it, what MLS takes of that: verifying the commit and its GroupInfo at a group in
// the same epoch. All members but one are of another provider, which follows with its own
// store on the same machine; the network is not in it. "disk" is the bare write and sync of
// as many octets, in turns with them.
func BenchmarkHandshake(b *testing.B) {
	const members = 1000
	w := prepareWorld(b, true, "atlanta.example", "biloxi.example")
	for _, p := range w.ps {
		p.tweak = func(c *rooms.Config) {
			c.Idle = 30 * time.Second                             // as by default: the room is in memory
			c.Commits = ration.Config{PerSecond: 1e6, Burst: 1e6} // one user commits again and again here
		}
	}
	w.start()
	alice := w.device("alice@atlanta.example", "phone")
	id, _, err := alice.create("room")
	if err != nil {
		b.Fatal(err)
	}
	octets := 0
	commit := func(o mls.CommitOptions) (accepted, inMLS time.Duration) {
		s := must(alice.group.Commit(o, time.Now()))(b)
		raw := must((&wire.UpdateRequest{Bundle: wire.HandshakeBundle{Message: s.Message, Welcome: s.Welcome, GroupInfo: &wire.GroupInfoOption{Full: s.GroupInfo},
			Tree: &wire.RatchetTreeOption{Representation: wire.TreeDistributionService}}}).Bytes())(b)
		octets = len(raw)
		begin := time.Now()
		must(alice.group.Public().Process(s.Message.Public, s.GroupInfo, begin))(b)
		inMLS = time.Since(begin)
		begin = time.Now()
		if err := alice.update(id, raw); err != nil {
			b.Fatal(err)
		}
		accepted = time.Since(begin)
		if err := alice.group.Merge(s); err != nil {
			b.Fatal(err)
		}
		return accepted, inMLS
	}
	var last *device
	additions := 0
	for made := 1; made < members; additions++ {
		var some []*device
		for range min(250, members-made) {
			last = w.device(fmt.Sprintf("user%d@biloxi.example", made), "phone")
			some = append(some, last)
			made++
		}
		commit(alice.adding(some...))
	}
	hub, follower := w.ps["atlanta.example"], w.ps["biloxi.example"]
	eventually(b, "the follower has all Welcomes", func() bool {
		return follower.called(wire.EndpointNotify.String()) >= additions && follower.rooms.List()[0].Next == uint64(additions)+1
	})
	before := hub.st.Stats().Commits
	// The physical limit beside it: as many octets, appended to a file and synced.
	file := must(os.Create(filepath.Join(b.TempDir(), "bare")))(b)
	defer file.Close()
	synced := func() time.Duration {
		begin := time.Now()
		must(file.Write(make([]byte, octets)))(b)
		if err := file.Sync(); err != nil {
			b.Fatal(err)
		}
		return time.Since(begin)
	}
	var beyond, accepted, inMLS, disk []time.Duration
	b.ResetTimer()
	for i := range b.N {
		set := []room.Participant{{User: last.who.User, Role: policy.Member + policy.Role(1-i%2)}}
		x, y := commit(mls.CommitOptions{Proposals: []*mls.Proposal{must(room.UpdateParticipants(alice.group.Public().Context(), set, nil))(b)}})
		beyond, accepted, inMLS, disk = append(beyond, x-y), append(accepted, x), append(inMLS, y), append(disk, synced())
	}
	b.StopTimer()
	if got := hub.st.Stats().Commits - before; got < uint64(b.N) {
		b.Errorf("%d commits of the store for %d handshakes, each of which was answered after its own", got, b.N)
	}
	ms := func(name string, list []time.Duration) {
		slices.Sort(list)
		b.ReportMetric(float64(list[len(list)/2].Microseconds())/1000, name+"-p50-ms")
		b.ReportMetric(float64(list[len(list)*99/100].Microseconds())/1000, name+"-p99-ms")
	}
	ms("accepted", accepted)
	ms("mls", inMLS)
	ms("beyond-mls", beyond)
	ms("disk", disk)
	b.ReportMetric(float64(octets), "octets")
	b.ReportMetric(0, "ns/op")
}
