package room_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
)

// set makes a commit that puts a component in place, with more in it.
func (d *device) set(c room.Component, more ...*mls.Proposal) error {
	d.w.t.Helper()
	return d.commit(mls.CommitOptions{Proposals: append(more, must(room.Update(c))(d.w.t))})
}

// beginWith begins a room with other extensions than usual.
func (w *world) beginWith(d *device, edit func(mls.Extensions) mls.Extensions) error {
	w.t.Helper()
	e := room.FirstEntry(d.create(func(p *mls.GroupParams) { p.Extensions = edit(p.Extensions) }), room.TxnID{1}, w.now)
	var err error
	if w.hub, err = room.Begin(e, w.rules); err != nil {
		return err
	}
	w.follower = must(room.Begin(e, w.rules))(w.t)
	w.log = append(w.log, e)
	return nil
}

// join enters by an external commit, as a role if that is not None.
func (d *device) join(as policy.Role) error {
	w := d.w
	w.t.Helper()
	o := mls.ExternalOptions{LeafParams: d.leaf, Tree: w.hub.Group().Tree()}
	if as != policy.None {
		o.Proposals = append(o.Proposals, must(room.UpdateParticipants(w.hub.Group().Context(), []room.Participant{{User: d.user, Role: as}}, nil))(w.t))
	}
	return d.enter(o)
}

func (d *device) enter(o mls.ExternalOptions) error {
	w := d.w
	w.t.Helper()
	s := must(mls.ExternalCommit(w.hub.GroupInfo(), o, w.config(), w.now))(w.t)
	if _, err := w.update(bundle(s), d.user.Provider().Domain()); err != nil {
		return err
	}
	for _, x := range w.clients {
		if x != d && x.group != nil && !x.group.Removed() {
			x.follow(s.Message)
		}
	}
	d.group = must(s.Join())(w.t)
	return nil
}

// says checks that an error is of policy and says why.
func says(t *testing.T, what string, err error, why string) {
	t.Helper()
	if !errors.Is(err, room.ErrPolicy) || !strings.Contains(err.Error(), why) {
		t.Errorf("%s: %v, expected to read %q", what, err, why)
	}
}

// TestBasePolicy: room-policy section 7, at hub and follower, and after a restart.
func TestBasePolicy(t *testing.T) {
	w := newWorld(t)
	alice, bob, carol := w.device("alice@atlanta.example", "phone"), w.device("bob@biloxi.example", "phone"), w.device("carol@chicago.example", "phone")
	laptop, dan := w.device("bob@biloxi.example", "laptop"), w.device("dan@biloxi.example", "phone")
	w.begin(alice)
	if err := alice.add(bob); err != nil {
		t.Fatal(err)
	}
	full := &policy.Base{MaxUsers: policy.AtMost(2), Persistent: true}
	says(t, "a member sets it", bob.set(full), "the role member lacks canChangeRoomMembershipStyle")
	says(t, "too small", alice.set(&policy.Base{MaxUsers: policy.AtMost(1)}), "there would be 2 participants, the room is for at most 1")
	says(t, "fixed later", alice.set(&policy.Base{Fixed: true}), "settled when the room is made")
	says(t, "a parent later", alice.set(&policy.Base{Parent: "mimi://atlanta.example/r/parent"}), "settled when the room is made")
	if err := alice.set(full); err != nil {
		t.Fatal(err)
	}
	w.reload(map[string][]byte{})
	says(t, "a third participant", alice.add(carol), "there would be 3 participants, the room is for at most 2")
	says(t, "a second device", bob.add(laptop), "each user may have one device in this room")
	says(t, "a second device by itself", laptop.join(policy.None), "each user may have one device in this room")
	if err := alice.set(&policy.Base{MultiDevice: true, MaxClients: policy.AtMost(3)}); err != nil {
		t.Fatal(err)
	}
	if err := bob.add(laptop); err != nil {
		t.Fatal(err)
	}
	says(t, "a fourth device", alice.add(dan), "there would be 4 devices, the room is for at most 3")
	p, err := room.PoliciesOf(w.hub.Group().Context())
	if err != nil || p.Base.MaxClients != policy.AtMost(3) || p.Status != nil {
		t.Errorf("%+v, %v", p, err)
	}
	// Nobody banned is counted (room-policy section 7).
	if err := alice.set(&policy.Base{MultiDevice: true, MaxUsers: policy.AtMost(2)}); err != nil {
		t.Fatal(err)
	}
	ban := must(room.UpdateParticipants(alice.group.Public().Context(), []room.Participant{{User: carol.user, Role: policy.Banned}}, nil))(t)
	if err := alice.commit(mls.CommitOptions{Proposals: []*mls.Proposal{ban}}); err != nil {
		t.Error(err)
	}
}

