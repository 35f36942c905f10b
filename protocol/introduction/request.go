package introduction

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/mimid/mimid/protocol/presentation"
	"github.com/mimid/mimid/protocol/privacypass"
	"github.com/mimid/mimid/protocol/uri"
)

// MaxText bounds the words that go with a request, in octets.
const MaxText = 256

// MaxRequest bounds an encoded Request, in octets.
const MaxRequest = 2 << 10

const maxURI = 512

// ErrText: words that are too long, or not one line of text.
var ErrText = errors.New("introduction: not one line of text of at most 256 octets")

// Secret is what an asker keeps, and shows beside its name when the answer was yes.
type Secret [32]byte

// NewSecret draws one.
func NewSecret() (s Secret) {
	rand.Read(s[:]) // never fails
	return s
}

// Format implements fmt.Formatter; it prints no secret.
func (s Secret) Format(f fmt.State, _ rune) { fmt.Fprint(f, "introduction.Secret") }

// Handle names a request.
type Handle [32]byte

// Handle is the hash by which a request is named of whose asker this is the secret.
func (s Secret) Handle() Handle {
	return sha256.Sum256(append([]byte("mimid introduction handle v1"), s[:]...))
}

// Request asks a user for first contact.
//
//	struct {
//	    uint8 version = 1;
//	    opaque issuer<V>;       /* domain of the asker's provider */
//	    opaque target<V>;       /* URI of the user */
//	    opaque handle[32];
//	    opaque text<V>;         /* UTF-8, one line */
//	    opaque token[354];      /* privacypass.Token */
//	} Request;
type Request struct {
	Issuer uri.Provider
	Target uri.User
	Handle Handle
	Text   string
	Token  privacypass.Token
}

// CheckText says whether words may go with a request. Error: ErrText.
func CheckText(s string) error {
	if len(s) > MaxText || !utf8.ValidString(s) {
		return fmt.Errorf("%d octets, or no UTF-8: %w", len(s), ErrText)
	}
	for _, c := range s {
		if c != ' ' && !unicode.IsGraphic(c) {
			return fmt.Errorf("the character %U: %w", c, ErrText)
		}
	}
	return nil
}

// Bytes is the request as it is written.
func (r *Request) Bytes() []byte {
	b := presentation.AppendOpaque([]byte{version}, []byte(r.Issuer.Domain()))
	b = presentation.AppendOpaque(b, []byte(r.Target.String()))
	b = append(b, r.Handle[:]...)
	b = presentation.AppendOpaque(b, []byte(r.Text))
	return append(b, r.Token.Bytes()...)
}

// ParseRequest reads a request; its token is not checked. Error: ErrMalformed.
func ParseRequest(b []byte) (*Request, error) {
	if len(b) > MaxRequest {
		return nil, fmt.Errorf("%w: a request of %d octets, at most %d", ErrMalformed, len(b), MaxRequest)
	}
	r := presentation.NewReader(b)
	if v := r.U8(); v != version {
		r.Fail(ErrMalformed, "a request of version %d", v)
	}
	issuer, target := string(r.Bounded(maxURI, "issuer")), string(r.Bounded(maxURI, "target"))
	handle, text, token := r.Fixed(len(Handle{})), string(r.Bounded(MaxText, "text")), r.Fixed(privacypass.TokenSize)
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	out := &Request{Handle: Handle(handle), Text: text}
	var err error
	if out.Issuer, err = uri.ParseDomain(issuer); err != nil || out.Issuer.Domain() != issuer {
		return nil, fmt.Errorf("%w: the issuer is no domain in lower case", ErrMalformed)
	}
	if out.Target, err = uri.ParseUser(target); err != nil || out.Target.String() != target {
		return nil, fmt.Errorf("%w: the target is no user's URI, or not in its usual form", ErrMalformed)
	}
	if err := CheckText(text); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	t, err := privacypass.ParseToken(token)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	out.Token = *t
	return out, nil
}

// Checked is a request whose token is good, unless it has been spent.
type Checked struct {
	Request
	Week Week // of the token
}

// Check checks a request's token with the issuer's keys. Errors: ErrWeek, privacypass.ErrToken.
func (r *Request) Check(keys Keys, now time.Time) (*Checked, error) {
	k, ok := keys.ByID(r.Token.KeyID)
	if !ok {
		return nil, fmt.Errorf("of a key that %s does not publish: %w", r.Issuer.Domain(), privacypass.ErrToken)
	}
	if !k.Week.Takes(now) {
		return nil, ErrWeek
	}
	if err := k.Key.Verify(&r.Token, Challenge(r.Issuer.Domain(), r.Target.Provider().Domain(), k.Week)); err != nil {
		return nil, err
	}
	return &Checked{*r, k.Week}, nil
}
