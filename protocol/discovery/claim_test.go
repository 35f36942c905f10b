package discovery_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	cryptorand "crypto/rand"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mimid/mimid/protocol/discovery"
	"github.com/mimid/mimid/protocol/mls/x509auth"
	"github.com/mimid/mimid/protocol/presentation"
	"github.com/mimid/mimid/protocol/uri"
)

func TestClaimSaysWhatWasSigned(t *testing.T) {
	w := newWorld(t)
	for _, a := range []account{w.alice, w.bob} { // Ed25519, P-256
		v := w.claim(a, func(t *discovery.Terms) { t.Rank = 3 })
		c, err := discovery.ParseClaim(v.Claim().Bytes())
		must(t, err)
		if !bytes.Equal(c.Bytes(), v.Claim().Bytes()) {
			t.Error("another encoding")
		}
		v, err = c.Verify(w.secret, w.anchors, now)
		must(t, err)
		want := w.terms(a)
		if v.User() != a.user || v.Provider() != a.user.Provider() || v.Method() != want.Method || v.Rank() != 3 || v.Withdrawn() ||
			!v.Issued().Equal(want.Issued) || !v.Expires().Equal(want.Expires) || !slices.Equal(v.Tags(), []string{"day", "work"}) {
			t.Errorf("%+v", v)
		}
		if v.KeyID() == (w.claim(w.account(a.user.String(), edKey(t)), nil)).KeyID() {
			t.Error("another key has the same id")
		}
	}
}

// Every bit counts: whatever somebody changes, the claim is refused.
func TestTamperedClaim(t *testing.T) {
	w := newWorld(t)
	stated := w.claim(w.alice, func(t *discovery.Terms) { t.Statement = []byte("stated") })
	if !bytes.Equal(stated.Statement(), []byte("stated")) || w.claim(w.alice, nil).Statement() != nil {
		t.Error("another statement than was signed")
	}
	for _, v := range []*discovery.VerifiedClaim{w.claim(w.alice, nil), w.withdrawal(w.alice, now), stated} {
		good := v.Claim().Bytes()
		for i := range good {
			bad := bytes.Clone(good)
			bad[i] ^= 1 << (i % 8)
			c, err := discovery.ParseClaim(bad)
			if err == nil {
				_, err = c.Verify(w.secret, w.anchors, now)
			}
			if err == nil {
				t.Fatalf("byte %d of %d changed, and accepted", i, len(good))
			}
			if _, err := discovery.ParseClaim(good[:i]); err == nil {
				t.Fatalf("first %d bytes of %d accepted", i, len(good))
			}
		}
	}
}

func TestRefusedClaims(t *testing.T) {
	w := newWorld(t)
	mallory := w.account("mimi://atlanta.example/u/mallory", edKey(t))
	expired, err := x509auth.IssueUser(w.keys["atlanta.example"], w.alice.user.String(), w.alice.key.Public(), x509auth.ValidFor(now, time.Hour))
	must(t, err)
	good := w.claim(w.alice, nil).Claim()
	made := func(a account, edit func(*discovery.Terms)) *discovery.Claim {
		terms := w.terms(a)
		if edit != nil {
			edit(&terms)
		}
		c, err := discovery.Sign(a.key, a.cert, w.secret, terms)
		must(t, err)
		return c
	}
	for _, c := range []struct {
		why   string
		claim *discovery.Claim
		at    time.Time
		want  error
	}{
		{"mallory signs for alice", made(account{w.alice.user, mallory.key, mallory.cert}, nil), now, discovery.ErrOtherUser},
		{"mallory signs, alice's certificate", made(account{w.alice.user, mallory.key, w.alice.cert}, nil), now, discovery.ErrUserSignature},
		{"another domain's user, own certificate", made(account{w.bob.user, w.alice.key, w.alice.cert}, nil), now, discovery.ErrOtherUser},
		{"certificate by a provider that does not speak for the domain", made(account{w.alice.user, mallory.key, func() []byte {
			b, err := x509auth.IssueUser(w.keys["biloxi.example"], w.alice.user.String(), mallory.key.Public(), x509auth.ValidFor(now, x509auth.Lifetime))
			must(t, err)
			return b
		}()}, nil), now, x509auth.ErrUntrusted},
		{"no certificate", made(account{w.alice.user, w.alice.key, nil}, nil), now, discovery.ErrUserCertificate},
		{"user certificate expired", made(account{w.alice.user, w.alice.key, expired}, nil), now.Add(2 * time.Hour), x509auth.ErrExpired},
		{"not endorsed", made(w.alice, nil), now, discovery.ErrNotEndorsed},
		{"on its end", good, now.Add(30 * 24 * time.Hour), discovery.ErrExpired},
		{"too early", good, now.Add(-discovery.MaxSkew - time.Second), discovery.ErrNotYetIssued},
	} {
		if v, err := c.claim.Verify(w.secret, w.anchors, c.at); !errors.Is(err, c.want) || v != nil {
			t.Errorf("%s: %v, want %v", c.why, err, c.want)
		}
	}
	if _, err := good.Verify(w.secret, w.anchors, now.Add(-discovery.MaxSkew)); err != nil {
		t.Error("clocks differ a little:", err)
	}
	if _, err := good.Verify(secretOf(t, "handle:x"), w.anchors, now); !errors.Is(err, discovery.ErrOtherIdentifier) {
		t.Error("another identifier:", err)
	}
	if _, err := good.Verify(discovery.Secret{}, w.anchors, now); !errors.Is(err, discovery.ErrNoIdentifier) {
		t.Error("no identifier:", err)
	}
	if _, err := made(w.alice, nil).Endorse(w.keys["biloxi.example"], w.secret, w.anchors, now); !errors.Is(err, discovery.ErrNotEndorsed) {
		t.Error("endorsed by another provider:", err)
	}
	if _, err := w.withdrawal(w.alice, now).Claim().Endorse(w.keys["atlanta.example"], w.secret, w.anchors, now); !errors.Is(err, discovery.ErrWithdrawal) {
		t.Error("endorsing a withdrawal:", err)
	}
}

