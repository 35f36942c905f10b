package mls

import (
	"cmp"
	"fmt"
	"iter"
	"maps"
	"slices"
	"time"
)

// Part is a piece of a group's stored state: a few dozen to a few hundred
// bytes under a key that is unique within the group. A nil Value means that
// the part is gone. A group is the set of its parts, in no order; a message
// changes one to three of them, a commit O(log n).
//
//	g                 context, confirmation tag, depth of the tree, ReInit
//	n/NODE            a node of the ratchet tree
//	p/NUMBER          a pending proposal, by order of arrival
//	m                 a member's own leaf and signature key
//	e                 the present epoch's secrets
//	k/NODE            the private key of a node on the own path
//	u/REF             the private keys of an own pending Update
//	r/EPOCH           a past epoch's resumption PSK
//	o/EPOCH           a past epoch's context, sender data secret and leaves
//	s/EPOCH/NODE      a secret of the secret tree
//	c/EPOCH/LEAF/KIND a ratchet; KIND is a (application) or h (handshake)
//	x/EPOCH/LEAF/KIND/GENERATION  the key of a skipped message
//
// NODE, EPOCH and so on are in hexadecimal. Parts of a Group hold secrets: store
// them encrypted, and overwrite or delete them for good when told to.
type Part struct {
	Key   string
	Value []byte
}

// Format implements fmt.Formatter; it prints no value.
func (p Part) Format(s fmt.State, _ rune) { fmt.Fprintf(s, "Part(%s, %d bytes)", p.Key, len(p.Value)) }

// partKey is a Part's key before it is written out.
type partKey struct {
	kind  byte
	epoch uint64
	node  nodeIndex
	id    ratchetID
	gen   uint32
	ref   string
}

func (k partKey) String() string {
	kind := byte('a')
	if k.id.handshake {
		kind = 'h'
	}
	switch k.kind {
	case 'n', 'k':
		return fmt.Sprintf("%c/%x", k.kind, k.node)
	case 'p':
		return fmt.Sprintf("p/%x", k.gen)
	case 'u':
		return fmt.Sprintf("u/%x", k.ref)
	case 'r', 'o':
		return fmt.Sprintf("%c/%x", k.kind, k.epoch)
	case 's':
		return fmt.Sprintf("s/%x/%x", k.epoch, k.node)
	case 'c':
		return fmt.Sprintf("c/%x/%x/%c", k.epoch, k.id.leaf, kind)
	case 'x':
		return fmt.Sprintf("x/%x/%x/%c/%x", k.epoch, k.id.leaf, kind, k.gen)
	}
	return string(k.kind)
}

// parsePartKey is the inverse of String.
func parsePartKey(s string) (k partKey, err error) {
	var kind byte
	n, want := 0, 0
	if s == "" {
		return k, fmt.Errorf("empty part key: %w", ErrState)
	}
	switch k.kind = s[0]; k.kind {
	case 'g', 'm', 'e':
	case 'n', 'k':
		want = 1
		n, err = fmt.Sscanf(s[1:], "/%x", &k.node)
	case 'p':
		want = 1
		n, err = fmt.Sscanf(s[1:], "/%x", &k.gen)
	case 'u':
		var ref []byte
		want = 1
		n, err = fmt.Sscanf(s[1:], "/%x", &ref)
		k.ref = string(ref)
	case 'r', 'o':
		want = 1
		n, err = fmt.Sscanf(s[1:], "/%x", &k.epoch)
	case 's':
		want = 2
		n, err = fmt.Sscanf(s[1:], "/%x/%x", &k.epoch, &k.node)
	case 'c':
		want = 3
		n, err = fmt.Sscanf(s[1:], "/%x/%x/%c", &k.epoch, &k.id.leaf, &kind)
	case 'x':
		want = 4
		n, err = fmt.Sscanf(s[1:], "/%x/%x/%c/%x", &k.epoch, &k.id.leaf, &kind, &k.gen)
	default:
		err = fmt.Errorf("unknown kind")
	}
	k.id.handshake = kind == 'h'
	if err != nil || n != want || k.String() != s {
		return k, fmt.Errorf("part key %q: %w", s, ErrState)
	}
	return k, nil
}

// savedState notes which parts differ from what the caller has stored. Nothing
// is noted before the first call of Unsaved, which returns everything, so that
// a group that is never stored costs nothing.
type savedState struct {
	tracking bool
	dirty    map[partKey]struct{}
}

