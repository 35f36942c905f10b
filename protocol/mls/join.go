package mls

import (
	"bytes"
	"fmt"
	"time"
)

// JoinOptions are what a joiner brings beside the message that lets it in.
type JoinOptions struct {
	// Tree is the ratchet tree; nil if the GroupInfo holds it.
	Tree *RatchetTree
	// Parent is the group that a branch or ReInit comes from, if this is one:
	// the new group must then be what the old one agreed on.
	Parent *Group
	// Extensions, if set, is where to put the extensions of the Welcome's GroupInfo when the
	// join has succeeded: what its committer tells the added members alone (CommitOptions).
	// Those that this package writes and reads itself are among them.
	Extensions *Extensions
}

// JoinWelcome joins a group with the KeyPackage that a commit added
// (RFC 9420 section 12.4.3.1). Afterwards delete the KeyPackage, unless it is
// a last resort. now judges the members' credentials.
//
// Errors: ErrNoKeyPackage, ErrDecrypt, ErrUnknownPSK, ErrBadMAC, ErrBadPath and
// those of NewPublicGroup.
func JoinWelcome(w *Welcome, kp *PrivateKeyPackage, o JoinOptions, cfg Config, now time.Time) (*Group, error) {
	g, err := joinWelcome(w, kp, o, cfg, now)
	if err != nil {
		return nil, fmt.Errorf("joining by Welcome: %w", err)
	}
	return g, nil
}

func joinWelcome(w *Welcome, kp *PrivateKeyPackage, o JoinOptions, cfg Config, now time.Time) (*Group, error) {
	cfg, err := cfg.prepared()
	if err != nil {
		return nil, err
	}
	if w.Suite != kp.kp.Suite {
		return nil, fmt.Errorf("Welcome of suite %d, KeyPackage of suite %d: %w", w.Suite, kp.kp.Suite, ErrNoKeyPackage)
	}
	gs, err := w.open(kp, cfg.Limits)
	if err != nil {
		return nil, err
	}
	var own func(*PreSharedKeyID) secret
	if o.Parent != nil {
		own = o.Parent.ownPSK
	}
	psk, err := lookupPSKs(gs.psks, own, cfg.PSKs)
	if err != nil {
		return nil, err
	}
	member := memberSecret(gs.joiner, psk)
	key, nonce := w.Suite.welcomeKeys(member)
	plain, err := w.Suite.aead(key).Open(nil, nonce, w.encryptedGroupInfo, nil)
	if err != nil {
		return nil, fmt.Errorf("GroupInfo: %w", ErrDecrypt)
	}
	info, err := ParseGroupInfo(plain, cfg.Limits)
	if err != nil {
		return nil, err
	}
	if info.Context.Suite != w.Suite {
		return nil, fmt.Errorf("GroupInfo of suite %d in a Welcome of suite %d: %w", info.Context.Suite, w.Suite, ErrBadGroupInfo)
	}
	if err := checkParent(&info.Context, gs.psks, o.Parent); err != nil {
		return nil, err
	}
	pub, err := openGroupInfo(info, o.Tree, cfg, now)
	if err != nil {
		return nil, err
	}
	leaf, ok := pub.find(&kp.kp.Leaf)
	if !ok {
		return nil, fmt.Errorf("own leaf is not in the tree: %w", ErrBadTree)
	}
	if o.Parent != nil {
		if err := checkBranchMembers(pub, gs.psks, o.Parent); err != nil {
			return nil, err
		}
	}
	path := map[nodeIndex]hpkeKey{leaf.node(): kp.leaf}
	if gs.path != nil {
		if err := pub.learnPath(path, gs.path, info.Signer, leaf); err != nil {
			return nil, err
		}
	}
	e := newEpoch(member, info.Context.Bytes())
	if !macEqual(pub.tag, mac(e.confirmation, pub.ctx.ConfirmedTranscriptHash)) {
		return nil, fmt.Errorf("confirmation tag: %w", ErrBadMAC)
	}
	if o.Extensions != nil {
		*o.Extensions = info.Extensions
	}
	return newMember(pub, leaf, kp.signer, path, e), nil
}

