package stack

import (
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/mimid/mimid/overlay"
	"github.com/mimid/mimid/simulations"
	"github.com/mimid/mimid/simulations/churn"
	"github.com/mimid/mimid/simulations/links"
)

// Searching are the parameters of a run.
type Searching struct {
	Nodes     int                  `toml:"nodes" doc:"providers, all nodes of the DHT"`
	Transport string               `toml:"transport" doc:"memory (streams, without packets), or quic (as it is, packet by packet; 150 nodes at most)"`
	Keys      int                  `toml:"keys" doc:"keys that are announced, each by one provider"`
	Searches  int                  `toml:"searches" doc:"how often somebody looks for one of them, before and after the deaths"`
	Dead      float64              `toml:"dead" doc:"share of the providers that fall silent after half of the searches; announcers and searchers live"`
	Churn     churn.Spec           `toml:"churn"`
	Lasts     simulations.Duration `toml:"lasts" doc:"time in which providers come and go, where churn.model is not none: half of the searches come then"`
	Settle    simulations.Duration `toml:"settle" doc:"time after joining, and after announcing"`
	Timeout   simulations.Duration `toml:"timeout" doc:"after which a search has failed"`
	// As of gossip.
	Connections int        `toml:"connections" doc:"connections that a node keeps, 16 to 100000: once it has more it closes some that are not new; 0: 900, as mimid serve does unless told otherwise, so that in a network of some hundreds all are connected to all"`
	Links       links.Spec `toml:"links"`
}

// Check says what is wrong with values.
func (p *Searching) Check() error {
	switch {
	case p.Nodes < 3 || p.Nodes > 2000:
		return fmt.Errorf("parameters.nodes = %d must be 3 to 2000", p.Nodes)
	case p.Keys < 1 || p.Keys > 10_000 || p.Searches < 1 || p.Searches > 100_000:
		return fmt.Errorf("parameters.keys = %d must be 1 to 10000, parameters.searches = %d 1 to 100000", p.Keys, p.Searches)
	case !(p.Dead >= 0 && p.Dead <= .9):
		return fmt.Errorf("parameters.dead = %g must be 0 to 0.9", p.Dead)
	case p.Settle < 0 || p.Settle.D() > time.Hour || p.Timeout.D() < time.Second || p.Timeout.D() > time.Hour:
		return fmt.Errorf("parameters.settle = %s must be 0s to 1h, parameters.timeout = %s 1s to 1h", p.Settle.D(), p.Timeout.D())
	}
	if p.Churn.Model != "none" && (p.Dead > 0 || p.Lasts.D() < time.Minute || p.Lasts.D() > 7*24*time.Hour) {
		return fmt.Errorf("parameters.churn.model = %q needs parameters.dead = 0.0 (it is %g), and parameters.lasts = %s to be 1m to 168h", p.Churn.Model, p.Dead, p.Lasts.D())
	}
	if err := p.Churn.Check(p.Lasts.D()); err != nil {
		return fmt.Errorf("parameters.%w", err)
	}
	if err := checkConnections(p.Connections); err != nil {
		return err
	}
	if err := p.Links.Check(); err != nil {
		return fmt.Errorf("parameters.%w", err)
	}
	return checkTransport(p.Transport, p.Nodes)
}

