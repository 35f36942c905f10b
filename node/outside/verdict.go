package outside

import (
	"errors"
	"fmt"

	"github.com/mimid/mimid/protocol/presentation"
)

// ErrVerdict says that octets are no Verdict.
var ErrVerdict = errors.New("outside: malformed verdict")

const (
	verdictVersion = 1
	// MaxAnswer bounds the answer in a Verdict, in octets.
	MaxAnswer = 64 << 10
)

// Outcome is what became of a claim that was made for another provider.
type Outcome uint8

// Outcomes.
const (
	// Claimed: there was an answer, with KeyPackages that verify where it was fetched.
	Claimed Outcome = iota
	// Unreachable: a stranger cannot connect, or gets no answer.
	Unreachable
	// Refused: the claim was refused, or the answer cannot be read.
	Refused
	// Distrusted: there was an answer, and nothing in it verifies where it was fetched.
	Distrusted
)

// String names the outcome as the log does.
func (o Outcome) String() string {
	return [...]string{"claimed", "unreachable", "refused", "distrusted"}[min(o, Distrusted)]
}

// Verdict is the answer at Endpoint:
//
//	uint8 version = 1
//	uint8 outcome
//	opaque answer<V>   of at most 64 KiB: the KeyMaterialResponse; empty unless the outcome is Claimed
type Verdict struct {
	Outcome Outcome
	Answer  []byte
}

// Bytes encodes the verdict.
func (v *Verdict) Bytes() []byte {
	return presentation.AppendOpaque([]byte{verdictVersion, byte(v.Outcome)}, v.Answer)
}

// ParseVerdict reads one. Error: ErrVerdict.
func ParseVerdict(b []byte) (*Verdict, error) {
	r := presentation.NewReader(b)
	if version := r.U8(); r.Err() == nil && version != verdictVersion {
		return nil, fmt.Errorf("%w: version %d", ErrVerdict, version)
	}
	v := &Verdict{Outcome: Outcome(r.U8()), Answer: r.Bounded(MaxAnswer, "an answer")}
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrVerdict, err)
	}
	if v.Outcome > Distrusted || (v.Outcome == Claimed) != (len(v.Answer) > 0) {
		return nil, fmt.Errorf("%w: outcome %d with an answer of %d octets", ErrVerdict, v.Outcome, len(v.Answer))
	}
	return v, nil
}
