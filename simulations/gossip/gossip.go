// Package gossip is a model of GossipSub v1.1 as mimid's overlay uses it, for the event
// engine: who gets a message, when, how often, and what that costs. It is a model,
// not the real code: the stack engine runs that, and is what this is compared with.
//
// # Modelled
//
//   - Each node is connected to Known others at random, and has a mesh of D of these, Dlo to Dhi.
//   - A new message goes to all of the mesh but where it came from; that of a node itself, with
//     Flood, to all who are connected.
//   - At each heartbeat a node tells Lazy others, that are connected and not in its mesh, which
//     messages it has got within the last three, and who has not got one asks for it.
//   - Checking a message takes Process. A node's line sends one thing after the other
//     (links.Spec.Uplink).
//
// # Left out
//
// Grafts, prunes and scores: the mesh stays as it is. Nodes that withhold take everything
// and pass nothing on, which scores would find in time; so what is measured is the worst before that.
// IDONTWANT is not there.
//
// # What a message costs
//
// Octets are counted as they are in libp2p: a message is its body and Envelope octets of
// topic, protobuf and muxer frames; an IHAVE or IWANT takes Control octets.
package gossip

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/mimid/mimid/simulations"
	"github.com/mimid/mimid/simulations/engine"
	"github.com/mimid/mimid/simulations/links"
)

// What is sent beside bodies, in octets.
const (
	Envelope = 60 // topic of 20, lengths and tags of two protobuf messages, a yamux header of 12
	Control  = 70 // topic, one message id of 32, likewise
)

// A Spec is a network's parameters in a scenario. The defaults are go-libp2p-pubsub's.
type Spec struct {
	Known     int                  `toml:"known" doc:"other nodes that a node is connected to"`
	D         int                  `toml:"d" doc:"nodes of the mesh that a node wants"`
	Dlo       int                  `toml:"d_lo" doc:"fewest"`
	Dhi       int                  `toml:"d_hi" doc:"most"`
	Lazy      int                  `toml:"d_lazy" doc:"nodes told of messages at each heartbeat"`
	Heartbeat simulations.Duration `toml:"heartbeat" doc:"between two of a node"`
	Flood     bool                 `toml:"flood_publish" doc:"own messages go to all known nodes"`
	Process   simulations.Duration `toml:"process" doc:"time that a node takes to check a message and pass it on"`
}

// Usual are the parameters of go-libp2p-pubsub, and the processing time that
// was measured for mimid's nodes.
func Usual() Spec {
	return Spec{Known: 20, D: 6, Dlo: 5, Dhi: 12, Lazy: 6, Heartbeat: simulations.Duration(time.Second), Process: simulations.Duration(300 * time.Microsecond)}
}

// Check says what is wrong with a Spec for some nodes.
func (s Spec) Check(nodes int) error {
	switch {
	case s.D < 1 || s.Dlo < 1 || s.Dlo > s.D || s.Dhi < s.D:
		return fmt.Errorf("gossip.d_lo = %d, gossip.d = %d, gossip.d_hi = %d must be in this order, from 1", s.Dlo, s.D, s.Dhi)
	case s.Known < s.D && s.Known < nodes-1:
		return fmt.Errorf("gossip.known = %d is fewer than gossip.d = %d", s.Known, s.D)
	case s.Known > 10_000:
		return fmt.Errorf("gossip.known = %d is more than 10000", s.Known)
	case s.Lazy < 0 || s.Process < 0:
		return fmt.Errorf("gossip.d_lazy = %d and gossip.process = %s must not be negative", s.Lazy, s.Process.D())
	case s.Heartbeat.D() < time.Millisecond:
		return fmt.Errorf("gossip.heartbeat = %s must be 1ms or more", s.Heartbeat.D())
	}
	return nil
}

// rounds is for how many heartbeats a message is told of (HistoryGossip).
const rounds = 3

// A Network is all nodes of one topic. It belongs to its engine's goroutine.
type Network struct {
	Deliver func(m *Message, node int) // called when a node gets a message for the first time, if set

	// What was sent: copies of messages, those that were not the first at their
	// receiver, tellings and askings, and octets of all.
	Copies, Duplicates, Told, Asked, Octets int64

	e     *engine.Engine
	spec  Spec
	model *links.Model
	rand  *rand.Rand
	nodes []node
}

type node struct {
	known []int32       // who it is connected to, ascending
	mesh  []int32       // of these, ascending
	phase time.Duration // of its heartbeats
	busy  time.Duration // until when its line sends
	mute  bool          // it withholds
	fresh []*Message    // that it still tells others of
	due   bool          // a heartbeat is waiting
	ages  []int         // of fresh: heartbeats that each has been told at
}

