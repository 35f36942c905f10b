// Package eclipse asks whether somebody who makes node keys can hide who announces a key in
// the DHT. It runs overlay.Walk, the search of real nodes, and for comparison Kademlia's own, on
// the event engine: networks of up to 100,000 nodes, of which the attacker's lie next to the key.
//
// Modelled: routing tables are as full as those of kad-dht become; a request takes a round trip of the
// links' model; the attacker's nodes answer at once, hold nothing, and name only each other. Left out: churn,
// timeouts, and what it costs to be in routing tables.
//
// Simulation is what to give to simulations.Parse. Read eclipse.go, search.go, network.go.
package eclipse

import (
	"fmt"
	"strconv"
	"time"

	"github.com/mimid/mimid/overlay"
	"github.com/mimid/mimid/simulations"
	"github.com/mimid/mimid/simulations/engine"
	"github.com/mimid/mimid/simulations/links"
)

// Parameters of a run.
type Parameters struct {
	Nodes    int        `toml:"nodes" doc:"honest nodes of the DHT"`
	Share    float64    `toml:"share" doc:"how many of the nodes near the key are the attacker's; 1: all, nearer than any honest one"`
	Near     int        `toml:"near" doc:"how many nodes count as near the key"`
	Beside   int        `toml:"made_near_announcer" doc:"nodes of the attacker's that are nearer to the announcer's own id than any other, so that the network seems large to it"`
	Mode     string     `toml:"mode" doc:"mimid: the search and the choice of holders of real nodes; kademlia: the 20 nearest"`
	Searches int        `toml:"searches" doc:"how often somebody looks for the key"`
	Lookups  int        `toml:"lookups" doc:"independent lookups of each, which begin at different nodes"`
	Links    links.Spec `toml:"links"`
}

// Check says what is wrong with values.
func (p *Parameters) Check() error {
	switch {
	case p.Nodes < 2 || p.Nodes > 100_000:
		return fmt.Errorf("parameters.nodes = %d must be 2 to 100000", p.Nodes)
	case !(p.Share >= 0 && p.Share <= 1):
		return fmt.Errorf("parameters.share = %g must be 0 to 1", p.Share)
	case p.Near < 1 || p.Near > 1000:
		return fmt.Errorf("parameters.near = %d must be 1 to 1000", p.Near)
	case p.Beside < 0 || p.Beside > 1000:
		return fmt.Errorf("parameters.made_near_announcer = %d must be 0 to 1000", p.Beside)
	case p.Mode != "mimid" && p.Mode != "kademlia":
		return fmt.Errorf("parameters.mode = %q must be mimid or kademlia", p.Mode)
	case p.Searches < 1 || p.Searches > 100_000 || p.Lookups < 1 || p.Lookups > 64:
		return fmt.Errorf("parameters.searches = %d must be 1 to 100000, parameters.lookups = %d 1 to 64", p.Searches, p.Lookups)
	}
	if err := p.Links.Check(); err != nil {
		return fmt.Errorf("parameters.%w", err)
	}
	return nil
}

// Simulation is the question, with its defaults.
func Simulation() simulations.Simulation {
	return simulations.New(simulations.About{
		Name:     "eclipse",
		Engine:   simulations.Event,
		Question: "Can somebody who owns the ids near a key hide who announces it, and how many independent lookups find it all the same?",
		Doc: "A provider announces a key in a DHT in which some of the nodes near the key are an attacker's, who made node keys until they lay there. These answer, hold nothing and name each " +
			"other. Others look for it: with the search of real nodes (four paths that share no node, through the whole region of the key, where 30 nodes hold it), or with Kademlia's (the 20 nearest). found is the share of searches " +
			"that find the announcer with so many independent lookups, begun at different nodes; hops and latency are those of a lookup that finds it, messages the nodes that a lookup asks. Routing tables are modelled, and all nodes live. With made_near_announcer the attacker also " +
			"makes nodes next to the announcer's own id, from which nodes tell the size of the network, and so how far around a key they look; they compare it with what they meet at random places.",
		Plots: []simulations.Plot{
			{Name: "besieged", Title: "Share of searches that find the announcer", Metric: "found", Kind: simulations.Means, X: "made_near_announcer", By: "mode",
				Caption: "Over all settings. Nodes made next to the announcer's own id change nothing."},
			{Name: "lookups", Title: "Share of searches that find the announcer", Metric: "found", Kind: simulations.Means, X: "lookups", By: "mode",
				Caption: "Over all settings. Where everybody's lookups end among the attacker's nodes, more of them are as blind as one."},
			{Name: "found", Title: "Share of searches that find the announcer", Metric: "found", Kind: simulations.Means, X: "share", By: "mode",
				Caption: "Over all settings. At 1 every near node is the attacker's: Kademlia's search ends among them, the other goes through the whole region."},
			{Name: "messages", Title: "Nodes that a lookup asks", Metric: "messages", Kind: simulations.Percentiles, X: "share", By: "mode"},
			{Name: "hops", Title: "Hops to the node that names the announcer", Metric: "hops", Kind: simulations.Means, X: "share", By: "mode",
				Caption: "Kademlia's bound is log2 of the number of nodes: 10 for 1,000. Tables of 20 nodes for each distance take far fewer."},
		},
	}, Parameters{Nodes: 1000, Share: .25, Near: 40, Mode: "mimid", Searches: 50, Lookups: 4, Links: links.Spec{Model: "cities", Jitter: .05}}, run)
}

func run(r *simulations.Run, p Parameters) error { return planted(r, p, nil) }

// planted is run with a bug in all walks, which the check of each is to find.
func planted(r *simulations.Run, p Parameters, plant func(course) course) error {
	e := engine.New(r.Seed)
	n := newNetwork(e.Rand("network"), r.Seed, p.Nodes, p.Share, p.Near)
	s := newSearching(r, e, n, p.Mode)
	s.plant = plant
	order := s.rand.Perm(p.Nodes)
	if p.Beside > 0 {
		n.besiege(n.nodes[n.honest()[order[0]]].id, p.Beside)
	}
	s.model = links.New(p.Links, len(n.nodes), e.Rand("links"))
	honest := n.honest()
	announcer := honest[order[0]]
	s.lookup(announcer, func(l lookup) {
		holders := l.course.Holders()
		l.look.Holders(holders)
		for _, id := range holders {
			n.nodes[n.byID[id]].holds = true
		}
	})
	e.Run(time.Hour)
	for i := range p.Searches {
		found := false
		for k := range p.Lookups {
			from := honest[order[1+(i*p.Lookups+k)%(len(order)-1)]]
			s.lookup(from, func(l lookup) {
				found = found || l.found
				r.Observe("messages", "1", float64(l.asked))
				if l.found {
					r.ObserveTime("latency", l.took)
					r.Observe("hops", "1", float64(l.hops))
				}
			})
			e.Run(e.Now() + time.Hour)
			share := 0.0
			if found {
				share = 1
			}
			r.Observe("found", "1", share, simulations.Label{Key: "lookups", Value: strconv.Itoa(k + 1)})
		}
		if err := r.At(e.Now(), float64(i+1)/float64(p.Searches)); err != nil {
			return err
		}
	}
	held := 0
	for _, x := range n.nodes {
		if x.holds && !x.bad {
			held++
		}
	}
	r.Observe("holders", "1", float64(held))
	r.Trace(e.Digest(), e.Events())
	return nil
}

// announcement is whom nodes that hold the record name.
var announcement = []overlay.PeerID{"the announcer"}
