package overlay

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/connmgr"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
)

const (
	// What a stranger tries of a record: so that nobody has much dialled by naming much.
	strangerNodes = 3
	strangerAddrs = 8
)

// A Stranger comes to one provider as somebody does who has never been in touch with it: with a
// node identity made for this, connections of its own, and nothing to go by but the
// provider's record. A connection that there is already, in whichever direction it was made, is
// not used: that is how it finds out whether others can reach the provider. Safe for
// concurrent use; it is to be closed.
type Stranger struct {
	o      *Overlay
	domain string
	host   host.Host
	base   *http.Transport
	client *http.Client
}

// Stranger makes one for a provider. Errors: ErrNotRunning, ErrName.
func (o *Overlay) Stranger(domain string) (*Stranger, error) {
	d, err := Canonical(domain)
	if err != nil {
		return nil, err
	}
	if o.net.Load() == nil {
		return nil, ErrNotRunning
	}
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a stranger's key: %w", err)
	}
	h, err := libp2p.New(append(transports(&o.cfg),
		libp2p.Identity(key),
		libp2p.NoListenAddrs,
		libp2p.Security(libp2ptls.ID, libp2ptls.New),
		libp2p.Security(noise.ID, noise.New),
		libp2p.Muxer(yamux.ID, yamux.DefaultTransport),
		libp2p.ResourceManager(&network.NullResourceManager{}), // three connections; who makes strangers bounds them
		libp2p.ConnectionManager(connmgr.NullConnMgr{}),
		libp2p.ConnectionGater(o.gater),
		libp2p.DisableRelay(),
		libp2p.UserAgent("mimid"),
		libp2p.DisableMetrics(),
	)...)
	if err != nil {
		return nil, fmt.Errorf("making a stranger's libp2p host: %w", err)
	}
	s := &Stranger{o: o, domain: d, host: h}
	s.base = &http.Transport{DialContext: s.dial, DisableKeepAlives: true, DisableCompression: true,
		MaxResponseHeaderBytes: int64(o.cfg.Limits.HeaderBytes), ResponseHeaderTimeout: o.cfg.Limits.ResponseTimeout}
	s.client = &http.Client{Transport: s.base, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return s, nil
}

// Client sends requests to http://DOMAIN/path, of the provider alone; see Overlay.Client. Errors:
// ErrUnreachable, those of Resolve, and the connection's.
func (s *Stranger) Client() *http.Client { return s.client }

// Close ends its connections.
func (s *Stranger) Close() error {
	s.base.CloseIdleConnections()
	return s.host.Close()
}

// dial connects to the first node of the record that can be reached. If none can, it may be that
// the record is an old one.
func (s *Stranger) dial(ctx context.Context, _, addr string) (net.Conn, error) {
	if host, port, err := net.SplitHostPort(addr); err != nil || host != s.domain || port != "80" {
		return nil, fmt.Errorf("%w: %s, from who has come to see %s", ErrName, addr, s.domain)
	}
	r, err := s.o.Resolve(ctx, s.domain)
	if err != nil {
		return nil, err
	}
	conn, err := s.reach(ctx, r)
	if err == nil || ctx.Err() != nil {
		return conn, err
	}
	newer, refreshErr := s.o.Refresh(ctx, s.domain)
	if refreshErr != nil || newer.Seq == r.Seq {
		return nil, err
	}
	return s.reach(ctx, newer)
}

func (s *Stranger) reach(ctx context.Context, r *Record) (net.Conn, error) {
	var errs []error
	for _, node := range r.Nodes[:min(len(r.Nodes), strangerNodes)] {
		id, err := node.ID.decode()
		if err != nil {
			return nil, err
		}
		addrs, err := multiaddrs(node.Addrs[:min(len(node.Addrs), strangerAddrs)])
		if err != nil {
			return nil, err
		}
		conn, err := s.open(ctx, peer.AddrInfo{ID: id, Addrs: slices.Clone(addrs)})
		if err == nil {
			return conn, nil
		}
		errs = append(errs, err)
	}
	return nil, fmt.Errorf("%w: %s, by none of %d nodes: %w", ErrUnreachable, r.Domain, len(errs), errors.Join(errs...))
}

func (s *Stranger) open(ctx context.Context, to peer.AddrInfo) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, s.o.cfg.Limits.DialTimeout)
	defer cancel()
	if err := s.host.Connect(ctx, to); err != nil {
		return nil, err
	}
	stream, err := s.host.NewStream(ctx, to.ID, httpProtocol)
	if err != nil {
		return nil, err
	}
	return &dialedConn{streamConn: streamConn{stream}}, nil
}
