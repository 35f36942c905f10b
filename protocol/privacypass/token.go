package privacypass

import (
	"crypto/subtle"
	"encoding/binary"
	"fmt"
)

// TokenSize is the length of a token, in octets.
const TokenSize = 2 + 32 + 32 + 32 + sigSize

// Token is what an issuer's signature says of somebody. Until Verify it says nothing.
type Token struct {
	// Nonce is the token's own, drawn by who asked for it. A token is spent once: whoever takes
	// tokens remembers it together with KeyID.
	Nonce     [32]byte
	Challenge [32]byte // Challenge.Digest
	KeyID     [32]byte
	Signature [sigSize]byte
}

// Bytes is the token as it is written.
func (t *Token) Bytes() []byte { return append(t.input(), t.Signature[:]...) }

// input is what is signed.
func (t *Token) input() []byte {
	b := binary.BigEndian.AppendUint16(make([]byte, 0, TokenSize), Type)
	b = append(b, t.Nonce[:]...)
	b = append(b, t.Challenge[:]...)
	return append(b, t.KeyID[:]...)
}

// ParseToken reads a token. Error: ErrMalformed.
func ParseToken(b []byte) (*Token, error) {
	if len(b) != TokenSize || binary.BigEndian.Uint16(b) != Type {
		return nil, fmt.Errorf("a token of %d octets, one of type 2 has %d: %w", len(b), TokenSize, ErrMalformed)
	}
	t := new(Token)
	b = b[2:]
	for _, field := range [][]byte{t.Nonce[:], t.Challenge[:], t.KeyID[:], t.Signature[:]} {
		b = b[copy(field, b):]
	}
	return t, nil
}

// Verify checks that the token is for a challenge and of the key's issuer. Errors: ErrToken, and
// ErrMalformed if the challenge is none.
func (k *Key) Verify(t *Token, c *Challenge) error {
	want, err := c.Digest()
	if err != nil {
		return err
	}
	if subtle.ConstantTimeCompare(t.KeyID[:], k.id[:]) != 1 {
		return fmt.Errorf("of another key: %w", ErrToken)
	}
	if subtle.ConstantTimeCompare(t.Challenge[:], want[:]) != 1 {
		return fmt.Errorf("for another challenge: %w", ErrToken)
	}
	if err := k.verifier.Verify(t.input(), t.Signature[:]); err != nil {
		return fmt.Errorf("signature: %w", ErrToken)
	}
	return nil
}
