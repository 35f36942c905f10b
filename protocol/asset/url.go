package asset

import (
	"encoding/hex"
	"fmt"
	"net/url"
	"strings"

	"github.com/mimid/mimid/protocol/uri"
)

// Path is where a provider serves assets, each below it by its hash in hexadecimal.
const Path = "/v1/asset/"

// MaxURL is the longest URL of an asset, in octets.
const MaxURL = 2048

// Location is where an asset of a provider is:
//
//	https://DOMAIN/v1/asset/HASH
//
// HASH is the SHA-256 of what is there, in 64 lower-case hexadecimal digits, which nobody
// guesses. DOMAIN is the provider's name, without a port. Between providers on the overlay
// the domain is not looked up in DNS: its nodes are asked, over the overlay.
type Location struct {
	Domain string
	Hash   Hash
}

// URL returns the URL.
func (l Location) URL() string { return "https://" + l.Domain + Path + l.Hash.String() }

// ParseURL reads the one form of the URL of a provider's asset. Error: ErrURL.
func ParseURL(s string) (l Location, err error) {
	host, rest, err := split(s)
	if err != nil {
		return l, err
	}
	name, ok := strings.CutPrefix(rest, Path)
	if !ok {
		return l, fmt.Errorf("%.100q has no path %sHASH: %w", s, Path, ErrURL)
	}
	if l.Hash, err = ParseHash(name); err != nil {
		return l, fmt.Errorf("%.100q: %w: %w", s, err, ErrURL)
	}
	l.Domain = host
	return l, nil
}

// Host returns the host of an asset's URL, in lower case: that of a provider's asset, or
// of another server that keeps assets. It has neither port nor user nor fragment. Error:
// ErrURL.
func Host(s string) (string, error) {
	host, _, err := split(s)
	return host, err
}

// split judges a URL, strictly: it is given to somebody else to fetch, and nobody may
// understand it in another way.
func split(s string) (host, path string, err error) {
	bad := func(why string) (string, string, error) {
		return "", "", fmt.Errorf("%.100q %s: %w", s, why, ErrURL)
	}
	if len(s) > MaxURL {
		return bad("is too long")
	}
	for _, c := range []byte(s) {
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`\"<>^{|}`+"`", c) >= 0 {
			return bad("has characters that no URL has")
		}
	}
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return bad("cannot be read")
	case u.Scheme != "https" || !strings.HasPrefix(s, "https://"):
		return bad("does not begin with https://")
	case u.User != nil || strings.ContainsAny(s, "@#"):
		return bad("names a user or a fragment")
	case strings.Contains(u.Host, ":"), strings.Contains(u.Host, "%"):
		return bad("names a port or an address")
	case u.Host != strings.ToLower(u.Host):
		return bad("has a host in upper case")
	}
	if !strings.Contains(u.Host, ".") {
		return bad("names a host of somebody's own network")
	}
	p, err := uri.ParseDomain(u.Host)
	if err != nil || p.Domain() != u.Host {
		return bad("has no domain as its host")
	}
	return u.Host, strings.TrimPrefix(s, "https://"+u.Host), nil
}

// ParseHash reads a hash in lower-case hexadecimal. Error: ErrURL.
func ParseHash(s string) (h Hash, err error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(h) || s != strings.ToLower(s) {
		return h, fmt.Errorf("%.80q is no hash of 64 hexadecimal digits in lower case: %w", s, ErrURL)
	}
	return Hash(b), nil
}
