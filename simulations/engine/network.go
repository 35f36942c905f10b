package engine

import (
	"math/rand/v2"
	"time"
)

// A Link is one direction between two nodes.
type Link struct {
	Latency   time.Duration // least time on the way
	Jitter    time.Duration // at most so much more, so that messages overtake each other
	Loss      float64       // how many of all messages are lost
	Duplicate float64       // how many arrive twice
	Cut       bool          // nothing arrives, not even what is on its way
}

// A Network carries messages between nodes that are numbered from 0. Whether the
// receiver is there to take one is the receiver's business.
type Network struct {
	e     *Engine
	rand  *rand.Rand
	nodes int
	usual Link
	way   func(from, to int) (latency, jitter time.Duration) // of usual links, if it is not the same for all
	links []Link                                             // from*nodes + to

	// Sent, Lost (by chance), Cut and Twice count messages.
	Sent, Lost, Cut, Twice int
}

// NewNetwork returns a network in which all links are as usual.
func NewNetwork(e *Engine, nodes int, usual Link) *Network {
	n := &Network{e: e, rand: e.Rand("network"), nodes: nodes, usual: usual, links: make([]Link, nodes*nodes)}
	n.Heal()
	return n
}

// Heal makes all links as usual.
func (n *Network) Heal() {
	for i := range n.links {
		n.Mend(i/n.nodes, i%n.nodes)
	}
}

// Lay gives each usual link a latency and a jitter of its own, with the next Heal.
func (n *Network) Lay(way func(from, to int) (latency, jitter time.Duration)) { n.way = way }

// Usual changes what usual links are; links change with the next Heal.
func (n *Network) Usual(l Link) { n.usual = l }

// Link is the one from a node to another, to be changed in place.
func (n *Network) Link(from, to int) *Link { return &n.links[from*n.nodes+to] }

// Mend makes a link as usual.
func (n *Network) Mend(from, to int) {
	l := n.Link(from, to)
	*l = n.usual
	if n.way != nil {
		l.Latency, l.Jitter = n.way(from, to)
	}
}

// Send has a message delivered, once, twice or not at all.
func (n *Network) Send(from, to int, deliver func()) {
	l := n.Link(from, to)
	n.Sent++
	copies := 1
	switch x := n.rand.Float64(); {
	case l.Cut:
		n.Cut++
		return
	case x < l.Loss:
		n.Lost++
		return
	case x < l.Loss+l.Duplicate:
		n.Twice++
		copies = 2
	}
	for range copies {
		d := l.Latency
		if l.Jitter > 0 {
			d += time.Duration(n.rand.Int64N(int64(l.Jitter)))
		}
		n.e.After(d, func() {
			if n.Link(from, to).Cut {
				n.Cut++
				return
			}
			deliver()
		})
	}
}
