package relays_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mimid/mimid/protocol/onion"
	"github.com/mimid/mimid/protocol/onion/relays"
	"pgregory.net/rapid"
)

const epoch onion.Epoch = 500_000

// nodeKey is the same for the same number, so that snapshots can be made twice.
func nodeKey(i int) ed25519.PrivateKey {
	seed := sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(i)))
	return ed25519.NewKeyFromSeed(seed[:])
}

// onionKey is one public key for all, since no test here unwraps anything but TestPathIsBuilt.
var onionKey = func() onion.PublicKey {
	k, err := onion.ParsePublicKey(onion.X25519, append([]byte{9}, make([]byte, 31)...))
	if err != nil {
		panic(err)
	}
	return k
}()

func descriptor(i int) relays.Descriptor {
	return relays.Descriptor{
		Suite: onion.X25519, Provider: fmt.Sprintf("p%d.example", i), Operator: fmt.Sprintf("operator-%d", i), Network: uint32(i + 1),
		Address: netip.AddrFrom4([4]byte{10, byte(i), 0, 1}), Capacity: 1000, First: epoch, Keys: []onion.PublicKey{onionKey, onionKey},
	}
}

func relay(t interface{ Fatal(...any) }, i int, change func(*relays.Descriptor)) *relays.Relay {
	d := descriptor(i)
	if change != nil {
		change(&d)
	}
	r, err := d.Sign(nodeKey(i))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func snapshot(rate uint32, list ...*relays.Relay) *relays.Snapshot {
	s := &relays.Snapshot{Format: onion.Format{Suite: onion.X25519, Class: onion.Class8K}, Epoch: epoch, Previous: [32]byte{1}, Rate: rate,
		Delay: 500 * time.Millisecond, Relays: slices.Clone(list)}
	s.Sort()
	return s
}

func cosigned(t interface{ Fatal(...any) }, s *relays.Snapshot) *relays.Cosigned {
	b, err := s.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	w := nodeKey(9999)
	c, err := relays.Witnesses{"w": w.Public().(ed25519.PublicKey)}.Verify(b, s.Epoch, []relays.Cosignature{relays.Cosign("w", w, s.Epoch, relays.Hash(b))})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestDescriptor: what was signed is read as it was, and no octet of it can be changed.
func TestDescriptor(t *testing.T) {
	r := relay(t, 1, nil)
	got, err := relays.ParseRelay(r.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if got.Node() != r.Node() || got.Node() != relays.NodeOf(nodeKey(1).Public().(ed25519.PublicKey)) || !bytes.Equal(got.Bytes(), r.Bytes()) {
		t.Error("another relay was read")
	}
	a, b := got.Descriptor(), descriptor(1)
	if a.Provider != b.Provider || a.Operator != b.Operator || a.Network != b.Network || a.Address != b.Address || a.Capacity != b.Capacity || a.First != b.First || len(a.Keys) != 2 {
		t.Errorf("%+v was read", a)
	}
	for e, want := range map[onion.Epoch]bool{epoch - 1: false, epoch: true, epoch + 1: true, epoch + 2: false, 0: false} {
		if _, ok := got.Key(e); ok != want {
			t.Errorf("a key of epoch %d: %v", e, ok)
		}
	}
	raw := r.Bytes()
	for i := range raw {
		raw[i] ^= 1
		if _, err := relays.ParseRelay(raw); !errors.Is(err, relays.ErrDescriptor) {
			t.Errorf("octet %d changed: %v", i, err)
		}
		raw[i] ^= 1
	}
	for _, n := range []int{0, 1, len(raw) - 1} {
		if _, err := relays.ParseRelay(raw[:n]); !errors.Is(err, relays.ErrDescriptor) {
			t.Errorf("%d octets: %v", n, err)
		}
	}
	if _, err := relays.ParseRelay(make([]byte, 9<<10)); !errors.Is(err, relays.ErrDescriptor) {
		t.Error("too long:", err)
	}
}

// TestDescriptorRefusals: what a relay cannot say of itself.
func TestDescriptorRefusals(t *testing.T) {
	for why, change := range map[string]func(*relays.Descriptor){
		"no suite":             func(d *relays.Descriptor) { d.Suite = 0 },
		"keys of another":      func(d *relays.Descriptor) { d.Suite = onion.XWing },
		"no provider":          func(d *relays.Descriptor) { d.Provider = "" },
		"upper case":           func(d *relays.Descriptor) { d.Operator = "Operator" },
		"a line break":         func(d *relays.Descriptor) { d.Operator = "a\nb" },
		"a long name":          func(d *relays.Descriptor) { d.Provider = strings.Repeat("a", 256) },
		"no address":           func(d *relays.Descriptor) { d.Address = netip.Addr{} },
		"an address of a zone": func(d *relays.Descriptor) { d.Address = netip.MustParseAddr("fe80::1%eth0") },
		"IPv4 as IPv6":         func(d *relays.Descriptor) { d.Address = netip.MustParseAddr("::ffff:10.0.0.1") },
		"no keys":              func(d *relays.Descriptor) { d.Keys = nil },
		"four keys":            func(d *relays.Descriptor) { d.Keys = []onion.PublicKey{onionKey, onionKey, onionKey, onionKey} },
		"a key that is none":   func(d *relays.Descriptor) { d.Keys = []onion.PublicKey{{}} },
		"the end of time":      func(d *relays.Descriptor) { d.First = ^onion.Epoch(0) },
	} {
		d := descriptor(1)
		change(&d)
		if _, err := d.Sign(nodeKey(1)); !errors.Is(err, relays.ErrDescriptor) {
			t.Errorf("%s: %v", why, err)
		}
	}
}

// TestSnapshot: one list has one writing, whoever made it, and is read as it was written.
func TestSnapshot(t *testing.T) {
	list := []*relays.Relay{relay(t, 1, nil), relay(t, 2, nil), relay(t, 3, nil)}
	s := snapshot(100_000, list...)
	b, err := s.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	slices.Reverse(list)
	if again, err := snapshot(100_000, list...).Bytes(); err != nil || !bytes.Equal(again, b) {
		t.Error("in another order it is written otherwise:", err)
	}
	got, err := relays.ParseSnapshot(b)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := got.Bytes(); err != nil || !bytes.Equal(again, b) {
		t.Error("read and written again:", err)
	}
	if got.Rate != s.Rate || got.Delay != s.Delay || got.Epoch != epoch || got.Previous != s.Previous || len(got.Relays) != 3 {
		t.Errorf("%+v was read", got)
	}

	for why, change := range map[string]func(*relays.Snapshot){
		"twice the same":          func(s *relays.Snapshot) { s.Relays[1] = s.Relays[0] },
		"not in order":            func(s *relays.Snapshot) { s.Relays[1], s.Relays[0] = s.Relays[0], s.Relays[1] },
		"of an epoch without key": func(s *relays.Snapshot) { s.Epoch += 2 },
		"of another suite":        func(s *relays.Snapshot) { s.Format.Suite = onion.XWing },
		"of no class":             func(s *relays.Snapshot) { s.Format.Class = 0 },
		"a delay of microseconds": func(s *relays.Snapshot) { s.Delay = time.Microsecond },
	} {
		s := snapshot(100_000, list...)
		change(s)
		if _, err := s.Bytes(); !errors.Is(err, relays.ErrSnapshot) {
			t.Errorf("%s: %v", why, err)
		}
	}
	for why, bad := range map[string][]byte{
		"nothing": nil, "short": b[:len(b)-1], "long": append(bytes.Clone(b), 0), "another version": append([]byte{2}, b[1:]...),
		"the epoch of a key that is not there": slices.Concat(b[:10], []byte{b[10] + 2}, b[11:]),
		"a changed relay":                      slices.Concat(b[:len(b)-1], []byte{b[len(b)-1] ^ 1}),
	} {
		if _, err := relays.ParseSnapshot(bad); !errors.Is(err, relays.ErrSnapshot) {
			t.Errorf("%s: %v", why, err)
		}
	}
}

// TestWitnesses: two thirds, each counted once, for this list and epoch only.
func TestWitnesses(t *testing.T) {
	b, err := snapshot(1000, relay(t, 1, nil)).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	hash, w := relays.Hash(b), relays.Witnesses{}
	var all []relays.Cosignature
	for i := range 4 {
		name, key := fmt.Sprint("w", i), nodeKey(100+i)
		w[name] = key.Public().(ed25519.PublicKey)
		all = append(all, relays.Cosign(name, key, epoch, hash))
	}
	stranger := relays.Cosign("stranger", nodeKey(7), epoch, hash)
	forged := relays.Cosign("w2", nodeKey(7), epoch, hash)
	other := relays.Cosign("w2", nodeKey(102), epoch, [32]byte{1})
	late := relays.Cosign("w2", nodeKey(102), epoch+1, hash)
	for _, c := range []struct {
		why  string
		sigs []relays.Cosignature
		want error
	}{
		{"all", all, nil},
		{"three of four", all[1:], nil},
		{"two of four", all[:2], relays.ErrCosignatures},
		{"one of them twice", []relays.Cosignature{all[0], all[1], all[1], all[0]}, relays.ErrCosignatures},
		{"and a stranger", append(slices.Clone(all[:2]), stranger), relays.ErrCosignatures},
		{"and one that is forged", append(slices.Clone(all[:2]), forged), relays.ErrCosignatures},
		{"and one for another list", append(slices.Clone(all[:2]), other), relays.ErrCosignatures},
		{"and one for another epoch", append(slices.Clone(all[:2]), late), relays.ErrCosignatures},
		{"none", nil, relays.ErrCosignatures},
	} {
		got, err := w.Verify(b, epoch, c.sigs)
		if !errors.Is(err, c.want) || (err == nil) != (got != nil) {
			t.Errorf("%s: %v", c.why, err)
		}
		if err == nil && (got.Hash() != hash || len(got.Snapshot().Relays) != 1) {
			t.Errorf("%s: another snapshot", c.why)
		}
	}
	if _, err := (relays.Witnesses{}).Verify(b, epoch, all); !errors.Is(err, relays.ErrCosignatures) {
		t.Error("without witnesses:", err)
	}
	future := []relays.Cosignature{}
	for i := range 4 {
		future = append(future, relays.Cosign(fmt.Sprint("w", i), nodeKey(100+i), epoch+1, hash))
	}
	if _, err := w.Verify(b, epoch+1, future); !errors.Is(err, relays.ErrSnapshot) {
		t.Error("signed for another epoch than it says:", err)
	}
	for n, want := range []int{0, 1, 2, 2, 3, 4, 4, 5, 6, 6, 7} {
		if got := relays.Quorum(n); got != want {
			t.Errorf("a quorum of %d is %d, not %d", n, got, want)
		}
	}

	// A witness that shows two lists proves it against itself; what others forge proves nothing.
	if !all[2].Contradicts(other, w["w2"]) || all[2].Contradicts(all[2], w["w2"]) || all[2].Contradicts(late, w["w2"]) ||
		all[2].Contradicts(relays.Cosign("w2", nodeKey(7), epoch, [32]byte{1}), w["w2"]) || all[1].Contradicts(other, w["w2"]) {
		t.Error("what contradicts what")
	}
	got, err := relays.ParseCosignature(all[3].Bytes())
	if err != nil || got != all[3] {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := relays.ParseCosignature(all[3].Bytes()[1:]); !errors.Is(err, relays.ErrSnapshot) {
		t.Error("a cosignature cut off:", err)
	}
}

// TestActiveWidth: how many relays mix follows from traffic (W <= rate*delay/7), not from how many
// there are.
func TestActiveWidth(t *testing.T) {
	var list []*relays.Relay
	for i := range 60 {
		list = append(list, relay(t, i, nil))
	}
	for _, c := range []struct {
		why       string
		rate      uint32 // per second
		relays    int
		width     int
		occupancy int
		thin      bool
	}{
		{"of the reference: 80/s at 0.5 s, 5 a layer", 80, 60, 5, 8000, false},
		{"exactly seven in each", 70, 60, 5, 7000, false},
		{"one packet less", 69, 60, 4, 8625, false},
		{"too little traffic for two", 20, 60, 2, 5000, true},
		{"no traffic", 0, 60, 2, 0, true},
		{"more traffic than relays", 4000, 60, 20, 100_000, false},
		{"three relays", 80, 3, 1, 40_000, true},
		{"five relays are three", 80, 5, 1, 40_000, true},
	} {
		a, err := cosigned(t, snapshot(c.rate*1000, list[:c.relays]...)).Active()
		if err != nil {
			t.Fatalf("%s: %v", c.why, err)
		}
		for i, layer := range a.Layers {
			if len(layer) != c.width {
				t.Errorf("%s: layer %d has %d relays, not %d", c.why, i, len(layer), c.width)
			}
		}
		if a.Occupancy != c.occupancy || a.Thin != c.thin {
			t.Errorf("%s: occupancy %d, thin %v", c.why, a.Occupancy, a.Thin)
		}
	}
	if _, err := cosigned(t, snapshot(80_000, list[:2]...)).Active(); !errors.Is(err, relays.ErrTooFew) {
		t.Error("two relays:", err)
	}
}

// TestActiveChoice: whatever the relays say of themselves, those that mix are the same however the
// list came together, one of each operator and provider, two of each network at most, with the
// capacity that is asked of them, and not more than the traffic is enough for.
func TestActiveChoice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 40).Draw(t, "relays")
		list := make([]*relays.Relay, n)
		for i := range list {
			operator, network, capacity := rapid.IntRange(0, 30).Draw(t, "operator"), rapid.IntRange(0, 20).Draw(t, "network"), rapid.IntRange(0, 60).Draw(t, "capacity")
			list[i] = relay(t, i, func(d *relays.Descriptor) {
				d.Operator, d.Network, d.Capacity = fmt.Sprint("o", operator), uint32(network), uint32(capacity)
			})
		}
		s := snapshot(uint32(rapid.IntRange(0, 400_000).Draw(t, "rate")), list...)
		a, err := cosigned(t, s).Active()
		b, other := cosigned(t, snapshot(s.Rate, rapid.Permutation(list).Draw(t, "order")...)).Active()
		if (err == nil) != (other == nil) {
			t.Fatalf("%v, %v", err, other)
		}
		if err != nil {
			if !errors.Is(err, relays.ErrTooFew) {
				t.Fatal(err)
			}
			return
		}
		operators, networks, width := map[string]int{}, map[uint32]int{}, len(a.Layers[0])
		for i := range a.Layers {
			if len(a.Layers[i]) != width {
				t.Fatalf("layers of %d and %d", width, len(a.Layers[i]))
			}
			for j, r := range a.Layers[i] {
				if r.Node() != b.Layers[i][j].Node() {
					t.Fatal("another choice from another order")
				}
				d := r.Descriptor()
				operators[d.Operator]++
				networks[d.Network]++
				if operators[d.Operator] > 1 || d.Network != 0 && networks[d.Network] > 2 {
					t.Fatalf("operator %s %d times, network %d %d times", d.Operator, operators[d.Operator], d.Network, networks[d.Network])
				}
				if int(d.Capacity)*1000 < int(s.Rate)/width {
					t.Fatalf("a relay of %d packets/s for %d/1000", d.Capacity, int(s.Rate)/width)
				}
			}
		}
		if width > 2 && width*7*1000 > int(s.Rate)/2 {
			t.Fatalf("%d relays in a layer at %d/1000 packets/s", width, s.Rate)
		}
		if !a.Thin && a.Occupancy < 7000 {
			t.Fatalf("not thin, with %d/1000 packets in each", a.Occupancy)
		}
	})
}

