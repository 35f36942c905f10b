package discovery

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/mimid/mimid/protocol/presentation"
	"github.com/mimid/mimid/protocol/uri"
)

// Labels of signatures, so that none can stand for another, nor for what the
// same keys sign elsewhere:
//
//	struct { opaque label<V>; opaque content<V>; } Signed
const (
	labelUser     = "mimid discovery 1 claim, user"
	labelProvider = "mimid discovery 1 claim, provider"
)

func labelled(label string, content []byte) []byte {
	return presentation.AppendOpaque(presentation.AppendOpaque(nil, []byte(label)), content)
}

// SignLabelled signs content under a label, as claims are signed, for what rests on claims
// (package verification). Error: ErrKey.
func SignLabelled(s crypto.Signer, label string, content []byte) ([]byte, error) {
	return signWith(s, label, content)
}

// VerifyLabelled verifies what SignLabelled has signed. It is false for keys that sign nothing.
func VerifyLabelled(key crypto.PublicKey, label string, content, signature []byte) bool {
	return verifyWith(key, label, content, signature)
}

// signWith signs with Ed25519, or with ECDSA on P-256 and SHA-256: the keys that
// users and providers have (x509auth).
func signWith(s crypto.Signer, label string, content []byte) ([]byte, error) {
	msg := labelled(label, content)
	switch k := s.Public().(type) {
	case ed25519.PublicKey:
		return s.Sign(rand.Reader, msg, crypto.Hash(0))
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P256() {
			sum := sha256.Sum256(msg)
			return s.Sign(rand.Reader, sum[:], crypto.SHA256)
		}
	}
	return nil, fmt.Errorf("signing with %T: %w", s.Public(), ErrKey)
}

// verifyWith is false for keys of other kinds, too.
func verifyWith(key crypto.PublicKey, label string, content, signature []byte) bool {
	msg := labelled(label, content)
	switch k := key.(type) {
	case ed25519.PublicKey:
		return len(k) == ed25519.PublicKeySize && ed25519.Verify(k, msg, signature)
	case *ecdsa.PublicKey:
		if k != nil && k.Curve == elliptic.P256() {
			sum := sha256.Sum256(msg)
			return ecdsa.VerifyASN1(k, sum[:], signature)
		}
	}
	return false
}

// The fields that the messages have in common. Each reads nothing more after
// the first error.

func readVersion(r *presentation.Reader) {
	if v := r.U8(); r.Err() == nil && v != messageVersion {
		r.Fail(ErrVersion, "version %d", v)
	}
}

func readKey(r *presentation.Reader) (k [KeySize]byte) {
	copy(k[:], r.Fixed(KeySize))
	return k
}

func readUser(r *presentation.Reader) uri.User {
	b := r.Bounded(uri.MaxLength, "user")
	if r.Err() != nil {
		return uri.User{}
	}
	u, err := uri.ParseUser(string(b))
	if err != nil {
		r.Fail(presentation.ErrMalformed, "user: %s", err)
	}
	return u
}

func readDomain(r *presentation.Reader) uri.Provider {
	b := r.Bounded(uri.MaxLength, "domain")
	if r.Err() != nil {
		return uri.Provider{}
	}
	p, err := uri.ParseDomain(string(b))
	if err != nil {
		r.Fail(presentation.ErrMalformed, "domain: %s", err)
	}
	return p
}

// readClaimVersion returns whether the claim has a statement.
func readClaimVersion(r *presentation.Reader) bool {
	v := r.U8()
	if r.Err() == nil && v != claimVersion && v != statedVersion {
		r.Fail(ErrVersion, "version %d", v)
	}
	return v == statedVersion
}

// readWord reads a method or a tag; it is either empty or not.
func readWord(r *presentation.Reader, empty bool) string {
	b := r.Bounded(MaxWord, "word")
	if r.Err() != nil {
		return ""
	}
	if (len(b) == 0) != empty {
		r.Fail(presentation.ErrMalformed, "word of %d bytes", len(b))
	}
	for _, c := range b {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			r.Fail(presentation.ErrMalformed, "word %+q", b)
		}
	}
	return string(b)
}

func readTime(r *presentation.Reader) time.Time {
	ms := r.U64()
	if ms > maxMillis {
		r.Fail(presentation.ErrMalformed, "time %d after the year 9999", ms)
		return time.Time{}
	}
	return time.UnixMilli(int64(ms)).UTC()
}
