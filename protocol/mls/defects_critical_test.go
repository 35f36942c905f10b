package mls

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// The defects that the study calls show-stoppers.

// eavesdropper holds all that is public about a group and tries every secret
// that can be guessed.
type eavesdropper struct {
	suite CipherSuite
	infos []*GroupInfo // of epochs 0, 1, ...
	msgs  [][]*PrivateMessage
	depth []int
	wires []*Message // commits and Welcomes
}

// guesses are secrets that follow from public data.
func (e *eavesdropper) guesses() []secret {
	out := []secret{make(secret, hashSize), bytes.Repeat([]byte{0xff}, hashSize), {}, hash(nil), secret("MLS 1.0")}
	for _, i := range e.infos {
		pub, _, err := i.Extensions.externalPub(Limits{})
		if err != nil {
			pub = nil
		}
		for _, b := range [][]byte{i.Context.GroupID, i.Context.TreeHash, i.Context.ConfirmedTranscriptHash,
			i.Context.Bytes(), i.ConfirmationTag, pub, interimTranscript(i.Context.ConfirmedTranscriptHash, i.ConfirmationTag)} {
			out = append(out, b, hash(b))
		}
	}
	return out
}

// decrypt tries to read a message with the secrets of an epoch.
func (e *eavesdropper) decrypt(m *PrivateMessage, s *epochSecrets, depth int) ([]byte, bool) {
	leaf, gen, guard, err := e.suite.senderOf(m, s.senderData)
	if err != nil {
		return nil, false
	}
	lim := Limits{}.withDefaults()
	step, err := newSecretTree(e.suite, depth, s.encryption.clone()).find(ratchetID{leaf, false}, gen, &lim)
	if err != nil {
		return nil, false
	}
	a, err := e.suite.openPrivate(m, step, guard, lim)
	if err != nil {
		return nil, false
	}
	return a.data, true
}

// read returns every plaintext that a guess opens: the D00 attack. An epoch's
// secret is guessed outright, or derived from the init secret of a guessed
// epoch before and a guessed commit secret.
func (e *eavesdropper) read() (plain []string) {
	guesses := e.guesses()
	inits := append([]secret(nil), guesses...)
	for n, info := range e.infos {
		ctx := info.Context.Bytes()
		var epochs []*epochSecrets
		for _, g := range guesses {
			epochs = append(epochs, deriveEpoch(g), newEpoch(g, ctx))
		}
		for _, init := range inits {
			for _, commit := range guesses {
				member := memberSecret(joinerSecret(init, commit, ctx), make(secret, hashSize))
				epochs = append(epochs, newEpoch(member, ctx))
			}
		}
		inits = append([]secret(nil), guesses[:5]...)
		for _, s := range epochs {
			found := macEqual(info.ConfirmationTag, mac(s.confirmation, info.Context.ConfirmedTranscriptHash))
			for _, m := range e.msgs[n] {
				if data, ok := e.decrypt(m, s, e.depth[n]); ok {
					plain, found = append(plain, string(data)), true
				}
			}
			if found {
				plain = append(plain, fmt.Sprint("epoch ", n))
				inits = append(inits, s.nextInit)
			}
		}
	}
	// Ciphertexts of Welcomes and paths, with every guessable private key.
	for _, g := range guesses {
		if len(g) != hashSize {
			continue
		}
		priv, _ := e.suite.deriveHPKE(g)
		for _, m := range e.wires {
			if m.Welcome != nil {
				for _, s := range m.Welcome.secrets {
					if _, err := e.suite.open(priv, "Welcome", m.Welcome.encryptedGroupInfo, s.secrets); err == nil {
						plain = append(plain, "Welcome")
					}
				}
				key, nonce := e.suite.welcomeKeys(memberSecret(g, make(secret, hashSize)))
				if _, err := e.suite.aead(key).Open(nil, nonce, m.Welcome.encryptedGroupInfo, nil); err == nil {
					plain = append(plain, "Welcome's GroupInfo")
				}
				continue
			}
			if m.Public.auth.commit.path == nil {
				continue
			}
			for _, n := range m.Public.auth.commit.path.nodes {
				for _, s := range n.secrets {
					for _, i := range e.infos {
						if _, err := e.suite.open(priv, pathLabel, i.Context.Bytes(), s); err == nil {
							plain = append(plain, "path")
						}
					}
				}
			}
		}
	}
	return plain
}