func (s *savedState) note(k partKey) {
	if s.tracking {
		s.dirty[k] = struct{}{}
	}
}

func (s *savedState) start() {
	s.tracking = true
	s.dirty = map[partKey]struct{}{}
}

func (s *savedState) noteCommit(g *PublicGroup, c *Change) {
	s.note(partKey{kind: 'g'})
	for _, n := range c.nodes {
		s.note(partKey{kind: 'n', node: n.index})
	}
	for _, p := range g.pending {
		s.noteProposal(p)
	}
}

func (s *savedState) noteProposal(p *UsedProposal) { s.note(partKey{kind: 'p', gen: p.number}) }
func (s *savedState) noteOwn()                     { s.note(partKey{kind: 'm'}) }
func (s *savedState) noteEpoch()                   { s.note(partKey{kind: 'e'}) }
func (s *savedState) notePath(n nodeIndex)         { s.note(partKey{kind: 'k', node: n}) }
func (s *savedState) noteUpdate(ref string)        { s.note(partKey{kind: 'u', ref: ref}) }
func (s *savedState) notePast(epoch uint64)        { s.note(partKey{kind: 'o', epoch: epoch}) }
func (s *savedState) noteResumption(epoch uint64)  { s.note(partKey{kind: 'r', epoch: epoch}) }
func (s *savedState) noteKey(epoch uint64, p treePart) {
	s.note(p.key(epoch))
}

func (p treePart) key(epoch uint64) partKey {
	switch {
	case p.seed:
		return partKey{kind: 's', epoch: epoch, node: p.node}
	case p.skipped:
		return partKey{kind: 'x', epoch: epoch, id: p.id, gen: p.gen}
	}
	return partKey{kind: 'c', epoch: epoch, id: p.id}
}

// take encodes and forgets the noted parts, in the order of their keys.
func (s *savedState) take(encode func(partKey) []byte) []Part {
	out := make([]Part, 0, len(s.dirty))
	for k := range s.dirty {
		out = append(out, Part{k.String(), encode(k)})
	}
	clear(s.dirty)
	slices.SortFunc(out, func(a, b Part) int { return cmp.Compare(a.Key, b.Key) })
	return out
}

// Unsaved returns what has changed since the last call, or everything at the
// first call. Write it in one transaction. If writing fails, drop the group and
// load it again: the parts are not returned twice.
func (g *PublicGroup) Unsaved() []Part {
	if !g.saved.tracking {
		g.saved.start()
		for k := range g.partKeys {
			g.saved.note(k)
		}
	}
	return g.saved.take(g.encodePart)
}

func (g *PublicGroup) partKeys(yield func(partKey) bool) {
	if !yield(partKey{kind: 'g'}) {
		return
	}
	more := true
	g.tree.nodes(func(i nodeIndex, _ *subtree) bool {
		more = yield(partKey{kind: 'n', node: i})
		return more
	})
	for _, p := range g.pending {
		if more = more && yield(partKey{kind: 'p', gen: p.number}); !more {
			return
		}
	}
}

func (g *PublicGroup) encodePart(k partKey) []byte {
	switch k.kind {
	case 'g':
		// {opaque context<V>; opaque tag<V>; uint8 depth; optional<ReInit>}
		b := appendOpaque(nil, g.ctx.append(nil))
		b = append(appendOpaque(b, g.tag), byte(g.tree.depth))
		if b = appendOptional(b, g.closed != nil); g.closed != nil {
			b = g.closed.append(b)
		}
		return b
	case 'n':
		// {uint8 type; LeafNode or ParentNode}, as in the ratchet tree
		n := g.tree.node(k.node)
		switch {
		case n == nil:
		case n.leaf != nil:
			return n.leaf.append([]byte{1})
		case n.parent != nil:
			return n.parent.append([]byte{2})
		}
	case 'p':
		for _, p := range g.pending {
			if p.number == k.gen {
				return p.encoded
			}
		}
	}
	return nil
}

// node finds a node by its index; nil if the tree is narrower.
func (t ratchetTree) node(i nodeIndex) *subtree {
	level, pos := i.level(), i.position()
	if level > t.depth || uint64(pos)>>(t.depth-level) > 0 {
		return nil
	}
	n := t.root
	for k := t.depth - 1; k >= level; k-- {
		n = n.child(pos >> (k - level) & 1)
	}
	return n
}

