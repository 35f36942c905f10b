package oprf

import (
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io"
	"slices"

	"github.com/cloudflare/circl/group"
	"github.com/cloudflare/circl/zk/dleq"
)

// Request is what a searcher sends to evaluators: blinded inputs. It tells how many they
// are, and nothing else.
type Request struct {
	set      ID
	elements []element
}

// Set names the key set that the request is for.
func (r *Request) Set() ID { return r.set }

// Len is how many evaluations the request asks for: what a quota counts.
func (r *Request) Len() int { return len(r.elements) }

// Blinding is the searcher's side of one request. It holds the inputs and does not print
// them.
type Blinding struct {
	set    *KeySet
	inputs [][]byte
	blinds []group.Scalar
	req    *Request
}

// Format implements fmt.Formatter.
func (*Blinding) Format(f fmt.State, _ rune) { io.WriteString(f, "oprf.Blinding(hidden)") }

// Blind begins a computation on 1 to MaxInputs inputs. ErrSize.
func (k *KeySet) Blind(inputs ...[]byte) (*Blinding, error) { return k.blind(inputs, randomScalar) }

func (k *KeySet) blind(inputs [][]byte, draw func() group.Scalar) (*Blinding, error) {
	if len(inputs) < 1 || len(inputs) > MaxInputs {
		return nil, fmt.Errorf("%w: %d inputs, there may be 1 to %d", ErrSize, len(inputs), MaxInputs)
	}
	b := &Blinding{set: k, req: &Request{set: k.id}}
	for _, in := range inputs {
		if len(in) > MaxInput {
			return nil, fmt.Errorf("%w: an input of %d bytes (limit %d)", ErrSize, len(in), MaxInput)
		}
		e, err := hashInput(in)
		if err != nil {
			return nil, err
		}
		r := draw()
		if e, err = newElement(times(e.p, r)); err != nil {
			return nil, err
		}
		b.inputs = append(b.inputs, slices.Clone(in))
		b.blinds = append(b.blinds, r)
		b.req.elements = append(b.req.elements, e)
	}
	return b, nil
}

// Request returns what to send. The same goes to all evaluators.
func (b *Blinding) Request() *Request { return b.req }

// Share is an evaluator's share of a key. It does not print.
type Share struct {
	set    *KeySet
	number int
	k      *scalarBox
}

// scalarBox is behind a pointer, which fmt does not follow in a struct.
type scalarBox struct{ s group.Scalar }

// Format implements fmt.Formatter.
func (*Share) Format(f fmt.State, _ rune) { io.WriteString(f, "oprf.Share(hidden)") }

// newShare checks that a scalar is what the key set commits to. ErrShare, ErrEvaluator.
func newShare(set *KeySet, number int, s group.Scalar) (*Share, error) {
	pub, err := set.share(number)
	if err != nil {
		return nil, err
	}
	if s.IsZero() || !curve.NewElement().MulGen(s).IsEqual(pub.p) {
		return nil, fmt.Errorf("%w: number %d of key set %s", ErrShare, number, set.id)
	}
	return &Share{set, number, &scalarBox{s}}, nil
}

// Set returns the key set that the share is of.
func (s *Share) Set() *KeySet { return s.set }

// Number is the evaluator's number.
func (s *Share) Number() int { return s.number }

// Evaluate computes what is asked, with a proof for all of it. It costs about a third of a
// millisecond, and a tenth more for each further element. ErrMismatch if the request is for
// another key set.
func (s *Share) Evaluate(r *Request) (*Evaluation, error) { return s.evaluate(r, nil) }

func (s *Share) evaluate(r *Request, proofRandom group.Scalar) (*Evaluation, error) {
	if r.set != s.set.id {
		return nil, fmt.Errorf("%w: request for key set %s, this is %s", ErrMismatch, r.set, s.set.id)
	}
	out := &Evaluation{set: r.set, number: s.number}
	var in, evaluated []group.Element
	for _, e := range r.elements {
		x, err := newElement(times(e.p, s.k.s))
		if err != nil {
			return nil, err
		}
		in, evaluated, out.elements = append(in, e.own()), append(evaluated, x.own()), append(out.elements, x)
	}
	if proofRandom == nil {
		proofRandom = curve.RandomNonZeroScalar(rand.Reader)
	}
	pub := s.set.shares[s.number-1]
	proof, err := dleq.Prover{Params: dleqParams()}.ProveBatchWithRandomnessRFC9497(s.k.s, pub.own(), in, evaluated, proofRandom)
	if err != nil {
		return nil, fmt.Errorf("proving an evaluation: %w", err)
	}
	b, err := proof.MarshalBinary()
	if err != nil || len(b) != proofSize {
		return nil, fmt.Errorf("proving an evaluation: a proof of %d bytes: %w", len(b), err)
	}
	out.proof = [proofSize]byte(b)
	return out, nil
}

