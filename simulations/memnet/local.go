package memnet

import (
	"context"
	"errors"
	"net"
	"sync"
)

// A Local brings the connections of programs on one machine, such as of a client to its provider
// in the same house, without sockets and in no time. It is the net.Listener of the one side; the other dials.
type Local struct {
	port   int
	queue  chan net.Conn
	closed chan struct{}
	once   sync.Once
	ice    ice
}

var _ net.Listener = (*Local)(nil)

// NewLocal makes one that says that it is at a port of the loopback address.
func NewLocal(port int) *Local {
	return &Local{port: port, queue: make(chan net.Conn), closed: make(chan struct{})}
}

var errNobody = errors.New("memnet: nobody listens there any more")

// Dial connects.
func (l *Local) Dial(ctx context.Context) (net.Conn, error) {
	mine, theirs := net.Pipe()
	select {
	case l.queue <- servedConn{localConn{theirs, l}, &l.ice}:
		return localConn{mine, l}, nil
	case <-l.closed:
		return nil, errNobody
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Accept waits for a connection.
func (l *Local) Accept() (net.Conn, error) {
	select {
	case c := <-l.queue:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close refuses further connections. Those that are there stay.
func (l *Local) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr is a loopback address.
func (l *Local) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: l.port} }

// localConn is a connection with addresses: programs ask for them, and count by them.
type localConn struct {
	net.Conn
	l *Local
}

func (c localConn) LocalAddr() net.Addr  { return c.l.Addr() }
func (c localConn) RemoteAddr() net.Addr { return c.l.Addr() }
