package mls

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"testing"
)

// fuzzDecoders is every way bytes come in. per is how many bytes of memory a
// byte of input may cost: the smallest list elements are three bytes of
// proposal, for which a Proposal of 200 bytes and a slot in a growing slice are
// taken, and one byte of blank tree node, which stands for up to two nodes of
// 100 bytes and the temporary input of their hashes.
var fuzzDecoders = []struct {
	name   string
	per    int
	decode func([]byte) (encoded []byte, err error)
}{
	{"message", 200, func(b []byte) ([]byte, error) { return encoded(ParseMessage(b, Limits{})) }},
	{"key package", 200, func(b []byte) ([]byte, error) { return encoded(ParseKeyPackage(b, Limits{})) }},
	{"group info", 200, func(b []byte) ([]byte, error) { return encoded(ParseGroupInfo(b, Limits{})) }},
	{"tree", 1000, func(b []byte) ([]byte, error) { return encoded(ParseRatchetTree(b, Limits{})) }},
	{"proposal", 200, func(b []byte) ([]byte, error) { return encoded(ParseProposal(b, Limits{})) }},
	{"group context", 200, func(b []byte) ([]byte, error) { return encoded(ParseGroupContext(b, Limits{})) }},
	{"group secrets", 200, func(b []byte) ([]byte, error) {
		var gs groupSecrets
		return reencoded(b, gs.read, gs.append)
	}},
	{"private key package", 200, func(b []byte) ([]byte, error) { return encoded(ParsePrivateKeyPackage(b)) }},
	{"dictionary", 200, func(b []byte) ([]byte, error) {
		d, err := Extensions{{ExtAppDataDictionary, b}}.Dictionary(Limits{})
		return d.append(nil), err
	}},
	{"required capabilities", 200, func(b []byte) ([]byte, error) {
		c, err := Extensions{{ExtRequiredCapabilities, b}}.requiredCapabilities(Limits{})
		return c.Extension().Data, err
	}},
	{"external senders", 200, func(b []byte) ([]byte, error) {
		s, err := Extensions{{ExtExternalSenders, b}}.externalSenders(Limits{})
		return ExternalSendersExtension(s).Data, err
	}},
	{"external pub", 200, func(b []byte) ([]byte, error) {
		pub, _, err := Extensions{{ExtExternalPub, b}}.externalPub(Limits{})
		return appendOpaque(nil, pub), err
	}},
	{"credential", 200, func(b []byte) ([]byte, error) {
		var c Credential
		return reencoded(b, c.read, c.append)
	}},
	{"welcome", 200, func(b []byte) ([]byte, error) {
		var w Welcome
		return reencoded(b, w.read, w.append)
	}},
	{"leaf node", 200, func(b []byte) ([]byte, error) {
		var l LeafNode
		return reencoded(b, l.read, l.append)
	}},
}

func encoded(v interface{ Bytes() []byte }, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	return v.Bytes(), nil
}

func reencoded(b []byte, read func(*reader), write func([]byte) []byte) ([]byte, error) {
	if err := parse(b, Limits{}, "value", read); err != nil {
		return nil, err
	}
	return write(nil), nil
}

// FuzzDecode: no decoder panics, takes more memory than its input justifies, or
// accepts an encoding that is not the value's own. The first byte chooses the
// decoder.
func FuzzDecode(f *testing.F) {
	for i, d := range fuzzDecoders {
		for _, b := range fuzzSeeds()[d.name] {
			if out, err := d.decode(b); err != nil || !bytes.Equal(out, b) {
				f.Fatalf("seed of %s: %v", d.name, err)
			}
			f.Add(append([]byte{byte(i)}, b...))
		}
	}
	f.Add(append([]byte{3}, orphanTree()...))
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) == 0 {
			return
		}
		d, b := fuzzDecoders[int(in[0])%len(fuzzDecoders)], in[1:]
		given := bytes.Clone(b)
		var out []byte
		var err error
		bounded(t, d.name, 64<<10, d.per, len(b), func() { out, err = d.decode(b) })
		if err == nil && !bytes.Equal(out, b) {
			t.Fatalf("%s %x encodes to %x", d.name, b, out)
		}
		if !bytes.Equal(b, given) {
			t.Fatalf("decoding %s changes its input", d.name)
		}
		if err != nil && len(sentinelsOf(err)) == 0 {
			t.Fatalf("%s: error without a sentinel: %v", d.name, err)
		}
	})
}

