package oprf_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"testing"

	"github.com/mimid/mimid/protocol/oprf"
)

func names(n int) (out []string) {
	for i := range n {
		out = append(out, fmt.Sprint("handle:user", i))
	}
	return out
}

// BenchmarkEvaluate is what one evaluator computes for a request, with its proof. Beside it an
// ECDSA signature of the same curve.
func BenchmarkEvaluate(b *testing.B) {
	for _, n := range []int{1, 8, 64} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			set, shares := dealt(b, 3, 5)
			req := blinded(b, set, names(n)...).Request()
			for b.Loop() {
				if _, err := shares[0].Evaluate(req); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("bare-ecdsa", func(b *testing.B) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			if _, err := ecdsa.SignASN1(rand.Reader, key, make([]byte, 32)); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkSearch is what a searcher computes, with three evaluations of five.
func BenchmarkSearch(b *testing.B) {
	for _, n := range []int{1, 8, 64} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			set, shares := dealt(b, 3, 5)
			bl := blinded(b, set, names(n)...)
			var es []*oprf.Evaluation
			for i := range 3 {
				e, err := shares[i].Evaluate(bl.Request())
				if err != nil {
					b.Fatal(err)
				}
				es = append(es, e)
			}
			for b.Loop() {
				blinded(b, set, names(n)...) // as much work as blinding these was
				var vs []*oprf.Verified
				for i, e := range es {
					v, err := set.Verify(bl.Request(), i+1, e)
					if err != nil {
						b.Fatal(err)
					}
					vs = append(vs, v)
				}
				if _, err := bl.Finish(vs...); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
