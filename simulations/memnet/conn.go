package memnet

import (
	"context"
	"sync"
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

	mu       sync.Mutex
	incoming []arriving
	last     time.Time
	streams  map[*stream]struct{}
	err      error
	changed  chan struct{}
}

// arriving is a stream that the other end has opened.
type arriving struct {
	at time.Time
	s  *stream
}

var _ transport.CapableConn = (*conn)(nil)

func (c *conn) change() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// OpenStream opens a stream; the other end sees it after the way there.
func (c *conn) OpenStream(ctx context.Context) (network.MuxedStream, error) {
	if err := c.f.thawed(ctx, c.local); err != nil {
		return nil, err
	}
	out, in := newPipe(c.f, c.local, c.remote), newPipe(c.f, c.remote, c.local)
	mine := &stream{c: c, out: out, in: in, reads: newDeadline(), writes: newDeadline()}
	theirs := &stream{c: c.far, out: in, in: out, reads: newDeadline(), writes: newDeadline()}
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
	far.change()
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
	none := newDeadline()
	for {
		cut, uncut := c.f.isCut(c.remote, c.local)
		c.mu.Lock()
		changed := c.changed
		wait := time.Duration(-1)
		switch {
		case c.err != nil:
			c.mu.Unlock()
			return nil, c.err
		case len(c.incoming) > 0 && !cut:
			if wait = time.Until(c.incoming[0].at); wait <= 0 {
				s := c.incoming[0].s
				c.incoming[0] = arriving{}
				c.incoming = c.incoming[1:]
				c.streams[s] = struct{}{}
				c.mu.Unlock()
				return s, nil
			}
		}
		c.mu.Unlock()
		pause(wait, changed, uncut, none)
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
		side.change()
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
func (c *conn) LocalMultiaddr() multiaddr.Multiaddr  { return Addr(c.local) }
func (c *conn) RemoteMultiaddr() multiaddr.Multiaddr { return Addr(c.remote) }
func (c *conn) Scope() network.ConnScope             { return c.scope }
func (c *conn) Transport() transport.Transport       { return c.t }
func (c *conn) ConnState() network.ConnectionState {
	return network.ConnectionState{StreamMultiplexer: "/memnet", Security: "/memnet", Transport: "tcp"}
}

// A stream is one end of one. It implements network.MuxedStream.
type stream struct {
	c             *conn
	in, out       *pipe
	reads, writes *deadline
}

func (s *stream) Read(b []byte) (int, error)  { return s.in.read(b, s.reads) }
func (s *stream) Write(b []byte) (int, error) { return s.out.write(b, s.writes) }

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
	s.reads.set(t)
	s.writes.set(t)
	return nil
}

func (s *stream) SetReadDeadline(t time.Time) error {
	s.reads.set(t)
	return nil
}

func (s *stream) SetWriteDeadline(t time.Time) error {
	s.writes.set(t)
	return nil
}
