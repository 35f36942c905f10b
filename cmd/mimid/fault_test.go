package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"
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

// certificates is a command of scripts: it starts servers with certificates that do not
// fit, and one with a good one, and sets SSL_CERT_FILE to who has signed them all, and
// OTHER_NAME, EXPIRED, NOT_YET, STRANGER and GOOD to their URLs.
func certificates(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: certificates")
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ts.Check(err)
	here := []net.IP{net.IPv4(127, 0, 0, 1)}
	now := time.Now()
	var trusted []byte
	for name, tmpl := range map[string]*x509.Certificate{
		"OTHER_NAME": {DNSNames: []string{"other.example"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour)},
		"EXPIRED":    {IPAddresses: here, NotBefore: now.Add(-2 * time.Hour), NotAfter: now.Add(-time.Hour)},
		"NOT_YET":    {IPAddresses: here, NotBefore: now.Add(time.Hour), NotAfter: now.Add(2 * time.Hour)},
		"STRANGER":   {IPAddresses: here, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour)},
		"GOOD":       {IPAddresses: here, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour)},
	} {
		tmpl.SerialNumber, tmpl.Subject, tmpl.IsCA, tmpl.BasicConstraintsValid = big.NewInt(1), pkix.Name{CommonName: name}, true, true
		der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
		ts.Check(err)
		if name != "STRANGER" {
			trusted = append(trusted, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
		}
		s := httptest.NewUnstartedServer(http.NotFoundHandler())
		s.Config.ErrorLog = log.New(io.Discard, "", 0)
		s.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
		s.StartTLS()
		ts.Defer(s.Close)
		ts.Setenv(name, s.URL)
	}
	file := ts.MkAbs("trusted.pem")
	ts.Check(os.WriteFile(file, trusted, 0o600))
	ts.Setenv("SSL_CERT_FILE", file)
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
