package client_test

import (
	"crypto/ed25519"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mimid/mimid/client"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/discovery"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/verification"
)

// fakeAuthority is chicago.example as an authority, behind each provider.
type fakeAuthority struct {
	f          *fake
	challenges map[verification.ID]*verification.Challenge
	sent       []string // codes
	// spoil changes what is stated, and by whom it is signed.
	spoil func(f *verification.Facts) ed25519.PrivateKey
}

// withAuthority makes chicago.example an authority that is believed.
func (f *fake) withAuthority() *fakeAuthority {
	a := &fakeAuthority{f: f, challenges: map[verification.ID]*verification.Challenge{}}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.authority = a
	return a
}

func (a *fakeAuthority) locked(fn func()) {
	a.f.mu.Lock()
	defer a.f.mu.Unlock()
	fn()
}

func (f *fake) verify(r *http.Request, _ *fakeUser) (any, error) {
	a := f.authority
	n, err := body[clientapi.NewVerification](r)
	if err != nil {
		return nil, err
	}
	q, err := verification.ParseRequest(n.Request)
	if err != nil {
		return nil, err
	}
	p, err := uri.ParseDomain(n.Authority)
	if err != nil {
		return nil, err
	}
	asked, err := q.Verify(p, f.anchors, f.now())
	if err != nil {
		return nil, err
	}
	if a.challenges[asked.ID()] != nil {
		return nil, nil
	}
	c, err := verification.NewChallenge(asked, f.now())
	if err != nil {
		return nil, err
	}
	code, err := c.NextCode(f.now())
	a.challenges[asked.ID()] = c
	a.sent = append(a.sent, code)
	return nil, err
}

func (f *fake) answerVerification(r *http.Request, _ *fakeUser) (any, error) {
	a := f.authority
	n, err := body[clientapi.VerificationAnswer](r)
	if err != nil {
		return nil, err
	}
	m, err := verification.ParseAnswer(n.Answer)
	if err != nil {
		return nil, err
	}
	c := a.challenges[m.ID()]
	if c == nil {
		return nil, &clientapi.Problem{Status: 404, Code: clientapi.CodeNotFound, Detail: "no such challenge"}
	}
	if err := c.Try(m, f.now()); err != nil {
		return nil, &clientapi.Problem{Status: 403, Code: clientapi.CodeWrongCode, Detail: err.Error()}
	}
	secret, err := f.secret(c.Identifier())
	if err != nil {
		return nil, err
	}
	by, err := uri.ParseDomain("chicago.example")
	if err != nil {
		return nil, err
	}
	facts := verification.Facts{ClaimID: secret.ClaimID(), User: c.User(), KeyID: c.KeyID(), Method: c.Method(), Authority: by, Issued: f.now(), Expires: f.now().Add(40 * 24 * time.Hour)}
	key := f.keys["chicago.example"]
	if a.spoil != nil {
		key = a.spoil(&facts)
	}
	st, err := verification.Sign(key, facts)
	if err != nil {
		return nil, err
	}
	return &clientapi.Verified{Statement: st.Bytes()}, nil
}

const address = "mailto:bob@mail.example"

