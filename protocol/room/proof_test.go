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

var someHead = room.Head{Room: room.IDOf(clubURI), Term: room.Term{Number: 3}, Seq: 7, Hash: room.Hash{7}}

func someVote() room.Vote {
	return room.Vote{Room: room.IDOf(clubURI), Set: room.Hash{5}, Term: room.Term{Number: 4}, Candidate: "p1.example", Head: someHead}
}

// someCertificate is signed by n providers, of which p0 has key(0) and so on.
func someCertificate(n int) *room.Certificate {
	c := &room.Certificate{Head: someHead}
	for i := range n {
		h := someHead
		if i%2 == 1 {
			h.Seq, h.Hash = 9, room.Hash{9}
		}
		c.Signers = append(c.Signers, room.Signer{Domain: fmt.Sprintf("p%d.example", i), CoSignature: room.CoSign(h, key(byte(i)))})
	}
	return c
}

func keysOfP(domain string) (ed25519.PublicKey, bool) {
	var n byte
	if _, err := fmt.Sscanf(domain, "p%d.example", &n); err != nil {
		return nil, false
	}
	return pub(n), true
}

// TestProofLayout: the bytes of co-signatures, votes and what holds them, field by
// field, and what exactly is signed.
func TestProofLayout(t *testing.T) {
	id := room.IDOf(clubURI)
	zeros := strings.Repeat("00", 31)
	head := "01" + id.String() + "00000000" + "0000000000000003" + "0000000000000007" + "07" + zeros
	opaque := func(s string) string { return fmt.Sprintf("%02x%x", len(s), s) }
	signed := func(what, label, tbs string, sig [64]byte, k ed25519.PublicKey) {
		t.Helper()
		b, err := hex.DecodeString(opaque(label) + tbs)
		if err != nil || !ed25519.Verify(k, b, sig[:]) {
			t.Errorf("%s is signed over other bytes than the layout says", what)
		}
	}
	same := func(what string, got []byte, want string) {
		t.Helper()
		if hex.EncodeToString(got) != want {
			t.Errorf("%s\n%x, expected\n%s", what, got, want)
		}
	}
	c := room.CoSign(someHead, key(1))
	same("co-signature", c.Append(nil), head+hex.EncodeToString(c.Signature[:]))
	signed("a co-signature", "mimid room cosign v1", head, c.Signature, pub(1))

	vote := "01" + id.String() + "05" + zeros + "00000000" + "0000000000000004" + opaque("p1.example") + head + "00"
	v := room.SignVote(someVote(), "p2.example", key(2))
	same("vote", v.Append(nil), vote+opaque("p2.example")+hex.EncodeToString(v.Signature[:]))
	signed("a vote", "mimid room vote v1", vote+opaque("p2.example"), v.Signature, pub(2))
	r := someVote()
	r.Release = true
	v2 := room.SignVote(r, "p2.example", key(2))
	same("release", v2.Append(nil), vote[:len(vote)-2]+"01"+opaque("p2.example")+hex.EncodeToString(v2.Signature[:]))

	x := hosting(1, room.FailoverAdmin).Replicas[0]
	replica := opaque(x.Domain) + hex.EncodeToString(x.ProviderKey[:]) + "20" + strings.Repeat("00", 32)
	list := fmt.Sprintf("%x", presentation.AppendLength(nil, len(replica)/2)) + replica
	one, label := []room.Replica{x}, opaque("mimid room set v1")
	if got := room.SetHash(one, nil); got != sha(t, label+list+"00") {
		t.Errorf("set hash %s", got)
	}
	if got := room.SetHash(one, one); got != sha(t, label+list+list) {
		t.Errorf("joint set hash %s", got)
	}
	h := &room.HubChange{Via: room.ByVotes, Hub: x, Votes: []room.SignedVote{v}}
	raw := v.Append(nil)
	same("hub_change", h.Bytes(), "0101"+replica+hex.EncodeToString(presentation.AppendOpaque(nil, raw)))
	cert := someCertificate(1)
	signer := opaque("p0.example") + hex.EncodeToString(cert.Signers[0].CoSignature.Append(nil))
	want := head + fmt.Sprintf("%x", presentation.AppendLength(nil, len(signer)/2)) + signer
	same("certificate", cert.Append(nil), want)
	same("settled", (&room.Settled{Certificate: *cert}).Bytes(), "01"+want)
}

