package oprf_test

import (
	"bytes"
	"testing"

	"github.com/mimid/mimid/protocol/oprf"
)

// FuzzParse: whatever comes in, what is read is written back byte for byte.
func FuzzParse(f *testing.F) {
	set, shares := dealt(f, 2, 3)
	b := blinded(f, set, "handle:alice")
	e, err := shares[0].Evaluate(b.Request())
	if err != nil {
		f.Fatal(err)
	}
	d, pieces, err := shares[0].Redeal(plan(2, 2))
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range [][]byte{set.Bytes(), b.Request().Bytes(), e.Bytes(), d.Bytes(), pieces[0].Secret(), shares[1].Secret()} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		same := func(what string, out []byte) {
			if !bytes.Equal(in, out) {
				t.Errorf("%s: %x is written back as %x", what, in, out)
			}
		}
		if x, err := oprf.ParseKeySet(in); err == nil {
			same("key set", x.Bytes())
		}
		if x, err := oprf.ParseRequest(in); err == nil {
			same("request", x.Bytes())
		}
		if x, err := oprf.ParseEvaluation(in); err == nil {
			same("evaluation", x.Bytes())
		}
		if x, err := oprf.ParseDealing(in); err == nil {
			same("dealing", x.Bytes())
		}
		if x, err := oprf.ParsePiece(in); err == nil {
			same("piece", x.Secret())
		}
		if x, err := set.ParseShare(in); err == nil {
			same("share", x.Secret())
		}
	})
}
