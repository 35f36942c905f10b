package relaylist_test

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/mimid/mimid/node/peering"
	"github.com/mimid/mimid/node/relaylist"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/onion"
	"github.com/mimid/mimid/protocol/onion/relays"
	"github.com/mimid/mimid/store"
)

var terms = relays.Terms{Format: onion.Format{Suite: onion.X25519, Class: onion.Class8K}, Length: time.Hour, Rate: 500, Delay: 500 * time.Millisecond}

// start is when epoch `first` begins.
var (
	start = time.Unix(495_000*3600, 0)
	first = terms.Epoch(start)
)

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

var errUnreachable = errors.New("nobody answers")

// A world is a network without sockets: a call goes to the handler of its target at once, and comes from
// whom it says. A node has files, and can end and begin again.
type world struct {
	t         testing.TB
	witnesses []string
	nodes     []*node // in the order in which they look

	mu  sync.Mutex
	now time.Time // guarded by mu
	// twist, if it is not nil, may answer in the place of a node.
	twist func(to string, in *peering.Incoming) ([]byte, error)
	calls map[string]int // guarded by mu, by endpoint
}

type node struct {
	w        *world
	domain   string
	key      ed25519.PrivateKey // of the provider
	nodeKey  ed25519.PrivateKey
	number   int
	capacity uint32
	dir      string

	service *relaylist.Service
	routes  map[string]peering.Route
	store   *store.Store
	down    bool
	used    []*relays.Cosigned
	stop    func()
	change  func(*relaylist.Config)
}

func keyOf(label string, i int) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(fmt.Sprint(label, i)))
	return ed25519.NewKeyFromSeed(seed[:])
}

// newWorld makes nodes of which the first ones are witnesses. None looks yet.
func newWorld(t testing.TB, nodes, witnesses int) *world {
	w := &world{t: t, now: start, calls: map[string]int{}}
	for i := range nodes {
		v := &node{w: w, domain: fmt.Sprintf("p%d.example", i), key: keyOf("provider", i), nodeKey: keyOf("node", i), number: i, capacity: 1000, dir: t.TempDir()}
		w.nodes = append(w.nodes, v)
		if i < witnesses {
			w.witnesses = append(w.witnesses, v.domain)
		}
	}
	for _, v := range w.nodes {
		v.begin()
	}
	return w
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

// pass lets time go by in steps in which all that are up look, one after the other.
func (w *world) pass(d time.Duration) {
	w.t.Helper()
	for end := w.clock().Add(d); w.clock().Before(end); {
		for _, v := range w.nodes {
			if !v.down {
				v.service.Look(w.t.Context())
			}
		}
		w.mu.Lock()
		w.now = w.now.Add(2 * time.Minute)
		w.mu.Unlock()
	}
}

func (w *world) node(domain string) *node {
	for _, v := range w.nodes {
		if v.domain == domain {
			return v
		}
	}
	return nil
}

// descriptor is what a node says of itself in an epoch.
func (v *node) descriptor(e onion.Epoch) *relays.Relay {
	v.w.t.Helper()
	d := relays.Descriptor{Suite: onion.X25519, Provider: v.domain, Operator: v.domain, Network: uint32(v.number + 1),
		Address: netip.AddrFrom4([4]byte{10, byte(v.number), 0, 1}), Capacity: v.capacity, First: e}
	for k := range onion.Epoch(2) {
		seed := sha256.Sum256([]byte(fmt.Sprint(v.domain, e+k)))
		d.Keys = append(d.Keys, must[onion.PrivateKey](v.w.t)(onion.ParsePrivateKey(onion.X25519, seed[:])).Public())
	}
	return must[*relays.Relay](v.w.t)(d.Sign(v.nodeKey))
}

// begin starts a node, with what is on its disk.
func (v *node) begin() {
	t := v.w.t
	t.Helper()
	v.store = must[*store.Store](t)(store.Open(store.Options{Dir: v.dir, Small: true}))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- v.store.Run(ctx) }()
	v.stop = sync.OnceFunc(func() {
		cancel()
		if err := errors.Join(<-ended, v.store.Close(context.Background())); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { v.stop() })
	c := relaylist.Config{Domain: v.domain, Key: v.key, Witnesses: v.w.witnesses, Terms: terms, Caller: v, Store: v.store, Now: v.w.clock,
		KeyOf: func(_ context.Context, domain string) (ed25519.PublicKey, error) {
			if o := v.w.node(domain); o != nil {
				return o.key.Public().(ed25519.PublicKey), nil
			}
			return nil, errUnreachable
		},
		Vouch: func(_ context.Context, r *relays.Relay) error {
			if o := v.w.node(r.Descriptor().Provider); o == nil || relays.NodeOf(o.nodeKey.Public().(ed25519.PublicKey)) != r.Node() {
				return errors.New("its record does not name the node")
			}
			return nil
		},
		Acquaint: func(context.Context, string) error { return nil },
		Own:      func(_ context.Context, e onion.Epoch) (*relays.Relay, error) { return v.descriptor(e), nil },
		Use:      func(_ context.Context, c *relays.Cosigned) error { v.used = append(v.used, c); return nil },
	}
	if v.change != nil {
		v.change(&c)
	}
	v.service = must[*relaylist.Service](t)(relaylist.New(c))
	v.routes = map[string]peering.Route{}
	for _, r := range v.service.Routes() {
		v.routes[r.Endpoint] = r
	}
}

// again ends a node, and begins it with what is on its disk.
func (v *node) again() {
	v.stop()
	v.begin()
}

// Call implements relaylist.Caller, strictly.
func (v *node) Call(ctx context.Context, q peering.Request) (*peering.Response, error) {
	return v.w.call(ctx, v.domain, q)
}

func (w *world) call(ctx context.Context, from string, q peering.Request) (*peering.Response, error) {
	w.mu.Lock()
	w.calls[q.Endpoint]++
	w.mu.Unlock()
	to := w.node(q.Target)
	if to == nil || to.down || ctx.Err() != nil {
		return nil, errUnreachable
	}
	in := &peering.Incoming{Source: from, Endpoint: q.Endpoint, Subject: q.Subject, Body: q.Body}
	if w.twist != nil {
		if b, err := w.twist(q.Target, in); b != nil || err != nil {
			return &peering.Response{Body: b}, err
		}
	}
	r, ok := to.routes[q.Endpoint]
	if !ok {
		return nil, &clientapi.Problem{Status: http.StatusNotFound, Detail: "no such endpoint"}
	}
	if q.Subject == "" || len(q.Body) > r.MaxBody {
		w.t.Errorf("%s: a body of %d octets, at most %d", q.Endpoint, len(q.Body), r.MaxBody)
	}
	res, err := r.Handler(ctx, in)
	var p *clientapi.Problem
	if err != nil && !errors.As(err, &p) {
		w.t.Errorf("%s: an internal error: %v", q.Endpoint, err)
	}
	if err == nil && len(res.Body) > q.MaxResponse {
		w.t.Errorf("%s: an answer of %d octets, at most %d", q.Endpoint, len(res.Body), q.MaxResponse)
	}
	return res, err
}

// agreed is the one list of an epoch that all that are up have; nil if one has none, and a failure if two
// have different ones.
func (w *world) agreed(e onion.Epoch) *relays.Cosigned {
	w.t.Helper()
	var out *relays.Cosigned
	for _, v := range w.nodes {
		c := v.service.List(e)
		switch {
		case v.down:
		case c == nil:
			return nil
		case out == nil:
			out = c
		case c.Hash() != out.Hash():
			w.t.Fatalf("%s has another list of epoch %d", v.domain, e)
		}
	}
	return out
}
