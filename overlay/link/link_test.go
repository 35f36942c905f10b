package link_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"

	"github.com/mimid/mimid/overlay"
	"github.com/mimid/mimid/overlay/link"
)

const size = 1000

// patience is for how long anything may take on a loaded machine.
const patience = 2 * time.Minute

func newHost(t *testing.T) host.Host {
	h, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"), libp2p.DisableRelay(), libp2p.DisableMetrics(),
		libp2p.ResourceManager(&network.NullResourceManager{}), libp2p.DisableIdentifyAddressDiscovery())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

func name(h host.Host) overlay.PeerID { return overlay.PeerID(h.ID().String()) }

// An end is a Link that keeps what it gets.
type end struct {
	*link.Link
	host host.Host
	stop func()

	mu  sync.Mutex
	got map[overlay.PeerID][][]byte
}

func (e *end) packets(from host.Host) [][]byte {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.got[name(from)])
}

func newEnd(t *testing.T, h host.Host, c link.Config) *end {
	t.Helper()
	e := &end{host: h, got: map[overlay.PeerID][][]byte{}}
	c.Host, c.Size = h, size
	if c.Receive == nil {
		c.Receive = func(_ context.Context, from overlay.PeerID, p []byte) {
			e.mu.Lock()
			defer e.mu.Unlock()
			e.got[from] = append(e.got[from], p)
		}
	}
	l, err := link.New(c)
	if err != nil {
		t.Fatal(err)
	}
	e.Link = l
	e.run(t)
	return e
}

func (e *end) run(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	e.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(e.stop)
	until(t, "it runs", func() bool { return slices.Contains(e.host.Mux().Protocols(), link.Protocol) })
}

func knows(a, b host.Host) { a.Peerstore().AddAddrs(b.ID(), b.Addrs(), peerstore.PermanentAddrTTL) }

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

func packet(n byte) []byte { return bytes.Repeat([]byte{n}, size) }

// TestPackets: packets arrive in their order, over one stream, and with the name of who sent them; also
// after the other end has begun anew.
func TestPackets(t *testing.T) {
	a, b := newEnd(t, newHost(t), link.Config{}), newEnd(t, newHost(t), link.Config{})
	knows(a.host, b.host)
	const n = 100
	for i := range n {
		if err := a.Send(name(b.host), packet(byte(i))); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "all arrive", func() bool { return len(b.packets(a.host)) == n })
	for i, p := range b.packets(a.host) {
		if !bytes.Equal(p, packet(byte(i))) {
			t.Fatalf("packet %d is another", i)
		}
	}
	streams := 0
	for _, c := range a.host.Network().ConnsToPeer(b.host.ID()) {
		for _, s := range c.GetStreams() {
			if s.Protocol() == link.Protocol {
				streams++
			}
		}
	}
	if streams != 1 {
		t.Errorf("%d streams", streams)
	}
	if c := a.Counts(); c != (link.Counts{Sent: n}) {
		t.Errorf("%+v", c)
	}

	b.stop()
	b.run(t)
	until(t, "packets arrive again", func() bool { // the first may go into the stream that has ended
		if err := a.Send(name(b.host), packet(7)); err != nil && !errors.Is(err, link.ErrFull) {
			t.Fatal(err)
		}
		return len(b.packets(a.host)) > n
	})
}

// TestSendRefusals: what cannot be sent at all is said at once.
func TestSendRefusals(t *testing.T) {
	h, other := newHost(t), newHost(t)
	l, err := link.New(link.Config{Host: h, Size: size, Receive: func(context.Context, overlay.PeerID, []byte) {}})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Send(name(other), packet(1)); !errors.Is(err, link.ErrNotRunning) {
		t.Errorf("before Run: %v", err)
	}
	e := newEnd(t, newHost(t), link.Config{})
	for _, n := range []int{0, size - 1, size + 1} {
		if err := e.Send(name(other), make([]byte, n)); !errors.Is(err, link.ErrSize) {
			t.Errorf("%d octets: %v", n, err)
		}
	}
	if err := e.Send("nobody", packet(1)); !errors.Is(err, link.ErrPeer) {
		t.Errorf("no name: %v", err)
	}
	if err := e.Send(name(other), packet(1)); err != nil { // whose address is not known
		t.Error(err)
	}
	until(t, "it is counted", func() bool { return e.Counts() == link.Counts{Lost: 1} })
	receive := func(context.Context, overlay.PeerID, []byte) {}
	for _, c := range []link.Config{{Size: size, Receive: receive}, {Host: h, Receive: receive}, {Host: h, Size: link.MaxSize + 1, Receive: receive},
		{Host: h, Size: size}, {Host: h, Size: size, Receive: receive, Queue: -1}, {Host: h, Size: size, Receive: receive, IdleTimeout: -1}} {
		if _, err := link.New(c); !errors.Is(err, link.ErrConfig) {
			t.Errorf("%v", err)
		}
	}
}

