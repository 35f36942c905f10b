package link

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/mimid/mimid/overlay"
)

// Protocol is the name that peers agree on for a stream.
const Protocol = overlay.OnionProtocol

// MaxSize bounds a packet: the largest that any format of the onion packets has is 38 KiB.
const MaxSize = 64 << 10

const prefixSize = 4

// Config says what a Link works on. Zero numbers and times mean the defaults.
type Config struct {
	Host host.Host
	// Size is the number of octets of each packet.
	Size int
	// Receive is called for each packet that came, from several goroutines, and owns the
	// packet. While it waits its peer waits too, and no other; it returns when ctx ends.
	Receive func(ctx context.Context, from overlay.PeerID, packet []byte)
	// Dial, if it is not nil, connects to a peer before a stream is opened.
	Dial func(ctx context.Context, to overlay.PeerID) error

	StreamsPerPeer int           // that a peer may have open to here. Default 2
	Streams        int           // that all may have. Default 2,048
	Peers          int           // to which packets wait or streams are open at once. Default 2,048
	Queue          int           // packets that may wait for one peer. Default 256
	QueueTotal     int           // packets that may wait for all. Default 8,192
	ReadTimeout    time.Duration // for a packet that has begun to arrive. Default 10 s
	WriteTimeout   time.Duration // for a packet to be taken by the peer. Default 10 s
	DialTimeout    time.Duration // to open a stream. Default 10 s
	IdleTimeout    time.Duration // for a stream without packets, to be closed by its opener; the other end waits twice as long. Default 90 s
}

func (c *Config) withDefaults() error {
	switch {
	case c.Host == nil:
		return fmt.Errorf("%w: no Host", ErrConfig)
	case c.Receive == nil:
		return fmt.Errorf("%w: no Receive", ErrConfig)
	case c.Size < 1 || c.Size > MaxSize:
		return fmt.Errorf("%w: packets of %d octets, where 1 to %d are possible", ErrConfig, c.Size, MaxSize)
	}
	for _, f := range []struct {
		name  string
		field *int
		value int
	}{
		{"StreamsPerPeer", &c.StreamsPerPeer, 2}, {"Streams", &c.Streams, 2048}, {"Peers", &c.Peers, 2048},
		{"Queue", &c.Queue, 256}, {"QueueTotal", &c.QueueTotal, 8192},
	} {
		if *f.field < 0 {
			return fmt.Errorf("%w: %s is negative", ErrConfig, f.name)
		}
		if *f.field == 0 {
			*f.field = f.value
		}
	}
	for _, f := range []struct {
		name  string
		field *time.Duration
		value time.Duration
	}{
		{"ReadTimeout", &c.ReadTimeout, 10 * time.Second}, {"WriteTimeout", &c.WriteTimeout, 10 * time.Second},
		{"DialTimeout", &c.DialTimeout, 10 * time.Second}, {"IdleTimeout", &c.IdleTimeout, 90 * time.Second},
	} {
		if *f.field < 0 {
			return fmt.Errorf("%w: %s is negative", ErrConfig, f.name)
		}
		if *f.field == 0 {
			*f.field = f.value
		}
	}
	return nil
}

// Counts are what a Link has done since it was made.
type Counts struct {
	Received  uint64 // packets given to Receive
	Malformed uint64 // streams that were ended for another size, or within a packet
	Refused   uint64 // streams above what a peer or all may have open
	Sent      uint64 // packets that a stream has taken. That they arrive is not known
	Lost      uint64 // packets that were taken by Send and could not be sent
}

// A Link sends and receives packets.
type Link struct {
	cfg   Config
	count struct{ received, malformed, refused, sent, lost atomic.Uint64 }
	wait  atomic.Int64 // packets in all queues

	mu    sync.Mutex
	ctx   context.Context         // of Run; nil while it does not run
	peers map[peer.ID]chan []byte // queues of those that have a goroutine
	in    map[peer.ID]int         // streams that are being read
	all   int                     // all of them
	done  sync.WaitGroup          // goroutines
}

// New makes a Link. Error: ErrConfig.
func New(c Config) (*Link, error) {
	if err := c.withDefaults(); err != nil {
		return nil, err
	}
	return &Link{cfg: c, peers: map[peer.ID]chan []byte{}, in: map[peer.ID]int{}}, nil
}

// Run takes and sends packets until ctx ends, which is no error. It may be called again after it
// has returned.
func (l *Link) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	l.mu.Lock()
	if l.ctx != nil {
		l.mu.Unlock()
		return fmt.Errorf("%w: Run is called twice at once", ErrConfig)
	}
	l.ctx = ctx
	l.mu.Unlock()
	l.cfg.Host.SetStreamHandler(Protocol, l.handle)
	<-ctx.Done()
	l.cfg.Host.RemoveStreamHandler(Protocol)
	l.mu.Lock()
	l.ctx = nil // from now on no goroutine begins
	l.mu.Unlock()
	l.done.Wait()
	return nil
}

