package peering_test

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mimid/mimid/node/peering"
	"github.com/mimid/mimid/overlay"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	here  = "biloxi.example"
	there = "atlanta.example"
)

func key(domain string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte("test key of " + domain))
	return ed25519.NewKeyFromSeed(seed[:])
}

// clock is a clock that a test moves.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 11, 23, 4, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// phoneBook is a Directory of providers and errors.
type phoneBook map[string]any

func (b phoneBook) Resolve(_ context.Context, domain string) (*peering.Provider, error) {
	switch v := b[domain].(type) {
	case *peering.Provider:
		return v, nil
	case error:
		return nil, v
	}
	return nil, fmt.Errorf("%w: %s", overlay.ErrUnknownProvider, domain)
}

func book() phoneBook {
	b := phoneBook{}
	for _, d := range []string{here, there} {
		b[d] = &peering.Provider{Key: key(d).Public().(ed25519.PublicKey), Nodes: []string{"node of " + d}}
	}
	return b
}

// world is a server behind loopback, and a caller of another provider.
type world struct {
	t      *testing.T
	clock  *clock
	server *httptest.Server
	client *http.Client
	caller *peering.Caller
	log    *captured
}

func start(t *testing.T, cfg peering.Config) *world {
	t.Helper()
	w := &world{t: t, clock: newClock(), log: &captured{}}
	cfg.Domain = here
	cfg.Log = slog.New(slog.NewTextHandler(w.log, nil))
	if cfg.Directory == nil {
		cfg.Directory = book()
	}
	if cfg.Now == nil {
		cfg.Now = w.clock.Now
	}
	s, err := peering.NewServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	w.clock.add(time.Second) // requests come after the start
	w.server = httptest.NewServer(s)
	w.client = dialling(map[string]string{here: w.server.Listener.Addr().String()})
	w.caller = &peering.Caller{Domain: there, Key: func() ed25519.PrivateKey { return key(there) }, Client: w.client, Now: w.clock.Now}
	t.Cleanup(func() { w.client.CloseIdleConnections(); w.server.Close() })
	return w
}

// dialling is a client that knows addresses of domains, and fails as the overlay
// does for others.
func dialling(addresses map[string]string) *http.Client {
	var d net.Dialer
	return &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			host, _, _ := net.SplitHostPort(addr)
			to, ok := addresses[host]
			if !ok {
				return nil, fmt.Errorf("%w: %s", overlay.ErrUnknownProvider, host)
			}
			c, err := d.DialContext(ctx, network, to)
			if err != nil {
				return nil, errors.Join(overlay.ErrUnreachable, err)
			}
			return c, nil
		}},
	}
}

// captured is a log that a test reads afterwards.
type captured struct {
	mu sync.Mutex
	b  strings.Builder
}

func (c *captured) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.b.Write(p)
}

func (c *captured) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.b.String()
}
