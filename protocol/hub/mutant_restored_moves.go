//go:build mutant_restored_moves

package hub

const mutant = restoredMoves
