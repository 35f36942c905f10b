package pseudonym_test

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/mls/x509auth"
	"github.com/mimid/mimid/protocol/pseudonym"
	"github.com/mimid/mimid/protocol/uri"
)

const suite = mls.X25519AES128Ed25519

var now = time.Date(2026, 11, 30, 15, 0, 0, 0, time.UTC)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

var (
	provider  = must(uri.ParseDomain("a.example"))
	other     = must(uri.ParseDomain("b.example"))
	clubhouse = must(uri.ParseRoom("mimi://a.example/r/clubhouse"))
	library   = must(uri.ParseRoom("mimi://a.example/r/library"))
)

// directory is a judge that knows each user's key.
type directory map[string][]byte

func (d directory) Authenticate(c mls.Credential, key []byte, _ time.Time) error {
	if want, ok := d[string(c.Identity)]; !ok || !bytes.Equal(want, key) {
		return errors.New("not the key of this user")
	}
	return nil
}

func (d directory) User(c mls.Credential) (uri.User, error) {
	return uri.ParseUser(string(c.Identity))
}

// person makes a user's identity, and enters it into the directory.
func (d directory) person(p uri.Provider, name string) pseudonym.Identity {
	k := must(mls.GenerateSignatureKey(suite))
	u := must(p.User(name))
	d[u.String()] = k.Public()
	return pseudonym.Identity{Suite: suite, Signer: k, Credential: mls.BasicCredential([]byte(u.String()))}
}

// blank is a credential for a new leaf of a user, without a link.
func blank(p uri.Provider, user uri.Pseudonym) *pseudonym.Credential {
	if user.IsZero() {
		user = must(pseudonym.New(p))
	}
	key := make([]byte, 32)
	rand.Read(key)
	return &pseudonym.Credential{Client: must(pseudonym.New(p)), User: user, Key: key}
}

func roomKey(epoch uint64) pseudonym.Key {
	return must(pseudonym.RoomKey(clubhouse, epoch, bytes.Repeat([]byte{byte(epoch + 1)}, pseudonym.ExportSize)))
}

