package pseudonym_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/pseudonym"
	"github.com/mimid/mimid/protocol/uri"
)

// A member is a device in a real MLS group.
type member struct {
	*pseudonym.Room
	g      *mls.Group
	who    pseudonym.Identity
	signer mls.SignatureKey
	cred   *pseudonym.Credential
	own    pseudonym.Key
	told   *pseudonym.Keys // by the Welcome
}

var config = mls.Config{Authenticator: pseudonym.Authenticator{Senders: mls.AcceptBasic{}}}

// newMember makes the leaf that a device comes in with, under an own key.
func newMember(d directory, name string) (*member, mls.LeafParams) {
	m := &member{who: d.person(provider, name), signer: must(mls.GenerateSignatureKey(suite)), own: pseudonym.NewKey()}
	m.cred = blank(provider, uri.Pseudonym{})
	m.cred.Key = m.signer.Public()
	if err := m.cred.Seal(m.own, clubhouse, m.who); err != nil {
		panic(err)
	}
	caps := pseudonym.Capabilities()
	return m, mls.LeafParams{Suite: suite, Signer: m.signer, Credential: m.cred.MLS(), Capabilities: &caps, Lifetime: mls.LifetimeOf(now, 24*time.Hour)}
}

// enter makes what the member knows of the group that it is in now.
func (m *member) enter(t *testing.T, d directory, exported []byte) {
	t.Helper()
	m.Room = must(pseudonym.Enter(clubhouse, d, m.g.Epoch(), exported, pseudonym.LeavesOf(m.g.Public()), now))
	m.Learn(&pseudonym.Keys{Others: []pseudonym.Key{m.own}}, now)
}

// welcomed lets the member in by a Welcome.
func (m *member) welcomed(t *testing.T, s *mls.StagedCommit, kp *mls.PrivateKeyPackage, hub *mls.PublicGroup) {
	t.Helper()
	var ext mls.Extensions
	m.g = must(mls.JoinWelcome(s.Welcome, kp, mls.JoinOptions{Tree: hub.Tree(), Extensions: &ext}, config, now))
	m.told = must(pseudonym.KeysIn(ext))
}

// untold: what goes to the hub has no keys.
func untold(t *testing.T, s *mls.StagedCommit) {
	t.Helper()
	if _, err := pseudonym.KeysIn(s.GroupInfo.Extensions); !errors.Is(err, pseudonym.ErrMalformed) {
		t.Errorf("keys in the GroupInfo for everybody: %v", err)
	}
}