// TestActiveChanges: which relays mix in which layer changes with the epoch and with the list
// before it, so that nobody keeps a place or can choose one in advance.
func TestActiveChanges(t *testing.T) {
	var list []*relays.Relay
	for i := range 60 {
		list = append(list, relay(t, i, nil))
	}
	seen := map[string]string{}
	for why, change := range map[string]func(*relays.Snapshot){
		"as it is": func(s *relays.Snapshot) {}, "the next epoch": func(s *relays.Snapshot) { s.Epoch++ },
		"another list before": func(s *relays.Snapshot) { s.Previous[31] ^= 1 },
	} {
		s := snapshot(80_000, list...)
		change(s)
		a, err := cosigned(t, s).Active()
		if err != nil {
			t.Fatal(err)
		}
		var nodes []string
		for _, r := range a.Layers[0] {
			n := r.Node()
			nodes = append(nodes, string(n[:]))
		}
		key := strings.Join(nodes, "")
		if other, ok := seen[key]; ok {
			t.Errorf("%s: the same first layer as %s", why, other)
		}
		seen[key] = why
	}
}

func seeded(seed uint64) *rand.ChaCha8 {
	var b [32]byte
	binary.BigEndian.PutUint64(b[:], seed)
	return rand.NewChaCha8(b)
}

