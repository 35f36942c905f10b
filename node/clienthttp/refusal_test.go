package clienthttp_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/mimid/mimid/node/clienthttp"
	"github.com/mimid/mimid/node/ration"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/store"
)

// Without a good token nothing is called, and the body is not even read.
func TestEveryCallNeedsToken(t *testing.T) {
	s := serve(t, func(c *clienthttp.Config) { c.Strangers = ration.Config{PerSecond: 1e6, Burst: 1e6} })
	all := append(calls[:len(calls):len(calls)], calls[0])
	all[len(all)-1].path = "/v1/events"
	for _, c := range all {
		if c.path == "/v1/accounts" || c.path == "/v1/provider" || c.service == "SayHello" || c.service == "Introduce" { // whoever has no account yet
			continue
		}
		for _, auth := range []string{"", "Bearer wrong", "Bearer", "Bearer ", token, "Basic " + token, "Bearer " + token + "x", "Bearer " + strings.Repeat("x", 5000)} {
			res := s.do(c.method, c.path, c.body, "Authorization", auth)
			if res.Header.Get("WWW-Authenticate") != "Bearer" {
				t.Errorf("%s %s: no WWW-Authenticate", c.method, c.path)
			}
			if p := s.wantProblem(res, 401, clientapi.CodeUnauthorized); strings.Contains(p.Detail, "wrong") {
				t.Errorf("the answer repeats the token: %q", p.Detail)
			}
		}
	}
	if len(s.f.calls) != 0 {
		t.Errorf("called without a good token: %v", s.f.calls)
	}
	few := serve(t, func(c *clienthttp.Config) { c.Strangers = ration.Config{PerSecond: 0.001, Burst: 2} })
	for i, want := range []int{200, 200, 429} {
		if res := few.do("POST", "/v1/pairings/"+boxName+"/hello", clientapi.PairingHello{Hello: []byte{1}}, "Authorization", ""); res.StatusCode != want {
			t.Errorf("hello %d of a stranger: status %d, want %d", i, res.StatusCode, want)
		} else {
			few.body(res)
		}
	}
	for _, open := range []string{"/v1/provider", "/healthz", "/readyz", "/openapi.json", "/docs", "/docs.js"} {
		if res := s.do("GET", open, nil, "Authorization", ""); res.StatusCode != 200 {
			t.Errorf("%s without a token: status %d", open, res.StatusCode)
		} else {
			s.body(res)
		}
	}
}

// Two tokens could be judged differently by a proxy.
func TestTwoTokens(t *testing.T) {
	s := serve(t)
	req, err := http.NewRequestWithContext(ctx, "GET", s.url+"/v1/devices", nil)
	must(t, err)
	req.Header["Authorization"] = []string{"Bearer " + token, "Bearer " + token}
	res, err := s.http.Do(req)
	must(t, err)
	s.wantProblem(res, 401, clientapi.CodeUnauthorized)
}

func TestBadBodies(t *testing.T) {
	for _, c := range calls {
		if c.body == nil {
			continue
		}
		limit := 64 << 10
		if strings.HasSuffix(c.path, "/updates") || strings.HasSuffix(c.path, "/messages") || strings.HasSuffix(c.path, "/reports") || c.path == "/v1/rooms" || strings.HasSuffix(c.path, "/keypackages") {
			limit = 2 << 20
		}
		t.Run(c.method+c.path, func(t *testing.T) {
			s := serve(t, func(c *clienthttp.Config) { c.Strangers = ration.Config{PerSecond: 1e6, Burst: 1e6} })
			for name, body := range map[string]string{
				"cut off":        `{"a`,
				"no object":      `[]`,
				"null":           `null`,
				"number":         `7`,
				"unknown field":  `{"nonsense":1}`,
				"two values":     `{}{}`,
				"no UTF-8":       "\xff",
				"deeply nested":  strings.Repeat("[", 20_000),
				"nothing needed": `{"nonce":"AAAA"}`,
			} {
				res := s.do(c.method, c.path, body)
				if res.StatusCode != 400 && res.StatusCode != 422 {
					t.Errorf("%s: status %d, %s", name, res.StatusCode, s.body(res))
					continue
				}
				p := s.wantProblem(res, res.StatusCode, clientapi.CodeInvalid)
				if len(p.Detail) > 4000 {
					t.Errorf("%s: a text of %d octets", name, len(p.Detail))
				}
			}
			s.wantProblem(s.do(c.method, c.path, strings.Repeat(" ", limit+1)), 413, clientapi.CodeTooLarge)
			s.wantProblem(s.do(c.method, c.path, c.body, "Content-Type", "text/xml"), 415, clientapi.CodeInvalid)
			if c.path != "/v1/account/certificate" {
				s.wantProblem(s.do(c.method, c.path, nil), 400, clientapi.CodeInvalid)
			}
			if len(s.f.calls) != 0 {
				t.Errorf("called with a bad body: %v", s.f.calls)
			}
		})
	}
}

