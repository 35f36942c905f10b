//go:build mutant_quorum_off_by_one

package hub

const mutant = quorumOffByOne
