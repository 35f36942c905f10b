package client_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/mimid/mimid/client"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
)

// market is an open room of alice's, in which something was said before anybody came.
func market(t *testing.T, f *fake) (*person, uri.Room) {
	t.Helper()
	alice := f.person("alice", "atlanta.example")
	roles, err := client.OpenTo(nil, "member")
	if err != nil {
		t.Fatal(err)
	}
	u, err := alice.c.CreateRoomAs(ctx10(t), client.NewRoom{Name: "market", Roles: roles})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"one", "two", "three"} {
		alice.send(u, text)
	}
	return alice, u
}

// TestJoinRoom: who has the address of an open room joins by itself, reads what is said from
// then on, and is a participant like others.
func TestJoinRoom(t *testing.T) {
	f := newFake(t)
	alice, u := market(t, f)
	bob, carol := f.person("bob", "biloxi.example"), f.person("carol", "chicago.example")
	if _, err := bob.c.JoinRoom(ctx10(t), u.String()); err != nil {
		t.Fatal(err)
	}
	if _, err := bob.c.JoinRoom(ctx10(t), u.String()); err != nil {
		t.Errorf("a second time: %v", err)
	}
	bob.send(u, "hello")
	alice.hears(u, "alice: one", "alice: two", "alice: three", "bob: hello")
	bob.hears(u, "bob: hello")
	if _, err := carol.c.JoinRoom(ctx10(t), u.String()); err != nil {
		t.Fatal(err)
	}
	agree(u, alice, bob, carol)
	// Banned, it does not come back, and is told.
	if err := alice.c.Ban(ctx10(t), u, bob.user()); err != nil {
		t.Fatal(err)
	}
	await[client.RoomLeft](bob, nil)
	if _, err := bob.c.JoinRoom(ctx10(t), u.String()); !errors.Is(err, client.ErrRefused) {
		t.Errorf("banned: %v", err)
	}
	bob.hears(u, "bob: hello") // what was here stays
	// Who has left may come again.
	if err := carol.c.Leave(ctx10(t), u); err != nil {
		t.Fatal(err)
	}
	await[client.RoomLeft](carol, nil)
	if _, err := carol.c.JoinRoom(ctx10(t), u.String()); err != nil {
		t.Errorf("again after leaving: %v", err)
	}
	agree(u, alice, carol)
}

// TestJoinRoomRefused: a room that is not open, one that is full, and no room.
func TestJoinRoomRefused(t *testing.T) {
	f := newFake(t)
	alice, u := market(t, f)
	bob := f.person("bob", "biloxi.example")
	closed := alice.create("closed")
	_, err := bob.c.JoinRoom(ctx10(t), closed.String())
	if !errors.Is(err, client.ErrRefused) || !strings.Contains(err.Error(), "lets nobody in who was not added") {
		t.Errorf("a closed room: %v", err)
	}
	if err := alice.c.SetPolicy(ctx10(t), u, &policy.Base{MaxUsers: policy.AtMost(1)}); err != nil {
		t.Fatal(err)
	}
	if _, err = bob.c.JoinRoom(ctx10(t), u.String()); !errors.Is(err, client.ErrRefused) {
		t.Errorf("a full room: %v", err)
	}
	if _, err := bob.c.JoinRoom(ctx10(t), "mimi://atlanta.example/r/nothing"); err == nil {
		t.Error("no room")
	}
	if _, err := bob.c.JoinRoom(ctx10(t), "clubhouse"); !errors.Is(err, client.ErrName) {
		t.Errorf("no address: %v", err)
	}
	if rooms, err := bob.c.Rooms(ctx10(t)); err != nil || len(rooms) != 0 {
		t.Errorf("something is left of it: %+v, %v", rooms, err)
	}
}

// TestPreauthorizedJoin: a room that lets in the users of one provider, as what it says.
func TestPreauthorizedJoin(t *testing.T) {
	f := newFake(t)
	alice, bob, carol := f.person("alice", "atlanta.example"), f.person("bob", "biloxi.example"), f.person("carol", "chicago.example")
	defs := append([]policy.Definition{}, policy.Basic().All()...)
	defs[3].Capabilities = append([]policy.Capability{policy.JoinIfPreauthorized}, defs[3].Capabilities...)
	roles, err := policy.NewRoles(defs)
	if err != nil {
		t.Fatal(err)
	}
	u, err := alice.c.CreateRoomAs(ctx10(t), client.NewRoom{Name: "staff", Roles: roles, Policies: []room.Component{&policy.Preauth{Entries: []policy.Preauthorized{
		{Claims: []policy.Claim{{Credential: policy.CredentialX509, ID: room.ClaimIssuer, Value: []byte("mimi://biloxi.example")}}, Role: policy.Moderator}}}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := carol.c.JoinRoom(ctx10(t), u.String()); !errors.Is(err, client.ErrRefused) {
		t.Errorf("carol, of another provider: %v", err)
	}
	if _, err := bob.c.JoinRoom(ctx10(t), u.String()); err != nil {
		t.Fatal(err)
	}
	r, err := bob.c.FindRoom(ctx10(t), u.String())
	if err != nil || len(r.Participants) != 2 || r.Participants[1].Role != "moderator" {
		t.Errorf("%+v, %v", r, err)
	}
}
