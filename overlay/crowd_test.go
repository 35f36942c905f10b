package overlay

import (
	"fmt"
	"testing"

	kb "github.com/libp2p/go-libp2p-kbucket"
)

// TestCrowdedRegion: nodes that somebody has made next to a key are seen there, at nine of ten keys or
// more; and in a network where nobody has, no key seems crowded.
func TestCrowdedRegion(t *testing.T) {
	for _, c := range []struct {
		name        string
		bad, within int
		own         int // next to who looks
		least, most int // keys of ten
	}{
		{"none", 0, 1, 0, 0, 0},
		{"60 nearer than any", 60, 0, 0, 10, 10},
		{"100 among the 30 nearest", 100, 30, 0, 9, 10},
		{"60 nearer than any, and 20 next to us", 60, 0, 20, 9, 10},
	} {
		t.Run(c.name, func(t *testing.T) {
			crowded := 0
			for k := range uint64(10) {
				target := kb.ConvertKey(fmt.Sprint("crowd ", k))
				s := newSimulated(k, target, 600, c.bad, c.within)
				if c.own > 0 {
					place := s.places[s.ids[0]]
					s.make(c.own, place, xor(s.places[s.nearest(s.ids, place)[1]], place))
				}
				r := s.walk(s.ids[0], target, s.size(s.ids[0])).region()
				if r.All || r.Expected != regionNodes {
					t.Errorf("key %d: %+v", k, r)
				}
				if r.Crowded() {
					crowded++
				}
			}
			if crowded < c.least || crowded > c.most {
				t.Errorf("%d of ten keys are crowded; between %d and %d were to be", crowded, c.least, c.most)
			}
		})
	}
	if (Region{Nodes: 1000, Expected: 30, All: true}).Crowded() {
		t.Error("a network that is one region is crowded")
	}
}

// TestKeysAfter: whoever goes on from another place comes to see all keys, and none twice at a time.
func TestKeysAfter(t *testing.T) {
	a := &announcer{keys: map[[32]byte]struct{}{{1}: {}, {3}: {}, {5}: {}}}
	for from, want := range map[[32]byte]string{{}: "1 3", {2}: "3 5", {3}: "3 5", {5}: "5 1", {6}: "1 3"} {
		got := a.after(from, 2)
		if len(got) != 2 || fmt.Sprint(got[0][0], " ", got[1][0]) != want {
			t.Errorf("after %d: %v, want %s", from[0], got, want)
		}
	}
	if got := a.after([32]byte{4}, 9); len(got) != 3 || len(a.keys) != 3 {
		t.Errorf("all: %v", got)
	}
	if got := new(announcer).after([32]byte{}, 3); len(got) != 0 {
		t.Errorf("of none: %v", got)
	}
}
