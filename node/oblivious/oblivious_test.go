package oblivious_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/mimid/mimid/node/oblivious"
	"github.com/mimid/mimid/node/peering"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/ohttp"
)

// kept is what the asset store of a test answers.
type kept struct {
	data  []byte
	err   error
	asked []string // relay, room, url, range
}

func (k *kept) Oblivious(w http.ResponseWriter, req *http.Request, relay, room, url string) error {
	k.asked = append(k.asked, relay+" "+room+" "+url+" "+req.Header.Get("Range"))
	if k.err != nil {
		return k.err
	}
	w.Header().Set("X-Secret", "who keeps it")
	http.ServeContent(w, req, "", time.Time{}, bytes.NewReader(k.data))
	return nil
}

type world struct {
	t      *testing.T
	now    time.Time
	assets *kept
	key    ed25519.PrivateKey
	log    bytes.Buffer
	g      *oblivious.Gateway
	r      *oblivious.Relay
	calls  map[string]int
	fail   error // of the next call
}

// newWorld: the relay of biloxi.example, the gateway of atlanta.example.
func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, now: time.UnixMilli(1_800_000_000_000), assets: &kept{data: []byte("0123456789")}, calls: map[string]int{}}
	_, w.key, _ = ed25519.GenerateKey(nil)
	w.g = w.gateway("atlanta.example")
	var err error
	w.r, err = oblivious.NewRelay(oblivious.RelayConfig{Domain: "biloxi.example", Gateway: w.gateway("biloxi.example"), Caller: w, Now: func() time.Time { return w.now }})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) gateway(domain string) *oblivious.Gateway {
	w.t.Helper()
	g, err := oblivious.NewGateway(oblivious.GatewayConfig{Domain: domain, Keys: []ed25519.PrivateKey{w.key}, Assets: w.assets,
		Now: func() time.Time { return w.now }, Log: slog.New(slog.NewTextHandler(&w.log, nil))})
	if err != nil {
		w.t.Fatal(err)
	}
	return g
}

// Call is between the two providers.
func (w *world) Call(ctx context.Context, q peering.Request) (*peering.Response, error) {
	w.calls[q.Endpoint]++
	if err := w.fail; err != nil {
		w.fail = nil
		return nil, err
	}
	if q.Target != "atlanta.example" || q.Subject != q.Target || q.Room != "" {
		return nil, fmt.Errorf("%s is unknown: %w", q.Target, peering.ErrUnknown)
	}
	for _, r := range w.g.Routes() {
		if r.Endpoint == q.Endpoint {
			if len(q.Body) > r.MaxBody {
				w.t.Fatalf("%s takes %d octets at most, not %d", r.Endpoint, r.MaxBody, len(q.Body))
			}
			res, err := r.Handler(ctx, &peering.Incoming{Source: "biloxi.example", Endpoint: q.Endpoint, Subject: q.Subject, Body: q.Body})
			var p *clientapi.Problem
			if errors.As(err, &p) {
				err = &peering.Refused{Target: q.Target, Problem: *p}
			}
			if err == nil && len(res.Body) > q.MaxResponse {
				w.t.Fatalf("%d octets are answered, and %d expected", len(res.Body), q.MaxResponse)
			}
			return res, err
		}
	}
	w.t.Fatalf("no endpoint %s", q.Endpoint)
	return nil, nil
}

func (w *world) gatewayKey(gateway string, anew bool) ohttp.Key {
	w.t.Helper()
	raw, err := w.r.Keys(w.t.Context(), gateway, anew)
	if err != nil {
		w.t.Fatal(err)
	}
	s, err := ohttp.ParseSigned(raw)
	if err != nil {
		w.t.Fatal(err)
	}
	k, err := s.Verify(gateway, w.now, w.key.Public().(ed25519.PublicKey))
	if err != nil {
		w.t.Fatal(err)
	}
	return k
}

func (w *world) ask(gateway string, k ohttp.Key, q *ohttp.Request) (*ohttp.Answer, error) {
	w.t.Helper()
	return w.askRaw(gateway, k, q.Bytes())
}

func (w *world) askRaw(gateway string, k ohttp.Key, raw []byte) (*ohttp.Answer, error) {
	w.t.Helper()
	sealed, asked, err := ohttp.Seal(k, raw)
	if err != nil {
		w.t.Fatal(err)
	}
	back, err := w.r.Pass(w.t.Context(), gateway, sealed)
	if err != nil {
		return nil, err
	}
	if bytes.Contains(back, w.assets.data) {
		w.t.Error("the relay sees what is fetched")
	}
	raw, err = asked.Open(back)
	if err != nil {
		w.t.Fatal(err)
	}
	a, err := ohttp.ParseAnswer(raw)
	if err != nil {
		w.t.Fatal(err)
	}
	return a, nil
}

func get(fields ...ohttp.Field) *ohttp.Request {
	return &ohttp.Request{Method: "GET", Scheme: "https", Authority: "chicago.example", Path: "/v1/asset/00", Fields: fields}
}

