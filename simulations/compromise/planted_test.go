package compromise

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mimid/mimid/simulations"
)

// Each run looks at all paths, and finds what is wrong with them.
func TestPlanted(t *testing.T) {
	p := Parameters{Relays: 40, Hostile: .25, Width: 10, Users: 40, Messages: 100, Epochs: 20, Lasts: simulations.Duration(40 * 24 * time.Hour)}
	for _, c := range []struct {
		name, want string // of a violation; empty: none
		operators  int
		plant      planted
	}{
		{"nothing", "", 0, planted{}},
		{"nothing, of few operators", "", 2, planted{}},
		{"a relay twice", "are one, or of one operator", 0, planted{path: func(_ *attack, _ string, _ int, path []int) []int {
			path[len(path)-1] = path[len(path)-2]
			return path
		}}},
		{"relays in another order", "is on a path in layer 0, and mixes in 1", 0, planted{path: func(_ *attack, _ string, _ int, path []int) []int {
			n := len(path)
			path[n-3], path[n-2] = path[n-2], path[n-3]
			return path
		}}},
		{"a mix too few", "a path has 2 mixes", 0, planted{path: func(_ *attack, _ string, _ int, path []int) []int { return path[:len(path)-1] }}},
		{"an entry that is left out", "begins with another one", 0, planted{path: func(_ *attack, way string, _ int, path []int) []int {
			if way == pinned {
				return path[1:]
			}
			return path
		}}},
		{"two relays of one operator", "are one, or of one operator", 1, planted{path: func(a *attack, _ string, _ int, path []int) []int {
			for l, layer := range a.check.layers {
				for _, i := range layer {
					if a.hostile[i] {
						path[len(path)-3+l] = i
					}
				}
			}
			return path
		}}},
		{"mixes of which the hostile ones are preferred", "packets met hostile relays only, and chance gives", 0, planted{path: func(a *attack, way string, exit int, path []int) []int {
			for l, layer := range a.check.layers {
				if i := slices.IndexFunc(layer, func(i int) bool { return a.hostile[i] && i != exit }); way == none && i >= 0 {
					path[l] = layer[i]
				}
			}
			return path
		}}},
		{"a list that most honest relays are not on", "hostile relays were chosen to mix over all epochs, and chance gives", 0, planted{only: func(hostile bool, i int) bool { return hostile || i%4 > 0 }}},
	} {
		t.Run(c.name, func(t *testing.T) {
			q := p
			q.Operators = c.operators
			if v := violations(t, q, c.plant); c.want == "" && v != "" || !strings.Contains(v, c.want) {
				t.Errorf("found %.500q, want %q", v, c.want)
			}
		})
	}
}

// An entry that is chosen anew before its time is found, by the check alone: the code of nodes keeps it.
func TestPlantedPin(t *testing.T) {
	for _, c := range []struct {
		after time.Duration
		want  string
	}{{29 * 24 * time.Hour, "user 0 has another entry after 696h0m0s"}, {30 * 24 * time.Hour, ""}} {
		sim := simulations.New(simulations.About{Name: "planted", Engine: simulations.Event}, struct{}{}, func(r *simulations.Run, _ struct{}) error {
			k := newCheck(r, Parameters{Users: 1}, make([]bool, 8), make([]string, 8))
			k.epoch([][]int{{0, 1}, {2, 3}, {4, 5}})
			k.path(2, 0, 0, 6, 5, []int{6, 0, 2, 4})
			k.path(2, 0, time.Hour, 6, 5, []int{6, 1, 2, 4})
			k.path(2, 0, c.after, 7, 5, []int{7, 0, 2, 4})
			return nil
		})
		if v := execute(t, sim); v != c.want && !strings.HasSuffix(v, c.want) || c.want == "" && v != "" {
			t.Errorf("after %s: found %q, want %q", c.after, v, c.want)
		}
	}
}

func violations(t *testing.T, p Parameters, plant planted) string {
	t.Helper()
	return execute(t, simulations.New(simulations.About{Name: "planted", Engine: simulations.Event}, p, func(r *simulations.Run, p Parameters) error { return plantedRun(r, p, plant) }))
}

func execute(t *testing.T, sim simulations.Simulation) string {
	t.Helper()
	s, err := simulations.Parse([]byte("simulation = \"planted\"\n"), "x", []simulations.Simulation{sim})
	if err != nil {
		t.Fatal(err)
	}
	r := s.Execute(t.Context(), nil)
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	return strings.Join(r.Violations(), "\n")
}
