// Package lookup asks how the search for who announces a key grows with the network, and what it takes when nodes come
// and go. It runs overlay.Walk, the search of real nodes, on the event engine: networks of up to 100,000 nodes.
// TestPublishedHops compares these networks with what was measured in IPFS.
//
// Modelled: routing tables (of who was up when the node came, or refreshed its table; kad-dht, too, keeps who has
// gone until it looks again); who is gone is silent, and whoever asks it waits in vain; a request takes a round trip of the
// links' model. Left out: connections and their handshakes, and that nodes forget who did not answer.
//
// Simulation is what to give to simulations.Parse. Read lookup.go, search.go, network.go.
package lookup

import (
	"fmt"
	"math"
	"time"

	"github.com/mimid/mimid/overlay"
	"github.com/mimid/mimid/simulations"
	"github.com/mimid/mimid/simulations/churn"
	"github.com/mimid/mimid/simulations/engine"
	"github.com/mimid/mimid/simulations/links"
)

// Parameters of a run.
type Parameters struct {
	Nodes    int                  `toml:"nodes" doc:"nodes of the DHT, those that are away among them"`
	Keys     int                  `toml:"keys" doc:"keys that are announced, each by one node, which never goes"`
	Searches int                  `toml:"searches" doc:"how often somebody who is up looks for one of them"`
	Lasts    simulations.Duration `toml:"lasts" doc:"time from the announcements on in which they do"`
	Repeat   simulations.Duration `toml:"repeat" doc:"time between two announcements of a key; 0s: it is announced once"`
	Refresh  simulations.Duration `toml:"refresh" doc:"time between two refreshes of a routing table"`
	Storm    float64              `toml:"storm" doc:"share of the nodes that come all at once after half of the time, and stay"`
	Churn    churn.Spec           `toml:"churn"`
	Links    links.Spec           `toml:"links"`
}

// Check says what is wrong with values.
func (p *Parameters) Check() error {
	switch {
	case p.Nodes < 10 || p.Nodes > 100_000:
		return fmt.Errorf("parameters.nodes = %d must be 10 to 100000", p.Nodes)
	case p.Keys < 1 || p.Keys > p.Nodes/2:
		return fmt.Errorf("parameters.keys = %d must be 1 to half of parameters.nodes = %d", p.Keys, p.Nodes)
	case p.Searches < 1 || p.Searches > 100_000:
		return fmt.Errorf("parameters.searches = %d must be 1 to 100000", p.Searches)
	case p.Lasts.D() < time.Minute || p.Lasts.D() > 7*24*time.Hour:
		return fmt.Errorf("parameters.lasts = %s must be 1m to 168h", p.Lasts.D())
	case p.Repeat != 0 && p.Repeat.D() < time.Minute || p.Refresh.D() < time.Minute:
		return fmt.Errorf("parameters.repeat = %s must be 0s, or 1m or more, and parameters.refresh = %s 1m or more", p.Repeat.D(), p.Refresh.D())
	case !(p.Storm >= 0 && p.Storm <= .9):
		return fmt.Errorf("parameters.storm = %g must be 0 to 0.9", p.Storm)
	}
	if err := p.Churn.Check(p.Lasts.D()); err != nil {
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
		Name:     "lookup",
		Engine:   simulations.Event,
		Question: "How do hops, messages and time of a search grow with the network, and what do they become when nodes come and go?",
		Doc: "Nodes announce keys, others look for them, with the walk of real nodes, while nodes come and go by a model of their sessions (churn.model: none, exponential, weibull, trace). Routing tables are modelled; who is gone is silent, and " +
			"who asks it waits 0.7 s before it asks another one as well. found is the share of searches that name the announcer, within that of those that do within half a second, " +
			"latency their time; hops is how many nodes away the one was that named it, beside log2 of the nodes that are up; messages are the nodes that are asked, and dead those of them that were gone; online the nodes that are up.",
		Plots: []simulations.Plot{
			{Name: "hops", Title: "Hops to the node that names the announcer", Metric: "hops", Kind: simulations.Means, X: "nodes", By: "of", LogX: true,
				Caption: "Kademlia's bound is log2 of the number of nodes. Tables of 20 nodes for each distance go some five bits in a hop, and 30 nodes hold the record."},
			{Name: "latency", Title: "Time until the announcer is found", Metric: "latency", Kind: simulations.Percentiles, X: "nodes", By: "churn.model", LogX: true},
			{Name: "found", Title: "Share of searches that find the announcer", Metric: "found", Kind: simulations.Means, X: "nodes", By: "churn.model", LogX: true},
			{Name: "messages", Title: "Nodes that a search asks", Metric: "messages", Kind: simulations.Percentiles, X: "nodes", By: "churn.model", LogX: true},
			{Name: "dead", Title: "Of these, nodes that are gone", Metric: "dead", Kind: simulations.Means, X: "nodes", By: "churn.model", LogX: true},
		},
	}, Parameters{Nodes: 1000, Keys: 20, Searches: 100, Lasts: simulations.Duration(6 * time.Hour), Repeat: simulations.Duration(12 * time.Hour), Refresh: simulations.Duration(10 * time.Minute),
		Churn: churn.Spec{Model: "none", Up: simulations.Duration(2 * time.Hour), Down: simulations.Duration(2 * time.Hour), Shape: .5}, Links: links.Spec{Model: "cities", Jitter: .05}}, run)
}

