package overlay

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
	"time"

	kb "github.com/libp2p/go-libp2p-kbucket"
	"github.com/libp2p/go-libp2p/core/peer"
)

// Bounds of a walk through the DHT.
const (
	walkPaths  = 4  // that share no node
	walkAtOnce = 8  // requests of one path that wait for an answer
	walkWidth  = 10 // nearest nodes of a path that are asked, wherever they are
	walkAsked  = 96 // nodes that are asked by one walk
	walkCloser = 20 // nodes that are believed of one answer
	walkStart  = 40 // nodes of the routing table to begin with

	// regionNodes is how many honest nodes are expected to be in the region of a key: those
	// that hold its records, and half as many again, because the estimate is one.
	regionNodes = 30

	// crowd is how many nodes in a region are more than come by chance: of 30 that are
	// expected, more than 45 come in one of 250 regions, and to take them for a crowd then
	// does no harm.
	crowd = 45

	// answerAnnouncers is how many announcers are believed of one answer, and
	// earlyAnnouncers, before a second node has named them, of one answer and of all.
	answerAnnouncers   = 64
	earlyOfAnswer      = 2
	earlyAnnouncers    = 16
	announcerWitnesses = 2
)

// A walk goes through the DHT towards a key, on paths that share no node: what a node
// answers is followed by its own path only, so that who lies leads one path astray. It
// does not end at the nodes that are nearest to the key, which somebody may have made for
// it by trying keys, but asks all that it hears of in the key's region: as far around the
// key as, by the size of the network, some 30 nodes are. Half of the requests go to the
// nearest nodes and half to any of the region, so that a crowd of made ones next to the
// key does not use up the walk.
//
// It is a plain value: it sends nothing and knows no time. One goroutine owns it.
type walk struct {
	self    peer.ID
	target  kb.ID
	radius  float64            // of the region, as a share of all ids
	random  func(n int) int    // a random number below n
	nodes   map[peer.ID]*heard // all that were heard of
	paths   [walkPaths]path
	asked   int
	replies int
	turn    int // of the paths

	limit   int // announcers to name
	named   int
	early   int
	votes   map[peer.ID]*announced
	ordered []*announced // of votes, as they came
}

// A path is what one path has heard, the nearest first.
type path struct {
	known   []*heard
	waiting int
	asked   int
}

type heard struct {
	info     peer.AddrInfo
	far      kb.ID // xor of its id and the target
	path     int
	hops     int // from us: 1 for who was known before, and one more than who named it
	asked    bool
	failed   bool
	answered bool
	slow     bool // it waits no longer in its path's account
}

type announced struct {
	info  peer.AddrInfo
	votes int
	named bool
}

// newWalk begins a walk. known are the nodes that are known before, the nearest first, of which it begins with walkStart.
// If all of these are in the region, we are next to the key ourselves, or near it, and know more around it than come by chance: then they may
// all have been made for it, and know nobody but each other, so that one path begins with others.
func newWalk(self peer.ID, target kb.ID, radius float64, limit int, random func(n int) int, known []peer.AddrInfo) *walk {
	w := &walk{self: self, target: target, radius: radius, limit: limit, random: random,
		nodes: make(map[peer.ID]*heard), votes: make(map[peer.ID]*announced)}
	within := func(info peer.AddrInfo) bool { return share(xor(kb.ConvertPeerID(info.ID), target)) < radius }
	start, rest := slices.Clone(known[:min(len(known), walkStart)]), known[min(len(known), walkStart):]
	paths := walkPaths
	if len(rest) > 0 && !slices.ContainsFunc(start, func(info peer.AddrInfo) bool { return !within(info) }) {
		others := slices.DeleteFunc(slices.Clone(rest), within)
		shuffle(others, random)
		if len(others) > 0 {
			paths--
		}
		for _, info := range others[:min(len(others), walkWidth)] {
			w.hear(paths, info, 1)
		}
	}
	shuffle(start, random)
	for i, info := range start {
		w.hear(i%paths, info, 1)
	}
	return w
}

func shuffle[T any](list []T, random func(n int) int) {
	for i := len(list) - 1; i > 0; i-- {
		j := random(i + 1)
		list[i], list[j] = list[j], list[i]
	}
}

// hear notes a node, which stays with the path that hears of it first.
func (w *walk) hear(p int, info peer.AddrInfo, hops int) {
	if info.ID == w.self || w.nodes[info.ID] != nil || info.ID.Validate() != nil {
		return
	}
	h := &heard{info: info, far: xor(kb.ConvertPeerID(info.ID), w.target), path: p, hops: hops}
	w.nodes[info.ID] = h
	known := w.paths[p].known
	i, _ := slices.BinarySearchFunc(known, h, func(a, b *heard) int { return bytes.Compare(a.far, b.far) })
	w.paths[p].known = slices.Insert(known, i, h)
}

