package introduction_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"testing"
	"time"

	"github.com/mimid/mimid/protocol/introduction"
	"github.com/mimid/mimid/protocol/privacypass"
)

func newIssuer(t testing.TB) *privacypass.Issuer {
	t.Helper()
	sk, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	i, err := privacypass.NewIssuer(sk)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func TestWeeks(t *testing.T) {
	at := func(s string) time.Time {
		x, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	w := introduction.WeekOf(at("2026-11-30T02:00:00Z"))
	if got := w.Begins(); !got.Equal(at("2026-11-26T00:00:00Z")) { // a Thursday, as 1 January 1970
		t.Errorf("begins %s", got)
	}
	for s, want := range map[string]bool{
		"2026-11-25T23:49:59Z": false, "2026-11-25T23:50:00Z": true, "2026-11-26T00:00:00Z": true, "2026-12-02T23:59:59Z": true,
		"2026-12-09T23:59:59Z": true, "2026-12-10T00:00:00Z": false, "1969-01-01T00:00:00Z": false,
	} {
		if got := w.Takes(at(s)); got != want {
			t.Errorf("%s: %v", s, got)
		}
	}
	if got := introduction.WeekOf(at("1960-01-01T00:00:00Z")); got != 0 {
		t.Errorf("before 1970: week %d", got)
	}
	if introduction.WeekOf(w.Begins()) != w || introduction.WeekOf(w.Begins().Add(-time.Second)) != w-1 {
		t.Error("the first moment of a week is not in it")
	}
}

// TestChallenge: a token is for one issuer, origin and week.
func TestChallenge(t *testing.T) {
	i := newIssuer(t)
	c := introduction.Challenge("a.example", "b.example", 7)
	req, pending, err := privacypass.Ask(i.Key(), c)
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
	if err := i.Key().Verify(tok, introduction.Challenge("a.example", "b.example", 7)); err != nil {
		t.Fatal(err)
	}
	for _, other := range []*privacypass.Challenge{introduction.Challenge("a.example", "b.example", 8),
		introduction.Challenge("a.example", "c.example", 7), introduction.Challenge("c.example", "b.example", 7)} {
		if err := i.Key().Verify(tok, other); !errors.Is(err, privacypass.ErrToken) {
			t.Errorf("%+v: %v", other, err)
		}
	}
}

func TestKeys(t *testing.T) {
	a, b, c := newIssuer(t).Key(), newIssuer(t).Key(), newIssuer(t).Key()
	for _, k := range []introduction.Keys{{}, {{5, a}}, {{6, b}, {5, a}}} {
		raw := k.Bytes()
		if len(raw) > introduction.MaxKeysSize {
			t.Errorf("%d octets", len(raw))
		}
		got, err := introduction.ParseKeys(raw)
		if err != nil || !bytes.Equal(got.Bytes(), raw) || len(got) != len(k) {
			t.Fatalf("%d keys: %v", len(k), err)
		}
	}
	two := introduction.Keys{{6, b}, {5, a}}
	if two.Of(5) != a || two.Of(6) != b || two.Of(7) != nil {
		t.Error("Of finds another key")
	}
	if x, ok := two.ByID(a.ID()); !ok || x.Week != 5 {
		t.Error("ByID does not find it")
	}
	if _, ok := two.ByID(c.ID()); ok {
		t.Error("ByID finds what is not there")
	}
	raw := two.Bytes()
	for what, bad := range map[string][]byte{
		"nothing": nil, "version": append([]byte{2}, raw[1:]...), "more": append(bytes.Clone(raw), 0), "cut": raw[:len(raw)-1],
		"three": introduction.Keys{{7, c}, {6, b}, {5, a}}.Bytes(), "order": introduction.Keys{{5, a}, {6, b}}.Bytes(),
		"twice": introduction.Keys{{5, a}, {5, b}}.Bytes(), "no key": {1, 6, 0, 0, 0, 5, 1, 0}, "long": make([]byte, introduction.MaxKeysSize+1),
	} {
		if _, err := introduction.ParseKeys(bad); !errors.Is(err, introduction.ErrMalformed) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func FuzzKeys(f *testing.F) {
	f.Add([]byte{1, 0})
	f.Add(introduction.Keys{{6, newIssuer(f).Key()}}.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		k, err := introduction.ParseKeys(b)
		if err != nil {
			if !errors.Is(err, introduction.ErrMalformed) {
				t.Errorf("%v", err)
			}
			return
		}
		if !bytes.Equal(k.Bytes(), b) {
			t.Errorf("%x is written as %x", b, k.Bytes())
		}
	})
}
