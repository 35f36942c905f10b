package authority_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mimid/mimid/node/authority"
	"github.com/mimid/mimid/protocol/discovery"
)

var webhookSecret = []byte("0123456789abcdef")

// TestWebhook: a gateway gets the number, the code and a text, signed with its time; by what it
// answers, a number is refused for good or may be tried again. Redirects are not followed, answers
// without end not read, and who does not answer is left.
func TestWebhook(t *testing.T) {
	at := time.Unix(1796000000, 0)
	var mu sync.Mutex
	var got []map[string]string // guarded by mu
	calls := func() []map[string]string {
		mu.Lock()
		defer mu.Unlock()
		return got
	}
	var answer atomic.Int32
	answer.Store(http.StatusOK)
	silent := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := must(io.ReadAll(r.Body))(t)
		mac := hmac.New(sha256.New, webhookSecret)
		mac.Write([]byte(r.Header.Get("Mimid-Timestamp") + "." + string(body)))
		if want := "v1=" + hex.EncodeToString(mac.Sum(nil)); r.Header.Get("Mimid-Signature") != want || r.Header.Get("Mimid-Timestamp") != "1796000000" || r.Method != "POST" {
			t.Errorf("signed %v", r.Header)
		}
		var m map[string]string
		if err := json.Unmarshal(body, &m); err != nil {
			t.Error(err)
		}
		mu.Lock()
		got = append(got, m)
		mu.Unlock()
		switch r.URL.Path {
		case "/elsewhere":
			http.Redirect(w, r, "/", http.StatusTemporaryRedirect)
		case "/endless":
			for i := 0; i < 1<<12; i++ {
				if _, err := w.Write(make([]byte, 1<<14)); err != nil {
					return
				}
			}
			t.Error("an answer of 64 MiB was read")
		case "/silent":
			<-silent
		default:
			w.WriteHeader(int(answer.Load()))
			io.WriteString(w, "what +16505551000 did: 01234567")
		}
	}))
	defer srv.Close()
	defer close(silent)
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	h := &authority.Webhook{URL: srv.URL, Secret: webhookSecret, Transport: transport, Now: func() time.Time { return at }}
	m := message()
	m.To, m.Method = "+16505551000", discovery.MethodSMS
	if err := h.Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if x := calls()[0]; len(x) != 4 || x["to"] != "+16505551000" || x["method"] != "sms" || x["code"] != "01234567" ||
		!strings.Contains(x["text"], "01234567") || !strings.Contains(x["text"], m.User) || len(x["text"]) > 160 {
		t.Errorf("sent %v", x)
	}
	for code, refused := range map[int]bool{201: false, 204: false, 400: true, 404: true, 410: true, 422: true, 401: false, 403: false, 429: false, 500: false, 503: false} {
		answer.Store(int32(code))
		err := h.Send(t.Context(), m)
		if (err == nil) != (code/100 == 2) || errors.Is(err, authority.ErrRefused) != refused {
			t.Errorf("answered %d: %v", code, err)
		}
		if err != nil && (strings.Contains(err.Error(), "0123") || strings.Contains(err.Error(), "1650")) {
			t.Errorf("the error tells: %v", err)
		}
	}
	n := len(calls())
	for path, ok := range map[string]bool{"/elsewhere": false, "/endless": true, "/silent?key=secret": false} {
		x := *h
		x.URL += path
		x.Timeout = 200 * time.Millisecond
		err := x.Send(t.Context(), m)
		if (err == nil) != ok || err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", path, err)
		}
	}
	if len(calls()) != n+3 {
		t.Errorf("%d calls, want 3: a redirect was followed", len(calls())-n)
	}
}

func TestWebhookConfig(t *testing.T) {
	for u, ok := range map[string]bool{"https://sms.example/send": true, "http://127.0.0.1:8080/": true, "http://[::1]:8080/": true, "http://localhost/x": true,
		"http://sms.example/send": false, "http://192.0.2.1/": false, "ftp://127.0.0.1/": false, "": false, "sms.example": false, "https://user:pass@sms.example/": false,
		"http://localhost.example/": false} {
		if err := (&authority.Webhook{URL: u, Secret: webhookSecret}).Check(); ok && err != nil || !ok && !errors.Is(err, authority.ErrConfig) {
			t.Errorf("%q: %v", u, err)
		}
	}
	if err := (&authority.Webhook{URL: "https://sms.example/", Secret: webhookSecret[1:]}).Check(); !errors.Is(err, authority.ErrConfig) {
		t.Errorf("a short secret: %v", err)
	}
}
