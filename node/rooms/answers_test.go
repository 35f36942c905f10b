package rooms_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mimid/mimid/node/rooms"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
)

// TestGroupInfoAnswers_5_6: a participant's further client gets the GroupInfo, encrypted to
// it and signed by the hub; everybody else gets notAuthorized, whatever is wrong. Of a room that
// is not there all hear noSuchRoom.
func TestGroupInfoAnswers_5_6(t *testing.T) {
	w := newWorld(t, three...)
	alice, bob := w.device("alice@atlanta.example", "phone"), w.device("bob@biloxi.example", "phone")
	id, made, err := alice.create("room")
	if err != nil {
		t.Fatal(err)
	}
	if err := alice.add(id, bob); err != nil {
		t.Fatal(err)
	}
	alice.follow(id, 2)
	bob.follow(id, 2)
	laptop, carol := w.device("bob@biloxi.example", "laptop"), w.device("carol@chicago.example", "phone")
	hub := w.ps["atlanta.example"]
	ask := func(by *device, from, name string, spoil func(*wire.GroupInfoRequest)) (*wire.GroupInfoResponse, *mls.HPKEKey, error) {
		t.Helper()
		key := must(mls.GenerateHPKEKey(room.Suite))(t)
		m := &wire.GroupInfoRequest{Suite: room.Suite, Credential: by.leaf.Credential, GroupInfoKey: key.Public()}
		if err := m.Sign(by.leaf.Signer); err != nil {
			t.Fatal(err)
		}
		if spoil != nil {
			spoil(m)
		}
		r, err := hub.serve(context.Background(), wire.EndpointGroupInfo.String(), &rooms.Request{Source: from, Subject: name, Body: must(m.Bytes())(t)})
		if err != nil {
			return nil, nil, err
		}
		return must(wire.ParseGroupInfoResponse(r.Body, wire.Limits{}))(t), &key, nil
	}
	denied := func(why string, by *device, from string, spoil func(*wire.GroupInfoRequest)) {
		t.Helper()
		if r, _, err := ask(by, from, made.URI, spoil); err != nil || r.Status != wire.GroupInfoNotAuthorized || r.Success != nil {
			t.Errorf("%s: %+v, %v", why, r, err)
		}
	}
	given := func(by *device) {
		t.Helper()
		r, key, err := ask(by, by.p.domain, made.URI, nil)
		if err != nil || r.Status != wire.GroupInfoSuccess {
			t.Fatalf("%s: %+v, %v", by.who.Client, r, err)
		}
		if _, err := r.Verify(wire.IdentifierURI(made.URI), room.Suite, by.auth, time.Now()); err != nil {
			t.Errorf("the hub's signature: %v", err)
		}
		var open wire.GroupInfoRatchetTreeTBE
		if err := open.Open(*key, wire.IdentifierURI(made.URI), r.Success.Encrypted, wire.Limits{}); err != nil || open.GroupInfo.Context.Epoch != alice.group.Epoch() {
			t.Errorf("what is inside: %v", err)
		}
	}
	given(laptop)
	denied("a stranger", carol, "chicago.example", nil)
	denied("by another provider", laptop, "chicago.example", nil)
	denied("another signature", laptop, "biloxi.example", func(m *wire.GroupInfoRequest) { m.Signature[3] ^= 1 })
	denied("another key to encrypt to", laptop, "biloxi.example", func(m *wire.GroupInfoRequest) { m.GroupInfoKey[3] ^= 1 })
	denied("a joining code of no link", carol, "chicago.example", func(m *wire.GroupInfoRequest) {
		m.JoiningCode = []byte("open sesame")
		if err := m.Sign(carol.leaf.Signer); err != nil {
			t.Fatal(err)
		}
	})
	for _, by := range []*device{laptop, carol} {
		const name = "mimi://atlanta.example/r/nowhere"
		if r, _, err := ask(by, by.p.domain, name, nil); err != nil || r.Status != wire.GroupInfoNoSuchRoom || r.Room != name || r.Success != nil {
			t.Errorf("no such room: %+v, %v", r, err)
		}
		if _, _, err := ask(by, by.p.domain, "mimi://atlanta.example/u/alice", nil); !strings.HasPrefix(status(err), "404 ") {
			t.Errorf("no room's name: %v", err)
		}
	}
	ban := must(room.UpdateParticipants(alice.group.Public().Context(), []room.Participant{{User: bob.who.User, Role: policy.Banned}}, nil))(t)
	if err := alice.commit(id, mls.CommitOptions{Remove: []mls.LeafIndex{1}, Proposals: []*mls.Proposal{ban}}); err != nil {
		t.Fatal(err)
	}
	denied("banned", laptop, "biloxi.example", nil)
}

