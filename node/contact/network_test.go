package contact_test

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mimid/mimid/node/contact"
	"github.com/mimid/mimid/node/peering"
	"github.com/mimid/mimid/overlay"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/discovery"
	"github.com/mimid/mimid/protocol/uri"
)

// network is providers as in world, that find and call each other over real overlays.
type network struct {
	*world
	links *links // nil: sockets of the system
	nodes []*node
}

type node struct {
	domain string
	o      *overlay.Overlay
	stop   func()
	answer atomic.Pointer[http.Handler] // nil: 404
	*provider
}

// ServeHTTP answers as the provider does, or the test wants.
func (n *node) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h := n.answer.Load(); h != nil {
		(*h).ServeHTTP(w, r)
		return
	}
	http.NotFound(w, r)
}

func (n *node) answers(h http.Handler) { n.answer.Store(&h) }

// newNetwork starts n nodes; provider makes of some of them providers with users.
func newNetwork(t testing.TB, n int, l *links) *network {
	t.Helper()
	w := &network{world: newWorld(t), links: l}
	w.nodes = make([]*node, n)
	w.nodes[0] = w.node(0, nil)
	boot := w.nodes[0].o
	var at []string
	for _, a := range boot.Addrs() {
		at = append(at, a+"/p2p/"+string(boot.Self()))
	}
	var group sync.WaitGroup
	slots := make(chan struct{}, 4)
	for i := 1; i < n; i++ {
		group.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			w.nodes[i] = w.node(i, at)
		})
	}
	group.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return w
}

func (w *network) node(i int, boot []string) *node {
	t := w.t
	n := &node{domain: fmt.Sprintf("p%d.example", i)}
	c := overlay.Config{Domain: n.domain, ProviderKey: key(n.domain), NodeKey: key("node of " + n.domain), KV: &overlay.MemoryKV{},
		Listen: []string{"/ip4/127.0.0.1/tcp/0"}, Bootstrap: boot, Handler: n, Log: slog.New(slog.DiscardHandler)}
	if w.links != nil {
		c.Listen = []string{fmt.Sprintf("/ip4/10.%d.%d.1/udp/4001/quic-v1", i/250, i%250)}
		c.ListenUDP = func(network string, at *net.UDPAddr) (net.PacketConn, error) { return w.links.listen(network, at) }
	}
	o, err := overlay.New(c)
	if err != nil {
		t.Error(err)
		return nil
	}
	n.o = o
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- o.Run(ctx) }()
	n.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("%s: %v", n.domain, err)
		}
	})
	t.Cleanup(n.stop)
	select {
	case <-o.Ready():
	case err := <-ended:
		ended <- err
		t.Errorf("%s: %v", n.domain, err)
	case <-time.After(time.Minute):
		t.Errorf("%s is not ready", n.domain)
	}
	return n
}

// overlayDirectory resolves by the overlay.
type overlayDirectory struct{ o *overlay.Overlay }

func (d overlayDirectory) Resolve(ctx context.Context, domain string) (*peering.Provider, error) {
	rec, err := d.o.Resolve(ctx, domain)
	if err != nil {
		return nil, err
	}
	out := &peering.Provider{Key: rec.ProviderKey}
	for _, n := range rec.Nodes {
		out.Nodes = append(out.Nodes, string(n.ID))
	}
	return out, nil
}

// provider makes a node a provider with a user.
func (w *network) provider(i int) *user {
	n := w.nodes[i]
	n.provider = w.add(n.domain, func(c *contact.Config) {
		c.Caller = &peering.Caller{Domain: n.domain, Key: func() ed25519.PrivateKey { return key(n.domain) }, Client: n.o.Client(), Now: w.clock}
		c.Announcer, c.Directory = n.o, overlayDirectory{n.o}
		c.Limits.Searches.Burst = 1000
		c.Anchors = func(domain string) (out []crypto.PublicKey) {
			for _, k := range n.o.Keys(domain) {
				out = append(out, k)
			}
			return out
		}
	})
	host := must(overlay.PeerHost(n.o.Self()))(w.t)
	server := must(peering.NewServer(peering.Config{Domain: n.domain, Aliases: []string{host}, Routes: n.Routes(),
		Directory: overlayDirectory{n.o}, Now: w.clock, Log: slog.New(slog.DiscardHandler)}))(w.t)
	n.answers(server)
	return w.user(fmt.Sprintf("u%d@%s", i, n.domain))
}

