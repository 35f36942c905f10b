// Package mixnet is a network of mixes on the event engine, with somebody who sees all of its links: what simulations of
// the onion overlay are made of.
//
// Real are the choice of relays and of paths (protocol/onion/relays: NewDirectory makes a snapshot, signed and cosigned, of relays that do not
// exist), and the sizes of packets, which are those of protocol/onion. Modelled is the rest: packets are numbers, nothing is encrypted, and what a
// relay computes takes no time.
//
// Read mixnet.go (mixes and packets), directory.go (relays by protocol/onion/relays).
package mixnet

import (
	"math/rand/v2"
	"time"

	"github.com/mimid/mimid/simulations/anonymity"
	"github.com/mimid/mimid/simulations/engine"
)

// A Hop is a mix and for how long it is to keep a packet.
type Hop struct {
	Mix   int
	Delay time.Duration
}

// A Packet is on its way from one end to another.
type Packet struct {
	From, End int // ends, which are numbered on their own
	Hops      []Hop
	Target    bool   // to be followed
	Tag       uint64 // the sender's

	Seen anonymity.Packet // its name in the log, once it is sent
	next int              // index in Hops
	sent time.Duration
	made bool // a dummy of a mix
}

// A Config says what a network is.
type Config struct {
	Layers [][]int // the mixes by number from 0, for dummies
	Bad    []bool  // of each mix: it belongs to whoever looks
	// Way is how long a packet takes on a link. Mixes are numbered from 0, ends below: -1 is end 0.
	Way func(from, to int) time.Duration
	// Arrived is told of each packet that comes to its end, Lost of others.
	Arrived, Lost func(*Packet, time.Duration)
}

// A Network is mixes. It belongs to one goroutine.
type Network struct {
	Log *anonymity.Log

	c       Config
	e       *engine.Engine
	rand    *rand.Rand
	dead    []bool
	packets []*Packet
	free    []uint64
	links   int // how many a packet has passed, all together
}

// New makes a network whose mixes all live.
func New(e *engine.Engine, c Config) *Network {
	return &Network{Log: anonymity.NewLog(c.Bad), c: c, e: e, rand: e.Rand("mixes"), dead: make([]bool, len(c.Bad))}
}

// Passed is how many links packets were sent over, all together.
func (n *Network) Passed() int { return n.links }

// UnderWay is how many packets have been sent, and have neither arrived nor been lost.
func (n *Network) UnderWay() (count int) {
	for _, p := range n.packets {
		if p != nil && !p.made {
			count++
		}
	}
	return count
}

// End is the number of an end for Config.Way.
func End(i int) int { return -1 - i }

type arrives Network
type leaves Network

// Send sends a packet, which is the network's from then on.
func (n *Network) Send(p *Packet) {
	if p.Target {
		p.Seen = n.Log.Target()
	} else {
		p.Seen = n.Log.Packet()
	}
	p.sent = n.e.Now()
	n.move(n.keep(p), p, End(p.From))
}

func (n *Network) keep(p *Packet) uint64 {
	if k := len(n.free); k > 0 {
		i := n.free[k-1]
		n.free = n.free[:k-1]
		n.packets[i] = p
		return i
	}
	n.packets = append(n.packets, p)
	return uint64(len(n.packets) - 1)
}

// move puts a packet on the link to its next mix, or its end.
func (n *Network) move(i uint64, p *Packet, from int) {
	to := End(p.End)
	if p.next < len(p.Hops) {
		to = p.Hops[p.next].Mix
	}
	n.links++
	n.e.AfterDo(n.c.Way(from, to), (*arrives)(n), i)
}

func (n *Network) end(i uint64) *Packet {
	p := n.packets[i]
	n.packets[i] = nil
	n.free = append(n.free, i)
	return p
}

