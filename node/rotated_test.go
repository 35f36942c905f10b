package node_test

import (
	"testing"
	"time"

	"github.com/mimid/mimid/node"
)

// TestUserUnderNewKey: a provider changes its key, and at once one of its new users,
// whose certificate is by the new key, is added to a room that another provider
// follows. That provider has no reason to look for a new key before it sees the
// certificate, and goes on following.
func TestUserUnderNewKey(t *testing.T) {
	a := prepare(t, "atlanta.example").must()
	b := prepare(t, "biloxi.example", a.status().Addresses[0]).must()
	alice, bob, _ := share(t, a, b)
	rooms, err := alice.Rooms(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := node.Rotate(a.dir); err != nil {
		t.Fatal(err)
	}
	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
	a.must()
	carol := a.user("carol")
	time.Sleep(1500 * time.Millisecond) // gossip is there again, and brings the commit first
	if err := carol.Accept(t.Context(), alice.User()); err != nil {
		t.Fatal(err)
	}
	within(t, "carol can be added", func() bool {
		return alice.AddUser(t.Context(), rooms[0].URI, carol.User()) == nil
	})
	within(t, "all are together", func() bool {
		x, err1 := carol.Verify(t.Context(), rooms[0].URI)
		y, err2 := bob.Verify(t.Context(), rooms[0].URI)
		return err1 == nil && err2 == nil && x == y
	})
}

// TestForeignUserUnderNewKey: the same with a new user of the follower: neither the hub
// nor a client there has a reason to look for a new key before it sees the KeyPackage.
func TestForeignUserUnderNewKey(t *testing.T) {
	a := prepare(t, "atlanta.example").must()
	b := prepare(t, "biloxi.example", a.status().Addresses[0]).must()
	alice, bob, _ := share(t, a, b)
	rooms, err := alice.Rooms(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := node.Rotate(b.dir); err != nil {
		t.Fatal(err)
	}
	if err := b.stop(); err != nil {
		t.Fatal(err)
	}
	b.must()
	carol := b.user("carol")
	if err := carol.Accept(t.Context(), alice.User()); err != nil {
		t.Fatal(err)
	}
	within(t, "carol can be added", func() bool {
		return alice.AddUser(t.Context(), rooms[0].URI, carol.User()) == nil
	})
	within(t, "all are together", func() bool {
		x, err1 := carol.Verify(t.Context(), rooms[0].URI)
		y, err2 := bob.Verify(t.Context(), rooms[0].URI)
		z, err3 := alice.Verify(t.Context(), rooms[0].URI)
		return err1 == nil && err2 == nil && err3 == nil && x == y && y == z
	})
}
