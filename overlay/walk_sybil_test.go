package overlay

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	kb "github.com/libp2p/go-libp2p-kbucket"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multihash"
)

// simulated is a DHT in which some nodes are one attacker's, as a pure model: tables are
// filled as kad-dht fills them, 20 nodes of each distance, and nothing takes time.
type simulated struct {
	random  *rand.Rand
	ids     []peer.ID
	places  map[peer.ID]kb.ID
	bad     map[peer.ID]bool
	tables  map[peer.ID][]peer.ID
	badIDs  []peer.ID
	holding map[peer.ID]bool // of honest nodes, that the record was given to
	sizes   map[peer.ID]float64
}

func (s *simulated) newID() peer.ID {
	b := make([]byte, 32)
	for i := range b {
		b[i] = byte(s.random.Uint32())
	}
	mh, err := multihash.Encode(b, multihash.SHA2_256)
	if err != nil {
		panic(err)
	}
	return peer.ID(mh)
}

// newSimulated makes a network of honest nodes, and of the attacker's that lie nearer to
// the target than the within-th honest one.
func newSimulated(seed uint64, target kb.ID, honest, bad, within int) *simulated {
	s := &simulated{random: rand.New(rand.NewPCG(seed, 1)), places: map[peer.ID]kb.ID{}, bad: map[peer.ID]bool{}, tables: map[peer.ID][]peer.ID{}, sizes: map[peer.ID]float64{}}
	for range honest {
		id := s.newID()
		s.ids = append(s.ids, id)
		s.places[id] = kb.ConvertPeerID(id)
	}
	s.make(bad, target, xor(s.places[s.nearest(s.ids, target)[within]], target))
	return s
}

// make makes nodes of the attacker's that lie nearer to a place than an edge.
func (s *simulated) make(count int, place, edge kb.ID) {
	for count > 0 {
		id := s.newID()
		at := kb.ConvertPeerID(id)
		if bytes.Compare(xor(at, place), edge) > 0 {
			continue
		}
		count--
		s.bad[id], s.places[id] = true, at
		s.badIDs, s.ids = append(s.badIDs, id), append(s.ids, id)
	}
}

func (s *simulated) nearest(ids []peer.ID, target kb.ID) []peer.ID {
	ids = slices.Clone(ids)
	slices.SortFunc(ids, func(a, b peer.ID) int { return bytes.Compare(xor(s.places[a], target), xor(s.places[b], target)) })
	return ids
}

// table is what a node knows: up to 20 of each distance.
func (s *simulated) table(id peer.ID) []peer.ID {
	if t, ok := s.tables[id]; ok {
		return t
	}
	count := map[int]int{}
	var out []peer.ID
	for _, i := range s.random.Perm(len(s.ids)) {
		other := s.ids[i]
		if cpl := kb.CommonPrefixLen(s.places[id], s.places[other]); other != id && count[cpl] < 20 {
			count[cpl]++
			out = append(out, other)
		}
	}
	s.tables[id] = out
	return out
}

// ask is what a node answers: honest ones what they know; the attacker's know nobody but
// each other, the nearest first, and hold nothing.
func (s *simulated) ask(id peer.ID, target kb.ID) (closer []peer.AddrInfo) {
	from := s.badIDs
	if !s.bad[id] {
		from = s.table(id)
	}
	near := s.nearest(from, target)
	for _, p := range near[:min(20, len(near))] {
		closer = append(closer, peer.AddrInfo{ID: p})
	}
	return closer
}

// plain is Kademlia's search: the 20 nearest that it hears of, asked until all are.
func (s *simulated) plain(from peer.ID, target kb.ID) []peer.ID {
	known, asked := map[peer.ID]bool{}, map[peer.ID]bool{}
	for _, p := range s.nearest(s.table(from), target)[:20] {
		known[p] = true
	}
	for {
		var list []peer.ID
		for p := range known {
			list = append(list, p)
		}
		list = s.nearest(list, target)
		list = list[:min(20, len(list))]
		next := slices.IndexFunc(list, func(p peer.ID) bool { return !asked[p] })
		if next < 0 {
			return list
		}
		asked[list[next]] = true
		for _, info := range s.ask(list[next], target) {
			known[info.ID] = true
		}
	}
}

// own is how many nodes there are by those next to a node's own id.
func (s *simulated) own(from peer.ID) float64 {
	return networkSize(s.places[from], s.placesOf(s.nearest(s.table(from), s.places[from])[:20]))
}

