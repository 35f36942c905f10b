package x509auth_test

import (
	"errors"
	"testing"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/mls/x509auth"
)

// An external sender is a provider with one of its present keys, and nothing
// else; a provider is no member.
func TestAuthenticateSender(t *testing.T) {
	w := newWorld(t)
	a := authenticator(t, w.trust, 0)
	uri := mls.BasicCredential([]byte("mimi://" + atlanta))
	for _, c := range []struct {
		why  string
		c    mls.Credential
		key  []byte
		want error
	}{
		{"present key", uri, raw(w.atlanta.Public()), nil},
		{"key that is being replaced, still an anchor", uri, raw(w.oldAtlanta.Public()), nil},
		{"P-256 key", mls.BasicCredential([]byte("mimi://" + biloxi)), raw(w.biloxi.Public()), nil},
		{"another provider's key", uri, raw(w.biloxi.Public()), x509auth.ErrUntrusted},
		{"a user's key", uri, raw(w.alice.Public()), x509auth.ErrUntrusted},
		{"no key", uri, nil, x509auth.ErrUntrusted},
		{"unknown provider", mls.BasicCredential([]byte("mimi://nowhere.example")), raw(w.atlanta.Public()), x509auth.ErrUnknownProvider},
		{"a user's URI", mls.BasicCredential([]byte(aliceURI)), raw(w.atlanta.Public()), x509auth.ErrName},
		{"another scheme", mls.BasicCredential([]byte("https://" + atlanta)), raw(w.atlanta.Public()), x509auth.ErrName},
		{"upper case", mls.BasicCredential([]byte("mimi://ATLANTA.example")), raw(w.atlanta.Public()), x509auth.ErrName},
		{"empty", mls.BasicCredential(nil), raw(w.atlanta.Public()), x509auth.ErrName},
		{"far too long", mls.BasicCredential(make([]byte, 1<<20)), raw(w.atlanta.Public()), x509auth.ErrName},
		{"a member's good chain", w.good(), raw(w.phoneKey()), x509auth.ErrCredentialType},
	} {
		if err := a.AuthenticateSender(c.c, c.key, now); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, expected %v", c.why, err, c.want)
		}
	}
	if err := a.Authenticate(uri, raw(w.atlanta.Public()), now); !errors.Is(err, x509auth.ErrCredentialType) {
		t.Errorf("provider as a member: %v", err)
	}
}
