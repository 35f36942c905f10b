package mls

import (
	"bytes"
	"fmt"
	"math"
	"time"
)

// Verification of handshake messages, the same for servers and members.
// Nothing here mutates the group.

// verifyFrame checks group, epoch, sender and signature: everything that is
// decided before the content is looked at.
func (g *PublicGroup) verifyFrame(a *authContent) error {
	if !bytes.Equal(a.groupID, g.ctx.GroupID) {
		return fmt.Errorf("group %.16x, this is %.16x: %w", a.groupID, g.ctx.GroupID, ErrWrongGroup)
	}
	if a.epoch != g.ctx.Epoch {
		return fmt.Errorf("epoch %d, this is %d: %w", a.epoch, g.ctx.Epoch, ErrWrongEpoch)
	}
	key, err := g.senderKey(a)
	if err != nil {
		return err
	}
	return g.ctx.Suite.verify(key, contentLabel, a.tbs(&g.ctx), a.signature)
}

// senderKey finds the sender's signature key, and rules out content that the
// sender's role may not send (section 6).
func (g *PublicGroup) senderKey(a *authContent) ([]byte, error) {
	wrong := func() ([]byte, error) {
		return nil, fmt.Errorf("%s from sender type %d: %w", a.kind, a.sender.Type, ErrUnknownSender)
	}
	switch a.sender.Type {
	case SenderMember:
		l := g.tree.leaf(a.sender.Leaf)
		if l == nil {
			return nil, fmt.Errorf("leaf %d is no member: %w", a.sender.Leaf, ErrUnknownSender)
		}
		return l.SignatureKey, nil
	case SenderExternal:
		if a.kind != ContentProposal {
			return wrong()
		}
		if int64(a.sender.External) >= int64(len(g.senders)) {
			return nil, fmt.Errorf("external sender %d of %d: %w", a.sender.External, len(g.senders), ErrUnknownSender)
		}
		return g.senders[a.sender.External].SignatureKey, nil
	case SenderNewMemberProposal:
		if a.kind != ContentProposal || a.proposal.Type != ProposalAdd {
			return wrong()
		}
		return a.proposal.Add.Leaf.SignatureKey, nil
	case SenderNewMemberCommit:
		if a.kind != ContentCommit {
			return wrong()
		}
		if a.commit.path == nil {
			return nil, fmt.Errorf("external commit without a path: %w", ErrBadPath)
		}
		return a.commit.path.leaf.SignatureKey, nil
	}
	return wrong()
}

func (g *PublicGroup) process(a *authContent, now time.Time) (*Change, error) {
	if g.closed != nil {
		return nil, fmt.Errorf("group was closed by a ReInit: %w", ErrRemoved)
	}
	if err := g.verifyFrame(a); err != nil {
		return nil, err
	}
	switch a.kind {
	case ContentProposal:
		return g.processProposal(a, now)
	case ContentCommit:
		return g.processCommit(a, now)
	}
	return nil, fmt.Errorf("unencrypted application message: %w", ErrMalformed)
}

func (g *PublicGroup) newChange(a *authContent) *Change {
	return &Change{Kind: a.kind, Sender: a.sender, AAD: a.aad,
		base: g, baseEpoch: g.ctx.Epoch, baseRoot: g.tree.root}
}

func (g *PublicGroup) processProposal(a *authContent, now time.Time) (*Change, error) {
	p := &UsedProposal{Proposal: a.proposal, Sender: a.sender, AAD: a.aad, Ref: a.ref(), encoded: a.append(nil)}
	if a.proposal.Type == ProposalSelfRemove && a.wire != WirePublicMessage {
		return nil, invalid(p.Ref, fmt.Errorf("SelfRemove must be a PublicMessage: %w", ErrBadProposal))
	}
	if err := g.checkProposal(p, now); err != nil {
		return nil, invalid(p.Ref, err)
	}
	if err := g.checkWaiting(p); err != nil {
		return nil, invalid(p.Ref, err)
	}
	if len(g.pending) >= g.cfg.Limits.PendingProposals && g.byRef[string(p.Ref)] == nil {
		return nil, fmt.Errorf("more than %d pending proposals: %w", g.cfg.Limits.PendingProposals, ErrTooLarge)
	}
	c := g.newChange(a)
	c.Proposal = p
	return c, nil
}

