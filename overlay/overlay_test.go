package overlay_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mimid/mimid/overlay"
)

func TestThreeNodesResolveEachOther(t *testing.T) {
	nodes := providers(t, 3, func(i int, c *overlay.Config) {
		c.ReplicaWilling = i == 1
		c.DirectoryURL = "https://" + c.Domain + "/.well-known/mimi"
	})
	for _, o := range nodes {
		for i, other := range nodes {
			domain := []string{"p0.example", "p1.example", "p2.example"}[i]
			r := resolves(t, o, domain)
			if r.Domain != domain || !r.HasNode(other.Self()) || r.HasNode("x") || r.ReplicaWilling != (i == 1) || r.RelayWilling {
				t.Errorf("%+v", r)
			}
			if !r.ProviderKey.Equal(pub(key("provider " + domain))) {
				t.Errorf("%s: wrong key", domain)
			}
			if want := "https://" + domain + "/.well-known/mimi"; r.DirectoryURL != want {
				t.Errorf("directory URL %q, want %q", r.DirectoryURL, want)
			}
			if keys := o.Keys(domain); len(keys) != 1 || !keys[0].Equal(r.ProviderKey) {
				t.Errorf("%s: Keys %x", domain, keys)
			}
		}
	}
	known := nodes[0].Known()
	if len(known) != 3 {
		t.Fatalf("%+v", known)
	}
	for i, info := range known {
		want := overlay.FirstUse
		if i == 0 {
			want = overlay.Pinned // itself
		}
		if info.Trust != want || info.Conflicts != 0 || info.Connected != (i > 0) || info.Fingerprint != overlay.Fingerprint(pub(key("provider "+info.Domain))) {
			t.Errorf("%+v", info)
		}
	}
	if _, err := nodes[0].Resolve(context.Background(), "nobody.example"); !errors.Is(err, overlay.ErrUnknownProvider) {
		t.Errorf("resolving a name nobody has: %v", err)
	}
	if _, err := nodes[0].Resolve(context.Background(), "no body"); !errors.Is(err, overlay.ErrName) {
		t.Errorf("resolving no name: %v", err)
	}
}

// A node that starts before its bootstrap peer finds it soon after it comes.
func TestBootstrapPeerComesLater(t *testing.T) {
	addr := fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", port(t))

	late := config("late.example")
	late.Listen = []string{addr}
	ghost, err := overlay.New(late)
	if err != nil {
		t.Fatal(err)
	}
	early := config("early.example")
	early.Bootstrap = []string{addr + "/p2p/" + string(ghost.Self())}
	a, _ := start(t, early)
	if _, err := a.Resolve(context.Background(), "late.example"); !errors.Is(err, overlay.ErrNoPeers) {
		t.Errorf("alone: %v", err)
	}
	time.Sleep(2 * time.Second) // long enough for libp2p to have given up on the address

	up := make(chan time.Time, 1)
	a.OnConnect(func(overlay.PeerID) { up <- time.Now() })
	b, _ := start(t, late)
	began := time.Now()
	select {
	case at := <-up:
		if d := at.Sub(began); d > 2*time.Second {
			t.Errorf("found after %s", d)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("not found")
	}
	resolves(t, a, "late.example")
	resolves(t, b, "early.example")
}

func TestPortInUse(t *testing.T) {
	for _, transport := range []string{"/tcp/0", "/udp/0/quic-v1"} {
		first := config("first.example")
		first.Listen = []string{"/ip4/127.0.0.1" + transport}
		a, _ := start(t, first)

		second := config("second.example")
		second.Listen = []string{"/ip4/127.0.0.1/tcp/0", a.Addrs()[0]}
		b, err := overlay.New(second)
		if err != nil {
			t.Fatal(err)
		}
		err = b.Run(within(t, 10*time.Second))
		if !errors.Is(err, overlay.ErrListen) || !strings.Contains(err.Error(), a.Addrs()[0]) {
			t.Errorf("%s: %v", transport, err)
		}
		if _, err := b.Join("x", overlay.TopicHandler{}); !errors.Is(err, overlay.ErrNotRunning) {
			t.Errorf("after Run: %v", err)
		}
	}
}

func TestRunTwice(t *testing.T) {
	o, stop := start(t, config("a.example"))
	if err := o.Run(context.Background()); !errors.Is(err, overlay.ErrConfig) {
		t.Errorf("while running: %v", err)
	}
	stop()
	if err := o.Run(context.Background()); !errors.Is(err, overlay.ErrConfig) {
		t.Errorf("after running: %v", err)
	}
}

// Simultaneous calls for one name do one lookup, and one that gives up does not end it
// for the others.
func TestResolveOnce(t *testing.T) {
	reg := prometheus.NewRegistry()
	asked, answer := make(chan struct{}, 100), make(chan struct{})
	nodes := providers(t, 2, func(i int, c *overlay.Config) {
		if i == 0 {
			c.Registerer = reg
			c.TXT = func(context.Context, string) ([]string, error) {
				asked <- struct{}{}
				<-answer
				return nil, &net.DNSError{IsNotFound: true}
			}
		}
	})
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if _, err := nodes[0].Resolve(t.Context(), "p1.example"); err != nil {
				t.Error(err)
			}
		})
	}
	<-asked
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := nodes[0].Resolve(ctx, "p1.example"); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	close(answer)
	wg.Wait()
	if n := len(asked); n != 0 {
		t.Errorf("%d more lookups", n)
	}
}

// On the Internet private addresses are not published.
func TestPublicPublishesNoPrivateAddresses(t *testing.T) {
	c := config("a.example")
	c.Public = true
	o, _ := start(t, c)
	if addrs := o.Addrs(); len(addrs) != 0 {
		t.Errorf("%s", addrs)
	}
	c = config("b.example")
	c.Public, c.Announce = true, []string{"/ip4/198.51.100.7/tcp/4001"}
	o, _ = start(t, c)
	if r := resolves(t, o, "b.example"); len(r.Nodes[0].Addrs) != 1 || r.Nodes[0].Addrs[0] != c.Announce[0] {
		t.Errorf("%+v", r.Nodes)
	}
}
