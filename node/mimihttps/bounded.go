package mimihttps

import (
	"net"
	"sync"
)

// bounded is a listener that closes connections beyond a number, in all and by address,
// at once: who is refused finds out, and who is there is not held up.
type bounded struct {
	net.Listener
	max, perAddress int

	mu   sync.Mutex
	all  int            // guarded by mu
	from map[string]int // by address, those that have any; guarded by mu
}

func newBounded(l net.Listener, max, perAddress int) *bounded {
	return &bounded{Listener: l, max: max, perAddress: perAddress, from: map[string]int{}}
}

func (b *bounded) Accept() (net.Conn, error) {
	for {
		c, err := b.Listener.Accept()
		if err != nil {
			return nil, err
		}
		host, _, err := net.SplitHostPort(c.RemoteAddr().String())
		if err != nil {
			host = c.RemoteAddr().String()
		}
		if !b.enter(host) {
			c.Close()
			continue
		}
		return &boundedConn{Conn: c, leave: sync.OnceFunc(func() { b.leave(host) })}, nil
	}
}

func (b *bounded) enter(host string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.all >= b.max || b.from[host] >= b.perAddress {
		return false
	}
	b.all++
	b.from[host]++
	return true
}

func (b *bounded) leave(host string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all--
	if b.from[host]--; b.from[host] == 0 {
		delete(b.from, host)
	}
}

type boundedConn struct {
	net.Conn
	leave func()
}

func (c *boundedConn) Close() error {
	c.leave()
	return c.Conn.Close()
}
