package mls

import (
	"bytes"
	"fmt"
	"maps"
	"time"
)

// Group is a member's view of a group: a PublicGroup and the secrets of its
// present and a few past epochs. Verification is the PublicGroup's, so members
// and servers accept the same commits.
//
// It is owned by one goroutine. Methods that return an error have changed
// nothing. What a method changed must be stored, by Unsaved, before its result
// leaves the process: a message that was sent with a forgotten generation
// would be followed by another with the same key.
type Group struct {
	pub    *PublicGroup
	own    LeafIndex
	signer SignatureKey
	epoch  *epochSecrets
	keys   *secretTree
	*heldKeys
	past []*pastEpoch // newest first
	// updates are own Update proposals that were sent in this epoch, by
	// reference.
	updates map[string]*ownUpdate
	removed bool
}

// heldKeys are a Group's secrets in maps. They are behind a pointer, since fmt
// prints a map in an unexported field, even where a verb does not suit.
type heldKeys struct {
	// path holds the private keys of the own leaf and of those nodes above it
	// whose secret this member learnt.
	path map[nodeIndex]hpkeKey
	// resumption PSKs of past epochs.
	resumption map[uint64]secret
}

type ownUpdate struct {
	key    hpkeKey
	signer SignatureKey
}

// pastEpoch is what reading late application messages takes.
type pastEpoch struct {
	ctx        GroupContext
	senderData secret
	keys       *secretTree
	// leaves holds what the following commit replaced or removed (nil where
	// the leaf was blank), so that a sender can be found as it was.
	leaves map[LeafIndex]*LeafNode
}

// Format implements fmt.Formatter; it prints no secret.
func (g Group) Format(s fmt.State, _ rune) {
	if g.pub == nil {
		redact(s, "Group")
		return
	}
	fmt.Fprintf(s, "Group(%.16x, epoch %d, leaf %d)", g.pub.ctx.GroupID, g.pub.ctx.Epoch, g.own)
}

// Public returns the public half. Read from it; apply nothing to it.
func (g *Group) Public() *PublicGroup { return g.pub }

// OwnLeaf returns this member's leaf.
func (g *Group) OwnLeaf() LeafIndex { return g.own }

// Signer returns the own leaf's signature key: in a room under pseudonyms it is in no other.
func (g *Group) Signer() SignatureKey { return g.signer }

// Epoch returns the present epoch.
func (g *Group) Epoch() uint64 { return g.pub.ctx.Epoch }

// Removed says whether this member was removed: it can read late messages of
// its epochs and nothing more.
func (g *Group) Removed() bool { return g.removed }

// EpochAuthenticator returns 32 bytes that all members of the epoch share and
// nobody else knows; compare them out of band (RFC 9420 section 8.7).
func (g *Group) EpochAuthenticator() []byte { return g.epoch.authenticator.clone() }

// Export derives a secret for the application from the epoch
// (section 8.5). length is at most 8,160.
func (g *Group) Export(label string, context []byte, length int) ([]byte, error) {
	if length < 0 || length > 255*hashSize {
		return nil, fmt.Errorf("exporting %d bytes (limit %d): %w", length, 255*hashSize, ErrTooLarge)
	}
	return g.epoch.export(label, context, length), nil
}

// ResumptionPSK returns the resumption PSK of the present epoch, or of a past
// one that is still held, for a PSKSource of another group.
func (g *Group) ResumptionPSK(epoch uint64) ([]byte, error) {
	if epoch == g.Epoch() {
		return g.epoch.resumption.clone(), nil
	}
	if s := g.resumption[epoch]; s != nil {
		return s.clone(), nil
	}
	return nil, fmt.Errorf("resumption PSK of epoch %d: %w", epoch, ErrUnknownPSK)
}

// ownPSK finds resumption PSKs of this very group.
func (g *Group) ownPSK(id *PreSharedKeyID) secret {
	if id.Type != PSKResumption || string(id.GroupID) != string(g.pub.ctx.GroupID) {
		return nil
	}
	s, err := g.ResumptionPSK(id.Epoch)
	if err != nil {
		return nil
	}
	return s
}

