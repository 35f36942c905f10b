package overlay

import (
	kb "github.com/libp2p/go-libp2p-kbucket"
	"github.com/libp2p/go-libp2p/core/peer"
)

// A Walk is the walk by which Announce and Announcers go through the DHT, without a
// network: a plain value that says whom to ask, and is told what they answer. Simulations
// of networks with more nodes than one machine can run use it. One goroutine owns it.
type Walk struct {
	w *walk
}

// NewWalk begins a walk from a node towards a key. size is how many nodes it believes that there are; known those
// of its routing table, the nearest to the key first. random is a random number below n; limit bounds the announcers that are named.
func NewWalk(self PeerID, key [32]byte, size float64, known []PeerID, limit int, random func(n int) int) *Walk {
	return &Walk{newWalk(peer.ID(self), kb.ConvertKey(string(announceHash(key))), regionRadius(size), limit, random, infos(known))}
}

// NetworkSize estimates how many nodes there are from the nodes that are nearest to a place.
func NetworkSize(place [32]byte, nearest []PeerID) float64 {
	var places []kb.ID
	for _, p := range nearest {
		places = append(places, kb.ConvertPeerID(peer.ID(p)))
	}
	return networkSize(place[:], places)
}

// BelievedSize is how many nodes one believes that there are that has estimated own from those near its own id, and
// others from those near random places, one at least.
func BelievedSize(own float64, random ...float64) float64 { return believedSize(own, random, own) }

// WalkAsked is how many nodes a walk asks at most, WalkHolders how many are to hold a record.
const (
	WalkAsked   = walkAsked
	WalkHolders = announceHolders
)

// How whoever walks waits: WalkTimeout is when a node has failed, and WalkSlow when Slow is to be said of it; the walk
// ends after WalkPatience without an answer if there were WalkEnough before.
const (
	WalkTimeout  = askNodeWithin
	WalkSlow     = askNodeSlow
	WalkPatience = walkPatience
	WalkEnough   = walkEnough
)

// PlaceOfKey is where an announced key lies among the ids of nodes.
func PlaceOfKey(key [32]byte) [32]byte { return [32]byte(kb.ConvertKey(string(announceHash(key)))) }

// PlaceOfNode is where a node lies. In a Walk any text may be a node's id.
func PlaceOfNode(p PeerID) [32]byte { return [32]byte(kb.ConvertPeerID(peer.ID(p))) }

// Next says whom to ask now; false if nobody, until others have answered.
func (l *Walk) Next() (PeerID, bool) {
	h := l.w.next()
	if h == nil {
		return "", false
	}
	return PeerID(h.info.ID), true
}

// Slow notes that a node takes long, so that another is asked as well.
func (l *Walk) Slow(p PeerID) {
	if h := l.w.nodes[peer.ID(p)]; h != nil && h.asked && !h.answered && !h.failed {
		l.w.release(h)
	}
}

// Fail notes that a node did not answer.
func (l *Walk) Fail(p PeerID) {
	if h := l.w.nodes[peer.ID(p)]; h != nil && h.asked && !h.answered && !h.failed {
		l.w.fail(h)
	}
}

// Answer notes whom a node that was asked names as announcers, and as nearer to the key,
// and returns the announcers that can be named now.
func (l *Walk) Answer(p PeerID, announcers, closer []PeerID) []PeerID {
	h := l.w.nodes[peer.ID(p)]
	if h == nil || !h.asked || h.answered || h.failed {
		return nil
	}
	return texts(l.w.answer(h, infos(announcers), infos(closer)))
}

// Rest are the announcers that are named at the end.
func (l *Walk) Rest() []PeerID { return texts(l.w.rest()) }

// Holders are, at the end, the nodes that an announcement goes to.
func (l *Walk) Holders() (out []PeerID) {
	for _, id := range l.w.holders(announceHolders) {
		out = append(out, PeerID(id))
	}
	return out
}

// Walked says what was done until now; Hops is how far the given node is.
func (l *Walk) Walked(p PeerID) Walked {
	out := Walked{Asked: l.w.asked, Answered: l.w.replies}
	if h := l.w.nodes[peer.ID(p)]; h != nil {
		out.Hops = h.hops
	}
	return out
}

func infos(ids []PeerID) (out []peer.AddrInfo) {
	for _, p := range ids {
		out = append(out, peer.AddrInfo{ID: peer.ID(p)})
	}
	return out
}

func texts(infos []peer.AddrInfo) (out []PeerID) {
	for _, i := range infos {
		out = append(out, PeerID(i.ID))
	}
	return out
}
