package overlay

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/netip"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/control"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/net/conngater"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	libp2pquic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/quicreuse"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	"github.com/libp2p/go-libp2p/x/rate"
	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
	"github.com/quic-go/quic-go"
	"go.uber.org/fx"
)

type protocolID = protocol.ID

// newHost makes a libp2p host that does not listen yet. Its goroutines end with Close.
func newHost(c *Config, gater *gater) (host.Host, error) {
	key, err := crypto.UnmarshalEd25519PrivateKey(c.NodeKey)
	if err != nil {
		return nil, fmt.Errorf("reading node key: %w", err)
	}
	resources, err := newResources(c.Limits)
	if err != nil {
		return nil, err
	}
	connections, err := newKeeper(c.Limits)
	if err != nil {
		return nil, err
	}
	announce, err := multiaddrs(c.Announce)
	if err != nil {
		return nil, err
	}
	opts := []libp2p.Option{
		libp2p.Identity(key),
		libp2p.NoListenAddrs, // Run listens once everything is in place
		libp2p.Security(libp2ptls.ID, libp2ptls.New),
		libp2p.Security(noise.ID, noise.New),
		libp2p.Muxer(yamux.ID, yamux.DefaultTransport),
		libp2p.ResourceManager(resources),
		libp2p.ConnectionManager(connections),
		libp2p.ConnectionGater(gater),
		libp2p.DisableRelay(),
		libp2p.UserAgent("mimid"),
		libp2p.AddrsFactory(func(addrs []multiaddr.Multiaddr) []multiaddr.Multiaddr {
			if len(announce) > 0 {
				return announce
			}
			if c.Public {
				return publicOnly(addrs)
			}
			return addrs
		}),
	}
	opts = append(opts, transports(c)...)
	if c.Registerer != nil {
		opts = append(opts, libp2p.PrometheusRegisterer(c.Registerer))
	} else {
		opts = append(opts, libp2p.DisableMetrics())
	}
	h, err := libp2p.New(opts...)
	if err != nil {
		resources.Close()
		return nil, fmt.Errorf("making libp2p host: %w", err)
	}
	return h, nil
}

// transports are those by which the node listens and dials.
func transports(c *Config) []libp2p.Option {
	switch {
	case c.Transport != nil:
		return []libp2p.Option{libp2p.Transport(c.Transport), libp2p.DisableIdentifyAddressDiscovery()}
	case c.ListenUDP != nil:
		return []libp2p.Option{libp2p.Transport(libp2pquic.NewTransport), libp2p.QUICReuse(ownQUIC,
			quicreuse.OverrideListenUDP(c.ListenUDP),
			quicreuse.OverrideSourceIPSelector(func() (quicreuse.SourceIPSelector, error) { return sourceOf(c.Listen) })),
			libp2p.DisableIdentifyAddressDiscovery()}
	}
	// With port reuse, two nodes on one machine could listen on one port, and
	// each would get some of the other's connections without an error.
	return []libp2p.Option{libp2p.Transport(libp2pquic.NewTransport), libp2p.Transport(tcp.NewTCPTransport, tcp.DisableReuseport())}
}

// ownQUIC makes libp2p's QUIC with sockets of our making, and ends it with the host, which
// libp2p does for its own only.
func ownQUIC(host fx.Lifecycle, reset quic.StatelessResetKey, token quic.TokenGeneratorKey, opts ...quicreuse.Option) (*quicreuse.ConnManager, error) {
	m, err := quicreuse.NewConnManager(reset, token, opts...)
	if err != nil {
		return nil, err
	}
	host.Append(fx.StopHook(m.Close))
	return m, nil
}

// sourceOf is the address of a node that has sockets of its own making: the one that it
// listens on.
func sourceOf(listen []string) (fixedSource, error) {
	mas, err := multiaddrs(listen)
	if err != nil {
		return nil, err
	}
	for _, a := range mas {
		if ip, err := manet.ToIP(a); err == nil {
			return fixedSource(ip), nil
		}
	}
	return nil, fmt.Errorf("%w: ListenUDP needs an IP address to listen on", ErrConfig)
}

