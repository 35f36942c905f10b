package discovery

import (
	"bytes"
	"crypto"
	"fmt"
	"slices"
	"time"

	"github.com/mimid/mimid/protocol/mls/x509auth"
	"github.com/mimid/mimid/protocol/presentation"
	"github.com/mimid/mimid/protocol/uri"
)

// Limits of claims.
const (
	// MaxLifetime is how long a claim may be valid. Numbers change hands; a
	// claim has to be made anew by somebody who still holds the identifier.
	MaxLifetime = 180 * 24 * time.Hour
	// MaxSkew is how far in the future a claim may have been issued: clocks
	// differ.
	MaxSkew = 5 * time.Minute
	// MaxTags is how many preference tags a claim has at most.
	MaxTags = 8
	// MaxWord is the longest method or tag, in bytes.
	MaxWord = 32
	// MaxClaim is longer than any claim, in bytes.
	MaxClaim = 7 << 10
	// MaxStatement is longer than any statement of a verification authority, in bytes.
	MaxStatement = 1536

	claimVersion   = 1
	statedVersion  = 2 // with a statement
	maxCertificate = 4 << 10
	maxSignature   = 128            // Ed25519 has 64, ECDSA on P-256 up to 72
	maxMillis      = 253402300799e3 // the year 9999
)

// Method says how the provider verified that the user holds the identifier: a
// word of 1 to 32 lower-case letters, digits and hyphens. Others than these
// may come and are shown as they are.
type Method string

// Methods.
const (
	MethodSMS      Method = "sms"      // a code by text message
	MethodCall     Method = "call"     // a code by telephone
	MethodMail     Method = "mail"     // a code by mail
	MethodOperator Method = "operator" // the provider's operator knows the user
	MethodAssigned Method = "assigned" // the provider hands it out: the usual for handles
	// MethodUnverified: nobody has verified it; the identifier is what the user says it is.
	MethodUnverified Method = "unverified"
)

// Terms are what a user claims, apart from the identifier.
type Terms struct {
	// User is whom the identifier leads to; its domain is the provider that is
	// to endorse the claim.
	User uri.User
	// Method of verification. The user writes what it went through; a provider
	// endorses nothing that it did not do.
	Method Method
	// Issued and Expires have milliseconds; fractions are cut off. A newer claim
	// for the same user replaces an older one.
	Issued, Expires time.Time
	// Rank is the owner's order among its claims for one identifier, at several
	// providers: 0 comes first.
	Rank uint8
	// Tags say what the owner would use this account for, such as "work": at
	// most MaxTags words like a Method, in any order, no two the same.
	Tags []string
	// Statement is what a verification authority states of the identifier and the user
	// key (package verification), at most MaxStatement bytes; nil for none. Here it is
	// only carried, and covered by both signatures: Verify does not judge it.
	Statement []byte
}

// The numbers are on the wire.
const (
	kindClaim      = 1
	kindWithdrawal = 2
)

// Claim is a claim, or the withdrawal of one, as it was made or received: well-formed, and
// nothing is known yet of whether it is true. Verify finds out. A Claim does
// not change; safe for concurrent use.
//
//	struct {
//	  uint8  version;                2 with a statement, else 1
//	  uint8  kind;                   claim 1, withdrawal 2
//	  opaque id[32];                 Secret.ClaimID
//	  opaque user<V>;                URI of the user
//	  opaque method<V>;              empty in a withdrawal
//	  uint64 issued;                 milliseconds since 1970
//	  uint64 expires;
//	  uint8  rank;
//	  opaque tag<V> tags<V>;         ascending
//	  opaque statement<V>;           of version 2 only, and not empty
//	} ClaimTBS;
//
//	struct {
//	  ClaimTBS tbs;
//	  opaque user_certificate<V>;
//	  opaque user_signature<V>;      over "… claim, user", tbs
//	  opaque provider_signature<V>;  over "… claim, provider", all before it;
//	} Claim;                         empty in a withdrawal and before endorsement
type Claim struct {
	kind     uint8
	id       [KeySize]byte
	terms    Terms
	tbs      []byte
	cert     []byte
	userSig  []byte
	provider []byte // signature
}

// Sign makes a claim for the identifier with the given secret, for the provider
// to endorse. The certificate is the user's own, the signer its user key.
//
// Errors: ErrNoIdentifier, ErrKey, ErrLifetime, presentation.ErrMalformed and
// presentation.ErrTooLarge (the terms), and those of the signer.
func Sign(user crypto.Signer, certificate []byte, secret Secret, t Terms) (*Claim, error) {
	c, err := sign(user, certificate, secret, kindClaim, t)
	if err != nil {
		return nil, fmt.Errorf("making claim: %w", err)
	}
	return c, nil
}

