package mls

import (
	"bytes"
	"fmt"
	"iter"
	"slices"
	"time"
)

// Config is what a group needs from its surroundings. It is not stored with
// the group: pass the same one whenever a group is loaded.
type Config struct {
	// Limits bounds every input; the zero value means the defaults.
	Limits Limits
	// Authenticator judges credentials. Required.
	Authenticator Authenticator
	// ImportExpired takes a tree in which members' credentials have expired:
	// the Authenticator is asked about them with the zero time. Without it a
	// member that was away past its certificate's end keeps all newcomers out
	// until somebody removes it; with it, who imports a tree must know the
	// group's state from a source that it trusts, and removing the expired is a
	// duty of the application.
	ImportExpired bool
	// Components computes new component data for AppDataUpdate proposals. Nil
	// means that the last update replaces the data, which is right for
	// components whose updates are whole values.
	Components ComponentLogic
	// PSKs finds pre-shared keys; only members need it, and only if the group
	// uses any. Nil means none are known.
	PSKs PSKSource
}

// Format implements fmt.Formatter; it prints nothing of PSKs.
func (c Config) Format(s fmt.State, _ rune) { fmt.Fprintf(s, "Config(limits %+v)", c.Limits) }

func (c Config) prepared() (Config, error) {
	c.Limits = c.Limits.withDefaults()
	if c.Authenticator == nil {
		return c, fmt.Errorf("Config without an Authenticator: %w", ErrBadCredential)
	}
	return c, nil
}

// PublicGroup follows a group with public data alone, as a server does, and as
// each member does underneath. It starts from a GroupInfo and a ratchet tree,
// verifies every PublicMessage handshake, and knows members, extensions and
// transcript of every epoch; it never holds a secret.
//
// What it cannot check, since that takes the epoch's secrets: membership tags,
// and that the path secrets inside a commit decrypt to the announced keys. A
// member can therefore publish a commit that servers accept and other members
// cannot follow; Process narrows this by asking for a GroupInfo that fits, and
// the signature says who it was.
//
// It is owned by one goroutine: Process reads, Apply writes.
type PublicGroup struct {
	cfg      Config
	ctx      GroupContext
	tree     ratchetTree
	keys     keySet
	support  support
	required RequiredCapabilities
	senders  []ExternalSender
	interim  []byte // interim transcript hash
	tag      []byte // confirmation tag of the present epoch
	closed   *ReInit
	pending  []*UsedProposal // in order of arrival
	byRef    map[string]*UsedProposal
	saved    savedState
}

// Format implements fmt.Formatter; it prints nothing of the Config.
func (g PublicGroup) Format(s fmt.State, _ rune) {
	fmt.Fprintf(s, "PublicGroup(%.16x, epoch %d)", g.ctx.GroupID, g.ctx.Epoch)
}

// Member is a leaf of the tree.
type Member struct {
	Leaf LeafIndex
	Node *LeafNode
}

// NewPublicGroup verifies a GroupInfo and its tree and starts from there. tree
// may be nil if the GroupInfo has a ratchet_tree extension. now judges
// credentials.
//
// Beyond what the RFC asks of it, whoever calls must know from elsewhere that
// this GroupInfo is the group's: any member can sign one for another history.
//
// Errors: ErrUnsupported, ErrBadTree, ErrBadSignature, ErrBadCredential,
// ErrBadLeaf, ErrCapabilities, ErrDuplicateKey, ErrBadGroupInfo.
func NewPublicGroup(info *GroupInfo, tree *RatchetTree, cfg Config, now time.Time) (*PublicGroup, error) {
	g, err := openGroupInfo(info, tree, cfg, now)
	if err != nil {
		return nil, fmt.Errorf("verifying GroupInfo: %w", err)
	}
	return g, nil
}

