package mls

import (
	"bytes"
	"fmt"
	"slices"
)

// ratchetTree is an immutable ratchet tree (RFC 9420 section 7). Its nodes are
// linked and shared between versions: a change copies the path from the leaf
// to the root, about log2(n) nodes, and each node carries its tree hash. So a
// server that follows a commit hashes O(log n) nodes, and holding the tree of
// an earlier epoch costs only what differs.
//
// Operations return a new tree whose copied nodes have no hash yet; seal
// computes those. A sealed tree may be read by several goroutines.
type ratchetTree struct {
	root  *subtree
	depth int // 2^depth leaves
}

// subtree is a node with all that is below it.
type subtree struct {
	left, right *subtree    // nil at level 0
	leaf        *LeafNode   // level 0; nil if blank
	parent      *parentNode // above; nil if blank
	leaves      int         // non-blank leaves below
	hash        []byte      // tree hash; nil until sealed
}

// parentNode is an inner node (section 7.1):
//
//	struct {
//	    HPKEPublicKey encryption_key;
//	    opaque parent_hash<V>;
//	    uint32 unmerged_leaves<V>;  /* ascending */
//	} ParentNode;
type parentNode struct {
	key        []byte
	parentHash []byte
	unmerged   []LeafIndex
}

func (p *parentNode) read(r *reader) {
	p.key = r.Opaque()
	p.parentHash = r.Opaque()
	r.List(r.lim.Leaves, func() {
		l := LeafIndex(r.U32())
		if n := len(p.unmerged); n > 0 && l <= p.unmerged[n-1] && r.Err() == nil {
			r.Fail(ErrNonCanonical, "unmerged leaf %d after %d", l, p.unmerged[n-1])
		}
		p.unmerged = append(p.unmerged, l)
	})
}

func (p *parentNode) append(b []byte) []byte {
	b = appendOpaque(appendOpaque(b, p.key), p.parentHash)
	b = appendVarint(b, 4*len(p.unmerged))
	for _, l := range p.unmerged {
		b = appendU32(b, uint32(l))
	}
	return b
}

func blankSubtree(level int) *subtree {
	if level == 0 {
		return &subtree{}
	}
	return &subtree{left: blankSubtree(level - 1), right: blankSubtree(level - 1)}
}

func newTree(leaf *LeafNode) ratchetTree {
	t := ratchetTree{root: &subtree{leaf: leaf, leaves: 1}}
	t.seal()
	return t
}

// width is the number of leaves, blank ones included.
func (t ratchetTree) width() uint32 { return 1 << t.depth }

func (t ratchetTree) leaf(i LeafIndex) *LeafNode {
	if uint32(i) >= t.width() {
		return nil
	}
	n := t.root
	for k := t.depth - 1; k >= 0; k-- {
		n = n.child(uint32(i) >> k & 1)
	}
	return n.leaf
}

func (n *subtree) child(side uint32) *subtree {
	if side == 0 {
		return n.left
	}
	return n.right
}

// path returns the subtrees from the root (first) to leaf i (last).
func (t ratchetTree) path(i LeafIndex) []*subtree {
	out := make([]*subtree, 0, t.depth+1)
	n := t.root
	out = append(out, n)
	for k := t.depth - 1; k >= 0; k-- {
		n = n.child(uint32(i) >> k & 1)
		out = append(out, n)
	}
	return out
}

// edit replaces leaf i and lets onParent replace the nodes above it, called
// with each one's level and present value.
func (t ratchetTree) edit(i LeafIndex, leaf *LeafNode, onParent func(level int, p *parentNode) *parentNode) ratchetTree {
	var walk func(n *subtree, level int) *subtree
	walk = func(n *subtree, level int) *subtree {
		if level == 0 {
			c := &subtree{leaf: leaf}
			if leaf != nil {
				c.leaves = 1
			}
			return c
		}
		c := &subtree{left: n.left, right: n.right}
		if uint32(i)>>(level-1)&1 == 0 {
			c.left = walk(n.left, level-1)
		} else {
			c.right = walk(n.right, level-1)
		}
		c.leaves = c.left.leaves + c.right.leaves
		c.parent = onParent(level, n.parent)
		return c
	}
	return ratchetTree{walk(t.root, t.depth), t.depth}
}

func blankParent(int, *parentNode) *parentNode { return nil }

// update puts a new leaf at i and blanks the path above (section 12.1.2).
func (t ratchetTree) update(i LeafIndex, leaf *LeafNode) ratchetTree {
	return t.edit(i, leaf, blankParent)
}

