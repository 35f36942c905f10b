package overlay_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/mimid/mimid/overlay"
)

// TestRefresh: Resolve is content with a record that was fresh a moment ago; Refresh
// finds the key that its provider has changed to since, and never asks the network
// about the own one.
func TestRefresh(t *testing.T) {
	a, _ := start(t, config("a.example"))
	old := config("b.example")
	old.Bootstrap = boot(a)
	_, stop := start(t, old)
	if r := resolves(t, a, "b.example"); !r.ProviderKey.Equal(pub(old.ProviderKey)) {
		t.Fatalf("key %x", r.ProviderKey)
	}
	stop()

	rotated := config("b.example")
	rotated.Bootstrap, rotated.ProviderKey = boot(a), key("the next one")
	rot, err := overlay.SignRotation("b.example", old.ProviderKey, pub(rotated.ProviderKey))
	if err != nil {
		t.Fatal(err)
	}
	rotated.Rotations = []overlay.Rotation{rot}
	start(t, rotated)
	if r := resolves(t, a, "b.example"); !r.ProviderKey.Equal(pub(old.ProviderKey)) {
		t.Fatalf("Resolve has looked again, and this test shows nothing: key %x", r.ProviderKey)
	}
	eventually(t, "refreshing", func() error {
		r, err := a.Refresh(within(t, 10*time.Second), "b.example")
		if err == nil && !r.ProviderKey.Equal(pub(rotated.ProviderKey)) {
			err = errors.New("still the old key")
		}
		return err
	})

	if r, err := a.Refresh(t.Context(), "A.example"); err != nil || r.Domain != "a.example" {
		t.Errorf("the own record: %v, %v", r, err)
	}
	if _, err := a.Refresh(t.Context(), "a b"); !errors.Is(err, overlay.ErrName) {
		t.Errorf("a bad name: %v", err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := a.Refresh(gone, "nowhere.example"); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that has ended: %v", err)
	}
	idle, err := overlay.New(config("c.example"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := idle.Refresh(t.Context(), "b.example"); !errors.Is(err, overlay.ErrNotRunning) {
		t.Errorf("before Run: %v", err)
	}
}

// TestRefreshTellsSize: libp2p's refresh of the routing table looks for random places, in the form that is expected
// (see sizes), and the network's size is estimated there.
func TestRefreshTellsSize(t *testing.T) {
	a, _ := start(t, config("a.example"))
	for _, name := range []string{"b.example", "c.example"} {
		c := config(name)
		c.Bootstrap = boot(a)
		start(t, c)
	}
	tries := 0
	eventually(t, "a refresh", func() error {
		if tries++; tries%100 == 1 {
			overlay.ForceRefresh(a)
		}
		sizes := overlay.Sizes(a)
		if len(sizes) == 0 {
			return errors.New("nothing is known of the network's size")
		}
		if sizes[0] < 1 {
			t.Fatalf("estimates: %g", sizes)
		}
		return nil
	})
}
