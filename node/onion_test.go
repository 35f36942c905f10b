package node_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/mimid/mimid/node"
	"github.com/mimid/mimid/overlay"
	"github.com/mimid/mimid/protocol/onion"
	"github.com/mimid/mimid/protocol/onion/relays"
)

// TestOnionAddress: relays are told apart by the IP addresses of their overlay.
func TestOnionAddress(t *testing.T) {
	for text, want := range map[string]string{
		"/ip4/192.0.2.1/tcp/4001":             "192.0.2.1",
		"/ip4/192.0.2.1/udp/4001/quic-v1":     "192.0.2.1",
		"/ip6/2001:db8::1/tcp/4001":           "2001:db8::1",
		"/dns4/atlanta.example/tcp/4001":      "",
		"/ip6zone/x/ip6/fe80::1/tcp/1":        "",
		"/ip6/::ffff:192.0.2.1/tcp/1":         "", // one writing of each
		"/ip4/none/tcp/1":                     "",
		"/ip4":                                "",
		"":                                    "",
		"ip4/192.0.2.1/tcp/4001/ip4/10.0.0.1": "",
	} {
		a, ok := node.OnionAddressOf(text)
		if ok != (want != "") || ok && a.String() != want {
			t.Errorf("%q: %v, %t", text, a, ok)
		}
	}
}

// TestOnionVouch: a record speaks for a node that it names, at an address that it names; where it names none,
// at any.
func TestOnionVouch(t *testing.T) {
	rec := &overlay.Record{Nodes: []overlay.Node{
		{ID: "one", Addrs: []string{"/ip4/192.0.2.1/tcp/1", "/ip6/2001:db8::1/tcp/1"}},
		{ID: "two", Addrs: []string{"/dns4/a.example/tcp/1"}},
	}}
	for _, c := range []struct {
		id   overlay.PeerID
		at   string
		want bool
	}{
		{"one", "192.0.2.1", true}, {"one", "2001:db8::1", true}, {"one", "192.0.2.2", false},
		{"two", "192.0.2.2", true}, {"three", "192.0.2.1", false},
	} {
		if got := node.OnionSpeaksFor(rec, c.id, netip.MustParseAddr(c.at)); got != c.want {
			t.Errorf("%s at %s: %t", c.id, c.at, got)
		}
	}
}

// TestAnonymitySet: nobody hides among more than there are, and nobody at all where relays hold few packets.
func TestAnonymitySet(t *testing.T) {
	for _, c := range []struct {
		nodes int
		rate  uint32
		want  float64
	}{
		{9, 100, 1},    // 0.45 packets a layer: thin
		{9, 4000, 9},   // 18 packets, in layers of two: as many as there are
		{9, 1000, 1},   // 4.5
		{30, 1000, 30}, // 15 packets, 95 by the closed form
		{64, 450, 64},  // 14.4 packets
		{12, 2340, 12}, // 14.04
		{12, 2300, 1},  // 13.8 in two relays are less than seven each
	} {
		terms := relays.Terms{Format: onion.Format{Suite: onion.X25519, Class: onion.Class8K}, Length: time.Hour, Rate: c.rate, Delay: 500 * time.Millisecond}
		key, err := onion.GenerateKey(onion.X25519)
		if err != nil {
			t.Fatal(err)
		}
		var all []*relays.Relay
		for i := range c.nodes {
			seed := sha256.Sum256([]byte{byte(i)})
			r, err := relays.Descriptor{Suite: onion.X25519, Provider: fmt.Sprintf("p%d.example", i), Operator: fmt.Sprint(i), Address: netip.AddrFrom4([4]byte{10, byte(i), 0, 1}),
				Capacity: 1000, First: 7, Keys: []onion.PublicKey{key.Public()}}.Sign(ed25519.NewKeyFromSeed(seed[:]))
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, r)
		}
		b, err := terms.Snapshot(7, [32]byte{}, all).Bytes()
		if err != nil {
			t.Fatal(err)
		}
		_, w, _ := ed25519.GenerateKey(rand.Reader)
		list, err := relays.Witnesses{"w": w.Public().(ed25519.PublicKey)}.Verify(b, 7, []relays.Cosignature{relays.Cosign("w", w, 7, relays.Hash(b))})
		if err != nil {
			t.Fatal(err)
		}
		a, err := list.Active()
		if err != nil {
			t.Fatal(err)
		}
		if got := node.AnonymitySet(list, a); got != c.want {
			t.Errorf("%d nodes, %d packets in 1,000 s each: %v, not %v", c.nodes, c.rate, got, c.want)
		}
	}
}

// TestTripTimes: a request and its answer wait for a time to leave, and at the other end, and go over three relays
// each; loops go over three.
func TestTripTimes(t *testing.T) {
	if c, m := node.TripTimes(0.5, 500*time.Millisecond, 0); c != 5500*time.Millisecond || m != 0 {
		t.Errorf("without loops: %v, %v", c, m)
	}
	if c, m := node.TripTimes(10, 20*time.Millisecond, 65*time.Millisecond); c != 240*time.Millisecond || m != 250*time.Millisecond {
		t.Errorf("with loops: %v, %v", c, m)
	}
}