// fuzzSeeds makes one or more values for every decoder, from fixed bytes: the
// keys and signatures need not fit, but for the private KeyPackage.
func fuzzSeeds() map[string][][]byte {
	fill := func(c byte, n int) []byte { return bytes.Repeat([]byte{c}, n) }
	suite := X25519AES128Ed25519
	signer := fuzzGot(ParseSignatureKey(suite, fill(1, ed25519.SeedSize)))
	init, initPub := suite.deriveHPKE(fill(2, 32))
	leafKey, leafPub := suite.deriveHPKE(fill(3, 32))
	leaf := LeafNode{EncryptionKey: leafPub, SignatureKey: signer.Public(), Credential: BasicCredential([]byte("name")),
		Capabilities: DefaultCapabilities(), Source: LeafFromKeyPackage, Lifetime: Lifetime{1, 2},
		Extensions: Extensions{{ExtApplicationID, []byte("id")}}, Signature: fill(4, 64)}
	update, member := leaf, leaf
	update.Source = LeafFromUpdate
	member.Source, member.ParentHash, member.Credential = LeafFromCommit, fill(5, 32), X509Credential([]byte("leaf"), []byte("root"))
	kp := &KeyPackage{Suite: suite, InitKey: initPub, Leaf: leaf, Extensions: Extensions{}, Signature: fill(6, 64)}
	ext := Extensions{
		RequiredCapabilities{[]ExtensionType{6}, []ProposalType{8, 10}, []CredentialType{1}}.Extension(),
		ExternalSendersExtension([]ExternalSender{{fill(7, 32), leaf.Credential}, {fill(8, 32), member.Credential}}),
		Dictionary{1: []byte("one"), 0x100: {}}.Extension(),
		{ExtExternalPub, appendOpaque(nil, initPub)},
	}
	ctx := GroupContext{Suite: suite, GroupID: []byte("group"), Epoch: 3, TreeHash: fill(9, 32),
		ConfirmedTranscriptHash: fill(10, 32), Extensions: ext}
	info := &GroupInfo{Context: ctx, Extensions: ext[3:], ConfirmationTag: fill(11, 32), Signer: 1, Signature: fill(12, 64)}
	external := PreSharedKeyID{Type: PSKExternal, ID: []byte("psk"), Nonce: fill(13, 32)}
	resumption := PreSharedKeyID{Type: PSKResumption, Usage: ResumptionApplication, GroupID: []byte("group"), Epoch: 1, Nonce: fill(14, 32)}
	proposals := []*Proposal{
		{Type: ProposalAdd, Add: kp}, {Type: ProposalUpdate, Update: &update}, {Type: ProposalRemove, Remove: 2},
		{Type: ProposalPSK, PSK: &external}, {Type: ProposalPSK, PSK: &resumption},
		{Type: ProposalReInit, ReInit: &ReInit{[]byte("next"), MLS10, suite, ext}},
		{Type: ProposalExternalInit, KEMOutput: initPub}, {Type: ProposalGroupContextExtensions, Extensions: ext},
		{Type: ProposalAppDataUpdate, AppData: &AppDataUpdate{1, AppDataSet, []byte("uno")}},
		{Type: ProposalAppDataUpdate, AppData: &AppDataUpdate{Component: 1, Op: AppDataRemove}},
		{Type: ProposalAppEphemeral, Component: 2, Content: []byte("data")}, {Type: ProposalSelfRemove},
		{Type: 0xf000, Content: []byte("unknown")},
	}
	ct := HPKECiphertext{fill(15, 32), fill(16, 48)}
	cm := &commit{path: &updatePath{member, []pathNode{{fill(17, 32), []HPKECiphertext{ct}}, {fill(18, 32), []HPKECiphertext{ct, ct}}}}}
	for _, p := range proposals {
		cm.proposals = append(cm.proposals, proposalOrRef{proposal: p})
	}
	cm.proposals = append(cm.proposals, proposalOrRef{ref: fill(19, 32)})
	welcome := &Welcome{suite, []encryptedGroupSecrets{{fill(20, 32), ct}}, fill(21, 80)}
	frame := func(from Sender, kind ContentType) *Message {
		return (&PublicMessage{auth: authContent{framedContent: framedContent{groupID: []byte("group"), epoch: 3, sender: from,
			aad: []byte("aad"), kind: kind, data: []byte("data"), proposal: proposals[0], commit: cm},
			signature: fill(22, 64), tag: fill(23, 32)}, membershipTag: fill(24, 32)}).Message()
	}
	tree := newTree(&leaf)
	for range 4 {
		tree, _ = tree.add(&member)
	}
	tree = tree.withPath(1, &member, map[int]*parentNode{1: {key: fill(25, 32), parentHash: fill(26, 32), unmerged: []LeafIndex{0}},
		3: {key: fill(27, 32), parentHash: []byte{}, unmerged: []LeafIndex{2, 4}}})
	holes := tree.remove(2)
	blank := Extensions{}

	out := map[string][][]byte{
		"key package":         {kp.Bytes()},
		"group info":          {info.Bytes()},
		"tree":                {tree.append(nil), holes.append(nil), newTree(&update).append(nil)},
		"group context":       {ctx.Bytes(), (&GroupContext{Suite: 0xffff, Extensions: blank}).Bytes()},
		"private key package": {(&PrivateKeyPackage{kp, &packageKeys{init, leafKey, signer}}).Bytes()},
		"dictionary":          {ext[2].Data, {0}},
		"required capabilities": {
			ext[0].Data, {0, 0, 0}},
		"external senders": {ext[1].Data, {0}},
		"external pub":     {ext[3].Data},
		"credential":       {leaf.Credential.append(nil), member.Credential.append(nil), {0xf0, 0, 1, 2}},
		"welcome":          {welcome.append(nil)},
		"leaf node":        {leaf.append(nil), update.append(nil), member.append(nil)},
		"group secrets": {
			(&groupSecrets{joiner: fill(28, 32), path: fill(29, 32), psks: []PreSharedKeyID{external, resumption}}).append(nil),
			(&groupSecrets{joiner: fill(28, 32)}).append(nil)},
		"message": {kp.Message().Bytes(), info.Message().Bytes(), welcome.Message().Bytes(),
			(&PrivateMessage{[]byte("group"), 3, ContentApplication, []byte("aad"), fill(30, 28), fill(31, 70)}).Message().Bytes(),
			frame(Sender{Type: SenderMember, Leaf: 1}, ContentCommit).Bytes(),
			frame(Sender{Type: SenderMember, Leaf: 1}, ContentProposal).Bytes(),
			frame(Sender{Type: SenderExternal, External: 1}, ContentProposal).Bytes(),
			frame(Sender{Type: SenderNewMemberProposal}, ContentProposal).Bytes(),
			frame(Sender{Type: SenderNewMemberCommit}, ContentCommit).Bytes(),
			frame(Sender{Type: SenderMember}, ContentApplication).Bytes()},
	}
	for _, p := range proposals {
		out["proposal"] = append(out["proposal"], p.Bytes())
	}
	return out
}

