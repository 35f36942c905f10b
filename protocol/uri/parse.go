package uri

import (
	"fmt"
	"strings"
)

// Parse reads a MIMI URI of any kind. The URI keeps s itself.
//
// Errors: any of the package's but ErrOtherKind and ErrShort.
func Parse(s string) (URI, error) {
	if err := check(s); err != nil {
		return URI{}, fmt.Errorf("parsing MIMI URI %+.200q: %w", s, err)
	}
	return URI{octets{s}}, nil
}

// ParseProvider reads the URI of a provider. The errors of this and the
// functions below are those of Parse and ErrOtherKind.
func ParseProvider(s string) (Provider, error) {
	o, err := parseKind(s, KindProvider)
	return Provider{o}, err
}

// ParseUser reads the URI of a user.
func ParseUser(s string) (User, error) {
	o, err := parseKind(s, KindUser)
	return User{named{o}}, err
}

// ParseParticipant reads who takes part in a room: a user, or a pseudonym in place of one.
func ParseParticipant(s string) (User, error) {
	if p, err := ParsePseudonym(s); err == nil {
		return p.Participant(), nil
	}
	return ParseUser(s)
}

// ParsePseudonym reads the URI of a pseudonym.
func ParsePseudonym(s string) (Pseudonym, error) {
	o, err := parseKind(s, KindPseudonym)
	return Pseudonym{named{o}}, err
}

// ParseClient reads the URI of a client.
func ParseClient(s string) (Client, error) {
	o, err := parseKind(s, KindClient)
	return Client{named{o}}, err
}

// ParseRoom reads the URI of a room.
func ParseRoom(s string) (Room, error) {
	o, err := parseKind(s, KindRoom)
	return Room{named{o}}, err
}

// ParseGroup reads the URI of an MLS group.
func ParseGroup(s string) (Group, error) {
	o, err := parseKind(s, KindGroup)
	return Group{named{o}}, err
}

// ParseTeam reads the URI of a team.
func ParseTeam(s string) (Team, error) {
	o, err := parseKind(s, KindTeam)
	return Team{named{o}}, err
}

// ParseDomain returns the provider with the given domain, which must be in
// canonical form: it is how requests on the wire name providers.
//
// Errors: ErrLength, ErrAuthority, ErrUppercase, ErrDomain, ErrSelfName.
func ParseDomain(domain string) (Provider, error) {
	if err := checkDomain(domain); err != nil {
		return Provider{}, fmt.Errorf("parsing domain %+.200q: %w", domain, err)
	}
	return Provider{octets{scheme + domain}}, nil
}

// ParseShort reads the short form of a user, alice@atlanta.example, as people
// write it: the domain may have upper-case letters, which become lower case.
// The name is taken as it is. Nothing else is repaired, space neither.
//
// Errors: ErrShort, and those of ParseUser but ErrScheme.
func ParseShort(s string) (User, error) {
	fail := func(err error) (User, error) {
		return User{}, fmt.Errorf("parsing user %+.200q: %w", s, err)
	}
	if len(s) > MaxLength {
		return fail(fmt.Errorf("%d octets: %w", len(s), ErrLength))
	}
	name, domain, _ := strings.Cut(s, "@")
	if strings.Count(s, "@") != 1 {
		return fail(ErrShort)
	}
	domain = lower(domain)
	if err := checkDomain(domain); err != nil {
		return fail(err)
	}
	if err := checkSegment(name); err != nil {
		return fail(err)
	}
	return User{named{octets{scheme + domain + "/u/" + name}}}, nil
}

func parseKind(s string, want Kind) (octets, error) {
	u, err := Parse(s)
	if err != nil {
		return octets{}, err
	}
	if got := u.Kind(); got != want {
		return octets{}, fmt.Errorf("parsing MIMI URI %+.200q as %s: a %s: %w", s, want, got, ErrOtherKind)
	}
	return u.octets, nil
}

