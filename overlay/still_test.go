package overlay_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// gate passes TCP connections on to a target until it is shut: then nothing comes
// through, as with a process that stands still, and no connection ends.
type gate struct {
	l    net.Listener
	shut chan struct{}
	wg   sync.WaitGroup
	mu   sync.Mutex
	all  []net.Conn // guarded by mu
}

func newGate(t *testing.T, target string) *gate {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{l: l, shut: make(chan struct{})}
	g.wg.Go(func() {
		for {
			a, err := l.Accept()
			if err != nil {
				return
			}
			b, err := net.Dial("tcp", target)
			if err != nil {
				a.Close()
				continue
			}
			g.mu.Lock()
			g.all = append(g.all, a, b)
			g.mu.Unlock()
			g.wg.Go(func() { g.pass(a, b) })
			g.wg.Go(func() { g.pass(b, a) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		g.mu.Lock()
		for _, c := range g.all {
			c.Close()
		}
		g.mu.Unlock()
		g.wg.Wait()
	})
	return g
}

func (g *gate) pass(from, to net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			to.Close()
			return
		}
		select {
		case <-g.shut: // read and forgotten
		default:
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
	}
}

// Whoever gives up a request to a node that stands still does not wait for that node.
func TestGivingUpDoesNotWait(t *testing.T) {
	c := config("still.example")
	o, _ := start(t, c)
	g := newGate(t, "127.0.0.1:"+o.Addrs()[0][strings.LastIndex(o.Addrs()[0], "/")+1:])
	asks := config("asks.example")
	_, port, _ := net.SplitHostPort(g.l.Addr().String())
	asks.Bootstrap = []string{"/ip4/127.0.0.1/tcp/" + port + "/p2p/" + string(o.Self())}
	a, _ := start(t, asks)
	resolves(t, a, "still.example")
	mustGet(t, a, "http://still.example/")
	close(g.shut)
	for range 3 { // the first has the connection that was kept, the others each a new one
		ctx, cancel := context.WithCancel(context.Background())
		time.AfterFunc(100*time.Millisecond, cancel)
		r, err := http.NewRequestWithContext(ctx, "GET", "http://still.example/", nil)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		resp, err := a.Client().Do(r)
		if err == nil {
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
		// libp2p would wait for ten seconds.
		if took := time.Since(began); !errors.Is(err, context.Canceled) || took > 5*time.Second {
			t.Errorf("after %s: %v", took, err)
		}
	}
}
