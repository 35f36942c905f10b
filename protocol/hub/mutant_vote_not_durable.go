//go:build mutant_vote_not_durable

package hub

const mutant = voteNotDurable
