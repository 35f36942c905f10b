package room_test

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"testing"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/mls/x509auth"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
)

// TestStory: a room from its creation over joins, messages, a leave, a removal
// and a return by external commit, with a follower that sees the same and a hub
// that is stored and loaded after every step.
func TestStory(t *testing.T) {
	w := newWorld(t)
	parts := map[string][]byte{}
	alice, bob, bob2, carol := w.device("alice@atlanta.example", "phone"), w.device("bob@biloxi.example", "phone"),
		w.device("bob@biloxi.example", "laptop"), w.device("carol@chicago.example", "phone")
	w.begin(alice)
	w.reload(parts)
	check := func(what string, err error, epoch uint64, providers ...string) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		w.reload(parts)
		if w.hub.Epoch() != epoch || !slices.Equal(w.hub.Providers(), providers) {
			t.Fatalf("%s: epoch %d, providers %v", what, w.hub.Epoch(), w.hub.Providers())
		}
		for _, u := range w.hub.Participants() {
			if w.hub.Roster().Clients(u.User) != w.follower.Roster().Clients(u.User) {
				t.Fatalf("%s: rosters differ", what)
			}
		}
	}
	check("alice adds bob with two clients", alice.add(bob, bob2), 1, "atlanta.example", "biloxi.example")
	check("bob adds carol", bob.add(carol), 2, "atlanta.example", "biloxi.example", "chicago.example")
	check("carol writes", carol.send("hello"), 2, "atlanta.example", "biloxi.example", "chicago.example")

	// Bob leaves: one client proposes the removal of both and of himself. He
	// cannot commit that; alice's next commit has to.
	ctx := bob.group.Public().Context()
	off := must(room.UpdateParticipants(ctx, nil, []uri.User{bob.user}))(t)
	check("bob proposes to leave", bob.propose(&mls.Proposal{Type: mls.ProposalSelfRemove},
		&mls.Proposal{Type: mls.ProposalRemove, Remove: bob2.group.OwnLeaf()}, off), 2, "atlanta.example", "biloxi.example", "chicago.example")
	wantErr(t, "a commit that keeps bob", alice.commit(mls.CommitOptions{WithoutPending: true}), room.ErrPending)
	check("alice commits", alice.commit(mls.CommitOptions{}), 3, "atlanta.example", "chicago.example")
	if !bob.group.Removed() || !bob2.group.Removed() || w.hub.Role(bob.user) != policy.None {
		t.Fatal("bob is still there")
	}
	if last, ok := w.hub.MayRead("biloxi.example"); !ok || last != w.hub.At().Next-1 {
		t.Errorf("biloxi may read to %d, %v", last, ok)
	}
	if _, ok := w.hub.MayRead("dallas.example"); ok {
		t.Error("a stranger may read")
	}

	// Carol lost her state and comes back by herself, in the place of her old leaf.
	leaf := carol.group.OwnLeaf()
	s := must(mls.ExternalCommit(w.hub.GroupInfo(), mls.ExternalOptions{LeafParams: carol.leaf,
		Tree: w.hub.Group().Tree(), Replace: &leaf}, w.config(), w.now))(t)
	_, err := w.update(bundle(s), "biloxi.example")
	wantErr(t, "carol's commit brought by biloxi", err, room.ErrSubmission)
	_, err = w.update(bundle(s), "chicago.example")
	check("carol rejoins", err, 4, "atlanta.example", "chicago.example")
	carol.group = must(s.Join())(t)
	alice.follow(s.Message)
	check("carol writes again", carol.send("back"), 4, "atlanta.example", "chicago.example")

	// Alice takes carol off.
	off = must(room.UpdateParticipants(alice.group.Public().Context(), nil, []uri.User{carol.user}))(t)
	check("alice removes carol", alice.commit(mls.CommitOptions{Remove: []mls.LeafIndex{carol.group.OwnLeaf()},
		Proposals: []*mls.Proposal{off}}), 5, "atlanta.example")

	// A newcomer's provider follows the whole log and stands where the others do.
	late := must(room.Begin(w.log[0], w.rules))(t)
	for _, e := range w.log[1:] {
		st := must(late.Check(e))(t)
		if err := late.Advance(st); err != nil {
			t.Fatal(err)
		}
	}
	if late.At() != w.hub.At() || !late.Group().Context().Equal(w.hub.Group().Context()) {
		t.Error("the log leads somewhere else")
	}
}

