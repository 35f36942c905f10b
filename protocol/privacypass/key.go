package privacypass

import (
	"bytes"
	"crypto/rsa"
	"crypto/sha256"
	"fmt"
	"math/big"

	"github.com/cloudflare/circl/blindsign/blindrsa"
)

const (
	keyBits  = 2048
	sigSize  = keyBits / 8
	exponent = 65537
)

// A key is written as a SubjectPublicKeyInfo with the OID id-RSASSA-PSS and the parameters
// SHA-384, MGF1 with SHA-384, salt length 48 (RFC 9578 section 6.5). For keys of one size
// all of that is constant but the modulus, which stands between these.
var (
	keyHead = []byte("\x30\x82\x01\x52" + // SEQUENCE
		"\x30\x3d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a" + // AlgorithmIdentifier, id-RSASSA-PSS
		"\x30\x30" +
		"\xa0\x0d\x30\x0b\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02" + // hashAlgorithm
		"\xa1\x1a\x30\x18\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x08\x30\x0b\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02" + // maskGenAlgorithm
		"\xa2\x03\x02\x01\x30" + // saltLength
		"\x03\x82\x01\x0f\x00" + // BIT STRING
		"\x30\x82\x01\x0a\x02\x82\x01\x01\x00") // RSAPublicKey, modulus
	keyTail = []byte("\x02\x03\x01\x00\x01") // publicExponent
)

// KeySize is the length of a key as it is written, in octets.
var KeySize = len(keyHead) + sigSize + len(keyTail)

// Key is an issuer's public key. Immutable, and safe for concurrent use.
type Key struct {
	bytes    []byte
	id       [32]byte
	public   *rsa.PublicKey
	verifier blindrsa.Verifier
}

// NewKey takes an RSA key. Error: ErrKey.
func NewKey(pk *rsa.PublicKey) (*Key, error) {
	if pk == nil || pk.N == nil || pk.N.BitLen() != keyBits || pk.N.Bit(0) == 0 || pk.E != exponent {
		return nil, ErrKey
	}
	pk = &rsa.PublicKey{N: new(big.Int).Set(pk.N), E: pk.E}
	v, err := blindrsa.NewVerifier(blindrsa.SHA384PSSDeterministic, pk)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	b := append(append(bytes.Clone(keyHead), pk.N.FillBytes(make([]byte, sigSize))...), keyTail...)
	return &Key{bytes: b, id: sha256.Sum256(b), public: pk, verifier: v}, nil
}

// ParseKey reads a key. Errors: ErrMalformed, ErrKey.
func ParseKey(b []byte) (*Key, error) {
	if len(b) != KeySize || !bytes.HasPrefix(b, keyHead) || !bytes.HasSuffix(b, keyTail) {
		return nil, fmt.Errorf("a key of %d octets, RSASSA-PSS with SHA-384 and 2048 bits takes %d: %w", len(b), KeySize, ErrMalformed)
	}
	return NewKey(&rsa.PublicKey{N: new(big.Int).SetBytes(b[len(keyHead) : len(keyHead)+sigSize]), E: exponent})
}

// Bytes is the key as it is written. The caller owns the slice.
func (k *Key) Bytes() []byte { return bytes.Clone(k.bytes) }

// ID names the key in tokens.
func (k *Key) ID() [32]byte { return k.id }
