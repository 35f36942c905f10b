//go:build mutant_release_taken_back

package hub

const mutant = releaseTakenBack
