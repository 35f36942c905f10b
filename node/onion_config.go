package node

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mimid/mimid/node/relaylist"
	"github.com/mimid/mimid/protocol/onion"
	"github.com/mimid/mimid/protocol/onion/relays"
	"github.com/mimid/mimid/protocol/uri"
)

// Onion is the section [onion]: the overlay of onion packets, which hides from relays and from those who
// watch links which provider sends to which. What is not hidden is in docs/threats.md. All nodes of a
// network have the same Witnesses, Suite, Epoch, Rate and Delay.
type Onion struct {
	// Enabled takes part: this provider can send and receive over the onion overlay, and sends as many
	// packets as all others, whether it has something to say or not.
	Enabled bool `toml:"enabled" comment:"Take part: send and receive over relays. Needs witnesses, and the overlay."`
	// Relay mixes for others, too.
	Relay bool `toml:"relay" comment:"Relay packets of others, too. The more do, the better all hide."`
	// Capacity is how many packets a second this node wants to relay.
	Capacity int `toml:"capacity" comment:"How many packets a second to relay at most, 8668 octets each (37724 with X-Wing)."`
	// Operator says who runs this provider, the same for all providers of one: no path has two of
	// the same. Empty: the domain.
	Operator string `toml:"operator" comment:"Who runs this provider, in letters a-z, digits, dots and dashes; the same for all that one runs. Empty: the domain."`
	// Network is the number of the autonomous system of the node, 0 if that is not known.
	Network int `toml:"network" comment:"Number of the autonomous system of this node, so that no path has two of one; 0: not known."`
	// Witnesses are the domains of the providers that say which relays there are, two thirds of them
	// together; in the same order at all nodes.
	Witnesses []string `toml:"witnesses" comment:"Domains of the providers that sign the list of relays, the same at all nodes in the same order. Two thirds have to agree."`
	// Suite is what packets are encrypted with. X-Wing, of ML-KEM-768 and X25519, keeps them closed to who
	// records them and has a quantum computer one day; packets have 37,724 octets then, in place of 8,668, and a relay
	// needs twice the processor time.
	Suite string `toml:"suite" comment:"X25519, or X-Wing (ML-KEM-768 with X25519: also closed to quantum computers to come, at twice the processor time); the same at all nodes."`
	// Epoch is for how long keys and lists are good, 10s to 24h.
	Epoch Duration `toml:"epoch" comment:"For how long a list of relays, and the keys in it, are good; the same at all nodes."`
	// Rate is how many packets a second each node sends: loops to itself where there is nothing to
	// send. More cost more, and hide better and faster.
	Rate float64 `toml:"rate" comment:"How many packets a second each node sends, cover included; the same at all nodes."`
	// Delay is for how long each relay keeps a packet on average. Longer hides better.
	Delay Duration `toml:"delay" comment:"For how long each relay keeps a packet on average; the same at all nodes."`
}

func defaultOnion() Onion {
	return Onion{Capacity: 500, Witnesses: []string{}, Suite: onion.X25519.String(), Epoch: Duration(time.Hour), Rate: 0.5, Delay: Duration(500 * time.Millisecond)}
}

// format is that of packets. Other pairs of suite and class are for experiments.
func (o *Onion) format() onion.Format {
	f := onion.Format{Suite: onion.X25519, Class: onion.Class8K}
	if o.Suite == onion.XWing.String() {
		f = onion.Format{Suite: onion.XWing, Class: onion.Class30K} // a reply block alone has 6.5 KiB
	}
	return f
}

func (o *Onion) terms() relays.Terms {
	return relays.Terms{Format: o.format(), Length: time.Duration(o.Epoch), Rate: uint32(o.Rate*1000 + 0.5), Delay: time.Duration(o.Delay)}
}

func (o *Onion) check(overlay bool) error {
	switch {
	case !o.Enabled && o.Relay:
		return errors.New("onion.relay: true needs onion.enabled = true")
	case o.Enabled && !overlay:
		return errors.New("onion.enabled: true needs overlay.enabled = true")
	case o.Enabled && len(o.Witnesses) == 0:
		return errors.New("onion.witnesses: name those who sign the list of relays, the same at all nodes of the network")
	case len(o.Witnesses) > relaylist.MaxWitnesses:
		return fmt.Errorf("onion.witnesses: %d, where %d are possible", len(o.Witnesses), relaylist.MaxWitnesses)
	case o.Suite != onion.X25519.String() && o.Suite != onion.XWing.String():
		return fmt.Errorf("onion.suite: %q; %v and %v are possible, the same at all nodes of the network", o.Suite, onion.X25519, onion.XWing)
	case o.Capacity < 1 || o.Capacity > 100_000:
		return fmt.Errorf("onion.capacity: %d packets a second; 1 at least, 100000 at most", o.Capacity)
	case o.Network < 0 || int64(o.Network) > 1<<32-1:
		return fmt.Errorf("onion.network: %d is no number of an autonomous system", o.Network)
	case !(o.Rate >= 0.01 && o.Rate <= 100): // NaN is not
		return fmt.Errorf("onion.rate: %v packets a second; 0.01 at least, 100 at most", o.Rate)
	}
	for i, d := range o.Witnesses {
		if p, err := uri.ParseDomain(d); err != nil || p.Domain() != d || slices.Contains(o.Witnesses[:i], d) {
			return fmt.Errorf("onion.witnesses: %q is no domain in lower case, or stands there twice", d)
		}
	}
	if err := o.terms().Check(); err != nil {
		return fmt.Errorf("onion.epoch, onion.rate, onion.delay: %w", err)
	}
	if o.Operator != "" && !relays.IsName(o.Operator) {
		return fmt.Errorf("onion.operator: %q; letters a-z, digits, dots, dashes and underscores are possible, 255 at most", o.Operator)
	}
	return nil
}
