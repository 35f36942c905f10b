package privacypass_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"sync"
	"testing"

	"github.com/mimid/mimid/protocol/privacypass"
)

// Making keys takes long: the tests share two.
var issuers = sync.OnceValue(func() (out [2]*privacypass.Issuer) {
	for i := range out {
		sk, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			panic(err)
		}
		if out[i], err = privacypass.NewIssuer(sk); err != nil {
			panic(err)
		}
	}
	return out
})

func challenge() *privacypass.Challenge {
	return &privacypass.Challenge{Issuer: "atlanta.example", Context: bytes.Repeat([]byte{7}, 32), Origin: "biloxi.example"}
}

func issue(t testing.TB, i *privacypass.Issuer, c *privacypass.Challenge) *privacypass.Token {
	t.Helper()
	request, p, err := privacypass.Ask(i.Key(), c)
	if err != nil {
		t.Fatal(err)
	}
	response, err := i.Issue(request)
	if err != nil {
		t.Fatal(err)
	}
	token, err := p.Finish(response)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// TestTokens: a token is good for its key and its challenge, and for no other; two are apart.
func TestTokens(t *testing.T) {
	a, b := issuers()[0], issuers()[1]
	c := challenge()
	one, two := issue(t, a, c), issue(t, a, c)
	if one.Nonce == two.Nonce || one.Signature == two.Signature {
		t.Error("two tokens are the same")
	}
	if err := a.Key().Verify(one, c); err != nil {
		t.Errorf("a good token: %v", err)
	}
	for name, x := range map[string]struct {
		key    *privacypass.Key
		change func(*privacypass.Token, *privacypass.Challenge)
	}{
		"another issuer's key":     {b.Key(), nil},
		"another key, renamed":     {b.Key(), func(t *privacypass.Token, _ *privacypass.Challenge) { t.KeyID = b.Key().ID() }},
		"for another provider":     {a.Key(), func(_ *privacypass.Token, c *privacypass.Challenge) { c.Origin = "chicago.example" }},
		"for another day":          {a.Key(), func(_ *privacypass.Token, c *privacypass.Challenge) { c.Context[0]++ }},
		"without the context":      {a.Key(), func(_ *privacypass.Token, c *privacypass.Challenge) { c.Context = nil }},
		"of another issuer's name": {a.Key(), func(_ *privacypass.Token, c *privacypass.Challenge) { c.Issuer = "chicago.example" }},
		"another challenge, renamed": {a.Key(), func(t *privacypass.Token, c *privacypass.Challenge) {
			c.Origin = "chicago.example"
			t.Challenge, _ = c.Digest()
		}},
		"another nonce":     {a.Key(), func(t *privacypass.Token, _ *privacypass.Challenge) { t.Nonce[0] ^= 1 }},
		"another signature": {a.Key(), func(t *privacypass.Token, _ *privacypass.Challenge) { t.Signature[255] ^= 1 }},
		"another's signature": {a.Key(), func(t *privacypass.Token, _ *privacypass.Challenge) {
			t.Signature = two.Signature
		}},
		"zero": {a.Key(), func(t *privacypass.Token, _ *privacypass.Challenge) { t.Signature = [256]byte{} }},
		"all ones": {a.Key(), func(t *privacypass.Token, _ *privacypass.Challenge) {
			copy(t.Signature[:], bytes.Repeat([]byte{255}, 256))
		}},
	} {
		token, c := *one, challenge()
		if x.change != nil {
			x.change(&token, c)
		}
		if err := x.key.Verify(&token, c); !errors.Is(err, privacypass.ErrToken) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The issuer sees the same of a challenge as of any other: nothing of what it has signed is in the
// token, and nothing in the token was in the request.
func TestRequestShowsNothing(t *testing.T) {
	i := issuers()[0]
	request, p, err := privacypass.Ask(i.Key(), challenge())
	if err != nil {
		t.Fatal(err)
	}
	again, _, _ := privacypass.Ask(i.Key(), challenge())
	if bytes.Equal(request, again) {
		t.Error("two requests are the same")
	}
	response, err := i.Issue(request)
	if err != nil {
		t.Fatal(err)
	}
	token, err := p.Finish(response)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range [][]byte{token.Nonce[:], token.Challenge[:], token.Signature[:32], token.Signature[224:]} {
		if bytes.Contains(request, part) || bytes.Contains(response, part) {
			t.Errorf("%x is in the request or the response, and in the token", part)
		}
	}
	for _, v := range []any{p, *p, i, *i} {
		if s := fmt.Sprintf("%v %+v %#v", v, v, v); strings.Contains(s, "rInv") || len(s) > 400 {
			t.Errorf("%T is printed as %.100s", v, s)
		}
	}
}

// An issuer that answers something else.
func TestFalseResponses(t *testing.T) {
	a, b := issuers()[0], issuers()[1]
	request, p, err := privacypass.Ask(a.Key(), challenge())
	if err != nil {
		t.Fatal(err)
	}
	good, err := a.Issue(request)
	if err != nil {
		t.Fatal(err)
	}
	other, _, err := privacypass.Ask(a.Key(), challenge())
	if err != nil {
		t.Fatal(err)
	}
	swapped, err := a.Issue(other)
	if err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(good)
	flipped[100] ^= 1
	for name, r := range map[string][]byte{"nothing": nil, "short": good[1:], "long": append(bytes.Clone(good), 0), "flipped": flipped,
		"of another request": swapped, "zero": make([]byte, 256), "the request back": request[3:]} {
		if _, err := p.Finish(r); !errors.Is(err, privacypass.ErrResponse) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := p.Finish(good); err != nil {
		t.Errorf("the right one after them: %v", err)
	}
	toB := bytes.Clone(request)
	toB[2] = b.Key().ID()[31]
	for name, r := range map[string]struct {
		b    []byte
		want error
	}{"nothing": {nil, privacypass.ErrMalformed}, "short": {request[:258], privacypass.ErrMalformed}, "long": {append(bytes.Clone(request), 0), privacypass.ErrMalformed},
		"another type":        {append([]byte{0, 1}, request[2:]...), privacypass.ErrMalformed},
		"beyond the modulus":  {append(bytes.Clone(request[:3]), bytes.Repeat([]byte{255}, 256)...), privacypass.ErrMalformed},
		"the same, other key": {append([]byte{0, 2, request[2] ^ 1}, request[3:]...), privacypass.ErrKey}} {
		if _, err := a.Issue(r.b); !errors.Is(err, r.want) {
			t.Errorf("request, %s: %v, want %v", name, err, r.want)
		}
	}
}

func TestKeys(t *testing.T) {
	k := issuers()[0].Key()
	read, err := privacypass.ParseKey(k.Bytes())
	if err != nil || read.ID() != k.ID() || !bytes.Equal(read.Bytes(), k.Bytes()) {
		t.Fatalf("%v", err)
	}
	for i := range k.Bytes() { // all but the modulus is constant, and that is odd and has its first bit
		b := k.Bytes()
		b[i] ^= 0x81
		modulus := i >= len(b)-5-256 && i < len(b)-5
		if _, err := privacypass.ParseKey(b); (err == nil) != (modulus && i != len(b)-5-256 && i != len(b)-6) {
			t.Errorf("octet %d changed: %v", i, err)
		}
	}
	for name, pk := range map[string]*rsa.PublicKey{"none": nil, "no modulus": {E: 65537}, "small": {N: big.NewInt(15), E: 65537},
		"exponent": {N: new(big.Int).SetBytes(bytes.Repeat([]byte{255}, 256)), E: 3}} {
		if _, err := privacypass.NewKey(pk); !errors.Is(err, privacypass.ErrKey) {
			t.Errorf("%s: %v", name, err)
		}
	}
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := privacypass.NewIssuer(small); !errors.Is(err, privacypass.ErrKey) {
		t.Errorf("1024 bits: %v", err)
	}
}

func TestChallengeBounds(t *testing.T) {
	for name, c := range map[string]privacypass.Challenge{
		"no issuer":     {},
		"long issuer":   {Issuer: strings.Repeat("a", privacypass.MaxName+1)},
		"short context": {Issuer: "a", Context: make([]byte, 31)},
		"long context":  {Issuer: "a", Context: make([]byte, 33)},
		"long origin":   {Issuer: "a", Origin: strings.Repeat("a", privacypass.MaxOrigin+1)},
	} {
		if _, err := c.Bytes(); !errors.Is(err, privacypass.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
		if _, _, err := privacypass.Ask(issuers()[0].Key(), &c); !errors.Is(err, privacypass.ErrMalformed) {
			t.Errorf("asked for a token, %s: %v", name, err)
		}
	}
	good, err := challenge().Bytes()
	if err != nil {
		t.Fatal(err)
	}
	for n := range good {
		if _, err := privacypass.ParseChallenge(good[:n]); !errors.Is(err, privacypass.ErrMalformed) {
			t.Errorf("%d octets of %d: %v", n, len(good), err)
		}
	}
	if _, err := privacypass.ParseChallenge(append(good, 0)); !errors.Is(err, privacypass.ErrMalformed) {
		t.Errorf("an octet too many: %v", err)
	}
}
