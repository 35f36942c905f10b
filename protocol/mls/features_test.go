package mls_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/mimid/mimid/protocol/mls"
)

// What a group can do beyond members coming and going; each feature in all
// suites, over the wire, with a server that follows.

func eachSuite(t *testing.T, f func(t *testing.T, suite mls.CipherSuite)) {
	for _, suite := range suites {
		t.Run(fmt.Sprint(uint16(suite)), func(t *testing.T) { f(t, suite) })
	}
}

// psks is a PSKSource of a test.
type psks map[string][]byte

func (p psks) ExternalPSK(id []byte) ([]byte, error) {
	if k, ok := p[string(id)]; ok {
		return k, nil
	}
	return nil, errors.New("no such key")
}

func (p psks) ResumptionPSK(group []byte, epoch uint64) ([]byte, error) {
	return p.ExternalPSK(fmt.Appendf(nil, "%s/%d", group, epoch))
}

// TestPSK: an external PSK by value, a resumption PSK by reference, a new
// member who needs the external one, and a member without the key.
func TestPSK(t *testing.T) {
	eachSuite(t, func(t *testing.T, suite mls.CipherSuite) {
		keys := psks{"shared": bytes.Repeat([]byte{7}, 32)}
		cfg := config()
		cfg.PSKs = keys
		a, err := mls.CreateGroup(mls.GroupParams{LeafParams: leafParams(t, suite, "a")}, cfg)
		must(t, err)
		kp, v := keyPackage(t, suite, "b")
		id := mls.PreSharedKeyID{Type: mls.PSKExternal, ID: []byte("shared")}
		s, err := a.Commit(mls.CommitOptions{Add: []*mls.ValidKeyPackage{v}, TreeInWelcome: true,
			Proposals: []*mls.Proposal{mls.NewPSKProposal(id)}}, now)
		must(t, err)
		must(t, a.Merge(s))
		w := reparse(t, s.Welcome.Message()).Welcome
		if _, err := mls.JoinWelcome(w, kp, mls.JoinOptions{}, config(), now); !errors.Is(err, mls.ErrUnknownPSK) {
			t.Fatalf("joining without the PSK: %v", err)
		}
		wrong := config()
		wrong.PSKs = psks{"shared": bytes.Repeat([]byte{8}, 32)}
		if _, err := mls.JoinWelcome(w, kp, mls.JoinOptions{}, wrong, now); !errors.Is(err, mls.ErrDecrypt) {
			t.Fatalf("joining with another PSK: %v", err)
		}
		b, err := mls.JoinWelcome(w, kp, mls.JoinOptions{}, cfg, now)
		must(t, err)
		// Resumption: both know epoch 1 when they are in epoch 2.
		s, err = b.Commit(mls.CommitOptions{}, now)
		must(t, err)
		take(t, a, s.Message)
		must(t, b.Merge(s))
		m, err := a.Propose(mls.NewPSKProposal(mls.PreSharedKeyID{Type: mls.PSKResumption,
			Usage: mls.ResumptionApplication, GroupID: a.Public().GroupID(), Epoch: 1}), mls.SendOptions{Private: true}, now)
		must(t, err)
		take(t, b, m)
		s, err = b.Commit(mls.CommitOptions{OmitPath: true}, now)
		must(t, err)
		take(t, a, s.Message)
		must(t, b.Merge(s))
		same(t, a, b)
		// An epoch that nobody holds.
		_, err = a.Commit(mls.CommitOptions{Proposals: []*mls.Proposal{mls.NewPSKProposal(mls.PreSharedKeyID{
			Type: mls.PSKResumption, Usage: mls.ResumptionApplication, GroupID: a.Public().GroupID(), Epoch: 99})}}, now)
		if !errors.Is(err, mls.ErrUnknownPSK) {
			t.Fatalf("unknown resumption PSK: %v", err)
		}
	})
}

func take(t testing.TB, g *mls.Group, m *mls.Message) *mls.Received {
	t.Helper()
	r, err := g.Process(reparse(t, m), now)
	must(t, err)
	must(t, g.Apply(r))
	return r
}

func same(t testing.TB, gs ...*mls.Group) {
	t.Helper()
	for _, g := range gs[1:] {
		if !bytes.Equal(g.EpochAuthenticator(), gs[0].EpochAuthenticator()) || !g.Public().Context().Equal(gs[0].Public().Context()) {
			t.Fatalf("members differ: epoch %d and %d", gs[0].Epoch(), g.Epoch())
		}
		x, err := gs[0].Export("label", []byte("context"), 77)
		must(t, err)
		y, err := g.Export("label", []byte("context"), 77)
		must(t, err)
		if len(x) != 77 || !bytes.Equal(x, y) {
			t.Fatal("exported secrets differ")
		}
	}
}

