package privacypass_test

import (
	"bytes"
	"testing"

	"github.com/mimid/mimid/protocol/privacypass"
)

func FuzzParseChallenge(f *testing.F) {
	b, _ := challenge().Bytes()
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := privacypass.ParseChallenge(b)
		if err != nil {
			return
		}
		if again, err := c.Bytes(); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%x is written again as %x, %v", b, again, err)
		}
	})
}

func FuzzParseToken(f *testing.F) {
	f.Add((&privacypass.Token{}).Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		token, err := privacypass.ParseToken(b)
		if err == nil && !bytes.Equal(token.Bytes(), b) {
			t.Errorf("%x is written again as %x", b, token.Bytes())
		}
	})
}

func FuzzParseKey(f *testing.F) {
	f.Add(issuers()[0].Key().Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		k, err := privacypass.ParseKey(b)
		if err == nil && !bytes.Equal(k.Bytes(), b) {
			t.Errorf("%x is written again as %x", b, k.Bytes())
		}
	})
}

// A request by anybody: the issuer answers or refuses.
func FuzzIssue(f *testing.F) {
	request, _, _ := privacypass.Ask(issuers()[0].Key(), challenge())
	f.Add(request)
	f.Fuzz(func(t *testing.T, b []byte) {
		response, err := issuers()[0].Issue(b)
		if err == nil && len(response) != privacypass.ResponseSize {
			t.Errorf("%d octets of an answer", len(response))
		}
	})
}

// An answer by a hostile issuer: a token comes out only if it is good.
func FuzzFinish(f *testing.F) {
	i, c := issuers()[0], challenge()
	request, p, err := privacypass.Ask(i.Key(), c)
	if err != nil {
		f.Fatal(err)
	}
	good, err := i.Issue(request)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Fuzz(func(t *testing.T, b []byte) {
		token, err := p.Finish(b)
		if err == nil && i.Key().Verify(token, c) != nil {
			t.Error("a token that is not good was made")
		}
	})
}