// Discovery asks how long it takes to find who announces a key.
func Discovery() simulations.Simulation {
	return simulations.New(simulations.About{
		Name:     "discovery",
		Engine:   simulations.Stack,
		Question: "How long does it take to find the provider that announces a key, and how often does it fail?",
		Doc: "The overlay of mimid's nodes as it is, with libp2p's DHT, on a network in memory and in virtual time: over streams, or (transport = \"quic\") over QUIC as it is. Some providers announce keys; " +
			"others search; then a share of all falls silent at once: nobody is told, and who asks them waits in vain; and others search again. Or, with a churn.model, providers, those that announce among them, " +
			"end in order and begin again with what they had stored, and announce anew, while those that are there search for keys whose announcer is. A key is kept by 30 nodes, so " +
			"that in small networks many searchers have the answer before they ask (0 hops). latency is until a search names the " +
			"true announcer, and found the share of searches that do; messages are the nodes that a search asks until then, hops how many nodes away the one was that named the announcer; online is how many are there, back the time until who returns is ready and has announced. " +
			"Each run checks that a search names only who has announced the key, and nobody for a key that nobody has.",
		Plots: []simulations.Plot{
			{Name: "latency", Title: "Time until the announcer is found", Metric: "latency", Kind: simulations.Percentiles, X: "nodes", By: "silent", LogX: true},
			{Name: "found", Title: "Share of searches that find the announcer", Metric: "found", Kind: simulations.Means, X: "nodes", By: "silent", LogX: true},
			{Name: "messages", Title: "Nodes that a search asks", Metric: "messages", Kind: simulations.Percentiles, X: "nodes", By: "silent", LogX: true},
			{Name: "hops", Title: "Hops to the node that names the announcer", Metric: "hops", Kind: simulations.Means, X: "nodes", By: "silent", LogX: true,
				Caption: "Kademlia's bound is log2 of the number of nodes: 6.6 for 100, 10 for 1,000. Tables of 20 nodes for each distance take far fewer."},
		},
	}, searchingDefaults(), runDiscovery)
}

// Churn asks the same while providers come and go.
func Churn() simulations.Simulation {
	p := searchingDefaults()
	p.Dead, p.Churn.Model = 0, "weibull"
	return simulations.New(simulations.About{
		Name:     "churn",
		Engine:   simulations.Stack,
		Question: "How long does it take to find the provider that announces a key while providers come and go, and how often does it fail?",
		Doc: "The real nodes of discovery, of which about half are away at any time: providers, those that announce among them, end in order and begin again with what they had stored, and announce anew, while those that are there search for keys whose announcer is. " +
			"found, latency, messages and hops are those of discovery, before the first goes (silent = 0) and then (silent = coming and going); online is how many are there, back the time until who returns is ready and has announced. " +
			"Each run checks that a search names only who has announced the key, and nobody for a key that nobody has. lookup is about more nodes, in a model.",
		Plots: []simulations.Plot{
			{Name: "found", Title: "Share of searches that find the announcer", Metric: "found", Kind: simulations.Means, X: "nodes", By: "silent"},
			{Name: "latency", Title: "Time until the announcer is found", Metric: "latency", Kind: simulations.Percentiles, X: "nodes", By: "silent"},
			{Name: "back", Title: "Time until who returns is ready and has announced", Metric: "back", Kind: simulations.Percentiles, X: "nodes"},
			{Name: "back-distribution", Title: "Time until who returns is ready and has announced", Metric: "back", Kind: simulations.Distribution, By: "nodes"},
			{Name: "online", Title: "Providers that are there", Metric: "online", Kind: simulations.Percentiles, X: "nodes"},
		},
	}, p, runDiscovery)
}

func searchingDefaults() Searching {
	return Searching{Nodes: 50, Transport: overMemory, Keys: 5, Searches: 20, Dead: .3, Lasts: simulations.Duration(2 * time.Hour),
		Churn:  churn.Spec{Model: "none", Up: simulations.Duration(time.Hour), Down: simulations.Duration(time.Hour), Shape: .5},
		Settle: simulations.Duration(30 * time.Second), Timeout: simulations.Duration(30 * time.Second),
		Links: links.Spec{Model: "cities", Jitter: .05}}
}

func runDiscovery(r *simulations.Run, p Searching) error {
	return plantedDiscovery(r, p, func(context.Context, *network) error { return nil })
}

