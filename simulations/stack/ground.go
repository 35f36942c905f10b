package stack

import (
	"fmt"
	"math/rand/v2"

	"github.com/mimid/mimid/overlay"
	"github.com/mimid/mimid/simulations"
	"github.com/mimid/mimid/simulations/links"
	"github.com/mimid/mimid/simulations/memnet"
	"github.com/mimid/mimid/simulations/udpnet"
)

// The transports that parameters.transport names.
const (
	overMemory = "memory" // streams of package memnet
	overQUIC   = "quic"   // QUIC as it is, over the packets of package udpnet
)

// MaxQUIC is how many nodes may run over QUIC. In gossip 20 take 3 s of CPU time, 50 some 20 s, and 100 take 75 s and 2.1 GB: both grow
// with the square, as nearly all are connected with all.
const MaxQUIC = 150

// checkTransport says what is wrong with a transport.
func checkTransport(transport string, nodes int) error {
	switch {
	case transport != overMemory && transport != overQUIC:
		return fmt.Errorf("parameters.transport = %q must be %s or %s", transport, overMemory, overQUIC)
	case transport == overQUIC && nodes > MaxQUIC:
		return fmt.Errorf("parameters.transport = %q is for %d nodes at most, and parameters.nodes = %d; for more there is %q", transport, MaxQUIC, nodes, overMemory)
	}
	return nil
}

// ground is what nodes are connected by.
type ground interface {
	// place has a node that is to be made listen and dial there.
	place(node int, c *overlay.Config)
	// Isolate silences a node in both directions, or ends that.
	Isolate(node, nodes int, is bool)
	// octets are all that were sent until now.
	octets() int64
	// observe tells at the end of a run what there is to tell of the transport, and what cannot be.
	observe(r *simulations.Run, nodes int)
	// close ends it, when all nodes have ended.
	close()
}

// newGround makes one for nodes, with its latencies.
func newGround(transport string, spec links.Spec, count int, source *rand.Rand) (ground, *links.Model) {
	if transport == overQUIC {
		lines := udpnet.Lines{Loss: spec.Loss, Uplink: spec.Uplink}
		spec.Loss = 0 // a packet that is lost is QUIC's to send again
		model := links.New(spec, count, source)
		f := udpnet.New(&path{model: model, rand: source}, lines, rand.New(rand.NewPCG(source.Uint64(), 5)))
		f.Start()
		return packets{f}, model
	}
	model := links.New(spec, count, source)
	return streams{memnet.New(&path{model: model, rand: source})}, model
}

// streams are a ground of memnet.
type streams struct{ *memnet.Fabric }

func (s streams) place(node int, c *overlay.Config) {
	c.Listen, c.Transport = []string{memnet.Addr(node).String()}, s.Node(node)
}

func (s streams) octets() int64 { return s.Counts().Octets }

func (s streams) observe(r *simulations.Run, nodes int) {
	r.Observe("connections", "1", 2*float64(s.Counts().Connections)/float64(nodes))
}

func (s streams) close() {}

// packets are a ground of udpnet.
type packets struct{ *udpnet.Fabric }

func (p packets) place(node int, c *overlay.Config) {
	c.Listen, c.ListenUDP = []string{udpnet.Addr(node)}, p.Socket(node)
}

func (p packets) octets() int64 { return p.Counts().Octets }

func (p packets) observe(r *simulations.Run, nodes int) {
	c := p.Counts()
	r.Observe("packets", "1", float64(c.Packets)/float64(nodes))
	r.Observe("lost", "1", float64(c.Lost)/float64(max(c.Lost+c.Arrived, 1)))
	checkPackets(r, c)
}

// checkPackets sees to it that no packet is made of nothing.
func checkPackets(r *simulations.Run, c udpnet.Counts) {
	if c.Arrived+c.Lost+c.Cut > c.Packets {
		r.Violate("of %d packets %d arrived, %d were lost and %d cut off", c.Packets, c.Arrived, c.Lost, c.Cut)
	}
}

func (p packets) close() { p.Close() }
