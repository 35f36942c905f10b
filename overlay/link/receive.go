package link

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/mimid/mimid/overlay"
)

// handle serves a stream that a peer has opened, in a goroutine of libp2p's.
func (l *Link) handle(s network.Stream) {
	from := s.Conn().RemotePeer()
	ctx, ok := l.enter(from)
	if !ok {
		s.Reset()
		return
	}
	defer l.leave(from)
	stop := context.AfterFunc(ctx, func() { s.Reset() })
	defer stop()
	s.CloseWrite() // nothing is ever answered
	if err := l.read(ctx, s, overlay.PeerID(from.String())); err != nil {
		if ctx.Err() == nil {
			l.count.malformed.Add(1)
		}
		s.Reset()
		return
	}
	s.Close()
}

// enter counts a stream, and says whether there may be one more.
func (l *Link) enter(from peer.ID) (context.Context, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ctx == nil {
		return nil, false
	}
	if l.in[from] >= l.cfg.StreamsPerPeer || l.all >= l.cfg.Streams {
		l.count.refused.Add(1)
		return nil, false
	}
	l.in[from]++
	l.all++
	l.done.Add(1)
	return l.ctx, true
}

func (l *Link) leave(from peer.ID) {
	l.mu.Lock()
	l.all--
	if l.in[from]--; l.in[from] == 0 {
		delete(l.in, from)
	}
	l.mu.Unlock()
	l.done.Done()
}

// read takes packets until the stream ends where a packet ends, or is silent for too long, both of
// which are no error.
func (l *Link) read(ctx context.Context, s network.Stream, from overlay.PeerID) error {
	var prefix [prefixSize]byte
	for {
		// The first octet may let wait for itself, since it begins a packet; the rest may not.
		s.SetReadDeadline(time.Now().Add(2 * l.cfg.IdleTimeout))
		if _, err := io.ReadFull(s, prefix[:1]); err != nil {
			return nil // closed, reset, or idle: no packet is lost by it
		}
		s.SetReadDeadline(time.Now().Add(l.cfg.ReadTimeout))
		if _, err := io.ReadFull(s, prefix[1:]); err != nil {
			return err
		}
		if binary.BigEndian.Uint32(prefix[:]) != uint32(l.cfg.Size) {
			return errors.New("another size")
		}
		packet := make([]byte, l.cfg.Size)
		if _, err := io.ReadFull(s, packet); err != nil {
			return err
		}
		l.count.received.Add(1)
		l.cfg.Receive(ctx, from, packet)
		if ctx.Err() != nil {
			return nil
		}
	}
}