// TestCreateRefused: rooms that do not begin as they should.
func TestCreateRefused(t *testing.T) {
	component := func(id mls.ComponentID, data []byte) func(*world, *mls.GroupParams) {
		return func(w *world, p *mls.GroupParams) {
			d := must(p.Extensions.Dictionary(mls.Limits{}))(w.t)
			if data == nil {
				delete(d, id)
			} else {
				d[id] = data
			}
			x := d.Extension()
			p.Extensions = p.Extensions.With(x.Type, x.Data)
		}
	}
	hosting := func(edit func(*room.Hosting)) func(*world, *mls.GroupParams) {
		return func(w *world, p *mls.GroupParams) {
			h := w.hosting()
			edit(h)
			component(room.HostingComponent, h.Append(nil))(w, p)
		}
	}
	list := func(pairs ...wire.UserRolePair) []byte {
		b, _ := (&wire.ParticipantListData{Participants: pairs}).Bytes()
		return b
	}
	for _, c := range []struct {
		why  string
		user string
		edit func(*world, *mls.GroupParams)
		want error
	}{
		{"as it should be", "alice@atlanta.example", nil, nil},
		{"by a user of another provider", "bob@biloxi.example", nil, room.ErrPolicy},
		{"another group id", "alice@atlanta.example", func(_ *world, p *mls.GroupParams) { p.GroupID = []byte("mimi://atlanta.example/g/other") }, room.ErrBody},
		{"no participant list", "alice@atlanta.example", component(wire.ComponentParticipantList, nil), room.ErrPolicy},
		{"no hosting", "alice@atlanta.example", component(room.HostingComponent, nil), room.ErrHosting},
		{"an unknown component", "alice@atlanta.example", component(0x8002, []byte{1}), room.ErrPolicy},
		{"huge metadata", "alice@atlanta.example", component(room.MetadataComponent, make([]byte, 17<<10)), room.ErrPolicy},
		{"creator is a mere member", "alice@atlanta.example", component(wire.ComponentParticipantList,
			list(wire.UserRolePair{User: "mimi://atlanta.example/u/alice", Role: 2})), room.ErrPolicy},
		{"somebody else on the list", "alice@atlanta.example", component(wire.ComponentParticipantList,
			list(wire.UserRolePair{User: "mimi://atlanta.example/u/alice", Role: 4}, wire.UserRolePair{User: "mimi://atlanta.example/u/eve", Role: 4})), room.ErrPolicy},
		{"another hub", "alice@atlanta.example", hosting(func(h *room.Hosting) { h.Hub.Domain = "biloxi.example" }), room.ErrHosting},
		{"another key", "alice@atlanta.example", hosting(func(h *room.Hosting) { h.Hub.ProviderKey[0] ^= 1; h.Replicas[0] = h.Hub }), room.ErrHosting},
		{"a later term", "alice@atlanta.example", hosting(func(h *room.Hosting) { h.Term.Number = 2 }), room.ErrHosting},
		{"a replica that is not the hub", "alice@atlanta.example", hosting(func(h *room.Hosting) { h.Replicas[0].Domain = "biloxi.example" }), room.ErrHosting},
		{"no required capabilities", "alice@atlanta.example", func(_ *world, p *mls.GroupParams) {
			p.Extensions = p.Extensions.Without(mls.ExtRequiredCapabilities)
		}, room.ErrPolicy},
		{"no external senders", "alice@atlanta.example", func(_ *world, p *mls.GroupParams) {
			p.Extensions = p.Extensions.Without(mls.ExtExternalSenders)
		}, room.ErrPolicy},
	} {
		w := newWorld(t)
		var edit func(*mls.GroupParams)
		if c.edit != nil {
			edit = func(p *mls.GroupParams) { c.edit(w, p) }
		}
		e := room.FirstEntry(w.device(c.user, "phone").create(edit), room.TxnID{}, w.now)
		_, err := room.Begin(e, w.rules)
		wantErr(t, c.why, err, c.want)
	}
	w := newWorld(t)
	c := w.device("alice@atlanta.example", "phone").create(nil)
	e := room.FirstEntry(c, room.TxnID{}, w.now)
	e.Room[0] ^= 1
	_, err := room.Begin(e, w.rules)
	wantErr(t, "entry of another room", err, room.ErrWrongRoom)
	e = room.FirstEntry(c, room.TxnID{}, w.now)
	delete(w.providers, "atlanta.example")
	_, err = room.Begin(e, w.rules)
	wantErr(t, "a provider that nobody knows", err, x509auth.ErrUnknownProvider)
}

