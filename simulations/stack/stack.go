// Package stack has the simulations that run mimid's own code as it is, on a network in memory, in virtual
// time: gossip and discovery run overlay nodes (package overlay, with the real libp2p host, DHT and gossipsub), room whole
// providers (package node) with clients (package client). They answer what the models of the event engine
// leave out, and are what these are compared with.
//
// Left out: the CPU time of the nodes (virtual time stands still while they compute); over streams in memory also encryption
// between nodes, packets and congestion control, which gossip and discovery have with transport = "quic"; of whole providers also disks,
// HTTPS, and the way from a client to its own provider.
//
// Read stack.go, ground.go (transports), gossip.go and discovery.go for overlay nodes; provider.go (a world of providers and people), room.go
// (the experiment), ear.go (what is said and heard), storage.go (a client's, in memory) for whole ones.
package stack

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/mimid/mimid/overlay"
	"github.com/mimid/mimid/simulations"
	"github.com/mimid/mimid/simulations/links"
)

// A network is nodes that run. It belongs to the run's goroutine, but for what is said otherwise.
type network struct {
	fabric ground
	model  *links.Model
	boot   []string // who the others begin with
	nodes  []*bare
	ctx    context.Context // of all nodes that begin
	cancel context.CancelFunc
	ended  sync.WaitGroup
	limits overlay.Limits // of all nodes
}

type bare struct {
	*overlay.Overlay
	config overlay.Config
	cancel context.CancelFunc
	done   chan struct{}
	err    error // after it has ended
}

// path is a links.Model as memnet asks it, from many goroutines.
type path struct {
	model *links.Model
	mu    sync.Mutex
	rand  *rand.Rand
	slow  map[int]time.Duration // what each way from and to a node takes longer (slowDown)
}

func (p *path) Transit(from, to, octets int) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.model.Transit(from, to, octets, p.rand) + p.slow[from] + p.slow[to]
}

func (p *path) Sending(_, octets int) time.Duration { return p.model.Sending(octets) }

// key is a node's key: the same for the same seed, so that ids are, too.
func key(seed uint64, node int, what string) ed25519.PrivateKey {
	h := sha256.Sum256(fmt.Appendf(nil, "mimid simulation key %d %d %s", seed, node, what))
	return ed25519.NewKeyFromSeed(h[:])
}

// joining is how many nodes join at a time. More are cheaper: with 8, a hundred nodes took twice the CPU time.
const joining = 40

// checkConnections checks a parameter of that name.
func checkConnections(n int) error {
	if n != 0 && (n < 16 || n > 100_000) {
		return fmt.Errorf("parameters.connections = %d must be 0, or 16 to 100000", n)
	}
	return nil
}

// Where nodes keep few connections, one that all begin with takes in only as many at a time as its limits let it: so they begin with
// three, the first and two of those that have joined. What somebody opens while joining is closed soon, and the next come after that, so that
// there are never many times as many connections as nodes keep.
const (
	limitedGrace = 5 * time.Second // in which a new connection is not closed
	limitedPause = limitedGrace + 10*time.Second
	limitedKnown = 3
)

// begins are those of the nodes that have joined with whom node k begins.
func begins(k, joined, connections int) (out []int) {
	known := 1
	if connections > 0 {
		known = limitedKnown
	}
	for j := range min(known, joined) {
		out = append(out, (j*k)%joined)
	}
	return out
}

// start makes nodes and lets them join, each of which keeps so many connections, or as many as it would.
func start(r *simulations.Run, transport string, count, connections int, spec links.Spec) (*network, error) {
	return startFor(r.Context(), r.Seed, transport, count, connections, spec, func(nodes int) error { return r.At(0, float64(nodes)/float64(2*count)) })
}

// startFor is start without a run. at is told how many nodes have joined, and may end it.
func startFor(within context.Context, seed uint64, transport string, count, connections int, spec links.Spec, at func(nodes int) error) (*network, error) {
	source := rand.New(rand.NewPCG(seed, 1))
	n := new(network)
	n.fabric, n.model = newGround(transport, spec, count, source)
	if connections > 0 {
		n.limits = overlay.Limits{Connections: connections, ConnectionGrace: limitedGrace}
	}
	ctx, cancel := context.WithCancel(within)
	n.ctx, n.cancel = ctx, cancel
	for i := 0; i < count; i += joining {
		var batch []*bare
		joined := len(n.nodes)
		for k := i; k < min(i+joining, count); k++ {
			var boot []string
			for _, j := range begins(k, joined, connections) {
				x := n.nodes[j]
				boot = append(boot, x.Addrs()[0]+"/p2p/"+string(x.Self()))
			}
			x, err := n.add(ctx, seed, k, boot)
			if err != nil {
				return n, err
			}
			batch = append(batch, x)
			if k == 0 {
				break
			}
		}
		if i == 0 {
			i -= joining - 1 // the first alone
		}
		for _, x := range batch {
			select {
			case <-x.Ready():
			case <-time.After(time.Minute):
				return n, fmt.Errorf("a node is not ready after a minute of its time: %w", x.err)
			}
		}
		if connections > 0 {
			time.Sleep(limitedPause)
		}
		if n.boot == nil {
			for _, a := range n.nodes[0].Addrs() {
				n.boot = append(n.boot, a+"/p2p/"+string(n.nodes[0].Self()))
			}
		}
		if err := at(len(n.nodes)); err != nil {
			return n, err
		}
	}
	return n, nil
}

func (n *network) add(ctx context.Context, seed uint64, i int, boot []string) (*bare, error) {
	c := overlay.Config{
		Domain: fmt.Sprintf("p%d.example", i), ProviderKey: key(seed, i, "provider"), NodeKey: key(seed, i, "node"), KV: &overlay.MemoryKV{},
		Bootstrap: boot, Log: slog.New(slog.DiscardHandler), Limits: n.limits,
	}
	n.fabric.place(i, &c)
	x, err := n.begin(ctx, c)
	if err != nil {
		return nil, err
	}
	n.nodes = append(n.nodes, x)
	return x, nil
}

// begin runs a node; again, with the same configuration, it is one that comes back with what it had stored.
func (n *network) begin(ctx context.Context, c overlay.Config) (*bare, error) {
	o, err := overlay.New(c)
	if err != nil {
		return nil, err
	}
	x := &bare{Overlay: o, config: c, done: make(chan struct{})}
	ctx, x.cancel = context.WithCancel(ctx)
	n.ended.Go(func() {
		defer close(x.done)
		x.err = o.Run(ctx)
	})
	return x, nil
}

// stop ends all nodes, which virtual time needs.
func (n *network) stop() error {
	n.cancel()
	n.ended.Wait()
	n.fabric.close()
	var err error
	for _, x := range n.nodes {
		err = errors.Join(err, x.err)
	}
	return err
}
