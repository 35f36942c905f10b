package mls

// AllParts returns every part of a group, whatever was stored before.
func AllParts(g *Group) []Part {
	g.pub.saved = savedState{}
	return g.Unsaved()
}
