package client_test

import (
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mimid/mimid/client"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/introduction"
	"github.com/mimid/mimid/protocol/privacypass"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
)

// fakeIssuer gives tokens. Guarded by the fake's mu.
type fakeIssuer struct {
	issuer *privacypass.Issuer
	week   introduction.Week
	seen   map[string]bool // requests
	asked  int             // with repetitions

	granted    bool            // what targets say
	introduced map[string]int  // requests that came, by their octets
	from       []string        // from where these came
	named      map[string]bool // anonymous requests that came with the name of a device
	secrets    []introduction.Secret
	shown      []clientapi.Introduction
	judged     []clientapi.JudgeIntroduction
}

func (f *fake) withIssuer() *fakeIssuer {
	f.t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.issuer = &fakeIssuer{week: introduction.WeekOf(f.now()), seen: map[string]bool{}, introduced: map[string]int{}, named: map[string]bool{}}
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

func (f *fake) introduce(r *http.Request, _ *fakeUser) (any, error) {
	n, err := body[clientapi.Introduce](r)
	if err != nil {
		return nil, err
	}
	i := f.issuer
	i.introduced[string(n.Request)]++
	i.from = append(i.from, r.RemoteAddr)
	if len(r.Header.Values("Authorization")) > 0 {
		i.named[string(n.Request)] = true
	}
	q, err := introduction.ParseRequest(n.Request)
	if err != nil {
		return nil, err
	}
	if _, err := q.Check(introduction.Keys{{Week: i.week, Key: i.issuer.Key()}}, f.now()); err != nil {
		return nil, refused(403, clientapi.CodeForbidden, "%v", err)
	}
	return &clientapi.Introduced{Granted: i.granted}, nil
}

// introducedBy notes the secret that comes with a name.
func (f *fake) introducedBy(e *wire.ConsentEntry) {
	s, ok, err := introduction.SecretOf(e.Extensions)
	if err != nil {
		f.t.Error(err)
	}
	if ok {
		f.issuer.secrets = append(f.issuer.secrets, s)
	}
}

func (f *fake) introductions(*http.Request, *fakeUser) (any, error) {
	return &clientapi.Introductions{Introductions: f.issuer.shown}, nil
}

func (f *fake) judgeIntroduction(r *http.Request, _ *fakeUser) (any, error) {
	j, err := body[clientapi.JudgeIntroduction](r)
	if err == nil {
		f.issuer.judged = append(f.issuer.judged, *j)
	}
	return nil, err
}

// TestRequestAnonymously: however often, and over restarts and lost answers, one request goes out,
// without the device's name; after a yes the device says its name with the right secret, also when
// it stops in between.
func TestRequestAnonymously(t *testing.T) {
	f := newFake(t)
	alice, bob := f.person("alice", "atlanta.example"), f.person("bob", "biloxi.example")
	i := f.withIssuer()
	ask := func(text string) (bool, error) { return alice.c.RequestAnonymously(ctx10(t), bob.c.User(), text) }
	if _, err := ask("two\nlines"); !errors.Is(err, client.ErrAnonymousText) {
		t.Errorf("two lines: %v", err)
	}
	lost := func(path string) {
		f.mu.Lock()
		defer f.mu.Unlock()
		done := false
		f.after = func(r *http.Request) *clientapi.Problem {
			if r.Method != "POST" || r.URL.Path != path || done {
				return nil
			}
			done = true
			return refused(502, clientapi.CodeUnreachable, "lost")
		}
	}
	named := map[string]bool{} // connections on which the device says who it is
	f.mu.Lock()
	f.refuse = func(r *http.Request) *clientapi.Problem {
		if r.Header.Get("Authorization") != "" {
			named[r.RemoteAddr] = true
		}
		return nil
	}
	f.mu.Unlock()
	lost("/v1/introduce")
	if _, err := ask("hello"); !client.Unreachable(err) {
		t.Errorf("a lost answer: %v", err)
	}
	alice.restart()
	for range 2 {
		if granted, err := ask("something else"); granted || err != nil {
			t.Fatal(granted, err)
		}
	}
	f.mu.Lock()
	calls := f.calls["GET /v1/providers/{domain}"]
	if len(i.introduced) != 1 || len(i.named) != 0 || len(i.seen) != 1 {
		t.Errorf("%d requests, %d with a name, %d tokens; want 1, 0, 1", len(i.introduced), len(i.named), len(i.seen))
	}
	for b, n := range i.introduced {
		if q, err := introduction.ParseRequest([]byte(b)); err != nil || n != 3 || q.Text != "hello" || q.Target != bob.c.User() {
			t.Errorf("%d times %+v, %v", n, q, err)
		}
	}
	i.granted = true
	f.mu.Unlock()
	if calls != 0 {
		t.Error("the device asks its provider, by its name, who the target's provider is")
	}
	lost("/v1/consent")
	if _, err := ask(""); !client.Unreachable(err) {
		t.Errorf("a lost answer to the request by name: %v", err)
	}
	f.mu.Lock()
	i.granted = false // the target's provider has forgotten, as the yes was used
	f.mu.Unlock()
	alice.restart()
	if granted, err := ask(""); !granted || err != nil {
		t.Fatal(granted, err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for b := range i.introduced {
		q, _ := introduction.ParseRequest([]byte(b))
		for _, s := range i.secrets {
			if s.Handle() != q.Handle {
				t.Error("the secret is that of another request")
			}
		}
	}
	for _, addr := range i.from {
		if named[addr] {
			t.Error("an anonymous request on a connection of the device's name")
		}
	}
	if len(i.from) == 0 || len(named) == 0 {
		t.Error("no connections were seen")
	}
	if len(i.secrets) != 2 || len(i.introduced) != 1 {
		t.Errorf("%d requests by name, %d without; want 2 and 1", len(i.secrets), len(i.introduced))
	}
}

// TestDeadToken: a request whose token is refused is given up, and the next one has a new token.
func TestDeadToken(t *testing.T) {
	f := newFake(t)
	alice := f.person("alice", "atlanta.example")
	i := f.withIssuer()
	bob, err := uri.ParseUser("mimi://biloxi.example/u/bob")
	if err != nil {
		t.Fatal(err)
	}
	f.mu.Lock()
	f.refuse = func(r *http.Request) *clientapi.Problem {
		if r.URL.Path == "/v1/introduce" {
			f.refuse = nil
			return refused(403, clientapi.CodeSpent, "spent")
		}
		return nil
	}
	f.mu.Unlock()
	if _, err := alice.c.RequestAnonymously(ctx10(t), bob, ""); err == nil {
		t.Error("a spent token is good")
	}
	if granted, err := alice.c.RequestAnonymously(ctx10(t), bob, ""); granted || err != nil {
		t.Fatal(granted, err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(i.seen) != 2 || len(i.introduced) != 1 {
		t.Errorf("%d tokens, %d requests; want 2 and 1", len(i.seen), len(i.introduced))
	}
}

// TestIntroductions: who is asked hears of it and answers; what is no line of text is not shown.
func TestIntroductions(t *testing.T) {
	f := newFake(t)
	alice := f.person("alice", "atlanta.example")
	i := f.withIssuer()
	x := clientapi.Introduction{Handle: strings.Repeat("0f", 32), Provider: "biloxi.example", Text: "hello"}
	f.mu.Lock()
	i.shown = []clientapi.Introduction{x}
	u := f.users[alice.c.User().String()]
	f.push(u, clientapi.EventIntroduction, &clientapi.Introduction{Handle: x.Handle, Text: "two\nlines"})
	f.push(u, clientapi.EventIntroduction, &x)
	f.mu.Unlock()
	if got := await(alice, func(client.Introduced) bool { return true }); got.Introduction != x {
		t.Errorf("%+v", got)
	}
	list, err := alice.c.Introductions(ctx10(t))
	if err != nil || len(list) != 1 || list[0] != x {
		t.Fatal(list, err)
	}
	if err := alice.c.JudgeIntroduction(ctx10(t), x.Handle, true); err != nil {
		t.Fatal(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(i.judged) != 1 || i.judged[0] != (clientapi.JudgeIntroduction{Handle: x.Handle, Accept: true}) {
		t.Errorf("%+v", i.judged)
	}
}
