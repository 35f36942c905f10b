package mls

import "maps"

// AllParts returns every part of a group, whatever was stored before.
func AllParts(g *Group) []Part {
	g.pub.saved = savedState{}
	return g.Unsaved()
}

// PublicParts does the same for a PublicGroup.
func PublicParts(g *PublicGroup) []Part {
	g.saved = savedState{}
	return g.Unsaved()
}

// Snapshot returns a function that takes the group back to where it is now, by
// undoing what one applied commit did.
func Snapshot(g *PublicGroup) (undo func()) {
	old := *g
	return func() {
		changes := old.tree.diff(g.tree)
		g.keys.apply(changes)
		for _, n := range changes {
			g.support.count(n.old, -1)
			g.support.count(n.new, 1)
		}
		keys, support := g.keys, g.support
		*g = old
		g.keys, g.support = keys, support
		g.saved.dirty = maps.Clone(g.saved.dirty)
	}
}

// MemberFrom returns the state of another member of g's epoch, who joined with
// kp, from g's own state: what JoinWelcome would give, without verifying the
// whole tree again.
func MemberFrom(g *Group, kp *PrivateKeyPackage) *Group {
	at, ok := g.pub.find(&kp.kp.Leaf)
	if !ok {
		panic("mls: no such member")
	}
	pub := *g.pub
	pub.keys = maps.Clone(pub.keys)
	pub.support = newSupport()
	pub.tree.members(func(_ LeafIndex, l *LeafNode) bool { pub.support.count(l, 1); return true })
	pub.byRef, pub.pending, pub.saved = map[string]*UsedProposal{}, nil, savedState{}
	e := *g.epoch
	e.each(func(s *secret) { *s = s.clone() })
	e.encryption = g.keys.seeds[rootOf(g.keys.depth)].clone()
	return newMember(&pub, at, kp.signer, map[nodeIndex]hpkeKey{at.node(): kp.leaf}, &e)
}