// Send lets a packet leave for a peer, and does not wait until it has. The packet belongs to the
// Link from then on. Errors: ErrSize, ErrPeer, ErrFull, ErrNotRunning.
func (l *Link) Send(to overlay.PeerID, packet []byte) error {
	if len(packet) != l.cfg.Size {
		return fmt.Errorf("%w: %d octets, not %d", ErrSize, len(packet), l.cfg.Size)
	}
	id, err := peer.Decode(string(to))
	if err != nil {
		return fmt.Errorf("%w: %.80q", ErrPeer, string(to))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ctx == nil {
		return ErrNotRunning
	}
	queue, ok := l.peers[id]
	switch {
	case !ok && len(l.peers) >= l.cfg.Peers:
		return fmt.Errorf("%w: for %d peers", ErrFull, len(l.peers))
	case len(queue) >= l.cfg.Queue:
		return fmt.Errorf("%w: %d for one peer", ErrFull, len(queue))
	case l.wait.Load() >= int64(l.cfg.QueueTotal):
		return fmt.Errorf("%w: %d for all peers", ErrFull, l.cfg.QueueTotal)
	}
	if !ok {
		queue = make(chan []byte, l.cfg.Queue)
		l.peers[id] = queue
		ctx := l.ctx
		l.done.Go(func() { l.serve(ctx, id, queue) })
	}
	l.wait.Add(1)
	queue <- packet // there is room: only here are packets put in, under mu
	return nil
}

// serve sends what is queued for a peer, until nothing has come for IdleTimeout.
func (l *Link) serve(ctx context.Context, to peer.ID, queue chan []byte) {
	var s network.Stream
	frame := make([]byte, prefixSize+l.cfg.Size)
	binary.BigEndian.PutUint32(frame, uint32(l.cfg.Size))
	idle := time.NewTimer(l.cfg.IdleTimeout)
	defer idle.Stop()
	for {
		select {
		case packet := <-queue:
			l.wait.Add(-1)
			copy(frame[prefixSize:], packet)
			s = l.write(ctx, to, s, frame)
			idle.Reset(l.cfg.IdleTimeout)
			continue
		case <-idle.C:
		case <-ctx.Done():
		}
		if l.retire(ctx, to, queue) {
			break
		}
	}
	if s != nil {
		s.Close()
	}
}

// retire takes a peer's queue away, unless a packet has come meanwhile that is still to be sent.
func (l *Link) retire(ctx context.Context, to peer.ID, queue chan []byte) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if ctx.Err() == nil && len(queue) > 0 {
		return false
	}
	delete(l.peers, to)
	for len(queue) > 0 {
		<-queue
		l.wait.Add(-1)
		l.count.lost.Add(1)
	}
	return true
}

// write sends one packet and returns the stream to go on with, nil if there is none. A stream that
// was there before may have ended with the peer's program, so that a new one is tried then; that
// the peer gets the packet twice does no harm, since it knows it by its tag.
func (l *Link) write(ctx context.Context, to peer.ID, s network.Stream, frame []byte) network.Stream {
	for {
		fresh := s == nil
		if fresh {
			dial, cancel := context.WithTimeout(ctx, l.cfg.DialTimeout)
			opened, err := l.open(dial, to)
			cancel()
			if err != nil {
				l.count.lost.Add(1)
				return nil
			}
			s = opened
		}
		stop := context.AfterFunc(ctx, func() { s.Reset() })
		s.SetWriteDeadline(time.Now().Add(l.cfg.WriteTimeout))
		_, err := s.Write(frame)
		stop()
		if err == nil {
			l.count.sent.Add(1)
			return s
		}
		s.Reset()
		s = nil
		if fresh || ctx.Err() != nil {
			l.count.lost.Add(1)
			return nil
		}
	}
}

func (l *Link) open(ctx context.Context, to peer.ID) (network.Stream, error) {
	if l.cfg.Dial != nil {
		if err := l.cfg.Dial(ctx, overlay.PeerID(to.String())); err != nil {
			return nil, err
		}
	}
	return l.cfg.Host.NewStream(ctx, to, Protocol)
}

// Counts says what was done.
func (l *Link) Counts() Counts {
	return Counts{
		Received: l.count.received.Load(), Malformed: l.count.malformed.Load(), Refused: l.count.refused.Load(),
		Sent: l.count.sent.Load(), Lost: l.count.lost.Load(),
	}
}
