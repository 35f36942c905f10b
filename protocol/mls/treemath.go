package mls

// Array positions of a ratchet tree (RFC 9420 appendix C): leaf i is node 2i,
// the inner node at level k and position p is (2p+1)·2^k − 1. The tree itself
// is linked (tree.go); indices are used on the wire, in the secret tree and in
// stored parts.

// LeafIndex is a member's place among the leaves.
type LeafIndex uint32

// nodeIndex is a node's place in the array.
type nodeIndex uint32

func (l LeafIndex) node() nodeIndex { return nodeIndex(l) * 2 }

// level is 0 for a leaf: the number of trailing one bits.
func (n nodeIndex) level() int {
	k := 0
	for n&1 == 1 {
		n >>= 1
		k++
	}
	return k
}

func nodeAt(level int, pos uint32) nodeIndex {
	return nodeIndex((2*uint64(pos)+1)<<level - 1)
}

// position is the node's number within its level.
func (n nodeIndex) position() uint32 { return uint32(uint64(n) >> (n.level() + 1)) }

func (n nodeIndex) isLeaf() bool { return n&1 == 0 }

// left and right are the children of an inner node.
func (n nodeIndex) left() nodeIndex  { return n ^ 1<<(n.level()-1) }
func (n nodeIndex) right() nodeIndex { return n ^ 3<<(n.level()-1) }

func (n nodeIndex) parent() nodeIndex {
	k := n.level()
	return nodeAt(k+1, n.position()>>1)
}

// rootOf is the root of a tree of 2^depth leaves.
func rootOf(depth int) nodeIndex { return nodeAt(depth, 0) }
