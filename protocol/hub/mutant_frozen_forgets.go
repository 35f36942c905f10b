//go:build mutant_frozen_forgets

package hub

const mutant = frozenForgets
