package x509auth_test

import (
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/mls/x509auth"
)

func text(err error) string {
	if err == nil {
		return "good"
	}
	return err.Error()
}

// Every case of TestChains gets the same verdict, to the letter, from an
// authenticator without a cache, an empty one, one that has seen this very
// chain, and one that has seen alice's good chain. As no case's user
// certificate is trusted by a failed attempt, none may be cached by it.
func TestCacheNeverChangesAVerdict(t *testing.T) {
	for _, c := range chainCases {
		t.Run(c.why, func(t *testing.T) {
			p := c.prepare(t)
			want := text(authenticator(t, p.w.trust, -1).Authenticate(p.cred, p.key, p.at))
			empty := authenticator(t, p.w.trust, 0)
			warm := authenticator(t, p.w.trust, 0)
			must(t, warm.Authenticate(newGood(t, p.w), p.w.phone.Public(), now))
			tiny := authenticator(t, p.w.trust, 1)
			must(t, tiny.Authenticate(newGood(t, p.w), p.w.phone.Public(), now))
			for i := range 3 {
				for k, a := range []*x509auth.Authenticator{empty, warm, tiny} {
					if got := text(a.Authenticate(p.cred, p.key, p.at)); got != want {
						t.Errorf("authenticator %d, round %d:\n got %s\nwant %s", k, i, got, want)
					}
				}
			}
			if errors.Is(c.want, x509auth.ErrUntrusted) && empty.Stats().Cached != 0 {
				t.Error("an untrusted user certificate is in the cache")
			}
		})
	}
}

// newGood is alice's chain with the phone's present key, which some cases
// replace.
func newGood(t testing.TB, w *world) mls.Credential {
	t.Helper()
	return mls.X509Credential(w.client(w.alice, w.aliceCert, phoneURI, w.phone.Public(), valid), w.aliceCert)
}

// check runs one verdict and compares what it cost.
func check(t *testing.T, a *x509auth.Authenticator, c mls.Credential, key []byte, at time.Time, want error, verified uint64) {
	t.Helper()
	before := a.Stats().Verified
	if err := a.Authenticate(c, key, at); !errors.Is(err, want) {
		t.Errorf("got %v, want %v", err, want)
	}
	if n := a.Stats().Verified - before; n != verified {
		t.Errorf("%d signatures verified, want %d", n, verified)
	}
}

func TestUserSignatureIsVerifiedOnce(t *testing.T) {
	w := newWorld(t)
	w.trust[atlanta] = []crypto.PublicKey{w.atlanta.Public()}
	a := authenticator(t, w.trust, 0)
	check(t, a, w.good(), w.phone.Public(), now, nil, 2)
	check(t, a, w.good(), w.phone.Public(), now, nil, 1)
	laptop := w.signatureKey(mls.P256AES128P256)
	second := mls.X509Credential(w.client(w.alice, w.aliceCert, "mimi://atlanta.example/d/alice/laptop", laptop.Public(), valid), w.aliceCert)
	check(t, a, second, laptop.Public(), now, nil, 1)
	if s := a.Stats(); s != (x509auth.Stats{UserHits: 2, UserMisses: 1, Verified: 4, Cached: 1}) {
		t.Errorf("%+v", s)
	}
	// Cheap faults are found before any signature is verified.
	check(t, a, second, w.phone.Public(), now, x509auth.ErrKeyMismatch, 0)
	check(t, a, second, laptop.Public(), valid.NotAfter.Add(time.Second), x509auth.ErrExpired, 0)
	// Without a cache, everything is verified every time.
	none := authenticator(t, w.trust, -1)
	check(t, none, w.good(), w.phone.Public(), now, nil, 2)
	check(t, none, w.good(), w.phone.Public(), now, nil, 2)
	if n := none.Stats().Cached; n != 0 {
		t.Errorf("%d cached", n)
	}
}

func TestCachedDatesAreJudgedAnew(t *testing.T) {
	w := newWorld(t)
	w.trust[atlanta] = []crypto.PublicKey{w.atlanta.Public()}
	a := authenticator(t, w.trust, 0)
	u := w.user(w.atlanta, aliceURI, w.alice.Public(), x509auth.ValidFor(now, day))
	c := mls.X509Credential(w.client(w.alice, u, phoneURI, w.phone.Public(), x509auth.Validity{NotBefore: now.Add(-9 * day), NotAfter: now.Add(9 * day)}), u)
	// Outside its dates, a certificate is cached all the same: later entries
	// of a log may be judged before earlier ones.
	check(t, a, c, w.phone.Public(), now.Add(2*day), x509auth.ErrExpired, 1)
	check(t, a, c, w.phone.Public(), now, nil, 1)
	check(t, a, c, w.phone.Public(), now.Add(2*day), x509auth.ErrExpired, 0)
	check(t, a, c, w.phone.Public(), now.Add(-2*day), x509auth.ErrNotYetValid, 0)
	check(t, a, c, w.phone.Public(), now, nil, 1)
}

