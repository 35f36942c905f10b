package mls

import (
	"bytes"
	"errors"
	"slices"
	"testing"
)

// The fifteen forgeries that a server without secrets must reject, and the
// members with it.

// honest is the positive control of every forgery below.
func honest(r *room) {
	r.t.Helper()
	m, info := forgery{from: r.members[1]}.build(r.t)
	r.accepts("honest commit", r.members[1], m, info)
	m, info = forgery{from: r.members[1], proposals: byValue(&Proposal{Type: ProposalRemove, Remove: 2})}.build(r.t)
	r.accepts("honest Remove", r.members[1], m, info)
	m, info = forgery{from: r.members[1], private: true}.build(r.t)
	c := r.clone()
	for i, x := range c.members {
		if i != 1 {
			got, err := x.Process(m, attackTime)
			noErr(r.t, err)
			noErr(r.t, x.Apply(got))
		}
	}
	if info != nil {
		r.t.Fatal("a private commit has no GroupInfo for the server")
	}
}

func TestForgeryHonestControl(t *testing.T) {
	for _, suite := range []CipherSuite{X25519AES128Ed25519, P256AES128P256, X25519ChaChaEd25519} {
		honest(newRoom(t, 4, roomParams{suite: suite}))
	}
}

func TestForgery01FlippedSignature(t *testing.T) {
	r := newRoom(t, 4, roomParams{})
	flip := func(a *authContent) { a.signature[9] ^= 1 }
	// By an insider, who can make the membership tag fit.
	m, info := forgery{from: r.members[1], signed: flip}.build(t)
	r.refuses("insider", r.members[1], m, info, ErrBadSignature, ErrBadSignature)
	// On the way, where the tag gives it away first.
	m, info = forgery{from: r.members[1]}.build(t)
	flip(&m.Public.auth)
	r.refuses("outsider", r.members[1], m, info, ErrBadSignature, ErrBadMAC)
	m, _ = forgery{from: r.members[1], private: true, signed: flip}.build(t)
	r.refuses("private", r.members[1], m, nil, nil, ErrBadSignature)
}

func TestForgery02OtherCommitterClaimed(t *testing.T) {
	r := newRoom(t, 4, roomParams{})
	m, info := forgery{from: r.members[1], content: func(a *authContent) { a.sender.Leaf = 2 }}.build(t)
	victim := r.members[2]
	r.memberRefuses("victim", victim, m, ErrOwnMessage)
	r.members = slices.Delete(slices.Clone(r.members), 2, 3)
	r.refuses("signed by another", nil, m, info, ErrBadSignature, ErrBadSignature)
	m, info = forgery{from: r.members[1]}.build(t)
	m.Public.auth.sender.Leaf = 3
	_, err := r.server.Process(m.Public, info, attackTime)
	wantErr(t, "sender changed on the way", err, ErrBadSignature)
	r.memberRefuses("sender changed on the way", victim, m, ErrBadMAC)
	// The GroupInfo of another than the committer.
	m, _ = forgery{from: r.members[1]}.build(t)
	_, info = forgery{from: r.members[1], info: func(i *GroupInfo) { i.Signer = 3 }}.build(t)
	_, err = r.server.Process(m.Public, info, attackTime)
	wantErr(t, "GroupInfo of another commit", err, ErrBadGroupInfo)
	m, info = forgery{from: r.members[1], info: func(i *GroupInfo) { i.Signer = 3 }}.build(t)
	_, err = r.server.Process(m.Public, info, attackTime)
	wantErr(t, "GroupInfo names another signer", err, ErrBadGroupInfo)
}

func TestForgery03NextEpoch(t *testing.T) {
	r := newRoom(t, 4, roomParams{})
	for _, private := range []bool{false, true} {
		m, info := forgery{from: r.members[1], private: private, content: func(a *authContent) { a.epoch++ }}.build(t)
		r.refuses("epoch+1", r.members[1], m, info, ErrWrongEpoch, ErrWrongEpoch)
		m, info = forgery{from: r.members[1], private: private, content: func(a *authContent) { a.epoch-- }}.build(t)
		r.refuses("epoch-1", r.members[1], m, info, ErrWrongEpoch, ErrWrongEpoch)
	}
	m, info := forgery{from: r.members[1], context: func(c *GroupContext) { c.Epoch++ }}.build(t)
	r.refuses("skips an epoch", r.members[1], m, info, ErrBadGroupInfo, ErrBadMAC)
}

