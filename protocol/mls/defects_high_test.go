package mls

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"
)

// The defects of the study's second and third class.

func TestD06ExternalJoinersGroupInfo(t *testing.T) {
	r := newRoom(t, 2, roomParams{})
	from := r.members[0]
	// Each joins by the GroupInfo of the one before, one of them by the
	// GroupInfo that came with the external commit.
	info, err := from.GroupInfo(false)
	noErr(t, err)
	for i := range 4 {
		if len(info.ConfirmationTag) != hashSize {
			t.Fatalf("confirmation tag of %d bytes", len(info.ConfirmationTag))
		}
		s, err := ExternalCommit(wire(t, info.Message()).GroupInfo, ExternalOptions{
			LeafParams: attackParams(t, r.suite, fmt.Sprint("joiner ", i)), Tree: r.server.Tree()}, r.cfg, attackTime)
		noErr(t, err)
		r.deliver(nil, s)
		j, err := s.Join()
		noErr(t, err)
		r.members = append(r.members, j)
		r.agree()
		if i%2 == 0 {
			info, err = j.GroupInfo(false)
			noErr(t, err)
		} else {
			info = s.GroupInfo
		}
	}
	r.talk()
}

func TestD09StaleUpdateOfAVictim(t *testing.T) {
	r := newRoom(t, 4, roomParams{})
	victim, mallory := r.members[2], r.members[1]
	// The victim's Update, never committed, of this epoch and of an older one.
	m, err := victim.ProposeUpdate(LeafChange{}, SendOptions{}, attackTime)
	noErr(t, err)
	r.propose(victim, m)
	stale := m.Public.auth.proposal
	f := forgery{from: mallory, proposals: byValue(stale), hasApplied: true,
		applied: []*UsedProposal{{Proposal: stale, Sender: Sender{Type: SenderMember, Leaf: 2}}}}
	m2, info := f.build(t)
	r.refuses("this epoch's, by value", mallory, m2, info, ErrProposalList, ErrProposalList)
	r.commit(r.members[0], CommitOptions{WithoutPending: true})
	m2, info = f.build(t)
	r.refuses("stale, by value", mallory, m2, info, ErrProposalList, ErrProposalList)
	// As a proposal message: the frame says who and when.
	r.refuses("stale, re-sent", victim, m, nil, ErrWrongEpoch, ErrWrongEpoch)
	p := forgedProposal(t, mallory, stale, nil)
	// The leaf's signature is over leaf index 2.
	r.refuses("as own", mallory, p, nil, ErrBadCredential, ErrBadCredential)
	p = forgedProposal(t, mallory, stale, func(a *authContent) { a.sender.Leaf = 2 })
	r.refuses("as the victim's", mallory, p, nil, ErrBadSignature, ErrBadSignature)
	// The committer's own Update, by value and by reference.
	own := *r.server.tree.leaf(1)
	own.Source, own.ParentHash = LeafFromUpdate, nil
	_, own.EncryptionKey = r.suite.generateHPKE()
	noErr(t, own.sign(mallory.signer, r.server.ctx.GroupID, 1))
	m2, info = forgery{from: mallory, proposals: byValue(&Proposal{Type: ProposalUpdate, Update: &own})}.build(t)
	r.refuses("own, by value", mallory, m2, info, ErrProposalList, ErrProposalList)
	m, err = mallory.ProposeUpdate(LeafChange{}, SendOptions{}, attackTime)
	noErr(t, err)
	ref := r.propose(mallory, m)
	m2, info = forgery{from: mallory, refs: [][]byte{ref}}.build(t)
	r.refuses("own, by reference", mallory, m2, info, ErrProposalList, ErrProposalList)
}

// privateAs makes an application message of a given generation.
func privateAs(t testing.TB, g *Group, gen uint32, change func(*authContent)) *Message {
	t.Helper()
	a := g.frame(ContentApplication, WirePrivateMessage, nil)
	a.data = []byte("hello")
	noErr(t, a.sign(g.signer, &g.pub.ctx))
	if change != nil {
		change(a)
	}
	lim := Limits{ForwardGenerations: 1 << 20}.withDefaults()
	step, err := g.keys.find(ratchetID{a.sender.Leaf, false}, gen, &lim)
	noErr(t, err)
	return g.pub.ctx.Suite.sealPrivate(a, g.epoch.senderData, step, 0).Message()
}

// claim makes an application message that only says it is of a generation, as
// far off as it likes, at no cost to its sender.
func claim(g *Group, leaf LeafIndex, gen uint32) *Message {
	s := g.pub.ctx.Suite
	m := &PrivateMessage{groupID: g.pub.ctx.GroupID, epoch: g.Epoch(), kind: ContentApplication, ciphertext: randomBytes(64)}
	key, nonce := s.senderDataKeys(g.epoch.senderData, m.ciphertext)
	sd := append(appendU32(appendU32(nil, uint32(leaf)), gen), 0, 0, 0, 0)
	m.senderData = s.aead(key).Seal(nil, nonce, sd, m.senderDataAAD())
	return m.Message()
}

