package mls

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/hpke"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io"
	"slices"

	"golang.org/x/crypto/chacha20poly1305"
)

// CipherSuite is an MLS cipher suite (RFC 9420 section 17.1).
type CipherSuite uint16

// The suites of this engine. All three use HKDF-SHA256, so a hash, a MAC and a
// KDF output are hashSize bytes everywhere.
const (
	// X25519AES128Ed25519 is MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519, the
	// suite that every implementation has.
	X25519AES128Ed25519 CipherSuite = 1
	// P256AES128P256 is MLS_128_DHKEMP256_AES128GCM_SHA256_P256.
	P256AES128P256 CipherSuite = 2
	// X25519ChaChaEd25519 is
	// MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519.
	X25519ChaChaEd25519 CipherSuite = 3
)

const (
	hashSize  = sha256.Size
	nonceSize = 12
	tagSize   = 16
)

func (c CipherSuite) String() string {
	switch c {
	case X25519AES128Ed25519:
		return "MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519"
	case P256AES128P256:
		return "MLS_128_DHKEMP256_AES128GCM_SHA256_P256"
	case X25519ChaChaEd25519:
		return "MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519"
	}
	return fmt.Sprintf("CipherSuite(%#04x)", uint16(c))
}

// Supported says whether this engine implements the suite.
func (c CipherSuite) Supported() bool {
	return c >= X25519AES128Ed25519 && c <= X25519ChaChaEd25519
}

func (c CipherSuite) check() error {
	if !c.Supported() {
		return fmt.Errorf("cipher suite %#04x: %w", uint16(c), ErrUnsupported)
	}
	return nil
}

func (c CipherSuite) kem() hpke.KEM {
	if c == P256AES128P256 {
		return hpke.DHKEM(ecdh.P256())
	}
	return hpke.DHKEM(ecdh.X25519())
}

func (c CipherSuite) hpkeAEAD() hpke.AEAD {
	if c == X25519ChaChaEd25519 {
		return hpke.ChaCha20Poly1305()
	}
	return hpke.AES128GCM()
}

func (c CipherSuite) keySize() int {
	if c == X25519ChaChaEd25519 {
		return chacha20poly1305.KeySize
	}
	return 16
}

// aead returns the suite's AEAD for a key of keySize bytes. A wrong size is a
// bug here: keys are always derived.
func (c CipherSuite) aead(key secret) cipher.AEAD {
	var a cipher.AEAD
	var err error
	if c == X25519ChaChaEd25519 {
		a, err = chacha20poly1305.New(key)
	} else {
		var block cipher.Block
		if block, err = aes.NewCipher(key); err == nil {
			a, err = cipher.NewGCM(block)
		}
	}
	if err != nil {
		panic("mls: AEAD key of wrong size")
	}
	return a
}

func hash(b []byte) []byte {
	h := sha256.Sum256(b)
	return h[:]
}

func mac(key secret, data []byte) []byte {
	m := hmac.New(sha256.New, key)
	m.Write(data)
	return m.Sum(nil)
}

func macEqual(a, b []byte) bool { return hmac.Equal(a, b) }

// refHash is RefHash of RFC 9420 section 5.2:
// Hash({opaque label<V>; opaque value<V>}).
func refHash(label string, value []byte) []byte {
	b := make([]byte, 0, len(value)+len(label)+8)
	b = appendOpaque(b, []byte(label))
	return hash(appendOpaque(b, value))
}

func extract(salt, ikm secret) secret {
	out, err := hkdf.Extract(sha256.New, ikm, salt)
	if err != nil {
		panic("mls: HKDF-Extract: " + err.Error())
	}
	return out
}

// expandWithLabel is RFC 9420 section 8: KDF.Expand over
// KDFLabel{uint16 length; opaque label<V> = "MLS 1.0 " + Label; opaque context<V>}.
func expandWithLabel(s secret, label string, context []byte, length int) secret {
	b := make([]byte, 0, 16+len(label)+len(context))
	b = appendU16(b, uint16(length))
	b = appendVarint(b, len("MLS 1.0 ")+len(label))
	b = append(b, "MLS 1.0 "...)
	b = append(b, label...)
	b = appendOpaque(b, context)
	if length <= hashSize {
		// One block of HKDF-Expand: T(1) = HMAC(secret, info | 0x01). This is
		// every expansion of the key schedule and of the ratchets.
		return mac(s, append(b, 1))[:length]
	}
	out, err := hkdf.Expand(sha256.New, s, string(b), length)
	if err != nil {
		panic("mls: HKDF-Expand: " + err.Error())
	}
	return out
}

