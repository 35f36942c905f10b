package memnet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/connmgr"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/transport"
	"github.com/multiformats/go-multiaddr"
)

// A Constructor makes a node's transport, for libp2p.Transport.
type Constructor func(key crypto.PrivKey, resources network.ResourceManager, gater connmgr.ConnectionGater) (*Transport, error)

// Node is what makes a node's transport. The node listens at Addr(node).
func (f *Fabric) Node(node int) Constructor {
	return func(key crypto.PrivKey, resources network.ResourceManager, gater connmgr.ConnectionGater) (*Transport, error) {
		if node < 0 || node >= MaxNodes {
			return nil, fmt.Errorf("memnet: node %d must be 0 to %d", node, MaxNodes-1)
		}
		id, err := peer.IDFromPrivateKey(key)
		if err != nil {
			return nil, err
		}
		return &Transport{f: f, node: node, addr: Addr(node), self: id, key: key.GetPublic(), resources: resources, gater: gater}, nil
	}
}

// A Transport is one node's. It implements transport.Transport.
type Transport struct {
	f         *Fabric
	node      int
	addr      multiaddr.Multiaddr // Addr(node)
	self      peer.ID
	key       crypto.PubKey
	resources network.ResourceManager
	gater     connmgr.ConnectionGater
}

var _ transport.Transport = (*Transport)(nil)

// Dial connects to a node, which takes Handshake round trips.
func (t *Transport) Dial(ctx context.Context, to multiaddr.Multiaddr, id peer.ID) (transport.CapableConn, error) {
	remote, err := nodeOf(to)
	if err != nil {
		return nil, err
	}
	t.f.mu.Lock()
	t.f.counts.Dials++
	t.f.mu.Unlock()
	for range Handshake {
		if err := t.roundTrip(ctx, remote); err != nil {
			return nil, err
		}
	}
	t.f.mu.Lock()
	l, behind := t.f.listeners[remote], t.f.nat[remote]
	t.f.mu.Unlock()
	switch {
	case behind:
		return nil, errUnreachable
	case l == nil:
		t.f.mu.Lock()
		t.f.counts.Refused++
		t.f.mu.Unlock()
		return nil, errRefused
	case l.t.self != id:
		return nil, fmt.Errorf("memnet: at %s is %s, not %s", to, l.t.self, id)
	}
	return t.connect(ctx, l)
}

// roundTrip waits for one, as long as nobody is cut off.
func (t *Transport) roundTrip(ctx context.Context, remote int) error {
	const octets = 1200 // a first QUIC packet is padded to that
	there := time.Until(t.f.arrival(t.node, remote, octets))
	back := t.f.path.Transit(remote, t.node, octets)
	timer := time.NewTimer(there + back)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	for {
		changed := t.f.isCutBetween(t.node, remote)
		if changed == nil {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// connect makes both ends. The listener's side is asked first, as it is with sockets.
func (t *Transport) connect(ctx context.Context, l *listener) (transport.CapableConn, error) {
	mine, theirs := newConn(t, l.t), newConn(l.t, t)
	theirs.far = mine
	mine.far = theirs
	for _, side := range []struct {
		t   *Transport
		c   *conn
		dir network.Direction
	}{{l.t, theirs, network.DirInbound}, {t, mine, network.DirOutbound}} {
		if err := side.t.admit(side.c, side.dir); err != nil {
			if theirs.scope != nil {
				theirs.scope.Done()
			}
			return nil, err
		}
	}
	t.f.mu.Lock()
	t.f.counts.Connections++
	t.f.conns[mine], t.f.conns[theirs] = struct{}{}, struct{}{}
	t.f.mu.Unlock()
	select {
	case l.queue <- theirs:
		return mine, nil
	case <-l.closed:
		mine.end(errRefused)
		return nil, errRefused
	case <-ctx.Done():
		mine.end(errClosed)
		return nil, ctx.Err()
	}
}

// admit asks the gater and the resource manager of one side.
func (t *Transport) admit(c *conn, dir network.Direction) error {
	if t.gater != nil && dir == network.DirInbound && !t.gater.InterceptAccept(c) {
		return errRefused
	}
	scope, err := t.resources.OpenConnection(dir, true, c.RemoteMultiaddr())
	if err != nil {
		return err
	}
	if err := scope.SetPeer(c.other); err != nil {
		scope.Done()
		return err
	}
	if t.gater != nil && !t.gater.InterceptSecured(dir, c.other, c) {
		scope.Done()
		return errRefused
	}
	c.scope = scope
	return nil
}

// CanDial says whether an address is one of this network.
func (t *Transport) CanDial(a multiaddr.Multiaddr) bool {
	_, err := nodeOf(a)
	return err == nil
}

// Listen takes connections at the node's own address.
func (t *Transport) Listen(a multiaddr.Multiaddr) (transport.Listener, error) {
	if n, err := nodeOf(a); err != nil || n != t.node {
		return nil, fmt.Errorf("memnet: node %d listens at %s, not at %s", t.node, Addr(t.node), a)
	}
	t.f.mu.Lock()
	defer t.f.mu.Unlock()
	if t.f.listeners[t.node] != nil {
		return nil, errors.New("memnet: the node listens already")
	}
	l := &listener{t: t, queue: make(chan *conn, 16), closed: make(chan struct{})}
	t.f.listeners[t.node] = l
	return l, nil
}

// Protocols is TCP: addresses look like it.
func (t *Transport) Protocols() []int { return []int{multiaddr.P_TCP} }

// Proxy is false.
func (t *Transport) Proxy() bool { return false }

// listener implements transport.Listener.
type listener struct {
	t      *Transport
	queue  chan *conn
	closed chan struct{}
	once   sync.Once
}

func (l *listener) Accept() (transport.CapableConn, error) {
	select {
	case c := <-l.queue:
		return c, nil
	case <-l.closed:
		return nil, transport.ErrListenerClosed
	}
}

func (l *listener) Close() error {
	l.once.Do(func() {
		l.t.f.mu.Lock()
		delete(l.t.f.listeners, l.t.node)
		l.t.f.mu.Unlock()
		close(l.closed)
		for {
			select {
			case c := <-l.queue:
				c.end(errClosed)
			default:
				return
			}
		}
	})
	return nil
}

func (l *listener) Multiaddr() multiaddr.Multiaddr { return l.t.addr }

func (l *listener) Addr() net.Addr {
	n := l.t.node
	return &net.TCPAddr{IP: net.IPv4(10, byte(n>>16), byte(n>>8), byte(n)), Port: 4001}
}
