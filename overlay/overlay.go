package overlay

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p-kad-dht"
	pb "github.com/libp2p/go-libp2p-kad-dht/pb"
	kb "github.com/libp2p/go-libp2p-kbucket"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/singleflight"
)

// Config says who a node is and how it takes part.
type Config struct {
	Domain      string             // of the provider: a DNS name, or SelfProvingName of its first key
	ProviderKey ed25519.PrivateKey // signs the provider record
	Rotations   []Rotation         // of earlier provider keys, oldest first, see SignRotation
	NodeKey     ed25519.PrivateKey // is the node's libp2p identity
	Siblings    []Node             // other nodes of the same provider, which the record names too

	Listen    []string // multiaddrs; nil listens on 127.0.0.1, TCP and QUIC, any port
	Announce  []string // multiaddrs to publish instead of those listened on; for nodes behind NAT
	Bootstrap []string // multiaddrs with /p2p/<peer id> of nodes to meet others through
	MDNS      bool     // find, and be found by, nodes on the LAN

	// Public says that the network is the Internet: private addresses are neither
	// published nor dialled, and nobody fills our routing table from one address.
	// Without it, a LAN or one machine works as well.
	Public bool

	DirectoryURL string // of MIMI over HTTPS, for the record

	// Offline leaves libp2p out: Run opens no socket, the record names no node, and
	// providers are found by their HTTPS directories alone. Calls that need peers fail
	// with ErrNotRunning. Needs Certified and DirectoryURL.
	Offline bool

	// Certified reads the directory of a provider over HTTPS, from a server whose
	// certificate names the domain, and returns the provider record in it, as that
	// provider sealed it; nil if the directory has none. An error says that it is not
	// known what the directory says. nil asks nobody.
	Certified func(ctx context.Context, domain string) (record []byte, err error)

	ReplicaWilling bool // offers to be a replica of others' rooms, see Willing
	RelayWilling   bool

	KV KV // required

	// Pins are the operator's decisions, domain to Fingerprint. They outrank Pin.
	Pins map[string]string

	// TXT looks up DNS TXT records. nil asks no DNS. An error that is a *net.DNSError
	// with IsNotFound means that there are none; any other means that it is unknown.
	TXT func(ctx context.Context, name string) ([]string, error)

	Handler http.Handler // serves requests of peers, see RequestPeer; nil answers 404
	Limits  Limits       // zero fields have defaults
	Log     *slog.Logger // nil discards

	// ListenUDP opens the sockets of QUIC in place of the system, for networks inside one
	// process: there is no TCP then, and Listen must name UDP addresses with an IP.
	ListenUDP func(network string, addr *net.UDPAddr) (net.PacketConn, error)

	// Transport, if it is not nil, is the constructor of a libp2p transport (libp2p.Transport) in
	// place of QUIC and TCP, for networks inside one process. Listen must name its addresses.
	Transport any

	Registerer prometheus.Registerer // nil measures nothing

	// Now is the clock by which records are judged and dated; nil is time.Now.
	// Timeouts follow the real clock.
	Now func() time.Time
}

// An Overlay is one node's part in the network. Its methods are safe for concurrent use.
type Overlay struct {
	cfg         Config // with defaults; not changed after New
	self        PeerID
	providerKey ed25519.PublicKey
	bootstrap   []peer.AddrInfo
	log         *slog.Logger
	trust       *trustTable
	gater       *gater
	watchers    *watchers
	client      *http.Client
	transport   *roundTripper
	counters    *counters
	rooms       *roomBook
	flight      singleflight.Group

	ready   chan struct{}
	started atomic.Bool
	net     atomic.Pointer[running] // nil before the host is up and after it began to stop; always if Offline
	lookups atomic.Pointer[lookups] // nil before Run can look names up, and after it began to stop

	sealing sync.Mutex // held by whoever seals the own record
}

// running is what exists between the start and the end of Run.
type running struct {
	*lookups
	host      host.Host
	dht       *dht.IpfsDHT
	messenger *pb.ProtocolMessenger // asks single nodes of the DHT
	gossip    *gossip
	listener  *streamListener
	publisher *publisher
	announcer *announcer
	quota     *quota
	sizes     *sizes
	dials     misses // peer ids
}

