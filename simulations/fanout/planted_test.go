package fanout

import (
	"strings"
	"testing"
	"time"

	"github.com/mimid/mimid/simulations"
	"github.com/mimid/mimid/simulations/gossip"
	"github.com/mimid/mimid/simulations/links"
)

// Each run looks at all deliveries, and finds what is wrong with them, by gossip and from a hub that sends to all itself.
func TestPlanted(t *testing.T) {
	for _, c := range []struct {
		name, want string // of a violation; empty: none
		plant      func(n *gossip.Network)
	}{
		{"nothing", "", func(*gossip.Network) {}},
		{"a message that is delivered twice", "twice", func(n *gossip.Network) {
			deliver := n.Deliver
			n.Deliver = func(m *gossip.Message, node int) { deliver(m, node); deliver(m, node) }
		}},
		{"a message that one does not get", "is said to be at", func(n *gossip.Network) {
			deliver := n.Deliver
			n.Deliver = func(m *gossip.Message, node int) {
				if node != 3 {
					deliver(m, node)
				}
			}
		}},
		{"a message that is faster than light", "sooner than the links allow", func(n *gossip.Network) {
			deliver := n.Deliver
			n.Deliver = func(m *gossip.Message, node int) {
				early := *m
				early.Published += 40 * time.Millisecond
				deliver(&early, node)
			}
		}},
		{"copies that nobody has sent", "and -", func(n *gossip.Network) { n.Copies -= 1 << 20 }},
	} {
		for _, mode := range []string{"gossip", "direct"} {
			p := Parameters{Nodes: 20, Mode: mode, Messages: 5, Every: simulations.Duration(time.Second), Arrivals: "even", Size: 100, Gossip: gossip.Usual(),
				Links: links.Spec{Model: "fixed", Low: simulations.Duration(20 * time.Millisecond)}}
			sim := simulations.New(simulations.About{Name: "planted", Engine: simulations.Event}, p, func(r *simulations.Run, p Parameters) error { return planted(r, p, c.plant) })
			s, err := simulations.Parse([]byte("simulation = \"planted\"\n"), "x", []simulations.Simulation{sim})
			if err != nil {
				t.Fatal(err)
			}
			r := s.Execute(t.Context(), nil)
			if r.Err != nil {
				t.Fatal(r.Err)
			}
			if v := strings.Join(r.Violations(), "\n"); c.want == "" && v != "" || !strings.Contains(v, c.want) {
				t.Errorf("%s, %s: found %q, want %q", c.name, mode, v, c.want)
			}
		}
	}
}
