//go:build mutant_liars_left_out

package hub

const mutant = liarsLeftOut
