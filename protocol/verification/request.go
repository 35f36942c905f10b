package verification

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/mimid/mimid/protocol/discovery"
	"github.com/mimid/mimid/protocol/mls/x509auth"
	"github.com/mimid/mimid/protocol/presentation"
	"github.com/mimid/mimid/protocol/uri"
)

// Limits of messages.
const (
	// MaxRequest is longer than any request, in bytes.
	MaxRequest = 8 << 10
	// MaxAnswer is longer than any answer, in bytes.
	MaxAnswer = 512
	// MaxAge is how old a request may be when the authority gets it.
	MaxAge = 10 * time.Minute
	// CodeDigits is how many decimal digits a code has.
	CodeDigits = 8

	nonceSize = 16
)

// ID names a challenge: the hash of the request that it is for. The same request gets the
// same challenge, so that it may be repeated when an answer was lost.
type ID [sha256.Size]byte

// Ask is what a user wants to have verified.
type Ask struct {
	Authority  uri.Provider
	Identifier discovery.SII
	Method     discovery.Method
	User       uri.User
	At         time.Time
}

// Request asks an authority for a code, as it was made or received. It does not change.
//
//	struct {
//	  uint8  version = 1;
//	  opaque authority<V>;    domain
//	  opaque identifier<V>;   an SII in its canonical form
//	  opaque method<V>;
//	  opaque user<V>;         URI of the user
//	  uint64 at;              milliseconds since 1970
//	  opaque nonce[16];
//	} RequestTBS;
//
//	struct {
//	  RequestTBS tbs;
//	  opaque user_certificate<V>;
//	  opaque signature<V>;    of the user key, over "… request", tbs
//	} Request;
type Request struct {
	ask       Ask
	tbs       []byte
	cert      []byte
	signature []byte
}

// MethodFor is the usual method for a kind of identifier. Error: ErrMethod.
func MethodFor(k discovery.Kind) (discovery.Method, error) {
	switch k {
	case discovery.KindMail:
		return discovery.MethodMail, nil
	case discovery.KindTel:
		return discovery.MethodSMS, nil
	}
	return "", fmt.Errorf("a %s: %w", k, ErrMethod)
}

func fits(m discovery.Method, k discovery.Kind) bool {
	return k == discovery.KindMail && m == discovery.MethodMail ||
		k == discovery.KindTel && (m == discovery.MethodSMS || m == discovery.MethodCall)
}

// NewRequest makes a request. The certificate is the user's, the signer its user key.
//
// Errors: ErrMethod, presentation's, those of the signer.
func NewRequest(user crypto.Signer, certificate []byte, a Ask) (*Request, error) {
	var nonce [nonceSize]byte
	rand.Read(nonce[:]) // never fails
	b := presentation.AppendOpaque([]byte{wireVersion}, []byte(a.Authority.Domain()))
	b = presentation.AppendOpaque(b, []byte(a.Identifier.String()))
	b = presentation.AppendOpaque(b, []byte(a.Method))
	b = presentation.AppendOpaque(b, []byte(a.User.String()))
	b = presentation.AppendU64(b, uint64(a.At.UnixMilli()))
	b = append(b, nonce[:]...)
	signature, err := discovery.SignLabelled(user, labelRequest, b)
	if err != nil {
		return nil, fmt.Errorf("signing request: %w", err)
	}
	b = presentation.AppendOpaque(b, certificate)
	return ParseRequest(presentation.AppendOpaque(b, signature))
}

// ParseRequest reads a request. It keeps no part of b. Its errors quote no identifier.
//
// Errors: presentation's, ErrVersion, ErrMethod.
func ParseRequest(b []byte) (*Request, error) {
	return parse(b, MaxRequest, "request", func(r *presentation.Reader) *Request {
		q := new(Request)
		all := r.Rest()
		readVersion(r)
		q.ask.Authority = readDomain(r)
		q.ask.Identifier = readIdentifier(r)
		q.ask.Method = readMethod(r)
		if r.Err() == nil && !fits(q.ask.Method, q.ask.Identifier.Kind()) {
			r.Fail(ErrMethod, "%s for a %s", q.ask.Method, q.ask.Identifier.Kind())
		}
		q.ask.User = readUser(r)
		q.ask.At = readTime(r)
		r.Fixed(nonceSize)
		q.tbs = all[:len(all)-len(r.Rest())]
		q.cert = r.Bounded(maxCertificate, "user certificate")
		q.signature = r.Bounded(maxSignature, "signature")
		return q
	})
}

// readIdentifier reads an SII in the one spelling that it has.
func readIdentifier(r *presentation.Reader) discovery.SII {
	b := r.Bounded(discovery.MaxSII, "identifier")
	if r.Err() != nil {
		return discovery.SII{}
	}
	s, err := discovery.ParseSII(string(b))
	switch {
	case err != nil: // whose text quotes it
		r.Fail(presentation.ErrMalformed, "identifier of %d bytes", len(b))
	case s.String() != string(b):
		r.Fail(presentation.ErrNonCanonical, "identifier of %d bytes", len(b))
	}
	return s
}

