//go:build unix

package overlay_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	pb "github.com/libp2p/go-libp2p-kad-dht/pb"
	"github.com/libp2p/go-libp2p/core/network"
	"google.golang.org/protobuf/proto"

	"github.com/mimid/mimid/overlay"
)

// BenchmarkAnnounceAlone is the memory of a node that announces keys, in a process of its own: a
// whole node of package overlay, with connections to 40 others, its DHT, the keys and the sweep's
// state; beside it the same before it announces. Not in it is what the provider keeps of claims: the index,
// see node/contact.BenchmarkIndex, and the store.
func BenchmarkAnnounceAlone(b *testing.B) {
	for _, c := range []struct{ keys, limit int }{{20_000, 0}, {200_000, 0}, {200_000, 150}} {
		keys := c.keys
		b.Run(fmt.Sprintf("%d/%dMiB", keys, c.limit), func(b *testing.B) {
			for range b.N {
				all, stops := crowd(b, 40, nil)
				p := startChild(b, task{Boot: boot(all[0]), Announce: keys, Limit: c.limit})
				before := p.reports(b)
				var stored atomic.Int64
				for _, o := range all {
					var others [][]byte
					for _, p := range all {
						if p != o {
							info := addrInfo(p)
							m := pb.NewMessage(pb.Message_FIND_NODE, nil, 0)
							m.CloserPeers = append(m.CloserPeers, &pb.Message_Peer{Id: []byte(info.ID), Addrs: [][]byte{info.Addrs[0].Bytes()}})
							enc, _ := proto.Marshal(m)
							others = append(others, enc)
						}
					}
					overlay.Turn(o, func(s network.Stream) { sink(s, &stored, others) })
				}
				began := time.Now()
				p.tell(b)
				for last := int64(-1); stored.Load() < int64(keys) || stored.Load() != last; time.Sleep(3 * time.Second) {
					last = stored.Load()
				}
				wall := time.Since(began)
				p.tell(b)
				after := p.reports(b)
				b.ReportMetric(after.HeapMiB, "heap-MiB")
				b.ReportMetric(before.HeapMiB, "heap-before-MiB")
				b.ReportMetric(after.LiveMiB, "peak-live-MiB")
				b.ReportMetric(after.RSSMiB, "rss-MiB")
				b.ReportMetric(after.PeakMiB, "peak-rss-MiB")
				b.ReportMetric(before.RSSMiB, "rss-before-MiB")
				b.ReportMetric(p.cpu(b).Seconds(), "cpu-s")
				b.ReportMetric(wall.Seconds(), "wall-s")
				b.ReportMetric(float64(stored.Load())/float64(keys), "holders/key")
				for _, stop := range stops {
					stop()
				}
			}
		})
	}
}

// BenchmarkSearchCPU is what a search for announcers costs the nodes of the DHT, all that are asked
// together, and the searcher, which is a process of its own: user and system time, with what the nodes
// do beside, which is measured before and taken off.
func BenchmarkSearchCPU(b *testing.B) {
	const nodes, keys, idle = 40, 20, 10 * time.Second
	all, _ := crowd(b, nodes, nil)
	for i, k := range benchKeys(keys) {
		if err := all[1+i].Announce(b.Context(), k); err != nil {
			b.Fatal(err)
		}
	}
	b.ResetTimer()
	p := startChild(b, task{Boot: boot(all[0]), Search: b.N, Keys: keys})
	p.reports(b)
	time.Sleep(idle) // what joining has begun
	cpu := cpuTime()
	time.Sleep(idle)
	rest := float64(cpuTime()-cpu) / float64(idle)
	cpu, began := cpuTime(), time.Now()
	p.tell(b)
	r := p.reports(b)
	took := float64(cpuTime()-cpu) - rest*float64(time.Since(began))
	if r.Found != b.N {
		b.Fatalf("%d of %d searches found somebody", r.Found, b.N)
	}
	b.ReportMetric(took/float64(b.N)/1e6, "dht-cpu-ms/search")
	b.ReportMetric(float64(p.cpu(b).Milliseconds())/float64(b.N), "searcher-cpu-ms/search") // with joining
	b.ReportMetric(float64(r.Asked)/float64(b.N), "asked/search")
	b.ReportMetric(100*rest, "idle-%-of-a-core")
}