// parts by key, for loading.
type partMap map[partKey][]byte

func readParts(parts iter.Seq2[string, []byte]) (partMap, error) {
	m := partMap{}
	for key, value := range parts {
		k, err := parsePartKey(key)
		if err != nil {
			return nil, err
		}
		m[k] = value
	}
	return m, nil
}

func (m partMap) kind(kind byte) []partKey {
	var out []partKey
	for k := range m {
		if k.kind == kind {
			out = append(out, k)
		}
	}
	slices.SortFunc(out, func(a, b partKey) int {
		return cmp.Or(cmp.Compare(a.epoch, b.epoch), cmp.Compare(a.gen, b.gen), cmp.Compare(a.node, b.node),
			cmp.Compare(a.ref, b.ref))
	})
	return out
}

func (m partMap) read(k partKey, lim Limits, read func(*reader)) error {
	v, ok := m[k]
	if !ok {
		return fmt.Errorf("part %s is missing: %w", k, ErrState)
	}
	if err := parse(v, lim, "part "+k.String(), read); err != nil {
		return fmt.Errorf("%w: %w", ErrState, err)
	}
	return nil
}

// LoadPublicGroup reads a group from its parts, in any order. The parts must
// come from a store that only this process writes: signatures are not verified
// again, the tree hash is. Parts of a Group may be among them and are skipped.
// Error: ErrState.
func LoadPublicGroup(parts iter.Seq2[string, []byte], cfg Config) (*PublicGroup, error) {
	m, err := readParts(parts)
	if err != nil {
		return nil, err
	}
	return loadPublic(m, cfg)
}

func loadPublic(m partMap, cfg Config) (*PublicGroup, error) {
	cfg, err := cfg.prepared()
	if err != nil {
		return nil, err
	}
	g := &PublicGroup{cfg: cfg}
	lim := cfg.Limits
	var ctx []byte
	err = m.read(partKey{kind: 'g'}, lim, func(r *reader) {
		ctx, g.tag = r.Opaque(), r.Opaque()
		g.tree.depth = int(r.U8())
		if r.Optional() {
			g.closed = new(ReInit)
			g.closed.read(r)
		}
	})
	if err != nil {
		return nil, err
	}
	if err := parse(ctx, lim, "GroupContext", g.ctx.read); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrState, err)
	}
	if g.tree.depth > 31 || 1<<g.tree.depth > lim.Leaves {
		return nil, fmt.Errorf("tree of depth %d: %w", g.tree.depth, ErrState)
	}
	nodes := map[nodeIndex]*subtree{}
	for _, k := range m.kind('n') {
		n := &subtree{}
		err := m.read(k, lim, func(r *reader) {
			switch t := r.U8(); {
			case t == 1 && k.node.isLeaf():
				n.leaf, n.leaves = new(LeafNode), 1
				n.leaf.read(r)
			case t == 2 && !k.node.isLeaf():
				n.parent = new(parentNode)
				n.parent.read(r)
			default:
				r.Fail(ErrMalformed, "node type %d at %d", t, k.node)
			}
		})
		if err != nil {
			return nil, err
		}
		nodes[k.node] = n
	}
	g.tree.root = assemble(nodes, g.tree.depth, 0)
	g.tree.seal()
	if string(g.tree.root.hash) != string(g.ctx.TreeHash) {
		return nil, fmt.Errorf("tree hash differs from the context's: %w", ErrState)
	}
	g.keys = make(keySet, 3*g.tree.root.leaves)
	g.tree.nodes(func(_ nodeIndex, n *subtree) bool {
		err = g.keys.addNode(n.leaf, n.parent)
		return err == nil
	})
	if err == nil {
		err = g.index()
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrState, err)
	}
	g.interim = interimTranscript(g.ctx.ConfirmedTranscriptHash, g.tag)
	for _, k := range m.kind('p') {
		a := new(authContent)
		err := m.read(k, lim, func(r *reader) {
			a.wire = WireFormat(r.U16())
			a.framedContent.read(r)
			a.readAuth(r)
			if a.kind != ContentProposal {
				r.Fail(ErrMalformed, "pending %s", a.kind)
			}
		})
		if err != nil {
			return nil, err
		}
		p := &UsedProposal{Proposal: a.proposal, Sender: a.sender, AAD: a.aad, Ref: a.ref(), encoded: m[k], number: k.gen}
		g.pending = append(g.pending, p)
		g.byRef[string(p.Ref)] = p
	}
	g.saved.start()
	return g, nil
}

