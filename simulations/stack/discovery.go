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
	"github.com/mimid/mimid/simulations/links"
)

// Searching are the parameters of a run.
type Searching struct {
	Nodes    int                  `toml:"nodes" doc:"providers, all nodes of the DHT"`
	Keys     int                  `toml:"keys" doc:"keys that are announced, each by one provider"`
	Searches int                  `toml:"searches" doc:"how often somebody looks for one of them, before and after the deaths"`
	Dead     float64              `toml:"dead" doc:"share of the providers that fall silent after half of the searches; announcers and searchers live"`
	Settle   simulations.Duration `toml:"settle" doc:"time after joining, and after announcing"`
	Timeout  simulations.Duration `toml:"timeout" doc:"after which a search has failed"`
	Links    links.Spec           `toml:"links"`
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
	if err := p.Links.Check(); err != nil {
		return fmt.Errorf("parameters.%w", err)
	}
	return nil
}

// Discovery asks how long it takes to find who announces a key.
func Discovery() simulations.Simulation {
	return simulations.New(simulations.About{
		Name:     "discovery",
		Engine:   simulations.Stack,
		Question: "How long does it take to find the provider that announces a key, and how often does it fail?",
		Doc: "The overlay of mimid's nodes as it is, with libp2p's DHT, on a network in memory and in virtual time. Some providers announce keys; " +
			"others search; then a share of all falls silent at once, which is worse than churn: nobody is told, and who asks them waits in vain; and others search again. A key is kept by 30 nodes, so " +
			"that in small networks many searchers have the answer before they ask (0 hops). latency is until a search names the " +
			"true announcer, and found the share of searches that do; messages are the nodes that a search asks until then, hops how many nodes away the one was that named the announcer.",
		Plots: []simulations.Plot{
			{Name: "latency", Title: "Time until the announcer is found", Metric: "latency", Kind: simulations.Percentiles, X: "nodes", By: "silent", LogX: true},
			{Name: "found", Title: "Share of searches that find the announcer", Metric: "found", Kind: simulations.Means, X: "nodes", By: "silent", LogX: true},
			{Name: "messages", Title: "Nodes that a search asks", Metric: "messages", Kind: simulations.Percentiles, X: "nodes", By: "silent", LogX: true},
			{Name: "hops", Title: "Hops to the node that names the announcer", Metric: "hops", Kind: simulations.Means, X: "nodes", By: "silent", LogX: true,
				Caption: "Kademlia's bound is log2 of the number of nodes: 6.6 for 100, 10 for 1,000. Tables of 20 nodes for each distance take far fewer."},
		},
	}, Searching{Nodes: 50, Keys: 5, Searches: 20, Dead: .3, Settle: simulations.Duration(30 * time.Second), Timeout: simulations.Duration(30 * time.Second),
		Links: links.Spec{Model: "cities", Jitter: .05}}, runDiscovery)
}

func runDiscovery(r *simulations.Run, p Searching) (err error) {
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
			took, did, found := search(r.Context(), from, owners[key], keyOf(r.Seed, key), p.Timeout.D())
			share := 0.0
			if found {
				share = 1
				r.ObserveTime("latency", took, label)
				r.Observe("hops", "1", float64(did.Hops), label)
			}
			r.Observe("found", "1", share, label)
			r.Observe("messages", "1", float64(did.Asked), label)
			if err := wait(r, time.Second, .6+.2*float64(phase)+.2*float64(i)/float64(p.Searches), begun); err != nil {
				return err
			}
		}
	}
	return nil
}

func keyOf(seed uint64, i int) [32]byte {
	return sha256.Sum256(fmt.Appendf(nil, "mimid simulation announced key %d %d", seed, i))
}

// search looks for a key until its owner is named.
func search(ctx context.Context, from, owner *bare, key [32]byte, timeout time.Duration) (took time.Duration, did overlay.Walked, found bool) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	begun := time.Now()
	for id := range from.Announcers(overlay.WithWalked(ctx, func(w overlay.Walked) { did = w }), key, 20) {
		if id == owner.Self() {
			found = true
			break
		}
	}
	return time.Since(begun), did, found
}
