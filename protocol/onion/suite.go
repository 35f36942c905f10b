package onion

import (
	"crypto/ecdh"
	"crypto/hpke"
	"fmt"
	"io"
)

// A Suite says how a sender and a hop agree on a secret. Both are key encapsulations of
// crypto/hpke, used to export a secret and for nothing else. The zero value is none.
type Suite uint8

const (
	// X25519 is DHKEM(X25519, HKDF-SHA256) of RFC 9180.
	X25519 Suite = 1
	// XWing is MLKEM768-X25519 of draft-ietf-hpke-pq: who records packets today and has a quantum
	// computer one day still has to break ML-KEM. Headers are 6.5 KB longer.
	XWing Suite = 2
)

func (s Suite) String() string {
	switch s {
	case X25519:
		return "X25519"
	case XWing:
		return "X-Wing"
	}
	return fmt.Sprintf("Suite(%d)", uint8(s))
}

func (s Suite) valid() bool { return s == X25519 || s == XWing }

func (s Suite) kem() hpke.KEM {
	if s == XWing {
		return hpke.MLKEM768X25519()
	}
	return hpke.DHKEM(ecdh.X25519())
}

// share is the size of an encapsulated key.
func (s Suite) share() int {
	if s == XWing {
		return 1120
	}
	return 32
}

// A PublicKey is what a relay publishes for one epoch. It is immutable and safe for concurrent
// use.
type PublicKey struct {
	suite Suite
	key   hpke.PublicKey
}

// ParsePublicKey reads what Bytes wrote. Octets that are no key of the suite are ErrKey.
func ParsePublicKey(s Suite, b []byte) (PublicKey, error) {
	if !s.valid() {
		return PublicKey{}, fmt.Errorf("%v: %w", s, ErrFormat)
	}
	key, err := s.kem().NewPublicKey(b)
	if err != nil {
		return PublicKey{}, fmt.Errorf("%w: a public key of %v with %d octets: %v", ErrKey, s, len(b), err)
	}
	return PublicKey{suite: s, key: key}, nil
}

// Suite is the suite of the key; zero for the zero value.
func (k PublicKey) Suite() Suite { return k.suite }

// Bytes is the key as HPKE serializes it: 32 octets of X25519, 1,216 of X-Wing.
func (k PublicKey) Bytes() []byte {
	if k.key == nil {
		return nil
	}
	return k.key.Bytes()
}

// A PrivateKey opens what was built for its public key. It is immutable and safe for concurrent
// use.
type PrivateKey struct {
	suite Suite
	key   hpke.PrivateKey
}

// GenerateKey makes a key with crypto/rand.
func GenerateKey(s Suite) (PrivateKey, error) {
	if !s.valid() {
		return PrivateKey{}, fmt.Errorf("%v: %w", s, ErrFormat)
	}
	key, err := s.kem().GenerateKey()
	if err != nil {
		return PrivateKey{}, fmt.Errorf("making an onion key: %w", err)
	}
	return PrivateKey{suite: s, key: key}, nil
}

// ParsePrivateKey reads what Bytes wrote.
func ParsePrivateKey(s Suite, b []byte) (PrivateKey, error) {
	if !s.valid() {
		return PrivateKey{}, fmt.Errorf("%v: %w", s, ErrFormat)
	}
	key, err := s.kem().NewPrivateKey(b)
	if err != nil {
		return PrivateKey{}, fmt.Errorf("%w: a private key of %v with %d octets", ErrKey, s, len(b))
	}
	return PrivateKey{suite: s, key: key}, nil
}

// Public is the key to publish.
func (k PrivateKey) Public() PublicKey {
	if k.key == nil {
		return PublicKey{}
	}
	return PublicKey{suite: k.suite, key: k.key.PublicKey()}
}

// Bytes is the secret key, for storage only.
func (k PrivateKey) Bytes() ([]byte, error) {
	if k.key == nil {
		return nil, ErrKey
	}
	return k.key.Bytes()
}

// Format keeps the key out of logs and errors, whatever the verb.
func (k PrivateKey) Format(f fmt.State, _ rune) { io.WriteString(f, "onion.PrivateKey") }

const exportLabel = "hop"

// encapsulate makes a share for the owner of k, and the secret that both have then.
func encapsulate(k PublicKey, info []byte) (share, secret []byte, err error) {
	share, sender, err := hpke.NewSender(k.key, hpke.HKDFSHA256(), hpke.ExportOnly(), info)
	if err != nil {
		return nil, nil, err
	}
	secret, err = sender.Export(exportLabel, 32)
	return share, secret, err
}

func decapsulate(k PrivateKey, share, info []byte) (secret []byte, err error) {
	r, err := hpke.NewRecipient(share, k.key, hpke.HKDFSHA256(), hpke.ExportOnly(), info)
	if err != nil {
		return nil, err
	}
	return r.Export(exportLabel, 32)
}
