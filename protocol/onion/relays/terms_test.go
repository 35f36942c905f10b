package relays_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mimid/mimid/protocol/onion"
	"github.com/mimid/mimid/protocol/onion/relays"
)

var terms = relays.Terms{Format: onion.Format{Suite: onion.X25519, Class: onion.Class8K}, Length: time.Hour, Rate: 500, Delay: 500 * time.Millisecond}

// TestEpochs: epochs follow each other without a gap, and each begins when it says.
func TestEpochs(t *testing.T) {
	now := time.Date(2026, 11, 30, 13, 59, 59, 999, time.UTC)
	e := terms.Epoch(now)
	if b := terms.Begin(e); !b.Equal(time.Date(2026, 11, 30, 13, 0, 0, 0, time.UTC)) {
		t.Errorf("begins at %v", b)
	}
	if b := terms.Begin(e + 1); terms.Epoch(b) != e+1 || terms.Epoch(b.Add(-1)) != e {
		t.Errorf("the next one begins at %v", b)
	}
}

func TestTermsRefused(t *testing.T) {
	for name, change := range map[string]func(*relays.Terms){
		"epochs too short":  func(x *relays.Terms) { x.Length = time.Second },
		"not whole seconds": func(x *relays.Terms) { x.Length += time.Millisecond },
		"epochs too long":   func(x *relays.Terms) { x.Length = 25 * time.Hour },
		"no packets":        func(x *relays.Terms) { x.Rate = 0 },
		"too many packets":  func(x *relays.Terms) { x.Rate = relays.MaxRate + 1 },
		"no format":         func(x *relays.Terms) { x.Format.Class = 9 },
		"a broken delay":    func(x *relays.Terms) { x.Delay++ },
	} {
		x := terms
		if change(&x); x.Check() == nil {
			t.Error(name)
		}
	}
	if err := terms.Check(); err != nil {
		t.Error(err)
	}
}

// TestOneSnapshot: in whatever order descriptors are known, and however often, the snapshot is the same,
// with the newest of each node.
func TestOneSnapshot(t *testing.T) {
	list := []*relays.Relay{relay(t, 1, nil), relay(t, 2, nil), relay(t, 3, nil)}
	older := relay(t, 2, func(d *relays.Descriptor) { d.First--; d.Keys = append(d.Keys, onionKey) })
	gone := relay(t, 4, func(d *relays.Descriptor) { d.First -= 2 })
	early := relay(t, 5, func(d *relays.Descriptor) { d.First++ })
	want, err := terms.Snapshot(epoch, [32]byte{1}, list).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		all := append(slices.Clone(list), older, gone, early, list[0])
		random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		s := terms.Snapshot(epoch, [32]byte{1}, all)
		got, err := s.Bytes()
		if err != nil || !bytes.Equal(got, want) || s.Rate != 1500 {
			t.Fatalf("another snapshot: %v, rate %d", err, s.Rate)
		}
	}
	// Two descriptors of one time: a node cannot have two lists by publishing both.
	twin := relay(t, 1, func(d *relays.Descriptor) { d.Operator = "another" })
	a, b := terms.Snapshot(epoch, [32]byte{}, []*relays.Relay{list[0], twin}), terms.Snapshot(epoch, [32]byte{}, []*relays.Relay{twin, list[0]})
	if len(a.Relays) != 1 || a.Relays[0].Descriptor().Operator != b.Relays[0].Descriptor().Operator {
		t.Error("the order decides")
	}
}

// TestJudge: what a witness signs keeps the terms, and leaves out nobody that it knows.
func TestJudge(t *testing.T) {
	list := []*relays.Relay{relay(t, 1, nil), relay(t, 2, nil), relay(t, 3, nil)}
	known := append(slices.Clone(list[:2]), relay(t, 9, func(d *relays.Descriptor) { d.First -= 2 }))
	for _, c := range []struct {
		name   string
		change func(*relays.Snapshot)
		want   string
	}{
		{"as it should be", func(*relays.Snapshot) {}, ""},
		{"one more than the witness knows", func(s *relays.Snapshot) { s.Relays = append(s.Relays, relay(t, 8, nil)); s.Sort(); s.Rate = 2000 }, ""},
		{"another rate", func(s *relays.Snapshot) { s.Rate++ }, "1501 packets"},
		{"another delay", func(s *relays.Snapshot) { s.Delay += time.Millisecond }, "501ms"},
		{"another class", func(s *relays.Snapshot) { s.Format.Class = onion.Class2K }, "format"},
		{"one is left out", func(s *relays.Snapshot) {
			s.Relays = slices.DeleteFunc(s.Relays, func(r *relays.Relay) bool { return r.Node() == list[1].Node() })
			s.Rate = 1000
		}, "p2.example is left out"},
	} {
		s := terms.Snapshot(epoch, [32]byte{}, list)
		c.change(s)
		err := terms.Judge(s, known)
		if (c.want == "") != (err == nil) || err != nil && (!errors.Is(err, relays.ErrSnapshot) || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// TestEntries: a first hop mixes for others and has nothing in common with the node; and nobody has one
// where a layer has a single relay.
func TestEntries(t *testing.T) {
	var list []*relays.Relay
	for i := range 8 {
		list = append(list, relay(t, i, func(d *relays.Descriptor) {
			switch i {
			case 6:
				d.Capacity = 0
			case 7:
				d.Operator = "operator-0" // the node's own
			}
		}))
	}
	c := cosigned(t, terms.Snapshot(epoch, [32]byte{1}, list))
	a, err := c.Active()
	if err != nil || len(a.Layers[0]) != 2 {
		t.Fatalf("%v, %d wide", err, len(a.Layers[0]))
	}
	got := map[onion.NodeID]bool{}
	for _, r := range c.Entries(a, list[0].Node()) {
		got[r.Node()] = true
	}
	for i, r := range list {
		if want := i >= 1 && i <= 5; got[r.Node()] != want {
			t.Errorf("relay %d: %t", i, got[r.Node()])
		}
	}
	few := cosigned(t, terms.Snapshot(epoch, [32]byte{1}, list[:4]))
	if a, err = few.Active(); err != nil || few.Entries(a, list[0].Node()) != nil {
		t.Errorf("%v, an entry among four relays", err)
	}
	if c.Entries(a, onion.NodeID{1}) != nil {
		t.Error("an entry for a node that is not in the list")
	}
	if r := list[6]; r.Willing() || !list[5].Willing() {
		t.Error("willing")
	}
	if k := list[5].NodeKey(); relays.NodeOf(k) != list[5].Node() {
		t.Error("the node's key is not that of its name")
	}
}