func TestBadRequests(t *testing.T) {
	s := serve(t)
	other := strings.Replace(roomPath, "0102", "ffff", 1)
	good := `{"request":"AQ==","nonce":"AAAAAAAAAAAAAAAAAAAAAA=="}`
	for _, row := range []struct {
		name, method, path, body string
		status                   int
		code                     clientapi.Code
	}{
		{"base64 cut off", "POST", "/v1/consent", `{"entry":"AQ="}`, 422, clientapi.CodeInvalid},
		{"base64 in the other alphabet", "POST", "/v1/consent", `{"entry":"_-__"}`, 422, clientapi.CodeInvalid},
		{"octets as numbers", "POST", "/v1/consent", `{"entry":[1,2]}`, 422, clientapi.CodeInvalid},
		{"base64 in a list", "POST", "/v1/keypackages", `{"key_packages":["!"]}`, 422, clientapi.CodeInvalid},
		{"too many KeyPackages", "POST", "/v1/keypackages", `{"key_packages":[` + strings.Repeat(`"AA==",`, 100) + `"AA=="]}`, 422, clientapi.CodeInvalid},
		{"nonce of 15", "POST", roomPath + "/messages", `{"request":"AQ==","nonce":"AAAAAAAAAAAAAAAAAAAA"}`, 422, clientapi.CodeInvalid},
		{"a room's URI that is none", "GET", "/v1/room-hub?uri=clubhouse", "", 422, clientapi.CodeInvalid},
		{"a user's URI", "GET", "/v1/room-hub?uri=mimi://atlanta.example/u/alice", "", 422, clientapi.CodeInvalid},
		{"no room's URI", "GET", "/v1/room-hub", "", 422, clientapi.CodeInvalid},
		{"a field more", "POST", roomPath + "/messages", `{"request":"AQ==","nonce":"AAAAAAAAAAAAAAAAAAAAAA==","more":1}`, 422, clientapi.CodeInvalid},
		{"a value more", "POST", roomPath + "/messages", good + "{}", 422, clientapi.CodeInvalid},
		{"no base64", "POST", roomPath + "/messages", `{"request":"!","nonce":"AAAAAAAAAAAAAAAAAAAAAA=="}`, 422, clientapi.CodeInvalid},
		{"nonce of 17", "POST", roomPath + "/updates", `{"request":"AQ==","nonce":"AAAAAAAAAAAAAAAAAAAAAAA="}`, 422, clientapi.CodeInvalid},
		{"nonce missing", "POST", roomPath + "/updates", `{"request":"AQ=="}`, 422, clientapi.CodeInvalid},
		{"nonce of 17 for a room", "POST", "/v1/rooms", `{"uri":"u","group_info":"","tree":"","nonce":"AAAAAAAAAAAAAAAAAAAAAAA="}`, 422, clientapi.CodeInvalid},
		{"device's name too long", "POST", "/v1/accounts", `{"invite":"i","device":"` + strings.Repeat("d", 65) + `","user_key":"","proof":""}`, 422, clientapi.CodeInvalid},
		{"SII too long", "POST", "/v1/claims", `{"sii":"` + strings.Repeat("d", 513) + `","claim":""}`, 422, clientapi.CodeInvalid},
		{"secret too long", "POST", "/v1/discover", `{"secret":"` + strings.Repeat("d", 49) + `"}`, 422, clientapi.CodeInvalid},
		{"request too long", "POST", "/v1/evaluate", `{"request":"` + strings.Repeat("d", 4097) + `"}`, 422, clientapi.CodeInvalid},

		{"room unknown", "GET", other, "", 404, clientapi.CodeNotFound},
		{"room unknown: log", "GET", other + "/log", "", 404, clientapi.CodeNotFound},
		{"room unknown: branch", "GET", other + "/branch", "", 404, clientapi.CodeNotFound},
		{"room unknown: rejoin", "POST", other + "/rejoin", "", 404, clientapi.CodeNotFound},
		{"room unknown: messages", "POST", other + "/messages", good, 404, clientapi.CodeNotFound},
		{"room unknown: updates", "POST", other + "/updates", good, 404, clientapi.CodeNotFound},
		{"room unknown: report", "POST", other + "/reports", `{"request":"AQ==","nonce":"AAAAAAAAAAAAAAAAAAAAAA=="}`, 404, clientapi.CodeNotFound},
		{"report without a nonce", "POST", roomPath + "/reports", `{"request":"AQ=="}`, 422, clientapi.CodeInvalid},
		{"room unknown: groupinfo", "POST", other + "/groupinfo", `{"request":"AQ=="}`, 404, clientapi.CodeNotFound},
		{"room id too short", "GET", "/v1/rooms/0102", "", 422, clientapi.CodeInvalid},
		{"room id in capitals", "GET", strings.ToUpper(roomPath[:len("/v1/rooms/")]) + "x", "", 404, clientapi.CodeNotFound},
		{"room id not hexadecimal", "GET", roomPath[:len(roomPath)-1] + "g", "", 422, clientapi.CodeInvalid},
		{"room id is a path", "GET", "/v1/rooms/..%2f..%2fetc", "", 422, clientapi.CodeInvalid},
		{"log from below zero", "GET", roomPath + "/log?from=-1", "", 422, clientapi.CodeInvalid},
		{"log from beyond", "GET", roomPath + "/log?from=18446744073709551616", "", 422, clientapi.CodeInvalid},
		{"limit zero", "GET", roomPath + "/log?limit=0", "", 422, clientapi.CodeInvalid},
		{"limit too high", "GET", roomPath + "/log?limit=1001", "", 422, clientapi.CodeInvalid},
		{"domain in capitals", "GET", "/v1/providers/Biloxi.example", "", 422, clientapi.CodeInvalid},
		{"domain with a port", "GET", "/v1/providers/biloxi.example:1", "", 422, clientapi.CodeInvalid},
		{"domain is a path", "GET", "/v1/providers/..%2f", "", 422, clientapi.CodeInvalid},
		{"device unknown", "DELETE", "/v1/devices/laptop", "", 404, clientapi.CodeNotFound},
		{"cursor too long", "GET", "/v1/events?cursor=" + strings.Repeat("c", clienthttp.MaxCursor+1), "", 422, clientapi.CodeInvalid},

		{"path unknown", "GET", "/v1/nonsense", "", 404, clientapi.CodeNotFound},
		{"root", "GET", "/", "", 404, clientapi.CodeNotFound},
		{"slash behind", "GET", "/v1/rooms/", "", 404, clientapi.CodeNotFound},
		{"huma's description", "GET", "/openapi.yaml", "", 404, clientapi.CodeNotFound},
		{"method not allowed", "PUT", "/v1/rooms", "", 405, clientapi.CodeInvalid},
		{"method not allowed on a room", "DELETE", roomPath, "", 405, clientapi.CodeInvalid},
		{"method not allowed on events", "POST", "/v1/events", "", 405, clientapi.CodeInvalid},
		{"method not allowed beside the API", "POST", "/healthz", "", 405, clientapi.CodeInvalid},
		{"method made up", "FROBNICATE", "/v1/provider", "", 405, clientapi.CodeInvalid},
	} {
		t.Run(row.name, func(t *testing.T) {
			res := s.do(row.method, row.path, row.body)
			if allow := res.Header.Get("Allow"); row.status == 405 && allow == "" {
				t.Error("no header Allow")
			}
			s.wantProblem(res, row.status, row.code)
		})
	}
}