// watch lets the eavesdropper see three epochs of a group that g has created:
// its creation, an Add without a path, and a commit with one.
func watch(t *testing.T, g *Group) *eavesdropper {
	t.Helper()
	e := &eavesdropper{suite: g.pub.ctx.Suite}
	note := func(senders ...*Group) {
		info, err := senders[0].GroupInfo(true)
		noErr(t, err)
		e.infos = append(e.infos, wire(t, info.Message()).GroupInfo)
		var msgs []*PrivateMessage
		for _, s := range senders {
			m, err := s.Encrypt([]byte("secret of "+fmt.Sprint(s.Epoch())), SendOptions{})
			noErr(t, err)
			msgs = append(msgs, wire(t, m).Private)
		}
		e.msgs, e.depth = append(e.msgs, msgs), append(e.depth, g.pub.tree.depth)
	}
	note(g)
	kp, v := attackKeyPackage(t, attackParams(t, e.suite, "second"))
	s, err := g.Commit(CommitOptions{Add: []*ValidKeyPackage{v}, OmitPath: true}, attackTime)
	noErr(t, err)
	noErr(t, g.Merge(s))
	e.wires = append(e.wires, wire(t, s.Message), wire(t, s.Welcome.Message()))
	second, err := JoinWelcome(s.Welcome, kp, JoinOptions{Tree: g.pub.Tree()}, g.pub.cfg, attackTime)
	noErr(t, err)
	note(g, second)
	s, err = g.Commit(CommitOptions{}, attackTime)
	noErr(t, err)
	noErr(t, g.Merge(s))
	got, err := second.Process(wire(t, s.Message), attackTime)
	noErr(t, err)
	noErr(t, second.Apply(got))
	e.wires = append(e.wires, wire(t, s.Message))
	note(g, second)
	return e
}

// weaken gives a fresh group the secrets that a guess leads to.
func weaken(g *Group, e *epochSecrets) *Group {
	g.pub.tag = mac(e.confirmation, g.pub.ctx.ConfirmedTranscriptHash)
	g.pub.interim = interimTranscript(g.pub.ctx.ConfirmedTranscriptHash, g.pub.tag)
	g.enter(e)
	return g
}

func TestD00EavesdropperReadsNothing(t *testing.T) {
	zero := make(secret, hashSize)
	for _, suite := range []CipherSuite{X25519AES128Ed25519, P256AES128P256, X25519ChaChaEd25519} {
		create := func() *Group {
			g, err := CreateGroup(GroupParams{LeafParams: attackParams(t, suite, "first"), GroupID: []byte("room")},
				Config{Authenticator: AcceptBasic{}})
			noErr(t, err)
			return g
		}
		// Positive control: the attack works where epoch 0 has no entropy, in
		// each of the forms that was seen, up to the first commit with a path.
		weak := create()
		all := memberSecret(joinerSecret(zero, zero, weak.pub.ctx.Bytes()), zero)
		for what, e := range map[string]*epochSecrets{
			"zero epoch secret":           deriveEpoch(zero),
			"zero init and commit secret": newEpoch(all, weak.pub.ctx.Bytes()),
		} {
			c := cloneMember(t, weak)
			plain := watch(t, weaken(c, e)).read()
			for _, want := range []string{"secret of 0", "secret of 1"} {
				if !slices.Contains(plain, want) {
					t.Errorf("suite %d, %s: the attack does not find %q, so it proves nothing", suite, what, want)
				}
			}
			if slices.Contains(plain, "secret of 2") {
				t.Errorf("suite %d, %s: a path did not heal the group", suite, what)
			}
		}
		if plain := watch(t, create()).read(); len(plain) > 0 {
			t.Errorf("suite %d: public data alone opens %q", suite, plain)
		}
	}
}

// secretsOf lists everything in a member's state that nobody else may know.
func secretsOf(t *testing.T, g *Group) [][]byte {
	t.Helper()
	var out [][]byte
	g.epoch.each(func(s *secret) {
		if *s != nil {
			out = append(out, *s)
		}
	})
	for _, s := range g.keys.seeds {
		out = append(out, s)
	}
	for n, k := range g.path {
		if n != g.own.node() {
			out = append(out, k)
		}
	}
	_, external := g.pub.ctx.Suite.deriveHPKE(g.epoch.external)
	exported, err := g.Export("x", nil, 32)
	noErr(t, err)
	return append(out, external, exported, g.pub.tag, g.EpochAuthenticator())
}

