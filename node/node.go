package node

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mimid/mimid/node/abuse"
	"github.com/mimid/mimid/node/account"
	"github.com/mimid/mimid/node/admin"
	"github.com/mimid/mimid/node/assets"
	"github.com/mimid/mimid/node/authority"
	"github.com/mimid/mimid/node/clienthttp"
	"github.com/mimid/mimid/node/contact"
	"github.com/mimid/mimid/node/evaluate"
	"github.com/mimid/mimid/node/feed"
	"github.com/mimid/mimid/node/introduce"
	"github.com/mimid/mimid/node/knocks"
	"github.com/mimid/mimid/node/mimihttps"
	"github.com/mimid/mimid/node/oblivious"
	"github.com/mimid/mimid/node/outbox"
	"github.com/mimid/mimid/node/outside"
	"github.com/mimid/mimid/node/pairing"
	"github.com/mimid/mimid/node/peering"
	"github.com/mimid/mimid/node/pseudonyms"
	"github.com/mimid/mimid/node/ration"
	"github.com/mimid/mimid/node/rooms"
	"github.com/mimid/mimid/node/stock"
	"github.com/mimid/mimid/node/veil"
	"github.com/mimid/mimid/overlay"
	"github.com/mimid/mimid/protocol/mls/x509auth"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/store"
)

// Node is a provider's node. It is made by New and lives in Run.
type Node struct {
	cfg     Config
	version string
	keys    *Keys
	memory  *Memory // nil but in simulations
	log     *slog.Logger
	now     func() time.Time
	ready   chan struct{}

	mu      sync.Mutex
	parts   *parts    // guarded by mu; nil before all is made
	serving bool      // guarded by mu
	started time.Time // guarded by mu
}

// Options are what a program adds to the configuration.
type Options struct {
	Version string
	// LogTo receives the log. Required.
	LogTo io.Writer
	// Now is the clock of rooms and certificates. Default time.Now.
	Now func() time.Time
	// Memory, if it is not nil, has the node live in memory, for simulations.
	Memory *Memory
}

// parts is everything a node is made of.
type parts struct {
	store      *store.Store
	feed       *feed.Feed
	accounts   *account.Registry
	overlay    *overlay.Overlay
	providers  *providers
	caller     *peering.Caller
	server     *peering.Server
	outbox     *outbox.Outbox
	rooms      *rooms.Rooms
	failover   *failover
	heard      *heard
	moved      *movedRooms
	recruits   *recruits
	contacts   *contact.Service
	stock      *stock.Watch
	outside    *outside.Watch
	evaluate   *evaluate.Service // nil: the network has no evaluators
	authority  *authority.Service
	knocks     *knocks.Service
	introduce  *introduce.Service
	onion      *onions       // nil: the onion overlay is off
	veil       *veil.Service // says so where it is off
	web        *web          // nil: HTTPS is off
	assets     *assets.Store
	downloads  *assets.Proxy
	pseudonyms *pseudonyms.Service
	gateway    *oblivious.Gateway
	relay      *oblivious.Relay
	abuse      *abuse.Queue
	clients    *clienthttp.Server
	listener   net.Listener
	admin      *admin.Server
	registry   *prometheus.Registry
	metrics    net.Listener
}

// New reads a data directory. It opens nothing else and starts nothing. Errors:
// ErrConfig, ErrKeys.
func New(cfg *Config, o Options) (*Node, error) {
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	if err := o.Memory.check(cfg); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	// Before the store is looked at: it is marked, too, but not from its first moment on.
	if _, err := os.Lstat(filepath.Join(cfg.Dir, unfinishedName)); err == nil {
		return nil, fmt.Errorf("%w: there is a file %s in %s: remove the directory and restore again", store.ErrUnfinished, unfinishedName, cfg.Dir)
	}
	keys, err := o.Memory.readKeys(cfg.Dir)
	if err != nil {
		return nil, err
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.Log.Level)); err != nil {
		return nil, fmt.Errorf("%w: log.level: %w", ErrConfig, err)
	}
	var h slog.Handler = slog.NewTextHandler(o.LogTo, &slog.HandlerOptions{Level: level})
	if cfg.Log.JSON {
		h = slog.NewJSONHandler(o.LogTo, &slog.HandlerOptions{Level: level})
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Version == "" {
		o.Version = "dev"
	}
	return &Node{cfg: *cfg, version: o.Version, keys: keys, memory: o.Memory, now: o.Now, ready: make(chan struct{}),
		log: slog.New(h).With("node", cfg.Domain)}, nil
}