func (a *arrives) Happen(i uint64) {
	n := (*Network)(a)
	p := n.packets[i]
	if p.next == len(p.Hops) {
		n.end(i)
		if p.made { // a mix's dummy whose way ends at a mix does not come here
			return
		}
		n.e.Note(uint64(p.Seen)<<8 | 1)
		n.Log.Out(p.Seen, p.End)
		n.c.Arrived(p, n.e.Now()-p.sent)
		return
	}
	mix := p.Hops[p.next].Mix
	switch {
	case n.dead[mix]:
		n.end(i)
		n.Log.Out(p.Seen, anonymity.Lost)
		n.lose(p)
	case p.made && p.next == len(p.Hops)-1:
		n.end(i)
		n.Log.Drop(p.Seen, mix)
	default:
		n.Log.Enter(p.Seen, mix)
		n.e.AfterDo(p.Hops[p.next].Delay, (*leaves)(n), i)
	}
}

func (n *Network) lose(p *Packet) {
	n.e.Note(uint64(p.Seen)<<8 | 2)
	if !p.made && n.c.Lost != nil {
		n.c.Lost(p, n.e.Now()-p.sent)
	}
}

func (l *leaves) Happen(i uint64) {
	n := (*Network)(l)
	p := n.packets[i]
	mix := p.Hops[p.next].Mix
	if n.dead[mix] { // the log was told when it died, but for what whoever looks knows of its own
		n.end(i)
		if n.c.Bad[mix] {
			n.Log.Out(p.Seen, anonymity.Lost)
		}
		n.lose(p)
		return
	}
	n.Log.Leave(p.Seen, mix)
	p.next++
	n.move(i, p, mix)
}

// Kill has a mix lose what it holds, and all that comes to it.
func (n *Network) Kill(mix int) {
	if n.dead[mix] {
		return
	}
	n.dead[mix] = true
	n.e.Note(uint64(mix)<<8 | 3)
	n.Log.Die(mix)
}

// A Cover is dummies that mixes make.
type Cover struct {
	Rate  float64       // a second, of each mix but those of the last layer
	Delay time.Duration // mean delay in each mix
	// Far lets them go on to the last layer, where they are dropped; without it the next mix does.
	Far bool
	// Early puts each into the pool when the one before it begins its delay, as the published program MiXiM does; it then
	// waits longer than packets do.
	Early bool
}

// Dummies has mixes that are not bad make dummies, each at its own times, until a time.
func (n *Network) Dummies(c Cover, until time.Duration) {
	for layer := range n.c.Layers[:max(0, len(n.c.Layers)-1)] {
		for _, mix := range n.c.Layers[layer] {
			if !n.c.Bad[mix] {
				n.dummies(c, layer, mix, until)
			}
		}
	}
}

func (n *Network) dummies(c Cover, layer, mix int, until time.Duration) {
	gap := func() time.Duration { return time.Duration(n.rand.ExpFloat64() * float64(time.Second) / c.Rate) }
	var again func()
	made := func() *Packet {
		p := &Packet{made: true, Seen: n.Log.Packet()}
		last := layer + 1
		if c.Far {
			last = len(n.c.Layers) - 1
		}
		p.Hops = append(p.Hops, Hop{mix, Exponential(n.rand, c.Delay)})
		for l := layer + 1; l <= last; l++ {
			p.Hops = append(p.Hops, Hop{n.c.Layers[l][n.rand.IntN(len(n.c.Layers[l]))], Exponential(n.rand, c.Delay)})
		}
		n.Log.Enter(p.Seen, mix)
		return p
	}
	again = func() {
		if n.e.Now() > until || n.dead[mix] {
			return
		}
		p := made()
		if !c.Early {
			n.e.AfterDo(p.Hops[0].Delay, (*leaves)(n), n.keep(p))
			n.e.After(gap(), again)
			return
		}
		n.e.After(gap(), func() {
			if !n.dead[mix] {
				n.e.AfterDo(p.Hops[0].Delay, (*leaves)(n), n.keep(p))
			}
			again()
		})
	}
	n.e.After(gap(), again)
}

// Exponential draws a delay.
func Exponential(r *rand.Rand, mean time.Duration) time.Duration {
	return time.Duration(r.ExpFloat64() * float64(mean))
}
