package node_test

import (
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mimid/mimid/client"
	"github.com/mimid/mimid/node"
	"github.com/mimid/mimid/node/admin"
)

// A door is what stands before a provider's HTTPS, and can be shut for whoever comes anew.
type door struct {
	at string

	mu   sync.Mutex
	shut bool                  // guarded by mu
	in   map[net.Conn]struct{} // guarded by mu: what has come in
}

func newDoor(t *testing.T, to string) *door {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &door{at: l.Addr().String(), in: map[net.Conn]struct{}{}}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			inner, err := net.Dial("tcp", to)
			if err != nil || !d.enter(c, inner) {
				c.Close()
				continue
			}
			for _, way := range [][2]net.Conn{{c, inner}, {inner, c}} {
				all.Go(func() {
					io.Copy(way[0], way[1])
					c.Close()
					inner.Close()
				})
			}
		}
	})
	t.Cleanup(func() {
		l.Close()
		d.clear()
		all.Wait()
	})
	return d
}

func (d *door) enter(both ...net.Conn) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range both {
		if d.shut {
			c.Close()
			continue
		}
		d.in[c] = struct{}{}
	}
	return !d.shut
}

// set shuts it, or opens it, for whoever comes; who is in stays.
func (d *door) set(shut bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.shut = shut
}

func (d *door) clear() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.shut = true
	for c := range d.in {
		c.Close()
	}
	clear(d.in)
}

// TestSeenFromOutsideByHTTPS: a provider without the overlay is looked at over HTTPS, by one that has both, and looks
// at that one; who can no longer be reached there hears of it, and when it can again.
func TestSeenFromOutsideByHTTPS(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: two whole nodes")
	}
	i, at := newIssuer(t), places(t, "atlanta.example", "biloxi.example")
	front := newDoor(t, at["biloxi.example"])
	a := prepareWeb(t, i, at, "atlanta.example", func(c *node.Config) { c.HTTPS.Resolve["biloxi.example"] = front.at }).must()
	b := prepareWeb(t, i, at, "biloxi.example", without)
	var ahead atomic.Int64
	b.now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	b.must()
	alice, bob := a.user("alice"), b.user("bob")
	var before client.Stock
	within(t, "bob can be added", func() bool {
		s, err := bob.Stock(t.Context())
		if err == nil {
			before = *s
		}
		return err == nil && s.Available > 0 && s.LastResort
	})
	if err := alice.Accept(t.Context(), bob.User()); err != nil { // so that they come to know each other
		t.Fatal(err)
	}
	within(t, "both know the other", func() bool { return len(a.peers()) == 1 && len(b.peers()) == 1 })
	is := func(r *running, outcome admin.Outcome, found, state string) {
		t.Helper()
		ahead.Add(int64(11 * time.Second)) // what was seen before does not count any more
		got := r.examined("outside")
		if len(got) != 1 || got[0].Outcome != outcome || !strings.Contains(got[0].Found, found) {
			t.Errorf("the doctor of %s says %+v, want %q", r.cfg.Domain, got, found)
		}
		if s := r.status(); s.Outside != state {
			t.Errorf("the status of %s says %q, %q, want %q", r.cfg.Domain, s.Outside, s.OutsideWhy, state)
		}
	}
	const seen = "a stranger has claimed a KeyPackage, from "
	is(b, admin.Good, seen+"atlanta.example", "seen")
	is(a, admin.Good, seen+"biloxi.example", "seen")
	front.set(true)
	is(b, admin.Bad, "atlanta.example: unreachable", "unseen")
	front.set(false)
	is(b, admin.Good, seen+"atlanta.example", "seen")
	if after, err := bob.Stock(t.Context()); err != nil || after.Available != before.Available {
		t.Errorf("a look has used up KeyPackages of bob: %+v, %+v, %v", before, after, err)
	}
}