func TestWithdrawnAnchor(t *testing.T) {
	w := newWorld(t)
	a := authenticator(t, w.trust, 0)
	good, key := w.good(), w.phone.Public()
	must(t, a.Authenticate(good, key, now))
	w.trust[atlanta] = []crypto.PublicKey{w.oldAtlanta.Public()}
	check(t, a, good, key, now, x509auth.ErrUntrusted, 1)
	delete(w.trust, atlanta)
	check(t, a, good, key, now, x509auth.ErrUnknownProvider, 0)
	// The fact that the key signed it stays true, and counts again as soon as
	// the key is trusted again, in whatever place.
	w.trust[atlanta] = []crypto.PublicKey{edKey(t).Public(), w.atlanta.Public(), w.oldAtlanta.Public()}
	check(t, a, good, key, now, nil, 1)
}

// Two domains of one provider may share a key; a cached user of the one must
// not vouch for a client of the other.
func TestSharedAnchor(t *testing.T) {
	w := newWorld(t)
	w.trust[biloxi] = w.trust[atlanta]
	a := authenticator(t, w.trust, 0)
	must(t, a.Authenticate(w.good(), w.phone.Public(), now))
	forged := mls.X509Credential(w.forge(w.alice, []string{"mimi://biloxi.example/d/alice/phone"}, false, w.phoneKey(), nil), w.aliceCert)
	check(t, a, forged, w.phone.Public(), now, x509auth.ErrNameMismatch, 0)
}

// The engine reuses no buffer, but a caller might.
func TestCacheKeepsNoCallersMemory(t *testing.T) {
	w := newWorld(t)
	a := authenticator(t, w.trust, 0)
	user := append([]byte(nil), w.aliceCert...)
	must(t, a.Authenticate(mls.X509Credential(w.phoneCert, user), w.phone.Public(), now))
	for i := range user {
		user[i] = 0
	}
	check(t, a, w.good(), w.phone.Public(), now, nil, 1)
}

func TestCacheIsBounded(t *testing.T) {
	w := newWorld(t)
	w.trust[atlanta] = []crypto.PublicKey{w.atlanta.Public()}
	a := authenticator(t, w.trust, 3)
	chains := make([]mls.Credential, 5)
	for i := range chains {
		uri := fmt.Sprintf("mimi://atlanta.example/u/user%d", i)
		u := w.user(w.atlanta, uri, w.alice.Public(), valid)
		client := fmt.Sprintf("mimi://atlanta.example/d/user%d/phone", i)
		chains[i] = mls.X509Credential(w.client(w.alice, u, client, w.phone.Public(), valid), u)
	}
	key := w.phone.Public()
	for i := range 3 {
		check(t, a, chains[i], key, now, nil, 2)
	}
	check(t, a, chains[0], key, now, nil, 1) // now 1 is the least recently used
	check(t, a, chains[3], key, now, nil, 2)
	check(t, a, chains[0], key, now, nil, 1)
	check(t, a, chains[1], key, now, nil, 2) // was evicted
	for range 3 {
		for _, c := range chains {
			must(t, a.Authenticate(c, key, now))
			if n := a.Stats().Cached; n > 3 {
				t.Fatalf("%d cached", n)
			}
		}
	}
}

