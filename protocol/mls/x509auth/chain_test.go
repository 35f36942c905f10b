package x509auth_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/mls/x509auth"
)

// chainCase is a chain and what is to be said about it. at and key default to
// now and the phone's key.
type chainCase struct {
	why  string
	want error // nil: good
	cred func(w *world) mls.Credential
	key  func(w *world) []byte
	at   time.Time
}

// dated returns a credential function for alice's chain with other validities.
func dated(user, client x509auth.Validity) func(*world) mls.Credential {
	return func(w *world) mls.Credential {
		u := w.user(w.atlanta, aliceURI, w.alice.Public(), user)
		return mls.X509Credential(w.client(w.alice, u, phoneURI, w.phone.Public(), client), u)
	}
}

// clientNamed and userNamed return alice's chain with other alternative names
// in one of the certificates.
func clientNamed(uris ...string) func(*world) mls.Credential {
	return func(w *world) mls.Credential {
		return mls.X509Credential(w.forge(w.alice, uris, false, w.phoneKey(), nil), w.aliceCert)
	}
}

func userNamed(uris ...string) func(*world) mls.Credential {
	return func(w *world) mls.Credential {
		return mls.X509Credential(w.phoneCert, w.forge(w.atlanta, uris, true, w.alice.Public(), nil))
	}
}

func editClient(edit func(*x509.Certificate)) func(*world) mls.Credential {
	return func(w *world) mls.Credential { return w.forgeClient(edit) }
}

func editUser(edit func(*x509.Certificate)) func(*world) mls.Credential {
	return func(w *world) mls.Credential { return w.forgeUser(edit) }
}

// rawSAN has one literal alternative name list instead of what url.URL writes.
func rawSAN(names ...altName) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		c.URIs = nil
		c.ExtraExtensions = append(c.ExtraExtensions, generalNames(true, names...))
	}
}

var day = 24 * time.Hour

