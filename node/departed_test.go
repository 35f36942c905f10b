package node_test

import (
	"slices"
	"testing"

	"github.com/mimid/mimid/client"
)

// TestReplicaDeparts: the last user of a replica is removed. The same commit takes the
// provider out of the set, so that no room stands with a replica nobody of which takes part.
func TestReplicaDeparts(t *testing.T) {
	ctx := t.Context()
	a := prepare(t, "atlanta.example").must()
	boot := a.status().Addresses[0]
	b := prepare(t, "biloxi.example", boot).must()
	c := prepare(t, "chicago.example", boot).must()
	alice, bob, carol := a.user("alice"), b.user("bob"), c.user("carol")
	room, err := alice.CreateRoom(ctx, "room")
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []*client.Client{bob, carol} {
		if err := x.Accept(ctx, alice.User()); err != nil {
			t.Fatal(err)
		}
	}
	within(t, "both can be added", func() bool {
		return alice.AddUser(ctx, room, bob.User()) == nil && alice.AddUser(ctx, room, carol.User()) == nil
	})
	within(t, "three decide", func() bool {
		x, err := a.operator().Room(ctx, room.String())
		if err != nil || len(x.Replicas) != 3 || len(x.NextReplicas) > 0 {
			return false
		}
		s, err := alice.Verify(ctx, room) // and alice's device knows that it is settled
		return err == nil && s.Next == x.Next && s.Replicas == 3
	})
	if err := alice.RemoveUser(ctx, room, carol.User()); err != nil {
		t.Fatal(err)
	}
	// At once: no administrator's device has had the time for a commit of its own.
	x, err := a.operator().Room(ctx, room.String())
	if err != nil {
		t.Fatal(err)
	}
	if alone := []string{"atlanta.example"}; !slices.Equal(x.Replicas, alone) && !slices.Equal(x.NextReplicas, alone) {
		t.Errorf("after the removal %v decide, and %v will", x.Replicas, x.NextReplicas)
	}
	within(t, "atlanta decides alone", func() bool {
		x, err := a.operator().Room(ctx, room.String())
		return err == nil && slices.Equal(x.Replicas, []string{"atlanta.example"}) && len(x.NextReplicas) == 0
	})
	after, err := a.operator().Room(ctx, room.String())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := alice.Send(ctx, room, "among us"); err != nil {
		t.Fatal(err)
	}
	within(t, "bob reads it", func() bool {
		list, err := bob.Messages(room, 0, 10)
		return err == nil && len(list) == 1
	})
	x, err = c.operator().Room(ctx, room.String())
	if err != nil || x.Next > after.Next {
		t.Errorf("chicago has %d entries, its part ended with %d: %v", x.Next, after.Next, err)
	}
}
