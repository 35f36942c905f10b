package overlay

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	pb "github.com/libp2p/go-libp2p-kad-dht/pb"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"google.golang.org/protobuf/proto"
)

const (
	maxDHTMessage = 1 << 20          // that is read; those that are written are smaller
	dhtWithin     = 10 * time.Second // one message and its answer, unless ctx ends before
)

// A messenger sends messages of the DHT, in the place of libp2p's own sender, which
//
//   - hands on answers that libp2p's next layer does not expect: one to PUT_VALUE without a
//     record ends the process with a nil pointer;
//   - lets a peer that is slow to answer one request delay all others to it;
//   - reads up to 4 MiB for an answer.
//
// Of the streams to a peer that requests at one time need, it keeps one open: each costs both sides a goroutine or
// what is to be read into, and a new one costs no round trip.
//
// It is safe for concurrent use.
type messenger struct {
	host  host.Host
	sizes *sizes // hears who answers

	mu   sync.Mutex
	idle map[peer.ID]*dhtStream // guarded by mu
}

// A dhtStream is used by one request at a time.
type dhtStream struct {
	network.Stream
	in *bufio.Reader
}

func newMessageSender(h host.Host, s *sizes) *messenger {
	return &messenger{host: h, sizes: s, idle: make(map[peer.ID]*dhtStream)}
}

var errDHTAnswer = errors.New("overlay: a node's answer in the DHT is not one")

// SendRequest implements pb.MessageSender.
func (m *messenger) SendRequest(ctx context.Context, p peer.ID, q *pb.Message) (*pb.Message, error) {
	key, nodes := string(q.GetKey()), q.GetType() == pb.Message_FIND_NODE
	if nodes {
		m.sizes.asked(key)
	}
	var out *pb.Message
	err := m.send(ctx, p, q, func(s *dhtStream) (err error) {
		out, err = readAnswer(s.in, q)
		return err
	})
	if nodes && err == nil {
		m.sizes.answered(key, p)
	}
	return out, err
}

// SendMessage implements pb.MessageSender. Whether the message arrived is not known.
func (m *messenger) SendMessage(ctx context.Context, p peer.ID, q *pb.Message) error {
	return m.send(ctx, p, q, func(*dhtStream) error { return nil })
}

// send writes a message to a stream and lets then read the answer. A stream that was idle
// may have been closed by the other side, so that a new one is tried after it.
func (m *messenger) send(ctx context.Context, p peer.ID, q *pb.Message, then func(*dhtStream) error) error {
	ctx, cancel := context.WithTimeout(ctx, dhtWithin)
	defer cancel()
	size := proto.Size(q)
	b, err := proto.MarshalOptions{}.MarshalAppend(binary.AppendUvarint(make([]byte, 0, size+binary.MaxVarintLen64), uint64(size)), q)
	if err != nil {
		return fmt.Errorf("encoding DHT message: %w", err)
	}
	for {
		s, used := m.take(p)
		if !used {
			raw, err := m.host.NewStream(ctx, p, dhtProtocol)
			if err != nil {
				return err
			}
			s = &dhtStream{raw, bufio.NewReaderSize(raw, 512)}
		}
		stop := context.AfterFunc(ctx, func() { s.Reset() })
		_, err := s.Write(b)
		if err == nil {
			err = then(s)
		}
		if stop() && err == nil {
			m.put(p, s)
			return nil
		}
		s.Reset()
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err == nil || !used || errors.Is(err, errDHTAnswer):
			return err
		}
	}
}

func (m *messenger) take(p peer.ID) (*dhtStream, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.idle[p]
	delete(m.idle, p)
	return s, ok
}

// put keeps a stream, unless it is one too many or its connection is gone: then nobody
// would call OnDisconnect for it.
func (m *messenger) put(p peer.ID, s *dhtStream) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.idle[p] != nil || s.Conn().IsClosed() {
		s.Reset()
		return
	}
	m.idle[p] = s
}

// OnDisconnect implements pb.MessageSenderWithDisconnect.
func (m *messenger) OnDisconnect(_ context.Context, p peer.ID) {
	m.mu.Lock()
	s := m.idle[p]
	delete(m.idle, p)
	m.mu.Unlock()
	if s != nil {
		s.Reset()
	}
}

// readAnswer reads what a peer answers to q, and refuses what libp2p does not check.
func readAnswer(r *bufio.Reader, q *pb.Message) (*pb.Message, error) {
	size, err := binary.ReadUvarint(r)
	if err != nil {
		return nil, fmt.Errorf("reading DHT answer: %w", err)
	}
	if size > maxDHTMessage {
		return nil, fmt.Errorf("%w: %d bytes, at most %d are allowed", errDHTAnswer, size, maxDHTMessage)
	}
	b := make([]byte, size)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, fmt.Errorf("reading DHT answer: %w", err)
	}
	m := new(pb.Message)
	if err := proto.Unmarshal(b, m); err != nil {
		return nil, fmt.Errorf("%w: %v", errDHTAnswer, err)
	}
	switch {
	case m.GetType() != q.GetType():
		return nil, fmt.Errorf("%w: %s to %s", errDHTAnswer, m.GetType(), q.GetType())
	case q.GetType() == pb.Message_PUT_VALUE && m.GetRecord() == nil:
		return nil, fmt.Errorf("%w: it does not say what was stored", errDHTAnswer)
	}
	return m, nil
}