// open decrypts the entry that is for the KeyPackage.
func (w *Welcome) open(kp *PrivateKeyPackage, lim Limits) (*groupSecrets, error) {
	ref := kp.kp.Ref()
	for i := range w.secrets {
		if !bytes.Equal(w.secrets[i].newMember, ref) {
			continue
		}
		plain, err := w.Suite.open(kp.init, "Welcome", w.encryptedGroupInfo, w.secrets[i].secrets)
		if err != nil {
			return nil, err
		}
		gs := new(groupSecrets)
		if err := parse(plain, lim, "GroupSecrets", gs.read); err != nil {
			return nil, err
		}
		return gs, gs.check()
	}
	return nil, fmt.Errorf("KeyPackage %.8x: %w", ref, ErrNoKeyPackage)
}

// find returns the place of a leaf that is in the tree exactly as given.
func (g *PublicGroup) find(leaf *LeafNode) (at LeafIndex, ok bool) {
	g.tree.members(func(i LeafIndex, l *LeafNode) bool {
		if bytes.Equal(l.EncryptionKey, leaf.EncryptionKey) && l.equal(leaf) {
			at, ok = i, true
		}
		return !ok
	})
	return at, ok
}

// learnPath derives, from the path secret in a Welcome, the private keys of
// the nodes from the common ancestor with the committer upwards.
func (g *PublicGroup) learnPath(path map[nodeIndex]hpkeKey, first secret, committer, own LeafIndex) error {
	steps := g.tree.filteredPath(committer)
	nodes := g.tree.path(committer)
	for k, s := range steps {
		if uint32(own)>>(s.level-1) != s.copathPos {
			continue
		}
		p := g.ctx.Suite.climb(first, k, len(steps)-k)
		for j, pub := range p.publics {
			n := nodes[g.tree.depth-steps[k+j].level]
			if n.parent == nil || !bytes.Equal(n.parent.key, pub) {
				return fmt.Errorf("node %d has another key than the Welcome's path secret gives: %w", steps[k+j].index, ErrBadPath)
			}
		}
		for n, key := range p.placed(steps) {
			path[n] = key
		}
		return nil
	}
	return fmt.Errorf("path secret, but leaf %d is not below the path of leaf %d: %w", own, committer, ErrBadPath)
}

// checkParent: a Welcome with a reinit or branch PSK starts another group
// (sections 11.2 and 11.3), in epoch 1, with the parameters agreed on.
func checkParent(ctx *GroupContext, psks []PreSharedKeyID, parent *Group) error {
	var special *PreSharedKeyID
	for i := range psks {
		if psks[i].Type == PSKResumption && psks[i].Usage != ResumptionApplication {
			if special != nil {
				return fmt.Errorf("two reinit or branch PSKs: %w", ErrBadGroupInfo)
			}
			special = &psks[i]
		}
	}
	switch {
	case special == nil && parent == nil:
		return nil
	case special == nil:
		return fmt.Errorf("Welcome does not continue the given group: %w", ErrBadGroupInfo)
	case ctx.Epoch != 1:
		return fmt.Errorf("reinit or branch PSK in epoch %d: %w", ctx.Epoch, ErrBadGroupInfo)
	case parent == nil:
		return fmt.Errorf("Welcome continues group %.16x: pass that group as Parent: %w", special.GroupID, ErrBadGroupInfo)
	case !bytes.Equal(special.GroupID, parent.pub.ctx.GroupID):
		return fmt.Errorf("Welcome continues group %.16x, not %.16x: %w", special.GroupID, parent.pub.ctx.GroupID, ErrBadGroupInfo)
	case special.Usage == ResumptionBranch:
		if ctx.Suite != parent.pub.ctx.Suite {
			return fmt.Errorf("branch with another cipher suite: %w", ErrBadGroupInfo)
		}
		return nil
	}
	r := parent.pub.closed
	if r == nil || r.Version != MLS10 || r.Suite != ctx.Suite || !bytes.Equal(r.GroupID, ctx.GroupID) ||
		!r.Extensions.equal(ctx.Extensions) || special.Epoch != parent.Epoch() {
		return fmt.Errorf("new group is not the one that the ReInit announced: %w", ErrBadGroupInfo)
	}
	return nil
}

