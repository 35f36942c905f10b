package search

import (
	"encoding/binary"

	"github.com/mimid/mimid/protocol/hub"
	"github.com/mimid/mimid/protocol/room"
)

const maxNodes = 5

// A world is one state of the search: what every provider's machine holds in
// memory and on disk, what is in the network, and what was ever true. Nodes,
// packets and the past are shared between worlds and never change.
type world struct {
	nodes  [maxNodes]*node
	net    []*packet
	netFP  uint64
	out    hub.Outbox
	outFP  uint64
	left   budget
	past   *past
	pastFP uint64
	path   *hop
}

// A node is one provider.
type node struct {
	m    hub.Machine
	d    hub.Durable
	up   bool
	fp   uint64
	back *hub.Durable // the backup, made at the start
	cfg  *hub.Config
}

type packet struct {
	m  *hub.Message
	fp uint64
}

// past is what was ever true: histories that look alike now but differ here are
// different states.
type past struct {
	finals   []final // by place
	leads    []lead
	accepted []room.TxnID
}

// final is an entry and the lowest term that has certified it.
type final struct {
	hash room.Hash
	by   room.Term
}

type lead struct {
	term room.Term
	by   hub.Provider
	log  hub.Log
}

// A hop is a step of a path from the beginning.
type hop struct {
	prev  *hop
	depth int
	act   action
}

func (n *node) seal() {
	var d hub.Digest
	if n.up {
		n.m.Digest(&d)
		if n.cfg.Window > 0 {
			log := n.m.Log()
			d.Add(log.Base()) // what is below differs in who can be asked for it
		}
	} else {
		d.Add(99)
		n.d.State.Digest(&d)
		d.Add(binary.LittleEndian.Uint64(hashOf(n.d.Log)))
	}
	n.fp = uint64(d)
}

func hashOf(l hub.Log) []byte {
	h := l.Last().Hash
	return h[:8]
}

// fingerprint folds the world into 64 bits. The network is a bag: its packets
// are summed. What is on disk needs folding only where it can differ from
// memory: a planted bug may forget to write.
func (w *world) fingerprint() uint64 {
	var d hub.Digest
	for _, n := range w.nodes {
		if n != nil {
			d.Add(n.fp)
			if n.up {
				d.Add(n.d.State.Vote.Term.Number<<32 | n.d.State.Seen.Number<<16 | n.d.State.Final.Head.Seq<<8 | uint64(n.d.Log.Len()))
			}
		}
	}
	d.Add(w.netFP)
	d.Add(w.outFP)
	d.Add(w.left.fold())
	d.Add(w.pastFP)
	return uint64(d)
}

func (w *world) post(m *hub.Message) {
	var d hub.Digest
	m.Digest(&d)
	p := &packet{m, uint64(d)}
	w.net = append(w.net[:len(w.net):len(w.net)], p)
	w.netFP += p.fp
}

func (w *world) take(i int) {
	w.netFP -= w.net[i].fp
	net := make([]*packet, 0, len(w.net))
	w.net = append(append(net, w.net[:i]...), w.net[i+1:]...)
}

// prune forgets messages that can do nothing at a node any more, ever. What is
// durable there decides, because a crash takes back the rest.
func (w *world) prune(at int) {
	d := w.nodes[at].d
	seen, self := d.State.Seen, hub.Provider(at+1)
	dead := func(m *hub.Message) bool {
		if m.To != self {
			return false
		}
		switch m.Kind {
		case hub.CoSign:
			return m.Term.Compare(seen) < 0
		case hub.Grant, hub.Would:
			return m.Term.Compare(seen) < 0 && m.Seen.Compare(seen) <= 0
		case hub.Refuse:
			return m.Seen.Compare(seen) < 0
		case hub.Certify:
			return m.Final.Head.Seq <= d.State.Final.Head.Seq && d.Log.Holds(m.Final.Head)
		}
		return false
	}
	for i := 0; i < len(w.net); {
		if dead(w.net[i].m) {
			w.take(i)
			continue
		}
		i++
	}
}

func (p *past) digest() uint64 {
	var d hub.Digest
	for _, f := range p.finals {
		d.Add(binary.LittleEndian.Uint64(f.hash[:8]))
		d.Add(uint64(f.by.Era)<<48 | f.by.Number)
	}
	for _, l := range p.leads {
		d.Add(uint64(l.term.Era)<<48 | l.term.Number<<8 | uint64(l.by))
		d.Add(binary.LittleEndian.Uint64(hashOf(l.log)))
	}
	// In the order of their numbers, not of their acceptance.
	var acc uint64
	for _, t := range p.accepted {
		acc |= 1 << t[0]
	}
	d.Add(acc)
	return uint64(d)
}

// seal stands in for the hash of an entry: fast, and injective in practice.
func seal(e *hub.Entry) room.Hash {
	var d hub.Digest
	d.Add(binary.LittleEndian.Uint64(e.Prev[:8]))
	d.Add(uint64(e.Term.Era)<<48 | e.Term.Number)
	d.Add(e.Seq)
	d.Add(uint64(e.Kind)<<32 | uint64(e.Hub)<<8 | uint64(e.Via))
	d.Add(uint64(e.Txn[0]))
	for _, s := range []hub.Set{e.Set, e.Voters} {
		d.Add(uint64(len(s)))
		for _, p := range s {
			d.Add(uint64(p))
		}
	}
	for _, p := range e.Liars {
		d.Add(uint64(p))
	}
	var h room.Hash
	binary.LittleEndian.PutUint64(h[:], uint64(d))
	return h
}

// txn is the identifier of the i-th submission, from 1.
func txn(i int) room.TxnID { return room.TxnID{byte(i)} }
