package eclipse

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

// A course says whom to ask in a lookup, and is told what they answer: overlay.Walk is one.
type course interface {
	Next() (overlay.PeerID, bool)
	Answer(from overlay.PeerID, announcers, closer []overlay.PeerID) (named []overlay.PeerID)
	Rest() []overlay.PeerID
	Holders() []overlay.PeerID
	Walked(overlay.PeerID) overlay.Walked
}

// limit is how many announcers a lookup names at most.
const limit = 20

// searching makes lookups in a network.
type searching struct {
	e     *engine.Engine
	n     *network
	mode  string
	rand  *rand.Rand
	model *links.Model

	run   *simulations.Run
	plant func(course) course // a bug, in tests; else nil

	places *rand.Rand      // where the size of the network is estimated
	sizes  map[int]float64 // of it, by who believes so
}

func newSearching(r *simulations.Run, e *engine.Engine, n *network, mode string) *searching {
	return &searching{run: r, e: e, n: n, mode: mode, rand: e.Rand("searches"), places: e.Rand("sizes"), sizes: map[int]float64{}}
}

// A lookup is one that has ended.
type lookup struct {
	course course
	look   *walks.Check
	found  bool
	took   time.Duration
	asked  int
	hops   int
}

// lookup makes one from a node, and tells of its end: when the announcer is named, or nobody is left to ask.
func (s *searching) lookup(from int, ended func(lookup)) {
	l := lookup{course: s.course(from)}
	if s.plant != nil {
		l.course = s.plant(l.course)
	}
	// Kademlia's search is here to compare with: it has no bounds.
	l.look = walks.New(s.n.nodes[from].id, limit, func(format string, args ...any) {
		if s.mode == "mimid" {
			s.run.Violate(format, args...)
		}
	})
	begun := s.e.Now()
	open, over := 0, false
	end := func(named []overlay.PeerID, by overlay.PeerID) {
		over, l.found, l.took = true, slices.Contains(named, announcement[0]), s.e.Now()-begun
		w := l.course.Walked(by)
		l.asked, l.hops = w.Asked, w.Hops
		ended(l)
	}
	var pump func()
	pump = func() {
		for id, ok := l.course.Next(); ok; id, ok = l.course.Next() {
			open++
			l.look.Asked(id)
			to := s.n.byID[id]
			const octets = 200
			s.e.After(s.model.Transit(from, to, octets, s.rand)+s.model.Transit(to, from, 10*octets, s.rand), func() {
				open--
				if over {
					return
				}
				announced, closer := s.n.ask(to)
				var who []overlay.PeerID
				if announced {
					who = announcement
				}
				s.e.Note(uint64(from)<<32 | uint64(to))
				l.look.Answered(id, who)
				if named := l.course.Answer(id, who, s.n.ids(closer)); len(named) > 0 {
					l.look.Named(named)
					end(named, id)
					return
				}
				pump()
			})
		}
		if open == 0 && !over {
			rest := l.course.Rest()
			l.look.Named(rest)
			l.look.Over()
			end(rest, "")
		}
	}
	pump()
}

func (s *searching) course(from int) course {
	n := s.n
	if s.mode == "kademlia" {
		return newKademlia(n, from, n.key)
	}
	return overlay.NewWalk(n.nodes[from].id, n.name, s.size(from), n.ids(n.nearest(from, n.key, len(n.nodes))), limit, s.rand.IntN)
}

// size is how many nodes a node believes that there are: by those next to its own id, and by those that it has met in one refresh
// of its routing table, for which it looks for a place at each of three distances, as Kademlia does. It takes no time and no messages: it was before.
func (s *searching) size(from int) float64 {
	if size, ok := s.sizes[from]; ok {
		return size
	}
	n := s.n
	self := n.nodes[from].place
	var met []float64
	for bits := range 3 {
		place := n.around(s.places, from, bits)
		k := newKademlia(n, from, place)
		for id, ok := k.Next(); ok; id, ok = k.Next() {
			k.Answer(id, nil, n.ids(n.askNear(n.byID[id], place)))
		}
		met = append(met, overlay.NetworkSize(place, k.Holders()))
	}
	size := overlay.BelievedSize(overlay.NetworkSize(self, n.ids(n.nearest(from, self, bucket))), met...)
	s.sizes[from] = size
	return size
}

func newKademlia(n *network, from int, to [32]byte) *kademlia {
	k := &kademlia{n: n, self: from, to: to, seen: map[int]int{from: 0}}
	k.hear(n.nearest(from, to, bucket), 1)
	return k
}

// kademlia is the search of Kademlia: the 20 nearest that it hears of, until all of them are asked;
// they are who is to hold the record.
type kademlia struct {
	n       *network
	self    int
	to      [32]byte
	known   []int       // the nearest first
	seen    map[int]int // with hops
	asked   map[int]bool
	waiting int
	answers int
}

// atOnce is how many requests kad-dht has open in a search.
const atOnce = 10

func (k *kademlia) hear(nodes []int, hops int) {
	for _, i := range nodes {
		if _, known := k.seen[i]; !known {
			k.seen[i] = hops
			k.known = append(k.known, i)
		}
	}
	k.n.sort(k.known, k.to)
}

func (k *kademlia) Next() (overlay.PeerID, bool) {
	if k.asked == nil {
		k.asked = map[int]bool{}
	}
	if k.waiting >= atOnce {
		return "", false
	}
	for _, i := range k.known[:min(bucket, len(k.known))] {
		if !k.asked[i] {
			k.asked[i] = true
			k.waiting++
			return k.n.nodes[i].id, true
		}
	}
	return "", false
}

func (k *kademlia) Answer(from overlay.PeerID, announcers, closer []overlay.PeerID) []overlay.PeerID {
	k.waiting--
	k.answers++
	var nodes []int
	for _, id := range closer {
		nodes = append(nodes, k.n.byID[id])
	}
	k.hear(nodes, k.seen[k.n.byID[from]]+1)
	return announcers
}

func (k *kademlia) Rest() []overlay.PeerID { return nil }

func (k *kademlia) Holders() []overlay.PeerID { return k.n.ids(k.known[:min(bucket, len(k.known))]) }

func (k *kademlia) Walked(p overlay.PeerID) overlay.Walked {
	w := overlay.Walked{Asked: len(k.asked), Answered: k.answers}
	if p != "" {
		w.Hops = k.seen[k.n.byID[p]]
	}
	return w
}
