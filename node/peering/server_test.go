package peering_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mimid/mimid/node/peering"
	"github.com/mimid/mimid/node/ration"
	"github.com/mimid/mimid/overlay"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/wire"
)

// raw is a request as an attacker makes it: every part can be wrong.
type raw struct {
	method, path string
	body         []byte
	envelope     wire.Envelope
	signer       string // domain whose key signs; "" for none
	header       string // instead of the envelope, if not ""
	twice        bool
}

// good is a request that passes.
func (w *world) good() *raw {
	return &raw{method: "POST", path: "/v1/update/" + strings.NewReplacer(":", "%3A", "/", "%2F").Replace(roomURI), body: []byte("hello"), signer: there,
		envelope: wire.Envelope{Source: there, Target: here, Endpoint: "update", Room: roomURI, RequestID: peering.ID{7}, Time: uint64(w.clock.Now().UnixMilli())}}
}

func (w *world) send(q *raw) (int, clientapi.Problem) {
	w.t.Helper()
	if q.envelope.BodyHash == [32]byte{} {
		q.envelope.SetBody(q.body)
	}
	if q.signer != "" {
		if err := q.envelope.Sign(key(q.signer)); err != nil {
			w.t.Fatal(err)
		}
	}
	if q.header == "" {
		b, err := q.envelope.Bytes()
		if err != nil {
			w.t.Fatal(err)
		}
		q.header = base64.RawURLEncoding.EncodeToString(b)
	}
	r, err := http.NewRequestWithContext(w.t.Context(), q.method, "http://"+here, bytes.NewReader(q.body))
	if err != nil {
		w.t.Fatal(err)
	}
	r.URL.Opaque = "//" + here + q.path // as it is, nothing cleaned
	r.Header["Mimi-Envelope"] = []string{q.header}
	if q.twice {
		r.Header.Add("Mimi-Envelope", q.header)
	}
	resp, err := w.client.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	var p clientapi.Problem
	if resp.StatusCode != 200 {
		if err := json.Unmarshal(b, &p); err != nil || p.Detail == "" || resp.Header.Get("Content-Type") != "application/problem+json" || p.Status != resp.StatusCode {
			w.t.Errorf("status %d with %q: not a problem with a sentence", resp.StatusCode, b)
		}
	}
	return resp.StatusCode, p
}