func TestImpossibleTerms(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		why  string
		edit func(*discovery.Terms)
		want error
	}{
		{"longest", func(t *discovery.Terms) { t.Expires = now.Add(discovery.MaxLifetime) }, nil},
		{"too long", func(t *discovery.Terms) { t.Expires = now.Add(discovery.MaxLifetime + time.Millisecond) }, discovery.ErrLifetime},
		{"ends as it begins", func(t *discovery.Terms) { t.Expires = now }, discovery.ErrLifetime},
		{"before 1970", func(t *discovery.Terms) { t.Issued = time.Unix(-1, 0) }, presentation.ErrMalformed},
		{"year 10000", func(t *discovery.Terms) { t.Expires = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) }, presentation.ErrMalformed},
		{"no user", func(t *discovery.Terms) { t.User = uri.User{} }, presentation.ErrMalformed},
		{"no method", func(t *discovery.Terms) { t.Method = "" }, presentation.ErrMalformed},
		{"method with upper case", func(t *discovery.Terms) { t.Method = "SMS" }, presentation.ErrMalformed},
		{"long method", func(t *discovery.Terms) { t.Method = discovery.Method(strings.Repeat("x", 33)) }, presentation.ErrTooLarge},
		{"empty tag", func(t *discovery.Terms) { t.Tags = []string{""} }, presentation.ErrMalformed},
		{"one tag twice", func(t *discovery.Terms) { t.Tags = []string{"a", "a"} }, presentation.ErrNonCanonical},
		{"nine tags", func(t *discovery.Terms) { t.Tags = strings.Split("a b c d e f g h i", " ") }, presentation.ErrTooLarge},
	} {
		terms := w.terms(w.alice)
		c.edit(&terms)
		if _, err := discovery.Sign(w.alice.key, w.alice.cert, w.secret, terms); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.why, err, c.want)
		}
	}
	if _, err := discovery.Sign(w.alice.key, w.alice.cert, discovery.Secret{}, w.terms(w.alice)); !errors.Is(err, discovery.ErrNoIdentifier) {
		t.Error("no identifier:", err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), cryptorand.Reader)
	must(t, err)
	if _, err := discovery.Sign(p384, w.alice.cert, w.secret, w.terms(w.alice)); !errors.Is(err, discovery.ErrKey) {
		t.Error("P-384:", err)
	}
	if _, err := discovery.ParseClaim(make([]byte, discovery.MaxClaim+1)); !errors.Is(err, presentation.ErrTooLarge) {
		t.Error("too large:", err)
	}
	b := w.claim(w.alice, nil).Claim().Bytes()
	b[0] = 3
	if _, err := discovery.ParseClaim(b); !errors.Is(err, discovery.ErrVersion) {
		t.Error("another version:", err)
	}
}

