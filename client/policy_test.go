package client_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/mimid/mimid/client"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/room"
)

func refusedBecause(t *testing.T, what string, err error, why string) {
	t.Helper()
	if !errors.Is(err, client.ErrRefused) || !strings.Contains(err.Error(), why) {
		t.Errorf("%s: %v, expected to read %q", what, err, why)
	}
}

// TestPolicy: an administrator sets a room's policy, members see it, and the devices refuse
// what it forbids before anything is sent.
func TestPolicy(t *testing.T) {
	f, alice, bob, _, u := three(t)
	if p, err := bob.c.Policies(ctx10(t), u); err != nil || !p.Base.MultiDevice || p.Base.MaxUsers.Set || p.Status != nil {
		t.Fatalf("at first %+v, %v", p, err)
	}
	refusedBecause(t, "a member", bob.c.SetPolicy(ctx10(t), u, &client.BasePolicy{MaxUsers: policy.AtMost(9)}), "the role member lacks canChangeRoomMembershipStyle")
	refusedBecause(t, "too few", alice.c.SetPolicy(ctx10(t), u, &client.BasePolicy{MaxUsers: policy.AtMost(2)}), "there would be 3 participants, the room is for at most 2")
	if err := errors.Join(alice.c.SetPolicy(ctx10(t), u, &client.BasePolicy{MaxUsers: policy.AtMost(3), MultiDevice: true}),
		alice.c.SetPolicy(ctx10(t), u, &client.StatusPolicy{Read: policy.Forbidden}),
		alice.c.SetPolicy(ctx10(t), u, &client.StatusPolicy{Read: policy.Forbidden})); err != nil { // the second time it is so already
		t.Fatal(err)
	}
	eventually(t, "bob sees it", func() bool {
		p, err := bob.c.Policies(ctx10(t), u)
		return err == nil && p.Base.MaxUsers == policy.AtMost(3) && p.Status != nil && p.Status.Read == policy.Forbidden
	})
	dan := f.person("dan", "atlanta.example")
	f.ready(dan)
	err := alice.c.AddUser(ctx10(t), u, dan.user())
	refusedBecause(t, "a fourth", err, "there would be 4 participants, the room is for at most 3")
	if err := alice.c.SetPolicy(ctx10(t), u, &client.ExpirationPolicy{Min: 3, Max: 2}); !errors.Is(err, policy.ErrComponent) {
		t.Errorf("a policy that makes no sense: %v", err)
	}
}

// TestDescribe: each field by its own, so that what two people change at once both stays.
func TestDescribe(t *testing.T) {
	_, alice, bob, _, u := three(t)
	text := func(s string) *string { return &s }
	refusedBecause(t, "a member", bob.c.Describe(ctx10(t), u, client.Describing{Name: text("mine")}), "the role member lacks canChangeRoomName")
	if err := alice.c.SetRole(ctx10(t), u, bob.user(), "moderator"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "bob hears that he is one", func() bool {
		r, err := bob.c.FindRoom(ctx10(t), u.String())
		return err == nil && slices.ContainsFunc(r.Participants, func(x client.Participant) bool { return x.User == bob.user() && x.Role == "moderator" })
	})
	done := make(chan error, 2)
	go func() { done <- alice.c.Describe(ctx10(t), u, client.Describing{Name: text("boathouse")}) }()
	go func() {
		done <- bob.c.Describe(ctx10(t), u, client.Describing{Topic: text("dinner"), Description: text("For us.")})
	}()
	if err := errors.Join(<-done, <-done); err != nil {
		t.Fatal(err)
	}
	eventually(t, "both changes stand", func() bool {
		m, err := alice.c.Metadata(ctx10(t), u)
		return err == nil && m.Name == "boathouse" && m.Subject == "dinner" && len(m.Descriptions) == 1 && m.Descriptions[0].Content == "For us." && m.URI == u.String()
	})
	if err := alice.c.Describe(ctx10(t), u, client.Describing{Name: text("a\x00b")}); !errors.Is(err, policy.ErrComponent) {
		t.Errorf("a name that is no text: %v", err)
	}
	eventually(t, "the room is found by its new name", func() bool { r, err := bob.c.FindRoom(ctx10(t), "boathouse"); return err == nil && r.Topic == "dinner" })
}