var chainCases = []chainCase{
	{why: "as issued", cred: (*world).good},
	{why: "user certificate by the older of two provider keys", cred: func(w *world) mls.Credential {
		u := w.user(w.oldAtlanta, aliceURI, w.alice.Public(), valid)
		return mls.X509Credential(w.client(w.alice, u, phoneURI, w.phone.Public(), valid), u)
	}},
	{why: "provider, user and client with P-256 keys", cred: func(w *world) mls.Credential {
		bob := ecKey(w.t)
		w.phone = w.signatureKey(mls.P256AES128P256)
		u := w.user(w.biloxi, "mimi://biloxi.example/u/bob", bob.Public(), valid)
		return mls.X509Credential(w.client(bob, u, "mimi://biloxi.example/d/bob/phone", w.phone.Public(), valid), u)
	}},
	{why: "in the first second", cred: (*world).good, at: valid.NotBefore},
	{why: "in the last second", cred: (*world).good, at: valid.NotAfter},
	{why: "other kinds of names do not matter", cred: editClient(func(c *x509.Certificate) {
		c.Subject = pkix.Name{CommonName: "mallory"}
		c.DNSNames, c.EmailAddresses = []string{"biloxi.example"}, []string{"mallory@biloxi.example"}
	})},
	{why: "extended key usage for instant messaging (RFC 9734), critical", cred: editClient(func(c *x509.Certificate) {
		c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Critical: true,
			Value: sequence([]byte{6, 8, 0x2b, 6, 1, 5, 5, 7, 3, 40})})
	})},
	{why: "unknown extension that is not critical", cred: editClient(func(c *x509.Certificate) {
		c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 99999, 1}, Value: []byte{5, 0}})
	})},

	{why: "basic credential", want: x509auth.ErrCredentialType,
		cred: func(*world) mls.Credential { return mls.BasicCredential([]byte(phoneURI)) }},
	{why: "unknown credential type", want: x509auth.ErrCredentialType, cred: func(w *world) mls.Credential {
		return mls.Credential{Type: 7, Certificates: w.good().Certificates}
	}},
	{why: "empty chain", want: x509auth.ErrChainLength, cred: func(*world) mls.Credential { return mls.X509Credential() }},
	{why: "client certificate alone", want: x509auth.ErrChainLength,
		cred: func(w *world) mls.Credential { return mls.X509Credential(w.phoneCert) }},
	{why: "a third certificate, the provider's own", want: x509auth.ErrChainLength, cred: func(w *world) mls.Credential {
		root := w.forge(w.atlanta, []string{"mimi://atlanta.example/u/root"}, true, w.atlanta.Public(), nil)
		return mls.X509Credential(w.phoneCert, w.aliceCert, root)
	}},
	{why: "swapped order", want: x509auth.ErrName,
		cred: func(w *world) mls.Credential { return mls.X509Credential(w.aliceCert, w.phoneCert) }},

	{why: "client certificate over the limit, by an extension", want: x509auth.ErrTooLarge, cred: editClient(func(c *x509.Certificate) {
		c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 99999, 1}, Value: make([]byte, 4<<10)})
	})},
	{why: "user certificate over the limit", want: x509auth.ErrTooLarge, cred: func(w *world) mls.Credential {
		return mls.X509Credential(w.phoneCert, make([]byte, 4<<10+1))
	}},
	{why: "empty certificate", want: x509auth.ErrMalformed,
		cred: func(w *world) mls.Credential { return mls.X509Credential(w.phoneCert, nil) }},
	{why: "not DER", want: x509auth.ErrMalformed,
		cred: func(w *world) mls.Credential { return mls.X509Credential([]byte("certificate"), w.aliceCert) }},
	{why: "trailing byte after the client certificate", want: x509auth.ErrMalformed, cred: func(w *world) mls.Credential {
		return mls.X509Credential(append(bytes.Clone(w.phoneCert), 0), w.aliceCert)
	}},
	{why: "trailing byte after the user certificate", want: x509auth.ErrMalformed, cred: func(w *world) mls.Credential {
		return mls.X509Credential(w.phoneCert, append(bytes.Clone(w.aliceCert), 0))
	}},
	{why: "element after the signature, which crypto/x509 overlooks", want: x509auth.ErrMalformed, cred: func(w *world) mls.Credential {
		a, b, c := w.takeApart(w.phoneCert)
		return mls.X509Credential(sequence(a, b, c, []byte{5, 0}), w.aliceCert)
	}},
	{why: "element after the extensions, signed", want: x509auth.ErrMalformed, cred: func(w *world) mls.Credential {
		return mls.X509Credential(w.resign(w.phoneCert, w.alice, func(b []byte) []byte { return append(b, 5, 0) }), w.aliceCert)
	}},
	{why: "version 2", want: x509auth.ErrMalformed, cred: func(w *world) mls.Credential {
		return mls.X509Credential(w.resign(w.phoneCert, w.alice, func(b []byte) []byte {
			return bytes.Replace(b, []byte{0xa0, 3, 2, 1, 2}, []byte{0xa0, 3, 2, 1, 1}, 1)
		}), w.aliceCert)
	}},
	{why: "long form of a short length", want: x509auth.ErrMalformed, cred: func(w *world) mls.Credential {
		return mls.X509Credential(w.resign(w.phoneCert, w.alice, func(b []byte) []byte {
			return bytes.Replace(b, []byte{0xa0, 3, 2, 1, 2}, []byte{0xa0, 0x81, 3, 2, 1, 2}, 1)
		}), w.aliceCert)
	}},
	{why: "negative serial number", want: x509auth.ErrMalformed, cred: func(w *world) mls.Credential {
		c := w.forge(w.alice, []string{phoneURI}, false, w.phoneKey(), nil) // its serial number is 4711
		return mls.X509Credential(w.resign(c, w.alice, func(b []byte) []byte {
			return bytes.Replace(b, []byte{2, 2, 0x12, 0x67}, []byte{2, 2, 0x92, 0x67}, 1)
		}), w.aliceCert)
	}},
	{why: "signature of partial bytes", want: x509auth.ErrMalformed, cred: func(w *world) mls.Credential {
		a, b, c := w.takeApart(w.phoneCert)
		c[2] = 1 // unused bits, after tag and length
		return mls.X509Credential(sequence(a, b, c), w.aliceCert)
	}},
	{why: "two lists of names", want: x509auth.ErrMalformed, cred: editClient(func(c *x509.Certificate) {
		rawSAN(altName{6, phoneURI})(c)
		rawSAN(altName{6, phoneURI})(c)
	})},
	{why: "list of names with trailing bytes", want: x509auth.ErrMalformed, cred: editClient(func(c *x509.Certificate) {
		rawSAN(altName{6, phoneURI})(c)
		c.ExtraExtensions[0].Value = append(c.ExtraExtensions[0].Value, 5, 0)
	})},

	{why: "client certificate without names", want: x509auth.ErrName, cred: clientNamed()},
	{why: "user certificate without names", want: x509auth.ErrName, cred: userNamed()},
	{why: "DNS name only", want: x509auth.ErrName, cred: editClient(rawSAN(altName{2, atlanta}))},
	{why: "two clients in one certificate", want: x509auth.ErrName, cred: clientNamed(phoneURI, "mimi://atlanta.example/d/alice/laptop")},
	{why: "the same client twice", want: x509auth.ErrName, cred: clientNamed(phoneURI, phoneURI)},
	{why: "two users in one certificate", want: x509auth.ErrName, cred: userNamed(aliceURI, "mimi://atlanta.example/u/bob")},
	{why: "user and client name in one certificate", want: x509auth.ErrName, cred: clientNamed(phoneURI, aliceURI)},
	{why: "a name of another scheme", want: x509auth.ErrName, cred: clientNamed("https://atlanta.example/d/alice/phone")},
	{why: "scheme in upper case, which net/url would fold", want: x509auth.ErrName,
		cred: editClient(rawSAN(altName{6, "MIMI://atlanta.example/d/alice/phone"}))},
	{why: "user certificate used as a client's", want: x509auth.ErrName,
		cred: func(w *world) mls.Credential { return mls.X509Credential(w.aliceCert, w.aliceCert) },
		key:  func(w *world) []byte { return raw(w.alice.Public()) }},
	{why: "client certificate in the user's place, certifying another client", want: x509auth.ErrName,
		cred: func(w *world) mls.Credential {
			tablet := edKey(w.t)
			forged := w.client(w.alice, w.aliceCert, "mimi://atlanta.example/d/alice/tablet", raw(tablet.Public()), valid)
			return mls.X509Credential(w.forge(tablet, []string{phoneURI}, false, w.phoneKey(), nil), forged)
		}},

	{why: "client is a CA", want: x509auth.ErrUsage,
		cred: editClient(func(c *x509.Certificate) { c.IsCA = true })},
	{why: "client may sign certificates", want: x509auth.ErrUsage,
		cred: editClient(func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageCertSign })},
	{why: "client may not sign", want: x509auth.ErrUsage,
		cred: editClient(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyAgreement })},
	{why: "client without key usage", want: x509auth.ErrUsage,
		cred: editClient(func(c *x509.Certificate) { c.KeyUsage = 0 })},
	{why: "client certificate for a TLS server", want: x509auth.ErrUsage,
		cred: editClient(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })},
	{why: "user is not a CA", want: x509auth.ErrUsage,
		cred: editUser(func(c *x509.Certificate) { c.IsCA, c.MaxPathLenZero = false, false })},
	{why: "user without basic constraints", want: x509auth.ErrUsage,
		cred: editUser(func(c *x509.Certificate) { c.BasicConstraintsValid = false; c.IsCA, c.MaxPathLenZero = false, false })},
	{why: "user without a path length", want: x509auth.ErrUsage,
		cred: editUser(func(c *x509.Certificate) { c.MaxPathLenZero = false })},
	{why: "user with path length 1", want: x509auth.ErrUsage,
		cred: editUser(func(c *x509.Certificate) { c.MaxPathLen, c.MaxPathLenZero = 1, false })},
	{why: "user may not sign certificates", want: x509auth.ErrUsage,
		cred: editUser(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageDigitalSignature })},

	{why: "unknown critical extension of the client", want: x509auth.ErrCriticalExtension, cred: editClient(func(c *x509.Certificate) {
		c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 99999, 1}, Critical: true, Value: []byte{5, 0}})
	})},
	{why: "unknown critical extension of the user", want: x509auth.ErrCriticalExtension, cred: editUser(func(c *x509.Certificate) {
		c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 99999, 1}, Critical: true, Value: []byte{5, 0}})
	})},
	{why: "critical name constraints, which crypto/x509 knows but nobody here enforces", want: x509auth.ErrCriticalExtension,
		cred: editUser(func(c *x509.Certificate) {
			c.PermittedDNSDomainsCritical, c.PermittedURIDomains = true, []string{"elsewhere.example"}
		})},

	{why: "RSA client", want: x509auth.ErrAlgorithm, cred: func(w *world) mls.Credential {
		k, err := rsa.GenerateKey(rand.Reader, 2048)
		must(w.t, err)
		return mls.X509Credential(w.forge(w.alice, []string{phoneURI}, false, k.Public(), nil), w.aliceCert)
	}},
	{why: "P-384 user", want: x509auth.ErrAlgorithm, cred: func(w *world) mls.Credential {
		k, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
		must(w.t, err)
		u := w.forge(w.atlanta, []string{aliceURI}, true, k.Public(), nil)
		return mls.X509Credential(w.forge(w.alice, []string{phoneURI}, false, w.phoneKey(), nil), u)
	}},
	{why: "ECDSA with SHA-384", want: x509auth.ErrAlgorithm, cred: func(w *world) mls.Credential {
		k := ecKey(w.t)
		u := w.user(w.atlanta, aliceURI, k.Public(), valid)
		return mls.X509Credential(w.forge(k, []string{phoneURI}, false, w.phoneKey(), func(c *x509.Certificate) {
			c.SignatureAlgorithm = x509.ECDSAWithSHA384
		}), u)
	}},

	{why: "chain copied by the holder of another key", want: x509auth.ErrKeyMismatch, cred: (*world).good,
		key: func(w *world) []byte { return w.signatureKey(mls.X25519AES128Ed25519).Public() }},
	{why: "leaf without a key", want: x509auth.ErrKeyMismatch, cred: (*world).good, key: func(*world) []byte { return nil }},
	{why: "leaf key of the other suite", want: x509auth.ErrKeyMismatch, cred: (*world).good,
		key: func(w *world) []byte { return w.signatureKey(mls.P256AES128P256).Public() }},

	{why: "client of another domain", want: x509auth.ErrNameMismatch, cred: clientNamed("mimi://biloxi.example/d/alice/phone")},
	{why: "client of an unknown domain", want: x509auth.ErrNameMismatch, cred: clientNamed("mimi://nowhere.example/d/alice/phone")},
	{why: "client of another user", want: x509auth.ErrNameMismatch, cred: clientNamed("mimi://atlanta.example/d/bob/phone")},
	{why: "users differ in case", want: x509auth.ErrNameMismatch, cred: clientNamed("mimi://atlanta.example/d/Alice/phone")},

	{why: "provider that nobody knows", want: x509auth.ErrUnknownProvider, cred: func(w *world) mls.Credential {
		u := w.user(w.atlanta, "mimi://nowhere.example/u/alice", w.alice.Public(), valid)
		return mls.X509Credential(w.client(w.alice, u, "mimi://nowhere.example/d/alice/phone", w.phone.Public(), valid), u)
	}},
	{why: "user of one provider, signed by another", want: x509auth.ErrUntrusted, cred: func(w *world) mls.Credential {
		u := w.user(w.biloxi, aliceURI, w.alice.Public(), valid)
		return mls.X509Credential(w.client(w.alice, u, phoneURI, w.phone.Public(), valid), u)
	}},
	{why: "user certificate signed by the user itself", want: x509auth.ErrUntrusted, cred: func(w *world) mls.Credential {
		return mls.X509Credential(w.phoneCert, w.user(w.alice, aliceURI, w.alice.Public(), valid))
	}},
	{why: "client that signs a user certificate, even its own user's", want: x509auth.ErrUntrusted, cred: func(w *world) mls.Credential {
		client, user := edKey(w.t), edKey(w.t)
		u := w.user(client, aliceURI, user.Public(), valid)
		return mls.X509Credential(w.client(user, u, phoneURI, w.phone.Public(), valid), u)
	}},
	{why: "one bit of the provider's signature flipped", want: x509auth.ErrUntrusted, cred: func(w *world) mls.Credential {
		u := bytes.Clone(w.aliceCert)
		u[len(u)-40] ^= 1
		return mls.X509Credential(w.phoneCert, u)
	}},
	{why: "client certificate signed by another key than the user's", want: x509auth.ErrSignature, cred: func(w *world) mls.Credential {
		return mls.X509Credential(w.forge(edKey(w.t), []string{phoneURI}, false, w.phoneKey(), nil), w.aliceCert)
	}},
	{why: "client certificate signed by the provider, past the user", want: x509auth.ErrSignature, cred: func(w *world) mls.Credential {
		return mls.X509Credential(w.forge(w.atlanta, []string{phoneURI}, false, w.phoneKey(), nil), w.aliceCert)
	}},
	{why: "client certificate signed with a key of another kind", want: x509auth.ErrSignature, cred: func(w *world) mls.Credential {
		return mls.X509Credential(w.forge(ecKey(w.t), []string{phoneURI}, false, w.phoneKey(), nil), w.aliceCert)
	}},
	{why: "one bit of the user's signature flipped", want: x509auth.ErrSignature, cred: func(w *world) mls.Credential {
		c := bytes.Clone(w.phoneCert)
		c[len(c)-40] ^= 1
		return mls.X509Credential(c, w.aliceCert)
	}},

	{why: "both expired", want: x509auth.ErrExpired, cred: (*world).good, at: valid.NotAfter.Add(time.Nanosecond)},
	{why: "both not yet valid", want: x509auth.ErrNotYetValid, cred: (*world).good, at: valid.NotBefore.Add(-time.Nanosecond)},
	{why: "client expired before its user", want: x509auth.ErrExpired, at: now.Add(2 * day),
		cred: dated(valid, x509auth.ValidFor(now, day))},
	{why: "user expired before its client", want: x509auth.ErrExpired, at: now.Add(2 * day),
		cred: dated(x509auth.ValidFor(now, day), valid)},
	{why: "client not valid yet", want: x509auth.ErrNotYetValid,
		cred: dated(valid, x509auth.ValidFor(now.Add(2*day), day))},
	{why: "user not valid yet", want: x509auth.ErrNotYetValid,
		cred: dated(x509auth.ValidFor(now.Add(2*day), day), valid)},
}

