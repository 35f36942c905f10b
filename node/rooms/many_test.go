package rooms_test

import (
	"fmt"
	"testing"
)

// TestManyWelcomes: many users of one provider who are added by one commit all get their
// Welcomes, at the hub and at a follower, though all these Welcomes and trees together are
// far more than one transaction of the store holds.
func TestManyWelcomes(t *testing.T) {
	w := newWorld(t, "atlanta.example", "biloxi.example")
	alice := w.device("alice@atlanta.example", "phone")
	id, _, err := alice.create("room")
	if err != nil {
		t.Fatal(err)
	}
	for _, domain := range []string{"atlanta.example", "biloxi.example"} {
		var some []*device
		for i := range 30 {
			some = append(some, w.device(fmt.Sprintf("user%d@%s", i, domain), "phone"))
		}
		if err := alice.add(id, some...); err != nil {
			t.Fatalf("%s: %v", domain, err)
		}
		alice.follow(id, alice.at+1)
		for _, d := range some {
			d.follow(id, alice.at)
			if d.group.Epoch() != alice.group.Epoch() {
				t.Errorf("%s is in epoch %d", d.who.User, d.group.Epoch())
			}
		}
	}
}