// GroupInfo signs a GroupInfo of the present epoch, with external_pub, so that
// it serves for external joins; with the ratchet tree inside if withTree.
func (g *Group) GroupInfo(withTree bool) (*GroupInfo, error) {
	info, err := newGroupInfo(&g.pub.ctx, g.pub.tree, g.pub.tag, g.epoch, g.own, g.signer, withTree, true, nil)
	if err != nil {
		return nil, fmt.Errorf("signing GroupInfo: %w", err)
	}
	return info, nil
}

func newGroupInfo(ctx *GroupContext, t ratchetTree, tag []byte, e *epochSecrets, signer LeafIndex,
	key SignatureKey, withTree, external bool, more Extensions) (*GroupInfo, error) {
	info := &GroupInfo{Context: *ctx, Extensions: Extensions{}, ConfirmationTag: tag, Signer: signer}
	if withTree {
		info.Extensions = append(info.Extensions, Extension{ExtRatchetTree, t.append(nil)})
	}
	if external {
		_, pub := ctx.Suite.deriveHPKE(e.external)
		info.Extensions = append(info.Extensions, Extension{ExtExternalPub, appendOpaque(nil, pub)})
	}
	info.Extensions = append(info.Extensions, more...)
	if err := info.Extensions.checkUnique(); err != nil {
		return nil, err
	}
	return info, info.sign(key)
}

// open says whether this member may still act.
func (g *Group) open() error {
	if g.removed || g.pub.closed != nil {
		return fmt.Errorf("group %.16x: %w", g.pub.ctx.GroupID, ErrRemoved)
	}
	return nil
}

// StagedCommit is a commit and the epoch it begins, waiting to be merged or
// dropped. It holds nothing of the group and changes nothing in it, so any
// number may be staged side by side; dropping one needs no call.
type StagedCommit struct {
	// Message is the commit, Welcome (nil if nobody was added) and GroupInfo
	// (without tree, with external_pub) what goes with it. They are set for
	// own commits only.
	Message   *Message
	Welcome   *Welcome
	GroupInfo *GroupInfo
	// Change is what the commit does.
	Change *Change

	auth    *authContent
	at      time.Time
	secrets *epochSecrets
	*pathKeys
	signer   SignatureKey // the own leaf's new key, if any
	removed  bool
	external bool // own leaf is new: Join, not Merge
}

// pathKeys are what a path gives, behind a pointer like heldKeys.
type pathKeys struct {
	// path: new private keys by node, the own leaf's included if it changes.
	path      map[nodeIndex]hpkeKey
	commitKey secret
}

// Format implements fmt.Formatter; it prints no secret.
func (s StagedCommit) Format(f fmt.State, _ rune) { redact(f, "StagedCommit") }

// Merge enters the staged commit's epoch: own commits when the hub has ordered
// them, received ones when Process returned them. ErrStale if the group has
// moved on in the meantime.
func (g *Group) Merge(s *StagedCommit) error {
	if s.external {
		return fmt.Errorf("external commit: join with it: %w", ErrStale)
	}
	if g.removed {
		return fmt.Errorf("merging: %w", ErrRemoved)
	}
	c := s.Change
	if c.base != g.pub || c.baseEpoch != g.pub.ctx.Epoch || c.baseRoot != g.pub.tree.root {
		return fmt.Errorf("merging commit of epoch %d at epoch %d: %w", c.baseEpoch, g.pub.ctx.Epoch, ErrStale)
	}
	saved := &g.pub.saved
	if s.removed {
		// There is no next epoch for this member; the last one stays readable.
		g.removed = true
		saved.noteOwn()
		return nil
	}
	g.retire(c)
	if err := g.pub.Apply(c); err != nil {
		return err // excluded by the check above
	}
	for _, n := range c.nodes {
		// A node that only gained unmerged leaves keeps its key.
		if g.path[n.index] != nil && !bytes.Equal(n.oldKey(), n.newKey()) {
			delete(g.path, n.index)
			saved.notePath(n.index)
		}
	}
	for n, k := range s.path {
		g.path[n] = k
		saved.notePath(n)
	}
	if !s.signer.zero() {
		g.signer = s.signer
	}
	for ref := range g.updates {
		saved.noteUpdate(ref)
	}
	g.updates = map[string]*ownUpdate{}
	g.enter(s.secrets)
	return nil
}