func openGroupInfo(info *GroupInfo, tree *RatchetTree, cfg Config, now time.Time) (*PublicGroup, error) {
	cfg, err := cfg.prepared()
	if err != nil {
		return nil, err
	}
	ctx := info.Context
	if err := ctx.Suite.check(); err != nil {
		return nil, err
	}
	if tree == nil {
		data, ok := info.Extensions.Get(ExtRatchetTree)
		if !ok {
			return nil, fmt.Errorf("no ratchet tree given, none in the GroupInfo: %w", ErrBadGroupInfo)
		}
		if tree, err = ParseRatchetTree(data, cfg.Limits); err != nil {
			return nil, err
		}
	}
	t := tree.t
	if int(t.width()) > cfg.Limits.Leaves {
		return nil, fmt.Errorf("ratchet tree of %d leaves (limit %d): %w", t.width(), cfg.Limits.Leaves, ErrTooLarge)
	}
	if !bytes.Equal(t.root.hash, ctx.TreeHash) {
		return nil, fmt.Errorf("tree hash %.8x, GroupInfo says %.8x: %w", t.root.hash, ctx.TreeHash, ErrBadTree)
	}
	signer := t.leaf(info.Signer)
	if signer == nil {
		return nil, fmt.Errorf("signer %d is no member: %w", info.Signer, ErrBadGroupInfo)
	}
	// The signature is checked before the tree: it is one, they are many.
	if err := info.verifySignature(signer.SignatureKey); err != nil {
		return nil, err
	}
	if len(info.ConfirmationTag) != hashSize {
		return nil, fmt.Errorf("confirmation tag of %d bytes: %w", len(info.ConfirmationTag), ErrBadGroupInfo)
	}
	if n := len(ctx.ConfirmedTranscriptHash); n != hashSize && !(n == 0 && ctx.Epoch == 0) {
		return nil, fmt.Errorf("confirmed transcript hash of %d bytes: %w", n, ErrBadGroupInfo)
	}
	g := &PublicGroup{cfg: cfg, ctx: ctx, tree: t}
	if cfg.ImportExpired {
		now = time.Time{}
	}
	if g.keys, err = verifyTree(t, &ctx, &cfg, now); err != nil {
		return nil, err
	}
	g.tag = info.ConfirmationTag
	g.interim = interimTranscript(ctx.ConfirmedTranscriptHash, g.tag)
	if err := g.index(); err != nil {
		return nil, err
	}
	if err := g.verifySenders(g.senders, now); err != nil {
		return nil, err
	}
	if err := g.verifyCompatible(); err != nil {
		return nil, err
	}
	return g, nil
}

// index derives what can be derived from context and tree.
func (g *PublicGroup) index() (err error) {
	if g.required, err = g.ctx.Extensions.requiredCapabilities(g.cfg.Limits); err != nil {
		return err
	}
	if g.senders, err = g.ctx.Extensions.externalSenders(g.cfg.Limits); err != nil {
		return err
	}
	if _, err = g.ctx.Extensions.Dictionary(g.cfg.Limits); err != nil {
		return err
	}
	g.support = newSupport()
	g.tree.members(func(_ LeafIndex, l *LeafNode) bool { g.support.count(l, 1); return true })
	g.byRef = map[string]*UsedProposal{}
	return nil
}

// verifyCompatible: every member meets the group's requirements and knows
// every credential type in use.
func (g *PublicGroup) verifyCompatible() error {
	v := supportView{base: &g.support, members: g.tree.root.leaves}
	return v.checkGroup(g.ctx.Extensions, g.required)
}

// Context returns the present GroupContext, which must not be changed.
func (g *PublicGroup) Context() *GroupContext { return &g.ctx }

// Suite returns the group's cipher suite.
func (g *PublicGroup) Suite() CipherSuite { return g.ctx.Suite }

// GroupID returns the group's id.
func (g *PublicGroup) GroupID() []byte { return g.ctx.GroupID }

// Epoch returns the present epoch.
func (g *PublicGroup) Epoch() uint64 { return g.ctx.Epoch }

// ConfirmationTag returns the present epoch's confirmation tag.
func (g *PublicGroup) ConfirmationTag() []byte { return g.tag }