// New checks the configuration and reads what is stored. It opens no socket and starts
// no goroutine.
func New(c Config) (*Overlay, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Listen == nil {
		c.Listen = []string{"/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"}
	}
	if err := c.Limits.withDefaults(); err != nil {
		return nil, err
	}
	domain, err := Canonical(c.Domain)
	if err != nil {
		return nil, fmt.Errorf("%w: Domain: %w", ErrConfig, err)
	}
	c.Domain = domain
	if len(c.ProviderKey) != ed25519.PrivateKeySize || len(c.NodeKey) != ed25519.PrivateKeySize {
		return nil, fmt.Errorf("%w: ProviderKey and NodeKey must be Ed25519 keys", ErrConfig)
	}
	if c.ProviderKey.Equal(c.NodeKey) {
		return nil, fmt.Errorf("%w: ProviderKey and NodeKey are the same; the one moves to other machines, the other must not", ErrConfig)
	}
	if c.KV == nil {
		return nil, fmt.Errorf("%w: KV is missing", ErrConfig)
	}
	if c.Offline && (c.Certified == nil || c.DirectoryURL == "" || len(c.Siblings) > 0) {
		return nil, fmt.Errorf("%w: Offline needs Certified and DirectoryURL, and has no Siblings", ErrConfig)
	}
	o := &Overlay{cfg: c, log: c.Log, ready: make(chan struct{}), watchers: newWatchers()}
	o.providerKey = c.ProviderKey.Public().(ed25519.PublicKey)
	id, err := peerOfKey(c.NodeKey.Public().(ed25519.PublicKey))
	if err != nil {
		return nil, err
	}
	o.self = peerText(id)
	o.rooms = newRoomBook(id, o.providerKey, c.Now)
	if o.bootstrap, err = bootstrapPeers(c.Bootstrap); err != nil {
		return nil, err
	}
	for _, list := range [][]string{c.Listen, c.Announce} {
		if _, err := multiaddrs(list); err != nil {
			return nil, err
		}
	}
	ctx := context.Background()
	if o.trust, err = newTrustTable(ctx, &o.cfg); err != nil {
		return nil, err
	}
	if err := o.trust.own(domain, Fingerprint(o.providerKey)); err != nil {
		return nil, err
	}
	if err := o.checkOwn(); err != nil {
		return nil, err
	}
	if o.gater, err = newGater(ctx, &o.cfg); err != nil {
		return nil, err
	}
	if o.counters, err = newCounters(o, c.Registerer); err != nil {
		return nil, err
	}
	o.transport = newRoundTripper(o)
	o.client = &http.Client{
		Transport:     o.transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return o, nil
}

// checkOwn finds out now whether the record that Run will publish can be published.
func (o *Overlay) checkOwn() error {
	c := &o.cfg
	r := &Record{
		Domain: c.Domain, ProviderKey: o.providerKey, Rotations: c.Rotations,
		Nodes: o.ownNodes(c.Announce), DirectoryURL: c.DirectoryURL,
		Expires: c.Now().Add(recordValidity),
	}
	env, err := r.seal(c.ProviderKey)
	if err != nil {
		return fmt.Errorf("%w: the provider record: %w", ErrConfig, err)
	}
	if len(env) > MaxRecord-MaxRecordAddrs*32 {
		return fmt.Errorf("%w: the provider record has %d bytes without addresses; name fewer siblings or rotations", ErrConfig, len(env))
	}
	if err := checkOwnName(r); err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return nil
}

// checkOwnName makes sure that others can believe that our key belongs to our name.
func checkOwnName(r *Record) error {
	_, err := decide(&trustEntry{}, r, "", testimony{})
	return err
}

// Self returns the node's peer id.
func (o *Overlay) Self() PeerID { return o.self }

// Addrs returns the multiaddrs at which others may reach the node, without the peer id;
// none before Run.
func (o *Overlay) Addrs() []string {
	n := o.net.Load()
	if n == nil {
		return nil
	}
	var out []string
	for _, a := range n.host.Addrs() {
		out = append(out, a.String())
	}
	return out
}

// Ready is closed when the node listens, has tried its bootstrap peers once, and has
// tried to publish its record if there were peers to publish to.
func (o *Overlay) Ready() <-chan struct{} { return o.ready }

// Keys returns the provider keys that are trusted for a name, oldest first and the one
// in force last. It does no IO: a provider that was never resolved has none. Older keys
// are here because they signed their successors; whether one was in force at a certain
// time is for the caller.
func (o *Overlay) Keys(domain string) []ed25519.PublicKey {
	d, err := Canonical(domain)
	if err != nil {
		return nil
	}
	return o.trust.keys(d)
}

// Known lists the providers that were resolved or pinned, and this one, by name.
func (o *Overlay) Known() []ProviderInfo {
	out := o.trust.known()
	for i := range out {
		for _, p := range out[i].Nodes {
			if o.Connected(p) {
				out[i].Connected = true
			}
		}
	}
	return out
}

// Pin decides that the key with this fingerprint, or its rotated successors, speaks for
// a name. It is durable. Keys trusted so far that do not belong to it are dropped.
func (o *Overlay) Pin(ctx context.Context, domain, fingerprint string) error {
	d, err := Canonical(domain)
	if err != nil {
		return err
	}
	fp, err := canonicalFingerprint(fingerprint)
	if err != nil {
		return err
	}
	if err := o.trust.pin(ctx, d, fp); err != nil {
		return err
	}
	o.decided(d)
	return nil
}

// Forget drops a name, with its keys, record, conflicts and stored pin, so that the next
// Resolve decides afresh. Pins of the configuration stay.
func (o *Overlay) Forget(ctx context.Context, domain string) error {
	d, err := Canonical(domain)
	if err != nil {
		return err
	}
	if d == o.cfg.Domain {
		return fmt.Errorf("%w: %s is this provider", ErrConfig, d)
	}
	if err := o.trust.forget(ctx, d); err != nil {
		return err
	}
	o.decided(d)
	return nil
}

// decided lets a name be looked up at once, though it has just failed.
func (o *Overlay) decided(domain string) {
	if l := o.lookups.Load(); l != nil {
		l.misses.drop(domain)
	}
}

// Run takes part in the network until ctx ends, and then stops in order: no new
// requests, those being served until Limits.StopTimeout, gossip, the DHT, connections.
// It returns nil when ctx ended it, and an error if it could not start. A second call
// fails.
func (o *Overlay) Run(ctx context.Context) error {
	if o.started.Swap(true) {
		return fmt.Errorf("%w: Run was called before; make a new Overlay", ErrConfig)
	}
	var stops []func() // in the order of starting
	defer func() {
		for i := len(stops) - 1; i >= 0; i-- {
			stops[i]()
		}
	}()
	stop := func(fn func()) { stops = append(stops, fn) }

	stop(func() {
		flushCtx, cancel := context.WithTimeout(context.Background(), o.cfg.Limits.StopTimeout)
		defer cancel()
		if err := o.trust.flush(flushCtx); err != nil {
			o.log.Warn("cannot store the noted conflicts", "error", err)
		}
	})
	if o.cfg.Offline {
		return o.runOffline(ctx)
	}
	h, err := newHost(&o.cfg, o.gater)
	if err != nil {
		return err
	}
	stop(func() { h.Close() })
	l := o.cfg.Limits
	store, err := newDatastore(ctx, o.cfg.KV, datastorePrefix,
		&bound{prefix: "/providers/", max: l.StoredAnnouncements},
		&bound{prefix: "/" + recordNamespace + "/", max: l.StoredValues},
		&bound{prefix: "/" + roomNamespace + "/", max: l.StoredRooms, own: o.rooms.ownPlace})
	if err != nil {
		return err
	}

	// The parts get contexts of their own: what ctx ends is the work here, which then
	// stops the parts one after the other.
	runCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop(cancel)
	n := &running{lookups: &lookups{o: o, ctx: runCtx}, host: h, listener: newStreamListener(h.ID())}
	n.lookups.net = n
	n.publisher = newPublisher(n)
	n.quota = newQuota(l)
	n.sizes = &sizes{self: kb.ConvertPeerID(h.ID())}
	n.dht, err = newDHT(h, &o.cfg, store, &recordValidator{o.trust, o.cfg.Now}, o.rooms, n.quota, n.sizes)
	if err != nil {
		return err
	}
	stop(func() {
		if err := n.dht.Close(); err != nil {
			o.log.Warn("stopping the DHT", "error", err)
		}
	})
	if n.messenger, err = newMessenger(n.dht.MessageSender()); err != nil {
		return err
	}
	gossipCtx, stopGossip := context.WithCancel(context.WithoutCancel(ctx))
	stop(stopGossip)
	if n.gossip, err = newGossip(gossipCtx, h, &o.cfg, o.counters); err != nil {
		return err
	}
	events, err := subscribe(n)
	if err != nil {
		return err
	}
	stop(func() { events.Close() })

	server := newServer(&o.cfg)
	served := make(chan error, 1)
	go func() { served <- server.Serve(n.listener) }()
	h.SetStreamHandler(httpProtocol, n.listener.handle)
	stop(func() {
		h.RemoveStreamHandler(httpProtocol)
		stopServer(server, l.StopTimeout)
		<-served
	})

	if n.announcer, err = newAnnouncer(n, l.Announced); err != nil {
		return err
	}
	stop(func() {
		if err := n.announcer.close(); err != nil {
			o.log.Warn("stopping the sweep of announcements", "error", err)
		}
	})
	o.net.Store(n) // before listening: a handler may call us at once
	o.lookups.Store(n.lookups)
	var tasks sync.WaitGroup
	stop(func() {
		o.lookups.Store(nil)
		o.net.Store(nil)
		cancel()
		tasks.Wait()
		n.wait()
		o.transport.base.CloseIdleConnections()
	})
	if err := listen(h, o.cfg.Listen); err != nil {
		return err
	}
	if o.cfg.MDNS {
		stopMDNS, err := n.startMDNS()
		if err != nil {
			return err
		}
		stop(stopMDNS)
	}
	o.log.Info("overlay is listening", "peer", string(o.self), "domain", o.cfg.Domain, "addrs", o.Addrs())

	joined := make(chan struct{})
	tasks.Go(func() { n.watch(runCtx, events) })
	tasks.Go(func() { n.join(runCtx, func() { close(joined) }) })
	tasks.Go(func() { o.tidy(runCtx) })
	if o.cfg.ReplicaWilling {
		tasks.Go(func() { n.announceWilling(runCtx) })
	}
	select {
	case <-joined:
		// The DHT learns of a connected peer in the background. Without waiting for
		// it, the first lookups after Ready would find nobody.
		n.settle(runCtx)
	case <-ctx.Done():
		return nil
	}
	published := make(chan struct{})
	tasks.Go(func() { n.publisher.run(runCtx, func() { close(published) }) })
	select {
	case <-published:
	case <-time.After(publishWait):
	case <-ctx.Done():
		return nil
	}
	close(o.ready)

	select {
	case <-ctx.Done():
		return nil
	case err := <-served:
		served <- err
		return fmt.Errorf("serving HTTP: %w", err)
	}
}

// settle waits, not for long, until peers that are connected are in the routing table.
func (n *running) settle(ctx context.Context) {
	for deadline := time.Now().Add(time.Second); time.Now().Before(deadline); {
		if len(n.host.Network().Peers()) == 0 || n.dht.RoutingTable().Size() > 0 {
			return
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return
		}
	}
}

// tidy stores noted conflicts now and then.
func (o *Overlay) tidy(ctx context.Context) {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := o.trust.flush(ctx); err != nil && !errors.Is(err, context.Canceled) {
				o.log.Warn("cannot store the noted conflicts", "error", err)
			}
		}
	}
}

// misses remembers failures for a moment, so that a name that cannot be resolved, or a
// node that is down, does not cost an attempt each time it is asked for. It is safe for
// concurrent use.
type misses struct {
	mu sync.Mutex
	m  map[string]miss // guarded by mu, at most maxMisses
}

type miss struct {
	until time.Time
	err   error
}

func (m *misses) get(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if x, ok := m.m[name]; ok && time.Now().Before(x.until) {
		return x.err
	}
	return nil
}

func (m *misses) put(name string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.m == nil || len(m.m) >= maxMisses {
		m.m = make(map[string]miss)
	}
	m.m[name] = miss{time.Now().Add(missFor), err}
}

func (m *misses) drop(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.m, name)
}
