package node_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/mimid/mimid/client"
)

// TestMoveByWish: three whole nodes decide about a room, all well; an administrator has
// her own provider order it, by an election that her wish begins. A member cannot.
func TestMoveByWish(t *testing.T) {
	ctx := t.Context()
	a := prepare(t, "atlanta.example").must()
	boot := a.status().Addresses[0]
	b, c := prepare(t, "biloxi.example", boot).must(), prepare(t, "chicago.example", boot).must()
	alice, bob, carol := a.user("alice"), b.user("bob"), c.user("carol")
	people := []*client.Client{alice, bob, carol}
	room, err := alice.CreateRoom(ctx, "room")
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range people[1:] {
		if err := x.Accept(ctx, alice.User()); err != nil {
			t.Fatal(err)
		}
		within(t, "somebody can be added", func() bool { return alice.AddUser(ctx, room, x.User()) == nil })
	}
	for _, x := range people {
		within(t, "three providers decide", func() bool { v, err := x.Verify(ctx, room); return err == nil && v.Replicas == 3 })
	}
	if err := carol.MoveRoom(ctx, room); err == nil {
		t.Error("a member moves the room")
	}
	if err := alice.SetRole(ctx, room, bob.User(), "admin"); err != nil {
		t.Fatal(err)
	}
	if _, err := alice.Send(ctx, room, "before"); err != nil {
		t.Fatal(err)
	}
	limited, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	within(t, "bob's device knows that he is an administrator", func() bool {
		err = bob.MoveRoom(limited, room)
		return err == nil || !strings.Contains(err.Error(), "only an administrator")
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := carol.Send(ctx, room, "after"); err != nil {
		t.Fatal(err)
	}
	for _, x := range people {
		within(t, x.User().String()+" goes on at the new hub", func() bool {
			v, err := x.Verify(ctx, room)
			list, err2 := x.Messages(room, 0, 100)
			return err == nil && err2 == nil && v.Hub == "biloxi.example" && strings.HasPrefix(v.Term, "0.") && len(list) == 2 && list[1].State == client.StateFinal
		})
	}
	for _, r := range []*running{a, b, c} {
		if err := r.stop(); err != nil {
			t.Error(err)
		}
		r.whole()
	}
}
