package x509auth

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/mimid/mimid/protocol/mls"
)

// Lengths of the parts of a name, in bytes. The first two are those of DNS.
const (
	maxDomain  = 253
	maxLabel   = 63
	maxSegment = 128
	maxURI     = len("mimi://") + maxDomain + len("/d/") + 2*maxSegment + 1
)

// name is a parsed user or client URI:
//
//	user   = "mimi://" domain "/u/" segment
//	client = "mimi://" domain "/d/" segment "/" segment
//	domain = DNS name of lower-case letters, digits and inner hyphens
//	segment = 1 to 128 of A-Z a-z 0-9 - . _ ~, but not "." or ".."
//
// That leaves out percent-encoding, ports, and upper case in domains, so that
// each name has one spelling: two URIs name the same client if and only if
// they are the same bytes, and no other program can read one differently.
type name struct {
	domain, user string
	client       string // empty in a user's name
}

func (n name) isClient() bool { return n.client != "" }

// String returns the URI.
func (n name) String() string {
	if n.isClient() {
		return "mimi://" + n.domain + "/d/" + n.user + "/" + n.client
	}
	return n.userURI()
}

func (n name) userURI() string { return "mimi://" + n.domain + "/u/" + n.user }

func (n name) clone() name {
	return name{strings.Clone(n.domain), strings.Clone(n.user), strings.Clone(n.client)}
}

func parseName(b []byte) (name, error) {
	if len(b) > maxURI {
		return name{}, fmt.Errorf("URI of %d bytes: %w", len(b), ErrName)
	}
	uri := string(b)
	bad := func(why string) (name, error) {
		return name{}, fmt.Errorf("%.200q: %s: %w", uri, why, ErrName)
	}
	rest, ok := strings.CutPrefix(uri, "mimi://")
	if !ok {
		return bad("not a mimi URI")
	}
	domain, path, _ := strings.Cut(rest, "/")
	kind, path, _ := strings.Cut(path, "/")
	if !validDomain(domain) {
		return bad("not a lower-case domain name")
	}
	n := name{domain: domain, user: path}
	switch kind {
	case "u":
	case "d":
		n.user, n.client, _ = strings.Cut(path, "/")
		if !validSegment(n.client) {
			return bad("not a client's name")
		}
	default:
		return bad("neither user nor client")
	}
	if !validSegment(n.user) {
		return bad("not a user's name")
	}
	return n, nil
}

// parseProvider reads a provider's URI, "mimi://" and its domain, and returns
// the domain.
func parseProvider(b []byte) (string, error) {
	domain, ok := strings.CutPrefix(string(b[:min(len(b), maxURI+1)]), "mimi://")
	if !ok || !validDomain(domain) {
		return "", fmt.Errorf("%.200q: not a provider's URI: %w", b, ErrName)
	}
	return domain, nil
}

func validDomain(s string) bool {
	if len(s) > maxDomain {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > maxLabel || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range []byte(label) {
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
				return false
			}
		}
	}
	return true
}

func validSegment(s string) bool {
	if s == "" || len(s) > maxSegment || s == "." || s == ".." {
		return false
	}
	for _, c := range []byte(s) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9',
			c == '-', c == '.', c == '_', c == '~':
		default:
			return false
		}
	}
	return true
}

// outlines reads the frames of both certificates, and no more of them. That
// takes no memory and time linear in their lengths, so these need no bound.
func outlines(c mls.Credential) (client, user outline, err error) {
	if err = checkChain(c); err != nil {
		return client, user, err
	}
	if client, err = parseOutline(c.Certificates[clientAt]); err == nil {
		user, err = parseOutline(c.Certificates[userAt])
	}
	return client, user, err
}

// nameOf returns the name of a credential's client: both certificates have
// names and they agree.
func nameOf(c mls.Credential) (name, error) {
	client, user, err := outlines(c)
	if err != nil {
		return name{}, err
	}
	n, err := client.name(clientRole)
	if err != nil {
		return name{}, err
	}
	u, err := user.name(userRole)
	if err != nil {
		return name{}, err
	}
	return n, sameUser(u, n)
}

// UserURI returns the URI of the user whose client holds the credential, such
// as mimi://atlanta.example/u/alice.
//
// It verifies nothing. Use it only for credentials that an Authenticator has
// accepted, which includes those of all members of a group and of a Change.
//
// Errors: ErrCredentialType, ErrChainLength, ErrMalformed, ErrName,
// ErrNameMismatch.
func UserURI(c mls.Credential) (string, error) {
	n, err := nameOf(c)
	if err != nil {
		return "", fmt.Errorf("reading user of credential: %w", err)
	}
	return n.userURI(), nil
}

// ClientURI returns the URI of the client that holds the credential, such as
// mimi://atlanta.example/d/alice/phone. Like UserURI, it verifies nothing, and
// has the same errors.
func ClientURI(c mls.Credential) (string, error) {
	n, err := nameOf(c)
	if err != nil {
		return "", fmt.Errorf("reading client of credential: %w", err)
	}
	return n.String(), nil
}

// UserKeyChanged says whether two credentials of one user, of the same client
// or of different ones, rest on different user keys. A user has one key, made
// on its first device, so a change means that it began anew, or that its
// provider certified a key that is not the user's. Only people can tell these
// apart: applications should show it wherever they show members.
//
// Renewing the user certificate for the same key is no change. Like UserURI,
// it verifies nothing.
//
// Errors: ErrNameMismatch for different users, and those of UserURI.
func UserKeyChanged(old, new mls.Credential) (bool, error) {
	was, err := nameOf(old)
	if err != nil {
		return false, fmt.Errorf("reading old credential: %w", err)
	}
	is, err := nameOf(new)
	if err != nil {
		return false, fmt.Errorf("reading new credential: %w", err)
	}
	if err := sameUser(was, is); err != nil {
		return false, fmt.Errorf("comparing user keys: %w", err)
	}
	_, u, err := outlines(old)
	if err != nil {
		return false, err
	}
	_, v, err := outlines(new)
	if err != nil {
		return false, err
	}
	// Equal bytes are equal keys. The reverse is true of any sane encoder; a
	// provider with an odd one raises a false alarm, and hides nothing.
	return !bytes.Equal(u.keyInfo, v.keyInfo), nil
}
