package memnet_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"

	"github.com/mimid/mimid/simulations/memnet"
)

// path has one latency, and lines of some octets a second (0: without bound).
type path struct {
	latency time.Duration
	rate    int
}

func (p path) Transit(_, _, _ int) time.Duration { return p.latency }

func (p path) Sending(_, octets int) time.Duration {
	if p.rate == 0 {
		return 0
	}
	return time.Second * time.Duration(octets) / time.Duration(p.rate)
}

const echo = "/echo"

// hosts makes nodes that send back what they get on echo.
func hosts(t *testing.T, f *memnet.Fabric, n int) []host.Host {
	t.Helper()
	var all []host.Host
	for i := range n {
		key, _, err := crypto.GenerateEd25519Key(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		h, err := libp2p.New(libp2p.Identity(key), libp2p.Transport(f.Node(i)), libp2p.ListenAddrs(memnet.Addr(i)),
			libp2p.DisableRelay(), libp2p.DisableMetrics(), libp2p.ResourceManager(&network.NullResourceManager{}), libp2p.DisableIdentifyAddressDiscovery())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { h.Close() })
		h.SetStreamHandler(echo, func(s network.Stream) {
			io.Copy(s, s)
			s.Close()
		})
		all = append(all, h)
	}
	return all
}

func connect(t *testing.T, from, to host.Host, node int) {
	t.Helper()
	if err := from.Connect(t.Context(), peer.AddrInfo{ID: to.ID(), Addrs: []multiaddr.Multiaddr{memnet.Addr(node)}}); err != nil {
		t.Fatal(err)
	}
}

// roundTrip sends something over a new stream, and reads it back.
func roundTrip(ctx context.Context, from, to host.Host, data []byte) (time.Duration, error) {
	s, err := from.NewStream(ctx, to.ID(), echo)
	if err != nil {
		return 0, err
	}
	defer s.Close()
	begun := time.Now()
	errs := make(chan error, 1)
	go func() {
		_, err := s.Write(data)
		errs <- errors.Join(err, s.CloseWrite())
	}()
	got, err := io.ReadAll(s)
	if err := errors.Join(err, <-errs); err != nil {
		return 0, err
	}
	if !bytes.Equal(got, data) {
		return 0, fmt.Errorf("%d octets came back of %d, or others", len(got), len(data))
	}
	return time.Since(begun), nil
}

func TestTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := memnet.New(path{latency: 50 * time.Millisecond})
		h := hosts(t, f, 2)
		begun := time.Now()
		connect(t, h[0], h[1], 1)
		// A round trip to dial; the host then waits for identify, which takes one or two more.
		if d := time.Since(begun); d < 100*time.Millisecond || d > 400*time.Millisecond {
			t.Errorf("connecting took %s", d)
		}
		synctest.Wait()
		// The protocol of a stream is agreed on while the first octets are on their way.
		if d, err := roundTrip(t.Context(), h[0], h[1], []byte("hello")); err != nil || d < 100*time.Millisecond || d > 200*time.Millisecond {
			t.Errorf("a round trip took %s: %v", d, err)
		}
		if c := f.Counts(); c.Dials != 1 || c.Connections != 1 || c.Streams < 2 {
			t.Errorf("%+v", c)
		}
	})
}

// More than a window, over a line of 1 MB/s: each way takes as long as the line is busy.
func TestMuchData(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := memnet.New(path{latency: 10 * time.Millisecond, rate: 1_000_000})
		h := hosts(t, f, 2)
		connect(t, h[0], h[1], 1)
		data := make([]byte, 5_000_000)
		rand.Read(data)
		d, err := roundTrip(t.Context(), h[0], h[1], data)
		if err != nil || d < 5*time.Second || d > 11*time.Second {
			t.Errorf("5 MB there and back took %s: %v", d, err)
		}
	})
}

func TestCutAndHealed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := memnet.New(path{latency: 10 * time.Millisecond})
		h := hosts(t, f, 3)
		connect(t, h[0], h[1], 1)
		synctest.Wait()
		f.Isolate(1, 3, true)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		err := h[2].Connect(ctx, peer.AddrInfo{ID: h[1].ID(), Addrs: []multiaddr.Multiaddr{memnet.Addr(1)}})
		if err == nil {
			t.Error("a node that is cut off was dialed")
		}
		done := make(chan error, 1)
		begun := time.Now()
		go func() {
			_, err := roundTrip(t.Context(), h[0], h[1], []byte("later"))
			done <- err
		}()
		time.Sleep(5 * time.Second)
		f.Isolate(1, 3, false)
		if err := <-done; err != nil || time.Since(begun) < 5*time.Second || time.Since(begun) > 6*time.Second {
			t.Errorf("after the cut: %v after %s", err, time.Since(begun))
		}
		// Without a way back nothing comes either.
		f.Cut(1, 0, true)
		s, err := h[0].NewStream(t.Context(), h[1].ID(), echo)
		if err != nil {
			t.Fatal(err)
		}
		s.SetDeadline(time.Now().Add(2 * time.Second))
		s.Write([]byte("x"))
		if _, err := s.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("reading without a way back: %v", err)
		}
		s.Reset()
	})
}

func TestDeathAndNAT(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := memnet.New(path{latency: 10 * time.Millisecond})
		h := hosts(t, f, 3)
		f.Unreachable(2, true)
		if err := h[0].Connect(t.Context(), peer.AddrInfo{ID: h[2].ID(), Addrs: []multiaddr.Multiaddr{memnet.Addr(2)}}); err == nil {
			t.Error("a node behind a NAT was dialed")
		}
		connect(t, h[2], h[0], 0) // it dials
		connect(t, h[0], h[1], 1)
		s, err := h[0].NewStream(t.Context(), h[1].ID(), echo)
		if err != nil {
			t.Fatal(err)
		}
		s.Write([]byte("x"))
		f.Kill(1)
		h[1].Close()
		if _, err := io.ReadAll(s); err == nil {
			t.Error("the stream of a dead node ended as if it had been closed")
		}
		synctest.Wait()
		if h[0].Network().Connectedness(h[1].ID()) == network.Connected {
			t.Error("a dead node counts as connected")
		}
		if h[0].Network().Connectedness(h[2].ID()) != network.Connected {
			t.Error("the other connection has ended, too")
		}
	})
}

// Whoever is at an address is who the dialer wants, or nobody.
func TestWrongPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hosts(t, memnet.New(path{}), 3)
		if err := h[0].Connect(t.Context(), peer.AddrInfo{ID: h[1].ID(), Addrs: []multiaddr.Multiaddr{memnet.Addr(2)}}); err == nil {
			t.Error("one node was taken for another")
		}
	})
}
