package client_test

import (
	"crypto/rand"
	"crypto/rsa"
	"net/http"
	"testing"
	"time"

	"github.com/mimid/mimid/client"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/introduction"
	"github.com/mimid/mimid/protocol/privacypass"
)

// fakeIssuer gives tokens. Guarded by the fake's mu.
type fakeIssuer struct {
	issuer *privacypass.Issuer
	week   introduction.Week
	seen   map[string]bool // requests
	asked  int             // with repetitions
}

func (f *fake) withIssuer() *fakeIssuer {
	f.t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.issuer = &fakeIssuer{week: introduction.WeekOf(f.now()), seen: map[string]bool{}}
	f.issuer.renew(f.t)
	return f.issuer
}

func (i *fakeIssuer) renew(t testing.TB) {
	t.Helper()
	sk, err := rsa.GenerateKey(rand.Reader, 2048)
	if err == nil {
		i.issuer, err = privacypass.NewIssuer(sk)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (f *fake) tokenKeys(*http.Request, *fakeUser) (any, error) {
	if f.issuer == nil {
		return nil, refused(404, clientapi.CodeNotFound, "no tokens here")
	}
	return &clientapi.TokenKeys{Keys: introduction.Keys{{Week: f.issuer.week, Key: f.issuer.issuer.Key()}}.Bytes(), Left: 5 - len(f.issuer.seen)}, nil
}

func (f *fake) newTokens(r *http.Request, _ *fakeUser) (any, error) {
	n, err := body[clientapi.NewTokens](r)
	if err != nil {
		return nil, err
	}
	out := new(clientapi.Tokens)
	for _, q := range n.Requests {
		b, err := f.issuer.issuer.Issue(q)
		if err != nil {
			return nil, refused(409, clientapi.CodeRevision, "%v", err)
		}
		f.issuer.asked++
		f.issuer.seen[string(q)] = true
		out.Responses = append(out.Responses, b)
	}
	return out, nil
}

// TestToken: a device gets a good token, asks again with the same octets when an answer gets lost, and
// takes none of a week of its own.
func TestToken(t *testing.T) {
	f := newFake(t)
	alice := f.person("alice", "atlanta.example")
	if _, _, err := alice.c.Token(ctx10(t), "biloxi.example"); client.Unreachable(err) || err == nil {
		t.Errorf("of a provider that gives none: %v", err)
	}
	i := f.withIssuer()
	f.mu.Lock()
	lost := 0
	f.after = func(r *http.Request) *clientapi.Problem {
		if r.Method == "POST" && r.URL.Path == "/v1/tokens" && lost == 0 {
			lost++
			return refused(502, clientapi.CodeUnreachable, "lost")
		}
		return nil
	}
	f.mu.Unlock()
	tok, w, err := alice.c.Token(ctx10(t), "biloxi.example")
	if err != nil {
		t.Fatal(err)
	}
	f.mu.Lock()
	if err := i.issuer.Key().Verify(tok, introduction.Challenge("atlanta.example", "biloxi.example", w)); err != nil {
		t.Error(err)
	}
	if i.asked != 2 || len(i.seen) != 1 {
		t.Errorf("%d requests, %d different ones; want 2 and 1", i.asked, len(i.seen))
	}
	// The week ends between the two calls.
	f.refuse = func(r *http.Request) *clientapi.Problem {
		if r.Method == "POST" && r.URL.Path == "/v1/tokens" {
			f.refuse = nil
			i.renew(t)
			return refused(409, clientapi.CodeRevision, "another key")
		}
		return nil
	}
	f.mu.Unlock()
	if tok, w, err = alice.c.Token(ctx10(t), "biloxi.example"); err != nil {
		t.Fatal(err)
	}
	f.mu.Lock()
	if err := i.issuer.Key().Verify(tok, introduction.Challenge("atlanta.example", "biloxi.example", w)); err != nil {
		t.Error(err)
	}
	i.week = introduction.WeekOf(f.now().Add(15 * 24 * time.Hour))
	f.mu.Unlock()
	if _, _, err = alice.c.Token(ctx10(t), "biloxi.example"); err == nil {
		t.Error("a token of a week in the future, which may be this user's only")
	}
}