func assemble(nodes map[nodeIndex]*subtree, level int, pos uint32) *subtree {
	n := nodes[nodeAt(level, pos)]
	if n == nil {
		n = &subtree{}
	}
	if level > 0 {
		n.left, n.right = assemble(nodes, level-1, 2*pos), assemble(nodes, level-1, 2*pos+1)
		n.leaves = n.left.leaves + n.right.leaves
	}
	return n
}

// Unsaved returns what has changed since the last call, or everything at the
// first call, as PublicGroup.Unsaved does; the public half's parts are among
// them. Write it in one transaction before anything that follows from it, such
// as an encrypted message, leaves the process.
func (g *Group) Unsaved() []Part {
	saved := &g.pub.saved
	if !saved.tracking {
		saved.start()
		for k := range g.pub.partKeys {
			saved.note(k)
		}
		for k := range g.partKeys {
			saved.note(k)
		}
	}
	return saved.take(g.encodePart)
}

func (g *Group) partKeys(yield func(partKey) bool) {
	keys := []partKey{{kind: 'm'}, {kind: 'e'}}
	for n := range g.path {
		keys = append(keys, partKey{kind: 'k', node: n})
	}
	for ref := range g.updates {
		keys = append(keys, partKey{kind: 'u', ref: ref})
	}
	for epoch := range g.resumption {
		keys = append(keys, partKey{kind: 'r', epoch: epoch})
	}
	for p := range g.keys.parts {
		keys = append(keys, p.key(g.Epoch()))
	}
	for _, old := range g.past {
		keys = append(keys, partKey{kind: 'o', epoch: old.ctx.Epoch})
		for p := range old.keys.parts {
			keys = append(keys, p.key(old.ctx.Epoch))
		}
	}
	for _, k := range keys {
		if !yield(k) {
			return
		}
	}
}

func (g *Group) pastOf(epoch uint64) *pastEpoch {
	for _, p := range g.past {
		if p.ctx.Epoch == epoch {
			return p
		}
	}
	return nil
}

func (g *Group) treeOf(epoch uint64) *secretTree {
	if epoch == g.Epoch() {
		return g.keys
	}
	if p := g.pastOf(epoch); p != nil {
		return p.keys
	}
	return nil
}

func (g *Group) encodePart(k partKey) []byte {
	switch k.kind {
	case 'm':
		// {uint32 leaf; opaque signer<V>; uint8 removed}
		b := appendOpaque(appendU32(nil, uint32(g.own)), g.signer.Bytes())
		return appendOptional(b, g.removed)
	case 'e':
		var b []byte
		g.epoch.each(func(s *secret) { b = appendOpaque(b, *s) })
		return b
	case 'k':
		return g.path[k.node]
	case 'u':
		if u := g.updates[k.ref]; u != nil {
			return appendOpaque(appendOpaque(nil, u.key), u.signer.Bytes())
		}
	case 'r':
		return g.resumption[k.epoch]
	case 'o':
		if p := g.pastOf(k.epoch); p != nil {
			return p.encode()
		}
	case 's', 'c', 'x':
		if t := g.treeOf(k.epoch); t != nil {
			return t.encodePart(k)
		}
	default:
		return g.pub.encodePart(k)
	}
	return nil
}

// encode: {opaque context<V>; opaque sender_data<V>; uint8 depth;
// {uint32 leaf; optional<LeafNode>} leaves<V>}.
func (p *pastEpoch) encode() []byte {
	b := appendOpaque(nil, p.ctx.append(nil))
	b = append(appendOpaque(b, p.senderData), byte(p.keys.depth))
	return appendList(b, func(b []byte) []byte {
		for _, i := range slices.Sorted(maps.Keys(p.leaves)) {
			l := p.leaves[i]
			if b = appendOptional(appendU32(b, uint32(i)), l != nil); l != nil {
				b = l.append(b)
			}
		}
		return b
	})
}

func (t *secretTree) encodePart(k partKey) []byte {
	if k.kind == 's' {
		return t.seeds[k.node]
	}
	r := t.ratchets[k.id]
	if r == nil {
		return nil
	}
	if k.kind == 'c' {
		// {uint32 next; uint8 done; opaque secret<V>}
		return appendOpaque(appendOptional(appendU32(nil, r.next), r.done), r.secret)
	}
	key, ok := r.skipped[k.gen]
	if !ok {
		return nil
	}
	return appendOpaque(appendOpaque(nil, key.key), key.nonce)
}

