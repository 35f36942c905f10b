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

func TestAnnounceAndFind(t *testing.T) {
	nodes := providers(t, 10, nil)
	key := [32]byte{1, 2, 3}
	announcers := []int{2, 5, 7}
	for _, i := range announcers {
		if err := nodes[i].Announce(within(t, 10*time.Second), key); err != nil {
			t.Fatal(err)
		}
	}
	for i, o := range nodes {
		var want []overlay.PeerID
		for _, j := range announcers {
			if j != i { // oneself is not found
				want = append(want, nodes[j].Self())
			}
		}
		eventually(t, fmt.Sprint("finding from node ", i), func() error {
			got := slices.Collect(o.Announcers(within(t, 10*time.Second), key, 10))
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				return fmt.Errorf("%s, want %s", got, want)
			}
			return nil
		})
	}
	if got := slices.Collect(nodes[0].Announcers(within(t, 10*time.Second), key, 2)); len(got) != 2 {
		t.Errorf("limit 2: %s", got)
	}
	if overlay.Sweeping(nodes[0]) || !overlay.Sweeping(nodes[2]) {
		t.Errorf("who announces nothing sweeps: %t; who announces does: %t", overlay.Sweeping(nodes[0]), overlay.Sweeping(nodes[2]))
	}
	for p := range nodes[2].Announcers(within(t, 10*time.Second), key, 10) {
		if p == nodes[2].Self() {
			t.Error("found itself")
		}
		break // ends the search
	}
	if got := slices.Collect(nodes[0].Announcers(within(t, 10*time.Second), key, 0)); len(got) != 0 {
		t.Errorf("limit 0: %s", got)
	}
	if got := slices.Collect(nodes[0].Announcers(within(t, 10*time.Second), [32]byte{9}, 10)); len(got) != 0 {
		t.Errorf("a key of nobody: %s", got)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for range nodes[0].Announcers(ctx, key, 10) { // ends
	}
}

// Announcements are repeated until they are withdrawn.
func TestAnnouncementsAreRepeated(t *testing.T) {
	key := [32]byte{4}
	alone := config("alone.example")
	alone.Limits.Announced = 1
	a, _ := start(t, alone)
	if err := a.Announce(within(t, 10*time.Second), key); !errors.Is(err, overlay.ErrNoPeers) {
		t.Errorf("alone: %v", err)
	}
	if err := a.Announce(within(t, 10*time.Second), [32]byte{5}); !errors.Is(err, overlay.ErrFull) {
		t.Errorf("beyond the limit: %v", err)
	}
	c := config("b.example")
	c.Bootstrap = boot(a)
	b, _ := start(t, c)
	eventually(t, "connection", func() error {
		if !a.Connected(b.Self()) {
			return errors.New("no")
		}
		return nil
	})
	eventually(t, "repeated", func() error {
		if n := overlay.StoredAnnouncements(b); n != 1 {
			return fmt.Errorf("%d", n)
		}
		return nil
	})
	a.Withdraw(key)
	if err := a.Announce(within(t, 10*time.Second), [32]byte{5}); err != nil {
		t.Errorf("after Withdraw: %v", err)
	}
	idle, err := overlay.New(config("idle.example"))
	if err != nil {
		t.Fatal(err)
	}
	if err := idle.Announce(t.Context(), key); !errors.Is(err, overlay.ErrNotRunning) {
		t.Errorf("before Run: %v", err)
	}
	idle.Withdraw(key)
}

// What one peer may make a node store is bounded, and the others do not suffer from it.
func TestQuotas(t *testing.T) {
	nodes := providers(t, 3, func(i int, c *overlay.Config) {
		if i == 0 {
			c.Limits.AnnouncementsPerPeer, c.Limits.AnnouncementsPerKey = 3, 1
		}
	})
	for i := range 6 {
		nodes[1].Announce(within(t, 10*time.Second), [32]byte{1, byte(i)})
	}
	eventually(t, "stored", func() error {
		if n := overlay.StoredAnnouncements(nodes[0]); n != 3 {
			return fmt.Errorf("%d", n)
		}
		return nil
	})
	nodes[2].Announce(within(t, 10*time.Second), [32]byte{2})
	eventually(t, "stored for another peer", func() error {
		if n := overlay.StoredAnnouncements(nodes[0]); n != 4 {
			return fmt.Errorf("%d", n)
		}
		return nil
	})
	nodes[2].Announce(within(t, 10*time.Second), [32]byte{3})
	eventually(t, "stored of another key", func() error {
		if n := overlay.StoredAnnouncements(nodes[0]); n != 5 {
			return fmt.Errorf("%d", n)
		}
		return nil
	})
	// Of one key it is bounded, too, whoever announces it: key 1,0 is taken. Last, since what is
	// refused may be said twice, and the second time counts for the peer as well.
	nodes[2].Announce(within(t, 10*time.Second), [32]byte{1})
	if n := overlay.StoredAnnouncements(nodes[0]); n != 5 {
		t.Errorf("%d announcements are stored", n)
	}
	for i := range 2 * 600 {
		ok := overlay.QuotaTakesValue(nodes[0], nodes[1].Self())
		if i == 0 && !ok || i == 1199 && ok {
			t.Errorf("value %d: %t", i, ok)
		}
	}
	if !overlay.QuotaTakesValue(nodes[0], nodes[2].Self()) {
		t.Error("another peer suffers")
	}
}
