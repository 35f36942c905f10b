package relaylist_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mimid/mimid/node/peering"
	"github.com/mimid/mimid/node/relaylist"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/onion"
	"github.com/mimid/mimid/protocol/onion/relays"
	"github.com/mimid/mimid/protocol/presentation"
	"github.com/mimid/mimid/store"
)

// TestLists: all nodes have the same list of each epoch before it begins, with everybody in it, and each
// follows the one before.
func TestLists(t *testing.T) {
	w := newWorld(t, 7, 4)
	w.pass(58 * time.Minute)
	l := w.agreed(first)
	if l == nil || len(l.Snapshot().Relays) != 7 {
		t.Fatalf("the first epoch's list: %+v", l)
	}
	for e := first + 1; e < first+4; e++ {
		next := w.agreed(e) // it has not begun yet
		if next == nil || len(next.Snapshot().Relays) != 7 || next.Snapshot().Previous != w.agreed(e-1).Hash() {
			t.Fatalf("epoch %d: %+v", e, next)
		}
		w.pass(time.Hour)
	}
	for _, v := range w.nodes {
		if len(v.used) < 4 || v.used[3].Snapshot().Epoch != first+3 {
			t.Errorf("%s has used %d lists", v.domain, len(v.used))
		}
		r := v.service.Report()
		if r.Force == nil || r.Told != 4 || len(r.Heard) != 4 || r.Liars != nil {
			t.Errorf("%s: %+v", v.domain, r)
		}
		for _, o := range w.nodes {
			if _, ok := v.service.Peer(o.descriptor(first).Node()); !ok {
				t.Errorf("%s does not know which peer %s is", v.domain, o.domain)
			}
		}
	}
}

// TestDeadWitnesses: a third of the witnesses may be dead, whoever it is; with more there is no list, the
// one before is used for an epoch, and then none.
func TestDeadWitnesses(t *testing.T) {
	w := newWorld(t, 6, 3)
	w.pass(58 * time.Minute)
	for i := range 3 {
		e := first + 1 + onion.Epoch(i)
		w.nodes[i].down = true
		w.pass(time.Hour)
		if w.agreed(e) == nil || w.agreed(e+1) == nil {
			t.Errorf("witness %d is dead, and epoch %d has no list", i, e)
		}
		w.nodes[i].down = false
		w.pass(time.Hour)
		first := w.agreed(e + 1)
		if first == nil {
			t.Errorf("witness %d is back, and epoch %d has no list", i, e+1)
		}
	}
	w.nodes[0].down, w.nodes[1].down = true, true
	have := terms.Epoch(w.clock())
	w.pass(90 * time.Minute)
	v := w.nodes[4]
	if r := v.service.Report(); r.Epoch != have+2 || r.Force == nil || r.Force.Snapshot().Epoch != have+1 {
		t.Errorf("one epoch without a list: %+v", r)
	}
	w.pass(3 * time.Hour)
	if v.service.Report().Force != nil || v.used[len(v.used)-1] != nil {
		t.Error("a list of long ago is still used")
	}
	w.nodes[0].down = false
	w.pass(time.Hour)
	if v.service.Report().Force == nil {
		t.Error("with two of three there is a list again")
	}
}

