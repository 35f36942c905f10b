package mls

import (
	"bytes"
	"slices"
	"testing"
)

// FuzzProcessOutsider: whoever has no key of the group changes nothing. The
// first byte chooses the honest message to start from, or none: then the rest
// is the message.
func FuzzProcessOutsider(f *testing.F) {
	const kinds = 13 // of honest messages, see newFuzzRoom
	for i := range byte(kinds) {
		f.Add([]byte{i})
		for op := range byte(8) {
			f.Add([]byte{i, 0, op, 0, 30, 7, 5})
			f.Add([]byte{i, 1, op, 1, 44, 1, 5})
		}
	}
	for _, b := range fuzzSeeds()["message"] {
		f.Add(append([]byte{kinds}, b...))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		r := fuzzRoomOf(t, X25519AES128Ed25519)
		s := &script{in}
		if k := s.pick(kinds + 1); k < len(r.honest) {
			h := r.honest[k]
			info := h.info
			if s.flag() && info != nil {
				var err error
				if info, err = ParseGroupInfo(s.edit(info.Bytes()), r.cfg.Limits); err != nil {
					return
				}
			}
			b := s.edit(h.raw)
			m, err := ParseMessage(b, r.cfg.Limits)
			if err != nil {
				return
			}
			accepted := r.offer(t, m, info, h.from)
			if accepted > 0 && !bytes.Equal(b, h.raw) && !onlyTagDiffers(m, h.raw) {
				t.Fatalf("%s is accepted by %d although it was changed: %x", h.name, accepted, b)
			}
			return
		}
		m, err := ParseMessage(s.b, r.cfg.Limits)
		if err != nil {
			return
		}
		r.offer(t, m, nil, -1)
		if m.Public != nil && m.Public.auth.kind == ContentCommit {
			r.offer(t, m, r.info, -1)
		}
	})
}

// onlyTagDiffers says whether a message differs from another in its membership
// tag alone, which servers cannot check.
func onlyTagDiffers(m *Message, raw []byte) bool {
	o := fuzzGot(ParseMessage(raw, Limits{}))
	if m.Public == nil || o.Public == nil {
		return false
	}
	o.Public.membershipTag = m.Public.membershipTag
	return bytes.Equal(o.Bytes(), m.Bytes())
}

// FuzzProcessInsider: a member who signs whatever it likes changes nothing by
// what is refused, and what is accepted is the same for all who accept it and
// lets the group go on. The input chooses the sender, the content, and what is
// wrong with it.
func FuzzProcessInsider(f *testing.F) {
	for kind := range byte(insiderKinds) {
		f.Add([]byte{0, 0, kind})
		for p := range byte(insiderProposals) {
			f.Add([]byte{0, p % 5, kind, 0, 0, 1, 1, p, 3, 2, 1, 7, 7})
			f.Add([]byte{0, 1, kind, 0, 0, 0, 1, p, 1, 0, 0, 1, 9})
		}
		for flaw := range byte(insiderFlaws) {
			f.Add([]byte{0, 0, kind, 1, flaw, 1, 0, 2, 1, 3, 1, 5, 1, 2, 3, 4})
		}
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		s := &script{in}
		suite := X25519AES128Ed25519
		if s.pick(8) == 7 {
			suite = P256AES128P256
		}
		r := fuzzRoomOf(t, suite)
		m, info, from := r.insider(s)
		if m == nil {
			return
		}
		m, err := ParseMessage(m.Bytes(), r.cfg.Limits)
		if err != nil {
			return
		}
		if info != nil {
			if info, err = ParseGroupInfo(info.Bytes(), r.cfg.Limits); err != nil {
				return
			}
		}
		r.offer(t, m, info, from)
	})
}

const (
	insiderKinds     = 8
	insiderFlaws     = 24
	insiderProposals = 16
)