func TestD00SamePublicInputsShareNoSecret(t *testing.T) {
	for _, suite := range []CipherSuite{X25519AES128Ed25519, P256AES128P256} {
		// The same client, signature key, KeyPackage of the second member and
		// group id, twice; even the creator's leaf key is made the same.
		first := attackParams(t, suite, "first")
		kp, v := attackKeyPackage(t, attackParams(t, suite, "second"))
		seen := map[string]string{}
		check := func(what string, g *Group) {
			for _, s := range secretsOf(t, g) {
				if where := seen[string(s)]; where != "" && where != what {
					t.Errorf("suite %d: %s and %s share %d bytes", suite, what, where, len(s))
				}
				seen[string(s)] = what
			}
		}
		var leaf *LeafNode
		var leafKey hpkeKey
		for n := range 2 {
			g, err := CreateGroup(GroupParams{LeafParams: first, GroupID: []byte("room")}, Config{Authenticator: AcceptBasic{}})
			noErr(t, err)
			if n == 0 {
				leaf, leafKey = g.pub.tree.leaf(0), g.path[0]
			} else {
				tree := newTree(leaf)
				g.pub.tree, g.pub.ctx.TreeHash, g.path[0] = tree, tree.root.hash, leafKey
			}
			check(fmt.Sprintf("group %d epoch 0", n), g)
			s, err := g.Commit(CommitOptions{Add: []*ValidKeyPackage{v}, OmitPath: true}, attackTime)
			noErr(t, err)
			noErr(t, g.Merge(s))
			check(fmt.Sprintf("group %d epoch 1", n), g)
			j, err := JoinWelcome(s.Welcome, kp, JoinOptions{Tree: g.pub.Tree()}, g.pub.cfg, attackTime)
			noErr(t, err)
			check(fmt.Sprintf("group %d epoch 1", n), j)
			s, err = g.Commit(CommitOptions{}, attackTime)
			noErr(t, err)
			noErr(t, g.Merge(s))
			check(fmt.Sprintf("group %d epoch 2", n), g)
		}
	}
}

func TestD01FourByteTreeCostsNothing(t *testing.T) {
	r := newRoom(t, 2, roomParams{})
	info, err := r.members[0].GroupInfo(false)
	noErr(t, err)
	for _, x := range []string{"", "00", "c0000000", "00800000", "80800000", "bfffffff", "ffffffff", "7fff", "7fffffff", "80004000", "0401010000"} {
		b, err := hex.DecodeString(x)
		noErr(t, err)
		size, _ := allocated(func() { _, err = ParseRatchetTree(b, Limits{}) })
		if err == nil {
			t.Errorf("tree %s accepted", x)
		}
		if size > 64<<10 {
			t.Errorf("tree %s allocates %d bytes", x, size)
		}
		// The same inside a GroupInfo, before any signature is looked at.
		i := *info
		i.Extensions = i.Extensions.With(ExtRatchetTree, b)
		lp := attackParams(t, r.suite, "joiner")
		size, _ = allocated(func() { _, err = NewPublicGroup(&i, nil, r.cfg, attackTime) })
		if err == nil || size > 64<<10 {
			t.Errorf("GroupInfo with tree %s: error %v, %d bytes", x, err, size)
		}
		size, _ = allocated(func() { _, err = ExternalCommit(&i, ExternalOptions{LeafParams: lp}, r.cfg, attackTime) })
		if err == nil || size > 64<<10 {
			t.Errorf("external commit with tree %s: error %v, %d bytes", x, err, size)
		}
	}
	_, err = ParseRatchetTree([]byte{0xc0, 0, 0, 0}, Limits{})
	wantErr(t, "c0000000", err, ErrMalformed)
	_, err = ParseRatchetTree([]byte{0x80, 0x80, 0, 0}, Limits{})
	wantErr(t, "80800000", err, ErrTruncated)
}

func TestD02ExternalCommitTakeover(t *testing.T) {
	r := newRoom(t, 4, roomParams{})
	lp := attackParams(t, r.suite, "mallory")
	_, accomplice := attackKeyPackage(t, attackParams(t, r.suite, "accomplice"))
	init := &Proposal{Type: ProposalExternalInit}
	gce := &Proposal{Type: ProposalGroupContextExtensions, Extensions: Extensions{}}
	add := &Proposal{Type: ProposalAdd, Add: accomplice.kp}
	remove := func(i LeafIndex) *Proposal { return &Proposal{Type: ProposalRemove, Remove: i} }
	psk := NewPSKProposal(PreSharedKeyID{Type: PSKExternal, ID: []byte("x")})
	for _, x := range []struct {
		what string
		list []*Proposal
	}{
		{"the whole of it", byValue(gce, remove(0), remove(2), remove(3), add, init)},
		{"GroupContextExtensions", byValue(init, gce)},
		{"Add", byValue(init, add)},
		{"Update", byValue(init, &Proposal{Type: ProposalUpdate, Update: r.server.tree.leaf(2)})},
		{"ReInit", byValue(init, &Proposal{Type: ProposalReInit, ReInit: &ReInit{GroupID: []byte("n"), Version: MLS10, Suite: r.suite}})},
		{"unknown type", byValue(init, &Proposal{Type: 0xf00d, Content: []byte{}})},
		{"SelfRemove by value", byValue(init, &Proposal{Type: ProposalSelfRemove})},
		{"no ExternalInit", byValue()},
		{"two ExternalInits", byValue(init, &Proposal{Type: ProposalExternalInit})},
		{"the same PSK twice", byValue(init, psk, psk)},
	} {
		m, info := forgery{from: r.members[0], joiner: &lp, proposals: x.list}.build(t)
		r.refuses(x.what, nil, m, info, ErrProposalList, ErrProposalList)
	}
	// Two Removes, even of own former leaves.
	for _, name := range []string{"m1", "m1"} {
		lp := attackParams(t, r.suite, name)
		m, info := forgery{from: r.members[0], joiner: &lp, proposals: byValue(init, remove(1), remove(1))}.build(t)
		r.refuses("two Removes", nil, m, info, ErrProposalList, ErrProposalList)
	}
	m, info := forgery{from: r.members[0], joiner: &lp, proposals: byValue(init)}.build(t)
	r.accepts("control", nil, m, info)
	// ExternalInit is for joiners alone.
	m, info = forgery{from: r.members[0], proposals: byValue(&Proposal{Type: ProposalExternalInit, KEMOutput: []byte("output")})}.build(t)
	r.refuses("ExternalInit by a member", r.members[0], m, info, ErrProposalList, ErrProposalList)
}

