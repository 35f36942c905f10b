package discovery

import (
	"fmt"
	"strings"

	"golang.org/x/net/idna"

	"github.com/mimid/mimid/protocol/uri"
)

// Lengths in bytes.
const (
	// MaxSII is the longest identifier, as typed or in its canonical form.
	MaxSII = 512

	minDigits = 7
	maxDigits = 15 // E.164
	maxLocal  = 64 // RFC 5321 section 4.5.3.1.1
	maxHandle = 64
)

// Kind says what an SII is.
type Kind uint8

// Kinds. The zero Kind is that of the zero SII.
const (
	KindTel Kind = 1 + iota
	KindMail
	KindHandle
)

// String returns an English word.
func (k Kind) String() string {
	switch k {
	case KindTel:
		return "telephone number"
	case KindMail:
		return "mail address"
	case KindHandle:
		return "handle"
	}
	return "nothing"
}

// Schemes of the canonical form.
const (
	schemeTel    = "tel:"
	schemeMail   = "mailto:"
	schemeHandle = "handle:"
)

// SII is a service-independent identifier in its canonical form: a telephone
// number, a mail address or a handle. Two name the same thing if and only if
// they are equal by ==. The zero SII is no identifier.
type SII struct {
	s string
}

// ParseSII reads an identifier as people write it and brings it into its one
// spelling. The grammar is in the package documentation. The canonical form is
// parsed as itself.
//
// Errors: ErrLength, ErrScheme, ErrNumber, ErrParameter, ErrAddress, ErrDomain,
// ErrHandle, ErrFullName.
func ParseSII(s string) (SII, error) {
	if s == "" || len(s) > MaxSII {
		return SII{}, fmt.Errorf("parsing identifier of %d bytes (limit %d): %w", len(s), MaxSII, ErrLength)
	}
	out, err := canonical(s)
	if err != nil {
		return SII{}, fmt.Errorf("parsing identifier %+.100q: %w", s, err)
	}
	return SII{out}, nil
}

func canonical(s string) (string, error) {
	scheme, rest, _ := strings.Cut(s, ":")
	switch lower(scheme) + ":" {
	case schemeTel:
		return canonicalTel(rest)
	case schemeMail:
		return canonicalMail(rest)
	case schemeHandle:
		return canonicalHandle(rest)
	}
	return "", ErrScheme
}

// canonicalTel reads what RFC 3966 calls a global number, without parameters.
func canonicalTel(s string) (string, error) {
	if strings.Contains(s, ";") {
		return "", ErrParameter
	}
	number, ok := strings.CutPrefix(s, "+")
	if !ok {
		return "", fmt.Errorf("no + and country code: %w", ErrNumber)
	}
	digits := make([]byte, 0, maxDigits)
	for i, c := range []byte(number) {
		switch {
		case strings.IndexByte("-.()", c) >= 0: // the visual separators
		case c < '0' || c > '9':
			return "", fmt.Errorf("%+.20q: %w", number[i:], ErrNumber)
		case len(digits) == maxDigits:
			return "", fmt.Errorf("more than %d digits: %w", maxDigits, ErrNumber)
		default:
			digits = append(digits, c)
		}
	}
	switch {
	case len(digits) < minDigits:
		return "", fmt.Errorf("%d digits, fewer than %d: %w", len(digits), minDigits, ErrNumber)
	case digits[0] == '0':
		return "", fmt.Errorf("no country code begins with 0: %w", ErrNumber)
	}
	return schemeTel + "+" + string(digits), nil
}

func canonicalMail(s string) (string, error) {
	if strings.ContainsAny(s, "?#;") {
		return "", ErrParameter
	}
	local, domain, ok := strings.Cut(s, "@")
	if !ok {
		return "", fmt.Errorf("no @: %w", ErrAddress)
	}
	if len(local) > maxLocal {
		return "", fmt.Errorf("%d bytes before the @ (limit %d): %w", len(local), maxLocal, ErrAddress)
	}
	for atom := range strings.SplitSeq(local, ".") {
		if atom == "" {
			return "", fmt.Errorf("nothing before the @, or a dot at an end or beside another: %w", ErrAddress)
		}
		for i, c := range []byte(atom) {
			if !isAlnum(c) && strings.IndexByte("-_~!$'*+", c) < 0 {
				return "", fmt.Errorf("%+.20q: %w", atom[i:], ErrAddress)
			}
		}
	}
	domain, err := canonicalDomain(domain)
	if err != nil {
		return "", err
	}
	out := schemeMail + lower(local) + "@" + domain
	if len(out) > MaxSII {
		return "", ErrLength
	}
	return out, nil
}