// TestPendingProposals_5_6: the GroupInfo holds the SelfRemoves that an external commit has to
// take up, and with them it is taken. While a user leaves altogether nobody gets one: the
// change of the list cannot go into such a commit and would be lost.
func TestPendingProposals_5_6(t *testing.T) {
	w, alice, bob, id := pair(t, nil)
	hub := w.ps["atlanta.example"]
	name := hub.rooms.List()[0].URI
	ask := func(by *device) (*wire.GroupInfoRatchetTreeTBE, error) {
		key := must(mls.GenerateHPKEKey(room.Suite))(t)
		m := &wire.GroupInfoRequest{Suite: room.Suite, Credential: by.leaf.Credential, GroupInfoKey: key.Public()}
		if err := m.Sign(by.leaf.Signer); err != nil {
			t.Fatal(err)
		}
		r, err := hub.serve(context.Background(), wire.EndpointGroupInfo.String(), &rooms.Request{Source: by.p.domain, Subject: name, Body: must(m.Bytes())(t)})
		if err != nil {
			return nil, err
		}
		open := new(wire.GroupInfoRatchetTreeTBE)
		err = open.Open(key, wire.IdentifierURI(name), must(wire.ParseGroupInfoResponse(r.Body, wire.Limits{}))(t).Success.Encrypted, wire.Limits{})
		return open, err
	}
	laptop, tablet := w.device("alice@atlanta.example", "laptop"), w.device("bob@biloxi.example", "tablet")
	if open, err := ask(laptop); err != nil || len(open.Pending) != 0 {
		t.Fatalf("while nobody leaves: %+v, %v", open, err)
	}
	// One of bob's devices goes.
	propose := func(by *device, more ...*mls.Proposal) {
		t.Helper()
		var ms []*mls.Message
		for _, p := range append([]*mls.Proposal{{Type: mls.ProposalSelfRemove}}, more...) {
			ms = append(ms, must(by.group.Propose(p, mls.SendOptions{}, time.Now()))(t))
			by.group.Drop(by.group.Public().Pending()[0].Ref)
		}
		raw := must((&wire.UpdateRequest{Bundle: wire.HandshakeBundle{Message: ms[0], MoreProposals: ms[1:]}}).Bytes())(t)
		if err := by.update(id, raw); err != nil {
			t.Fatal(err)
		}
	}
	propose(bob)
	for range 3 { // messages lie between
		alice.say(id, "hello")
	}
	open, err := ask(laptop)
	if err != nil || len(open.Pending) != 1 || open.Pending[0].AcceptedAt == 0 || open.Pending[0].Proposal.Public.Sender().Leaf != 1 {
		t.Fatalf("while a device leaves: %+v, %v", open, err)
	}
	enter := func(by *device, open *wire.GroupInfoRatchetTreeTBE, with []*mls.PublicMessage) error {
		t.Helper()
		s := must(mls.ExternalCommit(open.GroupInfo, mls.ExternalOptions{LeafParams: by.leaf, Tree: open.Tree.Tree, SelfRemoves: with}, by.config(), time.Now()))(t)
		return by.update(id, must((&wire.UpdateRequest{Bundle: wire.HandshakeBundle{Message: s.Message, GroupInfo: &wire.GroupInfoOption{Full: s.GroupInfo},
			Tree: &wire.RatchetTreeOption{Representation: wire.TreeDistributionService}}}).Bytes())(t))
	}
	if err := enter(laptop, open, nil); err == nil || !strings.Contains(err.Error(), "pending removal") {
		t.Errorf("without the proposal: %v", err)
	}
	if err := enter(laptop, open, []*mls.PublicMessage{open.Pending[0].Proposal.Public}); err != nil {
		t.Fatalf("with the proposal: %v", err)
	}

	// Carol leaves the room, with her entry in the list.
	carol := w.device("carol@chicago.example", "phone")
	next := hub.rooms.List()[0].Next
	alice.follow(id, next)
	if err := alice.add(id, carol); err != nil {
		t.Fatal(err)
	}
	carol.follow(id, next+1)
	alice.follow(id, next+1)
	if _, err := ask(tablet); err != nil {
		t.Fatal(err)
	}
	propose(carol, must(room.UpdateParticipants(carol.group.Public().Context(), nil, []uri.User{carol.who.User}))(t))
	if _, err := ask(tablet); !strings.HasPrefix(status(err), "503 ") {
		t.Errorf("while a user leaves: %v", err)
	}
	alice.follow(id, next+2)
	if err := alice.commit(id, mls.CommitOptions{}); err != nil {
		t.Fatal(err)
	}
	if open, err := ask(tablet); err != nil || len(open.Pending) != 0 {
		t.Errorf("when she has left: %+v, %v", open, err)
	}
}