// insider builds a message as the script says. It returns nil where the script
// asks for something that cannot be encoded.
func (r *fuzzRoom) insider(s *script) (m *Message, info *GroupInfo, from int) {
	from = s.pick(len(r.members))
	kind := s.pick(insiderKinds)
	flaws := map[int]int{} // by number, with an argument
	for range s.pick(4) {
		k := s.pick(insiderFlaws)
		flaws[k] = s.u8()
	}
	g := r.members[from]
	if kind == 2 || kind == 3 || kind == 4 {
		m, info = r.insiderCommit(s, g, kind, flaws)
		if kind == 4 {
			from = -1
		}
		return m, info, from
	}
	a := g.frame(ContentProposal, WirePublicMessage, s.bytes(s.pick(4)))
	signer := g.signer
	switch kind {
	case 0, 1:
		a.proposal = r.insiderProposal(s, g)
		if kind == 1 {
			a.wire = WirePrivateMessage
		}
	case 5:
		a.kind, a.data = ContentApplication, s.bytes(64)
		if s.flag() {
			a.wire = WirePrivateMessage
		}
	case 6:
		a.sender, signer, a.proposal = Sender{Type: SenderExternal, External: uint32(s.pick(3) / 2)}, r.owner, r.insiderProposal(s, g)
	case 7:
		spare := r.spare[s.pick(len(r.spare))]
		a.sender, signer = Sender{Type: SenderNewMemberProposal}, spare.signer
		if a.proposal = r.insiderProposal(s, g); s.flag() {
			a.proposal = &Proposal{Type: ProposalAdd, Add: spare.kp}
		}
	}
	return r.frame(s, g, a, signer, flaws), nil, from
}

// frame signs and seals content, flaws included.
func (r *fuzzRoom) frame(s *script, g *Group, a *authContent, signer SignatureKey, flaws map[int]int) *Message {
	frameFlaws(a, flaws)
	if a.signature == nil {
		fuzzOK(a.sign(signer, &g.pub.ctx))
	}
	if _, ok := flaws[5]; ok {
		a.signature = s.edit(a.signature)
	}
	if a.wire == WirePrivateMessage {
		return r.sealFlawed(s, g, a, flaws)
	}
	m := publicMessage(a, &g.pub.ctx, g.epoch.membership)
	if v, ok := flaws[6]; ok && len(m.membershipTag) > 0 {
		m.membershipTag[v%len(m.membershipTag)] ^= 1
	}
	return m.Message()
}

func frameFlaws(a *authContent, flaws map[int]int) {
	if v, ok := flaws[0]; ok {
		a.epoch += uint64(int64(int8(v)))
	}
	if v, ok := flaws[1]; ok {
		a.groupID = append(slices.Clone(a.groupID), byte(v))
	}
	if v, ok := flaws[2]; ok {
		a.sender.Leaf = LeafIndex(v % 10)
	}
	if v, ok := flaws[3]; ok {
		a.sender.Type = SenderType(1 + v%4)
	}
	if v, ok := flaws[4]; ok {
		a.aad = bytes.Repeat([]byte{byte(v)}, v)
	}
}

// sealFlawed encrypts content at a generation, with padding and in the name of
// a leaf of the script's choice.
func (r *fuzzRoom) sealFlawed(s *script, g *Group, a *authContent, flaws map[int]int) *Message {
	id := ratchetID{g.own, a.kind != ContentApplication}
	gen := g.nextGeneration(id.handshake)
	if v, ok := flaws[7]; ok {
		gen += uint32(v % 20)
	}
	lim := Limits{}.withDefaults()
	step, err := g.keys.find(id, gen, &lim)
	if err != nil {
		return nil
	}
	if v, ok := flaws[8]; ok { // the key of one, the name of another
		step.id.leaf = LeafIndex(v % 10)
	}
	if _, ok := flaws[9]; ok {
		step.gen = uint32(int32(int8(s.u8())))
	}
	pad := 0
	if v, ok := flaws[10]; ok {
		pad = v
	}
	m := r.suite.sealPrivate(a, g.epoch.senderData, step, pad)
	if _, ok := flaws[11]; ok { // content of the script's own, properly encrypted
		plain := s.edit(a.appendAuth(a.appendBody(nil)))
		m.ciphertext = r.suite.aead(step.key.key).Seal(nil, guarded(step.key.nonce, [4]byte{}), plain, m.contentAAD())
		sd := appendU32(appendU32(nil, uint32(step.id.leaf)), step.gen)
		sd = append(sd, make([]byte, 4+s.pick(2))...)
		key, nonce := r.suite.senderDataKeys(g.epoch.senderData, m.ciphertext)
		m.senderData = r.suite.aead(key).Seal(nil, nonce, sd, m.senderDataAAD())
	}
	return m.Message()
}