// ordered is a commit that all follow: its sender, the hub and the others.
func ordered(t *testing.T, by *member, s *mls.StagedCommit, hub *mls.PublicGroup, others ...*member) {
	t.Helper()
	change, err := hub.Process(s.Message.Public, s.GroupInfo, now)
	if err != nil {
		t.Fatal(err)
	}
	if err := hub.Apply(change); err != nil {
		t.Fatal(err)
	}
	follow := func(m *member, c *mls.Change) {
		t.Helper()
		if err := m.Apply(must(pseudonym.CommitOf(m.g, clubhouse, c)), now); err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range others {
		r, err := m.g.Process(s.Message, now)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.g.Apply(r); err != nil {
			t.Fatal(err)
		}
		if m.g.Removed() {
			if _, err := pseudonym.CommitOf(m.g, clubhouse, r.Change); err == nil {
				t.Error("who is removed exports the next generation")
			}
			continue
		}
		follow(m, r.Change)
	}
	if by != nil {
		if err := by.g.Merge(s); err != nil {
			t.Fatal(err)
		}
		follow(by, s.Change)
	}
}

// says is an application message with keys, which only members read.
func says(t *testing.T, by *member, k *pseudonym.Keys, to ...*member) {
	t.Helper()
	msg, err := by.g.Encrypt(k.Bytes(), mls.SendOptions{PadTo: 512})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range to {
		r, err := m.g.Process(msg, now)
		if err != nil {
			t.Fatal(err)
		}
		m.Learn(must(pseudonym.ParseKeys(r.Data)), now)
	}
}

func (m *member) names(t *testing.T, o *member) {
	t.Helper()
	names(t, &device{Room: m.Room, leaf: m.g.OwnLeaf()}, o.g.OwnLeaf(), o.who)
}

// resealed stages a commit with a new leaf whose link is under the present generation.
func (m *member) resealed(t *testing.T) *mls.StagedCommit {
	t.Helper()
	c := *m.cred
	m.signer = must(mls.GenerateSignatureKey(suite))
	c.Key = m.signer.Public()
	if err := m.Seal(&c, m.who); err != nil {
		t.Fatal(err)
	}
	m.cred = &c
	cred := c.MLS()
	s, err := m.g.Commit(mls.CommitOptions{Leaf: &mls.LeafChange{Signer: m.signer, Credential: &cred}}, now)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestMLS: with real MLS groups, a member is added, one comes in from outside, one is removed:
// members name each other, the hub sees no name and can follow, and who was removed opens
// nothing that came later. Who is added gets the keys in the Welcome, and the hub's GroupInfo
// lacks them.
func TestMLS(t *testing.T) {
	d := directory{}
	alice, p := newMember(d, "alice")
	alice.g = must(mls.CreateGroup(mls.GroupParams{LeafParams: p}, config))
	alice.Room = must(pseudonym.Begin(clubhouse, d, must(pseudonym.Export(alice.g, clubhouse)), pseudonym.LeavesOf(alice.g.Public())[0], now))
	alice.Learn(&pseudonym.Keys{Others: []pseudonym.Key{alice.own}}, now)
	alice.names(t, alice)
	hub := must(mls.NewPublicGroup(must(alice.g.GroupInfo(true)), nil, config, now))
	ordered(t, alice, alice.resealed(t), hub)

	// Bob is added.
	bob, p := newMember(d, "bob")
	kp := must(mls.NewKeyPackage(p, false, nil))
	told, _ := alice.Welcome(false)
	s, err := alice.g.Commit(mls.CommitOptions{Add: []*mls.ValidKeyPackage{must(kp.KeyPackage().Verify(config, now))},
		WelcomeExtensions: mls.Extensions{told.Extension()}}, now)
	if err != nil {
		t.Fatal(err)
	}
	untold(t, s)
	ordered(t, alice, s, hub)
	alice.Learn(&pseudonym.Keys{Others: []pseudonym.Key{bob.own}}, now) // she had it by consent
	bob.welcomed(t, s, kp, hub)
	bob.enter(t, d, nil)
	bob.Learn(bob.told, now)
	bob.names(t, alice)
	alice.names(t, bob)
	ordered(t, bob, bob.resealed(t), hub, alice)
	alice.names(t, bob)

	// Bob is removed, and keeps what he has.
	kept := pseudonym.HeldKeys(bob.Room)
	s, err = alice.g.Commit(mls.CommitOptions{Remove: []mls.LeafIndex{bob.g.OwnLeaf()}}, now)
	if err != nil {
		t.Fatal(err)
	}
	ordered(t, alice, s, hub, bob)

	// Carol comes in from outside, with what the hub has.
	carol, p := newMember(d, "carol")
	s, err = mls.ExternalCommit(s.GroupInfo, mls.ExternalOptions{LeafParams: p, Tree: hub.Tree()}, config, now)
	if err != nil {
		t.Fatal(err)
	}
	ordered(t, nil, s, hub, alice)
	carol.g = must(s.Join())
	carol.enter(t, d, nil)
	if _, err := carol.Who(alice.g.OwnLeaf()); !errors.Is(err, pseudonym.ErrNoKey) {
		t.Errorf("named already: %v", err)
	}
	says(t, carol, must(carol.Introduce(carol.g.OwnLeaf())), alice)
	alice.names(t, carol)
	for _, q := range carol.Ask() {
		says(t, alice, must(alice.Answer(carol.g.OwnLeaf(), q)), carol)
	}
	carol.names(t, alice)
	ordered(t, carol, carol.resealed(t), hub, alice)
	alice.names(t, carol)
	for _, k := range kept {
		if _, err := carol.cred.Open(pseudonym.As(k, carol.cred.Link.Key), clubhouse); !errors.Is(err, pseudonym.ErrNotOpen) {
			t.Errorf("%v, which bob kept: %v", k, err)
		}
	}

	// Erin is added, and carol removed, by one commit: what the Welcome tells is enough to
	// name alice, and the generation that it begins is erin's as well.
	ordered(t, alice, alice.resealed(t), hub, carol)
	erin, p := newMember(d, "erin")
	kp = must(mls.NewKeyPackage(p, false, nil))
	told, _ = alice.Welcome(true)
	s, err = alice.g.Commit(mls.CommitOptions{Add: []*mls.ValidKeyPackage{must(kp.KeyPackage().Verify(config, now))},
		Remove: []mls.LeafIndex{carol.g.OwnLeaf()}, WelcomeExtensions: mls.Extensions{told.Extension()}}, now)
	if err != nil {
		t.Fatal(err)
	}
	ordered(t, alice, s, hub, carol)
	untold(t, s)
	erin.welcomed(t, s, kp, hub)
	if !erin.told.Begins {
		t.Error("the Welcome does not say that the epoch begins a generation")
	}
	erin.enter(t, d, must(pseudonym.Export(erin.g, clubhouse)))
	erin.Learn(erin.told, now)
	erin.names(t, alice)
	if a, ok := alice.Present(); !ok {
		t.Error("alice has no present generation")
	} else if e, _ := erin.Present(); a != e {
		t.Errorf("the present generation is %v for alice, %v for erin", a, e)
	}

	// What the hub has shows nobody's name.
	seen := append(hub.Tree().Bytes(), hub.Context().Bytes()...)
	for _, name := range []string{"alice", "carol", "erin"} {
		if bytes.Contains(seen, []byte(name)) {
			t.Errorf("the hub sees %s", name)
		}
	}
	if n := hub.MemberCount(); n != 2 {
		t.Errorf("%d members", n)
	}
}

// TestAuthenticator: who is no member takes pseudonymous leaves only, and lets nobody become
// another pseudonym.
func TestAuthenticator(t *testing.T) {
	a := config.Authenticator
	m, _ := newMember(directory{}, "alice")
	c := m.cred.MLS()
	if err := a.Authenticate(c, m.cred.Key, now); err != nil {
		t.Error(err)
	}
	if err := a.Authenticate(mls.BasicCredential([]byte("alice")), m.cred.Key, now); !errors.Is(err, pseudonym.ErrNotPseudonymous) {
		t.Errorf("a name: %v", err)
	}
	if err := a.Succeeds(c, mls.BasicCredential([]byte("alice"))); !errors.Is(err, pseudonym.ErrNotPseudonymous) {
		t.Errorf("a name after a pseudonym: %v", err)
	}
	if err := a.Succeeds(mls.BasicCredential([]byte("alice")), c); !errors.Is(err, pseudonym.ErrNotPseudonymous) {
		t.Errorf("a pseudonym after a name: %v", err)
	}
	other, _ := newMember(directory{}, "alice")
	if err := a.Succeeds(c, other.cred.MLS()); !errors.Is(err, pseudonym.ErrOther) {
		t.Errorf("another pseudonym: %v", err)
	}
	bad := mls.Credential{Type: pseudonym.CredentialType, Identity: []byte{1}}
	for _, err := range []error{a.Succeeds(c, bad), a.Succeeds(bad, c)} {
		if !errors.Is(err, pseudonym.ErrMalformed) {
			t.Errorf("malformed: %v", err)
		}
	}
	if err := a.Succeeds(c, c); err != nil {
		t.Error(err)
	}
	if err := a.AuthenticateSender(mls.BasicCredential([]byte("hub")), nil, now); err != nil {
		t.Errorf("a hub: %v", err)
	}
	if err := a.AuthenticateSender(c, m.cred.Key, now); err == nil {
		t.Error("a pseudonym as a server")
	}
}
