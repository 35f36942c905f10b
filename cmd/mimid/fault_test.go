package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mimid/mimid/client"
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
		"a web site":          {plain, 1, "it is the provider's client API"},
		"nothing there":       {start(http.NotFoundHandler(), false), 1, "it is the provider's client API"},
		"unknown certificate": {secure, 1, "Nobody whom this machine trusts"},
		"https to http":       {strings.Replace(plain, "http:", "https:", 1), 1, "speaks http at this address"},
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

// TestCertificates: what is said of a server whose certificate somebody trusted has
// signed, and that does not fit. The errors are those of a real handshake.
func TestCertificates(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		tmpl   x509.Certificate
		advice string
	}{
		"another name": {x509.Certificate{DNSNames: []string{"other.example"}, NotAfter: time.Now().Add(time.Hour)}, "belongs to another name"},
		"expired":      {x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotAfter: time.Now().Add(-time.Hour)}, "not valid now"},
		"not yet valid": {x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: time.Now().Add(time.Hour), NotAfter: time.Now().Add(2 * time.Hour)},
			"not valid now"},
		"good": {x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotAfter: time.Now().Add(time.Hour)}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			c.tmpl.SerialNumber, c.tmpl.IsCA, c.tmpl.BasicConstraintsValid = big.NewInt(1), true, true
			der, err := x509.CreateCertificate(rand.Reader, &c.tmpl, &c.tmpl, key.Public(), key)
			if err != nil {
				t.Fatal(err)
			}
			leaf, err := x509.ParseCertificate(der)
			if err != nil {
				t.Fatal(err)
			}
			s := httptest.NewUnstartedServer(http.NotFoundHandler())
			s.Config.ErrorLog = log.New(io.Discard, "", 0)
			s.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
			s.StartTLS()
			defer s.Close()
			pool := x509.NewCertPool()
			pool.AddCert(leaf)
			hc := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
			defer hc.CloseIdleConnections()
			resp, err := hc.Get(s.URL)
			if c.advice == "" {
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				return
			}
			err = fmt.Errorf("%w: %w", client.ErrUnreachable, err) // as package client says it
			var errw strings.Builder
			complain(&errw, false, err, codeOf(err))
			if codeOf(err) != 1 || !strings.Contains(errw.String(), c.advice) {
				t.Errorf("exit %d: %s", codeOf(err), errw.String())
			}
		})
	}
}

// TestWantsJSON: how an error of a command line is shown that could not be read.
func TestWantsJSON(t *testing.T) {
	defer goleak.VerifyNone(t)
	for line, want := range map[string]bool{
		"status --nope":                      false,
		"status --nope --json":               true,
		"status --json=true --nope":          true,
		"status --json=1 --nope":             true,
		"status --json=false --nope":         false,
		"status --json=maybe":                true,
		"client send room --nope -- --json":  false,
		"client send room --nope --jsonlike": false,
	} {
		var out, errw strings.Builder
		if code := run(strings.Fields(line), strings.NewReader(""), &out, &errw); code != 2 {
			t.Errorf("%s: exit %d", line, code)
		}
		if got := json.Valid([]byte(errw.String())); got != want {
			t.Errorf("%s: %s%s", line, errw.String(), out.String())
		}
	}
}