// TestVerify: a code is asked for, entered and published; lost answers cost neither a second code nor
// a second verification, and a device that was stopped in between goes on.
func TestVerify(t *testing.T) {
	f := newFake(t)
	a := f.withAuthority()
	alice, bob := f.person("alice", "atlanta.example"), f.person("bob", "biloxi.example")
	if err := bob.c.EnterCode(ctx10(t), address, "12345678"); !errors.Is(err, client.ErrNoCode) {
		t.Errorf("before a code was asked for: %v", err)
	}
	if _, err := bob.c.RequestCode(ctx10(t), "handle:bob", ""); !errors.Is(err, verification.ErrMethod) {
		t.Errorf("for a handle: %v", err)
	}
	lose := func(path string) {
		f.mu.Lock()
		defer f.mu.Unlock()
		done := false
		f.after = func(r *http.Request) *clientapi.Problem {
			if r.Method != "POST" || r.URL.Path != path && !strings.HasSuffix(r.URL.Path, path) || done {
				return nil
			}
			done = true
			return &clientapi.Problem{Status: 502, Code: clientapi.CodeUnreachable, Detail: "lost"}
		}
	}
	lose("/v1/verifications")
	if _, err := bob.c.RequestCode(ctx10(t), address, ""); !client.Unreachable(err) {
		t.Fatalf("an answer that gets lost: %v", err)
	}
	bob.restart()
	if by, err := bob.c.RequestCode(ctx10(t), "MAILTO:Bob@mail.example", ""); err != nil || by != "chicago.example" {
		t.Fatal(by, err)
	}
	a.locked(func() {
		if len(a.sent) != 1 {
			t.Fatalf("%d codes were sent", len(a.sent))
		}
	})
	// Asked for again after it has come, there is another one.
	if _, err := bob.c.RequestCode(ctx10(t), address, "chicago.example"); err != nil {
		t.Fatal(err)
	}
	var code string
	a.locked(func() { code = a.sent[len(a.sent)-1] })
	wrong := "00000000"
	if wrong == code {
		wrong = "00000001"
	}
	var p *clientapi.Problem
	if err := bob.c.EnterCode(ctx10(t), address, wrong); !errors.As(err, &p) || p.Code != clientapi.CodeWrongCode {
		t.Errorf("a wrong code: %v", err)
	}
	if err := bob.c.EnterCode(ctx10(t), address, "123"); !errors.Is(err, verification.ErrCode) {
		t.Errorf("half a code: %v", err)
	}
	lose("/v1/verifications/answer")
	if err := bob.c.EnterCode(ctx10(t), address, code); !client.Unreachable(err) {
		t.Fatalf("an answer that gets lost: %v", err)
	}
	bob.restart()
	if err := bob.c.EnterCode(ctx10(t), address, code); err != nil {
		t.Fatal(err)
	}
	bob.restart()
	if err := bob.c.PublishAs(ctx10(t), address, client.Preference{Tags: []string{"work"}}); err != nil {
		t.Fatal(err)
	}
	found, err := alice.c.Discover(ctx10(t), address)
	if err != nil || len(found.Found) != 1 {
		t.Fatal(found, err)
	}
	x := found.Found[0]
	if x.Verified != "authority" || x.Authority != "chicago.example" || x.Method != "mail" || x.VerifiedAt == 0 || x.Expires-x.VerifiedAt > 40*24*60*60*1000 || x.Tags[0] != "work" {
		t.Errorf("found %+v", x)
	}
	// Whoever believes nobody sees what Bob's provider says.
	f.mu.Lock()
	f.authority = nil
	f.mu.Unlock()
	found, err = alice.c.Discover(ctx10(t), address)
	if err != nil || len(found.Found) != 1 || found.Found[0].Verified != "provider" || found.Found[0].Authority != "" {
		t.Errorf("found %+v, %v", found, err)
	}
	// Withdrawn, what was stated is forgotten, so it is unverified the next time.
	if err := bob.c.Unpublish(ctx10(t), address); err != nil {
		t.Fatal(err)
	}
	if err := bob.c.Publish(ctx10(t), address); err != nil {
		t.Fatal(err)
	}
	if found, err = alice.c.Discover(ctx10(t), address); err != nil || len(found.Found) != 1 || found.Found[0].Verified != "nobody" {
		t.Errorf("found %+v, %v", found, err)
	}
}

