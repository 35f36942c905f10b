package introduction_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mimid/mimid/protocol/introduction"
	"github.com/mimid/mimid/protocol/privacypass"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
)

func request(t testing.TB, i *privacypass.Issuer, w introduction.Week) *introduction.Request {
	t.Helper()
	issuer, err := uri.ParseDomain("a.example")
	if err != nil {
		t.Fatal(err)
	}
	target, err := uri.ParseUser("mimi://b.example/u/bob")
	if err != nil {
		t.Fatal(err)
	}
	req, pending, err := privacypass.Ask(i.Key(), introduction.Challenge("a.example", "b.example", w))
	if err != nil {
		t.Fatal(err)
	}
	res, err := i.Issue(req)
	if err != nil {
		t.Fatal(err)
	}
	tok, err := pending.Finish(res)
	if err != nil {
		t.Fatal(err)
	}
	return &introduction.Request{Issuer: issuer, Target: target, Handle: introduction.NewSecret().Handle(), Text: "we met yesterday", Token: *tok}
}

// TestRequest: what is written is read, and nothing else is.
func TestRequest(t *testing.T) {
	r := request(t, newIssuer(t), 7)
	raw := r.Bytes()
	if len(raw) > introduction.MaxRequest {
		t.Errorf("%d octets", len(raw))
	}
	got, err := introduction.ParseRequest(raw)
	if err != nil || *got != *r {
		t.Fatalf("%+v, %v", got, err)
	}
	with := func(change func(*introduction.Request)) []byte {
		x := *r
		change(&x)
		return x.Bytes()
	}
	for what, bad := range map[string][]byte{
		"nothing": nil, "version": append([]byte{2}, raw[1:]...), "more": append(bytes.Clone(raw), 0), "cut": raw[:len(raw)-1],
		"long":        make([]byte, introduction.MaxRequest+1),
		"a long text": with(func(r *introduction.Request) { r.Text = strings.Repeat("x", introduction.MaxText+1) }),
		"two lines":   with(func(r *introduction.Request) { r.Text = "a\nb" }),
		"no UTF-8":    with(func(r *introduction.Request) { r.Text = "\xff" }),
		"capitals":    bytes.Replace(raw, []byte("a.example"), []byte("A.example"), 1),
		"no user":     bytes.Replace(raw, []byte("/u/"), []byte("/r/"), 1),
	} {
		if _, err := introduction.ParseRequest(bad); !errors.Is(err, introduction.ErrMalformed) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestCheck: a token is taken in its week and the next, by its issuer's key, at its origin.
func TestCheck(t *testing.T) {
	i, other := newIssuer(t), newIssuer(t)
	const w = introduction.Week(2970)
	r := request(t, i, w)
	keys := introduction.Keys{{Week: w + 1, Key: other.Key()}, {Week: w, Key: i.Key()}}
	now := w.Begins().Add(8 * 24 * time.Hour) // both weeks are taken
	c, err := r.Check(keys, now)
	if err != nil || c.Week != w {
		t.Fatal(c, err)
	}
	if _, err := r.Check(keys, w.Over().Add(-time.Second)); err != nil {
		t.Errorf("in the last second: %v", err)
	}
	for _, at := range []time.Time{w.Over(), w.Begins().Add(-time.Hour)} {
		if _, err := r.Check(keys, at); !errors.Is(err, introduction.ErrWeek) {
			t.Errorf("at %s: %v", at, err)
		}
	}
	elsewhere, _ := uri.ParseUser("mimi://c.example/u/bob")
	issuer, _ := uri.ParseDomain("c.example")
	for what, x := range map[string]struct {
		change func(*introduction.Request)
		keys   introduction.Keys
	}{
		"another origin": {func(r *introduction.Request) { r.Target = elsewhere }, keys},
		"another issuer": {func(r *introduction.Request) { r.Issuer = issuer }, keys},
		"another nonce":  {func(r *introduction.Request) { r.Token.Nonce[0]++ }, keys},
		"no such key":    {func(*introduction.Request) {}, keys[:1]},
		"another week":   {func(*introduction.Request) {}, introduction.Keys{{Week: w + 1, Key: i.Key()}}},
		"nothing signed": {func(r *introduction.Request) { clear(r.Token.Signature[:]) }, keys},
	} {
		y := *r
		x.change(&y)
		if _, err := y.Check(x.keys, now); !errors.Is(err, privacypass.ErrToken) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestSecret: it goes with a word on consent, and prints as nothing.
func TestSecret(t *testing.T) {
	s := introduction.NewSecret()
	e := &wire.ConsentEntry{Operation: wire.ConsentRequest, Scope: wire.ConsentScope{Requester: "mimi://a.example/u/alice", Target: "mimi://b.example/u/bob"}}
	if _, ok, err := introduction.SecretOf(e.Extensions); ok || err != nil {
		t.Error(ok, err)
	}
	introduction.Attach(e, s)
	b, err := e.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	back, err := wire.ParseConsentEntry(b, wire.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if got, ok, err := introduction.SecretOf(back.Extensions); !ok || err != nil || got != s {
		t.Error(ok, err)
	}
	back.Extensions[introduction.Component] = s[:31]
	if _, _, err := introduction.SecretOf(back.Extensions); !errors.Is(err, introduction.ErrMalformed) {
		t.Errorf("31 octets: %v", err)
	}
	for _, f := range []string{"%v", "%x", "%#v", "%s", "%d"} {
		if got := fmt.Sprintf(f, s); got != "introduction.Secret" {
			t.Errorf("%s prints %q", f, got)
		}
	}
	if introduction.NewSecret() == s || s.Handle() == introduction.Handle(s) {
		t.Error("a secret that is none")
	}
}

func FuzzRequest(f *testing.F) {
	f.Add(request(f, newIssuer(f), 7).Bytes())
	f.Add([]byte{1, 1, 'a'})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := introduction.ParseRequest(b)
		if err != nil {
			if !errors.Is(err, introduction.ErrMalformed) {
				t.Errorf("%v", err)
			}
			return
		}
		if !bytes.Equal(r.Bytes(), b) {
			t.Errorf("%x is written as %x", b, r.Bytes())
		}
	})
}
