package mls

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// naiveTree is a ratchet tree as RFC 9420 draws it: an array, copied and hashed
// whole. It is the oracle for the linked one.
type naiveTree struct {
	leaves  []*LeafNode
	parents map[nodeIndex]*parentNode
}

func (n *naiveTree) depth() int {
	d := 0
	for 1<<d < len(n.leaves) {
		d++
	}
	return d
}

func (n *naiveTree) leaf(i int) *LeafNode {
	if i < len(n.leaves) {
		return n.leaves[i]
	}
	return nil
}

func (n *naiveTree) blankAbove(i int) {
	for at := LeafIndex(i).node(); at != rootOf(n.depth()); {
		at = at.parent()
		delete(n.parents, at)
	}
}

func (n *naiveTree) add(l *LeafNode) int {
	i := slices.Index(n.leaves, nil)
	if i < 0 {
		i = len(n.leaves)
		n.leaves = append(n.leaves, l)
	} else {
		n.leaves[i] = l
	}
	for at := LeafIndex(i).node(); at != rootOf(n.depth()); {
		at = at.parent()
		if p := n.parents[at]; p != nil {
			c := *p
			c.unmerged = append(slices.Clone(p.unmerged), LeafIndex(i))
			slices.Sort(c.unmerged)
			n.parents[at] = &c
		}
	}
	return i
}

func (n *naiveTree) remove(i int) {
	n.blankAbove(i)
	n.leaves[i] = nil
	for len(n.leaves) > 0 && n.leaves[len(n.leaves)-1] == nil {
		n.leaves = n.leaves[:len(n.leaves)-1]
	}
	for at := range n.parents {
		if at > rootOf(n.depth()) && at.level() >= n.depth() {
			delete(n.parents, at)
		}
	}
}

func (n *naiveTree) hash(at nodeIndex) []byte {
	if at.isLeaf() {
		return leafTreeHash(LeafIndex(at/2), n.leaf(int(at/2)))
	}
	return parentTreeHash(n.parents[at], n.hash(at.left()), n.hash(at.right()))
}

func (n *naiveTree) resolution(at nodeIndex) []nodeIndex {
	if at.isLeaf() {
		if n.leaf(int(at/2)) == nil {
			return nil
		}
		return []nodeIndex{at}
	}
	if p := n.parents[at]; p != nil {
		out := []nodeIndex{at}
		for _, l := range p.unmerged {
			out = append(out, l.node())
		}
		return out
	}
	return append(n.resolution(at.left()), n.resolution(at.right())...)
}

func testLeaf(i int) *LeafNode {
	return &LeafNode{EncryptionKey: fmt.Appendf(nil, "enc %d", i), SignatureKey: fmt.Appendf(nil, "sig %d", i),
		Credential: BasicCredential(nil), Source: LeafFromKeyPackage}
}