func TestD10GenerationJump(t *testing.T) {
	const limit = 100
	r := newRoom(t, 3, roomParams{cfg: Config{Limits: Limits{ForwardGenerations: limit}}})
	mallory, bob := r.members[1], r.members[0]
	for _, gen := range []uint32{limit + 1, 1e6, 1<<31 - 1, 1 << 31, 1<<32 - 1} {
		var err error
		m := claim(mallory, 1, gen)
		_, objects := allocated(func() { _, err = bob.Process(m, attackTime) })
		wantErr(t, fmt.Sprint("generation ", gen), err, ErrTooFarAhead)
		// Not one ratchet step: a step allocates a dozen objects.
		if objects > 200 {
			t.Errorf("generation %d allocates %d objects", gen, objects)
		}
	}
	r.refuses("far ahead", mallory, claim(mallory, 1, limit+1), nil, nil, ErrTooFarAhead)
	// As far as the limit goes; afterwards the limit counts from there.
	_, err := bob.Process(privateAs(t, mallory, limit, nil), attackTime)
	noErr(t, err)
	r.memberRefuses("counted from the last", bob, claim(mallory, 1, 2*limit+2), ErrTooFarAhead)
	_, err = bob.Process(privateAs(t, mallory, 2*limit+1, nil), attackTime)
	noErr(t, err)
	// A forgery within the limit costs at most limit steps, and moves nothing:
	// neither one that does not decrypt, nor a member's in another's name.
	small := claim(mallory, 2, 0)
	_, base := allocated(func() { _, err = bob.Process(small, attackTime) })
	wantErr(t, "generation 0", err, ErrDecrypt)
	far := claim(mallory, 2, limit)
	_, objects := allocated(func() { _, err = bob.Process(far, attackTime) })
	wantErr(t, "at the limit", err, ErrDecrypt)
	if per := float64(objects-base) / limit; per > 40 {
		t.Errorf("%.0f objects per skipped generation", per)
	}
	r.memberRefuses("does not decrypt", bob, far, ErrDecrypt)
	m := privateAs(t, mallory, limit, func(a *authContent) { a.sender.Leaf = 2 })
	r.memberRefuses("in another's name", bob, m, ErrBadSignature)
	got, err := bob.Process(privateAs(t, r.members[2], 0, nil), attackTime)
	noErr(t, err)
	if string(got.Data) != "hello" {
		t.Errorf("read %q", got.Data)
	}
	// The same for handshake messages.
	p := forgery{from: r.members[2], private: true}
	pm, _ := p.build(t)
	r.memberRefuses("sender data of application messages", bob, &Message{Wire: WirePrivateMessage, Private: &PrivateMessage{
		groupID: pm.Private.groupID, epoch: pm.Private.epoch, kind: ContentProposal, senderData: pm.Private.senderData,
		ciphertext: pm.Private.ciphertext}}, ErrDecrypt)
}

func TestD11ReplayAndOrder(t *testing.T) {
	r := newRoom(t, 3, roomParams{cfg: Config{Limits: Limits{SkippedKeys: 4, PastEpochs: 2}}})
	alice, bob := r.members[0], r.members[1]
	var ms []*Message
	for i := range 10 {
		m, err := alice.Encrypt([]byte{byte(i)}, SendOptions{})
		noErr(t, err)
		ms = append(ms, m)
	}
	read := func(i int) {
		t.Helper()
		got, err := bob.Process(wire(t, ms[i]), attackTime)
		noErr(t, err)
		if got.Data[0] != byte(i) {
			t.Errorf("message %d reads %d", i, got.Data[0])
		}
		r.memberRefuses(fmt.Sprint("replay of ", i), bob, ms[i], ErrReplayed)
	}
	read(2)
	read(0)
	read(3)
	read(9) // skips 4 to 8; with 1 that is six keys, and four are kept
	r.memberRefuses("dropped with the window", bob, ms[1], ErrReplayed)
	r.memberRefuses("dropped with the window", bob, ms[4], ErrReplayed)
	if n := len(bob.keys.ratchets[ratchetID{0, false}].skipped); n != 4 {
		t.Errorf("%d skipped keys", n)
	}
	read(8)
	read(5)
	// Replays after a restart, and after the epoch.
	r.members[1] = cloneMember(t, bob)
	bob = r.members[1]
	r.memberRefuses("replay after a restart", bob, ms[9], ErrReplayed)
	r.commit(r.members[2], CommitOptions{})
	r.memberRefuses("replay in the next epoch", bob, ms[9], ErrReplayed)
	read(6)
	r.commit(r.members[2], CommitOptions{})
	read(7)
	late, err := alice.Encrypt([]byte("x"), SendOptions{})
	noErr(t, err)
	_ = late
	r.commit(r.members[2], CommitOptions{})
	r.memberRefuses("an epoch that is gone", bob, ms[1], ErrWrongEpoch)
	_, err = bob.Process(late, attackTime)
	noErr(t, err)
	r.memberRefuses("replay of the last epoch", bob, late, ErrReplayed)
	r.memberRefuses("own message", alice, late, ErrOwnMessage)
	future, err := alice.Encrypt(nil, SendOptions{})
	noErr(t, err)
	future.Private.epoch++
	r.memberRefuses("future epoch", bob, future, ErrWrongEpoch)
}

