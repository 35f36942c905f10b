package ohttp

import (
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/hpke"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/mimid/mimid/protocol/presentation"
)

const (
	kemX25519     = 0x0020
	kdfSHA256     = 0x0001
	aeadAES128    = 0x0001
	publicKeySize = 32
	headerSize    = 1 + 2 + 2 + 2
	nonceSize     = 16 // max(Nn, Nk) of AES-128-GCM
)

func kem() hpke.KEM { return hpke.DHKEM(ecdh.X25519()) }

// A Key is one that requests are encrypted to. The zero value is none. Immutable.
type Key struct {
	ID  uint8
	key hpke.PublicKey
}

// A PrivateKey is a gateway's. The zero value is none. Immutable.
type PrivateKey struct {
	ID  uint8
	key hpke.PrivateKey
}

// GenerateKey makes a gateway's key with crypto/rand. id tells it from the one before.
func GenerateKey(id uint8) (PrivateKey, error) {
	k, err := kem().GenerateKey()
	if err != nil {
		return PrivateKey{}, fmt.Errorf("making a gateway's key: %w", err)
	}
	return PrivateKey{id, k}, nil
}

// Format keeps the key out of logs and errors, whatever the verb.
func (k PrivateKey) Format(f fmt.State, _ rune) { io.WriteString(f, "ohttp.PrivateKey") }

// Public is the key to publish.
func (k PrivateKey) Public() Key { return Key{k.ID, k.key.PublicKey()} }

// MaxKeys is the largest application/ohttp-keys that is read, in octets.
const MaxKeys = 4 << 10

// AppendKeys appends a list of configurations as application/ohttp-keys has it, RFC 9458
// section 3.2, each
//
//	uint16 length; uint8 key_id; uint16 kem_id; opaque public_key[Npk];
//	uint16 algorithms_length; { uint16 kdf_id; uint16 aead_id; } ...
func AppendKeys(b []byte, keys ...Key) []byte {
	for _, k := range keys {
		pub := k.key.Bytes()
		b = presentation.AppendU16(b, uint16(1+2+len(pub)+2+4))
		b = append(b, k.ID)
		b = presentation.AppendU16(b, kemX25519)
		b = append(b, pub...)
		b = presentation.AppendU16(b, 4)
		b = presentation.AppendU16(b, kdfSHA256)
		b = presentation.AppendU16(b, aeadAES128)
	}
	return b
}

// ParseKeys reads application/ohttp-keys and returns those of the supported suite, in the
// gateway's order, the preferred one first; at least one. Errors: ErrFormat, ErrSuite.
func ParseKeys(b []byte) ([]Key, error) {
	if len(b) > MaxKeys {
		return nil, fmt.Errorf("%w: keys of %d octets, at most %d are read", ErrFormat, len(b), MaxKeys)
	}
	var out []Key
	all := presentation.NewReader(b)
	for all.Err() == nil && !all.Empty() {
		raw := all.Fixed(int(all.U16()))
		if all.Err() != nil {
			break
		}
		k, err := parseKey(raw)
		switch {
		case err != nil:
			return nil, err
		case k.key != nil:
			out = append(out, k)
		}
	}
	if all.Err() != nil {
		return nil, fmt.Errorf("%w: keys: %v", ErrFormat, all.Err())
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%w: none of the gateway's keys is for X25519, HKDF-SHA256 and AES-128-GCM", ErrSuite)
	}
	return out, nil
}

// parseKey reads one configuration; a zero Key for one of another suite.
func parseKey(b []byte) (Key, error) {
	r := presentation.NewReader(b)
	k := Key{ID: r.U8()}
	if r.U16() != kemX25519 {
		if r.Err() != nil {
			return Key{}, fmt.Errorf("%w: a key of %d octets", ErrFormat, len(b))
		}
		return Key{}, nil // how long its public key is, only who knows it can say
	}
	pub := r.Fixed(publicKeySize)
	n, ours := int(r.U16()), false
	if r.Err() == nil && (n == 0 || n%4 != 0) {
		return Key{}, fmt.Errorf("%w: %d octets of algorithms", ErrFormat, n)
	}
	for ; n > 0 && r.Err() == nil; n -= 4 {
		kdf, aead := r.U16(), r.U16()
		ours = ours || kdf == kdfSHA256 && aead == aeadAES128
	}
	if err := r.Done(); err != nil {
		return Key{}, fmt.Errorf("%w: a key: %v", ErrFormat, err)
	}
	if !ours {
		return Key{}, nil
	}
	key, err := kem().NewPublicKey(pub)
	if err != nil {
		return Key{}, fmt.Errorf("%w: a public key: %v", ErrFormat, err)
	}
	k.key = key
	return k, nil
}

