package admin

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/mimid/mimid/protocol/clientapi"
)

// The answer to POST /drain is a stream of lines, application/x-ndjson, each a DrainLine:
// some about how far it is, and at the end one with the result or why there is none. If
// neither comes the node has gone in the middle; what it has released stays released.

// DrainLine is one line of the stream: one of its fields.
type DrainLine struct {
	Progress *Draining          `json:"progress,omitempty"`
	Result   *Drained           `json:"result,omitempty"`
	Error    *clientapi.Problem `json:"error,omitempty"`
}

// maxLine bounds what a client reads of one line: MaxLeft rooms and their reasons.
const maxLine = 8 << 20

func (s *Server) drain(w http.ResponseWriter, req *http.Request) {
	begin := time.Now()
	flush := http.NewResponseController(w)
	begun := false
	say := func(l DrainLine) {
		if !begun {
			begun = true
			w.Header().Set("Content-Type", "application/x-ndjson")
		}
		_ = json.NewEncoder(w).Encode(l)
		_ = flush.Flush()
	}
	out, err := s.guarded(req, func(req *http.Request) (any, error) {
		return s.cfg.Services.Rooms.DrainRooms(req.Context(), func(d Draining) { say(DrainLine{Progress: &d}) })
	})
	s.cfg.Log.Info("operator's command", "call", req.Pattern, "took", time.Since(begin), "error", err)
	if err == nil {
		say(DrainLine{Result: out.(*Drained)})
		return
	}
	if !begun {
		refuse(w, err)
		return
	}
	var p *clientapi.Problem
	if !errors.As(err, &p) {
		p = problem(http.StatusInternalServerError, clientapi.CodeInternal, "%v", err)
	}
	say(DrainLine{Error: p})
}

// Drain has the node hand over every room that it orders. progress, if not nil, is
// called now and then. When ctx ends it begins no more; what it has begun goes on.
func (c *Client) Drain(ctx context.Context, progress func(Draining)) (*Drained, error) {
	req, err := http.NewRequestWithContext(ctx, "POST", "http://admin/drain", nil)
	if err != nil {
		return nil, fmt.Errorf("making request: %w", err)
	}
	res, err := c.http.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err
		}
		return nil, fmt.Errorf("asking the node: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		b, err := io.ReadAll(io.LimitReader(res.Body, maxBody))
		if err != nil {
			return nil, fmt.Errorf("reading the node's answer: %w", err)
		}
		return nil, refusal(res, b)
	}
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		var l DrainLine
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrAnswer, err)
		}
		switch {
		case l.Error != nil:
			return nil, l.Error
		case l.Result != nil:
			return l.Result, nil
		case l.Progress != nil && progress != nil:
			progress(*l.Progress)
		}
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("draining: %w", ctx.Err())
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDrain, err)
	}
	return nil, ErrDrain
}