// TestPolicyRefused: handshakes that are good MLS and that the room does not
// allow.
func TestPolicyRefused(t *testing.T) {
	w := newWorld(t)
	alice, bob, carol, dan := w.device("alice@atlanta.example", "phone"), w.device("bob@biloxi.example", "phone"),
		w.device("carol@chicago.example", "phone"), w.device("dan@chicago.example", "phone")
	w.begin(alice)
	if err := alice.add(bob, carol); err != nil {
		t.Fatal(err)
	}
	list := func(set []room.Participant, remove ...uri.User) *mls.Proposal {
		return must(room.UpdateParticipants(alice.group.Public().Context(), set, remove))(t)
	}
	one := func(u uri.User, r policy.Role) []room.Participant { return []room.Participant{{User: u, Role: r}} }
	kp := func(d *device) []*mls.ValidKeyPackage {
		return []*mls.ValidKeyPackage{must(d.keyPackage().KeyPackage().Verify(w.config(), w.now))(t)}
	}
	leaf := func(d *device) []mls.LeafIndex { return []mls.LeafIndex{d.group.OwnLeaf()} }
	set := func(id mls.ComponentID, op mls.AppDataOperation, data []byte) []*mls.Proposal {
		return []*mls.Proposal{{Type: mls.ProposalAppDataUpdate, AppData: &mls.AppDataUpdate{Component: id, Op: op, Update: data}}}
	}
	moved := w.hosting()
	moved.Hub.Domain = "biloxi.example"
	topic := w.hosting()
	topic.Topic = [16]byte{9}
	alicesID := alice.group.Public().Context().Extensions
	for _, c := range []struct {
		why string
		by  *device
		o   mls.CommitOptions
	}{
		{"adds a client of no participant", bob, mls.CommitOptions{Add: kp(dan)}},
		{"adds a participant as admin", bob, mls.CommitOptions{Proposals: []*mls.Proposal{list(one(dan.user, policy.Admin))}, Add: kp(dan)}},
		{"makes itself admin", bob, mls.CommitOptions{Proposals: []*mls.Proposal{list(one(bob.user, policy.Admin))}}},
		{"removes another", bob, mls.CommitOptions{Remove: leaf(carol), Proposals: []*mls.Proposal{list(nil, carol.user)}}},
		{"kicks another", bob, mls.CommitOptions{Remove: leaf(carol)}},
		{"takes another off the list", bob, mls.CommitOptions{Proposals: []*mls.Proposal{list(nil, carol.user)}}},
		{"takes a participant off the list and leaves its client", alice, mls.CommitOptions{Proposals: []*mls.Proposal{list(nil, carol.user)}}},
		{"bans and leaves the client", alice, mls.CommitOptions{Proposals: []*mls.Proposal{list(one(carol.user, policy.Banned))}}},
		{"a role that does not exist", alice, mls.CommitOptions{Proposals: []*mls.Proposal{list(one(carol.user, 7))}}},
		{"renames the room", bob, mls.CommitOptions{Proposals: set(room.MetadataComponent, mls.AppDataSet, (&policy.Metadata{URI: w.hub.URI().String(), Name: "mine"}).Append(nil))}},
		{"moves the room", alice, mls.CommitOptions{Proposals: set(room.HostingComponent, mls.AppDataSet, moved.Append(nil))}},
		{"changes the topic", bob, mls.CommitOptions{Proposals: set(room.HostingComponent, mls.AppDataSet, topic.Append(nil))}},
		{"removes the hosting", alice, mls.CommitOptions{Proposals: set(room.HostingComponent, mls.AppDataRemove, nil)}},
		{"a component of its own", alice, mls.CommitOptions{Proposals: set(0x9000, mls.AppDataSet, []byte("x"))}},
		{"extensions by themselves", alice, mls.CommitOptions{Proposals: []*mls.Proposal{{Type: mls.ProposalGroupContextExtensions, Extensions: alicesID}}}},
		{"closes the group", alice, mls.CommitOptions{Proposals: []*mls.Proposal{{Type: mls.ProposalReInit,
			ReInit: &mls.ReInit{GroupID: []byte("x"), Version: mls.MLS10, Suite: room.Suite}}}}},
	} {
		s, err := c.by.group.Commit(c.o, w.now)
		if err != nil {
			t.Errorf("%s: does not even commit: %v", c.why, err)
			continue
		}
		before := w.hub.At()
		_, err = w.update(bundle(s), c.by.user.Provider().Domain())
		wantErr(t, c.why, err, room.ErrPolicy)
		if w.hub.At() != before {
			t.Fatalf("%s: refused, and yet the room moved", c.why)
		}
	}
	// What the same people may do, so that the table is not refused for another reason.
	for _, c := range []struct {
		why string
		by  *device
		o   mls.CommitOptions
	}{
		{"changes the topic", alice, mls.CommitOptions{Proposals: set(room.HostingComponent, mls.AppDataSet, topic.Append(nil))}},
		{"renames the room", alice, mls.CommitOptions{Proposals: set(room.MetadataComponent, mls.AppDataSet, (&policy.Metadata{URI: w.hub.URI().String(), Name: "ours"}).Append(nil))}},
		{"promotes", alice, mls.CommitOptions{Proposals: []*mls.Proposal{list(one(bob.user, policy.Moderator))}}},
		{"kicks", bob, mls.CommitOptions{Remove: leaf(carol)}},
	} {
		if err := c.by.commit(c.o); err != nil {
			t.Errorf("%s: %v", c.why, err)
		}
	}
	if w.hub.Role(carol.user) != policy.Member || w.hub.Roster().Clients(carol.user) != 0 {
		t.Error("who is kicked stays a participant without clients")
	}

	// From outside.
	join := func(d *device) error {
		s := must(mls.ExternalCommit(w.hub.GroupInfo(), mls.ExternalOptions{LeafParams: d.leaf, Tree: w.hub.Group().Tree()}, w.config(), w.now))(t)
		_, err := w.update(bundle(s), d.user.Provider().Domain())
		return err
	}
	wantErr(t, "a stranger joins", join(dan), room.ErrPolicy)
	wantErr(t, "a participant joins", join(carol), nil)
	np := must(mls.ProposeAsNewMember(w.hub.Group().Context(), dan.keyPackage(), nil))(t)
	_, err := w.update(&wire.HandshakeBundle{Message: np}, "chicago.example")
	wantErr(t, "a stranger proposes itself", err, room.ErrPolicy)
	provider := must(mls.ParseSignatureKey(room.Suite, w.providers["atlanta.example"].Seed()))(t)
	hub := must(mls.ProposeAsExternalSender(w.hub.Group().Context(), &mls.Proposal{Type: mls.ProposalRemove, Remove: bob.group.OwnLeaf()}, 0, provider, nil))(t)
	_, err = w.update(&wire.HandshakeBundle{Message: hub}, "atlanta.example")
	wantErr(t, "somebody brings what the hub proposes", err, room.ErrSubmission)
}