func TestForgery04OtherGroup(t *testing.T) {
	r := newRoom(t, 4, roomParams{})
	for _, private := range []bool{false, true} {
		m, info := forgery{from: r.members[1], private: private,
			content: func(a *authContent) { a.groupID = []byte("another group") }}.build(t)
		r.refuses("other group", r.members[1], m, info, ErrWrongGroup, ErrWrongGroup)
	}
}

func TestForgery05TrailingByte(t *testing.T) {
	r := newRoom(t, 4, roomParams{})
	m, info := forgery{from: r.members[1]}.build(t)
	_, err := ParseMessage(append(m.Bytes(), 0), Limits{})
	wantErr(t, "message", err, ErrTrailing)
	_, err = ParseGroupInfo(append(info.Bytes(), 0), Limits{})
	wantErr(t, "GroupInfo", err, ErrTrailing)
	_, err = ParseRatchetTree(append(r.server.Tree().Bytes(), 0), Limits{})
	wantErr(t, "tree", err, ErrTrailing)
	_, err = ParseKeyPackage(append((&KeyPackage{}).Bytes(), 0), Limits{})
	if err == nil {
		t.Error("KeyPackage with a trailing byte accepted")
	}
	r.accepts("without it", r.members[1], m, info)
}

func TestForgery06MissingConfirmationTag(t *testing.T) {
	r := newRoom(t, 4, roomParams{})
	m, _ := forgery{from: r.members[1]}.build(t)
	m.Public.auth.tag = []byte{}
	_, err := ParseMessage(m.Bytes(), Limits{})
	wantErr(t, "empty tag", err, ErrMalformed)
	// The tag left out, bytes and length.
	m, _ = forgery{from: r.members[1]}.build(t)
	b := m.Public.auth.framedContent.append([]byte{0, 1, 0, 1})
	b = appendOpaque(b, m.Public.auth.signature)
	b = appendOpaque(b, m.Public.membershipTag)
	_, err = ParseMessage(b, Limits{})
	wantErr(t, "no tag", err, ErrTruncated)
	// In a GroupInfo, where the D06 library left it empty.
	_, err = NewPublicGroup(func() *GroupInfo {
		i, err := r.members[0].GroupInfo(true)
		noErr(t, err)
		i.ConfirmationTag = []byte{}
		noErr(t, i.sign(r.members[0].signer))
		return i
	}(), nil, r.cfg, attackTime)
	wantErr(t, "GroupInfo", err, ErrBadGroupInfo)
	// A wrong tag: the server sees it by the GroupInfo, members compute it.
	m, info := forgery{from: r.members[1]}.build(t)
	m.Public.auth.tag = bytes.Clone(m.Public.auth.tag)
	m.Public.auth.tag[3] ^= 1
	m = publicMessage(&m.Public.auth, &r.server.ctx, r.members[1].epoch.membership).Message()
	r.refuses("wrong tag", r.members[1], m, info, ErrBadGroupInfo, ErrBadMAC)
}

func TestForgery07NonMemberSigner(t *testing.T) {
	r := newRoom(t, 4, roomParams{})
	r.commit(r.members[0], CommitOptions{Remove: []LeafIndex{2}})
	key, err := GenerateSignatureKey(r.suite)
	noErr(t, err)
	from := r.members[1]
	for _, leaf := range []LeafIndex{2, 4, 99, 1 << 31, ^LeafIndex(0)} {
		m, info := forgery{from: from, content: func(a *authContent) { a.sender.Leaf = leaf }}.build(t)
		r.refuses("blank leaf", from, m, info, ErrUnknownSender, ErrUnknownSender)
	}
	m, info := forgery{from: from, signer: &key}.build(t)
	r.refuses("stranger's key", from, m, info, ErrBadSignature, ErrBadSignature)
	// A commit that claims the roles of those who may only propose.
	for _, s := range []Sender{{Type: SenderExternal}, {Type: SenderNewMemberProposal}} {
		m, info := forgery{from: from, content: func(a *authContent) { a.sender = s }}.build(t)
		r.refuses("role", from, m, info, ErrUnknownSender, ErrUnknownSender)
	}
	// A path leaf with a key of its own does not make a joiner of a member.
	m, info = forgery{from: from, content: func(a *authContent) { a.sender = Sender{Type: SenderNewMemberCommit} }}.build(t)
	r.refuses("member as joiner", from, m, info, ErrProposalList, ErrProposalList)
	m, info = forgery{from: from, noPath: true, proposals: byValue(&Proposal{Type: ProposalExternalInit, KEMOutput: []byte{1}}),
		content: func(a *authContent) { a.sender = Sender{Type: SenderNewMemberCommit} }}.build(t)
	r.refuses("joiner without a path", from, m, info, ErrBadPath, ErrBadPath)
}

