// Package x509auth decides which X.509 credentials are good: it is an
// mls.Authenticator for credentials of RFC 9420 section 5.3 in which a
// provider vouches for its users and a user vouches for its own devices.
//
// # The chain
//
//	provider key          trusted by other means, see Anchors; not in the chain
//	  user certificate    mimi://atlanta.example/u/alice        second in the chain
//	    client certificate  mimi://atlanta.example/d/alice/phone  first in the chain
//	      signature key     the one of the MLS leaf
//
// A chain is these two certificates in this order, always. A longer one would
// need a rule for what the certificates in between may say, and members whose
// rules differ part ways; so the length is no option.
//
// The provider signs the user's key once and cannot add a device afterwards
// without a new user key, which everybody sees (UserKeyChanged).
//
// # What is checked
//
//   - Form: one DER certificate of version 3 and no byte beside it or left over
//     inside, at most Options.MaxCertificate bytes, no unique identifiers.
//   - Keys: Ed25519, or ECDSA on P-256 with SHA-256, for whoever signs or is
//     certified. Suites 1 and 3 take the one, suite 2 the other, for the client;
//     users and providers are free.
//   - Name: exactly one URI among the subject alternative names, spelled as
//     above in the one way that name.go defines. No other name matters:
//     subject, issuer and further alternative names are not read. Who certifies
//     whom is the order of the chain, not a matter of names.
//   - Use: the user certificate is a CA with path length 0 and keyCertSign. The
//     client certificate is no CA, has digitalSignature and lacks keyCertSign.
//     Where an extended key usage is given, it allows anything, or instant
//     messaging URIs (RFC 9734).
//   - Critical extensions: only basic constraints, key usage, extended key usage
//     and subject alternative name, because only these are judged.
//   - Relation: both certificates name the same domain and user; the client's
//     key is the leaf's; the user key signed the client certificate; one of the
//     domain's anchors signed the user certificate.
//   - Time: both certificates contain the time that the caller passes in, both
//     ends included. For a log that is when the entry was accepted, so a history
//     stays verifiable after its certificates have expired.
//
// There is no revocation list. A device is removed from groups by a commit, a
// provider key by withdrawing its anchor, and the rest by expiry.
//
// # The cache
//
// Devices of one user share its user certificate, and so do all groups of a
// server; its signature is verified once. The cache holds only what does not
// depend on time: that this very certificate has the right form, what it says,
// and that this very anchor signed it. Anchors are asked anew every time and
// dates are judged every time, so the cache never changes a verdict, only its
// cost: withdrawing an anchor is effective at once. Failures are not cached,
// hence only a trusted provider can fill the cache, which is bounded anyway.
//
// # Succession
//
// A client may replace its credential by one for the same client URI: that is
// how certificates are renewed. The user key above it may be another one, for
// somebody who lost all devices has no other way back, but this is exactly what
// a provider would do to impersonate: an application should compare every
// updated or rejoined leaf with UserKeyChanged and show the result.
//
// # Reading order
//
// x509auth.go (the verdict), certificate.go (one certificate), name.go (URIs
// and what may be read without verifying), cache.go, issue.go.
package x509auth
