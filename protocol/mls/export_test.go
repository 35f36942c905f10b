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