// A Message is one that was published.
type Message struct {
	ID        int
	From      int
	Size      int
	Published time.Duration
	Reached   int // nodes that have it, with the first

	n      *Network
	has    []uint64 // a bit for each node that has it
	asking []uint64 // and for each that has asked for it and waits
}

// What happens to a message. The argument holds two nodes (pair).
type (
	arrival Message // the first gets it from the second
	passing Message // the first, who has it from the second, has checked it
	telling Message // the first hears from the second that that one has it
	asking  Message // the first is asked for it by the second
	pushed  Message // the first gets it from the hub itself
	heart   Network // the first's heartbeat
)

func pair(a, b int) uint64        { return uint64(uint32(a))<<32 | uint64(uint32(b)) }
func split(arg uint64) (a, b int) { return int(int32(arg >> 32)), int(int32(arg)) }

func (m *arrival) Happen(arg uint64) {
	to, from := split(arg)
	m.n.take((*Message)(m), to, from)
}

func (m *passing) Happen(arg uint64) {
	at, from := split(arg)
	m.n.forward((*Message)(m), at, from, m.n.nodes[at].mesh)
}

func (m *telling) Happen(arg uint64) {
	to, from := split(arg)
	if has(m.has, to) || has(m.asking, to) {
		return
	}
	set(m.asking, to)
	m.n.Asked++
	m.n.send(to, from, Control, (*asking)(m))
}

func (m *asking) Happen(arg uint64) {
	at, by := split(arg)
	if m.n.nodes[at].mute {
		clear(m.asking, by)
		return
	}
	m.n.copy((*Message)(m), at, by)
}

func (m *pushed) Happen(arg uint64) {
	to, _ := split(arg)
	set(m.has, to)
	m.Reached++
	if m.n.Deliver != nil {
		m.n.Deliver((*Message)(m), to)
	}
}

func (n *heart) Happen(arg uint64) {
	at, _ := split(arg)
	(*Network)(n).heartbeat(at)
}

// New connects nodes. The Spec must have passed Check.
func New(e *engine.Engine, s Spec, nodes int, m *links.Model) *Network {
	n := &Network{e: e, spec: s, model: m, rand: e.Rand("gossip"), nodes: make([]node, nodes)}
	n.connect(e.Rand("gossip connections"))
	r := e.Rand("gossip heartbeats")
	for i := range n.nodes {
		n.nodes[i].phase = time.Duration(r.Int64N(int64(s.Heartbeat.D())))
	}
	return n
}

// connect draws a random graph in which each node has about Known others, and within
// it a mesh.
func (n *Network) connect(r *rand.Rand) {
	count := len(n.nodes)
	join := func(a, b int) {
		n.nodes[a].known = append(n.nodes[a].known, int32(b))
		n.nodes[b].known = append(n.nodes[b].known, int32(a))
	}
	// A ring through all, so that the graph is connected, then by chance.
	order := r.Perm(count)
	for i := range order {
		if count > 2 || i == 0 && count == 2 {
			join(order[i], order[(i+1)%count])
		}
	}
	want := min(n.spec.Known, count-1)
	for a := range n.nodes {
		for try := 0; len(n.nodes[a].known) < want && try < 20*want; try++ {
			b := r.IntN(count)
			if b != a && len(n.nodes[b].known) < want+want/4+1 && !slices.Contains(n.nodes[a].known, int32(b)) {
				join(a, b)
			}
		}
	}
	for i := range n.nodes {
		slices.Sort(n.nodes[i].known)
	}
	for _, least := range []int{n.spec.D, n.spec.Dlo} { // first with room for all, then wherever there is any
		for _, a := range r.Perm(count) {
			candidates := slices.Clone(n.nodes[a].known)
			r.Shuffle(len(candidates), func(i, j int) { candidates[i], candidates[j] = candidates[j], candidates[i] })
			for _, b := range candidates {
				if len(n.nodes[a].mesh) >= least {
					break
				}
				if len(n.nodes[b].mesh) < n.spec.Dhi && !slices.Contains(n.nodes[a].mesh, b) {
					n.nodes[a].mesh = append(n.nodes[a].mesh, b)
					n.nodes[b].mesh = append(n.nodes[b].mesh, int32(a))
				}
			}
		}
	}
	for i := range n.nodes {
		slices.Sort(n.nodes[i].mesh)
	}
}

// Withhold makes a node take everything and pass nothing on.
func (n *Network) Withhold(node int) { n.nodes[node].mute = true }

// Withholds says whether a node does.
func (n *Network) Withholds(node int) bool { return n.nodes[node].mute }

// Known are the nodes that one is connected to. The slice is the network's.
func (n *Network) Known(node int) []int32 { return n.nodes[node].known }