// A fixedSource implements quicreuse.SourceIPSelector.
type fixedSource net.IP

func (s fixedSource) PreferredSourceIPForDestination(*net.UDPAddr) (net.IP, error) {
	return net.IP(s), nil
}

// newResources raises libp2p's limits where they are made for a file-sharing network of
// strangers and would starve providers: per peer, whose rooms are many, and per address,
// behind which many providers may be.
func newResources(l Limits) (network.ResourceManager, error) {
	limits := rcmgr.DefaultLimits
	libp2p.SetDefaultServiceLimits(&limits)
	streams := func(perPeer, all int) (peerLimit, allLimit rcmgr.BaseLimit) {
		// A stream's memory is charged by its muxer, up to 16 MiB each with yamux;
		// their number is what is bounded here.
		return rcmgr.BaseLimit{StreamsInbound: perPeer, StreamsOutbound: perPeer, Streams: 2 * perPeer, Memory: math.MaxInt64},
			rcmgr.BaseLimit{StreamsInbound: all, StreamsOutbound: all, Streams: 2 * all, Memory: math.MaxInt64}
	}
	for _, p := range []struct {
		id           protocol.ID
		perPeer, all int
	}{
		{httpProtocol, l.StreamsPerPeer, l.Streams},
		{dhtProtocol, 256, l.Streams},
		{OnionProtocol, onionStreamsPerPeer, l.Streams},
	} {
		perPeer, all := streams(p.perPeer, p.all)
		limits.AddProtocolPeerLimit(p.id, perPeer, rcmgr.BaseLimitIncrease{})
		limits.AddProtocolLimit(p.id, all, rcmgr.BaseLimitIncrease{})
	}
	perPeer, all := streams(l.StreamsPerPeer+512, 2*l.Streams)
	perPeer.Conns, perPeer.ConnsInbound, perPeer.ConnsOutbound, perPeer.FD = 16, 8, 16, 16
	perPeer.Memory = 256 << 20
	limits.PeerBaseLimit, limits.PeerLimitIncrease = perPeer, rcmgr.BaseLimitIncrease{}
	for _, b := range []*rcmgr.BaseLimit{&limits.SystemBaseLimit, &limits.TransientBaseLimit} {
		b.Streams, b.StreamsInbound, b.StreamsOutbound = max(b.Streams, all.Streams), max(b.StreamsInbound, all.StreamsInbound), max(b.StreamsOutbound, all.StreamsOutbound)
		b.Conns, b.ConnsInbound, b.ConnsOutbound = max(b.Conns, 2*l.Connections), max(b.ConnsInbound, 2*l.Connections), max(b.ConnsOutbound, 2*l.Connections)
		b.FD = max(b.FD, 2*l.Connections)
	}
	m, err := rcmgr.NewResourceManager(rcmgr.NewFixedLimiter(limits.AutoScale()),
		rcmgr.WithMetricsDisabled(),
		rcmgr.WithLimitPerSubnet(
			[]rcmgr.ConnLimitPerSubnet{{PrefixLength: 32, ConnCount: l.ConnectionsPerAddress}},
			[]rcmgr.ConnLimitPerSubnet{{PrefixLength: 56, ConnCount: l.ConnectionsPerAddress}, {PrefixLength: 48, ConnCount: 4 * l.ConnectionsPerAddress}},
		),
		rcmgr.WithConnRateLimiters(&rate.Limiter{
			NetworkPrefixLimits: []rate.PrefixLimit{
				{Prefix: netip.MustParsePrefix("127.0.0.0/8")}, {Prefix: netip.MustParsePrefix("::1/128")},
			},
			SubnetRateLimiter: rate.SubnetLimiter{
				IPv4SubnetLimits: []rate.SubnetLimit{{PrefixLength: 32, Limit: addressRate(l)}},
				IPv6SubnetLimits: []rate.SubnetLimit{{PrefixLength: 56, Limit: addressRate(l)}},
				GracePeriod:      time.Minute,
			},
		}),
	)
	if err != nil {
		return nil, fmt.Errorf("making resource manager: %w", err)
	}
	return m, nil
}

