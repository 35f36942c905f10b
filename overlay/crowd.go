package overlay

import (
	"bytes"
	"context"
	"slices"

	kb "github.com/libp2p/go-libp2p-kbucket"
)

// A Region is what a walk has found around a key that is announced here.
type Region struct {
	// Nodes that answered lie as near to the key as Expected are by the size of the network, see believedSize.
	Nodes    int
	Expected float64
	// All says that the network is so small that the region is all of it: then nothing can be said.
	All bool
}

// crowdedBy is how many times as many nodes as expected are a sign that somebody has made some for the
// key. The size of a network is estimated from 20 nodes and more, and off by a quarter as a rule; twice as many come
// by chance at one key of thousands.
const crowdedBy = 2

// Crowded says that more nodes are around the key than come by chance: who wants to hide what is
// announced, or see who looks for it, puts nodes there. Who makes fewer than
// come by chance is not seen.
func (r Region) Crowded() bool { return !r.All && float64(r.Nodes) > crowdedBy*r.Expected }

// Regions looks around at most so many of the announced keys, those that follow after a given place,
// so that who picks the place anew each time comes to see all. Keys are not named: they are secret. Errors:
// ErrNotRunning, the context's.
func (o *Overlay) Regions(ctx context.Context, from [32]byte, most int) ([]Region, error) {
	n := o.net.Load()
	if n == nil {
		return nil, ErrNotRunning
	}
	var out []Region
	for _, key := range n.announcer.after(from, most) {
		target := string(announceHash(key))
		w := n.newWalk(kb.ConvertKey(target), 0)
		n.walkToward(ctx, w, target)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		out = append(out, w.region())
	}
	return out, nil
}

// after returns announced keys in their order, from a place on and around the end.
func (a *announcer) after(from [32]byte, most int) [][32]byte {
	a.mu.Lock()
	all := make([][32]byte, 0, len(a.keys))
	for k := range a.keys {
		all = append(all, k)
	}
	a.mu.Unlock()
	slices.SortFunc(all, func(x, y [32]byte) int { return bytes.Compare(x[:], y[:]) })
	i, _ := slices.BinarySearchFunc(all, from, func(x, y [32]byte) int { return bytes.Compare(x[:], y[:]) })
	all = append(all[i:len(all):len(all)], all[:i]...)
	return all[:min(most, len(all))]
}

// region says, at the end of the walk, how full the key's region is.
func (w *walk) region() (r Region) {
	r.Expected, r.All = regionNodes, w.radius >= 1
	for _, h := range w.nodes {
		if h.answered && share(h.far) < w.radius {
			r.Nodes++
		}
	}
	return r
}
