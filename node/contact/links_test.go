package contact_test

import (
	"fmt"
	"net"
	"os"
	"sync"
	"time"
)

// links carry datagrams between the nodes of one process, each after the same time.
type links struct {
	delay time.Duration

	mu    sync.Mutex
	nodes map[string]*socket // guarded by mu, by address
	sent  int                // guarded by mu
}

func newLinks(delay time.Duration) *links { return &links{delay: delay, nodes: map[string]*socket{}} }

// listen opens a socket. Nothing is lost but what comes to a full one.
func (l *links) listen(_ string, at *net.UDPAddr) (net.PacketConn, error) {
	s := &socket{links: l, at: at, in: make(chan datagram, 4096), closed: make(chan struct{}), moved: make(chan struct{})}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.nodes[at.String()] != nil {
		return nil, fmt.Errorf("listening on %s: %w", at, os.ErrExist)
	}
	l.nodes[at.String()] = s
	return s, nil
}

type datagram struct {
	from *net.UDPAddr
	data []byte
	at   time.Time
}

// A socket implements net.PacketConn.
type socket struct {
	links  *links
	at     *net.UDPAddr
	in     chan datagram
	once   sync.Once
	closed chan struct{}

	mu       sync.Mutex
	deadline time.Time     // guarded by mu
	moved    chan struct{} // guarded by mu; closed when the deadline changes
}

func (s *socket) WriteTo(b []byte, to net.Addr) (int, error) {
	select {
	case <-s.closed:
		return 0, net.ErrClosed
	default:
	}
	s.links.mu.Lock()
	other := s.links.nodes[to.String()]
	s.links.sent++
	s.links.mu.Unlock()
	if other != nil {
		select {
		case other.in <- datagram{s.at, append([]byte{}, b...), time.Now().Add(s.links.delay)}:
		default: // it is full
		}
	}
	return len(b), nil
}

// ReadFrom waits until the first datagram has been on its way for long enough: all take
// the same time, so that none overtakes another.
func (s *socket) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		s.mu.Lock()
		deadline, moved := s.deadline, s.moved
		s.mu.Unlock()
		var over <-chan time.Time
		if !deadline.IsZero() {
			left := time.Until(deadline)
			if left <= 0 {
				return 0, nil, os.ErrDeadlineExceeded
			}
			timer := time.NewTimer(left)
			defer timer.Stop()
			over = timer.C
		}
		select {
		case d := <-s.in:
			time.Sleep(time.Until(d.at))
			return copy(b, d.data), d.from, nil
		case <-s.closed:
			return 0, nil, net.ErrClosed
		case <-moved:
		case <-over:
			return 0, nil, os.ErrDeadlineExceeded
		}
	}
}

func (s *socket) Close() error {
	s.once.Do(func() {
		close(s.closed)
		s.links.mu.Lock()
		defer s.links.mu.Unlock()
		delete(s.links.nodes, s.at.String())
	})
	return nil
}

func (s *socket) LocalAddr() net.Addr { return s.at }

func (s *socket) SetReadDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deadline = t
	close(s.moved)
	s.moved = make(chan struct{})
	return nil
}

func (s *socket) SetDeadline(t time.Time) error    { return s.SetReadDeadline(t) }
func (s *socket) SetWriteDeadline(time.Time) error { return nil }
func (s *socket) SetReadBuffer(int) error          { return nil }
func (s *socket) SetWriteBuffer(int) error         { return nil }