func code(err error) clientapi.Code {
	var p *clientapi.Problem
	if errors.As(err, &p) {
		return p.Code
	}
	return clientapi.Code(fmt.Sprint(err))
}

func TestThroughARelay_5_10(t *testing.T) {
	w := newWorld(t)
	k := w.gatewayKey("atlanta.example", false)
	a, err := w.ask("atlanta.example", k, get(ohttp.Field{Name: "range", Value: "bytes=2-4"}, ohttp.Field{Name: oblivious.FieldRoom, Value: "mimi://atlanta.example/r/club"}))
	if err != nil || a.Status != 206 || string(a.Content) != "234" || a.Get("content-range") != "bytes 2-4/10" {
		t.Fatalf("%+v, %v", a, err)
	}
	if a.Get("x-secret") != "" {
		t.Errorf("passed on: %+v", a.Fields)
	}
	if got := w.assets.asked[0]; got != "biloxi.example mimi://atlanta.example/r/club https://chicago.example/v1/asset/00 bytes=2-4" {
		t.Errorf("asked %q", got)
	}
	if a, err := w.ask("atlanta.example", k, get()); err != nil || a.Status != 200 || string(a.Content) != "0123456789" {
		t.Errorf("the whole: %+v, %v", a, err)
	}
	if w.calls[oblivious.EndpointKeys] != 1 {
		t.Errorf("keys are fetched %d times", w.calls[oblivious.EndpointKeys])
	}
	// From its own provider nothing is hidden; it works all the same.
	if a, err := w.ask("biloxi.example", w.gatewayKey("biloxi.example", false), get()); err != nil || a.Status != 200 {
		t.Errorf("the own gateway: %+v, %v", a, err)
	}
}

func TestInnerRefusals(t *testing.T) {
	w := newWorld(t)
	k := w.gatewayKey("atlanta.example", false)
	w.assets.data = make([]byte, ohttp.MaxContent+1)
	for _, c := range []struct {
		name   string
		raw    []byte
		err    error // of the assets
		status int
		code   clientapi.Code
	}{
		{"no binary HTTP", []byte("GET / HTTP/1.1"), nil, 400, clientapi.CodeInvalid},
		{"another method", (&ohttp.Request{Method: "POST", Scheme: "https", Authority: "a", Path: "/"}).Bytes(), nil, 403, clientapi.CodeForbidden},
		{"not https", (&ohttp.Request{Method: "GET", Scheme: "http", Authority: "a", Path: "/"}).Bytes(), nil, 403, clientapi.CodeForbidden},
		{"no asset", get().Bytes(), &clientapi.Problem{Status: 403, Code: clientapi.CodeForbidden, Detail: "no open proxy"}, 403, clientapi.CodeForbidden},
		{"an internal error", get().Bytes(), errors.New("/var/secret is full"), 500, clientapi.CodeInternal},
		{"more than one answer holds", get().Bytes(), nil, 413, clientapi.CodeTooLarge},
	} {
		w.assets.err = c.err
		a, err := w.askRaw("atlanta.example", k, c.raw)
		if err != nil {
			t.Errorf("%s: the relay is told: %v", c.name, err)
			continue
		}
		var p clientapi.Problem
		if err := json.Unmarshal(a.Content, &p); err != nil || a.Status != c.status || p.Code != c.code || strings.Contains(p.Detail, "secret") {
			t.Errorf("%s: %d, %s, %v", c.name, a.Status, a.Content, err)
		}
	}
	if !strings.Contains(w.log.String(), "/var/secret is full") {
		t.Error("the operator is not told of an internal error")
	}
	w.assets.err = nil
	if a, err := w.ask("atlanta.example", k, get(ohttp.Field{Name: "range", Value: fmt.Sprintf("bytes=1-%d", ohttp.MaxContent)})); err != nil || a.Status != 206 || len(a.Content) != ohttp.MaxContent {
		t.Errorf("the largest piece: %v", err)
	}
}

