package failover_test

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/mimid/mimid/simulations/failover"
)

// command is how one seed is run again.
const command = "MIMID_SIM_SEED=%d go test -count=1 -v -run TestSeeds ./simulations/failover"

// TestSeeds runs 1,000 seeds, 40 with -short, or MIMID_SIM_SEEDS of them from
// MIMID_SIM_FROM on. MIMID_SIM_SEED runs one, and prints all that happens in it.
func TestSeeds(t *testing.T) {
	if os.Getenv("MIMID_SIM_SEED") != "" {
		seed := number(t, "MIMID_SIM_SEED", 0)
		r := failover.Run(seed, func(line string) { fmt.Println(line) })
		t.Logf("seed %d, digest %016x: %s", seed, r.Digest, r.Plan)
		if r.Broken != "" {
			t.Error(r.Broken)
		}
		return
	}
	count := uint64(1000)
	if testing.Short() {
		count = 40
	}
	count = number(t, "MIMID_SIM_SEEDS", count)
	var sum failover.Summary
	for _, r := range runAll(number(t, "MIMID_SIM_FROM", 0), count) {
		if sum.Add(r); r.Broken != "" && sum.Broken <= 20 {
			t.Errorf("seed %d: %s\n%s\nrun it again: "+command, r.Seed, r.Broken, r.Plan, r.Seed)
		}
	}
	t.Logf("\n%s", &sum)
	for name, n := range map[string]int{"kills": sum.Kills, "partitions": sum.Partitions, "lies": sum.Lies, "restored backups": sum.Restores,
		"hand overs": sum.HandOvers, "moves": sum.Moves, "commits met by a crash": sum.Torn, "failed commits": sum.DiskFailed,
		"entries set aside": sum.Aside, "convictions": sum.Convicted, "stalled hubs": sum.Stalls} {
		if n == 0 && count >= 100 {
			t.Errorf("no %s: the seeds show nothing of them", name)
		}
	}
}

// runAll runs seeds on all cores. Each run is wholly its own.
func runAll(from, count uint64) []failover.Result {
	results := make([]failover.Result, count)
	var next atomic.Uint64
	var group sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() {
			for i := next.Add(1) - 1; i < count; i = next.Add(1) - 1 {
				results[i] = failover.Run(from+i, nil)
			}
		})
	}
	group.Wait()
	return results
}

// number reads a number from the environment.
func number(t *testing.T, name string, otherwise uint64) uint64 {
	v := os.Getenv(name)
	if v == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(v, 10, 64)
	if err != nil {
		t.Fatalf("reading %s: %v", name, err)
	}
	return n
}

// TestReplay: a seed does the same again, alone or beside others, watched or not.
func TestReplay(t *testing.T) {
	const count = 12
	all := runAll(0, count)
	for seed := range uint64(count) {
		lines := 0
		r := failover.Run(seed, func(string) { lines++ })
		if r.Digest != all[seed].Digest || r.Events != all[seed].Events {
			t.Errorf("seed %d: digest %016x after %d events, and %016x after %d", seed, r.Digest, r.Events, all[seed].Digest, all[seed].Events)
		}
		if seed > 0 && r.Digest == all[seed-1].Digest {
			t.Errorf("seeds %d and %d do the same", seed-1, seed)
		}
		if lines < 1000 {
			t.Errorf("seed %d: only %d lines are told", seed, lines)
		}
	}
}
