package oprf_test

import (
	"errors"
	"testing"

	"pgregory.net/rapid"

	"github.com/mimid/mimid/protocol/oprf"
)

// redealt has these evaluators deal their shares out, by way of the wire.
func redealt(t testing.TB, shares []*oprf.Share, next oprf.Plan, use ...int) (ds []*oprf.Dealing, pieces []*oprf.Piece) {
	t.Helper()
	for _, n := range use {
		d, ps, err := shares[n-1].Redeal(next)
		if err != nil {
			t.Fatal(err)
		}
		if d, err = oprf.ParseDealing(d.Bytes()); err != nil {
			t.Fatal(err)
		}
		ds = append(ds, d)
		for _, p := range ps {
			if p, err = oprf.ParsePiece(p.Secret()); err != nil {
				t.Fatal(err)
			}
			pieces = append(pieces, p)
		}
	}
	return ds, pieces
}

// assembled makes all shares of the next key set.
func assembled(t testing.TB, set *oprf.KeySet, ds []*oprf.Dealing, pieces []*oprf.Piece) (next *oprf.KeySet, shares []*oprf.Share) {
	t.Helper()
	next, err := set.Next(ds...)
	if err != nil {
		t.Fatal(err)
	}
	for i := range next.Evaluators() {
		s, err := set.Assemble(i+1, ds, pieces)
		if err != nil {
			t.Fatal(err)
		}
		if s.Set().ID() != next.ID() || s.Number() != i+1 {
			t.Fatalf("share %d is number %d of %s, not of %s", i+1, s.Number(), s.Set().ID(), next.ID())
		}
		shares = append(shares, s)
	}
	return next, shares
}

// TestRedeal: however often a key is dealt on, to how many, by whom, its outputs stay.
func TestRedeal(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		set, shares := dealt(t, 3, 5)
		first := set
		want := joined(outputs(t, set, shares, []int{1, 2, 3}, blinded(t, set, "handle:alice")))
		for round := range rapid.IntRange(1, 3).Draw(rt, "rounds") {
			var numbers []int
			for i := range shares {
				numbers = append(numbers, i+1)
			}
			use := rapid.Permutation(numbers).Draw(rt, "dealers")[:set.Threshold()]
			n := rapid.IntRange(1, 6).Draw(rt, "n")
			ds, pieces := redealt(t, shares, plan(rapid.IntRange(1, n).Draw(rt, "t"), n), use...)
			pieces = rapid.Permutation(pieces).Draw(rt, "pieces")
			set, shares = assembled(t, set, ds, pieces)
			if set.Generation() != uint32(round+1) || !set.SameKey(first) {
				rt.Fatalf("round %d gives generation %d", round, set.Generation())
			}
			if got := joined(outputs(t, set, shares, firstOf(set.Threshold()), blinded(t, set, "handle:alice"))); got != want {
				rt.Fatalf("round %d gives another output", round)
			}
		}
	})
}

// TestRedealCheats: a dealer that deals something else than its share, or gives somebody a wrong
// piece, is named; sets that do not fit together are refused.
func TestRedealCheats(t *testing.T) {
	set, shares := dealt(t, 2, 3)
	_, strangers := dealt(t, 2, 3)
	next := plan(2, 4)
	ds, pieces := redealt(t, shares, next, 1, 3)
	strange, _ := redealt(t, strangers, next, 2)
	other, _ := redealt(t, shares, plan(3, 4), 2)
	twice, _ := redealt(t, shares, next, 1)
	third, _ := redealt(t, shares, next, 2)
	for what, x := range map[string]struct {
		ds   []*oprf.Dealing
		want error
	}{
		"one":                {ds[:1], oprf.ErrTooFew},
		"three":              {append(third, ds...), oprf.ErrSize},
		"of another key":     {[]*oprf.Dealing{ds[0], strange[0]}, oprf.ErrMismatch},
		"for different ends": {[]*oprf.Dealing{ds[0], other[0]}, oprf.ErrMismatch},
		"of one dealer":      {[]*oprf.Dealing{ds[0], twice[0]}, oprf.ErrMismatch},
	} {
		if s, err := set.Next(x.ds...); !errors.Is(err, x.want) || s != nil {
			t.Errorf("dealings %s: %v, want %v", what, err, x.want)
		}
	}
	// Evaluator 3 says that it deals number 2's share.
	wire := ds[1].Bytes()
	wire[33] = 2
	forged, err := oprf.ParseDealing(wire)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := set.Next(ds[0], forged); !errors.Is(err, oprf.ErrDealing) {
		t.Errorf("a share dealt as another one's: %v", err)
	}
	wire[33] = 9
	if forged, err = oprf.ParseDealing(wire); err != nil {
		t.Fatal(err)
	}
	if _, err := set.Next(ds[0], forged); !errors.Is(err, oprf.ErrEvaluator) {
		t.Errorf("a share of nobody: %v", err)
	}
	// Piece 2 of the first dealer is wrong: number 2 says so, number 1 has no reason to.
	bad := append([]*oprf.Piece{pieces[0], pieces[1].Shift()}, pieces[2:]...)
	if _, err := set.Assemble(1, ds, bad); err != nil {
		t.Errorf("number 1: %v", err)
	}
	if s, err := set.Assemble(2, ds, bad); !errors.Is(err, oprf.ErrDealing) || s != nil {
		t.Errorf("number 2: %v", err)
	}
	if _, err := set.Assemble(2, ds, pieces[:5]); !errors.Is(err, oprf.ErrDealing) {
		t.Errorf("without a piece: %v", err)
	}
	if _, err := set.Assemble(5, ds, pieces); !errors.Is(err, oprf.ErrDealing) {
		t.Errorf("for nobody: %v", err)
	}
	// Old and new shares do not mix.
	to, nextShares := assembled(t, set, ds, pieces)
	b := blinded(t, to, "handle:alice")
	if _, err := shares[0].Evaluate(b.Request()); !errors.Is(err, oprf.ErrMismatch) {
		t.Errorf("an old share: %v", err)
	}
	if _, err := set.ParseShare(nextShares[0].Secret()); !errors.Is(err, oprf.ErrMismatch) {
		t.Errorf("a new share with the old set: %v", err)
	}
}

func firstOf(n int) (numbers []int) {
	for i := range n {
		numbers = append(numbers, i+1)
	}
	return numbers
}
