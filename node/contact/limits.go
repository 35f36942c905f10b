package contact

// DefaultLimits are those of a Config that sets none, for simulations.
func DefaultLimits() Limits { return Limits{}.withDefaults() }