// TestExport: label, context and epoch all matter; the length is bounded.
func TestExport(t *testing.T) {
	g := newGroup(t, suites[0])
	seen := map[string]string{}
	for _, label := range []string{"a", "b"} {
		for _, ctx := range []string{"", "x"} {
			b, err := g.members[0].Export(label, []byte(ctx), 32)
			must(t, err)
			if was, dup := seen[string(b)]; dup {
				t.Fatalf("%s/%s exports the same as %s", label, ctx, was)
			}
			seen[string(b)] = label + "/" + ctx
		}
	}
	if _, err := g.members[0].Export("a", nil, 255*32+1); !errors.Is(err, mls.ErrTooLarge) {
		t.Fatalf("exporting too much: %v", err)
	}
}

// TestGroupContextExtensions: by value and by reference, with required
// capabilities that a later joiner must have.
func TestGroupContextExtensions(t *testing.T) {
	eachSuite(t, func(t *testing.T, suite mls.CipherSuite) {
		g := newGroup(t, suite)
		g.add(g.members[0], "b", "c")
		req := mls.RequiredCapabilities{Proposals: []mls.ProposalType{mls.ProposalSelfRemove}}.Extension()
		s, err := g.members[1].Commit(mls.CommitOptions{Proposals: []*mls.Proposal{{
			Type: mls.ProposalGroupContextExtensions, Extensions: mls.Extensions{req}}}}, now)
		must(t, err)
		if !s.Change.ContextChanged {
			t.Fatal("change does not say that the context changed")
		}
		g.commit(g.members[1], s)
		m, err := g.members[2].Propose(&mls.Proposal{Type: mls.ProposalGroupContextExtensions,
			Extensions: mls.Extensions{req, mls.Dictionary{0x8001: []byte("x")}.Extension()}}, mls.SendOptions{}, now)
		must(t, err)
		g.send(g.members[2], m)
		s, err = g.members[0].Commit(mls.CommitOptions{}, now)
		must(t, err)
		g.commit(g.members[0], s)
		d, err := g.server.Context().Extensions.Dictionary(mls.Limits{})
		must(t, err)
		if string(d[0x8001]) != "x" {
			t.Fatalf("dictionary %v", d)
		}
		// A client without SelfRemove cannot be added or join by itself.
		p := leafParams(t, suite, "old")
		caps := mls.DefaultCapabilities()
		caps.Proposals = nil
		p.Capabilities = &caps
		kp, err := mls.NewKeyPackage(p, false, nil)
		must(t, err)
		v, err := kp.KeyPackage().Verify(mls.Config{Authenticator: mls.AcceptBasic{}}, now)
		must(t, err)
		if _, err := g.members[0].Commit(mls.CommitOptions{Add: []*mls.ValidKeyPackage{v}}, now); !errors.Is(err, mls.ErrCapabilities) {
			t.Fatalf("adding a client without required capabilities: %v", err)
		}
		info, err := g.members[0].GroupInfo(true)
		must(t, err)
		if _, err := mls.ExternalCommit(info, mls.ExternalOptions{LeafParams: p}, config(), now); !errors.Is(err, mls.ErrCapabilities) {
			t.Fatalf("joining without required capabilities: %v", err)
		}
	})
}

