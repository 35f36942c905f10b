package x509auth_test

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"testing"
	"time"

	"github.com/mimid/mimid/protocol/mls/x509auth"
)

func TestVerifyUser(t *testing.T) {
	w := newWorld(t)
	bob := ecKey(t)
	small := func(edit func(*x509.Certificate)) []byte {
		return w.forge(w.atlanta, []string{aliceURI}, true, w.alice.Public(), edit)
	}
	for _, c := range []struct {
		why  string
		der  []byte
		at   time.Time
		want error // nil: alice's
	}{
		{"as issued", w.aliceCert, now, nil},
		{"by the older of two keys", w.user(w.oldAtlanta, aliceURI, w.alice.Public(), valid), now, nil},
		{"without a time, all dates are good", w.aliceCert, time.Time{}, nil},
		{"on its last second", w.aliceCert, valid.NotAfter, nil},
		{"expired", w.aliceCert, valid.NotAfter.Add(time.Second), x509auth.ErrExpired},
		{"too early", w.aliceCert, valid.NotBefore.Add(-time.Second), x509auth.ErrNotYetValid},
		{"a client's", w.phoneCert, now, x509auth.ErrName},
		{"by another provider", w.user(w.biloxi, aliceURI, w.alice.Public(), valid), now, x509auth.ErrUntrusted},
		{"by the user itself", w.user(w.alice, aliceURI, w.alice.Public(), valid), now, x509auth.ErrUntrusted},
		{"of an unknown provider", w.user(w.atlanta, "mimi://denver.example/u/alice", w.alice.Public(), valid), now, x509auth.ErrUnknownProvider},
		{"no CA", w.forge(w.atlanta, []string{aliceURI}, false, w.alice.Public(), nil), now, x509auth.ErrUsage},
		{"two names", w.forge(w.atlanta, []string{aliceURI, aliceURI + "2"}, true, w.alice.Public(), nil), now, x509auth.ErrName},
		{"critical extension", small(func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true}}
		}), now, x509auth.ErrCriticalExtension},
		{"a byte too many", append(bytes.Clone(w.aliceCert), 0), now, x509auth.ErrMalformed},
		{"nothing", nil, now, x509auth.ErrMalformed},
		{"too large", make([]byte, 4<<10+1), now, x509auth.ErrTooLarge},
	} {
		uri, key, err := x509auth.VerifyUser(c.der, w.trust.anchors, c.at)
		if !errors.Is(err, c.want) || (c.want == nil) != (err == nil) {
			t.Errorf("%s: %v, want %v", c.why, err, c.want)
			continue
		}
		if err == nil && (uri != aliceURI || !bytes.Equal(raw(key), raw(w.alice.Public()))) {
			t.Errorf("%s: %s with key %x", c.why, uri, raw(key))
		}
		if err != nil && (uri != "" || key != nil) {
			t.Errorf("%s: an error and %q", c.why, uri)
		}
	}

	der := w.user(w.biloxi, "mimi://biloxi.example/u/bob", bob.Public(), valid)
	uri, key, err := x509auth.VerifyUser(der, w.trust.anchors, now)
	if err != nil || uri != "mimi://biloxi.example/u/bob" || !bob.PublicKey.Equal(key) {
		t.Errorf("with P-256 keys: %q, %v", uri, err)
	}
	if _, _, err := x509auth.VerifyUser(der, nil, now); !errors.Is(err, x509auth.ErrOptions) {
		t.Errorf("without anchors: %v", err)
	}
}

// The key outlives the message that it came in.
func TestVerifyUserKeepsNoInput(t *testing.T) {
	w := newWorld(t)
	der := bytes.Clone(w.aliceCert)
	_, key, err := x509auth.VerifyUser(der, func(string) []crypto.PublicKey { return w.trust[atlanta] }, now)
	must(t, err)
	clear(der)
	if !bytes.Equal(raw(key), raw(w.alice.Public())) {
		t.Error("the key changed with the certificate's bytes")
	}
}