func TestD02bExternalCommitReferences(t *testing.T) {
	r := newRoom(t, 5, roomParams{owner: true})
	lp := attackParams(t, r.suite, "mallory")
	_, accomplice := attackKeyPackage(t, attackParams(t, r.suite, "accomplice"))
	pending := map[string][]byte{}
	for what, p := range map[string]*Proposal{
		"Remove": {Type: ProposalRemove, Remove: 1},
		"Add":    {Type: ProposalAdd, Add: accomplice.kp},
		"GCE":    {Type: ProposalGroupContextExtensions, Extensions: r.server.ctx.Extensions},
		"PSK":    NewPSKProposal(PreSharedKeyID{Type: PSKExternal, ID: []byte("x")}),
	} {
		m, err := r.members[2].Propose(p, SendOptions{}, attackTime)
		noErr(t, err)
		pending[what] = r.propose(r.members[2], m)
	}
	m, err := r.members[3].ProposeUpdate(LeafChange{}, SendOptions{}, attackTime)
	noErr(t, err)
	pending["Update"] = r.propose(r.members[3], m)
	for what, ref := range pending {
		m, info := forgery{from: r.members[0], joiner: &lp, proposals: byValue(&Proposal{Type: ProposalExternalInit}), refs: [][]byte{ref}}.build(t)
		r.refuses(what+" by reference", nil, m, info, ErrProposalList, ErrProposalList)
	}
	// SelfRemoves by reference are what a joiner must take along.
	m, err = r.members[4].Propose(&Proposal{Type: ProposalSelfRemove}, SendOptions{}, attackTime)
	noErr(t, err)
	ref := r.propose(r.members[4], m)
	f := forgery{from: r.members[0], joiner: &lp, proposals: byValue(&Proposal{Type: ProposalExternalInit}), refs: [][]byte{ref}}
	m2, info := f.build(t)
	c := r.accepts("with SelfRemove", nil, m2, info)
	if len(c.Removed) != 1 || c.Removed[0].Leaf != 4 || c.Committer != 4 {
		t.Errorf("removed %v, joiner at %d", c.Removed, c.Committer)
	}
	// Remove and SelfRemove of one leaf, by one who may remove it.
	back := attackParams(t, r.suite, "m4")
	f.joiner, f.proposals = &back, byValue(&Proposal{Type: ProposalExternalInit}, &Proposal{Type: ProposalRemove, Remove: 4})
	f.hasApplied, f.applied = true, []*UsedProposal{{Proposal: f.proposals[0], Sender: Sender{Type: SenderNewMemberCommit}},
		{Proposal: f.proposals[1], Sender: Sender{Type: SenderNewMemberCommit}}}
	m2, info = f.build(t)
	r.refuses("Remove and SelfRemove", nil, m2, info, ErrProposalList, ErrProposalList)
}

func TestD03RejectedCommitChangesNothing(t *testing.T) {
	for _, suite := range []CipherSuite{X25519AES128Ed25519, P256AES128P256} {
		r := newRoom(t, 4, roomParams{suite: suite})
		lp := attackParams(t, suite, "joiner")
		// The tag of an external commit is not signed: anyone on the way can
		// change it. The GroupInfo with the true tag gives it away to servers.
		m, info := forgery{from: r.members[0], joiner: &lp, proposals: byValue(&Proposal{Type: ProposalExternalInit})}.build(t)
		bad := wire(t, m)
		bad.Public.auth.tag[0] ^= 1
		secrets := [][]byte{}
		for _, x := range r.members {
			secrets = append(secrets, secretsOf(t, x)...)
		}
		r.refuses("flipped tag", nil, bad, info, ErrBadGroupInfo, ErrBadMAC)
		for _, x := range r.members {
			_, err := x.Process(bad, attackTime)
			if err == nil {
				t.Fatal("a flipped tag is accepted")
			}
			for _, s := range secrets {
				if strings.Contains(err.Error(), hex.EncodeToString(s[:8])) || strings.Contains(err.Error(), string(s)) {
					t.Errorf("the error prints a secret: %v", err)
				}
			}
		}
		// The genuine one still goes through afterwards.
		r.accepts("genuine", nil, m, info)
		// A KEM output that is no key is refused by everybody.
		m, info = forgery{from: r.members[0], joiner: &lp, proposals: byValue(&Proposal{Type: ProposalExternalInit, KEMOutput: []byte("no key")})}.build(t)
		r.refuses("KEM output that is no key", nil, m, info, ErrBadProposal, ErrBadProposal)
		// Any key gives members another init secret, so another tag. Servers
		// cannot know.
		_, pub := suite.generateHPKE()
		m, info = forgery{from: r.members[0], joiner: &lp, proposals: byValue(&Proposal{Type: ProposalExternalInit, KEMOutput: pub})}.build(t)
		for i, x := range r.members {
			r.memberRefuses(fmt.Sprint("foreign KEM output, member ", i), x, m, ErrBadMAC)
		}
		if _, err := r.server.Process(m.Public, info, attackTime); err != nil {
			t.Errorf("foreign KEM output: %v", err)
		}
		r.talk()
	}
}

