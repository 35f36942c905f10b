//go:build linux

package node_test

import (
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mimid/mimid/client"
)

// stopwatch times what a client asks its provider to discover.
type stopwatch struct {
	base http.RoundTripper
	last atomic.Int64 // nanoseconds until the response began
}

func (s *stopwatch) RoundTrip(r *http.Request) (*http.Response, error) {
	began := time.Now()
	res, err := s.base.RoundTrip(r)
	if r.URL.Path == "/v1/discover" {
		s.last.Store(time.Since(began).Nanoseconds())
	}
	return res, err
}

// BenchmarkDiscovery: 30 providers with a user each, who look one another up by
// handle; one lookup at a time. What is timed is the request of a client to its
// provider. Cold: the provider derives the identifier's secret, and looks up the
// record of a provider that it has not met. Warm: it has done both before.
func BenchmarkDiscovery(b *testing.B) {
	if testing.Short() {
		b.Skip("takes minutes")
	}
	const providers, again = 30, 15 // a user may search 50 times
	for range b.N {
		var nodes []*running
		var users []*client.Client
		var watches []*stopwatch
		for i := range providers {
			r := prepare(b, fmt.Sprintf("p%02d.example", i))
			r.cfg.Store.Small = true
			if i > 0 {
				r.cfg.Overlay.Bootstrap = nodes[0].status().Addresses[:1]
			}
			r.configure()
			nodes = append(nodes, r.must())
			w := &stopwatch{base: http.DefaultTransport}
			watches = append(watches, w)
			users = append(users, r.userBy("alice", &http.Client{Transport: w}))
			if err := users[i].Publish(b.Context(), handleOf(i)); err != nil {
				b.Fatal(err)
			}
		}
		find := func(from, to int) (time.Duration, error) {
			found, err := users[from].Discover(b.Context(), handleOf(to))
			if err == nil && len(found.Found) != 1 {
				err = fmt.Errorf("p%02d looks up %s: %+v", from, handleOf(to), found)
			}
			return time.Duration(watches[from].last.Load()), err
		}
		// The first provider finds out when all is announced, and is not measured.
		time.Sleep(3 * time.Second)
		for to := 1; to < providers; to++ {
			if _, err := find(0, to); err != nil {
				b.Fatal(err)
			}
		}
		before := make([]int, providers)
		for i, r := range nodes {
			before[i] = metric(b, &r.cfg, "record_lookups_total")
		}
		b.ResetTimer()
		var cold, warm []time.Duration
		// Whoever is asked learns who asks: so only lookups in one direction are cold.
		for from := 1; from < providers; from++ {
			for to := from + 1; to < providers; to++ {
				took, err := find(from, to)
				if err != nil {
					b.Error(err)
				}
				cold = append(cold, took)
			}
			if n := metric(b, &nodes[from].cfg, "record_lookups_total") - before[from]; n != providers-2 {
				b.Errorf("p%02d has looked up %d records", from, n)
			}
		}
		for from := 1; from < providers; from++ {
			for to := from + 1; to < min(providers, from+1+again); to++ {
				took, err := find(from, to)
				if err != nil {
					b.Error(err)
				}
				warm = append(warm, took)
			}
		}
		for name, list := range map[string][]time.Duration{"cold": cold, "warm": warm} {
			slices.Sort(list)
			for _, p := range []int{50, 95, 100} {
				b.ReportMetric(float64(list[(len(list)-1)*p/100].Microseconds())/1000, fmt.Sprintf("%s-p%d-ms", name, p))
			}
		}
	}
}

func handleOf(i int) string { return fmt.Sprintf("handle:alice%02d", i) }
