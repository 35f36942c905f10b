package relays

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"github.com/mimid/mimid/protocol/onion"
)

// Terms are what all nodes of a network have to have in common. They are configured, not learned: who
// could choose them for somebody would choose how well that one hides.
type Terms struct {
	Format onion.Format
	// Length of an epoch. Epoch e begins e lengths after 1970 began.
	Length time.Duration
	// Rate is how many packets each node of a snapshot sends, cover included, per 1,000 seconds.
	Rate uint32
	// Delay is the mean delay of a hop.
	Delay time.Duration
}

// Bounds of Terms.
const (
	MaxRate   = 100_000 // 100 a second
	MinLength = 10 * time.Second
	MaxLength = 24 * time.Hour
)

// Check says whether terms can be kept. Error: ErrSnapshot.
func (t Terms) Check() error {
	switch {
	case t.Length < MinLength || t.Length > MaxLength || t.Length%time.Second != 0:
		return fmt.Errorf("%w: epochs of %v, where whole seconds from %v to %v are possible", ErrSnapshot, t.Length, MinLength, MaxLength)
	case t.Rate < 1 || t.Rate > MaxRate:
		return fmt.Errorf("%w: %d packets in 1,000 seconds, where 1 to %d are possible", ErrSnapshot, t.Rate, MaxRate)
	}
	return (&Snapshot{Format: t.Format, Delay: t.Delay}).check()
}

// Epoch is the one at a time, which is after 1970 began.
func (t Terms) Epoch(now time.Time) onion.Epoch {
	return onion.Epoch(max(0, now.Unix()) / int64(t.Length/time.Second))
}

// Begin is when an epoch begins.
func (t Terms) Begin(e onion.Epoch) time.Time {
	return time.Unix(int64(e)*int64(t.Length/time.Second), 0)
}

// Snapshot is the only one that these relays can make under the terms. Of a node that is there more
// than once, the descriptor counts that begins later, or else has the greater octets. Relays without a
// key of the epoch or of another suite are left out.
func (t Terms) Snapshot(e onion.Epoch, previous [32]byte, relays []*Relay) *Snapshot {
	s := &Snapshot{Format: t.Format, Epoch: e, Previous: previous, Delay: t.Delay}
	best := map[onion.NodeID]*Relay{}
	for _, r := range relays {
		if _, ok := r.Key(e); !ok || r.d.Suite != t.Format.Suite {
			continue
		}
		if o := best[r.node]; o == nil || newer(r, o) {
			best[r.node] = r
		}
	}
	for _, r := range best {
		s.Relays = append(s.Relays, r)
	}
	s.Sort()
	s.Rate = t.rate(len(s.Relays))
	return s
}

func newer(a, b *Relay) bool {
	if a.d.First != b.d.First {
		return a.d.First > b.d.First
	}
	return bytes.Compare(a.raw, b.raw) > 0
}

// rate is what so many nodes send together.
func (t Terms) rate(nodes int) uint32 { return uint32(min(nodes, MaxRelays)) * t.Rate }

// Judge says whether a witness that knows of some relays may sign a snapshot: it keeps the terms, and
// leaves out nobody whom the witness knows. That those in it are who they say they are is for the
// witness to find out. Error: ErrSnapshot.
func (t Terms) Judge(s *Snapshot, known []*Relay) error {
	if s.Format != t.Format || s.Delay != t.Delay || s.Rate != t.rate(len(s.Relays)) {
		return fmt.Errorf("%w: format %v, delay %v and %d packets in 1,000 seconds, where this network has %v, %v and %d for %d nodes",
			ErrSnapshot, s.Format, s.Delay, s.Rate, t.Format, t.Delay, t.rate(len(s.Relays)), len(s.Relays))
	}
	for _, k := range known {
		if _, ok := k.Key(s.Epoch); !ok || k.d.Suite != s.Format.Suite {
			continue
		}
		if _, ok := slices.BinarySearchFunc(s.Relays, k.node, func(r *Relay, n onion.NodeID) int { return bytes.Compare(r.node[:], n[:]) }); !ok {
			return fmt.Errorf("%w: %s is left out", ErrSnapshot, k.d.Provider)
		}
	}
	return nil
}

// Willing says whether the relay offers to mix for others, and is not only an end of paths.
func (r *Relay) Willing() bool { return r.d.Capacity > 0 }

// Entries are the relays that a node may choose its first hop from: those that mix for others, and
// have nothing in common with the node. There are none where a layer has a single relay, since the
// entry may be that one in some epoch, and then there would be no path.
func (c *Cosigned) Entries(a *Active, self onion.NodeID) []*Relay {
	own := c.Relay(self)
	if own == nil {
		return nil
	}
	for _, layer := range a.Layers {
		if len(layer) < 2 {
			return nil
		}
	}
	var out []*Relay
	for _, r := range c.s.Relays {
		if r.Willing() && r.apart(own) {
			out = append(out, r)
		}
	}
	return out
}
