package ephemeral

import "github.com/mimid/mimid/protocol/mls"

// SealAs is Seal by somebody who claims another leaf.
func SealAs(g *mls.Group, room Room, s Signal, sign mls.SignatureKey) ([]byte, error) {
	return seal(g, room, s, sign)
}