// orphanTree is a tree in which a parent is above no member.
func orphanTree() []byte {
	leaf := fuzzSeeds()["leaf node"][0]
	b := append([]byte{1, 1}, leaf...) // node 0
	b = append(b, make([]byte, 7)...)
	b = append(append(b, 1, 1), leaf...) // node 8
	b = append(b, make([]byte, 4)...)
	p := parentNode{key: bytes.Repeat([]byte{1}, 32), parentHash: []byte{}}
	return appendOpaque(nil, p.append(append(b, 1, 2))) // node 13, above leaves 6 and 7
}

// FuzzTree: verifying a tree that somebody made up neither panics nor takes
// memory without bound, and what it accepts can be worked with. The tree comes
// with a GroupInfo that fits it, signed by a member where one of the room is
// left; so the tree itself is what is judged. The first byte chooses between
// changing bytes and changing nodes.
func FuzzTree(f *testing.F) {
	f.Add([]byte{0})
	f.Add([]byte{1})
	for op := range byte(8) {
		f.Add([]byte{1, op, 0, 0, 1})
		f.Add([]byte{1, op, 0, 3, 4, op, 0, 1, 2})
		f.Add([]byte{0, op, 0, 40, 9, 1, 2})
		f.Add([]byte{0, op, 4, 200, 9, 1, 2})
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		r := fuzzRoomOf(t, X25519AES128Ed25519)
		s := &script{in}
		b := r.server.Tree().Bytes()
		if s.pick(2) == 0 {
			b = s.edit(b)
		} else {
			b = s.editTree(r, fuzzGot(ParseRatchetTree(b, Limits{})).t)
		}
		tree, err := ParseRatchetTree(b, r.cfg.Limits)
		if err != nil {
			return
		}
		if !bytes.Equal(tree.Bytes(), b) {
			t.Fatalf("tree %x encodes to %x", b, tree.Bytes())
		}
		info := fuzzGot(r.members[0].GroupInfo(false))
		info.Context.TreeHash = tree.Hash()
		signer := r.members[0].signer
		for _, m := range r.members {
			if l := tree.t.leaf(m.own); l != nil && bytes.Equal(l.SignatureKey, m.signer.Public()) {
				info.Signer, signer = m.own, m.signer
				break
			}
		}
		fuzzOK(info.sign(signer))
		var g *PublicGroup
		bounded(t, "verifying a tree", 256<<10, 1000, len(b), func() { g, err = NewPublicGroup(info, tree, r.cfg, fuzzTime) })
		if err != nil {
			if len(sentinelsOf(err)) == 0 {
				t.Fatalf("error without a sentinel: %v", err)
			}
			return
		}
		// Every member could commit, and a commit could remove every member.
		for m := range g.Members() {
			for _, st := range g.tree.filteredPath(m.Leaf) {
				if len(st.recipients(nil)) == 0 {
					t.Fatalf("path of leaf %d encrypts to nobody at level %d", m.Leaf, st.level)
				}
			}
			next := g.tree.remove(m.Leaf)
			next, _ = next.add(m.Node)
			next.seal()
			if fuzzGot(ParseRatchetTree(next.append(nil), Limits{})).t.root.leaves != g.MemberCount() {
				t.Fatal("removing and adding a member changes their number")
			}
		}
	})
}

