package overlay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
)

// httpProtocol is plain HTTP/1.1 over a libp2p stream, kept open for further requests.
const httpProtocol = "/mimid/http/1.1"

type peerKey struct{}

// RequestPeer returns the node at the other end of a request that Config.Handler serves,
// proven by the connection, and false for a request that did not come over the overlay.
func RequestPeer(r *http.Request) (PeerID, bool) {
	p, ok := r.Context().Value(peerKey{}).(PeerID)
	return p, ok
}

// Client sends requests to providers and nodes. It is safe for concurrent use, keeps
// connections open between requests, and follows no redirects.
//
//	http://biloxi.example/path             to a node of that provider, see Resolve
//	http://<base36 peer id>.peer.invalid/  to this one node, see PeerHost
//
// If a provider has several nodes, those follow that the first cannot reach; a request
// that was sent is not sent again. Errors are wrapped in url.Error and are those of
// Resolve, ErrUnreachable for a node that cannot be connected to, and the connection's.
func (o *Overlay) Client() *http.Client { return o.client }

// A roundTripper finds the node for a request.
type roundTripper struct {
	o    *Overlay
	base *http.Transport // its addresses are peer labels: host "<label>.peer.invalid"
}

func newRoundTripper(o *Overlay) *roundTripper {
	l := o.cfg.Limits
	rt := &roundTripper{o: o}
	rt.base = &http.Transport{
		DialContext:            rt.dial,
		MaxIdleConns:           4096,
		MaxIdleConnsPerHost:    l.StreamsPerPeer / 2,
		MaxConnsPerHost:        l.StreamsPerPeer / 2, // more wait here and not in errors of the other side
		IdleConnTimeout:        l.IdleTimeout / 2,    // before the server closes it, or requests meet closing streams
		MaxResponseHeaderBytes: int64(l.HeaderBytes),
		ResponseHeaderTimeout:  l.ResponseTimeout,
		DisableCompression:     true, // what is sent is encrypted or short
	}
	return rt
}

func (rt *roundTripper) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := rt.roundTrip(req)
	if err != nil && resp == nil && req.Body != nil {
		req.Body.Close() // a RoundTripper always does; twice does no harm
	}
	return resp, err
}

func (rt *roundTripper) roundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme != "http" || req.URL.Port() != "" {
		return nil, fmt.Errorf("%w: %s://%s: overlay URLs are http://provider/path without a port", ErrName, req.URL.Scheme, req.URL.Host)
	}
	if rt.o.net.Load() == nil {
		return nil, ErrNotRunning
	}
	host := strings.ToLower(req.URL.Hostname())
	if strings.HasSuffix(host, peerSuffix) {
		id, err := peerOfLabel(strings.TrimSuffix(host, peerSuffix))
		if err != nil {
			return nil, err
		}
		return rt.send(req, id)
	}
	r, err := rt.o.Resolve(req.Context(), host)
	if err != nil {
		return nil, err
	}
	for i, node := range rt.o.inOrder(r) {
		id, err := node.ID.decode()
		if err != nil {
			return nil, err
		}
		rt.o.remember(node)
		resp, err := rt.send(req, id)
		if err == nil || !errors.Is(err, ErrUnreachable) || i == len(r.Nodes)-1 || req.Context().Err() != nil {
			if errors.Is(err, ErrUnreachable) {
				rt.o.trust.doubt(r.Domain)
				err = fmt.Errorf("%w: %s: %w", ErrUnreachable, r.Domain, err)
			}
			return resp, err
		}
		// Nothing was sent, but the transport may have closed the body.
		if req.Body != nil && req.Body != http.NoBody {
			if req.GetBody == nil {
				return nil, err
			}
			if req.Body, err = req.GetBody(); err != nil {
				return nil, fmt.Errorf("rewinding request body: %w", err)
			}
		}
	}
	return nil, fmt.Errorf("%w: %s", ErrUnreachable, r.Domain)
}

func (rt *roundTripper) send(req *http.Request, id peer.ID) (*http.Response, error) {
	out := req.Clone(req.Context())
	out.Host = req.URL.Host
	out.URL.Host = label(id) + peerSuffix // the transport keeps idle connections by host
	resp, err := rt.base.RoundTrip(out)
	if err != nil {
		return nil, err
	}
	resp.Request = req
	return resp, nil
}