// Ready is closed when the node serves clients and other providers.
func (n *Node) Ready() <-chan struct{} { return n.ready }

// Run serves until ctx ends, and then stops in order, within StopTimeout. It
// returns nil when ctx ended it. Errors among others: store.ErrLocked (another
// process has the data directory), overlay.ErrListen (a port is in use).
func (n *Node) Run(ctx context.Context) (err error) {
	n.mu.Lock()
	n.started = n.now()
	n.mu.Unlock()
	where := n.memory.store(n.cfg.Dir)
	where.Small, where.Log = n.cfg.Store.Small, n.log.With("part", "store")
	st, err := store.Open(where)
	if err != nil {
		return fmt.Errorf("opening store: %w", err)
	}
	defer func() {
		close, cancel := context.WithTimeout(context.WithoutCancel(ctx), StopTimeout)
		defer cancel()
		err = errors.Join(err, st.Close(close))
	}()
	if err := warnRestored(st, n.log); err != nil {
		return fmt.Errorf("reading whether the store was restored: %w", err)
	}
	s := newStages(ctx, n.log)
	var p *parts
	defer func() {
		// First the parts, which close their listeners when they have let everybody
		// go; a listener closed under them would leave its connections behind.
		err = errors.Join(err, s.stop(StopTimeout))
		if p != nil {
			p.close()
		}
	}()
	s.start("store", st.Run, nil)
	if p, err = n.make(ctx, st); err != nil {
		return err
	}
	n.mu.Lock()
	n.parts = p
	n.mu.Unlock()

	if p.metrics != nil { // first and last: who asks is told that the node starts, or stops
		s.start("metrics", n.serveMetrics, nil)
	}
	s.start("heard", p.heard.run, nil)
	s.start("accounts", p.accounts.Run, nil)
	s.start("overlay", p.overlay.Run, p.overlay.Ready())
	if p.web != nil {
		s.start("https", p.web.server.Run, nil)
	}
	if p.onion != nil {
		s.start("onion", p.onion.run, nil)
	}
	stopWatching := n.watch(p, s)
	defer stopWatching()
	s.start("rooms", p.rooms.Run, p.rooms.Ready())
	s.start("watch", p.failover.watch.Run, nil)
	s.start("failover", p.failover.run, nil)
	s.start("moved", p.moved.run, nil)
	s.start("outbox", p.outbox.Run, nil)
	s.start("contacts", p.contacts.Run, nil)
	s.start("stock", p.stock.Run, nil)
	s.start("rivals", p.contacts.WatchRivals, nil)
	s.start("knocks", p.knocks.Run, nil)
	s.start("authority", p.authority.Run, nil)
	s.start("introductions", p.introduce.Run, nil)
	s.start("assets", p.assets.Run, nil)
	s.start("clients", p.clients.Run, nil)
	if n.looks() {
		s.start("outside", p.outside.Run, nil)
	}
	s.start("operator", p.admin.Run, p.admin.Ready())
	if !s.up() {
		return s.failed() // nil if somebody stopped us while we started
	}
	n.mu.Lock()
	n.serving = true
	n.mu.Unlock()
	close(n.ready)
	n.log.Info("ready", "clients", p.listener.Addr().String(), "peer", p.overlay.Self(), "addresses", p.overlay.Addrs(), "version", n.version)
	err = s.wait()
	n.mu.Lock()
	n.serving = false
	n.mu.Unlock()
	n.log.Info("stopping")
	return err
}