// Withdraw makes a withdrawal: everything that the user has claimed about the
// identifier up to the time given is void, under this user URI. It needs no
// endorsement and is to be kept for MaxLifetime, until the last claim before it
// has expired.
//
// Errors: those of Sign.
func Withdraw(user crypto.Signer, certificate []byte, secret Secret, who uri.User, at time.Time) (*Claim, error) {
	t := Terms{User: who, Issued: at, Expires: at.Add(MaxLifetime)}
	c, err := sign(user, certificate, secret, kindWithdrawal, t)
	if err != nil {
		return nil, fmt.Errorf("making withdrawal: %w", err)
	}
	return c, nil
}

func sign(user crypto.Signer, certificate []byte, secret Secret, kind uint8, t Terms) (*Claim, error) {
	if secret.IsZero() {
		return nil, ErrNoIdentifier
	}
	tbs, err := appendTerms(nil, kind, secret.ClaimID(), t)
	if err != nil {
		return nil, err
	}
	signature, err := signWith(user, labelUser, tbs)
	if err != nil {
		return nil, err
	}
	b := presentation.AppendOpaque(tbs, certificate)
	b = presentation.AppendOpaque(b, signature)
	// Reading it back judges the terms by the rules that receivers have.
	c, err := ParseClaim(presentation.AppendOpaque(b, nil))
	if err != nil {
		return nil, err
	}
	return c, c.checkLifetime()
}

func appendTerms(b []byte, kind uint8, id [KeySize]byte, t Terms) ([]byte, error) {
	issued, expires := t.Issued.UnixMilli(), t.Expires.UnixMilli()
	if issued < 0 || expires < 0 {
		return nil, fmt.Errorf("dates before 1970: %w", presentation.ErrMalformed)
	}
	version := byte(claimVersion)
	if len(t.Statement) > 0 {
		version = statedVersion
	}
	b = append(b, version, kind)
	b = append(b, id[:]...)
	b = presentation.AppendOpaque(b, []byte(t.User.String()))
	b = presentation.AppendOpaque(b, []byte(t.Method))
	b = presentation.AppendU64(b, uint64(issued))
	b = presentation.AppendU64(b, uint64(expires))
	b = append(b, t.Rank)
	tags := slices.Sorted(slices.Values(t.Tags))
	b = presentation.AppendList(b, func(b []byte) []byte {
		for _, tag := range tags {
			b = presentation.AppendOpaque(b, []byte(tag))
		}
		return b
	})
	if version == statedVersion {
		b = presentation.AppendOpaque(b, t.Statement)
	}
	return b, nil
}

// ParseClaim reads a claim. It keeps no part of b.
//
// Errors: presentation's, and ErrVersion.
func ParseClaim(b []byte) (*Claim, error) {
	if len(b) > MaxClaim {
		return nil, fmt.Errorf("parsing claim of %d bytes (limit %d): %w", len(b), MaxClaim, presentation.ErrTooLarge)
	}
	r := presentation.NewReader(bytes.Clone(b))
	c := readClaim(r)
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("parsing claim: %w", err)
	}
	return c, nil
}

func readClaim(r *presentation.Reader) *Claim {
	c := &Claim{}
	all := r.Rest()
	stated := readClaimVersion(r)
	c.kind = r.U8()
	if r.Err() == nil && c.kind != kindClaim && c.kind != kindWithdrawal {
		r.Fail(presentation.ErrMalformed, "kind %d of claim", c.kind)
	}
	c.id = readKey(r)
	c.terms.User = readUser(r)
	c.terms.Method = Method(readWord(r, c.kind == kindWithdrawal))
	c.terms.Issued, c.terms.Expires = readTime(r), readTime(r)
	c.terms.Rank = r.U8()
	r.List(MaxTags, func() {
		tag := readWord(r, false)
		if n := len(c.terms.Tags); n > 0 && c.terms.Tags[n-1] >= tag {
			r.Fail(presentation.ErrNonCanonical, "tags not ascending")
		}
		c.terms.Tags = append(c.terms.Tags, tag)
	})
	if stated {
		c.terms.Statement = r.Bounded(MaxStatement, "statement")
		if r.Err() == nil && (len(c.terms.Statement) == 0 || c.kind == kindWithdrawal) {
			r.Fail(presentation.ErrNonCanonical, "a statement that is empty or withdraws")
		}
	}
	c.tbs = all[:len(all)-len(r.Rest())]
	c.cert = r.Bounded(maxCertificate, "user certificate")
	c.userSig = r.Bounded(maxSignature, "user signature")
	c.provider = r.Bounded(maxSignature, "provider signature")
	if c.kind == kindWithdrawal && len(c.provider) > 0 {
		// There would be two withdrawals that say the same.
		r.Fail(presentation.ErrNonCanonical, "withdrawal with a provider signature")
	}
	return c
}

