//go:build mutant_frozen_shows

package hub

const mutant = frozenShows
