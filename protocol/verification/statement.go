package verification

import (
	"bytes"
	"crypto"
	"fmt"
	"time"

	"github.com/mimid/mimid/protocol/discovery"
	"github.com/mimid/mimid/protocol/mls/x509auth"
	"github.com/mimid/mimid/protocol/presentation"
	"github.com/mimid/mimid/protocol/uri"
)

// Limits of statements.
const (
	// MaxStatement is longer than any statement, in bytes.
	MaxStatement = discovery.MaxStatement
	// MaxLifetime is how long a statement may last: as long as a claim.
	MaxLifetime = discovery.MaxLifetime
	// MaxSkew is how far in the future something may have been issued.
	MaxSkew = discovery.MaxSkew

	wireVersion    = 1
	maxSignature   = 128
	maxCertificate = 4 << 10
	maxMillis      = 253402300799e3 // the year 9999
)

// Labels of signatures. None is a prefix of another or of any that the same keys sign
// elsewhere.
const (
	labelStatement = "mimid verification 1 statement"
	labelRequest   = "mimid verification 1 request"
	labelAnswer    = "mimid verification 1 answer"
	labelChallenge = "mimid verification 1 challenge id"
	labelCode      = "mimid verification 1 code"
)

// Facts are what an authority states.
type Facts struct {
	// ClaimID names the identifier (discovery.Secret.ClaimID).
	ClaimID [discovery.KeySize]byte
	// User holds the identifier, by the user key with the id KeyID (discovery.KeyID).
	User  uri.User
	KeyID [32]byte
	// Method by which that was found out.
	Method discovery.Method
	// Authority has found it out, and signs.
	Authority uri.Provider
	// Issued and Expires have milliseconds.
	Issued, Expires time.Time
}

// Statement is a statement as it was made or received; nothing is known yet of whether it is
// true. It does not change; safe for concurrent use.
//
//	struct {
//	  uint8  version = 1;
//	  opaque claim_id[32];
//	  opaque user<V>;        URI of the user
//	  opaque user_key[32];   SHA-256 of the user key
//	  opaque method<V>;
//	  opaque authority<V>;   domain
//	  uint64 issued;         milliseconds since 1970
//	  uint64 expires;
//	} StatementTBS;
//
//	struct {
//	  StatementTBS tbs;
//	  opaque signature<V>;   of a provider key of the authority, over "… statement", tbs
//	} Statement;
type Statement struct {
	facts     Facts
	tbs       []byte
	signature []byte
}

// Sign makes a statement. The key is the authority's provider key.
//
// Errors: ErrLifetime, presentation's, those of the signer.
func Sign(key crypto.Signer, f Facts) (*Statement, error) {
	b := append([]byte{wireVersion}, f.ClaimID[:]...)
	b = presentation.AppendOpaque(b, []byte(f.User.String()))
	b = append(b, f.KeyID[:]...)
	b = presentation.AppendOpaque(b, []byte(f.Method))
	b = presentation.AppendOpaque(b, []byte(f.Authority.Domain()))
	b = presentation.AppendU64(b, uint64(f.Issued.UnixMilli()))
	b = presentation.AppendU64(b, uint64(f.Expires.UnixMilli()))
	signature, err := discovery.SignLabelled(key, labelStatement, b)
	if err != nil {
		return nil, fmt.Errorf("signing statement: %w", err)
	}
	// Reading it back judges the facts by the rules that receivers have.
	s, err := Parse(presentation.AppendOpaque(b, signature))
	if err != nil {
		return nil, fmt.Errorf("making statement: %w", err)
	}
	return s, s.checkLifetime()
}

// Parse reads a statement. It keeps no part of b. Errors: presentation's, ErrVersion.
func Parse(b []byte) (*Statement, error) {
	return parse(b, MaxStatement, "statement", func(r *presentation.Reader) *Statement {
		s := new(Statement)
		all := r.Rest()
		readVersion(r)
		copy(s.facts.ClaimID[:], r.Fixed(discovery.KeySize))
		s.facts.User = readUser(r)
		copy(s.facts.KeyID[:], r.Fixed(len(s.facts.KeyID)))
		s.facts.Method = readMethod(r)
		s.facts.Authority = readDomain(r)
		s.facts.Issued, s.facts.Expires = readTime(r), readTime(r)
		s.tbs = all[:len(all)-len(r.Rest())]
		s.signature = r.Bounded(maxSignature, "signature")
		return s
	})
}

// Bytes encodes the statement.
func (s *Statement) Bytes() []byte {
	return presentation.AppendOpaque(bytes.Clone(s.tbs), s.signature)
}

// Authority is who signs, if the signature is good. Verify finds out; ask this first whether
// that authority is believed.
func (s *Statement) Authority() uri.Provider { return s.facts.Authority }