// next says whom to ask now; nil if nobody.
func (w *walk) next() *heard {
	if w.asked >= walkAsked {
		return nil
	}
	for range walkPaths {
		p := w.turn
		w.turn = (w.turn + 1) % walkPaths
		if w.paths[p].waiting >= walkAtOnce {
			continue
		}
		if h := w.choose(p); h != nil {
			h.asked = true
			w.paths[p].waiting++
			w.paths[p].asked++
			w.asked++
			return h
		}
	}
	return nil
}

// choose takes the nearest and any of the region in turns.
func (w *walk) choose(p int) *heard {
	var nearest *heard
	var region []*heard
	width := 0
	for _, h := range w.paths[p].known {
		if h.failed {
			continue
		}
		width++
		within := share(h.far) < w.radius
		if h.asked {
			continue
		}
		if nearest == nil && (within || width <= walkWidth) {
			nearest = h
		}
		if within {
			region = append(region, h)
		}
	}
	if len(region) > 0 && w.paths[p].asked%2 == 1 {
		return region[w.random(len(region))]
	}
	return nearest
}

// release ends a request that is waited for; answer and fail call it, and whoever finds
// that one takes long.
func (w *walk) release(h *heard) {
	if !h.slow {
		h.slow = true
		w.paths[h.path].waiting--
	}
}

// fail notes that a node did not answer.
func (w *walk) fail(h *heard) {
	w.release(h)
	h.failed = true
}

// answer notes what a node said, and returns the announcers that can be named now.
func (w *walk) answer(h *heard, announcers, closer []peer.AddrInfo) []peer.AddrInfo {
	w.release(h)
	h.answered = true
	w.replies++
	for _, info := range closer[:min(len(closer), walkCloser)] {
		w.hear(h.path, info, h.hops+1)
	}
	return w.count(announcers, 1, earlyOfAnswer)
}

// count counts a word on announcers and returns those that can be named: whom two nodes
// have named, and before that a few of each answer, so that nobody has to wait for the
// end of a walk, and yet who makes up announcers does not crowd out the true ones.
func (w *walk) count(announcers []peer.AddrInfo, votes, early int) (out []peer.AddrInfo) {
	seen := make(map[peer.ID]bool)
	for _, info := range announcers[:min(len(announcers), answerAnnouncers)] {
		if seen[info.ID] || info.ID == w.self || info.ID.Validate() != nil {
			continue
		}
		seen[info.ID] = true
		a := w.votes[info.ID]
		if a == nil {
			a = &announced{info: info}
			w.votes[info.ID] = a
			w.ordered = append(w.ordered, a)
		}
		a.votes += votes
		if len(a.info.Addrs) == 0 {
			a.info = info
		}
		first := a.votes < announcerWitnesses
		if a.named || w.named >= w.limit || first && (early == 0 || w.early >= earlyAnnouncers) {
			continue
		}
		if first {
			early--
			w.early++
		}
		a.named = true
		w.named++
		out = append(out, a.info)
	}
	return out
}

// rest returns, at the end of the walk, the announcers that were not named, up to the
// limit: those of most nodes first.
func (w *walk) rest() (out []peer.AddrInfo) {
	left := slices.DeleteFunc(slices.Clone(w.ordered), func(a *announced) bool { return a.named })
	slices.SortStableFunc(left, func(a, b *announced) int { return cmp.Compare(b.votes, a.votes) })
	for _, a := range left[:min(len(left), w.limit-w.named)] {
		a.named = true
		w.named++
		out = append(out, a.info)
	}
	return out
}

// holders returns, at the end of the walk, who is to hold what belongs to the key: the
// nearest of those that answered. If more than crowd of them are in the region, somebody may
// have made nodes for this key, to be the nearest: then they are drawn from the region.
func (w *walk) holders(count int) (out []peer.ID) {
	var answered []*heard
	for _, h := range w.nodes {
		if h.answered {
			answered = append(answered, h)
		}
	}
	slices.SortFunc(answered, func(a, b *heard) int { return bytes.Compare(a.far, b.far) })
	within := 0
	for within < len(answered) && share(answered[within].far) < w.radius {
		within++
	}
	if within > crowd {
		region := answered[:within]
		shuffle(region, w.random)
		answered = region[:min(count, within)]
		slices.SortFunc(answered, func(a, b *heard) int { return bytes.Compare(a.far, b.far) })
	}
	for _, h := range answered[:min(count, len(answered))] {
		out = append(out, h.info.ID)
	}
	return out
}

func xor(a, b kb.ID) kb.ID {
	out := make(kb.ID, min(len(a), len(b)))
	for i := range out {
		out[i] = a[i] ^ b[i]
	}
	return out
}

// share is a distance as a share of the greatest.
func share(far kb.ID) float64 {
	return float64(binary.BigEndian.Uint64(far)) / (1 << 64)
}

// Times of a walk.
const (
	askNodeWithin = 3 * time.Second        // one node
	askNodeSlow   = 700 * time.Millisecond // after which another is asked as well
	walkPatience  = time.Second            // without news, when enough have answered
	walkEnough    = 10                     // answers
)