// plantedDiscovery is runDiscovery with something that is done after the keys were announced, which the check is to find.
func plantedDiscovery(r *simulations.Run, p Searching, plant func(context.Context, *network) error) (err error) {
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
	draws := rand.New(rand.NewPCG(r.Seed, 2))
	order := draws.Perm(p.Nodes)
	announcers := order[:max(1, p.Nodes/4)]
	dying := order[len(announcers):]
	searchers := dying[min(int(p.Dead*float64(p.Nodes)), len(dying)-1):]
	dying = dying[:len(dying)-len(searchers)]
	if err := wait(r, p.Settle.D(), .5, begun); err != nil {
		return err
	}
	owners := make([]*bare, p.Keys)
	for i := range owners {
		owners[i] = n.nodes[announcers[i%len(announcers)]]
		if err := owners[i].Announce(r.Context(), keyOf(r.Seed, i)); err != nil {
			return fmt.Errorf("announcing: %w", err)
		}
	}
	if err := wait(r, p.Settle.D(), .6, begun); err != nil {
		return err
	}
	if err := plant(r.Context(), n); err != nil {
		return err
	}
	// All live, and then some do not: the same network twice.
	for phase, dead := range []float64{0, p.Dead} {
		if phase == 1 && dead == 0 {
			break
		}
		if phase == 1 {
			for _, i := range dying {
				n.fabric.Isolate(i, p.Nodes, true)
			}
		}
		label := simulations.Label{Key: "silent", Value: strconv.FormatFloat(dead, 'g', -1, 64)}
		for i := range p.Searches {
			from, key := n.nodes[searchers[(phase*p.Searches+i)%len(searchers)]], i%p.Keys
			observeSearch(r, from, owners[key].Self(), keyOf(r.Seed, key), p.Timeout.D(), label)
			if err := wait(r, time.Second, .6+.2*float64(phase)+.2*float64(i)/float64(p.Searches), begun); err != nil {
				return err
			}
		}
		if phase == 0 {
			nobodys(r, p, n.nodes[searchers[0]])
		}
	}
	if p.Churn.Model == "none" {
		return nil
	}
	names := make([]overlay.PeerID, p.Keys)
	of := map[int][][32]byte{}
	for i := range owners {
		names[i] = owners[i].Self()
		node := announcers[i%len(announcers)]
		of[node] = append(of[node], keyOf(r.Seed, i))
	}
	return newTide(r, p, n, names, of, begun).run()
}

// nobodys looks for a key that nobody has announced.
func nobodys(r *simulations.Run, p Searching, from *bare) {
	if _, _, named := search(r.Context(), from, "", keyOf(r.Seed, p.Keys), p.Timeout.D()); len(named) > 0 {
		r.Violate("a search names %s for a key that nobody has announced", named[0])
	}
}

// observeSearch looks for a key of somebody's, and sees to it that nobody else is named.
func observeSearch(r *simulations.Run, from *bare, owner overlay.PeerID, key [32]byte, timeout time.Duration, label simulations.Label) {
	took, did, named := search(r.Context(), from, owner, key, timeout)
	share := 0.0
	for _, id := range named {
		if id == owner {
			share = 1
		} else {
			r.Violate("a search names %s for a key that only %s has announced", id, owner)
		}
	}
	if share == 1 {
		r.ObserveTime("latency", took, label)
		r.Observe("hops", "1", float64(did.Hops), label)
	}
	r.Observe("found", "1", share, label)
	r.Observe("messages", "1", float64(did.Asked), label)
}

func keyOf(seed uint64, i int) [32]byte {
	return sha256.Sum256(fmt.Appendf(nil, "mimid simulation announced key %d %d", seed, i))
}

// search looks for a key until its owner is named, the last of those who are.
func search(ctx context.Context, from *bare, owner overlay.PeerID, key [32]byte, timeout time.Duration) (took time.Duration, did overlay.Walked, named []overlay.PeerID) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	begun := time.Now()
	for id := range from.Announcers(overlay.WithWalked(ctx, func(w overlay.Walked) { did = w }), key, 20) {
		named = append(named, id)
		if id == owner {
			break
		}
	}
	return time.Since(begun), did, named
}