func (s *simulated) placesOf(ids []peer.ID) (out []kb.ID) {
	for _, p := range ids {
		out = append(out, s.places[p])
	}
	return out
}

// size is how many nodes a node believes that there are, after one refresh of its table.
func (s *simulated) size(from peer.ID) float64 {
	if n, ok := s.sizes[from]; ok {
		return n
	}
	seen := &sizes{self: s.places[from]}
	for cpl := range sizeDepth + 1 {
		key := s.drawn(from, cpl)
		seen.asked(key)
		for _, p := range s.plain(from, kb.ConvertKey(key)) {
			seen.answered(key, p)
		}
	}
	n := believedSize(s.own(from), seen.known(), s.least(from))
	s.sizes[from] = n
	return n
}

// drawn is a key as kb.GenRandPeerIDWithCPL draws it.
func (s *simulated) drawn(from peer.ID, cpl int) string {
	for {
		b := binary.BigEndian.AppendUint32([]byte("\x12\x20"), s.random.Uint32())
		if key := string(append(b, make([]byte, 28)...)); kb.CommonPrefixLen(kb.ConvertKey(key), s.places[from]) == cpl {
			return key
		}
	}
}

func (s *simulated) least(from peer.ID) float64 {
	counts := map[uint]int{}
	for _, p := range s.table(from) {
		counts[uint(kb.CommonPrefixLen(s.places[p], s.places[from]))]++
	}
	return tableSize(func(cpl uint) int { return counts[cpl] })
}

// walk is ours.
func (s *simulated) walk(from peer.ID, target kb.ID, size float64) *walk {
	var start []peer.AddrInfo
	for _, p := range s.nearest(s.table(from), target) {
		start = append(start, peer.AddrInfo{ID: p})
	}
	w := newWalk(from, target, regionRadius(size), 64, s.random.IntN, start)
	for h := w.next(); h != nil; h = w.next() {
		w.answer(h, nil, s.ask(h.info.ID, target))
	}
	return w
}

func (s *simulated) hold(nodes []peer.ID) {
	s.holding = map[peer.ID]bool{}
	for _, p := range nodes {
		if !s.bad[p] {
			s.holding[p] = true
		}
	}
}

func (s *simulated) found(nodes []peer.ID) bool {
	return slices.ContainsFunc(nodes, func(p peer.ID) bool { return s.holding[p] })
}

// TestSybilsNextToAKey: in a network of 600 honest nodes an attacker makes nodes next to a
// key, which answer with each other and hold no record. Success is that who searches meets
// a node that holds the record, of 60 searches for 6 keys; by Kademlia's own search and
// store, the 20 nearest, and by ours.
func TestSybilsNextToAKey(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: 360 searches in networks of 600 nodes")
	}
	const honest, keys, searches = 600, 6, 10
	for _, c := range []struct {
		name        string
		bad, within int
		least       int // percent
	}{
		{"none", 0, 1, 100},
		{"a quarter of the 40 nearest", 10, 30, 100},
		{"20 nearer than any", 20, 0, 100},
		{"40 nearer than any", 40, 0, 90},
		{"100 among the 30 nearest", 100, 30, 90},
		{"200 nearer than any", 200, 0, 0}, // more than a walk asks: shown, not promised
	} {
		plain, ours, asked := 0, 0, 0
		for k := range uint64(keys) {
			target := kb.ConvertKey(fmt.Sprint("key ", k))
			s := newSimulated(k, target, honest, c.bad, c.within)
			announcer := s.ids[0]
			s.hold(s.plain(announcer, target))
			for i := range searches {
				if s.found(s.plain(s.ids[1+i], target)) {
					plain++
				}
			}
			s.hold(s.walk(announcer, target, s.size(announcer)).holders(announceHolders))
			for i := range searches {
				w := s.walk(s.ids[1+i], target, s.own(s.ids[1+i]))
				asked += w.asked
				var all []peer.ID
				for id, h := range w.nodes {
					if h.answered {
						all = append(all, id)
					}
				}
				if s.found(all) {
					ours++
				}
			}
		}
		const total = keys * searches
		t.Logf("%s: Kademlia's search %d%%, ours %d%%, which asks %d nodes", c.name, 100*plain/total, 100*ours/total, asked/total)
		if 100*ours/total < c.least {
			t.Errorf("%s: ours finds it in %d of %d searches, want %d%% at least", c.name, ours, total, c.least)
		}
	}
}