func TestForgery08SwappedPathKeys(t *testing.T) {
	r := newRoom(t, 4, roomParams{})
	m, info := forgery{from: r.members[1], path: func(u *updatePath) {
		u.nodes[0].key, u.nodes[1].key = u.nodes[1].key, u.nodes[0].key
	}}.build(t)
	r.refuses("swapped after the parent hash", r.members[1], m, info, ErrBadPath, ErrBadPath)
	// Swapped before: all public data fits, but the path secrets do not give
	// these keys, which only members can see.
	m, info = forgery{from: r.members[1], keys: func(k [][]byte) { k[0], k[1] = k[1], k[0] }}.build(t)
	for i, x := range r.members {
		if i != 1 {
			r.memberRefuses("swapped before the parent hash", x, m, ErrBadPath)
		}
	}
	if _, err := r.server.Process(m.Public, info, attackTime); err != nil {
		t.Errorf("the server cannot know: %v", err)
	}
	m, info = forgery{from: r.members[1], leaf: func(l *LeafNode) { l.ParentHash = hash([]byte("x")) }}.build(t)
	r.refuses("parent hash", r.members[1], m, info, ErrBadPath, ErrBadPath)
	m, info = forgery{from: r.members[1], leaf: func(l *LeafNode) { l.ParentHash = []byte{} }}.build(t)
	r.refuses("no parent hash", r.members[1], m, info, ErrBadPath, ErrBadPath)
}

func TestForgery09DroppedCiphertexts(t *testing.T) {
	r := newRoom(t, 5, roomParams{})
	from := r.members[1]
	for _, x := range []struct {
		what string
		path func(*updatePath)
	}{
		{"one ciphertext", func(u *updatePath) { u.nodes[1].secrets = u.nodes[1].secrets[1:] }},
		{"all of a node", func(u *updatePath) { u.nodes[0].secrets = nil }},
		{"one too many", func(u *updatePath) { u.nodes[0].secrets = append(u.nodes[0].secrets, u.nodes[1].secrets...) }},
		{"a node", func(u *updatePath) { u.nodes = u.nodes[:1] }},
		{"all nodes", func(u *updatePath) { u.nodes = nil }},
		{"an extra node", func(u *updatePath) { u.nodes = append(u.nodes, u.nodes[0]) }},
	} {
		m, info := forgery{from: from, path: x.path}.build(t)
		r.refuses(x.what, from, m, info, ErrBadPath, ErrBadPath)
	}
	// A ciphertext that is there but useless to one member: only that member
	// can see it, and is not harmed.
	m, _ := forgery{from: from, path: func(u *updatePath) { u.nodes[0].secrets[0].Ciphertext[0] ^= 1 }}.build(t)
	r.memberRefuses("spoilt ciphertext", r.members[0], m, ErrDecrypt)
	m, _ = forgery{from: from, path: func(u *updatePath) { u.nodes[0].secrets[0].KEMOutput = []byte{4} }}.build(t)
	r.memberRefuses("spoilt KEM output", r.members[0], m, ErrDecrypt)
	r.goesOn("spoilt ciphertexts")
}

func TestForgery10HiddenRemove(t *testing.T) {
	r := newRoom(t, 4, roomParams{})
	from := r.members[0]
	gone := []*UsedProposal{{Proposal: &Proposal{Type: ProposalRemove, Remove: 3}, Sender: Sender{Type: SenderMember}}}
	// The path and the tree leave leaf 3 out, the list does not say so.
	m, info := forgery{from: from, hasApplied: true, applied: gone}.build(t)
	r.refuses("not listed", from, m, info, ErrBadPath, ErrBadPath)
	// The same with the ciphertexts of one who stays, so that only the context
	// tells.
	m, info = forgery{from: from, context: func(c *GroupContext) {
		t := r.server.tree.remove(3)
		t.seal()
		c.TreeHash = t.root.hash
	}}.build(t)
	r.refuses("tree hash of another tree", from, m, info, ErrBadGroupInfo, ErrBadMAC)
	// Taken out of the list on its way.
	m, info = forgery{from: from, proposals: byValue(gone[0].Proposal)}.build(t)
	m.Public.auth.commit.proposals = nil
	_, err := r.server.Process(m.Public, info, attackTime)
	wantErr(t, "taken out", err, ErrBadSignature)
	// In the GroupInfo alone, ratchet tree included.
	m, info = forgery{from: from, info: func(i *GroupInfo) {
		i.Extensions = i.Extensions.With(ExtRatchetTree, r.server.tree.remove(3).append(nil))
	}}.build(t)
	_, err = r.server.Process(m.Public, info, attackTime)
	wantErr(t, "GroupInfo's tree", err, ErrBadGroupInfo)
}

