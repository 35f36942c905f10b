package oprf_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/mimid/mimid/protocol/oprf"
	"github.com/mimid/mimid/protocol/presentation"
	"github.com/mimid/mimid/protocol/uri"
)

func plan(threshold, n int) (p oprf.Plan) {
	p.Threshold = threshold
	for i := range n {
		d, err := uri.ParseDomain(fmt.Sprintf("p%d.example", i+1))
		if err != nil {
			panic(err)
		}
		p.Evaluators = append(p.Evaluators, d)
	}
	return p
}

func dealt(t testing.TB, threshold, n int) (*oprf.KeySet, []*oprf.Share) {
	t.Helper()
	set, shares, err := oprf.Deal(plan(threshold, n))
	if err != nil {
		t.Fatal(err)
	}
	return set, shares
}

func blinded(t testing.TB, set *oprf.KeySet, inputs ...string) *oprf.Blinding {
	t.Helper()
	var in [][]byte
	for _, s := range inputs {
		in = append(in, []byte(s))
	}
	b, err := set.Blind(in...)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// verified has these evaluators evaluate.
func verified(t testing.TB, set *oprf.KeySet, b *oprf.Blinding, shares []*oprf.Share, use ...int) (out []*oprf.Verified) {
	t.Helper()
	for _, n := range use {
		e, err := shares[n-1].Evaluate(b.Request())
		if err != nil {
			t.Fatal(err)
		}
		v, err := set.Verify(b.Request(), n, e)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, v)
	}
	return out
}

// TestAnyThreshold: whichever t of the n evaluate, in whatever order, the outputs are the same;
// other inputs and other keys give other ones; and no two requests for one input are alike.
func TestAnyThreshold(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(1, 6).Draw(rt, "n")
		threshold := rapid.IntRange(1, n).Draw(rt, "t")
		set, shares := dealt(t, threshold, n)
		inputs := rapid.SliceOfNDistinct(rapid.StringN(0, 40, 80), 1, 4, rapid.ID).Draw(rt, "inputs")
		numbers := make([]int, n)
		for i := range numbers {
			numbers[i] = i + 1
		}
		b := blinded(t, set, inputs...)
		want := outputs(t, set, shares, numbers[:threshold], b)
		use := rapid.Permutation(numbers).Draw(rt, "use")[:threshold]
		again := blinded(t, set, inputs...)
		if got := outputs(t, set, shares, use, again); joined(got) != joined(want) {
			rt.Fatalf("evaluators %v give another output", use)
		}
		for i, e := range b.Request().Elements() {
			if bytes.Equal(e, again.Request().Elements()[i]) {
				rt.Fatal("an input was blinded twice alike")
			}
			for j := range i {
				if bytes.Equal(want[i], want[j]) {
					rt.Fatal("two inputs with one output")
				}
			}
		}
		other, otherShares := dealt(t, threshold, n)
		if set.SameKey(other) || !set.SameKey(set) {
			rt.Fatal("keys are compared wrongly")
		}
		if got := outputs(t, other, otherShares, use, blinded(t, other, inputs...)); bytes.Equal(got[0], want[0]) {
			rt.Fatal("two keys with one output")
		}
	})
}

