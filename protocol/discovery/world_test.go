package discovery_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"testing"
	"time"

	"github.com/mimid/mimid/protocol/discovery"
	"github.com/mimid/mimid/protocol/mls/x509auth"
	"github.com/mimid/mimid/protocol/uri"
)

const tel = "tel:+16505551000"

// account is a user at a provider: its key, and the certificate for it.
type account struct {
	user uri.User
	key  crypto.Signer
	cert []byte
}

// world is two providers, one of them with P-256 keys, alice at the first, bob
// at the second, and an identifier.
type world struct {
	t       testing.TB
	keys    map[string]crypto.Signer // provider keys by domain
	secret  discovery.Secret
	alice   account
	bob     account
	atlanta uri.Provider
	biloxi  uri.Provider
}

func newWorld(t testing.TB) *world {
	t.Helper()
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	w := &world{t: t, keys: map[string]crypto.Signer{"atlanta.example": edKey(t), "biloxi.example": ec}, secret: secretOf(t, tel)}
	w.alice = w.account("mimi://atlanta.example/u/alice", edKey(t))
	ec, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	w.bob = w.account("mimi://biloxi.example/u/bob", ec)
	w.atlanta, w.biloxi = w.alice.user.Provider(), w.bob.user.Provider()
	return w
}

func (w *world) account(user string, key crypto.Signer) account {
	w.t.Helper()
	u, err := uri.ParseUser(user)
	must(w.t, err)
	cert, err := x509auth.IssueUser(w.keys[u.Provider().Domain()], user, key.Public(), x509auth.ValidFor(now, x509auth.Lifetime))
	must(w.t, err)
	return account{u, key, cert}
}

func (w *world) anchors(domain string) []crypto.PublicKey {
	if k := w.keys[domain]; k != nil {
		return []crypto.PublicKey{k.Public()}
	}
	return nil
}

func (w *world) terms(a account) discovery.Terms {
	return discovery.Terms{User: a.user, Method: discovery.MethodSMS, Issued: now, Expires: now.Add(30 * 24 * time.Hour), Tags: []string{"work", "day"}}
}

// claim makes an endorsed claim, with its terms changed by edit.
func (w *world) claim(a account, edit func(*discovery.Terms)) *discovery.VerifiedClaim {
	w.t.Helper()
	terms := w.terms(a)
	if edit != nil {
		edit(&terms)
	}
	c, err := discovery.Sign(a.key, a.cert, w.secret, terms)
	must(w.t, err)
	v, err := c.Endorse(w.keys[a.user.Provider().Domain()], w.secret, w.anchors, now)
	must(w.t, err)
	return v
}

func (w *world) withdrawal(a account, at time.Time) *discovery.VerifiedClaim {
	w.t.Helper()
	c, err := discovery.Withdraw(a.key, a.cert, w.secret, a.user, at)
	must(w.t, err)
	v, err := c.Verify(w.secret, w.anchors, now)
	must(w.t, err)
	return v
}

func edKey(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	_, k, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	return k
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
