// Package fanout asks how long the entries of a room take to reach its providers, and
// what that costs: by gossip, and by a hub that sends to everybody itself.
//
// It runs on the event engine with the model of package gossip. Simulation is what to
// give to simulations.Parse.
package fanout

import (
	"fmt"
	"strconv"
	"time"

	"github.com/mimid/mimid/simulations"
	"github.com/mimid/mimid/simulations/engine"
	"github.com/mimid/mimid/simulations/gossip"
	"github.com/mimid/mimid/simulations/links"
	"github.com/mimid/mimid/simulations/workload"
)

// Parameters of a run.
type Parameters struct {
	Nodes       int                  `toml:"nodes" doc:"providers that take part in the room, the hub among them"`
	Mode        string               `toml:"mode" doc:"gossip, or direct: the hub sends to each itself"`
	Messages    int                  `toml:"messages" doc:"entries that the hub publishes"`
	Every       simulations.Duration `toml:"every" doc:"time between two, on average"`
	Arrivals    string               `toml:"arrivals" doc:"even, or poisson"`
	Rooms       workload.Rooms       `toml:"rooms"`
	Size        int                  `toml:"size" doc:"octets of an entry"`
	Withholding float64              `toml:"withholding" doc:"share of providers that pass nothing on"`
	Anybody     bool                 `toml:"anybody" doc:"each message is published by another provider, not by the hub"`
	Gossip      gossip.Spec          `toml:"gossip"`
	Links       links.Spec           `toml:"links"`
}

// Check says what is wrong with values.
func (p *Parameters) Check() error {
	switch {
	case p.Nodes < 2 || p.Nodes > 200_000:
		return fmt.Errorf("parameters.nodes = %d must be 2 to 200000", p.Nodes)
	case p.Mode != "gossip" && p.Mode != "direct":
		return fmt.Errorf("parameters.mode = %q must be gossip or direct", p.Mode)
	case p.Messages < 1 || p.Messages > 100_000:
		return fmt.Errorf("parameters.messages = %d must be 1 to 100000", p.Messages)
	case p.Every < 0 || p.Every.D() > time.Hour:
		return fmt.Errorf("parameters.every = %s must be 0s to 1h", p.Every.D())
	case p.Size < 1 || p.Size > 1<<20:
		return fmt.Errorf("parameters.size = %d must be 1 to 1048576", p.Size)
	case p.Rooms.Count > 0 && p.Rooms.Count*p.Messages > 500_000:
		return fmt.Errorf("parameters.rooms.count = %d and parameters.messages = %d are more than 500000 messages", p.Rooms.Count, p.Messages)
	case !(p.Withholding >= 0 && p.Withholding < 1):
		return fmt.Errorf("parameters.withholding = %g must be 0 to below 1", p.Withholding)
	}
	if err := workload.Arrivals(p.Arrivals).Check(); err != nil {
		return fmt.Errorf("parameters.%w", err)
	}
	if err := p.Rooms.Check(p.Nodes); err != nil {
		return fmt.Errorf("parameters.%w", err)
	}
	if err := p.Gossip.Check(p.Nodes); err != nil {
		return fmt.Errorf("parameters.%w", err)
	}
	if err := p.Links.Check(); err != nil {
		return fmt.Errorf("parameters.%w", err)
	}
	return nil
}

// Simulation is the question, with its defaults.
func Simulation() simulations.Simulation {
	return simulations.New(simulations.About{
		Name:     "fanout",
		Engine:   simulations.Event,
		Question: "How long does an entry of a room take to reach all its providers, and what does that cost?",
		Doc: "A hub publishes entries to the providers of one room, by a model of GossipSub or to each of them itself. " +
			"Latency is from publishing to each provider; stretch is the last provider's latency over the least that the " +
			"connections allow (the shortest path; for direct, the line between the two). With rooms.count there are as many rooms, their sizes by Zipf's law, one after the other, and what is observed has their size as a label: 4 for 4 to 7. Copies and octets are per entry and provider: 1 copy is the least.",
		Plots: []simulations.Plot{
			{Name: "latency", Title: "Time until a provider has an entry", Metric: "latency", Kind: simulations.Percentiles, X: "nodes", By: "mode", LogX: true,
				Caption: "Gossip grows with the logarithm of the room; a hub that sends by itself is bound by its line."},
			{Name: "latency-distribution", Title: "Time until a provider has an entry", Metric: "latency", Kind: simulations.Distribution, By: "mode",
				Caption: "Share of providers that have an entry after a time, over all sizes."},
			{Name: "octets", Title: "Octets sent for each entry and provider", Metric: "octets", Kind: simulations.Means, X: "nodes", By: "mode", LogX: true,
				Caption: "What gossip pays for being fast: copies that were not the first."},
			{Name: "stretch", Title: "Last provider's latency over the shortest path's", Metric: "stretch", Kind: simulations.Percentiles, X: "nodes", By: "mode", LogX: true,
				Caption: "1 is the physical bound of the connections."},
		},
	}, Parameters{Nodes: 200, Mode: "gossip", Messages: 50, Every: simulations.Duration(200 * time.Millisecond), Arrivals: string(workload.Even), Rooms: workload.Rooms{Zipf: 1.5, Least: 3}, Size: 1024,
		Gossip: gossip.Usual(), Links: links.Spec{Model: "cities", Jitter: .05, Uplink: 100}}, run)
}

// settle is how long a run goes on after the last message: all tellings are over by then.
const settle = 10 * time.Second

// run has one room of all, or rooms of sizes that are drawn, each with an engine of its own.
func run(r *simulations.Run, p Parameters) error { return planted(r, p, func(*gossip.Network) {}) }