// TestGroupInfoRation_5_6: who asks for GroupInfos and does not join is told to wait; who joins
// gets back what it took.
func TestGroupInfoRation_5_6(t *testing.T) {
	w, alice, _, id := pair(t, nil)
	hub := w.ps["atlanta.example"]
	name := hub.rooms.List()[0].URI
	ask := func(by *device) (open *wire.GroupInfoRatchetTreeTBE, err error) {
		key := must(mls.GenerateHPKEKey(room.Suite))(t)
		m := &wire.GroupInfoRequest{Suite: room.Suite, Credential: by.leaf.Credential, GroupInfoKey: key.Public()}
		if err := m.Sign(by.leaf.Signer); err != nil {
			t.Fatal(err)
		}
		r, err := hub.serve(context.Background(), wire.EndpointGroupInfo.String(), &rooms.Request{Source: by.p.domain, Subject: name, Body: must(m.Bytes())(t)})
		if err != nil {
			return nil, err
		}
		open = new(wire.GroupInfoRatchetTreeTBE)
		return open, open.Open(key, wire.IdentifierURI(name), must(wire.ParseGroupInfoResponse(r.Body, wire.Limits{}))(t).Success.Encrypted, wire.Limits{})
	}
	laptop := w.device("alice@atlanta.example", "laptop")
	burst := 0
	var open *wire.GroupInfoRatchetTreeTBE
	for ; burst < 100; burst++ {
		got, err := ask(laptop)
		if err != nil {
			if !strings.HasPrefix(status(err), "429 ") {
				t.Fatal(err)
			}
			break
		}
		open = got
	}
	if burst < 8 || burst > 20 {
		t.Fatalf("%d GroupInfos that no commit followed", burst)
	}
	// Another user of another provider is served.
	if _, err := ask(w.device("bob@biloxi.example", "laptop")); err != nil {
		t.Errorf("another user: %v", err)
	}
	s := must(mls.ExternalCommit(open.GroupInfo, mls.ExternalOptions{LeafParams: laptop.leaf, Tree: open.Tree.Tree}, laptop.config(), time.Now()))(t)
	if err := laptop.update(id, must((&wire.UpdateRequest{Bundle: wire.HandshakeBundle{Message: s.Message, GroupInfo: &wire.GroupInfoOption{Full: s.GroupInfo},
		Tree: &wire.RatchetTreeOption{Representation: wire.TreeDistributionService}}}).Bytes())(t)); err != nil {
		t.Fatal(err)
	}
	if _, err := ask(w.device("alice@atlanta.example", "tablet")); err != nil {
		t.Errorf("after one has joined: %v", err)
	}
	if _, err := ask(alice); !strings.HasPrefix(status(err), "429 ") {
		t.Errorf("and once more: %v", err)
	}
}

// TestUpdateAnswers_5_3: wrongEpoch comes with the epoch that there is now, notAllowed with a
// reason in words, success with the time of acceptance.
func TestUpdateAnswers_5_3(t *testing.T) {
	w, alice, bob, id := pair(t, nil)
	name := w.ps["atlanta.example"].rooms.List()[0].URI
	answer := func(by *device, raw []byte) *wire.UpdateRoomResponse {
		t.Helper()
		q := &rooms.Request{Source: by.p.domain, Subject: name, Body: raw, ID: room.NewTxnNonce()}
		r := must(w.ps["atlanta.example"].serve(context.Background(), wire.EndpointUpdate.String(), q))(t)
		return must(wire.ParseUpdateRoomResponse(r.Body, wire.Limits{}))(t)
	}
	late := bob.handshake(mls.CommitOptions{})
	promotes := must(room.UpdateParticipants(bob.group.Public().Context(), []room.Participant{{User: bob.who.User, Role: policy.Admin}}, nil))(t)
	if r := answer(bob, bob.handshake(mls.CommitOptions{Proposals: []*mls.Proposal{promotes}})); r.Code != wire.UpdateNotAllowed || !strings.Contains(r.Description, "bob") || r.AcceptedAt != 0 {
		t.Errorf("who makes itself admin: %+v", r)
	}
	if r := answer(alice, alice.handshake(mls.CommitOptions{})); r.Code != wire.UpdateSuccess || r.AcceptedAt == 0 {
		t.Fatalf("a commit: %+v", r)
	}
	alice.follow(id, 3)
	if r := answer(bob, late); r.Code != wire.UpdateWrongEpoch || r.CurrentEpoch != alice.group.Epoch() || r.AcceptedAt != 0 {
		t.Errorf("a commit that lost: %+v, the epoch is %d", r, alice.group.Epoch())
	}
}