// check is the grammar of the package doc. The order of the tests decides which
// error a URI with several faults gets: first what is outside, then what is
// further in and further right.
func check(s string) error {
	if len(s) > MaxLength {
		return fmt.Errorf("%d octets: %w", len(s), ErrLength)
	}
	rest, ok := strings.CutPrefix(s, scheme)
	if !ok {
		return ErrScheme
	}
	if i := strings.IndexAny(rest, "?#"); i >= 0 {
		return fmt.Errorf("%+.20q: %w", rest[i:], ErrSuffix)
	}
	domain, path, hasPath := strings.Cut(rest, "/")
	if err := checkDomain(domain); err != nil {
		return err
	}
	if !hasPath {
		return nil
	}
	return checkPath(path)
}

func checkPath(path string) error {
	letter, name, ok := strings.Cut(path, "/")
	if letter == "" {
		return ErrEmptySegment
	}
	kind := kindOf(letter)
	if kind == 0 {
		return fmt.Errorf("%+.20q: %w", letter, ErrKind)
	}
	if !ok {
		return fmt.Errorf("a %s without a name: %w", kind, ErrSegments)
	}
	for segment := range strings.SplitSeq(name, "/") {
		if err := checkSegment(segment); err != nil {
			return err
		}
	}
	most := 1
	if kind == KindClient {
		most = maxClientSegments
	}
	if n := 1 + strings.Count(name, "/"); n > most {
		return fmt.Errorf("a %s with %d segments: %w", kind, n, ErrSegments)
	}
	return nil
}

func checkSegment(s string) error {
	switch {
	case s == "":
		return ErrEmptySegment
	case len(s) > MaxSegment:
		return fmt.Errorf("segment of %d octets: %w", len(s), ErrLength)
	case s == "." || s == "..":
		return ErrDotSegment
	}
	for i, c := range s {
		switch {
		case isLower(c), 'A' <= c && c <= 'Z', isDigit(c), c == '-', c == '.', c == '_', c == '~':
		case c == '%':
			return fmt.Errorf("%+.20q: %w", s[i:], ErrEscape)
		default:
			return fmt.Errorf("%+.20q: %w", s[i:], ErrCharacter)
		}
	}
	return nil
}

func checkDomain(s string) error {
	if i := strings.IndexAny(s, "@:["); i >= 0 {
		return fmt.Errorf("%+.20q: %w", s[i:], ErrAuthority)
	}
	if len(s) > maxDomain {
		return fmt.Errorf("domain of %d octets: %w", len(s), ErrLength)
	}
	if s != lower(s) {
		return fmt.Errorf("%+.100q: %w", s, ErrUppercase)
	}
	last := ""
	for label := range strings.SplitSeq(s, ".") {
		if err := checkLabel(label); err != nil {
			return err
		}
		last = label
	}
	if !isLower(rune(last[0])) {
		return fmt.Errorf("last label %+.63q: %w", last, ErrDomain)
	}
	if label, ok := strings.CutSuffix(s, "."+selfName); s == selfName || ok && strings.ContainsAny(label, ".-") {
		return fmt.Errorf("%+.100q: %w", s, ErrSelfName)
	}
	return nil
}

// checkLabel returns nil for labels that have at least one octet.
func checkLabel(s string) error {
	switch {
	case s == "":
		return fmt.Errorf("empty label: %w", ErrDomain)
	case len(s) > maxLabel:
		return fmt.Errorf("label of %d octets: %w", len(s), ErrLength)
	case s[0] == '-' || s[len(s)-1] == '-':
		return fmt.Errorf("label %+.63q begins or ends with a hyphen: %w", s, ErrDomain)
	}
	for i, c := range s {
		if !isLower(c) && !isDigit(c) && c != '-' {
			return fmt.Errorf("%+.20q: %w", s[i:], ErrDomain)
		}
	}
	return nil
}

func isLower(c rune) bool { return 'a' <= c && c <= 'z' }

func isDigit(c rune) bool { return '0' <= c && c <= '9' }

// lower turns the letters A to Z into lower case. Unlike strings.ToLower it
// leaves everything outside ASCII alone: the Kelvin sign is not a k here.
func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + ('a' - 'A')
		}
	}
	return string(b)
}