// Members yields the members in the order of their leaves.
func (g *PublicGroup) Members() iter.Seq[Member] {
	t := g.tree
	return func(yield func(Member) bool) {
		t.members(func(i LeafIndex, l *LeafNode) bool { return yield(Member{i, l}) })
	}
}

// MemberCount returns the number of members.
func (g *PublicGroup) MemberCount() int { return g.tree.root.leaves }

// Member returns the member at a leaf.
func (g *PublicGroup) Member(i LeafIndex) (Member, bool) {
	l := g.tree.leaf(i)
	return Member{i, l}, l != nil
}

// Tree returns the present ratchet tree, for those who are to join.
func (g *PublicGroup) Tree() *RatchetTree { return &RatchetTree{g.tree} }

// Pending returns the proposals received in this epoch, in order.
func (g *PublicGroup) Pending() []*UsedProposal { return slices.Clone(g.pending) }

// ReInit returns the ReInit that closed the group, or nil while it is open.
func (g *PublicGroup) ReInit() *ReInit { return g.closed }

// Process verifies a handshake message and returns what it would change. It
// mutates nothing, so the caller may still refuse the change, and of several
// commits for one epoch may apply whichever it likes. now judges the lifetimes
// and credentials of new leaves.
//
// A commit must come with the GroupInfo of the epoch it begins, signed by the
// committer, so that a joiner can be served and a broken commit is noticed
// early; for a proposal info must be nil. The GroupInfo may leave out the
// ratchet tree.
//
// Errors: ErrWrongGroup, ErrWrongEpoch, ErrUnknownSender, ErrBadSignature,
// ErrUnknownProposal, ErrBadProposal, ErrProposalList, ErrBadLeaf,
// ErrBadCredential, ErrCapabilities, ErrDuplicateKey, ErrExpired, ErrBadPath,
// ErrBadGroupInfo, ErrTooLarge, ErrRemoved (a closed group).
func (g *PublicGroup) Process(m *PublicMessage, info *GroupInfo, now time.Time) (*Change, error) {
	c, err := g.process(&m.auth, now)
	if err != nil {
		return nil, fmt.Errorf("verifying %s of epoch %d: %w", m.auth.kind, m.auth.epoch, err)
	}
	if err := c.checkGroupInfo(info); err != nil {
		return nil, fmt.Errorf("verifying %s of epoch %d: %w", m.auth.kind, m.auth.epoch, err)
	}
	return c, nil
}

func (c *Change) checkGroupInfo(info *GroupInfo) error {
	if c.Kind != ContentCommit {
		if info != nil {
			return fmt.Errorf("a proposal comes without a GroupInfo: %w", ErrBadGroupInfo)
		}
		return nil
	}
	if info == nil {
		return fmt.Errorf("a commit comes with the next epoch's GroupInfo: %w", ErrBadGroupInfo)
	}
	leaf := c.tree.leaf(c.Committer)
	_, hasKey, err := info.Extensions.externalPub(Limits{})
	switch {
	case !info.Context.Equal(c.Context):
		return fmt.Errorf("its GroupContext differs from the computed one: %w", ErrBadGroupInfo)
	case !macEqual(info.ConfirmationTag, c.tag):
		return fmt.Errorf("its confirmation tag is not the commit's: %w", ErrBadGroupInfo)
	case info.Signer != c.Committer:
		return fmt.Errorf("signed by leaf %d, not by the committer %d: %w", info.Signer, c.Committer, ErrBadGroupInfo)
	case err != nil || !hasKey:
		return fmt.Errorf("it has no readable external_pub: %w", ErrBadGroupInfo)
	}
	if data, ok := info.Extensions.Get(ExtRatchetTree); ok && !bytes.Equal(data, c.tree.append(nil)) {
		return fmt.Errorf("its ratchet tree differs from the computed one: %w", ErrBadGroupInfo)
	}
	return info.verifySignature(leaf.SignatureKey)
}

