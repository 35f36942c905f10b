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

// TestPrivateHandshakeRefused_5_3: a handshake that the hub could not read is none, neither
// from a provider nor in a log.
func TestPrivateHandshakeRefused_5_3(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.device("alice@atlanta.example", "phone"), w.device("bob@biloxi.example", "phone")
	w.begin(alice)
	if err := alice.add(bob); err != nil {
		t.Fatal(err)
	}
	open, hidden := must(alice.group.Commit(mls.CommitOptions{}, w.now))(t), must(alice.group.Commit(mls.CommitOptions{Private: true}, w.now))(t)
	if hidden.Message.Private == nil {
		t.Fatal("the commit is not private")
	}
	_, err := w.update(bundle(hidden), "atlanta.example")
	wantErr(t, "a private commit", err, wire.ErrCombination)
	// As it would come in, since nothing of ours writes it: the rest of the request is that of
	// a commit which is taken.
	good := must((&wire.UpdateRequest{Bundle: *bundle(open)}).Bytes())(t)
	rest := good[len(open.Message.Bytes()):]
	for why, read := range map[string]func([]byte) error{
		"from a provider": func(b []byte) error { _, err := wire.ParseUpdateRequest(b, room.BodyLimits()); return err },
		"in a log":        func(b []byte) error { _, err := room.ParseHandshake(b); return err },
	} {
		wantErr(t, "a commit "+why, read(good), nil)
		wantErr(t, "a private commit "+why, read(append(hidden.Message.Bytes(), rest...)), wire.ErrCombination)
		for private, want := range map[bool]error{false: nil, true: wire.ErrCombination} {
			p := must(bob.group.Propose(&mls.Proposal{Type: mls.ProposalRemove, Remove: alice.group.OwnLeaf()}, mls.SendOptions{Private: private}, w.now))(t)
			wantErr(t, "a proposal "+why, read(append(p.Bytes(), 0)), want) // no more proposals
		}
	}
	wantErr(t, "the commit itself", second(w.update(bundle(open), "atlanta.example")), nil)
}

// TestPartialGroupInfoRefused_5_3: a log whose followers join from it needs the whole one.
func TestPartialGroupInfoRefused_5_3(t *testing.T) {
	w := newWorld(t)
	alice := w.device("alice@atlanta.example", "phone")
	w.begin(alice)
	b := bundle(must(alice.group.Commit(mls.CommitOptions{}, w.now))(t))
	full := b.GroupInfo
	b.GroupInfo = &wire.GroupInfoOption{Partial: &wire.PartialGroupInfo{Signature: full.Full.Signature}}
	_, err := w.update(b, "atlanta.example")
	wantErr(t, "a partial GroupInfo", err, room.ErrBody)
	b.GroupInfo = full
	_, err = w.update(b, "atlanta.example")
	wantErr(t, "a whole one", err, nil)
}

// TestBatchIsOne_5_3: of several proposals that come together, one that is not allowed
// keeps the others out, and none of them is pending.
func TestBatchIsOne_5_3(t *testing.T) {
	w := newWorld(t)
	alice, bob, carol := w.device("alice@atlanta.example", "phone"), w.device("bob@biloxi.example", "phone"), w.device("carol@chicago.example", "phone")
	w.begin(alice)
	if err := alice.add(bob, carol); err != nil {
		t.Fatal(err)
	}
	ctx := bob.group.Public().Context()
	own := []*mls.Proposal{{Type: mls.ProposalSelfRemove}, must(room.UpdateParticipants(ctx, nil, []uri.User{bob.user}))(t)}
	at, pending := w.hub.At(), len(w.hub.Group().Pending())
	wantErr(t, "his leave, and that of another", bob.propose(append(own, &mls.Proposal{Type: mls.ProposalRemove, Remove: carol.group.OwnLeaf()})...), room.ErrPolicy)
	if w.hub.At() != at || len(w.hub.Group().Pending()) != pending {
		t.Errorf("refused, and %d proposals are pending", len(w.hub.Group().Pending()))
	}
	w.reload(map[string][]byte{})
}