// What went wrong inside is told to the log, once, and not to the client.
func TestFaultsOfServices(t *testing.T) {
	for _, row := range []struct {
		name   string
		fail   error
		status int
		code   clientapi.Code
		logged int
	}{
		{"problem", &clientapi.Problem{Status: 403, Code: clientapi.CodeForbidden, Detail: "you may not"}, 403, clientapi.CodeForbidden, 0},
		{"problem inside", fmt.Errorf("planted: %w", &clientapi.Problem{Status: 409, Code: clientapi.CodeExists, Detail: "is there"}), 409, clientapi.CodeExists, 0},
		{"bug", errors.New("planted"), 500, clientapi.CodeInternal, 1},
		{"disk full", fmt.Errorf("planted: %w", store.ErrDiskFull), 503, clientapi.CodeUnavailable, 1},
		{"store closed", fmt.Errorf("planted: %w", store.ErrClosed), 503, clientapi.CodeUnavailable, 1},
		{"store failed", fmt.Errorf("planted: %w", store.ErrFailed), 503, clientapi.CodeUnavailable, 1},
		{"too large", fmt.Errorf("planted: %w", store.ErrTooLarge), 413, clientapi.CodeTooLarge, 1},
		{"outcome unknown", fmt.Errorf("planted: %w", store.ErrUnknown), 502, clientapi.CodeUnreachable, 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := serve(t)
			s.f.fail = row.fail
			for _, path := range []string{"/v1/rooms", "/v1/devices"} {
				p := s.wantProblem(s.do("GET", path, nil), row.status, row.code)
				if strings.Contains(p.Detail, "planted") {
					t.Errorf("the client sees %q", p.Detail)
				}
			}
			s.stop()
			if n := strings.Count(s.log.String(), "a call failed"); n != 2*row.logged {
				t.Errorf("%d lines in the log for two calls, want %d each:\n%s", n, row.logged, s.log)
			}
			if row.logged > 0 && !strings.Contains(s.log.String(), "planted") {
				t.Errorf("the log does not say what happened:\n%s", s.log)
			}
		})
	}
}