func TestD11ProposalAppliedLateReplaysNothing(t *testing.T) {
	r := newRoom(t, 4, roomParams{})
	alice, bob, carol := r.members[0], r.members[1], r.members[2]
	p, err := alice.Propose(&Proposal{Type: ProposalRemove, Remove: 3}, SendOptions{Private: true}, attackTime)
	noErr(t, err)
	// bob verifies the proposal, reads messages, and only then applies it.
	got, err := bob.Process(wire(t, p), attackTime)
	noErr(t, err)
	var read []*Message
	for _, from := range []*Group{alice, carol, r.members[3]} {
		m, err := from.Encrypt([]byte("once"), SendOptions{})
		noErr(t, err)
		_, err = bob.Process(wire(t, m), attackTime)
		noErr(t, err)
		read = append(read, m)
	}
	again, err := bob.Process(wire(t, p), attackTime)
	noErr(t, err)
	noErr(t, bob.Apply(got))
	noErr(t, bob.Apply(again))
	for i, m := range read {
		r.memberRefuses(fmt.Sprint("replay of message ", i), bob, m, ErrReplayed)
	}
	r.memberRefuses("replay of the proposal", bob, p, ErrReplayed)
	if n := len(bob.pub.Pending()); n != 1 {
		t.Errorf("%d pending proposals", n)
	}
	for _, from := range []*Group{alice, carol} {
		m, err := from.Encrypt([]byte("next"), SendOptions{})
		noErr(t, err)
		_, err = bob.Process(wire(t, m), attackTime)
		noErr(t, err)
	}
}

// unmergedTree is a valid tree that is as costly to verify as any: every node
// from level 3 upwards has a key and lists most leaves below it as unmerged.
// Leaves are signed if key is given one.
func unmergedTree(t testing.TB, suite CipherSuite, depth int, signed bool) ratchetTree {
	t.Helper()
	n := 1 << depth
	leaves := make([]*LeafNode, n)
	keys := make([]SignatureKey, n)
	for i := range leaves {
		p := LeafParams{Suite: suite, Credential: BasicCredential(fmt.Append(nil, i)), Lifetime: Lifetime{0, 1 << 40}}
		l := &LeafNode{EncryptionKey: randomBytes(32), SignatureKey: randomBytes(32), Credential: p.Credential,
			Capabilities: DefaultCapabilities(), Source: LeafFromKeyPackage, Lifetime: p.Lifetime, Extensions: Extensions{}}
		if signed {
			var err error
			keys[i], err = GenerateSignatureKey(suite)
			noErr(t, err)
			l.SignatureKey = keys[i].Public()
			noErr(t, l.sign(keys[i], nil, 0))
		}
		leaves[i] = l
	}
	tree := ratchetTree{blankSubtree(depth), depth}
	for i := 0; i < n; i += 4 {
		tree = tree.update(LeafIndex(i), leaves[i])
	}
	// The last committer is the rightmost, so that the chain of parent hashes is
	// found where it is looked for second.
	for i := 0; i < n; i += 8 {
		tree.seal()
		steps := tree.filteredPath(LeafIndex(i))
		pub := make([][]byte, len(steps))
		for k := range pub {
			pub[k] = randomBytes(32)
		}
		l := *leaves[i]
		parents, parentHash := pathParents(steps, pub)
		l.Source, l.ParentHash = LeafFromCommit, parentHash
		if signed {
			noErr(t, l.sign(keys[i], []byte("room"), LeafIndex(i)))
		}
		tree = tree.withPath(LeafIndex(i), &l, parents)
	}
	// Everybody else comes later, all at once.
	var fill func(n *subtree, level int, pos uint32) *subtree
	fill = func(n *subtree, level int, pos uint32) *subtree {
		if level == 0 {
			if n.leaf != nil {
				return n
			}
			return &subtree{leaf: leaves[pos], leaves: 1}
		}
		c := &subtree{left: fill(n.left, level-1, 2*pos), right: fill(n.right, level-1, 2*pos+1), leaves: 1 << level}
		if n.parent != nil {
			p := *n.parent
			for l := LeafIndex(pos) << level; l < LeafIndex(pos+1)<<level; l++ {
				if l%4 != 0 {
					p.unmerged = append(p.unmerged, l)
				}
			}
			c.parent = &p
		}
		return c
	}
	tree = ratchetTree{fill(tree.root, depth, 0), depth}
	tree.seal()
	return tree
}