// ID is the identifier's (Secret.ClaimID).
func (c *Claim) ID() [KeySize]byte { return c.id }

// Bytes encodes the claim.
func (c *Claim) Bytes() []byte { return presentation.AppendOpaque(c.unendorsed(), c.provider) }

// unendorsed is what the provider signs.
func (c *Claim) unendorsed() []byte {
	b := presentation.AppendOpaque(bytes.Clone(c.tbs), c.cert)
	return presentation.AppendOpaque(b, c.userSig)
}

// Endorse returns the claim with the provider's signature. It verifies the
// result as a searcher would, so nothing is endorsed that would be refused; that
// the user holds the identifier and went through Method is for the caller to
// know. An earlier endorsement is replaced.
//
// Errors: ErrWithdrawal, those of Verify and those of the signer.
func (c *Claim) Endorse(provider crypto.Signer, secret Secret, anchors x509auth.Anchors, now time.Time) (*VerifiedClaim, error) {
	if c.kind == kindWithdrawal {
		return nil, fmt.Errorf("endorsing: %w", ErrWithdrawal)
	}
	signature, err := signWith(provider, labelProvider, c.unendorsed())
	if err != nil {
		return nil, fmt.Errorf("endorsing claim: %w", err)
	}
	out := *c
	out.provider = signature
	v, err := out.Verify(secret, anchors, now)
	if err != nil {
		return nil, fmt.Errorf("endorsing: %w", err)
	}
	return v, nil
}

// WithCertificate returns the claim with another certificate of the same user
// key and without endorsement. User certificates live shorter than claims; the
// user's signature does not cover them, so the provider renews both by itself.
//
// Errors: presentation's.
func (c *Claim) WithCertificate(certificate []byte) (*Claim, error) {
	b := presentation.AppendOpaque(bytes.Clone(c.tbs), certificate)
	b = presentation.AppendOpaque(b, c.userSig)
	return ParseClaim(presentation.AppendOpaque(b, nil))
}

// Verify says whether the claim is true at the time now: it is about the
// identifier with the given secret, within its dates, signed by the user, whose
// certificate is good, and, unless it is a withdrawal, by the user's provider.
// Anchors tell the keys of providers.
//
// Errors: ErrNoIdentifier, ErrOtherIdentifier, ErrLifetime, ErrNotYetIssued,
// ErrExpired, ErrUserCertificate (also as x509auth's), ErrOtherUser,
// ErrUserSignature, ErrNotEndorsed.
func (c *Claim) Verify(secret Secret, anchors x509auth.Anchors, now time.Time) (*VerifiedClaim, error) {
	key, err := c.verify(secret, anchors, now)
	if err != nil {
		return nil, fmt.Errorf("verifying claim of %s: %w", c.terms.User, err)
	}
	return &VerifiedClaim{claim: c, key: key}, nil
}

func (c *Claim) verify(secret Secret, anchors x509auth.Anchors, now time.Time) (crypto.PublicKey, error) {
	// What costs little comes first.
	if secret.IsZero() {
		return nil, ErrNoIdentifier
	}
	if c.id != secret.ClaimID() {
		return nil, ErrOtherIdentifier
	}
	if err := c.checkLifetime(); err != nil {
		return nil, err
	}
	if c.terms.Issued.After(now.Add(MaxSkew)) {
		return nil, fmt.Errorf("issued %s: %w", c.terms.Issued.Format(time.RFC3339), ErrNotYetIssued)
	}
	if !now.Before(c.terms.Expires) {
		return nil, fmt.Errorf("until %s: %w", c.terms.Expires.Format(time.RFC3339), ErrExpired)
	}
	who, key, err := x509auth.VerifyUser(c.cert, anchors, now)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUserCertificate, err)
	}
	if who != c.terms.User.String() {
		return nil, fmt.Errorf("certificate of %s: %w", who, ErrOtherUser)
	}
	if !verifyWith(key, labelUser, c.tbs, c.userSig) {
		return nil, ErrUserSignature
	}
	if c.kind == kindWithdrawal {
		return key, nil
	}
	signed := c.unendorsed()
	for _, anchor := range anchors(c.terms.User.Provider().Domain()) {
		if verifyWith(anchor, labelProvider, signed, c.provider) {
			return key, nil
		}
	}
	return nil, ErrNotEndorsed
}

func (c *Claim) checkLifetime() error {
	d := c.terms.Expires.Sub(c.terms.Issued)
	if d <= 0 || d > MaxLifetime {
		return fmt.Errorf("%s from issue to expiry: %w", d, ErrLifetime)
	}
	return nil
}
