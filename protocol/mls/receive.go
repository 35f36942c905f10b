package mls

import (
	"bytes"
	"fmt"
	"time"
)

// Received is what a message turned out to be.
type Received struct {
	Kind   ContentType
	Epoch  uint64
	Sender Sender
	// Leaf is the sender's leaf in the message's epoch; nil if the sender is
	// no member.
	Leaf *LeafNode
	// AAD is the message's authenticated data.
	AAD []byte
	// Data is the plaintext of an application message.
	Data []byte
	// Change says what a handshake does. Adopt it with Apply.
	Change *Change
	// Commit is set for a commit: Apply merges it.
	Commit *StagedCommit

	step *keyStep // of an encrypted proposal
}

// Format implements fmt.Formatter; it prints no plaintext.
func (r Received) Format(s fmt.State, _ rune) {
	fmt.Fprintf(s, "Received(%s, epoch %d, sender %d)", r.Kind, r.Epoch, r.Sender.Leaf)
}

// Process verifies and, where needed, decrypts a message of another member,
// an external sender or a joiner. A handshake changes nothing until Apply; an
// application message's key is consumed, which must be stored.
//
// now judges the lifetimes and credentials of new leaves.
//
// Errors: those of PublicGroup.Process, and ErrBadMAC, ErrDecrypt, ErrReplayed,
// ErrTooFarAhead, ErrOwnMessage, ErrUnknownPSK.
func (g *Group) Process(m *Message, now time.Time) (*Received, error) {
	var r *Received
	var err error
	switch {
	case m.Public != nil:
		r, err = g.processPublic(m.Public, now)
	case m.Private != nil:
		r, err = g.processPrivate(m.Private, now)
	default:
		err = fmt.Errorf("wire format %d is no group message: %w", m.Wire, ErrUnsupported)
	}
	if err != nil {
		return nil, fmt.Errorf("processing message: %w", err)
	}
	return r, nil
}

func (g *Group) processPublic(m *PublicMessage, now time.Time) (*Received, error) {
	if err := g.open(); err != nil {
		return nil, err
	}
	a := m.auth
	// The tag comes first among the costly checks: an outsider cannot make it.
	// Whether it is for this group and epoch is asked before, for the error.
	if bytes.Equal(a.groupID, g.pub.ctx.GroupID) && a.epoch == g.Epoch() {
		if err := m.verifyTag(&g.pub.ctx, g.epoch.membership); err != nil {
			return nil, err
		}
	}
	return g.processHandshake(&a, now)
}