// insiderProposal makes a proposal as the script says.
func (r *fuzzRoom) insiderProposal(s *script, g *Group) *Proposal {
	ctx := &r.server.ctx
	switch s.pick(insiderProposals) {
	case 0:
		return &Proposal{Type: ProposalAdd, Add: r.spare[s.pick(len(r.spare))].kp}
	case 1: // signed with a key of our own, with fields of our choice
		k := *r.spare[s.pick(len(r.spare))].kp
		signer := r.spare[s.pick(len(r.spare))].signer
		r.flawLeaf(s, &k.Leaf)
		k.Leaf.SignatureKey = signer.Public()
		fuzzOK(k.Leaf.sign(signer, ctx.GroupID, g.own))
		if s.flag() {
			k.InitKey = s.edit(k.InitKey)
		}
		k.Signature = fuzzGot(signer.sign(keyPackageLabel, k.appendContent(nil)))
		return &Proposal{Type: ProposalAdd, Add: &k}
	case 2: // a member once more
		leaf := *r.members[s.pick(len(r.members))].pub.tree.leaf(r.members[s.pick(len(r.members))].own)
		k := *r.spare[0].kp
		k.Leaf = leaf
		return &Proposal{Type: ProposalAdd, Add: &k}
	case 3, 4:
		leaf := *r.server.tree.leaf(g.own)
		leaf.Source, leaf.ParentHash, leaf.Lifetime = LeafFromUpdate, nil, Lifetime{}
		_, leaf.EncryptionKey = r.suite.generateHPKE()
		r.flawLeaf(s, &leaf)
		fuzzOK(leaf.sign(g.signer, ctx.GroupID, g.own))
		return &Proposal{Type: ProposalUpdate, Update: &leaf}
	case 5:
		return &Proposal{Type: ProposalRemove, Remove: LeafIndex(s.pick(10))}
	case 6:
		return &Proposal{Type: ProposalRemove, Remove: LeafIndex(s.u16()) << 16}
	case 7:
		id := PreSharedKeyID{Type: PSKExternal, ID: []byte("psk"), Nonce: randomBytes(hashSize)}
		if s.flag() {
			id = PreSharedKeyID{Type: PSKResumption, Usage: ResumptionUsage(1 + s.pick(3)), GroupID: ctx.GroupID,
				Epoch: ctx.Epoch - uint64(s.pick(8)), Nonce: s.bytes(s.pick(2) * hashSize)}
			if len(id.Nonce) > 0 {
				id.Nonce = randomBytes(hashSize)
			}
		}
		return &Proposal{Type: ProposalPSK, PSK: &id}
	case 8:
		return &Proposal{Type: ProposalReInit, ReInit: &ReInit{GroupID: s.bytes(3), Version: ProtocolVersion(s.pick(3)),
			Suite: CipherSuite(s.pick(5)), Extensions: r.flawExtensions(s)}}
	case 9:
		_, pub := r.suite.deriveHPKE(g.epoch.external)
		kem, _ := fuzzExport(r.suite, pub)
		if s.flag() {
			kem = s.edit(kem)
		}
		return &Proposal{Type: ProposalExternalInit, KEMOutput: kem}
	case 10, 11:
		return &Proposal{Type: ProposalGroupContextExtensions, Extensions: r.flawExtensions(s)}
	case 12:
		return &Proposal{Type: ProposalAppDataUpdate, AppData: &AppDataUpdate{Component: ComponentID(s.pick(10)),
			Op: AppDataOperation(1 + s.pick(2)), Update: s.bytes(s.pick(8))}}
	case 13:
		return &Proposal{Type: ProposalSelfRemove}
	case 14:
		return &Proposal{Type: ProposalType(11 + s.u16()), Content: s.bytes(8)}
	}
	p, err := ParseProposal(s.bytes(200), Limits{})
	if err != nil {
		return &Proposal{Type: ProposalAppEphemeral, Component: 1, Content: []byte{}}
	}
	return p
}

func fuzzExport(suite CipherSuite, pub []byte) ([]byte, secret) {
	kem, init, err := suite.exportExternal(pub)
	fuzzOK(err)
	return kem, init
}

