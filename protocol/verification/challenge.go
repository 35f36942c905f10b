package verification

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/mimid/mimid/protocol/discovery"
	"github.com/mimid/mimid/protocol/presentation"
	"github.com/mimid/mimid/protocol/uri"
)

// Limits of challenges.
const (
	// CodeLifetime is how long a code may be entered.
	CodeLifetime = 15 * time.Minute
	// MaxAttempts is how many codes may be tried: a guess is right once in 20 million
	// challenges.
	MaxAttempts = 5
	// MaxSends is how often a code is sent for one request: again only where the first
	// sending failed, with another code.
	MaxSends = 3

	maxChallenge = 4 << 10
	maxKey       = 65
)

// Challenge is what an authority keeps of a request. Methods return what changes and change
// nothing outside it; the caller stores it before it acts on the result. It has no lock:
// owned by the caller.
//
//	struct {
//	  uint8  version = 1;
//	  opaque id[32];
//	  opaque identifier<V>;   empty once it is verified
//	  opaque method<V>;
//	  opaque user<V>;
//	  opaque user_key<V>;     32 octets of Ed25519, or 65 of a P-256 point
//	  uint64 made;            milliseconds since 1970
//	  uint8  sends;
//	  uint8  sent;            1: the last sending worked
//	  uint8  attempts;
//	  opaque code[32];        hash of id and code
//	  opaque statement<V>;    empty until it is verified
//	} Challenge;
type Challenge struct {
	id         ID
	identifier discovery.SII
	method     discovery.Method
	user       uri.User
	key        []byte
	made       time.Time
	sends      uint8
	sent       bool
	attempts   uint8
	code       [sha256.Size]byte
	statement  []byte
}

// NewChallenge begins a challenge. NextCode makes its code. Error: discovery.ErrKey.
func NewChallenge(a *Asked, now time.Time) (*Challenge, error) {
	c := &Challenge{id: a.id, identifier: a.Identifier, method: a.Method, user: a.User, made: now}
	switch k := a.key.(type) {
	case ed25519.PublicKey:
		c.key = k
	case *ecdsa.PublicKey:
		b, err := k.Bytes()
		if err != nil {
			return nil, fmt.Errorf("making challenge: %w: %w", discovery.ErrKey, err)
		}
		c.key = b
	default:
		return nil, fmt.Errorf("making challenge for %T: %w", a.key, discovery.ErrKey)
	}
	return c, nil
}

// ID names the challenge.
func (c *Challenge) ID() ID { return c.id }

// Identifier is where the code goes; the zero SII once it is verified.
func (c *Challenge) Identifier() discovery.SII { return c.identifier }

// Method is how the code goes there.
func (c *Challenge) Method() discovery.Method { return c.method }

// User has asked for it.
func (c *Challenge) User() uri.User { return c.user }

// Made is when it was begun, Expires when its code ends.
func (c *Challenge) Made() time.Time    { return c.made }
func (c *Challenge) Expires() time.Time { return c.made.Add(CodeLifetime) }

// Sent says whether the code was sent, as far as is known.
func (c *Challenge) Sent() bool { return c.sent }

// Statement is the result, or nil.
func (c *Challenge) Statement() []byte { return c.statement }

// NextCode makes a code, for the first sending or after one that failed. The one before is no
// longer good. Errors: ErrExpired, ErrSpent.
func (c *Challenge) NextCode(now time.Time) (string, error) {
	switch {
	case !now.Before(c.Expires()):
		return "", fmt.Errorf("making code: %w", ErrExpired)
	case c.sends >= MaxSends || c.attempts >= MaxAttempts:
		return "", fmt.Errorf("making code: %w", ErrSpent)
	}
	code := newCode()
	c.sends++
	c.sent = false
	c.code = c.hash(code)
	return code, nil
}

// SentNow notes that the sending worked.
func (c *Challenge) SentNow() { c.sent = true }

// newCode draws the digits, all codes being as likely: what would favour some is drawn anew.
func newCode() string {
	const all = 100_000_000 // 10^CodeDigits
	for {
		var b [4]byte
		rand.Read(b[:]) // never fails
		if n := binary.BigEndian.Uint32(b[:]); n < 42*all {
			return fmt.Sprintf("%0*d", CodeDigits, n%all)
		}
	}
}

