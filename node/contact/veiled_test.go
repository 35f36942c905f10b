package contact_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mimid/mimid/node/contact"
	"github.com/mimid/mimid/node/peering"
	"github.com/mimid/mimid/node/ration"
	"github.com/mimid/mimid/overlay"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/discovery"
)

// veil is relays between the providers of a world: the handlers are asked without a source, and what takes requests of
// named providers only is not there.
type veil struct {
	p      *provider
	others []string
	mu     sync.Mutex
	refuse error    // guarded by mu
	asked  []string // guarded by mu: "provider endpoint"

	resolved atomic.Int64 // records that the own provider has looked for
}

// counting is a directory that counts what it is asked for.
type counting struct {
	peering.Directory
	n *atomic.Int64
}

func (c counting) Resolve(ctx context.Context, domain string) (*peering.Provider, error) {
	c.n.Add(1)
	return c.Directory.Resolve(ctx, domain)
}

func (v *veil) Check(*clientapi.Privacy) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.refuse
}

func (v *veil) Others(n int) []string { return v.others[:min(n, len(v.others))] }

func (v *veil) Speaks(domain string, peer overlay.PeerID) bool {
	p := v.p.w.ps[domain]
	return p != nil && p.self == peer && slices.Contains(v.others, domain)
}

func (v *veil) Call(ctx context.Context, q peering.Request) (*peering.Response, error) {
	for domain, p := range v.p.w.ps {
		if host, err := overlay.PeerHost(p.self); err != nil || host != q.Target && domain != q.Target || !slices.Contains(v.others, domain) {
			continue
		}
		v.mu.Lock()
		v.asked = append(v.asked, domain+" "+q.Endpoint)
		v.mu.Unlock()
		for _, r := range p.Routes() {
			if r.Endpoint == q.Endpoint && r.Unnamed && r.Idempotent {
				return r.Handler(ctx, &peering.Incoming{Endpoint: q.Endpoint, Subject: q.Subject, Body: q.Body})
			}
		}
		return nil, fmt.Errorf("%s is not for who is not named", q.Endpoint)
	}
	return nil, &clientapi.Problem{Status: 503, Code: clientapi.CodePrivacy, Detail: "takes no part"}
}

// veiledWorld is alice, whose provider can ask those named over relays, and bob and bill elsewhere, who have published
// an identifier.
func veiledWorld(t *testing.T, others ...string) (w *world, alice *user, v *veil) {
	w = newWorld(t)
	v = &veil{others: others}
	v.p = w.add("atlanta.example", func(c *contact.Config) { c.Veil, c.Directory = v, counting{c.Directory, &v.resolved} })
	w.add("biloxi.example", nil)
	w.add("chicago.example", nil)
	alice = w.user("alice@atlanta.example")
	for _, who := range []string{"bob@biloxi.example", "bill@chicago.example"} {
		u := w.user(who)
		if err := u.publish("handle:b", nil); err != nil {
			t.Fatal(err)
		}
		u.p.run()
	}
	w.announcers("handle:b", discovery.DayOf(w.clock()), 2)
	return w, alice, v
}

func (u *user) veiled(sii string) (*clientapi.Discovered, error) {
	return u.p.Discover(context.Background(), u.who, &clientapi.Discover{Secret: secret(u.p.w.t, sii).Bytes(), Privacy: &clientapi.Privacy{Over: "onion"}})
}