// Expires is when it ends.
func (s *Statement) Expires() time.Time { return s.facts.Expires }

// Verified is a statement that was true, of a claim, when it was verified: the authority
// has made it, and it binds the claim's identifier, user and user key. Only Verify makes one.
type Verified struct{ facts Facts }

// Facts are what is stated.
func (v *Verified) Facts() Facts { return v.facts }

// Verify says whether the statement is about the claim, holds at the time now, and is signed by
// its authority, whose keys the anchors tell. Whether that authority is believed is for the
// caller to know.
//
// Errors: ErrOtherIdentifier, ErrOtherUser, ErrOtherKey, ErrOtherMethod, ErrLifetime, ErrTime,
// ErrExpired, ErrSignature.
func (s *Statement) Verify(claim *discovery.VerifiedClaim, anchors x509auth.Anchors, now time.Time) (*Verified, error) {
	if err := s.verify(claim, anchors, now); err != nil {
		return nil, fmt.Errorf("verifying what %s states of %s: %w", s.facts.Authority.Domain(), s.facts.User, err)
	}
	return &Verified{s.facts}, nil
}

func (s *Statement) verify(claim *discovery.VerifiedClaim, anchors x509auth.Anchors, now time.Time) error {
	switch {
	case s.facts.ClaimID != claim.Claim().ID():
		return ErrOtherIdentifier
	case s.facts.User != claim.User():
		return ErrOtherUser
	case s.facts.KeyID != claim.KeyID():
		return ErrOtherKey
	case s.facts.Method != claim.Method():
		return ErrOtherMethod
	}
	return s.holds(anchors, now)
}

// Check is Verify before there is a claim: the authority has stated these facts, whose times do
// not matter.
func (s *Statement) Check(want Facts, anchors x509auth.Anchors, now time.Time) error {
	f := s.facts
	want.Issued, want.Expires = f.Issued, f.Expires
	var err error
	switch {
	case f.ClaimID != want.ClaimID:
		err = ErrOtherIdentifier
	case f.User != want.User:
		err = ErrOtherUser
	case f.KeyID != want.KeyID:
		err = ErrOtherKey
	case f.Method != want.Method:
		err = ErrOtherMethod
	case f.Authority != want.Authority:
		err = ErrOtherAuthority
	default:
		err = s.holds(anchors, now)
	}
	if err != nil {
		return fmt.Errorf("checking what %s states: %w", f.Authority.Domain(), err)
	}
	return nil
}

func (s *Statement) holds(anchors x509auth.Anchors, now time.Time) error {
	if err := s.checkLifetime(); err != nil {
		return err
	}
	if s.facts.Issued.After(now.Add(MaxSkew)) {
		return fmt.Errorf("issued %s: %w", s.facts.Issued.Format(time.RFC3339), ErrTime)
	}
	if !now.Before(s.facts.Expires) {
		return fmt.Errorf("until %s: %w", s.facts.Expires.Format(time.RFC3339), ErrExpired)
	}
	for _, k := range anchors(s.facts.Authority.Domain()) {
		if discovery.VerifyLabelled(k, labelStatement, s.tbs, s.signature) {
			return nil
		}
	}
	return ErrSignature
}

func (s *Statement) checkLifetime() error {
	if d := s.facts.Expires.Sub(s.facts.Issued); d <= 0 || d > MaxLifetime {
		return fmt.Errorf("%s from issue to expiry: %w", d, ErrLifetime)
	}
	return nil
}

// parse bounds the input, reads all of it, and returns nil with every error.
func parse[T any](b []byte, limit int, what string, read func(*presentation.Reader) *T) (*T, error) {
	if len(b) > limit {
		return nil, fmt.Errorf("parsing %s of %d bytes (limit %d): %w", what, len(b), limit, presentation.ErrTooLarge)
	}
	r := presentation.NewReader(bytes.Clone(b))
	out := read(r)
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("parsing %s: %w", what, err)
	}
	return out, nil
}

// The fields that the messages have in common. Each reads nothing more after the first error.

func readVersion(r *presentation.Reader) {
	if v := r.U8(); r.Err() == nil && v != wireVersion {
		r.Fail(ErrVersion, "version %d", v)
	}
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

// readMethod reads one of the methods that there are.
func readMethod(r *presentation.Reader) discovery.Method {
	m := discovery.Method(r.Bounded(discovery.MaxWord, "method"))
	switch m {
	case discovery.MethodMail, discovery.MethodSMS, discovery.MethodCall:
	default:
		r.Fail(presentation.ErrMalformed, "method %+q", string(m))
	}
	return m
}

func readTime(r *presentation.Reader) time.Time {
	ms := r.U64()
	if ms > maxMillis {
		r.Fail(presentation.ErrMalformed, "time %d after the year 9999", ms)
		return time.Time{}
	}
	return time.UnixMilli(int64(ms)).UTC()
}
