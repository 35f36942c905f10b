//go:build mutant_era_unproven

package hub

const mutant = eraUnproven
