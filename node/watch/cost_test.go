package watch_test

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mimid/mimid/node/watch"
)

// The numbers in the package doc.
func TestCostOf300Providers(t *testing.T) {
	for _, c := range []struct {
		rate       watch.Rate
		low, high  float64 // pings per second and provider
		mostAtOnce int     // pings in the fullest tenth of a second
	}{
		{watch.Busy, 2.5, 3.125, 150}, // 83 on average
		{watch.Idle, 0.2, 0.25, 24},   // 6.7 on average
	} {
		t.Run(c.rate.String(), func(t *testing.T) {
			run(t, many(300, c.rate), nil, func(n *world) {
				n.wait(10 * time.Second)
				before := n.Stats().Pings
				n.wait(100 * time.Second)
				each := float64(n.Stats().Pings-before) / 100 / 300
				t.Logf("%.3f pings per second and %v provider", each, c.rate)
				if each < c.low || each > c.high {
					t.Errorf("%.3f pings per second and provider, want %v to %v", each, c.low, c.high)
				}
				n.want("all live")
				var times []time.Duration
				n.with(func() { times = slices.Clone(n.times) })
				most, from := 0, 0
				for i, at := range times {
					for at-times[from] >= 100*time.Millisecond {
						from++
					}
					most = max(most, i-from+1)
				}
				t.Logf("%d pings in the fullest tenth of a second", most)
				if most > c.mostAtOnce {
					t.Errorf("%d pings in a tenth of a second, want at most %d", most, c.mostAtOnce)
				}
			})
		})
	}
}

// A ping tells its target that the sender lives, so of two that watch each other
// one pings.
func TestTwoThatWatchEachOtherPingOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seeded := rand.New(rand.NewPCG(1, 2))
		var mu sync.Mutex
		open := func(other string, ping func()) *watch.Watch {
			w, err := watch.Open(watch.Config{
				Ping:    func(context.Context, string) error { ping(); return nil },
				Targets: func() map[string]watch.Rate { return map[string]watch.Rate{other: watch.Busy} },
				Jitter:  func() float64 { mu.Lock(); defer mu.Unlock(); return seeded.Float64() },
			})
			if err != nil {
				t.Fatal(err)
			}
			return w
		}
		var a, b *watch.Watch
		a = open(biloxi, func() { b.Heard(chicago) })
		b = open(chicago, func() { a.Heard(biloxi) })
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Second)
		defer cancel()
		var both sync.WaitGroup
		for _, w := range []*watch.Watch{a, b} {
			both.Go(func() {
				if err := w.Run(ctx); err != nil {
					t.Error(err)
				}
			})
		}
		both.Wait()
		pings := a.Stats().Pings + b.Stats().Pings
		t.Logf("%d and %d pings in 100 seconds", a.Stats().Pings, b.Stats().Pings)
		if pings < 250 || pings > 315 {
			t.Errorf("%d pings of both in 100 seconds, want 250 to 313", pings)
		}
		if d := a.Stats().Deaths + b.Stats().Deaths; d != 0 {
			t.Errorf("%d deaths", d)
		}
	})
}

// BenchmarkPing tells what a ping costs without its network, with 300 providers
// watched: timers, goroutine, and its share of the looks at all targets.
func BenchmarkPing(b *testing.B) {
	targets := many(300, watch.Busy)
	var left atomic.Int64
	left.Store(int64(b.N))
	ended := make(chan struct{})
	var once sync.Once
	w, err := watch.Open(watch.Config{
		Ping: func(context.Context, string) error {
			if left.Add(-1) <= 0 {
				once.Do(func() { close(ended) })
			}
			return nil
		},
		Targets:  func() map[string]watch.Rate { return targets },
		Interval: time.Millisecond,
	})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	b.ReportAllocs()
	done := make(chan error)
	go func() { done <- w.Run(ctx) }()
	<-ended
	cancel()
	<-done
}

func BenchmarkHeard(b *testing.B) {
	w, err := watch.Open(watch.Config{
		Ping:    func(context.Context, string) error { return nil },
		Targets: func() map[string]watch.Rate { return many(300, watch.Busy) },
	})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- w.Run(ctx) }()
	for w.Stats().Targets == 0 {
		time.Sleep(time.Millisecond)
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			w.Heard("p007.example")
		}
	})
	cancel()
	<-done
}
