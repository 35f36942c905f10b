package mimihttps_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mimid/mimid/node/mimihttps"
	"github.com/mimid/mimid/node/peering"
	"github.com/mimid/mimid/overlay"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	atlanta = "atlanta.example"
	biloxi  = "biloxi.example"
)

// issuer certifies providers.
type issuer struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newIssuer(t testing.TB) *issuer {
	t.Helper()
	i := &issuer{t: t}
	i.cert, i.key = i.sign(&x509.Certificate{Subject: pkix.Name{CommonName: "test"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return i
}

// sign makes a certificate of a template, by itself if there is no authority yet.
func (i *issuer) sign(c *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	i.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		i.t.Fatal(err)
	}
	c.SerialNumber = big.NewInt(time.Now().UnixNano())
	if c.NotAfter.IsZero() {
		c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	}
	parent, by := i.cert, i.key
	if parent == nil {
		parent, by = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), by)
	if err != nil {
		i.t.Fatal(err)
	}
	out, err := x509.ParseCertificate(der)
	if err != nil {
		i.t.Fatal(err)
	}
	return out, key
}

func (i *issuer) roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(i.cert)
	return pool
}

// leaf is a certificate for names.
func leaf(names ...string) *x509.Certificate {
	return &x509.Certificate{DNSNames: names, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
}

func (i *issuer) pair(c *x509.Certificate) tls.Certificate {
	cert, key := i.sign(c)
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert}
}

// files writes a certificate as an operator has it.
func (i *issuer) files(dir string, c *x509.Certificate) (cert, key string) {
	i.t.Helper()
	made, priv := i.sign(c)
	der, err := x509.MarshalPKCS8PrivateKey(priv)
	if err != nil {
		i.t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for name, b := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: made.Raw}, key: {Type: "PRIVATE KEY", Bytes: der}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(b), 0o600); err != nil {
			i.t.Fatal(err)
		}
	}
	return cert, key
}

func (i *issuer) own(domain string, now func() time.Time) *mimihttps.Certificate {
	i.t.Helper()
	cert, key := i.files(i.t.TempDir(), leaf(domain))
	c, err := mimihttps.ReadCertificate(cert, key, domain, now, slog.New(slog.DiscardHandler))
	if err != nil {
		i.t.Fatal(err)
	}
	return c
}

func providerKey(domain string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte("test key of " + domain))
	return ed25519.NewKeyFromSeed(seed[:])
}

// known is a peering.Directory of all who exist in these tests.
type known struct{}

func (known) Resolve(_ context.Context, domain string) (*peering.Provider, error) {
	switch domain {
	case atlanta, biloxi:
		return &peering.Provider{Key: providerKey(domain).Public().(ed25519.PublicKey)}, nil
	}
	return nil, fmt.Errorf("%w: %s", overlay.ErrUnknownProvider, domain)
}

// clock can be moved.
type clock struct {
	mu    sync.Mutex
	ahead time.Duration
}

func (c *clock) now() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return time.Now().Add(c.ahead) }
func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead += d
}

// served is a provider with HTTPS, biloxi.example.
type served struct {
	t     testing.TB
	by    *issuer
	addr  string
	clock *clock

	mu  sync.Mutex
	got []*peering.Incoming // guarded by mu
}

// serve starts one whose endpoints are MIMI's notify, submitMessage and requestConsent,
// and one of ours.
func serve(t testing.TB, limits peering.Limits, own mimihttps.Limits) *served {
	t.Helper()
	s := &served{t: t, by: newIssuer(t), clock: new(clock)}
	note := func(_ context.Context, in *peering.Incoming) (*peering.Response, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.got = append(s.got, in)
		return &peering.Response{Body: append([]byte("got "), in.Body...)}, nil
	}
	h, err := peering.NewServer(peering.Config{Domain: biloxi, Directory: known{}, Certified: mimihttps.Source, PlainIDs: make([]byte, 32), Now: s.clock.now, Limits: limits,
		Record: func(context.Context) ([]byte, error) { return []byte("the record"), nil },
		Routes: []peering.Route{{Endpoint: "notify", InRoom: true, Idempotent: true, MaxBody: 1 << 20, Handler: note},
			{Endpoint: "submitMessage", InRoom: true, Idempotent: true, Handler: note}, {Endpoint: "requestConsent", Handler: note},
			{Endpoint: "mimid-log", Idempotent: true, Handler: note}}})
	if err != nil {
		t.Fatal(err)
	}
	s.clock.add(time.Second) // requests come after the start
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = l.Addr().String()
	if own.StopTimeout == 0 {
		own.StopTimeout = 100 * time.Millisecond
	}
	server := mimihttps.NewServer(mimihttps.ServerConfig{Domain: biloxi, Listener: l, Certificate: s.by.own(biloxi, s.clock.now), Roots: s.by.roots(),
		Handler: h, Limits: own, Now: s.clock.now})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("server: %v", err)
		}
	})
	return s
}

func (s *served) calls() []*peering.Incoming {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.got
	s.got = nil
	return out
}

// client is an HTTP client that shows a certificate, or none, and believes the issuer.
func (s *served) client(show *tls.Certificate) *http.Client {
	conf := &tls.Config{RootCAs: s.by.roots(), ServerName: biloxi, Time: s.clock.now}
	if show != nil {
		conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return show, nil } // even if it does not fit
	}
	tr := &http.Transport{TLSClientConfig: conf, DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, s.addr)
	}}
	s.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// answer reads a response.
func answer(t testing.TB, resp *http.Response, err error) (int, string) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}