// checkWaiting refuses a proposal that no commit of the present members could
// include by itself, lest it stand in every commit's way until the epoch ends.
func (g *PublicGroup) checkWaiting(used *UsedProposal) error {
	v := g.view()
	switch p := used.Proposal; p.Type {
	case ProposalAdd:
		v.plus = []*LeafNode{&p.Add.Leaf}
		v.members++
	case ProposalUpdate:
		v.minus = []*LeafNode{g.tree.leaf(used.Sender.Leaf)}
		v.plus = []*LeafNode{p.Update}
	case ProposalExternalInit:
		return fmt.Errorf("ExternalInit outside an external commit: %w", ErrBadProposal)
	case ProposalGroupContextExtensions:
		req, err := p.Extensions.requiredCapabilities(g.cfg.Limits)
		if err != nil {
			return err
		}
		return v.checkGroup(p.Extensions, req)
	case ProposalAppDataUpdate:
		d, err := g.ctx.Extensions.Dictionary(g.cfg.Limits)
		if err != nil {
			return err
		}
		return applyAppData(d, []*AppDataUpdate{p.AppData}, g.cfg.Components)
	}
	if len(v.plus) == 0 {
		return nil
	}
	if err := v.plus[0].meets(g.ctx.Extensions, g.required); err != nil {
		return err
	}
	return v.checkCredentials()
}

// checkProposal makes the checks of section 12.1 that hold for one proposal by
// itself, in the present epoch.
func (g *PublicGroup) checkProposal(p *UsedProposal, now time.Time) error {
	x := p.Proposal
	if err := x.complete(); err != nil {
		return err
	}
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), ErrBadProposal)
	}
	if p.Sender.Type == SenderExternal {
		switch x.Type {
		case ProposalUpdate, ProposalExternalInit, ProposalSelfRemove:
			return bad("proposal type %d from an external sender", x.Type)
		}
	}
	switch x.Type {
	case ProposalAdd:
		k := x.Add
		if k.Suite != g.ctx.Suite {
			return bad("KeyPackage of suite %d in a group of suite %d", k.Suite, g.ctx.Suite)
		}
		return k.verify(&g.cfg, now)
	case ProposalUpdate:
		if p.Sender.Type != SenderMember {
			return bad("Update from sender type %d", p.Sender.Type)
		}
		old := g.tree.leaf(p.Sender.Leaf)
		if x.Update.Source != LeafFromUpdate {
			return bad("Update with leaf source %d", x.Update.Source)
		}
		return g.checkNewLeaf(old, x.Update, p.Sender.Leaf, now)
	case ProposalRemove:
		if g.tree.leaf(x.Remove) == nil {
			return bad("removing leaf %d, which is no member", x.Remove)
		}
	case ProposalPSK:
		if len(x.PSK.Nonce) != hashSize {
			return bad("PSK nonce of %d bytes", len(x.PSK.Nonce))
		}
		// Branching and reinitializing PSKs belong to the first commit of the
		// new group alone (sections 11.2 and 11.3).
		if x.PSK.Type == PSKResumption && x.PSK.Usage != ResumptionApplication && g.ctx.Epoch != 0 {
			return bad("resumption PSK of usage %d in epoch %d", x.PSK.Usage, g.ctx.Epoch)
		}
	case ProposalReInit:
		if x.ReInit.Version < MLS10 {
			return bad("ReInit to version %d", x.ReInit.Version)
		}
		return x.ReInit.Extensions.checkUnique()
	case ProposalGroupContextExtensions:
		return g.checkExtensions(x.Extensions, now)
	case ProposalSelfRemove:
		if p.Sender.Type != SenderMember {
			return bad("SelfRemove from sender type %d", p.Sender.Type)
		}
	}
	if v := g.view(); !v.proposal(x.Type) {
		return fmt.Errorf("proposal type %#04x is not supported by every member: %w", uint16(x.Type), ErrCapabilities)
	}
	return nil
}

func (g *PublicGroup) view() *supportView {
	return &supportView{base: &g.support, members: g.tree.root.leaves}
}

// checkNewLeaf: a member's replacement for its own leaf (section 7.3).
func (g *PublicGroup) checkNewLeaf(old, leaf *LeafNode, at LeafIndex, now time.Time) error {
	if bytes.Equal(old.EncryptionKey, leaf.EncryptionKey) {
		return fmt.Errorf("leaf %d keeps its encryption key: %w", at, ErrBadLeaf)
	}
	if err := g.cfg.Authenticator.Succeeds(old.Credential, leaf.Credential); err != nil {
		return fmt.Errorf("leaf %d: %w: %w", at, ErrBadCredential, err)
	}
	return leaf.verify(g.ctx.Suite, g.ctx.GroupID, at, g.cfg.Authenticator, now)
}

