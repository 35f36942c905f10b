package snapshot

import (
	"math"

	"github.com/mimid/mimid/protocol/onion"
	"github.com/mimid/mimid/protocol/onion/relays"
	"github.com/mimid/mimid/simulations"
)

// planted are bugs, in tests, which the check is to find.
type planted struct {
	verify      func(list []byte, epoch onion.Epoch, signed []relays.Cosignature) error
	contradicts func(one, other relays.Cosignature) bool
	hostile     func(all bool) bool // whether a path has hostile relays only
}

// A check looks at which lists are taken, at what is proven, and at whether others meet hostile relays only as often as the
// layers of their list give.
type check struct {
	run                     *simulations.Run
	p                       Parameters
	both, unproven          int     // epochs in which two lists were valid, and of these those without a proof
	bad, expected, variance float64 // packets of others
}

// taken is told who signed a list, and whether it was taken.
func (c *check) taken(epoch onion.Epoch, signed int, is bool) {
	switch quorum := relays.Quorum(c.p.Witnesses); {
	case is && signed < quorum:
		c.run.Violate("a list of epoch %d is taken, which %d of %d witnesses have signed", epoch, signed, c.p.Witnesses)
	case !is && signed >= quorum:
		c.run.Violate("nodes have no list of epoch %d, and %d of %d witnesses have signed one", epoch, signed, c.p.Witnesses)
	}
}

// stale is told of a list that was taken in another epoch than its own.
func (c *check) stale(epoch onion.Epoch) {
	c.run.Violate("the list of epoch %d was taken for that of the next", epoch)
}

// signed is told who has signed which list, what is proven, and whether both were valid.
func (c *check) signed(one, other []relays.Cosignature, proven, both bool) {
	twice := false
	for _, x := range one {
		for _, y := range other {
			twice = twice || x.Witness == y.Witness
		}
	}
	if proven && !twice {
		c.run.Violate("a witness is shown to have signed two lists, and has signed one")
	}
	if both {
		c.both++
		if !proven {
			c.unproven++
		}
	}
}

// path is told of each path of others, and how likely it was to have hostile relays only.
func (c *check) path(all bool, chance float64) {
	if all {
		c.bad++
	}
	c.expected += chance
	c.variance += chance * (1 - chance)
}

// over looks at the whole. Six deviations are what chance does not give in one run of a hundred million.
func (c *check) over() {
	if c.both > 0 && c.p.Hostile < thirdOf(c.p.Witnesses) {
		c.run.Violate("two lists of one epoch were valid in %d epochs, with %d of %d witnesses hostile", c.both, c.p.Hostile, c.p.Witnesses)
	}
	if c.unproven > 0 {
		c.run.Violate("two lists of one epoch were valid in %d epochs, and no witness is shown to have signed both", c.unproven)
	}
	if math.Abs(c.bad-c.expected) > 6*math.Sqrt(c.variance)+6 {
		c.run.Violate("%.0f of others' packets met hostile relays only, and chance gives %.1f, with a deviation of %.1f", c.bad, c.expected, math.Sqrt(c.variance))
	}
}