func TestD04ExternalProposalOfAnotherGroup(t *testing.T) {
	r := newRoom(t, 3, roomParams{owner: true})
	p := &Proposal{Type: ProposalRemove, Remove: 1}
	other := r.server.ctx
	other.GroupID, other.Epoch = []byte("room X"), 77
	m, err := ProposeAsExternalSender(&other, p, 0, r.owner, nil)
	noErr(t, err)
	r.refuses("other group and epoch", nil, m, nil, ErrWrongGroup, ErrWrongGroup)
	other = r.server.ctx
	other.GroupID = []byte("room X")
	m, err = ProposeAsExternalSender(&other, p, 0, r.owner, nil)
	noErr(t, err)
	r.refuses("other group", nil, m, nil, ErrWrongGroup, ErrWrongGroup)
	// Renamed on the way: group and epoch are signed, though the context is not.
	m.Public.auth.groupID = r.server.ctx.GroupID
	r.refuses("renamed", nil, m, nil, ErrBadSignature, ErrBadSignature)
	other = r.server.ctx
	other.Epoch = 77
	m, err = ProposeAsExternalSender(&other, p, 0, r.owner, nil)
	noErr(t, err)
	r.refuses("other epoch", nil, m, nil, ErrWrongEpoch, ErrWrongEpoch)
	m, err = ProposeAsExternalSender(r.server.Context(), p, 1, r.owner, nil)
	noErr(t, err)
	r.refuses("sender that is not listed", nil, m, nil, ErrUnknownSender, ErrUnknownSender)
	stranger, err := GenerateSignatureKey(r.suite)
	noErr(t, err)
	m, err = ProposeAsExternalSender(r.server.Context(), p, 0, stranger, nil)
	noErr(t, err)
	r.refuses("another's key", nil, m, nil, ErrBadSignature, ErrBadSignature)
	for what, p := range map[string]*Proposal{
		"Update":       {Type: ProposalUpdate, Update: r.server.tree.leaf(1)},
		"ExternalInit": {Type: ProposalExternalInit, KEMOutput: []byte{1}},
		"SelfRemove":   {Type: ProposalSelfRemove},
	} {
		m, err := ProposeAsExternalSender(r.server.Context(), p, 0, r.owner, nil)
		noErr(t, err)
		r.refuses(what+" from an external sender", nil, m, nil, ErrBadProposal, ErrBadProposal)
	}
	m, err = ProposeAsExternalSender(r.server.Context(), p, 0, r.owner, nil)
	noErr(t, err)
	r.propose(nil, m)
	r.commit(r.members[0], CommitOptions{})
	if len(r.members) != 2 {
		t.Error("the genuine proposal was not committed")
	}
}

func TestD05LosingCommitLocksNobodyOut(t *testing.T) {
	for _, suite := range []CipherSuite{X25519AES128Ed25519, P256AES128P256} {
		r := newRoom(t, 4, roomParams{suite: suite})
		loser, winner := r.members[1], r.members[2]
		before := memberState(t, loser)
		var lost []*StagedCommit
		for range 3 {
			s, err := loser.Commit(CommitOptions{Remove: []LeafIndex{3}}, attackTime)
			noErr(t, err)
			lost = append(lost, s)
		}
		if d := before.differs(memberState(t, loser)); d != "" {
			t.Errorf("staging changed %s", d)
		}
		w, err := winner.Commit(CommitOptions{}, attackTime)
		noErr(t, err)
		r.deliver(winner, w)
		for _, s := range lost {
			wantErr(t, "merging the lost commit", loser.Merge(s), ErrStale)
		}
		r.talk()
		r.commit(loser, CommitOptions{})
		r.talk()
		// Losing with a staged Update, too.
		m, err := loser.ProposeUpdate(LeafChange{}, SendOptions{}, attackTime)
		noErr(t, err)
		r.propose(loser, m)
		_, err = loser.Commit(CommitOptions{}, attackTime)
		noErr(t, err)
		r.commit(winner, CommitOptions{})
		r.talk()
	}
}