// TestPaths: three mixes, one of each layer in the layers' order, apart from each other and from
// both ends; keys of the epoch; delays at mixes only.
func TestPaths(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(3, 30).Draw(t, "relays")
		var list []*relays.Relay
		byNode := map[onion.NodeID]relays.Descriptor{}
		layer := map[onion.NodeID]int{}
		draw := func(i int) *relays.Relay {
			network, group := rapid.IntRange(0, 12).Draw(t, "network"), rapid.IntRange(0, 12).Draw(t, "group")
			r := relay(t, i, func(d *relays.Descriptor) {
				d.Network, d.Address = uint32(network), netip.AddrFrom4([4]byte{10, byte(group), byte(i), 1})
				if i%2 == 0 {
					d.Address = netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 0, byte(group), 0, byte(i)})
				}
			})
			byNode[r.Node()] = r.Descriptor()
			return r
		}
		for i := range n {
			list = append(list, draw(i))
		}
		exit, entry := draw(100), draw(101)
		if rapid.Bool().Draw(t, "no entry") {
			entry = nil
		}
		a, err := cosigned(t, snapshot(80_000, list...)).Active()
		if err != nil {
			if !errors.Is(err, relays.ErrTooFew) {
				t.Fatal(err)
			}
			return
		}
		for i := range a.Layers {
			for _, r := range a.Layers[i] {
				layer[r.Node()] = i
			}
		}
		path, err := a.Path(seeded(rapid.Uint64().Draw(t, "seed")), entry, exit)
		possible := anyPath(a, entry, exit)
		if err != nil {
			if !errors.Is(err, relays.ErrNoPath) || possible {
				t.Fatalf("%v, and there is one: %v", err, possible)
			}
			return
		}
		if path[len(path)-1].Node != exit.Node() || path[len(path)-1].Delay != 0 {
			t.Fatal("it does not end at the exit")
		}
		mixes := path[:len(path)-1]
		if entry != nil {
			if path[0].Node != entry.Node() || path[0].Delay != 0 {
				t.Fatal("it does not begin at the entry")
			}
			mixes = mixes[1:]
		}
		if len(mixes) != relays.Layers {
			t.Fatalf("%d mixes", len(mixes))
		}
		for i, m := range mixes {
			if layer[m.Node] != i {
				t.Fatalf("mix %d is of layer %d", i, layer[m.Node])
			}
			for j, o := range path {
				if o.Node != m.Node && !apart(byNode[m.Node], byNode[o.Node]) {
					t.Fatalf("mix %d and hop %d are not apart", i, j)
				}
			}
		}
	})
}