// TestSignedFields: a signature is over every field, and over nothing else that
// the same key signs.
func TestSignedFields(t *testing.T) {
	c := room.CoSign(someHead, key(1))
	wantErr(t, "a co-signature", c.Verify(pub(1)), nil)
	wantErr(t, "another's co-signature", c.Verify(pub(2)), room.ErrSignature)
	wantErr(t, "no key", c.Verify(nil), room.ErrSignature)
	s := room.SignHead(someHead, key(1))
	asCo := room.CoSignature{Head: someHead, Signature: s.Signature}
	wantErr(t, "a head's signature as co-signature", asCo.Verify(pub(1)), room.ErrSignature)
	asHead := room.SignedHead{Head: someHead, Signature: c.Signature}
	wantErr(t, "a co-signature as a head's", asHead.Verify(pub(1)), room.ErrSignature)
	for why, edit := range map[string]func(*room.Head){
		"room": func(h *room.Head) { h.Room[0]++ }, "term": func(h *room.Head) { h.Term.Number++ },
		"seq": func(h *room.Head) { h.Seq++ }, "hash": func(h *room.Head) { h.Hash[0]++ },
	} {
		x := c
		edit(&x.Head)
		wantErr(t, why+" of a co-signature", x.Verify(pub(1)), room.ErrSignature)
	}
	v := room.SignVote(someVote(), "p2.example", key(2))
	wantErr(t, "a vote", v.Verify(pub(2)), nil)
	wantErr(t, "another's vote", v.Verify(pub(1)), room.ErrSignature)
	wantErr(t, "no key", v.Verify(nil), room.ErrSignature)
	for why, edit := range map[string]func(*room.SignedVote){
		"room": func(v *room.SignedVote) { v.Room[0]++ }, "set": func(v *room.SignedVote) { v.Set[0]++ },
		"term": func(v *room.SignedVote) { v.Term.Era++ }, "candidate": func(v *room.SignedVote) { v.Candidate = "p3.example" },
		"head": func(v *room.SignedVote) { v.Head.Seq++ }, "release": func(v *room.SignedVote) { v.Release = true },
		"voter": func(v *room.SignedVote) { v.Voter = "p1.example" },
	} {
		x := v
		edit(&x)
		wantErr(t, why+" of a vote", x.Verify(pub(2)), room.ErrSignature)
	}
}

// TestCertificateRefused: certificates that are none by themselves.
func TestCertificateRefused(t *testing.T) {
	for _, c := range []struct {
		why  string
		edit func(*room.Certificate)
		want error
	}{
		{"as it should be", func(*room.Certificate) {}, nil},
		{"ten", func(c *room.Certificate) { *c = *someCertificate(10) }, nil},
		{"eleven", func(c *room.Certificate) {
			x := c.Signers[2]
			for i := range 8 {
				x.Domain = fmt.Sprintf("p2.example%d", i)
				c.Signers = append(c.Signers, x)
			}
		}, room.ErrCertificate},
		{"nobody", func(c *room.Certificate) { c.Signers = nil }, room.ErrCertificate},
		{"twice the same", func(c *room.Certificate) { c.Signers[1] = c.Signers[0] }, room.ErrCertificate},
		{"out of order", func(c *room.Certificate) { slices.Reverse(c.Signers) }, room.ErrCertificate},
		{"an earlier head", func(c *room.Certificate) {
			h := someHead
			h.Seq--
			c.Signers[0].CoSignature = room.CoSign(h, key(0))
		}, room.ErrCertificate},
		{"another hash at the place", func(c *room.Certificate) {
			h := someHead
			h.Hash[1]++
			c.Signers[0].CoSignature = room.CoSign(h, key(0))
		}, room.ErrCertificate},
		{"a later head of another term", func(c *room.Certificate) {
			h := someHead
			h.Seq, h.Term.Number = 9, 4
			c.Signers[0].CoSignature = room.CoSign(h, key(0))
		}, room.ErrCertificate},
		{"a head of another room", func(c *room.Certificate) {
			h := someHead
			h.Room[0]++
			c.Signers[0].CoSignature = room.CoSign(h, key(0))
		}, room.ErrCertificate},
		{"of another room altogether", func(c *room.Certificate) { c.Head.Room[0]++ }, room.ErrWrongRoom},
		{"a signature by another", func(c *room.Certificate) { c.Signers[0].CoSignature = room.CoSign(someHead, key(9)) }, room.ErrSignature},
		{"a signer that nobody knows", func(c *room.Certificate) { c.Signers[2].Domain = "x.example" }, room.ErrCertificate},
	} {
		x := someCertificate(3)
		c.edit(x)
		wantErr(t, c.why, x.Verify(room.IDOf(clubURI), keysOfP), c.want)
	}
	c := someCertificate(4)
	later := c.Signers[1].CoSignature.Head
	if d := cmp.Diff(c.Cites(), []room.Head{someHead, later}); d != "" {
		t.Errorf("cites %s", d)
	}
	if d := cmp.Diff(c.Domains(), []string{"p0.example", "p1.example", "p2.example", "p3.example"}); d != "" {
		t.Error(d)
	}
}