// prepared is a case made concrete.
type prepared struct {
	chainCase
	w    *world
	cred mls.Credential
	key  []byte
}

func (c chainCase) prepare(t testing.TB) prepared {
	w := newWorld(t)
	p := prepared{chainCase: c, w: w, cred: c.cred(w), key: w.phone.Public()}
	if c.key != nil {
		p.key = c.key(w)
	}
	if p.at.IsZero() {
		p.at = now
	}
	return p
}

func TestChains(t *testing.T) {
	for _, c := range chainCases {
		t.Run(c.why, func(t *testing.T) {
			p := c.prepare(t)
			err := authenticator(t, p.w.trust, 0).Authenticate(p.cred, p.key, p.at)
			if !errors.Is(err, c.want) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			if err != nil && len(err.Error()) > 1000 {
				t.Errorf("error of %d bytes: whoever sends a chain fills our logs", len(err.Error()))
			}
		})
	}
}

func TestNewRefusesOptions(t *testing.T) {
	for _, o := range []x509auth.Options{{}, {Anchors: trust{}.anchors, MaxCertificate: -1}} {
		if _, err := x509auth.New(o); !errors.Is(err, x509auth.ErrOptions) {
			t.Errorf("%+v: %v", o.MaxCertificate, err)
		}
	}
}

