package rooms_test

import (
	"fmt"
	"testing"
)

// TestRoomTooLargeForOwnWelcomes: where the tree is too large for what one transaction of the
// store holds, the commit is taken all the same; who is added has no Welcome, at the hub's
// provider as at others (TestRoomTooLargeForNotices), and comes in by an external commit.
func TestRoomTooLargeForOwnWelcomes(t *testing.T) {
	w := newWorld(t, "atlanta.example") // whose store holds 157 KB in a transaction
	alice := w.device("alice@atlanta.example", "phone")
	id, _, err := alice.create("room")
	if err != nil {
		t.Fatal(err)
	}
	var first, last *device
	for n := range uint64(5) {
		var some []*device
		for i := range 30 {
			some = append(some, w.device(fmt.Sprintf("user%d-%d@atlanta.example", n, i), "phone"))
		}
		if err := alice.add(id, some...); err != nil {
			t.Fatalf("after %d: %v", 30*n, err)
		}
		alice.follow(id, n+2)
		if first == nil {
			first = some[0]
		}
		last = some[29]
	}
	if got := first.welcomes(); got != 1 {
		t.Errorf("the first have %d Welcomes", got)
	}
	if got := last.welcomes(); got != 0 {
		t.Errorf("the last have %d Welcomes: all fits, and this shows nothing", got)
	}
	if err := alice.add(id, w.device("another@atlanta.example", "phone")); err != nil {
		t.Error(err)
	}
}
