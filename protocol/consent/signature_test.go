package consent_test

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/mimid/mimid/protocol/consent"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/mls/x509auth"
	"github.com/mimid/mimid/protocol/wire"
)

var signTime = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

const (
	aliceURI = "mimi://atlanta.example/u/alice"
	bobURI   = "mimi://biloxi.example/u/bob"
)

func seedKey(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize))
}

// anchors are the keys that providers are known by: atlanta's of seed 1, biloxi's of seed 2.
func anchors(domain string) []crypto.PublicKey {
	switch domain {
	case "atlanta.example":
		return []crypto.PublicKey{seedKey(1).Public()}
	case "biloxi.example":
		return []crypto.PublicKey{seedKey(2).Public()}
	}
	return nil
}

func certify(t testing.TB, provider byte, user string, key ed25519.PrivateKey) []byte {
	t.Helper()
	c, err := x509auth.IssueUser(seedKey(provider), user, key.Public(), x509auth.ValidFor(signTime, x509auth.Lifetime))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func entryOf(op wire.ConsentOperation) *wire.ConsentEntry {
	return &wire.ConsentEntry{Operation: op, Scope: wire.ConsentScope{Requester: aliceURI, Target: bobURI, Room: "mimi://atlanta.example/r/club"},
		Extensions: mls.Dictionary{consent.InvitationComponent: (&consent.Invitation{Note: "join us"}).Append(nil)}}
}

// reread is the entry as another provider reads it.
func reread(t testing.TB, e *wire.ConsentEntry) *wire.ConsentEntry {
	t.Helper()
	b, err := e.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	out, err := wire.ParseConsentEntry(b, wire.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Each word is signed by whose word it is, and verifies after it has travelled; one without a
// signature is one without.
func TestSigned(t *testing.T) {
	alice, bob := seedKey(3), seedKey(4)
	for op, by := range map[wire.ConsentOperation]struct {
		key      ed25519.PrivateKey
		user     string
		provider byte
	}{wire.ConsentRequest: {alice, aliceURI, 1}, wire.ConsentCancel: {alice, aliceURI, 1}, wire.ConsentGrant: {bob, bobURI, 2}, wire.ConsentRevoke: {bob, bobURI, 2}} {
		e := entryOf(op)
		if s, err := consent.Verify(e, anchors, signTime); s != nil || err != nil {
			t.Errorf("%s without a signature: %v, %v", op, s, err)
		}
		before := len(e.Extensions)
		unsigned := e.Extensions
		for range 2 { // a second signature takes the place of the first
			if err := consent.Sign(e, by.key, certify(t, by.provider, by.user, by.key), signTime); err != nil {
				t.Fatal(err)
			}
		}
		if len(unsigned) != before {
			t.Error("signing has changed the extensions that it was given")
		}
		e = reread(t, e)
		s, err := consent.Verify(e, anchors, signTime.Add(time.Hour))
		if err != nil || !s.At.Equal(signTime) || !s.Key.Equal(by.key.Public()) {
			t.Errorf("%s: %+v, %v", op, s, err)
		}
		if v, err := consent.InvitationOf(e.Extensions); err != nil || v.Note != "join us" {
			t.Errorf("%s: the invitation is %v, %v", op, v, err)
		}
	}
}

// Nothing of a signed word can be changed, and nobody else can have said it.
func TestForgedConsent(t *testing.T) {
	alice, bob, mallory := seedKey(3), seedKey(4), seedKey(5)
	good := func() *wire.ConsentEntry {
		e := entryOf(wire.ConsentRequest)
		if err := consent.Sign(e, alice, certify(t, 1, aliceURI, alice), signTime); err != nil {
			t.Fatal(err)
		}
		return reread(t, e)
	}
	signature := func(e *wire.ConsentEntry, change func(b []byte) []byte) {
		e.Extensions[consent.SignatureComponent] = change(slices.Clone(e.Extensions[consent.SignatureComponent]))
	}
	for name, change := range map[string]func(e *wire.ConsentEntry){
		"another operation": func(e *wire.ConsentEntry) { e.Operation = wire.ConsentCancel },
		"turned round":      func(e *wire.ConsentEntry) { e.Operation = wire.ConsentGrant },
		"another target":    func(e *wire.ConsentEntry) { e.Scope.Target = "mimi://biloxi.example/u/erin" },
		"another requester": func(e *wire.ConsentEntry) { e.Scope.Requester = "mimi://atlanta.example/u/dave" },
		"any room":          func(e *wire.ConsentEntry) { e.Scope.Room = "" },
		"no invitation":     func(e *wire.ConsentEntry) { delete(e.Extensions, consent.InvitationComponent) },
		"another extension": func(e *wire.ConsentEntry) { e.Extensions[7] = []byte{1} },
		"another time":      func(e *wire.ConsentEntry) { signature(e, func(b []byte) []byte { b[8] ^= 1; return b }) },
		"another version":   func(e *wire.ConsentEntry) { signature(e, func(b []byte) []byte { b[0] = 2; return b }) },
		"a bit of it":       func(e *wire.ConsentEntry) { signature(e, func(b []byte) []byte { b[len(b)-1] ^= 1; return b }) },
		"cut off":           func(e *wire.ConsentEntry) { signature(e, func(b []byte) []byte { return b[:len(b)-1] }) },
		"something behind":  func(e *wire.ConsentEntry) { signature(e, func(b []byte) []byte { return append(b, 0) }) },
		"too long": func(e *wire.ConsentEntry) {
			signature(e, func(b []byte) []byte { return make([]byte, consent.MaxSignature+1) })
		},
		"by somebody else of the provider": func(e *wire.ConsentEntry) {
			if err := consent.Sign(e, mallory, certify(t, 1, "mimi://atlanta.example/u/mallory", mallory), signTime); err != nil {
				t.Fatal(err)
			}
		},
		"by the other one": func(e *wire.ConsentEntry) {
			if err := consent.Sign(e, bob, certify(t, 2, bobURI, bob), signTime); err != nil {
				t.Fatal(err)
			}
		},
		"certified by another provider": func(e *wire.ConsentEntry) {
			if err := consent.Sign(e, mallory, certify(t, 2, aliceURI, mallory), signTime); err != nil {
				t.Fatal(err)
			}
		},
		"by another key than the certificate's": func(e *wire.ConsentEntry) {
			if err := consent.Sign(e, mallory, certify(t, 1, aliceURI, alice), signTime); err != nil {
				t.Fatal(err)
			}
		},
		"without the label": func(e *wire.ConsentEntry) {
			signature(e, func(b []byte) []byte {
				bare := entryOf(wire.ConsentRequest)
				body, err := bare.Bytes()
				if err != nil {
					t.Fatal(err)
				}
				return append(b[:len(b)-ed25519.SignatureSize], ed25519.Sign(alice, body)...)
			})
		},
	} {
		e := good()
		change(e)
		if s, err := consent.Verify(e, anchors, signTime); s != nil || !errors.Is(err, consent.ErrSignature) {
			t.Errorf("%s: %v, %v", name, s, err)
		}
	}
	if _, err := consent.Verify(good(), anchors, signTime.Add(-10*time.Minute)); !errors.Is(err, consent.ErrSignature) {
		t.Errorf("signed in the future: %v", err)
	}
	if _, err := consent.Verify(good(), anchors, signTime.Add(10*x509auth.Lifetime)); !errors.Is(err, x509auth.ErrExpired) {
		t.Errorf("the certificate has ended: %v", err)
	}
	if s, err := consent.Verify(good(), anchors, signTime); s == nil || err != nil {
		t.Errorf("unchanged: %v, %v", s, err)
	}
}

func FuzzSignature(f *testing.F) {
	e := entryOf(wire.ConsentRequest)
	if err := consent.Sign(e, seedKey(3), certify(f, 1, aliceURI, seedKey(3)), signTime); err != nil {
		f.Fatal(err)
	}
	f.Add(e.Extensions[consent.SignatureComponent])
	f.Add([]byte{1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		e := entryOf(wire.ConsentRequest)
		e.Extensions[consent.SignatureComponent] = b
		s, err := consent.Verify(e, anchors, signTime)
		// What is good is another signature in each of fuzzing's processes, so nothing is compared with it.
		if (err == nil) != (s != nil) {
			t.Fatalf("%x: %v, %v", b, s, err)
		}
	})
}
