package stack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"time"

	libp2pnet "github.com/libp2p/go-libp2p/core/network"

	"github.com/mimid/mimid/node"
	"github.com/mimid/mimid/overlay"
	"github.com/mimid/mimid/simulations/links"
	"github.com/mimid/mimid/simulations/memnet"
)

// A Network is bare overlay nodes, all joined.
type Network struct {
	n     *network
	later context.CancelFunc // of newcomers
	ctx   context.Context
}

// Join makes bare nodes that join each other, and says how many have as they do.
func Join(ctx context.Context, seed uint64, count, connections int, spec links.Spec, at func(nodes int)) (*Network, error) {
	n, err := startFor(ctx, seed, overMemory, count, connections, spec, func(nodes int) error {
		at(nodes)
		return nil
	})
	x := &Network{n: n}
	x.ctx, x.later = context.WithCancel(ctx)
	return x, err
}

// Newcomer adds a node that knows the first one, and waits until it is ready.
func (x *Network) Newcomer(seed uint64) error {
	first := x.n.nodes[0]
	n, err := x.n.add(x.ctx, seed, len(x.n.nodes), []string{first.Addrs()[0] + "/p2p/" + string(first.Self())})
	if err != nil {
		return err
	}
	select {
	case <-n.Ready():
		return nil
	case <-time.After(time.Minute):
		return fmt.Errorf("the newcomer is not ready: %w", n.err)
	}
}

// Counts are of the network's fabric.
func (x *Network) Counts() memnet.Counts { return x.n.fabric.(streams).Counts() }

// Fewest is how many connections the node has that has the fewest.
func (x *Network) Fewest() int { return x.n.fabric.(streams).Fewest(len(x.n.nodes)) }

// Part ends the connection of two nodes, and Connected says whether they have one.
func (x *Network) Part(a, b int) {
	x.n.nodes[a].Host().Network().ClosePeer(x.n.nodes[b].Host().ID())
}

func (x *Network) Connected(a, b int) bool {
	return x.n.nodes[a].Host().Network().Connectedness(x.n.nodes[b].Host().ID()) == libp2pnet.Connected
}

// Search has one node announce a key and others find it, and returns how many did.
func (x *Network) Search(ctx context.Context, seed uint64, times int) (found int, err error) {
	owner, key := x.n.nodes[len(x.n.nodes)/2], keyOf(seed, 0)
	if err := owner.Announce(ctx, key); err != nil {
		return 0, err
	}
	for i := range times {
		from := x.n.nodes[(i*7+1)%len(x.n.nodes)]
		if from == owner {
			from = x.n.nodes[0]
		}
		if _, _, named := search(ctx, from, owner.Self(), key, 30*time.Second); slices.Contains(named, owner.Self()) {
			found++
		}
	}
	return found, nil
}

// Topic has all take part in one topic and one of them publish, and returns how many got it within
// ten seconds.
func (x *Network) Topic(ctx context.Context) (reached int, err error) {
	h := newHeard(1, 1024, x.n.nexts())
	var first *overlay.Topic
	for i, n := range x.n.nodes {
		t, err := n.Join(topic, overlay.TopicHandler{Receive: func(_ overlay.PeerID, data []byte) overlay.Verdict { return h.receive(i, data) }})
		if err != nil {
			return 0, err
		}
		if first == nil {
			first = t
		}
	}
	time.Sleep(5 * time.Second) // meshes form
	h.mu.Lock()
	h.sent[0] = time.Now()
	h.mu.Unlock()
	if err := first.Publish(ctx, h.message(0)); err != nil {
		return 0, err
	}
	time.Sleep(10 * time.Second)
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.times[0]), nil
}

// Stop ends all nodes.
func (x *Network) Stop() error {
	x.later()
	return x.n.stop()
}

// A Whole is whole providers, all joined.
type Whole struct{ w *world }

// JoinWhole makes whole providers, of which forty at a time join, and says how many have as they do.
func JoinWhole(ctx context.Context, seed uint64, count, connections int, spec links.Spec, at func(nodes int)) (*Whole, error) {
	source := rand.New(rand.NewPCG(seed, 1))
	w := &world{seed: seed, model: links.New(spec, count, source), log: io.Discard}
	w.fabric = memnet.New(&path{model: w.model, rand: source})
	x := &Whole{w}
	var err error
	if w.dir, err = os.MkdirTemp("", "mimid-sim-"); err != nil {
		return x, err
	}
	for i := 0; i < count; i += joining {
		var batch []*provider
		joined := len(w.providers)
		for k := i; k < min(i+joining, count); k++ {
			var boot []string
			for _, j := range begins(k, joined, connections) {
				s, err := w.providers[j].n.Status(ctx)
				if err != nil {
					return x, err
				}
				boot = append(boot, s.Addresses...)
			}
			p, err := w.add(ctx, k, boot, func(c *node.Config) {
				if connections > 0 {
					c.Overlay.Connections = connections
				}
			})
			if err != nil {
				return x, err
			}
			batch = append(batch, p)
			if k == 0 {
				break
			}
		}
		if i == 0 {
			i -= joining - 1 // the first alone
		}
		for _, p := range batch {
			if err := ready(p); err != nil {
				return x, err
			}
		}
		if connections > 0 {
			time.Sleep(40 * time.Second) // as limitedPause; whole providers do not close a new connection within 30 s
		}
		at(len(w.providers))
	}
	return x, nil
}

// Fewest is how many connections the provider has that has the fewest.
func (x *Whole) Fewest() int { return x.w.fabric.Fewest(len(x.w.providers)) }

func ready(p *provider) error {
	select {
	case <-p.n.Ready():
		return nil
	case <-p.done:
		return fmt.Errorf("%s has ended: %w", p.domain, p.err)
	case <-time.After(time.Minute):
		return fmt.Errorf("%s is not ready after a minute of its time", p.domain)
	}
}

// Room has people at so many providers, and one more, come into one room: its topic is theirs, and the
// one more has to find all other providers by name.
func (x *Whole) Room(ctx context.Context, others int) error {
	few := *x.w
	few.providers = nil
	for i := range others + 1 {
		few.providers = append(few.providers, x.w.providers[i*len(x.w.providers)/(others+1)])
	}
	_, err := few.room(ctx, newEar())
	x.w.people = few.people
	return err
}

// Counts are of the network's fabric.
func (x *Whole) Counts() memnet.Counts { return x.w.fabric.Counts() }

// Stop ends all.
func (x *Whole) Stop() error { return x.w.close() }

// FormFrozen has two providers make a room, of whom the second stands still, and says how long that took in virtual time.
func FormFrozen(ctx context.Context, spec links.Spec) (took time.Duration, err error) {
	w, err := newWorld(ctx, 1, 2, spec, nil, io.Discard)
	defer func() { err = errors.Join(err, w.close()) }()
	if err != nil {
		return 0, err
	}
	begun := time.Now()
	w.freeze(w.providers[1])
	_, err = w.room(ctx, newEar())
	return time.Since(begun), err
}