// watch tells rooms and outbox when other providers come into reach.
func (n *Node) watch(p *parts, s *stages) (stop func()) {
	return p.overlay.OnConnect(func(id overlay.PeerID) {
		// Whose node it is takes a lookup, so not on the overlay's goroutine.
		s.spawn(func(ctx context.Context) {
			for _, k := range p.overlay.Known() {
				for _, node := range k.Nodes {
					if node == id && k.Domain != n.cfg.Domain {
						p.rooms.Learn(k.Domain, k.Nodes)
						p.outbox.Wake(k.Domain)
						p.rooms.Exchange(ctx, k.Domain)
					}
				}
			}
		})
	})
}

// make makes all parts and connects them. The store runs.
func (n *Node) make(ctx context.Context, st *store.Store) (p *parts, err error) {
	p = &parts{store: st, registry: prometheus.NewRegistry()}
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	part := func(name string) *slog.Logger { return n.log.With("part", name) }
	domain := n.cfg.Domain
	signer := n.keys.present()

	if p.feed, err = feed.Open(ctx, st); err != nil {
		return p, err
	}
	p.providers = &providers{domain: domain, keys: n.keys, salt: n.cfg.Discovery.Salt, maxAsset: n.cfg.Assets.limits().Size,
		franking: n.keys.franking.Public().(ed25519.PublicKey)}
	auth, err := x509auth.New(x509auth.Options{Anchors: p.providers.anchors})
	if err != nil {
		return p, err
	}
	if p.accounts, err = account.New(account.Config{Domain: domain, Store: st, Authenticator: auth, Now: n.now, Log: part("accounts"),
		Changed:     func(u uri.User) { p.stock.Changed(u) }, // made below, and before anything runs
		ProviderKey: func() crypto.Signer { return signer }}); err != nil {
		return p, err
	}

	rotations, err := n.keys.rotations(domain)
	if err != nil {
		return p, err
	}
	if p.web, err = n.makeWeb(); err != nil {
		return p, err
	}
	late := new(lateHandler) // the overlay is made before what it serves
	if p.overlay, err = overlay.New(overlay.Config{
		Offline: !n.cfg.Overlay.Enabled, Certified: p.web.certified(), DirectoryURL: p.web.directoryURL(),
		Domain: domain, ProviderKey: signer, Rotations: rotations, NodeKey: n.keys.node,
		Listen: n.cfg.Overlay.Listen, Announce: n.cfg.Overlay.Announce, Bootstrap: n.cfg.Overlay.Bootstrap,
		MDNS: n.cfg.Overlay.MDNS, Public: n.cfg.Overlay.Public, ReplicaWilling: n.cfg.Failover.ReplicaForOthers, RelayWilling: n.cfg.Onion.Relay,
		KV: kv{st}, Pins: n.cfg.Trust.Pins, TXT: txt(n.cfg.Trust.DNS), Handler: late, Limits: overlay.Limits{Connections: n.cfg.Overlay.Connections},
		Log: part("overlay"), Registerer: p.registry, Now: n.now, Transport: n.memory.transport(),
	}); err != nil {
		return p, err
	}
	p.providers.overlay = p.overlay
	client, proven := p.web.client(p.overlay)
	p.caller = &peering.Caller{Domain: domain, Key: func() ed25519.PrivateKey { return signer }, Client: client, Proven: proven, Now: n.now}
	p.providers.ask = func(ctx context.Context, to, endpoint string) ([]byte, error) {
		res, err := p.caller.Call(ctx, peering.Request{Target: to, Endpoint: endpoint, Subject: to, MaxResponse: 1 << 10})
		if err != nil {
			return nil, err
		}
		return res.Body, nil
	}
	if p.onion, err = n.makeOnion(p); err != nil {
		return p, err
	}
	if p.veil, err = p.onion.makeVeil(); err != nil {
		return p, err
	}
	if p.outbox, err = outbox.New(outbox.Config{Store: st, Caller: p.caller, Now: n.now, Log: part("outbox")}); err != nil {
		return p, err
	}
	if p.heard, err = newHeard(st, n.now, part("heard")); err != nil {
		return p, err
	}
	if p.failover, err = newFailover(n.cfg.Failover, p.caller, p.heard.note, part("failover"), n.now); err != nil {
		return p, err
	}
	franker, err := room.NewFranker(n.keys.franking)
	if err != nil {
		return p, err
	}
	if p.abuse, err = abuse.Open(abuse.Config{Store: st, Now: n.now}); err != nil {
		return p, err
	}
	batch := 0 // the default, which a small store cannot hold
	if n.cfg.Store.Small {
		batch = smallBatch
	}
	if p.rooms, err = rooms.Open(rooms.Config{
		BatchBytes: batch, Store: st, Feed: p.feed, Domain: domain, Key: signer, Signer: n.keys.signer,
		Rules: room.Rules{Auth: auth, Anchors: p.providers.anchors},
		Peers: roomPeers{p.providers, p.caller, p.hear}, Dead: p.failover.watch.Dead, Silence: p.heard.silence, Offer: n.cfg.Failover.offer(),
		Replica: func() room.Replica {
			x := room.Replica{Domain: domain, FrankingKey: p.providers.franking}
			copy(x.ProviderKey[:], signer.Public().(ed25519.PublicKey))
			return x
		},
		Franker: franker, Reports: p.abuse,
		Gossip: n.gossip(p.overlay), Outbox: roomOutbox{p.outbox}, Joined: p.joined, Pseudonyms: lateNames{p},
		Changed:    func(id room.ID) { p.knocks.Changed(id) }, // made below, and before anything runs
		Quarantine: quarantine{p}, Veil: roomVeil{p.veil},
		Log: part("rooms"), Now: n.now, Stall: time.Duration(n.cfg.Failover.Stall),
	}); err != nil {
		return p, err
	}
	p.failover.rooms = p.rooms
	p.recruits = &recruits{domain: domain, rooms: p.rooms, find: willing(p.overlay, p.caller), silence: p.heard.silence,
		patience: time.Duration(n.cfg.Failover.RecruitPatience), rate: ration.New(ration.Config{PerSecond: 0.1, Burst: 20}),
		now: n.now, log: part("recruits")}
	p.moved = &movedRooms{rooms: p.rooms, overlay: p.overlay, log: part("moved")}
	if p.knocks, err = n.makeKnocks(p, auth); err != nil {
		return p, err
	}
	if err := n.makeEvaluate(p); err != nil {
		return p, err
	}
	n.believe(p)
	if p.contacts, err = n.makeContacts(p, auth); err != nil {
		return p, err
	}
	if p.pseudonyms, err = pseudonyms.New(pseudonyms.Config{Domain: domain, Store: st, Accounts: p.accounts, Authenticator: auth,
		Admit: p.contacts.AdmitPseudonymous, Rooms: p.rooms, Now: n.now, Log: part("pseudonyms")}); err != nil {
		return p, err
	}
	if p.introduce, err = n.makeIntroduce(p); err != nil {
		return p, err
	}
	if p.authority, err = n.makeAuthority(p); err != nil {
		return p, err
	}
	if p.stock, err = n.makeStock(p, auth); err != nil {
		return p, err
	}
	if p.outside, err = n.makeOutside(p, auth); err != nil {
		return p, err
	}
	budget := assets.NewBudget(assets.BudgetConfig{})
	if err := n.makeAssets(p, budget); err != nil {
		return p, err
	}
	host, err := overlay.PeerHost(p.overlay.Self())
	if err != nil {
		return p, err
	}
	routes := slices.Concat(roomRoutes(p.rooms, p.hear), p.contacts.Routes(), p.evaluateRoutes(), p.authority.Routes(), p.knocks.Routes(), p.introduce.Routes(), p.outside.Routes(), p.onion.routes(), []peering.Route{p.downloads.Route()}, p.gateway.Routes())
	p.veil.Serve(routes)
	if p.server, err = peering.NewServer(peering.Config{
		Domain: domain, Aliases: []string{host}, Routes: routes, Directory: directory{p.providers},
		Peer:      peerOf,
		Certified: mimihttps.Source, PlainIDs: n.keys.plainIDs(), Record: p.web.record(p.overlay),
		Now: n.now, Log: part("peering"),
	}); err != nil {
		return p, err
	}
	late.h = p.gateway.Handler(p.assets.Handler(peerOf, budget, p.server))
	if p.web != nil {
		p.web.serve(late.h)
	}
	if err := n.makeClients(p); err != nil {
		return p, err
	}
	if p.admin, err = admin.New(admin.Config{Dir: n.cfg.Dir, Listener: n.memory.operator(), Log: part("operator"), Services: admin.Services{
		Accounts: stocked{p.accounts, p.stock, p.outside}, Rooms: operatorRooms{p.rooms, domain, ping(p.caller)}, Peers: operatorPeers{domain, p.overlay}, Node: n,
		Abuse: operatorAbuse{p.abuse, p.rooms}}}); err != nil {
		return p, err
	}
	if n.cfg.Metrics.Listen != "" {
		if p.metrics, err = listen("metrics.listen", n.cfg.Metrics.Listen); err != nil {
			return p, err
		}
		n.register(p)
	}
	return p, nil
}