// remove blanks leaf i and the path above, and drops right halves that have
// become blank (section 7.7).
func (t ratchetTree) remove(i LeafIndex) ratchetTree {
	t = t.edit(i, nil, blankParent)
	for t.depth > 0 && t.root.right.leaves == 0 {
		t = ratchetTree{t.root.left, t.depth - 1}
	}
	return t
}

// add puts the leaf at the leftmost blank place, extending the tree where
// there is none, and notes it as unmerged above (section 12.1.1).
func (t ratchetTree) add(leaf *LeafNode) (ratchetTree, LeafIndex) {
	i := t.nextLeaf()
	if uint32(i) == t.width() {
		// The root of the wider tree is blank.
		t = ratchetTree{&subtree{left: t.root, right: blankSubtree(t.depth), leaves: t.root.leaves}, t.depth + 1}
	}
	return t.edit(i, leaf, func(_ int, p *parentNode) *parentNode {
		if p == nil {
			return nil
		}
		at, _ := slices.BinarySearch(p.unmerged, i)
		c := *p
		c.unmerged = slices.Insert(slices.Clone(p.unmerged), at, i)
		return &c
	}), i
}

// nextLeaf is where the next add goes: the leftmost blank leaf, or the width.
func (t ratchetTree) nextLeaf() LeafIndex {
	if t.root.leaves == int(t.width()) {
		return LeafIndex(t.width())
	}
	n, i := t.root, uint32(0)
	for k := t.depth - 1; k >= 0; k-- {
		i <<= 1
		if n.left.leaves == 1<<k {
			n, i = n.right, i|1
		} else {
			n = n.left
		}
	}
	return LeafIndex(i)
}

// members calls yield with every non-blank leaf, in order.
func (t ratchetTree) members(yield func(LeafIndex, *LeafNode) bool) {
	t.root.members(t.depth, 0, yield)
}

func (n *subtree) members(level int, pos uint32, yield func(LeafIndex, *LeafNode) bool) bool {
	switch {
	case n.leaves == 0:
		return true
	case level == 0:
		return yield(LeafIndex(pos), n.leaf)
	}
	return n.left.members(level-1, 2*pos, yield) && n.right.members(level-1, 2*pos+1, yield)
}

// resolved is an element of a resolution: a node that holds a key.
type resolved struct {
	index nodeIndex
	key   []byte
}

// resolution of the subtree at (level, pos): the smallest set of non-blank
// nodes that covers its members (section 4.1.1).
func (n *subtree) resolution(level int, pos uint32, out []resolved) []resolved {
	switch {
	case n.leaves == 0:
		// An inner node without members below is blank: importing verifies it.
		return out
	case level == 0:
		return append(out, resolved{nodeAt(0, pos), n.leaf.EncryptionKey})
	case n.parent != nil:
		out = append(out, resolved{nodeAt(level, pos), n.parent.key})
		for _, l := range n.parent.unmerged {
			out = append(out, resolved{l.node(), n.leafBelow(level, l).EncryptionKey})
		}
		return out
	}
	out = n.left.resolution(level-1, 2*pos, out)
	return n.right.resolution(level-1, 2*pos+1, out)
}

// leafBelow finds leaf l in the subtree of the given level that contains it.
func (n *subtree) leafBelow(level int, l LeafIndex) *LeafNode {
	for k := level - 1; k >= 0; k-- {
		n = n.child(uint32(l) >> k & 1)
	}
	return n.leaf
}

// pathStep is one node of a filtered direct path (section 4.1.2): a node above
// a leaf whose other child, the copath node, has members.
type pathStep struct {
	level  int
	index  nodeIndex
	copath *subtree
	// copathPos is the copath node's position at level-1.
	copathPos uint32
}

// filteredPath returns leaf i's filtered direct path, lowest node first.
func (t ratchetTree) filteredPath(i LeafIndex) []pathStep {
	var out []pathStep
	nodes := t.path(i)
	for level := 1; level <= t.depth; level++ {
		n := nodes[t.depth-level]
		pos := uint32(i) >> (level - 1)
		sib := n.child(pos&1 ^ 1)
		if sib.leaves > 0 {
			out = append(out, pathStep{level, nodeAt(level, uint32(i)>>level), sib, pos ^ 1})
		}
	}
	return out
}

// pathParents makes the parent nodes of a new path: keys[k] for the k-th step
// of the filtered path, with parent hashes set from the root
// down (section 7.9). It returns the new parent nodes by level and the parent
// hash that the leaf must carry. The steps must come from a sealed tree: the
// sibling subtrees' hashes go in.
func pathParents(steps []pathStep, keys [][]byte) (parents map[int]*parentNode, leafHash []byte) {
	parents = make(map[int]*parentNode, len(steps))
	leafHash = []byte{}
	for k := len(steps) - 1; k >= 0; k-- {
		p := &parentNode{key: keys[k], parentHash: leafHash}
		parents[steps[k].level] = p
		leafHash = p.hashFor(steps[k].copath.hash)
	}
	return parents, leafHash
}

