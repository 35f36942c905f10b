package x509auth

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"slices"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// role is a certificate's place in the chain.
type role int

const (
	userRole role = iota
	clientRole
)

// statement is what a certificate says, apart from who signed it.
type statement struct {
	name                name
	key                 crypto.PublicKey // ed25519.PublicKey or P-256 *ecdsa.PublicKey
	notBefore, notAfter time.Time
}

// detached returns a copy that shares no memory with the certificate, which
// crypto/x509 lets an Ed25519 key do: what is cached must neither keep a whole
// message alive nor change with the caller's buffer.
func (s statement) detached() *statement {
	if k, ok := s.key.(ed25519.PublicKey); ok {
		s.key = slices.Clone(k)
	}
	s.name = s.name.clone()
	return &s
}

// validAt says whether t lies within the dates, both included. The zero time
// lies within all dates: see mls.Authenticator.
func (s *statement) validAt(t time.Time) error {
	if t.IsZero() {
		return nil
	}
	if t.Before(s.notBefore) {
		return fmt.Errorf("%s: from %s: %w", s.name, s.notBefore.UTC().Format(time.RFC3339), ErrNotYetValid)
	}
	if t.After(s.notAfter) {
		return fmt.Errorf("%s: until %s: %w", s.name, s.notAfter.UTC().Format(time.RFC3339), ErrExpired)
	}
	return nil
}

// keyBytes returns the key as an MLS leaf holds it.
func (s *statement) keyBytes() []byte { b, _ := keyBytes(s.key); return b }

// keyBytes encodes a key as an MLS leaf does (RFC 9420 section 5.1.1): 32 bytes
// of Ed25519, or the 65 bytes of an uncompressed P-256 point. It returns false
// for every other key.
func keyBytes(k crypto.PublicKey) ([]byte, bool) {
	switch k := k.(type) {
	case ed25519.PublicKey:
		return k, len(k) == ed25519.PublicKeySize
	case *ecdsa.PublicKey:
		if k == nil || k.Curve != elliptic.P256() {
			return nil, false
		}
		b, err := k.Bytes()
		return b, err == nil
	}
	return nil, false
}

// certificate is a parsed certificate that has the form its role asks for.
// Nothing is known yet of who signed it.
type certificate struct {
	statement
	x *x509.Certificate
}

// idKPIMURI is id-kp-imUri, the extended key usage of certificates for instant
// messaging URIs (RFC 9734).
var idKPIMURI = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 40}

// judged are the extensions that parseCertificate judges, which may therefore
// be critical. crypto/x509 has a list of its own of critical extensions that it
// cannot read, but it reads several, like name constraints, that only its
// Verify would enforce.
var judged = []asn1.ObjectIdentifier{
	{2, 5, 29, 15}, // key usage
	{2, 5, 29, 17}, // subject alternative name
	{2, 5, 29, 19}, // basic constraints
	{2, 5, 29, 37}, // extended key usage
}

// parseCertificate parses one certificate and judges everything about it that
// depends neither on another certificate nor on time. The caller has bounded
// its length.
func parseCertificate(der []byte, r role) (*certificate, error) {
	// The outline first: it is strict and cheap.
	o, err := parseOutline(der)
	if err != nil {
		return nil, err
	}
	n, err := o.name(r)
	if err != nil {
		return nil, err
	}
	x, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("%s: %.100s: %w", n, err.Error(), ErrMalformed)
	}
	if x.Version != 3 {
		return nil, fmt.Errorf("%s: version %d: %w", n, x.Version, ErrMalformed)
	}
	if _, ok := keyBytes(x.PublicKey); !ok {
		return nil, fmt.Errorf("%s: %s key: %w", n, x.PublicKeyAlgorithm, ErrAlgorithm)
	}
	if a := x.SignatureAlgorithm; a != x509.PureEd25519 && a != x509.ECDSAWithSHA256 {
		return nil, fmt.Errorf("%s: signature of type %s: %w", n, a, ErrAlgorithm)
	}
	for _, e := range x.Extensions {
		if e.Critical && !slices.ContainsFunc(judged, e.Id.Equal) {
			return nil, fmt.Errorf("%s: extension %.40s: %w", n, e.Id.String(), ErrCriticalExtension)
		}
	}
	if why := misuse(x, r); why != "" {
		return nil, fmt.Errorf("%s: %s: %w", n, why, ErrUsage)
	}
	return &certificate{statement{n, x.PublicKey, x.NotBefore, x.NotAfter}, x}, nil
}

// misuse says what in the certificate's usage does not fit the role.
func misuse(x *x509.Certificate, r role) string {
	ca := x.BasicConstraintsValid && x.IsCA
	signsCerts := x.KeyUsage&x509.KeyUsageCertSign != 0
	switch {
	case r == userRole && !ca:
		return "not a CA"
	case r == userRole && x.MaxPathLen != 0: // -1: no limit given
		return "path length is not limited to 0"
	case r == userRole && !signsCerts:
		return "key usage lacks keyCertSign"
	case r == clientRole && ca:
		return "a client that is a CA"
	case r == clientRole && signsCerts:
		return "a client with keyCertSign"
	case r == clientRole && x.KeyUsage&x509.KeyUsageDigitalSignature == 0:
		return "key usage lacks digitalSignature"
	}
	// An extended key usage restricts, critical or not (RFC 5280 section
	// 4.2.1.12).
	restricted := len(x.ExtKeyUsage)+len(x.UnknownExtKeyUsage) > 0
	if restricted && !slices.Contains(x.ExtKeyUsage, x509.ExtKeyUsageAny) &&
		!slices.ContainsFunc(x.UnknownExtKeyUsage, idKPIMURI.Equal) {
		return "extended key usage is not instant messaging"
	}
	return ""
}

