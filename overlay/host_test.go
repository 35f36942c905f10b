package overlay_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/multiformats/go-multiaddr"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/mimid/mimid/overlay"
)

// Many peers behind one address, each with a request. libp2p exempts the loopback
// interface from some of its limits by address; TestManyConnectionsFromOneAddress shows
// the others.
func TestManyPeersOnOneMachine(t *testing.T) {
	hub, _ := start(t, config("hub.example"))
	const peers = 40
	var hosts [peers]host.Host
	for i := range hosts {
		hosts[i], _ = raw(t, hub)
	}
	var wg sync.WaitGroup
	for _, h := range hosts {
		wg.Go(func() {
			id := overlay.PeerID(h.ID().String())
			if !hub.Connected(id) {
				t.Errorf("%s is not connected", id)
			}
			s, err := h.NewStream(within(t, 5*time.Second), hub.Self().Libp2p(), "/mimid/http/1.1")
			if err != nil {
				t.Error(err)
				return
			}
			defer s.Close()
			s.SetDeadline(time.Now().Add(5 * time.Second))
			io.WriteString(s, "GET / HTTP/1.1\r\nHost: hub.example\r\nConnection: close\r\n\r\n")
			if got, err := io.ReadAll(s); err != nil || !strings.Contains(string(got), "from "+string(id)) {
				t.Errorf("%s: %q %v", id, got, err)
			}
		})
	}
	wg.Wait()
}

