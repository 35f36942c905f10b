//go:build mutant_hand_over_alone

package hub

const mutant = handOverAlone
