package stack_test

import (
	"math"
	"strings"
	"testing"

	"github.com/mimid/mimid/simulations"
	"github.com/mimid/mimid/simulations/stack"
)

// The same scenario over streams in memory and over QUIC, packet by packet: medians agree within a fifth, and nothing is
// sooner than the links allow (which each run checks).
func TestTransportsAgree(t *testing.T) {
	const parameters = "simulation = \"gossip\"\nseed = 3\n[parameters]\nnodes = 10\nmessages = 30\nevery = \"200ms\"\nsettle = \"10s\"\n"
	for _, c := range []struct {
		links string
		least float64 // ms
	}{
		{"links = {model = \"uniform\", low = \"20ms\", high = \"80ms\", uplink = 100.0}\n", 20},
		{"links = {model = \"fixed\", low = \"50ms\"}\n", 50},
	} {
		if testing.Short() && c.least != 20 {
			continue
		}
		memory := run(t, parameters+c.links)
		quic := run(t, parameters+"transport = \"quic\"\n"+c.links)
		for _, r := range []*simulations.Result{memory, quic} {
			for _, v := range r.Violations() {
				t.Errorf("%s: %s", c.links, v)
			}
			if got := of(t, r, "reached"); got.Min < 1 {
				t.Errorf("%s: a message reached %.3f of the nodes", c.links, got.Min)
			}
		}
		a, b := of(t, memory, "latency"), of(t, quic, "latency")
		t.Logf("median %.1f ms over streams, %.1f ms over QUIC; least %.1f and %.1f; %.0f packets of a node", a.P50, b.P50, a.Min, b.Min, of(t, quic, "packets").Mean)
		if math.Abs(b.P50-a.P50) > a.P50/5 {
			t.Errorf("%s: median %.1f ms over streams, %.1f ms over QUIC", c.links, a.P50, b.P50)
		}
		if b.Min < c.least || b.Min > 1.5*c.least {
			t.Errorf("%s: the fastest message took %.1f ms, and the links take %.0f ms", c.links, b.Min, c.least)
		}
	}
}

// QUIC sends again what is lost: all messages reach all, with a tenth of all packets lost.
func TestLossOverQUIC(t *testing.T) {
	r := run(t, "simulation = \"gossip\"\nseed = 4\n[parameters]\nnodes = 6\nmessages = 20\nsettle = \"10s\"\ntransport = \"quic\"\nlinks = {model = \"fixed\", low = \"20ms\", loss = 0.1}\n")
	for _, v := range r.Violations() {
		t.Error(v)
	}
	if got := of(t, r, "reached"); got.Min < 1 {
		t.Errorf("a message reached %.3f of the nodes", got.Min)
	}
	if lost := of(t, r, "lost").Mean; lost < .07 || lost > .13 {
		t.Errorf("%.3f of the packets were lost, want a tenth", lost)
	}
}

// Searches over QUIC find the announcer, before and after some nodes fall silent, whose packets are lost then, and while nodes come and go.
func TestDiscoveryOverQUIC(t *testing.T) {
	for _, c := range []struct{ name, text string }{
		{"silence", "dead = 0.3\n"},
		{"coming and going", "dead = 0.0\nlasts = \"20m\"\nchurn = {model = \"exponential\", up = \"10m\", down = \"5m\"}\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if testing.Short() && c.name != "silence" {
				t.Skip("takes ten times as long")
			}
			r := run(t, "simulation = \"discovery\"\nseed = 4\n[parameters]\nnodes = 8\ntransport = \"quic\"\nkeys = 2\nsearches = 4\nsettle = \"5s\"\n"+
				"links = {model = \"uniform\", low = \"10ms\", high = \"60ms\"}\n"+c.text)
			for _, v := range r.Violations() {
				t.Error(v)
			}
			phases := 0
			for _, g := range r.Groups() {
				if g.Metric == "found" {
					phases++
					if g.Min != 1 {
						t.Errorf("%v: of %d searches the worst found %g", g.Labels, g.Count, g.Min)
					}
				}
			}
			if phases != 2 {
				t.Errorf("%d phases were observed, want two", phases)
			}
		})
	}
}

func TestTransportsThatAreRefused(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"simulation = \"gossip\"\n[parameters]\ntransport = \"tcp\"\n", `parameters.transport = "tcp" must be memory or quic`},
		{"simulation = \"gossip\"\n[parameters]\nnodes = 151\ntransport = \"quic\"\n", `is for 150 nodes at most, and parameters.nodes = 151`},
		{"simulation = \"discovery\"\n[parameters]\nnodes = 200\ntransport = \"quic\"\n", `is for 150 nodes at most, and parameters.nodes = 200`},
		{"simulation = \"room\"\n[parameters]\ntransport = \"quic\"\n", `there is no key "parameters.transport"`},
	} {
		_, err := simulations.Parse([]byte(c.text), "x", []simulations.Simulation{stack.Gossip(), stack.Room(), stack.Discovery()})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %q", c.text, err, c.want)
		}
	}
	for _, text := range []string{"simulation = \"gossip\"\n[parameters]\nnodes = 150\ntransport = \"quic\"\n", "simulation = \"discovery\"\n[parameters]\nnodes = 1000\ntransport = \"memory\"\n"} {
		if _, err := simulations.Parse([]byte(text), "x", []simulations.Simulation{stack.Gossip(), stack.Discovery()}); err != nil {
			t.Error(err)
		}
	}
}