func (r *fuzzRoom) flawExtensions(s *script) Extensions {
	e := slices.Clone(r.server.ctx.Extensions)
	for range s.pick(4) {
		switch s.pick(6) {
		case 0:
			e = e.With(ExtensionType(s.pick(8)), s.bytes(s.pick(16)))
		case 1:
			e = e.Without(ExtensionType(s.pick(8)))
		case 2:
			if len(e) > 0 {
				i := s.pick(len(e))
				e[i].Data = s.edit(e[i].Data)
			}
		case 3:
			e = e.With(ExtRequiredCapabilities, RequiredCapabilities{Extensions: []ExtensionType{ExtensionType(s.pick(8))},
				Proposals:   []ProposalType{ProposalType(s.pick(12))},
				Credentials: []CredentialType{CredentialType(s.pick(4))}}.Extension().Data)
		case 4:
			e = append(e, Extension{ExtensionType(s.pick(8)), []byte{}}) // may be twice
		case 5:
			e = e.With(ExtExternalSenders, ExternalSendersExtension(nil).Data)
		}
	}
	return e
}

// flawLeaf changes fields of a leaf that is still to be signed.
func (r *fuzzRoom) flawLeaf(s *script, l *LeafNode) {
	for range s.pick(4) {
		switch s.pick(12) {
		case 0:
			l.EncryptionKey = make([]byte, len(l.EncryptionKey))
		case 1:
			l.EncryptionKey = s.edit(l.EncryptionKey)
		case 2:
			l.EncryptionKey = r.server.tree.leaf(r.members[s.pick(len(r.members))].own).EncryptionKey
		case 3:
			l.Source = LeafSource(1 + s.pick(3))
		case 4:
			l.ParentHash = s.bytes(hashSize)
		case 5:
			l.Credential = BasicCredential(s.bytes(4))
		case 6:
			l.Credential = X509Credential(s.bytes(4))
		case 7:
			l.Capabilities.Versions = nil
		case 8:
			l.Capabilities.Credentials = []CredentialType{CredentialType(s.pick(4))}
		case 9:
			l.Capabilities.Proposals = []ProposalType{ProposalType(s.pick(12))}
			l.Capabilities.Extensions = []ExtensionType{ExtensionType(s.pick(8))}
		case 10:
			l.Extensions = Extensions{{ExtensionType(s.pick(8)), s.bytes(4)}}
		case 11:
			if p := r.server.tree.root.parent; p != nil {
				l.EncryptionKey = p.key
			}
		}
	}
}