func TestLargerCertificatesByOption(t *testing.T) {
	w := newWorld(t)
	c := w.forgeClient(func(c *x509.Certificate) {
		c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 99999, 1}, Value: make([]byte, 4<<10)}}
	})
	a, err := x509auth.New(x509auth.Options{Anchors: w.trust.anchors, MaxCertificate: 8 << 10})
	must(t, err)
	must(t, a.Authenticate(c, w.phone.Public(), now))
}

func TestForeignAnchorsArePassedOver(t *testing.T) {
	w := newWorld(t)
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	other, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	must(t, err)
	a := authenticator(t, trust{atlanta: {nil, k.Public(), other.Public(), (*ecdsa.PublicKey)(nil), w.biloxi.Public(), w.atlanta.Public()}}, 0)
	for range 2 {
		must(t, a.Authenticate(w.good(), w.phone.Public(), now))
	}
}

// Names have one spelling, whatever crypto/x509 makes of the others.
func TestNameSpelling(t *testing.T) {
	w := newWorld(t)
	long := strings.Repeat("a", 64)
	for _, uri := range []string{
		"", "mimi:", "mimi://", "mimi:///d/alice/phone", "mimi://atlanta.example", "mimi://atlanta.example/d/alice",
		"mimi://atlanta.example/d/alice/", "mimi://atlanta.example/d//phone", "mimi://atlanta.example/d/alice/phone/",
		"mimi://atlanta.example/d/alice/phone/x", "mimi://atlanta.example/p/alice", "mimi://Atlanta.example/d/alice/phone",
		"mimi://atlanta.example:443/d/alice/phone", "mimi://u@atlanta.example/d/alice/phone",
		"mimi://atlanta.example./d/alice/phone", "mimi://.example/d/alice/phone", "mimi://-a.example/d/alice/phone",
		"mimi://a-/d/alice/phone", "mimi://" + long + ".example/d/alice/phone",
		"mimi://" + strings.Repeat("a.", 127) + "a/d/alice/phone", "mimi://[::1]/d/alice/phone",
		"mimi://atlanta.example/d/%61lice/phone", "mimi://atlanta.example/d/alice/phone?", "mimi://atlanta.example/d/alice/phone#x",
		"mimi://atlanta.example/d/alice/phone\x00", "mimi://atlanta.example/d/al ice/phone", "mimi://atlanta.example/d/alicé/phone",
		"mimi://atlanta.example/d/./phone", "mimi://atlanta.example/d/alice/..",
		"mimi://atlanta.example/d/alice/" + strings.Repeat("a", 129),
	} {
		t.Run(uri, func(t *testing.T) {
			c := w.forgeClient(rawSAN(altName{6, uri}))
			if _, err := x509auth.ClientURI(c); !errors.Is(err, x509auth.ErrName) {
				t.Errorf("reading: %v", err)
			}
			if err := authenticator(t, w.trust, 0).Authenticate(c, w.phone.Public(), now); !errors.Is(err, x509auth.ErrName) {
				t.Errorf("authenticating: %v", err)
			}
			if _, err := x509auth.IssueClient(w.alice, w.aliceCert, uri, w.phone.Public(), valid); !errors.Is(err, x509auth.ErrName) {
				t.Errorf("issuing: %v", err)
			}
		})
	}
}
