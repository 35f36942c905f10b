package x509auth_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"testing"
	"time"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/mls/x509auth"
)

// chain issues a whole chain and returns it.
func (w *world) chain(provider, user crypto.Signer, userURI, clientURI string) mls.Credential {
	w.t.Helper()
	u := w.user(provider, userURI, user.Public(), valid)
	k := w.signatureKey(mls.X25519AES128Ed25519)
	return mls.X509Credential(w.client(user, u, clientURI, k.Public(), valid), u)
}

func TestSucceeds(t *testing.T) {
	w := newWorld(t)
	old := w.good()
	for _, c := range []struct {
		why  string
		new  mls.Credential
		want error
	}{
		{"itself", old, nil},
		{"renewed client certificate, new client key", mls.X509Credential(
			w.client(w.alice, w.aliceCert, phoneURI, w.signatureKey(mls.X25519AES128Ed25519).Public(), valid), w.aliceCert), nil},
		{"both certificates renewed", w.chain(w.atlanta, w.alice, aliceURI, phoneURI), nil},
		{"new user key: visible, not forbidden", w.chain(w.atlanta, edKey(t), aliceURI, phoneURI), nil},
		{"another device of the same user", w.chain(w.atlanta, w.alice, aliceURI, "mimi://atlanta.example/d/alice/laptop"), x509auth.ErrOtherClient},
		{"another user", w.chain(w.atlanta, edKey(t), "mimi://atlanta.example/u/bob", "mimi://atlanta.example/d/bob/phone"), x509auth.ErrOtherClient},
		{"another domain", w.chain(w.biloxi, w.alice, "mimi://biloxi.example/u/alice", "mimi://biloxi.example/d/alice/phone"), x509auth.ErrOtherClient},
		{"user certificate of somebody else", mls.X509Credential(w.phoneCert,
			w.user(w.atlanta, "mimi://atlanta.example/u/bob", w.alice.Public(), valid)), x509auth.ErrNameMismatch},
		{"basic credential of that name", mls.BasicCredential([]byte(phoneURI)), x509auth.ErrCredentialType},
		{"client certificate alone", mls.X509Credential(w.phoneCert), x509auth.ErrChainLength},
		{"unreadable", mls.X509Credential(w.phoneCert, []byte{0x30, 0}), x509auth.ErrMalformed},
		{"oversized", mls.X509Credential(w.phoneCert, make([]byte, 4097)), x509auth.ErrTooLarge},
	} {
		t.Run(c.why, func(t *testing.T) {
			a := authenticator(t, w.trust, 0)
			if err := a.Succeeds(old, c.new); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if n := a.Stats().Verified; n != 0 {
				t.Errorf("%d signatures verified: succession is a matter of names", n)
			}
		})
	}
	if err := authenticator(t, w.trust, 0).Succeeds(mls.BasicCredential(nil), old); !errors.Is(err, x509auth.ErrCredentialType) {
		t.Errorf("succeeding a basic credential: %v", err)
	}
}

func TestURIs(t *testing.T) {
	w := newWorld(t)
	user, err := x509auth.UserURI(w.good())
	must(t, err)
	client, err := x509auth.ClientURI(w.good())
	must(t, err)
	if user != aliceURI || client != phoneURI {
		t.Errorf("read %s and %s", user, client)
	}
	for _, c := range []struct {
		why  string
		cred mls.Credential
		want error
	}{
		{"basic", mls.BasicCredential([]byte(aliceURI)), x509auth.ErrCredentialType},
		{"one certificate", mls.X509Credential(w.phoneCert), x509auth.ErrChainLength},
		{"swapped", mls.X509Credential(w.aliceCert, w.phoneCert), x509auth.ErrName},
		{"trailing byte", mls.X509Credential(append(append([]byte(nil), w.phoneCert...), 0), w.aliceCert), x509auth.ErrMalformed},
		{"truncated", mls.X509Credential(w.phoneCert[:100], w.aliceCert), x509auth.ErrMalformed},
	} {
		if _, err := x509auth.UserURI(c.cred); !errors.Is(err, c.want) {
			t.Errorf("%s: user %v, want %v", c.why, err, c.want)
		}
		if _, err := x509auth.ClientURI(c.cred); !errors.Is(err, c.want) {
			t.Errorf("%s: client %v, want %v", c.why, err, c.want)
		}
	}
}

