package main

import (
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
)

// TestWrongServer: a URL that leads to something else than a provider.
func TestWrongServer(t *testing.T) {
	page := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "<html>welcome</html>") })
	answer := func(status int, body string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(status)
			io.WriteString(w, body)
		})
	}
	start := func(h http.Handler, tls bool) string {
		s := httptest.NewUnstartedServer(h)
		s.Config.ErrorLog = log.New(io.Discard, "", 0)
		if tls {
			s.StartTLS()
		} else {
			s.Start()
		}
		t.Cleanup(s.Close)
		return s.URL
	}
	plain, secure := start(page, false), start(page, true)
	for name, test := range map[string]struct {
		url    string
		code   int
		advice string
	}{
		"a web site":          {plain, 3, "it is the provider's client API"},
		"nothing there":       {start(http.NotFoundHandler(), false), 1, "it is the provider's client API"},
		"unknown certificate": {secure, 1, "Nobody whom this machine trusts"},
		"https to http":       {strings.Replace(plain, "http:", "https:", 1), 3, "speaks http at this address"},
		"http to https":       {strings.Replace(secure, "https:", "http:", 1), 1, "it is the provider's client API"},
		"no domain":           {start(answer(200, `{"domain":"no domain"}`), false), 1, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var out, errw strings.Builder
			code := run([]string{"client", "register", "--provider", test.url, "--invite", "x", "--json", "--dir", filepath.Join(t.TempDir(), "c")}, strings.NewReader(""), &out, &errw)
			var f fault
			if err := json.Unmarshal([]byte(errw.String()), &f); err != nil || strings.Count(errw.String(), "\n") != 1 {
				t.Fatalf("%v: %s", err, errw.String())
			}
			if code != test.code || f.Code != code || !strings.Contains(f.Advice, test.advice) || out.Len() > 0 {
				t.Errorf("exit %d: %s%s", code, errw.String(), out.String())
			}
		})
	}
}
