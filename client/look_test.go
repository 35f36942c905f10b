package client_test

import (
	"fmt"
	"testing"
)

// TestIdleRooms: what happens in one room costs nothing in the others that a device is in.
func TestIdleRooms(t *testing.T) {
	const idle, said = 40, 20
	f := newFake(t)
	alice, bob := f.person("alice", "atlanta.example"), f.person("bob", "biloxi.example")
	u := alice.create("busy")
	alice.add(u, bob)
	created := alice.c.Looked()
	for i := range idle {
		alice.create(fmt.Sprintf("idle %d", i))
	}
	if err := alice.c.Settle(ctx10(t)); err != nil {
		t.Fatal(err)
	}
	before := alice.c.Looked()
	// An event or a command each: created, answered, its entry, what is due by its time.
	if n := before - created; n > 12*idle {
		t.Errorf("%d looks for %d rooms that were created", n, idle)
	}
	for i := range said {
		alice.send(u, fmt.Sprintf("m%d", i))
		bob.hears(u, fmt.Sprintf("alice: m%d", i))
	}
	if n := alice.c.Looked() - before; n > 8*said+2*idle {
		t.Errorf("%d looks for %d messages with %d other rooms", n, said, idle)
	} else {
		t.Logf("%d looks for %d messages, %d for %d rooms", n, said, before-created, idle)
	}
}
