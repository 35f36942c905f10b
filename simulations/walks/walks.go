// Package walks checks what every walk through the DHT promises (overlay.Walk), whoever answers it and whatever: nobody is asked
// twice, nor the walker itself, nor more nodes than there may be; announcers are those that somebody has named who was asked, each once,
// and at the end of a walk nobody of them is left out below the limit; records go to nodes that have answered.
//
// Simulations look at each of their walks.
package walks

import (
	"github.com/mimid/mimid/overlay"
)

// A Check looks at one walk. It belongs to one goroutine.
type Check struct {
	violate func(format string, args ...any)
	self    overlay.PeerID
	limit   int

	asked map[overlay.PeerID]bool // true: it has answered
	named map[overlay.PeerID]bool // by an answer; true: by the walk
	count int                     // named by the walk
}

// New makes one for a walk of a node which names so many announcers at most. violate is told what does not hold: simulations.Run.Violate.
func New(self overlay.PeerID, limit int, violate func(format string, args ...any)) *Check {
	return &Check{violate: violate, self: self, limit: limit, asked: map[overlay.PeerID]bool{}, named: map[overlay.PeerID]bool{}}
}

// Asked is told whom the walk asks.
func (c *Check) Asked(p overlay.PeerID) {
	if _, known := c.asked[p]; known {
		c.violate("a walk asks %.40q twice", p)
	}
	if p == c.self {
		c.violate("a walk asks its own node")
	}
	c.asked[p] = false
	if len(c.asked) == overlay.WalkAsked+1 {
		c.violate("a walk asks more than %d nodes", overlay.WalkAsked)
	}
}

// Answered is told who has answered, and named these announcers, before the walk is.
func (c *Check) Answered(p overlay.PeerID, announcers []overlay.PeerID) {
	c.asked[p] = true
	for _, a := range announcers {
		if _, known := c.named[a]; !known && a != c.self {
			c.named[a] = false
		}
	}
}

// Named is told whom the walk names.
func (c *Check) Named(list []overlay.PeerID) {
	for _, a := range list {
		again, known := c.named[a]
		switch {
		case !known:
			c.violate("a walk names %.40q, whom nobody has named", a)
		case again:
			c.violate("a walk names %.40q twice", a)
		}
		c.named[a] = true
		if c.count++; c.count == c.limit+1 {
			c.violate("a walk names more than %d announcers", c.limit)
		}
	}
}

// Over is told of the end of a walk that has named the rest.
func (c *Check) Over() {
	if want := min(c.limit, len(c.named)); c.count < want {
		c.violate("a walk has named %d announcers at its end, and answers %d, of whom %d may be", c.count, len(c.named), c.limit)
	}
}

// Holders is told who is to hold a record.
func (c *Check) Holders(list []overlay.PeerID) {
	seen := map[overlay.PeerID]bool{}
	for _, p := range list {
		if !c.asked[p] {
			c.violate("a record goes to %.40q, who has not answered", p)
		}
		if seen[p] {
			c.violate("a record goes to %.40q twice", p)
		}
		seen[p] = true
	}
	if len(list) > overlay.WalkHolders {
		c.violate("a record goes to %d nodes, and %d are to hold it", len(list), overlay.WalkHolders)
	}
	if answered := c.answered(); len(list) < min(answered, overlay.WalkHolders) {
		c.violate("a record goes to %d nodes only, of %d that have answered", len(list), answered)
	}
}

func (c *Check) answered() (n int) {
	for _, did := range c.asked {
		if did {
			n++
		}
	}
	return n
}
