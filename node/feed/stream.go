package feed

import (
	"context"
	"encoding/json"
	"sync"

	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/store"
)

// queueBytes bounds what waits in memory for one stream; pageBytes what Next
// returns at once.
const (
	queueBytes = 1 << 20
	pageBytes  = 256 << 10
)

// Stream is what one device hears. It reads the store until it has caught up,
// and then takes what is pushed to it; if that comes faster than the device
// reads, it is dropped and read from the store again. One goroutine uses it.
type Stream struct {
	f      *Feed
	user   uri.User
	client uri.Client
	number uint64 // it is the one that was opened as this one since the start, from 1

	// owned by the reader
	pos    uint64 // everything up to here has been returned
	behind bool   // the store has more
	hello  []byte // not sent yet

	mu       sync.Mutex
	queue    []queued      // guarded by mu: pushed and not taken, by rising position
	size     int           // guarded by mu: bytes in queue
	overflow bool          // guarded by mu: something was dropped
	wake     chan struct{} // capacity 1
}

type queued struct {
	pos   uint64
	frame []byte
}

// Open begins a stream behind a cursor, or with all that the user has in store
// if there is none or it is not one of this feed.
func (f *Feed) Open(ctx context.Context, u uri.User, c uri.Client, cursor string) (*Stream, error) {
	s := &Stream{f: f, user: u, client: c, behind: true, wake: make(chan struct{}, 1)}
	// Registered before it reads, so that nothing falls in between.
	f.mu.Lock()
	if f.streams[u] == nil {
		f.streams[u] = map[*Stream]struct{}{}
	}
	f.streams[u][s] = struct{}{}
	f.opened++
	s.number = f.opened
	f.mu.Unlock()
	var end uint64
	err := f.st.View(func(tx *store.Tx) (err error) {
		end, _, err = last(tx)
		return err
	})
	if err != nil {
		s.Close()
		return nil, err
	}
	pos, ok := f.position(cursor)
	if ok = ok && pos <= end; ok {
		s.pos = pos
	}
	hello, err := json.Marshal(clientapi.Hello{Client: c.String(), Cursor: f.cursor(s.pos), Resumed: ok})
	if err != nil {
		s.Close()
		return nil, err
	}
	s.hello = frame("", clientapi.EventHello, hello)
	return s, nil
}

// Close ends the stream.
func (s *Stream) Close() {
	s.f.mu.Lock()
	defer s.f.mu.Unlock()
	delete(s.f.streams[s.user], s)
	if len(s.f.streams[s.user]) == 0 {
		delete(s.f.streams, s.user)
	}
}

func (s *Stream) offer(pos uint64, frame []byte) {
	s.mu.Lock()
	if !s.overflow {
		if s.size += len(frame); s.size > queueBytes && len(s.queue) > 0 {
			s.queue, s.size, s.overflow = nil, 0, true
		} else {
			s.queue = append(s.queue, queued{pos, frame})
		}
	}
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// lag has the reader look into the store.
func (s *Stream) lag() {
	s.mu.Lock()
	s.queue, s.size, s.overflow = nil, 0, true
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// take returns what was pushed, and whether something was dropped.
func (s *Stream) take() (list []queued, dropped bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list, dropped = s.queue, s.overflow
	s.queue, s.size, s.overflow = nil, 0, false
	return list, dropped
}

// Next waits for something to send and returns complete frames, in order. When
// ctx ends, it returns its error, and the stream can go on.
func (s *Stream) Next(ctx context.Context) ([][]byte, error) {
	if s.hello != nil {
		h := s.hello
		s.hello = nil
		return [][]byte{h}, nil
	}
	for {
		if s.behind {
			page, err := s.backlog()
			if err != nil {
				return nil, err
			}
			if len(page) > 0 {
				return page, nil
			}
			s.behind = false
		}
		list, dropped := s.take()
		if dropped {
			s.behind = true
			continue
		}
		var out [][]byte
		for _, q := range list {
			if q.pos > s.pos || q.pos == 0 { // Tell
				out = append(out, q.frame)
				s.pos = max(s.pos, q.pos)
			}
		}
		if len(out) > 0 {
			return out, nil
		}
		select {
		case <-s.wake:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