// finds says by whom an identifier is found to be claimed.
func (u *user) finds(t testing.TB, sii string) (found []string, d *clientapi.Discovered) {
	t.Helper()
	d, err := u.p.Discover(context.Background(), u.who, &clientapi.Discover{Secret: secret(t, sii).Bytes()})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range d.Found {
		found = append(found, f.User)
	}
	slices.Sort(found)
	return found, d
}

// TestLookupAmongDeadAndLying: of 30 nodes, ten say that they know an identifier. Two do.
// One is dead, and seven lie: they are silent, slow, answer garbage or with another
// question's answer, refuse, or claim it without knowing it. Four more nodes, of the DHT
// only, are dead. Whoever looks finds the two, and nobody else. (That nodes of the DHT lie
// is overlay's TestAnnouncersAmongDeadAndLying.)
func TestLookupAmongDeadAndLying(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: 30 whole overlay nodes take a minute")
	}
	const sii, nodes = "handle:bob", 30
	w := newNetwork(t, nodes, nil)
	var searchers []*user
	for _, i := range []int{1, 2, 3} {
		searchers = append(searchers, w.provider(i))
	}
	bob, bill := w.provider(4), w.provider(5)
	mallory := w.provider(6) // knows the identifier, and speaks for Bob
	w.pass(time.Second)
	today := discovery.DayOf(w.clock())
	for _, u := range []*user{bob, bill} {
		if err := u.publish(sii, nil); err != nil {
			t.Fatal(err)
		}
		u.p.run()
	}
	k := secret(t, sii).DayKey(today)
	hang := make(chan struct{})
	t.Cleanup(func() { close(hang) })
	wait := func(d time.Duration) {
		select {
		case <-hang:
		case <-time.After(d):
		}
	}
	var revealed atomic.Int64
	stolen := must(discovery.ParseClaim(bob.claims(sii, nil).Claim))(t)
	lies := []http.HandlerFunc{
		func(http.ResponseWriter, *http.Request) { wait(time.Minute) },                                       // silent
		func(w http.ResponseWriter, _ *http.Request) { wait(8 * time.Second); w.Write([]byte("late")) },      // slow
		func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(strings.Repeat("garbage", 100_000))) }, // too long
		func(w http.ResponseWriter, _ *http.Request) { w.Write(stolen.Bytes()) },                             // another's answer
		func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusInternalServerError) }, // refuses
		func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(200)
			w.(http.Flusher).Flush()
			wait(time.Minute)
		}, // begins
	}
	for i, lie := range lies {
		n := w.nodes[7+i]
		n.answers(lie)
		if err := n.o.Announce(t.Context(), k); err != nil {
			t.Fatal(err)
		}
	}
	// Mallory knows the identifier, proves it, and then shows Bob's claim and one of its own user
	// that its provider has not signed.
	unsigned := must(discovery.ParseClaim(mallory.claims(sii, nil).Claim))(t)
	shown := discovery.Answer{Claims: []*discovery.Claim{stolen, unsigned}}
	liar := must(discovery.NewAnnouncer(mallory.who.User.Provider(), []byte(w.nodes[6].o.Self())))(t)
	answer := func(_ context.Context, in *peering.Incoming) (*peering.Response, error) {
		from, err := uri.ParseDomain(in.Source)
		if err != nil {
			return nil, err
		}
		if in.Endpoint == contact.EndpointReveal {
			revealed.Add(1)
			return &peering.Response{Body: shown.Bytes()}, nil
		}
		q, err := discovery.ParseQuery(in.Body)
		if err != nil {
			return nil, err
		}
		c, err := liar.Challenge(q, from, secret(t, sii), w.clock())
		return &peering.Response{Body: c.Bytes()}, err
	}
	w.nodes[6].answers(must(peering.NewServer(peering.Config{Domain: w.nodes[6].domain, Aliases: []string{hostOf(t, mallory.p)}, Directory: overlayDirectory{w.nodes[6].o}, Now: w.clock,
		Routes: []peering.Route{{Endpoint: contact.EndpointLookup, Handler: answer, Idempotent: true}, {Endpoint: contact.EndpointReveal, Handler: answer, Idempotent: true}}}))(t))
	if err := w.nodes[6].o.Announce(t.Context(), k); err != nil {
		t.Fatal(err)
	}
	dead := w.nodes[13]
	if err := dead.o.Announce(t.Context(), k); err != nil {
		t.Fatal(err)
	}
	for _, n := range []*node{w.nodes[4], w.nodes[5]} {
		eventually(t, "announcing", func() error {
			for id := range searchers[0].p.cfg.Announcer.Announcers(t.Context(), k, 64) {
				if id == n.o.Self() {
					return nil
				}
			}
			return errors.New("not yet")
		})
	}
	dead.stop()
	for i := range 4 {
		w.nodes[nodes-1-i].stop()
	}
	want := []string{string(bob.uri()), string(bill.uri())}
	slices.Sort(want)
	for i, u := range searchers {
		began := time.Now()
		found, d := u.finds(t, sii)
		t.Logf("searcher %d: %d asked, %d failed, after %s", i, d.Asked, d.Failed, time.Since(began))
		if !slices.Equal(found, want) {
			t.Errorf("searcher %d found %s, want %s", i, found, want)
		}
		if d.Asked < 8 || d.Failed < 6 {
			t.Errorf("searcher %d asked %d and %d failed: the liars were not among them", i, d.Asked, d.Failed)
		}
	}
	if revealed.Load() == 0 {
		t.Error("nobody came as far as to be shown false claims")
	}
}