// Bytes encodes the request.
func (q *Request) Bytes() []byte {
	b := presentation.AppendOpaque(bytes.Clone(q.tbs), q.cert)
	return presentation.AppendOpaque(b, q.signature)
}

// ID names the challenge that the request gets. The certificate does not count: the user's
// signature does not cover it, and nobody shall get a second challenge of one signature.
func (q *Request) ID() ID { return sha256.Sum256(labelled(labelChallenge, q.tbs)) }

// Ask is what is asked for, not yet verified.
func (q *Request) Ask() Ask { return q.ask }

// Asked is a request that was true when it was verified: the user has made it, by its user
// key. Only Request.Verify makes one.
type Asked struct {
	Ask
	id  ID
	key crypto.PublicKey
}

// ID names the challenge that the request gets.
func (a *Asked) ID() ID { return a.id }

// Verify says whether the user has made the request, for this authority, and lately.
//
// Errors: ErrOtherAuthority, ErrTime, ErrCertificate, ErrOtherUser, ErrSignature.
func (q *Request) Verify(authority uri.Provider, anchors x509auth.Anchors, now time.Time) (*Asked, error) {
	key, err := q.verify(authority, anchors, now)
	if err != nil {
		return nil, fmt.Errorf("verifying request of %s: %w", q.ask.User, err)
	}
	return &Asked{Ask: q.ask, id: q.ID(), key: key}, nil
}

func (q *Request) verify(authority uri.Provider, anchors x509auth.Anchors, now time.Time) (crypto.PublicKey, error) {
	if q.ask.Authority != authority {
		return nil, fmt.Errorf("%s: %w", q.ask.Authority.Domain(), ErrOtherAuthority)
	}
	if d := now.Sub(q.ask.At); d > MaxAge || d < -MaxSkew {
		return nil, fmt.Errorf("made %s: %w", q.ask.At.Format(time.RFC3339), ErrTime)
	}
	who, key, err := x509auth.VerifyUser(q.cert, anchors, now)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCertificate, err)
	}
	if who != q.ask.User.String() {
		return nil, fmt.Errorf("certificate of %s: %w", who, ErrOtherUser)
	}
	if !discovery.VerifyLabelled(key, labelRequest, q.tbs, q.signature) {
		return nil, ErrSignature
	}
	return key, nil
}

// Answer is the code that a user has read, as it was made or received.
//
//	struct {
//	  uint8  version = 1;
//	  opaque challenge[32];
//	  opaque code<V>;        8 digits
//	} AnswerTBS;
//
//	struct {
//	  AnswerTBS tbs;
//	  opaque signature<V>;   of the user key, over "… answer", tbs
//	} Answer;
type Answer struct {
	id        ID
	code      string
	tbs       []byte
	signature []byte
}

// NewAnswer answers the challenge for a request. Spaces and hyphens in the code do not count.
//
// Errors: ErrCode (it is not 8 digits), those of the signer.
func NewAnswer(user crypto.Signer, id ID, code string) (*Answer, error) {
	var digits []byte
	for _, c := range []byte(code) {
		if c != ' ' && c != '-' {
			digits = append(digits, c)
		}
	}
	if !isCode(digits) {
		return nil, fmt.Errorf("a code has %d digits: %w", CodeDigits, ErrCode)
	}
	b := append([]byte{wireVersion}, id[:]...)
	b = presentation.AppendOpaque(b, digits)
	signature, err := discovery.SignLabelled(user, labelAnswer, b)
	if err != nil {
		return nil, fmt.Errorf("signing answer: %w", err)
	}
	return ParseAnswer(presentation.AppendOpaque(b, signature))
}

// ParseAnswer reads an answer. It keeps no part of b. Its errors quote no code.
//
// Errors: presentation's, ErrVersion.
func ParseAnswer(b []byte) (*Answer, error) {
	return parse(b, MaxAnswer, "answer", func(r *presentation.Reader) *Answer {
		a := new(Answer)
		all := r.Rest()
		readVersion(r)
		copy(a.id[:], r.Fixed(len(a.id)))
		code := r.Bounded(CodeDigits, "code")
		if r.Err() == nil && !isCode(code) {
			r.Fail(presentation.ErrMalformed, "a code that is not %d digits", CodeDigits)
		}
		a.code = string(code)
		a.tbs = all[:len(all)-len(r.Rest())]
		a.signature = r.Bounded(maxSignature, "signature")
		return a
	})
}

func isCode(b []byte) bool {
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(b) == CodeDigits
}

// Bytes encodes the answer.
func (a *Answer) Bytes() []byte { return presentation.AppendOpaque(bytes.Clone(a.tbs), a.signature) }

// ID names the challenge.
func (a *Answer) ID() ID { return a.id }

func labelled(label string, content []byte) []byte {
	return presentation.AppendOpaque(presentation.AppendOpaque(nil, []byte(label)), content)
}