// TestBadEvaluation: what an evaluator's share does not give is found, whoever sends it, and
// the others are still enough.
func TestBadEvaluation(t *testing.T) {
	set, shares := dealt(t, 3, 5)
	_, strangers := dealt(t, 3, 5)
	b := blinded(t, set, "handle:alice", "handle:bob")
	evaluate := func(s *oprf.Share, b *oprf.Blinding) *oprf.Evaluation {
		e, err := s.Evaluate(b.Request())
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	if _, err := strangers[1].Evaluate(b.Request()); !errors.Is(err, oprf.ErrMismatch) {
		t.Errorf("a share of another key: %v", err)
	}
	good := evaluate(shares[1], b)
	if _, err := set.Verify(b.Request(), 2, good); err != nil {
		t.Fatal(err)
	}
	for what, x := range map[string]struct {
		number int
		e      *oprf.Evaluation
		want   error
	}{
		"another evaluator's":             {2, evaluate(shares[2], b).Claim(2), oprf.ErrProof},
		"sent by another one":             {3, good, oprf.ErrMismatch},
		"said to be another one's":        {3, good.Claim(3), oprf.ErrProof},
		"of no evaluator":                 {6, good.Claim(6), oprf.ErrEvaluator},
		"number 0":                        {0, good.Claim(0), oprf.ErrEvaluator},
		"in another order":                {2, good.Swap(), oprf.ErrProof},
		"of other inputs":                 {2, evaluate(shares[1], blinded(t, set, "handle:alice", "handle:carol")), oprf.ErrProof},
		"of the same inputs, other blind": {2, evaluate(shares[1], blinded(t, set, "handle:alice", "handle:bob")), oprf.ErrProof},
		"of one input":                    {2, evaluate(shares[1], blinded(t, set, "handle:alice")), oprf.ErrMismatch},
	} {
		if v, err := set.Verify(b.Request(), x.number, x.e); !errors.Is(err, x.want) || v != nil {
			t.Errorf("%s: %v, want %v", what, err, x.want)
		}
	}
	// Every bit counts.
	wire := good.Bytes()
	for i := range wire {
		for _, bit := range []byte{1, 0x80} {
			bad := slices.Clone(wire)
			bad[i] ^= bit
			e, err := oprf.ParseEvaluation(bad)
			if err == nil {
				_, err = set.Verify(b.Request(), 2, e)
			}
			if err == nil {
				t.Fatalf("byte %d may be changed by %#x", i, bit)
			}
		}
	}
	want := outputs(t, set, shares, []int{1, 3, 4}, b)
	if got := outputs(t, set, shares, []int{2, 4, 5}, b); joined(got) != joined(want) {
		t.Error("the others give another output")
	}
}

// TestTooFew: fewer than the threshold give nothing, and one evaluator counts once.
func TestTooFew(t *testing.T) {
	set, shares := dealt(t, 3, 5)
	b := blinded(t, set, "tel:+15551234567")
	vs := verified(t, set, b, shares, 1, 2, 2, 1)
	if out, err := b.Finish(vs...); !errors.Is(err, oprf.ErrTooFew) || out != nil {
		t.Errorf("two evaluators: %v", err)
	}
	if out, err := b.Finish(append(vs, verified(t, set, b, shares, 4, 5)...)...); err != nil || len(out) != 1 {
		t.Errorf("four evaluators: %v", err)
	}
	if _, err := b.Finish(verified(t, set, blinded(t, set, "x"), shares, 1, 2, 3)...); !errors.Is(err, oprf.ErrMismatch) {
		t.Errorf("evaluations of another request: %v", err)
	}
}

// TestLimits: numbers out of their limits are refused before anything is computed.
func TestLimits(t *testing.T) {
	twice := plan(1, 2)
	twice.Evaluators[1] = twice.Evaluators[0]
	for what, p := range map[string]oprf.Plan{"none": {}, "threshold 0": plan(0, 3), "above": plan(4, 3), "many": plan(3, oprf.MaxEvaluators+1),
		"twice": twice, "nobody": {Threshold: 1, Evaluators: make([]uri.Provider, 1)}} {
		if _, _, err := oprf.Deal(p); !errors.Is(err, oprf.ErrSize) && !errors.Is(err, oprf.ErrEvaluator) {
			t.Errorf("%s: %v", what, err)
		}
	}
	set, shares := dealt(t, 1, 1)
	if _, err := set.Blind(); !errors.Is(err, oprf.ErrSize) {
		t.Errorf("no input: %v", err)
	}
	if _, err := set.Blind(make([][]byte, oprf.MaxInputs+1)...); !errors.Is(err, oprf.ErrSize) {
		t.Errorf("many inputs: %v", err)
	}
	if _, err := set.Blind(make([]byte, oprf.MaxInput+1)); !errors.Is(err, oprf.ErrSize) {
		t.Errorf("a long input: %v", err)
	}
	b, err := set.Blind(make([][]byte, oprf.MaxInputs)...)
	if err != nil {
		t.Fatal(err)
	}
	if len(b.Request().Bytes()) > oprf.MaxRequest || b.Request().Len() != oprf.MaxInputs {
		t.Errorf("the longest request has %d bytes", len(b.Request().Bytes()))
	}
	e, err := shares[0].Evaluate(b.Request())
	if err != nil || len(e.Bytes()) > oprf.MaxEvaluation {
		t.Errorf("the longest evaluation has %d bytes: %v", len(e.Bytes()), err)
	}
}

// TestSecretsDoNotPrint: no verb prints a share, a piece, a blinding or an output.
func TestSecretsDoNotPrint(t *testing.T) {
	set, shares := dealt(t, 1, 1)
	_, pieces, err := shares[0].Redeal(plan(1, 1))
	if err != nil {
		t.Fatal(err)
	}
	b := blinded(t, set, "handle:alice")
	out, err := b.Finish(verified(t, set, b, shares, 1)...)
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q", "%d"} {
		for _, x := range []any{shares[0], pieces[0], b, out[0], struct{ X any }{shares[0]}} {
			if s := fmt.Sprintf(verb, x); !strings.Contains(s, "hidden") {
				t.Errorf("%s of %T prints %s", verb, x, s)
			}
		}
	}
}

