package oprf

import (
	"crypto/sha256"
	"fmt"
	"io"
	"slices"

	"github.com/cloudflare/circl/group"
)

// Deal makes a new key and all its shares, in the order of the plan's evaluators. Who deals
// could compute the function alone: it has to forget the shares once they are handed out.
// Errors: ErrSize, ErrEvaluator.
func Deal(p Plan) (*KeySet, []*Share, error) { return deal(p, randomScalar()) }

func deal(p Plan, key group.Scalar) (*KeySet, []*Share, error) {
	if err := p.check(); err != nil {
		return nil, nil, err
	}
	poly := newPolynomial(p.Threshold, key)
	c, err := poly.commit()
	if err != nil {
		return nil, nil, err
	}
	set, err := newKeySet(0, p, c)
	if err != nil {
		return nil, nil, err
	}
	var shares []*Share
	for i := range p.Evaluators {
		s, err := newShare(set, i+1, poly.at(i+1))
		if err != nil {
			return nil, nil, err
		}
		shares = append(shares, s)
	}
	return set, shares, nil
}

// Dealing is the public side of one old share dealt out to the next evaluators. Whoever has
// the old key set sees that its free term is the dealer's share.
type Dealing struct {
	from   ID
	dealer int
	plan   Plan
	poly   commitments
	id     ID
}

// Dealer is the number of who dealt, in the key set that was.
func (d *Dealing) Dealer() int { return d.dealer }

// Plan is for whom it was dealt.
func (d *Dealing) Plan() Plan { return Plan{d.plan.Threshold, slices.Clone(d.plan.Evaluators)} }

// Piece is what one next evaluator gets of one dealing. It is secret and does not print.
type Piece struct {
	dealing ID
	number  int
	v       *scalarBox
}

// Format implements fmt.Formatter.
func (*Piece) Format(f fmt.State, _ rune) { io.WriteString(f, "oprf.Piece(hidden)") }

// Number is the number of the next evaluator that the piece is for.
func (p *Piece) Number() int { return p.number }

func newDealing(from ID, dealer int, plan Plan, poly commitments) (*Dealing, error) {
	if err := plan.check(); err != nil {
		return nil, err
	}
	if len(poly) != plan.Threshold {
		return nil, fmt.Errorf("%w: %d commitments with a threshold of %d", ErrSize, len(poly), plan.Threshold)
	}
	d := &Dealing{from: from, dealer: dealer, plan: Plan{plan.Threshold, slices.Clone(plan.Evaluators)}, poly: poly}
	d.id = sha256.Sum256(append([]byte("mimid oprf dealing 1"), d.Bytes()...))
	return d, nil
}

// Redeal deals this share out to the next evaluators: the dealing, which all of them need,
// and a piece for each, which nobody else may see. As many holders as the threshold have to do
// it, for the same plan. Errors: ErrSize, ErrEvaluator.
func (s *Share) Redeal(next Plan) (*Dealing, []*Piece, error) {
	if err := next.check(); err != nil {
		return nil, nil, err
	}
	poly := newPolynomial(next.Threshold, s.k.s)
	c, err := poly.commit()
	if err != nil {
		return nil, nil, err
	}
	d, err := newDealing(s.set.id, s.number, next, c)
	if err != nil {
		return nil, nil, err
	}
	var pieces []*Piece
	for i := range next.Evaluators {
		pieces = append(pieces, &Piece{d.id, i + 1, &scalarBox{poly.at(i + 1)}})
	}
	return d, pieces, nil
}

// Next returns the key set that these dealings make of one: they are of as many dealers as its
// threshold, in any order, for one plan. It computes the same function. All next evaluators must
// use the same dealings; they see that by the ID of the outcome.
// Errors: ErrTooFew, ErrMismatch, ErrDealing, ErrSize.
func (k *KeySet) Next(dealings ...*Dealing) (*KeySet, error) {
	dealings = slices.Clone(dealings)
	slices.SortFunc(dealings, func(a, b *Dealing) int { return a.dealer - b.dealer })
	switch n := len(dealings); {
	case n < k.plan.Threshold:
		return nil, fmt.Errorf("%w: %d dealings, %d are needed", ErrTooFew, n, k.plan.Threshold)
	case n > k.plan.Threshold:
		return nil, fmt.Errorf("%w: %d dealings, exactly %d are used: all must choose the same", ErrSize, n, k.plan.Threshold)
	}
	for i, d := range dealings {
		switch {
		case d.from != k.id:
			return nil, fmt.Errorf("%w: dealing of a share of key set %s, not of %s", ErrMismatch, d.from, k.id)
		case i > 0 && d.dealer == dealings[i-1].dealer:
			return nil, fmt.Errorf("%w: two dealings of evaluator %d", ErrMismatch, d.dealer)
		case !d.plan.equal(dealings[0].plan):
			return nil, fmt.Errorf("%w: evaluators %d and %d dealt for different plans", ErrMismatch, dealings[0].dealer, d.dealer)
		}
		pub, err := k.share(d.dealer)
		if err != nil {
			return nil, err
		}
		if d.poly[0].b != pub.b {
			return nil, fmt.Errorf("%w: evaluator %d dealt something else", ErrDealing, d.dealer)
		}
	}
	factors := lagrange(dealers(dealings))
	var poly commitments
	for j := range dealings[0].plan.Threshold {
		var points []group.Element
		for _, d := range dealings {
			points = append(points, d.poly[j].p)
		}
		e, err := newElement(combine(factors, points))
		if err != nil {
			return nil, err
		}
		poly = append(poly, e)
	}
	return newKeySet(k.generation+1, dealings[0].plan, poly)
}

func dealers(dealings []*Dealing) (places []int) {
	for _, d := range dealings {
		places = append(places, d.dealer)
	}
	return places
}

// Assemble adds the pieces for one next evaluator up to its share of the key set that Next
// makes of the dealings. Pieces may come in any order. An error names the dealer whose piece
// is wrong or missing. Errors: those of Next, and ErrDealing.
func (k *KeySet) Assemble(number int, dealings []*Dealing, pieces []*Piece) (*Share, error) {
	set, err := k.Next(dealings...)
	if err != nil {
		return nil, err
	}
	factors, sum := lagrange(dealers(dealings)), curve.NewScalar()
	for i, d := range dealings {
		at := slices.IndexFunc(pieces, func(p *Piece) bool { return p.dealing == d.id && p.number == number })
		if at < 0 {
			return nil, fmt.Errorf("%w: no piece of evaluator %d for number %d", ErrDealing, d.dealer, number)
		}
		v := pieces[at].v.s
		if !curve.NewElement().MulGen(v).IsEqual(d.poly.at(number)) {
			return nil, fmt.Errorf("%w: the piece of evaluator %d for number %d", ErrDealing, d.dealer, number)
		}
		sum = curve.NewScalar().Add(sum, curve.NewScalar().Mul(factors[i], v))
	}
	return newShare(set, number, sum)
}
