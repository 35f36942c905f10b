package mls

import (
	"fmt"
	"slices"
	"time"
)

// CommitOptions say what a commit contains.
type CommitOptions struct {
	// Add, Remove and Proposals go into the commit itself, in this order.
	Add       []*ValidKeyPackage
	Remove    []LeafIndex
	Proposals []*Proposal
	// WithoutPending leaves out the pending proposals, which are otherwise
	// included as far as they fit together (see Pending of PublicGroup).
	WithoutPending bool
	// OmitPath leaves out the path where the proposals allow that. A commit
	// without one is cheaper and heals nothing.
	OmitPath bool
	// Leaf, if set, changes what this member says about itself.
	Leaf *LeafChange
	// AAD is sent along, signed, not encrypted.
	AAD []byte
	// Private sends a PrivateMessage. Servers cannot follow those.
	Private bool
	// PadTo rounds a PrivateMessage's content up to a multiple, in bytes.
	PadTo int
	// TreeInWelcome puts the ratchet tree into the Welcome; otherwise new
	// members must get it elsewhere.
	TreeInWelcome bool
	// WelcomeExtensions go into the Welcome's GroupInfo and not into the one for everybody,
	// so that they are for the added members only. Types must differ from each other and from
	// those that this package writes itself.
	WelcomeExtensions Extensions
}

// LeafChange is new content for the own leaf. Zero fields stay as they are.
type LeafChange struct {
	Signer       SignatureKey
	Credential   *Credential
	Capabilities *Capabilities
	Extensions   Extensions
}

// Commit makes a commit and stages it. The group does not change until the
// commit is merged, so a commit that loses against another is just dropped.
// now judges the lifetimes of added KeyPackages.
func (g *Group) Commit(o CommitOptions, now time.Time) (*StagedCommit, error) {
	s, err := g.commit(o, now)
	if err != nil {
		return nil, fmt.Errorf("making commit in epoch %d: %w", g.Epoch(), err)
	}
	return s, nil
}

func (g *Group) commit(o CommitOptions, now time.Time) (*StagedCommit, error) {
	if err := g.open(); err != nil {
		return nil, err
	}
	inline := make([]*Proposal, 0, len(o.Add)+len(o.Remove)+len(o.Proposals))
	for _, k := range o.Add {
		inline = append(inline, &Proposal{Type: ProposalAdd, Add: k.kp})
	}
	for _, l := range o.Remove {
		inline = append(inline, &Proposal{Type: ProposalRemove, Remove: l})
	}
	inline = append(inline, o.Proposals...)
	for _, p := range inline {
		if err := p.complete(); err != nil {
			return nil, err
		}
	}
	if o.WithoutPending {
		return g.commitWith(nil, inline, o, now)
	}
	pending := g.pub.selectPending(g.own, inline)
	s, err := g.commitWith(pending, inline, o, now)
	if err == nil || len(pending) == 0 {
		return s, err
	}
	// Anyone may have sent proposals that are valid by themselves and exclude
	// each other: they must not keep this member from committing.
	fit := g.fitting(pending, inline)
	if len(fit) == len(pending) {
		return nil, err
	}
	return g.commitWith(fit, inline, o, now)
}

// fitting returns those of the pending proposals that can be committed
// together with the inline ones: each that fits with those kept before it.
func (g *Group) fitting(pending []*UsedProposal, inline []*Proposal) []*UsedProposal {
	var kept []*UsedProposal
	var try func(ps []*UsedProposal)
	try = func(ps []*UsedProposal) {
		if all := append(kept[:len(kept):len(kept)], ps...); g.fits(all, inline) {
			kept = all
		} else if half := len(ps) / 2; half > 0 {
			try(ps[:half])
			try(ps[half:])
		}
	}
	try(pending)
	return kept
}