func TestD15ManyUnmergedLeaves(t *testing.T) {
	cost := map[int]uint64{}
	for _, depth := range []int{8, 11, 14} {
		tree := unmergedTree(t, X25519AES128Ed25519, depth, false)
		encoded := tree.append(nil)
		parsed, err := ParseRatchetTree(encoded, Limits{})
		noErr(t, err)
		if !bytes.Equal(parsed.t.root.hash, tree.root.hash) {
			t.Fatal("tree changes in encoding")
		}
		// A hash allocates its input and its output: objects count hashes.
		_, cost[depth] = allocated(func() {
			noErr(t, parsed.t.verifyUnmerged())
			noErr(t, parsed.t.verifyParentHashes())
		})
		t.Logf("%d leaves, %d bytes: %d objects", 1<<depth, len(encoded), cost[depth])
		// Each level hashes the tree about twice.
		if limit := uint64(6 * depth << depth); cost[depth] > limit {
			t.Errorf("%d leaves: %d objects, more than %d", 1<<depth, cost[depth], limit)
		}
	}
	// Eight times the leaves: n·log n gives a factor 11, n² would give 64.
	for _, depth := range []int{11, 14} {
		if f := float64(cost[depth]) / float64(cost[depth-3]); f > 14 {
			t.Errorf("%d leaves cost %.1f times as much as %d", 1<<depth, f, 1<<(depth-3))
		}
	}
	// The whole way in, signatures included.
	tree := unmergedTree(t, X25519AES128Ed25519, 11, true)
	ctx := GroupContext{Suite: X25519AES128Ed25519, GroupID: []byte("room"), Epoch: 1, TreeHash: tree.root.hash,
		ConfirmedTranscriptHash: hash(nil), Extensions: Extensions{}}
	if _, err := verifyTree(tree, &ctx, &Config{Authenticator: AcceptBasic{}}, attackTime); err != nil {
		t.Error(err)
	}
	// One bit of one unmerged list: no longer valid, and found out as cheaply.
	bad := tree.edit(0, tree.leaf(0), func(level int, p *parentNode) *parentNode {
		if level != 11 {
			return p
		}
		c := *p
		c.unmerged = slices.Delete(slices.Clone(p.unmerged), 5, 6)
		return &c
	})
	bad.seal()
	_, objects := allocated(func() { wantErr(t, "unmerged leaf left out", bad.verifyParentHashes(), ErrBadTree) })
	if objects > 2*cost[11] {
		t.Errorf("invalid tree costs %d objects", objects)
	}
}

// rosterIsTree: members, tree and what the server says are one.
func (r *room) rosterIsTree(want ...string) {
	r.t.Helper()
	for i, g := range append([]*PublicGroup{r.server}, r.publics()...) {
		var names []string
		for m := range g.Members() {
			names = append(names, string(m.Node.Credential.Identity))
		}
		tree, err := ParseRatchetTree(g.Tree().Bytes(), Limits{})
		noErr(r.t, err)
		var inTree []string
		tree.t.members(func(_ LeafIndex, l *LeafNode) bool {
			inTree = append(inTree, string(l.Credential.Identity))
			return true
		})
		if !slices.Equal(names, want) || !slices.Equal(inTree, want) || g.MemberCount() != len(want) {
			r.t.Errorf("view %d: members %q, tree %q, %d counted, want %q", i, names, inTree, g.MemberCount(), want)
		}
	}
}

func (r *room) publics() (out []*PublicGroup) {
	for _, m := range r.members {
		out = append(out, m.pub)
	}
	return out
}

func TestD16LeavingLeavesTheTree(t *testing.T) {
	for leaver := range 4 {
		r := newRoom(t, 4, roomParams{})
		gone := r.members[leaver]
		m, err := gone.Propose(&Proposal{Type: ProposalSelfRemove}, SendOptions{}, attackTime)
		noErr(t, err)
		r.propose(gone, m)
		r.commit(r.members[(leaver+1)%4], CommitOptions{})
		want := slices.Delete([]string{"m0", "m1", "m2", "m3"}, leaver, leaver+1)
		r.rosterIsTree(want...)
		if !gone.Removed() {
			t.Error("the leaver does not know")
		}
		_, err = gone.Encrypt(nil, SendOptions{})
		wantErr(t, "the leaver sends", err, ErrRemoved)
		_, err = gone.Commit(CommitOptions{}, attackTime)
		wantErr(t, "the leaver commits", err, ErrRemoved)
		cannotRead(t, r, gone)
		r.talk()
	}
}

// cannotRead: one who is out reads nothing of the present epoch, whatever
// secrets of the epochs before it kept.
func cannotRead(t *testing.T, r *room, gone *Group) {
	t.Helper()
	m, err := r.members[0].Encrypt([]byte("among us"), SendOptions{})
	noErr(t, err)
	r.memberRefuses("the one who left", gone, m, ErrWrongEpoch)
	for _, k := range gone.path {
		for _, x := range r.members {
			for n, y := range x.path {
				if bytes.Equal(k, y) {
					t.Errorf("the one who left knows the key of node %d", n)
				}
			}
		}
	}
}