// TestFixedMembership: room-policy section 7: who takes part is specified when the room is
// created; clients of those can be added, and nobody leaves the list.
func TestFixedMembership(t *testing.T) {
	w := newWorld(t)
	alice, bob, carol := w.device("alice@atlanta.example", "phone"), w.device("bob@biloxi.example", "phone"), w.device("carol@chicago.example", "phone")
	laptop := w.device("bob@biloxi.example", "laptop")
	calm := must(policy.NewRoles([]policy.Definition{
		{Index: 2, Name: "peer", Capabilities: []policy.Capability{policy.AddOwnClient, policy.RemoveOwnClient, policy.RemoveSelf, policy.RemoveParticipant, policy.SendMessage},
			Changes: []policy.Changes{{From: 2, To: []policy.Role{policy.None}}}},
		{Index: 3, Name: "first", Capabilities: []policy.Capability{policy.AddOwnClient, policy.SendMessage, policy.ChangeUserRole, policy.ChangeRoleDefinitions, policy.RemoveParticipant},
			Changes: []policy.Changes{{From: 2, To: []policy.Role{policy.None}}}}}))(t)
	louder := append([]policy.Definition{}, calm.All()...)
	louder[0].Capabilities = append([]policy.Capability{policy.AddParticipant}, louder[0].Capabilities...)
	loud := must(policy.NewRoles(louder))(t)
	list := (&wire.ParticipantListData{Participants: []wire.UserRolePair{
		{User: wire.IdentifierURI(alice.user.String()), Role: 3}, {User: wire.IdentifierURI(bob.user.String()), Role: 2}}})
	fixed := func(b *policy.Base, roles *policy.Roles) func(mls.Extensions) mls.Extensions {
		return func(ext mls.Extensions) mls.Extensions {
			d := must(ext.Dictionary(room.BodyLimits().Limits))(t)
			d[wire.ComponentParticipantList], d[room.RolesComponent] = must(list.Bytes())(t), roles.Append(nil)
			d[room.BaseComponent] = b.Append(nil)
			ext[2] = d.Extension()
			return ext
		}
	}
	says(t, "two participants at first, and not fixed", w.beginWith(alice, fixed(&policy.Base{}, calm)), "room begins with participants")
	says(t, "fixed, and somebody may add", w.beginWith(alice, fixed(&policy.Base{Fixed: true}, loud)), "canAddParticipant, in a room whose membership is fixed")
	says(t, "a parent", w.beginWith(alice, fixed(&policy.Base{Fixed: true, Parent: "mimi://atlanta.example/r/parent"}, calm)), "needs the role policy_enforcer")
	says(t, "too many at first", w.beginWith(alice, fixed(&policy.Base{Fixed: true, MaxUsers: policy.AtMost(1)}, calm)), "at most 1")
	if err := w.beginWith(alice, fixed(&policy.Base{Fixed: true, MultiDevice: true}, calm)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(alice.add(bob), bob.send("hello"), laptop.join(policy.None)); err != nil {
		t.Fatal(err)
	}
	says(t, "a third participant", alice.add(carol), "settled when it was made")
	says(t, "leaves", bob.propose(must(room.UpdateParticipants(bob.group.Public().Context(), nil, []uri.User{bob.user}))(t)), "settled when it was made")
	says(t, "is removed", alice.commit(mls.CommitOptions{Remove: w.hub.Roster().Leaves(bob.user),
		Proposals: []*mls.Proposal{must(room.UpdateParticipants(alice.group.Public().Context(), nil, []uri.User{bob.user}))(t)}}), "settled when it was made")
	says(t, "roles that add", alice.define(loud), "in a room whose membership is fixed")
	// All its devices may go; it stays on the list and may come back.
	if err := errors.Join(laptop.propose(&mls.Proposal{Type: mls.ProposalSelfRemove}), alice.commit(mls.CommitOptions{})); err != nil {
		t.Fatal(err)
	}
	if w.hub.Roster().Clients(bob.user) != 1 || w.hub.Role(bob.user) != 2 {
		t.Error("bob's laptop left, and not bob")
	}
}

// open are basic roles where anybody joins as a member, and who is preauthorized as
// moderator.
func open(t *testing.T, anybody bool) *policy.Roles {
	defs := append([]policy.Definition{}, policy.Basic().All()...)
	if anybody {
		defs[0] = policy.Definition{Index: policy.None, Name: "none", Capabilities: []policy.Capability{policy.OpenJoin},
			Changes: []policy.Changes{{From: policy.None, To: []policy.Role{policy.Member}}}}
	}
	defs[3].Capabilities = append([]policy.Capability{policy.JoinIfPreauthorized}, defs[3].Capabilities...)
	defs[2].Capabilities = append([]policy.Capability{policy.ChangeOwnRole}, defs[2].Capabilities...)
	return must(policy.NewRoles(defs))(t)
}

// TestOpenJoin: room-policy section 10.1, canOpenJoin.
func TestOpenJoin(t *testing.T) {
	w := newWorld(t)
	alice, bob, carol := w.device("alice@atlanta.example", "phone"), w.device("bob@biloxi.example", "phone"), w.device("carol@chicago.example", "phone")
	w.begin(alice)
	says(t, "joins a room of the basic roles", bob.join(policy.Member), "nobody joins this room without being added")
	if err := alice.define(open(t, true)); err != nil {
		t.Fatal(err)
	}
	says(t, "joins and is on no list", bob.join(policy.None), "joins by itself")
	says(t, "joins as admin", bob.join(policy.Admin), "nobody may join this room as admin")
	says(t, "joins as banned", bob.join(policy.Banned), "nobody who is banned")
	both := must(room.UpdateParticipants(w.hub.Group().Context(), []room.Participant{{User: bob.user, Role: policy.Member}, {User: carol.user, Role: policy.Member}}, nil))(t)
	says(t, "brings a friend", bob.enter(mls.ExternalOptions{LeafParams: bob.leaf, Tree: w.hub.Group().Tree(), Proposals: []*mls.Proposal{both}}), "changes nobody's role")
	renames := []*mls.Proposal{must(room.UpdateParticipants(w.hub.Group().Context(), []room.Participant{{User: bob.user, Role: policy.Member}}, nil))(t),
		must(room.Update(&policy.Metadata{URI: w.hub.URI().String(), Name: "bob's"}))(t)}
	says(t, "renames it as it comes", bob.enter(mls.ExternalOptions{LeafParams: bob.leaf, Tree: w.hub.Group().Tree(), Proposals: renames}), "the role none lacks canChangeRoomName")
	if err := errors.Join(bob.join(policy.Member), bob.send("here I am"), alice.send("welcome")); err != nil {
		t.Fatal(err)
	}
	if w.hub.Role(bob.user) != policy.Member || w.hub.Roster().Clients(bob.user) != 1 || !w.hub.View().Participating("biloxi.example") {
		t.Error("bob is not in")
	}
	// Banned, it does not come back.
	ban := must(room.UpdateParticipants(alice.group.Public().Context(), []room.Participant{{User: bob.user, Role: policy.Banned}}, nil))(t)
	if err := alice.commit(mls.CommitOptions{Remove: w.hub.Roster().Leaves(bob.user), Proposals: []*mls.Proposal{ban}}); err != nil {
		t.Fatal(err)
	}
	says(t, "comes back banned", bob.join(policy.Member), "joins by itself")
	says(t, "comes back banned, as such", bob.join(policy.None), "joins by itself")
	if err := alice.set(&policy.Base{MultiDevice: true, MaxUsers: policy.AtMost(1)}); err != nil {
		t.Fatal(err)
	}
	says(t, "joins a full room", carol.join(policy.Member), "the room is for at most 1")
	if err := errors.Join(alice.set(policy.DefaultBase()), alice.set(&policy.Operational{})); err != nil {
		t.Fatal(err)
	}
	says(t, "joins where the operational policy forbids it", carol.join(policy.Member), "external_commit_allowed")
	if err := errors.Join(alice.set(&policy.Operational{ExternalCommits: true}), carol.join(policy.Member)); err != nil {
		t.Fatal(err)
	}
}

// TestPreauthorization: room-policy section 6: consulted for who joins from outside and is
// not on the list, and for who changes its own role; never for who is banned.
func TestPreauthorization(t *testing.T) {
	w := newWorld(t)
	alice, bob, carol := w.device("alice@atlanta.example", "phone"), w.device("bob@biloxi.example", "phone"), w.device("carol@chicago.example", "phone")
	dan := w.device("dan@biloxi.example", "phone")
	w.begin(alice)
	if err := errors.Join(alice.define(open(t, false)), alice.add(dan)); err != nil {
		t.Fatal(err)
	}
	claim := func(id []byte, v string) []policy.Claim {
		return []policy.Claim{{Credential: policy.CredentialX509, ID: id, Value: []byte(v)}}
	}
	all := &policy.Preauth{Entries: []policy.Preauthorized{
		{Claims: claim(room.ClaimName, "mimi://biloxi.example/u/eve"), Role: policy.Banned + 1},
		{Claims: claim(room.ClaimIssuer, "mimi://biloxi.example"), Role: policy.Moderator},
		{Claims: claim(room.ClaimIssuer, "mimi://chicago.example"), Role: policy.Admin},
	}}
	says(t, "set by a member", dan.set(all), "the role member lacks canChangePreauthorizedUserList")
	says(t, "a role that there is not", alice.set(&policy.Preauth{Entries: []policy.Preauthorized{{Claims: claim(room.ClaimName, "x"), Role: 9}}}), "role 9, which there is not")
	promote := must(room.UpdateParticipants(alice.group.Public().Context(), []room.Participant{{User: dan.user, Role: policy.Moderator}}, nil))(t)
	says(t, "with a change of the list", alice.set(all, promote), "the same commit makes")
	if err := alice.set(all); err != nil {
		t.Fatal(err)
	}
	says(t, "as less than preauthorized for", bob.join(policy.Member), "nobody joins this room")
	says(t, "for a role that lacks canJoinIfPreauthorized", carol.join(policy.Admin), "nobody joins this room")
	if err := bob.join(policy.Moderator); err != nil {
		t.Fatal(err)
	}
	if w.hub.Role(bob.user) != policy.Moderator {
		t.Error("bob is no moderator")
	}
	says(t, "raises itself to another role", dan.setRole(dan, policy.Admin), "makes itself an administrator")
	if err := dan.setRole(dan, policy.Moderator); err != nil {
		t.Fatal(err)
	}
	ban := must(room.UpdateParticipants(alice.group.Public().Context(), []room.Participant{{User: bob.user, Role: policy.Banned}}, nil))(t)
	// Removals may come with a new preauthorization; a ban is a change of role.
	says(t, "with a ban", alice.commit(mls.CommitOptions{Remove: w.hub.Roster().Leaves(bob.user), Proposals: []*mls.Proposal{ban, must(room.Update(&policy.Preauth{}))(t)}}), "the same commit makes")
	if err := alice.commit(mls.CommitOptions{Remove: w.hub.Roster().Leaves(bob.user), Proposals: []*mls.Proposal{ban}}); err != nil {
		t.Fatal(err)
	}
	says(t, "banned, and preauthorized", bob.join(policy.Moderator), "joins by itself")
	gone := must(room.UpdateParticipants(alice.group.Public().Context(), nil, []uri.User{dan.user}))(t)
	if err := alice.commit(mls.CommitOptions{Remove: w.hub.Roster().Leaves(dan.user), Proposals: []*mls.Proposal{gone, must(room.Update(&policy.Preauth{}))(t)}}); err != nil {
		t.Errorf("with a removal: %v", err)
	}
	says(t, "after the list was emptied", dan.join(policy.Moderator), "nobody joins this room")
}

// TestMetadata: MIMI protocol section 7.6: whole, of this room, at most once in a commit.
func TestMetadata(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.device("alice@atlanta.example", "phone"), w.device("bob@biloxi.example", "phone")
	w.begin(alice)
	if err := alice.add(bob); err != nil {
		t.Fatal(err)
	}
	of := func(name, subject string) *policy.Metadata {
		return &policy.Metadata{URI: w.hub.URI().String(), Name: name, Subject: subject}
	}
	says(t, "a member's", bob.set(of("name", "news")), "the role member lacks canChangeRoomSubject")
	says(t, "of another room", alice.set(&policy.Metadata{URI: "mimi://atlanta.example/r/other", Name: "name"}), "it is about")
	if err := alice.set(of("other", "news")); err != nil {
		t.Fatal(err)
	}
	m, err := room.MetadataOf(bob.group.Public().Context())
	if err != nil || m.Name != "other" || m.Subject != "news" {
		t.Errorf("bob reads %+v, %v", m, err)
	}
	if _, err := alice.group.Commit(mls.CommitOptions{Proposals: []*mls.Proposal{must(room.Update(of("a", "")))(t), must(room.Update(of("b", "")))(t)}}, w.now); !errors.Is(err, room.ErrPolicy) {
		t.Errorf("twice in a commit: %v", err)
	}
}

// TestEnd: who ends a room, and what the hub takes after it.
func TestEnd(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.device("alice@atlanta.example", "phone"), w.device("bob@biloxi.example", "phone")
	w.begin(alice)
	if err := alice.add(bob); err != nil {
		t.Fatal(err)
	}
	next := must(uri.ParseRoom("mimi://biloxi.example/r/next"))(t)
	end := func(d *device) error {
		return d.commit(mls.CommitOptions{Proposals: []*mls.Proposal{room.Ends(next)}})
	}
	says(t, "a member ends it", end(bob), "the role member lacks canDestroyRoom")
	says(t, "by a proposal", alice.propose(room.Ends(next)), "by no proposal")
	if w.hub.Ended() != nil {
		t.Fatal("ended too early")
	}
	if err := end(alice); err != nil {
		t.Fatal(err)
	}
	w.reload(map[string][]byte{})
	if e := w.hub.Ended(); e == nil || e.Successor != next {
		t.Errorf("it ended with %+v", e)
	}
	if e := w.follower.Ended(); e == nil || e.Successor != next {
		t.Errorf("for the follower it ended with %+v", e)
	}
	wantErr(t, "a message after the end", bob.send("hello?"), room.ErrEnded)
	wantErr(t, "a commit after the end", alice.setRole(bob, policy.Admin), room.ErrEnded)
}

// TestEffective: what is pending counts for what comes after it.
func TestEffective(t *testing.T) {
	w := newWorld(t)
	alice, bob, carol := w.device("alice@atlanta.example", "phone"), w.device("bob@biloxi.example", "phone"), w.device("carol@chicago.example", "phone")
	w.begin(alice)
	if err := errors.Join(alice.add(bob, carol), alice.setRole(bob, policy.Admin)); err != nil {
		t.Fatal(err)
	}
	leave := func(d *device) []*mls.Proposal {
		return []*mls.Proposal{{Type: mls.ProposalSelfRemove}, must(room.UpdateParticipants(d.group.Public().Context(), nil, []uri.User{d.user}))(t)}
	}
	if err := alice.propose(leave(alice)...); err != nil {
		t.Fatal(err)
	}
	says(t, "the last admin leaves, too", bob.propose(leave(bob)...), "there would be 0 of the role admin, at least 1 are demanded")
	says(t, "sends after it left", alice.send("one more thing"), "the role none lacks canSendMessage")
	says(t, "proposes after it left", alice.propose(must(room.UpdateParticipants(alice.group.Public().Context(), []room.Participant{{User: carol.user, Role: policy.Banned}}, nil))(t)), "the role none lacks")
	v := must(w.hub.Effective())(t)
	if w.hub.Role(alice.user) != policy.Admin || v.Role(alice.user.String()) != policy.None || v.Clients(alice.user.String()) != 0 {
		t.Error("alice is there until the commit, and in effect not")
	}
	if v.Participating("atlanta.example") || !w.hub.View().Participating("atlanta.example") || v.Load() != (policy.Load{Users: 2, Clients: 2}) {
		t.Errorf("in effect %v take part, %+v", v.Providers(), v.Load())
	}
	if err := carol.commit(mls.CommitOptions{}); err != nil { // bob's own group holds what was refused
		t.Fatal(err)
	}
	if after := must(w.hub.Effective())(t); after != w.hub.View() || after.Role(alice.user.String()) != policy.None {
		t.Error("after the commit both views are one")
	}
	says(t, "the last admin leaves", bob.propose(leave(bob)...), "there would be 0 of the role admin")
	if err := carol.commit(mls.CommitOptions{}); err != nil {
		t.Fatal(err)
	}
	says(t, "the last admin steps down", bob.setRole(bob, policy.Member), "there would be 0 of the role admin")
	if err := errors.Join(bob.setRole(carol, policy.Admin), bob.propose(leave(bob)...), carol.commit(mls.CommitOptions{})); err != nil {
		t.Errorf("gives it away and leaves: %v", err)
	}
}
