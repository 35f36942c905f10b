package overlay

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	kb "github.com/libp2p/go-libp2p-kbucket"
	"github.com/libp2p/go-libp2p/core/peer"
)

// TestMadeNextToTheAnnouncer: an attacker makes nodes next to the id of who announces, so that the network seems large and
// the key's region small to it, and 40 nearer to the key than any other, in networks of 300 honest nodes. The record still goes to honest
// nodes; by the estimate from around the own id alone it goes to none.
func TestMadeNextToTheAnnouncer(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: 24 networks of 300 nodes and more")
	}
	const networks, honest, key = 6, 300, 40
	var everywhere kb.ID
	for range 32 {
		everywhere = append(everywhere, 255)
	}
	for _, c := range []struct {
		name                 string
		spread, own, around  int
		hidden, hiddenBefore int // networks where nobody honest is told, at most, and by the own estimate alone at least
	}{
		{"20 nearer to the announcer than any", 0, 20, 0, 0, 5},
		{"20 at each of ten distances from the announcer", 0, 0, 20, 0, 5},
		{"20 nearer than any, and a quarter of all nodes", 100, 20, 0, 0, 5},
		{"20 at each of ten distances, and a quarter of all nodes", 100, 0, 20, 0, 5},
	} {
		hidden, before, held := 0, 0, 0
		for k := range uint64(networks) {
			target := kb.ConvertKey(fmt.Sprint("size ", k))
			s := newSimulated(k, target, honest, key, 0)
			announcer := s.ids[0]
			place := s.places[announcer]
			s.make(c.spread, target, everywhere)
			s.make(c.own, place, xor(s.places[s.nearest(s.ids, place)[1]], place))
			for depth := range 10 {
				edge := make(kb.ID, 32)
				binary.BigEndian.PutUint64(edge, 1<<(63-3-depth))
				s.make(c.around, place, edge)
			}
			told := func(size float64) (n int) {
				for _, p := range s.walk(announcer, target, size).holders(announceHolders) {
					if !s.bad[p] {
						n++
					}
				}
				return n
			}
			if told(s.own(announcer)) == 0 {
				before++
			}
			n := told(s.size(announcer))
			if held += n; n == 0 {
				hidden++
			}
		}
		t.Logf("%s: nobody honest is told in %d of %d networks, by the own estimate alone in %d; %.1f are as a rule", c.name, hidden, networks, before, float64(held)/networks)
		if hidden > c.hidden {
			t.Errorf("%s: nobody honest is told in %d of %d networks, want %d at most", c.name, hidden, networks, c.hidden)
		}
		if before < c.hiddenBefore {
			t.Errorf("%s: the attack works in %d of %d networks without a guard, want %d at least: it shows nothing", c.name, before, networks, c.hiddenBefore)
		}
	}
}

// TestSizeCost: where nobody attacks, an announcement asks hardly more nodes than by the estimate from around the own id
// alone. Before the first refresh it may ask some more.
func TestSizeCost(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: 120 walks in a network of 600 nodes")
	}
	target := kb.ConvertKey("cost")
	s := newSimulated(1, target, 600, 0, 0)
	own, believed, starting := 0, 0, 0
	for _, from := range s.ids[:40] {
		own += s.walk(from, target, s.own(from)).asked
		believed += s.walk(from, target, s.size(from)).asked
		starting += s.walk(from, target, believedSize(s.own(from), nil, s.least(from))).asked
	}
	t.Logf("40 announcements ask %d nodes, %d by the own estimate alone, %d before the first refresh", believed, own, starting)
	if float64(believed) > 1.03*float64(own) || float64(starting) > 1.1*float64(own) {
		t.Errorf("40 announcements ask %d nodes, %d before the first refresh, where the own estimate alone asks %d", believed, starting, own)
	}
}