// TestBegun: a list that was signed by some when its maker died is completed by others, who know of one more
// relay by then and would have made another one.
func TestBegun(t *testing.T) {
	w := newWorld(t, 6, 4)
	late := w.nodes[5]
	late.down = true
	w.pass(58 * time.Minute)
	e := first + 2
	turn := w.nodes[int(e)%4]
	// Its maker reaches one other witness, whose own turn comes last, and dies.
	last := w.nodes[(int(e)+3)%4]
	var reached atomic.Int32
	w.twist = func(to string, in *peering.Incoming) ([]byte, error) {
		if in.Endpoint == relaylist.EndpointCosign && in.Source == turn.domain && in.Subject == fmt.Sprint(e) {
			if to != last.domain {
				return nil, errUnreachable
			}
			reached.Add(1)
		}
		return nil, nil
	}
	for range 240 {
		if w.pass(2 * time.Minute); reached.Load() > 0 {
			break
		}
	}
	if reached.Load() == 0 {
		t.Fatal("nobody has made a list")
	}
	turn.down, late.down = true, false
	w.twist = nil
	w.pass(8 * time.Minute) // two turns of 3 minutes and three quarters
	l := w.agreed(e)
	if l == nil {
		t.Fatal("no list")
	}
	if l.Relay(late.descriptor(e).Node()) != nil || len(l.Snapshot().Relays) != 5 {
		t.Error("another list than was begun")
	}
	turn.down = false
	w.pass(10 * time.Minute)
	if w.agreed(e) == nil {
		t.Error("the first maker has another list, or none")
	}
}

