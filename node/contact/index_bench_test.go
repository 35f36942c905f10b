package contact

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/mimid/mimid/protocol/discovery"
)

// BenchmarkIndex is the memory of what a provider keeps at hand of 100,000 claims: the secrets by
// identifier and by three days' keys, the keys of two days that it wants announced, and those that it has
// handed on. The claims themselves lie in the store; the overlay's part is BenchmarkAnnounceAlone of that
// package.
func BenchmarkIndex(b *testing.B) {
	const claims = 100_000
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	all := make([]secretOf, claims)
	for i := range all {
		sii, err := discovery.ParseSII(fmt.Sprintf("tel:+1650%07d", i))
		if err != nil {
			b.Fatal(err)
		}
		var secret [32]byte
		binary.BigEndian.PutUint64(secret[:], uint64(i)+1)
		all[i].sii = sii
		if all[i].secret, err = discovery.ParseSecret(secret[:]); err != nil {
			b.Fatal(err)
		}
	}
	inUse := func() float64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc) / (1 << 20)
	}
	for b.Loop() {
		before := inUse()
		x, announced := newIndex(), map[dayKey]bool{}
		x.replace(all, now)
		more, _ := x.difference(announced)
		for _, k := range more {
			announced[k] = true
		}
		if len(announced) != 2*claims {
			b.Fatalf("%d keys of %d claims", len(announced), claims)
		}
		more = nil
		b.ReportMetric(inUse()-before, "MiB")
		runtime.KeepAlive(x)
		runtime.KeepAlive(announced)
	}
}
