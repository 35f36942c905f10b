package mixing

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mimid/mimid/protocol/onion"
	"github.com/mimid/mimid/simulations"
	"github.com/mimid/mimid/simulations/anonymity"
	"github.com/mimid/mimid/simulations/mixnet"
)

// Each run looks at all packets, verdicts and conclusions, and finds what is wrong with them.
func TestPlanted(t *testing.T) {
	usual := Defaults()
	usual.Providers, usual.Relays, usual.Targets, usual.Lasts = 20, 18, 60, simulations.Duration(30*time.Second)
	dying := usual
	dying.Dying, dying.Size = .4, 9000 // two parts
	bad := usual
	bad.Bad = .3
	covered := usual
	covered.Dummies.Rate = 5
	sent := 0
	for _, c := range []struct {
		name, want string // of a violation; empty: none
		p          Parameters
		plant      planted
	}{
		{"nothing", "", usual, planted{}},
		{"nothing, and relays die", "", dying, planted{}},
		{"nothing, and some are bad", "", bad, planted{}},
		{"nothing, and mixes make dummies", "", covered, planted{}},
		{"a part that is called all of its message", "called delivered and have not arrived", dying, planted{status: func(onion.Status) onion.Status { return onion.Complete }}},
		{"retries that nobody thinks of", "has no verdict", dying, planted{asleep: true}},
		{"a packet that comes twice", "packets were sent", usual, planted{send: func(n *mixnet.Network, p *mixnet.Packet) {
			if sent++; sent == 500 {
				again := *p
				n.Send(&again)
			}
			n.Send(p)
		}}},
		{"a packet that is lost without a trace", "packets were sent", usual, planted{send: func(n *mixnet.Network, p *mixnet.Packet) {
			if sent++; sent != 700 {
				n.Send(p)
			}
		}}},
		{"mixes that do not wait", "its mixes were to keep it", usual, planted{took: func(d time.Duration) time.Duration { return d / 4 }}},
		{"who looks is too sure", "guesses were right, and they say", usual, planted{follows: func(places []anonymity.Place) []anonymity.Place {
			best := 0
			for i := range places {
				if places[i].P > places[best].P {
					best = i
				}
			}
			out := slices.Clone(places)
			for i := range out {
				out[i].P *= .01
			}
			out[best].P += .99
			return out
		}}},
		{"who looks excludes what is true", "excludes what is true", usual, planted{follows: func(places []anonymity.Place) []anonymity.Place {
			return []anonymity.Place{{Packet: -2, End: 0, P: 1}}
		}}},
		{"chances that are more than one", "are 2.0000 together", usual, planted{follows: func(places []anonymity.Place) []anonymity.Place {
			return append(slices.Clone(places), places...)
		}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			sent = 0
			sim := simulations.New(simulations.About{Name: "planted", Engine: simulations.Event}, c.p, func(r *simulations.Run, p Parameters) error { return plantedRun(r, p, c.plant) })
			s, err := simulations.Parse([]byte("simulation = \"planted\"\n"), "x", []simulations.Simulation{sim})
			if err != nil {
				t.Fatal(err)
			}
			r := s.Execute(t.Context(), nil)
			if r.Err != nil {
				t.Fatal(r.Err)
			}
			if v := strings.Join(r.Violations(), "\n"); c.want == "" && v != "" || !strings.Contains(v, c.want) {
				t.Errorf("found %.500q, want %q", v, c.want)
			}
		})
	}
}