func eventually(t testing.TB, what string, fn func() error) {
	t.Helper()
	var err error
	for range 600 {
		if err = fn(); err == nil {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("%s: %v", what, err)
}

// TestLookupTime is the time of looking one identifier up among 40 providers, or as many as
// MIMID_LOOKUP_NODES says, over links of 50 ms each way, in virtual time: what computing
// takes is not in it, and by BenchmarkLookupCPU that is little. Each search is by another
// provider, to which the found one is unknown, and which is unknown to the found one: each
// has to find out the other's key.
//
// Round trips of 100 ms: finding announcers, one; lookup and reveal, one each; and between
// them resolving the searcher, and the announcer, one each. The first three are saved in
// part where the searcher holds the announcement itself, or the two know each other.
func TestLookupTime(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: 40 whole overlay nodes take a minute")
	}
	nodes := 40
	if s := os.Getenv("MIMID_LOOKUP_NODES"); s != "" {
		var err error
		if nodes, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	lookupTime(t, nodes, 30, 600*time.Millisecond, 1200*time.Millisecond)
}

func lookupTime(t *testing.T, nodes, searches int, p50, p95 time.Duration) {
	const sii = "handle:bob"
	secret(t, sii)
	synctest.Test(t, func(t *testing.T) {
		l := newLinks(50 * time.Millisecond)
		w := newNetwork(t, nodes, l)
		bob := w.provider(0)
		w.pass(time.Second)
		if err := bob.publish(sii, nil); err != nil {
			t.Fatal(err)
		}
		bob.p.run()
		time.Sleep(2 * time.Minute)
		var took []time.Duration
		for i := range searches {
			u := w.provider(1 + i*(nodes-1)/searches)
			w.pass(time.Second)
			l.mu.Lock()
			before := l.sent
			l.mu.Unlock()
			began := time.Now()
			found, d := u.finds(t, sii)
			took = append(took, time.Since(began))
			l.mu.Lock()
			sent := l.sent - before
			l.mu.Unlock()
			if !slices.Equal(found, []string{string(bob.uri())}) {
				t.Errorf("search %d found %s: %d asked, %d failed", i, found, d.Asked, d.Failed)
			}
			t.Logf("search %d: %s, %d asked, %d datagrams", i, time.Since(began), d.Asked, sent)
		}
		slices.Sort(took)
		at := func(p int) time.Duration { return took[(len(took)*p+99)/100-1] }
		t.Logf("%d nodes, %d searches: p50 %s, p95 %s, max %s, goroutines %d", nodes, searches, at(50), at(95), took[len(took)-1], runtime.NumGoroutine())
		if at(50) > p50 || at(95) > p95 {
			t.Errorf("p50 %s and p95 %s, want %s and %s at most", at(50), at(95), p50, p95)
		}
		for _, n := range w.nodes {
			n.stop()
		}
	})
}
