package store_test

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
)

// TestKill kills a process that appends, again and again on the same store: what it
// has acknowledged must be there, and every function whole or not at all.
func TestKill(t *testing.T) {
	const seed = 1
	runs := 10
	if testing.Short() {
		runs = 3
	}
	rnd := rand.New(rand.NewPCG(seed, 0))
	dir := filepath.Join(t.TempDir(), "store")
	var acked [historyRooms]uint64
	for i := range runs {
		cmd := child("append", dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// Some are killed in the middle of opening, some after much has been flushed.
		after := rnd.IntN(3) * rnd.IntN(700)
		lines := bufio.NewScanner(out)
		count := 0
		if after == 0 {
			cmd.Process.Kill()
		}
		for lines.Scan() {
			var n int
			var seq uint64
			if k, _ := fmt.Sscanf(lines.Text(), "%d %d", &n, &seq); k != 2 {
				t.Fatalf("run %d: child says %q", i, lines.Text())
			}
			acked[n] = max(acked[n], seq)
			if count++; count == after {
				cmd.Process.Kill()
			}
		}
		cmd.Wait()

		s, err := run(small(dir))
		if err != nil {
			t.Fatalf("run %d: opening after a kill: %v", i, err)
		}
		heads, err := checkHistory(s.Store)
		if err != nil {
			t.Fatalf("run %d: %v", i, err)
		}
		for n := range heads {
			if heads[n] < acked[n] {
				t.Errorf("run %d, room %d: %d acknowledged, %d there", i, n, acked[n], heads[n])
			}
			acked[n] = heads[n] // now read, so it must stay
		}
		t.Logf("run %d: killed after %d acknowledgements, heads %d", i, count, heads)
		if err := s.shut(); err != nil {
			t.Fatalf("run %d: %v", i, err)
		}
	}
}
