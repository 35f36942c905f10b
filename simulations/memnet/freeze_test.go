package memnet_test

import (
	"context"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"

	"github.com/mimid/mimid/simulations/memnet"
)

// A stopped process: what it had sent arrives, nothing else does, nobody sees that its goroutines go on, and afterwards all
// that waited happens, in order.
func TestFreeze(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := memnet.New(path{latency: 100 * time.Millisecond})
		h := hosts(t, f, 3)
		heard := make(chan time.Time, 10)
		frozenHeard := make(chan time.Time, 10)
		hear := func(to chan<- time.Time) func(network.Stream) {
			return func(s network.Stream) {
				defer s.Close()
				for b := make([]byte, 1); ; {
					if _, err := s.Read(b); err != nil {
						return
					}
					to <- time.Now()
				}
			}
		}
		h[1].SetStreamHandler("/say", hear(heard))
		h[0].SetStreamHandler("/say", hear(frozenHeard))
		connect(t, h[0], h[1], 1)
		synctest.Wait()
		s, err := h[0].NewStream(t.Context(), h[1].ID(), "/say")
		if err != nil {
			t.Fatal(err)
		}
		to, err := h[1].NewStream(t.Context(), h[0].ID(), "/say")
		if err != nil {
			t.Fatal(err)
		}
		to.Write([]byte("a"))
		<-frozenHeard
		begun := time.Now()
		s.Write([]byte("a"))
		time.Sleep(50 * time.Millisecond)
		f.Freeze(0, true)
		f.Freeze(0, true) // twice is once
		if d := (<-heard).Sub(begun); d > 200*time.Millisecond {
			t.Errorf("what a frozen node had sent took %s", d)
		}
		wrote := make(chan time.Time, 1)
		go func() {
			s.Write([]byte("b"))
			s.Close()
			wrote <- time.Now()
		}()
		dialed := make(chan error, 1)
		go func() {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			dialed <- h[2].Connect(ctx, peer.AddrInfo{ID: h[0].ID(), Addrs: []multiaddr.Multiaddr{memnet.Addr(0)}})
		}()
		answered := make(chan error, 1)
		go func() {
			_, err := roundTrip(t.Context(), h[1], h[0], []byte("are you there"))
			answered <- err
		}()
		to.Write([]byte("b"))
		time.Sleep(5 * time.Second)
		select {
		case <-frozenHeard:
			t.Error("a frozen node has read")
		case <-wrote:
			t.Error("a frozen node has written")
		case err := <-answered:
			t.Errorf("a frozen node has answered: %v", err)
		case <-heard:
			t.Error("a frozen node was heard")
		default:
		}
		if err := <-dialed; err == nil {
			t.Error("a frozen node was dialed")
		}
		h[0].Network().ClosePeer(h[1].ID()) // its goroutines go on, and nobody notices
		synctest.Wait()
		if h[1].Network().Connectedness(h[0].ID()) != network.Connected {
			t.Error("a frozen node has closed a connection")
		}
		f.Freeze(0, false)
		if d := (<-wrote).Sub(begun); d < 5*time.Second {
			t.Errorf("it has written after %s", d)
		}
		<-answered
		synctest.Wait()
		if h[1].Network().Connectedness(h[0].ID()) == network.Connected {
			t.Error("the connection that was closed meanwhile is there")
		}
		connect(t, h[2], h[0], 0)
		if _, err := roundTrip(t.Context(), h[2], h[0], []byte("again")); err != nil {
			t.Errorf("after the freeze: %v", err)
		}
	})
}

// The same at a provider's own door: who has connected waits.
func TestFreezeLocal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := memnet.NewLocal(1)
		served := make(chan net.Conn, 1)
		go func() {
			c, _ := l.Accept()
			served <- c
			io.Copy(c, c)
			c.Close()
		}()
		c, err := l.Dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		<-served
		say := func() time.Duration {
			begun := time.Now()
			b := []byte("x")
			if _, err := c.Write(b); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(c, b); err != nil {
				t.Fatal(err)
			}
			return time.Since(begun)
		}
		say()
		l.Freeze(true)
		go func() {
			time.Sleep(3 * time.Second)
			l.Freeze(false)
		}()
		if d := say(); d != 3*time.Second {
			t.Errorf("it answered after %s, and was frozen for 3 s", d)
		}
		if d := say(); d != 0 {
			t.Errorf("afterwards it answered after %s", d)
		}
		c.Close()
		l.Close()
	})
}
