package simulations

import "errors"

var (
	// ErrScenario: a scenario file, or a value given for one of its keys, is wrong.
	// The message names the line or the key, and what would be right.
	ErrScenario = errors.New("scenario")
	// ErrLimit: a limit of the scenario was reached. What was measured until then is kept.
	ErrLimit = errors.New("simulation: limit reached")
	// ErrViolation: something that the protocol promises did not hold in a run.
	ErrViolation = errors.New("simulation: a promise of the protocol is broken")
	// ErrObservations: a run observed more than MaxObservations.
	ErrObservations = errors.New("simulation: too many observations")
)