func run(r *simulations.Run, p Parameters) error { return planted(r, p, nil) }

// planted is run with a bug in all walks, which the check of each is to find.
func planted(r *simulations.Run, p Parameters, plant func(course) course) error {
	e := engine.New(r.Seed)
	n := newNetwork(e.Rand("tables"), r.Seed, p.Nodes, p.Keys, churn.New(p.Churn, e.Rand("churn")), p)
	s := &searching{run: r, plant: plant, e: e, n: n, rand: e.Rand("walks"), model: links.New(p.Links, p.Nodes, e.Rand("links"))}
	keys := make([]*announced, p.Keys)
	names := e.Rand("keys")
	for i := range keys {
		k := &announced{owner: n.steady[i], holders: map[int]bool{}}
		for b := range k.name {
			k.name[b] = byte(names.Uint32())
		}
		k.place = overlay.PlaceOfKey(k.name)
		keys[i] = k
		var announce func()
		announce = func() {
			s.walk(k.owner, k, true, func(got result) {
				for _, id := range got.to {
					if to := n.byID[id]; n.up(to, e.Now()) {
						k.holders[to] = true
					}
				}
			})
			if p.Repeat > 0 {
				e.After(p.Repeat.D(), announce)
			}
		}
		announce()
	}
	// The first search comes when all is announced.
	const settle = time.Minute
	draws := e.Rand("searches")
	for range p.Searches {
		e.After(settle+time.Duration(draws.Float64()*float64(p.Lasts.D()-settle)), func() {
			from, k := draws.IntN(p.Nodes), keys[draws.IntN(len(keys))]
			for from == k.owner || !n.up(from, e.Now()) {
				from = draws.IntN(p.Nodes)
			}
			var labels []simulations.Label
			if p.Storm > 0 {
				labels = append(labels, simulations.Label{Key: "storm is over", Value: fmt.Sprint(e.Now() >= p.Lasts.D()/2)})
			}
			s.walk(from, k, false, func(got result) { observe(r, got, labels) })
		})
	}
	const steps = 200
	for i := range steps {
		e.Run(p.Lasts.D() * time.Duration(i+1) / steps)
		if i%20 == 0 {
			up := float64(n.online(e.Now()))
			r.Observe("online", "1", up)
			r.Observe("hops", "1", math.Log2(up), simulations.Label{Key: "of", Value: "log2 of nodes"})
		}
		if err := r.At(e.Now(), float64(i+1)/steps); err != nil {
			return err
		}
	}
	e.Run(e.Now() + time.Minute) // searches that are under way
	r.Trace(e.Digest(), e.Events())
	return nil
}

func observe(r *simulations.Run, got result, labels []simulations.Label) {
	found, within := 0.0, 0.0
	if got.found {
		found = 1
		if got.took <= 500*time.Millisecond {
			within = 1
		}
		r.ObserveTime("latency", got.took, labels...)
		r.Observe("hops", "1", float64(got.did.Hops), append([]simulations.Label{{Key: "of", Value: "searches"}}, labels...)...)
	}
	r.Observe("found", "1", found, labels...)
	r.Observe("within", "1", within, labels...)
	r.Observe("messages", "1", float64(got.did.Asked), labels...)
	r.Observe("dead", "1", float64(got.dead), labels...)
}