// planted is run with a bug in each room's network, which the check is to find.
func planted(r *simulations.Run, p Parameters, plant func(*gossip.Network)) error {
	if p.Rooms.Count == 0 {
		e := engine.New(r.Seed)
		err := room(r, e, p, plant, nil, 0, 1)
		r.Trace(e.Digest(), e.Events())
		return err
	}
	all := engine.New(r.Seed)
	events := uint64(0)
	draws := all.Rand("seeds of rooms")
	sizes := p.Rooms.Sizes(p.Nodes, all.Rand("sizes"))
	for i, size := range sizes {
		e := engine.New(draws.Uint64())
		one := p
		one.Nodes = size
		label := []simulations.Label{{Key: "size", Value: strconv.Itoa(workload.Class(size))}}
		if err := room(r, e, one, plant, label, float64(i)/float64(len(sizes)), 1/float64(len(sizes))); err != nil {
			return err
		}
		all.Note(e.Digest())
		events += e.Events()
	}
	r.Trace(all.Digest(), events)
	return nil
}

// room runs one. Of the whole run's work, done is behind it, and it is share of it.
func room(r *simulations.Run, e *engine.Engine, p Parameters, plant func(*gossip.Network), labels []simulations.Label, done, share float64) error {
	model := links.New(p.Links, p.Nodes, e.Rand("links"))
	n := gossip.New(e, p.Gossip, p.Nodes, model)
	if done == 0 { // the first room
		draw(r, e, n, model, p.Nodes)
	}
	choose := e.Rand("publishers")
	hub := choose.IntN(p.Nodes)
	withhold(n, p, choose.Perm(p.Nodes), hub)

	// Of very many deliveries each one in so many is observed.
	sample := p.Nodes*p.Messages/20_000 + 1
	count := 0
	last := make([]time.Duration, p.Messages)
	look := newCheck(r, p)
	n.Deliver = func(m *gossip.Message, node int) {
		took := e.Now() - m.Published
		e.Note(uint64(m.ID)<<32 | uint64(node))
		look.delivered(m.ID, node)
		last[m.ID] = took
		if count++; node != m.From && count%sample == 0 {
			r.ObserveTime("latency", took, labels...)
			look.sample(m.ID, node, took)
		}
	}
	plant(n)
	messages := make([]*gossip.Message, p.Messages)
	times := workload.Arrivals(p.Arrivals).Times(p.Messages, p.Every.D(), e.Rand("arrivals"))
	for i := range messages {
		from := hub
		if p.Anybody {
			from = choose.IntN(p.Nodes)
		}
		e.After(times[i], func() {
			if p.Mode == "direct" {
				messages[i] = n.Push(i, from, p.Size)
			} else {
				messages[i] = n.Publish(i, from, p.Size)
			}
		})
	}
	end := times[len(times)-1] + settle
	if p.Mode == "direct" {
		end += model.Sending(p.Size+gossip.Envelope) * time.Duration(p.Nodes*p.Messages)
	}
	const steps = 500
	for i := range steps {
		e.Run(end * time.Duration(i+1) / steps)
		if err := r.At(e.Now(), done+share*float64(i+1)/steps); err != nil {
			return err
		}
	}
	var bound []time.Duration
	of := -1
	for i, m := range messages {
		r.Observe("reached", "1", float64(m.Reached)/float64(p.Nodes), labels...)
		r.ObserveTime("last", last[i], labels...)
		if m.From != of {
			bound, of = least(n, model, p, m.From), m.From
		}
		look.message(m, bound)
		if m.Reached == p.Nodes {
			var farthest time.Duration
			for _, b := range bound {
				farthest = max(farthest, b)
			}
			r.Observe("stretch", "1", float64(last[i])/float64(farthest), labels...)
		}
	}
	look.network(n)
	each := float64(p.Messages) * float64(p.Nodes-1)
	r.Observe("copies", "1", float64(n.Copies)/each, labels...)
	r.Observe("duplicates", "1", float64(n.Duplicates)/each, labels...)
	r.Observe("octets", "bytes", float64(n.Octets)/each, labels...)
	return nil
}

// least is when each provider could have what one publishes at 0.
func least(n *gossip.Network, model *links.Model, p Parameters, from int) []time.Duration {
	if p.Mode == "gossip" {
		return n.Bound(from, p.Size)
	}
	all := make([]time.Duration, p.Nodes)
	for i := range all {
		if i != from {
			all[i] = model.Sending(p.Size+gossip.Envelope) + model.Latency(from, i)
		}
	}
	return all
}

// withhold makes a share of the providers pass nothing on; the hub does not withhold
// what it publishes.
func withhold(n *gossip.Network, p Parameters, order []int, hub int) {
	left := int(p.Withholding * float64(p.Nodes))
	for _, i := range order {
		if left == 0 {
			return
		}
		if i != hub {
			n.Withhold(i)
			left--
		}
	}
}

// draw shows the meshes of small networks.
func draw(r *simulations.Run, e *engine.Engine, n *gossip.Network, m *links.Model, nodes int) {
	if nodes > simulations.MaxDrawn {
		return
	}
	rand := e.Rand("drawing")
	g := simulations.Graph{Note: "Providers and their meshes at the beginning."}
	for i := range nodes {
		x, y, group := m.Place(i, rand)
		g.Nodes = append(g.Nodes, simulations.Node{X: x, Y: y, Name: fmt.Sprintf("provider %d", i), Group: group})
		for _, k := range n.Mesh(i) {
			if int(k) > i {
				g.Edges = append(g.Edges, simulations.Edge{i, int(k)})
			}
		}
	}
	r.Draw(g)
}
