package clienthttp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/mimid/mimid/node/account"
	"github.com/mimid/mimid/protocol/clientapi"
)

// MaxCursor is the longest cursor, in octets.
const MaxCursor = 256

// Frame encodes an event for Stream.Next: the octets that go to the client. An
// empty id leaves the client's cursor where it is. It panics if id or event hold
// what would break the frame, which is a bug of the caller.
func Frame(id, event string, data any) ([]byte, error) {
	body, err := json.Marshal(data) // without newlines
	if err != nil {
		return nil, fmt.Errorf("encoding event %s: %w", event, err)
	}
	if strings.ContainsAny(id+event, "\r\n\x00") || len(id) > MaxCursor {
		panic("clienthttp: malformed id or event type")
	}
	var b bytes.Buffer
	b.Grow(len(id) + len(event) + len(body) + 24)
	if id != "" {
		b.WriteString("id: " + id + "\n")
	}
	b.WriteString("event: " + event + "\ndata: ")
	b.Write(body)
	b.WriteString("\n\n")
	return b.Bytes(), nil
}

// pingFrame has no id.
var pingFrame = []byte("event: " + clientapi.EventPing + "\ndata: {}\n\n")

// streamSet knows the open streams. Its lock is held for moments only.
type streamSet struct {
	most int

	mu     sync.Mutex // guards what follows
	byName map[string][]*openStream
	closed bool
}

type openStream struct {
	end context.CancelCauseFunc
}

// Causes of a stream's end.
var (
	errRemoved  = errors.New("the device was removed")
	errReplaced = errors.New("the device opened more streams than it may have, and this was the oldest")
	errStopping = errors.New("the provider is stopping")
)

// add makes a place for a stream; the oldest goes where there are too many.
func (s *streamSet) add(client string, o *openStream) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	if s.byName == nil {
		s.byName = map[string][]*openStream{}
	}
	all := s.byName[client]
	if len(all) >= s.most {
		all[0].end(errReplaced)
		all = all[1:]
	}
	s.byName[client] = append(slices.Clone(all), o)
	return true
}

func (s *streamSet) remove(client string, o *openStream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := slices.DeleteFunc(s.byName[client], func(x *openStream) bool { return x == o })
	if len(all) == 0 {
		delete(s.byName, client)
		return
	}
	s.byName[client] = all
}

// closeDevice ends the streams of a removed device.
func (s *streamSet) closeDevice(client string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range s.byName[client] {
		o.end(errRemoved)
	}
}

func (s *streamSet) closeAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, all := range s.byName {
		for _, o := range all {
			o.end(errStopping)
		}
	}
}

func (s *streamSet) len() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, all := range s.byName {
		n += len(all)
	}
	return n
}

// Streams returns how many streams are open.
func (s *Server) Streams() int { return s.streams.len() }

// CloseStreams ends a device's streams at once. The API's own removal of devices
// does so; it is for removals by other ways.
func (s *Server) CloseStreams(who account.Identity) { s.streams.closeDevice(who.Client.String()) }

// events serves GET /v1/events, behind guarded.
func (s *Server) events(w http.ResponseWriter, req *http.Request) {
	id := who(req.Context())
	if req.Method == http.MethodHead {
		w.Header().Set("Content-Type", "text/event-stream")
		return
	}
	cursor, err := cursorOf(req)
	if err != nil {
		s.refuse(w, req, err)
		return
	}
	every, err := steadyOf(req)
	if err != nil {
		s.refuse(w, req, err)
		return
	}
	ctx, end := context.WithCancelCause(req.Context())
	defer end(nil)
	o := &openStream{end}
	client := id.Client.String()
	if !s.streams.add(client, o) {
		s.refuse(w, req, problem(http.StatusServiceUnavailable, clientapi.CodeUnavailable, "%v: try again soon", errStopping))
		return
	}
	defer s.streams.remove(client, o)
	stream, err := s.cfg.Services.Streams.Open(ctx, id, cursor)
	if err != nil {
		s.refuse(w, req, fmt.Errorf("opening stream: %w", err))
		return
	}
	defer stream.Close()
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // proxies that would collect what has to go out
	if every > 0 {
		h.Set(clientapi.HeaderSteady, strconv.FormatInt(every.Milliseconds(), 10))
	}
	w.WriteHeader(http.StatusOK)
	if every > 0 {
		err = s.pumpSteadily(ctx, w, req, stream, every)
	} else {
		err = s.pump(ctx, w, req, stream)
	}
	log := logger(ctx, s.cfg.Log)
	switch cause := context.Cause(ctx); {
	case cause != nil && errors.Is(err, ctx.Err()):
		log.Debug("stream ended", "client", id.Client, "why", cause)
	case errors.Is(err, errCut), errors.Is(err, errRemoved):
		log.Debug("stream ended", "client", id.Client, "why", err)
	default:
		log.Error("stream failed", "client", id.Client, "error", err)
	}
}

func cursorOf(req *http.Request) (string, error) {
	cursor := req.URL.Query().Get("cursor")
	if cursor == "" {
		cursor = req.Header.Get("Last-Event-ID")
	}
	if len(cursor) > MaxCursor {
		return "", problem(http.StatusUnprocessableEntity, clientapi.CodeInvalid, "a cursor of %d octets: at most %d", len(cursor), MaxCursor)
	}
	return cursor, nil
}

// pieceSize is how many octets a stream's client has WriteTimeout for, at least.
const pieceSize = 16 << 10

// errCut says that the client did not take what was written.
var errCut = errors.New("the client is gone or takes nothing")

// pump writes what the stream has until something ends. It never returns nil.
func (s *Server) pump(ctx context.Context, w http.ResponseWriter, req *http.Request, stream Stream) error {
	rc := http.NewResponseController(underlying(w))
	write := func(frames ...[]byte) error {
		// The time begins anew with each piece, so that a slow client is not taken for
		// one that takes nothing.
		left := 0
		for _, f := range frames {
			if left <= 0 {
				if err := rc.SetWriteDeadline(time.Now().Add(s.cfg.WriteTimeout)); err != nil {
					return fmt.Errorf("bounding the time of a write: %w", err)
				}
				left = pieceSize
			}
			if _, err := w.Write(f); err != nil {
				return fmt.Errorf("%w: %w", errCut, err)
			}
			left -= len(f)
		}
		if err := rc.Flush(); err != nil {
			return fmt.Errorf("%w: %w", errCut, err)
		}
		return nil
	}
	for {
		if err := s.forward(ctx, stream, write); err != nil {
			return err
		}
		// Is the device still there? That costs a look into a cache.
		if _, err := s.identify(req); err != nil {
			return fmt.Errorf("%w: %w", errRemoved, err)
		}
		if err := write(pingFrame); err != nil {
			return err
		}
	}
}

// forward writes what the stream has until a ping is due, and returns nil then. One
// context serves for that long: one for each event was a tenth of what an event costs.
func (s *Server) forward(ctx context.Context, stream Stream, write func(frames ...[]byte) error) error {
	wait, cancel := context.WithTimeout(ctx, s.cfg.Ping)
	defer cancel()
	for {
		frames, err := stream.Next(wait)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil:
			if err := write(frames...); err != nil {
				return err
			}
			// A stream that always has something would not look at the time. What ended
			// the wait may also be the stream's own end, after which no ping may go out.
			if wait.Err() != nil {
				return ctx.Err()
			}
		case errors.Is(err, context.DeadlineExceeded):
			return nil
		default:
			return err
		}
	}
}