func TestForgery11SelfRemove(t *testing.T) {
	r := newRoom(t, 4, roomParams{})
	from := r.members[0]
	m, info := forgery{from: from, proposals: byValue(&Proposal{Type: ProposalRemove, Remove: 0})}.build(t)
	r.refuses("by value", from, m, info, ErrProposalList, ErrProposalList)
	p, err := from.Propose(&Proposal{Type: ProposalRemove, Remove: 0}, SendOptions{}, attackTime)
	noErr(t, err)
	ref := r.propose(from, p)
	m, info = forgery{from: from, refs: [][]byte{ref}}.build(t)
	r.refuses("by reference", from, m, info, ErrProposalList, ErrProposalList)
	p, err = from.Propose(&Proposal{Type: ProposalSelfRemove}, SendOptions{}, attackTime)
	noErr(t, err)
	ref = r.propose(from, p)
	m, info = forgery{from: from, refs: [][]byte{ref}}.build(t)
	r.refuses("SelfRemove by reference", from, m, info, ErrProposalList, ErrProposalList)
}

func TestForgery12UnknownReference(t *testing.T) {
	r := newRoom(t, 4, roomParams{})
	from := r.members[1]
	m, info := forgery{from: from, refs: [][]byte{hash([]byte("nothing"))}}.build(t)
	r.refuses("unknown", from, m, info, ErrUnknownProposal, ErrUnknownProposal)
	// One of an epoch that is over.
	p, err := from.Propose(&Proposal{Type: ProposalRemove, Remove: 2}, SendOptions{}, attackTime)
	noErr(t, err)
	ref := r.propose(from, p)
	r.commit(r.members[0], CommitOptions{WithoutPending: true})
	m, info = forgery{from: from, refs: [][]byte{ref}}.build(t)
	r.refuses("old", from, m, info, ErrUnknownProposal, ErrUnknownProposal)
	// The same one twice.
	p, err = from.Propose(&Proposal{Type: ProposalPSK, PSK: NewPSKProposal(PreSharedKeyID{Type: PSKExternal}).PSK}, SendOptions{}, attackTime)
	noErr(t, err)
	ref = r.propose(from, p)
	m, info = forgery{from: from, refs: [][]byte{ref, ref}}.build(t)
	r.refuses("twice", from, m, info, ErrProposalList, ErrProposalList)
	m, _ = forgery{from: from, raw: []proposalOrRef{{ref: []byte("short")}}}.build(t)
	_, err = ParseMessage(m.Bytes(), Limits{})
	wantErr(t, "reference of another length", err, ErrMalformed)
}

// roster is the policy of a hub whose participants must be those of the group.
func roster(c *Change, allowed ...string) error {
	refused := errors.New("not on the roster")
	for _, m := range c.Added {
		if !slices.Contains(allowed, string(m.Node.Credential.Identity)) {
			return refused
		}
	}
	for _, m := range c.Removed {
		if slices.Contains(allowed, string(m.Node.Credential.Identity)) {
			return refused
		}
	}
	return nil
}

