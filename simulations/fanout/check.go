package fanout

import (
	"time"

	"github.com/mimid/mimid/simulations"
	"github.com/mimid/mimid/simulations/gossip"
)

// A check looks at all deliveries of a room: that a provider gets a message once, and not sooner than the links allow (of those that
// are observed), that nobody is said to have what it did not get, and that nothing arrives that was not sent. Who is sent all by the hub itself gets all.
type check struct {
	run  *simulations.Run
	p    Parameters
	got  [][]uint64 // of each message, a bit for each provider
	seen []int      // providers that have each
	took [][]taken
	more int // deliveries for a second time
}

type taken struct {
	node int
	took time.Duration
}

func newCheck(r *simulations.Run, p Parameters) *check {
	return &check{run: r, p: p, got: make([][]uint64, p.Messages), seen: make([]int, p.Messages), took: make([][]taken, p.Messages)}
}

func (c *check) delivered(id, node int) {
	if c.got[id] == nil {
		c.got[id] = make([]uint64, (c.p.Nodes+63)/64)
	}
	bit := uint64(1) << (node % 64)
	if c.got[id][node/64]&bit != 0 {
		if c.more++; c.more == 1 {
			c.run.Violate("message %d is delivered to provider %d twice", id, node)
		}
		return
	}
	c.got[id][node/64] |= bit
	c.seen[id]++
}

func (c *check) sample(id, node int, took time.Duration) {
	c.took[id] = append(c.took[id], taken{node, took})
}

// message looks at one when all is over; bound is when each provider could have it.
func (c *check) message(m *gossip.Message, bound []time.Duration) {
	c.got[m.ID] = nil
	if m.Reached != c.seen[m.ID] {
		c.run.Violate("message %d is said to be at %d providers, and was delivered to %d", m.ID, m.Reached, c.seen[m.ID])
	}
	if c.p.Mode == "direct" && c.seen[m.ID] != c.p.Nodes {
		c.run.Violate("message %d was sent to all %d providers, and %d have it", m.ID, c.p.Nodes, c.seen[m.ID])
	}
	for _, t := range c.took[m.ID] {
		if t.took < bound[t.node] {
			c.run.Violate("message %d is at provider %d after %s, sooner than the links allow, which is %s", m.ID, t.node, t.took, bound[t.node])
			return
		}
	}
}

func (c *check) network(n *gossip.Network) {
	arrived := n.Duplicates
	for _, s := range c.seen {
		arrived += int64(s) - 1
	}
	if arrived > n.Copies {
		c.run.Violate("%d copies have arrived, and %d were sent", arrived, n.Copies)
	}
}
