package overlay

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/discovery/mdns"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	"github.com/multiformats/go-multiaddr"
)

const (
	addrTTL       = time.Hour // addresses from records
	joinFirst     = 200 * time.Millisecond
	joinPublic    = 15 * time.Second
	joinRecords   = 20              // providers known from before that a node without peers turns to
	joinEnough    = 10              // peers with which a node is in touch, whoever they are
	joinAgain     = 5 * time.Minute // after which such a node turns to its seeds again
	mdnsService   = "_mimid._udp"
	connectWithin = 5 * time.Second
)

// OnConnect calls fn with each peer that speaks our protocols, when it connects and has
// been identified, and at once with those that are connected already. OnDisconnect calls
// fn when its last connection has ended. Calls come one after the other, in order, on
// one goroutine of Run: fn must be quick. The result of both ends the calls.
func (o *Overlay) OnConnect(fn func(PeerID)) (stop func()) { return o.watchers.add(fn, true) }

// OnDisconnect: see OnConnect.
func (o *Overlay) OnDisconnect(fn func(PeerID)) (stop func()) { return o.watchers.add(fn, false) }

// Connected reports whether there is a connection to the node.
func (o *Overlay) Connected(p PeerID) bool {
	n := o.net.Load()
	id, err := p.decode()
	return n != nil && err == nil && n.host.Network().Connectedness(id) == network.Connected
}

// A watcher is one registered function.
type watcher struct {
	fn      func(PeerID)
	up      bool
	stopped atomic.Bool
}

// watchers calls functions about peers.
type watchers struct {
	signal chan struct{} // something is in added

	mu    sync.Mutex
	added []*watcher // guarded by mu

	// Owned by the goroutine in watch:
	active    []*watcher
	connected map[peer.ID]PeerID
}

func newWatchers() *watchers {
	return &watchers{signal: make(chan struct{}, 1), connected: make(map[peer.ID]PeerID)}
}

func (w *watchers) add(fn func(PeerID), up bool) (stop func()) {
	x := &watcher{fn: fn, up: up}
	w.mu.Lock()
	w.added = append(w.added, x)
	w.mu.Unlock()
	select {
	case w.signal <- struct{}{}:
	default:
	}
	return func() { x.stopped.Store(true) }
}

// adopt begins to call the functions added since the last call.
func (w *watchers) adopt() {
	w.mu.Lock()
	added := w.added
	w.added = nil
	w.mu.Unlock()
	w.active = slices.DeleteFunc(w.active, func(x *watcher) bool { return x.stopped.Load() })
	for _, x := range added {
		w.active = append(w.active, x)
		if !x.up {
			continue
		}
		for _, text := range w.connected {
			if !x.stopped.Load() {
				x.fn(text)
			}
		}
	}
}

func (w *watchers) change(id peer.ID, up bool) {
	text, was := w.connected[id]
	if was == up {
		return
	}
	if up {
		text = peerText(id)
		w.connected[id] = text
	} else {
		delete(w.connected, id)
	}
	for _, x := range w.active {
		if x.up == up && !x.stopped.Load() {
			x.fn(text)
		}
	}
}

// watch follows libp2p's events: it tells the watchers, gossip and the publisher.
func (n *running) watch(ctx context.Context, events event.Subscription) {
	w := n.o.watchers
	w.adopt()
	for {
		select {
		case <-ctx.Done():
			for id := range w.connected {
				w.change(id, false)
			}
			return
		case <-w.signal:
			w.adopt()
		case e, ok := <-events.Out():
			if !ok {
				return
			}
			switch e := e.(type) {
			case event.EvtPeerIdentificationCompleted:
				if n.host.Network().Connectedness(e.Peer) != network.Connected {
					continue // gone meanwhile; its event has come or will come
				}
				if slices.Contains(e.Protocols, dhtProtocol) {
					n.publisher.poke(pokePeer)
				}
				if slices.Contains(e.Protocols, httpProtocol) {
					w.change(e.Peer, true)
				}
			case event.EvtPeerConnectednessChanged:
				if e.Connectedness == network.Connected {
					n.gossip.connected(e.Peer)
				} else {
					n.gossip.disconnected(n.host.Network(), e.Peer)
					w.change(e.Peer, false)
				}
			case event.EvtLocalAddressesUpdated:
				n.publisher.poke(pokeAddrs)
			}
		}
	}
}

