package relaylist

import (
	"bytes"
	"errors"
	"slices"

	"github.com/mimid/mimid/protocol/onion"
	"github.com/mimid/mimid/protocol/onion/relays"
)

// maxNodes is how many nodes of one provider a witness takes.
const maxNodes = 8

var (
	errPoolFull = errors.New("this witness takes no more descriptors")
	errTooMany  = errors.New("this witness takes no more nodes of this provider")
	errOlder    = errors.New("this witness has a newer descriptor of this node")
)

// A pool is the descriptors that a witness has, one of each node.
type pool map[onion.NodeID]*relays.Relay

// put takes one in, in place of an older one of the same node.
func (p pool) put(r *relays.Relay) error {
	old := p[r.Node()]
	if old == nil {
		if len(p) >= relays.MaxRelays {
			return errPoolFull
		}
		n := 0
		for _, o := range p {
			if o.Descriptor().Provider == r.Descriptor().Provider {
				n++
			}
		}
		if n >= maxNodes {
			return errTooMany
		}
	} else if old.Descriptor().First > r.Descriptor().First {
		return errOlder
	}
	p[r.Node()] = r
	return nil
}

// list is what has a key of an epoch, in order.
func (p pool) list(e onion.Epoch) []*relays.Relay {
	var out []*relays.Relay
	for _, r := range p {
		if _, ok := r.Key(e); ok {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b *relays.Relay) int {
		x, y := a.Node(), b.Node()
		return bytes.Compare(x[:], y[:])
	})
	return out
}

// drop forgets those that have no key of an epoch or a later one.
func (p pool) drop(e onion.Epoch) {
	for n, r := range p {
		if d := r.Descriptor(); d.First+onion.Epoch(len(d.Keys)) <= e {
			delete(p, n)
		}
	}
}
