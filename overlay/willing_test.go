package overlay_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/mimid/mimid/overlay"
)

// TestWilling: of those that announce it, only providers are found that say so in their
// record, of which the node is one, and that answer.
func TestWilling(t *testing.T) {
	const seeker, liar, impostor, silent = 0, 4, 5, 6
	nodes := providers(t, 8, func(i int, c *overlay.Config) {
		c.ReplicaWilling = i == 2 || i == 3 || i == impostor || i == silent || i == 7
	})
	domains := map[overlay.PeerID]string{}
	for i, o := range nodes {
		domains[o.Self()] = fmt.Sprintf("p%d.example", i)
	}
	// It announces it and its record does not say so: a node can announce anything.
	if err := nodes[liar].Announce(within(t, 10*time.Second), overlay.WillingKey()); err != nil {
		t.Fatal(err)
	}
	domains[nodes[impostor].Self()] = "p6.example" // whose node it is not
	name := func(_ context.Context, p overlay.PeerID) (string, error) {
		if p == nodes[silent].Self() {
			return "", errors.New("no answer")
		}
		return domains[p], nil
	}
	find := func(o *overlay.Overlay, limit int) (out []string) {
		for _, r := range o.Willing(within(t, 20*time.Second), limit, name) {
			out = append(out, r.Domain)
		}
		return out
	}
	want := []string{"p2.example", "p3.example", "p7.example"}
	eventually(t, "finding who is willing", func() error {
		if got := find(nodes[seeker], 20); !slices.Equal(got, want) {
			return fmt.Errorf("%s", got)
		}
		return nil
	})
	for range 3 { // the liar, the impostor and the silent one have announced it for long
		if got := find(nodes[seeker], 20); !slices.Equal(got, want) {
			t.Fatalf("%s", got)
		}
	}
	if got := find(nodes[2], 20); !slices.Equal(got, want[1:]) {
		t.Errorf("one that is willing itself finds %s", got)
	}
	if got := find(nodes[seeker], 1); len(got) > 1 {
		t.Errorf("limit 1: %s", got)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if got := nodes[seeker].Willing(ctx, 20, name); len(got) != 0 {
		t.Errorf("after the end: %v", got)
	}
}