// insiderCommit makes a commit: 2 public, 3 private, 4 external. All of it
// fits together but for what the flaws change.
func (r *fuzzRoom) insiderCommit(s *script, g *Group, kind int, flaws map[int]int) (*Message, *GroupInfo) {
	pub, suite := g.pub, r.suite
	a := g.frame(ContentCommit, WirePublicMessage, nil)
	a.commit = &commit{}
	leaf, signer, init := *pub.tree.leaf(g.own), g.signer, g.epoch.nextInit
	withPath := !s.flag()
	var kem []byte
	switch kind {
	case 3:
		a.wire = WirePrivateMessage
	case 4:
		lp := LeafParams{Suite: suite, Signer: r.spare[3].signer, Credential: r.spare[3].kp.Leaf.Credential}
		if s.flag() { // as a member that comes back
			lp.Credential = leaf.Credential
		}
		l, _, err := lp.newLeaf()
		fuzzOK(err)
		leaf, signer, withPath = *l, lp.Signer, true
		a.sender = Sender{Type: SenderNewMemberCommit}
		_, external := suite.deriveHPKE(g.epoch.external)
		kem, init = fuzzExport(suite, external)
		if s.pick(4) != 3 {
			a.commit.proposals = append(a.commit.proposals, proposalOrRef{proposal: &Proposal{Type: ProposalExternalInit, KEMOutput: kem}})
		}
	}
	for range s.pick(5) {
		switch p := (proposalOrRef{}); s.pick(3) {
		case 0:
			p.proposal = r.insiderProposal(s, g)
			a.commit.proposals = append(a.commit.proposals, p)
		case 1:
			p.ref = pub.pending[s.pick(len(pub.pending))].Ref
			a.commit.proposals = append(a.commit.proposals, p)
		case 2:
			p.ref = hash(s.bytes(1))
			a.commit.proposals = append(a.commit.proposals, p)
		}
	}
	c := pub.newChange(a)
	c.Committer = g.own
	for _, p := range a.commit.proposals {
		switch q := pub.byRef[string(p.ref)]; {
		case p.proposal != nil:
			c.Proposals = append(c.Proposals, &UsedProposal{Proposal: p.proposal, Sender: a.sender})
		case q != nil:
			c.Proposals = append(c.Proposals, q)
		}
	}
	if withPath {
		leaf.Source, leaf.ParentHash = LeafFromCommit, []byte{}
		_, leaf.EncryptionKey = suite.generateHPKE()
		if _, ok := flaws[12]; ok {
			r.flawLeaf(s, &leaf)
		}
		c.path = &updatePath{leaf: leaf}
		a.commit.path = c.path
	}
	if !attempt(func() error { return pub.computeProvisional(c) }) || c.provisional.root.leaves == 0 ||
		c.provisional.leaf(c.Committer) == nil {
		// Nobody can compute what follows: an honest looking rest.
		next := pub.ctx
		next.Epoch++
		c.Context, c.tree, c.provisional, c.newLeaves = &next, pub.tree, pub.tree, nil
		if kind == 4 {
			c.tree, c.Committer = pub.tree.add(&leaf)
			c.provisional = c.tree
		}
	}
	commitKey := make(secret, hashSize)
	if c.path != nil {
		c.provisional.seal()
		commitKey = r.insiderPath(s, c, signer, flaws)
	}
	c.tree.seal()
	c.Context.TreeHash = c.tree.root.hash
	if v, ok := flaws[13]; ok {
		c.Context.Epoch += uint64(v)
	}
	if v, ok := flaws[14]; ok {
		c.Context.Extensions = c.Context.Extensions.With(ExtApplicationID, []byte{byte(v)})
	}
	frameFlaws(a, flaws)
	fuzzOK(a.sign(signer, &pub.ctx))
	c.Context.ConfirmedTranscriptHash = a.confirmedTranscript(pub.interim)
	psk, err := lookupPSKs(c.psks, g.ownPSK, pub.cfg.PSKs)
	if err != nil {
		psk = make(secret, hashSize)
	}
	e, _, _ := nextEpoch(c, init, commitKey, psk)
	a.tag = mac(e.confirmation, c.Context.ConfirmedTranscriptHash)
	if v, ok := flaws[15]; ok {
		a.tag[v%len(a.tag)] ^= 1
	}
	info := fuzzGot(newGroupInfo(c.Context, c.tree, a.tag, e, c.Committer, signer, s.flag(), true, nil))
	if v, ok := flaws[16]; ok {
		info.Signer = LeafIndex(v % 10)
	}
	if _, ok := flaws[17]; ok {
		info.Extensions = info.Extensions.With(ExtExternalPub, s.bytes(s.pick(40)))
	}
	if _, ok := flaws[18]; ok {
		info.Extensions = info.Extensions.With(ExtRatchetTree, s.edit(c.tree.append(nil)))
	}
	fuzzOK(info.sign(signer))
	if _, ok := flaws[19]; ok {
		info.Signature = s.edit(info.Signature)
	}
	return r.frame(s, g, a, signer, flaws), info
}

