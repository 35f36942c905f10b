package room_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/mimid/mimid/protocol/presentation"
	"github.com/mimid/mimid/protocol/room"
	"pgregory.net/rapid"
)

var clubURI = []byte("mimi://atlanta.example/r/clubhouse")

func key(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize))
}

func pub(n byte) ed25519.PublicKey { return key(n).Public().(ed25519.PublicKey) }

// chain makes a log of n entries; bodies say what they are, salt makes another
// history.
func chain(n int, salt string) []*room.Entry {
	var out []*room.Entry
	var prev room.Hash
	for i := range n {
		e := &room.Entry{Room: room.IDOf(clubURI), Term: room.FirstTerm, Seq: uint64(i), Prev: prev,
			AcceptedAt: 1000 + uint64(i/2), Kind: room.KindMessage, Txn: room.TxnID{byte(i)}, Body: fmt.Appendf(nil, "entry %d %s", i, salt)}
		if i == 0 {
			e.Kind = room.KindCreate
		}
		out = append(out, e)
		prev = e.Hash()
	}
	return out
}

// rehash links entries anew from the i-th on.
func rehash(log []*room.Entry, i int) {
	for ; i < len(log); i++ {
		if i > 0 {
			log[i].Prev = log[i-1].Hash()
		}
	}
}

func sign(e *room.Entry, k ed25519.PrivateKey) *room.SignedHead {
	h := room.SignHead(room.HeadOf(e), k)
	return &h
}

// TestEntryLayout: the bytes of an entry and a head, field by field, and their
// hashes, computed by hand from the layout.
func TestEntryLayout(t *testing.T) {
	e := &room.Entry{Room: room.ID{0xaa}, Term: room.Term{Era: 1, Number: 2}, Seq: 3, Prev: room.Hash{0xbb},
		AcceptedAt: 4, Kind: room.KindMessage, Txn: room.TxnID{0xcc}, Body: []byte("hi")}
	zeros := strings.Repeat("00", 31)
	want := "01" + "aa" + zeros + "00000001" + "0000000000000002" + "0000000000000003" + "bb" + zeros +
		"0000000000000004" + "03" + "cc" + zeros + "02" + "6869"
	if got := hex.EncodeToString(e.Append(nil)); got != want {
		t.Fatalf("entry\n%s, expected\n%s", got, want)
	}
	// The label has 19 bytes, 0x13.
	if got := e.Hash(); got != sha(t, "13"+hex.EncodeToString([]byte("mimid room entry v1"))+want) {
		t.Errorf("entry hash %s", got)
	}
	h := room.SignHead(room.HeadOf(e), key(1))
	head := "01" + "aa" + zeros + "00000001" + "0000000000000002" + "0000000000000003" + e.Hash().String()
	if got := hex.EncodeToString(h.Append(nil)); got != head+hex.EncodeToString(h.Signature[:]) {
		t.Errorf("head %s", got)
	}
	tbs, _ := hex.DecodeString("12" + hex.EncodeToString([]byte("mimid room head v1")) + head)
	if !ed25519.Verify(pub(1), tbs, h.Signature[:]) {
		t.Error("head is signed over other bytes than the layout says")
	}
	n := room.TxnNonce{1, 2, 3}
	if got := room.TxnIDOf(n, []byte("body")); room.Hash(got) != sha(t, "11"+hex.EncodeToString([]byte("mimid room txn v1"))+
		"010203"+strings.Repeat("00", 13)+"04"+hex.EncodeToString([]byte("body"))) {
		t.Errorf("txn id %s", got)
	}
}