// TestInvalidProposal_5_3: what no commit could contain, whoever made it, is invalidProposal,
// with the reference of a proposal that has one; what is well made and not allowed is
// notAllowed, and has none.
func TestInvalidProposal_5_3(t *testing.T) {
	w, alice, bob, id := pair(t, nil)
	name := w.ps["atlanta.example"].rooms.List()[0].URI
	answer := func(by *device, b wire.HandshakeBundle) *wire.UpdateRoomResponse {
		t.Helper()
		raw := must((&wire.UpdateRequest{Bundle: b}).Bytes())(t)
		q := &rooms.Request{Source: by.p.domain, Subject: name, Body: raw, ID: room.NewTxnNonce()}
		r := must(w.ps["atlanta.example"].serve(context.Background(), wire.EndpointUpdate.String(), q))(t)
		return must(wire.ParseUpdateRoomResponse(r.Body, wire.Limits{}))(t)
	}
	propose := func(by *device, p *mls.Proposal) (b wire.HandshakeBundle, ref []byte) {
		t.Helper()
		b.Message = must(by.group.Propose(p, mls.SendOptions{}, time.Now()))(t)
		return b, by.group.Public().Pending()[0].Ref
	}
	set := func(c mls.ComponentID, b []byte) *mls.Proposal {
		return &mls.Proposal{Type: mls.ProposalAppDataUpdate, AppData: &mls.AppDataUpdate{Component: c, Op: mls.AppDataSet, Update: b}}
	}
	roles := policy.Channel()
	for _, row := range []struct {
		why string
		by  *device
		p   *mls.Proposal
		is  wire.UpdateResponseCode
	}{
		{"roles that cannot be read, by an administrator", alice, set(room.RolesComponent, []byte{0xff}), wire.UpdateInvalidProposal},
		{"roles that cannot be read, by who may not change them", bob, set(room.RolesComponent, []byte{0xff}), wire.UpdateInvalidProposal},
		{"good roles by who may not change them", bob, room.UpdateRoles(roles), wire.UpdateNotAllowed},
		{"a component that rooms do not have", alice, set(0x7abc, nil), wire.UpdateInvalidProposal},
		{"a component removed", alice, &mls.Proposal{Type: mls.ProposalAppDataUpdate, AppData: &mls.AppDataUpdate{Component: room.HostingComponent, Op: mls.AppDataRemove}}, wire.UpdateInvalidProposal},
	} {
		b, ref := propose(row.by, row.p)
		row.by.group.Drop(ref)
		r := answer(row.by, b)
		if r.Code != row.is || r.Description == "" {
			t.Errorf("%s: %v %q", row.why, r.Code, r.Description)
		}
		if named := len(r.InvalidProposals) == 1 && string(r.InvalidProposals[0]) == string(ref); named != (row.is == wire.UpdateInvalidProposal) {
			t.Errorf("%s: the answer names %x, the proposal is %x", row.why, r.InvalidProposals, ref)
		}
	}
	// In a commit, by value: there is no reference to name.
	s := must(alice.group.Commit(mls.CommitOptions{Proposals: []*mls.Proposal{set(room.RolesComponent, []byte{0xff})}}, time.Now()))(t)
	whole := func(s *mls.StagedCommit) wire.HandshakeBundle {
		return wire.HandshakeBundle{Message: s.Message, GroupInfo: &wire.GroupInfoOption{Full: s.GroupInfo},
			Tree: &wire.RatchetTreeOption{Representation: wire.TreeDistributionService}}
	}
	if r := answer(alice, whole(s)); r.Code != wire.UpdateInvalidProposal || len(r.InvalidProposals) != 0 {
		t.Errorf("unreadable roles in a commit: %+v", r)
	}
	// A reference to what the hub has not: it is named.
	_, ref := propose(alice, set(room.MetadataComponent, (&policy.Metadata{URI: name, Name: "never brought"}).Append(nil)))
	s = must(alice.group.Commit(mls.CommitOptions{}, time.Now()))(t)
	alice.group.Drop(ref)
	if r := answer(alice, whole(s)); r.Code != wire.UpdateInvalidProposal || len(r.InvalidProposals) != 1 || string(r.InvalidProposals[0]) != string(ref) {
		t.Errorf("a commit with a proposal that the hub has not: %+v", r)
	}
	// Nothing of it is in the room.
	if err := alice.commit(id, mls.CommitOptions{}); err != nil {
		t.Errorf("a good commit after all that: %v", err)
	}
}