func TestDoubleVote(t *testing.T) {
	sign := func(edit func(*room.Vote), voter string, k byte) room.SignedVote {
		v := someVote()
		if edit != nil {
			edit(&v)
		}
		return room.SignVote(v, voter, key(k))
	}
	a := sign(nil, "p2.example", 2)
	for _, c := range []struct {
		why  string
		b    room.SignedVote
		want error
	}{
		{"for another", sign(func(v *room.Vote) { v.Candidate = "p3.example" }, "p2.example", 2), nil},
		{"for another head", sign(func(v *room.Vote) { v.Head.Seq++ }, "p2.example", 2), nil},
		{"for another set", sign(func(v *room.Vote) { v.Set[0]++ }, "p2.example", 2), nil},
		{"a vote and a release", sign(func(v *room.Vote) { v.Release = true }, "p2.example", 2), nil},
		{"the same", a, room.ErrNoProof},
		{"in another term", sign(func(v *room.Vote) { v.Term.Number++ }, "p2.example", 2), room.ErrNoProof},
		{"in another room", sign(func(v *room.Vote) { v.Room[0]++ }, "p2.example", 2), room.ErrNoProof},
		{"of two voters", sign(func(v *room.Vote) { v.Candidate = "p3.example" }, "p3.example", 2), room.ErrNoProof},
		{"one forged", sign(func(v *room.Vote) { v.Candidate = "p3.example" }, "p2.example", 1), room.ErrSignature},
	} {
		for _, p := range []room.DoubleVote{{A: a, B: c.b}, {A: c.b, B: a}} {
			enc := p.Append(nil)
			back, err := room.ParseDoubleVote(enc)
			if err != nil || *back != p {
				t.Errorf("%s: does not survive decoding: %v", c.why, err)
				continue
			}
			wantErr(t, c.why, back.Verify(pub(2)), c.want)
		}
	}
	b := (&room.DoubleVote{A: a, B: a}).Append(nil)
	if _, err := room.ParseDoubleVote(b[:len(b)-1]); !errors.Is(err, presentation.ErrTruncated) {
		t.Errorf("cut: %v", err)
	}
}

func someMove() *room.HubChange {
	a := room.Ack{Room: someHead.Room, Term: room.Term{Era: 3, Number: 1}, Hub: "p2.example", Commit: room.CommitHash([]byte("a commit")), Head: someHead}
	return &room.HubChange{Via: room.ByMove, Hub: hosting(1, 2).Replicas[0], Commit: []byte("a commit"),
		Acks: []room.SignedAck{room.SignAck(a, false, "p2.example", key(2)), room.SignAck(a, false, "p3.example", key(3))}}
}