func deriveSecret(s secret, label string) secret {
	return expandWithLabel(s, label, nil, hashSize)
}

// deriveTreeSecret is RFC 9420 section 9.1.
func deriveTreeSecret(s secret, label string, generation uint32, length int) secret {
	var g [4]byte
	return expandWithLabel(s, label, appendU32(g[:0], generation), length)
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	if _, err := io.ReadFull(rand.Reader, b); err != nil {
		panic("mls: no entropy: " + err.Error())
	}
	return b
}

// labelled is the common shape of SignContent and EncryptContext:
// {opaque label<V> = "MLS 1.0 " + Label; opaque content<V>}.
func labelled(label string, content []byte) []byte {
	b := make([]byte, 0, len(content)+len(label)+20)
	b = appendVarint(b, len("MLS 1.0 ")+len(label))
	b = append(b, "MLS 1.0 "...)
	b = append(b, label...)
	return appendOpaque(b, content)
}

// SignatureKey is a private signature key. It never prints: the key is behind
// two pointers, since fmt calls no method of a value in an unexported field, and
// under a verb that does not suit follows one pointer.
type SignatureKey struct {
	suite CipherSuite
	keys  *signatureKeys
	pub   []byte
}

// signatureKeys holds one of two kinds of key.
type signatureKeys struct {
	ed *ed25519.PrivateKey
	ec *ecdsa.PrivateKey
}

// Format implements fmt.Formatter; it prints no key.
func (SignatureKey) Format(s fmt.State, _ rune) { redact(s, "SignatureKey") }

// GenerateSignatureKey makes a fresh key for the suite.
func GenerateSignatureKey(suite CipherSuite) (SignatureKey, error) {
	if err := suite.check(); err != nil {
		return SignatureKey{}, err
	}
	if suite == P256AES128P256 {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return SignatureKey{}, fmt.Errorf("generating signature key: %w", err)
		}
		return newECKey(suite, k)
	}
	return ParseSignatureKey(suite, randomBytes(ed25519.SeedSize))
}

// ParseSignatureKey reads a private key as Bytes writes it: the 32-byte
// Ed25519 seed (a 64-byte seed and public key is taken too), or the 32-byte
// P-256 scalar.
func ParseSignatureKey(suite CipherSuite, b []byte) (SignatureKey, error) {
	if err := suite.check(); err != nil {
		return SignatureKey{}, err
	}
	if suite == P256AES128P256 {
		k, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), b)
		if err != nil {
			return SignatureKey{}, fmt.Errorf("P-256 signature key of %d bytes: %w", len(b), ErrMalformed)
		}
		return newECKey(suite, k)
	}
	if len(b) != ed25519.SeedSize && len(b) != ed25519.PrivateKeySize {
		return SignatureKey{}, fmt.Errorf("Ed25519 signature key of %d bytes: %w", len(b), ErrMalformed)
	}
	k := ed25519.NewKeyFromSeed(b[:ed25519.SeedSize])
	return SignatureKey{suite: suite, keys: &signatureKeys{ed: &k}, pub: k.Public().(ed25519.PublicKey)}, nil
}

func newECKey(suite CipherSuite, k *ecdsa.PrivateKey) (SignatureKey, error) {
	pub, err := k.PublicKey.Bytes()
	if err != nil {
		return SignatureKey{}, fmt.Errorf("encoding P-256 public key: %w", err)
	}
	return SignatureKey{suite: suite, keys: &signatureKeys{ec: k}, pub: pub}, nil
}

// Public returns the public key as a LeafNode holds it: 32 bytes of Ed25519,
// or 65 bytes of an uncompressed P-256 point.
func (k SignatureKey) Public() []byte { return k.pub }

// Bytes returns the private key, for storage: 32 bytes.
func (k SignatureKey) Bytes() []byte {
	if k.keys.ec != nil {
		b, err := k.keys.ec.Bytes()
		if err != nil {
			panic("mls: encoding P-256 key: " + err.Error())
		}
		return b
	}
	return k.keys.ed.Seed()
}

