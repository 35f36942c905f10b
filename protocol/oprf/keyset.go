package oprf

import (
	"crypto/sha256"
	"fmt"
	"slices"

	"github.com/mimid/mimid/protocol/uri"
)

// Limits.
const (
	// MaxEvaluators is how many evaluators a key set has at most.
	MaxEvaluators = 16
	// MaxInputs is how many inputs a request has at most.
	MaxInputs = 64
	// MaxInput is how long an input may be, in bytes.
	MaxInput = 1 << 10
)

// Plan says who is to hold a key: how many of which providers can compute with it. The
// evaluators have the numbers 1, 2 and so on in this order.
type Plan struct {
	Threshold  int
	Evaluators []uri.Provider
}

func (p Plan) check() error {
	if n := len(p.Evaluators); n < 1 || n > MaxEvaluators {
		return fmt.Errorf("%w: %d evaluators, there may be 1 to %d", ErrSize, n, MaxEvaluators)
	}
	if p.Threshold < 1 || p.Threshold > len(p.Evaluators) {
		return fmt.Errorf("%w: a threshold of %d among %d evaluators", ErrSize, p.Threshold, len(p.Evaluators))
	}
	for i, e := range p.Evaluators {
		if e.IsZero() || slices.Contains(p.Evaluators[:i], e) {
			return fmt.Errorf("%w: evaluator %d is named twice, or not at all: %q", ErrEvaluator, i+1, e.Domain())
		}
	}
	return nil
}

func (p Plan) equal(o Plan) bool {
	return p.Threshold == o.Threshold && slices.Equal(p.Evaluators, o.Evaluators)
}

// ID names a key set: a hash of all that is in it.
type ID [32]byte

func (x ID) String() string { return fmt.Sprintf("%x", x[:8]) }

// KeySet is the public side of a shared key: who evaluates, and what the evaluations are
// verified with. All who want to find each other need the same one, or a redealt one of it.
type KeySet struct {
	generation uint32
	plan       Plan
	poly       commitments // as many as the threshold
	shares     []element   // public keys of the shares, by evaluator
	id         ID
}

// newKeySet computes what follows from the commitments. ErrElement if a share is zero.
func newKeySet(generation uint32, plan Plan, poly commitments) (*KeySet, error) {
	if err := plan.check(); err != nil {
		return nil, err
	}
	if len(poly) != plan.Threshold {
		return nil, fmt.Errorf("%w: %d commitments with a threshold of %d", ErrSize, len(poly), plan.Threshold)
	}
	k := &KeySet{generation: generation, plan: Plan{plan.Threshold, slices.Clone(plan.Evaluators)}, poly: poly}
	for i := range plan.Evaluators {
		e, err := newElement(poly.at(i + 1))
		if err != nil {
			return nil, fmt.Errorf("share of evaluator %d: %w", i+1, err)
		}
		k.shares = append(k.shares, e)
	}
	k.id = sha256.Sum256(append([]byte("mimid oprf key set 1"), k.Bytes()...))
	return k, nil
}

// ID names the key set.
func (k *KeySet) ID() ID { return k.id }

// Generation is how often the key was redealt.
func (k *KeySet) Generation() uint32 { return k.generation }

// Threshold is how many evaluators are needed.
func (k *KeySet) Threshold() int { return k.plan.Threshold }

// Evaluators returns the providers that evaluate, in the order of their numbers from 1 on.
func (k *KeySet) Evaluators() []uri.Provider { return slices.Clone(k.plan.Evaluators) }

// Number returns the number of a provider's evaluator. ErrEvaluator if it has none.
func (k *KeySet) Number(p uri.Provider) (int, error) {
	if i := slices.Index(k.plan.Evaluators, p); i >= 0 {
		return i + 1, nil
	}
	return 0, fmt.Errorf("%w: %s", ErrEvaluator, p.Domain())
}

// PublicKey is the public key of the whole, a compressed point: the same for as long as the
// outputs are.
func (k *KeySet) PublicKey() []byte { return slices.Clone(k.poly[0].b[:]) }

// SameKey says whether both sets compute the same function.
func (k *KeySet) SameKey(o *KeySet) bool { return k.poly[0].b == o.poly[0].b }

// share returns the public key of an evaluator's share.
func (k *KeySet) share(number int) (element, error) {
	if number < 1 || number > len(k.shares) {
		return element{}, fmt.Errorf("%w: number %d of %d", ErrEvaluator, number, len(k.shares))
	}
	return k.shares[number-1], nil
}
