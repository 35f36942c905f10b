package gossip_test

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/mimid/mimid/simulations"
	"github.com/mimid/mimid/simulations/gossip"
	"github.com/mimid/mimid/simulations/links"
)

// BenchmarkNetwork publishes messages in large networks: events a second, and what a node takes of the heap
// once connected.
//
//	go test -run '^$' -bench Network -benchtime 5x ./simulations/gossip
func BenchmarkNetwork(b *testing.B) {
	for _, nodes := range []int{10_000, 100_000} {
		b.Run(fmt.Sprint(nodes), func(b *testing.B) {
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			e, n := world(1, nodes, gossip.Usual(), links.Spec{Model: "uniform", Low: simulations.Duration(10 * time.Millisecond), High: simulations.Duration(100 * time.Millisecond)})
			runtime.GC()
			runtime.ReadMemStats(&after)
			events := e.Events()
			id := 0
			for b.Loop() {
				m := n.Publish(id, id%nodes, 1024)
				e.Run(e.Now() + 10*time.Second)
				if m.Reached != nodes {
					b.Fatalf("%d of %d nodes were reached", m.Reached, nodes)
				}
				id++
			}
			b.ReportMetric(float64(e.Events()-events)/b.Elapsed().Seconds(), "events/s")
			b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(nodes), "B/node")
			runtime.KeepAlive(n)
		})
	}
}
