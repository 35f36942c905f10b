//go:build mutant_restored_signs

package hub

const mutant = restoredSigns