// TestAppDataUpdate: updates go through the component's logic on every side,
// by value without a path, by reference, and from an external sender.
func TestAppDataUpdate(t *testing.T) {
	const counter, note = mls.ComponentID(0x8001), mls.ComponentID(0x8002)
	cfg := config()
	cfg.Components = func(id mls.ComponentID, present []byte, updates [][]byte) ([]byte, error) {
		if id != counter {
			return updates[len(updates)-1], nil
		}
		for _, u := range updates {
			if string(u) == "bad" {
				return nil, errors.New("component says no")
			}
			present = append(bytes.Clone(present), u...)
		}
		return present, nil
	}
	sender, err := mls.GenerateSignatureKey(suites[0])
	must(t, err)
	ext := mls.Extensions{
		mls.RequiredCapabilities{Proposals: []mls.ProposalType{mls.ProposalAppDataUpdate}}.Extension(),
		mls.ExternalSendersExtension([]mls.ExternalSender{{SignatureKey: sender.Public(), Credential: mls.BasicCredential([]byte("hub"))}}),
		mls.Dictionary{counter: []byte("0"), note: []byte("n")}.Extension(),
	}
	a, err := mls.CreateGroup(mls.GroupParams{LeafParams: leafParams(t, suites[0], "a"), Extensions: ext}, cfg)
	must(t, err)
	info, err := a.GroupInfo(true)
	must(t, err)
	server, err := mls.NewPublicGroup(info, nil, cfg, now)
	must(t, err)
	kp, v := keyPackage(t, suites[0], "b")
	set := func(id mls.ComponentID, data string) *mls.Proposal {
		return &mls.Proposal{Type: mls.ProposalAppDataUpdate, AppData: &mls.AppDataUpdate{Component: id, Op: mls.AppDataSet, Update: []byte(data)}}
	}
	s, err := a.Commit(mls.CommitOptions{Add: []*mls.ValidKeyPackage{v}, OmitPath: true, TreeInWelcome: true,
		Proposals: []*mls.Proposal{set(counter, "1"), set(counter, "2")}}, now)
	must(t, err)
	follow := func(s *mls.StagedCommit) {
		t.Helper()
		c, err := server.Process(reparse(t, s.Message).Public, reparse(t, s.GroupInfo.Message()).GroupInfo, now)
		must(t, err)
		must(t, server.Apply(c))
	}
	follow(s)
	must(t, a.Merge(s))
	b, err := mls.JoinWelcome(reparse(t, s.Welcome.Message()).Welcome, kp, mls.JoinOptions{}, cfg, now)
	must(t, err)
	same(t, a, b)

	m, err := mls.ProposeAsExternalSender(server.Context(), set(counter, "3"), 0, sender, nil)
	must(t, err)
	c, err := server.Process(reparse(t, m).Public, nil, now)
	must(t, err)
	must(t, server.Apply(c))
	take(t, a, m)
	take(t, b, m)
	bad, err := mls.ProposeAsExternalSender(server.Context(), set(counter, "bad"), 0, sender, nil)
	must(t, err)
	if _, err := server.Process(bad.Public, nil, now); !errors.Is(err, mls.ErrBadProposal) {
		t.Fatalf("update that the component refuses: %v", err)
	}
	remove := &mls.Proposal{Type: mls.ProposalAppDataUpdate, AppData: &mls.AppDataUpdate{Component: note, Op: mls.AppDataRemove}}
	s, err = b.Commit(mls.CommitOptions{Proposals: []*mls.Proposal{remove}}, now)
	must(t, err)
	follow(s)
	take(t, a, s.Message)
	must(t, b.Merge(s))
	same(t, a, b)
	d, err := server.Context().Extensions.Dictionary(mls.Limits{})
	must(t, err)
	if _, there := d[note]; there || string(d[counter]) != "0123" {
		t.Fatalf("dictionary %v", d)
	}
}