// A claim outlives its user certificate without the user's help.
func TestProviderRenewsCertificate(t *testing.T) {
	w := newWorld(t)
	old := w.claim(w.alice, nil)
	later := now.Add(20 * 24 * time.Hour)
	cert, err := x509auth.IssueUser(w.keys["atlanta.example"], w.alice.user.String(), w.alice.key.Public(), x509auth.ValidFor(later, x509auth.Lifetime))
	must(t, err)
	c, err := old.Claim().WithCertificate(cert)
	must(t, err)
	if _, err := c.Verify(w.secret, w.anchors, later); !errors.Is(err, discovery.ErrNotEndorsed) {
		t.Error("the old endorsement covers the new certificate:", err)
	}
	v, err := c.Endorse(w.keys["atlanta.example"], w.secret, w.anchors, later)
	must(t, err)
	if v.KeyID() != old.KeyID() || !v.Expires().Equal(old.Expires()) {
		t.Error("another claim")
	}
	other, err := x509auth.IssueUser(w.keys["atlanta.example"], w.alice.user.String(), edKey(t).Public(), x509auth.ValidFor(later, x509auth.Lifetime))
	must(t, err)
	c, err = old.Claim().WithCertificate(other)
	must(t, err)
	if _, err := c.Endorse(w.keys["atlanta.example"], w.secret, w.anchors, later); !errors.Is(err, discovery.ErrUserSignature) {
		t.Error("a claim moved to another user key:", err)
	}
}

func TestGroup(t *testing.T) {
	w := newWorld(t)
	at := func(d time.Duration, rank uint8) func(*discovery.Terms) {
		return func(t *discovery.Terms) { t.Issued, t.Rank = now.Add(d), rank }
	}
	aliceToo := w.account("mimi://biloxi.example/u/alice", w.alice.key) // one person, two providers
	old, second := w.claim(w.alice, at(-time.Hour, 0)), w.claim(w.alice, at(-time.Minute, 1))
	first := w.claim(aliceToo, at(-2*time.Hour, 0))
	bob := w.claim(w.bob, at(-time.Hour, 0))
	carol := w.account("mimi://atlanta.example/u/carol", edKey(t))
	gone, back := w.withdrawal(carol, now.Add(-time.Hour)), w.claim(carol, at(-time.Minute, 0))
	tie := w.claim(carol, at(-time.Hour, 0))
	again := w.account(w.bob.user.String(), edKey(t))
	elsewhere := w.withdrawal(again, now) // bob's name, another key

	users := func(vs []*discovery.VerifiedClaim) (out []string) {
		for _, v := range vs {
			out = append(out, v.User().Short())
		}
		return out
	}
	shape := func(g discovery.Grouping) string {
		var parts []string
		for _, o := range g.Owners {
			parts = append(parts, strings.Join(users(o.Claims), " "))
		}
		return strings.Join(parts, " | ") + " - " + strings.Join(users(g.Withdrawn), " ")
	}
	type claims = []*discovery.VerifiedClaim
	for _, c := range []struct {
		why      string
		in       claims
		want     string
		conflict bool
	}{
		{"nothing", nil, " - ", false},
		{"the newer replaces the older", claims{old, second}, "alice@atlanta.example - ", false},
		{"rank before age", claims{old, second, first}, "alice@biloxi.example alice@atlanta.example - ", false},
		{"two keys are a conflict", claims{second, bob}, "alice@atlanta.example | bob@biloxi.example - ", true},
		{"withdrawn", claims{gone}, " - carol@atlanta.example", false},
		{"a withdrawal wins the tie", claims{tie, gone}, " - carol@atlanta.example", false},
		{"claimed again", claims{gone, tie, back}, "carol@atlanta.example - ", false},
		{"another key withdraws nothing", claims{bob, elsewhere}, "bob@biloxi.example - bob@biloxi.example", false},
	} {
		for seed := range uint64(8) {
			in := slices.Clone(c.in)
			r := rand.New(rand.NewPCG(seed, 1))
			r.Shuffle(len(in), func(i, j int) { in[i], in[j] = in[j], in[i] })
			g := discovery.Group(in)
			if got := shape(g); got != c.want || g.Conflict() != c.conflict {
				t.Errorf("%s: %q, conflict %v; want %q", c.why, got, g.Conflict(), c.want)
				break
			}
		}
	}
}

func FuzzParseClaim(f *testing.F) {
	w := newWorld(f)
	f.Add(w.claim(w.alice, nil).Claim().Bytes())
	f.Add(w.withdrawal(w.bob, now).Claim().Bytes())
	f.Add(w.claim(w.bob, func(t *discovery.Terms) { t.Statement = []byte("stated") }).Claim().Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := discovery.ParseClaim(b)
		if err != nil {
			return
		}
		if !bytes.Equal(c.Bytes(), b) {
			t.Fatal("another encoding")
		}
		c.Verify(w.secret, w.anchors, now)
	})
}
