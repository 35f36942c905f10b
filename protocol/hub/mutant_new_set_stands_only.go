//go:build mutant_new_set_stands_only

package hub

const mutant = newSetStandsOnly
