package oprf

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/cloudflare/circl/group"
	"github.com/cloudflare/circl/zk/dleq"
)

// RFC 9497, section 4.3: P256-SHA256, mode VOPRF (1).
const (
	contextString = "OPRFV1-\x01-P256-SHA256"
	hashToGroup   = "HashToGroup-" + contextString
	finalize      = "Finalize"

	// ElementSize is the length of a group element (compressed), ScalarSize of a scalar,
	// OutputSize of an output, in bytes.
	ElementSize = 33
	ScalarSize  = 32
	OutputSize  = sha256.Size
	proofSize   = 2 * ScalarSize
)

// curve is the group.
var curve = group.P256

func dleqParams() dleq.Params {
	return dleq.Params{G: curve, H: crypto.SHA256, DST: []byte(contextString)}
}

// element is a point of the curve that is not the identity, with its encoding, which is
// the only one taken.
type element struct {
	p group.Element // only read: see own
	b [ElementSize]byte
}

// own returns a copy of the point: the library changes a point's inner form when it encodes
// it, so that whoever may encode one needs one of his own.
func (e element) own() group.Element { return e.p.Copy() }

// newElement takes over p. ErrElement of the identity.
func newElement(p group.Element) (element, error) {
	if p.IsIdentity() {
		return element{}, fmt.Errorf("%w: the identity", ErrElement)
	}
	b, err := p.MarshalBinaryCompress()
	if err != nil || len(b) != ElementSize {
		return element{}, fmt.Errorf("%w: it has no encoding", ErrElement)
	}
	return element{p, [ElementSize]byte(b)}, nil
}

// parseElement reads a compressed point.
func parseElement(b []byte) (element, error) {
	if len(b) != ElementSize {
		return element{}, fmt.Errorf("%w: %d bytes, not %d", ErrElement, len(b), ElementSize)
	}
	p := curve.NewElement()
	if err := p.UnmarshalBinary(b); err != nil {
		return element{}, fmt.Errorf("%w: no point of the curve", ErrElement)
	}
	e, err := newElement(p)
	if err == nil && e.b != [ElementSize]byte(b) {
		err = fmt.Errorf("%w: another encoding", ErrElement)
	}
	return e, err
}

// parseScalar reads a scalar that is below the order and not zero.
func parseScalar(b []byte) (group.Scalar, error) {
	if len(b) != ScalarSize {
		return nil, fmt.Errorf("%w: %d bytes, not %d", ErrScalar, len(b), ScalarSize)
	}
	s := curve.NewScalar()
	if err := s.UnmarshalBinary(b); err != nil || s.IsZero() {
		return nil, fmt.Errorf("%w: zero, or not below the order", ErrScalar)
	}
	if again, err := s.MarshalBinary(); err != nil || !slices.Equal(again, b) {
		return nil, fmt.Errorf("%w: not below the order", ErrScalar)
	}
	return s, nil
}

func small(n int) group.Scalar { return curve.NewScalar().SetUint64(uint64(n)) }

func times(p group.Element, k group.Scalar) group.Element { return curve.NewElement().Mul(p, k) }

// hashInput is RFC 9497's HashToGroup. ErrElement for an input that gives the identity,
// which nobody can find.
func hashInput(input []byte) (element, error) {
	return newElement(curve.HashToElement(input, []byte(hashToGroup)))
}

// randomScalar is not zero.
func randomScalar() group.Scalar { return curve.RandomNonZeroScalar(rand.Reader) }

// output is RFC 9497's Finalize, after the blind is taken off.
func output(input []byte, unblinded element) (out [OutputSize]byte) {
	h := sha256.New()
	frame := func(b []byte) {
		h.Write(binary.BigEndian.AppendUint16(nil, uint16(len(b))))
		h.Write(b)
	}
	frame(input)
	frame(unblinded.b[:])
	h.Write([]byte(finalize))
	return [OutputSize]byte(h.Sum(nil))
}

// polynomial has its coefficients from the lowest; it is secret.
type polynomial []group.Scalar

// newPolynomial draws one of t coefficients with a given value at 0.
func newPolynomial(t int, at0 group.Scalar) polynomial {
	p := polynomial{at0.Copy()}
	for len(p) < t {
		p = append(p, randomScalar())
	}
	return p
}

func (p polynomial) at(x int) group.Scalar {
	v := curve.NewScalar()
	for _, c := range slices.Backward(p) {
		v = curve.NewScalar().Add(curve.NewScalar().Mul(v, small(x)), c)
	}
	return v
}

// commit returns the coefficients times the generator. ErrElement if one is zero.
func (p polynomial) commit() (c commitments, err error) {
	for _, s := range p {
		e, err := newElement(curve.NewElement().MulGen(s))
		if err != nil {
			return nil, err
		}
		c = append(c, e)
	}
	return c, nil
}

// commitments are a polynomial's coefficients times the generator.
type commitments []element

// at returns the polynomial's value at x, times the generator.
func (c commitments) at(x int) group.Element {
	v := curve.Identity()
	for _, e := range slices.Backward(c) {
		v = curve.NewElement().Add(times(v, small(x)), e.p)
	}
	return v
}

// lagrange returns the coefficients that make the value at 0 of values at these places,
// which differ and are not 0.
func lagrange(places []int) []group.Scalar {
	out := make([]group.Scalar, len(places))
	for i, x := range places {
		num, den := small(1), small(1)
		for j, y := range places {
			if i != j {
				num = curve.NewScalar().Mul(num, small(y))
				den = curve.NewScalar().Mul(den, curve.NewScalar().Sub(small(y), small(x)))
			}
		}
		out[i] = curve.NewScalar().Mul(num, curve.NewScalar().Inv(den))
	}
	return out
}

// combine adds up points, each times its factor.
func combine(factors []group.Scalar, points []group.Element) group.Element {
	sum := curve.Identity()
	for i, p := range points {
		sum = curve.NewElement().Add(sum, times(p, factors[i]))
	}
	return sum
}