// TestReInitAndBranch: a group is closed and continued under another suite, and
// a subgroup splits off; a member that is no part of the old group cannot slip
// in, and a Welcome for one continuation does not pass for another.
func TestReInitAndBranch(t *testing.T) {
	g := newGroup(t, suites[0])
	g.add(g.members[0], "b", "c")
	a, b := g.members[0], g.members[1]
	// Branch of a and b.
	kp, v := keyPackage(t, g.suite, "b")
	branch, s, err := a.Branch(mls.ContinueParams{LeafParams: leafParams(t, g.suite, "member 0"), Members: []*mls.ValidKeyPackage{v}}, config(), now)
	must(t, err)
	must(t, branch.Merge(s))
	w := reparse(t, s.Welcome.Message()).Welcome
	if _, err := mls.JoinWelcome(w, kp, mls.JoinOptions{}, config(), now); !errors.Is(err, mls.ErrUnknownPSK) {
		t.Fatalf("joining a branch without the old group: %v", err)
	}
	b2, err := mls.JoinWelcome(w, kp, mls.JoinOptions{Parent: b}, config(), now)
	must(t, err)
	same(t, branch, b2)
	stranger, sv := keyPackage(t, g.suite, "stranger")
	branch, s, err = a.Branch(mls.ContinueParams{LeafParams: leafParams(t, g.suite, "member 0"), Members: []*mls.ValidKeyPackage{v, sv}}, config(), now)
	must(t, err)
	must(t, branch.Merge(s))
	if _, err := mls.JoinWelcome(s.Welcome, kp, mls.JoinOptions{Parent: b}, config(), now); !errors.Is(err, mls.ErrBadCredential) {
		t.Fatalf("branch with a stranger: %v", err)
	}
	_ = stranger
	// ReInit to suite 3.
	if _, _, err := a.Reinit(mls.ContinueParams{}, config(), now); !errors.Is(err, mls.ErrBadProposal) {
		t.Fatalf("reinitializing an open group: %v", err)
	}
	s, err = a.Commit(mls.CommitOptions{OmitPath: true, Proposals: []*mls.Proposal{{Type: mls.ProposalReInit, ReInit: &mls.ReInit{
		GroupID: []byte("new"), Version: mls.MLS10, Suite: suites[2], Extensions: mls.Extensions{}}}}}, now)
	must(t, err)
	g.commit(a, s)
	if _, err := a.Encrypt(nil, mls.SendOptions{}); !errors.Is(err, mls.ErrRemoved) {
		t.Fatalf("sending in a closed group: %v", err)
	}
	if _, err := g.server.Process(s.Message.Public, s.GroupInfo, now); !errors.Is(err, mls.ErrRemoved) {
		t.Fatalf("commit to a closed group: %v", err)
	}
	kb, vb := keyPackage(t, suites[2], "b")
	_, vc := keyPackage(t, suites[2], "c")
	p := mls.ContinueParams{LeafParams: leafParams(t, suites[2], "member 0"), Members: []*mls.ValidKeyPackage{vb, vc}}
	n, s, err := a.Reinit(p, config(), now)
	must(t, err)
	must(t, n.Merge(s))
	b3, err := mls.JoinWelcome(s.Welcome, kb, mls.JoinOptions{Parent: b}, config(), now)
	must(t, err)
	same(t, n, b3)
	if string(n.Public().GroupID()) != "new" || n.Public().Suite() != suites[2] {
		t.Fatal("new group is not what was announced")
	}
	p.Members = p.Members[:1]
	n, s, err = a.Reinit(p, config(), now)
	must(t, err)
	must(t, n.Merge(s))
	if _, err := mls.JoinWelcome(s.Welcome, kb, mls.JoinOptions{Parent: b}, config(), now); !errors.Is(err, mls.ErrBadGroupInfo) {
		t.Fatalf("reinitialized group that lost a member: %v", err)
	}
}

// TestExternalProposals: an external sender and a newcomer propose, a member
// commits.
func TestExternalProposals(t *testing.T) {
	eachSuite(t, func(t *testing.T, suite mls.CipherSuite) {
		hub, err := mls.GenerateSignatureKey(suite)
		must(t, err)
		g := newGroup(t, suite, mls.ExternalSendersExtension([]mls.ExternalSender{
			{SignatureKey: hub.Public(), Credential: mls.BasicCredential([]byte("hub"))}}))
		g.add(g.members[0], "b", "c")
		m, err := mls.ProposeAsExternalSender(g.server.Context(), &mls.Proposal{Type: mls.ProposalRemove, Remove: 2}, 0, hub, []byte("why"))
		must(t, err)
		g.send(nil, m)
		kp, err := mls.NewKeyPackage(leafParams(t, suite, "d"), true, nil)
		must(t, err)
		if !kp.KeyPackage().LastResort(mls.Limits{}) {
			t.Fatal("not marked as last resort")
		}
		m, err = mls.ProposeAsNewMember(g.server.Context(), kp, nil)
		must(t, err)
		g.send(nil, m)
		s, err := g.members[1].Commit(mls.CommitOptions{TreeInWelcome: true, AAD: []byte("handshake aad")}, now)
		must(t, err)
		if string(s.Change.AAD) != "handshake aad" || len(s.Change.Removed) != 1 || len(s.Change.Added) != 1 {
			t.Fatalf("change %+v", s.Change)
		}
		g.commit(g.members[1], s)
		d, err := mls.JoinWelcome(reparse(t, s.Welcome.Message()).Welcome, kp, mls.JoinOptions{}, config(), now)
		must(t, err)
		g.members = append(g.members, d)
		g.agree()
		g.talk()
	})
}

