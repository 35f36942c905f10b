package node_test

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/mimid/mimid/client"
	"github.com/mimid/mimid/node"
	"github.com/mimid/mimid/node/admin"
)

// TestSeenFromOutside: three providers that are connected with each other, of which one announces
// an address at which nobody can reach it. The two find out that strangers can claim KeyPackages at
// each other; the third that they cannot, and tells the log, the doctor, the status, the metrics and its
// users. Nobody's KeyPackages are used up, and no user is made of it.
func TestSeenFromOutside(t *testing.T) {
	if testing.Short() {
		t.Skip("three nodes, and a dialling in vain")
	}
	a := prepare(t, "atlanta.example").must()
	b := prepare(t, "biloxi.example", a.status().Addresses[0]).must()
	c := prepareWith(t, "chicago.example", func(c *node.Config) {
		c.Overlay.Announce = []string{"/ip4/127.0.0.1/tcp/1"} // nobody listens there
	}, a.status().Addresses[0], b.status().Addresses[0]).must()
	alice, bob, carol := a.user("alice"), b.user("bob"), c.user("carol")
	for _, x := range []*client.Client{bob, carol} { // so that their providers come to know each other
		if err := alice.Accept(t.Context(), x.User()); err != nil {
			t.Fatal(err)
		}
	}
	if err := bob.Accept(t.Context(), carol.User()); err != nil {
		t.Fatal(err)
	}
	within(t, "all are connected", func() bool {
		return a.status().Peers == 2 && b.status().Peers == 2 && c.status().Peers == 2
	})
	var told []string
	heard := func() bool { // something about the look from outside
		for {
			select {
			case n := <-carol.Events():
				if x, ok := n.(client.ProviderSeen); ok {
					told = append(told, x.Outside)
				}
			default:
				return len(told) > 0
			}
		}
	}
	before, err := alice.Stock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// The first look may have been before anybody was there, and this is one more.
	if got := a.examined("outside"); len(got) != 1 || got[0].Outcome != admin.Good || !strings.Contains(got[0].Found, "a stranger has claimed a KeyPackage, from ") {
		t.Errorf("the doctor of atlanta says %+v", got)
	}
	if s := a.status(); s.Outside != "seen" || s.OutsideWhy != "" || s.Users != 1 {
		t.Errorf("the status of atlanta is %+v", s)
	}
	if s, err := alice.Stock(t.Context()); err != nil || s.Outside != "seen" || s.Available != before.Available {
		t.Errorf("alice is told %+v, %v; before %+v", s, err, before)
	}

	within(t, "carol's stream is open", func() bool { return c.status().Streams == 1 })
	got := c.examined("outside")
	if len(got) != 1 || got[0].Outcome != admin.Bad || !strings.Contains(got[0].Found, "atlanta.example: unreachable") || !strings.Contains(got[0].Found, "biloxi.example: unreachable") {
		t.Errorf("the doctor of chicago says %+v", got)
	}
	if s := c.status(); s.Outside != "unseen" || !strings.Contains(s.OutsideWhy, "unreachable") {
		t.Errorf("the status of chicago is %+v", s)
	}
	if log := c.log.String(); !strings.Contains(log, "other providers cannot claim KeyPackages here") || strings.Contains(log, "carol") {
		t.Errorf("the log of chicago says %s", log)
	}
	within(t, "carol's device is told", heard)
	if s, err := carol.Stock(t.Context()); err != nil || s.Outside != "unseen" || s.Level == "none" {
		t.Errorf("carol is told %+v, %v", s, err)
	}
	for r, want := range map[*running]string{a: "mimid_seen_from_outside 1", b: "mimid_held_requests 0", c: "mimid_seen_from_outside -1"} {
		resp, err := http.Get("http://" + r.cfg.Metrics.Listen + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || !slices.Contains(strings.Split(string(body), "\n"), want) {
			t.Errorf("the metrics of %s do not say %q: %v", r.cfg.Domain, want, err)
		}
	}
	if told[0] != "unseen" || slices.Contains(told, "seen") {
		t.Errorf("carol's device was told %q", told)
	}
}