func TestRetryAfter(t *testing.T) {
	s := serve(t)
	s.f.fail = &clientapi.Problem{Status: 429, Code: clientapi.CodeTooMany, Detail: "slow down", Retry: 1500}
	res := s.do("GET", "/v1/rooms", nil)
	if got := res.Header.Get("Retry-After"); got != "2" {
		t.Errorf("Retry-After %q for 1.5 s, want 2", got)
	}
	if p := s.wantProblem(res, 429, clientapi.CodeTooMany); p.Retry != 1500 {
		t.Errorf("retry_ms %d", p.Retry)
	}
}

func TestPanicIsAProblem(t *testing.T) {
	s := serve(t)
	s.f.panics = true
	res := s.do("POST", "/v1/discover", `{"secret":"c2VjcmV0bHk="}`)
	id := res.Header.Get("X-Request-Id")
	s.wantProblem(res, 500, clientapi.CodeInternal)
	s.f.mu.Lock()
	s.f.panics = false
	s.f.mu.Unlock()
	if res := s.do("GET", "/v1/rooms", nil); res.StatusCode != 200 {
		t.Errorf("after a panic: status %d", res.StatusCode)
	} else {
		s.body(res)
	}
	s.stop()
	if log := s.log.String(); !strings.Contains(log, "planted") || !strings.Contains(log, id) || strings.Contains(log, "c2VjcmV0bHk") || strings.Contains(log, "secretly") {
		t.Errorf("the log should have the panic and the request id, and not the body:\n%s", log)
	}
}

// A log is read by more people than a client's requests are.
func TestLogKeepsSecrets(t *testing.T) {
	s := serve(t)
	for _, c := range calls {
		s.body(s.do(c.method, c.path, c.body))
	}
	s.body(s.do("GET", "/v1/rooms", nil, "Authorization", "Bearer wrong-token"))
	s.body(s.do("POST", "/v1/accounts", `{"invite":"invite-code","device":7}`))
	s.stop()
	log := s.log.String()
	if strings.Count(log, "served a request") < len(calls) {
		t.Fatalf("requests are not logged:\n%s", log)
	}
	for _, secret := range []string{token, "wrong-token", roomPath[len("/v1/rooms/"):], "handle:", "invite-code", "127.0.0.1:"} {
		if secret == "127.0.0.1:" {
			continue // the own address is no secret
		}
		if strings.Contains(log, secret) {
			t.Errorf("the log holds %q:\n%s", secret, log)
		}
	}
}

func TestRates(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	s := serve(t, func(c *clienthttp.Config) {
		c.Now = func() time.Time { return now }
		c.Requests = ration.Config{PerSecond: 1, Burst: 3}
		c.Strangers = ration.Config{PerSecond: 1, Burst: 2}
	})
	for range 3 {
		s.body(s.do("GET", "/v1/rooms", nil))
	}
	if p := s.wantProblem(s.do("GET", "/v1/rooms", nil), 429, clientapi.CodeTooMany); p.Retry != 1000 {
		t.Errorf("retry after %d ms, want 1000", p.Retry)
	}
	s.wantProblem(s.do("GET", "/v1/events", nil), 429, clientapi.CodeTooMany)
	s.body(s.do("GET", "/v1/provider", nil))
	// Registrations and bad tokens share a budget per address.
	if res := s.do("POST", "/v1/accounts", calls[2].body); res.StatusCode != 200 {
		t.Errorf("first registration: status %d", res.StatusCode)
	} else {
		s.body(res)
	}
	s.wantProblem(s.do("GET", "/v1/rooms", nil, "Authorization", "Bearer guess"), 401, clientapi.CodeUnauthorized)
	s.wantProblem(s.do("GET", "/v1/rooms", nil, "Authorization", "Bearer guess"), 429, clientapi.CodeTooMany)
	s.wantProblem(s.do("POST", "/v1/accounts", calls[2].body), 429, clientapi.CodeTooMany)
	now = now.Add(time.Second)
	if res := s.do("GET", "/v1/rooms", nil); res.StatusCode != 200 {
		t.Errorf("after the wait: status %d", res.StatusCode)
	} else {
		s.body(res)
	}
}