func TestConcurrentUse(t *testing.T) {
	w := newWorld(t)
	a := authenticator(t, w.trust, 4) // smaller than what is used, so that it evicts
	type verdict struct {
		c    mls.Credential
		want error
	}
	var all []verdict
	for i := range 6 {
		user := edKey(t)
		uri := fmt.Sprintf("user%d", i)
		u := w.user(w.atlanta, "mimi://atlanta.example/u/"+uri, user.Public(), valid)
		client := "mimi://atlanta.example/d/" + uri + "/phone"
		all = append(all,
			verdict{mls.X509Credential(w.client(user, u, client, w.phone.Public(), valid), u), nil},
			verdict{mls.X509Credential(w.forge(w.alice, []string{client}, false, w.phoneKey(), nil), u), x509auth.ErrSignature})
	}
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 60 {
				v := all[(g*5+i)%len(all)]
				if err := a.Authenticate(v.c, w.phone.Public(), now); !errors.Is(err, v.want) {
					t.Errorf("got %v, want %v", err, v.want)
				}
				if err := a.Succeeds(v.c, v.c); err != nil {
					t.Error(err)
				}
				if n := a.Stats().Cached; n > 4 {
					t.Errorf("%d cached", n)
				}
			}
		})
	}
	wg.Wait()
}

// FuzzChain: no chain makes an authenticator panic, the cache never changes a
// verdict, and what is accepted has names that read back.
func FuzzChain(f *testing.F) {
	w := newWorld(f)
	warm, cold := authenticator(f, w.trust, 2), authenticator(f, w.trust, -1)
	key := w.phone.Public()
	must(f, warm.Authenticate(w.good(), key, now))
	f.Add(w.phoneCert, w.aliceCert, key, now.Unix())
	f.Add(w.aliceCert, w.phoneCert, key, now.Unix())
	ec := w.signatureKey(mls.P256AES128P256)
	f.Add(w.client(w.alice, w.aliceCert, phoneURI, ec.Public(), valid), w.aliceCert, ec.Public(), now.Unix())
	f.Add(w.forge(w.alice, []string{phoneURI}, false, w.phoneKey(), rawSAN(altName{2, "x"}, altName{6, phoneURI})), w.aliceCert, key, int64(0))
	f.Add([]byte{}, []byte{0x30, 0x80}, []byte{}, int64(-1))
	f.Fuzz(func(t *testing.T, client, user, key []byte, at int64) {
		c := mls.X509Credential(client, user)
		when := time.Unix(at, 0)
		want := cold.Authenticate(c, key, when)
		for range 2 {
			if err := warm.Authenticate(c, key, when); text(err) != text(want) {
				t.Fatalf("warm %v, cold %v", err, want)
			}
		}
		uri, err := x509auth.ClientURI(c)
		_ = warm.Succeeds(c, w.good())
		if _, keyErr := x509auth.UserKeyChanged(c, c); (keyErr == nil) != (err == nil) {
			t.Fatalf("names %v, keys %v", err, keyErr)
		}
		if want != nil {
			return
		}
		must(t, err)
		// Another reader of the certificate sees the same name.
		x, err := x509.ParseCertificate(client)
		must(t, err)
		if len(x.URIs) != 1 || x.URIs[0].String() != uri {
			t.Fatalf("read %s, crypto/x509 reads %v", uri, x.URIs)
		}
	})
}

// BenchmarkAuthenticate is the cost of one member's credential: with its user
// certificate in the cache, and without a cache. The leaf's own signature is
// the engine's business and not included.
func BenchmarkAuthenticate(b *testing.B) {
	w := newWorld(b)
	w.trust[atlanta] = []crypto.PublicKey{w.atlanta.Public()}
	bob := ecKey(b)
	bobCert := w.user(w.biloxi, "mimi://biloxi.example/u/bob", bob.Public(), valid)
	ec := w.signatureKey(mls.P256AES128P256)
	p256 := mls.X509Credential(w.client(bob, bobCert, "mimi://biloxi.example/d/bob/phone", ec.Public(), valid), bobCert)
	for _, c := range []struct {
		name string
		cred mls.Credential
		key  []byte
	}{{"Ed25519", w.good(), w.phone.Public()}, {"P256", p256, ec.Public()}} {
		for _, mode := range []struct {
			name string
			size int
		}{{"warm", 0}, {"cold", -1}} {
			b.Run(c.name+"/"+mode.name, func(b *testing.B) {
				a := authenticator(b, w.trust, mode.size)
				must(b, a.Authenticate(c.cred, c.key, now))
				b.ReportAllocs()
				for b.Loop() {
					if err := a.Authenticate(c.cred, c.key, now); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkSucceeds: a group that continues another asks it for pairs of
// members.
func BenchmarkSucceeds(b *testing.B) {
	w := newWorld(b)
	a := authenticator(b, w.trust, 0)
	old, new := w.good(), newGood(b, w)
	b.ReportAllocs()
	for b.Loop() {
		if err := a.Succeeds(old, new); err != nil {
			b.Fatal(err)
		}
	}
}