// TestRemovedAreStopped_5_3: what a banned user's device made before the ban, with keys that
// were good then, is not taken after it: no message, no commit, no proposal.
func TestRemovedAreStopped_5_3(t *testing.T) {
	w := newWorld(t)
	alice, bob, carol := w.device("alice@atlanta.example", "phone"), w.device("bob@biloxi.example", "phone"), w.device("carol@chicago.example", "phone")
	w.begin(alice)
	if err := alice.add(bob, carol); err != nil {
		t.Fatal(err)
	}
	message := func(d *device) *wire.SubmitMessageRequest {
		return &wire.SubmitMessageRequest{Message: must(d.group.Encrypt([]byte("x"), mls.SendOptions{AAD: tagged("x")}))(t), SendingURI: wire.IdentifierURI(d.user.String())}
	}
	his, hers := message(bob), message(carol)
	commit := bundle(must(bob.group.Commit(mls.CommitOptions{}, w.now))(t))
	proposal := &wire.HandshakeBundle{Message: must(bob.group.Propose(&mls.Proposal{Type: mls.ProposalSelfRemove}, mls.SendOptions{}, w.now))(t)}
	ban := must(room.UpdateParticipants(alice.group.Public().Context(), []room.Participant{{User: bob.user, Role: policy.Banned}}, nil))(t)
	if err := alice.commit(mls.CommitOptions{Remove: w.hub.Roster().Leaves(bob.user), Proposals: []*mls.Proposal{ban}}); err != nil {
		t.Fatal(err)
	}
	at := w.hub.At()
	says(t, "his message of the epoch before", w.submit(his, "biloxi.example"), "the role banned")
	for why, b := range map[string]*wire.HandshakeBundle{"commit": commit, "proposal": proposal} {
		if _, err := w.update(b, "biloxi.example"); !errors.Is(err, mls.ErrWrongEpoch) {
			t.Errorf("his %s: %v", why, err)
		}
	}
	if w.hub.At() != at {
		t.Error("something of it was ordered")
	}
	wantErr(t, "another's message of the epoch before", w.submit(hers, "chicago.example"), nil)
}

// TestSenderIsActive_5_4: a participant without a client in the room sends nothing.
func TestSenderIsActive_5_4(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.device("alice@atlanta.example", "phone"), w.device("bob@biloxi.example", "phone")
	w.begin(alice)
	if err := alice.add(bob); err != nil {
		t.Fatal(err)
	}
	m := &wire.SubmitMessageRequest{Message: must(bob.group.Encrypt([]byte("x"), mls.SendOptions{AAD: tagged("x")}))(t), SendingURI: wire.IdentifierURI(bob.user.String())}
	if err := alice.commit(mls.CommitOptions{Remove: w.hub.Roster().Leaves(bob.user)}); err != nil {
		t.Fatal(err)
	}
	if w.hub.Role(bob.user) != policy.Member {
		t.Fatal("bob is no participant any more")
	}
	says(t, "an inactive participant", w.submit(m, "biloxi.example"), "has no client in the group")
}

// TestPendingSelfRemove_5_6: who joins from outside while somebody is leaving takes up the
// SelfRemove by reference, or is refused.
func TestPendingSelfRemove_5_6(t *testing.T) {
	w := newWorld(t)
	alice, bob, laptop := w.device("alice@atlanta.example", "phone"), w.device("bob@biloxi.example", "phone"), w.device("bob@biloxi.example", "laptop")
	w.begin(alice)
	if err := alice.add(bob); err != nil {
		t.Fatal(err)
	}
	leaves := must(alice.group.Propose(&mls.Proposal{Type: mls.ProposalSelfRemove}, mls.SendOptions{}, w.now))(t)
	if _, err := w.update(&wire.HandshakeBundle{Message: leaves}, "atlanta.example"); err != nil {
		t.Fatal(err)
	}
	bob.follow(leaves)
	wantErr(t, "without it", laptop.join(policy.None), room.ErrPending)
	err := laptop.enter(mls.ExternalOptions{LeafParams: laptop.leaf, Tree: w.hub.Group().Tree(), SelfRemoves: []*mls.PublicMessage{leaves.Public}})
	wantErr(t, "with it", err, nil)
	if w.hub.Roster().Clients(alice.user) != 0 || w.hub.Roster().Clients(bob.user) != 2 {
		t.Errorf("alice has %d clients, bob %d", w.hub.Roster().Clients(alice.user), w.hub.Roster().Clients(bob.user))
	}
}