// enter starts an epoch: the encryption secret becomes the secret tree's root.
func (g *Group) enter(e *epochSecrets) {
	g.keys = newSecretTree(g.pub.ctx.Suite, g.pub.tree.depth, e.encryption)
	e.encryption = nil
	g.epoch = e
	g.pub.saved.noteOwn()
	g.pub.saved.noteEpoch()
	for p := range g.keys.parts {
		g.pub.saved.noteKey(g.Epoch(), p)
	}
}

// retire makes the present epoch a past one and drops what is too old.
func (g *Group) retire(c *Change) {
	lim, saved, epoch := g.pub.cfg.Limits, &g.pub.saved, g.Epoch()
	old := &pastEpoch{ctx: g.pub.ctx, senderData: g.epoch.senderData, keys: g.keys, leaves: map[LeafIndex]*LeafNode{}}
	for _, n := range c.nodes {
		if n.index.isLeaf() {
			old.leaves[LeafIndex(n.index.position())] = n.old
		}
	}
	old.keys.dropHandshake(func(p treePart) { saved.noteKey(epoch, p) })
	g.past = append([]*pastEpoch{old}, g.past...)
	saved.notePast(epoch)
	for len(g.past) > lim.PastEpochs {
		last := g.past[len(g.past)-1]
		for p := range last.keys.parts {
			saved.noteKey(last.ctx.Epoch, p)
		}
		saved.notePast(last.ctx.Epoch)
		last.senderData.wipe()
		last.keys.wipe()
		g.past = g.past[:len(g.past)-1]
	}
	g.resumption[epoch] = g.epoch.resumption
	saved.noteResumption(epoch)
	if n := uint64(lim.ResumptionPSKs); epoch >= n {
		gone := epoch - n
		g.resumption[gone].wipe()
		delete(g.resumption, gone)
		saved.noteResumption(gone)
	}
	e := g.epoch
	e.senderData, e.resumption = nil, nil // moved, not to be wiped
	e.wipe()
}

// keysOf returns the message keys of an epoch, and how to find a sender in it.
func (g *Group) keysOf(epoch uint64) (ctx *GroupContext, senderData secret, keys *secretTree, leaf func(LeafIndex) *LeafNode, err error) {
	if epoch == g.Epoch() {
		return &g.pub.ctx, g.epoch.senderData, g.keys, g.pub.tree.leaf, nil
	}
	for k, p := range g.past {
		if p.ctx.Epoch != epoch {
			continue
		}
		return &p.ctx, p.senderData, p.keys, func(i LeafIndex) *LeafNode {
			for j := k; j >= 0; j-- {
				if l, ok := g.past[j].leaves[i]; ok {
					return l
				}
			}
			return g.pub.tree.leaf(i)
		}, nil
	}
	return nil, nil, nil, nil, fmt.Errorf("epoch %d, this is %d and %d past ones are held: %w",
		epoch, g.Epoch(), len(g.past), ErrWrongEpoch)
}

// nextEpoch runs the key schedule for a verified change. It returns the
// epoch's secrets, the joiner secret and the member secret.
func nextEpoch(c *Change, init, commitKey, psk secret) (e *epochSecrets, joiner, member secret) {
	ctx := c.Context.Bytes()
	joiner = joinerSecret(init, commitKey, ctx)
	member = memberSecret(joiner, psk)
	return newEpoch(member, ctx), joiner, member
}

// provisionalKeys are the private keys that fit the tree after a commit's
// proposals: without those of nodes that the proposals blanked, and with the
// own leaf's new key if its Update is among them.
func (g *Group) provisionalKeys(c *Change) (keys map[nodeIndex]hpkeKey, update *ownUpdate) {
	keys = maps.Clone(g.path)
	for _, n := range c.provisional.diff(g.pub.tree) {
		if n.new == nil && n.newP == nil {
			delete(keys, n.index)
		}
	}
	for _, p := range c.Proposals {
		if u := g.updates[string(p.Ref)]; u != nil && p.ByReference() {
			update = u
			keys[g.own.node()] = u.key
		}
	}
	return keys, update
}
