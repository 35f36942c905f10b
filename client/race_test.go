package client_test

import (
	"fmt"
	"testing"

	"github.com/mimid/mimid/client"
)

// TestRaceOfChanges: two administrators change the room at once, again and again. Each change
// is in the log once; whoever lost a race makes its change anew by itself, and nobody tries
// for ever.
func TestRaceOfChanges(t *testing.T) {
	f, alice, bob, carol, u := three(t)
	if err := alice.c.SetRole(ctx10(t), u, bob.user(), "admin"); err != nil {
		t.Fatal(err)
	}
	agree(u, alice, bob, carol)
	before, err := alice.c.Verify(ctx10(t), u)
	if err != nil {
		t.Fatal(err)
	}
	f.mu.Lock()
	calls := f.calls["POST /v1/rooms/{room}/updates"]
	f.mu.Unlock()
	const each = 4
	done := make(chan error, 2*each)
	for i := range each {
		go func() {
			text := fmt.Sprintf("alice's topic %d", i)
			done <- alice.c.Describe(ctx10(t), u, client.Describing{Topic: &text})
		}()
		go func() {
			text := fmt.Sprintf("bob's mood %d", i)
			done <- bob.c.Describe(ctx10(t), u, client.Describing{Mood: &text})
		}()
	}
	for range 2 * each {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	agree(u, alice, bob, carol)
	after, err := alice.c.Verify(ctx10(t), u)
	if err != nil {
		t.Fatal(err)
	}
	f.mu.Lock()
	calls = f.calls["POST /v1/rooms/{room}/updates"] - calls
	f.mu.Unlock()
	if n := after.Epoch - before.Epoch; n != 2*each {
		t.Errorf("%d commits for %d changes", n, 2*each)
	}
	// Of two that race one wins each time, so a change loses to at most all others' changes.
	if calls < 2*each || calls > 2*each*(each+1) {
		t.Errorf("%d submissions for %d changes", calls, 2*each)
	}
	m, err := carol.c.Metadata(ctx10(t), u)
	if err != nil || m.Subject == "" || m.Mood == "" {
		t.Errorf("%+v, %v", m, err)
	}
}
