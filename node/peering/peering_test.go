package peering_test

import (
	"context"
	"errors"
	"fmt"
	"io"
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

// TestDirectoryDocument: section 5.1, and what providers that run mimid say beyond it.
// Only what is served is offered.
func TestDirectoryDocument(t *testing.T) {
	record, failing := []byte("record 1"), error(nil)
	w := start(t, peering.Config{Routes: []peering.Route{
		{Endpoint: "notify", Handler: func(context.Context, *peering.Incoming) (*peering.Response, error) { return nil, nil }},
		{Endpoint: "mimid-log", Handler: func(context.Context, *peering.Incoming) (*peering.Response, error) { return nil, nil }},
	}, Record: func(context.Context) ([]byte, error) { return record, failing }})
	get := func(method string) (int, *wire.Directory) {
		r, err := http.NewRequestWithContext(t.Context(), method, "http://"+here+wire.DirectoryPath, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := w.client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		d, err := wire.ParseDirectory(b, wire.Limits{})
		if (err == nil) != (resp.StatusCode == 200 && method == "GET") {
			t.Errorf("%s: %d %s", method, resp.StatusCode, b)
		}
		return resp.StatusCode, d
	}
	status, d := get("GET")
	if status != 200 || d.URL(wire.EndpointNotify, "a/b") != "https://biloxi.example/v1/notify/a%2Fb" || d.Template(wire.EndpointUpdate) != "" {
		t.Errorf("%d %+v", status, d)
	}
	if m, ok := d.Mimid(); !ok || m.Base != "https://biloxi.example/v1" || string(m.Record) != "record 1" {
		t.Errorf("%+v", m)
	}
	record = []byte("record 2")
	_, d = get("GET")
	if m, _ := d.Mimid(); string(m.Record) != "record 2" {
		t.Errorf("an old record: %q", m.Record)
	}
	if status, _ := get("HEAD"); status != 200 {
		t.Errorf("HEAD: %d", status)
	}
	if status, _ := get("POST"); status != 405 {
		t.Errorf("POST: %d", status)
	}
	failing = errors.New("not sealed")
	if status, _ := get("GET"); status != 503 {
		t.Errorf("without a record: %d", status)
	}
	w = start(t, peering.Config{})
	if status, _ := get("GET"); status != 404 {
		t.Errorf("without an endpoint: %d", status)
	}
}

// TestPlain: a provider that speaks MIMI and nothing of ours is known by its channel.
func TestPlain(t *testing.T) {
	var got []*peering.Incoming
	note := func(_ context.Context, in *peering.Incoming) (*peering.Response, error) {
		got = append(got, in)
		return nil, nil
	}
	certified := there
	cfg := peering.Config{
		Routes: []peering.Route{{Endpoint: "submitMessage", InRoom: true, Idempotent: true, Handler: note},
			{Endpoint: "requestConsent", Handler: note}, {Endpoint: "mimid-log", Handler: note}},
		Certified: func(*http.Request) (string, bool) { return certified, certified != "" },
		PlainIDs:  []byte("a secret of this provider"),
	}
	w := start(t, cfg)
	post := func(endpoint, subject, body string) int {
		resp, err := w.client.Post("http://"+here+"/v1/"+endpoint+"/"+strings.NewReplacer(":", "%3A", "/", "%2F").Replace(subject), "", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	ids := map[peering.ID]string{}
	id := func(want int, what, endpoint, subject, body string) peering.ID {
		t.Helper()
		got = nil
		if status := post(endpoint, subject, body); status != want || len(got) != 1 {
			t.Fatalf("%s: %d, %d calls", what, status, len(got))
		}
		if got[0].Source != certified || got[0].Subject != subject || string(got[0].Body) != body || got[0].Endpoint != endpoint || !got[0].Plain {
			t.Errorf("%s: %+v", what, got[0])
		}
		return got[0].ID
	}
	fresh := func(want int, what, endpoint, subject, body string) peering.ID {
		t.Helper()
		x := id(want, what, endpoint, subject, body)
		if was, ok := ids[x]; ok {
			t.Errorf("%s has the id of %s", what, was)
		}
		ids[x] = what
		return x
	}
	first := fresh(200, "a message", "submitMessage", roomURI, "hello")
	if got[0].Room != roomURI {
		t.Errorf("room %q", got[0].Room)
	}
	if again := id(200, "the same", "submitMessage", roomURI, "hello"); again != first {
		t.Error("the same message has another id")
	}
	fresh(200, "another message", "submitMessage", roomURI, "hello!")
	fresh(200, "another room", "submitMessage", roomURI+"x", "hello")
	certified = "chicago.example"
	fresh(200, "another source", "submitMessage", roomURI, "hello")
	certified = there
	fresh(201, "consent", "requestConsent", "mimi://biloxi.example/u/bob", "x")
	if got[0].Room != "" {
		t.Errorf("room %q", got[0].Room)
	}
	fresh(201, "consent again, which is meant anew", "requestConsent", "mimi://biloxi.example/u/bob", "x")
	got = nil
	if status := post("mimid-log", "x", "y"); status != 400 || got != nil {
		t.Errorf("an endpoint of ours without an envelope: %d", status)
	}
	certified = ""
	if status := post("submitMessage", roomURI, "hello"); status != 400 || got != nil {
		t.Errorf("without a certificate: %d", status)
	}

	// An envelope that is there must agree with the certificate, and is judged in full.
	certified = there
	if _, err := w.caller.Call(t.Context(), peering.Request{Target: here, Endpoint: "mimid-log", Subject: "x"}); err != nil {
		t.Error(err)
	}
	certified, got = "chicago.example", nil
	_, err := w.caller.Call(t.Context(), peering.Request{Target: here, Endpoint: "mimid-log", Subject: "x"})
	if r, ok := errors.AsType[*peering.Refused](err); !ok || r.Problem.Status != 401 || r.Problem.Code != peering.CodeSource || got != nil {
		t.Errorf("the envelope of another provider: %v", err)
	}

	cfg.PlainIDs = []byte("the secret of another provider")
	w, certified = start(t, cfg), there
	fresh(200, "the message, at another provider", "submitMessage", roomURI, "hello")
	cfg.PlainIDs = nil
	w, got = start(t, cfg), nil
	if status := post("submitMessage", roomURI, "hello"); status != 400 || got != nil {
		t.Errorf("without a secret: %d", status)
	}
	cfg.PlainIDs = []byte("short")
	cfg.Domain, cfg.Directory = here, book()
	if _, err := peering.NewServer(cfg); !errors.Is(err, peering.ErrConfig) {
		t.Errorf("a short secret: %v", err)
	}
}