// checkExtensions: a GroupContext's extensions must be readable, name external
// senders with good credentials, and leave the dictionary alone where
// AppDataUpdate is the way to change it.
func (g *PublicGroup) checkExtensions(ext Extensions, now time.Time) error {
	wrap := func(err error) error { return fmt.Errorf("GroupContextExtensions: %w: %w", ErrBadProposal, err) }
	if err := ext.checkUnique(); err != nil {
		return wrap(err)
	}
	if _, err := ext.requiredCapabilities(g.cfg.Limits); err != nil {
		return wrap(err)
	}
	senders, err := ext.externalSenders(g.cfg.Limits)
	if err != nil {
		return wrap(err)
	}
	if err := g.verifySenders(senders, now); err != nil {
		return wrap(err)
	}
	if _, err := ext.Dictionary(g.cfg.Limits); err != nil {
		return wrap(err)
	}
	for _, t := range g.required.Proposals {
		if t != ProposalAppDataUpdate {
			continue
		}
		old, had := g.ctx.Extensions.Get(ExtAppDataDictionary)
		data, has := ext.Get(ExtAppDataDictionary)
		if had != has || !bytes.Equal(old, data) {
			return wrap(fmt.Errorf("app_data_dictionary changes by AppDataUpdate only"))
		}
	}
	return nil
}

// verifySenders: external senders are introduced to the group like members
// (section 5.3.1).
func (g *PublicGroup) verifySenders(senders []ExternalSender, now time.Time) error {
	for i, s := range senders {
		if err := g.ctx.Suite.checkSignatureKey(s.SignatureKey); err != nil {
			return fmt.Errorf("external sender %d: %w", i, err)
		}
		if err := g.cfg.Authenticator.AuthenticateSender(s.Credential, s.SignatureKey, now); err != nil {
			return fmt.Errorf("external sender %d: %w: %w", i, ErrBadCredential, err)
		}
	}
	return nil
}

// resolveProposals replaces references by what they name.
func (g *PublicGroup) resolveProposals(a *authContent) ([]*UsedProposal, error) {
	if n, lim := len(a.commit.proposals), g.cfg.Limits.Proposals; n > lim {
		return nil, fmt.Errorf("%d proposals (limit %d): %w", n, lim, ErrTooLarge)
	}
	used := make([]*UsedProposal, 0, len(a.commit.proposals))
	seen := map[string]bool{}
	for i := range a.commit.proposals {
		p := &a.commit.proposals[i]
		if p.proposal != nil {
			used = append(used, &UsedProposal{Proposal: p.proposal, Sender: a.sender})
			continue
		}
		q := g.byRef[string(p.ref)]
		if q == nil {
			return nil, invalid(p.ref, fmt.Errorf("reference %.8x: %w", p.ref, ErrUnknownProposal))
		}
		if seen[string(p.ref)] {
			return nil, invalid(p.ref, fmt.Errorf("reference %.8x twice: %w", p.ref, ErrProposalList))
		}
		seen[string(p.ref)] = true
		used = append(used, q)
	}
	return used, nil
}

func (g *PublicGroup) processCommit(a *authContent, now time.Time) (*Change, error) {
	if g.ctx.Epoch == math.MaxUint64 {
		return nil, fmt.Errorf("last epoch: %w", ErrUnsupported)
	}
	used, err := g.resolveProposals(a)
	if err != nil {
		return nil, err
	}
	c := g.newChange(a)
	c.Proposals, c.path = used, a.commit.path
	if err := g.applyProposals(c, now); err != nil {
		return nil, err
	}
	if err := g.applyPath(c, now); err != nil {
		return nil, err
	}
	if err := g.finish(c); err != nil {
		return nil, err
	}
	c.Context.ConfirmedTranscriptHash = a.confirmedTranscript(g.interim)
	c.tag = a.tag
	c.interim = interimTranscript(c.Context.ConfirmedTranscriptHash, a.tag)
	return c, nil
}