func TestRefusals(t *testing.T) {
	calls := 0
	w := start(t, peering.Config{
		Limits: peering.Limits{Past: time.Minute, Future: 30 * time.Second},
		Routes: []peering.Route{{Endpoint: "update", InRoom: true, MaxBody: 100,
			Handler: func(context.Context, *peering.Incoming) (*peering.Response, error) { calls++; return nil, nil }}},
		Directory: func() phoneBook {
			b := book()
			b["gone.example"] = fmt.Errorf("%w: gone.example", overlay.ErrExpired)
			b["twoheaded.example"] = overlay.ErrConflict
			return b
		}(),
	})
	if status, p := w.send(w.good()); status != 200 || calls != 1 {
		t.Fatalf("the request that all others are made from: %d %v", status, p)
	}
	for _, x := range []struct {
		name   string
		change func(q *raw)
		status int
		code   clientapi.Code
		text   string
	}{
		{"GET", func(q *raw) { q.method = "GET" }, 405, peering.CodeMethod, "POST"},
		{"unknown endpoint", func(q *raw) { q.path = "/v1/nothing/x" }, 404, peering.CodeEndpoint, "nothing"},
		{"no subject", func(q *raw) { q.path = "/v1/update" }, 404, peering.CodeEndpoint, "/v1/ENDPOINT/SUBJECT"},
		{"empty subject", func(q *raw) { q.path = "/v1/update/" }, 400, clientapi.CodeInvalid, "segment"},
		{"other root", func(q *raw) { q.path = "/v2/update/x" }, 404, peering.CodeEndpoint, "/v2"},
		{"dots in the path", func(q *raw) { q.path = "/v1/x/../update/x" }, 400, clientapi.CodeInvalid, "segment"},
		{"parent as subject", func(q *raw) { q.path = "/v1/update/.." }, 400, clientapi.CodeInvalid, "segment"},
		{"encoded parent", func(q *raw) { q.path = "/v1/update/%2E%2E" }, 400, clientapi.CodeInvalid, "segment"},
		{"two segments", func(q *raw) { q.path += "/x" }, 400, clientapi.CodeInvalid, "segment"},
		{"other encoding", func(q *raw) { q.path = strings.ToLower(q.path) }, 400, clientapi.CodeInvalid, "segment"},
		{"needless encoding", func(q *raw) { q.path = "/v1/update/%61" }, 400, clientapi.CodeInvalid, "segment"},
		{"long subject", func(q *raw) { q.path = "/v1/update/" + strings.Repeat("x", 2049) }, 414, clientapi.CodeTooLarge, "2049"},
		{"very long subject", func(q *raw) { q.path = "/v1/update/" + strings.Repeat("x", 10000) }, 414, clientapi.CodeTooLarge, ""},
		{"long body", func(q *raw) { q.body = make([]byte, 101) }, 413, clientapi.CodeTooLarge, "101"},
		{"no envelope", func(q *raw) { q.header = " " }, 400, peering.CodeEnvelope, ""},
		{"two envelopes", func(q *raw) { q.twice = true }, 400, peering.CodeEnvelope, "2 headers"},
		{"envelope not base64", func(q *raw) { q.header = "$$" }, 400, peering.CodeEnvelope, "base64url"},
		{"envelope malformed", func(q *raw) { q.header = "AAAA" }, 400, peering.CodeEnvelope, ""},
		{"envelope too long", func(q *raw) { q.header = strings.Repeat("A", 9000) }, 400, peering.CodeEnvelope, ""},
		{"for another provider", func(q *raw) { q.envelope.Target = "c.example" }, 421, peering.CodeTarget, "c.example"},
		{"for another endpoint", func(q *raw) { q.envelope.Endpoint = "notify" }, 400, peering.CodeEnvelope, "notify"},
		{"for another room", func(q *raw) { q.envelope.Room = "mimi://a.example/r/x" }, 400, peering.CodeEnvelope, "room"},
		{"for no room", func(q *raw) { q.envelope.Room = "" }, 400, peering.CodeEnvelope, "room"},
		{"id zero", func(q *raw) { q.envelope.RequestID = peering.ID{} }, 400, peering.CodeEnvelope, "zero"},
		{"too old", func(q *raw) { q.envelope.Time -= 60_001 }, 401, peering.CodeClock, "2026-11-23T03:59:00.999Z, and here it is 2026-11-23T04:00:01.000Z"},
		{"from the future", func(q *raw) { q.envelope.Time += 30_001 }, 401, peering.CodeClock, "30s ahead"},
		{"from the far future", func(q *raw) { q.envelope.Time = 1<<64 - 1 }, 401, peering.CodeClock, "ahead"},
		{"not signed", func(q *raw) { q.signer = "" }, 401, peering.CodeSource, "not signed"},
		{"signed by another provider", func(q *raw) { q.signer = "mallory.example" }, 401, peering.CodeSource, "provider key of atlanta.example"},
		{"names another source", func(q *raw) { q.envelope.Source = here }, 401, peering.CodeSource, here},
		{"another body", func(q *raw) { q.envelope.BodyHash = [32]byte{1} }, 400, peering.CodeEnvelope, "body"},
		{"unknown source", func(q *raw) { q.envelope.Source = "nowhere.example" }, 503, peering.CodeUnresolved, "nowhere.example"},
		{"expired record", func(q *raw) { q.envelope.Source = "gone.example" }, 503, peering.CodeUnresolved, "expired"},
		{"two keys claim the source", func(q *raw) { q.envelope.Source = "twoheaded.example" }, 503, peering.CodeUnresolved, "another key"},
	} {
		t.Run(x.name, func(t *testing.T) {
			q := w.good()
			q.envelope.RequestID[1]++ // another request
			x.change(q)
			status, p := w.send(q)
			if status != x.status || p.Code != x.code || !strings.Contains(p.Detail, x.text) {
				t.Errorf("%d %s %q, want %d %s and %q", status, p.Code, p.Detail, x.status, x.code, x.text)
			}
		})
	}
	if calls != 1 {
		t.Errorf("%d refused requests reached the handler", calls-1)
	}
	// The bounds of the time window are inside.
	for _, d := range []int64{-1000, 30_000} { // not before the start of the server
		q := w.good()
		q.envelope.RequestID[2]++
		q.envelope.RequestID[3] = byte(d)
		q.envelope.Time = uint64(int64(q.envelope.Time) + d)
		if status, p := w.send(q); status != 200 {
			t.Errorf("%d ms off: %v", d, p)
		}
	}
}