// sealed is a credential with a link.
func sealed(t testing.TB, k pseudonym.Key, who pseudonym.Identity) *pseudonym.Credential {
	t.Helper()
	c := blank(provider, uri.Pseudonym{})
	if err := c.Seal(k, clubhouse, who); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestLink_6: who has the key learns who it is, from what is written in a leaf.
func TestLink_6(t *testing.T) {
	d := directory{}
	alice := d.person(provider, "alice")
	for _, k := range []pseudonym.Key{roomKey(3), pseudonym.NewKey()} {
		c := sealed(t, k, alice)
		read, err := pseudonym.Of(c.MLS(), c.Key)
		if err != nil {
			t.Fatal(err)
		}
		if !read.MLS().Equal(c.MLS()) {
			t.Error("what is read is written otherwise")
		}
		claim, err := read.Open(k, clubhouse)
		if err != nil {
			t.Fatal(err)
		}
		l, err := claim.Verify(d, now)
		if err != nil || l.User().Name() != "alice" || l.Pseudonym() != c.User || l.Client() != c.Client || !l.Credential().Equal(alice.Credential) {
			t.Errorf("%+v, %v", l, err)
		}
		if bytes.Contains(c.MLS().Identity, []byte("alice")) {
			t.Error("the name stands in the credential")
		}
	}
}

// TestLinkIsBound: a link does not open where any of what it is bound to is another, nor with
// another key that says it is the right one.
func TestLinkIsBound(t *testing.T) {
	d := directory{}
	k := roomKey(3)
	c := sealed(t, k, d.person(provider, "alice"))
	for what, change := range map[string]func(*pseudonym.Credential){
		"client":     func(x *pseudonym.Credential) { x.Client = must(pseudonym.New(provider)) },
		"user":       func(x *pseudonym.Credential) { x.User = must(pseudonym.New(provider)) },
		"leaf key":   func(x *pseudonym.Credential) { x.Key = bytes.Repeat([]byte{7}, 32) },
		"nonce":      func(x *pseudonym.Credential) { x.Link.Nonce[0] ^= 1 },
		"ciphertext": func(x *pseudonym.Credential) { x.Link.Ciphertext[0] ^= 1 },
	} {
		x := *c
		x.Link.Ciphertext = bytes.Clone(c.Link.Ciphertext)
		change(&x)
		if _, err := x.Open(k, clubhouse); !errors.Is(err, pseudonym.ErrNotOpen) {
			t.Errorf("another %s: %v", what, err)
		}
	}
	if _, err := c.Open(k, library); !errors.Is(err, pseudonym.ErrNotOpen) {
		t.Errorf("another room: %v", err)
	}
	x := *c
	x.Link.Key.Generation++
	if _, err := x.Open(pseudonym.As(k, x.Link.Key), clubhouse); !errors.Is(err, pseudonym.ErrNotOpen) {
		t.Errorf("another generation: %v", err)
	}
	if _, err := c.Open(pseudonym.As(roomKey(4), c.Link.Key), clubhouse); !errors.Is(err, pseudonym.ErrNotOpen) {
		t.Errorf("another key: %v", err)
	}
	if _, err := c.Open(roomKey(4), clubhouse); !errors.Is(err, pseudonym.ErrNoKey) {
		t.Errorf("a key that it does not name: %v", err)
	}
}

// TestClaims: what is in a link is believed only if the identity signed it, for this leaf and
// room, and is good.
func TestClaims(t *testing.T) {
	d := directory{}
	alice, mallory := d.person(provider, "alice"), d.person(provider, "mallory")
	stranger := d.person(other, "alice")
	k := roomKey(3)
	verify := func(c *pseudonym.Credential) error {
		claim, err := c.Open(k, clubhouse)
		if err != nil {
			t.Fatal(err)
		}
		_, err = claim.Verify(d, now)
		return err
	}
	if err := verify(sealed(t, k, alice)); err != nil {
		t.Error(err)
	}
	// Mallory shows alice's credential, with her own key.
	lie := mallory
	lie.Credential = alice.Credential
	if err := verify(sealed(t, k, lie)); !errors.Is(err, pseudonym.ErrIdentity) {
		t.Errorf("another's credential: %v", err)
	}
	if err := verify(sealed(t, k, stranger)); !errors.Is(err, pseudonym.ErrIdentity) {
		t.Errorf("a user of another provider than the pseudonym's: %v", err)
	}
	if err := verify(sealed(t, k, pseudonym.Identity{Suite: suite, Signer: alice.Signer, Credential: mls.BasicCredential([]byte("alice"))})); !errors.Is(err, pseudonym.ErrIdentity) {
		t.Errorf("no user: %v", err)
	}
	// Mallory takes what alice signed, for another room or leaf, into her own leaf.
	mine := blank(provider, uri.Pseudonym{})
	hers := *mine
	hers.Key = bytes.Repeat([]byte{9}, 32)
	for what, signed := range map[string][]byte{
		"":             pseudonym.TBS(mine, pseudonym.KindRoom, clubhouse),
		"another room": pseudonym.TBS(mine, pseudonym.KindRoom, library),
		"no room":      pseudonym.TBS(mine, pseudonym.KindOwn, clubhouse),
		"another leaf": pseudonym.TBS(&hers, pseudonym.KindRoom, clubhouse),
	} {
		var b []byte
		b = appendOpaque(b, must(alice.Signer.Sign(pseudonym.SignatureName, signed)))
		b = alice.Credential.Append(b)
		b = append(b, 0, byte(suite))
		b = appendOpaque(b, alice.Signer.Public())
		b = append(b, make([]byte, pseudonym.LinkBucket-len(b))...)
		pseudonym.SealClaim(mine, k, pseudonym.TBS(mine, pseudonym.KindRoom, clubhouse), b)
		err := verify(mine)
		if what == "" && err != nil || what != "" && !errors.Is(err, pseudonym.ErrNotSigned) {
			t.Errorf("signed for %q: %v", what, err)
		}
	}
	// A true claim in a link that has anything else in it, which could say something.
	claim := appendOpaque(nil, must(alice.Signer.Sign(pseudonym.SignatureName, pseudonym.TBS(mine, pseudonym.KindRoom, clubhouse))))
	claim = alice.Credential.Append(claim)
	claim = appendOpaque(append(claim, 0, byte(suite)), alice.Signer.Public())
	filled := func(n int, last byte) []byte {
		b := append(bytes.Clone(claim), make([]byte, n-len(claim))...)
		b[n-1] = last
		return b
	}
	for what, plain := range map[string][]byte{
		"": filled(pseudonym.LinkBucket, 0), "no link": bytes.Repeat([]byte{0x41}, pseudonym.LinkBucket),
		"words in the padding": filled(pseudonym.LinkBucket, 1), "padding beyond need": filled(2*pseudonym.LinkBucket, 0),
	} {
		pseudonym.SealClaim(mine, k, pseudonym.TBS(mine, pseudonym.KindRoom, clubhouse), plain)
		_, err := mine.Open(k, clubhouse)
		if what == "" && (err != nil || verify(mine) != nil) || what != "" && !errors.Is(err, pseudonym.ErrNotOpen) {
			t.Errorf("%q: %v", what, err)
		}
	}
}

func appendOpaque(b, x []byte) []byte {
	if len(x) > 63 {
		b = append(b, 0x40|byte(len(x)>>8))
	}
	return append(append(b, byte(len(x))), x...)
}

// TestLengthSaysNothing: the link of a user with a long name, at a provider with a long one,
// is as long as any other's.
func TestLengthSaysNothing(t *testing.T) {
	size := func(domain, user, device string) int {
		chain, signer, _ := x509Identity(t, domain, user, device)
		return len(sealed(t, roomKey(1), pseudonym.Identity{Suite: suite, Signer: signer, Credential: chain}).MLS().Identity)
	}
	short := size("a.example", "al", "a")
	long := size(strings.Repeat("k", 52)+".p2p.invalid", strings.Repeat("x", 40), strings.Repeat("y", 30))
	if short != long {
		t.Errorf("%d and %d octets", short, long)
	}
}

// TestX509: the identity in a link may be what open rooms have, and its chain is verified.
func TestX509(t *testing.T) {
	chain, signer, judge := x509Identity(t, "a.example", "alice", "phone")
	k := pseudonym.NewKey()
	c := sealed(t, k, pseudonym.Identity{Suite: suite, Signer: signer, Credential: chain})
	claim, err := c.Open(k, clubhouse)
	if err != nil {
		t.Fatal(err)
	}
	l, err := claim.Verify(judge, now)
	if err != nil || l.User().String() != "mimi://a.example/u/alice" {
		t.Fatalf("%v, %v", l, err)
	}
	if _, err := claim.Verify(judge, now.Add(1000*24*time.Hour)); !errors.Is(err, pseudonym.ErrIdentity) {
		t.Errorf("after its end: %v", err)
	}
	if n, open := len(c.MLS().Identity), len(chain.Append(nil)); n > open+1200 {
		t.Errorf("%d octets in a leaf, %d in an open room's", n, open)
	}
}

// TestKeys: a key is derived from all that it is for, names itself, and never prints.
func TestKeys(t *testing.T) {
	x := bytes.Repeat([]byte{1}, pseudonym.ExportSize)
	y := bytes.Repeat([]byte{2}, pseudonym.ExportSize)
	seen, secrets := map[[32]byte]bool{}, map[string]bool{}
	for _, k := range []pseudonym.Key{
		must(pseudonym.RoomKey(clubhouse, 1, x)), must(pseudonym.RoomKey(clubhouse, 2, x)),
		must(pseudonym.RoomKey(library, 1, x)), must(pseudonym.RoomKey(clubhouse, 1, y)), pseudonym.NewKey(), pseudonym.NewKey(),
	} {
		if seen[k.ID().Commitment] {
			t.Errorf("%v twice", k)
		}
		seen[k.ID().Commitment] = true
		raw := (&pseudonym.Keys{Others: []pseudonym.Key{k}}).Bytes()
		got, err := pseudonym.ParseKeys(raw)
		if err != nil || len(got.Others) != 1 || got.Others[0] != k {
			t.Errorf("%v, %v", got, err)
		}
		secret := raw[len(raw)-32:]
		if secrets[string(secret)] {
			t.Errorf("the secret of %v twice", k)
		}
		secrets[string(secret)] = true
		for _, v := range []any{k, &k, *got, got, []pseudonym.Key{k}, struct{ K pseudonym.Key }{k}} {
			for _, verb := range []string{"%v", "%+v", "%#v", "%x", "%s", "%d"} {
				s := fmt.Sprintf(verb, v)
				if strings.Contains(s, fmt.Sprintf("%x", secret[:4])) || strings.Contains(s, fmt.Sprint(secret[:4])[1:9]) || strings.Contains(s, string(secret[:4])) {
					t.Errorf("%s prints %s", verb, s)
				}
			}
		}
	}
	// One secret as keys of generations, and as a newcomer's, has another name each time.
	raw := (&pseudonym.Keys{Others: []pseudonym.Key{must(pseudonym.RoomKey(clubhouse, 1, x))}}).Bytes()
	kind := len(raw) - 32 - 8 - 1
	for _, name := range [][]byte{{1, 0, 0, 0, 0, 0, 0, 0, 9}, {1, 0, 0, 0, 0, 0, 0, 0, 0}, {2, 0, 0, 0, 0, 0, 0, 0, 0}} {
		copy(raw[kind:], name)
		k := must(pseudonym.ParseKeys(raw)).Others[0]
		if seen[k.ID().Commitment] {
			t.Errorf("%v has another's commitment", k)
		}
		seen[k.ID().Commitment] = true
	}
	if again := must(pseudonym.RoomKey(clubhouse, 1, x)); !seen[again.ID().Commitment] {
		t.Error("the same key has another name")
	}
	for _, n := range []int{0, 31, 33} {
		if _, err := pseudonym.RoomKey(clubhouse, 1, make([]byte, n)); !errors.Is(err, pseudonym.ErrMalformed) {
			t.Errorf("%d octets: %v", n, err)
		}
	}
}

// TestSealRefuses: nothing is sealed that nobody could use.
func TestSealRefuses(t *testing.T) {
	d := directory{}
	alice := d.person(provider, "alice")
	c := blank(provider, uri.Pseudonym{})
	for what, err := range map[string]error{
		"no key":      c.Seal(pseudonym.Key{}, clubhouse, alice),
		"no identity": c.Seal(roomKey(1), clubhouse, pseudonym.Identity{}),
		"too large":   c.Seal(roomKey(1), clubhouse, pseudonym.Identity{Suite: suite, Signer: alice.Signer, Credential: mls.BasicCredential(make([]byte, 40<<10))}),
		"no credential": (&pseudonym.Credential{Client: c.Client, User: c.Client, Key: c.Key}).Seal(
			roomKey(1), clubhouse, alice),
	} {
		if err == nil {
			t.Errorf("%s is sealed", what)
		}
	}
	if c.Link.Ciphertext != nil {
		t.Error("a link that was refused stands in the credential")
	}
}

// x509Identity is a device's chain as in open rooms, its key, and a judge that knows the
// provider's.
func x509Identity(t *testing.T, domain, user, device string) (chain mls.Credential, signer mls.SignatureKey, judge pseudonym.Judge) {
	t.Helper()
	_, provider := must2(ed25519.GenerateKey(rand.Reader))
	pub, certifies := must2(ed25519.GenerateKey(rand.Reader))
	signer = must(mls.GenerateSignatureKey(suite))
	v := x509auth.ValidFor(now, x509auth.Lifetime)
	cert := must(x509auth.IssueUser(provider, "mimi://"+domain+"/u/"+user, pub, v))
	leaf := must(x509auth.IssueClient(certifies, cert, "mimi://"+domain+"/d/"+user+"/"+device, signer.Public(), v))
	auth := must(x509auth.New(x509auth.Options{Anchors: func(of string) []crypto.PublicKey {
		if of != domain {
			return nil
		}
		return []crypto.PublicKey{provider.Public()}
	}}))
	return mls.X509Credential(leaf, cert), signer, pseudonym.X509{Authenticator: auth}
}

func must2[A, B any](a A, b B, err error) (A, B) {
	if err != nil {
		panic(err)
	}
	return a, b
}
