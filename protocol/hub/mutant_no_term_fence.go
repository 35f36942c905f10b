//go:build mutant_no_term_fence

package hub

const mutant = noTermFence