// TestResync: a member that lost its state comes back by external commit in
// place of its old leaf, and takes pending SelfRemoves along.
func TestResync(t *testing.T) {
	eachSuite(t, func(t *testing.T, suite mls.CipherSuite) {
		g := newGroup(t, suite)
		g.add(g.members[0], "b", "c", "d")
		m, err := g.members[1].Propose(&mls.Proposal{Type: mls.ProposalSelfRemove}, mls.SendOptions{}, now)
		must(t, err)
		g.send(g.members[1], m)
		lost := g.members[3]
		leaf := lost.OwnLeaf()
		info, err := g.members[0].GroupInfo(false)
		must(t, err)
		s, err := mls.ExternalCommit(info, mls.ExternalOptions{LeafParams: leafParams(t, suite, "d"), Tree: g.server.Tree(),
			Replace: &leaf, SelfRemoves: []*mls.PublicMessage{reparse(t, m).Public}}, config(), now)
		must(t, err)
		if len(s.Change.Removed) != 2 || len(s.Change.Added) != 1 {
			t.Fatalf("%d removed, %d added", len(s.Change.Removed), len(s.Change.Added))
		}
		g.commit(nil, s)
		if !lost.Removed() {
			t.Fatal("the lost state was not removed")
		}
		back, err := s.Join()
		must(t, err)
		g.members = append(g.members, back)
		g.agree()
		g.talk()
		if _, err := s.Join(); !errors.Is(err, mls.ErrStale) {
			t.Fatalf("joining twice: %v", err)
		}
	})
}

// TestLosingCommits: several members commit at once, one wins, nobody is
// harmed, and the losers' next commits work (D05).
func TestLosingCommits(t *testing.T) {
	eachSuite(t, func(t *testing.T, suite mls.CipherSuite) {
		g := newGroup(t, suite)
		g.add(g.members[0], "b", "c")
		for round := range 6 {
			staged := make([]*mls.StagedCommit, len(g.members))
			for i, m := range g.members {
				var err error
				staged[i], err = m.Commit(mls.CommitOptions{Private: false}, now)
				must(t, err)
			}
			win := round % len(g.members)
			g.commit(g.members[win], staged[win])
			for i, s := range staged {
				if err := g.members[i].Merge(s); i != win && !errors.Is(err, mls.ErrStale) {
					t.Fatalf("merging a lost commit: %v", err)
				}
			}
			g.talk()
		}
	})
}

// TestLeafChange: new signature key, credential kept, leaf extensions and
// capabilities changed by commit and by Update; what is not changed stays.
func TestLeafChange(t *testing.T) {
	eachSuite(t, func(t *testing.T, suite mls.CipherSuite) {
		g := newGroup(t, suite)
		g.add(g.members[0], "b")
		key, err := mls.GenerateSignatureKey(suite)
		must(t, err)
		ext := mls.Extensions{mls.Dictionary{0x9001: []byte("leaf data")}.Extension(), {Type: mls.ExtApplicationID, Data: []byte("app")}}
		s, err := g.members[1].Commit(mls.CommitOptions{Leaf: &mls.LeafChange{Signer: key, Extensions: ext}}, now)
		must(t, err)
		g.commit(g.members[1], s)
		g.talk()
		key2, err := mls.GenerateSignatureKey(suite)
		must(t, err)
		m, err := g.members[1].ProposeUpdate(mls.LeafChange{Signer: key2}, mls.SendOptions{AAD: []byte("x")}, now)
		must(t, err)
		g.send(g.members[1], m)
		s, err = g.members[0].Commit(mls.CommitOptions{}, now)
		must(t, err)
		g.commit(g.members[0], s)
		s, err = g.members[1].Commit(mls.CommitOptions{}, now)
		must(t, err)
		g.commit(g.members[1], s)
		g.talk()
		got, _ := g.server.Member(1)
		if !bytes.Equal(got.Node.SignatureKey, key2.Public()) {
			t.Fatal("signature key did not change")
		}
		if d, err := got.Node.Extensions.Dictionary(mls.Limits{}); err != nil || string(d[0x9001]) != "leaf data" {
			t.Fatalf("leaf extensions were lost: %v, %v", d, err)
		}
	})
}

// TestPadding: all lengths up to a bucket encrypt to one length.
func TestPadding(t *testing.T) {
	g := newGroup(t, suites[0])
	g.add(g.members[0], "b")
	want := 0
	for n := range 60 {
		m, err := g.members[0].Encrypt(make([]byte, n), mls.SendOptions{PadTo: 256})
		must(t, err)
		if l := len(m.Bytes()); want == 0 {
			want = l
		} else if l != want {
			t.Fatalf("%d bytes encrypt to %d, others to %d", n, l, want)
		}
	}
}