// TestSlowPeer: a peer that does not read costs its own queue, up to its bound; others get theirs.
func TestSlowPeer(t *testing.T) {
	stalled := make(chan struct{})
	slow := newEnd(t, newHost(t), link.Config{Receive: func(ctx context.Context, _ overlay.PeerID, _ []byte) {
		select {
		case <-stalled:
		case <-ctx.Done():
		}
	}})
	defer close(stalled)
	quick := newEnd(t, newHost(t), link.Config{})
	a := newEnd(t, newHost(t), link.Config{Queue: 8, QueueTotal: 10, Peers: 2, WriteTimeout: patience})
	knows(a.host, slow.host)
	knows(a.host, quick.host)
	var err error
	for range 100_000 { // what the connection takes is finite
		if err = a.Send(name(slow.host), packet(1)); err != nil {
			if a.Counts().Sent > 0 && errors.Is(err, link.ErrFull) && a.Counts().Sent == sentLater(a) {
				break
			}
			time.Sleep(time.Millisecond)
		}
	}
	if !errors.Is(err, link.ErrFull) {
		t.Fatalf("the queue of a peer that does not read: %v", err)
	}
	if err := a.Send(name(quick.host), packet(2)); err != nil {
		t.Fatal(err)
	}
	until(t, "another peer gets its packet", func() bool { return len(quick.packets(a.host)) == 1 })
	if err := a.Send(name(newHost(t)), packet(2)); !errors.Is(err, link.ErrFull) {
		t.Errorf("a third peer: %v", err)
	}
}

// sentLater is what was sent some time later.
func sentLater(e *end) uint64 {
	time.Sleep(50 * time.Millisecond)
	return e.Counts().Sent
}

// raw opens a stream to an end, as somebody who does not keep to anything.
func raw(t *testing.T, from host.Host, to *end) network.Stream {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := from.Connect(ctx, peer.AddrInfo{ID: to.host.ID(), Addrs: to.host.Addrs()}); err != nil {
		t.Fatal(err)
	}
	s, err := from.NewStream(ctx, to.host.ID(), link.Protocol)
	if err != nil {
		t.Fatal(err)
	}
	s.SetDeadline(time.Now().Add(patience))
	return s
}

func frame(n uint32, octets int) []byte {
	return append(binary.BigEndian.AppendUint32(nil, n), make([]byte, octets)...)
}

// TestMalformedStreams: a packet of another size, or one that does not end, ends its stream, and nothing of
// it is handed on; a good one before it is.
func TestMalformedStreams(t *testing.T) {
	e := newEnd(t, newHost(t), link.Config{ReadTimeout: patience})
	good := frame(size, size)
	for name, c := range map[string]struct {
		octets []byte
		close  bool
	}{
		"larger":            {append(slices.Clone(good), frame(size+1, size+1)...), false},
		"the largest":       {append(slices.Clone(good), frame(1<<32-1, 10)...), false},
		"smaller":           {append(slices.Clone(good), frame(size-1, size-1)...), false},
		"zero":              {append(slices.Clone(good), frame(0, 0)...), false},
		"cut":               {append(slices.Clone(good), frame(size, size-1)...), true},
		"cut within a size": {append(slices.Clone(good), 0, 0), true},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			before := e.Counts()
			s := raw(t, h, e)
			if _, err := s.Write(c.octets); err != nil {
				t.Fatal(err)
			}
			if c.close {
				s.CloseWrite()
			}
			until(t, "the stream ends", func() bool { return e.Counts().Malformed == before.Malformed+1 })
			if got := len(e.packets(h)); got != 1 {
				t.Errorf("%d packets were handed on", got)
			}
			if _, err := s.Read(make([]byte, 1)); err == nil {
				t.Error("it was answered")
			}
		})
	}
}

// TestPacketThatDoesNotCome: a packet that has begun has to come within its time. Then its stream ends.
func TestPacketThatDoesNotCome(t *testing.T) {
	e := newEnd(t, newHost(t), link.Config{ReadTimeout: 50 * time.Millisecond})
	s := raw(t, newHost(t), e)
	if _, err := s.Write(frame(size, size/2)); err != nil {
		t.Fatal(err)
	}
	until(t, "the stream ends", func() bool { return e.Counts() == link.Counts{Malformed: 1} })
	if _, err := s.Read(make([]byte, 1)); err == nil {
		t.Error("it was answered")
	}
}

// TestGoodEnd: a stream that ends where a packet ends is no fault.
func TestGoodEnd(t *testing.T) {
	e, h := newEnd(t, newHost(t), link.Config{}), newHost(t)
	s := raw(t, h, e)
	if _, err := s.Write(append(frame(size, size), frame(size, size)...)); err != nil {
		t.Fatal(err)
	}
	s.Close()
	until(t, "both packets arrive", func() bool { return len(e.packets(h)) == 2 })
	if n, err := s.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("it was answered: %d %v", n, err)
	}
	e.stop()
	if c := e.Counts(); c != (link.Counts{Received: 2}) {
		t.Errorf("%+v", c)
	}
}

// TestStreamsAreBounded: a peer has a few streams, and all together have a number of them; those beyond are
// refused, and when one ends there is room.
func TestStreamsAreBounded(t *testing.T) {
	e := newEnd(t, newHost(t), link.Config{StreamsPerPeer: 2, Streams: 3})
	open := func(h host.Host, want bool) network.Stream {
		t.Helper()
		before := e.Counts()
		s := raw(t, h, e)
		if _, err := s.Write(frame(size, size)); err != nil && want {
			t.Fatal(err)
		}
		until(t, "it is taken or refused", func() bool {
			c := e.Counts()
			return c.Received == before.Received+1 && want || c.Refused == before.Refused+1 && !want
		})
		return s
	}
	a, b := newHost(t), newHost(t)
	first := open(a, true)
	open(a, true)
	open(a, false)
	open(b, true)
	open(b, false)
	first.Reset()
	until(t, "there is room", func() bool {
		before := e.Counts().Received
		s := raw(t, b, e)
		s.Write(frame(size, size))
		s.SetReadDeadline(time.Now().Add(patience))
		s.CloseWrite()
		s.Read(make([]byte, 1)) // ends with the stream, whether it was taken or refused
		return e.Counts().Received == before+1
	})
}
