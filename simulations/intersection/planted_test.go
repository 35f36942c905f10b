package intersection

import (
	"strings"
	"testing"

	"github.com/mimid/mimid/simulations"
)

// Each run looks at what was counted, and finds what cannot be.
func TestPlanted(t *testing.T) {
	usual := Parameters{Mailboxes: 500, Contacts: 5, Others: 50, Active: .3, Cover: .5, Online: .8, Rounds: 12_000}
	constant := usual
	constant.Cover, constant.Online = 1, 1 // nothing is found out, ever
	for _, c := range []struct {
		name, want string // of a violation; empty: none
		p          Parameters
		plant      func(*watching)
		named      func(*watching) int
	}{
		{"nothing", "", usual, nil, nil},
		{"nothing, with a constant rate", "", constant, nil, nil},
		{"a message that nobody has sent", "messages in", usual, func(w *watching) {
			if w.rounds[sent] == 77 {
				w.got[sent][9]++
			}
		}, nil},
		{"a message in a round in which the device is said to be idle", "messages in", usual, func(w *watching) {
			if w.rounds[idle] == 77 {
				w.got[idle][0]++
				w.got[sent][0]--
			}
		}, nil},
		{"a round that is not counted", "rounds were counted of 12000", usual, func(w *watching) {
			if w.rounds[sent] == 77 {
				w.rounds[sent]--
			}
		}, nil},
		{"a user that writes more", "the user wrote", usual, func(w *watching) { w.p.Active = .4 }, nil},
		{"a device that sends no cover", "its device sent", usual, func(w *watching) { w.p.Cover = 0 }, nil},
		{"a device that is always online", "its device sent", usual, func(w *watching) { w.p.Online = 1 }, nil},
		{"others that do not write to contacts", "others wrote to the contacts", usual, func(w *watching) {
			for i := range w.got[idle][:w.p.Contacts] {
				w.got[idle][100] += w.got[idle][i]
				w.got[idle][i] = 0
			}
		}, nil},
		{"who looks knows it at once", "all contacts are known after 10 rounds", usual, nil, func(w *watching) int { return w.p.Contacts }},
		{"who looks knows what cannot be known", "all contacts are known after 10 rounds", constant, nil, func(w *watching) int { return w.p.Contacts }},
		{"who looks sees nothing", "after 12000 rounds not all contacts are known", usual, nil, func(*watching) int { return 0 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.named == nil {
				c.named = (*watching).named
			}
			sim := simulations.New(simulations.About{Name: "planted", Engine: simulations.Event}, c.p, func(r *simulations.Run, p Parameters) error { return plantedRun(r, p, c.plant, c.named) })
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
