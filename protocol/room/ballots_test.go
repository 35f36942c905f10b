package room_test

import (
	"crypto/ed25519"
	"errors"
	"testing"

	"pgregory.net/rapid"

	"github.com/mimid/mimid/protocol/room"
)

// TestBallots: two votes of one voter in one term are a proof, whatever differs in them, and
// nothing else is.
func TestBallots(t *testing.T) {
	sign := func(voter string, k byte, edit func(*room.Vote)) *room.SignedVote {
		v := someVote()
		if edit != nil {
			edit(&v)
		}
		s := room.SignVote(v, voter, key(k))
		return &s
	}
	first := sign("p2.example", 2, nil)
	other := func(v *room.Vote) { v.Candidate = "p3.example" }
	for _, c := range []struct {
		why   string
		vote  *room.SignedVote
		proof bool
	}{
		{"for another", sign("p2.example", 2, other), true},
		{"on another head", sign("p2.example", 2, func(v *room.Vote) { v.Head.Seq++ }), true},
		{"in another set", sign("p2.example", 2, func(v *room.Vote) { v.Set[0]++ }), true},
		{"a release as well", sign("p2.example", 2, func(v *room.Vote) { v.Release = true }), true},
		{"the same", first, false},
		{"in another term", sign("p2.example", 2, func(v *room.Vote) { other(v); v.Term.Number++ }), false},
		{"in another era", sign("p2.example", 2, func(v *room.Vote) { other(v); v.Term.Era++ }), false},
		{"of another voter", sign("p3.example", 3, other), false},
		{"by another key", sign("p2.example", 9, other), false},
		{"of another room", sign("p2.example", 2, func(v *room.Vote) { other(v); v.Room[0]++ }), false},
	} {
		var b room.Ballots
		if p, k := b.Contradicts(c.vote); p != nil || k != nil {
			t.Errorf("%s: contradicts nothing: %v", c.why, p)
		}
		if b.Note(first, pub(7)) || len(b.Keys("p2.example")) != 0 {
			t.Fatal("a vote is noted that no key verifies")
		}
		if !b.Note(first, pub(7), pub(2)) || !b.Note(first) {
			t.Fatal("a vote is not noted")
		}
		if k := b.Keys("p2.example"); len(k) != 1 || !k[0].Equal(pub(2)) {
			t.Fatalf("keys %x", k)
		}
		p, k := b.Contradicts(c.vote)
		if (p != nil) != c.proof {
			t.Errorf("%s: proof %v", c.why, p)
			continue
		}
		if p == nil {
			continue
		}
		if !k.Equal(pub(2)) || p.A != *first || p.B != *c.vote || p.Verify(pub(2)) != nil {
			t.Errorf("%s: proof %+v by %x", c.why, p, k)
		}
		if b.Note(c.vote, pub(2)) {
			t.Errorf("%s: the second one takes the place of the first", c.why)
		}
		if got, err := p.Signer([]ed25519.PublicKey{pub(7), pub(2)}); err != nil || !got.Equal(pub(2)) {
			t.Errorf("%s: signed by %x, %v", c.why, got, err)
		}
		if _, err := p.Signer([]ed25519.PublicKey{pub(7)}); !errors.Is(err, room.ErrSignature) {
			t.Errorf("%s: by a key that did not sign: %v", c.why, err)
		}
		if _, err := p.Signer(nil); !errors.Is(err, room.ErrVote) {
			t.Errorf("%s: by nobody's key: %v", c.why, err)
		}
	}
}

// TestBallotsBounded: a voter that votes in term after term pushes out its own votes, oldest
// first, and nobody else's.
func TestBallotsBounded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		at := func(voter string, k byte, n uint64, candidate string) *room.SignedVote {
			v := someVote()
			v.Term.Number, v.Candidate = n, candidate
			s := room.SignVote(v, voter, key(k))
			return &s
		}
		var b room.Ballots
		b.Note(at("p3.example", 3, 1, "p1.example"), pub(3))
		terms := rapid.SliceOfNDistinct(rapid.Uint64Range(1, 60), 0, 3*room.MaxBallots, rapid.ID).Draw(t, "terms")
		var kept []uint64 // in their order, as they must be
		for _, n := range terms {
			oldest := len(kept) >= room.MaxBallots
			for _, x := range kept {
				oldest = oldest && n < x
			}
			if got := b.Note(at("p2.example", 2, n, "p1.example"), pub(2)); got == oldest {
				t.Fatalf("vote in term %d noted: %v; known are %v", n, got, kept)
			}
			if oldest {
				continue
			}
			kept = append(kept, n)
			if len(kept) > room.MaxBallots {
				low := 0
				for i, x := range kept {
					if x < kept[low] {
						low = i
					}
				}
				kept = append(kept[:low], kept[low+1:]...)
			}
		}
		for n := uint64(1); n <= 60; n++ {
			known := false
			for _, x := range kept {
				known = known || x == n
			}
			if p, _ := b.Contradicts(at("p2.example", 2, n, "p4.example")); (p != nil) != known {
				t.Fatalf("second vote in term %d: proof %v, known are %v", n, p, kept)
			}
		}
		if p, _ := b.Contradicts(at("p3.example", 3, 1, "p4.example")); p == nil {
			t.Fatal("another voter's vote is forgotten")
		}
	})
}
