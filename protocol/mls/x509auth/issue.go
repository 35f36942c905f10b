package x509auth

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net/url"
	"time"
)

// Lifetime is how long certificates are valid, by default. They are renewed
// after two thirds of it.
const Lifetime = 90 * 24 * time.Hour

// Validity is when a certificate is valid, both ends included. Certificates
// hold whole seconds: fractions are cut off.
type Validity struct {
	NotBefore, NotAfter time.Time
}

// ValidFor returns the validity from now, less an hour for clocks that are
// behind, to now + d.
func ValidFor(now time.Time, d time.Duration) Validity {
	return Validity{now.Add(-time.Hour), now.Add(d)}
}

// The names of issuers. RFC 5280 wants one and other programs match a chain by
// them, but nobody here reads them, so they tell nothing.
var (
	providerName = pkix.Name{CommonName: "mimi provider"}
	userName     = pkix.Name{CommonName: "mimi user"}
)

// IssueUser makes a user certificate, signed by the provider's key: key is the
// one that the user, whose URI has the form mimi://domain/u/user, will certify
// its devices with. Both keys are Ed25519 or P-256.
//
// That the key is the user's, and that the provider speaks for the domain, is
// for the caller to know.
//
// Errors: ErrName, ErrAlgorithm, ErrMalformed (the validity), and those of the
// signer.
func IssueUser(provider crypto.Signer, uri string, key crypto.PublicKey, v Validity) ([]byte, error) {
	t := &x509.Certificate{
		Subject:               userName,
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLen:            0,
		MaxPathLenZero:        true,
	}
	der, err := issue(t, &x509.Certificate{Subject: providerName}, userRole, provider, uri, key, v)
	if err != nil {
		return nil, fmt.Errorf("issuing user certificate: %w", err)
	}
	return der, nil
}

// IssueClient makes a client certificate, signed by the user's key, which the
// user certificate certifies. The client's URI has the form
// mimi://domain/d/user/client, with the domain and user of the user
// certificate. signatureKey is as an MLS leaf holds it and
// mls.SignatureKey.Public returns it: 32 bytes of Ed25519, or 65 bytes of P-256
// for suite 2.
//
// The credential is then mls.X509Credential(client, user). It is valid while
// both certificates are, whatever the client certificate says.
//
// Errors: ErrKeyMismatch (the signer has not the user certificate's key),
// ErrNameMismatch, and those of IssueUser.
func IssueClient(user crypto.Signer, userCert []byte, uri string, signatureKey []byte, v Validity) ([]byte, error) {
	der, err := issueClient(user, userCert, uri, signatureKey, v)
	if err != nil {
		return nil, fmt.Errorf("issuing client certificate: %w", err)
	}
	return der, nil
}

func issueClient(user crypto.Signer, userCert []byte, uri string, signatureKey []byte, v Validity) ([]byte, error) {
	parent, err := parseCertificate(userCert, userRole)
	if err != nil {
		return nil, fmt.Errorf("user certificate: %w", err)
	}
	if own, _ := keyBytes(user.Public()); !bytes.Equal(own, parent.keyBytes()) {
		return nil, fmt.Errorf("user certificate of %s: %w", parent.name, ErrKeyMismatch)
	}
	n, err := parseName([]byte(uri))
	if err != nil {
		return nil, err
	}
	if err := sameUser(parent.name, n); err != nil {
		return nil, err
	}
	key, err := parseKey(signatureKey)
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true}
	return issue(t, parent.x, clientRole, user, uri, key, v)
}

// parseKey is the reverse of keyBytes.
func parseKey(b []byte) (crypto.PublicKey, error) {
	if len(b) == ed25519.PublicKeySize {
		return ed25519.PublicKey(b), nil
	}
	k, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), b)
	if err != nil {
		return nil, fmt.Errorf("signature key of %d bytes: %w", len(b), ErrAlgorithm)
	}
	return k, nil
}

// issue completes a template, signs it and judges the result as a receiver
// would, so that nothing is issued that would be refused.
func issue(t, parent *x509.Certificate, r role, signer crypto.Signer, uri string, key crypto.PublicKey, v Validity) ([]byte, error) {
	if _, ok := keyBytes(key); !ok {
		return nil, fmt.Errorf("key to certify: %w", ErrAlgorithm)
	}
	if _, ok := keyBytes(signer.Public()); !ok {
		return nil, fmt.Errorf("signing key: %w", ErrAlgorithm)
	}
	n, err := parseName([]byte(uri))
	if err != nil {
		return nil, err
	}
	if v.NotAfter.Before(v.NotBefore) {
		return nil, fmt.Errorf("%s: valid until before it is valid: %w", n, ErrMalformed)
	}
	// A name that parses needs no escaping, so this writes the same bytes.
	t.URIs = []*url.URL{{Scheme: "mimi", Host: n.domain, Path: uri[len("mimi://"+n.domain):]}}
	t.NotBefore, t.NotAfter = v.NotBefore, v.NotAfter
	t.SerialNumber = serial()
	der, err := x509.CreateCertificate(rand.Reader, t, parent, key, signer)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", n, err)
	}
	if _, err := parseCertificate(der, r); err != nil {
		return nil, err
	}
	return der, nil
}

// serial returns a random number of 127 bits, positive and never zero, in 16
// bytes (RFC 5280 section 4.1.2.2 allows 20).
func serial() *big.Int {
	var b [16]byte
	rand.Read(b[:]) // never fails
	b[0] = b[0]&0x7f | 0x40
	return new(big.Int).SetBytes(b[:])
}