// signLabel is what a provider's signature on its gateway's keys begins with, so that it is
// one on nothing else. Envelopes begin with their version and length, logs with labels of
// their own.
const signLabel = "mimid ohttp keys 1\x00"

// MaxValid is how far ahead the end of keys may lie.
const MaxValid = 7 * 24 * time.Hour

// Signed are a gateway's keys with the signature of its provider, which RFC 9458 leaves to
// the application (section 3):
//
//	struct {
//	    uint64 not_after;             /* milliseconds since 1970 */
//	    opaque keys<V>;               /* application/ohttp-keys */
//	    opaque signatures<V>;         /* 64 octets each, Ed25519, by each of the provider's
//	                                     keys (MaxSigners at most, older ones are named by
//	                                     rooms), over
//	                                     signLabel || domain<V> || not_after || keys<V> */
//	} SignedKeys;
type Signed struct {
	NotAfter   time.Time
	Keys       []byte
	signatures []byte
}

// MaxSigners is how many of a provider's keys sign.
const MaxSigners = 16

func signed(domain string, notAfter uint64, keys []byte) []byte {
	b := presentation.AppendOpaque([]byte(signLabel), []byte(domain))
	b = presentation.AppendU64(b, notAfter)
	return presentation.AppendOpaque(b, keys)
}

// Sign signs the keys of a domain's gateway with each of its provider's keys, of which there
// are at most MaxSigners.
func Sign(by []ed25519.PrivateKey, domain string, notAfter time.Time, keys ...Key) *Signed {
	s := &Signed{NotAfter: time.UnixMilli(notAfter.UnixMilli()), Keys: AppendKeys(nil, keys...)}
	text := signed(domain, uint64(s.NotAfter.UnixMilli()), s.Keys)
	for _, k := range by[max(0, len(by)-MaxSigners):] {
		s.signatures = append(s.signatures, ed25519.Sign(k, text)...)
	}
	return s
}

// Append appends the signed keys as they travel.
func (s *Signed) Append(b []byte) []byte {
	b = presentation.AppendU64(b, uint64(s.NotAfter.UnixMilli()))
	b = presentation.AppendOpaque(b, s.Keys)
	return presentation.AppendOpaque(b, s.signatures)
}

// MaxSigned is the largest Signed that is read, in octets.
const MaxSigned = 8 + 4 + MaxKeys + 4 + MaxSigners*ed25519.SignatureSize

// ParseSigned reads what Append wrote, and judges nothing. Error: ErrFormat.
func ParseSigned(b []byte) (*Signed, error) {
	if len(b) > MaxSigned {
		return nil, fmt.Errorf("%w: signed keys of %d octets", ErrFormat, len(b))
	}
	r := presentation.NewReader(b)
	ms := r.U64()
	s := &Signed{Keys: r.Bounded(MaxKeys, "keys")}
	s.signatures = r.Bounded(MaxSigners*ed25519.SignatureSize, "signatures")
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("%w: signed keys: %v", ErrFormat, err)
	}
	if ms > 1<<53 || len(s.signatures)%ed25519.SignatureSize != 0 {
		return nil, fmt.Errorf("%w: signed keys until %d, with %d octets of signatures", ErrFormat, ms, len(s.signatures))
	}
	s.NotAfter = time.UnixMilli(int64(ms))
	return s, nil
}

// Verify returns the key to encrypt to, if the provider of that domain, with one of these
// keys, has signed it and it is valid now. Errors: ErrSignature, ErrFormat, ErrSuite.
func (s *Signed) Verify(domain string, now time.Time, by ...ed25519.PublicKey) (Key, error) {
	if now.After(s.NotAfter) || s.NotAfter.Sub(now) > MaxValid {
		return Key{}, fmt.Errorf("%w: keys of %s valid until %s, and it is %s", ErrSignature, domain, s.NotAfter.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	text, ok := signed(domain, uint64(s.NotAfter.UnixMilli()), s.Keys), false
	for _, k := range by {
		for sig := range slices.Chunk(s.signatures, ed25519.SignatureSize) {
			ok = ok || len(k) == ed25519.PublicKeySize && ed25519.Verify(k, text, sig)
		}
	}
	if !ok {
		return Key{}, fmt.Errorf("%w: %s has not signed them with the key that is known of it", ErrSignature, domain)
	}
	keys, err := ParseKeys(s.Keys)
	if err != nil {
		return Key{}, err
	}
	return keys[0], nil
}