func TestBelievedSize(t *testing.T) {
	for _, c := range []struct {
		why               string
		own               float64
		random            []float64
		least             float64
		want, wantsRadius float64
	}{
		{"as all say", 1000, []float64{900, 1100, 1000}, 5000, 1000, 30. / 1001},
		{"the own is smaller: a larger region does no harm", 400, []float64{900, 1100, 1000}, 1000, 400, 30. / 401},
		{"the own is greater, by what may be chance", 1400, []float64{900, 1100, 1000}, 1000, 1400, 30. / 1401},
		{"nodes were made next to us", 50_000, []float64{900, 1100, 1000}, 50_000, 1000, 30. / 1001},
		{"and at some of the places", 50_000, []float64{70_000, 1000, 900, 80_000, 950}, 50_000, 1000, 30. / 1001},
		{"of two the smaller", 50_000, []float64{70_000, 1000}, 50_000, 1000, 30. / 1001},
		{"nothing was met yet: what the table has", 50_000, nil, 320, 320, 30. / 321},
		{"nor is the table known", 50_000, nil, 0, 0, 1},
		{"a network that is one region", 12, []float64{12, 12, 12}, 12, 12, 1},
	} {
		got := believedSize(c.own, c.random, c.least)
		if got != c.want || regionRadius(got) != c.wantsRadius {
			t.Errorf("%s: %g, a region of %g, want %g and %g", c.why, got, regionRadius(got), c.want, c.wantsRadius)
		}
	}
}

func TestTableSize(t *testing.T) {
	for _, c := range []struct {
		why     string
		buckets []int
		want    float64
	}{
		{"empty", nil, 0},
		{"all of a small network", []int{12, 7, 3}, 24},
		{"two full", []int{20, 20, 10, 4}, 80},
		{"crowded deep down, where the honest are few", []int{20, 20, 10, 20, 20, 20}, 80},
	} {
		got := tableSize(func(cpl uint) int {
			if int(cpl) < len(c.buckets) {
				return c.buckets[cpl]
			}
			return 0
		})
		if got != c.want {
			t.Errorf("%s: %g, want %g", c.why, got, c.want)
		}
	}
	if got := tableSize(func(uint) int { return sizeNodes }); got != 1<<32 {
		t.Errorf("all full: %g", got)
	}
}

// TestSizes: only places that a refresh has drawn count, far from our own id, with those who answered while they were looked
// for, and once they are found; of many the newest.
func TestSizes(t *testing.T) {
	s := newSimulated(1, kb.ConvertKey("sizes"), 100, 0, 0)
	self := s.ids[0]
	seen := &sizes{self: s.places[self]}
	draw := func(cpl uint) string {
		id, err := kb.GenRandPeerIDWithCPL(s.places[self], cpl)
		if err != nil {
			t.Fatal(err)
		}
		return string(id)
	}
	look := func(key string, answers []peer.ID) {
		seen.asked(key)
		for _, p := range answers {
			seen.answered(key, p)
		}
	}
	var key [32]byte
	key[31] = 1
	others := []string{"", string(s.ids[1]), "/" + recordNamespace + "/x", string(announceHash(key)), draw(0)[1:], draw(0)[:33] + "x"}
	for _, k := range others {
		look(k, s.ids)
	}
	first := draw(0)
	look(first, s.ids[1:])
	look(draw(sizeDepth), s.ids) // near to us: ends what was looked for before, and does not count itself
	if got := seen.known(); len(got) != 1 || got[0] != networkSize(kb.ConvertKey(first), s.placesOf(s.nearest(s.ids[1:], kb.ConvertKey(first))[:sizeNodes])) {
		t.Fatalf("known %g, want one estimate of the %d nearest to the place", got, sizeNodes)
	}
	late := draw(1)
	look(late, nil)
	seen.answered(first, s.ids[1]) // too late
	look(draw(0), nil)
	if got := seen.known(); len(got) != 1 {
		t.Fatalf("known %g, but nobody has answered", got)
	}
	for range 2 {
		seen.asked(late)
		seen.answered(late, s.ids[1])
		seen.answered(late, s.ids[1]) // once more
	}
	if len(seen.near) != 1 {
		t.Errorf("%d have answered, want one", len(seen.near))
	}
	for range sizeSamples + 3 {
		look(draw(2), s.ids)
	}
	got := seen.known()
	if len(got) != sizeSamples || slices.Min(got) < 40 || slices.Max(got) > 250 {
		t.Errorf("of 100 nodes %d estimates are %.0f", len(got), got)
	}
}