// LoadGroup reads a member's group from its parts, in any order, under the
// conditions of LoadPublicGroup. Error: ErrState.
func LoadGroup(parts iter.Seq2[string, []byte], cfg Config) (*Group, error) {
	m, err := readParts(parts)
	if err != nil {
		return nil, err
	}
	pub, err := loadPublic(m, cfg)
	if err != nil {
		return nil, err
	}
	g := &Group{pub: pub, epoch: &epochSecrets{}, heldKeys: &heldKeys{map[nodeIndex]hpkeKey{}, map[uint64]secret{}}, updates: map[string]*ownUpdate{}}
	lim, suite := pub.cfg.Limits, pub.ctx.Suite
	var signer []byte
	err = m.read(partKey{kind: 'm'}, lim, func(r *reader) {
		g.own = LeafIndex(r.U32())
		signer = r.Opaque()
		g.removed = r.Optional()
	})
	if err != nil {
		return nil, err
	}
	if g.signer, err = ParseSignatureKey(suite, signer); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrState, err)
	}
	if pub.tree.leaf(g.own) == nil {
		return nil, fmt.Errorf("own leaf %d is blank: %w", g.own, ErrState)
	}
	err = m.read(partKey{kind: 'e'}, lim, func(r *reader) {
		g.epoch.each(func(s *secret) { *s = r.Opaque() })
	})
	if err != nil {
		return nil, err
	}
	g.epoch.encryption = nil
	for _, k := range m.kind('k') {
		g.path[k.node] = slices.Clone(m[k])
	}
	for _, k := range m.kind('r') {
		g.resumption[k.epoch] = slices.Clone(m[k])
	}
	for _, k := range m.kind('u') {
		u := &ownUpdate{}
		if err := m.read(k, lim, func(r *reader) { u.key, signer = r.Opaque(), r.Opaque() }); err != nil {
			return nil, err
		}
		if u.signer, err = ParseSignatureKey(suite, signer); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrState, err)
		}
		g.updates[k.ref] = u
	}
	g.keys = emptySecretTree(suite, pub.tree.depth)
	for _, k := range m.kind('o') {
		p := &pastEpoch{leaves: map[LeafIndex]*LeafNode{}}
		if err := p.load(m, k, lim); err != nil {
			return nil, err
		}
		g.past = append([]*pastEpoch{p}, g.past...) // kind sorts by epoch
	}
	for _, kind := range []byte{'s', 'c', 'x'} { // ratchets before their skipped keys
		for _, k := range m.kind(kind) {
			t := g.treeOf(k.epoch)
			if t == nil {
				return nil, fmt.Errorf("part %s of an epoch that is not held: %w", k, ErrState)
			}
			if err := t.loadPart(m, k, lim); err != nil {
				return nil, err
			}
		}
	}
	return g, nil
}

func (p *pastEpoch) load(m partMap, k partKey, lim Limits) error {
	var ctx []byte
	depth := 0
	err := m.read(k, lim, func(r *reader) {
		ctx, p.senderData = r.Opaque(), r.Opaque()
		depth = int(r.U8())
		r.List(lim.Leaves, func() {
			i := LeafIndex(r.U32())
			p.leaves[i] = nil
			if r.Optional() {
				l := new(LeafNode)
				l.read(r)
				p.leaves[i] = l
			}
		})
	})
	if err == nil {
		err = parse(ctx, lim, "GroupContext", p.ctx.read)
	}
	if err != nil || p.ctx.Epoch != k.epoch || depth > 31 {
		return fmt.Errorf("part %s: %w: %w", k, ErrState, err)
	}
	p.keys = emptySecretTree(p.ctx.Suite, depth)
	return nil
}

func emptySecretTree(suite CipherSuite, depth int) *secretTree {
	return &secretTree{suite: suite, depth: depth, seeds: map[nodeIndex]secret{}, ratchets: map[ratchetID]*ratchet{}}
}