// Evaluation is an evaluator's answer, of which nothing is known yet.
type Evaluation struct {
	set      ID
	number   int
	elements []element
	proof    [proofSize]byte
}

// Verified is an evaluation that its evaluator's share has given.
type Verified struct {
	number   int
	request  [32]byte
	elements []element
}

// Number is the evaluator's number.
func (v *Verified) Number() int { return v.number }

// sum names a request.
func (r *Request) sum() [32]byte { return sha256.Sum256(r.Bytes()) }

// Verify checks an evaluation of a request that came from the evaluator with this number: who
// answers for another one is found too. It takes about as long as two evaluations.
// Errors: ErrMismatch, ErrEvaluator, ErrProof.
func (k *KeySet) Verify(r *Request, number int, e *Evaluation) (*Verified, error) {
	if r.set != k.id {
		return nil, fmt.Errorf("%w: request for key set %s, this is %s", ErrMismatch, r.set, k.id)
	}
	if e.set != k.id || len(e.elements) != len(r.elements) || e.number != number {
		return nil, fmt.Errorf("%w: %d elements of evaluator %d with key set %s, asked were %d of %d with %s", ErrMismatch, len(e.elements), e.number, e.set,
			len(r.elements), number, k.id)
	}
	pub, err := k.share(number)
	if err != nil {
		return nil, err
	}
	var in, evaluated []group.Element
	for i, x := range r.elements {
		in, evaluated = append(in, x.own()), append(evaluated, e.elements[i].own())
	}
	proof := new(dleq.Proof)
	if err := proof.UnmarshalBinary(curve, e.proof[:]); err != nil {
		return nil, fmt.Errorf("%w: evaluator %d: the proof cannot be read", ErrProof, number)
	}
	if !(dleq.Verifier{Params: dleqParams()}).VerifyBatchRFC9497(pub.own(), in, evaluated, proof) {
		return nil, fmt.Errorf("%w: evaluator %d", ErrProof, number)
	}
	return &Verified{number, r.sum(), e.elements}, nil
}

// Output is the function's value, 32 bytes that look random to who cannot compute it. It
// does not print.
type Output struct{ b *[OutputSize]byte }

// Bytes returns a copy.
func (o Output) Bytes() []byte { return slices.Clone(o.b[:]) }

// Format implements fmt.Formatter.
func (Output) Format(f fmt.State, _ rune) { io.WriteString(f, "oprf.Output(hidden)") }

// Finish makes the outputs of the first t evaluations of different evaluators, in the order of
// the inputs. Which t they are makes no difference. Errors: ErrTooFew, ErrMismatch.
func (b *Blinding) Finish(evaluations ...*Verified) ([]Output, error) {
	var places []int
	var use []*Verified
	sum := b.req.sum()
	for _, v := range evaluations {
		if v.request != sum {
			return nil, fmt.Errorf("%w: evaluation %d is of another request", ErrMismatch, v.number)
		}
		if !slices.Contains(places, v.number) && len(use) < b.set.plan.Threshold {
			places, use = append(places, v.number), append(use, v)
		}
	}
	if len(use) < b.set.plan.Threshold {
		return nil, fmt.Errorf("%w: evaluations of %d evaluators, %d are needed", ErrTooFew, len(use), b.set.plan.Threshold)
	}
	factors := lagrange(places)
	var out []Output
	for i, input := range b.inputs {
		var points []group.Element
		for _, v := range use {
			points = append(points, v.elements[i].p)
		}
		e, err := newElement(times(combine(factors, points), curve.NewScalar().Inv(b.blinds[i])))
		if err != nil {
			return nil, err
		}
		o := output(input, e)
		out = append(out, Output{&o})
	}
	return out, nil
}