func TestVerify(t *testing.T) {
	id := room.IDOf(clubURI)
	log := chain(6, "")
	b, err := room.Verify(id, room.Position{}, log, sign(log[5], key(1)), pub(1))
	if err != nil {
		t.Fatal(err)
	}
	if b.After().Next != 6 || b.After().Last != log[5].Hash() || len(b.Entries()) != 6 {
		t.Fatalf("after %+v", b.After())
	}
	// In two pieces, the second under a new hub.
	first, err := room.Verify(id, room.Position{}, log[:3], sign(log[2], key(1)), pub(1))
	if err != nil {
		t.Fatal(err)
	}
	moved := chain(6, "")
	moved[4].Kind = room.KindHubChange
	moved[4].Term, moved[5].Term = room.Term{Number: 2}, room.Term{Number: 2}
	rehash(moved, 5)
	if _, err := room.Verify(id, first.After(), moved[3:], sign(moved[5], key(2)), pub(2)); err != nil {
		t.Errorf("log that changes hubs: %v", err)
	}

	for _, c := range []struct {
		why  string
		want error
		edit func(log []*room.Entry)
	}{
		{"body changed", room.ErrChain, func(l []*room.Entry) { l[2].Body = []byte("other") }},
		{"last body changed", room.ErrHead, func(l []*room.Entry) { l[5].Body = []byte("other") }},
		{"entry left out", room.ErrChain, func(l []*room.Entry) { l[3] = l[4] }},
		{"sequence number skipped", room.ErrChain, func(l []*room.Entry) { l[5].Seq++ }},
		{"time goes back", room.ErrChain, func(l []*room.Entry) { l[4].AcceptedAt = 0; rehash(l, 5) }},
		{"second create", room.ErrChain, func(l []*room.Entry) { l[2].Kind = room.KindCreate; rehash(l, 3) }},
		{"first is no create", room.ErrChain, func(l []*room.Entry) { l[0].Kind = room.KindMessage; rehash(l, 1) }},
		{"first of a later term", room.ErrChain, func(l []*room.Entry) {
			for _, e := range l {
				e.Term.Number = 9
			}
			rehash(l, 1)
		}},
		{"term rises without hub_change", room.ErrChain, func(l []*room.Entry) { l[5].Term.Number++ }},
		{"hub_change to the same term", room.ErrChain, func(l []*room.Entry) { l[5].Kind = room.KindHubChange }},
		{"another room", room.ErrWrongRoom, func(l []*room.Entry) { l[5].Room[0] ^= 1 }},
		{"previous hash of the first", room.ErrChain, func(l []*room.Entry) { l[0].Prev[0] = 1; rehash(l, 1) }},
	} {
		log := chain(6, "")
		good := sign(log[5], key(1))
		c.edit(log)
		head := sign(log[5], key(1))
		if c.want == room.ErrHead {
			head = good
		}
		if _, err := room.Verify(id, room.Position{}, log, head, pub(1)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, expected %v", c.why, err, c.want)
		}
	}
	if _, err := room.Verify(id, room.Position{}, log, sign(log[5], key(2)), pub(1)); !errors.Is(err, room.ErrSignature) {
		t.Errorf("signed by another: %v", err)
	}
	if _, err := room.Verify(id, room.Position{}, log, sign(log[4], key(1)), pub(1)); !errors.Is(err, room.ErrHead) {
		t.Errorf("head before the end: %v", err)
	}
	if _, err := room.Verify(id, room.Position{}, nil, sign(log[4], key(1)), pub(1)); !errors.Is(err, room.ErrHead) {
		t.Errorf("no entries: %v", err)
	}
	if _, err := room.Verify(id, room.Position{}, log, sign(log[5], key(1)), nil); !errors.Is(err, room.ErrSignature) {
		t.Errorf("no key: %v", err)
	}
}

// TestSeal: what a hub seals, others verify.
func TestSeal(t *testing.T) {
	id := room.IDOf(clubURI)
	log := chain(4, "")
	a, err := room.Seal(id, room.Position{}, log, key(1))
	if err != nil {
		t.Fatal(err)
	}
	head := a.Head()
	b, err := room.Verify(id, room.Position{}, log, &head, pub(1))
	if err != nil || b.After() != a.After() {
		t.Fatalf("%+v, %v", b, err)
	}
	if err := head.Verify(pub(2)); !errors.Is(err, room.ErrSignature) {
		t.Errorf("another key: %v", err)
	}
	if _, err := room.Seal(id, room.Position{}, log[1:], key(1)); !errors.Is(err, room.ErrChain) {
		t.Errorf("a gap: %v", err)
	}
	if _, err := room.Seal(id, a.After(), nil, key(1)); !errors.Is(err, room.ErrHead) {
		t.Errorf("nothing: %v", err)
	}
}