// proofs are one encoding of each, with a parser that encodes again.
func proofs() []struct {
	name  string
	bytes []byte
	again func([]byte) ([]byte, error)
} {
	v := room.SignVote(someVote(), "p2.example", key(2))
	w := room.SignVote(someVote(), "p3.example", key(3))
	cert := someCertificate(3)
	h := &room.HubChange{Via: room.ByVotes, Hub: hosting(1, 2).Replicas[0], Votes: []room.SignedVote{v, w}}
	set := hosting(3, room.FailoverAuto).Replicas
	lead := &room.Lead{Hub: set[0], Term: room.FirstTerm, Now: set[:1], Next: set, Before: set[1:2], Began: someHead}
	e := &room.Entry{Room: someHead.Room, Term: someHead.Term, Seq: someHead.Seq, Kind: room.KindMessage, Body: []byte("other")}
	lying := someMove()
	lying.Lies = []room.Lie{
		{Provider: "p2.example", Histories: &room.Equivocation{Low: room.SignHead(someHead, key(2)), High: room.SignHead(room.HeadOf(e), key(2)), Entries: []*room.Entry{e}}},
		{Provider: "p3.example", Votes: &room.DoubleVote{A: v, B: w}},
	}
	return []struct {
		name  string
		bytes []byte
		again func([]byte) ([]byte, error)
	}{
		{"certificate", cert.Append(nil), func(b []byte) ([]byte, error) {
			c, err := room.ParseCertificate(b)
			if err != nil {
				return nil, err
			}
			_ = c.Verify(c.Head.Room, keysOfP)
			return c.Append(nil), nil
		}},
		{"hub_change", h.Bytes(), func(b []byte) ([]byte, error) {
			c, err := room.ParseHubChange(b)
			if err != nil {
				return nil, err
			}
			return c.Bytes(), nil
		}},
		{"move", someMove().Bytes(), func(b []byte) ([]byte, error) {
			c, err := room.ParseHubChange(b)
			if err != nil {
				return nil, err
			}
			_, _ = c.Handshake()
			return c.Bytes(), nil
		}},
		{"settled", (&room.Settled{Certificate: *cert}).Bytes(), func(b []byte) ([]byte, error) {
			s, err := room.ParseSettled(b)
			if err != nil {
				return nil, err
			}
			return s.Bytes(), nil
		}},
		{"vote", v.Append(nil), func(b []byte) ([]byte, error) {
			s, err := room.ParseSignedVote(b)
			if err != nil {
				return nil, err
			}
			_ = s.Verify(pub(2))
			return s.Append(nil), nil
		}},
		{"lead", lead.Append(nil), func(b []byte) ([]byte, error) {
			l, err := room.ParseLead(b)
			if err != nil {
				return nil, err
			}
			return l.Append(nil), nil
		}},
		{"double vote", (&room.DoubleVote{A: v, B: w}).Append(nil), func(b []byte) ([]byte, error) {
			p, err := room.ParseDoubleVote(b)
			if err != nil {
				return nil, err
			}
			_ = p.Verify(pub(2))
			return p.Append(nil), nil
		}},
		{"move without liars", lying.Bytes(), func(b []byte) ([]byte, error) {
			c, err := room.ParseHubChange(b)
			if err != nil {
				return nil, err
			}
			for i := range c.Lies {
				_ = c.Lies[i].Verify(someHead.Room, []ed25519.PublicKey{pub(2)})
			}
			return c.Bytes(), nil
		}},
	}
}

// TestProofsStrict: what was sent comes back, cut or longer it does not.
func TestProofsStrict(t *testing.T) {
	for _, p := range proofs() {
		if back, err := p.again(p.bytes); err != nil || !bytes.Equal(back, p.bytes) {
			t.Errorf("%s does not survive: %v", p.name, err)
		}
		for i := range p.bytes {
			if _, err := p.again(p.bytes[:i]); err == nil {
				t.Fatalf("%d of %d bytes of a %s decode", i, len(p.bytes), p.name)
			}
		}
		if _, err := p.again(append(slices.Clone(p.bytes), 0)); !errors.Is(err, presentation.ErrTrailing) {
			t.Errorf("%s with a byte more: %v", p.name, err)
		}
	}
	h := proofs()[1].bytes
	for via, want := range map[byte]error{0: presentation.ErrMalformed, 4: presentation.ErrMalformed, 5: presentation.ErrMalformed} {
		b := slices.Clone(h)
		b[1] = via
		_, err := room.ParseHubChange(b)
		wantErr(t, fmt.Sprintf("via %d", via), err, want)
	}
	for i, want := range []error{nil, room.ErrVersion, room.ErrVersion, room.ErrVersion} {
		if want == nil {
			continue
		}
		b := slices.Clone(proofs()[i].bytes)
		b[0] = 2
		_, err := proofs()[i].again(b)
		wantErr(t, proofs()[i].name+" of version 2", err, want)
	}
	v := proofs()[3].bytes
	b := slices.Clone(v)
	b[len(b)-64-len("p2.example")-2] = 2
	_, err := room.ParseSignedVote(b)
	wantErr(t, "release of 2", err, presentation.ErrMalformed)
	for why, edit := range map[string]func(*room.SignedVote){
		"no candidate":     func(v *room.SignedVote) { v.Candidate = "" },
		"no voter":         func(v *room.SignedVote) { v.Voter = "" },
		"a huge candidate": func(v *room.SignedVote) { v.Candidate = strings.Repeat("x", 254) },
	} {
		x := room.SignVote(someVote(), "p2.example", key(2))
		edit(&x)
		_, err := room.ParseSignedVote(x.Append(nil))
		wantErr(t, why, err, presentation.ErrMalformed)
	}
	many := &room.HubChange{Via: room.ByVotes, Hub: hosting(1, 2).Replicas[0]}
	for i := range 11 {
		many.Votes = append(many.Votes, room.SignVote(someVote(), fmt.Sprintf("q%02d.example", i), key(1)))
	}
	_, err = room.ParseHubChange(many.Bytes())
	wantErr(t, "eleven votes", err, presentation.ErrTooLarge)
	c := someCertificate(10)
	c.Signers = append(c.Signers, c.Signers[9])
	_, err = room.ParseCertificate(c.Append(nil))
	wantErr(t, "eleven signers", err, presentation.ErrTooLarge)
}