func TestOuterRefusals(t *testing.T) {
	w := newWorld(t)
	for name, c := range map[string]struct {
		gateway string
		sealed  []byte
		code    clientapi.Code
	}{
		"garbage":       {"atlanta.example", []byte("garbage"), clientapi.CodeInvalid},
		"another key":   {"atlanta.example", make([]byte, 100), clientapi.CodeKeySet},
		"too large":     {"atlanta.example", make([]byte, oblivious.MaxRequest+1), clientapi.CodeTooLarge},
		"no domain":     {"a b", nil, clientapi.CodeInvalid},
		"unknown":       {"nowhere.example", make([]byte, 100), clientapi.CodeUnknownProvider},
		"the own, junk": {"biloxi.example", []byte("garbage"), clientapi.CodeInvalid},
	} {
		if _, err := w.r.Pass(t.Context(), c.gateway, c.sealed); code(err) != c.code {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := w.r.Keys(t.Context(), "a b", false); code(err) != clientapi.CodeInvalid {
		t.Errorf("keys of no domain: %v", err)
	}
	if len(w.assets.asked) > 0 {
		t.Errorf("asked for %q", w.assets.asked)
	}
}

// TestKeysChange_RFC9458_5_3: keys last a day and are taken for another one; after that, and
// after a restart, the relay is told, and asks anew, though not for each who says so.
func TestKeysChange_RFC9458_5_3(t *testing.T) {
	w := newWorld(t)
	works := func(k ohttp.Key) error {
		_, err := w.ask("atlanta.example", k, get())
		return err
	}
	old := w.gatewayKey("atlanta.example", false)
	for range 3 {
		w.gatewayKey("atlanta.example", true)
	}
	if n := w.calls[oblivious.EndpointKeys]; n != 1 {
		t.Errorf("within ten seconds keys are fetched %d times", n)
	}
	w.now = w.now.Add(25 * time.Hour)
	present := w.gatewayKey("atlanta.example", false)
	if present.ID != old.ID+1 || w.calls[oblivious.EndpointKeys] != 2 {
		t.Errorf("key %d after %d", present.ID, old.ID)
	}
	if err := errors.Join(works(present), works(old)); err != nil {
		t.Errorf("the day after: %v", err)
	}
	w.now = w.now.Add(25 * time.Hour)
	if err := works(old); code(err) != clientapi.CodeKeySet {
		t.Errorf("two days after: %v", err)
	}
	if err := works(present); err != nil {
		t.Errorf("the last one: %v", err)
	}
	// The gateway has restarted.
	w.g = w.gateway("atlanta.example")
	present = w.gatewayKey("atlanta.example", false)
	w.g = w.gateway("atlanta.example")
	if err := works(present); code(err) != clientapi.CodeKeySet {
		t.Errorf("after a restart: %v", err)
	}
	w.now = w.now.Add(11 * time.Second)
	if err := works(w.gatewayKey("atlanta.example", true)); err != nil {
		t.Errorf("with the keys it has then: %v", err)
	}
	// Long after, the one before is not taken any more.
	present = w.gatewayKey("atlanta.example", true)
	w.now = w.now.Add(72 * time.Hour)
	if err := works(present); code(err) != clientapi.CodeKeySet {
		t.Errorf("three days unused: %v", err)
	}
}

func TestRelayPassesErrors(t *testing.T) {
	w := newWorld(t)
	w.fail = fmt.Errorf("no answer: %w", peering.ErrUnreachable)
	if _, err := w.r.Keys(t.Context(), "atlanta.example", false); code(err) != clientapi.CodeUnreachable {
		t.Errorf("%v", err)
	}
	w.fail = &peering.Refused{Target: "atlanta.example", Problem: clientapi.Problem{Status: 429, Code: clientapi.CodeTooMany, Retry: 5000}}
	_, err := w.r.Pass(t.Context(), "atlanta.example", make([]byte, 100))
	if p, ok := errors.AsType[*clientapi.Problem](err); !ok || p.Code != clientapi.CodeTooMany || p.Retry != 5000 {
		t.Errorf("%v", err)
	}
}

// TestWellKnown_RFC9540_5: what providers find that speak MIMI only.
func TestWellKnown_RFC9540_5(t *testing.T) {
	w := newWorld(t)
	var path, body string
	h := w.g.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		path, body = r.URL.EscapedPath(), string(b)
	}))
	do := func(method, path, body string) *httptest.ResponseRecorder {
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, httptest.NewRequest(method, path, strings.NewReader(body)))
		return rec
	}
	rec := do("GET", oblivious.WellKnown, "")
	keys, err := ohttp.ParseKeys(rec.Body.Bytes())
	if err != nil || rec.Header().Get("Content-Type") != "application/ohttp-keys" || keys[0].ID != w.gatewayKey("atlanta.example", false).ID {
		t.Errorf("%v, %v, %v", keys, rec.Header(), err)
	}
	if do("POST", oblivious.WellKnown, "sealed"); path != "/v1/oblivious/atlanta.example" || body != "sealed" {
		t.Errorf("handed on as %s %q", path, body)
	}
	if do("GET", "/other", ""); path != "/other" {
		t.Errorf("handed on as %s", path)
	}
	if rec := do("DELETE", oblivious.WellKnown, ""); rec.Code != 405 {
		t.Errorf("%d", rec.Code)
	}
}

func TestConfig(t *testing.T) {
	if _, err := oblivious.NewGateway(oblivious.GatewayConfig{Domain: "a.example"}); !errors.Is(err, oblivious.ErrConfig) {
		t.Error(err)
	}
	if _, err := oblivious.NewRelay(oblivious.RelayConfig{Domain: "a.example"}); !errors.Is(err, oblivious.ErrConfig) {
		t.Error(err)
	}
}