// fits says whether a commit of this member may hold these proposals, each of
// which is valid by itself.
func (g *Group) fits(pending []*UsedProposal, inline []*Proposal) bool {
	c := &Change{Sender: Sender{Type: SenderMember, Leaf: g.own}, Proposals: slices.Clone(pending)}
	for _, p := range inline {
		c.Proposals = append(c.Proposals, &UsedProposal{Proposal: p, Sender: c.Sender})
	}
	if g.pub.checkMemberList(c) != nil || g.pub.computeProvisional(c) != nil || g.pub.finish(c) != nil {
		return false
	}
	_, err := lookupPSKs(c.psks, g.ownPSK, g.pub.cfg.PSKs)
	return err == nil
}

func (g *Group) commitWith(pending []*UsedProposal, inline []*Proposal, o CommitOptions, now time.Time) (*StagedCommit, error) {
	sender := Sender{Type: SenderMember, Leaf: g.own}
	cm := &commit{}
	for _, p := range pending {
		cm.proposals = append(cm.proposals, proposalOrRef{ref: p.Ref})
	}
	for _, p := range inline {
		cm.proposals = append(cm.proposals, proposalOrRef{proposal: p})
	}
	if n := g.pub.cfg.Limits.Proposals; len(cm.proposals) > n {
		return nil, fmt.Errorf("%d proposals (limit %d): %w", len(cm.proposals), n, ErrTooLarge)
	}
	needPath := !o.OmitPath || o.Leaf != nil || len(cm.proposals) == 0
	for _, p := range cm.proposals {
		q := p.proposal
		if q == nil {
			q = g.pub.byRef[string(p.ref)].Proposal
		}
		needPath = needPath || q.Type.needsPath()
	}
	a := &authContent{wire: WirePublicMessage, framedContent: framedContent{
		groupID: g.pub.ctx.GroupID, epoch: g.Epoch(), sender: sender, aad: nonNil(o.AAD),
		kind: ContentCommit, commit: cm}}
	if o.Private {
		a.wire = WirePrivateMessage
	}
	leaf := *g.pub.tree.leaf(g.own)
	signer := g.signer
	if o.Leaf != nil {
		o.Leaf.apply(&leaf, &signer)
	}
	b := builder{pub: g.pub, auth: a, signer: signer, oldSigner: g.signer, leaf: leaf,
		init: g.epoch.nextInit, ownPSK: g.ownPSK, withPath: needPath, tree: o.TreeInWelcome, forAdded: o.WelcomeExtensions}
	s, err := b.build(now)
	if err != nil {
		return nil, err
	}
	if o.Private {
		step, err := g.keys.find(ratchetID{g.own, true}, g.nextGeneration(true), &g.pub.cfg.Limits)
		if err != nil {
			return nil, err
		}
		s.Message = g.pub.ctx.Suite.sealPrivate(a, g.epoch.senderData, step, o.PadTo).Message()
		// Two different commits of this epoch must not share a key.
		g.take(g.Epoch(), g.keys, step)
	} else {
		s.Message = publicMessage(a, &g.pub.ctx, g.epoch.membership).Message()
	}
	return s, nil
}

func nonNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

func (c *LeafChange) apply(l *LeafNode, signer *SignatureKey) {
	if !c.Signer.zero() {
		*signer = c.Signer
	}
	if c.Credential != nil {
		l.Credential = *c.Credential
	}
	if c.Capabilities != nil {
		l.Capabilities = *c.Capabilities
	}
	if c.Extensions != nil {
		l.Extensions = c.Extensions
	}
}

// builder makes a commit, a member's or a joiner's.
type builder struct {
	pub       *PublicGroup
	auth      *authContent
	leaf      LeafNode // the committer's leaf, to be given new keys
	signer    SignatureKey
	oldSigner SignatureKey // signs the commit
	init      secret
	ownPSK    func(*PreSharedKeyID) secret
	withPath  bool
	tree      bool
	forAdded  Extensions // of the Welcome's GroupInfo
}

