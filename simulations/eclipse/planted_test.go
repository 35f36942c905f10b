package eclipse

import (
	"slices"
	"strings"
	"testing"

	"github.com/mimid/mimid/overlay"
	"github.com/mimid/mimid/simulations"
	"github.com/mimid/mimid/simulations/links"
)

// A bug is one of a walk: of whom it asks, whom it names, who is to hold a record.
type bug struct {
	course
	next    func(c course) (overlay.PeerID, bool)
	answer  func(named []overlay.PeerID) []overlay.PeerID
	holders func(list []overlay.PeerID) []overlay.PeerID
}

func (b *bug) Next() (overlay.PeerID, bool) {
	if b.next != nil {
		return b.next(b.course)
	}
	return b.course.Next()
}

func (b *bug) Answer(from overlay.PeerID, announcers, closer []overlay.PeerID) []overlay.PeerID {
	named := b.course.Answer(from, announcers, closer)
	if b.answer != nil {
		named = b.answer(named)
	}
	return named
}

func (b *bug) Rest() []overlay.PeerID {
	rest := b.course.Rest()
	if b.answer != nil {
		rest = b.answer(rest)
	}
	return rest
}

func (b *bug) Holders() []overlay.PeerID {
	if b.holders != nil {
		return b.holders(b.course.Holders())
	}
	return b.course.Holders()
}

// Each run looks at all its walks, and finds what is wrong with them.
func TestPlanted(t *testing.T) {
	for _, c := range []struct {
		name, want string // of a violation; empty: none
		plant      func() *bug
	}{
		{"nothing", "", func() *bug { return &bug{} }},
		{"a walk that forgets whom it has asked", "twice", func() *bug {
			var before overlay.PeerID
			return &bug{next: func(c course) (overlay.PeerID, bool) {
				if before != "" {
					defer func() { before = "" }()
					return before, true
				}
				id, ok := c.Next()
				before = id
				return id, ok
			}}
		}},
		{"a walk that makes up an announcer", "whom nobody has named", func() *bug {
			return &bug{answer: func(named []overlay.PeerID) []overlay.PeerID { return append(named, "made up") }}
		}},
		{"a walk that keeps back whom it has found", "has named 0 announcers at its end", func() *bug {
			return &bug{answer: func([]overlay.PeerID) []overlay.PeerID { return nil }}
		}},
		{"a record for a node that was not asked", "who has not answered", func() *bug {
			return &bug{holders: func(list []overlay.PeerID) []overlay.PeerID { return append(slices.Clone(list[1:]), "absent") }}
		}},
		{"a record for few", "to 3 nodes only", func() *bug {
			return &bug{holders: func(list []overlay.PeerID) []overlay.PeerID { return list[:3] }}
		}},
	} {
		sim := simulations.New(simulations.About{Name: "planted", Engine: simulations.Event}, Parameters{Nodes: 200, Share: .25, Near: 40, Mode: "mimid", Searches: 3, Lookups: 1, Links: links.Spec{Model: "cities"}}, func(r *simulations.Run, p Parameters) error {
			return planted(r, p, func(inner course) course {
				b := c.plant()
				b.course = inner
				return b
			})
		})
		s, err := simulations.Parse([]byte("simulation = \"planted\"\n"), "x", []simulations.Simulation{sim})
		if err != nil {
			t.Fatal(err)
		}
		r := s.Execute(t.Context(), nil)
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		if v := strings.Join(r.Violations(), "\n"); c.want == "" && v != "" || !strings.Contains(v, c.want) {
			t.Errorf("%s: found %q, want %q", c.name, v, c.want)
		}
	}
}