func (k SignatureKey) zero() bool { return k.pub == nil }

// sign is SignWithLabel (RFC 9420 section 5.1.2). P-256 signatures are DER.
func (k SignatureKey) sign(label string, content []byte) ([]byte, error) {
	msg := labelled(label, content)
	switch {
	case k.zero():
		return nil, fmt.Errorf("signing with no key: %w", ErrBadSignature)
	case k.keys.ed != nil:
		return ed25519.Sign(*k.keys.ed, msg), nil
	default:
		h := sha256.Sum256(msg)
		sig, err := ecdsa.SignASN1(rand.Reader, k.keys.ec, h[:])
		if err != nil {
			return nil, fmt.Errorf("signing: %w", err)
		}
		return sig, nil
	}
}

// verify is VerifyWithLabel.
func (c CipherSuite) verify(pub []byte, label string, content, sig []byte) error {
	msg := labelled(label, content)
	ok := false
	if c == P256AES128P256 {
		k, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), pub)
		if err != nil {
			return fmt.Errorf("P-256 key of %d bytes: %w", len(pub), ErrBadSignature)
		}
		h := sha256.Sum256(msg)
		ok = ecdsa.VerifyASN1(k, h[:], sig)
	} else if len(pub) == ed25519.PublicKeySize {
		ok = ed25519.Verify(pub, msg, sig)
	}
	if !ok {
		return fmt.Errorf("%s: %w", label, ErrBadSignature)
	}
	return nil
}

// checkSignatureKey refuses bytes that are no public key of the suite.
func (c CipherSuite) checkSignatureKey(pub []byte) error {
	ok := len(pub) == ed25519.PublicKeySize
	if c == P256AES128P256 {
		_, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), pub)
		ok = err == nil
	}
	if !ok {
		return fmt.Errorf("signature key of %d bytes: %w", len(pub), ErrMalformed)
	}
	return nil
}

// checkHPKEKey refuses bytes that are no public key of the suite: a node with
// such a key would make every later path fail.
func (c CipherSuite) checkHPKEKey(pub []byte) error {
	if _, err := c.kem().NewPublicKey(pub); err != nil {
		return fmt.Errorf("encryption key of %d bytes: %w", len(pub), ErrMalformed)
	}
	if c != P256AES128P256 && lowOrder(pub) {
		return fmt.Errorf("encryption key of low order: %w", ErrMalformed)
	}
	return nil
}

// lowOrderPoints are the encodings of the X25519 points whose product with any
// private key is zero, which encryption refuses: 0, 1, two of order eight, and
// p-1, p and p+1. The highest bit does not count.
var lowOrderPoints = [...][32]byte{
	{},
	{1},
	{0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a,
		0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00},
	{0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83, 0xef, 0x5b,
		0x04, 0x44, 0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f, 0x11, 0x57},
	nearPrime(0xec), nearPrime(0xed), nearPrime(0xee),
}

// nearPrime is 2^255 - 256 + low, little-endian.
func nearPrime(low byte) (b [32]byte) {
	for i := range b {
		b[i] = 0xff
	}
	b[0], b[31] = low, 0x7f
	return b
}

func lowOrder(pub []byte) bool {
	var p [32]byte
	copy(p[:], pub)
	p[31] &= 0x7f
	return slices.Contains(lowOrderPoints[:], p)
}

// hpkeKey is an HPKE private key, serialized.
type hpkeKey = secret

func (c CipherSuite) generateHPKE() (priv hpkeKey, pub []byte) {
	return c.deriveHPKE(randomBytes(hashSize))
}

// deriveHPKE is KEM.DeriveKeyPair (RFC 9180 section 7.1.3).
func (c CipherSuite) deriveHPKE(ikm secret) (priv hpkeKey, pub []byte) {
	k, err := c.kem().DeriveKeyPair(ikm)
	if err != nil {
		panic("mls: DeriveKeyPair: " + err.Error())
	}
	b, err := k.Bytes()
	if err != nil {
		panic("mls: serializing HPKE key: " + err.Error())
	}
	return b, k.PublicKey().Bytes()
}