func subscribe(n *running) (event.Subscription, error) {
	sub, err := n.host.EventBus().Subscribe([]any{
		new(event.EvtPeerIdentificationCompleted),
		new(event.EvtPeerConnectednessChanged),
		new(event.EvtLocalAddressesUpdated),
	}, eventbus.BufSize(1024))
	if err != nil {
		return nil, fmt.Errorf("subscribing to libp2p events: %w", err)
	}
	return sub, nil
}

// connect makes sure that there is a connection, with the addresses that are known, and
// if those fail, with those that the DHT knows.
//
// libp2p waits longer after each failed dial, up to minutes, in which a node that came
// back cannot be reached. Here it is a second, whatever was before.
func (n *running) connect(ctx context.Context, id peer.ID) error {
	if n.host.Network().Connectedness(id) == network.Connected {
		return nil
	}
	if !n.o.gater.InterceptPeerDial(id) {
		return fmt.Errorf("%w: %s is blocked here", ErrUnreachable, id)
	}
	if err := n.dials.get(string(id)); err != nil {
		return err
	}
	n.forgetFailures(id)
	err := swarm.ErrNoAddresses
	if len(n.host.Peerstore().Addrs(id)) > 0 {
		if err = n.host.Connect(ctx, peer.AddrInfo{ID: id}); err == nil {
			return nil
		}
	}
	if ctx.Err() == nil {
		info, findErr := n.dht.FindPeer(ctx, id)
		if findErr == nil {
			n.forgetFailures(id)
			if err = n.host.Connect(ctx, info); err == nil {
				return nil
			}
		}
	}
	err = fmt.Errorf("%w: connecting to %s: %w", ErrUnreachable, id, err)
	if ctx.Err() == nil { // a caller in a hurry says nothing about the node
		n.dials.put(string(id), err)
	}
	return err
}

func (n *running) forgetFailures(id peer.ID) {
	if s, ok := n.host.Network().(*swarm.Swarm); ok {
		s.Backoff().Clear(id)
	}
}

// remember makes the addresses of a record known to libp2p.
func (o *Overlay) remember(node Node) {
	n := o.net.Load()
	if n == nil {
		return
	}
	id, err := node.ID.decode()
	if err != nil || n.host.Network().Connectedness(id) == network.Connected {
		return
	}
	addrs, err := multiaddrs(node.Addrs)
	if err != nil {
		return
	}
	n.host.Peerstore().AddAddrs(id, addrs, addrTTL)
}

// bootstrapPeers are those of the configuration.
func bootstrapPeers(texts []string) ([]peer.AddrInfo, error) {
	var addrs []multiaddr.Multiaddr
	for _, s := range texts {
		a, err := multiaddr.NewMultiaddr(s)
		if err == nil {
			_, err = peer.AddrInfoFromP2pAddr(a)
		}
		if err != nil {
			return nil, fmt.Errorf("%w: Bootstrap: %.120q is not /ip4/.../tcp/.../p2p/<peer id>: %v", ErrConfig, s, err)
		}
		addrs = append(addrs, a)
	}
	infos, err := peer.AddrInfosFromP2pAddrs(addrs...)
	if err != nil {
		return nil, fmt.Errorf("%w: Bootstrap: %v", ErrConfig, err)
	}
	return infos, nil
}