// TestProofsRoundTrip: whatever can be said survives encoding.
func TestProofsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		hash := func(l string) (h room.Hash) {
			copy(h[:], rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, l))
			return h
		}
		domain := rapid.StringMatching(`[a-z]{1,8}\.example`)
		term := room.Term{Era: rapid.Uint32().Draw(t, "era"), Number: rapid.Uint64().Draw(t, "number")}
		head := room.Head{Room: room.ID(hash("room")), Term: term, Seq: rapid.Uint64Range(0, 1<<60).Draw(t, "seq"), Hash: hash("hash")}
		signer := func(d string) room.Signer {
			h := head
			if n := rapid.Uint64Range(0, 3).Draw(t, "later"); n > 0 {
				h.Seq, h.Hash = head.Seq+n, hash("later hash")
			}
			return room.Signer{Domain: d, CoSignature: room.CoSign(h, key(1))}
		}
		vote := func(d string) room.SignedVote {
			return room.SignVote(room.Vote{Room: head.Room, Set: hash("set"), Term: term, Candidate: domain.Draw(t, "candidate"),
				Head: head, Release: rapid.Bool().Draw(t, "release")}, d, key(2))
		}
		domains := rapid.SliceOfNDistinct(domain, 1, 10, rapid.ID[string]).Draw(t, "domains")
		slices.Sort(domains)
		c := room.Certificate{Head: head}
		h := room.HubChange{Via: room.ByVotes, Hub: room.Replica{Domain: domain.Draw(t, "hub"), ProviderKey: hash("key"),
			FrankingKey: make([]byte, rapid.SampledFrom([]int{32, 65}).Draw(t, "size"))}}
		for _, d := range domains {
			c.Signers = append(c.Signers, signer(d))
			h.Votes = append(h.Votes, vote(d))
		}
		s := room.Settled{Certificate: c}
		equal := func(what string, got, want any, err error) {
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Fatalf("%s: %s", what, d)
			}
		}
		c2, err := room.ParseCertificate(c.Append(nil))
		equal("certificate", c2, &c, err)
		if err := c2.Verify(head.Room, func(string) (ed25519.PublicKey, bool) { return pub(1), true }); err != nil {
			t.Fatal(err)
		}
		s2, err := room.ParseSettled(s.Bytes())
		equal("settled", s2, &s, err)
		h2, err := room.ParseHubChange(h.Bytes())
		equal("hub_change", h2, &h, err)
		v2, err := room.ParseSignedVote(h.Votes[0].Append(nil))
		equal("vote", v2, &h.Votes[0], err)
	})
}

// FuzzProofs: whatever decodes encodes to the same bytes.
func FuzzProofs(f *testing.F) {
	all := proofs()
	for i, p := range all {
		f.Add(append([]byte{byte(i)}, p.bytes...))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) == 0 {
			return
		}
		p := all[int(b[0])%len(all)]
		if back, err := p.again(b[1:]); err == nil && !bytes.Equal(back, b[1:]) {
			t.Fatalf("%s decodes and encodes to other bytes", p.name)
		}
	})
}