func TestForgery13RosterMismatch(t *testing.T) {
	r := newRoom(t, 4, roomParams{})
	before := publicState(r.server, PublicParts(r.server))
	_, stranger := attackKeyPackage(t, attackParams(t, r.suite, "stranger"))
	for what, o := range map[string]CommitOptions{
		"adds a stranger":   {Add: []*ValidKeyPackage{stranger}, AAD: []byte("room event 7")},
		"removes a member":  {Remove: []LeafIndex{2}, AAD: []byte("room event 7")},
		"adds and removes":  {Remove: []LeafIndex{1}, Add: []*ValidKeyPackage{stranger}, AAD: []byte("room event 7")},
		"without any path":  {Add: []*ValidKeyPackage{stranger}, OmitPath: true, AAD: []byte("room event 7")},
		"adds by reference": {AAD: []byte("room event 7")},
	} {
		c := r.clone()
		from := c.members[3]
		if what == "adds by reference" {
			p, err := from.Propose(&Proposal{Type: ProposalAdd, Add: stranger.kp}, SendOptions{}, attackTime)
			noErr(t, err)
			c.propose(from, p)
		}
		before := before
		if what == "adds by reference" {
			before = publicState(c.server, PublicParts(c.server))
		}
		s, err := from.Commit(o, attackTime)
		noErr(t, err)
		ch, err := c.server.Process(wire(t, s.Message).Public, s.GroupInfo, attackTime)
		noErr(t, err)
		if roster(ch, "m0", "m1", "m2", "m3") == nil {
			t.Errorf("%s: Change does not show it", what)
		}
		if ch.Committer != 3 || string(ch.AAD) != "room event 7" || ch.Context.Epoch != r.server.Epoch()+1 {
			t.Errorf("%s: committer %d, AAD %q, epoch %d", what, ch.Committer, ch.AAD, ch.Context.Epoch)
		}
		if d := before.differs(publicState(c.server, PublicParts(c.server))); d != "" {
			t.Errorf("%s: refusing changed %s", what, d)
		}
		c.goesOn(what)
		// The refused commit is no obstacle to another of the same epoch.
		c.commit(c.members[0], CommitOptions{WithoutPending: true})
		if err := c.server.Apply(ch); !errors.Is(err, ErrStale) {
			t.Errorf("%s: applied late: %v", what, err)
		}
	}
	// An external joiner shows as added, what it replaces as removed.
	lp := attackParams(t, r.suite, "m2")
	m, info := forgery{from: r.members[0], joiner: &lp, proposals: byValue(
		&Proposal{Type: ProposalExternalInit}, &Proposal{Type: ProposalRemove, Remove: 2})}.build(t)
	ch := r.accepts("return of m2", nil, m, info)
	if len(ch.Added) != 1 || len(ch.Removed) != 1 || ch.Removed[0].Leaf != 2 ||
		!bytes.Equal(ch.Added[0].Node.SignatureKey, lp.Signer.Public()) || roster(ch, "m0", "m1", "m3") == nil {
		t.Errorf("external join: added %v, removed %v", ch.Added, ch.Removed)
	}
}

func TestForgery14ExternalCommitEvictsThirdParty(t *testing.T) {
	r := newRoom(t, 4, roomParams{})
	lp := attackParams(t, r.suite, "mallory")
	for leaf := range LeafIndex(4) {
		m, info := forgery{from: r.members[0], joiner: &lp, proposals: byValue(
			&Proposal{Type: ProposalExternalInit}, &Proposal{Type: ProposalRemove, Remove: leaf})}.build(t)
		r.refuses("evicts", nil, m, info, ErrBadCredential, ErrBadCredential)
	}
	m, info := forgery{from: r.members[0], joiner: &lp, proposals: byValue(&Proposal{Type: ProposalExternalInit})}.build(t)
	r.accepts("joins", nil, m, info)
	m, info = forgery{from: r.members[0], joiner: &lp, proposals: byValue(
		&Proposal{Type: ProposalExternalInit}, &Proposal{Type: ProposalRemove, Remove: 77})}.build(t)
	r.refuses("removes nobody", nil, m, info, ErrBadProposal, ErrBadProposal)
}

func TestForgery15ReplayedExternalProposal(t *testing.T) {
	r := newRoom(t, 4, roomParams{owner: true})
	m, err := ProposeAsExternalSender(r.server.Context(), &Proposal{Type: ProposalRemove, Remove: 3}, 0, r.owner, nil)
	noErr(t, err)
	r.propose(nil, m)
	// A second copy in the same epoch is the same proposal.
	r.propose(nil, m)
	if n := len(r.server.Pending()); n != 1 {
		t.Errorf("%d pending proposals after a replay", n)
	}
	r.commit(r.members[0], CommitOptions{WithoutPending: true})
	r.refuses("replayed an epoch later", nil, m, nil, ErrWrongEpoch, ErrWrongEpoch)
	r.commit(r.members[0], CommitOptions{})
	if len(r.members) != 4 {
		t.Error("the replayed proposal took effect")
	}
}