// apart says it once more, in the words of the documentation.
func apart(a, b relays.Descriptor) bool {
	bits := func(d relays.Descriptor) netip.Prefix {
		n := 16
		if d.Address.Is6() {
			n = 48
		}
		return netip.PrefixFrom(d.Address, n).Masked()
	}
	return a.Provider != b.Provider && a.Operator != b.Operator && (a.Network == 0 || a.Network != b.Network) && bits(a) != bits(b)
}

func anyPath(a *relays.Active, entry, exit *relays.Relay) bool {
	for _, x := range a.Layers[0] {
		for _, y := range a.Layers[1] {
			for _, z := range a.Layers[2] {
				ok, mixes := true, []relays.Descriptor{x.Descriptor(), y.Descriptor(), z.Descriptor()}
				for i, m := range mixes {
					for _, o := range mixes[i+1:] {
						ok = ok && apart(m, o)
					}
					ok = ok && apart(m, exit.Descriptor()) && (entry == nil || apart(m, entry.Descriptor()))
				}
				if ok {
					return true
				}
			}
		}
	}
	return false
}

// TestPathsEvenly: each combination of mixes is drawn about as often as any other, also where most
// combinations are not possible. The draws come from a seed, so that there is one outcome.
func TestPathsEvenly(t *testing.T) {
	active := func(grouped func(i int) bool) *relays.Active {
		var list []*relays.Relay
		for i := range 12 {
			list = append(list, relay(t, i, func(d *relays.Descriptor) {
				if grouped(i) {
					d.Address = netip.AddrFrom4([4]byte{10, 200, byte(i), 1})
				}
			}))
		}
		a, err := cosigned(t, snapshot(60_000, list...)).Active()
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	// Where each relay is does not depend on its address.
	places := active(func(int) bool { return false })
	first, second := places.Layers[0][0].Descriptor().Provider, places.Layers[1][0].Descriptor().Provider
	for _, c := range []struct {
		why          string
		grouped      func(i int) bool
		combinations int
	}{
		{"none in one group", func(int) bool { return false }, 64},
		// One relay of the group at most: of the third layer, each.
		{"all but two in one group", func(i int) bool { p := descriptor(i).Provider; return p != first && p != second }, 4},
		{"all but one in one group", func(i int) bool { return descriptor(i).Provider != first }, 0},
	} {
		a, exit := active(c.grouped), relay(t, 100, nil)
		draws := 20_000
		if c.combinations == 0 {
			draws = 1
		}
		random, count := seeded(1), map[[3]onion.NodeID]int{}
		for range draws {
			p, err := a.Path(random, nil, exit)
			if err != nil {
				if c.combinations == 0 && errors.Is(err, relays.ErrNoPath) {
					continue
				}
				t.Fatal(c.why, err)
			}
			count[[3]onion.NodeID{p[0].Node, p[1].Node, p[2].Node}]++
		}
		if len(count) != c.combinations {
			t.Fatalf("%s: %d combinations, not %d", c.why, len(count), c.combinations)
		}
		mean := float64(draws) / float64(len(count))
		var chi float64
		for _, n := range count {
			chi += (float64(n) - mean) * (float64(n) - mean) / mean
		}
		// Of k combinations it is k-1 on average, with a deviation of sqrt(2k).
		if k := float64(len(count)); chi > k+4*math.Sqrt(2*k) {
			t.Errorf("%s: chi squared %.0f of %.0f combinations", c.why, chi, k)
		}
	}
}

// TestExponential: the mean and a few quantiles of the delays, and their bound.
func TestExponential(t *testing.T) {
	random, n := seeded(2), 50_000
	var sum time.Duration
	below := map[time.Duration]int{}
	for range n {
		d, err := relays.Exponential(random, 500*time.Millisecond)
		if err != nil || d < 0 || d%time.Millisecond != 0 {
			t.Fatal(d, err)
		}
		sum += d
		for _, q := range []time.Duration{144, 347, 1151, 2303} {
			if d <= q*time.Millisecond {
				below[q]++
			}
		}
	}
	if mean := sum / time.Duration(n); mean < 490*time.Millisecond || mean > 510*time.Millisecond {
		t.Error("the mean is", mean)
	}
	for q, want := range map[time.Duration]float64{144: 0.25, 347: 0.5, 1151: 0.9, 2303: 0.99} {
		if got := float64(below[q]) / float64(n); got < want-0.01 || got > want+0.01 {
			t.Errorf("%.3f are below %d ms, not %.2f", got, q, want)
		}
	}
	for _, b := range []byte{0, 0xff} {
		d, err := relays.Exponential(bytes.NewReader(bytes.Repeat([]byte{b}, 8)), onion.MaxDelay)
		if want := map[byte]time.Duration{0: onion.MaxDelay, 0xff: 0}[b]; err != nil || d != want {
			t.Errorf("from octets %x: %v, %v", b, d, err)
		}
	}
	if _, err := relays.Exponential(bytes.NewReader(nil), time.Second); err == nil {
		t.Error("a delay without randomness")
	}
}

// TestPathIsBuilt: a path is what packets are built for, and its hops unwrap them.
func TestPathIsBuilt(t *testing.T) {
	rings, f := map[onion.NodeID]*onion.Keyring{}, onion.Format{Suite: onion.X25519, Class: onion.Class8K}
	make := func(i int) *relays.Relay {
		k, err := onion.GenerateKey(onion.X25519)
		if err != nil {
			t.Fatal(err)
		}
		r := relay(t, i, func(d *relays.Descriptor) { d.Keys = []onion.PublicKey{k.Public()} })
		rings[r.Node()] = &onion.Keyring{}
		if err := rings[r.Node()].Put(epoch, k); err != nil {
			t.Fatal(err)
		}
		return r
	}
	var list []*relays.Relay
	for i := range 9 {
		list = append(list, make(i))
	}
	a, err := cosigned(t, snapshot(80_000, list...)).Active()
	if err != nil {
		t.Fatal(err)
	}
	path, err := a.Path(seeded(3), make(100), make(101))
	if err != nil {
		t.Fatal(err)
	}
	packet, err := f.Build(a.Epoch, path, onion.Mailbox{1}, []byte("payload"))
	if err != nil {
		t.Fatal(err)
	}
	at := path[0].Node
	for i := range path {
		hop, err := f.Unwrap(rings[at], packet)
		if err != nil {
			t.Fatalf("hop %d: %v", i, err)
		}
		if hop.Kind == onion.Deliver && (i != 4 || string(hop.Body) != "payload") {
			t.Fatalf("hop %d: %q", i, hop.Body)
		}
		at, packet = hop.Next, hop.Packet
	}
}

// TestPin: the entry stays for 30 days, is waited for for two, and is then another.
func TestPin(t *testing.T) {
	var list []*relays.Relay
	for i := range 8 {
		list = append(list, relay(t, i, nil))
	}
	all := cosigned(t, snapshot(80_000, list...))
	start, random := time.Date(2026, 11, 30, 0, 0, 0, 0, time.UTC), seeded(4)
	pin, entry, err := relays.Pin{}.Keep(start, random, all, list)
	if err != nil || entry == nil || pin.Node != entry.Node() {
		t.Fatal(err)
	}
	var others []*relays.Relay
	for _, r := range list {
		if r.Node() != pin.Node {
			others = append(others, r)
		}
	}
	without := cosigned(t, snapshot(80_000, others...))
	first := pin
	day := 24 * time.Hour
	for _, c := range []struct {
		why  string
		at   time.Duration
		c    *relays.Cosigned
		same bool
		err  error
	}{
		{"a day later", day, all, true, nil},
		{"28 days later", 28 * day, all, true, nil},
		{"a snapshot without it", 28*day + time.Hour, without, true, relays.ErrEntryGone},
		{"it is back", 28*day + 40*time.Hour, all, true, nil},
		{"30 days are over", 30 * day, all, false, nil},
	} {
		var r *relays.Relay
		pin, r, err = pin.Keep(start.Add(c.at), random, c.c, list)
		if !errors.Is(err, c.err) || (pin.Node == first.Node) != c.same || (r != nil) != (err == nil) {
			t.Fatalf("%s: the same %v, %v", c.why, pin.Node == first.Node, err)
		}
		if r != nil && r.Node() != pin.Node {
			t.Fatalf("%s: another entry than the pin says", c.why)
		}
	}
	if pin, _, err = first.Keep(start.Add(47*time.Hour), random, without, list); !errors.Is(err, relays.ErrEntryGone) || pin != first {
		t.Error("gone for 47 hours:", err)
	}
	if pin, entry, err = first.Keep(start.Add(48*time.Hour), random, without, list); err != nil || pin.Node == first.Node || entry.Node() != pin.Node {
		t.Error("gone for 48 hours:", err)
	}
	only := []*relays.Relay{all.Relay(first.Node)}
	if pin, entry, err = first.Keep(start.Add(31*day), random, all, only); err != nil || entry.Node() != first.Node || !pin.Since.Equal(start.Add(31*day)) {
		t.Error("too old, and the only one there is:", err)
	}
	if _, _, err = (relays.Pin{}).Keep(start, random, all, nil); !errors.Is(err, relays.ErrTooFew) {
		t.Error("none to choose from:", err)
	}
}

// FuzzSnapshot: octets are a snapshot that is written as it was read, or they are refused; the
// same with descriptors.
func FuzzSnapshot(f *testing.F) {
	b, err := snapshot(80_000, relay(f, 1, nil), relay(f, 2, nil)).Bytes()
	if err != nil {
		f.Fatal(err)
	}
	empty, err := snapshot(80_000).Bytes()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(empty)
	f.Add(b)
	f.Add(relay(f, 3, nil).Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := relays.ParseSnapshot(b); err == nil {
			if again, err := s.Bytes(); err != nil || !bytes.Equal(again, b) {
				t.Fatalf("written otherwise, %v", err)
			}
		} else if !errors.Is(err, relays.ErrSnapshot) {
			t.Fatal(err)
		}
		if r, err := relays.ParseRelay(b); err == nil {
			if again, err := r.Descriptor().Sign(nodeKey(3)); err == nil && r.Node() == again.Node() && !bytes.Equal(again.Bytes(), b) {
				t.Fatal("a descriptor is written otherwise")
			}
		} else if !errors.Is(err, relays.ErrDescriptor) {
			t.Fatal(err)
		}
	})
}