// addressRate lets everybody behind one address connect at once, twice, and again within
// a minute or so.
func addressRate(l Limits) rate.Limit {
	return rate.Limit{RPS: float64(l.ConnectionsPerAddress) / 32, Burst: 2 * l.ConnectionsPerAddress}
}

// listen opens one address after the other: libp2p's own function takes an error of some
// of them for success.
func listen(h host.Host, addrs []string) error {
	mas, err := multiaddrs(addrs)
	if err != nil {
		return err
	}
	for _, a := range mas {
		if err := h.Network().Listen(a); err != nil {
			return fmt.Errorf("%w on %s: is another program, or a second node, using it? %v", ErrListen, a, err)
		}
	}
	return nil
}

func multiaddrs(texts []string) ([]multiaddr.Multiaddr, error) {
	var out []multiaddr.Multiaddr
	for _, s := range texts {
		a, err := multiaddr.NewMultiaddr(s)
		if err != nil {
			return nil, fmt.Errorf("%w: address %.80q: %v", ErrConfig, s, err)
		}
		out = append(out, a)
	}
	return out, nil
}

// A gater refuses connections with blocked peers, and on the Internet does not dial
// addresses that only exist on somebody's LAN. It is safe for concurrent use.
type gater struct {
	*conngater.BasicConnectionGater
	public bool
}

func newGater(ctx context.Context, c *Config) (*gater, error) {
	store, err := newDatastore(ctx, c.KV, gaterPrefix)
	if err != nil {
		return nil, err
	}
	g, err := conngater.NewBasicConnectionGater(store)
	if err != nil {
		return nil, fmt.Errorf("reading block list: %w", err)
	}
	return &gater{g, c.Public}, nil
}

const gaterPrefix = "g" // followed by a datastore key, which begins with a slash

// InterceptAddrDial implements libp2p's connection gater.
func (g *gater) InterceptAddrDial(p peer.ID, a multiaddr.Multiaddr) bool {
	if g.public && manet.IsPrivateAddr(a) {
		return false
	}
	return g.BasicConnectionGater.InterceptAddrDial(p, a)
}

// InterceptUpgraded implements libp2p's connection gater.
func (g *gater) InterceptUpgraded(network.Conn) (bool, control.DisconnectReason) { return true, 0 }

// Block refuses a peer from now on, also after a restart, and ends its connections.
func (o *Overlay) Block(p PeerID) error {
	id, err := p.decode()
	if err != nil {
		return err
	}
	if err := o.gater.BlockPeer(id); err != nil {
		return fmt.Errorf("blocking %s: %w", p, err)
	}
	if n := o.net.Load(); n != nil {
		n.host.Network().ClosePeer(id) // the connection was going away anyhow
	}
	return nil
}

// Unblock undoes Block.
func (o *Overlay) Unblock(p PeerID) error {
	id, err := p.decode()
	if err != nil {
		return err
	}
	if err := o.gater.UnblockPeer(id); err != nil {
		return fmt.Errorf("unblocking %s: %w", p, err)
	}
	return nil
}

// Blocked lists the blocked peers, in no particular order.
func (o *Overlay) Blocked() []PeerID {
	var out []PeerID
	for _, id := range o.gater.ListBlockedPeers() {
		out = append(out, peerText(id))
	}
	return out
}

// quiet lets a library log what an operator need not read unless debugging.
func quiet(l *slog.Logger) *slog.Logger { return slog.New(quietHandler{l.Handler()}) }

type quietHandler struct{ slog.Handler }

func (h quietHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn && h.Handler.Enabled(ctx, slog.LevelDebug)
}

func (h quietHandler) Handle(ctx context.Context, r slog.Record) error {
	r.Level = slog.LevelDebug
	return h.Handler.Handle(ctx, r)
}

func (h quietHandler) WithAttrs(a []slog.Attr) slog.Handler {
	return quietHandler{h.Handler.WithAttrs(a)}
}
func (h quietHandler) WithGroup(n string) slog.Handler { return quietHandler{h.Handler.WithGroup(n)} }