func TestD17IdentitySwapInACommit(t *testing.T) {
	r := newRoom(t, 3, roomParams{})
	from := r.members[1]
	for what, change := range map[string]func(*LeafNode){
		"another's name": func(l *LeafNode) { l.Credential = BasicCredential([]byte("m0")) },
		"a new name":     func(l *LeafNode) { l.Credential = BasicCredential([]byte("nobody")) },
		"another type":   func(l *LeafNode) { l.Credential = X509Credential([]byte("der")) },
	} {
		m, info := forgery{from: from, leaf: change}.build(t)
		r.refuses(what, from, m, info, ErrBadCredential, ErrBadCredential)
		u := *r.server.tree.leaf(1)
		u.Source, u.ParentHash = LeafFromUpdate, nil
		_, u.EncryptionKey = r.suite.generateHPKE()
		change(&u)
		noErr(t, u.sign(from.signer, r.server.ctx.GroupID, 1))
		p := forgedProposal(t, from, &Proposal{Type: ProposalUpdate, Update: &u}, nil)
		r.refuses(what+" in an Update", from, p, nil, ErrBadCredential, ErrBadCredential)
	}
	// Whom the Authenticator allows to change, everybody sees as changed.
	r = newRoom(t, 3, roomParams{cfg: Config{Authenticator: renaming{}}})
	from = r.members[1]
	c := BasicCredential([]byte("m1 renamed"))
	s, err := from.Commit(CommitOptions{Leaf: &LeafChange{Credential: &c}}, attackTime)
	noErr(t, err)
	ch, err := r.server.Process(wire(t, s.Message).Public, s.GroupInfo, attackTime)
	noErr(t, err)
	if len(ch.Updated) != 1 || !ch.Updated[0].New.Credential.Equal(c) || string(ch.Updated[0].Old.Credential.Identity) != "m1" {
		t.Errorf("updated %v", ch.Updated)
	}
	r.deliver(from, s)
	r.rosterIsTree("m0", "m1 renamed", "m2")
}

type renaming struct{ AcceptBasic }

func (renaming) Succeeds(_, _ Credential) error { return nil }

// bouncer refuses one name, wherever it comes from.
type bouncer struct{ name string }

func (b bouncer) Authenticate(c Credential, _ []byte, _ time.Time) error {
	if string(c.Identity) == b.name {
		return errors.New("unwanted")
	}
	return nil
}

func (b bouncer) AuthenticateSender(c Credential, k []byte, at time.Time) error {
	return b.Authenticate(c, k, at)
}

func (b bouncer) Succeeds(_, _ Credential) error { return nil }

func TestD18CredentialValidatorIsAlwaysAsked(t *testing.T) {
	r := newRoom(t, 3, roomParams{cfg: Config{Authenticator: bouncer{"mallory"}}, owner: true})
	from := r.members[1]
	kp, v := attackKeyPackage(t, attackParams(t, r.suite, "mallory"))
	_, err := kp.kp.Verify(Config{Authenticator: bouncer{"mallory"}}, attackTime)
	wantErr(t, "KeyPackage", err, ErrBadCredential)
	add := &Proposal{Type: ProposalAdd, Add: v.kp}
	m, info := forgery{from: from, proposals: byValue(add)}.build(t)
	r.refuses("another's Add", from, m, info, ErrBadCredential, ErrBadCredential)
	m, err = ProposeAsNewMember(r.server.Context(), kp, nil)
	noErr(t, err)
	r.refuses("own Add", nil, m, nil, ErrBadCredential, ErrBadCredential)
	m, err = ProposeAsExternalSender(r.server.Context(), add, 0, r.owner, nil)
	noErr(t, err)
	r.refuses("external sender's Add", nil, m, nil, ErrBadCredential, ErrBadCredential)
	lp := attackParams(t, r.suite, "mallory")
	m, info = forgery{from: from, joiner: &lp, proposals: byValue(&Proposal{Type: ProposalExternalInit})}.build(t)
	r.refuses("external commit", nil, m, info, ErrBadCredential, ErrBadCredential)
	rename := func(l *LeafNode) { l.Credential = BasicCredential([]byte("mallory")) }
	m, info = forgery{from: from, leaf: rename}.build(t)
	r.refuses("path leaf", from, m, info, ErrBadCredential, ErrBadCredential)
	u := *r.server.tree.leaf(1)
	u.Source, u.ParentHash = LeafFromUpdate, nil
	_, u.EncryptionKey = r.suite.generateHPKE()
	rename(&u)
	noErr(t, u.sign(from.signer, r.server.ctx.GroupID, 1))
	m = forgedProposal(t, from, &Proposal{Type: ProposalUpdate, Update: &u}, nil)
	r.refuses("Update", from, m, nil, ErrBadCredential, ErrBadCredential)
	// An external sender is introduced like a member (section 5.3.1).
	ext := Extensions{ExternalSendersExtension([]ExternalSender{{SignatureKey: kp.signer.Public(), Credential: BasicCredential([]byte("mallory"))}})}
	gce := &Proposal{Type: ProposalGroupContextExtensions, Extensions: ext}
	m, info = forgery{from: from, proposals: byValue(gce)}.build(t)
	r.refuses("external sender", from, m, info, ErrBadCredential, ErrBadCredential)
	r.refuses("external sender by reference", from, forgedProposal(t, from, gce, nil), nil, ErrBadCredential, ErrBadCredential)
	// A group that has mallory already is not joined or followed.
	strange := newRoom(t, 2, roomParams{cfg: Config{Authenticator: anyone{}}})
	o := CommitOptions{Add: []*ValidKeyPackage{v}}
	strange.invite(strange.members[0], []*PrivateKeyPackage{kp}, o)
	gi, err := strange.members[0].GroupInfo(true)
	noErr(t, err)
	_, err = NewPublicGroup(gi, nil, r.cfg, attackTime)
	wantErr(t, "server", err, ErrBadCredential)
	_, err = ExternalCommit(gi, ExternalOptions{LeafParams: attackParams(t, r.suite, "joiner")}, r.cfg, attackTime)
	wantErr(t, "joiner", err, ErrBadCredential)
	strange = newRoom(t, 2, roomParams{cfg: Config{Authenticator: anyone{}}, group: ext})
	gi, err = strange.members[0].GroupInfo(true)
	noErr(t, err)
	_, err = NewPublicGroup(gi, nil, r.cfg, attackTime)
	wantErr(t, "server of a group with such an external sender", err, ErrBadCredential)
}

