package mls

import (
	"bytes"
	"fmt"
	"time"
)

// CredentialType is a registered credential type (RFC 9420 section 17.5).
type CredentialType uint16

// Credential types that this engine reads.
const (
	CredentialBasic CredentialType = 1
	CredentialX509  CredentialType = 2
)

// Credential binds an identity to a signature key (section 5.3):
//
//	struct { opaque cert_data<V>; } Certificate;
//	struct {
//	    CredentialType credential_type;
//	    select (credential_type) {
//	        case basic: opaque identity<V>;
//	        case x509:  Certificate certificates<V>;
//	    };
//	} Credential;
//
// The RFC gives other types no shape that a stranger could skip. Both known
// ones are one vector, so an unknown type is read as one, opaque<V>, and
// written back unchanged.
type Credential struct {
	Type CredentialType
	// Identity is the content of a basic credential or of an unknown type.
	Identity []byte
	// Certificates is the chain of an X.509 credential, DER, leaf first.
	Certificates [][]byte
}

// BasicCredential returns a credential that holds an application's name.
func BasicCredential(identity []byte) Credential {
	return Credential{Type: CredentialBasic, Identity: identity}
}

// X509Credential returns a credential that holds a chain, leaf first.
func X509Credential(chain ...[]byte) Credential {
	return Credential{Type: CredentialX509, Certificates: chain}
}

// Equal says whether both encode to the same bytes.
func (c Credential) Equal(o Credential) bool {
	return bytes.Equal(c.append(nil), o.append(nil))
}

func (c *Credential) read(r *reader) {
	c.Type = CredentialType(r.U16())
	switch c.Type {
	case 0:
		r.Fail(ErrMalformed, "credential type 0")
	case CredentialX509:
		r.List(r.lim.ListEntries, func() { c.Certificates = append(c.Certificates, r.Opaque()) })
		if r.Err() == nil && len(c.Certificates) == 0 {
			r.Fail(ErrMalformed, "empty certificate chain")
		}
	default:
		c.Identity = r.Opaque()
	}
}

func (c *Credential) append(b []byte) []byte {
	b = appendU16(b, uint16(c.Type))
	if c.Type != CredentialX509 {
		return appendOpaque(b, c.Identity)
	}
	return appendList(b, func(b []byte) []byte {
		for _, cert := range c.Certificates {
			b = appendOpaque(b, cert)
		}
		return b
	})
}

// Authenticator decides which credentials are good; it is the Authentication
// Service of RFC 9420 section 5.3.1. Its methods are called from several
// goroutines at once and must be pure functions of their arguments and of
// trust anchors that do not change in between: members that judge differently
// part ways.
type Authenticator interface {
	// Authenticate says whether the credential is valid for the signature key
	// at the given time. The zero time asks for everything but the time: was
	// the credential ever good (see Config.ImportExpired)?
	Authenticate(c Credential, signatureKey []byte, now time.Time) error
	// AuthenticateSender is the same question about an external sender, which
	// is a server and no member: what is good for one is not for the other.
	AuthenticateSender(c Credential, signatureKey []byte, now time.Time) error
	// Succeeds says whether the holder of old may continue as new: a member
	// that updates its leaf, or a joiner that replaces its own lost leaf.
	// Typically: both name the same client.
	Succeeds(old, new Credential) error
}

// AcceptBasic is an Authenticator that takes every basic credential at its
// word and lets nobody change its name. It authenticates nothing: use it in
// tests, or where another layer binds names to keys.
type AcceptBasic struct{}

// Authenticate implements Authenticator.
func (AcceptBasic) Authenticate(c Credential, _ []byte, _ time.Time) error {
	if c.Type != CredentialBasic {
		return fmt.Errorf("credential type %d where basic is expected: %w", c.Type, ErrBadCredential)
	}
	return nil
}

// AuthenticateSender implements Authenticator.
func (a AcceptBasic) AuthenticateSender(c Credential, signatureKey []byte, now time.Time) error {
	return a.Authenticate(c, signatureKey, now)
}

// Succeeds implements Authenticator.
func (AcceptBasic) Succeeds(old, new Credential) error {
	if !old.Equal(new) {
		return fmt.Errorf("member changes its basic identity: %w", ErrBadCredential)
	}
	return nil
}