func (t *secretTree) loadPart(m partMap, k partKey, lim Limits) error {
	switch k.kind {
	case 's':
		if len(m[k]) != hashSize {
			return fmt.Errorf("part %s of %d bytes: %w", k, len(m[k]), ErrState)
		}
		t.seeds[k.node] = slices.Clone(m[k])
		return nil
	case 'c':
		r := &ratchet{}
		t.ratchets[k.id] = r
		return m.read(k, lim, func(rd *reader) {
			r.next, r.done, r.secret = rd.U32(), rd.Optional(), rd.Opaque()
		})
	}
	r := t.ratchets[k.id]
	if r == nil {
		return fmt.Errorf("part %s without its ratchet: %w", k, ErrState)
	}
	if r.skipped == nil {
		r.skipped = map[uint32]messageKey{}
	}
	var key messageKey
	err := m.read(k, lim, func(rd *reader) { key.key, key.nonce = rd.Opaque(), rd.Opaque() })
	if err == nil && (len(key.key) != t.suite.keySize() || len(key.nonce) != nonceSize) {
		err = fmt.Errorf("part %s: %w", k, ErrState)
	}
	r.skipped[k.gen] = key
	return err
}

// Bytes encodes an own staged commit with its secrets, so that it outlives the
// process until the hub has decided; LoadStaged reads it back. A staged
// external commit is not kept: make a new one.
//
//	{uint64 at; opaque message<V>; opaque content<V>; opaque welcome<V>;
//	 opaque group_info<V>; opaque commit_secret<V>; opaque signer<V>;
//	 {uint32 node; opaque key<V>} path<V>}
func (s *StagedCommit) Bytes() ([]byte, error) {
	if s.Message == nil || s.external {
		return nil, fmt.Errorf("storing a staged commit that is not an own one: %w", ErrUnsupported)
	}
	b := appendU64(nil, uint64(s.at.UnixMilli()))
	b = appendOpaque(b, s.Message.Bytes())
	b = appendOpaque(b, s.auth.append(nil))
	var welcome, signer []byte
	if s.Welcome != nil {
		welcome = s.Welcome.append(nil)
	}
	if !s.signer.zero() {
		signer = s.signer.Bytes()
	}
	b = appendOpaque(appendOpaque(b, welcome), s.GroupInfo.append(nil))
	b = appendOpaque(appendOpaque(b, s.commitKey), signer)
	return appendList(b, func(b []byte) []byte {
		for _, n := range slices.Sorted(maps.Keys(s.path)) {
			b = appendOpaque(appendU32(b, uint32(n)), s.path[n])
		}
		return b
	}), nil
}

// LoadStaged reads an own staged commit, verifies it against the present epoch
// and derives the next one's secrets anew. ErrWrongEpoch: it was made for
// another epoch and is of no more use. Otherwise ErrState.
func (g *Group) LoadStaged(b []byte) (*StagedCommit, error) {
	lim := g.pub.cfg.Limits
	s := &StagedCommit{auth: new(authContent), pathKeys: &pathKeys{path: map[nodeIndex]hpkeKey{}}}
	var msg, content, welcome, info, signer []byte
	err := parse(b, lim, "staged commit", func(r *reader) {
		s.at = time.UnixMilli(int64(r.U64()))
		msg, content, welcome, info = r.Opaque(), r.Opaque(), r.Opaque(), r.Opaque()
		s.commitKey, signer = r.Opaque(), r.Opaque()
		r.List(64, func() {
			n := nodeIndex(r.U32())
			s.path[n] = r.Opaque()
		})
	})
	if err == nil {
		s.Message, err = ParseMessage(msg, lim)
	}
	if err == nil {
		s.GroupInfo, err = ParseGroupInfo(info, lim)
	}
	if err == nil && len(welcome) > 0 {
		s.Welcome = new(Welcome)
		err = parse(welcome, lim, "Welcome", s.Welcome.read)
	}
	if err == nil && len(signer) > 0 {
		s.signer, err = ParseSignatureKey(g.pub.ctx.Suite, signer)
	}
	if err == nil {
		err = parse(content, lim, "staged commit", func(r *reader) {
			s.auth.wire = WireFormat(r.U16())
			s.auth.framedContent.read(r)
			s.auth.readAuth(r)
		})
	}
	if err == nil && s.auth.kind != ContentCommit {
		err = ErrMalformed
	}
	if err == nil {
		s.Change, err = g.pub.process(s.auth, s.at)
	}
	if err == nil {
		err = g.derive(s, g.epoch.nextInit)
	}
	if err != nil {
		return nil, fmt.Errorf("loading staged commit: %w: %w", ErrState, err)
	}
	return s, nil
}
