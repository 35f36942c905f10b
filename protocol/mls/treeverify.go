package mls

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Checks of a whole ratchet tree, made once by who joins or starts to follow a
// group (RFC 9420 section 12.4.3.1). Afterwards every change is verified by
// itself. All of them are linear in the size of the tree, but for a factor
// log(n) that only trees with many unmerged leaves pay.

// verifyTree checks unmerged leaves, parent hashes, keys and every leaf, the
// leaves on all cores. It returns the keys in use.
func verifyTree(t ratchetTree, ctx *GroupContext, cfg *Config, now time.Time) (keySet, error) {
	if err := t.verifyUnmerged(); err != nil {
		return nil, err
	}
	if err := t.verifyParentHashes(); err != nil {
		return nil, err
	}
	keys := make(keySet, 3*t.root.leaves)
	var err error
	t.nodes(func(i nodeIndex, n *subtree) bool {
		if err = keys.addNode(n.leaf, n.parent); err == nil && n.parent != nil {
			err = ctx.Suite.checkHPKEKey(n.parent.key)
		}
		return err == nil
	})
	if err != nil {
		return nil, err
	}
	if err := verifyLeaves(t, ctx, cfg, now); err != nil {
		return nil, err
	}
	return keys, nil
}

// nodes calls yield with every non-blank node.
func (t ratchetTree) nodes(yield func(nodeIndex, *subtree) bool) {
	var walk func(n *subtree, level int, pos uint32) bool
	walk = func(n *subtree, level int, pos uint32) bool {
		if (n.leaf != nil || n.parent != nil) && !yield(nodeAt(level, pos), n) {
			return false
		}
		return level == 0 || (walk(n.left, level-1, 2*pos) && walk(n.right, level-1, 2*pos+1))
	}
	walk(t.root, t.depth, 0)
}

// verifyLeaves checks every member's leaf.
func verifyLeaves(t ratchetTree, ctx *GroupContext, cfg *Config, now time.Time) error {
	type member struct {
		i LeafIndex
		l *LeafNode
	}
	all := make([]member, 0, t.root.leaves)
	t.members(func(i LeafIndex, l *LeafNode) bool { all = append(all, member{i, l}); return true })
	return onAllCores(len(all), func(k int) error {
		m := all[k]
		if err := m.l.verify(ctx.Suite, ctx.GroupID, m.i, cfg.Authenticator, now); err != nil {
			return fmt.Errorf("leaf %d: %w", m.i, err)
		}
		return nil
	})
}

// verifyUnmerged: every unmerged leaf of a node is a member below it, and
// unmerged at every non-blank node in between.
func (t ratchetTree) verifyUnmerged() error {
	var err error
	t.nodes(func(at nodeIndex, n *subtree) bool {
		if n.parent == nil {
			return true
		}
		level, pos := at.level(), at.position()
		for _, l := range n.parent.unmerged {
			if uint32(l)>>level != pos {
				err = fmt.Errorf("node %d lists unmerged leaf %d, which is not below it: %w", at, l, ErrBadTree)
				return false
			}
			c := n
			for k := level - 1; k >= 0; k-- {
				c = c.child(uint32(l) >> k & 1)
				if c.parent != nil {
					if _, ok := slices.BinarySearch(c.parent.unmerged, l); !ok {
						err = fmt.Errorf("leaf %d unmerged at node %d but not below: %w", l, at, ErrBadTree)
						return false
					}
				}
			}
			if c.leaf == nil {
				err = fmt.Errorf("node %d lists blank leaf %d as unmerged: %w", at, l, ErrBadTree)
				return false
			}
		}
		return true
	})
	return err
}

// verifyParentHashes: every non-blank parent P was set by one path, so one of
// its children's subtrees holds the node D below it that carries its parent
// hash (section 7.9.2). D is what remains of that child's resolution when P's
// unmerged leaves are taken out; there must be exactly one such node.
func (t ratchetTree) verifyParentHashes() error {
	var err error
	t.nodes(func(at nodeIndex, n *subtree) bool {
		if n.parent == nil {
			return true
		}
		level, pos := at.level(), at.position()
		if n.hashValid(level, pos, 0) || n.hashValid(level, pos, 1) {
			return true
		}
		err = fmt.Errorf("parent hash of node %d: %w", at, ErrBadTree)
		return false
	})
	return err
}

func (n *subtree) hashValid(level int, pos uint32, side uint32) bool {
	child, sibling := n.child(side), n.child(side^1)
	d, ok := child.soleHolder(level-1, 2*pos+side, n.parent.unmerged)
	if !ok {
		return false
	}
	return bytes.Equal(d, n.parent.hashFor(sibling.originalHash(level-1, 2*pos+side^1, n.parent.unmerged)))
}

