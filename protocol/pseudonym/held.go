package pseudonym

import (
	"fmt"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/presentation"
	"github.com/mimid/mimid/protocol/uri"
)

// A user's provider knows whose its pseudonyms are because it drew them. One that was put back to
// a backup has forgotten those that it drew or gave out since, and the room's log, which it gets back
// from others, has no names. The user's device tells it then, and proves it with the signature key
// of its leaf in the room, over
//
//	struct {
//	    opaque room<V>;             /* URI */
//	    IdentifierUri user_pseudonym;
//	    IdentifierUri user;
//	} HeldTBS;
//
// by SignWithLabel (RFC 9420 section 5.1.2). Only the provider is shown that.
const heldLabel = "mimid pseudonym held v1"

func heldTBS(name uri.Room, p uri.Pseudonym, u uri.User) []byte {
	b := presentation.AppendOpaque(nil, []byte(name.String()))
	b = presentation.AppendOpaque(b, []byte(p.String()))
	return presentation.AppendOpaque(b, []byte(u.String()))
}

// Hold proves that a user goes by a pseudonym in a room; sign is the key of its leaf there.
func Hold(sign mls.SignatureKey, name uri.Room, p uri.Pseudonym, u uri.User) ([]byte, error) {
	b, err := sign.Sign(heldLabel, heldTBS(name, p, u))
	if err != nil {
		return nil, fmt.Errorf("proving whose pseudonym %s is: %w", p, err)
	}
	return b, nil
}

// Holds says whether that was proved with a leaf's signature key. Error: ErrNotSigned.
func Holds(suite mls.CipherSuite, key, proof []byte, name uri.Room, p uri.Pseudonym, u uri.User) error {
	if err := suite.Verify(key, heldLabel, heldTBS(name, p, u), proof); err != nil {
		return fmt.Errorf("%s is of %s: %w: %w", p, u, err, ErrNotSigned)
	}
	return nil
}