func (c *Challenge) hash(code string) [sha256.Size]byte {
	return sha256.Sum256(labelled(labelCode, append(c.id[:len(c.id):len(c.id)], code...)))
}

// Try judges an answer. An error of ErrSignature changes nothing: somebody else has no
// attempts. Every other answer in time costs an attempt, which the caller stores whatever the
// result. The comparison takes the same time for all codes.
//
// Errors: ErrSignature, ErrExpired, ErrSpent, ErrCode.
func (c *Challenge) Try(a *Answer, now time.Time) error {
	if a.id != c.id || !verifyKey(c.key, a) {
		return fmt.Errorf("answering challenge: %w", ErrSignature)
	}
	if c.statement != nil {
		return nil // its result got lost
	}
	switch {
	case !now.Before(c.Expires()):
		return fmt.Errorf("answering challenge: %w", ErrExpired)
	case c.attempts >= MaxAttempts:
		return fmt.Errorf("answering challenge: %w", ErrSpent)
	}
	want := c.hash(a.code)
	if c.sends == 0 || subtle.ConstantTimeCompare(want[:], c.code[:]) != 1 {
		c.attempts++
		return fmt.Errorf("answering challenge, %d attempts left: %w", MaxAttempts-c.attempts, ErrCode)
	}
	return nil
}

func verifyKey(key []byte, a *Answer) bool {
	if len(key) == ed25519.PublicKeySize {
		return discovery.VerifyLabelled(ed25519.PublicKey(key), labelAnswer, a.tbs, a.signature)
	}
	k, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), key)
	return err == nil && discovery.VerifyLabelled(k, labelAnswer, a.tbs, a.signature)
}

// KeyID names the user key, as a statement does.
func (c *Challenge) KeyID() [sha256.Size]byte { return sha256.Sum256(c.key) }

// Done notes the result and forgets the identifier.
func (c *Challenge) Done(s *Statement) {
	c.statement = s.Bytes()
	c.identifier = discovery.SII{}
}

// Bytes encodes the challenge.
func (c *Challenge) Bytes() []byte {
	b := append([]byte{wireVersion}, c.id[:]...)
	b = presentation.AppendOpaque(b, []byte(c.identifier.String()))
	b = presentation.AppendOpaque(b, []byte(c.method))
	b = presentation.AppendOpaque(b, []byte(c.user.String()))
	b = presentation.AppendOpaque(b, c.key)
	b = presentation.AppendU64(b, uint64(c.made.UnixMilli()))
	sent := byte(0)
	if c.sent {
		sent = 1
	}
	b = append(b, c.sends, sent, c.attempts)
	b = append(b, c.code[:]...)
	return presentation.AppendOpaque(b, c.statement)
}

// ParseChallenge reads a challenge. It keeps no part of b. Its errors quote no identifier.
//
// Errors: presentation's, ErrVersion.
func ParseChallenge(b []byte) (*Challenge, error) {
	return parse(b, maxChallenge, "challenge", func(r *presentation.Reader) *Challenge {
		c := new(Challenge)
		readVersion(r)
		copy(c.id[:], r.Fixed(len(c.id)))
		open := true
		if rest := r.Rest(); len(rest) > 0 && rest[0] == 0 {
			open = false
			r.Opaque()
		} else {
			c.identifier = readIdentifier(r)
		}
		c.method = readMethod(r)
		c.user = readUser(r)
		c.key = r.Bounded(maxKey, "user key")
		if n := len(c.key); r.Err() == nil && n != ed25519.PublicKeySize && n != maxKey {
			r.Fail(presentation.ErrMalformed, "user key of %d bytes", n)
		}
		c.made = readTime(r)
		c.sends = r.U8()
		c.sent = r.Optional()
		c.attempts = r.U8()
		copy(c.code[:], r.Fixed(len(c.code)))
		if s := r.Bounded(MaxStatement, "statement"); len(s) > 0 {
			c.statement = s
		}
		if r.Err() == nil && open == (c.statement != nil) {
			r.Fail(presentation.ErrMalformed, "identifier and statement do not fit")
		}
		return c
	})
}
