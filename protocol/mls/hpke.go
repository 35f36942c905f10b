package mls

import "fmt"

// HPKEKey is an HPKE key pair for what other protocols encrypt by
// EncryptWithLabel. The private part never prints: like a SignatureKey's it is
// behind two pointers, of which fmt follows one.
type HPKEKey struct {
	suite CipherSuite
	keys  *hpkeKeys
	pub   []byte
}

type hpkeKeys struct{ priv *hpkeKey }

// Format implements fmt.Formatter; it prints no key.
func (HPKEKey) Format(s fmt.State, _ rune) { redact(s, "HPKEKey") }

// GenerateHPKEKey makes a fresh key pair of the suite. Error: ErrUnsupported.
func GenerateHPKEKey(suite CipherSuite) (HPKEKey, error) {
	if err := suite.check(); err != nil {
		return HPKEKey{}, fmt.Errorf("generating HPKE key: %w", err)
	}
	priv, pub := suite.generateHPKE()
	return HPKEKey{suite: suite, keys: &hpkeKeys{&priv}, pub: pub}, nil
}

// ParseHPKEKey reads a private key as Bytes writes it; b is copied.
// Errors: ErrUnsupported, ErrMalformed.
func ParseHPKEKey(suite CipherSuite, b []byte) (HPKEKey, error) {
	if err := suite.check(); err != nil {
		return HPKEKey{}, fmt.Errorf("parsing HPKE key: %w", err)
	}
	priv := hpkeKey(b).clone()
	pub, err := suite.publicHPKE(priv)
	if err != nil {
		return HPKEKey{}, fmt.Errorf("parsing HPKE key: %w", err)
	}
	return HPKEKey{suite: suite, keys: &hpkeKeys{&priv}, pub: pub}, nil
}

// Public returns the public key as HPKEPublicKey holds it, not to be changed.
func (k HPKEKey) Public() []byte { return k.pub }

// Bytes returns a copy of the private key, for storage; nil of the zero key.
func (k HPKEKey) Bytes() []byte {
	if k.keys == nil {
		return nil
	}
	return k.keys.priv.clone()
}

// Decrypt is DecryptWithLabel (RFC 9420 section 5.1.3). A ciphertext, label
// or context that is not what was encrypted gives ErrDecrypt; the zero key
// gives ErrState.
func (k HPKEKey) Decrypt(label string, context []byte, ct HPKECiphertext) ([]byte, error) {
	if k.keys == nil {
		return nil, fmt.Errorf("decrypting with no key: %w", ErrState)
	}
	return k.suite.open(*k.keys.priv, label, context, ct)
}

// Encrypt is EncryptWithLabel (RFC 9420 section 5.1.3) to a public key of the
// suite. Use labels that MLS itself does not.
// Errors: ErrUnsupported, and ErrMalformed for bytes that are no key.
func (c CipherSuite) Encrypt(publicKey []byte, label string, context, plaintext []byte) (HPKECiphertext, error) {
	if err := c.check(); err != nil {
		return HPKECiphertext{}, fmt.Errorf("encrypting: %w", err)
	}
	return c.seal(publicKey, label, context, plaintext)
}
