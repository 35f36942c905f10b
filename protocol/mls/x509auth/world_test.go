package x509auth_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"net/url"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/mls/x509auth"
)

const (
	atlanta = "atlanta.example"
	biloxi  = "biloxi.example"

	aliceURI = "mimi://atlanta.example/u/alice"
	phoneURI = "mimi://atlanta.example/d/alice/phone"
)

var (
	now   = time.Unix(1_700_000_000, 0)
	valid = x509auth.ValidFor(now, x509auth.Lifetime)
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func edKey(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	_, k, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	return k
}

func ecKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	return k
}

// raw is a public key as an MLS leaf holds it.
func raw(k crypto.PublicKey) []byte {
	if k, ok := k.(*ecdsa.PublicKey); ok {
		b, err := k.Bytes()
		if err != nil {
			panic(err)
		}
		return b
	}
	return k.(ed25519.PublicKey)
}

// trust is a set of anchors that a test may change between calls.
type trust map[string][]crypto.PublicKey

func (a trust) anchors(domain string) []crypto.PublicKey { return a[domain] }

func authenticator(t testing.TB, a trust, cacheSize int) *x509auth.Authenticator {
	t.Helper()
	out, err := x509auth.New(x509auth.Options{Anchors: a.anchors, CacheSize: cacheSize})
	must(t, err)
	return out
}

// world is two providers, the first in the midst of changing its key, and its
// user alice with a phone.
type world struct {
	t                   testing.TB
	oldAtlanta, atlanta ed25519.PrivateKey
	biloxi              *ecdsa.PrivateKey
	trust               trust
	alice               ed25519.PrivateKey
	aliceCert           []byte
	phone               mls.SignatureKey
	phoneCert           []byte
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, oldAtlanta: edKey(t), atlanta: edKey(t), biloxi: ecKey(t), alice: edKey(t)}
	w.trust = trust{
		atlanta: {w.oldAtlanta.Public(), w.atlanta.Public()},
		biloxi:  {w.biloxi.Public()},
	}
	w.aliceCert = w.user(w.atlanta, aliceURI, w.alice.Public(), valid)
	w.phone = w.signatureKey(mls.X25519AES128Ed25519)
	w.phoneCert = w.client(w.alice, w.aliceCert, phoneURI, w.phone.Public(), valid)
	return w
}

func (w *world) signatureKey(suite mls.CipherSuite) mls.SignatureKey {
	w.t.Helper()
	k, err := mls.GenerateSignatureKey(suite)
	must(w.t, err)
	return k
}

func (w *world) user(by crypto.Signer, uri string, key crypto.PublicKey, v x509auth.Validity) []byte {
	w.t.Helper()
	der, err := x509auth.IssueUser(by, uri, key, v)
	must(w.t, err)
	return der
}

func (w *world) client(by crypto.Signer, userCert []byte, uri string, key []byte, v x509auth.Validity) []byte {
	w.t.Helper()
	der, err := x509auth.IssueClient(by, userCert, uri, key, v)
	must(w.t, err)
	return der
}

func (w *world) good() mls.Credential { return mls.X509Credential(w.phoneCert, w.aliceCert) }

// phoneKey is the phone's key as crypto/x509 takes it.
func (w *world) phoneKey() crypto.PublicKey { return ed25519.PublicKey(w.phone.Public()) }

// forge makes what the issuing functions refuse to make: a certificate like
// theirs, changed by edit before it is signed.
func (w *world) forge(by crypto.Signer, uris []string, ca bool, key crypto.PublicKey, edit func(*x509.Certificate)) []byte {
	w.t.Helper()
	c := &x509.Certificate{
		SerialNumber:          big.NewInt(4711),
		NotBefore:             valid.NotBefore,
		NotAfter:              valid.NotAfter,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature,
	}
	if ca {
		c.IsCA, c.MaxPathLenZero, c.KeyUsage = true, true, x509.KeyUsageCertSign
	}
	for _, s := range uris {
		u, err := url.Parse(s)
		must(w.t, err)
		c.URIs = append(c.URIs, u)
	}
	if edit != nil {
		edit(c)
	}
	der, err := x509.CreateCertificate(rand.Reader, c, &x509.Certificate{Subject: pkix.Name{CommonName: "x"}}, key, by)
	must(w.t, err)
	return der
}

// forgeUser and forgeClient forge one side of alice's chain and return the
// whole chain.
func (w *world) forgeUser(edit func(*x509.Certificate)) mls.Credential {
	w.t.Helper()
	return mls.X509Credential(w.phoneCert, w.forge(w.atlanta, []string{aliceURI}, true, w.alice.Public(), edit))
}

func (w *world) forgeClient(edit func(*x509.Certificate)) mls.Credential {
	w.t.Helper()
	return mls.X509Credential(w.forge(w.alice, []string{phoneURI}, false, w.phoneKey(), edit), w.aliceCert)
}

// resign takes a certificate apart, lets edit change the content of its
// TBSCertificate, and signs it anew: for what crypto/x509 would not write.
func (w *world) resign(der []byte, by ed25519.PrivateKey, edit func(tbs []byte) []byte) []byte {
	w.t.Helper()
	tbs, algorithm, _ := w.takeApart(der)
	var body cryptobyte.String
	s := cryptobyte.String(tbs)
	if !s.ReadASN1(&body, cbasn1.SEQUENCE) {
		w.t.Fatal("no TBSCertificate")
	}
	tbs = sequence(edit(bytes.Clone(body)))
	signature, err := asn1.Marshal(asn1.BitString{Bytes: ed25519.Sign(by, tbs), BitLength: 512})
	must(w.t, err)
	return sequence(tbs, algorithm, signature)
}

// takeApart returns copies of the three elements of a certificate.
func (w *world) takeApart(der []byte) (tbs, algorithm, signature []byte) {
	w.t.Helper()
	in := cryptobyte.String(der)
	var cert, a, b, c cryptobyte.String
	if !in.ReadASN1(&cert, cbasn1.SEQUENCE) || !cert.ReadASN1Element(&a, cbasn1.SEQUENCE) ||
		!cert.ReadASN1Element(&b, cbasn1.SEQUENCE) || !cert.ReadASN1Element(&c, cbasn1.BIT_STRING) {
		w.t.Fatal("not a certificate")
	}
	return bytes.Clone(a), bytes.Clone(b), bytes.Clone(c)
}

func sequence(parts ...[]byte) []byte {
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		for _, p := range parts {
			b.AddBytes(p)
		}
	})
	return b.BytesOrPanic()
}

// generalNames encodes a subject alternative name extension: kind 2 is a DNS
// name, 6 a URI.
func generalNames(critical bool, names ...struct {
	kind uint8
	name string
}) pkix.Extension {
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		for _, n := range names {
			b.AddASN1(cbasn1.Tag(n.kind).ContextSpecific(), func(b *cryptobyte.Builder) { b.AddBytes([]byte(n.name)) })
		}
	})
	return pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Critical: critical, Value: b.BytesOrPanic()}
}

type altName = struct {
	kind uint8
	name string
}
