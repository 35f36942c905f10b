package lookup

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/mimid/mimid/overlay"
	"github.com/mimid/mimid/simulations"
	"github.com/mimid/mimid/simulations/engine"
	"github.com/mimid/mimid/simulations/links"
	"github.com/mimid/mimid/simulations/walks"
)

// announced is a key, and who has its record: nodes keep it while they are away.
type announced struct {
	name    [32]byte
	place   [32]byte
	owner   int
	holders map[int]bool
}

// A course says whom to ask in a walk, and is told what comes of it: overlay.Walk is one.
type course interface {
	answering
	Next() (overlay.PeerID, bool)
	Rest() []overlay.PeerID
	Holders() []overlay.PeerID
	Walked(overlay.PeerID) overlay.Walked
}

type answering interface {
	Answer(from overlay.PeerID, announcers, closer []overlay.PeerID) (named []overlay.PeerID)
	Slow(overlay.PeerID)
	Fail(overlay.PeerID)
}

// searching makes walks in a network.
type searching struct {
	run   *simulations.Run
	plant func(course) course // a bug, in tests; else nil
	e     *engine.Engine
	n     *network
	rand  *rand.Rand
	model *links.Model
}

// A result is what a walk came to.
type result struct {
	found bool
	took  time.Duration
	did   overlay.Walked
	dead  int // nodes that were asked and were gone
	to    []overlay.PeerID
}

// walk goes as a real node does (overlay.Announcers): it asks until the owner is named, nobody is left, or nothing has come for
// a while. With all it goes on to the end, as who announces does.
func (s *searching) walk(from int, k *announced, all bool, ended func(result)) {
	n, e := s.n, s.e
	self := n.nodes[from].id
	owner := n.nodes[k.owner].id
	begun := e.Now()
	if !all && k.holders[from] {
		e.After(0, func() { ended(result{found: true}) })
		return
	}
	// Nobody attacks here, so that what a node estimates from who is next to it is what it believes (overlay.BelievedSize).
	size := overlay.NetworkSize(n.nodes[from].place, n.nearest(from, n.nodes[from].place, bucket, begun))
	const limit = 20
	var w course = overlay.NewWalk(self, k.name, size, n.nearest(from, k.place, len(n.nodes), begun), limit, s.rand.IntN)
	if s.plant != nil {
		w = s.plant(w)
	}
	look := walks.New(self, limit, s.run.Violate)
	open, over, news, answers, dead := 0, false, 0, 0, 0
	end := func(named []overlay.PeerID, by overlay.PeerID) {
		over = true
		holders := w.Holders()
		look.Holders(holders)
		ended(result{slices.Contains(named, owner), e.Now() - begun, w.Walked(by), dead, holders})
	}
	last := func() {
		rest := w.Rest()
		look.Named(rest)
		look.Over()
		end(rest, "")
	}
	var patience func()
	patience = func() {
		seen := news
		e.After(overlay.WalkPatience, func() {
			switch {
			case over || seen != news: // another one waits
			case answers >= overlay.WalkEnough:
				last()
			default:
				patience()
			}
		})
	}
	var pump func()
	ask := func(id overlay.PeerID) {
		open++
		look.Asked(id)
		to := n.byID[id]
		const octets = 200
		there := s.model.Transit(from, to, octets, s.rand)
		if !n.up(to, e.Now()+there) {
			dead++
			e.After(overlay.WalkSlow, func() {
				if !over {
					w.Slow(id)
					pump()
				}
			})
			e.After(overlay.WalkTimeout, func() {
				open--
				if !over {
					w.Fail(id)
					pump()
				}
			})
			return
		}
		e.After(there, func() {
			if over {
				return
			}
			var who []overlay.PeerID
			if k.holders[to] {
				who = []overlay.PeerID{owner}
			}
			closer := n.nearest(to, k.place, bucket, e.Now())
			e.After(s.model.Transit(to, from, 10*octets, s.rand), func() {
				if open--; over {
					return
				}
				e.Note(uint64(from)<<32 | uint64(to))
				answers++
				news++
				patience()
				look.Answered(id, who)
				named := w.Answer(id, who, closer)
				look.Named(named)
				if !all && slices.Contains(named, owner) {
					end(named, id)
					return
				}
				pump()
			})
		})
	}
	pump = func() {
		for id, ok := w.Next(); ok; id, ok = w.Next() {
			ask(id)
		}
		if open == 0 && !over {
			last()
		}
	}
	patience()
	pump()
}