// open capabilities: private-use types beside those of the engine.
func openCapabilities() *Capabilities {
	c := DefaultCapabilities()
	c.Extensions = append(c.Extensions, 0xf001, 0xf002)
	c.Proposals = append(c.Proposals, 0xf00d, ProposalAppEphemeral)
	c.Credentials = append(c.Credentials, 0xf0c0)
	return &c
}

func TestD07CustomGroupContextExtension(t *testing.T) {
	custom := Extension{0xf001, []byte("room policy")}
	r := newRoom(t, 3, roomParams{caps: openCapabilities(), group: Extensions{custom}})
	lp := attackParams(t, r.suite, "late")
	lp.Capabilities = openCapabilities()
	kp, v := attackKeyPackage(t, lp)
	r.invite(r.members[1], []*PrivateKeyPackage{kp}, CommitOptions{Add: []*ValidKeyPackage{v}})
	info, err := r.members[0].GroupInfo(true)
	noErr(t, err)
	lp = attackParams(t, r.suite, "joiner")
	lp.Capabilities = openCapabilities()
	s, err := ExternalCommit(wire(t, info.Message()).GroupInfo, ExternalOptions{LeafParams: lp}, r.cfg, attackTime)
	noErr(t, err)
	r.deliver(nil, s)
	j, err := s.Join()
	noErr(t, err)
	r.members = append(r.members, j)
	r.agree()
	for _, m := range r.members {
		if data, ok := m.pub.ctx.Extensions.Get(custom.Type); !ok || !bytes.Equal(data, custom.Data) {
			t.Errorf("extension is %q", data)
		}
	}
	r.talk()
	// It can be changed, too, and not by those who cannot read it.
	r.commit(j, CommitOptions{Proposals: byValue(&Proposal{Type: ProposalGroupContextExtensions,
		Extensions: Extensions{{0xf001, []byte("new")}, {0xf002, []byte{}}}})})
	r.talk()
	plain, v := attackKeyPackage(t, attackParams(t, r.suite, "plain"))
	_ = plain
	m, i2 := forgery{from: j, proposals: byValue(&Proposal{Type: ProposalAdd, Add: v.kp})}.build(t)
	r.refuses("one who does not support it", j, m, i2, ErrCapabilities, ErrCapabilities)
}

func TestD08LeafExtensionsSurvive(t *testing.T) {
	ext := Extensions{{ExtApplicationID, []byte("device")}, {0xf001, []byte("leaf data")}}
	r := newRoom(t, 3, roomParams{caps: openCapabilities(), leaf: ext})
	check := func(when string) {
		t.Helper()
		for m := range r.server.Members() {
			if !m.Node.Extensions.equal(ext) {
				t.Errorf("%s: leaf %d has extensions %v", when, m.Leaf, m.Node.Extensions)
			}
		}
	}
	check("after own commits")
	m, err := r.members[2].ProposeUpdate(LeafChange{}, SendOptions{}, attackTime)
	noErr(t, err)
	r.propose(r.members[2], m)
	r.commit(r.members[1], CommitOptions{})
	check("after an Update")
	for _, m := range r.members {
		r.commit(m, CommitOptions{})
	}
	check("after more commits")
	r = r.clone()
	check("after a restart")
	// A leaf must not hold what it does not list.
	m2, info := forgery{from: r.members[0], leaf: func(l *LeafNode) { l.Extensions = l.Extensions.With(0xf009, nil) }}.build(t)
	r.refuses("unlisted extension", r.members[0], m2, info, ErrCapabilities, ErrCapabilities)
}