// TestFoundWithoutName: somebody is found without that the own provider looks in the DHT or calls anybody by name, and
// those who do not take part are not asked.
func TestFoundWithoutName(t *testing.T) {
	for _, c := range []struct {
		others []string
		found  []string
		failed int
	}{
		{[]string{"biloxi.example", "chicago.example"}, []string{"mimi://biloxi.example/u/bob", "mimi://chicago.example/u/bill"}, 0},
		{[]string{"biloxi.example"}, []string{"mimi://biloxi.example/u/bob"}, 1}, // who looks is who announces
		{[]string{"elsewhere.example", "biloxi.example"}, []string{"mimi://biloxi.example/u/bob"}, 1},
	} {
		w, alice, v := veiledWorld(t, c.others...)
		var before []int
		for _, p := range w.ps {
			p.mu.Lock()
			before = append(before, len(p.calls))
			p.mu.Unlock()
		}
		w.mu.Lock()
		looks := alice.p.looks
		w.mu.Unlock()
		d, err := alice.veiled("handle:b")
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, f := range d.Found {
			got = append(got, f.User)
		}
		slices.Sort(got)
		if !slices.Equal(got, c.found) || d.Failed != c.failed || d.Asked != 2 || d.Over != "onion" {
			t.Errorf("%v: found %v, %d of %d failed, over %q; asked %v", c.others, got, d.Failed, d.Asked, d.Over, v.asked)
		}
		var after []int
		for _, p := range w.ps {
			p.mu.Lock()
			after = append(after, len(p.calls))
			p.mu.Unlock()
		}
		sum := func(l []int) (n int) {
			for _, x := range l {
				n += x
			}
			return n
		}
		w.mu.Lock()
		looked := alice.p.looks - looks
		w.mu.Unlock()
		if sum(after) != sum(before) || looked != 0 || v.resolved.Load() != 0 {
			t.Errorf("%v: %d calls by name, %d looks in the DHT, %d for records", c.others, sum(after)-sum(before), looked, v.resolved.Load())
		}
		if alice.discover("handle:b"); v.resolved.Load() == 0 { // by name it does
			t.Error("no records are looked for by name: this counts nothing")
		}
	}
}

// TestNothingByName: what cannot be had over relays is a problem, and not asked by name.
func TestNothingByName(t *testing.T) {
	private := func(what string, err error) {
		t.Helper()
		if p, ok := errors.AsType[*clientapi.Problem](err); !ok || p.Code != clientapi.CodePrivacy {
			t.Errorf("%s: %v", what, err)
		}
	}
	w, alice, v := veiledWorld(t)
	w.mu.Lock()
	looks := alice.p.looks
	w.mu.Unlock()
	_, err := alice.veiled("handle:b")
	private("nobody else takes part", err)
	v.others = []string{"elsewhere.example"}
	_, err = alice.veiled("handle:b")
	private("who could look takes no part", err)
	v.mu.Lock()
	v.refuse = &clientapi.Problem{Status: 503, Code: clientapi.CodePrivacy, Detail: "too few"}
	v.mu.Unlock()
	_, err = alice.veiled("handle:b")
	private("below the floor", err)
	bob := w.user("bob@biloxi.example") // whose provider has no relays
	_, err = bob.veiled("handle:b")
	private("no relays", err)
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(v.asked) != 0 || alice.p.looks != looks {
		t.Errorf("asked %v, %d looks", v.asked, alice.p.looks-looks)
	}
}

// TestUnnamedBudget: all who are not named have one budget, and who is named has its own.
func TestUnnamedBudget(t *testing.T) {
	w := newWorld(t)
	w.add("atlanta.example", nil)
	b := w.add("biloxi.example", func(c *contact.Config) { c.Limits.Lookups = ration.Config{PerSecond: 1, Burst: 2} })
	ask := func(source string) error {
		for _, r := range b.Routes() {
			if r.Endpoint == contact.EndpointLookup {
				_, err := r.Handler(context.Background(), &peering.Incoming{Source: source, Endpoint: r.Endpoint, Body: []byte("x")})
				return err
			}
		}
		return errors.New("no such endpoint")
	}
	code := func(err error) clientapi.Code {
		p, _ := errors.AsType[*clientapi.Problem](err)
		if p == nil {
			return ""
		}
		return p.Code
	}
	for i, want := range []clientapi.Code{clientapi.CodeInvalid, clientapi.CodeInvalid, clientapi.CodeTooMany} {
		if got := code(ask("")); got != want {
			t.Errorf("request %d: %s", i, got)
		}
	}
	if err := ask("atlanta.example"); code(err) != clientapi.CodeInvalid || strings.Contains(err.Error(), "wait") {
		t.Errorf("who is named: %v", err)
	}
	w.pass(2 * time.Second)
	if got := code(ask("")); got != clientapi.CodeInvalid {
		t.Errorf("later: %s", got)
	}
	// And looking in the DHT for others is for who is not named.
	for _, r := range b.Routes() {
		if r.Endpoint == contact.EndpointAnnouncers {
			if _, err := r.Handler(context.Background(), &peering.Incoming{Source: "atlanta.example", Subject: strings.Repeat("0f", 32)}); code(err) != clientapi.CodeForbidden {
				t.Errorf("named: %v", err)
			}
		}
	}
}
