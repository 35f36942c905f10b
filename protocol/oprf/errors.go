package oprf

import "errors"

// Errors are sentinels: test with errors.Is. The texts around them name counts and
// evaluators; no input, blind, share or output is in any of them.
var (
	// ErrSize: a threshold of less than one or more than there are evaluators, too many
	// evaluators, no input, too many, or one that is too long.
	ErrSize = errors.New("oprf: a number is out of its limits")
	// ErrElement: bytes that are no element of the group, or its identity.
	ErrElement = errors.New("oprf: not an element of the group")
	// ErrScalar: bytes that are no scalar, or zero.
	ErrScalar = errors.New("oprf: not a scalar")
	// ErrShare: a share that does not belong to this key set.
	ErrShare = errors.New("oprf: the share is not of this key set")
	// ErrEvaluator: no evaluator of this key set.
	ErrEvaluator = errors.New("oprf: not an evaluator of this key set")
	// ErrProof: the evaluation is not what the evaluator's share gives. The evaluator
	// errs or lies.
	ErrProof = errors.New("oprf: the evaluation is not of the evaluator's share")
	// ErrMismatch: evaluations of another request or key set.
	ErrMismatch = errors.New("oprf: evaluation of something else")
	// ErrTooFew: fewer evaluations, or dealings, than the threshold.
	ErrTooFew = errors.New("oprf: fewer than the threshold")
	// ErrDealing: a dealing, or a piece of one, that is not of its dealer's share.
	ErrDealing = errors.New("oprf: the dealing is not of its dealer's share")
	// ErrVersion: written by a newer version.
	ErrVersion = errors.New("oprf: unknown version")
)
