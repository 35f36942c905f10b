// Package udpnet is a network in memory for the UDP packets of nodes in one process, so that QUIC runs on it as it is:
// its handshakes, encryption, acknowledgements, repetition of what is lost, congestion control and pacing. It is
// github.com/marcopolo/simnet in virtual time (testing/synctest), with addresses of nodes, and with loss and silence, which that has not.
//
//	fabric := udpnet.New(path, udpnet.Lines{Uplink: 100}, random)
//	fabric.Start()
//	defer fabric.Close() // after all nodes have ended
//	overlay.New(overlay.Config{Listen: []string{udpnet.Addr(0)}, ListenUDP: fabric.Socket(0), ...})
//
// A packet leaves over the sender's line, whose queue is FQ-CoDel (RFC 8290) as in simnet, is on its way for as long as the Path
// says, and is lost on arrival by chance, or since its sender or receiver is silent. Packets of one way stay in their order, whatever
// jitter the Path has: jitter of one link rarely overtakes. Lines have no bound on what comes in.
//
// Package memnet is the other network: it leaves packets out, and carries ten times as many nodes.
//
// # Threads
//
// All methods may be called from any goroutine. Start begins some, which Close ends.
package udpnet

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/marcopolo/simnet"
)

// MaxNodes is how many addresses there are.
const MaxNodes = 1 << 20

// port is where each node has its socket.
const port = 4001

// unbound is simnet's rate for a line without bound, in bit/s: it knows none, and with this a packet takes 12 ns.
const unbound = 1_000_000_000_000

// A Path says how long a packet is on its way once it has left. It may be called from many goroutines at once.
type Path interface {
	Transit(from, to, octets int) time.Duration
}

// Lines are what all nodes have.
type Lines struct {
	Loss   float64 // share of packets that do not arrive
	Uplink float64 // Mbit/s at which a node sends; 0: without bound
}

// A Fabric connects nodes.
type Fabric struct {
	path  Path
	lines Lines
	net   simnet.Simnet

	silent atomic.Bool // somebody is cut off
	counts struct{ packets, octets, arrived, lost, cut atomic.Int64 }

	mu   sync.Mutex
	rand *rand.Rand           // guarded by mu
	cut  map[[2]int]bool      // from, to; guarded by mu
	last map[[2]int]time.Time // when the last packet of a way arrives; used by simnet's router alone
}

// Counts are of all packets.
type Counts struct {
	Packets, Octets int64 // that were sent, octets without headers of UDP and IP
	Arrived         int64 // that were read
	Lost            int64 // by chance
	Cut             int64 // since somebody was cut off
}

// New makes a network without nodes. Loss is drawn from random, which belongs to the network then.
func New(path Path, lines Lines, random *rand.Rand) *Fabric {
	f := &Fabric{path: path, lines: lines, rand: random, cut: map[[2]int]bool{}, last: map[[2]int]time.Time{}}
	f.net.LatencyFunc = f.transit
	f.net.Logger = slog.New(slog.DiscardHandler) // packets to nodes that are not there are no mistake here
	return f
}

// Start begins to carry packets.
func (f *Fabric) Start() { f.net.Start() }

// Close ends that, after which sockets are closed.
func (f *Fabric) Close() { f.net.Close() }

// Counts returns what was sent until now. Those of a moment need not add up: what is on its way has been sent only.
func (f *Fabric) Counts() Counts {
	c := &f.counts
	arrived, lost, cut := c.arrived.Load(), c.lost.Load(), c.cut.Load() // before what was sent, so that they are not more
	return Counts{Packets: c.packets.Load(), Octets: c.octets.Load(), Arrived: arrived, Lost: lost, Cut: cut}
}

// Addr is a node's multiaddr.
func Addr(node int) string { return fmt.Sprintf("/ip4/%s/udp/%d/quic-v1", ip(node), port) }

func ip(node int) net.IP {
	return net.IP{10, byte(node >> 16), byte(node >> 8), byte(node)}
}

// nodeOf is whose address it is.
func nodeOf(a net.Addr) (int, bool) {
	u, ok := a.(*net.UDPAddr)
	if !ok {
		return 0, false
	}
	v4 := u.IP.To4()
	if v4 == nil || v4[0] != 10 || u.Port != port {
		return 0, false
	}
	return int(v4[1])<<16 | int(v4[2])<<8 | int(v4[3]), true
}

// transit is called by simnet's router, in one goroutine.
func (f *Fabric) transit(p *simnet.Packet) time.Duration {
	from, ok := nodeOf(p.From)
	to, is := nodeOf(p.To)
	if !ok || !is {
		return 0 // it is dropped
	}
	const octets = 1200 // simnet does not tell; latency of packets is not by size
	now := time.Now()
	at := now.Add(f.path.Transit(from, to, octets))
	if last := f.last[[2]int{from, to}]; at.Before(last) {
		at = last
	}
	f.last[[2]int{from, to}] = at
	return at.Sub(now)
}

// Cut silences one direction between two nodes, or ends that. What was sent is lost.
func (f *Fabric) Cut(from, to int, is bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.setCut(from, to, is)
}

// Isolate silences a node in both directions, or ends that.
func (f *Fabric) Isolate(node, nodes int, is bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for other := range nodes {
		f.setCut(node, other, is && other != node)
		f.setCut(other, node, is && other != node)
	}
}

// setCut is called with the lock.
func (f *Fabric) setCut(from, to int, is bool) {
	if is {
		f.cut[[2]int{from, to}] = true
	} else {
		delete(f.cut, [2]int{from, to})
	}
	f.silent.Store(len(f.cut) > 0)
}

func (f *Fabric) isCut(from, to int) bool {
	if !f.silent.Load() {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.cut[[2]int{from, to}]
}

// isLost draws whether a packet is.
func (f *Fabric) isLost() bool {
	if f.lines.Loss == 0 {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.rand.Float64() < f.lines.Loss
}