func (g *Group) processHandshake(a *authContent, now time.Time) (*Received, error) {
	if a.kind == ContentCommit && a.sender == (Sender{Type: SenderMember, Leaf: g.own}) &&
		bytes.Equal(a.groupID, g.pub.ctx.GroupID) && a.epoch == g.Epoch() {
		return nil, fmt.Errorf("commit: %w", ErrOwnMessage)
	}
	c, err := g.pub.process(a, now)
	if err != nil {
		return nil, err
	}
	r := &Received{Kind: a.kind, Epoch: a.epoch, Sender: a.sender, AAD: a.aad, Change: c}
	if a.sender.Type == SenderMember {
		r.Leaf = g.pub.tree.leaf(a.sender.Leaf)
	}
	if a.kind == ContentCommit {
		if r.Commit, err = g.stage(c, a, now); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// stage computes the epoch that another's verified commit begins.
func (g *Group) stage(c *Change, a *authContent, now time.Time) (*StagedCommit, error) {
	s := &StagedCommit{Change: c, auth: a, at: now, pathKeys: &pathKeys{}}
	for _, m := range c.Removed {
		if m.Leaf == g.own {
			s.removed = true
			return s, nil
		}
	}
	s.commitKey = make(secret, hashSize)
	suite := g.pub.ctx.Suite
	keys, update := g.provisionalKeys(c)
	s.path = map[nodeIndex]hpkeKey{}
	if update != nil {
		s.path[g.own.node()] = update.key
		s.signer = update.signer
	}
	if c.path != nil {
		// The context for path secrets lacks this commit's transcript.
		ctx := *c.Context
		ctx.ConfirmedTranscriptHash = g.pub.ctx.ConfirmedTranscriptHash
		ps, err := suite.decryptPath(c.provisional, c.Committer, g.own, c.path, c.newLeaves, keys, ctx.Bytes())
		if err != nil {
			return nil, err
		}
		for n, k := range ps.placed(c.provisional.filteredPath(c.Committer)) {
			s.path[n] = k
		}
		s.commitKey = ps.commit
	}
	init := g.epoch.nextInit
	if c.externalKEM != nil {
		priv, _ := suite.deriveHPKE(g.epoch.external)
		var err error
		if init, err = suite.receiveExternal(priv, c.externalKEM); err != nil {
			return nil, err
		}
	}
	return s, g.derive(s, init)
}

// derive runs the key schedule of a staged commit and checks the confirmation
// tag, the proof that the committer came to the same epoch.
func (g *Group) derive(s *StagedCommit, init secret) error {
	psk, err := lookupPSKs(s.Change.psks, g.ownPSK, g.pub.cfg.PSKs)
	if err != nil {
		return err
	}
	s.secrets, _, _ = nextEpoch(s.Change, init, s.commitKey, psk)
	if !macEqual(s.Change.tag, mac(s.secrets.confirmation, s.Change.Context.ConfirmedTranscriptHash)) {
		return fmt.Errorf("confirmation tag: %w", ErrBadMAC)
	}
	return nil
}

func (g *Group) processPrivate(m *PrivateMessage, now time.Time) (*Received, error) {
	if !bytes.Equal(m.groupID, g.pub.ctx.GroupID) {
		return nil, fmt.Errorf("group %.16x, this is %.16x: %w", m.groupID, g.pub.ctx.GroupID, ErrWrongGroup)
	}
	if m.kind != ContentApplication {
		if err := g.open(); err != nil {
			return nil, err
		}
		if m.epoch != g.Epoch() {
			return nil, fmt.Errorf("%s of epoch %d, this is %d: %w", m.kind, m.epoch, g.Epoch(), ErrWrongEpoch)
		}
	}
	ctx, senderData, keys, leafOf, err := g.keysOf(m.epoch)
	if err != nil {
		return nil, err
	}
	suite, lim := g.pub.ctx.Suite, g.pub.cfg.Limits
	leaf, gen, guard, err := suite.senderOf(m, senderData)
	if err != nil {
		return nil, err
	}
	if leaf == g.own {
		return nil, fmt.Errorf("%s of generation %d: %w", m.kind, gen, ErrOwnMessage)
	}
	sender := leafOf(leaf)
	if sender == nil {
		return nil, fmt.Errorf("leaf %d was no member in epoch %d: %w", leaf, m.epoch, ErrUnknownSender)
	}
	step, err := keys.find(ratchetID{leaf, m.kind != ContentApplication}, gen, &lim)
	if err != nil {
		return nil, err
	}
	a, err := suite.openPrivate(m, step, guard, lim)
	if err != nil {
		return nil, err
	}
	if m.kind != ContentApplication {
		// Verified with the rest, by the public half. A commit's key need not
		// be consumed, its epoch ends with it; a proposal's is by Apply.
		r, err := g.processHandshake(a, now)
		if err == nil {
			r.step = step
		}
		return r, err
	}
	if err := suite.verify(sender.SignatureKey, contentLabel, a.tbs(ctx), a.signature); err != nil {
		return nil, err
	}
	g.take(m.epoch, keys, step)
	return &Received{Kind: m.kind, Epoch: m.epoch, Sender: a.sender, Leaf: sender, AAD: m.aad, Data: a.data}, nil
}

func (g *Group) take(epoch uint64, keys *secretTree, step *keyStep) {
	keys.take(step, &g.pub.cfg.Limits, func(p treePart) { g.pub.saved.noteKey(epoch, p) })
}

// Apply adopts a handshake that Process returned: a proposal is kept for later
// commits, a commit is merged. ErrStale if the group has moved on.
func (g *Group) Apply(r *Received) error {
	switch {
	case r.Commit != nil:
		return g.Merge(r.Commit)
	case r.Change == nil:
		return nil
	}
	if err := g.pub.Apply(r.Change); err != nil {
		return err
	}
	if r.step == nil {
		return nil
	}
	// Other messages may have moved the ratchets since Process, so the step is
	// looked up anew. If the key is gone by now there is nothing to consume.
	if step, err := g.keys.find(r.step.id, r.step.gen, &g.pub.cfg.Limits); err == nil {
		g.take(r.Epoch, g.keys, step)
	}
	return nil
}

// SendOptions are for messages other than commits.
type SendOptions struct {
	// AAD is sent along, signed, not encrypted.
	AAD []byte
	// Private sends a proposal as a PrivateMessage; application messages are
	// always private.
	Private bool
	// PadTo rounds the encrypted content up to a multiple, in bytes.
	PadTo int
}

// Encrypt makes an application message. Its key is gone afterwards: the sender
// itself cannot read the message again.
func (g *Group) Encrypt(data []byte, o SendOptions) (*Message, error) {
	a := g.frame(ContentApplication, WirePrivateMessage, o.AAD)
	a.data = nonNil(data)
	m, err := g.send(a, o)
	if err != nil {
		return nil, fmt.Errorf("encrypting message of %d bytes: %w", len(data), err)
	}
	return m, nil
}

func (g *Group) frame(kind ContentType, wire WireFormat, aad []byte) *authContent {
	return &authContent{wire: wire, framedContent: framedContent{groupID: g.pub.ctx.GroupID, epoch: g.Epoch(),
		sender: Sender{Type: SenderMember, Leaf: g.own}, aad: nonNil(aad), kind: kind}}
}

func (g *Group) send(a *authContent, o SendOptions) (*Message, error) {
	if err := g.open(); err != nil {
		return nil, err
	}
	if a.signature == nil {
		if err := a.sign(g.signer, &g.pub.ctx); err != nil {
			return nil, err
		}
	}
	if a.wire == WirePublicMessage {
		return publicMessage(a, &g.pub.ctx, g.epoch.membership).Message(), nil
	}
	handshake := a.kind != ContentApplication
	step, err := g.keys.find(ratchetID{g.own, handshake}, g.nextGeneration(handshake), &g.pub.cfg.Limits)
	if err != nil {
		return nil, err
	}
	m := g.pub.ctx.Suite.sealPrivate(a, g.epoch.senderData, step, o.PadTo)
	g.take(g.Epoch(), g.keys, step)
	return m.Message(), nil
}

func (g *Group) nextGeneration(handshake bool) uint32 {
	if r := g.keys.ratchets[ratchetID{g.own, handshake}]; r != nil {
		return r.next
	}
	return 0
}

// Propose makes a proposal message and keeps it pending, as others will when
// they receive it. Whoever hears that it was refused drops it with Drop. now
// judges an added KeyPackage.
func (g *Group) Propose(p *Proposal, o SendOptions, now time.Time) (*Message, error) {
	if p.Type == ProposalUpdate {
		return nil, fmt.Errorf("an Update needs fresh keys, use ProposeUpdate: %w", ErrBadProposal)
	}
	m, _, err := g.propose(p, o, now)
	return m, err
}

func (g *Group) propose(p *Proposal, o SendOptions, now time.Time) (*Message, *UsedProposal, error) {
	if err := g.open(); err != nil {
		return nil, nil, err
	}
	a := g.frame(ContentProposal, WirePublicMessage, o.AAD)
	if o.Private {
		a.wire = WirePrivateMessage
	}
	if err := p.complete(); err != nil {
		return nil, nil, err
	}
	a.proposal = p
	if err := a.sign(g.signer, &g.pub.ctx); err != nil {
		return nil, nil, err
	}
	c, err := g.pub.process(a, now)
	if err != nil {
		return nil, nil, fmt.Errorf("proposing: %w", err)
	}
	m, err := g.send(a, o)
	if err != nil {
		return nil, nil, fmt.Errorf("proposing: %w", err)
	}
	return m, c.Proposal, g.pub.Apply(c)
}

// ProposeUpdate proposes a new leaf for this member, with a fresh encryption
// key and the given changes.
func (g *Group) ProposeUpdate(ch LeafChange, o SendOptions, now time.Time) (*Message, error) {
	if err := g.open(); err != nil {
		return nil, err
	}
	leaf, u := *g.pub.tree.leaf(g.own), &ownUpdate{signer: g.signer}
	ch.apply(&leaf, &u.signer)
	leaf.Source, leaf.ParentHash, leaf.Lifetime = LeafFromUpdate, nil, Lifetime{}
	leaf.SignatureKey = u.signer.Public()
	u.key, leaf.EncryptionKey = g.pub.ctx.Suite.generateHPKE()
	if err := leaf.sign(u.signer, g.pub.ctx.GroupID, g.own); err != nil {
		return nil, fmt.Errorf("proposing update: %w", err)
	}
	m, p, err := g.propose(&Proposal{Type: ProposalUpdate, Update: &leaf}, o, now)
	if err != nil {
		return nil, err
	}
	g.updates[string(p.Ref)] = u
	g.pub.saved.noteUpdate(string(p.Ref))
	return m, nil
}

// Drop forgets a pending proposal, own or received, that will not be
// committed. It says whether there was one.
func (g *Group) Drop(ref []byte) bool {
	if g.updates[string(ref)] != nil {
		delete(g.updates, string(ref))
		g.pub.saved.noteUpdate(string(ref))
	}
	return g.pub.Drop(ref)
}

// Drop forgets a pending proposal that the hub or the group refused. It says
// whether there was one.
func (g *PublicGroup) Drop(ref []byte) bool {
	p := g.byRef[string(ref)]
	if p == nil {
		return false
	}
	delete(g.byRef, string(ref))
	for i, q := range g.pending {
		if q == p {
			g.pending = append(g.pending[:i:i], g.pending[i+1:]...)
			break
		}
	}
	g.saved.noteProposal(p)
	return true
}

// NewPSKProposal makes a PSK proposal for id with a fresh nonce.
func NewPSKProposal(id PreSharedKeyID) *Proposal {
	id.Nonce = randomBytes(hashSize)
	return &Proposal{Type: ProposalPSK, PSK: &id}
}