// TestDestroy: a room that is ended is ended for all, who are told by whom.
func TestDestroy(t *testing.T) {
	_, alice, bob, carol, u := three(t)
	refusedBecause(t, "a member", bob.c.Destroy(ctx10(t), u), "the role member lacks canDestroyRoom")
	alice.send(u, "farewell")
	bob.hears(u, "alice: farewell")
	if err := alice.c.Destroy(ctx10(t), u); err != nil {
		t.Fatal(err)
	}
	for _, p := range []*person{alice, bob, carol} {
		left := await[client.RoomLeft](p, nil)
		if left.Reason != "the room was ended by alice@atlanta.example" {
			t.Errorf("%s is told %q", p.name, left.Reason)
		}
		if _, err := p.c.Send(ctx10(t), u, "hello?"); !errors.Is(err, client.ErrNoRoom) {
			t.Errorf("%s sends after the end: %v", p.name, err)
		}
	}
	bob.restart()
	if s := bob.state(u); s != "left" {
		t.Errorf("after a restart the room is %s", s)
	}
	bob.hears(u, "alice: farewell")

	// It is still found by its name, until there is another one of that name.
	if r, err := bob.c.FindRoom(ctx10(t), "clubhouse"); err != nil || r.URI != u || r.Name != "clubhouse" {
		t.Errorf("by its name %+v is found, %v", r, err)
	}
	next := bob.create("clubhouse")
	if r, err := bob.c.FindRoom(ctx10(t), "clubhouse"); err != nil || r.URI != next {
		t.Errorf("by the name of both %+v is found, %v", r, err)
	}
}

// TestGiveAway: the last owner gives the room away before it leaves, and is told so.
func TestGiveAway(t *testing.T) {
	_, alice, bob, _, u := three(t)
	refusedBecause(t, "the last admin leaves", alice.c.Leave(ctx10(t), u), "give the role admin to somebody else first")
	refusedBecause(t, "the last admin steps down", alice.c.SetRole(ctx10(t), u, alice.user(), "member"), "there would be 0 of the role admin")
	if err := errors.Join(alice.c.SetRole(ctx10(t), u, bob.user(), "admin"), alice.c.SetRole(ctx10(t), u, alice.user(), "member"), alice.c.Leave(ctx10(t), u)); err != nil {
		t.Fatal(err)
	}
	await[client.RoomLeft](alice, nil)
	if err := bob.c.Destroy(ctx10(t), u); err != nil {
		t.Errorf("bob owns it: %v", err)
	}
}

// TestBeginsWithPolicy: a room may begin with policy components.
func TestBeginsWithPolicy(t *testing.T) {
	f := newFake(t)
	alice := f.person("alice", "atlanta.example")
	u, err := alice.c.CreateRoomAs(ctx10(t), client.NewRoom{Name: "cell", Policies: []room.Component{&policy.Base{MaxUsers: policy.AtMost(1)}, &policy.Expiration{Expiring: policy.Required, Max: 60}}})
	if err != nil {
		t.Fatal(err)
	}
	p, err := alice.c.Policies(ctx10(t), u)
	if err != nil || p.Base.MaxUsers != policy.AtMost(1) || p.Expiration == nil || p.Expiration.Max != 60 {
		t.Errorf("%+v, %v", p, err)
	}
}

// TestLastLeaves: who leaves a room that is not persistent as the last one ends it, though its
// roles demand an administrator, with all its devices; in a race of two, both are out of it.
func TestLastLeaves(t *testing.T) {
	f, alice, bob, carol, u := three(t)
	if err := alice.c.SetPolicy(ctx10(t), u, &policy.Base{MultiDevice: true}); err != nil {
		t.Fatal(err)
	}
	if err := carol.c.Leave(ctx10(t), u); err != nil {
		t.Fatal(err)
	}
	await[client.RoomLeft](carol, nil)
	refusedBecause(t, "the last admin leaves bob", alice.c.Leave(ctx10(t), u), "give the role admin to somebody else first")
	if err := bob.c.Leave(ctx10(t), u); err != nil {
		t.Fatal(err)
	}
	await[client.RoomLeft](bob, nil)
	if err := alice.c.Leave(ctx10(t), u); err != nil {
		t.Fatal(err)
	}
	if left := await[client.RoomLeft](alice, nil); left.Reason != "left the room, which has ended with that: nobody is in it any more" {
		t.Errorf("told %q", left.Reason)
	}
	alice.restart()
	if s := alice.state(u); s != "left" {
		t.Errorf("after a restart the room is %s", s)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if s := f.rooms[room.IDOf([]byte(u.String()))].state; s.Ended() == nil {
		t.Error("the hub's room has not ended")
	}
}
