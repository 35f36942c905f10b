package rooms_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/mimid/mimid/node/rooms"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/store"
)

// createWithin makes a room that depends on another.
func (d *device) createWithin(name, parent string) (store.RoomID, *clientapi.NewRoom, error) {
	return d.createWith(name, func(ext mls.Extensions) (mls.Extensions, error) {
		roles, err := policy.Dependent(policy.Basic())
		if err == nil {
			ext, err = room.WithRoles(ext, d.who.User, roles)
		}
		if err == nil {
			ext, err = room.WithPolicy(ext, &policy.Base{MultiDevice: true, Persistent: true, Parent: parent})
		}
		return ext, err
	})
}

// TestParentRoom_7: a room that depends on another (room-policy section 7). It begins where that
// one is ordered, by who takes part in it, takes in nobody else, and not all of them. Who
// leaves the parent, or is banned from it, is taken out here by the hub, also if that has
// stopped in between, and by the next member's commit is gone.
func TestParentRoom_7(t *testing.T) {
	w, alice, bob, parent := pair(t, nil)
	hub := w.ps["atlanta.example"]
	carol, anna := w.device("carol@chicago.example", "phone"), w.device("anna@atlanta.example", "phone")
	name := hub.rooms.List()[0].URI
	if err := alice.add(parent, carol, anna); err != nil {
		t.Fatal(err)
	}
	refused := func(what string, err error, why string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v, expected to read %q", what, err, why)
		}
	}
	tablet := func(short string) *device { return w.device(short, "tablet") }
	_, _, err := tablet("bob@biloxi.example").createWithin("elsewhere", name)
	refused("at another hub", err, "atlanta.example orders")
	_, _, err = tablet("alice@atlanta.example").createWithin("nowhere", "mimi://atlanta.example/r/nothing")
	refused("of a room that is not there", err, "is not known here")
	_, _, err = tablet("eve@atlanta.example").createWithin("stranger", name)
	refused("by a stranger", err, "mimi://atlanta.example/u/eve does not take part in "+name)

	a, b, c, dora := tablet("alice@atlanta.example"), tablet("bob@biloxi.example"), tablet("carol@chicago.example"), tablet("dora@atlanta.example")
	child, _, err := a.createWithin("child", name)
	if err != nil {
		t.Fatal(err)
	}
	refused("dora, who is not in the parent", a.add(child, dora), "dora does not take part in "+name)
	if err := a.add(child, b, c); err != nil {
		t.Fatal(err)
	}
	a.follow(child, 2)
	b.follow(child, 2)
	refused("all of the parent", a.add(child, tablet("anna@atlanta.example")), "this room is for fewer")

	// Bob is banned from the parent, and carol leaves it, the one while the hub runs.
	gone := func(u *device) bool {
		got, err := hub.rooms.Room(context.Background(), a.who, child)
		if err != nil {
			t.Fatal(err)
		}
		return !slices.ContainsFunc(got.Participants, func(p clientapi.Participant) bool { return p.User == u.who.User.String() })
	}
	next := func() (n uint64) {
		for _, r := range hub.rooms.List() {
			if strings.Contains(r.URI, "child") {
				n = r.Next
			}
		}
		return n
	}
	alice.follow(parent, 3)
	ban := must(room.UpdateParticipants(alice.group.Public().Context(), []room.Participant{{User: bob.who.User, Role: policy.Banned}}, nil))(t)
	if err := alice.commit(parent, mls.CommitOptions{Proposals: []*mls.Proposal{ban}, Remove: leavesOf(alice, bob.who.User)}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the hub proposes to take bob out", func() bool { return next() == 3 })
	a.follow(child, 3)
	if err := a.commit(child, mls.CommitOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "bob is out", func() bool { return gone(b) })
	a.follow(child, 4)

	alice.follow(parent, 4)
	off := must(room.UpdateParticipants(alice.group.Public().Context(), nil, []uri.User{carol.who.User}))(t)
	hub.rooms.HoldParents()
	if err := alice.commit(parent, mls.CommitOptions{Proposals: []*mls.Proposal{off}, Remove: leavesOf(alice, carol.who.User)}); err != nil {
		t.Fatal(err)
	}
	if next() != 4 {
		t.Fatal("the hub did not wait")
	}
	hub.restart()
	eventually(t, "the hub proposes to take carol out when it starts again", func() bool { return next() == 5 })
	a.follow(child, 5)
	if err := a.commit(child, mls.CommitOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "carol is out", func() bool { return gone(c) })
	if n := next(); n != 6 {
		t.Errorf("%d entries: the hub has proposed more than there was", n)
	}
}

// TestParentRoomAlone_7: the same after a restart, where nobody else has the rooms and nothing
// happens in the one that depends on the other.
func TestParentRoomAlone_7(t *testing.T) {
	w := newWorld(t, "atlanta.example")
	hub := w.ps["atlanta.example"]
	alice, anna, a, n := w.device("alice@atlanta.example", "phone"), w.device("anna@atlanta.example", "phone"), w.device("alice@atlanta.example", "tablet"), w.device("anna@atlanta.example", "tablet")
	parent, _, err := alice.create("room")
	if err == nil {
		err = alice.add(parent, anna, w.device("andy@atlanta.example", "phone"))
	}
	if err != nil {
		t.Fatal(err)
	}
	alice.follow(parent, 2)
	child, _, err := a.createWithin("child", hub.rooms.List()[0].URI)
	if err == nil {
		err = a.add(child, n)
	}
	if err != nil {
		t.Fatal(err)
	}
	hub.rooms.HoldParents()
	off := must(room.UpdateParticipants(alice.group.Public().Context(), nil, []uri.User{anna.who.User}))(t)
	if err := alice.commit(parent, mls.CommitOptions{Proposals: []*mls.Proposal{off}, Remove: leavesOf(alice, anna.who.User)}); err != nil {
		t.Fatal(err)
	}
	hub.restart()
	eventually(t, "the hub proposes to take anna out", func() bool {
		return slices.ContainsFunc(hub.rooms.List(), func(r rooms.Summary) bool { return strings.Contains(r.URI, "child") && r.Next == 3 })
	})
}

// leavesOf returns the leaves of a user in a device's group.
func leavesOf(d *device, u uri.User) []mls.LeafIndex {
	r, err := room.RosterOf(d.group.Public())
	if err != nil {
		panic(err)
	}
	return r.Leaves(u)
}

// TestLookGivenUp: who gives up waiting for a look at a room is not written to afterwards.
func TestLookGivenUp(t *testing.T) {
	w, _, _, id := pair(t, nil)
	p := w.ps["atlanta.example"]
	release, err := p.rooms.Hold(room.ID(id))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	looked := false
	if err := p.rooms.View(ctx, room.ID(id), func(*room.State) { looked = true }); !errors.Is(err, context.Canceled) {
		t.Errorf("a look that was given up: %v", err)
	}
	release()
	later := false
	if err := p.rooms.View(context.Background(), room.ID(id), func(*room.State) { later = true }); err != nil || !later {
		t.Errorf("the room looks on: %v, %v", later, err)
	}
	if looked {
		t.Error("the look came after it was given up")
	}
}