func TestD21RequiredCapabilities(t *testing.T) {
	req := RequiredCapabilities{Extensions: []ExtensionType{0xf001}, Proposals: []ProposalType{0xf00d}, Credentials: []CredentialType{0xf0c0}}
	r := newRoom(t, 3, roomParams{caps: openCapabilities(), group: Extensions{req.Extension()}})
	from := r.members[1]
	for what, drop := range map[string]func(*Capabilities){
		"extension":  func(c *Capabilities) { c.Extensions = c.Extensions[:1] },
		"proposal":   func(c *Capabilities) { c.Proposals = c.Proposals[:2] },
		"credential": func(c *Capabilities) { c.Credentials = c.Credentials[:2] },
	} {
		caps := *openCapabilities()
		drop(&caps)
		lp := attackParams(t, r.suite, "joiner")
		lp.Capabilities = &caps
		m, info := forgery{from: from, joiner: &lp, proposals: byValue(&Proposal{Type: ProposalExternalInit})}.build(t)
		r.refuses(what+": external joiner", nil, m, info, ErrCapabilities, ErrCapabilities)
		kp, v := attackKeyPackage(t, lp)
		add := &Proposal{Type: ProposalAdd, Add: v.kp}
		m, info = forgery{from: from, proposals: byValue(add)}.build(t)
		r.refuses(what+": Add", from, m, info, ErrCapabilities, ErrCapabilities)
		m, info = forgery{from: from, leaf: func(l *LeafNode) { l.Capabilities = caps }}.build(t)
		r.refuses(what+": path leaf", from, m, info, ErrCapabilities, ErrCapabilities)
		// By reference: refused on arrival, since no commit could include it.
		u := *r.server.tree.leaf(1)
		u.Source, u.ParentHash, u.Capabilities = LeafFromUpdate, nil, caps
		_, u.EncryptionKey = r.suite.generateHPKE()
		noErr(t, u.sign(from.signer, r.server.ctx.GroupID, 1))
		m = forgedProposal(t, from, &Proposal{Type: ProposalUpdate, Update: &u}, nil)
		r.refuses(what+": Update", from, m, nil, ErrCapabilities, ErrCapabilities)
		m = forgedProposal(t, from, add, nil)
		r.refuses(what+": Add by reference", from, m, nil, ErrCapabilities, ErrCapabilities)
		m, err := ProposeAsNewMember(r.server.Context(), kp, nil)
		noErr(t, err)
		r.refuses(what+": stranger's Add", nil, m, nil, ErrCapabilities, ErrCapabilities)
	}
	lp := attackParams(t, r.suite, "joiner")
	lp.Capabilities = openCapabilities()
	m, info := forgery{from: from, joiner: &lp, proposals: byValue(&Proposal{Type: ProposalExternalInit})}.build(t)
	r.accepts("control", nil, m, info)
	// Requirements that present members do not meet, and extensions they lack.
	for what, ext := range map[string]Extensions{
		"required extension":  {RequiredCapabilities{Extensions: []ExtensionType{0xf009}}.Extension()},
		"required proposal":   {RequiredCapabilities{Proposals: []ProposalType{0xf009}}.Extension()},
		"required credential": {RequiredCapabilities{Credentials: []CredentialType{0xf009}}.Extension()},
		"unknown extension":   {{0xf009, []byte{}}},
	} {
		gce := &Proposal{Type: ProposalGroupContextExtensions, Extensions: ext}
		m, info := forgery{from: from, proposals: byValue(gce)}.build(t)
		r.refuses(what, from, m, info, ErrCapabilities, ErrCapabilities)
		r.refuses(what+" by reference", from, forgedProposal(t, from, gce, nil), nil, ErrCapabilities, ErrCapabilities)
	}
}

