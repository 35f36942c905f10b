package peering_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mimid/mimid/node/peering"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/wire"
)

const roomURI = "mimi://biloxi.example/r/clubhouse"

func echo(_ context.Context, in *peering.Incoming) (*peering.Response, error) {
	return &peering.Response{Body: fmt.Appendf(nil, "%s|%s|%s|%s|%s", in.Source, in.Endpoint, in.Subject, in.Room, in.Body)}, nil
}

func TestCall(t *testing.T) {
	w := start(t, peering.Config{Routes: []peering.Route{
		{Endpoint: "submitMessage", Handler: echo, InRoom: true, Idempotent: true},
		{Endpoint: "requestConsent", Handler: func(context.Context, *peering.Incoming) (*peering.Response, error) { return nil, nil }},
	}})
	resp, err := w.caller.Call(t.Context(), peering.Request{Target: here, Endpoint: "submitMessage", Subject: roomURI, Room: roomURI, Body: []byte("hello")})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("atlanta.example|submitMessage|"+roomURI+"|"+roomURI+"|hello", string(resp.Body)); diff != "" || resp.Status != 200 {
		t.Errorf("status %d, %s", resp.Status, diff)
	}
	resp, err = w.caller.Call(t.Context(), peering.Request{Target: here, Endpoint: "requestConsent", Subject: "a/../b ü%"})
	if err != nil || resp.Status != http.StatusCreated || len(resp.Body) != 0 {
		t.Errorf("consent: %v, %v: section 5.7 answers 201 without a body", resp, err)
	}
}

// refusal calls and returns the problem that must come back.
func (w *world) refusal(c *peering.Caller, q peering.Request) *peering.Refused {
	w.t.Helper()
	_, err := c.Call(w.t.Context(), q)
	refused, ok := errors.AsType[*peering.Refused](err)
	if !ok {
		w.t.Fatalf("got %v, not a refusal", err)
	}
	return refused
}

func (w *world) want(r *peering.Refused, status int, code clientapi.Code, text string) {
	w.t.Helper()
	if r.Problem.Status != status || r.Problem.Code != code || !strings.Contains(r.Problem.Detail, text) {
		w.t.Errorf("refused with %d %s %q, want %d %s and %q", r.Problem.Status, r.Problem.Code, r.Problem.Detail, status, code, text)
	}
}

func TestErrorsOfCall(t *testing.T) {
	block := make(chan struct{})
	w := start(t, peering.Config{Routes: []peering.Route{
		{Endpoint: "large", Handler: func(context.Context, *peering.Incoming) (*peering.Response, error) {
			return &peering.Response{Body: make([]byte, 101)}, nil
		}},
		{Endpoint: "slow", Handler: func(ctx context.Context, _ *peering.Incoming) (*peering.Response, error) {
			select {
			case <-block:
			case <-ctx.Done():
			}
			return nil, ctx.Err()
		}},
	}})
	defer close(block)
	call := func(q peering.Request) error {
		q.Subject = "x"
		_, err := w.caller.Call(t.Context(), q)
		return err
	}
	if err := call(peering.Request{Target: "nowhere.example", Endpoint: "slow"}); !errors.Is(err, peering.ErrUnknown) || !errors.Is(err, peering.ErrNotSent) {
		t.Errorf("unknown provider: %v", err)
	} else if p := peering.Problem(err); p == nil || p.Code != clientapi.CodeUnknownProvider {
		t.Errorf("unknown provider, for users: %v", p)
	}
	if err := call(peering.Request{Target: here, Endpoint: "large", MaxResponse: 100}); !errors.Is(err, peering.ErrTooLarge) || peering.Retry(err) {
		t.Errorf("large answer: %v", err)
	}
	w.caller.Timeout = 50 * time.Millisecond
	if err := call(peering.Request{Target: here, Endpoint: "slow"}); !errors.Is(err, peering.ErrUnreachable) || errors.Is(err, peering.ErrNotSent) || !peering.Retry(err) {
		t.Errorf("no answer: %v", err)
	}
	w.caller.Timeout = 0
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.caller.Call(ctx, peering.Request{Target: here, Endpoint: "slow", Subject: "x"}); !errors.Is(err, context.Canceled) || peering.Problem(err) != nil {
		t.Errorf("caller gone: %v", err)
	}
	w.client.CloseIdleConnections()
	w.server.CloseClientConnections()
	w.server.Listener.Close()
	if err := call(peering.Request{Target: here, Endpoint: "large"}); !errors.Is(err, peering.ErrUnreachable) || !errors.Is(err, peering.ErrNotSent) {
		t.Errorf("nobody listens: %v", err)
	}
	if err := call(peering.Request{Target: "a b", Endpoint: "large"}); !errors.Is(err, peering.ErrUnknown) {
		t.Errorf("no host name: %v", err)
	}
	if _, err := w.caller.Call(t.Context(), peering.Request{Target: here, Endpoint: "large", Subject: strings.Repeat("x", 3000)}); !errors.Is(err, peering.ErrTooLarge) {
		t.Errorf("long subject: %v", err)
	}
}

