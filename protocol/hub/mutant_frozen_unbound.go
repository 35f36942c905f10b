//go:build mutant_frozen_unbound

package hub

const mutant = frozenUnbound
