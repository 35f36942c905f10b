package stack

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"sync"
	"time"

	"github.com/mimid/mimid/overlay"
	"github.com/mimid/mimid/simulations"
	"github.com/mimid/mimid/simulations/links"
)

// Parameters of a run.
type Parameters struct {
	Nodes     int                  `toml:"nodes" doc:"providers, which all take part in one room"`
	Transport string               `toml:"transport" doc:"memory (streams, without packets), or quic (as it is, packet by packet; 150 nodes at most)"`
	Messages  int                  `toml:"messages" doc:"entries that are published, each by another provider"`
	Every     simulations.Duration `toml:"every" doc:"time between two"`
	Size      int                  `toml:"size" doc:"octets of an entry"`
	Settle    simulations.Duration `toml:"settle" doc:"time between joining and the first entry, in which meshes form"`
	// What a node holds and computes grows with its connections, so large networks need a limit.
	Connections int        `toml:"connections" doc:"connections that a node keeps, 16 to 100000: once it has more it closes some that are not new; 0: 900, as mimid serve does unless told otherwise, so that in a network of some hundreds all are connected to all"`
	Links       links.Spec `toml:"links"`
}

// Check says what is wrong with values.
func (p *Parameters) Check() error {
	switch {
	case p.Nodes < 2 || p.Nodes > 2000:
		return fmt.Errorf("parameters.nodes = %d must be 2 to 2000", p.Nodes)
	case p.Messages < 1 || p.Messages > 10_000:
		return fmt.Errorf("parameters.messages = %d must be 1 to 10000", p.Messages)
	case p.Every < 0 || p.Every.D() > time.Hour || p.Settle < 0 || p.Settle.D() > time.Hour:
		return fmt.Errorf("parameters.every = %s and parameters.settle = %s must be 0s to 1h", p.Every.D(), p.Settle.D())
	case p.Size < 8 || p.Size > overlay.MaxMessage:
		return fmt.Errorf("parameters.size = %d must be 8 to %d", p.Size, overlay.MaxMessage)
	}
	if err := checkConnections(p.Connections); err != nil {
		return err
	}
	if err := p.Links.Check(); err != nil {
		return fmt.Errorf("parameters.%w", err)
	}
	return checkTransport(p.Transport, p.Nodes)
}

// Gossip asks how long an entry takes among real nodes.
func Gossip() simulations.Simulation {
	return simulations.New(simulations.About{
		Name:     "gossip",
		Engine:   simulations.Stack,
		Question: "How long does an entry of a room take to reach its providers through real nodes?",
		Doc: "The overlay of mimid's nodes as it is, with libp2p's host, DHT and GossipSub, on a network in memory and in virtual time: over streams, or (transport = \"quic\") over QUIC as it is. " +
			"All providers take part in one room; each entry is published by another one. latency is from publishing to each provider; " +
			"mesh is how many neighbours a provider sends to; octets are all that is sent on all connections, for each entry and provider, DHT and heartbeats too. " +
			"Over QUIC packets is how many a provider has sent since it began, and lost the share of all that were lost.",
		Plots: []simulations.Plot{
			{Name: "latency", Title: "Time until a provider has an entry", Metric: "latency", Kind: simulations.Percentiles, X: "nodes", LogX: true},
			{Name: "latency-distribution", Title: "Time until a provider has an entry", Metric: "latency", Kind: simulations.Distribution, By: "nodes"},
			{Name: "mesh", Title: "Neighbours in the mesh", Metric: "mesh", Kind: simulations.Percentiles, X: "nodes", LogX: true},
		},
	}, Parameters{Nodes: 100, Transport: overMemory, Messages: 40, Every: simulations.Duration(250 * time.Millisecond), Size: 1024, Settle: simulations.Duration(20 * time.Second),
		Links: links.Spec{Model: "cities", Jitter: .05, Uplink: 100}}, runGossip)
}

// topic is the room's.
const topic = "simulated-room"

// heard is what nodes got, and what of it cannot be: what nobody has published, a message for the second time, or sooner than from
// who has published it to whoever is next to that one. Receive is called on many goroutines.
type heard struct {
	size  int
	least []time.Duration // of each node's publishing, on the way to the next one

	mu    sync.Mutex
	sent  []time.Time       // guarded by mu
	times [][]time.Duration // guarded by mu, of each message
	at    []map[int]bool    // guarded by mu, nodes that have each
	wrong []string          // guarded by mu
}

func newHeard(messages, size int, least []time.Duration) *heard {
	h := &heard{size: size, least: least, sent: make([]time.Time, messages), times: make([][]time.Duration, messages), at: make([]map[int]bool, messages)}
	for i := range h.at {
		h.at[i] = map[int]bool{}
	}
	return h
}