// hashFor is the parent hash that the node's child on the path carries:
// Hash({encryption_key<V>; parent_hash<V>; original_sibling_tree_hash<V>}).
func (p *parentNode) hashFor(siblingHash []byte) []byte {
	b := appendOpaque(make([]byte, 0, 144), p.key)
	b = appendOpaque(b, p.parentHash)
	return hash(appendOpaque(b, siblingHash))
}

// withPath replaces leaf i and its direct path: parents by level, else blank.
func (t ratchetTree) withPath(i LeafIndex, leaf *LeafNode, parents map[int]*parentNode) ratchetTree {
	return t.edit(i, leaf, func(level int, _ *parentNode) *parentNode { return parents[level] })
}

// seal computes the tree hashes that edits left open (section 7.8).
func (t ratchetTree) seal() { t.root.seal(t.depth, 0) }

func (n *subtree) seal(level int, pos uint32) {
	if n.hash != nil {
		return
	}
	if level > 0 {
		n.left.seal(level-1, 2*pos)
		n.right.seal(level-1, 2*pos+1)
		n.hash = parentTreeHash(n.parent, n.left.hash, n.right.hash)
		return
	}
	n.hash = leafTreeHash(LeafIndex(pos), n.leaf)
}

// leafTreeHash hashes {uint8 1; uint32 leaf_index; optional<LeafNode>}.
func leafTreeHash(i LeafIndex, leaf *LeafNode) []byte {
	if leaf == nil {
		var b [6]byte
		return hash(append(appendU32(append(b[:0], 1), uint32(i)), 0))
	}
	b := appendU32(append(make([]byte, 0, 512), 1), uint32(i))
	return hash(leaf.append(append(b, 1)))
}

// parentTreeHash hashes {uint8 2; optional<ParentNode>; opaque left_hash<V>;
// opaque right_hash<V>}.
func parentTreeHash(p *parentNode, left, right []byte) []byte {
	b := appendOptional(append(make([]byte, 0, 160), 2), p != nil)
	if p != nil {
		b = p.append(b)
	}
	return hash(appendOpaque(appendOpaque(b, left), right))
}

// nodeChange is a node that differs between two trees.
type nodeChange struct {
	index      nodeIndex
	old, new   *LeafNode
	oldP, newP *parentNode
}

func (c *nodeChange) oldKey() []byte { return nodeKey(c.old, c.oldP) }
func (c *nodeChange) newKey() []byte { return nodeKey(c.new, c.newP) }

func nodeKey(l *LeafNode, p *parentNode) []byte {
	switch {
	case l != nil:
		return l.EncryptionKey
	case p != nil:
		return p.key
	}
	return nil
}

// diff lists the nodes that differ from old to t: O(changed · log n), since
// shared subtrees are skipped. A node that only one of the trees has counts as
// blank in the other.
func (t ratchetTree) diff(old ratchetTree) []nodeChange {
	var out []nodeChange
	var walk func(o, n *subtree, level int, pos uint32)
	walk = func(o, n *subtree, level int, pos uint32) {
		if o == n {
			return
		}
		c := nodeChange{index: nodeAt(level, pos)}
		var ol, or, nl, nr *subtree
		if o != nil {
			c.old, c.oldP, ol, or = o.leaf, o.parent, o.left, o.right
		}
		if n != nil {
			c.new, c.newP, nl, nr = n.leaf, n.parent, n.left, n.right
		}
		if c.old != c.new || c.oldP != c.newP {
			out = append(out, c)
		}
		if level > 0 {
			walk(ol, nl, level-1, 2*pos)
			walk(or, nr, level-1, 2*pos+1)
		}
	}
	// Bring both to one depth: the narrower tree is the leftmost subtree of the
	// wider one, under blank nodes.
	o, n := old.root, t.root
	for d := old.depth; d < t.depth; d++ {
		o = &subtree{left: o}
	}
	for d := t.depth; d < old.depth; d++ {
		n = &subtree{left: n}
	}
	walk(o, n, max(t.depth, old.depth), 0)
	return out
}