// dial opens a stream; addr is "<label>.peer.invalid:80".
func (rt *roundTripper) dial(ctx context.Context, _, addr string) (net.Conn, error) {
	name, _, _ := strings.Cut(addr, ".")
	id, err := peerOfLabel(name)
	if err != nil {
		return nil, err
	}
	n := rt.o.net.Load()
	if n == nil {
		return nil, ErrNotRunning
	}
	if id == n.host.ID() {
		return n.loopback(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, rt.o.cfg.Limits.DialTimeout)
	defer cancel()
	if err := n.connect(ctx, id); err != nil {
		return nil, err
	}
	s, err := n.host.NewStream(ctx, id, httpProtocol)
	if err != nil {
		return nil, fmt.Errorf("%w: opening stream to %s: %v", ErrUnreachable, id, err)
	}
	return &dialedConn{streamConn: streamConn{s}}, nil
}

// inOrder returns the nodes of a record, connected ones first.
func (o *Overlay) inOrder(r *Record) []Node {
	n := o.net.Load()
	if n == nil || len(r.Nodes) < 2 {
		return r.Nodes
	}
	var near, far []Node
	for _, node := range r.Nodes {
		id, err := node.ID.decode()
		if err == nil && (id == n.host.ID() || n.host.Network().Connectedness(id) == network.Connected) {
			near = append(near, node)
		} else {
			far = append(far, node)
		}
	}
	return append(near, far...)
}

// A streamConn is a stream as a net.Conn whose addresses are peer ids.
type streamConn struct {
	network.Stream
}

func newStreamConn(s network.Stream) *streamConn { return &streamConn{s} }

func (c *streamConn) LocalAddr() net.Addr  { return peerAddr(c.Conn().LocalPeer()) }
func (c *streamConn) RemoteAddr() net.Addr { return peerAddr(c.Conn().RemotePeer()) }

// A dialedConn is a stream that this node has opened. libp2p negotiates its protocol along
// with the first bytes, and closing it waits up to ten seconds for the other side's part of
// that. A peer that stands still would so hold up whoever gives up a request, since HTTP
// closes the connection then; of which nobody has read a byte is therefore reset.
type dialedConn struct {
	streamConn
	heard atomic.Bool
}

func (c *dialedConn) Read(b []byte) (int, error) {
	n, err := c.streamConn.Read(b)
	if n > 0 {
		c.heard.Store(true)
	}
	return n, err
}

func (c *dialedConn) Close() error {
	if !c.heard.Load() {
		return c.Reset()
	}
	return c.streamConn.Close()
}

type peerAddr peer.ID

func (peerAddr) Network() string  { return "libp2p" }
func (a peerAddr) String() string { return peer.ID(a).String() }

// A streamListener hands streams to the HTTP server.
type streamListener struct {
	self    peer.ID
	streams chan net.Conn
	done    chan struct{}
	once    sync.Once
}

func newStreamListener(self peer.ID) *streamListener {
	return &streamListener{self: self, streams: make(chan net.Conn), done: make(chan struct{})}
}

func (l *streamListener) handle(s network.Stream) {
	select {
	case l.streams <- newStreamConn(s):
	case <-l.done:
		s.Reset()
	}
}

func (l *streamListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.streams:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *streamListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

func (l *streamListener) Addr() net.Addr { return peerAddr(l.self) }

// loopback connects this node with itself, which libp2p does not.
func (n *running) loopback(ctx context.Context) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case n.listener.streams <- selfConn{server, n.host.ID()}:
		return client, nil
	case <-n.listener.done:
		return nil, ErrNotRunning
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

type selfConn struct {
	net.Conn
	self peer.ID
}

func (c selfConn) LocalAddr() net.Addr  { return peerAddr(c.self) }
func (c selfConn) RemoteAddr() net.Addr { return peerAddr(c.self) }

// newServer makes the HTTP server. Each timeout bounds what a peer that stalls can hold:
// a stream, its goroutine and some buffers; the resource manager bounds their number.
func newServer(c *Config) *http.Server {
	l := c.Limits
	handler := c.Handler
	if handler == nil {
		handler = http.NotFoundHandler()
	}
	return &http.Server{
		Handler:           http.MaxBytesHandler(handler, l.BodyBytes),
		ReadHeaderTimeout: l.HeaderTimeout,
		ReadTimeout:       l.RequestTimeout,
		WriteTimeout:      l.ResponseTimeout,
		IdleTimeout:       l.IdleTimeout,
		MaxHeaderBytes:    l.HeaderBytes,
		ErrorLog:          slog.NewLogLogger(c.Log.Handler(), slog.LevelDebug),
		ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
			if a, ok := conn.RemoteAddr().(peerAddr); ok {
				return context.WithValue(ctx, peerKey{}, peerText(peer.ID(a)))
			}
			return ctx
		},
	}
}

// stopServer lets requests that are being served finish until the deadline.
func stopServer(s *http.Server, within time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	if s.Shutdown(ctx) != nil {
		s.Close()
	}
}