// soleHolder returns the parent hash carried by the one node of the subtree's
// resolution that is not in unmerged, if there is exactly one and every
// unmerged leaf of the subtree is in the resolution.
func (n *subtree) soleHolder(level int, pos uint32, unmerged []LeafIndex) (parentHash []byte, ok bool) {
	todo := len(within(unmerged, level, pos))
	found := false
	// take counts one element of the resolution; false stops the walk.
	take := func(isUnmerged bool, hash []byte) bool {
		if isUnmerged {
			todo--
			return true
		}
		again := found
		parentHash, found = hash, true
		return !again
	}
	var walk func(n *subtree, level int, pos uint32) bool
	walk = func(n *subtree, level int, pos uint32) bool {
		switch {
		case n.parent != nil:
			if !take(false, n.parent.parentHash) {
				return false
			}
			for _, l := range n.parent.unmerged {
				if _, in := slices.BinarySearch(unmerged, l); !take(in, nil) {
					return false
				}
			}
			return true
		case n.leaves == 0:
			return true
		case level == 0:
			_, in := slices.BinarySearch(unmerged, LeafIndex(pos))
			var h []byte
			if n.leaf.Source == LeafFromCommit {
				h = n.leaf.ParentHash
			}
			return take(in, h)
		}
		return walk(n.left, level-1, 2*pos) && walk(n.right, level-1, 2*pos+1)
	}
	ok = walk(n, level, pos) && found && todo == 0 && parentHash != nil
	return parentHash, ok
}

// within returns the part of the ascending list that lies below (level, pos).
func within(list []LeafIndex, level int, pos uint32) []LeafIndex {
	from, _ := slices.BinarySearch(list, LeafIndex(pos)<<level)
	to, _ := slices.BinarySearch(list, LeafIndex(uint64(pos+1)<<level))
	return list[from:to]
}

// originalHash is the subtree's tree hash as it was before the given leaves
// were added: they are blanked, and taken out of unmerged lists. Subtrees
// without any of them keep their cached hash.
func (n *subtree) originalHash(level int, pos uint32, without []LeafIndex) []byte {
	without = within(without, level, pos)
	if len(without) == 0 {
		return n.hash
	}
	if level == 0 {
		return leafTreeHash(LeafIndex(pos), nil)
	}
	left := n.left.originalHash(level-1, 2*pos, without)
	right := n.right.originalHash(level-1, 2*pos+1, without)
	p := n.parent
	if p != nil {
		c := *p
		c.unmerged = slices.DeleteFunc(slices.Clone(p.unmerged), func(l LeafIndex) bool {
			_, in := slices.BinarySearch(without, l)
			return in
		})
		p = &c
	}
	return parentTreeHash(p, left, right)
}

// keySet holds the public keys of a tree: encryption keys of all nodes,
// signature keys of all leaves. Each may occur once (sections 7.3 and
// 12.4.3.2).
type keySet map[string]struct{}

func encKeyID(k []byte) string { return "e" + string(k) }
func sigKeyID(k []byte) string { return "s" + string(k) }

func (s keySet) add(id string) error {
	if _, dup := s[id]; dup {
		return fmt.Errorf("key %.8x: %w", id[1:], ErrDuplicateKey)
	}
	s[id] = struct{}{}
	return nil
}

func (s keySet) addNode(l *LeafNode, p *parentNode) error {
	if p != nil {
		return s.add(encKeyID(p.key))
	}
	if l == nil {
		return nil
	}
	return errors.Join(s.add(encKeyID(l.EncryptionKey)), s.add(sigKeyID(l.SignatureKey)))
}

func (s keySet) removeNode(l *LeafNode, p *parentNode) {
	if p != nil {
		delete(s, encKeyID(p.key))
	}
	if l != nil {
		delete(s, encKeyID(l.EncryptionKey))
		delete(s, sigKeyID(l.SignatureKey))
	}
}

// checkChange says whether the keys stay unique when the tree changes so.
func (s keySet) checkChange(changes []nodeChange) error {
	gone, fresh := keySet{}, keySet{}
	for _, c := range changes {
		// Two old nodes never share a key, so adding cannot fail.
		_ = gone.addNode(c.old, c.oldP)
	}
	for _, c := range changes {
		if err := fresh.addNode(c.new, c.newP); err != nil {
			return err
		}
	}
	for id := range fresh {
		_, old := s[id]
		_, replaced := gone[id]
		if old && !replaced {
			return fmt.Errorf("key %.8x: %w", id[1:], ErrDuplicateKey)
		}
	}
	return nil
}

func (s keySet) apply(changes []nodeChange) {
	for _, c := range changes {
		s.removeNode(c.old, c.oldP)
	}
	for _, c := range changes {
		_ = s.addNode(c.new, c.newP) // checkChange found them unique
	}
}