func readTree(r *reader) ratchetTree {
	type node struct {
		leaf   *LeafNode
		parent *parentNode
	}
	var nodes []node
	r.List(2*r.lim.Leaves-1, func() {
		var n node
		if r.Optional() {
			switch kind := r.U8(); {
			case kind == 1 && len(nodes)%2 == 0:
				n.leaf = new(LeafNode)
				n.leaf.read(r)
			case kind == 2 && len(nodes)%2 == 1:
				n.parent = new(parentNode)
				n.parent.read(r)
			default:
				r.Fail(ErrMalformed, "node type %d at position %d", kind, len(nodes))
			}
		}
		nodes = append(nodes, n)
	})
	if r.Err() != nil {
		return ratchetTree{}
	}
	if n := len(nodes); n == 0 || nodes[n-1] == (node{}) {
		r.Fail(ErrNonCanonical, "ratchet tree that is empty or ends in a blank node")
		return ratchetTree{}
	}
	depth := 0
	for 2<<depth-1 < len(nodes) {
		depth++
	}
	if 1<<depth > r.lim.Leaves {
		r.Fail(ErrTooLarge, "ratchet tree of %d leaves", 1<<depth)
		return ratchetTree{}
	}
	var build func(level int, pos uint32) *subtree
	build = func(level int, pos uint32) *subtree {
		var n node
		if i := int(nodeAt(level, pos)); i < len(nodes) {
			n = nodes[i]
		}
		s := &subtree{leaf: n.leaf, parent: n.parent}
		if level > 0 {
			s.left, s.right = build(level-1, 2*pos), build(level-1, 2*pos+1)
			s.leaves = s.left.leaves + s.right.leaves
			if s.leaves == 0 && s.parent != nil {
				r.Fail(ErrMalformed, "parent node %d without members below", nodeAt(level, pos))
			}
		} else if n.leaf != nil {
			s.leaves = 1
		}
		return s
	}
	out := ratchetTree{build(depth, 0), depth}
	if r.Err() == nil && depth > 0 && out.root.right.leaves == 0 {
		// The last node listed is the root: the tree should be narrower.
		r.Fail(ErrMalformed, "ratchet tree with an empty right half")
	}
	if r.Err() != nil {
		return ratchetTree{}
	}
	return out
}

// append writes the ratchet_tree extension: optional<Node> ratchet_tree<V>,
// {NodeType leaf(1)|parent(2); Node}, ending in the last non-blank node.
func (t ratchetTree) append(b []byte) []byte {
	if t.root == nil {
		return appendOpaque(b, nil) // the zero RatchetTree: a tree without nodes
	}
	last := t.last()
	return appendList(b, func(b []byte) []byte {
		var walk func(n *subtree, level int, pos uint32)
		walk = func(n *subtree, level int, pos uint32) {
			if level > 0 {
				walk(n.left, level-1, 2*pos)
			}
			if nodeAt(level, pos) > last {
				return
			}
			switch {
			case n.leaf != nil:
				b = n.leaf.append(append(b, 1, 1))
			case n.parent != nil:
				b = n.parent.append(append(b, 1, 2))
			default:
				b = append(b, 0)
			}
			if level > 0 {
				walk(n.right, level-1, 2*pos+1)
			}
		}
		walk(t.root, t.depth, 0)
		return b
	})
}

// last is the index of the last non-blank node: a leaf, or a node above the last
// leaf whose right half is blank.
func (t ratchetTree) last() nodeIndex {
	n, pos, last := t.root, uint32(0), nodeIndex(0)
	for level := t.depth; ; level-- {
		if at := nodeAt(level, pos); (n.leaf != nil || n.parent != nil) && at > last {
			last = at
		}
		switch {
		case level == 0:
			return last
		case n.right.leaves > 0:
			n, pos = n.right, 2*pos+1
		default:
			n, pos = n.left, 2*pos
		}
	}
}

// RatchetTree is a tree as received: decoded, hashed, not yet verified.
type RatchetTree struct{ t ratchetTree }

// ParseRatchetTree reads the data of a ratchet_tree extension.
func ParseRatchetTree(b []byte, lim Limits) (*RatchetTree, error) {
	out := new(RatchetTree)
	err := parse(b, lim, "ratchet tree", func(r *reader) { out.t = readTree(r) })
	if err != nil {
		return nil, err
	}
	out.t.seal()
	return out, nil
}

// Bytes encodes the tree as the data of a ratchet_tree extension.
func (t *RatchetTree) Bytes() []byte { return t.t.append(nil) }

// Hash returns the tree hash, 32 bytes.
func (t *RatchetTree) Hash() []byte { return bytes.Clone(t.t.root.hash) }

func (t *RatchetTree) String() string {
	return fmt.Sprintf("ratchet tree of %d members", t.t.root.leaves)
}
