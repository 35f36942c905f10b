package stack

import (
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
	Nodes    int                  `toml:"nodes" doc:"providers, which all take part in one room"`
	Messages int                  `toml:"messages" doc:"entries that are published, each by another provider"`
	Every    simulations.Duration `toml:"every" doc:"time between two"`
	Size     int                  `toml:"size" doc:"octets of an entry"`
	Settle   simulations.Duration `toml:"settle" doc:"time between joining and the first entry, in which meshes form"`
	Links    links.Spec           `toml:"links"`
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
	if err := p.Links.Check(); err != nil {
		return fmt.Errorf("parameters.%w", err)
	}
	return nil
}

// Gossip asks how long an entry takes among real nodes.
func Gossip() simulations.Simulation {
	return simulations.New(simulations.About{
		Name:     "gossip",
		Engine:   simulations.Stack,
		Question: "How long does an entry of a room take to reach its providers through real nodes?",
		Doc: "The overlay of mimid's nodes as it is, with libp2p's host, DHT and GossipSub, on a network in memory and in virtual time. " +
			"All providers take part in one room; each entry is published by another one. latency is from publishing to each provider; " +
			"mesh is how many neighbours a provider sends to; octets are all that is sent on all connections, for each entry and provider, DHT and heartbeats too.",
		Plots: []simulations.Plot{
			{Name: "latency", Title: "Time until a provider has an entry", Metric: "latency", Kind: simulations.Percentiles, X: "nodes", LogX: true},
			{Name: "latency-distribution", Title: "Time until a provider has an entry", Metric: "latency", Kind: simulations.Distribution, By: "nodes"},
			{Name: "mesh", Title: "Neighbours in the mesh", Metric: "mesh", Kind: simulations.Percentiles, X: "nodes", LogX: true},
		},
	}, Parameters{Nodes: 100, Messages: 40, Every: simulations.Duration(250 * time.Millisecond), Size: 1024, Settle: simulations.Duration(20 * time.Second),
		Links: links.Spec{Model: "cities", Jitter: .05, Uplink: 100}}, runGossip)
}

// topic is the room's.
const topic = "simulated-room"

// heard is what nodes got. Receive is called on many goroutines.
type heard struct {
	mu    sync.Mutex
	sent  []time.Time
	times [][]time.Duration // of each message
}

func (h *heard) receive(data []byte) overlay.Verdict {
	id := binary.BigEndian.Uint64(data)
	h.mu.Lock()
	defer h.mu.Unlock()
	if id >= uint64(len(h.sent)) {
		return overlay.Reject
	}
	h.times[id] = append(h.times[id], time.Since(h.sent[id]))
	return overlay.Accept
}

func runGossip(r *simulations.Run, p Parameters) (err error) {
	begun := time.Now()
	n, err := start(r, p.Nodes, p.Links)
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
	h := &heard{sent: make([]time.Time, p.Messages), times: make([][]time.Duration, p.Messages)}
	topics := make([]*overlay.Topic, p.Nodes)
	for i, x := range n.nodes {
		if topics[i], err = x.Join(topic, overlay.TopicHandler{Receive: func(_ overlay.PeerID, data []byte) overlay.Verdict { return h.receive(data) }}); err != nil {
			return fmt.Errorf("node %d: %w", i, err)
		}
	}
	if err := wait(r, p.Settle.D(), .5, begun); err != nil {
		return err
	}
	before := n.fabric.Counts().Octets
	for i := range p.Messages {
		from := i % p.Nodes
		data := make([]byte, p.Size)
		binary.BigEndian.PutUint64(data, uint64(i))
		h.mu.Lock()
		h.sent[i] = time.Now()
		h.mu.Unlock()
		if err := topics[from].Publish(r.Context(), data); err != nil {
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
	c := n.fabric.Counts()
	r.Observe("connections", "1", 2*float64(c.Connections)/float64(p.Nodes))
	r.Observe("octets", "bytes", float64(c.Octets-before)/float64(p.Messages*(p.Nodes-1)))
}
