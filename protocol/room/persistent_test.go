package room_test

import (
	"errors"
	"testing"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
)

// goes are the proposals by which a device's user leaves with all its devices.
func (d *device) goes() []*mls.Proposal {
	ps := []*mls.Proposal{{Type: mls.ProposalSelfRemove}}
	for _, l := range d.w.hub.Roster().Leaves(d.user) {
		if l != d.group.OwnLeaf() {
			ps = append(ps, &mls.Proposal{Type: mls.ProposalRemove, Remove: l})
		}
	}
	return append(ps, must(room.UpdateParticipants(d.group.Public().Context(), nil, []uri.User{d.user}))(d.w.t))
}

// TestPersistentRoom_7: a room whose persistent_room is false ends with the last client in it,
// for hub and follower and after a restart: nothing is ordered in it and nobody comes in any
// more, whoever is on its list. That roles demand an administrator holds nobody back then. One
// that is persistent stays, and its participants come back by themselves.
func TestPersistentRoom_7(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.device("alice@atlanta.example", "phone"), w.device("bob@biloxi.example", "phone")
	laptop, carol := w.device("alice@atlanta.example", "laptop"), w.device("carol@chicago.example", "phone")
	w.begin(alice)
	lists := must(room.UpdateParticipants(alice.group.Public().Context(), []room.Participant{{User: carol.user, Role: policy.Member}}, nil))(t)
	if err := errors.Join(alice.commit(mls.CommitOptions{Proposals: []*mls.Proposal{lists}}), alice.add(bob), laptop.join(policy.None)); err != nil {
		t.Fatal(err)
	}
	temporary := &policy.Base{MultiDevice: true}
	says(t, "a member makes it temporary", bob.set(temporary), "the role member lacks canChangeRoomMembershipStyle")
	if err := errors.Join(alice.set(temporary), bob.propose(bob.goes()...)); err != nil {
		t.Fatal(err)
	}
	if w.hub.Ended() != nil {
		t.Fatal("it ended though alice is in it")
	}
	// Alice, the one administrator, goes before anybody has committed that bob does. Nobody is
	// left who could.
	if err := alice.propose(alice.goes()...); err != nil {
		t.Fatal(err)
	}
	parts := map[string][]byte{}
	w.reload(parts)
	for who, s := range map[string]*room.State{"hub": w.hub, "follower": w.follower} {
		if x := s.Ended(); x == nil || !x.Successor.IsZero() {
			t.Errorf("%s: ended is %+v", who, x)
		}
		wantErr(t, who+": carol, who is on the list, comes in", s.MayEnter(carol.user, carol.leaf.Credential), room.ErrEnded)
	}
	wantErr(t, "carol's commit from outside", carol.join(policy.None), room.ErrEnded)
	wantErr(t, "a commit by who has left", laptop.commit(mls.CommitOptions{}), room.ErrEnded)
	wantErr(t, "a proposal", bob.propose(&mls.Proposal{Type: mls.ProposalSelfRemove}), room.ErrEnded)
	if err := alice.send("hello?"); !errors.Is(err, room.ErrPolicy) {
		t.Errorf("a message: %v", err)
	}
}

// TestPersistentRoomStays_7: a persistent room that no device is in any more stays, and a
// participant comes in by itself; the group goes on with it alone.
func TestPersistentRoomStays_7(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.device("alice@atlanta.example", "phone"), w.device("bob@biloxi.example", "phone")
	w.begin(alice)
	if err := errors.Join(alice.add(bob), bob.propose(&mls.Proposal{Type: mls.ProposalSelfRemove}), alice.commit(mls.CommitOptions{})); err != nil {
		t.Fatal(err)
	}
	leaves := must(alice.group.Propose(&mls.Proposal{Type: mls.ProposalSelfRemove}, mls.SendOptions{}, w.now))(t)
	if _, err := w.update(&wire.HandshakeBundle{Message: leaves}, "atlanta.example"); err != nil {
		t.Fatal(err)
	}
	if v := must(w.hub.Effective())(t); v.Load().Clients != 0 || w.hub.Ended() != nil {
		t.Fatalf("%d clients in it, ended: %v", v.Load().Clients, w.hub.Ended())
	}
	if err := w.hub.MayEnter(bob.user, bob.leaf.Credential); err != nil {
		t.Error(err)
	}
	if err := bob.enter(mls.ExternalOptions{LeafParams: bob.leaf, Tree: w.hub.Group().Tree(), SelfRemoves: []*mls.PublicMessage{leaves.Public}}); err != nil {
		t.Fatal(err)
	}
	if err := bob.send("anybody?"); err != nil || w.hub.Roster().Clients(bob.user) != 1 || w.hub.Group().MemberCount() != 1 {
		t.Errorf("bob is back in a group of %d: %v", w.hub.Group().MemberCount(), err)
	}
}