func TestD26RemovedMembersAreGone(t *testing.T) {
	r := newRoom(t, 4, roomParams{})
	gone := r.members[2]
	r.commit(r.members[0], CommitOptions{Remove: []LeafIndex{2}})
	r.rosterIsTree("m0", "m1", "m3")
	for _, g := range append(r.publics(), r.server) {
		if _, ok := g.Member(2); ok {
			t.Error("leaf 2 is still a member")
		}
	}
	// Its keys are free again, its capabilities no longer count, and the leaf
	// goes to the next.
	kp, v := attackKeyPackage(t, attackParams(t, r.suite, "new"))
	r.invite(r.members[0], []*PrivateKeyPackage{kp}, CommitOptions{Add: []*ValidKeyPackage{v}})
	r.rosterIsTree("m0", "m1", "new", "m3")
	lp := LeafParams{Suite: r.suite, Signer: gone.signer, Credential: BasicCredential([]byte("m2")), Lifetime: LifetimeOf(attackTime, time.Hour)}
	kp, v = attackKeyPackage(t, lp)
	r.invite(r.members[0], []*PrivateKeyPackage{kp}, CommitOptions{Add: []*ValidKeyPackage{v}})
	r.rosterIsTree("m0", "m1", "new", "m3", "m2")
	r.talk()
	r = r.clone()
	r.rosterIsTree("m0", "m1", "new", "m3", "m2")
	cannotRead(t, r, gone)
}

func TestD28ResumptionPSKsAreBounded(t *testing.T) {
	r := newRoom(t, 2, roomParams{cfg: Config{Limits: Limits{ResumptionPSKs: 2}}})
	size := func() (n int) {
		for _, p := range AllParts(r.members[0]) {
			n += len(p.Key) + len(p.Value)
		}
		return n
	}
	var early int
	psk := map[uint64][]byte{}
	for i := range 30 {
		var err error
		psk[r.server.Epoch()], err = r.members[0].ResumptionPSK(r.server.Epoch())
		noErr(t, err)
		r.commit(r.members[i%2], CommitOptions{})
		if i == 5 {
			early = size()
		}
	}
	if late := size(); late > early+64 {
		t.Errorf("state grows from %d to %d bytes", early, late)
	}
	m := cloneMember(t, r.members[0])
	epoch := r.server.Epoch()
	for _, e := range []uint64{epoch - 1, epoch - 2} {
		got, err := m.ResumptionPSK(e)
		if err != nil || !bytes.Equal(got, psk[e]) {
			t.Errorf("PSK of epoch %d after a restart: %x, %v", e, got, err)
		}
	}
	for _, e := range []uint64{0, epoch - 3, epoch + 1, ^uint64(0)} {
		_, err := m.ResumptionPSK(e)
		wantErr(t, fmt.Sprint("PSK of epoch ", e), err, ErrUnknownPSK)
	}
}

func TestD29ForwardSecrecyWithinAnEpoch(t *testing.T) {
	r := newRoom(t, 3, roomParams{})
	alice, bob := r.members[0], r.members[1]
	// What opens the first message, taken while it was still there.
	lim := Limits{}.withDefaults()
	step, err := bob.keys.find(ratchetID{0, false}, 0, &lim)
	noErr(t, err)
	key, nonce := step.key.key.clone(), step.key.nonce.clone()
	var before [][]byte
	for _, s := range bob.keys.seeds {
		before = append(before, bytes.Clone(s))
	}
	before = append(before, bytes.Clone(step.others[ratchetID{0, false}].secret))
	var first *Message
	for i := range 20 {
		m, err := alice.Encrypt([]byte("early"), SendOptions{})
		noErr(t, err)
		if i == 0 {
			first = m
		}
		_, err = bob.Process(wire(t, m), attackTime)
		noErr(t, err)
	}
	// Control: with the key the message opens.
	if _, err := r.suite.openPrivate(first.Private, &keyStep{key: messageKey{key, nonce}}, guardOf(t, alice, first), lim); err != nil {
		t.Fatal(err)
	}
	for who, g := range map[string]*Group{"sender": alice, "receiver": bob} {
		for _, p := range AllParts(g) {
			for _, old := range append(before, key) {
				if bytes.Contains(p.Value, old) {
					t.Errorf("%s still holds a secret of the first message in %s", who, p.Key)
				}
			}
		}
		stolen := cloneMember(t, g)
		for _, gen := range []uint32{0, 5, 19} {
			_, err := stolen.keys.find(ratchetID{0, false}, gen, &lim)
			wantErr(t, fmt.Sprintf("%s, generation %d", who, gen), err, ErrReplayed)
		}
	}
	// Of an epoch that is over, secrets other than message keys are gone.
	old := bytes.Clone(bob.epoch.nextInit)
	r.commit(alice, CommitOptions{})
	for _, p := range AllParts(bob) {
		if bytes.Contains(p.Value, old) {
			t.Errorf("init secret of the last epoch in %s", p.Key)
		}
	}
}

