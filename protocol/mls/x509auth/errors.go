package x509auth

import "errors"

// Errors are sentinels: test with errors.Is. An mls engine wraps each of them
// in mls.ErrBadCredential. The text around them holds names and sizes from the
// certificates, shortened, and never a key.
var (
	// ErrOptions: New was given options that cannot work. A bug of the caller.
	ErrOptions = errors.New("x509auth: unusable options")

	// ErrCredentialType: the credential is not an X.509 credential. A group
	// that uses this Authenticator has no other members.
	ErrCredentialType = errors.New("x509auth: not an X.509 credential")
	// ErrChainLength: the chain is not a client certificate and a user
	// certificate. A provider's own certificate does not belong into it.
	ErrChainLength = errors.New("x509auth: chain is not client and user certificate")
	// ErrTooLarge: a certificate exceeds Options.MaxCertificate. It was not
	// parsed.
	ErrTooLarge = errors.New("x509auth: certificate too large")
	// ErrMalformed: the bytes are not exactly one DER certificate of version 3,
	// or hold something that RFC 5280 rules out.
	ErrMalformed = errors.New("x509auth: malformed certificate")
	// ErrAlgorithm: a key or signature other than Ed25519 or ECDSA on P-256
	// with SHA-256.
	ErrAlgorithm = errors.New("x509auth: unsupported algorithm")
	// ErrName: the certificate does not name exactly one URI of the form that
	// its place in the chain asks for. A chain in the wrong order ends here, and
	// so does a user certificate that is used as a client's.
	ErrName = errors.New("x509auth: no usable name in certificate")
	// ErrUsage: basic constraints, key usage or extended key usage do not allow
	// what the certificate is used for, or allow more than its place may.
	ErrUsage = errors.New("x509auth: certificate not meant for this use")
	// ErrCriticalExtension: the certificate has a critical extension that is
	// not judged here, so its issuer wants it refused.
	ErrCriticalExtension = errors.New("x509auth: unknown critical extension")

	// ErrKeyMismatch: the client certificate certifies another key than the
	// leaf's signature key: a chain that was copied from somebody else.
	ErrKeyMismatch = errors.New("x509auth: certificate is for another signature key")
	// ErrNameMismatch: the certificates speak of different domains or users: a
	// user certified a device that is not its own.
	ErrNameMismatch = errors.New("x509auth: certificates name different users")
	// ErrUnknownProvider: there is no anchor for the domain. Looking the
	// provider up may help.
	ErrUnknownProvider = errors.New("x509auth: no key known for provider")
	// ErrUntrusted: no anchor of the domain signed the user certificate: it is
	// forged, or signed by a provider key that is not known yet or not trusted
	// any more.
	ErrUntrusted = errors.New("x509auth: user certificate not signed by provider")
	// ErrSignature: the user's key did not sign the client certificate.
	ErrSignature = errors.New("x509auth: client certificate not signed by user")
	// ErrExpired: the given time is after the certificate's notAfter.
	ErrExpired = errors.New("x509auth: certificate expired")
	// ErrNotYetValid: the given time is before the certificate's notBefore.
	ErrNotYetValid = errors.New("x509auth: certificate not yet valid")

	// ErrOtherClient: the new credential names another client than the old one,
	// so its holder may not continue in the old one's place.
	ErrOtherClient = errors.New("x509auth: credential names another client")
)
