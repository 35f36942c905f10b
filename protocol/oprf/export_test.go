package oprf

import (
	"encoding/hex"
	"testing"

	"github.com/cloudflare/circl/group"
)

// Scalar reads a scalar from hexadecimal digits.
func Scalar(t testing.TB, digits string) group.Scalar {
	b, err := hex.DecodeString(digits)
	if err != nil {
		t.Fatal(err)
	}
	s, err := parseScalar(b)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// DealKey deals a key that is known.
func DealKey(p Plan, key group.Scalar) (*KeySet, []*Share, error) { return deal(p, key) }

// BlindWith blinds with these scalars.
func (k *KeySet) BlindWith(inputs [][]byte, blinds []group.Scalar) (*Blinding, error) {
	return k.blind(inputs, func() (s group.Scalar) {
		s, blinds = blinds[0], blinds[1:]
		return s
	})
}

// EvaluateWith proves with this random scalar.
func (s *Share) EvaluateWith(r *Request, random group.Scalar) (*Evaluation, error) {
	return s.evaluate(r, random)
}

// Elements are the encoded elements of a request.
func (r *Request) Elements() [][]byte { return encoded(r.elements) }

// Elements are the encoded elements of an evaluation, Proof its proof.
func (e *Evaluation) Elements() [][]byte { return encoded(e.elements) }
func (e *Evaluation) Proof() []byte      { return e.proof[:] }

func encoded(es []element) (out [][]byte) {
	for _, e := range es {
		out = append(out, e.b[:])
	}
	return out
}

// Claim makes an evaluation say that it is another evaluator's.
func (e *Evaluation) Claim(number int) *Evaluation {
	out := *e
	out.number = number
	return &out
}

// Swap changes the order of the first two elements.
func (e *Evaluation) Swap() *Evaluation {
	out := *e
	out.elements = append([]element{e.elements[1], e.elements[0]}, e.elements[2:]...)
	return &out
}

// Shift adds one to a piece.
func (p *Piece) Shift() *Piece {
	return &Piece{p.dealing, p.number, &scalarBox{curve.NewScalar().Add(p.v.s, small(1))}}
}
