package clienthttp_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/mimid/mimid/node/clienthttp"
	"github.com/mimid/mimid/protocol/clientapi"
)

func TestNewRefusesMissingServices(t *testing.T) {
	f := &fake{t: t}
	for name, change := range map[string]func(*clienthttp.Services){
		"Accounts":      func(s *clienthttp.Services) { s.Accounts = nil },
		"KeyPackages":   func(s *clienthttp.Services) { s.KeyPackages = nil },
		"Providers":     func(s *clienthttp.Services) { s.Providers = nil },
		"Contacts":      func(s *clienthttp.Services) { s.Contacts = nil },
		"Claims":        func(s *clienthttp.Services) { s.Claims = nil },
		"Verifications": func(s *clienthttp.Services) { s.Verifications = nil },
		"Evaluations":   func(s *clienthttp.Services) { s.Evaluations = nil },
		"Rooms":         func(s *clienthttp.Services) { s.Rooms = nil },
		"Submissions":   func(s *clienthttp.Services) { s.Submissions = nil },
		"Streams":       func(s *clienthttp.Services) { s.Streams = nil },
		"Assets":        func(s *clienthttp.Services) { s.Assets = nil },
		"Downloads":     func(s *clienthttp.Services) { s.Downloads = nil },
	} {
		v := f.services()
		change(&v)
		if _, err := clienthttp.New(clienthttp.Config{Services: v}); !errors.Is(err, clienthttp.ErrConfig) || !strings.Contains(err.Error(), name) {
			t.Errorf("without %s: %v", name, err)
		}
	}
}

func TestPlaintextStaysOnThisMachine(t *testing.T) {
	f := &fake{t: t}
	for _, addr := range []string{"0.0.0.0:0", ":0", "[::]:0", "192.0.2.1:80", "atlanta.example:80"} {
		_, err := clienthttp.New(clienthttp.Config{Services: f.services(), Address: addr})
		if !errors.Is(err, clienthttp.ErrPlaintext) || !strings.Contains(err.Error(), "TLS certificate") {
			t.Errorf("%s without TLS: %v, want ErrPlaintext and what to do", addr, err)
		}
		if _, err := clienthttp.New(clienthttp.Config{Services: f.services(), Address: addr, TLS: &tls.Config{}}); err != nil {
			t.Errorf("%s with TLS: %v", addr, err)
		}
	}
	for _, addr := range []string{"127.0.0.1:0", "[::1]:0", "localhost:0"} {
		if _, err := clienthttp.New(clienthttp.Config{Services: f.services(), Address: addr}); err != nil {
			t.Errorf("%s without TLS: %v", addr, err)
		}
	}
}

// public is a listener that says it is reachable from elsewhere.
type public struct{ net.Listener }

func (public) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 80} }

func TestPlaintextListener(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	f := &fake{t: t}
	s, err := clienthttp.New(clienthttp.Config{Services: f.services(), Listener: public{l}})
	must(t, err)
	runCtx, cancel := context.WithTimeout(ctx, 5*time.Second) // if it served, until then
	defer cancel()
	if err := s.Run(runCtx); !errors.Is(err, clienthttp.ErrPlaintext) {
		t.Errorf("a public listener without TLS: %v, want ErrPlaintext", err)
	}
	if _, err := l.Accept(); err == nil {
		t.Error("the listener was left open")
	}
}

func TestAddressInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	f := &fake{t: t}
	s, err := clienthttp.New(clienthttp.Config{Services: f.services(), Address: l.Addr().String()})
	must(t, err)
	if err := s.Run(ctx); !errors.Is(err, clienthttp.ErrListen) || !strings.Contains(err.Error(), l.Addr().String()) {
		t.Errorf("got %v, want ErrListen with the address", err)
	}
}

// A listener that breaks ends Run with its error.
func TestListenerBreaks(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	f := &fake{t: t}
	s, err := clienthttp.New(clienthttp.Config{Services: f.services(), Listener: l})
	must(t, err)
	must(t, l.Close())
	if err := s.Run(ctx); err == nil {
		t.Error("Run of a closed listener returned nil")
	}
}

func TestTLS(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"atlanta.example"}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	must(t, err)
	cert, err := x509.ParseCertificate(der)
	must(t, err)
	s := serve(t, func(c *clienthttp.Config) {
		c.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	})
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	for _, h2 := range []bool{false, true} {
		tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: "atlanta.example"}, ForceAttemptHTTP2: h2}
		defer tr.CloseIdleConnections()
		s.http = &http.Client{Transport: tr}
		s.url = strings.Replace(s.url, "http://", "https://", 1)
		res := s.do("POST", "/v1/discover", clientapi.Discover{Secret: []byte{1}})
		if s.body(res); res.StatusCode != 200 || (res.ProtoMajor == 2) != h2 {
			t.Errorf("over TLS: status %d, HTTP/%d, want 2: %t", res.StatusCode, res.ProtoMajor, h2)
		}
		r := s.open("")
		r.want("", clientapi.EventHello)
		st := s.f.stream(len(s.f.streams) - 1)
		st.more <- [][]byte{frame(t, "1")}
		r.want("1", clientapi.EventEntries)
		r.close()
		eventually(t, "the stream is closed", st.isClosed)
	}
}

func TestReadiness(t *testing.T) {
	var why error
	s := serve(t, func(c *clienthttp.Config) { c.Ready = func() error { return why } })
	if res := s.do("GET", "/readyz", nil); res.StatusCode != 200 {
		t.Errorf("ready: status %d", res.StatusCode)
	} else {
		s.body(res)
	}
	why = errors.New("no peer has been found yet")
	if p := s.wantProblem(s.do("GET", "/readyz", nil), 503, clientapi.CodeUnavailable); !strings.Contains(p.Detail, "no peer") {
		t.Errorf("detail %q", p.Detail)
	}
	if res := s.do("GET", "/healthz", nil); res.StatusCode != 200 {
		t.Errorf("alive but not ready: status %d", res.StatusCode)
	} else {
		s.body(res)
	}
}

// The page about the API loads nothing from elsewhere, and no browser would.
func TestDocsLoadNothing(t *testing.T) {
	s := serve(t)
	for _, path := range []string{"/docs", "/docs.js"} {
		res := s.do("GET", path, nil, "Authorization", "")
		b := s.body(res)
		if m := regexp.MustCompile(`(https?:)?//[a-z0-9-]+\.[a-z]`).Find(b); m != nil {
			t.Errorf("%s refers to %s", path, m)
		}
		if csp := res.Header.Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'; script-src 'self'") {
			t.Errorf("%s: policy %q", path, csp)
		}
		if strings.Contains(string(b), "innerHTML") {
			t.Errorf("%s sets markup", path)
		}
	}
}
