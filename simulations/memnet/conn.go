package memnet

import (
	"context"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/transport"
	"github.com/multiformats/go-multiaddr"
)

// A conn is one end of a connection. It implements transport.CapableConn.
type conn struct {
	f             *Fabric
	t             *Transport
	local, remote int
	self, other   peer.ID
	key           crypto.PubKey // of the other
	scope         network.ConnManagementScope
	far           *conn // the other end

	bell     // its lock guards the rest
	incoming []arriving
	last     time.Time
	streams  map[*stream]struct{}
	err      error
}

// arriving is a stream that the other end has opened.
type arriving struct {
	at time.Time
	s  *stream
}

var _ transport.CapableConn = (*conn)(nil)

func newConn(t *Transport, other *Transport) *conn {
	c := &conn{f: t.f, t: t, local: t.node, remote: other.node, self: t.self, other: other.self, key: other.key, streams: map[*stream]struct{}{}}
	c.init()
	return c
}

// OpenStream opens a stream; the other end sees it after the way there.
func (c *conn) OpenStream(ctx context.Context) (network.MuxedStream, error) {
	if err := c.f.thawed(ctx, c.local); err != nil {
		return nil, err
	}
	out, in := newPipe(c.f, c.local, c.remote), newPipe(c.f, c.remote, c.local)
	mine, theirs := &stream{c: c, out: out, in: in}, &stream{c: c.far, out: in, in: out}
	if err := c.keep(mine); err != nil {
		return nil, err
	}
	const opening = 12 // a yamux header
	at := c.f.arrival(c.local, c.remote, opening)
	c.f.mu.Lock()
	c.f.counts.Streams++
	c.f.mu.Unlock()
	far := c.far
	far.mu.Lock()
	defer far.mu.Unlock()
	if far.err != nil {
		return nil, far.err
	}
	if at.Before(far.last) {
		at = far.last
	}
	far.last = at
	far.incoming = append(far.incoming, arriving{at, theirs})
	if len(far.incoming) == 1 {
		far.ringAt(at)
	}
	return mine, nil
}

func (c *conn) keep(s *stream) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return c.err
	}
	c.streams[s] = struct{}{}
	return nil
}

func (c *conn) forget(s *stream) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.streams, s)
}

// AcceptStream waits for a stream of the other end.
func (c *conn) AcceptStream() (network.MuxedStream, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		var arrives time.Time
		switch {
		case c.err != nil:
			return nil, c.err
		case len(c.incoming) > 0 && !c.f.isCut(c.remote, c.local):
			if arrives = c.incoming[0].at; passed(arrives) {
				s := c.incoming[0].s
				c.incoming[0] = arriving{}
				if c.incoming = c.incoming[1:]; len(c.incoming) == 0 {
					c.incoming = nil
				}
				c.streams[s] = struct{}{}
				return s, nil
			}
		}
		c.wait(arrives)
	}
}

// look has who waits on a connection or its streams look again: whether a node is cut off or frozen has changed.
func (c *conn) look() {
	c.mu.Lock()
	c.ring()
	var pipes []*pipe
	for s := range c.streams {
		pipes = append(pipes, s.in, s.out)
	}
	c.mu.Unlock()
	for _, p := range pipes {
		p.look()
	}
}

// Close ends the connection for both.
func (c *conn) Close() error {
	c.f.act(c.local, func() { c.end(errClosed) })
	return nil
}

// CloseWithError is Close; the code is not carried.
func (c *conn) CloseWithError(network.ConnErrorCode) error { return c.Close() }

// end ends both ends now. That the other hears of it without delay is simpler than what a network does.
func (c *conn) end(err error) {
	for _, side := range []*conn{c, c.far} {
		side.mu.Lock()
		if side.err != nil {
			side.mu.Unlock()
			continue
		}
		side.err = err
		var open []*stream
		for s := range side.streams {
			open = append(open, s)
		}
		for _, a := range side.incoming {
			open = append(open, a.s)
		}
		side.incoming = nil
		side.ring()
		side.mu.Unlock()
		for _, s := range open {
			s.in.fail(err)
			s.out.fail(err)
		}
		side.scope.Done()
		c.f.mu.Lock()
		delete(c.f.conns, side)
		c.f.mu.Unlock()
	}
}

func (c *conn) IsClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err != nil
}

func (c *conn) As(any) bool                          { return false }
func (c *conn) LocalPeer() peer.ID                   { return c.self }
func (c *conn) RemotePeer() peer.ID                  { return c.other }
func (c *conn) RemotePublicKey() crypto.PubKey       { return c.key }
func (c *conn) LocalMultiaddr() multiaddr.Multiaddr  { return c.t.addr }
func (c *conn) RemoteMultiaddr() multiaddr.Multiaddr { return c.far.t.addr }
func (c *conn) Scope() network.ConnScope             { return c.scope }
func (c *conn) Transport() transport.Transport       { return c.t }
func (c *conn) ConnState() network.ConnectionState {
	return network.ConnectionState{StreamMultiplexer: "/memnet", Security: "/memnet", Transport: "tcp"}
}

// A stream is one end of one. It implements network.MuxedStream.
type stream struct {
	c       *conn
	in, out *pipe
}

func (s *stream) Read(b []byte) (int, error)  { return s.in.read(b) }
func (s *stream) Write(b []byte) (int, error) { return s.out.write(b) }

func (s *stream) CloseWrite() error {
	s.c.f.act(s.c.local, s.out.finish)
	return nil
}

func (s *stream) CloseRead() error {
	s.c.f.act(s.c.local, s.in.ignore)
	return nil
}

func (s *stream) Close() error {
	s.c.f.act(s.c.local, func() {
		s.out.finish()
		s.in.ignore()
	})
	s.c.forget(s)
	return nil
}

func (s *stream) Reset() error {
	s.c.f.act(s.c.local, func() {
		s.in.fail(network.ErrReset)
		s.out.fail(network.ErrReset)
	})
	s.c.forget(s)
	return nil
}

func (s *stream) ResetWithError(network.StreamErrorCode) error { return s.Reset() }

func (s *stream) SetDeadline(t time.Time) error {
	s.in.setReadBy(t)
	s.out.setWriteBy(t)
	return nil
}

func (s *stream) SetReadDeadline(t time.Time) error {
	s.in.setReadBy(t)
	return nil
}

func (s *stream) SetWriteDeadline(t time.Time) error {
	s.out.setWriteBy(t)
	return nil
}
