package pseudonym

import (
	"crypto"
	"crypto/ed25519"
	"fmt"

	"github.com/mimid/mimid/protocol/presentation"
	"github.com/mimid/mimid/protocol/uri"
)

// An attestation is the word of a provider that a leaf is of a user of it who goes by a pseudonym
// in a room. A pseudonymous credential is signed by nobody whom all can see: that it names
// somebody, only members see, and only later. So who comes in without being added by a member shows the
// word of its provider, as it shows a certificate in an open room; else whoever orders the room could
// come in as anybody's further device, and read along.
//
//	struct {
//	    uint8 version = 1;
//	    opaque signature[64];      /* Ed25519, of the provider's key */
//	} PseudonymAttestation;
//
// over
//
//	struct {
//	    opaque label<V> = "mimid pseudonym attestation v1";
//	    opaque group_id<V>;
//	    IdentifierUri user_pseudonym;
//	    opaque signature_public_key<V>;   /* the leaf's */
//	} PseudonymAttestationTBS;
const (
	attestVersion = 1
	attestLabel   = "mimid pseudonym attestation v1"
)

func attestTBS(groupID []byte, user uri.Pseudonym, signatureKey []byte) []byte {
	b := presentation.AppendOpaque(presentation.AppendOpaque(nil, []byte(attestLabel)), groupID)
	b = presentation.AppendOpaque(b, []byte(user.String()))
	return presentation.AppendOpaque(b, signatureKey)
}

// Attest is a provider's word that the leaf with a signature key is of the user of it who goes by
// a pseudonym in the room of a group.
func Attest(provider ed25519.PrivateKey, groupID []byte, user uri.Pseudonym, signatureKey []byte) []byte {
	return append([]byte{attestVersion}, ed25519.Sign(provider, attestTBS(groupID, user, signatureKey))...)
}

// Attested says whether one of the keys by which the pseudonym's provider is known has signed
// this word for a leaf. Errors: ErrMalformed, ErrNotAttested.
func (c *Credential) Attested(word []byte, groupID []byte, keys []crypto.PublicKey) error {
	if len(word) != 1+ed25519.SignatureSize || word[0] != attestVersion {
		return fmt.Errorf("attestation of %d octets for %s: %w", len(word), c.User, ErrMalformed)
	}
	tbs := attestTBS(groupID, c.User, c.Key)
	for _, k := range keys {
		if e, ok := k.(ed25519.PublicKey); ok && ed25519.Verify(e, tbs, word[1:]) {
			return nil
		}
	}
	return fmt.Errorf("%s: %w", c.User, ErrNotAttested)
}
