//go:build unix

package overlay_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/mimid/mimid/overlay"
)

func pair(b *testing.B, listen string) []*overlay.Overlay {
	nodes := providers(b, 2, func(i int, c *overlay.Config) {
		c.Listen = []string{listen}
		c.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })
	})
	resolves(b, nodes[0], "p1.example")
	return nodes
}

// BenchmarkHTTP is a request and a response of 1 KiB each, both nodes in this process.
func BenchmarkHTTP(b *testing.B) {
	for _, transport := range []struct{ name, listen string }{
		{"tcp", "/ip4/127.0.0.1/tcp/0"}, {"quic", "/ip4/127.0.0.1/udp/0/quic-v1"},
	} {
		for _, parallel := range []int{1, 16} {
			b.Run(fmt.Sprintf("%s/%d", transport.name, parallel), func(b *testing.B) {
				nodes := pair(b, transport.listen)
				body := make([]byte, 1024)
				call := func() {
					resp, err := nodes[0].Client().Post("http://p1.example/", "application/octet-stream", bytes.NewReader(body))
					if err != nil {
						b.Error(err)
						return
					}
					if n, err := io.Copy(io.Discard, resp.Body); n != 1024 || err != nil {
						b.Errorf("%d bytes, %v", n, err)
					}
					resp.Body.Close()
				}
				cpu := cpuTime()
				b.ResetTimer()
				if parallel == 1 {
					for range b.N {
						call()
					}
				} else {
					b.SetParallelism(parallel / runtime.GOMAXPROCS(0))
					b.RunParallel(func(pb *testing.PB) {
						for pb.Next() {
							call()
						}
					})
				}
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "req/s")
				b.ReportMetric(float64((cpuTime()-cpu).Microseconds())/float64(b.N), "cpu-µs/req")
			})
		}
	}
}

// BenchmarkPublish is a message from one node to all others of a room, delivered.
func BenchmarkPublish(b *testing.B) {
	for _, c := range []struct{ nodes, size int }{{2, 1 << 10}, {5, 1 << 10}, {2, 64 << 10}} {
		b.Run(fmt.Sprintf("%dnodes/%dKiB", c.nodes, c.size>>10), func(b *testing.B) {
			nodes := providers(b, c.nodes, nil)
			var delivered atomic.Int64
			var topics []*overlay.Topic
			for _, o := range nodes {
				topics = append(topics, join(b, o, "room", overlay.TopicHandler{Receive: func(overlay.PeerID, []byte) overlay.Verdict {
					delivered.Add(1)
					return overlay.Accept
				}}))
			}
			sees(b, topics[0], c.nodes-1)
			time.Sleep(1500 * time.Millisecond) // mesh
			delivered.Store(0)
			cpu := cpuTime()
			b.ResetTimer()
			others := int64(c.nodes - 1)
			for i := range b.N {
				for int64(i)*others-delivered.Load() > 16*others { // as many as 16 under way
					runtime.Gosched()
				}
				data := make([]byte, c.size)
				copy(data, fmt.Sprint(i))
				if err := topics[0].Publish(b.Context(), data); err != nil {
					b.Fatal(err)
				}
			}
			for deadline := time.Now().Add(3 * time.Second); delivered.Load() < int64(b.N)*others && time.Now().Before(deadline); {
				time.Sleep(time.Millisecond)
			}
			b.StopTimer()
			b.ReportMetric(100*float64(delivered.Load())/float64(int64(b.N)*others), "delivered-%")
			b.ReportMetric(float64((cpuTime()-cpu).Microseconds())/float64(max(delivered.Load(), 1)), "cpu-µs/delivery")
		})
	}
}

// BenchmarkIdleTopics is what 10,000 joined topics cost a node that sits in all of them
// with one other; both are in this process, and the figures are halved.
func BenchmarkIdleTopics(b *testing.B) {
	const topics, idle = 10_000, 5 * time.Second
	for range b.N {
		nodes := providers(b, 2, nil)
		before, cpu := heap(), cpuTime()
		var last *overlay.Topic
		var box inbox
		for _, o := range nodes {
			for j := range topics {
				last = join(b, o, fmt.Sprintf("%022d", j), box.handler(nil))
			}
		}
		sees(b, last, 1)
		time.Sleep(2 * time.Second)
		b.ReportMetric(float64((cpuTime()-cpu).Milliseconds())/2, "join-cpu-ms")
		b.ReportMetric(float64(heap()-before)/2/(1<<20), "heap-MiB")
		cpu = cpuTime()
		time.Sleep(idle)
		b.ReportMetric(100*(cpuTime()-cpu).Seconds()/2/idle.Seconds(), "idle-cpu-%")
	}
}

func BenchmarkOpenRecord(b *testing.B) {
	env := mustSeal(b, sample())
	for b.Loop() {
		if _, err := overlay.Open(env); err != nil {
			b.Fatal(err)
		}
	}
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