// publicHPKE returns the public key of a stored private key.
func (c CipherSuite) publicHPKE(priv hpkeKey) ([]byte, error) {
	k, err := c.kem().NewPrivateKey(priv)
	if err != nil {
		return nil, fmt.Errorf("HPKE private key of %d bytes: %w", len(priv), ErrMalformed)
	}
	return k.PublicKey().Bytes(), nil
}

// HPKECiphertext is RFC 9420 section 7.6:
//
//	struct { opaque kem_output<V>; opaque ciphertext<V>; } HPKECiphertext;
type HPKECiphertext struct {
	KEMOutput  []byte
	Ciphertext []byte
}

func (c *HPKECiphertext) read(r *reader) {
	c.KEMOutput = r.Opaque()
	c.Ciphertext = r.Opaque()
}

func (c *HPKECiphertext) append(b []byte) []byte {
	return appendOpaque(appendOpaque(b, c.KEMOutput), c.Ciphertext)
}

// seal is EncryptWithLabel (RFC 9420 section 5.1.3).
func (c CipherSuite) seal(pub []byte, label string, context []byte, plaintext secret) (HPKECiphertext, error) {
	pk, err := c.kem().NewPublicKey(pub)
	if err != nil {
		return HPKECiphertext{}, fmt.Errorf("encryption key of %d bytes: %w", len(pub), ErrMalformed)
	}
	enc, s, err := hpke.NewSender(pk, hpke.HKDFSHA256(), c.hpkeAEAD(), labelled(label, context))
	if err != nil {
		// The error of a low-order or otherwise unusable key.
		return HPKECiphertext{}, fmt.Errorf("encapsulating to a member's key: %w", ErrMalformed)
	}
	ct, err := s.Seal(nil, plaintext)
	if err != nil {
		return HPKECiphertext{}, fmt.Errorf("sealing: %w", err)
	}
	return HPKECiphertext{KEMOutput: enc, Ciphertext: ct}, nil
}

// open is DecryptWithLabel.
func (c CipherSuite) open(priv hpkeKey, label string, context []byte, ct HPKECiphertext) (secret, error) {
	sk, err := c.kem().NewPrivateKey(priv)
	if err != nil {
		return nil, fmt.Errorf("own HPKE key: %w", ErrState)
	}
	rcp, err := hpke.NewRecipient(ct.KEMOutput, sk, hpke.HKDFSHA256(), c.hpkeAEAD(), labelled(label, context))
	if err != nil {
		return nil, fmt.Errorf("%s, KEM output of %d bytes: %w", label, len(ct.KEMOutput), ErrDecrypt)
	}
	pt, err := rcp.Open(nil, ct.Ciphertext)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", label, ErrDecrypt)
	}
	return pt, nil
}

const externalInitLabel = "MLS 1.0 external init secret"

// exportExternal is the sender's half of RFC 9420 section 8.3.
func (c CipherSuite) exportExternal(externalPub []byte) (kemOutput []byte, initSecret secret, err error) {
	pk, err := c.kem().NewPublicKey(externalPub)
	if err != nil {
		return nil, nil, fmt.Errorf("external_pub of %d bytes: %w", len(externalPub), ErrMalformed)
	}
	enc, s, err := hpke.NewSender(pk, hpke.HKDFSHA256(), c.hpkeAEAD(), nil)
	if err != nil {
		return nil, nil, fmt.Errorf("encapsulating to external_pub: %w", ErrMalformed)
	}
	out, err := s.Export(externalInitLabel, hashSize)
	if err != nil {
		return nil, nil, fmt.Errorf("exporting external init secret: %w", err)
	}
	return enc, out, nil
}

// receiveExternal is the members' half.
func (c CipherSuite) receiveExternal(externalPriv hpkeKey, kemOutput []byte) (secret, error) {
	sk, err := c.kem().NewPrivateKey(externalPriv)
	if err != nil {
		return nil, fmt.Errorf("external key: %w", ErrState)
	}
	rcp, err := hpke.NewRecipient(kemOutput, sk, hpke.HKDFSHA256(), c.hpkeAEAD(), nil)
	if err != nil {
		return nil, fmt.Errorf("external init KEM output of %d bytes: %w", len(kemOutput), ErrDecrypt)
	}
	out, err := rcp.Export(externalInitLabel, hashSize)
	if err != nil {
		return nil, fmt.Errorf("exporting external init secret: %w", err)
	}
	return out, nil
}