func TestUserKeyChanged(t *testing.T) {
	w := newWorld(t)
	bob := w.chain(w.atlanta, edKey(t), "mimi://atlanta.example/u/bob", "mimi://atlanta.example/d/bob/phone")
	for _, c := range []struct {
		why      string
		old, new mls.Credential
		changed  bool
		err      error
	}{
		{"nothing new", w.good(), w.good(), false, nil},
		{"renewed for the same key", w.good(), w.chain(w.atlanta, w.alice, aliceURI, phoneURI), false, nil},
		{"renewed by another provider key", w.good(), w.chain(w.oldAtlanta, w.alice, aliceURI, phoneURI), false, nil},
		{"second device, same key", w.good(), w.chain(w.atlanta, w.alice, aliceURI, "mimi://atlanta.example/d/alice/laptop"), false, nil},
		{"new key", w.good(), w.chain(w.atlanta, edKey(t), aliceURI, phoneURI), true, nil},
		{"new key of another kind", w.good(), w.chain(w.atlanta, ecKey(t), aliceURI, phoneURI), true, nil},
		{"device of unseen key, as a provider would add", w.good(), w.chain(w.atlanta, edKey(t), aliceURI, "mimi://atlanta.example/d/alice/spy"), true, nil},
		{"different users", w.good(), bob, false, x509auth.ErrNameMismatch},
		{"unreadable", w.good(), mls.BasicCredential(nil), false, x509auth.ErrCredentialType},
		{"unreadable before", mls.BasicCredential(nil), w.good(), false, x509auth.ErrCredentialType},
	} {
		got, err := x509auth.UserKeyChanged(c.old, c.new)
		if got != c.changed || !errors.Is(err, c.err) {
			t.Errorf("%s: got %v, %v, want %v, %v", c.why, got, err, c.changed, c.err)
		}
	}
}

func TestIssueRefuses(t *testing.T) {
	w := newWorld(t)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	backwards := x509auth.Validity{NotBefore: now, NotAfter: now.Add(-time.Second)}
	user := func(by crypto.Signer, uri string, key crypto.PublicKey, v x509auth.Validity) error {
		_, err := x509auth.IssueUser(by, uri, key, v)
		return err
	}
	client := func(by crypto.Signer, cert []byte, uri string, key []byte) error {
		_, err := x509auth.IssueClient(by, cert, uri, key, valid)
		return err
	}
	key := w.phone.Public()
	for _, c := range []struct {
		why       string
		err, want error
	}{
		{"user with a client's name", user(w.atlanta, phoneURI, w.alice.Public(), valid), x509auth.ErrName},
		{"RSA user", user(w.atlanta, aliceURI, rsaKey.Public(), valid), x509auth.ErrAlgorithm},
		{"RSA provider", user(rsaKey, aliceURI, w.alice.Public(), valid), x509auth.ErrAlgorithm},
		{"validity backwards", user(w.atlanta, aliceURI, w.alice.Public(), backwards), x509auth.ErrMalformed},
		{"client with a user's name", client(w.alice, w.aliceCert, aliceURI, key), x509auth.ErrName},
		{"client of another user", client(w.alice, w.aliceCert, "mimi://atlanta.example/d/bob/phone", key), x509auth.ErrNameMismatch},
		{"signer is not the user", client(edKey(t), w.aliceCert, phoneURI, key), x509auth.ErrKeyMismatch},
		{"signed under a client certificate", client(w.alice, w.phoneCert, phoneURI, key), x509auth.ErrName},
		{"no user certificate", client(w.alice, nil, phoneURI, key), x509auth.ErrMalformed},
		{"half a key", client(w.alice, w.aliceCert, phoneURI, key[:16]), x509auth.ErrAlgorithm},
		{"a point off the curve", client(w.alice, w.aliceCert, phoneURI, append([]byte{4}, make([]byte, 64)...)), x509auth.ErrAlgorithm},
	} {
		if !errors.Is(c.err, c.want) {
			t.Errorf("%s: got %v, want %v", c.why, c.err, c.want)
		}
	}
}

// What is issued reads back as it was asked for, is small, and would satisfy a
// verifier that goes by RFC 5280 alone.
func TestIssued(t *testing.T) {
	w := newWorld(t)
	serials := map[string]bool{}
	for _, der := range [][]byte{w.aliceCert, w.phoneCert, w.user(w.atlanta, aliceURI, w.alice.Public(), valid)} {
		c, err := x509.ParseCertificate(der)
		must(t, err)
		if !c.NotBefore.Equal(valid.NotBefore) || !c.NotAfter.Equal(valid.NotAfter) {
			t.Errorf("valid from %s to %s", c.NotBefore, c.NotAfter)
		}
		if len(der) > 450 {
			t.Errorf("%d bytes: every leaf carries two of these", len(der))
		}
		if n := c.SerialNumber.BitLen(); n != 127 || serials[c.SerialNumber.String()] {
			t.Errorf("serial of %d bits, or seen before", n)
		}
		serials[c.SerialNumber.String()] = true
	}
	user, err := x509.ParseCertificate(w.aliceCert)
	must(t, err)
	client, err := x509.ParseCertificate(w.phoneCert)
	must(t, err)
	must(t, client.CheckSignatureFrom(user))
	roots := x509.NewCertPool()
	roots.AddCert(user) // a chain needs a root, and the provider has no certificate
	if _, err := client.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
		t.Errorf("crypto/x509 refuses the client certificate: %v", err)
	}
}