// seeds are the peers to turn to: those of the configuration, and if those are not
// enough to get in touch, some of the nodes that were known before the last stop.
func (n *running) seeds() []peer.AddrInfo {
	out := slices.Clone(n.o.bootstrap)
	if n.dht.RoutingTable().Size() > 0 {
		return out
	}
	known := n.o.trust.known()
	rand.Shuffle(len(known), func(i, j int) { known[i], known[j] = known[j], known[i] })
	for _, info := range known {
		if len(out) >= len(n.o.bootstrap)+joinRecords {
			break
		}
		r, _ := n.o.trust.get(info.Domain)
		if r == nil || r.Domain == n.o.cfg.Domain {
			continue
		}
		for _, node := range r.Nodes[:min(1, len(r.Nodes))] { // none of a provider without libp2p
			id, err := node.ID.decode()
			addrs, err2 := multiaddrs(node.Addrs)
			if err == nil && err2 == nil && len(addrs) > 0 {
				out = append(out, peer.AddrInfo{ID: id, Addrs: addrs})
			}
		}
	}
	return slices.DeleteFunc(out, func(i peer.AddrInfo) bool { return i.ID == n.host.ID() })
}

// join connects to the seeds, tries again those that it has not reached, and reports
// after the first round. libp2p's own memory of failed dials is cleared each time, or a
// node that starts before its bootstrap peer would wait for minutes.
//
// A seed of a large network is known to more nodes than it keeps connections, and closes some. Who is in touch with
// others comes back seldom then, which still heals a network that has fallen apart.
func (n *running) join(ctx context.Context, tried func()) {
	within, most := time.Second, 500*time.Millisecond
	if n.o.cfg.Public {
		within, most = connectWithin, joinPublic
	}
	var said error
	var missing int
	var err error
	var last time.Time
	for pause := joinFirst; ; pause = min(2*pause, most) {
		if time.Since(last) >= joinAgain || len(n.host.Network().Peers()) < joinEnough {
			last = time.Now()
			missing, err = n.joinOnce(ctx, within)
		}
		if tried != nil {
			tried()
			tried = nil
		}
		switch {
		case err != nil && said == nil && missing > 0:
			n.o.log.Warn("cannot reach bootstrap peers; trying on", "unreached", missing, "error", err)
			said = err
		case missing == 0 && said != nil:
			n.o.log.Info("reached all bootstrap peers")
			said = nil
		}
		if missing == 0 {
			pause = most
		}
		select {
		case <-time.After(pause + rand.N(pause/4)):
		case <-ctx.Done():
			return
		}
	}
}

func (n *running) joinOnce(ctx context.Context, within time.Duration) (missing int, err error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	var wg sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	for _, info := range n.seeds() {
		if n.host.Network().Connectedness(info.ID) == network.Connected || !n.o.gater.InterceptPeerDial(info.ID) {
			continue
		}
		wg.Go(func() {
			n.forgetFailures(info.ID)
			if err := n.host.Connect(ctx, info); err != nil {
				mu.Lock()
				errs = append(errs, fmt.Errorf("connecting to %s: %w", info.ID, err))
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return len(errs), errors.Join(errs...)
}

// found is called by mDNS.
type found struct{ n *running }

func (f found) HandlePeerFound(info peer.AddrInfo) {
	n := f.n
	if info.ID == n.host.ID() || n.host.Network().Connectedness(info.ID) == network.Connected {
		return
	}
	ctx, cancel := context.WithTimeout(n.ctx, connectWithin)
	defer cancel()
	if err := n.host.Connect(ctx, info); err != nil {
		n.o.log.Debug("cannot connect to a peer on the LAN", "peer", info.ID.String(), "error", err)
	}
}

func (n *running) startMDNS() (stop func(), err error) {
	s := mdns.NewMdnsService(n.host, mdnsService, found{n})
	if err := s.Start(); err != nil {
		return nil, fmt.Errorf("starting mDNS: %w", err)
	}
	return func() { s.Close() }, nil
}