// smallBatch bounds a batch, and half of what followers are given at once, so that
// it fits into one transaction of a small store with all that is written beside it.
const smallBatch = 24 << 10

func (n *Node) makeClients(p *parts) (err error) {
	var conf *tls.Config
	if n.cfg.Clients.TLSCertificate != "" {
		cert, err := tls.LoadX509KeyPair(n.path(n.cfg.Clients.TLSCertificate), n.path(n.cfg.Clients.TLSKey))
		if err != nil {
			return fmt.Errorf("%w: clients.tls_certificate: %w", ErrConfig, err)
		}
		conf = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13}
	}
	if p.listener, err = n.memory.listen(n.cfg.Clients.Listen); err != nil {
		return err
	}
	if a, ok := p.listener.Addr().(*net.TCPAddr); conf == nil && (!ok || !a.IP.IsLoopback()) {
		return fmt.Errorf("%w: clients.listen = %q is no loopback address, and tokens would travel in the clear: set clients.tls_certificate, or listen on 127.0.0.1 behind a proxy",
			ErrConfig, n.cfg.Clients.Listen)
	}
	rate := n.cfg.Clients.RequestsPerSecond
	p.clients, err = clienthttp.New(clienthttp.Config{
		Listener: p.listener, TLS: conf, Ready: n.readiness, Version: n.version, Log: n.log.With("part", "clients"), Now: n.now,
		Requests: ration.Config{PerSecond: rate, Burst: max(1, 4*rate)},
		Services: clienthttp.Services{Accounts: p.accounts, KeyPackages: stocked{p.accounts, p.stock, p.outside}, Providers: p.providers, Contacts: p.contacts, Pseudonyms: p.pseudonyms,
			Claims: p.contacts, Evaluations: evaluations{p.evaluate}, Verifications: p.authority, Rooms: p.rooms, Finder: p.moved, Recruits: p.recruits, Knocks: p.knocks, Introductions: p.introduce, Privacy: privacyReports{p.veil}, Pairings: pairing.New(pairing.Config{Invites: p.accounts, Now: n.now, Log: n.log.With("part", "pairing")}), Signals: p.rooms, Submissions: p.rooms, Streams: streams{p.feed},
			Assets: p.assets, Downloads: p.downloads, Oblivious: p.relay},
	})
	return err
}

func (n *Node) path(file string) string {
	if filepath.IsAbs(file) {
		return file
	}
	return filepath.Join(n.cfg.Dir, file)
}

// ErrListen: an address of the configuration cannot be listened on.
var ErrListen = errors.New("node: cannot listen")

func listen(key, addr string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("%w on %s = %q: %w; is another program, or another node, using it?", ErrListen, key, addr, err)
	}
	return l, nil
}

func (p *parts) close() {
	for _, l := range []net.Listener{p.listener, p.metrics} {
		if l != nil {
			l.Close() // a second close is harmless
		}
	}
	if p.web != nil {
		p.web.close()
	}
}

// readiness says why the node does not serve.
func (n *Node) readiness() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.serving {
		return errors.New("the node is starting or stopping")
	}
	return nil
}

// lateHandler is an http.Handler that is made later than who serves it, and
// before that runs.
type lateHandler struct{ h http.Handler }

func (l *lateHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) { l.h.ServeHTTP(w, r) }