func TestEquivocation(t *testing.T) {
	a, b := chain(8, ""), chain(4, "")
	b[3].Body = []byte("another history")
	proof := func(low, high *room.Entry, entries []*room.Entry) *room.Equivocation {
		return &room.Equivocation{Low: *sign(low, key(1)), High: *sign(high, key(1)), Entries: entries}
	}
	for _, c := range []struct {
		why  string
		p    *room.Equivocation
		want error
	}{
		{"two entries at one place", proof(a[3], b[3], nil), nil},
		{"the longer log has another entry there", proof(b[3], a[7], a[3:8]), nil},
		{"one head twice", proof(a[3], a[3], nil), room.ErrNoProof},
		{"a log that goes on", proof(a[3], a[7], a[3:8]), room.ErrNoProof},
		{"entries missing", proof(b[3], a[7], a[4:8]), room.ErrNoProof},
		{"no entries", proof(b[3], a[7], nil), room.ErrNoProof},
		{"entries of neither log", proof(b[3], a[7], chain(8, "made up")[3:8]), room.ErrNoProof},
		{"an entry exchanged", proof(b[3], a[7], []*room.Entry{b[3], a[4], a[5], a[6], a[7]}), room.ErrNoProof},
		{"wrong order", proof(a[7], b[3], a[3:8]), room.ErrNoProof},
	} {
		enc := c.p.Append(nil)
		p, err := room.ParseEquivocation(enc)
		if err != nil || !bytes.Equal(p.Append(nil), enc) {
			t.Errorf("%s: does not survive decoding: %v", c.why, err)
			continue
		}
		if err := p.Verify(pub(1)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, expected %v", c.why, err, c.want)
		}
	}
	p := proof(a[3], b[3], nil)
	if err := p.Verify(pub(2)); !errors.Is(err, room.ErrSignature) {
		t.Errorf("against another key: %v", err)
	}
	p.High = *sign(b[3], key(2))
	if err := p.Verify(pub(1)); !errors.Is(err, room.ErrSignature) {
		t.Errorf("second head by another: %v", err)
	}
	other := *b[3]
	other.Term.Number++
	if err := proof(a[3], &other, nil).Verify(pub(1)); !errors.Is(err, room.ErrNoProof) {
		t.Errorf("heads of two terms: %v", err)
	}
}

func hosting(n int, mode room.Failover) *room.Hosting {
	h := &room.Hosting{Term: room.Term{Number: 7}, Failover: mode, Topic: [16]byte{1, 2}}
	for i := range n {
		x := room.Replica{Domain: fmt.Sprintf("p%d.example", i), FrankingKey: make([]byte, 32)}
		copy(x.ProviderKey[:], pub(byte(i+1)))
		h.Replicas = append(h.Replicas, x)
	}
	if n > 0 {
		h.Hub = h.Replicas[0]
	}
	return h
}

func TestHosting(t *testing.T) {
	for _, c := range []struct {
		why  string
		h    *room.Hosting
		edit func(*room.Hosting)
		want error
	}{
		{"one, admin", hosting(1, room.FailoverAdmin), nil, nil},
		{"three, auto", hosting(3, room.FailoverAuto), nil, nil},
		{"five, admin", hosting(5, room.FailoverAdmin), nil, nil},
		{"hub outside the set", hosting(3, room.FailoverAuto), func(h *room.Hosting) { h.Hub.Domain = "old.example" }, nil},
		{"two", hosting(2, room.FailoverAdmin), nil, room.ErrHosting},
		{"none", hosting(0, room.FailoverAdmin), func(h *room.Hosting) { h.Hub = hosting(1, 1).Hub }, room.ErrHosting},
		{"one, auto", hosting(1, room.FailoverAuto), nil, room.ErrHosting},
		{"unknown mode", hosting(3, 3), nil, room.ErrHosting},
		{"a domain twice", hosting(3, room.FailoverAuto), func(h *room.Hosting) { h.Replicas[2].Domain = "p0.example" }, room.ErrHosting},
		{"a key twice", hosting(3, room.FailoverAuto), func(h *room.Hosting) { h.Replicas[2].ProviderKey = h.Replicas[0].ProviderKey }, room.ErrHosting},
		{"no domain", hosting(3, room.FailoverAuto), func(h *room.Hosting) { h.Replicas[1].Domain = "" }, room.ErrHosting},
		{"no franking key", hosting(3, room.FailoverAuto), func(h *room.Hosting) { h.Hub.FrankingKey = nil }, room.ErrHosting},
	} {
		if c.edit != nil {
			c.edit(c.h)
		}
		got, err := room.ParseHosting(c.h.Append(nil))
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, expected %v", c.why, err, c.want)
		}
		if err == nil {
			if d := cmp.Diff(c.h, got); d != "" {
				t.Errorf("%s: %s", c.why, d)
			}
		}
	}
	b := hosting(1, room.FailoverAdmin).Append(nil)
	b[0] = 2
	if _, err := room.ParseHosting(b); !errors.Is(err, room.ErrVersion) {
		t.Errorf("version 2: %v", err)
	}
	if _, err := room.ParseHosting(hosting(6, room.FailoverAdmin).Append(nil)); !errors.Is(err, presentation.ErrTooLarge) {
		t.Errorf("six replicas: %v", err)
	}
}

