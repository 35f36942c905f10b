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

// TestHubBansAfterMove_7_5: the hub of a room that has moved bans when a member's commit has
// named it as the group's external sender, which any member's may and which can say nothing
// else; the former hub bans nobody from the move on, whatever the group says.
func TestHubBansAfterMove_7_5(t *testing.T) {
	w, alice, bob, carol := enforced(t)
	dan := w.device("dan@atlanta.example", "phone")
	if err := alice.add(dan); err != nil {
		t.Fatal(err)
	}
	if err := alice.promote(bob); err != nil {
		t.Fatal(err)
	}
	old := w.enforcer()
	key := must(mls.ParseSignatureKey(room.Suite, w.providers["biloxi.example"].Seed()))(t)
	ctx := func() *mls.GroupContext { return w.hub.Group().Context() }
	if room.UpdateSenders(ctx(), w.hub.Hub()) != nil {
		t.Fatal("a room does not begin with its hub as external sender")
	}
	m := w.move(bob, biloxi, nil)
	w.acks(m, biloxi, chicago)
	if _, err := w.put(w.moveEntry(m)); err != nil {
		t.Fatal(err)
	}
	w.done(m)
	propose := func(key mls.SignatureKey, at uint32) error {
		up := must(room.UpdateParticipants(ctx(), []room.Participant{{User: dan.user, Role: policy.Banned}}, nil))(t)
		var ms []*mls.Message
		for _, p := range []*mls.Proposal{{Type: mls.ProposalRemove, Remove: dan.group.OwnLeaf()}, up} {
			ms = append(ms, must(mls.ProposeAsExternalSender(ctx(), p, at, key, nil))(t))
		}
		h := room.HandshakeOf(&wire.HandshakeBundle{Message: ms[0], MoreProposals: ms[1:]})
		_, err := w.hub.Check(w.hub.NewEntry(room.KindHandshake, room.TxnID{1}, must(h.Bytes())(t), w.now))
		return err
	}
	_, err := w.hub.ProposeBan(dan.user, key)
	wantErr(t, "the new hub bans before it is named", err, room.ErrNotEnforcer)
	wantErr(t, "the new hub in the old one's place", propose(key, 0), mls.ErrBadSignature)
	wantErr(t, "the old hub, which the group still names", propose(old, 0), room.ErrPolicy)

	// What may not be said: anything but the hub that the log names, and not by itself.
	senders := func(list ...mls.ExternalSender) *mls.Proposal {
		x := mls.ExternalSendersExtension(list)
		return &mls.Proposal{Type: mls.ProposalGroupContextExtensions, Extensions: ctx().Extensions.With(x.Type, x.Data)}
	}
	sender := func(domain string) mls.ExternalSender {
		k := must(mls.ParseSignatureKey(room.Suite, w.providers[domain].Seed()))(t)
		return mls.ExternalSender{SignatureKey: k.Public(), Credential: mls.BasicCredential([]byte("mimi://" + domain))}
	}
	good := room.UpdateSenders(ctx(), w.hub.Hub())
	more := &mls.Proposal{Type: mls.ProposalGroupContextExtensions, Extensions: good.Extensions.Without(mls.ExtRequiredCapabilities)}
	borrowed := sender("biloxi.example")
	borrowed.SignatureKey = sender("chicago.example").SignatureKey
	for what, p := range map[string]*mls.Proposal{
		"another provider":                 senders(sender("chicago.example")),
		"the old hub":                      senders(sender("atlanta.example")),
		"the hub and another one":          senders(sender("biloxi.example"), sender("chicago.example")),
		"nobody":                           senders(),
		"the hub, and the capabilities go": more,
		"no change":                        {Type: mls.ProposalGroupContextExtensions, Extensions: ctx().Extensions},
	} {
		err := bob.commit(mls.CommitOptions{Proposals: []*mls.Proposal{p}})
		wantErr(t, what, err, room.ErrPolicy)
	}
	if _, err := bob.group.Commit(mls.CommitOptions{Proposals: []*mls.Proposal{senders(borrowed)}}, w.now); err == nil {
		t.Error("another provider's key under the hub's name")
	}
	wantErr(t, "as a proposal by itself", bob.propose(good), room.ErrPolicy)

	// A member's commit, whatever else it does; she may change nothing about hosting.
	wantErr(t, "a member names the hub", carol.commit(mls.CommitOptions{Proposals: []*mls.Proposal{good}}), nil)
	if room.UpdateSenders(ctx(), w.hub.Hub()) != nil || w.hub.Hub().Domain != "biloxi.example" {
		t.Fatalf("the hub %s is not named", w.hub.Hub().Domain)
	}
	wantErr(t, "the old hub in its old place", propose(old, 0), mls.ErrBadSignature)
	wantErr(t, "the old hub in another place", propose(old, 1), mls.ErrUnknownSender)
	h, err := w.hub.ProposeBan(dan.user, key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.order(room.KindHandshake, must(h.Bytes())(t)); err != nil {
		t.Fatal(err)
	}
	for _, o := range []*device{alice, bob, carol, dan} {
		for _, m := range append([]*mls.Message{h.Bundle.Message}, h.Bundle.MoreProposals...) {
			o.follow(m)
		}
	}
	wantErr(t, "dan, who is to be banned, says something", dan.send("x"), room.ErrPolicy)
	wantErr(t, "a commit bans", carol.commit(mls.CommitOptions{}), nil)
	if w.hub.Role(dan.user) != policy.Banned || w.hub.Roster().Clients(dan.user) != 0 {
		t.Errorf("dan is %v with %d devices", w.hub.Role(dan.user), w.hub.Roster().Clients(dan.user))
	}
	// A move's own commit names the hub that it moves to.
	back := w.move(alice, atlanta, func(h *room.Hosting, o *mls.CommitOptions) {
		o.Proposals = append(o.Proposals, room.UpdateSenders(ctx(), &h.Hub))
	})
	w.acks(back, atlanta, chicago)
	if _, err := w.put(w.moveEntry(back)); err != nil {
		t.Fatal(err)
	}
	w.done(back)
	if room.UpdateSenders(ctx(), w.hub.Hub()) != nil || w.hub.Hub().Domain != atlanta {
		t.Error("the move's commit has named another hub than it moves to")
	}
	_, err = w.hub.ProposeBan(carol.user, old)
	wantErr(t, "the hub bans at once", err, nil)
}