// signedWithKeyOf says whether the signature is of the key's kind, so that it
// is worth verifying.
func (c *certificate) signedWithKeyOf(k crypto.PublicKey) bool {
	switch k.(type) {
	case ed25519.PublicKey:
		return c.x.SignatureAlgorithm == x509.PureEd25519
	case *ecdsa.PublicKey:
		return c.x.SignatureAlgorithm == x509.ECDSAWithSHA256
	}
	return false
}

// checkSignature verifies that the key signed the certificate. It does without
// x509.Verify, which searches for a chain by names; ours has a fixed order, and
// the anchor is a bare key.
func (c *certificate) checkSignature(by crypto.PublicKey) bool {
	issuer := x509.Certificate{PublicKey: by}
	return issuer.CheckSignature(c.x.SignatureAlgorithm, c.x.RawTBSCertificate, c.x.Signature) == nil
}

// outline is a certificate's frame, without what crypto/x509 is better at:
//
//	Certificate ::= SEQUENCE { tbs SEQUENCE { [0] version, serial INTEGER,
//	    algorithm SEQUENCE, issuer SEQUENCE, validity SEQUENCE, subject SEQUENCE,
//	    subjectPublicKeyInfo SEQUENCE, [3] extensions },
//	  algorithm SEQUENCE, signature BIT STRING }
//
// It is read for two reasons. crypto/x509 overlooks bytes that follow the last
// element inside a SEQUENCE, and rewrites URIs. And Succeeds, which a group that
// continues another calls for pairs of members, needs a name and nothing else.
type outline struct {
	keyInfo []byte // subjectPublicKeyInfo
	san     []byte // value of the subject alternative name extension, or nil
}

var oidSAN = []byte{0x55, 0x1d, 0x11} // 2.5.29.17

func parseOutline(der []byte) (o outline, err error) {
	bad := func(what string) (outline, error) {
		return outline{}, fmt.Errorf("%s in certificate of %d bytes: %w", what, len(der), ErrMalformed)
	}
	in := cryptobyte.String(der)
	var cert, tbs, keyInfo, wrapped, extensions, signature cryptobyte.String
	if !in.ReadASN1(&cert, cbasn1.SEQUENCE) {
		return bad("no DER sequence")
	}
	if !in.Empty() {
		return bad("trailing bytes")
	}
	if !cert.ReadASN1(&tbs, cbasn1.SEQUENCE) || !cert.SkipASN1(cbasn1.SEQUENCE) ||
		!cert.ReadASN1(&signature, cbasn1.BIT_STRING) || !cert.Empty() {
		return bad("other than three elements")
	}
	if len(signature) < 2 || signature[0] != 0 {
		return bad("signature of partial bytes")
	}
	if !tbs.SkipASN1(cbasn1.Tag(0).ContextSpecific().Constructed()) || // version
		!tbs.SkipASN1(cbasn1.INTEGER) || // serial
		!tbs.SkipASN1(cbasn1.SEQUENCE) || // algorithm
		!tbs.SkipASN1(cbasn1.SEQUENCE) || // issuer
		!tbs.SkipASN1(cbasn1.SEQUENCE) || // validity
		!tbs.SkipASN1(cbasn1.SEQUENCE) || // subject
		!tbs.ReadASN1Element(&keyInfo, cbasn1.SEQUENCE) ||
		!tbs.ReadASN1(&wrapped, cbasn1.Tag(3).ContextSpecific().Constructed()) || !tbs.Empty() ||
		!wrapped.ReadASN1(&extensions, cbasn1.SEQUENCE) || !wrapped.Empty() {
		return bad("missing or additional field")
	}
	o.keyInfo = keyInfo
	for !extensions.Empty() {
		var e, oid, value cryptobyte.String
		if !extensions.ReadASN1(&e, cbasn1.SEQUENCE) || !e.ReadASN1(&oid, cbasn1.OBJECT_IDENTIFIER) ||
			!e.SkipOptionalASN1(cbasn1.BOOLEAN) || !e.ReadASN1(&value, cbasn1.OCTET_STRING) || !e.Empty() {
			return bad("malformed extension")
		}
		if !bytes.Equal(oid, oidSAN) {
			continue
		}
		if o.san != nil {
			return bad("two lists of alternative names")
		}
		o.san = value
	}
	return o, nil
}

// name returns the one URI among the alternative names, in the role's form.
func (o *outline) name(r role) (name, error) {
	san := cryptobyte.String(o.san)
	if len(san) == 0 {
		return name{}, fmt.Errorf("no alternative name: %w", ErrName)
	}
	var names cryptobyte.String
	if !san.ReadASN1(&names, cbasn1.SEQUENCE) || !san.Empty() {
		return name{}, fmt.Errorf("list of alternative names: %w", ErrMalformed)
	}
	var uri []byte
	uris := 0
	for !names.Empty() {
		var v cryptobyte.String
		var tag cbasn1.Tag
		if !names.ReadAnyASN1(&v, &tag) {
			return name{}, fmt.Errorf("alternative name: %w", ErrMalformed)
		}
		if tag == cbasn1.Tag(6).ContextSpecific() { // uniformResourceIdentifier
			uri = v
			uris++
		}
	}
	if uris != 1 {
		return name{}, fmt.Errorf("%d URIs among the alternative names: %w", uris, ErrName)
	}
	n, err := parseName(uri)
	if err != nil {
		return name{}, err
	}
	if (r == clientRole) != n.isClient() {
		return name{}, fmt.Errorf("%s in place of a %s: %w", n, r, ErrName)
	}
	return n, nil
}

func (r role) String() string {
	if r == clientRole {
		return "client"
	}
	return "user"
}
