package failover_test

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mimid/mimid/simulations/failover"
)

// command is how one seed is run again.
const command = "MIMID_SIM_SEED=%d go test -count=1 -v -run TestSeeds ./simulations/failover"

// TestSeeds runs 1,000 seeds, 100 with -short, or those from MIMID_SIM_FROM on for
// MIMID_SIM_SEEDS. MIMID_SIM_SEED runs one, and prints all that happens.
func TestSeeds(t *testing.T) {
	if v := os.Getenv("MIMID_SIM_SEED"); v != "" {
		seed, err := strconv.ParseUint(v, 10, 64)
		if err != nil {
			t.Fatalf("reading MIMID_SIM_SEED: %v", err)
		}
		r := failover.Run(seed, func(line string) { fmt.Println(line) })
		if r.Broken != "" {
			t.Errorf("seed %d: %s\n%s\ndigest %016x", seed, r.Broken, r.Plan, r.Digest)
		}
		return
	}
	from, count := number(t, "MIMID_SIM_FROM", 0), number(t, "MIMID_SIM_SEEDS", 1000)
	if testing.Short() {
		count = min(count, 100)
	}
	results := make([]failover.Result, count)
	var next atomic.Int64
	var group sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() {
			for i := next.Add(1) - 1; i < int64(count); i = next.Add(1) - 1 {
				results[i] = failover.Run(uint64(from)+uint64(i), nil)
			}
		})
	}
	group.Wait()
	broken := 0
	for _, r := range results {
		if r.Broken != "" {
			if broken++; broken < 20 {
				t.Errorf("seed %d: %s\n%s\nrun it again: "+command, r.Seed, r.Broken, r.Plan, r.Seed)
			}
		}
	}
	if broken > 0 {
		t.Errorf("%d of %d seeds are broken", broken, count)
	}
	var all failover.Stats
	var recovery []time.Duration
	for _, r := range results {
		all.Kills += r.Kills
		recovery = append(recovery, r.Recovery...)
	}
	slices.Sort(recovery)
	n := len(recovery)
	t.Logf("kills %d, recovery p50 %s p99 %s max %s", all.Kills, recovery[n/2], recovery[n*99/100], recovery[n-1])
}

func number(t *testing.T, name string, otherwise int) int {
	v := os.Getenv(name)
	if v == "" {
		return otherwise
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 0 {
		t.Fatalf("reading %s: %q is no number", name, v)
	}
	return n
}