// editTree changes nodes of a tree and returns its encoding.
func (s *script) editTree(r *fuzzRoom, t ratchetTree) []byte {
	for n := 0; n < 16 && s.more(); n++ {
		op, at, v := s.pick(8), nodeIndex(s.u16())%(2*nodeIndex(t.width())-1), s.u8()
		level, pos := at.level(), at.position()
		if op == 6 && t.depth < 5 {
			t = ratchetTree{&subtree{left: t.root, right: blankSubtree(t.depth), leaves: t.root.leaves}, t.depth + 1}
			continue
		}
		i := LeafIndex(pos << level)
		leaf := t.leaf(i)
		if level == 0 {
			switch op {
			case 0:
				leaf = nil
			case 1, 2:
				l := *r.server.tree.leaf(r.members[v%len(r.members)].own)
				leaf = &l
			case 3:
				leaf = &r.spare[v%len(r.spare)].kp.Leaf
			case 4:
				if leaf != nil {
					l := *leaf
					l.ParentHash = s.bytes(32)
					leaf = &l
				}
			case 5: // as a member would sign it for this place
				if leaf != nil {
					l, m := *leaf, r.members[v%len(r.members)]
					l.SignatureKey, l.Source, l.ParentHash = m.signer.Public(), LeafSource(1+s.pick(3)), s.bytes(32)
					fuzzOK(l.sign(m.signer, r.server.ctx.GroupID, i))
					leaf = &l
				}
			}
		}
		t = t.edit(i, leaf, func(k int, p *parentNode) *parentNode {
			if k != level {
				return p
			}
			c := parentNode{key: bytes.Repeat([]byte{byte(v)}, 32), parentHash: []byte{}}
			if p != nil && op != 5 {
				c = *p
			}
			switch op {
			case 0:
				return nil
			case 1:
				c.unmerged = nil
			case 2:
				c.unmerged = append(bytesToLeaves(s.bytes(4)), c.unmerged...)
			case 3:
				c.key = s.bytes(32)
			case 4:
				c.parentHash = s.bytes(32)
			}
			return &c
		})
	}
	return t.append(nil)
}

func bytesToLeaves(b []byte) (out []LeafIndex) {
	for _, c := range b {
		out = append(out, LeafIndex(c%16))
	}
	return out
}

// sentinels is every error of errors.go.
var sentinels = map[string]error{
	"ErrTruncated": ErrTruncated, "ErrTrailing": ErrTrailing, "ErrNonCanonical": ErrNonCanonical,
	"ErrMalformed": ErrMalformed, "ErrTooLarge": ErrTooLarge, "ErrUnsupported": ErrUnsupported,
	"ErrWrongGroup": ErrWrongGroup, "ErrWrongEpoch": ErrWrongEpoch, "ErrUnknownSender": ErrUnknownSender,
	"ErrReplayed": ErrReplayed, "ErrTooFarAhead": ErrTooFarAhead, "ErrOwnMessage": ErrOwnMessage,
	"ErrBadSignature": ErrBadSignature, "ErrBadMAC": ErrBadMAC, "ErrDecrypt": ErrDecrypt,
	"ErrBadCredential": ErrBadCredential, "ErrExpired": ErrExpired, "ErrCapabilities": ErrCapabilities,
	"ErrDuplicateKey": ErrDuplicateKey, "ErrBadTree": ErrBadTree, "ErrBadLeaf": ErrBadLeaf,
	"ErrBadProposal": ErrBadProposal, "ErrProposalList": ErrProposalList, "ErrUnknownProposal": ErrUnknownProposal,
	"ErrBadPath": ErrBadPath, "ErrBadGroupInfo": ErrBadGroupInfo, "ErrUnknownPSK": ErrUnknownPSK,
	"ErrNoKeyPackage": ErrNoKeyPackage, "ErrStale": ErrStale, "ErrRemoved": ErrRemoved, "ErrState": ErrState,
}

// sentinelsOf names the sentinels that an error wraps.
func sentinelsOf(err error) (names []string) {
	for name, s := range sentinels {
		if errors.Is(err, s) {
			names = append(names, name)
		}
	}
	return names
}