// TestFalseStatements: what a provider passes on as a statement is believed only if it is the
// authority's, about this user, key and identifier.
func TestFalseStatements(t *testing.T) {
	f := newFake(t)
	a := f.withAuthority()
	bob := f.person("bob", "biloxi.example")
	for what, spoil := range map[string]func(*verification.Facts) ed25519.PrivateKey{
		"by the provider": func(*verification.Facts) ed25519.PrivateKey { return f.keys["biloxi.example"] },
		"of another user": func(x *verification.Facts) ed25519.PrivateKey {
			x.User, _ = uri.ParseUser("mimi://biloxi.example/u/eve")
			return f.keys["chicago.example"]
		},
		"of another key":        func(x *verification.Facts) ed25519.PrivateKey { x.KeyID[0] ^= 1; return f.keys["chicago.example"] },
		"of another identifier": func(x *verification.Facts) ed25519.PrivateKey { x.ClaimID[0] ^= 1; return f.keys["chicago.example"] },
		"of another authority": func(x *verification.Facts) ed25519.PrivateKey {
			x.Authority, _ = uri.ParseDomain("biloxi.example")
			return f.keys["biloxi.example"]
		},
		"that has ended": func(x *verification.Facts) ed25519.PrivateKey {
			x.Issued, x.Expires = x.Issued.Add(-2*time.Hour), x.Issued.Add(-time.Hour)
			return f.keys["chicago.example"]
		},
		"by another method": func(x *verification.Facts) ed25519.PrivateKey {
			x.Method = discovery.MethodSMS
			return f.keys["chicago.example"]
		},
	} {
		if _, err := bob.c.RequestCode(ctx10(t), address, ""); err != nil {
			t.Fatal(err)
		}
		var code string
		a.locked(func() { code, a.spoil = a.sent[len(a.sent)-1], spoil })
		if err := bob.c.EnterCode(ctx10(t), address, code); !errors.Is(err, client.ErrProtocol) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestContactBy: an identifier that one person claims, at two providers, leads to the account that it
// ranks first; where several people claim it, nobody is asked, and none is told of the search.
func TestContactBy(t *testing.T) {
	f := newFake(t)
	alice, bob, carol := f.person("alice", "atlanta.example"), f.person("bob", "biloxi.example"), f.person("carol", "chicago.example")
	asked := func() int { f.mu.Lock(); defer f.mu.Unlock(); return f.calls["POST /v1/consent"] }
	if _, err := alice.c.Owner(ctx10(t), "handle:b"); !errors.Is(err, client.ErrNobody) {
		t.Errorf("before it is published: %v", err)
	}
	if err := bob.c.Publish(ctx10(t), "handle:b"); err != nil {
		t.Fatal(err)
	}
	if u, err := alice.c.Owner(ctx10(t), "handle:b"); err != nil || u != bob.user() || asked() != 0 {
		t.Errorf("Bob alone: %v, %v, %d asked", u, err, asked())
	}
	if err := carol.c.Publish(ctx10(t), "handle:b"); err != nil {
		t.Fatal(err)
	}
	if u, err := alice.c.Owner(ctx10(t), "handle:b"); !errors.Is(err, client.ErrSeveral) || !u.IsZero() || asked() != 0 {
		t.Errorf("Bob and Carol: %v, %v, %d asked", u, err, asked())
	}
	found, err := alice.c.Discover(ctx10(t), "handle:b")
	if err != nil || !found.Conflict || len(found.Found) != 2 || asked() != 0 {
		t.Errorf("found %+v, %v", found, err)
	}
	if err := alice.c.RequestContact(ctx10(t), carol.user()); err != nil || asked() != 1 {
		t.Errorf("Carol, chosen: %v", err)
	}
}

// TestRivals: a device tells what its provider has found, and not what is none of it.
func TestRivals(t *testing.T) {
	f := newFake(t)
	bob := f.person("bob", "biloxi.example")
	tell := func(v any) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.push(f.users[bob.user().String()], clientapi.EventRivals, v)
	}
	tell(clientapi.RivalsEvent{SII: "garbage", Rivals: []clientapi.Rival{}})
	if p := await[client.Problem](bob, nil); !errors.Is(p.Err, client.ErrProtocol) {
		t.Errorf("of garbage: %v", p.Err)
	}
	tell(clientapi.RivalsEvent{SII: address, Rivals: []clientapi.Rival{{User: "garbage"}}})
	if p := await[client.Problem](bob, nil); !errors.Is(p.Err, client.ErrProtocol) {
		t.Errorf("a rival of garbage: %v", p.Err)
	}
	tell(clientapi.RivalsEvent{SII: address, Rivals: []clientapi.Rival{{User: "mimi://atlanta.example/u/eve", Verified: "authority", Authority: "chicago.example"}}})
	if n := await[client.RivalsChanged](bob, nil); n.SII != address || len(n.Rivals) != 1 || n.Rivals[0].User != "mimi://atlanta.example/u/eve" {
		t.Errorf("told %+v", n)
	}
}
