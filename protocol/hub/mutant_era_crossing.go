//go:build mutant_era_crossing

package hub

const mutant = eraCrossing
