package lookup

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"sort"
	"time"

	"github.com/mimid/mimid/overlay"
	"github.com/mimid/mimid/simulations/churn"
)

// bucket is how many nodes of each distance a routing table holds, and an answer names.
const bucket = 20

// A node's id is any text, which lies where its hash does.
type node struct {
	id       overlay.PeerID
	place    [32]byte
	sessions churn.Sessions
	table    []int
	drawn    time.Duration // when the table was
	known    bool          // it was drawn
}

// A network is nodes that come and go. A node's routing table is made when it comes, and made anew each
// refresh after that: all of a distance who are up at that time if they are at most 20, else 20 by chance; who goes
// in between stays in it.
type network struct {
	rand    *rand.Rand
	refresh time.Duration
	nodes   []node // by place
	byID    map[overlay.PeerID]int
	steady  []int // those that never go
}

// newNetwork makes count nodes, of which steady never go and a share comes at a time as one storm.
func newNetwork(r *rand.Rand, seed uint64, count, steady int, m *churn.Model, p Parameters) *network {
	n := &network{rand: r, refresh: p.Refresh.D(), byID: map[overlay.PeerID]int{}}
	always := churn.Sessions{{Begin: -1 << 62, End: 1 << 62}}
	storm := int(p.Storm * float64(count-steady))
	for i := range count {
		id := overlay.PeerID(fmt.Sprintf("node %d %d", seed, i))
		x := node{id: id, place: overlay.PlaceOfNode(id)}
		switch {
		case i < steady:
			x.sessions = always
		case i < steady+storm:
			x.sessions = churn.Sessions{{Begin: p.Lasts.D() / 2, End: 1 << 62}}
		default:
			x.sessions = m.Draw(p.Lasts.D() + time.Hour)
		}
		n.nodes = append(n.nodes, x)
	}
	first := n.nodes[:steady:steady]
	var names []overlay.PeerID
	for _, x := range first {
		names = append(names, x.id)
	}
	slices.SortFunc(n.nodes, func(a, b node) int { return bytes.Compare(a.place[:], b.place[:]) })
	for i, x := range n.nodes {
		n.byID[x.id] = i
	}
	for _, id := range names {
		n.steady = append(n.steady, n.byID[id])
	}
	return n
}

func (n *network) up(i int, at time.Duration) bool { return n.nodes[i].sessions.Up(at) }

// online counts who is up.
func (n *network) online(at time.Duration) (count int) {
	for i := range n.nodes {
		if n.up(i, at) {
			count++
		}
	}
	return count
}

// tableOf is what a node that is up knows at a time.
func (n *network) tableOf(of int, at time.Duration) []int {
	x := &n.nodes[of]
	s, up := x.sessions.Of(at)
	if !up {
		return nil
	}
	made := s.Begin
	if made < 0 { // as if it had come at some time before: each node refreshes at its own time
		made = -time.Duration(uint64(of) * 7919 % uint64(n.refresh))
		made = max(made, s.Begin)
	}
	made += (at - made) / n.refresh * n.refresh
	if !x.known || x.drawn != made {
		x.table, x.drawn, x.known = n.draw(of, max(made, 0)), made, true
	}
	return x.table
}

// draw makes a table. Nodes lie sorted, so those that share so many bits are neighbours.
func (n *network) draw(of int, at time.Duration) (out []int) {
	low, high := 0, len(n.nodes) // who shares at least depth bits
	for depth := 0; high-low > 1; depth++ {
		// Of these, who shares exactly depth bits lies on one side of who shares more.
		cut := low + sort.Search(high-low, func(i int) bool { return n.nodes[low+i].place[depth/8]>>(7-depth%8)&1 == 1 })
		from, to := low, cut // the others
		if of < cut {
			from, to, high = cut, high, cut
		} else {
			low = cut
		}
		out = n.sample(out, from, to, at)
	}
	return out
}

// sample takes up to 20 that are up.
func (n *network) sample(out []int, from, to int, at time.Duration) []int {
	if to-from > 8*bucket {
		// Among so many there are 20 that are up, or nearly.
		begun := len(out)
		for range 10 * bucket {
			if i := from + n.rand.IntN(to-from); n.up(i, at) && !slices.Contains(out[begun:], i) {
				if out = append(out, i); len(out)-begun == bucket {
					break
				}
			}
		}
		return out
	}
	var live []int
	for i := from; i < to; i++ {
		if n.up(i, at) {
			live = append(live, i)
		}
	}
	for k := range min(bucket, len(live)) {
		j := k + n.rand.IntN(len(live)-k)
		live[k], live[j] = live[j], live[k]
		out = append(out, live[k])
	}
	return out
}

// nearest are the nodes that one knows nearest to a place.
func (n *network) nearest(of int, to [32]byte, count int, at time.Duration) (out []overlay.PeerID) {
	t := slices.Clone(n.tableOf(of, at))
	slices.SortFunc(t, func(a, b int) int { return nearer(&n.nodes[a].place, &n.nodes[b].place, &to) })
	for _, i := range t[:min(count, len(t))] {
		out = append(out, n.nodes[i].id)
	}
	return out
}

func nearer(a, b, to *[32]byte) int {
	for i := range to {
		if x, y := a[i]^to[i], b[i]^to[i]; x != y {
			return int(x) - int(y)
		}
	}
	return 0
}