func TestD14ParserIsLinear(t *testing.T) {
	garbage := func(n int, kind byte) []byte {
		b := []byte{0, 1, 0, 1}
		b = appendOpaque(b, []byte("room"))
		b = append(appendU64(b, 1), 1, 0, 0, 0, 0, 0, kind)
		for i := len(b); i < n; i++ {
			b = append(b, byte(i*7+i>>8))
		}
		return b
	}
	for _, kind := range []byte{1, 2, 3} {
		for _, first := range []byte{0x00, 0x01, 0x80, 0xbf} {
			cost := func(n int) uint64 {
				b := garbage(n, kind)
				b[len(b)-n+30] = first
				var err error
				size, _ := allocated(func() { _, err = ParseMessage(b, Limits{}) })
				if err == nil {
					t.Fatal("garbage accepted")
				}
				return size
			}
			small, large := cost(16<<10), cost(131<<10)
			if large > 4*131<<10 || large > 10*small+(16<<10) {
				t.Errorf("content type %d, %#x: 16 kB allocate %d bytes, 131 kB allocate %d", kind, first, small, large)
			}
		}
	}
	// Bodies that are well-formed almost to the end: lists of the smallest
	// elements there are, so that bytes buy the most work.
	header := appendOpaque([]byte{0, 1, 0, 1}, []byte("room"))
	header = append(appendU64(header, 1), 1, 0, 0, 0, 0, 0, 3)
	element := proposalOrRef{proposal: &Proposal{Type: ProposalSelfRemove}}
	cost := func(n int) (uint64, uint64) {
		body := appendList(bytes.Clone(header), func(b []byte) []byte {
			for range n {
				b = element.append(b)
			}
			return b
		})
		var err error
		size, objects := allocated(func() { _, err = ParseMessage(body, Limits{}) })
		if err == nil {
			t.Fatal("truncated commit accepted")
		}
		return size, objects
	}
	s1, o1 := cost(400)
	s2, o2 := cost(4000)
	if s2 > 20*s1 || o2 > 20*o1 {
		t.Errorf("ten times the elements: %d to %d bytes, %d to %d objects", s1, s2, o1, o2)
	}
	if size, _ := cost(40_000); size > 4<<20 {
		t.Errorf("131 kB of proposals, over the limit: %d bytes", size)
	}
	_, err := ParseMessage(garbage(17<<20, 3), Limits{})
	wantErr(t, "17 MiB", err, ErrTooLarge)
}

func TestD19UnknownProposal(t *testing.T) {
	r := newRoom(t, 3, roomParams{caps: openCapabilities()})
	p := &Proposal{Type: 0xf00d, Content: []byte("whatever it means")}
	again, err := ParseProposal(p.Bytes(), Limits{})
	noErr(t, err)
	if again.Type != p.Type || !bytes.Equal(again.Content, p.Content) || !bytes.Equal(again.Bytes(), p.Bytes()) {
		t.Errorf("%v became %v", p, again)
	}
	// By reference and by value, to server and members, and through storage.
	m, err := r.members[1].Propose(p, SendOptions{AAD: []byte("why")}, attackTime)
	noErr(t, err)
	r.propose(r.members[1], m)
	r = r.clone()
	s, err := r.members[0].Commit(CommitOptions{Proposals: byValue(&Proposal{Type: 0xf00d, Content: []byte("two")})}, attackTime)
	noErr(t, err)
	c, err := r.server.Process(wire(t, s.Message).Public, s.GroupInfo, attackTime)
	noErr(t, err)
	if len(c.Proposals) != 2 || string(c.Proposals[0].Proposal.Content) != "whatever it means" ||
		string(c.Proposals[0].AAD) != "why" || string(c.Proposals[1].Proposal.Content) != "two" {
		t.Errorf("committed %v", c.Proposals)
	}
	r.deliver(r.members[0], s)
	r.talk()
	// Without a path it is refused: nobody knows whether it needs one.
	m, info := forgery{from: r.members[0], noPath: true, proposals: byValue(p)}.build(t)
	r.refuses("without a path", r.members[0], m, info, ErrBadPath, ErrBadPath)
	// One that not all support.
	r = newRoom(t, 3, roomParams{})
	m, info = forgery{from: r.members[0], proposals: byValue(p)}.build(t)
	r.refuses("by value", r.members[0], m, info, ErrCapabilities, ErrCapabilities)
	r.refuses("by reference", r.members[0], forgedProposal(t, r.members[0], p, nil), nil, ErrCapabilities, ErrCapabilities)
	_, err = r.members[0].Commit(CommitOptions{Proposals: byValue(p)}, attackTime)
	wantErr(t, "own commit", err, ErrCapabilities)
}

func TestD22CredentialTypeZero(t *testing.T) {
	r := newRoom(t, 3, roomParams{})
	kp, _ := attackKeyPackage(t, attackParams(t, r.suite, "mallory"))
	m, err := ProposeAsNewMember(r.server.Context(), kp, nil)
	noErr(t, err)
	r.accepts("a stranger's Add", nil, m, nil)
	bad := *kp
	leaf := *kp.kp
	leaf.Leaf.Credential.Type = 0
	bad.kp = &leaf
	m, err = ProposeAsNewMember(r.server.Context(), &bad, nil)
	noErr(t, err)
	_, err = ParseMessage(m.Bytes(), Limits{})
	wantErr(t, "credential type 0", err, ErrMalformed)
	// Other shapes that no library should dereference: each is refused by
	// decoding or by processing, and none panics.
	for at := range kp.kp.Bytes() {
		b := kp.kp.Bytes()
		b[at] ^= 0x81
		k, err := ParseKeyPackage(b, Limits{})
		if err != nil {
			continue
		}
		if _, err := k.Verify(Config{Authenticator: AcceptBasic{}}, attackTime); err == nil {
			t.Fatalf("KeyPackage with byte %d changed is valid", at)
		}
	}
	// Unusable keys in a stranger's proposal.
	for what, change := range map[string]func(*KeyPackage){
		"no signature key":   func(k *KeyPackage) { k.Leaf.SignatureKey = nil },
		"long signature key": func(k *KeyPackage) { k.Leaf.SignatureKey = make([]byte, ed25519.PublicKeySize+1) },
	} {
		k := *kp.kp
		change(&k)
		m, err := ProposeAsNewMember(r.server.Context(), &PrivateKeyPackage{&k, &packageKeys{signer: kp.signer}}, nil)
		noErr(t, err)
		r.refuses(what, nil, m, nil, ErrBadSignature, ErrBadSignature)
	}
	// A stranger may propose to add itself, and nothing else.
	for _, p := range []*Proposal{{Type: ProposalRemove, Remove: 1}, {Type: ProposalSelfRemove}} {
		m := forgedProposal(t, r.members[0], p, func(a *authContent) { a.sender = Sender{Type: SenderNewMemberProposal} })
		r.refuses("stranger", nil, m, nil, ErrUnknownSender, ErrUnknownSender)
	}
}

