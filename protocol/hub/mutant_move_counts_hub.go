//go:build mutant_move_counts_hub

package hub

const mutant = moveCountsHub