// finish computes what follows from the new tree: tree hash, unique keys,
// capabilities of those who are new or stay.
func (g *PublicGroup) finish(c *Change) error {
	c.tree.seal()
	if int(c.tree.width()) > g.cfg.Limits.Leaves {
		return fmt.Errorf("tree grows to %d leaves (limit %d): %w", c.tree.width(), g.cfg.Limits.Leaves, ErrTooLarge)
	}
	c.Context.TreeHash = c.tree.root.hash
	c.nodes = c.tree.diff(g.tree)
	if err := g.keys.checkChange(c.nodes); err != nil {
		return err
	}
	v := supportView{base: &g.support, members: c.tree.root.leaves}
	for _, n := range c.nodes {
		if n.old != nil {
			v.minus = append(v.minus, n.old)
		}
		if n.new == nil {
			continue
		}
		v.plus = append(v.plus, n.new)
		if err := n.new.meets(c.Context.Extensions, c.required); err != nil {
			return fmt.Errorf("leaf %d: %w", n.index.position(), err)
		}
	}
	if c.ContextChanged {
		return v.checkGroup(c.Context.Extensions, c.required)
	}
	return v.checkCredentials()
}

// applyPath verifies the commit's path and puts it into the tree
// (section 12.4.2). Only the ciphertexts remain unchecked.
func (g *PublicGroup) applyPath(c *Change, now time.Time) error {
	if c.path == nil {
		return nil
	}
	leaf := &c.path.leaf
	if leaf.Source != LeafFromCommit {
		return fmt.Errorf("path with leaf source %d: %w", leaf.Source, ErrBadLeaf)
	}
	t := c.provisional
	if c.Sender.Type == SenderMember {
		if err := g.checkNewLeaf(g.tree.leaf(c.Committer), leaf, c.Committer, now); err != nil {
			return err
		}
	} else if err := leaf.verify(g.ctx.Suite, g.ctx.GroupID, c.Committer, g.cfg.Authenticator, now); err != nil {
		return err
	}
	t.seal()
	steps := t.filteredPath(c.Committer)
	if len(steps) != len(c.path.nodes) {
		return fmt.Errorf("path of %d nodes where %d belong: %w", len(c.path.nodes), len(steps), ErrBadPath)
	}
	keys := make([][]byte, len(steps))
	for k, s := range steps {
		n := &c.path.nodes[k]
		if err := g.ctx.Suite.checkHPKEKey(n.key); err != nil {
			return fmt.Errorf("path node %d: %w", s.index, err)
		}
		if want := len(s.recipients(c.newLeaves)); len(n.secrets) != want {
			return fmt.Errorf("path node %d with %d ciphertexts for %d recipients: %w", s.index, len(n.secrets), want, ErrBadPath)
		}
		keys[k] = n.key
	}
	if err := g.checkPathKeys(c, append(keys[:len(keys):len(keys)], leaf.EncryptionKey)); err != nil {
		return err
	}
	parents, parentHash := pathParents(steps, keys)
	if !bytes.Equal(leaf.ParentHash, parentHash) {
		return fmt.Errorf("committer's parent hash: %w", ErrBadPath)
	}
	if c.Sender.Type == SenderMember {
		c.Updated = append(c.Updated, MemberUpdate{c.Committer, g.tree.leaf(c.Committer), leaf})
	} else {
		c.Added = append(c.Added, Member{c.Committer, leaf})
	}
	c.tree = t.withPath(c.Committer, leaf, parents)
	return nil
}

// checkPathKeys: none of a path's keys may be in the tree that it is put into,
// not even at the place where it goes (section 12.4.2).
func (g *PublicGroup) checkPathKeys(c *Change, keys [][]byte) error {
	gone := keySet{}
	for _, n := range c.provisional.diff(g.tree) {
		// A node that only gained unmerged leaves keeps its key.
		if old := n.oldKey(); old != nil && !bytes.Equal(old, n.newKey()) {
			gone[encKeyID(old)] = struct{}{}
		}
	}
	for _, key := range keys {
		id := encKeyID(key)
		_, old := g.keys[id]
		_, blanked := gone[id]
		if old && !blanked {
			return fmt.Errorf("path key %.8x: %w", key, ErrDuplicateKey)
		}
	}
	return nil
}

// recipients is the copath resolution to which the step's path secret is
// encrypted: leaves added by the same commit get theirs in the Welcome.
func (s pathStep) recipients(newLeaves map[LeafIndex]bool) []resolved {
	all := s.copath.resolution(s.level-1, s.copathPos, nil)
	if len(newLeaves) == 0 {
		return all
	}
	out := all[:0]
	for _, r := range all {
		if !r.index.isLeaf() || !newLeaves[LeafIndex(r.index.position())] {
			out = append(out, r)
		}
	}
	return out
}
