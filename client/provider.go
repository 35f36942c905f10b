package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/mimid/mimid/protocol/clientapi"
)

const (
	maxAnswer = 64 << 20 // of a JSON answer; a large piece of log in base64
	maxEvent  = 16 << 20 // of one event
	callTime  = 30 * time.Second
	// silence is how long a stream may say nothing; pings come every 20 s.
	silence = time.Minute
)

// provider speaks the client API. It is safe for concurrent use.
type provider struct {
	base  string // without the slash at the end
	http  *http.Client
	token string
}

func newProvider(base string, h *http.Client) (*provider, error) {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") {
		return nil, fmt.Errorf("%q has no https:// or http:// and host: %w", base, ErrURL)
	}
	return &provider{base: strings.TrimRight(base, "/"), http: h}, nil
}

// call makes one request; in and out may be nil. An answer other than 2xx is a
// *clientapi.Problem, anything else that goes wrong is ErrUnreachable.
func (p *provider) call(ctx context.Context, method, path string, in, out any) error {
	return p.callWithin(ctx, callTime, method, path, in, out)
}

func (p *provider) callWithin(ctx context.Context, within time.Duration, method, path string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("encoding request: %w", err)
		}
		body = bytes.NewReader(b)
	}
	resp, err := p.send(ctx, method, path, body, "application/json")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return decodeAnswer(resp, method+" "+path, out)
}

// decodeAnswer reads the body of an answer, into out unless that is nil.
func decodeAnswer(resp *http.Response, what string, out any) (err error) {
	if out == nil {
		_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswer))
	} else {
		err = json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(out)
	}
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return fmt.Errorf("%s was answered with no JSON: %w: %w: %w", what, ErrNoProvider, ErrUnreachable, err)
	}
	if err != nil {
		return fmt.Errorf("reading answer to %s: %w: %w", what, ErrUnreachable, err)
	}
	return nil
}

func (p *provider) send(ctx context.Context, method, path string, body io.Reader, accept string) (*http.Response, error) {
	return p.request(ctx, method, path, body, func(req *http.Request) {
		req.Header.Set("Accept", accept)
		if body != nil {
			req.Header.Set("Content-Type", "application/json")
		}
	})
}

// request makes a request whose header set completes.
func (p *provider) request(ctx context.Context, method, path string, body io.Reader, set func(*http.Request)) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, p.base+path, body)
	if err != nil {
		return nil, fmt.Errorf("making request: %w", err)
	}
	set(req)
	if p.token != "" {
		req.Header.Set("Authorization", "Bearer "+p.token)
	}
	resp, err := p.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	defer resp.Body.Close()
	problem := new(clientapi.Problem)
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(problem); err != nil || problem.Code == "" {
		problem = &clientapi.Problem{Code: clientapi.CodeUnreachable,
			Detail: fmt.Sprintf("%s %s was answered with status %d, not by a provider as it seems", method, req.URL.Path, resp.StatusCode)}
	}
	problem.Status = resp.StatusCode
	if problem.Retry == 0 {
		if d, err := time.ParseDuration(resp.Header.Get("Retry-After") + "s"); err == nil {
			problem.Retry = d.Milliseconds()
		}
	}
	return nil, problem
}

// transient says whether the same request may succeed later, and how long to
// wait at least.
func transient(err error) (bool, time.Duration) {
	var p *clientapi.Problem
	if !errors.As(err, &p) {
		return errors.Is(err, ErrUnreachable), 0
	}
	switch {
	case p.Code == clientapi.CodeQuota:
	case p.Status == http.StatusTooManyRequests, p.Status == http.StatusRequestTimeout, p.Status >= 500:
		return true, min(time.Duration(max(p.Retry, 0))*time.Millisecond, time.Hour)
	}
	return false, 0
}

// hasCode says whether the provider refused with a code.
func hasCode(err error, c clientapi.Code) bool {
	var p *clientapi.Problem
	return errors.As(err, &p) && p.Code == c
}

// frame is one event of the stream.
type frame struct {
	id, event string
	data      []byte
}

// stream opens the stream after a cursor and hands out its events until it ends,
// which is always an error. opened is called when the provider has answered.
// With steady the provider is to write as much at any time, whether there is something or not.
func (p *provider) stream(ctx context.Context, cursor string, steady bool, opened func(), take func(frame) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	quiet := time.AfterFunc(silence, func() { cancel(fmt.Errorf("stream silent for %v: %w", silence, ErrUnreachable)) })
	defer quiet.Stop()
	path := "/v1/events?cursor=" + url.QueryEscape(cursor)
	every := strconv.FormatInt(SteadyEvery.Milliseconds(), 10)
	if steady {
		path += "&steady=" + every
	}
	resp, err := p.send(ctx, http.MethodGet, path, nil, "text/event-stream")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if steady && resp.Header.Get(clientapi.HeaderSteady) != every {
		return fmt.Errorf("%w: it was to write events steadily, and does not say that it does: nothing is read", ErrProtocol)
	}
	opened()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(make([]byte, 0, 64<<10), maxEvent)
	var f frame
	for lines.Scan() {
		quiet.Reset(silence)
		line := lines.Bytes()
		if len(line) == 0 {
			if f.event != "" {
				if err := take(f); err != nil {
					return err
				}
			}
			f = frame{}
			continue
		}
		field, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(field) {
		case "id":
			f.id = string(value)
		case "event":
			f.event = string(value)
		case "data":
			if len(f.data)+len(value) > maxEvent {
				return fmt.Errorf("event of more than %d octets: %w", maxEvent, ErrProtocol)
			}
			f.data = append(f.data, value...)
		}
	}
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return fmt.Errorf("stream ended: %w: %w", ErrUnreachable, errors.Join(lines.Err(), io.EOF))
}