// TestBanAgain_5_5: an external commit ends the epoch, and with it what the hub has proposed.
// The hub proposes its ban anew in the next epoch, and the next member's commit bans. If the
// hub stops in between it does so when it starts again.
func TestBanAgain_5_5(t *testing.T) {
	for _, stops := range []bool{false, true} {
		t.Run(fmt.Sprintf("stops %t", stops), func(t *testing.T) { banAgain(t, stops) })
	}
}

func banAgain(t *testing.T, stops bool) {
	w, alice, bob, id := pair(t, nil)
	hub := w.ps["atlanta.example"]
	name := hub.rooms.List()[0].URI
	if stops {
		hub.rooms.HoldBans()
	}
	if err := hub.rooms.Ban(context.Background(), room.ID(id), "mimi://biloxi.example/u/nobody"); err == nil || hub.rooms.Bans() != 0 {
		t.Errorf("a ban of nobody: %v, and %d are kept", err, hub.rooms.Bans())
	}
	if err := hub.rooms.Ban(context.Background(), room.ID(id), bob.who.User.String()); err != nil {
		t.Fatal(err)
	}
	alice.follow(id, 3)
	laptop := w.device("alice@atlanta.example", "laptop")
	key := must(mls.GenerateHPKEKey(room.Suite))(t)
	m := &wire.GroupInfoRequest{Suite: room.Suite, Credential: laptop.leaf.Credential, GroupInfoKey: key.Public()}
	if err := m.Sign(laptop.leaf.Signer); err != nil {
		t.Fatal(err)
	}
	r := must(hub.serve(context.Background(), wire.EndpointGroupInfo.String(), &rooms.Request{Source: "atlanta.example", Subject: name, Body: must(m.Bytes())(t)}))(t)
	var open wire.GroupInfoRatchetTreeTBE
	if err := open.Open(key, wire.IdentifierURI(name), must(wire.ParseGroupInfoResponse(r.Body, wire.Limits{}))(t).Success.Encrypted, wire.Limits{}); err != nil {
		t.Fatal(err)
	}
	s := must(mls.ExternalCommit(open.GroupInfo, mls.ExternalOptions{LeafParams: laptop.leaf, Tree: alice.group.Public().Tree()}, laptop.config(), time.Now()))(t)
	raw := must((&wire.UpdateRequest{Bundle: wire.HandshakeBundle{Message: s.Message, GroupInfo: &wire.GroupInfoOption{Full: s.GroupInfo},
		Tree: &wire.RatchetTreeOption{Representation: wire.TreeDistributionService}}}).Bytes())(t)
	if err := laptop.update(id, raw); err != nil {
		t.Fatal(err)
	}
	if stops {
		if n := hub.rooms.List()[0].Next; n != 4 || hub.rooms.Bans() != 1 {
			t.Fatalf("%d entries and %d bans before it stops", n, hub.rooms.Bans())
		}
		hub.restart()
	}
	eventually(t, "the hub proposes again", func() bool { return hub.rooms.List()[0].Next == 5 })
	alice.follow(id, 5)
	if err := alice.commit(id, mls.CommitOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "bob is banned", func() bool {
		got, err := hub.rooms.Room(context.Background(), alice.who, id)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range got.Participants {
			if p.User == bob.who.User.String() {
				return p.Role == "banned"
			}
		}
		return false
	})
	eventually(t, "and nothing is kept of it", func() bool { return hub.rooms.Bans() == 0 })
	if err := hub.rooms.Ban(context.Background(), room.ID(id), bob.who.User.String()); err != nil {
		t.Errorf("banned once more: %v", err)
	}
	eventually(t, "and nothing is kept of that", func() bool { return hub.rooms.Bans() == 0 })
}
