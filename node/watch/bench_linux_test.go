package watch_test

import (
	"context"
	"crypto/ed25519"
	"net"
	"net/http"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/mimid/mimid/node/peering"
	"github.com/mimid/mimid/node/ration"
	"github.com/mimid/mimid/node/watch"
)

// counted counts the octets that pass a connection.
type counted struct {
	net.Conn
	octets *atomic.Int64
}

func (c counted) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.octets.Add(int64(n))
	return n, err
}

func (c counted) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.octets.Add(int64(n))
	return n, err
}

type known ed25519.PublicKey

func (k known) Resolve(context.Context, string) (*peering.Provider, error) {
	return &peering.Provider{Key: ed25519.PublicKey(k)}, nil
}

// BenchmarkSignedPing tells what a ping costs as a signed request of the kind
// that providers make (node/peering), without the channel below HTTP: octets
// both ways, and processor time of both ends together.
func BenchmarkSignedPing(b *testing.B) {
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	s, err := peering.NewServer(peering.Config{
		Domain: biloxi, Directory: known(key.Public().(ed25519.PublicKey)),
		Limits: peering.Limits{Requests: ration.Config{PerSecond: 1e9, Burst: 1e9}},
		Routes: []peering.Route{{Endpoint: "alive", Idempotent: true,
			Handler: func(context.Context, *peering.Incoming) (*peering.Response, error) { return nil, nil }}},
	})
	if err != nil {
		b.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	srv := &http.Server{Handler: s}
	go srv.Serve(l)
	var octets atomic.Int64
	var d net.Dialer
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		c, err := d.DialContext(ctx, network, l.Addr().String())
		return counted{c, &octets}, err
	}}}
	b.Cleanup(func() { client.CloseIdleConnections(); srv.Close() })
	c := &peering.Caller{Domain: chicago, Key: func() ed25519.PrivateKey { return key }, Client: client}
	b.ReportAllocs()
	before, n := processor(), 0
	for b.Loop() {
		if _, err := c.Call(b.Context(), peering.Request{Target: biloxi, Endpoint: "alive", Subject: biloxi}); err != nil {
			b.Fatal(err)
		}
		n++
	}
	b.ReportMetric(float64(octets.Load())/float64(n), "octets/op")
	b.ReportMetric(float64((processor()-before).Microseconds())/float64(n), "cpu-us/op")
}

// processor returns the processor time of this process.
func processor() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkSecond tells what a second of watching 300 providers costs, without
// the pings themselves. Run it with -benchtime=10x.
func BenchmarkSecond(b *testing.B) {
	for _, rate := range []watch.Rate{watch.Busy, watch.Idle} {
		b.Run(rate.String(), func(b *testing.B) {
			targets := many(300, rate)
			w, err := watch.Open(watch.Config{
				Ping:    func(context.Context, string) error { return nil },
				Targets: func() map[string]watch.Rate { return targets },
			})
			if err != nil {
				b.Fatal(err)
			}
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan error)
			go func() { done <- w.Run(ctx) }()
			time.Sleep(time.Second)
			b.ResetTimer()
			before, pings := processor(), w.Stats().Pings
			time.Sleep(time.Duration(b.N) * time.Second)
			b.ReportMetric(float64((processor()-before).Microseconds())/float64(b.N), "cpu-us/op")
			b.ReportMetric(float64(w.Stats().Pings-pings)/float64(b.N), "pings/op")
			cancel()
			<-done
		})
	}
}
