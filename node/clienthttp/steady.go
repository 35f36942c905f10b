package clienthttp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/mimid/mimid/protocol/clientapi"
)

// Steady streams: a device can ask for its events so that who watches its line does not see whether there are
// any. The answer is written in pieces of one size at fixed times, whatever there is to say; what is too much
// for one waits for the next, and what is missing is a comment, which the format of such streams has. The
// pieces are encrypted alike by TLS, and by nothing before it: there is no compression here.

// The times between two pieces that a device can ask for.
const (
	minSteady = 100 * time.Millisecond
	maxSteady = 30 * time.Second // of a minute that devices wait for a sign of life
)

// steadyOf is what a request says of the time between two pieces; 0: it does not ask for any.
func steadyOf(req *http.Request) (time.Duration, error) {
	text := req.URL.Query().Get("steady")
	if text == "" {
		return 0, nil
	}
	ms, err := strconv.ParseInt(text, 10, 32)
	every := time.Duration(ms) * time.Millisecond
	if err != nil || every < minSteady || every > maxSteady {
		return 0, problem(http.StatusUnprocessableEntity, clientapi.CodeInvalid, "steady = %.20q: milliseconds, %d to %d", text, minSteady.Milliseconds(), maxSteady.Milliseconds())
	}
	return every, nil
}

// pumpSteadily writes what the stream has, a piece at a time, until something ends. It never returns nil.
func (s *Server) pumpSteadily(ctx context.Context, w http.ResponseWriter, req *http.Request, stream Stream, every time.Duration) error {
	rc := http.NewResponseController(underlying(w))
	if err := rc.Flush(); err != nil { // the header, which says nothing
		return fmt.Errorf("%w: %w", errCut, err)
	}
	return steadily(ctx, stream, every, func(piece []byte) error {
		// Is the device still there? That costs a look into a cache.
		if _, err := s.identify(req); err != nil {
			return fmt.Errorf("%w: %w", errRemoved, err)
		}
		if err := rc.SetWriteDeadline(time.Now().Add(s.cfg.WriteTimeout)); err != nil {
			return fmt.Errorf("bounding the time of a write: %w", err)
		}
		if _, err := w.Write(piece); err != nil {
			return fmt.Errorf("%w: %w", errCut, err)
		}
		if err := rc.Flush(); err != nil {
			return fmt.Errorf("%w: %w", errCut, err)
		}
		return nil
	})
}

// steadily hands what a stream has to write, in pieces of clientapi.SteadySize octets, one each time. No more is asked
// of the stream than fits into the next piece, and what came with it.
func steadily(ctx context.Context, stream Stream, every time.Duration, write func(piece []byte) error) error {
	var rest []byte
	for due := time.Now().Add(every); ; due = due.Add(every) {
		wait, cancel := context.WithDeadline(ctx, due)
		for len(rest) < clientapi.SteadySize {
			frames, err := stream.Next(wait)
			if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
				break
			}
			if err != nil {
				cancel()
				return err
			}
			for _, f := range frames {
				rest = append(rest, f...)
			}
		}
		<-wait.Done()
		cancel()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var piece []byte
		if piece, rest = nextPiece(rest); len(rest) == 0 {
			rest = nil // it may have been long
		}
		if err := write(piece); err != nil {
			return err
		}
	}
}

// nextPiece cuts a piece off. Where less is there than a piece it is whole frames, and a comment may follow.
func nextPiece(b []byte) (piece, rest []byte) {
	if len(b) >= clientapi.SteadySize {
		return b[:clientapi.SteadySize:clientapi.SteadySize], b[clientapi.SteadySize:]
	}
	n := clientapi.SteadySize - len(b)
	if n == 1 {
		return append(b, '\n'), nil
	}
	b = append(b, ':')
	b = append(b, bytes.Repeat([]byte{' '}, n-2)...)
	return append(b, '\n'), nil
}