// TestParseStrict: every prefix is truncated, a byte more is one too many, and
// unknown kinds and versions are refused.
func TestParseStrict(t *testing.T) {
	e := chain(2, "")[1]
	b := e.Append(nil)
	for i := range b {
		if _, err := room.ParseEntry(b[:i]); !errors.Is(err, presentation.ErrTruncated) {
			t.Fatalf("%d bytes of an entry: %v", i, err)
		}
	}
	h := sign(e, key(1)).Append(nil)
	if len(h) != 149 {
		t.Errorf("a signed head has %d bytes", len(h))
	}
	for i := range h {
		if _, err := room.ParseSignedHead(h[:i]); !errors.Is(err, presentation.ErrTruncated) {
			t.Fatalf("%d bytes of a head: %v", i, err)
		}
	}
	set := func(b []byte, at int, v byte) []byte { b = slices.Clone(b); b[at] = v; return b }
	kindAt := 1 + 32 + 12 + 8 + 32 + 8
	for _, c := range []struct {
		why  string
		err  error
		want error
	}{
		{"trailing byte", second(room.ParseEntry(append(slices.Clone(b), 0))), presentation.ErrTrailing},
		{"trailing byte of a head", second(room.ParseSignedHead(append(slices.Clone(h), 0))), presentation.ErrTrailing},
		{"kind 0", second(room.ParseEntry(set(b, kindAt, 0))), presentation.ErrMalformed},
		{"kind 7", second(room.ParseEntry(set(b, kindAt, 7))), presentation.ErrMalformed},
		{"entry of version 2", second(room.ParseEntry(set(b, 0, 2))), room.ErrVersion},
		{"head of version 0", second(room.ParseSignedHead(set(h, 0, 0))), room.ErrVersion},
		{"huge", second(room.ParseEntry(make([]byte, room.MaxEntry+1))), presentation.ErrTooLarge},
	} {
		if !errors.Is(c.err, c.want) {
			t.Errorf("%s: %v, expected %v", c.why, c.err, c.want)
		}
	}
	big := *e
	big.Body = make([]byte, room.MaxBody+1)
	if _, err := room.ParseEntry(big.Append(nil)); !errors.Is(err, presentation.ErrTooLarge) {
		t.Errorf("body too large: %v", err)
	}
}

func second[T any](_ T, err error) error { return err }

func TestTermsCompare(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		term := func(l string) room.Term {
			return room.Term{Era: rapid.Uint32Range(0, 2).Draw(t, l), Number: rapid.Uint64Range(0, 2).Draw(t, l)}
		}
		a, b, c := term("a"), term("b"), term("c")
		if a.Compare(b) != -b.Compare(a) || (a.Compare(b) == 0) != (a == b) {
			t.Fatal("not antisymmetric")
		}
		if a.Compare(b) <= 0 && b.Compare(c) <= 0 && a.Compare(c) > 0 {
			t.Fatal("not transitive")
		}
		if a.Era < b.Era && a.Compare(b) >= 0 {
			t.Fatal("eras come first")
		}
	})
}

func TestTxnIDHidesTheSubmission(t *testing.T) {
	a, b := room.NewTxnNonce(), room.NewTxnNonce()
	if a == b || room.TxnIDOf(a, []byte("x")) == room.TxnIDOf(b, []byte("x")) || room.TxnIDOf(a, []byte("x")) == room.TxnIDOf(a, []byte("y")) {
		t.Error("txn ids repeat")
	}
	again := a
	if room.TxnIDOf(a, []byte("x")) != room.TxnIDOf(again, []byte("x")) {
		t.Error("the same submission has two txn ids")
	}
}

