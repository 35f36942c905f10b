package compromise

import (
	"math"
	"slices"
	"time"

	"github.com/mimid/mimid/protocol/onion/relays"
	"github.com/mimid/mimid/simulations"
)

// A check looks at each path: that it is one that may be, with an entry that stays where one stays; and at the end that
// hostile relays, entries and paths are as many as chance gives, where the chance of each path is that which its entry, its exit and the
// layers of its epoch leave. What chance does not give in one run of a hundred million is a violation.
type check struct {
	run     *simulations.Run
	hostile []bool
	who     []string // operator of each relay; empty: its own
	pins    []pin    // of each user

	layers [][]int
	in     []int // the layer of each relay; -1: it does not mix

	active  sum    // hostile relays that mix, over the epochs
	entries [3]sum // hostile ones that were drawn
	paths   [3]sum // paths of hostile relays only
}

// pin is the entry that a user had last, and since when.
type pin struct {
	entry int
	since time.Duration
}

// A sum is of things that happen by chance, and of what was expected.
type sum struct{ got, expected, variance float64 }

func (s *sum) add(is bool, chance float64) {
	if is {
		s.got++
	}
	s.expected += chance
	s.variance += chance * (1 - chance)
}

// unlikely says whether chance does not give it: it is further off than six deviations, and than six things, which a few of
// them may be by Poisson's law.
func (s *sum) unlikely() bool { return math.Abs(s.got-s.expected) > 6*math.Sqrt(s.variance)+6 }

func newCheck(r *simulations.Run, p Parameters, hostile []bool, who []string) *check {
	c := &check{run: r, hostile: hostile, who: who, pins: make([]pin, p.Users)}
	for i := range c.pins {
		c.pins[i].entry = -1
	}
	return c
}

// epoch begins one, with its layers. Relays that belong together are not chosen as the others are, so that chance is not
// looked at there.
func (c *check) epoch(layers [][]int) {
	c.layers, c.in = layers, slices.Repeat([]int{-1}, len(c.hostile))
	bad, mixes := 0, 0
	for l, layer := range layers {
		mixes += len(layer)
		for _, i := range layer {
			if c.in[i] >= 0 {
				c.run.Violate("relay %d mixes in two layers", i)
			}
			c.in[i] = l
			if c.hostile[i] {
				bad++
			}
		}
	}
	// They are drawn without any twice.
	n, k, m := float64(len(c.hostile)), float64(count(c.hostile)), float64(mixes)
	c.active.got += float64(bad)
	c.active.expected += m * k / n
	c.active.variance += m * k / n * (n - k) / n * (n - m) / (n - 1)
}

func count(is []bool) (n int) {
	for _, x := range is {
		if x {
			n++
		}
	}
	return n
}

// path is given each: the entry if there is one, and the mixes.
func (c *check) path(way, user int, at time.Duration, entry, exit int, path []int) {
	mixes := path
	if entries[way] != none {
		if len(path) == 0 || path[0] != entry {
			c.run.Violate("a path by way of entry %d begins with another one: %v", entry, path)
			return
		}
		mixes = path[1:]
	}
	if len(mixes) != relays.Layers {
		c.run.Violate("a path has %d mixes", len(mixes))
		return
	}
	for l, i := range mixes {
		if c.in[i] != l {
			c.run.Violate("relay %d is on a path in layer %d, and mixes in %d", i, l, c.in[i])
		}
		others := append([]int{exit}, path[:len(path)-len(mixes)+l]...)
		for _, o := range others {
			if o == i || c.who[o] == c.who[i] && c.who[i] != "" {
				c.run.Violate("relays %d and %d are on one path, and are one, or of one operator", i, o)
			}
		}
	}
	if entries[way] == pinned {
		p := &c.pins[user]
		switch {
		case p.entry == entry:
		case p.entry >= 0 && at-p.since < relays.PinFor:
			c.run.Violate("user %d has another entry after %s", user, at-p.since)
		default:
			c.entries[way].add(c.hostile[entry], float64(count(c.hostile))/float64(len(c.hostile)))
			*p = pin{entry, at}
		}
	}
	chance := 1.0
	if entries[way] != none && !c.hostile[entry] {
		chance = 0
	}
	for _, layer := range c.layers {
		bad, may := 0, 0
		for _, i := range layer {
			if i == exit || entries[way] != none && i == entry {
				continue
			}
			may++
			if c.hostile[i] {
				bad++
			}
		}
		chance *= float64(bad) / float64(may)
	}
	all := true
	for _, i := range path {
		all = all && c.hostile[i]
	}
	c.paths[way].add(all, chance)
}

// over looks at what came by chance, if relays do not belong together.
func (c *check) over() {
	if slices.ContainsFunc(c.who, func(s string) bool { return s != "" }) {
		return
	}
	if s := c.active; s.unlikely() {
		c.run.Violate("%.0f hostile relays were chosen to mix over all epochs, and chance gives %.1f, with a deviation of %.1f", s.got, s.expected, math.Sqrt(s.variance))
	}
	for way, s := range c.entries {
		if s.unlikely() {
			c.run.Violate("entry %s: %.0f of those that were chosen are hostile, and chance gives %.1f, with a deviation of %.1f", entries[way], s.got, s.expected, math.Sqrt(s.variance))
		}
	}
	for way, s := range c.paths {
		if s.unlikely() {
			c.run.Violate("entry %s: %.0f packets met hostile relays only, and chance gives %.1f, with a deviation of %.1f", entries[way], s.got, s.expected, math.Sqrt(s.variance))
		}
	}
}