// TestListUpdate_7_5: indices count in the list before the commit, of all its updates: first
// roles change, then users go, then users are appended; nobody is touched twice.
func TestListUpdate_7_5(t *testing.T) {
	w := newWorld(t)
	alice, bob, carol, dan := w.device("alice@atlanta.example", "phone"), w.device("bob@biloxi.example", "phone"), w.device("carol@chicago.example", "phone"), w.device("dan@chicago.example", "phone")
	eve := w.device("eve@biloxi.example", "phone")
	w.begin(alice)
	if err := alice.add(bob, carol, dan); err != nil {
		t.Fatal(err)
	}
	list := func() (out []string) {
		for _, p := range must(room.ParticipantsOf(w.hub.Group().Context()))(t) {
			out = append(out, string(p.User)+" "+w.hub.Roles().Name(policy.Role(p.Role)))
		}
		return out
	}
	same := func(got []string, want ...string) {
		t.Helper()
		if len(got) != len(want) {
			t.Fatalf("the list is %q, expected %q", got, want)
		}
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("place %d: %s, expected %s", i, got[i], want[i])
			}
		}
	}
	const a, b, c, d, e = "mimi://atlanta.example/u/alice ", "mimi://biloxi.example/u/bob ", "mimi://chicago.example/u/carol ", "mimi://chicago.example/u/dan ", "mimi://biloxi.example/u/eve "
	same(list(), a+"admin", b+"member", c+"member", d+"member")
	update := func(u *wire.ParticipantListUpdate) *mls.Proposal {
		return &mls.Proposal{Type: mls.ProposalAppDataUpdate, AppData: &mls.AppDataUpdate{Component: wire.ComponentParticipantList, Op: mls.AppDataSet, Update: must(u.Bytes())(t)}}
	}
	added := []wire.UserRolePair{{User: wire.IdentifierURI(eve.user.String()), Role: uint32(policy.Member)}}
	// Bob (1) goes; dan is 3, though he will be 2; eve is appended. In two updates.
	o := mls.CommitOptions{Remove: w.hub.Roster().Leaves(bob.user), Proposals: []*mls.Proposal{
		update(&wire.ParticipantListUpdate{Removed: []uint32{1}, Added: added}),
		update(&wire.ParticipantListUpdate{Changed: []wire.UserIndexRolePair{{Index: 3, Role: uint32(policy.Moderator)}}})}}
	if err := alice.commit(o); err != nil {
		t.Fatal(err)
	}
	same(list(), a+"admin", c+"member", d+"moderator", e+"member")

	change := func(i uint32, r policy.Role) *wire.ParticipantListUpdate {
		return &wire.ParticipantListUpdate{Changed: []wire.UserIndexRolePair{{Index: i, Role: uint32(r)}}}
	}
	for why, two := range map[string][]*wire.ParticipantListUpdate{
		"changed twice":       {change(1, policy.Moderator), change(1, policy.Admin)},
		"changed and removed": {change(1, policy.Moderator), {Removed: []uint32{1}}},
		"added twice":         {{Added: []wire.UserRolePair{{User: "mimi://biloxi.example/u/new", Role: 2}}}, {Added: []wire.UserRolePair{{User: "mimi://biloxi.example/u/new", Role: 2}}}},
		"added and there":     {{Added: added}},
		"beyond the list":     {change(4, policy.Moderator)},
	} {
		var ps []*mls.Proposal
		for _, u := range two {
			ps = append(ps, update(u))
		}
		if _, err := alice.group.Commit(mls.CommitOptions{Proposals: ps}, w.now); !errors.Is(err, room.ErrPolicy) && !errors.Is(err, wire.ErrCombination) {
			t.Errorf("%s: %v", why, err)
		}
	}
}
