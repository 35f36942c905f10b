//go:build unix

package evaluate_test

import (
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"syscall"
	"testing"
	"time"

	"github.com/mimid/mimid/node/evaluate"
	"github.com/mimid/mimid/node/peering"
	"github.com/mimid/mimid/node/ration"
)

// BenchmarkEvaluatorsCPU is what a lookup costs three evaluators together, user and system time of
// the process, so that other load does not matter: each verifies the asking provider's signed
// envelope, counts, evaluates, proves, and answers. The requests are made before. Not in it are wires
// and TLS, and resolving who asks, which is kept from the first time on.
func BenchmarkEvaluatorsCPU(b *testing.B) {
	for _, n := range []int{1, 8} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			free := ration.Config{PerSecond: 1e9, Burst: 1e9}
			w := newWorld(b, evaluate.Limits{Providers: free})
			var inputs [][]byte
			for i := range n {
				inputs = append(inputs, fmt.Append(nil, "handle:user", i))
			}
			set := w.set.ID()
			kept := &keeper{}
			caller := &peering.Caller{Domain: outsider, Key: w.ps[outsider].caller.Key, Client: &http.Client{Transport: kept}, Now: w.clock}
			for range b.N {
				body := must(w.set.Blind(inputs...))(b).Request().Bytes()
				for _, d := range domains()[:3] {
					_, _ = caller.Call(b.Context(), peering.Request{Target: d, Endpoint: evaluate.Endpoint, Subject: hex.EncodeToString(set[:]), Body: body})
				}
			}
			if len(kept.requests) != 3*b.N {
				b.Fatalf("%d requests for %d lookups", len(kept.requests), b.N)
			}
			cpu := cpuTime()
			b.ResetTimer()
			for _, r := range kept.requests {
				rec := httptest.NewRecorder()
				w.ps[r.URL.Host].server.ServeHTTP(rec, r)
				if rec.Code != http.StatusOK {
					b.Fatalf("%s answers %d: %s", r.URL.Host, rec.Code, rec.Body)
				}
			}
			b.ReportMetric(float64((cpuTime()-cpu).Microseconds())/float64(b.N)/1000, "cpu-ms/lookup")
		})
	}
}

// keeper keeps requests in the place of sending them.
type keeper struct{ requests []*http.Request }

func (k *keeper) RoundTrip(r *http.Request) (*http.Response, error) {
	k.requests = append(k.requests, r.Clone(r.Context()))
	return httptest.NewRecorder().Result(), nil
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