// insiderPath fills in the path of a commit and returns the commit secret.
func (r *fuzzRoom) insiderPath(s *script, c *Change, signer SignatureKey, flaws map[int]int) secret {
	suite := r.suite
	steps := c.provisional.filteredPath(c.Committer)
	ps := suite.climb(randomBytes(hashSize), 0, len(steps))
	keys := slices.Clone(ps.publics)
	if v, ok := flaws[20]; ok && len(keys) > 0 {
		switch k := v % len(keys); s.pick(5) {
		case 0:
			keys[k] = s.edit(keys[k])
		case 1:
			keys[k] = make([]byte, len(keys[k]))
		case 2:
			keys[k] = keys[len(keys)-1]
		case 3:
			keys[k] = c.path.leaf.EncryptionKey
		case 4:
			keys[k] = r.server.tree.leaf(r.members[s.pick(len(r.members))].own).EncryptionKey
		}
	}
	for k, st := range steps {
		n := pathNode{key: keys[k]}
		plain := ps.secrets[k]
		if v, ok := flaws[21]; ok && v%len(steps) == k {
			plain = s.bytes(s.pick(40)) // another secret, or none
		}
		for _, to := range st.recipients(c.newLeaves) {
			ct, err := suite.seal(to.key, pathLabel, c.Context.Bytes(), plain)
			if err != nil {
				ct = HPKECiphertext{KEMOutput: []byte{}, Ciphertext: []byte{}}
			}
			n.secrets = append(n.secrets, ct)
		}
		c.path.nodes = append(c.path.nodes, n)
	}
	l := &c.path.leaf
	var parents map[int]*parentNode
	parents, l.ParentHash = pathParents(steps, keys)
	if v, ok := flaws[22]; ok {
		l.ParentHash = bytes.Repeat([]byte{byte(v)}, v%34)
	}
	fuzzOK(l.sign(signer, r.server.ctx.GroupID, c.Committer))
	c.tree = c.provisional.withPath(c.Committer, l, parents)
	c.tree.seal()
	c.Context.TreeHash = c.tree.root.hash
	for k, st := range steps {
		// Now that the context is complete, encrypt for good.
		for i, to := range st.recipients(c.newLeaves) {
			plain := ps.secrets[k]
			if v, ok := flaws[21]; ok && v%len(steps) == k {
				plain = bytes.Repeat([]byte{byte(v)}, v%64)
			}
			if ct, err := suite.seal(to.key, pathLabel, c.Context.Bytes(), plain); err == nil {
				c.path.nodes[k].secrets[i] = ct
			}
		}
	}
	if v, ok := flaws[23]; ok {
		r.flawPath(s, c.path, v)
	}
	return ps.commit
}

func (r *fuzzRoom) flawPath(s *script, p *updatePath, v int) {
	if len(p.nodes) == 0 {
		p.nodes = append(p.nodes, pathNode{key: p.leaf.EncryptionKey})
		return
	}
	n := &p.nodes[v%len(p.nodes)]
	switch s.pick(7) {
	case 0:
		p.nodes = p.nodes[1:]
	case 1:
		p.nodes = append(p.nodes, *n)
	case 2:
		n.secrets = append(n.secrets, HPKECiphertext{s.bytes(4), s.bytes(4)})
	case 3:
		if len(n.secrets) > 0 {
			n.secrets = n.secrets[1:]
		}
	case 4:
		if len(n.secrets) > 0 {
			n.secrets[0].Ciphertext = s.edit(n.secrets[0].Ciphertext)
		}
	case 5:
		if len(n.secrets) > 0 {
			n.secrets[0].KEMOutput = s.edit(n.secrets[0].KEMOutput)
		}
	case 6:
		n.key = s.edit(n.key)
	}
}

// attempt says whether f succeeds. The functions that honest members build
// commits with trust their input, so a made up one may make them panic.
func attempt(f func() error) (ok bool) {
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	return f() == nil
}

// TestFuzzRoom: the honest messages of the room are accepted, so that what the
// fuzz targets change about them is what gets them refused.
func TestFuzzRoom(t *testing.T) {
	for _, suite := range []CipherSuite{X25519AES128Ed25519, P256AES128P256} {
		r := fuzzRoomOf(t, suite)
		if len(r.honest) != 13 {
			t.Fatalf("%d honest messages; FuzzProcessOutsider must know", len(r.honest))
		}
		for _, h := range r.honest {
			m := fuzzGot(ParseMessage(h.raw, Limits{}))
			want := len(r.members)
			switch {
			case m.Public == nil && m.Private == nil:
				want = 0
			case m.Private != nil:
				want-- // the sender
			case h.from < 0:
				want++ // all, and the server
			}
			if n := r.offer(t, m, h.info, h.from); n != want {
				t.Errorf("suite %d: %s accepted by %d, want %d", suite, h.name, n, want)
			}
		}
		m, info, _ := r.insider(&script{[]byte{1, 2}})
		if n := r.offer(t, reparsed(m), info, 1); n != len(r.members) {
			t.Errorf("suite %d: flawless commit of an insider accepted by %d", suite, n)
		}
		m, info, _ = r.insider(&script{[]byte{1, 4}})
		if n := r.offer(t, reparsed(m), info, -1); n != len(r.members)+1 {
			t.Errorf("suite %d: flawless external commit accepted by %d", suite, n)
		}
	}
}
