//go:build mutant_frozen_votes

package hub

const mutant = frozenVotes