// TestLateMessages: messages out of order and from past epochs are read once;
// keys of older epochs are gone.
func TestLateMessages(t *testing.T) {
	eachSuite(t, func(t *testing.T, suite mls.CipherSuite) {
		g := newGroup(t, suite)
		g.add(g.members[0], "b", "c")
		type late struct {
			epoch uint64
			m     *mls.Message
		}
		var msgs []late
		a, b := g.members[0], g.members[1]
		for range 5 {
			for range 3 {
				m, err := a.Encrypt([]byte("late"), mls.SendOptions{})
				must(t, err)
				msgs = append(msgs, late{a.Epoch(), m})
			}
			s, err := g.members[2].Commit(mls.CommitOptions{}, now)
			must(t, err)
			g.commit(g.members[2], s)
		}
		for i := len(msgs) - 1; i >= 0; i-- {
			r, err := b.Process(msgs[i].m, now)
			if b.Epoch()-msgs[i].epoch > 3 {
				if !errors.Is(err, mls.ErrWrongEpoch) {
					t.Fatalf("message of epoch %d at %d: %v", msgs[i].epoch, b.Epoch(), err)
				}
				continue
			}
			must(t, err)
			if string(r.Data) != "late" || r.Epoch != msgs[i].epoch {
				t.Fatalf("read %q of epoch %d", r.Data, r.Epoch)
			}
			if _, err := b.Process(msgs[i].m, now); !errors.Is(err, mls.ErrReplayed) {
				t.Fatalf("second copy: %v", err)
			}
		}
		// A removed member's last messages are read, by those who stay.
		last, err := a.Encrypt([]byte("bye"), mls.SendOptions{})
		must(t, err)
		s, err := b.Commit(mls.CommitOptions{Remove: []mls.LeafIndex{0}}, now)
		must(t, err)
		g.commit(b, s)
		r, err := b.Process(last, now)
		must(t, err)
		if string(r.Data) != "bye" || r.Leaf == nil || string(r.Leaf.Credential.Identity) != "member 0" {
			t.Fatalf("late message of a removed member: %q from %v", r.Data, r.Leaf)
		}
	})
}

// TestWelcomeExtensions: what a committer tells the added members alone is in the Welcome's
// GroupInfo, under encryption, and not in the one that everybody gets.
func TestWelcomeExtensions(t *testing.T) {
	const private = mls.ExtensionType(0xf00d)
	for _, suite := range suites {
		g := newGroup(t, suite)
		kp, valid := keyPackage(t, suite, "member 1")
		secret := []byte("for the added members alone")
		o := mls.CommitOptions{Add: []*mls.ValidKeyPackage{valid}, WelcomeExtensions: mls.Extensions{{Type: private, Data: secret}}}
		s, err := g.members[0].Commit(o, now)
		must(t, err)
		if _, ok := s.GroupInfo.Extensions.Get(private); ok {
			t.Error("the GroupInfo for everybody has it")
		}
		for what, b := range map[string][]byte{"commit": s.Message.Bytes(), "GroupInfo": s.GroupInfo.Bytes(), "Welcome": s.Welcome.Message().Bytes()} {
			if bytes.Contains(b, secret) {
				t.Errorf("%s shows it", what)
			}
		}
		welcome := reparse(t, s.Welcome.Message()).Welcome
		g.commit(g.members[0], s)
		var got mls.Extensions
		joined, err := mls.JoinWelcome(welcome, kp, mls.JoinOptions{Tree: g.server.Tree(), Extensions: &got}, config(), now)
		must(t, err)
		if b, ok := got.Get(private); !ok || !bytes.Equal(b, secret) {
			t.Errorf("the joiner reads %q", b)
		}
		// It is no part of the group, and not in what the joiner tells of it.
		info, err := joined.GroupInfo(false)
		must(t, err)
		if _, ok := info.Extensions.Get(private); ok {
			t.Error("the joiner's GroupInfo has it")
		}
		g.members = append(g.members, joined)
		g.talk()

		// What the package writes itself cannot be written twice.
		_, valid = keyPackage(t, suite, "member 2")
		o = mls.CommitOptions{Add: []*mls.ValidKeyPackage{valid}, WelcomeExtensions: mls.Extensions{{Type: mls.ExtExternalPub}}}
		if _, err := g.members[0].Commit(o, now); !errors.Is(err, mls.ErrMalformed) {
			t.Errorf("external_pub twice: %v", err)
		}
	}
}