// What a hostile answer holds does not pass through.
func TestHostileAnswers(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"no problem": func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "<b>\x1b[31m", http.StatusBadGateway) },
		"status in the body differs": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(403)
			fmt.Fprint(w, `{"status":200,"code":"forbidden","detail":"x","retry_ms":99999999999}`)
		},
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://elsewhere.example/", http.StatusTemporaryRedirect)
		},
		"endless": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500); w.Write(make([]byte, 1<<20)) },
	} {
		t.Run(name, func(t *testing.T) {
			srv := httptest.NewServer(h)
			defer srv.Close()
			client := dialling(map[string]string{here: srv.Listener.Addr().String()})
			defer client.CloseIdleConnections()
			c := start(t, peering.Config{}).caller
			c.Client = client
			_, err := c.Call(t.Context(), peering.Request{Target: here, Endpoint: "x", Subject: "x"})
			refused, ok := errors.AsType[*peering.Refused](err)
			if !ok || refused.Problem.Status < 300 || refused.Problem.Retry > time.Hour.Milliseconds() || strings.ContainsAny(err.Error(), "\x1b") {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestHandlerErrors(t *testing.T) {
	var calls atomic.Int32
	w := start(t, peering.Config{Routes: []peering.Route{
		{Endpoint: "panics", Handler: func(context.Context, *peering.Incoming) (*peering.Response, error) { calls.Add(1); panic("boom 17") }},
		{Endpoint: "fails", Handler: func(context.Context, *peering.Incoming) (*peering.Response, error) {
			return nil, errors.New("disk secret 18")
		}},
		{Endpoint: "refuses", Handler: func(context.Context, *peering.Incoming) (*peering.Response, error) {
			return nil, fmt.Errorf("wrapped: %w", &clientapi.Problem{Status: 403, Code: clientapi.CodeForbidden, Detail: "not a participant"})
		}},
	}})
	r := w.refusal(w.caller, peering.Request{Target: here, Endpoint: "panics", Subject: "x", ID: peering.ID{1}})
	w.want(r, 500, clientapi.CodeInternal, "internal error")
	w.refusal(w.caller, peering.Request{Target: here, Endpoint: "panics", Subject: "x", ID: peering.ID{1}})
	if calls.Load() != 2 {
		t.Errorf("%d calls: what failed must be tried again", calls.Load())
	}
	r = w.refusal(w.caller, peering.Request{Target: here, Endpoint: "fails", Subject: "x"})
	w.want(r, 500, clientapi.CodeInternal, "internal error")
	if strings.Contains(r.Problem.Detail, "secret") {
		t.Errorf("internal text told to a peer: %s", r.Problem.Detail)
	}
	if log := w.log.String(); !strings.Contains(log, "boom 17") || !strings.Contains(log, "disk secret 18") {
		t.Errorf("log lacks the causes: %s", log)
	}
	r = w.refusal(w.caller, peering.Request{Target: here, Endpoint: "refuses", Subject: "x"})
	w.want(r, 403, clientapi.CodeForbidden, "not a participant")
	if p := peering.Problem(r); p == nil || p.Code != clientapi.CodeForbidden || r.Retry() {
		t.Errorf("for users: %v, retry %t", p, r.Retry())
	}
}

func TestDirectoryDocument(t *testing.T) {
	w := start(t, peering.Config{})
	resp, err := w.client.Get("http://" + here + wire.DirectoryPath)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b := make([]byte, 1<<16)
	n, _ := resp.Body.Read(b)
	d, err := wire.ParseDirectory(b[:n], wire.Limits{})
	if err != nil || d.URL(wire.EndpointNotify, "a/b") != "https://biloxi.example/v1/notify/a%2Fb" {
		t.Errorf("%v: %s", err, b[:n])
	}
}