// build runs the same verification that receivers run, over the commit as it
// is put together: apply the proposals, make the path, verify it, encrypt it
// to the context that follows, sign, and derive the epoch.
func (b *builder) build(now time.Time) (*StagedCommit, error) {
	g, a, suite := b.pub, b.auth, b.pub.ctx.Suite
	used, err := g.resolveProposals(a)
	if err != nil {
		return nil, err
	}
	c := g.newChange(a)
	c.Proposals = used
	if b.withPath {
		b.leaf.Source = LeafFromCommit
		b.leaf.SignatureKey = b.signer.Public()
		b.leaf.ParentHash = []byte{}
		c.path = &updatePath{leaf: b.leaf}
		// An external joiner's leaf goes into the provisional tree as it is
		// here: its key must be the final one already.
		priv, pub := suite.generateHPKE()
		c.path.leaf.EncryptionKey = pub
		a.commit.path = c.path
		return b.finish(c, priv, now)
	}
	return b.finish(c, nil, now)
}

func (b *builder) finish(c *Change, leafKey hpkeKey, now time.Time) (*StagedCommit, error) {
	g, a, suite := b.pub, b.auth, b.pub.ctx.Suite
	if err := g.applyProposals(c, now); err != nil {
		return nil, err
	}
	s := &StagedCommit{Change: c, auth: a, at: now, pathKeys: &pathKeys{commitKey: make(secret, hashSize)}}
	var ps *pathSecrets
	var to [][]resolved
	var steps []pathStep
	if c.path != nil {
		c.provisional.seal()
		steps = c.provisional.filteredPath(c.Committer)
		ps = suite.climb(randomBytes(hashSize), 0, len(steps))
		to = make([][]resolved, len(steps))
		for k, st := range steps {
			to[k] = st.recipients(c.newLeaves)
			c.path.nodes = append(c.path.nodes, pathNode{key: ps.publics[k], secrets: make([]HPKECiphertext, len(to[k]))})
		}
		leaf := &c.path.leaf
		_, leaf.ParentHash = pathParents(steps, ps.publics)
		if err := leaf.sign(b.signer, g.ctx.GroupID, c.Committer); err != nil {
			return nil, err
		}
		s.commitKey = ps.commit
		s.path = ps.placed(steps)
		s.path[c.Committer.node()] = leafKey
		if b.signer.pub != nil {
			s.signer = b.signer
		}
	}
	if err := g.applyPath(c, now); err != nil {
		return nil, err
	}
	if err := g.finish(c); err != nil {
		return nil, err
	}
	if c.path != nil {
		if err := suite.encryptPath(c.path, ps, to, c.Context.Bytes()); err != nil {
			return nil, err
		}
	}
	if err := a.sign(b.oldSigner, &g.ctx); err != nil {
		return nil, err
	}
	psk, err := lookupPSKs(c.psks, b.ownPSK, g.cfg.PSKs)
	if err != nil {
		return nil, err
	}
	c.Context.ConfirmedTranscriptHash = a.confirmedTranscript(g.interim)
	var joiner, member secret
	s.secrets, joiner, member = nextEpoch(c, b.init, s.commitKey, psk)
	a.tag = mac(s.secrets.confirmation, c.Context.ConfirmedTranscriptHash)
	c.tag = a.tag
	c.interim = interimTranscript(c.Context.ConfirmedTranscriptHash, a.tag)
	signer := b.oldSigner
	if c.path != nil {
		signer = b.signer
	}
	if s.GroupInfo, err = newGroupInfo(c.Context, c.tree, c.tag, s.secrets, c.Committer, signer, false, true, nil); err != nil {
		return nil, err
	}
	if len(c.newLeaves) > 0 {
		if s.Welcome, err = b.welcome(c, s, signer, ps, steps, joiner, member); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// welcome encrypts the epoch's beginning to every added member
// (section 12.4.3.1), with the path secret of the lowest node of the
// committer's path that is above the new leaf.
func (b *builder) welcome(c *Change, s *StagedCommit, signer SignatureKey, ps *pathSecrets, steps []pathStep, joiner, member secret) (*Welcome, error) {
	suite := b.pub.ctx.Suite
	info, err := newGroupInfo(c.Context, c.tree, c.tag, s.secrets, c.Committer, signer, b.tree, true, b.forAdded)
	if err != nil {
		return nil, err
	}
	key, nonce := suite.welcomeKeys(member)
	w := &Welcome{Suite: suite, encryptedGroupInfo: suite.aead(key).Seal(nil, nonce, info.append(nil), nil)}
	var adds []*KeyPackage
	var at []LeafIndex
	for _, p := range c.Proposals {
		if p.Proposal.Type == ProposalAdd {
			adds = append(adds, p.Proposal.Add)
			at = append(at, c.Added[len(at)].Leaf)
		}
	}
	w.secrets = make([]encryptedGroupSecrets, len(adds))
	return w, onAllCores(len(adds), func(i int) error {
		gs := groupSecrets{joiner: joiner, psks: c.psks}
		if ps != nil {
			for k, st := range steps {
				if uint32(at[i])>>(st.level-1) == st.copathPos {
					gs.path = ps.secrets[k]
				}
			}
		}
		ct, err := suite.seal(adds[i].InitKey, "Welcome", w.encryptedGroupInfo, gs.append(nil))
		w.secrets[i] = encryptedGroupSecrets{newMember: adds[i].Ref(), secrets: ct}
		return err
	})
}

// selectPending picks the pending proposals that fit together with each other
// and with those given, for a commit of leaf own: Removes win over Updates of
// the same leaf, the first of two that exclude each other stays, and what this
// committer may not commit is left for another.
func (g *PublicGroup) selectPending(own LeafIndex, inline []*Proposal) []*UsedProposal {
	gone, updated := map[LeafIndex]bool{own: true}, map[LeafIndex]bool{}
	psks, signers := map[string]bool{}, map[string]bool{}
	extensions, reinit, components := false, false, map[ComponentID]AppDataOperation{}
	for _, p := range inline {
		switch p.Type {
		case ProposalRemove:
			gone[p.Remove] = true
		case ProposalGroupContextExtensions:
			extensions = true
		case ProposalReInit:
			reinit = true
		case ProposalAdd:
			if p.Add != nil {
				signers[string(p.Add.Leaf.SignatureKey)] = true
			}
		case ProposalAppDataUpdate:
			if p.AppData != nil {
				components[p.AppData.Component] = p.AppData.Op
			}
		}
	}
	if reinit {
		return nil
	}
	keep := map[*UsedProposal]bool{}
	// SelfRemoves before Removes: where both name a leaf the Remove is invalid.
	for _, want := range []ProposalType{ProposalSelfRemove, ProposalRemove} {
		for _, p := range g.pending {
			if p.Proposal.Type != want {
				continue
			}
			leaf := p.Proposal.Remove
			if want == ProposalSelfRemove {
				leaf = p.Sender.Leaf
			}
			if !gone[leaf] {
				gone[leaf], keep[p] = true, true
			}
		}
	}
	for _, p := range g.pending {
		switch x := p.Proposal; x.Type {
		case ProposalUpdate:
			if leaf := p.Sender.Leaf; !gone[leaf] && !updated[leaf] {
				updated[leaf], keep[p] = true, true
			}
		case ProposalAdd:
			// Two proposals to add one client, or one that has come by itself.
			id := string(x.Add.Leaf.SignatureKey)
			_, in := g.keys[sigKeyID(x.Add.Leaf.SignatureKey)]
			keep[p] = !in && !signers[id]
			signers[id] = true
		case ProposalGroupContextExtensions:
			keep[p] = !extensions
			extensions = true
		case ProposalPSK:
			id := string(x.PSK.append(nil))
			keep[p] = !psks[id]
			psks[id] = true
		case ProposalAppDataUpdate:
			op, ok := components[x.AppData.Component]
			if keep[p] = !ok || (op == AppDataSet && x.AppData.Op == AppDataSet); keep[p] {
				components[x.AppData.Component] = x.AppData.Op
			}
		case ProposalRemove, ProposalSelfRemove, ProposalExternalInit:
		case ProposalReInit:
			// A ReInit stands alone: it is committed when nothing else waits.
			keep[p] = len(g.pending) == 1 && len(inline) == 0
		default:
			keep[p] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(g.pending), func(p *UsedProposal) bool { return !keep[p] })
}