// Apply adopts a change that Process of this group returned. It fails with
// ErrStale, changing nothing, if the group has moved on since.
func (g *PublicGroup) Apply(c *Change) error {
	if c.base != g || c.baseEpoch != g.ctx.Epoch || c.baseRoot != g.tree.root {
		return fmt.Errorf("applying %s of epoch %d at epoch %d: %w", c.Kind, c.baseEpoch, g.ctx.Epoch, ErrStale)
	}
	if c.Kind == ContentProposal {
		return g.enqueue(c.Proposal)
	}
	g.keys.apply(c.nodes)
	for _, n := range c.nodes {
		g.support.count(n.old, -1)
		g.support.count(n.new, 1)
	}
	g.saved.noteCommit(g, c)
	g.tree, g.ctx, g.tag, g.interim = c.tree, *c.Context, c.tag, c.interim
	g.required, g.senders = c.required, c.senders
	g.closed = c.ReInit
	g.pending, g.byRef = nil, map[string]*UsedProposal{}
	return nil
}

func (g *PublicGroup) enqueue(p *UsedProposal) error {
	if _, ok := g.byRef[string(p.Ref)]; ok {
		return nil
	}
	if len(g.pending) >= g.cfg.Limits.PendingProposals {
		return fmt.Errorf("more than %d pending proposals: %w", g.cfg.Limits.PendingProposals, ErrTooLarge)
	}
	p.number = 0
	if n := len(g.pending); n > 0 {
		p.number = g.pending[n-1].number + 1
	}
	g.pending = append(g.pending, p)
	g.byRef[string(p.Ref)] = p
	g.saved.noteProposal(p)
	return nil
}

// Change is a verified handshake message and what it does. Only Process makes
// one; its contents must not be changed.
type Change struct {
	// Kind is ContentProposal or ContentCommit.
	Kind ContentType
	// Sender is who sent it. For a commit of a joiner see Committer.
	Sender Sender
	// AAD is the message's authenticated data.
	AAD []byte

	// Proposal is set for a proposal: Apply keeps it for later commits.
	Proposal *UsedProposal

	// The rest is set for a commit.

	// Committer is the committer's leaf in the next epoch, a joiner's too.
	Committer LeafIndex
	// Proposals lists what the commit covers, in its order.
	Proposals []*UsedProposal
	// Added, Removed and Updated say how the members change. A joiner by
	// external commit is among the added, the leaf it replaces among the
	// removed; a committer with a new leaf is among the updated.
	Added   []Member
	Removed []Member
	Updated []MemberUpdate
	// Context is the next epoch's GroupContext.
	Context *GroupContext
	// ContextChanged says whether the extensions differ from the present ones.
	ContextChanged bool
	// ReInit is set if the commit closes the group.
	ReInit *ReInit

	base      *PublicGroup
	baseEpoch uint64
	baseRoot  *subtree
	tree      ratchetTree
	nodes     []nodeChange
	required  RequiredCapabilities
	senders   []ExternalSender
	tag       []byte
	interim   []byte
	// For members: what decrypting the path takes.
	provisional ratchetTree // after the proposals, before the path
	path        *updatePath
	newLeaves   map[LeafIndex]bool
	externalKEM []byte
	psks        []PreSharedKeyID
}

// MemberUpdate is a member whose leaf changes.
type MemberUpdate struct {
	Leaf     LeafIndex
	Old, New *LeafNode
}

// UsedProposal is a verified proposal with its origin.
type UsedProposal struct {
	Proposal *Proposal
	// Sender is who proposed it: for proposals in a commit, the committer.
	Sender Sender
	// Ref is the ProposalRef, 32 bytes, or nil for one inside a commit.
	Ref []byte
	// AAD is the authenticated data of the proposal's own message.
	AAD []byte

	encoded []byte // AuthenticatedContent, for storage
	number  uint32 // order of arrival within the epoch
}

// ByReference says whether the proposal was a message of its own.
func (p *UsedProposal) ByReference() bool { return p.Ref != nil }