// A whole /64 counts as one stranger, since one customer has it.
func TestStrangersByPrefix(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	f := &fake{t: t}
	s, err := clienthttp.New(clienthttp.Config{Services: f.services(), Now: func() time.Time { return now },
		Strangers: ration.Config{PerSecond: 1, Burst: 1}})
	must(t, err)
	try := func(addr string) int {
		req := httptest.NewRequest("POST", "/v1/accounts", strings.NewReader(`{"invite":"i","device":"d","user_key":"AQ==","proof":"AQ=="}`))
		req.RemoteAddr = addr
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, req)
		return w.Code
	}
	for _, row := range []struct {
		addr string
		want int
	}{
		{"[2001:db8::1]:5", 200}, {"[2001:db8::2]:6", 429}, {"[2001:db8:0:1::2]:6", 200},
		{"192.0.2.1:5", 200}, {"[::ffff:192.0.2.1]:7", 429}, {"192.0.2.2:5", 200}, {"nonsense", 200}, {"other nonsense", 429},
	} {
		if got := try(row.addr); got != row.want {
			t.Errorf("registration from %s: status %d, want %d", row.addr, got, row.want)
		}
	}
}

func TestCallThatTakesTooLong(t *testing.T) {
	s := serve(t, func(c *clienthttp.Config) { c.RequestTimeout = 50 * time.Millisecond })
	s.f.wait = make(chan struct{})
	s.wantProblem(s.do("POST", "/v1/discover", `{"secret":"AQ=="}`), 502, clientapi.CodeUnreachable)
}

// The time for a body is for the body only: a call that takes longer must not be
// broken off by it.
func TestBodyDeadlineEndsWithTheBody(t *testing.T) {
	s := serve(t, func(c *clienthttp.Config) { c.BodyTimeout = 50 * time.Millisecond })
	s.f.wait = make(chan struct{})
	go func() {
		time.Sleep(250 * time.Millisecond)
		close(s.f.wait)
	}()
	if res := s.do("POST", "/v1/discover", `{"secret":"AQ=="}`); res.StatusCode != 200 {
		t.Errorf("status %d, %s", res.StatusCode, s.body(res))
	} else {
		s.body(res)
	}
}

// A client that stalls in the middle of its body is not waited for.
func TestStalledBody(t *testing.T) {
	s := serve(t, func(c *clienthttp.Config) { c.BodyTimeout = 50 * time.Millisecond })
	for _, row := range []struct{ name, path, auth string }{
		{"of a device", "/v1/discover", "Bearer " + token},
		{"of a stranger, whose body nobody reads", "/v1/discover", "Bearer wrong"},
		{"for a path that does not exist", "/v1/nonsense", "Bearer " + token},
		{"for a method that is not allowed", "/v1/rooms/x", "Bearer " + token},
	} {
		t.Run(row.name, func(t *testing.T) {
			c, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
			must(t, err)
			defer c.Close()
			_, err = fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: %s\r\nContent-Length: 50000\r\n\r\n{\"sii\":", row.path, row.auth)
			must(t, err)
			must(t, c.SetReadDeadline(time.Now().Add(5*time.Second)))
			b, err := io.ReadAll(c) // until the server closes
			if err != nil {
				t.Fatalf("the server still waits: %v; it wrote %q", err, b)
			}
			if !bytes.HasPrefix(b, []byte("HTTP/1.1 4")) {
				t.Errorf("answer %q", b)
			}
		})
	}
	if len(s.f.calls) != 0 {
		t.Errorf("called with half a body: %v", s.f.calls)
	}
}

// A body that is no HTTP is answered as any other fault, without huma's texts.
func TestBrokenChunks(t *testing.T) {
	s := serve(t)
	c, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	must(t, err)
	defer c.Close()
	_, err = fmt.Fprintf(c, "POST /v1/discover HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n", token)
	must(t, err)
	must(t, c.SetReadDeadline(time.Now().Add(5*time.Second)))
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	must(t, err)
	s.wantProblem(res, 500, clientapi.CodeInternal)
}