// FuzzRoom: whatever decodes encodes to the same bytes.
func FuzzRoom(f *testing.F) {
	log := chain(4, "")
	f.Add(append([]byte{0}, log[1].Append(nil)...))
	f.Add(append([]byte{1}, sign(log[1], key(1)).Append(nil)...))
	f.Add(append([]byte{2}, (&room.Equivocation{Low: *sign(log[1], key(1)), High: *sign(log[3], key(1)), Entries: log[1:]}).Append(nil)...))
	f.Add(append([]byte{3}, hosting(3, room.FailoverAuto).Append(nil)...))
	for kind, e := range bodies(f) {
		f.Add(append([]byte{4 + byte(kind)}, e...))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) == 0 {
			return
		}
		var back []byte
		var err error
		switch in := b[1:]; b[0] % 8 {
		case 0:
			var e *room.Entry
			if e, err = room.ParseEntry(in); err == nil {
				back = e.Append(nil)
			}
		case 1:
			var h *room.SignedHead
			if h, err = room.ParseSignedHead(in); err == nil {
				back = h.Append(nil)
			}
		case 2:
			var p *room.Equivocation
			if p, err = room.ParseEquivocation(in); err == nil {
				back = p.Append(nil)
				_ = p.Verify(pub(1))
			}
		case 3:
			var h *room.Hosting
			if h, err = room.ParseHosting(in); err == nil {
				back = h.Append(nil)
			}
		default:
			kind := []room.Kind{room.KindCreate, room.KindHandshake, room.KindMessage, room.KindTombstone}[b[0]%4]
			if back = reencode(kind, in); back == nil {
				return
			}
		}
		if err == nil && !bytes.Equal(back, b[1:]) {
			t.Fatalf("decodes and encodes to other bytes")
		}
	})
}

// BenchmarkVerify: the cost of catching up, per entry of 1 KiB, with a head
// over every 64, beside hashing as many bytes.
func BenchmarkVerify(b *testing.B) {
	log := chain(64, strings.Repeat("x", 1000))
	head := sign(log[63], key(1))
	id := room.IDOf(clubURI)
	b.ResetTimer()
	for range b.N {
		if _, err := room.Verify(id, room.Position{}, log, head, pub(1)); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(64*b.N)/b.Elapsed().Seconds(), "entries/s")
}

// TestPiece: what travels is what was sent, and nothing beyond the limits.
func TestPiece(t *testing.T) {
	log := chain(3, "")
	p := &room.Piece{Head: *sign(log[2], key(1)), Entries: log}
	b := p.Append(nil)
	back, err := room.ParsePiece(b, len(b))
	if err != nil || !bytes.Equal(back.Append(nil), b) || len(back.Entries) != 3 {
		t.Fatalf("%v, %v", back, err)
	}
	var enc [][]byte
	for _, e := range log {
		enc = append(enc, e.Append(nil))
	}
	if !bytes.Equal(room.AppendPiece(nil, &p.Head, enc, nil), b) {
		t.Error("a piece of encoded entries is another")
	}
	if _, err := room.ParsePiece(b, len(b)-1); !errors.Is(err, presentation.ErrTooLarge) {
		t.Errorf("over the limit: %v", err)
	}
	for i := range b {
		if _, err := room.ParsePiece(b[:i], len(b)); err == nil {
			t.Fatalf("%d of %d bytes decode", i, len(b))
		}
	}
	stands := []room.Stand{{Room: room.ID{1}, Term: room.FirstTerm, Next: 2, Last: room.Hash{7, 31: 8}}, {Room: room.ID{3}, Next: 4}}
	sb := room.AppendStands(nil, stands)
	got, err := room.ParseStands(sb)
	if err != nil || !slices.Equal(got, stands) {
		t.Errorf("%v, %v", got, err)
	}
	if n := len(room.AppendStands(nil, make([]room.Stand, room.MaxStands))); n > 1<<20 {
		t.Errorf("a comparison takes up to %d bytes, of which nobody takes more than a MiB", n)
	}
	if _, err := room.ParseStands(sb[:len(sb)-1]); err == nil {
		t.Error("cut stands decode")
	}
	if _, err := room.ParseStands(room.AppendStands(nil, make([]room.Stand, room.MaxStands+1))); !errors.Is(err, presentation.ErrTooLarge) {
		t.Errorf("too many stands: %v", err)
	}
}