// Mesh is a node's mesh. The slice is the network's.
func (n *Network) Mesh(node int) []int32 { return n.nodes[node].mesh }

// Publish has a node say something of some octets now.
func (n *Network) Publish(id, from, size int) *Message {
	m := n.message(id, from, size)
	n.take(m, from, -1)
	return m
}

func (n *Network) message(id, from, size int) *Message {
	words := (len(n.nodes) + 63) / 64
	return &Message{ID: id, From: from, Size: size, Published: n.e.Now(), n: n, has: make([]uint64, words), asking: make([]uint64, words)}
}

// Push has a node send something to all others itself, one after the other, as a hub
// without gossip would.
func (n *Network) Push(id, from, size int) *Message {
	m := n.message(id, from, size)
	(*pushed)(m).Happen(pair(from, from))
	for _, to := range n.rand.Perm(len(n.nodes)) {
		if to == from {
			continue
		}
		n.Copies++
		n.send(from, to, size+Envelope, (*pushed)(m))
	}
	return m
}

func set(bits []uint64, i int)      { bits[i/64] |= 1 << (i % 64) }
func clear(bits []uint64, i int)    { bits[i/64] &^= 1 << (i % 64) }
func has(bits []uint64, i int) bool { return bits[i/64]>>(i%64)&1 == 1 }

// take is what a node does with a message that has arrived.
func (n *Network) take(m *Message, at, from int) {
	clear(m.asking, at)
	if has(m.has, at) {
		n.Duplicates++
		return
	}
	set(m.has, at)
	m.Reached++
	if n.Deliver != nil {
		n.Deliver(m, at)
	}
	nd := &n.nodes[at]
	if nd.mute {
		return
	}
	nd.fresh, nd.ages = append(nd.fresh, m), append(nd.ages, 0)
	n.awaken(at)
	if from < 0 {
		to := nd.mesh
		if n.spec.Flood {
			to = nd.known
		}
		n.forward(m, at, -1, to)
		return
	}
	n.e.AfterDo(n.spec.Process.D(), (*passing)(m), pair(at, from))
}

func (n *Network) forward(m *Message, at, from int, to []int32) {
	// Not in the order of their numbers: who has a low one would always be served first.
	first := 0
	if len(to) > 0 {
		first = n.rand.IntN(len(to))
	}
	for i := range to {
		peer := int(to[(first+i)%len(to)])
		if peer != from && peer != m.From {
			n.copy(m, at, peer)
		}
	}
}

func (n *Network) copy(m *Message, from, to int) {
	n.Copies++
	n.send(from, to, m.Size+Envelope, (*arrival)(m))
}

// send has something happen to the receiver, with the sender as the second of the pair.
func (n *Network) send(from, to, octets int, arrived engine.Happening) {
	n.Octets += int64(octets)
	nd := &n.nodes[from]
	nd.busy = max(nd.busy, n.e.Now()) + n.model.Sending(octets)
	n.e.AfterDo(nd.busy-n.e.Now()+n.model.Transit(from, to, octets, n.rand), arrived, pair(to, from))
}

// awaken has a node's next heartbeat happen, if it is not waiting already: nodes
// without news have none.
func (n *Network) awaken(at int) {
	nd := &n.nodes[at]
	if nd.due {
		return
	}
	nd.due = true
	beat := n.spec.Heartbeat.D()
	now := n.e.Now()
	next := now - (now-nd.phase)%beat + beat
	if now < nd.phase {
		next = nd.phase
	}
	n.e.AfterDo(next-now, (*heart)(n), pair(at, 0))
}

func (n *Network) heartbeat(at int) {
	nd := &n.nodes[at]
	nd.due = false
	var others []int32
	for _, k := range nd.known {
		if _, in := slices.BinarySearch(nd.mesh, k); !in {
			others = append(others, k)
		}
	}
	n.rand.Shuffle(len(others), func(i, j int) { others[i], others[j] = others[j], others[i] })
	keep := 0
	for i, m := range nd.fresh {
		for _, to := range others[:min(n.spec.Lazy, len(others))] {
			n.tell(m, at, int(to))
		}
		if nd.ages[i]+1 < rounds {
			nd.fresh[keep], nd.ages[keep] = m, nd.ages[i]+1
			keep++
		}
	}
	for i := keep; i < len(nd.fresh); i++ {
		nd.fresh[i] = nil
	}
	nd.fresh, nd.ages = nd.fresh[:keep], nd.ages[:keep]
	if keep > 0 {
		n.awaken(at)
	}
}

// tell says to a node that one has a message; if it lacks it, it asks.
func (n *Network) tell(m *Message, from, to int) {
	n.Told++
	n.send(from, to, Control, (*telling)(m))
}