// A channel that proves its source needs no signature, and no other source.
func TestChannelProves(t *testing.T) {
	peer := atomic.Pointer[string]{}
	w := start(t, peering.Config{
		Routes: []peering.Route{{Endpoint: "update", Handler: echo, InRoom: true, Idempotent: true}},
		Peer:   func(*http.Request) (string, bool) { p := peer.Load(); return *p, *p != "" },
	})
	for node, want := range map[string]int{"node of " + there: 200, "node of " + here: 401, "": 401} {
		peer.Store(&node)
		q := w.good()
		q.signer = ""
		if status, p := w.send(q); status != want {
			t.Errorf("unsigned from %q: %d %v, want %d", node, status, p, want)
		}
	}
	// A bad signature is one on any channel.
	node := "node of " + there
	peer.Store(&node)
	q := w.good()
	q.signer = "mallory.example"
	if status, _ := w.send(q); status != 401 {
		t.Errorf("badly signed from a recorded node: %d", status)
	}
}

// A certificate that names the source stands for the signature at MIMI's endpoints, which
// its holder may call without an envelope, too. Ours take the provider key.
func TestCertificateStandsForSignature(t *testing.T) {
	certified := there
	w := start(t, peering.Config{
		Routes: []peering.Route{{Endpoint: "update", Handler: echo, InRoom: true, Idempotent: true},
			{Endpoint: "mimid-log", Handler: echo, Idempotent: true}},
		Certified: func(*http.Request) (string, bool) { return certified, certified != "" },
	})
	unsigned := func(endpoint, subject string) int {
		q := w.good()
		q.signer, q.envelope.Endpoint = "", endpoint
		if endpoint != "update" {
			q.envelope.Room, q.path = "", "/v1/"+endpoint+"/"+subject
		}
		status, _ := w.send(q)
		return status
	}
	if status := unsigned("update", roomURI); status != 200 {
		t.Errorf("with the certificate: %d", status)
	}
	if status := unsigned("mimid-log", "x"); status != 401 {
		t.Errorf("an endpoint of ours: %d", status)
	}
	for _, other := range []string{here, ""} {
		certified = other
		if status := unsigned("update", roomURI); status != 401 {
			t.Errorf("with the certificate of %q: %d", other, status)
		}
	}
	certified = there
	q := w.good()
	q.signer = "mallory.example"
	if status, _ := w.send(q); status != 401 {
		t.Errorf("a bad signature beside a good certificate: %d", status)
	}
	q = w.good()
	q.signer, q.body = "", append(q.body, 'x')
	q.envelope.SetBody([]byte("hello"))
	if status, _ := w.send(q); status != 400 {
		t.Errorf("another body than the envelope's: %d", status)
	}

	// A caller that thinks so sends no signature, and one when it is not believed.
	var signed []bool
	w.client.Transport = noting{w.client.Transport, func(r *http.Request) {
		b, _ := base64.RawURLEncoding.DecodeString(r.Header.Get("Mimi-Envelope"))
		e, err := wire.ParseEnvelope(b, wire.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		signed = append(signed, len(e.Signature) > 0)
	}}
	w.caller.Proven = func(_ context.Context, target, endpoint string) bool { return target == here && endpoint == "update" }
	for _, x := range []struct {
		why, certified, endpoint string
		want                     []bool
	}{
		{"certified", there, "update", []bool{false}},
		{"not certified after all", "", "update", []bool{false, true}},
		{"an endpoint of ours", there, "mimid-log", []bool{true}},
	} {
		certified, signed = x.certified, nil
		res, err := w.caller.Call(t.Context(), peering.Request{Target: here, Endpoint: x.endpoint, Subject: roomURI, Room: roomURI, Body: []byte("hello")})
		if err != nil || !slices.Equal(signed, x.want) {
			t.Errorf("%s: %v; signed %v, want %v; %v", x.why, err, signed, x.want, res)
		}
	}
}

// noting lets see what is sent.
type noting struct {
	http.RoundTripper
	note func(*http.Request)
}

func (n noting) RoundTrip(r *http.Request) (*http.Response, error) {
	n.note(r)
	return n.RoundTripper.RoundTrip(r)
}

func TestAliases(t *testing.T) {
	w := start(t, peering.Config{Aliases: []string{"k51abc.peer.invalid"}, Routes: []peering.Route{{Endpoint: "update", Handler: echo, InRoom: true}}})
	for target, want := range map[string]int{here: 200, "k51abc.peer.invalid": 200, "k51abd.peer.invalid": 421} {
		q := w.good()
		q.envelope.Target = target
		q.envelope.RequestID[1] = byte(len(target)) + target[3]
		if status, p := w.send(q); status != want {
			t.Errorf("for %s: %d %v, want %d", target, status, p, want)
		}
	}
}

func TestReplays(t *testing.T) {
	var calls atomic.Int32
	count := func(_ context.Context, in *peering.Incoming) (*peering.Response, error) {
		n := calls.Add(1)
		if bytes.HasPrefix(in.Body, []byte("large")) {
			return &peering.Response{Body: make([]byte, 20<<10)}, nil
		}
		return &peering.Response{Status: 201, Body: fmt.Appendf(nil, "answer %d", n)}, nil
	}
	w := start(t, peering.Config{Routes: []peering.Route{
		{Endpoint: "once", Handler: count}, {Endpoint: "again", Handler: count, Idempotent: true}, {Endpoint: "other", Handler: count},
		{Endpoint: "refuses", Handler: func(context.Context, *peering.Incoming) (*peering.Response, error) {
			calls.Add(1)
			return nil, &clientapi.Problem{Status: 403, Code: clientapi.CodeForbidden, Detail: fmt.Sprint("refused ", calls.Load())}
		}},
	}})
	call := func(c *peering.Caller, endpoint, body string, id byte) string {
		resp, err := c.Call(t.Context(), peering.Request{Target: here, Endpoint: endpoint, Subject: "x", ID: peering.ID{id}, Body: []byte(body)})
		if refused, ok := errors.AsType[*peering.Refused](err); ok {
			return fmt.Sprint(refused.Problem.Status, " ", refused.Problem.Code, " ", refused.Problem.Detail)
		}
		if err != nil {
			return err.Error()
		}
		return fmt.Sprint(resp.Status, " ", string(resp.Body[:min(20, len(resp.Body))]))
	}
	same := func(want, got string) {
		t.Helper()
		if !strings.HasPrefix(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	same("201 answer 1", call(w.caller, "once", "a", 1))
	w.clock.add(3 * time.Minute)
	same("201 answer 1", call(w.caller, "once", "a", 1)) // signed anew, at another time
	same("409 replayed", call(w.caller, "once", "b", 1))
	same("409 replayed", call(w.caller, "other", "a", 1))
	same("201 answer 2", call(w.caller, "once", "a", 2))
	other := *w.caller
	other.Domain, other.Key = here, func() ed25519.PrivateKey { return key(here) }
	same("201 answer 3", call(&other, "once", "b", 1)) // another source's ids are its own
	same("201 answer 4", call(w.caller, "again", "a", 9))
	same("201 answer 5", call(w.caller, "again", "a", 9))
	same("403 forbidden refused 6", call(w.caller, "refuses", "a", 10))
	same("403 forbidden refused 6", call(w.caller, "refuses", "a", 10))
	same("200 ", call(w.caller, "once", "large", 11))
	same("409 replayed request", call(w.caller, "once", "large", 11))
	// After the window nothing is remembered, and the envelope itself is too old.
	w.clock.add(11 * time.Minute)
	same("201 answer 8", call(w.caller, "once", "a", 1))
}

// The same request twice at one time: one call, one answer.
func TestReplayInWork(t *testing.T) {
	var calls atomic.Int32
	release := make(chan struct{})
	w := start(t, peering.Config{Routes: []peering.Route{{Endpoint: "once", Handler: func(context.Context, *peering.Incoming) (*peering.Response, error) {
		n := calls.Add(1)
		<-release
		if n == 1 {
			return nil, errors.New("comes to nothing")
		}
		return &peering.Response{Body: []byte{byte(n)}}, nil
	}}}})
	var wg sync.WaitGroup
	answers := make(chan string, 3)
	for range 3 {
		wg.Go(func() {
			resp, err := w.caller.Call(t.Context(), peering.Request{Target: here, Endpoint: "once", Subject: "x", ID: peering.ID{1}})
			if err != nil {
				answers <- "failed"
				return
			}
			answers <- fmt.Sprint(resp.Body)
		})
	}
	release <- struct{}{} // the first fails, another takes its place
	release <- struct{}{}
	wg.Wait()
	close(answers)
	var got []string
	for a := range answers {
		got = append(got, a)
	}
	slices.Sort(got)
	if fmt.Sprint(got) != "[[2] [2] failed]" || calls.Load() != 2 {
		t.Errorf("%v after %d calls", got, calls.Load())
	}
}

func TestReplayMemoryIsBounded(t *testing.T) {
	w := start(t, peering.Config{Limits: peering.Limits{Remembered: 3}, Routes: []peering.Route{{Endpoint: "once", Handler: echo}}})
	q := peering.Request{Target: here, Endpoint: "once", Subject: "x"}
	for i := range 3 {
		q.ID = peering.ID{byte(i + 1)}
		if _, err := w.caller.Call(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	q.ID = peering.ID{9}
	r := w.refusal(w.caller, q)
	w.want(r, 429, clientapi.CodeTooMany, "remembered")
	if r.Problem.Retry != (10 * time.Minute).Milliseconds() {
		t.Errorf("retry in %d ms", r.Problem.Retry)
	}
	w.clock.add(10*time.Minute + time.Second)
	if _, err := w.caller.Call(t.Context(), q); err != nil {
		t.Errorf("after the window: %v", err)
	}
}

// A server that has just started does not know what it did before.
func TestRestart(t *testing.T) {
	w := start(t, peering.Config{Routes: []peering.Route{{Endpoint: "once", Handler: echo}, {Endpoint: "update", Handler: echo, Idempotent: true}}})
	w.clock.add(-2 * time.Second) // the requests were made before
	r := w.refusal(w.caller, peering.Request{Target: here, Endpoint: "once", Subject: "x"})
	w.want(r, 503, clientapi.CodeUnavailable, "started after")
	if !r.Retry() || r.Problem.Retry != 1000 {
		t.Errorf("retry %t in %d ms", r.Retry(), r.Problem.Retry)
	}
	if _, err := w.caller.Call(t.Context(), peering.Request{Target: here, Endpoint: "update", Subject: "x"}); err != nil {
		t.Errorf("an idempotent endpoint: %v", err)
	}
}

// A server that has no peers yet will have some in a moment, so who asks shall not
// wait as long as for one that looked the source up and did not find it.
func TestRetryOfUnresolved(t *testing.T) {
	for err, want := range map[error]int64{overlay.ErrNoPeers: 1000, overlay.ErrUnknownProvider: 5000} {
		w := start(t, peering.Config{Directory: phoneBook{there: fmt.Errorf("%w: looking up", err)},
			Routes: []peering.Route{{Endpoint: "update", Handler: echo, Idempotent: true}}})
		r := w.refusal(w.caller, peering.Request{Target: here, Endpoint: "update", Subject: "x"})
		w.want(r, 503, peering.CodeUnresolved, there)
		if r.Problem.Retry != want {
			t.Errorf("%v: retry in %d ms, expected %d", err, r.Problem.Retry, want)
		}
	}
}

func TestRates(t *testing.T) {
	w := start(t, peering.Config{
		Limits: peering.Limits{Requests: ration.Config{PerSecond: 1, Burst: 3}, Octets: ration.Config{PerSecond: 100, Burst: 1000}},
		Routes: []peering.Route{{Endpoint: "update", Handler: echo, Idempotent: true}},
	})
	q := peering.Request{Target: here, Endpoint: "update", Subject: "x", Body: make([]byte, 450)}
	for range 2 {
		if _, err := w.caller.Call(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	r := w.refusal(w.caller, q)
	w.want(r, 429, clientapi.CodeTooMany, "octets")
	if r.Problem.Retry != 3500 {
		t.Errorf("%d ms until 450 octets are there, want 3500", r.Problem.Retry)
	}
	q.Body = nil
	r = w.refusal(w.caller, q)
	w.want(r, 429, clientapi.CodeTooMany, "requests")
	w.clock.add(time.Second)
	if _, err := w.caller.Call(t.Context(), q); err != nil {
		t.Errorf("a second later: %v", err)
	}
}

// Requests in work are bounded per source, and their bodies over all.
func TestInWork(t *testing.T) {
	release, entered := make(chan struct{}), make(chan struct{}, 9)
	w := start(t, peering.Config{
		Limits: peering.Limits{InWork: 2, Memory: 100},
		Peer:   func(r *http.Request) (string, bool) { return r.Header.Get("Idempotency-Key"), true }, // each its own peer
		Routes: []peering.Route{{Endpoint: "update", Idempotent: true, Handler: func(context.Context, *peering.Incoming) (*peering.Response, error) {
			entered <- struct{}{}
			<-release
			return nil, nil
		}}},
	})
	var wg sync.WaitGroup
	defer wg.Wait()
	q := peering.Request{Target: here, Endpoint: "update", Subject: "x", Body: make([]byte, 40)}
	for range 2 {
		wg.Go(func() {
			if _, err := w.caller.Call(t.Context(), q); err != nil {
				t.Error(err)
			}
		})
	}
	<-entered
	<-entered
	r := w.refusal(w.caller, q)
	w.want(r, 429, clientapi.CodeTooMany, "memory")
	q.Body = nil
	r = w.refusal(w.caller, q)
	w.want(r, 429, clientapi.CodeTooMany, "in work")
	close(release)
	wg.Wait()
	for range 5 { // what was taken has been given back
		if _, err := w.caller.Call(t.Context(), peering.Request{Target: here, Endpoint: "update", Subject: "x", Body: make([]byte, 100)}); err != nil {
			t.Error(err)
		}
	}
}

// A peer that stalls in the middle of a body is cut off, and the others go on.
func TestStall(t *testing.T) {
	w := start(t, peering.Config{Limits: peering.Limits{BodyTimeout: 100 * time.Millisecond}, Routes: []peering.Route{{Endpoint: "update", Handler: echo, InRoom: true}}})
	q := w.good()
	q.envelope.SetBody(q.body)
	if err := q.envelope.Sign(key(there)); err != nil {
		t.Fatal(err)
	}
	b, err := q.envelope.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", w.server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: %s\r\nMimi-Envelope: %s\r\nContent-Length: 5\r\n\r\nhe", q.path, here, base64.RawURLEncoding.EncodeToString(b))
	c.SetReadDeadline(time.Now().Add(10 * time.Second))
	answer, err := io.ReadAll(c) // until the server closes
	if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 408") || !strings.Contains(string(answer), `"stalled"`) {
		t.Errorf("%v: %s", err, answer)
	}
	if status, p := w.send(w.good()); status != 200 {
		t.Errorf("after it: %v", p)
	}
}

func TestNoLength(t *testing.T) {
	w := start(t, peering.Config{Routes: []peering.Route{{Endpoint: "update", Handler: echo}}})
	r, err := http.NewRequest("POST", "http://"+here+"/v1/update/x", io.MultiReader(strings.NewReader("x")))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := w.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusLengthRequired {
		t.Errorf("a chunked body: %d", resp.StatusCode)
	}
}

func TestConfig(t *testing.T) {
	route := peering.Route{Endpoint: "x", Handler: echo}
	for name, cfg := range map[string]peering.Config{
		"no domain":        {Directory: book()},
		"no directory":     {Domain: here},
		"twice":            {Domain: here, Directory: book(), Routes: []peering.Route{route, route}},
		"no handler":       {Domain: here, Directory: book(), Routes: []peering.Route{{Endpoint: "x"}}},
		"slash in a route": {Domain: here, Directory: book(), Routes: []peering.Route{{Endpoint: "x/y", Handler: echo}}},
		"directory base":   {Domain: here, Directory: book(), DirectoryBase: "http://plain.example"},
	} {
		if _, err := peering.NewServer(cfg); !errors.Is(err, peering.ErrConfig) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// BenchmarkCall measures a whole request over loopback TCP, with one signature
// made and one checked.
func BenchmarkCall(b *testing.B) {
	s, err := peering.NewServer(peering.Config{Domain: here, Directory: book(),
		Limits: peering.Limits{Requests: ration.Config{PerSecond: 1e9, Burst: 1e9}, Octets: ration.Config{PerSecond: 1e12, Burst: 1e12}},
		Routes: []peering.Route{{Endpoint: "update", Handler: echo, Idempotent: true}}})
	if err != nil {
		b.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	srv := &http.Server{Handler: s}
	go srv.Serve(l)
	client := dialling(map[string]string{here: l.Addr().String()})
	b.Cleanup(func() { client.CloseIdleConnections(); srv.Close() })
	c := &peering.Caller{Domain: there, Key: func() ed25519.PrivateKey { return key(there) }, Client: client}
	body := make([]byte, 1000)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Call(b.Context(), peering.Request{Target: here, Endpoint: "update", Subject: roomURI, Body: body}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkEnvelope measures the signature alone.
func BenchmarkEnvelope(b *testing.B) {
	k := key(there)
	e := wire.Envelope{Source: there, Target: here, Endpoint: "update", RequestID: peering.ID{1}}
	e.SetBody(nil)
	b.Run("sign", func(b *testing.B) {
		for b.Loop() {
			e.Sign(k)
		}
	})
	b.Run("verify", func(b *testing.B) {
		pub := k.Public().(ed25519.PublicKey)
		for b.Loop() {
			if _, err := e.Verify(wire.Expected{Source: there, Key: pub, Target: here, Endpoint: "update", Now: time.UnixMilli(0)}); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// FuzzEnvelope: no header makes the server panic or reach the handler.
func FuzzEnvelope(f *testing.F) {
	f.Add("AQ")
	f.Add(strings.Repeat("A", 300))
	s, err := peering.NewServer(peering.Config{Domain: here, Directory: book(), Routes: []peering.Route{{Endpoint: "update",
		Handler: func(context.Context, *peering.Incoming) (*peering.Response, error) { panic("reached") }}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, header string) {
		w := recorder{h: http.Header{}}
		r, err := http.NewRequest("POST", "http://"+here+"/v1/update/x", strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		r.Header["Mimi-Envelope"] = []string{header}
		s.ServeHTTP(&w, r)
		if w.status < 400 || w.status == 500 {
			t.Errorf("status %d", w.status)
		}
	})
}

type recorder struct {
	h      http.Header
	status int
}

func (r *recorder) Header() http.Header         { return r.h }
func (r *recorder) Write(b []byte) (int, error) { return len(b), nil }
func (r *recorder) WriteHeader(status int)      { r.status = status }

// movedBook is a directory that knows a source by its former key until it looks anew.
type movedBook struct {
	phoneBook
	now   phoneBook
	asked int
}

func (b *movedBook) Refresh(ctx context.Context, domain string) (*peering.Provider, error) {
	b.asked++
	return b.now.Resolve(ctx, domain)
}

// A source that has changed its key since it was looked up is looked up again; one
// whose signature is simply wrong is refused all the same.
func TestSourceChangedItsKey(t *testing.T) {
	old := &peering.Provider{Key: key("another").Public().(ed25519.PublicKey)}
	for _, c := range []struct {
		what string
		now  phoneBook
		want int
	}{
		{"the new key is found", book(), 0},
		{"the key is still the same", phoneBook{there: old}, 401},
		{"it cannot be looked up", phoneBook{there: overlay.ErrNoPeers}, 401},
	} {
		b := &movedBook{phoneBook: phoneBook{there: old}, now: c.now}
		w := start(t, peering.Config{Directory: b, Routes: []peering.Route{{Endpoint: "update", Handler: echo, Idempotent: true}}})
		q := peering.Request{Target: here, Endpoint: "update", Subject: "x"}
		if c.want == 0 {
			if _, err := w.caller.Call(t.Context(), q); err != nil {
				t.Errorf("%s: %v", c.what, err)
			}
		} else {
			w.want(w.refusal(w.caller, q), c.want, peering.CodeSource, there)
		}
		if b.asked != 1 {
			t.Errorf("%s: asked %d times", c.what, b.asked)
		}
	}
}