func TestD23CustomCredentialKeepsItsContent(t *testing.T) {
	cred := Credential{Type: 0xf0c0, Identity: []byte("token of another kind")}
	r := newRoom(t, 3, roomParams{caps: openCapabilities(), cfg: Config{Authenticator: anyone{}}})
	lp := attackParams(t, r.suite, "")
	lp.Credential, lp.Capabilities = cred, openCapabilities()
	kp, v := attackKeyPackage(t, lp)
	parsed, err := ParseKeyPackage(kp.kp.Bytes(), Limits{})
	noErr(t, err)
	if !parsed.Leaf.Credential.Equal(cred) || !bytes.Equal(parsed.Bytes(), kp.kp.Bytes()) {
		t.Errorf("credential %v became %v", cred, parsed.Leaf.Credential)
	}
	r.invite(r.members[0], []*PrivateKeyPackage{kp}, CommitOptions{Add: []*ValidKeyPackage{v}})
	r.commit(r.members[3], CommitOptions{})
	r = r.clone()
	m, ok := r.members[1].pub.Member(3)
	if !ok || !m.Node.Credential.Equal(cred) {
		t.Errorf("member 3 has credential %v", m.Node)
	}
	r.talk()
	// A type that some member does not know is not let in.
	r = newRoom(t, 3, roomParams{cfg: Config{Authenticator: anyone{}}})
	m2, info := forgery{from: r.members[0], proposals: byValue(&Proposal{Type: ProposalAdd, Add: kp.kp})}.build(t)
	r.refuses("unknown to some", r.members[0], m2, info, ErrCapabilities, ErrCapabilities)
}

func TestD24HandshakeAAD(t *testing.T) {
	r := newRoom(t, 3, roomParams{owner: true})
	aad := []byte("room state hash")
	m, err := r.members[1].Propose(&Proposal{Type: ProposalRemove, Remove: 2}, SendOptions{AAD: aad}, attackTime)
	noErr(t, err)
	changed := wire(t, m)
	changed.Public.auth.aad = []byte("another")
	r.refuses("proposal's AAD changed", r.members[1], changed, nil, ErrBadSignature, ErrBadMAC)
	c, err := r.server.Process(wire(t, m).Public, nil, attackTime)
	noErr(t, err)
	if !bytes.Equal(c.AAD, aad) || !bytes.Equal(c.Proposal.AAD, aad) {
		t.Errorf("proposal's AAD is %q, %q", c.AAD, c.Proposal.AAD)
	}
	for _, private := range []bool{false, true} {
		s, err := r.members[0].Commit(CommitOptions{AAD: aad, Private: private}, attackTime)
		noErr(t, err)
		got, err := r.members[1].Process(wire(t, s.Message), attackTime)
		noErr(t, err)
		if !bytes.Equal(got.AAD, aad) || !bytes.Equal(got.Change.AAD, aad) {
			t.Errorf("commit's AAD is %q", got.AAD)
		}
		changed := wire(t, s.Message)
		if private {
			changed.Private.aad = []byte("another")
			r.memberRefuses("private commit's AAD changed", r.members[1], changed, ErrDecrypt)
			continue
		}
		changed.Public.auth.aad = []byte("another")
		r.refuses("commit's AAD changed", r.members[0], changed, s.GroupInfo, ErrBadSignature, ErrBadMAC)
	}
	if m, err = ProposeAsExternalSender(r.server.Context(), &Proposal{Type: ProposalRemove, Remove: 2}, 0, r.owner, aad); err != nil {
		t.Fatal(err)
	}
	m.Public.auth.aad = nil
	_, err = r.server.Process(m.Public, nil, attackTime)
	if !errors.Is(err, ErrBadSignature) {
		t.Errorf("external proposal's AAD removed: %v", err)
	}
}