// message is what is published.
func (h *heard) message(id uint64) []byte {
	data := make([]byte, h.size)
	binary.BigEndian.PutUint64(data, id)
	return data
}

func (h *heard) receive(node int, data []byte) overlay.Verdict {
	id := uint64(1<<64 - 1)
	if len(data) >= 8 {
		id = binary.BigEndian.Uint64(data)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if id >= uint64(len(h.sent)) || h.sent[id].IsZero() || len(data) != h.size || bytes.Count(data[8:], []byte{0}) != h.size-8 {
		h.wrong = append(h.wrong, fmt.Sprintf("node %d gets a message that nobody has published", node))
		return overlay.Reject
	}
	took := time.Since(h.sent[id])
	if h.at[id][node] {
		h.wrong = append(h.wrong, fmt.Sprintf("node %d gets message %d twice", node, id))
	}
	h.at[id][node] = true
	if least := h.least[int(id)%len(h.least)]; took < least {
		h.wrong = append(h.wrong, fmt.Sprintf("node %d gets message %d after %s, and the way takes %s", node, id, took, least))
	}
	h.times[id] = append(h.times[id], took)
	return overlay.Accept
}

// nexts is how long it takes from each node to the one that is nearest.
func (n *network) nexts() (out []time.Duration) {
	for a := range n.nodes {
		least := time.Duration(1<<63 - 1)
		for b := range n.nodes {
			if a != b {
				least = min(least, n.model.Latency(a, b))
			}
		}
		out = append(out, least)
	}
	return out
}

func runGossip(r *simulations.Run, p Parameters) error {
	return plantedGossip(r, p, func(h *heard, node int, data []byte) overlay.Verdict { return h.receive(node, data) })
}

// plantedGossip is runGossip with a bug in what nodes get, which the check is to find.
func plantedGossip(r *simulations.Run, p Parameters, receive func(*heard, int, []byte) overlay.Verdict) (err error) {
	begun := time.Now()
	n, err := start(r, p.Transport, p.Nodes, p.Connections, p.Links)
	if n != nil {
		defer func() {
			if stopped := n.stop(); err == nil {
				err = stopped
			}
		}()
	}
	if err != nil {
		return err
	}
	h := newHeard(p.Messages, p.Size, n.nexts())
	topics := make([]*overlay.Topic, p.Nodes)
	for i, x := range n.nodes {
		if topics[i], err = x.Join(topic, overlay.TopicHandler{Receive: func(_ overlay.PeerID, data []byte) overlay.Verdict { return receive(h, i, data) }}); err != nil {
			return fmt.Errorf("node %d: %w", i, err)
		}
	}
	if err := wait(r, p.Settle.D(), .5, begun); err != nil {
		return err
	}
	before := n.fabric.octets()
	for i := range p.Messages {
		from := i % p.Nodes
		h.mu.Lock()
		h.sent[i] = time.Now()
		h.mu.Unlock()
		if err := topics[from].Publish(r.Context(), h.message(uint64(i))); err != nil {
			return fmt.Errorf("publishing at node %d: %w", from, err)
		}
		if err := wait(r, p.Every.D(), .6+.3*float64(i)/float64(p.Messages), begun); err != nil {
			return err
		}
	}
	if err := wait(r, 10*time.Second, .9, begun); err != nil {
		return err
	}
	observe(r, p, n, h, topics, before)
	return nil
}

// wait lets virtual time pass; the share is how much of the run is done.
func wait(r *simulations.Run, d time.Duration, share float64, begun time.Time) error {
	const step = time.Second
	for d > 0 {
		time.Sleep(min(d, step))
		d -= step
		if err := r.At(time.Since(begun), share); err != nil {
			return err
		}
	}
	return r.At(time.Since(begun), share)
}

func observe(r *simulations.Run, p Parameters, n *network, h *heard, topics []*overlay.Topic, before int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, w := range h.wrong[:min(len(h.wrong), 10)] {
		r.Violate("%s", w)
	}
	sample := p.Nodes*p.Messages/20_000 + 1
	count := 0
	for _, times := range h.times {
		r.Observe("reached", "1", float64(len(times)+1)/float64(p.Nodes))
		for _, d := range times {
			if count++; count%sample == 0 {
				r.ObserveTime("latency", d)
			}
		}
	}
	for _, t := range topics {
		r.Observe("mesh", "1", float64(len(t.Mesh())))
	}
	n.fabric.observe(r, p.Nodes)
	r.Observe("octets", "bytes", float64(n.fabric.octets()-before)/float64(p.Messages*(p.Nodes-1)))
}
