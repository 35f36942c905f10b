package oprf_test

import (
	"bytes"
	"compress/gzip"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cloudflare/circl/group"

	"github.com/mimid/mimid/protocol/oprf"
)

// TestVectorRFC9497: the vectors of RFC 9497, appendix A.3.2 (P256-SHA256, VOPRF). With one
// evaluator everything is as printed there, proofs included. With its key dealt to five, of whom
// any three evaluate, the outputs are.
func TestVectorRFC9497(t *testing.T) {
	suite := readVectors(t)
	key := oprf.Scalar(t, suite.Key)
	one, shares, err := oprf.DealKey(plan(1, 1), key)
	if err != nil {
		t.Fatal(err)
	}
	if got := hex.EncodeToString(one.PublicKey()); got != suite.Public {
		t.Fatalf("public key %s, want %s", got, suite.Public)
	}
	five, fiveShares, err := oprf.DealKey(plan(3, 5), key)
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range suite.Vectors {
		var inputs [][]byte
		var blinds []group.Scalar
		for j, in := range strings.Split(v.Input, ",") {
			inputs = append(inputs, unhex(t, in))
			blinds = append(blinds, oprf.Scalar(t, strings.Split(v.Blind, ",")[j]))
		}
		b, err := one.BlindWith(inputs, blinds)
		if err != nil {
			t.Fatal(err)
		}
		if got := joined(b.Request().Elements()); got != v.Blinded {
			t.Errorf("vector %d: blinded %s, want %s", i, got, v.Blinded)
		}
		e, err := shares[0].EvaluateWith(b.Request(), oprf.Scalar(t, v.Proof.R))
		if err != nil {
			t.Fatal(err)
		}
		if got := joined(e.Elements()); got != v.Evaluated {
			t.Errorf("vector %d: evaluated %s, want %s", i, got, v.Evaluated)
		}
		if got := hex.EncodeToString(e.Proof()); got != v.Proof.Proof {
			t.Errorf("vector %d: proof %s, want %s", i, got, v.Proof.Proof)
		}
		if got := outputs(t, one, shares, []int{1}, b); joined(got) != v.Output {
			t.Errorf("vector %d: output %s, want %s", i, joined(got), v.Output)
		}
		for _, use := range [][]int{{1, 2, 3}, {5, 3, 1}, {2, 4, 5}} {
			b, err := five.Blind(inputs...)
			if err != nil {
				t.Fatal(err)
			}
			if got := outputs(t, five, fiveShares, use, b); joined(got) != v.Output {
				t.Errorf("vector %d, evaluators %v: output %s, want %s", i, use, joined(got), v.Output)
			}
		}
	}
	if len(suite.Vectors) != 3 {
		t.Errorf("%d vectors, want 3", len(suite.Vectors))
	}
}

type vectorSuite struct {
	Identifier string
	Mode       int
	Key        string `json:"skSm"`
	Public     string `json:"pkSm"`
	Vectors    []struct {
		Blind, Input, Output string
		Blinded              string `json:"BlindedElement"`
		Evaluated            string `json:"EvaluationElement"`
		Proof                struct{ Proof, R string }
	}
}

func readVectors(t *testing.T) vectorSuite {
	dir := os.Getenv("MIMID_VECTORS")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "vectors")
		if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
			t.Skip("no test vectors here: set MIMID_VECTORS to the directory that holds oprf")
		}
	}
	f, err := os.Open(filepath.Join(dir, "oprf", "rfc9497.json.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var suites []vectorSuite
	if err := json.NewDecoder(z).Decode(&suites); err != nil {
		t.Fatal(err)
	}
	for _, s := range suites {
		if s.Identifier == "P256-SHA256" && s.Mode == 1 {
			return s
		}
	}
	t.Fatal("the suite is not among the vectors")
	return vectorSuite{}
}

func unhex(t testing.TB, digits string) []byte {
	b, err := hex.DecodeString(digits)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func joined(bs [][]byte) string {
	var out []string
	for _, b := range bs {
		out = append(out, hex.EncodeToString(b))
	}
	return strings.Join(out, ",")
}

// outputs has these evaluators evaluate, by way of the wire.
func outputs(t testing.TB, set *oprf.KeySet, shares []*oprf.Share, use []int, b *oprf.Blinding) (out [][]byte) {
	t.Helper()
	var vs []*oprf.Verified
	for _, n := range use {
		req, err := oprf.ParseRequest(b.Request().Bytes())
		if err != nil {
			t.Fatal(err)
		}
		e, err := shares[n-1].Evaluate(req)
		if err != nil {
			t.Fatal(err)
		}
		got, err := oprf.ParseEvaluation(e.Bytes())
		if err != nil || !bytes.Equal(got.Bytes(), e.Bytes()) {
			t.Fatalf("an evaluation is not read as it was written: %v", err)
		}
		v, err := set.Verify(b.Request(), n, got)
		if err != nil {
			t.Fatal(err)
		}
		vs = append(vs, v)
	}
	os, err := b.Finish(vs...)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range os {
		out = append(out, o.Bytes())
	}
	return out
}