// TestTreeAgainstArray: random adds, updates, removes and paths on the linked
// tree and on the array give the same hashes and resolutions, and the earlier
// versions of the linked tree stay as they were.
func TestTreeAgainstArray(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		linked := newTree(testLeaf(0))
		naive := &naiveTree{leaves: []*LeafNode{testLeaf(0)}, parents: map[nodeIndex]*parentNode{}}
		type version struct {
			t    ratchetTree
			hash []byte
		}
		var before []version
		fresh := 1
		for range rapid.IntRange(1, 60).Draw(r, "steps") {
			before = append(before, version{linked, bytes.Clone(linked.root.hash)})
			var members []LeafIndex
			linked.members(func(i LeafIndex, _ *LeafNode) bool { members = append(members, i); return true })
			i := rapid.SampledFrom(members).Draw(r, "leaf")
			l := testLeaf(fresh)
			fresh++
			switch rapid.SampledFrom([]string{"add", "add", "update", "remove", "path", "path"}).Draw(r, "op") {
			case "add":
				var at LeafIndex
				linked, at = linked.add(l)
				if got := naive.add(l); got != int(at) {
					r.Fatalf("added at %d, array at %d", at, got)
				}
			case "update":
				linked = linked.update(i, l)
				naive.blankAbove(int(i))
				naive.leaves[i] = l
			case "remove":
				if len(members) == 1 {
					continue
				}
				linked = linked.remove(i)
				naive.remove(int(i))
			case "path":
				steps := linked.filteredPath(i)
				keys := make([][]byte, len(steps))
				for k := range keys {
					keys[k] = fmt.Appendf(nil, "path %d/%d", fresh, k)
				}
				parents, _ := pathParents(steps, keys)
				linked = linked.withPath(i, l, parents)
				naive.blankAbove(int(i))
				naive.leaves[i] = l
				for k, s := range steps {
					naive.parents[s.index] = parents[steps[k].level]
				}
			}
			linked.seal()
			root := rootOf(naive.depth())
			if linked.depth != naive.depth() {
				r.Fatalf("depth %d, array %d", linked.depth, naive.depth())
			}
			if !bytes.Equal(linked.root.hash, naive.hash(root)) {
				r.Fatalf("tree hash differs from the array's")
			}
			var got []nodeIndex
			for _, x := range linked.root.resolution(linked.depth, 0, nil) {
				got = append(got, x.index)
			}
			if want := naive.resolution(root); !slices.Equal(got, want) {
				r.Fatalf("resolution %v, array %v", got, want)
			}
			back, err := ParseRatchetTree(linked.append(nil), Limits{})
			if err != nil || !bytes.Equal(back.t.root.hash, linked.root.hash) {
				r.Fatalf("encoded tree reads back as another: %v", err)
			}
			prev := before[len(before)-1]
			patched := map[nodeIndex]*subtree{}
			prev.t.nodes(func(n nodeIndex, s *subtree) bool {
				patched[n] = &subtree{leaf: s.leaf, parent: s.parent, leaves: leafCount(s.leaf)}
				return true
			})
			for _, c := range linked.diff(prev.t) {
				patched[c.index] = &subtree{leaf: c.new, parent: c.newP, leaves: leafCount(c.new)}
			}
			p := ratchetTree{assemble(patched, linked.depth, 0), linked.depth}
			p.seal()
			if !bytes.Equal(p.root.hash, linked.root.hash) {
				r.Fatalf("the old tree with the diff applied is not the new tree")
			}
		}
		for _, v := range before {
			v.t.root.forget(v.t.depth)
			v.t.seal()
			if !bytes.Equal(v.t.root.hash, v.hash) {
				r.Fatalf("an earlier version of the tree changed")
			}
		}
	})
}

func leafCount(l *LeafNode) int {
	if l == nil {
		return 0
	}
	return 1
}

// forget drops the cached hashes.
func (n *subtree) forget(level int) {
	n.hash = nil
	if level > 0 {
		n.left.forget(level - 1)
		n.right.forget(level - 1)
	}
}

// fresh counts the nodes of t that old does not share: each is one hash.
func (t ratchetTree) fresh(old ratchetTree) int {
	known := map[*subtree]bool{}
	var mark func(n *subtree)
	mark = func(n *subtree) {
		if n != nil {
			known[n] = true
			mark(n.left)
			mark(n.right)
		}
	}
	mark(old.root)
	count := 0
	var walk func(n *subtree)
	walk = func(n *subtree) {
		if n != nil && !known[n] {
			count++
			walk(n.left)
			walk(n.right)
		}
	}
	walk(t.root)
	return count
}

// TestTreeWorkGrowsWithDepth counts hashed nodes: an update, a remove and a
// path touch depth+1 nodes each, whatever the number of members.
func TestTreeWorkGrowsWithDepth(t *testing.T) {
	for _, n := range []int{16, 128, 1024, 16384} {
		tree := newTree(testLeaf(0))
		for i := 1; i < n; i++ {
			tree, _ = tree.add(testLeaf(i))
		}
		tree.seal()
		depth := tree.depth
		if 1<<depth != n {
			t.Fatalf("%d leaves, depth %d", n, depth)
		}
		steps := tree.filteredPath(3)
		keys := make([][]byte, len(steps))
		for k := range keys {
			keys[k] = fmt.Appendf(nil, "%d", k)
		}
		parents, _ := pathParents(steps, keys)
		removed := tree.remove(5)
		readded, at := removed.add(testLeaf(n))
		if at != 5 {
			t.Fatalf("added at %d", at)
		}
		for name, next := range map[string]ratchetTree{
			"update": tree.update(3, testLeaf(n+1)), "remove": removed, "path": tree.withPath(3, testLeaf(n+1), parents),
		} {
			if got := next.fresh(tree); got != depth+1 {
				t.Errorf("%d members: %s hashes %d nodes, %d expected", n, name, got, depth+1)
			}
		}
		if got := readded.fresh(removed); got != depth+1 {
			t.Errorf("%d members: add hashes %d nodes, %d expected", n, got, depth+1)
		}
		if got := len(tree.withPath(3, testLeaf(n+1), parents).diff(tree)); got != depth+1 {
			t.Errorf("%d members: diff of a path lists %d nodes, %d expected", n, got, depth+1)
		}
	}
}
