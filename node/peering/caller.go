package peering

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/wire"
)

// Caller makes requests. Its fields must not change after the first one. Safe
// for concurrent use.
type Caller struct {
	// Domain is the own provider's.
	Domain string
	// Key returns the present provider key. It is asked each time, because keys
	// are rotated.
	Key func() ed25519.PrivateKey
	// Proven says that the way to an endpoint of another provider shows that a request
	// comes from here, by a certificate, so that it needs no signature. It may be wrong:
	// who refuses such a request is asked again with a signature. Default: no way does.
	Proven func(ctx context.Context, target, endpoint string) bool
	// Client sends the requests, whose hosts are domains of providers. It must
	// not follow redirects.
	Client *http.Client
	// Now is the clock. Default time.Now.
	Now func() time.Time
	// Timeout of a request, including its answer. Default 30 seconds; the
	// context may end it earlier.
	Timeout time.Duration
}

// Call asks another provider. Errors: ErrUnreachable, with ErrNotSent where that
// is certain; ErrUnknown, ErrTooLarge, *Refused, ErrConfig, and the context's.
func (c *Caller) Call(ctx context.Context, q Request) (*Response, error) {
	if q.MaxResponse == 0 {
		q.MaxResponse = 1 << 20
	}
	if len(q.Subject) > MaxSubject {
		return nil, fmt.Errorf("asking %s for %s: subject of %d octets: %w", q.Target, q.Endpoint, len(q.Subject), ErrTooLarge)
	}
	timeout := c.Timeout
	if timeout == 0 {
		timeout = 30 * time.Second
	}
	outer := ctx
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("no answer within %v", timeout))
	defer cancel()
	resp, err := c.call(ctx, &q)
	if err != nil {
		if outer.Err() != nil {
			err = errors.Join(err, outer.Err())
		} else if ctx.Err() != nil {
			err = fmt.Errorf("%w: %w", err, context.Cause(ctx))
		}
		return nil, fmt.Errorf("asking %s for %s: %w", q.Target, q.Endpoint, err)
	}
	return resp, nil
}

func (c *Caller) call(ctx context.Context, q *Request) (*Response, error) {
	resp, err := c.ask(ctx, http.MethodPost, q, nil)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return nil, c.refused(q, resp)
	}
	if resp.ContentLength > int64(q.MaxResponse) {
		return nil, fmt.Errorf("answer of %d octets, at most %d: %w", resp.ContentLength, q.MaxResponse, ErrTooLarge)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, int64(q.MaxResponse)+1))
	if err != nil {
		return nil, fmt.Errorf("reading answer: %w: %w", ErrUnreachable, err)
	}
	if len(body) > q.MaxResponse {
		return nil, fmt.Errorf("answer of more than %d octets: %w", q.MaxResponse, ErrTooLarge)
	}
	date, _ := http.ParseTime(resp.Header.Get("Date"))
	return &Response{Status: resp.StatusCode, Type: resp.Header.Get("Content-Type"), Body: body, Date: date}, nil
}

// ask sends a request and returns its answer, whose body is the caller's. It signs unless
// the way proves who asks, or if that was not believed.
func (c *Caller) ask(ctx context.Context, method string, q *Request, header http.Header) (*http.Response, error) {
	if q.ID == (ID{}) {
		rand.Read(q.ID[:])
	}
	bare := c.Proven != nil && c.Proven(ctx, q.Target, q.Endpoint)
	for {
		r, err := c.request(ctx, method, q, !bare)
		if err != nil {
			return nil, err
		}
		for k, v := range header {
			r.Header[k] = v
		}
		resp, err := c.send(r)
		if err != nil || !bare || resp.StatusCode != http.StatusUnauthorized {
			return resp, err
		}
		resp.Body.Close() // not read: the connection is gone, which happens rarely
		bare = false
	}
}

// request makes a request as it goes out.
func (c *Caller) request(ctx context.Context, method string, q *Request, sign bool) (*http.Request, error) {
	envelope, err := c.envelope(q, sign)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	r, err := http.NewRequestWithContext(ctx, method, q.target(), bytes.NewReader(q.Body))
	if err != nil {
		return nil, fmt.Errorf("%w: %w: %w", ErrUnknown, ErrNotSent, err)
	}
	r.Header.Set(envelopeHeader, envelope)
	// net/http repeats a request that has this header when a kept connection
	// turns out to be closed.
	r.Header.Set(repeatHeader, idText(q.ID))
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/octet-stream")
	}
	return r, nil
}

// send sends a request and waits for the header of its answer.
func (c *Caller) send(r *http.Request) (*http.Response, error) {
	resp, err := c.Client.Do(r)
	switch {
	case err == nil:
		return resp, nil
	case unknown(err):
		return nil, fmt.Errorf("%w: %w: %w", ErrUnknown, ErrNotSent, err)
	case unsent(err):
		return nil, fmt.Errorf("%w: %w: %w", ErrUnreachable, ErrNotSent, err)
	}
	return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
}

// envelope dates the request, and signs it if it shall.
func (c *Caller) envelope(q *Request, sign bool) (string, error) {
	now := c.Now
	if now == nil {
		now = time.Now
	}
	e := wire.Envelope{Source: c.Domain, Target: q.Target, Endpoint: q.Endpoint, Room: q.Room, RequestID: q.ID,
		Time: uint64(max(now().UnixMilli(), 0))}
	e.SetBody(q.Body)
	if sign {
		if err := e.Sign(c.Key()); err != nil {
			return "", err
		}
	}
	b, err := e.Bytes()
	if err != nil {
		return "", err
	}
	return envelopeEncoding.EncodeToString(b), nil
}

// refused reads a problem; whatever else stands there is left out, since it
// would end up in logs and in front of users.
func (c *Caller) refused(q *Request, resp *http.Response) error {
	out := &Refused{Target: q.Target, Endpoint: q.Endpoint}
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxProblem))
	if err == nil && json.Unmarshal(b, &out.Problem) != nil {
		out.Problem = clientapi.Problem{Detail: "an answer that is no problem document"}
	}
	out.Problem.Status = resp.StatusCode // not what the body says
	out.Problem.Retry = min(max(out.Problem.Retry, 0), time.Hour.Milliseconds())
	return out
}
