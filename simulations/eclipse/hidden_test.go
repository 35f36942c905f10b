package eclipse

import (
	"testing"
	"time"

	"github.com/mimid/mimid/overlay"
	"github.com/mimid/mimid/simulations"
	"github.com/mimid/mimid/simulations/engine"
	"github.com/mimid/mimid/simulations/links"
)

// told is how many honest nodes get the record from an announcer that lies so far from the key among honest nodes, in a network of 300 whose
// key has 40 made nodes nearer than any; besiegers are nearer to the announcer than any. naive: it believes
// what those next to it let expect, as nodes once did.
func told(seed uint64, rank, besiegers int, naive bool) (good int) {
	e := engine.New(seed)
	n := newNetwork(e.Rand("network"), seed, 300, 1, 40)
	honest := n.honest()
	n.sort(honest, n.key)
	id := n.nodes[honest[rank]].id
	if besiegers > 0 {
		n.besiege(id, besiegers)
	}
	s := newSearching(new(simulations.Run), e, n, "mimid")
	s.model = links.New(links.Spec{Model: "cities", Jitter: .05}, len(n.nodes), e.Rand("links"))
	from := n.byID[id]
	if naive {
		place := n.nodes[from].place
		s.sizes[from] = overlay.NetworkSize(place, n.ids(n.nearest(from, place, bucket)))
	}
	s.lookup(from, func(l lookup) {
		for _, id := range l.course.Holders() {
			if !n.nodes[n.byID[id]].bad {
				good++
			}
		}
	})
	e.Run(time.Hour)
	return good
}

// An announcer that is itself the honest node next to an attacked key has nobody but the attacker's 40 as neighbours. So it would take the network
// for far greater than it is, and the key's region for far smaller, did it not know better from random places; and all that it knows next to
// the key are the attacker's, did it not begin one path elsewhere.
func TestAnnouncerNextToTheKey(t *testing.T) {
	for _, rank := range []int{0, 1, 3, 12, 200} {
		for seed := range uint64(10) {
			if told(seed, rank, 0, false) == 0 {
				t.Errorf("network %d: if %d honest nodes are nearer to the key than the announcer, its record is at nobody honest", seed, rank)
			}
		}
	}
}

// Whoever makes 20 nodes next to an announcer's id, anywhere, can do no more.
func TestBesieged(t *testing.T) {
	naively := 0
	for _, rank := range []int{12, 200} {
		for seed := range uint64(10) {
			if told(seed, rank, 20, false) == 0 {
				t.Errorf("network %d: the record of an announcer with %d honest nodes nearer to the key is at nobody honest", seed, rank)
			}
			if told(seed, rank, 20, true) == 0 {
				naively++
			}
		}
	}
	if naively < 15 {
		t.Errorf("who believes its neighbours is deceived in %d of 20 networks only: the attack is none", naively)
	}
}