// TestSignedIsOnDisk: a witness signs one list for an epoch, also after it has begun again, also another
// time in the same words, and not at all when its store is an older one.
func TestSignedIsOnDisk(t *testing.T) {
	w := newWorld(t, 6, 3)
	w.pass(6 * time.Minute)
	v := w.nodes[0]
	e := terms.Epoch(w.clock()) + 1
	list := func(some ...*node) []byte {
		var all []*relays.Relay
		for _, o := range some {
			all = append(all, o.descriptor(e-1))
		}
		var previous [32]byte
		if l := v.service.List(e - 1); l != nil {
			previous = l.Hash()
		}
		return must[[]byte](t)(terms.Snapshot(e, previous, all).Bytes())
	}
	for _, o := range w.nodes { // they have no descriptors of others yet, so that they leave out nobody
		o.again()
	}
	a, b := list(w.nodes...), list(w.nodes[1:]...)
	sig := must[relays.Cosignature](t)(v.service.Sign(t.Context(), e, a))
	if !sig.Verify(v.key.Public().(ed25519.PublicKey)) {
		t.Fatal("no signature")
	}
	if _, err := v.service.Sign(t.Context(), e, b); err == nil {
		t.Error("two lists")
	}
	v.again()
	if _, err := v.service.Sign(t.Context(), e, b); err == nil {
		t.Error("two lists, after a restart")
	}
	if again, err := v.service.Sign(t.Context(), e, a); err != nil || again != sig {
		t.Errorf("the same list again: %v", err)
	}
	// It is on disk when the signature leaves: a copy of the store that is made then refuses the other one.
	err := v.store.View(func(tx *store.Tx) error {
		n := 0
		for it, err := range tx.Scan(store.Scan{Prefix: store.SpaceRelays.Prefix(nil)}) {
			if err != nil {
				return err
			}
			n++
			if err := relaylist.Check(it); err != nil {
				t.Error(err)
			}
			for name, bad := range map[string]store.Item{
				"cut": {Key: it.Key, Value: it.Value[:len(it.Value)-1]}, "empty": {Key: it.Key}, "version": {Key: it.Key, Value: append([]byte{7}, it.Value[1:]...)},
				"key": {Key: store.SpaceRelays.Key([]byte{9, 9}), Value: it.Value}, "liar": {Key: store.SpaceRelays.Key([]byte("\x02w.example")), Value: it.Value},
			} {
				if err := relaylist.Check(bad); !errors.Is(err, relaylist.ErrDamaged) {
					t.Errorf("%s: %v", name, err)
				}
			}
		}
		if n == 0 {
			t.Error("nothing is on disk")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	o := w.nodes[1]
	o.change = func(c *relaylist.Config) { c.Restored = true }
	o.again()
	if _, err := o.service.Sign(t.Context(), e, a); err == nil {
		t.Error("a restored witness signs at once")
	}
	if _, err := w.nodes[2].service.Sign(t.Context(), e, a); err != nil {
		t.Errorf("one that was not: %v", err)
	}
}

// TestRestored: a network with a witness that was restored goes on, and it signs again later.
func TestRestored(t *testing.T) {
	w := newWorld(t, 5, 3)
	w.pass(50 * time.Minute)
	v := w.nodes[0]
	v.change = func(c *relaylist.Config) { c.Restored = true }
	v.again()
	w.pass(4 * time.Hour)
	if e := terms.Epoch(w.clock()); w.agreed(e) == nil || !v.service.Report().Signed {
		t.Errorf("epoch %d: %v, signed %t", e, w.agreed(e) != nil, v.service.Report().Signed)
	}
}

// TestSplitList: a witness shows one list to some and another one to others. Whoever hears of both keeps the
// proof, also over a restart, and believes the witness no more; without two thirds of the others there is no
// list, and where these have signed one, it is taken.
func TestSplitList(t *testing.T) {
	w := newWorld(t, 6, 4)
	w.pass(58 * time.Minute)
	liar, v := w.nodes[0], w.nodes[5]
	e := terms.Epoch(w.clock()) + 5
	one, other := [32]byte{1}, [32]byte{2}
	sign := func(o *node, hash [32]byte) relays.Cosignature { return relays.Cosign(o.domain, o.key, e, hash) }
	v.service.Note(t.Context(), e, []relays.Cosignature{sign(liar, one), sign(w.nodes[1], one)})
	if v.service.Report().Liars != nil {
		t.Fatal("one list is no lie")
	}
	forged := relays.Cosign(liar.domain, w.nodes[1].key, e, other)
	v.service.Note(t.Context(), e, []relays.Cosignature{forged})
	if v.service.Report().Liars != nil {
		t.Fatal("a signature of somebody else is no proof")
	}
	v.service.Note(t.Context(), e, []relays.Cosignature{sign(liar, other), sign(w.nodes[2], other)})
	if got := v.service.Report().Liars; !cmp.Equal(got, []string{liar.domain}) {
		t.Fatalf("liars: %v", got)
	}
	v.again()
	if got := v.service.Report().Liars; !cmp.Equal(got, []string{liar.domain}) {
		t.Errorf("after a restart: %v", got)
	}
	for _, it := range records(t, v.store) {
		if err := relaylist.Check(it); err != nil {
			t.Error(err)
		}
	}
	// The three honest ones are enough for a list, and two of them with the liar are not.
	w.pass(time.Hour)
	if w.agreed(terms.Epoch(w.clock())) == nil {
		t.Error("three of four are honest, and there is no list")
	}
	w.nodes[1].down = true
	w.pass(2 * time.Hour)
	now := terms.Epoch(w.clock())
	if w.nodes[4].service.List(now) == nil {
		t.Error("who has not heard of the lie has three signatures")
	}
	if v.service.List(now) != nil {
		t.Error("the liar's signature counts")
	}
}

func records(t *testing.T, st *store.Store) (out []store.Item) {
	t.Helper()
	err := st.View(func(tx *store.Tx) error {
		for it, err := range tx.Scan(store.Scan{Prefix: store.SpaceRelays.Prefix(nil)}) {
			if err != nil {
				return err
			}
			out = append(out, store.Item{Key: it.Key, Value: bytes.Clone(it.Value)})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestRotatedWitness: a signature for the same list by a witness's next key is no second list, and counts once.
func TestRotatedWitness(t *testing.T) {
	w := newWorld(t, 5, 3)
	w.pass(58 * time.Minute)
	o, v := w.nodes[1], w.nodes[4]
	e := terms.Epoch(w.clock()) + 4
	hash := [32]byte{7}
	old := relays.Cosign(o.domain, o.key, e, hash)
	v.service.Note(t.Context(), e, []relays.Cosignature{old})
	o.key = keyOf("next provider", 1)
	next := relays.Cosign(o.domain, o.key, e, hash)
	for range 3 {
		v.service.Note(t.Context(), e, []relays.Cosignature{next})
	}
	if got := v.service.Signatures(e, o.domain); len(got) != 1 || got[0] != next {
		t.Errorf("%d signatures", len(got))
	}
	if v.service.Report().Liars != nil {
		t.Error("a lie")
	}
	o.again()
	w.pass(2 * time.Hour)
	if w.agreed(terms.Epoch(w.clock())) == nil {
		t.Error("no list after a key was rotated")
	}
}

// TestNotSigned: what a witness does not sign.
func TestNotSigned(t *testing.T) {
	w := newWorld(t, 6, 3)
	w.pass(44 * time.Minute) // descriptors are there, and the list of this epoch
	w.mu.Lock()
	w.now = w.now.Add(2 * time.Minute)
	w.mu.Unlock()
	e := terms.Epoch(w.clock()) + 1
	v := w.nodes[0]
	previous := v.service.List(e - 1).Hash()
	maker := w.nodes[1]
	var all []*relays.Relay
	for _, o := range w.nodes {
		all = append(all, o.descriptor(e-1))
	}
	strange := must[*relays.Relay](t)(func() (*relays.Relay, error) {
		d := w.nodes[2].descriptor(e - 1).Descriptor()
		return d.Sign(keyOf("somebody", 1)) // a node that its record does not name
	}())
	for i := range 6 { // the witness knows of all
		if _, err := w.call(t.Context(), w.nodes[i].domain, peering.Request{Target: v.domain, Endpoint: relaylist.EndpointDescriptor, Subject: w.nodes[i].domain, Body: all[i].Bytes(), MaxResponse: 1}); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		list  []byte
		from  *node
		epoch onion.Epoch
		want  string
	}{
		"one is left out":     {octets(t, terms.Snapshot(e, previous, all[1:])), maker, e, "p0.example is left out"},
		"a stranger is in it": {octets(t, terms.Snapshot(e, previous, append(slices.Clone(all), strange))), maker, e, "no record speaks"},
		"other terms": {octets(t, func() *relays.Snapshot {
			s := terms.Snapshot(e, previous, all)
			s.Rate++
			return s
		}()), maker, e, "packets in 1,000 seconds"},
		"another epoch":      {octets(t, terms.Snapshot(e-1, [32]byte{}, all)), maker, e, "epoch"},
		"an epoch to come":   {octets(t, terms.Snapshot(e, previous, all)), maker, e + 5, "not made now"},
		"another one before": {octets(t, terms.Snapshot(e, [32]byte{1}, all)), maker, e, "follows another one"},
		"of no witness":      {octets(t, terms.Snapshot(e, previous, all)), w.nodes[4], e, "no witness"},
		"rubbish":            {[]byte("rubbish"), maker, e, "malformed"},
		"nothing":            {nil, maker, e, "malformed"},
	} {
		_, err := w.call(t.Context(), c.from.domain, peering.Request{Target: v.domain, Endpoint: relaylist.EndpointCosign, Subject: fmt.Sprint(c.epoch), Body: c.list, MaxResponse: 1 << 10})
		var p *clientapi.Problem
		if !errors.As(err, &p) || !strings.Contains(p.Detail, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		w.mu.Lock()
		w.now = w.now.Add(10 * time.Second) // requests are rationed
		w.mu.Unlock()
	}
	if _, err := w.call(t.Context(), maker.domain, peering.Request{Target: v.domain, Endpoint: relaylist.EndpointCosign, Subject: fmt.Sprint(e), Body: octets(t, terms.Snapshot(e, previous, all)), MaxResponse: 1 << 10}); err != nil {
		t.Errorf("what is right: %v", err)
	}
}

func octets(t testing.TB, s *relays.Snapshot) []byte { return must[[]byte](t)(s.Bytes()) }

// TestDescriptorsRefused: a witness takes a descriptor from whom it names, of a node that its record names, for
// this time; and not many of one provider, nor often.
func TestDescriptorsRefused(t *testing.T) {
	w := newWorld(t, 5, 3)
	v, from := w.nodes[0], w.nodes[4]
	e := terms.Epoch(w.clock())
	good := from.descriptor(e)
	strange := must[*relays.Relay](t)(good.Descriptor().Sign(keyOf("somebody", 1)))
	give := func(source string, b []byte) error {
		w.mu.Lock()
		w.now = w.now.Add(time.Second)
		w.mu.Unlock()
		_, err := w.call(t.Context(), source, peering.Request{Target: v.domain, Endpoint: relaylist.EndpointDescriptor, Subject: source, Body: b, MaxResponse: 1})
		return err
	}
	for name, c := range map[string]struct {
		source string
		body   []byte
		want   string
	}{
		"of somebody else":    {w.nodes[3].domain, good.Bytes(), "comes from p3.example"},
		"of an unknown node":  {from.domain, strange.Bytes(), "does not name the node"},
		"of long ago":         {from.domain, from.descriptor(e - 2).Bytes(), "keys of epoch"},
		"of an epoch to come": {from.domain, from.descriptor(e + 2).Bytes(), "keys of epoch"},
		"cut":                 {from.domain, good.Bytes()[:100], "malformed"},
		"changed":             {from.domain, append(good.Bytes()[:40], append([]byte{1}, good.Bytes()[41:]...)...), "malformed"},
	} {
		if err := give(c.source, c.body); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := v.service.Report().Waits; n != 0 {
		t.Errorf("%d were taken", n)
	}
	if err := give(from.domain, good.Bytes()); err != nil || v.service.Report().Waits != 1 {
		t.Errorf("a good one: %v", err)
	}
	refused := 0
	for range 30 {
		if _, err := w.call(context.Background(), from.domain, peering.Request{Target: v.domain, Endpoint: relaylist.EndpointDescriptor, Subject: from.domain, Body: good.Bytes(), MaxResponse: 1}); err != nil {
			refused++
		}
	}
	if refused < 15 {
		t.Errorf("%d of 30 at once were refused", refused)
	}
	if len(w.nodes[4].routes) != 0 {
		t.Error("who is no witness has endpoints of one")
	}
}

// TestHostileWitness: a witness answers with rubbish, with lists of others' names, with far too much: the
// others go on without it.
func TestHostileWitness(t *testing.T) {
	for name, answer := range map[string]func(in *peering.Incoming) []byte{
		"rubbish":  func(*peering.Incoming) []byte { return []byte("rubbish") },
		"zeros":    func(*peering.Incoming) []byte { return make([]byte, 100) },
		"lengths":  func(*peering.Incoming) []byte { return bytes.Repeat([]byte{0xbf}, 100) },
		"too much": func(*peering.Incoming) []byte { return make([]byte, 1<<20) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 5, 3)
			w.twist = func(to string, in *peering.Incoming) ([]byte, error) {
				if to == w.witnesses[0] && in.Endpoint != relaylist.EndpointDescriptor {
					return answer(in), nil
				}
				return nil, nil
			}
			w.pass(70 * time.Minute)
			e := terms.Epoch(w.clock())
			for _, v := range w.nodes[1:] {
				if v.service.List(e) == nil {
					t.Errorf("%s has no list", v.domain)
				}
			}
		})
	}
}

// FuzzAnswers: no answer of a witness breaks who reads it.
func FuzzAnswers(f *testing.F) {
	v := &node{w: &world{t: f}, domain: "p0.example", nodeKey: keyOf("node", 0)}
	opaque := func(b []byte) []byte { return presentation.AppendOpaque(nil, b) }
	f.Add([]byte{0, 0})
	f.Add(opaque(opaque(relays.Cosign("p0.example", keyOf("provider", 0), first, [32]byte{1}).Bytes())))
	f.Add(append(opaque([]byte("a list")), opaque(opaque(v.descriptor(first).Bytes()))...))
	f.Fuzz(func(t *testing.T, b []byte) { relaylist.ParseAnswers(b) })
}
