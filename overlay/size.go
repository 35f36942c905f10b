package overlay

import (
	"bytes"
	"slices"
	"strings"
	"sync"

	kb "github.com/libp2p/go-libp2p-kbucket"
	"github.com/libp2p/go-libp2p/core/peer"
)

const (
	// apart is by how much two estimates of the size of the network differ by chance at most: of 20 nodes each is off
	// by a quarter as a rule.
	apart = 1.5

	sizeNodes   = 20 // nearest to a place, from which the size is estimated
	sizeSamples = 9  // places that are remembered: half an hour of refreshes
	sizeDepth   = 3  // bits that a place may not share with our id
)

// networkSize estimates how many nodes there are from how near those are that are
// nearest to a place: of n, the i-th is expected at i/(n+1).
func networkSize(place kb.ID, nearest []kb.ID) float64 {
	var up, down float64
	slices.SortFunc(nearest, func(a, b kb.ID) int { return bytes.Compare(xor(a, place), xor(b, place)) })
	for i, id := range nearest {
		k := float64(i + 1)
		up += k * k
		down += k * share(xor(id, place))
	}
	if down == 0 {
		return float64(len(nearest))
	}
	return max(up/down-1, float64(len(nearest)))
}

// believedSize is how many nodes there are, of three estimates: the first from who is near our own id, the second
// from who was met at random places, and least where nothing was met yet.
//
// Who wants to deceive the first comes near our id, which is public: twenty nodes there make the network seem as large
// as they like, and the regions of keys so small that nobody but those made for a key is in one. The median of the others is
// deceived only by who is at half of the places, which nobody can foresee. It is not taken alone: who answers
// some of our lookups could make nodes for a place while it is looked for. So the first counts as long as it is not
// much greater; what is smaller makes a region larger and a walk longer, and no walk asks more than walkAsked.
func believedSize(own float64, random []float64, least float64) float64 {
	if len(random) > 0 {
		random = slices.Sorted(slices.Values(random))
		least = random[(len(random)-1)/2]
	}
	if own > apart*least {
		return least
	}
	return own
}

// tableSize estimates how many nodes there are from how many a routing table has in each bucket: in the first that
// is not full are all that there are. Whoever makes nodes at each distance from us fills some more of them, and
// a table that is not yet known well seems small. So it counts only until the table was refreshed.
func tableSize(inBucket func(cpl uint) int) float64 {
	for cpl := range uint(32) {
		if n := inBucket(cpl); n < sizeNodes {
			return float64(n) * float64(uint64(2)<<cpl)
		}
	}
	return 1 << 32
}

// regionRadius is how far around a key its region reaches.
func regionRadius(nodes float64) float64 { return min(1, regionNodes/(nodes+1)) }

// sizes notes how many nodes there seem to be at random places. It asks nobody: libp2p's refresh of the routing table looks
// for such places anyway, one after the other, every ten minutes. Of each the nearest who have answered are counted.
// Those that are near our own id do not count: who is around it would be met there again. It is safe for concurrent use.
type sizes struct {
	self kb.ID

	mu      sync.Mutex
	key     string    // guarded by mu, what is looked for now
	near    []kb.ID   // guarded by mu, that have answered, the nearest to it first; at most sizeNodes
	samples []float64 // guarded by mu, the newest last; at most sizeSamples
}

// refreshed says whether a key is one that libp2p's refresh looks for: a node's id that is no hash, but four
// octets that hash to a place in a bucket. Others, of records and of nodes, can be chosen by whoever we look for.
func refreshed(key string) bool {
	const head, octets = "\x12\x20", 2 + 32 // of a multihash, SHA-256
	return len(key) == octets && strings.HasPrefix(key, head) && strings.Trim(key[len(head)+4:], "\x00") == ""
}

// asked notes that a node is asked who is near a key.
func (s *sizes) asked(key string) {
	if !refreshed(key) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if key == s.key {
		return
	}
	if len(s.near) > 0 { // what was looked for before was found
		place := kb.ConvertKey(s.key)
		if kb.CommonPrefixLen(place, s.self) < sizeDepth {
			s.samples = append(s.samples, networkSize(place, s.near))
			s.samples = s.samples[max(0, len(s.samples)-sizeSamples):]
		}
	}
	s.key, s.near = key, nil
}

// answered notes that a node has answered who is near a key.
func (s *sizes) answered(key string, from peer.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if key != s.key || key == "" {
		return
	}
	place, id := kb.ConvertKey(key), kb.ConvertPeerID(from)
	far := func(a, b kb.ID) int { return bytes.Compare(xor(a, place), xor(b, place)) }
	i, known := slices.BinarySearchFunc(s.near, id, far)
	if known || i >= sizeNodes {
		return
	}
	s.near = slices.Insert(s.near, i, id)
	s.near = s.near[:min(len(s.near), sizeNodes)]
}

// known returns what was estimated at random places.
func (s *sizes) known() []float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.samples)
}

// networkSize is how many nodes there are, for all that this node knows.
func (n *running) networkSize() float64 {
	table := n.dht.RoutingTable()
	self := kb.ConvertPeerID(n.host.ID())
	var near []kb.ID
	for _, p := range table.NearestPeers(self, sizeNodes) {
		near = append(near, kb.ConvertPeerID(p))
	}
	return believedSize(max(networkSize(self, near), float64(table.Size())), n.sizes.known(), tableSize(table.NPeersForCpl))
}
