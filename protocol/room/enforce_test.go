package room_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
)

// enforced is a room of alice (admin), bob and carol, whose hub may ban.
func enforced(t *testing.T) (w *world, alice, bob, carol *device) {
	w = newWorld(t)
	alice, bob, carol = w.device("alice@atlanta.example", "phone"), w.device("bob@biloxi.example", "phone"), w.device("carol@chicago.example", "phone")
	w.begin(alice)
	if err := alice.add(bob, carol); err != nil {
		t.Fatal(err)
	}
	return w, alice, bob, carol
}

func (w *world) enforcer() mls.SignatureKey {
	return must(mls.ParseSignatureKey(room.Suite, w.providers["atlanta.example"].Seed()))(w.t)
}

// ban orders what the hub proposes, and has everybody follow.
func (w *world) ban(u uri.User) error {
	h, err := w.hub.ProposeBan(u, w.enforcer())
	if err != nil {
		return err
	}
	if _, err := w.order(room.KindHandshake, must(h.Bytes())(w.t)); err != nil {
		return err
	}
	for _, o := range w.clients {
		if o.group != nil && !o.group.Removed() {
			for _, m := range append([]*mls.Message{h.Bundle.Message}, h.Bundle.MoreProposals...) {
				o.follow(m)
			}
		}
	}
	return nil
}

// TestHubBans_7_5: the hub proposes, the user counts as banned at once, no commit of
// another member may look away, and the commit that takes it up bans.
func TestHubBans_7_5(t *testing.T) {
	w, alice, bob, carol := enforced(t)
	if err := w.ban(bob.user); err != nil {
		t.Fatal(err)
	}
	if got := w.hub.PendingBans(); !slices.Equal(got, []uri.User{bob.user}) {
		t.Errorf("pending: %v", got)
	}
	wantErr(t, "bob, who is to be banned, says something", bob.send("x"), room.ErrPolicy)
	wantErr(t, "carol says something", carol.send("x"), nil)
	wantErr(t, "the hub bans twice", w.ban(bob.user), room.ErrPolicy)
	if done := must(w.hub.Banning(bob.user))(t); !done {
		t.Error("bob does not count as banned")
	}
	// A commit that takes up the removal of the device and not the ban.
	s := must(alice.group.Commit(mls.CommitOptions{WithoutPending: true, Remove: []mls.LeafIndex{bob.group.OwnLeaf()}}, w.now))(t)
	_, err := w.update(bundle(s), "atlanta.example")
	wantErr(t, "a commit without the ban", err, room.ErrPending)
	wantErr(t, "a commit with it", carol.commit(mls.CommitOptions{}), nil)
	if w.hub.Role(bob.user) != policy.Banned || w.hub.Roster().Clients(bob.user) != 0 || len(w.hub.PendingBans()) != 0 {
		t.Errorf("after the commit bob is %v with %d devices", w.hub.Role(bob.user), w.hub.Roster().Clients(bob.user))
	}
	wantErr(t, "an administrator is banned", w.ban(alice.user), room.ErrPolicy)
	wantErr(t, "a stranger is banned", w.ban(w.device("dan@chicago.example", "phone").user), room.ErrPolicy)
}

// TestHubProposesNoMore: what the role does not allow the hub cannot propose, and nobody can
// in its place.
func TestHubProposesNoMore(t *testing.T) {
	w, alice, bob, _ := enforced(t)
	propose := func(key mls.SignatureKey, index uint32, ps ...*mls.Proposal) error {
		var ms []*mls.Message
		for _, p := range ps {
			ms = append(ms, must(mls.ProposeAsExternalSender(w.hub.Group().Context(), p, index, key, nil))(t))
		}
		body := must(room.HandshakeOf(&wire.HandshakeBundle{Message: ms[0], MoreProposals: ms[1:]}).Bytes())(t)
		_, err := w.hub.Check(w.hub.NewEntry(room.KindHandshake, room.TxnID{9}, body, w.now))
		return err
	}
	list := func(u uri.User, r policy.Role) *mls.Proposal {
		return must(room.UpdateParticipants(w.hub.Group().Context(), []room.Participant{{User: u, Role: r}}, nil))(t)
	}
	remove := &mls.Proposal{Type: mls.ProposalRemove, Remove: bob.group.OwnLeaf()}
	mallory := must(mls.GenerateSignatureKey(room.Suite))(t)
	wantErr(t, "as it should be", propose(w.enforcer(), 0, remove, list(bob.user, policy.Banned)), nil)
	wantErr(t, "a ban that leaves the device", propose(w.enforcer(), 0, list(bob.user, policy.Banned)), room.ErrPolicy)
	wantErr(t, "another role", propose(w.enforcer(), 0, list(bob.user, policy.Admin)), room.ErrPolicy)
	wantErr(t, "a new participant", propose(w.enforcer(), 0, list(w.device("dan@chicago.example", "phone").user, policy.Member)), room.ErrPolicy)
	wantErr(t, "an administrator's device", propose(w.enforcer(), 0, &mls.Proposal{Type: mls.ProposalRemove, Remove: alice.group.OwnLeaf()}), room.ErrPolicy)
	wantErr(t, "what roles mean", propose(w.enforcer(), 0, room.UpdateRoles(policy.Channel())), room.ErrPolicy)
	wantErr(t, "another key", propose(mallory, 0, remove), mls.ErrBadSignature)
	wantErr(t, "a sender that there is not", propose(w.enforcer(), 1, remove), mls.ErrUnknownSender)
}

// TestRoomWithoutEnforcer: a room may do without; then its hub bans nobody.
func TestRoomWithoutEnforcer(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.device("alice@atlanta.example", "phone"), w.device("bob@biloxi.example", "phone")
	defs := slices.DeleteFunc(slices.Clone(policy.Basic().All()), func(d policy.Definition) bool { return d.Name == policy.EnforcerName })
	roles := must(policy.NewRoles(defs))(t)
	e := room.FirstEntry(alice.create(func(p *mls.GroupParams) { p.Extensions = must(room.WithRoles(p.Extensions, alice.user, roles))(t) }), room.TxnID{1}, w.now)
	w.hub, w.follower = must(room.Begin(e, w.rules))(t), must(room.Begin(e, w.rules))(t)
	w.log = append(w.log, e)
	if err := alice.add(bob); err != nil {
		t.Fatal(err)
	}
	if err := w.ban(bob.user); !errors.Is(err, room.ErrNotEnforcer) {
		t.Errorf("%v", err)
	}
	m := must(mls.ProposeAsExternalSender(w.hub.Group().Context(), &mls.Proposal{Type: mls.ProposalRemove, Remove: bob.group.OwnLeaf()}, 0, w.enforcer(), nil))(t)
	_, err := w.hub.Check(w.hub.NewEntry(room.KindHandshake, room.TxnID{9}, must(room.HandshakeOf(&wire.HandshakeBundle{Message: m}).Bytes())(t), w.now))
	wantErr(t, "a hub that proposes all the same", err, room.ErrPolicy)
}