// TestStored: key sets and shares are read as they were written, and nothing else is.
func TestStored(t *testing.T) {
	set, shares := dealt(t, 2, 3)
	other, _ := dealt(t, 2, 3)
	again, err := oprf.ParseKeySet(set.Bytes())
	if err != nil || again.ID() != set.ID() || again.Threshold() != 2 || len(again.Evaluators()) != 3 {
		t.Fatalf("a key set is read as %+v: %v", again, err)
	}
	if n, err := again.Number(plan(1, 3).Evaluators[2]); n != 3 || err != nil {
		t.Errorf("the third is number %d: %v", n, err)
	}
	if _, err := again.Number(plan(1, 4).Evaluators[3]); !errors.Is(err, oprf.ErrEvaluator) {
		t.Errorf("a fourth: %v", err)
	}
	s, err := again.ParseShare(shares[1].Secret())
	if err != nil || s.Number() != 2 {
		t.Fatalf("a share is not read: %v", err)
	}
	if _, err := other.ParseShare(shares[1].Secret()); !errors.Is(err, oprf.ErrMismatch) {
		t.Errorf("a share of another key set: %v", err)
	}
	for at, want := range map[int]error{33: oprf.ErrShare, 50: oprf.ErrShare} { // number, scalar
		bad := shares[0].Secret()
		bad[at] ^= 3
		if _, err := set.ParseShare(bad); !errors.Is(err, want) {
			t.Errorf("byte %d changed: %v", at, err)
		}
	}
	for what, change := range map[string]func([]byte) []byte{
		"zero":            func(b []byte) []byte { clear(b[34:]); return b },
		"above the order": func(b []byte) []byte { copy(b[34:], bytes.Repeat([]byte{0xff}, 32)); return b },
		"short":           func(b []byte) []byte { return b[:len(b)-1] },
		"long":            func(b []byte) []byte { return append(b, 0) },
		"version":         func(b []byte) []byte { b[0]++; return b },
	} {
		if _, err := set.ParseShare(change(shares[0].Secret())); err == nil {
			t.Errorf("%s: taken", what)
		}
	}
	// The identity, and points that are not on the curve, or not compressed.
	wire := set.Bytes()
	for _, first := range []byte{0, 1, 4, 5} {
		bad := slices.Clone(wire)
		bad[7] = first // behind version, generation and a length of two octets
		if _, err := oprf.ParseKeySet(bad); !errors.Is(err, oprf.ErrElement) {
			t.Errorf("an element beginning with %d: %v", first, err)
		}
	}
	if _, err := oprf.ParseKeySet(make([]byte, oprf.MaxKeySet+1)); !errors.Is(err, presentation.ErrTooLarge) {
		t.Errorf("too long: %v", err)
	}
}

// TestConcurrent: one key set, one request and one share are used by many at once (with the
// race detector this shows more than the outcome).
func TestConcurrent(t *testing.T) {
	set, shares := dealt(t, 2, 3)
	b := blinded(t, set, "handle:alice")
	want := joined(outputs(t, set, shares, []int{1, 2}, b))
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if got := joined(outputs(t, set, shares, []int{3, 1}, b)); got != want {
				t.Error("another output")
			}
		})
	}
	all.Wait()
}
