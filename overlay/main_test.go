package overlay_test

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mimid/mimid/overlay"
)

func TestMain(m *testing.M) {
	if what := os.Getenv(childEnv); what != "" {
		os.Exit(child(what))
	}
	if err := flag.Set("rapid.seed", "9"); err != nil {
		panic(err)
	}
	flag.Parse()
	if testing.Short() {
		_ = flag.Set("rapid.checks", "20")
	}
	code := m.Run()
	if code == 0 {
		if err := goleak.Find(leakOptions...); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// leakOptions name what libraries leave running for the life of the process, on purpose.
var leakOptions = []goleak.Option{}

// key makes the same key from the same name.
func key(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(name))
	return ed25519.NewKeyFromSeed(seed[:])
}

func pub(k ed25519.PrivateKey) ed25519.PublicKey { return k.Public().(ed25519.PublicKey) }

// config is of the only node of a provider on the loopback interface, TCP only, which
// starts faster than QUIC.
func config(domain string) overlay.Config {
	return overlay.Config{
		Domain:      domain,
		ProviderKey: key("provider " + domain),
		NodeKey:     key("node " + domain),
		Listen:      []string{"/ip4/127.0.0.1/tcp/0"},
		KV:          &overlay.MemoryKV{},
		Log:         slog.New(slog.DiscardHandler),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			from, _ := overlay.RequestPeer(r)
			body, err := io.ReadAll(r.Body)
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			fmt.Fprintf(w, "%s served %s %s%s from %s: %s", domain, r.Method, r.Host, r.URL.Path, from, body)
		}),
	}
}

// start runs an overlay until the test ends, or stop is called.
func start(t testing.TB, c overlay.Config) (o *overlay.Overlay, stop func()) {
	t.Helper()
	o, err := overlay.New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- o.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Run of %s: %v", c.Domain, err)
			}
		case <-time.After(20 * time.Second):
			t.Errorf("Run of %s did not end", c.Domain)
		}
	}
	t.Cleanup(stop)
	select {
	case <-o.Ready():
	case err := <-done:
		done <- err
		t.Fatalf("Run of %s: %v", c.Domain, err)
	case <-time.After(20 * time.Second):
		t.Fatalf("%s was not ready in time", c.Domain)
	}
	return o, stop
}

// boot returns the bootstrap list that leads to o.
func boot(o *overlay.Overlay) []string {
	var out []string
	for _, a := range o.Addrs() {
		out = append(out, a+"/p2p/"+string(o.Self()))
	}
	return out
}

// providers starts n providers p0.example, p1.example ... that know the first.
func providers(t testing.TB, n int, change func(i int, c *overlay.Config)) []*overlay.Overlay {
	t.Helper()
	var out []*overlay.Overlay
	for i := range n {
		c := config(fmt.Sprintf("p%d.example", i))
		if i > 0 {
			c.Bootstrap = boot(out[0])
		}
		if change != nil {
			change(i, &c)
		}
		o, _ := start(t, c)
		out = append(out, o)
	}
	return out
}

// eventually waits until fn returns nil. It bounds a wait; it measures nothing.
func eventually(t testing.TB, what string, fn func() error) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(90 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if err = fn(); err == nil {
			return
		}
	}
	t.Fatalf("%s: %v", what, err)
}

func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// resolves waits until o finds the record of a domain; that other errors than
// "unknown" do not go away by waiting is part of the check.
func resolves(t testing.TB, o *overlay.Overlay, domain string) *overlay.Record {
	t.Helper()
	var r *overlay.Record
	eventually(t, "resolving "+domain, func() (err error) {
		r, err = o.Resolve(within(t, 10*time.Second), domain)
		if err != nil && !errors.Is(err, overlay.ErrUnknownProvider) && !errors.Is(err, overlay.ErrNoPeers) {
			t.Fatalf("resolving %s: %v", domain, err)
		}
		return err
	})
	return r
}

func mustGet(t testing.TB, o *overlay.Overlay, url string) string {
	t.Helper()
	resp, err := o.Client().Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// port is one below those that connections get by themselves: one of those may be taken
// before the node comes, or comes back.
func port(t *testing.T) int {
	t.Helper()
	for range 100 {
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 10_000+rand.IntN(22_000))); err == nil {
			defer l.Close()
			return l.Addr().(*net.TCPAddr).Port
		}
	}
	t.Fatal("no port is free")
	return 0
}
