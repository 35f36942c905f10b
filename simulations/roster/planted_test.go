package roster

import (
	"strings"
	"testing"
	"time"

	"github.com/mimid/mimid/simulations"
)

// Each run looks at all that the hub is given, and finds what its level should have hidden, and what is wrong.
func TestPlanted(t *testing.T) {
	levels := []string{open, pseudonymous, onionLevel}
	for _, c := range []struct {
		name   string
		want   string // of a violation; empty: none
		levels []string
		plant  planted
	}{
		{"nothing", "", levels, planted{}},
		{"a name on a list", "the list of mimi://hub.example/r/room0 has the name of a user", levels[1:], planted{called: func(u *user, name string) string {
			if strings.HasSuffix(u.name, "1") {
				return u.name
			}
			return name
		}}},
		{"a name in a request", "has the name of a user", levels[1:], planted{sending: func(_ string, _ *room, u *user, _ string) string { return u.name }}},
		{"a pseudonym where there should be none", "says that it is of", levels[2:], planted{sending: func(_ string, x *room, u *user, _ string) string { return x.called[u] }}},
		{"the provider where there should be none", "names its sender, or the provider", levels[2:], planted{sending: func(_ string, x *room, u *user, s string) string {
			return s + "/" + u.provider
		}}},
		{"a request of another participant", "is taken for one of", levels[:2], planted{sending: func(_ string, x *room, u *user, s string) string {
			if u == x.members[0] {
				return x.called[x.members[1]]
			}
			return s
		}}},
		{"a request of nobody on the list, and the envelope of another provider", "is taken for one of", levels[:2], planted{
			sending: func(_ string, x *room, _ *user, _ string) string { return x.uri }, source: func(string) string { return "q.example" }}},
		{"a message that is lost", "have come", levels, planted{come: func(func()) {}}},
		{"a message that comes twice", "have come", levels, planted{come: func(come func()) { come(); come() }}},
		{"a packet that is shorter", "has 8667 octets", levels[2:], planted{octets: func(n int) int { return n - 1 }}},
	} {
		for _, level := range c.levels {
			t.Run(c.name+", "+level, func(t *testing.T) {
				p := Parameters{Level: level, Providers: 3, Users: 12, Rooms: 2, Members: 20, Rate: 2, Habit: simulations.Duration(time.Hour), Lasts: simulations.Duration(24 * time.Hour), Size: 100}
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
}
