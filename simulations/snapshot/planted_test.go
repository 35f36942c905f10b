package snapshot

import (
	"strings"
	"testing"

	"github.com/mimid/mimid/protocol/onion"
	"github.com/mimid/mimid/protocol/onion/relays"
	"github.com/mimid/mimid/simulations"
)

// Each run looks at which lists are valid and what is proven, and finds what cannot be.
func TestPlanted(t *testing.T) {
	whatever := func(list []byte, epoch onion.Epoch, signed []relays.Cosignature) error { return nil }
	for _, c := range []struct {
		name, want string // of a violation; empty: none
		hostile    int
		withhold   bool
		plant      planted
	}{
		{"nothing", "", 2, true, planted{}},
		{"nothing, and two lists are valid", "", 5, false, planted{}},
		{"any list is taken", "two lists of one epoch were valid in 3 epochs, with 2 of 7 witnesses hostile", 2, false, planted{verify: whatever}},
		{"any list is taken, of a later epoch, too", "was taken for that of the next", 2, false, planted{verify: whatever}},
		{"no proof is made of two signatures", "and no witness is shown to have signed both", 5, false,
			planted{contradicts: func(_, _ relays.Cosignature) bool { return false }}},
		{"who has signed one list is said to have signed two", "is shown to have signed two lists, and has signed one", 2, true,
			planted{contradicts: func(_, _ relays.Cosignature) bool { return true }}},
		{"no list is taken", "and 7 of 7 witnesses have signed one", 0, false,
			planted{verify: func([]byte, onion.Epoch, []relays.Cosignature) error { return relays.ErrCosignatures }}},
		{"a list that too few have signed", "is taken, which 2 of 7 witnesses have signed", 2, true, planted{verify: whatever}},
		{"a path of hostile relays for everybody", "packets met hostile relays only, and chance gives", 0, false,
			planted{hostile: func(all bool) bool { return true }}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := Parameters{Relays: 24, Bad: .25, Width: 4, Witnesses: 7, Hostile: c.hostile, Withhold: c.withhold, Epochs: 3, Packets: 50, Tries: 1}
			sim := simulations.New(simulations.About{Name: "planted", Engine: simulations.Event}, p, func(r *simulations.Run, p Parameters) error { return plantedRun(r, p, c.plant) })
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