// support counts, over all members, who lists what in its capabilities, so
// that "does every member support it" costs one look-up.
type support struct {
	extensions  map[ExtensionType]int
	proposals   map[ProposalType]int
	credentials map[CredentialType]int
	inUse       map[CredentialType]int // members' own credential types
}

func newSupport() support {
	return support{map[ExtensionType]int{}, map[ProposalType]int{}, map[CredentialType]int{}, map[CredentialType]int{}}
}

func countOnce[T comparable](m map[T]int, list []T, d int) {
	for i, t := range list {
		if slices.Contains(list[:i], t) {
			continue
		}
		if m[t] += d; m[t] == 0 {
			delete(m, t)
		}
	}
}

func (s *support) count(l *LeafNode, d int) {
	if l == nil {
		return
	}
	countOnce(s.extensions, l.Capabilities.Extensions, d)
	countOnce(s.proposals, l.Capabilities.Proposals, d)
	countOnce(s.credentials, l.Capabilities.Credentials, d)
	countOnce(s.inUse, []CredentialType{l.Credential.Type}, d)
}

// supportView is a support as it will be after a change.
type supportView struct {
	base    *support
	minus   []*LeafNode
	plus    []*LeafNode
	members int
}

func (v *supportView) all(base int, has func(*LeafNode) bool) bool {
	return v.sum(base, has) == v.members
}

func (v *supportView) sum(base int, has func(*LeafNode) bool) int {
	for _, l := range v.minus {
		if has(l) {
			base--
		}
	}
	for _, l := range v.plus {
		if has(l) {
			base++
		}
	}
	return base
}

func (v *supportView) extension(t ExtensionType) bool {
	return t.implied() || v.all(v.base.extensions[t], func(l *LeafNode) bool {
		return slices.Contains(l.Capabilities.Extensions, t)
	})
}

func (v *supportView) proposal(t ProposalType) bool {
	return t.implied() || v.all(v.base.proposals[t], func(l *LeafNode) bool {
		return slices.Contains(l.Capabilities.Proposals, t)
	})
}

func (v *supportView) credential(t CredentialType) bool {
	return v.all(v.base.credentials[t], func(l *LeafNode) bool { return l.Capabilities.credential(t) })
}

// checkGroup says whether every member supports the extensions in use, what
// is required, and every credential type in use.
func (v *supportView) checkGroup(ext Extensions, req RequiredCapabilities) error {
	for _, x := range ext {
		if !v.extension(x.Type) {
			return fmt.Errorf("some member does not support extension %#04x of the group: %w", uint16(x.Type), ErrCapabilities)
		}
	}
	for _, t := range req.Extensions {
		if !v.extension(t) {
			return fmt.Errorf("some member lacks required extension %#04x: %w", uint16(t), ErrCapabilities)
		}
	}
	for _, t := range req.Proposals {
		if !v.proposal(t) {
			return fmt.Errorf("some member lacks required proposal type %#04x: %w", uint16(t), ErrCapabilities)
		}
	}
	for _, t := range req.Credentials {
		if !v.credential(t) {
			return fmt.Errorf("some member lacks required credential type %d: %w", t, ErrCapabilities)
		}
	}
	return v.checkCredentials()
}

// checkCredentials: everybody understands everybody's credential type.
func (v *supportView) checkCredentials() error {
	types := make([]CredentialType, 0, 4)
	for t := range v.base.inUse {
		types = append(types, t)
	}
	for _, l := range v.plus {
		if !slices.Contains(types, l.Credential.Type) {
			types = append(types, l.Credential.Type)
		}
	}
	slices.Sort(types)
	for _, t := range types {
		used := v.sum(v.base.inUse[t], func(l *LeafNode) bool { return l.Credential.Type == t })
		if used > 0 && !v.credential(t) {
			return fmt.Errorf("some member does not support credential type %d, which is in use: %w", t, ErrCapabilities)
		}
	}
	return nil
}
