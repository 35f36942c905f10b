package peering

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/mimid/mimid/protocol/clientapi"
)

// Endpoints whose answers are too large for memory are called with GET and without a
// body, in the same envelope, and answer as HTTP does, with ranges: MIMI's proxyDownload.

// StreamHandler answers such a request on w. An error came before anything was written,
// and is answered as that of a Handler. The context is the request's: it has no deadline,
// and those of w are the handler's to set.
type StreamHandler func(ctx context.Context, in *Incoming, w http.ResponseWriter, r *http.Request) error

// Open asks another provider for a stream: its answer is the caller's to read and close,
// within ctx. Of the header only the range is sent. An answer of another status than 2xx,
// or 416, is an error. Errors: those of Call.
func (c *Caller) Open(ctx context.Context, q Request, header http.Header) (*http.Response, error) {
	fail := func(err error) (*http.Response, error) {
		return nil, fmt.Errorf("asking %s for %s: %w", q.Target, q.Endpoint, err)
	}
	if len(q.Subject) > MaxSubject {
		return fail(fmt.Errorf("subject of %d octets: %w", len(q.Subject), ErrTooLarge))
	}
	sent := http.Header{}
	if v := header.Get("Range"); v != "" {
		sent.Set("Range", v)
	}
	resp, err := c.ask(ctx, http.MethodGet, &q, sent)
	if err != nil {
		if ctx.Err() != nil {
			err = errors.Join(err, context.Cause(ctx))
		}
		return fail(err)
	}
	if resp.StatusCode/100 != 2 && resp.StatusCode != http.StatusRequestedRangeNotSatisfiable {
		defer resp.Body.Close()
		return fail(c.refused(&q, resp))
	}
	return resp, nil
}

// stream answers a request to a Stream, behind the gates. It returns nil if the handler
// has answered.
func (s *Server) stream(w http.ResponseWriter, r *http.Request, route *Route, in *Incoming) *Response {
	// The server's bound on reading a request is not for answers that take longer.
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	began := &beginning{ResponseWriter: w}
	out := s.guard(r.Context(), in, func() (*Response, error) {
		return nil, route.Stream(r.Context(), in, began, r)
	})
	if out != nil && began.told {
		panic(http.ErrAbortHandler) // too late for a problem: the other side sees that it was broken off
	}
	return out
}

// beginning is a writer that knows whether an answer has begun.
type beginning struct {
	http.ResponseWriter
	told bool
}

func (b *beginning) WriteHeader(status int) {
	b.told = true
	b.ResponseWriter.WriteHeader(status)
}

func (b *beginning) Write(p []byte) (int, error) {
	b.told = true
	return b.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController through.
func (b *beginning) Unwrap() http.ResponseWriter { return b.ResponseWriter }

// method is how an endpoint is called.
func (r *Route) method() string {
	if r.Stream != nil {
		return http.MethodGet
	}
	return http.MethodPost
}

// length judges Content-Length.
func (r *Route) length(req *http.Request) *clientapi.Problem {
	switch {
	case r.Stream != nil && req.ContentLength != 0:
		return problem(http.StatusBadRequest, clientapi.CodeInvalid, "a request to %s has no body", r.Endpoint)
	case req.ContentLength < 0:
		return problem(http.StatusLengthRequired, CodeLength, "the request has no Content-Length")
	case req.ContentLength > int64(r.MaxBody):
		return problem(http.StatusRequestEntityTooLarge, clientapi.CodeTooLarge, "a body of %d octets: %s takes at most %d", req.ContentLength, r.Endpoint, r.MaxBody)
	}
	return nil
}
