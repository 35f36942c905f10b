package room_test

import (
	"errors"
	"testing"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/wire"
)

// dependent are the extensions of a room with a parent.
func dependent(t *testing.T, d *device, parent string, roles *policy.Roles) func(mls.Extensions) mls.Extensions {
	return func(ext mls.Extensions) mls.Extensions {
		ext = must(room.WithRoles(ext, d.user, roles))(t)
		return must(room.WithPolicy(ext, &policy.Base{MultiDevice: true, Persistent: true, Parent: parent}))(t)
	}
}

// TestParentRoom_7: what a dependent room's own log shows: it begins with roles by which its
// hub takes out who has left the parent, they stay so, and the hub may do that, be it the
// last administrator; a member's commit has to take it up.
func TestParentRoom_7(t *testing.T) {
	w := newWorld(t)
	alice, bob, carol := w.device("alice@atlanta.example", "phone"), w.device("bob@biloxi.example", "phone"), w.device("carol@chicago.example", "phone")
	const parent = "mimi://atlanta.example/r/parent"
	roles := must(policy.Dependent(policy.Basic()))(t)
	says(t, "the usual roles", w.beginWith(alice, dependent(t, alice, parent, policy.Basic())), "the role policy_enforcer")
	says(t, "its own parent", w.beginWith(alice, dependent(t, alice, clubhouse(t).String(), roles)), "depends on itself")
	says(t, "a parent that is no room", w.beginWith(alice, dependent(t, alice, "mimi://atlanta.example/u/alice", roles)), "parent room")
	if err := w.beginWith(alice, dependent(t, alice, parent, roles)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(alice.add(bob), alice.add(carol)); err != nil {
		t.Fatal(err)
	}
	if got := w.hub.Parent().String(); got != parent {
		t.Errorf("it depends on %s", got)
	}
	says(t, "roles that take nobody out", alice.define(policy.Basic()), "the role policy_enforcer")

	hub := must(mls.ParseSignatureKey(room.Suite, w.providers["atlanta.example"].Seed()))(t)
	out := must(w.hub.ProposeRemoval(alice.user, hub))(t)
	if _, err := w.order(room.KindHandshake, must(out.Bytes())(t)); err != nil {
		t.Fatal(err)
	}
	for _, d := range w.clients {
		for _, m := range out.Messages() {
			d.follow(m.Message())
		}
	}
	if left, err := w.hub.Leaving(alice.user); err != nil || !left {
		t.Errorf("alice, who is to be taken out: %v, %v", left, err)
	}
	says(t, "she goes on talking", alice.send("still here"), "lacks canSendMessage")
	if err := carol.commit(mls.CommitOptions{}); err != nil {
		t.Fatal(err)
	}
	if w.hub.Role(alice.user) != policy.None || w.hub.Roster().Clients(alice.user) != 0 || w.follower.Role(alice.user) != policy.None {
		t.Error("alice is not out")
	}
	if err := bob.send("she is gone"); err != nil {
		t.Error(err)
	}
}

// TestParentRoomFixed_7: a hub takes nobody off the list of a room of fixed membership, unless it
// depends on a parent.
func TestParentRoomFixed_7(t *testing.T) {
	for _, parent := range []string{"", "mimi://atlanta.example/r/parent"} {
		w := newWorld(t)
		alice, bob := w.device("alice@atlanta.example", "phone"), w.device("bob@biloxi.example", "phone")
		calm := must(policy.Dependent(must(policy.NewRoles([]policy.Definition{
			{Index: 2, Name: "peer", Min: 2, Capabilities: []policy.Capability{policy.AddOwnClient, policy.SendMessage, policy.ChangeUserRole}}}))(t)))(t)
		list := must((&wire.ParticipantListData{Participants: []wire.UserRolePair{
			{User: wire.IdentifierURI(alice.user.String()), Role: 2}, {User: wire.IdentifierURI(bob.user.String()), Role: 2}}}).Bytes())(t)
		err := w.beginWith(alice, func(ext mls.Extensions) mls.Extensions {
			d := must(ext.Dictionary(room.BodyLimits().Limits))(t)
			d[wire.ComponentParticipantList], d[room.RolesComponent] = list, calm.Append(nil)
			d[room.BaseComponent] = (&policy.Base{Fixed: true, Persistent: true, Parent: parent}).Append(nil)
			ext[2] = d.Extension()
			return ext
		})
		if err != nil {
			t.Fatal(err)
		}
		hub := must(mls.ParseSignatureKey(room.Suite, w.providers["atlanta.example"].Seed()))(t)
		_, err = w.order(room.KindHandshake, must(must(w.hub.ProposeRemoval(bob.user, hub))(t).Bytes())(t))
		if parent == "" {
			says(t, "of a fixed room", err, "settled when it was made")
		} else if err != nil {
			t.Errorf("of a fixed room with a parent: %v", err)
		}
	}
}
