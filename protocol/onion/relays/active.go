package relays

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/mimid/mimid/protocol/onion"
)

const (
	// Layers is how many relays a packet goes through between its entry and its exit.
	Layers = 3

	occupancy  = 7 // packets that a relay should hold on average
	minWidth   = 2
	maxWidth   = 64
	perNetwork = 2

	labelRank = "mimid onion 1 rank"
)

// Active are the relays that mix in one epoch. It is immutable.
type Active struct {
	Epoch  onion.Epoch
	Delay  time.Duration
	Layers [Layers][]*Relay // each as wide as the others

	// Occupancy is how many packets each relay holds on average, times 1,000.
	Occupancy int
	// Thin says that this is below what hides well, since there is too little traffic for even the
	// narrowest layers. Users have to be told.
	Thin bool
}

// width is how many relays there should be in a layer: rate*delay/7, but not below two, nor above
// what there is.
func (s *Snapshot) width(available int) int {
	w := min(s.held()/(occupancy*1000), maxWidth)
	return min(max(w, minWidth), available/Layers)
}

// held is how many packets a layer holds on average, times 1,000: rate times delay.
func (s *Snapshot) held() int {
	return int(uint64(s.Rate) * uint64(s.Delay/time.Millisecond) / 1000)
}

// Active chooses the relays that mix. It is the same for all who have the snapshot: relays are
// ranked by a hash that nobody knew before the last snapshot was made, then one of each operator
// and provider, and two of each network at most, are taken in that order and dealt to the layers. A
// relay that wants less than its share of the traffic is passed over.
func (c *Cosigned) Active() (*Active, error) {
	ranked := slices.Clone(c.s.Relays)
	rank := make(map[onion.NodeID][32]byte, len(ranked))
	for _, r := range ranked {
		b := append([]byte(labelRank), c.s.Previous[:]...)
		b = binary.BigEndian.AppendUint64(b, uint64(c.s.Epoch))
		rank[r.node] = sha256.Sum256(append(b, r.node[:]...))
	}
	slices.SortFunc(ranked, func(a, b *Relay) int {
		x, y := rank[a.node], rank[b.node]
		return bytes.Compare(x[:], y[:])
	})

	// Narrower layers mean a larger share for each, for which fewer may have the capacity: so the
	// widest width that can be filled is looked for, from above.
	for w := c.s.width(len(ranked)); w > 0; w-- {
		chosen := take(ranked, Layers*w, uint64(c.s.Rate)/uint64(w))
		if len(chosen) < Layers*w {
			continue
		}
		a := &Active{Epoch: c.s.Epoch, Delay: c.s.Delay, Occupancy: c.s.held() / w}
		a.Thin = a.Occupancy < occupancy*1000 || w < minWidth
		for i, r := range chosen {
			a.Layers[i%Layers] = append(a.Layers[i%Layers], r)
		}
		return a, nil
	}
	return nil, fmt.Errorf("%w: %d in the snapshot of epoch %d, and not three that may mix", ErrTooFew, len(ranked), c.s.Epoch)
}

// take returns up to n relays in their order, each of which wants at least share packets per 1,000
// seconds.
func take(ranked []*Relay, n int, share uint64) []*Relay {
	var out []*Relay
	names, networks := map[string]bool{}, map[uint32]int{}
	for _, r := range ranked {
		operator, provider := "operator "+r.d.Operator, "provider "+r.d.Provider
		switch {
		case len(out) == n:
			return out
		case names[operator] || names[provider],
			r.d.Network != 0 && networks[r.d.Network] == perNetwork,
			uint64(r.d.Capacity)*1000 < share:
			continue
		}
		names[operator], names[provider] = true, true
		networks[r.d.Network]++
		out = append(out, r)
	}
	return out
}