func TestManyConnectionsFromOneAddress(t *testing.T) {
	m, err := overlay.Resources(overlay.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	for _, c := range []struct{ addr, other string }{
		{"/ip4/203.0.113.7/udp/4001/quic-v1", "/ip4/203.0.113.8/udp/4001/quic-v1"},
		{"/ip6/2001:db8::7/udp/4001/quic-v1", "/ip6/2001:db8:1::7/udp/4001/quic-v1"},
	} {
		addr := multiaddr.StringCast(c.addr)
		opened := 0
		for range 400 {
			scope, err := m.OpenConnection(network.DirInbound, false, addr)
			if err != nil {
				break
			}
			scope.SetPeer("") // leaves the transient scope, as a handshake does
			opened++
		}
		if opened < 40 || opened > 256 {
			t.Errorf("%s: %d connections at once", c.addr, opened)
		}
		if _, err := m.OpenConnection(network.DirInbound, false, multiaddr.StringCast(c.other)); err != nil {
			t.Errorf("another address suffers: %v", err)
		}
	}
}

func TestBlock(t *testing.T) {
	t.Parallel() // it waits most of the time
	kv := &overlay.MemoryKV{}
	var configs [2]overlay.Config
	nodes := providers(t, 2, func(i int, c *overlay.Config) {
		if i == 0 {
			c.KV = kv
		}
		configs[i] = *c
	})
	a, b := nodes[0], nodes[1]
	down := make(chan overlay.PeerID, 1)
	a.OnDisconnect(func(p overlay.PeerID) { down <- p })
	if err := a.Block(b.Self()); err != nil {
		t.Fatal(err)
	}
	if p := <-down; p != b.Self() {
		t.Errorf("%s is disconnected", p)
	}
	time.Sleep(700 * time.Millisecond) // b tries its bootstrap peer again meanwhile
	if a.Connected(b.Self()) || !slices.Equal(a.Blocked(), []overlay.PeerID{b.Self()}) {
		t.Errorf("blocked %s, connected %t", a.Blocked(), a.Connected(b.Self()))
	}
	name, _ := overlay.PeerHost(b.Self())
	if _, err := a.Client().Get("http://" + name + "/"); !errors.Is(err, overlay.ErrUnreachable) {
		t.Errorf("request to a blocked peer: %v", err)
	}
	c := config("p0.example")
	c.KV, c.NodeKey = kv, key("another node")
	again, err := overlay.New(c) // as after a restart
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(again.Blocked(), []overlay.PeerID{b.Self()}) {
		t.Errorf("after a restart: %s", again.Blocked())
	}
	if err := a.Unblock(b.Self()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "b comes back", func() error {
		if !a.Connected(b.Self()) {
			return errors.New("not connected")
		}
		return nil
	})
	for _, err := range []error{a.Block("x"), a.Unblock("x")} {
		if !errors.Is(err, overlay.ErrName) {
			t.Errorf("%v", err)
		}
	}
}

func TestConnectEvents(t *testing.T) {
	hub, _ := start(t, config("hub.example"))
	up, down := make(chan overlay.PeerID, 9), make(chan overlay.PeerID, 9)
	stopUp := hub.OnConnect(func(p overlay.PeerID) { up <- p })
	hub.OnDisconnect(func(p overlay.PeerID) { down <- p })
	c := config("a.example")
	c.Bootstrap = boot(hub)
	a, stop := start(t, c)
	if p := <-up; p != a.Self() {
		t.Errorf("%s connected", p)
	}
	late := make(chan overlay.PeerID, 9)
	hub.OnConnect(func(p overlay.PeerID) { late <- p })
	if p := <-late; p != a.Self() {
		t.Errorf("a function registered later hears of %s", p)
	}
	stop()
	if p := <-down; p != a.Self() {
		t.Errorf("%s disconnected", p)
	}
	stopUp()
	b := config("b.example")
	b.Bootstrap = boot(hub)
	start(t, b)
	<-late
	select {
	case p := <-up:
		t.Errorf("a function that was stopped hears of %s", p)
	default:
	}
}

// A node finds its network again without its bootstrap peers, through providers that it
// knew before.
func TestRejoinThroughKnownProviders(t *testing.T) {
	nodes := providers(t, 2, nil)
	c := config("back.example")
	c.Bootstrap = boot(nodes[0])
	o, stop := start(t, c)
	resolves(t, o, "p1.example")
	stop()
	c.Bootstrap = nil
	o, _ = start(t, c)
	if !o.Connected(nodes[1].Self()) {
		t.Error("not connected")
	}
}

func TestRunLeavesNothing(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	c := config("a.example")
	c.Listen = nil // TCP and QUIC
	a, stopA := start(t, c)
	d := config("b.example")
	d.Listen, d.Bootstrap = nil, boot(a)
	b, stopB := start(t, d)
	resolves(t, b, "a.example")
	mustGet(t, b, "http://a.example/")
	join(t, a, "x", (&inbox{}).handler(nil))
	join(t, b, "x", (&inbox{}).handler(nil))
	stopA()
	stopB()
	if a.Addrs() != nil {
		t.Error("addresses after Run")
	}
}

// Requests being served when Run is to end are finished, new ones are not begun.
func TestStopServesWhatItBegan(t *testing.T) {
	inside, finish := make(chan struct{}), make(chan struct{})
	c := config("slow.example")
	c.Handler = slow(inside, finish)
	o, stop := start(t, c)
	d := config("b.example")
	d.Bootstrap = boot(o)
	b, _ := start(t, d)
	resolves(t, b, "slow.example")
	answer := make(chan string)
	go func() { answer <- mustGet(t, b, "http://slow.example/") }()
	<-inside
	stopped := make(chan struct{})
	go func() { stop(); close(stopped) }()
	eventually(t, "stopping", func() error {
		if o.Addrs() != nil {
			return errors.New("still running")
		}
		return nil
	})
	close(finish)
	if got := <-answer; got != "finished" {
		t.Errorf("%q", got)
	}
	<-stopped
}

func TestConfigErrors(t *testing.T) {
	long := strings.Repeat("x", 600)
	for why, change := range map[string]func(c *overlay.Config){
		"no domain":            func(c *overlay.Config) { c.Domain = "" },
		"bad domain":           func(c *overlay.Config) { c.Domain = "a b" },
		"no provider key":      func(c *overlay.Config) { c.ProviderKey = nil },
		"no node key":          func(c *overlay.Config) { c.NodeKey = nil },
		"one key for both":     func(c *overlay.Config) { c.NodeKey = c.ProviderKey },
		"no KV":                func(c *overlay.Config) { c.KV = nil },
		"bad listen":           func(c *overlay.Config) { c.Listen = []string{"127.0.0.1:1"} },
		"bad announce":         func(c *overlay.Config) { c.Announce = []string{"x"} },
		"bootstrap without id": func(c *overlay.Config) { c.Bootstrap = []string{"/ip4/127.0.0.1/tcp/1"} },
		"bad bootstrap":        func(c *overlay.Config) { c.Bootstrap = []string{"x"} },
		"bad pin":              func(c *overlay.Config) { c.Pins = map[string]string{"a.example": "x"} },
		"bad pin name":         func(c *overlay.Config) { c.Pins = map[string]string{"a b": fingerprint("x")} },
		"pin of oneself":       func(c *overlay.Config) { c.Pins = map[string]string{"a.example": fingerprint("x")} },
		"bad directory":        func(c *overlay.Config) { c.DirectoryURL = "ftp://x" },
		"long directory":       func(c *overlay.Config) { c.DirectoryURL = "https://x/" + long },
		"bad sibling":          func(c *overlay.Config) { c.Siblings = []overlay.Node{{ID: "x"}} },
		"bad rotation":         func(c *overlay.Config) { c.Rotations = make([]overlay.Rotation, 1) },
		"negative limit":       func(c *overlay.Config) { c.Limits.Streams = -1 },
		"negative time":        func(c *overlay.Config) { c.Limits.IdleTimeout = -1 },
		"negative bytes":       func(c *overlay.Config) { c.Limits.BodyBytes = -1 },
		"one stream":           func(c *overlay.Config) { c.Limits.StreamsPerPeer = 1 },
	} {
		c := config("a.example")
		change(&c)
		if _, err := overlay.New(c); !errors.Is(err, overlay.ErrConfig) {
			t.Errorf("%s: %v", why, err)
		}
	}
	if _, err := overlay.SignRotation("a b", key("x"), pub(key("y"))); !errors.Is(err, overlay.ErrName) {
		t.Errorf("%v", err)
	}
	if _, err := overlay.SignRotation("a.example", nil, pub(key("y"))); !errors.Is(err, overlay.ErrConfig) {
		t.Errorf("%v", err)
	}
	if _, err := overlay.SelfProvingName(nil); err == nil {
		t.Error("a name without a key")
	}
	if _, err := overlay.PeerHost("x"); !errors.Is(err, overlay.ErrName) {
		t.Errorf("%v", err)
	}
	broken := errors.New("disk is broken")
	c := config("a.example")
	kv := &strictKV{t: t, failWith: broken}
	c.KV = kv
	if _, err := overlay.New(c); err != nil { // reads by Scan only, which strictKV lets through
		t.Error(err)
	}
	damaged := &overlay.MemoryKV{}
	damaged.Write(context.Background(), []overlay.Write{{Key: []byte("p/x.example"), Value: []byte("x")}})
	c.KV = damaged
	if _, err := overlay.New(c); !errors.Is(err, overlay.ErrRecord) || !strings.Contains(err.Error(), "x.example") {
		t.Errorf("damaged store: %v", err)
	}
}

func TestMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	c := config("hub.example")
	c.Registerer = reg
	a, _ := start(t, c)
	d := config("b.example")
	d.Bootstrap = boot(a)
	start(t, d)
	resolves(t, a, "b.example")
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]float64)
	for _, f := range families {
		if m := f.GetMetric()[0]; m.GetGauge() != nil {
			got[f.GetName()] = m.GetGauge().GetValue()
		} else if m.GetCounter() != nil {
			got[f.GetName()] = m.GetCounter().GetValue()
		}
	}
	for name, want := range map[string]float64{
		"mimid_overlay_known_providers": 2, "mimid_overlay_connected_peers": 1, "mimid_overlay_routing_table_peers": 1,
		"mimid_overlay_topics": 0, "mimid_overlay_key_conflicts": 0, "mimid_overlay_topic_messages_received_total": 0,
	} {
		if v, ok := got[name]; !ok || v != want {
			t.Errorf("%s is %v, want %v", name, v, want)
		}
	}
	if lookups := got["mimid_overlay_record_lookups_total"]; lookups < 1 {
		t.Errorf("%v lookups", lookups)
	}
	if _, err := overlay.New(c); !errors.Is(err, overlay.ErrConfig) {
		t.Errorf("two overlays in one registry: %v", err)
	}
}