// canonicalDomain returns the A-label form. A result that a second pass would
// change is no canonical form, so such names are refused.
func canonicalDomain(s string) (string, error) {
	// Non-transitional, as browsers and UTS 46 now have it: "ß" is a letter of
	// its own and not "ss", so that two domains do not become one.
	profile := idna.New(idna.MapForLookup(), idna.Transitional(false), idna.BidiRule(),
		idna.StrictDomainName(true), idna.VerifyDNSLength(true))
	once, err := profile.ToASCII(s)
	if err != nil {
		return "", fmt.Errorf("%+.100q: %w", s, ErrDomain)
	}
	twice, err := profile.ToASCII(once)
	if err != nil || twice != once {
		return "", fmt.Errorf("%+.100q has no stable form: %w", s, ErrDomain)
	}
	p, err := uri.ParseDomain(once)
	if err != nil {
		return "", fmt.Errorf("%.200s: %w", err.Error(), ErrDomain)
	}
	return p.Domain(), nil
}

func canonicalHandle(s string) (string, error) {
	if strings.Contains(s, "@") {
		return "", ErrFullName
	}
	if foreign(s) {
		var err error
		if s, err = labels(s); err != nil {
			return "", err
		}
	}
	switch {
	case s == "" || len(s) > maxHandle:
		return "", fmt.Errorf("%d bytes (1 to %d): %w", len(s), maxHandle, ErrHandle)
	case !isAlnum(s[0]) || !isAlnum(s[len(s)-1]):
		return "", fmt.Errorf("begins or ends with something else than a letter or digit: %w", ErrHandle)
	}
	for i, c := range []byte(s) {
		if !isAlnum(c) && c != '-' && c != '.' && c != '_' {
			return "", fmt.Errorf("%+.20q: %w", s[i:], ErrHandle)
		}
	}
	return schemeHandle + lower(s), nil
}

// foreign says whether a handle has letters outside ASCII, or A-labels, which stand for some.
func foreign(s string) bool {
	for _, c := range []byte(s) {
		if c >= 0x80 {
			return true
		}
	}
	for label := range strings.SplitSeq(s, ".") {
		if strings.HasPrefix(lower(label), "xn--") {
			return true
		}
	}
	return false
}

// labels brings a handle in another script into A-labels, between its dots, as UTS 46 does with
// domains: so it is shown in ASCII, and no letter can pass for another. What else is allowed in
// a handle is for the caller to judge.
func labels(s string) (string, error) {
	profile := idna.New(idna.MapForLookup(), idna.Transitional(false), idna.BidiRule(), idna.StrictDomainName(false), idna.VerifyDNSLength(true))
	once, err := profile.ToASCII(s)
	if err != nil {
		return "", fmt.Errorf("%+.100q: %w", s, ErrHandle)
	}
	if twice, err := profile.ToASCII(once); err != nil || twice != once {
		return "", fmt.Errorf("%+.100q has no stable form: %w", s, ErrHandle)
	}
	return once, nil
}

// Kind says what the identifier is.
func (s SII) Kind() Kind {
	switch {
	case strings.HasPrefix(s.s, schemeTel):
		return KindTel
	case strings.HasPrefix(s.s, schemeMail):
		return KindMail
	case strings.HasPrefix(s.s, schemeHandle):
		return KindHandle
	}
	return 0
}

// IsZero says whether this is the zero SII, which is no identifier.
func (s SII) IsZero() bool { return s.s == "" }

// String returns the canonical form; the zero SII gives "". It is what people
// may know of each other and others may not: keep it out of logs.
func (s SII) String() string { return s.s }

// MarshalText returns the canonical form, for encoding/json and the like.
func (s SII) MarshalText() ([]byte, error) { return []byte(s.s), nil }

// UnmarshalText is ParseSII; the empty text gives the zero SII.
func (s *SII) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*s = SII{}
		return nil
	}
	out, err := ParseSII(string(b))
	if err != nil {
		return err
	}
	*s = out
	return nil
}

func isAlnum(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// lower turns the letters A to Z into lower case and leaves everything outside
// ASCII alone.
func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + ('a' - 'A')
		}
	}
	return string(b)
}
