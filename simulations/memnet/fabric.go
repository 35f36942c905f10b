// Package memnet is a network in memory for whole libp2p nodes in one process: a transport
// that the real swarm, identify, DHT and gossipsub run on, without sockets, encryption and
// multiplexer. It is made for virtual time (testing/synctest), where a thousand nodes fit
// into one process; in real time it works as well.
//
// Each node has an address /ip4/10.x.y.z/tcp/4001, so that whatever judges addresses finds
// what it expects. Connections and streams take time as a Path says: a latency for each
// message, octets one after the other on a node's line. A stream's octets arrive in order.
//
//	fabric := memnet.New(path)
//	host, err := libp2p.New(libp2p.Transport(fabric.Node(0)), libp2p.ListenAddrs(memnet.Addr(0)), ...)
//
// Modelled: dialing takes Handshake round trips; what is lost is late, as with TCP and QUIC (a
// Path's matter); a node that is cut off is silent, and what was sent arrives after the cut; one
// that is frozen is a stopped process (Freeze); a
// node that is killed ends its connections, for the others with an error; a node behind a NAT
// (Unreachable) cannot be dialed. Left out: encryption, so peer ids are believed; congestion control;
// the CPU time of handshakes.
//
// # Threads
//
// All methods may be called from any goroutine. There are no goroutines in here; what
// waits, waits in the caller's.
package memnet

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/multiformats/go-multiaddr"
)

// Handshake is how many round trips a dial takes: what QUIC needs.
const Handshake = 1

// MaxNodes is how many addresses there are.
const MaxNodes = 1 << 20

var (
	errRefused     = errors.New("memnet: connection refused")
	errUnreachable = errors.New("memnet: no way to a node behind a NAT")
	errKilled      = errors.New("memnet: the other node has died")
	errClosed      = errors.New("memnet: connection is closed")
)

// A Path says how long things take. It may be called from many goroutines at once.
type Path interface {
	// Transit draws how long some octets are on their way from one node to another.
	Transit(from, to, octets int) time.Duration
	// Sending is how long a node's line is busy with some octets.
	Sending(node, octets int) time.Duration
}

// A Fabric connects nodes.
type Fabric struct {
	path Path

	mu        sync.Mutex
	listeners map[int]*listener
	conns     map[*conn]struct{}
	cut       map[[2]int]bool // from, to
	nat       map[int]bool
	busy      map[int]time.Time // until when a node's line sends
	changed   chan struct{}     // closed and made anew with each change of cut and frozen
	frozen    map[int]bool
	late      map[int][]func() // what frozen nodes do afterwards
	silent    atomic.Bool      // somebody is cut off or frozen

	counts Counts
}

// Counts are of all that was sent.
type Counts struct {
	Dials, Refused, Connections, Streams int
	Open                                 int // connections that are there now
	Octets                               int64
}

// New makes a network without nodes.
func New(path Path) *Fabric {
	return &Fabric{path: path, listeners: map[int]*listener{}, conns: map[*conn]struct{}{}, cut: map[[2]int]bool{}, nat: map[int]bool{},
		busy: map[int]time.Time{}, changed: make(chan struct{})}
}

// Counts returns what was sent until now.
func (f *Fabric) Counts() Counts {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.counts
	c.Open = len(f.conns) / 2
	return c
}

// Fewest is how many connections that one of some nodes has that has the fewest.
func (f *Fabric) Fewest(nodes int) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	of := make([]int, nodes)
	for c := range f.conns {
		of[c.local]++
	}
	return slices.Min(of)
}

// Addr is a node's address.
func Addr(node int) multiaddr.Multiaddr {
	return multiaddr.StringCast(fmt.Sprintf("/ip4/10.%d.%d.%d/tcp/4001", node>>16&0xff, node>>8&0xff, node&0xff))
}

// nodeOf is whose address it is.
func nodeOf(a multiaddr.Multiaddr) (int, error) {
	c, rest := multiaddr.SplitFirst(a)
	if c == nil || c.Protocol().Code != multiaddr.P_IP4 {
		return 0, fmt.Errorf("memnet: %s is no address of this network", a)
	}
	ip := c.RawValue()
	port, _ := multiaddr.SplitFirst(rest)
	if ip[0] != 10 || port == nil || port.String() != "/tcp/4001" {
		return 0, fmt.Errorf("memnet: %s is no address of this network", a)
	}
	return int(ip[1])<<16 | int(ip[2])<<8 | int(ip[3]), nil
}

// Cut silences one direction between two nodes, or ends that. What was sent arrives
// afterwards.
func (f *Fabric) Cut(from, to int, is bool) {
	f.alter(from, to, func() bool {
		f.setCut(from, to, is)
		return true
	})
}

// Isolate silences a node in both directions, or ends that.
func (f *Fabric) Isolate(node, nodes int, is bool) {
	f.alter(node, node, func() bool {
		for other := range nodes {
			f.setCut(node, other, is && other != node)
			f.setCut(other, node, is && other != node)
		}
		return true
	})
}

// setCut is called with the lock.
func (f *Fabric) setCut(from, to int, is bool) {
	if is {
		f.cut[[2]int{from, to}] = true
	} else {
		delete(f.cut, [2]int{from, to})
	}
}

// alter changes who is cut off or frozen, and if it did, has all look again who wait for something between two nodes, or
// with one.
func (f *Fabric) alter(a, b int, what func() bool) {
	f.mu.Lock()
	if !what() {
		f.mu.Unlock()
		return
	}
	f.silent.Store(len(f.cut) > 0 || len(f.frozen) > 0)
	close(f.changed)
	f.changed = make(chan struct{})
	var touched []*conn
	for c := range f.conns {
		if (c.local == a || c.remote == a) && (c.local == b || c.remote == b) {
			touched = append(touched, c)
		}
	}
	f.mu.Unlock()
	for _, c := range touched {
		c.look()
	}
}

// Unreachable puts a node behind a NAT: it dials, and is not dialed.
func (f *Fabric) Unreachable(node int, is bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.nat[node] = is
}

// Kill ends all connections of a node, as the death of its process does. The node's host has to be
// closed by who made it.
func (f *Fabric) Kill(node int) {
	f.mu.Lock()
	var dead []*conn
	for c := range f.conns {
		if c.local == node || c.remote == node {
			dead = append(dead, c)
		}
	}
	f.mu.Unlock()
	for _, c := range dead {
		c.end(errKilled)
	}
}

// isCut says whether a direction is silent. When that may have changed, all that wait look again.
func (f *Fabric) isCut(from, to int) bool {
	if !f.silent.Load() {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.cut[[2]int{from, to}] || f.frozen[to]
}

// isCutBetween says whether one of both directions is silent, and what is closed when that may have changed; nil:
// none is.
func (f *Fabric) isCutBetween(a, b int) <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cut[[2]int{a, b}] || f.cut[[2]int{b, a}] || f.frozen[a] || f.frozen[b] {
		return f.changed
	}
	return nil
}

// arrival is when some octets that are sent now are there.
func (f *Fabric) arrival(from, to, octets int) time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.counts.Octets += int64(octets)
	sent := time.Now()
	if d := f.path.Sending(from, octets); d > 0 {
		if b := f.busy[from]; b.After(sent) {
			sent = b
		}
		sent = sent.Add(d)
		f.busy[from] = sent
	}
	return sent.Add(f.path.Transit(from, to, octets))
}
