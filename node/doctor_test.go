package node_test

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/mimid/mimid/node"
	"github.com/mimid/mimid/node/admin"
)

// examined has a node examine itself, and returns what it found of one part.
func (r *running) examined(part string) (out []admin.Check) {
	r.t.Helper()
	a, err := admin.Dial(r.t.Context(), r.dir)
	if err != nil {
		r.t.Fatal(err)
	}
	defer a.Close()
	x, err := a.Doctor(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	for _, c := range x.Checks {
		if c.Part == part {
			out = append(out, c)
		}
	}
	return out
}

// TestDoctor: a clock that is off, a DNS record that names another key, and one that is right
// are found; and users are counted, not named.
func TestDoctor(t *testing.T) {
	a := prepare(t, "atlanta.example")
	a.now = func() time.Time { return time.Now().Add(2 * time.Minute) }
	a.must()
	b := prepare(t, "biloxi.example", a.status().Addresses[0]).must()
	share(t, a, b) // alice and bob, so that the two know each other
	for _, x := range []struct {
		at   *running
		want string
	}{{a, "2m0s off the clocks of 1 connected"}, {b, "within 1s of the clocks of 1 connected"}} {
		got := x.at.examined("clock")
		if len(got) != 1 || !strings.Contains(got[0].Found, x.want) || (got[0].Outcome == admin.Bad) != (x.at == a) {
			t.Errorf("clock of %s: %+v, want %q", x.at.cfg.Domain, got, x.want)
		}
	}
	if got := a.examined("keypackages"); len(got) != 1 || got[0].Outcome != admin.Good || !strings.Contains(got[0].Found, "1 users") || strings.Contains(got[0].Found, "alice") {
		t.Errorf("KeyPackages: %+v", got)
	}
	if got := a.examined("key"); len(got) != 1 || got[0].Outcome != admin.Note {
		t.Errorf("a key that DNS is not asked for: %+v", got)
	}
	for _, part := range []string{"record", "reachability", "certificate", "disk", "providers", "deliveries", "evaluators", "quotas", "exposure"} {
		if got := a.examined(part); len(got) == 0 || got[0].Found == "" || got[0].Outcome == admin.Bad {
			t.Errorf("%s: %+v", part, got)
		}
	}
}

// TestKeyInDNS: what DNS says of the provider key.
func TestKeyInDNS(t *testing.T) {
	const own = "aabb"
	for what, x := range map[string]struct {
		list []string
		err  error
		want admin.Outcome
	}{
		"it":              {[]string{"v=spf1 -all", "v=mimi1; fp=aabb"}, nil, admin.Good},
		"another one":     {[]string{"v=mimi1; fp=ccdd"}, nil, admin.Bad},
		"nothing":         {nil, &net.DNSError{Err: "no such host", IsNotFound: true}, admin.Note},
		"nothing of it":   {[]string{"v=spf1 -all"}, nil, admin.Note},
		"an empty answer": {nil, nil, admin.Note},
		"no answer":       {nil, context.DeadlineExceeded, admin.Note},
	} {
		got := node.CheckKeyInDNS(t.Context(), "a.example", own, func(_ context.Context, name string) ([]string, error) {
			if name != "_mimi.a.example" {
				t.Errorf("%s is asked for", name)
			}
			return x.list, x.err
		})
		if got.Outcome != x.want || got.Outcome != admin.Good && got.Do == "" {
			t.Errorf("DNS says %s: %+v, want %s", what, got, x.want)
		}
	}
}

func TestScopeOfAddress(t *testing.T) {
	for addr, want := range map[string]string{"/ip4/127.0.0.1/tcp/1": "machine", "/ip6/::1/tcp/1": "machine", "/ip4/0.0.0.0/tcp/1": "machine",
		"/ip4/192.168.1.2/tcp/1": "private", "/ip6/fd00::1/udp/1/quic-v1": "private", "/ip4/203.0.113.7/tcp/1": "public", "/dns4/a.example/tcp/1": "public", "": "public"} {
		if got := node.ScopeOfAddress(addr); got != want {
			t.Errorf("%q is %s, want %s", addr, got, want)
		}
	}
}