func guardOf(t *testing.T, g *Group, m *Message) [4]byte {
	t.Helper()
	_, _, guard, err := g.pub.ctx.Suite.senderOf(m.Private, g.epoch.senderData)
	noErr(t, err)
	return guard
}

func TestD30LastLeafLeaving(t *testing.T) {
	r := newRoom(t, 3, roomParams{}) // the tree shrinks from four leaves to two
	last := r.members[2]
	p := &Proposal{Type: ProposalSelfRemove}
	m, err := last.Propose(p, SendOptions{}, attackTime)
	noErr(t, err)
	ref := r.propose(last, m)
	// Without a path the leaver could compute the next epoch.
	m, info := forgery{from: r.members[0], noPath: true, refs: [][]byte{ref}}.build(t)
	r.refuses("SelfRemove without a path", r.members[0], m, info, ErrBadPath, ErrBadPath)
	m, info = forgery{from: r.members[0], noPath: true, proposals: byValue(&Proposal{Type: ProposalRemove, Remove: 2})}.build(t)
	r.refuses("Remove without a path", r.members[0], m, info, ErrBadPath, ErrBadPath)
	s := r.commit(r.members[0], CommitOptions{OmitPath: true})
	if s.Change.path == nil {
		t.Fatal("commit of a SelfRemove without a path")
	}
	r.rosterIsTree("m0", "m1")
	if r.server.tree.depth != 1 {
		t.Errorf("tree of depth %d", r.server.tree.depth)
	}
	cannotRead(t, r, last)
	r.talk()
	// The leaver's keys open nothing of the path either.
	for _, k := range last.path {
		for _, n := range s.Change.path.nodes {
			for _, ct := range n.secrets {
				ctx := *s.Change.Context
				ctx.ConfirmedTranscriptHash = last.pub.ctx.ConfirmedTranscriptHash
				if _, err := r.suite.open(k, pathLabel, ctx.Bytes(), ct); err == nil {
					t.Error("the leaver opens the path")
				}
			}
		}
	}
}

func TestD31RemoveVictimAndSelf(t *testing.T) {
	r := newRoom(t, 4, roomParams{})
	from := r.members[0]
	both := byValue(&Proposal{Type: ProposalRemove, Remove: 2}, &Proposal{Type: ProposalRemove, Remove: 0})
	m, info := forgery{from: from, proposals: both}.build(t)
	r.refuses("with a path", from, m, info, ErrProposalList, ErrProposalList)
	m, info = forgery{from: from, proposals: both, noPath: true}.build(t)
	r.refuses("without a path", from, m, info, ErrBadPath, ErrBadPath)
	m, info = forgery{from: from, proposals: both[:1], noPath: true}.build(t)
	r.refuses("victim alone without a path", from, m, info, ErrBadPath, ErrBadPath)
	m, info = forgery{from: from, proposals: both[:1]}.build(t)
	r.accepts("victim alone", from, m, info)
}

func TestD32RestartKeepsTheSigningKey(t *testing.T) {
	for _, suite := range []CipherSuite{X25519AES128Ed25519, P256AES128P256} {
		r := newRoom(t, 3, roomParams{suite: suite})
		key, err := GenerateSignatureKey(suite)
		noErr(t, err)
		r.commit(r.members[1], CommitOptions{Leaf: &LeafChange{Signer: key}})
		r = r.clone()
		if !bytes.Equal(r.members[1].signer.Public(), key.Public()) {
			t.Error("the new key is lost")
		}
		r.commit(r.members[1], CommitOptions{})
		// A key that an Update announced, committed after a restart.
		key, err = GenerateSignatureKey(suite)
		noErr(t, err)
		m, err := r.members[2].ProposeUpdate(LeafChange{Signer: key}, SendOptions{}, attackTime)
		noErr(t, err)
		r.propose(r.members[2], m)
		r = r.clone()
		r.commit(r.members[0], CommitOptions{})
		r = r.clone()
		if !bytes.Equal(r.members[2].signer.Public(), key.Public()) {
			t.Error("the Update's key is lost")
		}
		r.commit(r.members[2], CommitOptions{})
		r.talk()
	}
}