// checkBranchMembers: a branch has no member whose credential the old group
// lacks; a reinitialized group has the same members.
func checkBranchMembers(pub *PublicGroup, psks []PreSharedKeyID, parent *Group) error {
	auth := pub.cfg.Authenticator
	// Most members come with the credential that they had; only for others is
	// everybody asked.
	unchanged := map[string]bool{}
	for old := range parent.pub.Members() {
		unchanged[string(old.Node.Credential.append(nil))] = true
	}
	for m := range pub.Members() {
		known := unchanged[string(m.Node.Credential.append(nil))]
		for old := range parent.pub.Members() {
			if known {
				break
			}
			if auth.Succeeds(old.Node.Credential, m.Node.Credential) == nil {
				known = true
			}
		}
		if !known {
			return fmt.Errorf("leaf %d was no member of the group that this continues: %w", m.Leaf, ErrBadCredential)
		}
	}
	for i := range psks {
		if psks[i].Usage == ResumptionReInit && pub.MemberCount() != parent.pub.MemberCount() {
			return fmt.Errorf("reinitialized group has %d members, the old one %d: %w",
				pub.MemberCount(), parent.pub.MemberCount(), ErrBadGroupInfo)
		}
	}
	return nil
}

// ContinueParams describe a group that continues another one.
type ContinueParams struct {
	LeafParams
	// Members are the others' fresh KeyPackages, for the new group's suite.
	Members []*ValidKeyPackage
	// GroupID and Extensions of a branch; a ReInit has announced them.
	GroupID    []byte
	Extensions Extensions
}

// Branch starts a subgroup of the members given (section 11.3): a new group,
// and the commit that adds them, tied to this one by its resumption PSK. Merge
// the commit and send its Welcome.
func (g *Group) Branch(p ContinueParams, cfg Config, now time.Time) (*Group, *StagedCommit, error) {
	return g.continueAs(p, ResumptionBranch, cfg, now)
}

// Reinit starts the group that this one's committed ReInit announced
// (section 11.2).
func (g *Group) Reinit(p ContinueParams, cfg Config, now time.Time) (*Group, *StagedCommit, error) {
	r := g.pub.closed
	if r == nil {
		return nil, nil, fmt.Errorf("no ReInit was committed: %w", ErrBadProposal)
	}
	if r.Version != MLS10 || r.Suite != p.Suite {
		return nil, nil, fmt.Errorf("ReInit announced version %d, suite %d: %w", r.Version, r.Suite, ErrUnsupported)
	}
	p.GroupID, p.Extensions = r.GroupID, r.Extensions
	return g.continueAs(p, ResumptionReInit, cfg, now)
}

func (g *Group) continueAs(p ContinueParams, usage ResumptionUsage, cfg Config, now time.Time) (*Group, *StagedCommit, error) {
	own := cfg.PSKs
	cfg.PSKs = parentPSKs{g, own}
	n, err := CreateGroup(GroupParams{LeafParams: p.LeafParams, GroupID: p.GroupID, Extensions: p.Extensions}, cfg)
	if err != nil {
		return nil, nil, err
	}
	psk := NewPSKProposal(PreSharedKeyID{Type: PSKResumption, Usage: usage, GroupID: g.pub.ctx.GroupID, Epoch: g.Epoch()})
	s, err := n.Commit(CommitOptions{Add: p.Members, Proposals: []*Proposal{psk}, TreeInWelcome: true}, now)
	if err != nil {
		return nil, nil, err
	}
	n.pub.cfg.PSKs = own // the new group does not hold on to the old one
	return n, s, nil
}

// parentPSKs adds a parent group's resumption PSKs to a source.
type parentPSKs struct {
	parent *Group
	next   PSKSource
}

func (s parentPSKs) ExternalPSK(id []byte) ([]byte, error) {
	if s.next == nil {
		return nil, ErrUnknownPSK
	}
	return s.next.ExternalPSK(id)
}

func (s parentPSKs) ResumptionPSK(groupID []byte, epoch uint64) ([]byte, error) {
	if bytes.Equal(groupID, s.parent.pub.ctx.GroupID) {
		return s.parent.ResumptionPSK(epoch)
	}
	if s.next == nil {
		return nil, ErrUnknownPSK
	}
	return s.next.ResumptionPSK(groupID, epoch)
}
