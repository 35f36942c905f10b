package eclipse

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/mimid/mimid/overlay"
)

// bucket is how many nodes of each distance a routing table holds, and an answer names.
const bucket = 20

// A node is honest, or the attacker's. Its id is any text, which lies where its hash does.
type node struct {
	id    overlay.PeerID
	place [32]byte
	bad   bool
	holds bool // the record
}

// A network is nodes around one key. Routing tables are those of kad-dht in the long run: all of
// a distance if there are no more than 20 of them, else 20 by chance; drawn when they are first asked for.
type network struct {
	rand   *rand.Rand
	key    [32]byte // its place
	name   [32]byte // what is announced
	nodes  []node   // by place
	byID   map[overlay.PeerID]int
	tables map[int][]int
	bads   []int // the nearest to the key first
}

// newNetwork makes honest nodes, and the attacker's: as many as are share of the near nodes
// of the key, it and the honest ones together. It tries ids until they lie where the honest ones
// of these are, as whoever makes node keys can.
func newNetwork(r *rand.Rand, seed uint64, honest int, share float64, near int) *network {
	n := &network{rand: r, byID: map[overlay.PeerID]int{}, tables: map[int][]int{}}
	for i := range honest {
		n.add(fmt.Sprintf("honest %d %d", seed, i), false)
	}
	bad := int(share*float64(near) + .5)
	var edge [32]byte
	for try := 0; ; try++ {
		for i := range n.name {
			n.name[i] = byte(r.Uint32())
		}
		n.key = overlay.PlaceOfKey(n.name)
		order := slices.SortedFunc(slices.Values(n.nodes), func(a, b node) int { return n.compare(a.place, b.place) })
		edge = order[min(max(near-bad, 1), len(order))-1].place
		// To be nearer than a node that happens to lie on top of the key would take for ever.
		if far := binary.BigEndian.Uint64(edge[:]) ^ binary.BigEndian.Uint64(n.key[:]); float64(far)/(1<<64) > .5/float64(honest) || try == 100 {
			break
		}
	}
	id := binary.BigEndian.AppendUint64([]byte("sybil   "), seed)
	for try := uint64(0); bad > 0; try++ {
		id = binary.BigEndian.AppendUint64(id[:16], try)
		if n.compare(sha256.Sum256(id), edge) < 0 { // a node's place is the hash of its id
			n.add(string(id), true)
			bad--
		}
	}
	n.order()
	return n
}

// order is called when nodes were added, before anybody knows them.
func (n *network) order() {
	slices.SortFunc(n.nodes, func(a, b node) int { return bytes.Compare(a.place[:], b.place[:]) })
	n.bads = nil
	for i, x := range n.nodes {
		n.byID[x.id] = i
		if x.bad {
			n.bads = append(n.bads, i)
		}
	}
	n.sort(n.bads, n.key)
}

// honest are the nodes that are not the attacker's, by place.
func (n *network) honest() (out []int) {
	for i, x := range n.nodes {
		if !x.bad {
			out = append(out, i)
		}
	}
	return out
}

// besiege makes nodes of the attacker's that are nearer to a node than any other.
func (n *network) besiege(id overlay.PeerID, count int) {
	place := n.nodes[n.byID[id]].place
	order := slices.SortedFunc(slices.Values(n.nodes), func(a, b node) int { return nearer(a.place, b.place, place) })
	edge := order[1].place // after itself
	made := append([]byte("besieger"), id...)
	length := len(made)
	for try := uint64(0); count > 0; try++ {
		made = binary.BigEndian.AppendUint64(made[:length], try)
		if nearer(sha256.Sum256(made), edge, place) < 0 {
			n.add(string(made), true)
			count--
		}
	}
	n.order()
}

func (n *network) add(id string, bad bool) {
	n.nodes = append(n.nodes, node{id: overlay.PeerID(id), place: overlay.PlaceOfNode(overlay.PeerID(id)), bad: bad})
}

// compare says which of two places is nearer to the key.
func (n *network) compare(a, b [32]byte) int { return nearer(a, b, n.key) }

func nearer(a, b, to [32]byte) int {
	for i := range to {
		if x, y := a[i]^to[i], b[i]^to[i]; x != y {
			return int(x) - int(y)
		}
	}
	return 0
}

func (n *network) sort(nodes []int, to [32]byte) {
	slices.SortFunc(nodes, func(a, b int) int { return nearer(n.nodes[a].place, n.nodes[b].place, to) })
}

// table is what a node knows. Nodes lie sorted, so those that share so many bits are neighbours.
func (n *network) table(of int) []int {
	if t, ok := n.tables[of]; ok {
		return t
	}
	var out []int
	low, high := 0, len(n.nodes) // who shares at least depth bits
	for depth := 0; high-low > 1; depth++ {
		// Of these, who shares exactly depth bits lies on one side of who shares more.
		cut := low
		for l, h := low, high; l < h; {
			m := (l + h) / 2
			if n.nodes[m].place[depth/8]>>(7-depth%8)&1 == 0 {
				l = m + 1
			} else {
				h = m
			}
			cut = l
		}
		from, to := low, cut // the others
		if of < cut {
			from, to, high = cut, high, cut
		} else {
			low = cut
		}
		if to-from <= bucket {
			for i := from; i < to; i++ {
				out = append(out, i)
			}
			continue
		}
		drawn := map[int]bool{}
		for len(drawn) < bucket {
			if i := from + n.rand.IntN(to-from); !drawn[i] {
				drawn[i] = true
				out = append(out, i)
			}
		}
	}
	n.tables[of] = out
	return out
}

// nearest are the nodes that one knows nearest to a place.
func (n *network) nearest(of int, to [32]byte, count int) []int {
	t := slices.Clone(n.table(of))
	n.sort(t, to)
	return t[:min(count, len(t))]
}

// ask is what a node answers about the key: the announcer if it holds the record, and whom it knows
// nearest. The attacker's nodes hold nothing and name each other.
func (n *network) ask(of int) (announced bool, closer []int) {
	if n.nodes[of].bad {
		return false, n.bads[:min(bucket, len(n.bads))]
	}
	return n.nodes[of].holds, n.nearest(of, n.key, bucket)
}

// askNear is whom a node names as nearest to any place.
func (n *network) askNear(of int, place [32]byte) []int {
	if !n.nodes[of].bad {
		return n.nearest(of, place, bucket)
	}
	bads := slices.Clone(n.bads)
	n.sort(bads, place)
	return bads[:min(bucket, len(bads))]
}

// around draws a place that shares so many bits with a node.
func (n *network) around(r *rand.Rand, of, bits int) (place [32]byte) {
	for i := range place {
		place[i] = byte(r.Uint32())
	}
	for b := range bits + 1 {
		mask := byte(0x80) >> (b % 8)
		place[b/8] = place[b/8]&^mask | n.nodes[of].place[b/8]&mask
		if b == bits {
			place[b/8] ^= mask
		}
	}
	return place
}

func (n *network) ids(nodes []int) (out []overlay.PeerID) {
	for _, i := range nodes {
		out = append(out, n.nodes[i].id)
	}
	return out
}