func TestSubmissionsRefused(t *testing.T) {
	w := newWorld(t)
	alice, bob, carol := w.device("alice@atlanta.example", "phone"), w.device("bob@biloxi.example", "phone"), w.device("carol@chicago.example", "phone")
	w.begin(alice)
	if err := alice.add(bob); err != nil {
		t.Fatal(err)
	}
	old := must(bob.group.Encrypt([]byte("old"), mls.SendOptions{AAD: tagged("old")}))(t)
	msg := func(m *mls.Message, as string) *wire.SubmitMessageRequest {
		return &wire.SubmitMessageRequest{Message: m, SendingURI: wire.IdentifierURI(as)}
	}
	m := must(bob.group.Encrypt([]byte("x"), mls.SendOptions{AAD: tagged("x")}))(t)
	wantErr(t, "no franking tag", w.submit(msg(must(bob.group.Encrypt([]byte("x"), mls.SendOptions{}))(t), bob.user.String()), "biloxi.example"), room.ErrTag)
	wantErr(t, "authenticated data that is none", w.submit(msg(must(bob.group.Encrypt([]byte("x"), mls.SendOptions{AAD: []byte{1}}))(t), bob.user.String()), "biloxi.example"), room.ErrTag)
	wantErr(t, "another provider's user", w.submit(msg(m, bob.user.String()), "atlanta.example"), room.ErrSubmission)
	wantErr(t, "no user", w.submit(msg(m, "mimi://biloxi.example/r/bob"), "biloxi.example"), room.ErrSubmission)
	wantErr(t, "no participant", w.submit(msg(m, carol.user.String()), "chicago.example"), room.ErrPolicy)
	wantErr(t, "a participant", w.submit(msg(m, bob.user.String()), "biloxi.example"), nil)

	// Epochs: the window, and the future.
	for range room.PastEpochs {
		if err := alice.commit(mls.CommitOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	wantErr(t, "an epoch at the end of the window", w.submit(msg(old, bob.user.String()), "biloxi.example"), nil)
	if err := alice.commit(mls.CommitOptions{}); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "an epoch too old", w.submit(msg(old, bob.user.String()), "biloxi.example"), room.ErrEpoch)
	s := must(bob.group.Commit(mls.CommitOptions{}, w.now))(t)
	if err := alice.commit(mls.CommitOptions{}); err != nil {
		t.Fatal(err)
	}
	_, err := w.update(bundle(s), "biloxi.example")
	wantErr(t, "a commit that lost", err, mls.ErrWrongEpoch)

	// A commit, and what goes with it.
	kp := carol.keyPackage()
	s = must(alice.group.Commit(mls.CommitOptions{Add: []*mls.ValidKeyPackage{must(kp.KeyPackage().Verify(w.config(), w.now))(t)},
		Proposals: []*mls.Proposal{must(room.UpdateParticipants(alice.group.Public().Context(), []room.Participant{{User: carol.user, Role: policy.Member}}, nil))(t)}}, w.now))(t)
	b := bundle(s)
	_, err = w.update(b, "biloxi.example")
	wantErr(t, "alice's commit brought by biloxi", err, room.ErrSubmission)
	b.Welcome = nil
	_, err = w.update(b, "atlanta.example")
	wantErr(t, "a commit that adds without a Welcome", err, room.ErrSubmission)
	other := must(bob.group.Commit(mls.CommitOptions{}, w.now))(t)
	b = bundle(s)
	b.GroupInfo.Full = other.GroupInfo
	_, err = w.update(b, "atlanta.example")
	wantErr(t, "another GroupInfo", err, mls.ErrBadGroupInfo)
	b = bundle(s)
	_, err = w.update(b, "atlanta.example")
	wantErr(t, "as it should be", err, nil)

	// A message of another room with the same members.
	st := w.hub
	e := st.NewEntry(room.KindMessage, room.TxnID{}, nil, w.now)
	e.Body = must((&room.Message{Message: must(groupOf(t, w).Encrypt([]byte("x"), mls.SendOptions{}))(t)}).Bytes())(t)
	_, err = st.Check(e)
	wantErr(t, "a message of another group", err, room.ErrWrongRoom)
	_, err = st.Check(st.NewEntry(room.KindTombstone, room.TxnID{}, nil, w.now))
	wantErr(t, "a tombstone", err, room.ErrKind)
}

func groupOf(t *testing.T, w *world) *mls.Group {
	d := w.device("dan@chicago.example", "phone")
	return must(mls.CreateGroup(mls.GroupParams{LeafParams: d.leaf, GroupID: []byte("another")}, w.config()))(t)
}

// TestAdvanceStale: a step is good for the state that checked it, once.
func TestAdvanceStale(t *testing.T) {
	w := newWorld(t)
	alice := w.device("alice@atlanta.example", "phone")
	w.begin(alice)
	body := must((&room.Message{Message: must(alice.group.Encrypt([]byte("x"), mls.SendOptions{}))(t)}).Bytes())(t)
	e := w.hub.NewEntry(room.KindMessage, room.TxnID{}, body, w.now)
	st := must(w.hub.Check(e))(t)
	wantErr(t, "at another state", w.follower.Advance(st), mls.ErrStale)
	wantErr(t, "once", w.hub.Advance(st), nil)
	wantErr(t, "twice", w.hub.Advance(st), mls.ErrStale)
	if at := w.hub.At().AcceptedAt; at != uint64(start.UnixMilli()) {
		t.Errorf("accepted at %d", at)
	}
	// A hub whose clock goes back does not take the log back.
	w.now = w.now.Add(-1e9)
	if e := w.hub.NewEntry(room.KindMessage, room.TxnID{}, body, w.now); e.AcceptedAt != uint64(start.UnixMilli()) {
		t.Errorf("accepted at %d after the clock went back", e.AcceptedAt)
	}
}

func TestLoadDamaged(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.device("alice@atlanta.example", "phone"), w.device("bob@biloxi.example", "phone")
	w.begin(alice)
	if err := alice.add(bob); err != nil {
		t.Fatal(err)
	}
	parts := map[string][]byte{}
	w.reload(parts)
	for k := range parts {
		broken := maps.Clone(parts)
		delete(broken, k)
		if _, err := room.Load(w.hub.URI(), w.hub.At(), maps.All(broken), w.rules); !errors.Is(err, mls.ErrState) {
			t.Errorf("without part %q: %v", k, err)
		}
		broken[k] = bytes.Repeat([]byte{0xff}, 3)
		if _, err := room.Load(w.hub.URI(), w.hub.At(), maps.All(broken), w.rules); !errors.Is(err, mls.ErrState) {
			t.Errorf("with a broken part %q: %v", k, err)
		}
	}
	broken := maps.Clone(parts)
	broken["zzz"] = nil
	_, err := room.Load(w.hub.URI(), w.hub.At(), maps.All(broken), w.rules)
	wantErr(t, "a part that nobody knows", err, mls.ErrState)
}

// TestBodies: bodies survive decoding, and broken ones are refused.
func TestBodies(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.device("alice@atlanta.example", "phone"), w.device("bob@biloxi.example", "phone")
	w.begin(alice)
	if err := alice.add(bob); err != nil {
		t.Fatal(err)
	}
	if err := alice.send("x"); err != nil {
		t.Fatal(err)
	}
	for i, e := range w.log {
		back := reencode(e.Kind, e.Body)
		if !bytes.Equal(back, e.Body) {
			t.Errorf("entry %d, %s, does not survive decoding", i, e.Kind)
		}
		for n := range e.Body {
			if reencode(e.Kind, e.Body[:n]) != nil {
				t.Fatalf("%d of %d bytes of a %s decode", n, len(e.Body), e.Kind)
			}
		}
		if reencode(e.Kind, append(slices.Clone(e.Body), 0)) != nil {
			t.Errorf("%s with a byte more decodes", e.Kind)
		}
	}
	for _, x := range []room.Tombstone{{}, {Successor: clubhouse(t)}} {
		if !bytes.Equal(reencode(room.KindTombstone, x.Bytes()), x.Bytes()) {
			t.Errorf("tombstone %v does not survive", x)
		}
	}
	withWelcome := &room.Handshake{Bundle: bundle(must(alice.group.Commit(mls.CommitOptions{}, w.now))(t))}
	withWelcome.Bundle.Tree = &wire.RatchetTreeOption{Representation: wire.TreeFull, Tree: alice.group.Public().Tree()}
	_, err := withWelcome.Bytes()
	wantErr(t, "a handshake with a tree", err, room.ErrBody)
}

// reencode decodes and encodes a body; nil if it does not decode.
func reencode(k room.Kind, b []byte) []byte {
	switch k {
	case room.KindCreate:
		if c, err := room.ParseCreate(b); err == nil {
			return c.Bytes()
		}
	case room.KindHandshake:
		if h, err := room.ParseHandshake(b); err == nil {
			out, _ := h.Bytes()
			return out
		}
	case room.KindMessage:
		if m, err := room.ParseMessage(b); err == nil {
			out, _ := m.Bytes()
			return out
		}
	case room.KindTombstone:
		if x, err := room.ParseTombstone(b); err == nil {
			return x.Bytes()
		}
	}
	return nil
}
