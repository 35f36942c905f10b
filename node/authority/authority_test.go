package authority_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mimid/mimid/node/authority"
	"github.com/mimid/mimid/node/peering"
	"github.com/mimid/mimid/node/ration"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/discovery"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/verification"
)

const mail = "mailto:alice@mail.example"

// TestVerification: a user of another provider, and one of the authority's own, get a code and
// then a statement about their identifier, name and key. The same request again sends
// nothing more, and the same answer gives the same statement.
func TestVerification(t *testing.T) {
	w := newWorld(t, nil)
	for i, name := range []string{"alice@atlanta.example", "carol@chicago.example"} {
		u := w.user(name)
		identifier := fmt.Sprintf("mailto:%s@mail.example", u.who.User.Name())
		q := u.request(identifier)
		if err := u.send(q); err != nil {
			t.Fatal(err)
		}
		if err := u.send(q); err != nil {
			t.Errorf("the same again: %v", err)
		}
		m := w.ps[chicago].sent.last(t, i+1)
		if m.To != u.who.User.Name()+"@mail.example" || m.User != u.who.User.String() || m.Authority != chicago {
			t.Errorf("sent %+v", m)
		}
		w.ps[chicago].restart()
		st := must(u.answer(q, m.Code))(t)
		keyID := must(discovery.KeyID(u.key().Public()))(t)
		want := verification.Facts{ClaimID: must(secretOf(sii(t, identifier)))(t).ClaimID(), User: u.who.User, KeyID: keyID, Method: discovery.MethodMail,
			Authority: must(uri.ParseDomain(chicago))(t)}
		if err := st.Check(want, w.anchors, w.clock()); err != nil {
			t.Error(err)
		}
		if strings.Contains(w.stored(), "mail.example") {
			t.Error("the identifier is kept after it was verified")
		}
		again := must(u.answer(q, "00000000"))(t)
		if string(again.Bytes()) != string(st.Bytes()) {
			t.Error("another statement for the same challenge")
		}
	}
	if n := w.records(); n != 2*2+4+4+1 { // of each: challenge and date; four counts of its own, and one of all
		t.Errorf("%d records", n)
	}
	w.pass(authority.Keep + time.Minute)
	if err := w.ps[chicago].Forget(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := w.records(); n != 0 {
		t.Errorf("%d records are left after a day", n)
	}
}

// TestWrongCodes: five guesses, also across restarts; those of somebody else count nothing.
func TestWrongCodes(t *testing.T) {
	w := newWorld(t, nil)
	alice, eve := w.user("alice@atlanta.example"), w.user("eve@atlanta.example")
	q := alice.request(mail)
	if err := alice.send(q); err != nil {
		t.Fatal(err)
	}
	code := w.ps[chicago].sent.last(t, 1).Code
	wrong := "00000000"
	if wrong == code {
		wrong = "00000001"
	}
	for range verification.MaxAttempts + 1 {
		_, err := eve.answer(q, code)
		wantProblem(t, err, clientapi.CodeForbidden, "the right code by another user")
	}
	_, err := w.user("bob@biloxi.example").answer(q, code)
	wantProblem(t, err, clientapi.CodeNotFound, "by a user of another provider")
	for i := range verification.MaxAttempts {
		w.ps[chicago].restart()
		_, err := alice.answer(q, wrong)
		wantProblem(t, err, clientapi.CodeWrongCode, fmt.Sprintf("wrong code %d", i+1))
	}
	_, err = alice.answer(q, code)
	wantProblem(t, err, clientapi.CodeSpent, "the right code after five wrong ones")
	if err := alice.send(q); err != nil {
		t.Errorf("the same request after that: %v", err)
	}
	w.ps[chicago].sent.last(t, 1)
	// A new request gets a new code; it ends.
	q = alice.request(mail)
	if err := alice.send(q); err != nil {
		t.Fatal(err)
	}
	code = w.ps[chicago].sent.last(t, 2).Code
	w.pass(verification.CodeLifetime)
	_, err = alice.answer(q, code)
	wantProblem(t, err, clientapi.CodeSpent, "the right code too late")
}

// TestSendingFails: what was not sent is sent by the same request again, with another code; who
// refuses for good is told apart; after three times a new request is needed.
func TestSendingFails(t *testing.T) {
	w := newWorld(t, nil)
	alice := w.user("alice@atlanta.example")
	box := w.ps[chicago].sent
	q := alice.request(mail)
	box.set(errors.New("greylisted"), nil)
	wantProblem(t, alice.send(q), clientapi.CodeUnreachable, "a server that does not take it now")
	box.set(nil, errors.New("the connection broke after the message"))
	wantProblem(t, alice.send(q), clientapi.CodeUnreachable, "a server whose answer is lost")
	old := box.last(t, 1).Code
	box.set(nil, nil)
	if err := alice.send(q); err != nil {
		t.Fatal(err)
	}
	code := box.last(t, 2).Code
	if _, err := alice.answer(q, old); old != code {
		wantProblem(t, err, clientapi.CodeWrongCode, "the code before the last")
	}
	must(alice.answer(q, code))(t)

	box.set(fmt.Errorf("%w: 550", authority.ErrRefused), nil)
	q = alice.request(mail)
	wantProblem(t, alice.send(q), clientapi.CodeInvalid, "an address that there is not")
	alice.send(q)
	alice.send(q)
	wantProblem(t, alice.send(q), clientapi.CodeSpent, "for the fourth time")
}

// TestLostWrites: a write that fails and yet has happened leaves a challenge that goes on with the
// same request and answer.
func TestLostWrites(t *testing.T) {
	for n := 1; n <= 4; n++ {
		w := newWorld(t, nil)
		alice := w.user("alice@atlanta.example")
		p := w.ps[chicago]
		p.store.passes = n
		q := alice.request(mail)
		failures := 0
		for alice.send(q) != nil {
			if failures++; failures > 2 {
				t.Fatalf("write %d: it does not go on", n)
			}
		}
		p.sent.mu.Lock()
		code := p.sent.mails[len(p.sent.mails)-1].Code
		p.sent.mu.Unlock()
		st, err := alice.answer(q, code)
		if err != nil {
			failures++
			st, err = alice.answer(q, code)
		}
		if err != nil || st == nil {
			t.Errorf("write %d: %v", n, err)
		}
		if failures != 1 {
			t.Errorf("write %d: %d failures were seen", n, failures)
		}
		w.records()
	}
	// Secrets that cannot be derived now cost no attempt.
	s := &secrets{err: errors.New("no evaluators")}
	w := newWorld(t, func(c *authority.Config) { c.Secrets = s })
	alice := w.user("alice@atlanta.example")
	q := alice.request(mail)
	if err := alice.send(q); err != nil {
		t.Fatal(err)
	}
	code := w.ps[chicago].sent.last(t, 1).Code
	for range verification.MaxAttempts + 1 {
		_, err := alice.answer(q, code)
		wantProblem(t, err, clientapi.CodeUnreachable, "without evaluators")
	}
	s.mu.Lock()
	s.err = nil
	s.mu.Unlock()
	must(alice.answer(q, code))(t)
}

// TestQuotas: codes are counted by identifier, by identifier and provider, by user, by provider and
// in all, for a day, also across restarts; requests are rationed besides.
func TestQuotas(t *testing.T) {
	few := ration.Config{PerSecond: 100, Burst: 1000}
	start := func(l authority.Limits) *world {
		l.Requests, l.Users = few, few
		w := newWorld(t, func(c *authority.Config) { c.Limits = l })
		for _, d := range []string{atlanta, biloxi} {
			w.ps[d].cfg.Limits = authority.Limits{Users: few}
			w.ps[d].restart()
		}
		return w
	}
	send := func(w *world, name, identifier string) error {
		u := w.user(name)
		return u.send(u.request(identifier))
	}
	type step struct {
		name, identifier string
		ok               bool
	}
	for what, x := range map[string]struct {
		limits authority.Limits
		steps  []step
	}{
		"identifier": {authority.Limits{PerIdentifier: 2}, []step{{"alice@atlanta.example", mail, true}, {"bob@biloxi.example", mail, true}, {"carol@chicago.example", mail, false},
			{"carol@chicago.example", "mailto:carol@mail.example", true}}},
		"identifier by one provider": {authority.Limits{PerClaimant: 2}, []step{{"alice@atlanta.example", mail, true}, {"eve@atlanta.example", mail, true},
			{"alice@atlanta.example", mail, false}, {"bob@biloxi.example", mail, true}}},
		"user": {authority.Limits{PerUser: 2}, []step{{"alice@atlanta.example", mail, true}, {"alice@atlanta.example", "mailto:a@mail.example", true},
			{"alice@atlanta.example", "mailto:b@mail.example", false}, {"eve@atlanta.example", "mailto:b@mail.example", true}}},
		"provider": {authority.Limits{PerProvider: 2}, []step{{"alice@atlanta.example", mail, true}, {"eve@atlanta.example", "mailto:a@mail.example", true},
			{"mallory@atlanta.example", "mailto:b@mail.example", false}, {"bob@biloxi.example", "mailto:b@mail.example", true}}},
		"all": {authority.Limits{All: 2}, []step{{"alice@atlanta.example", mail, true}, {"bob@biloxi.example", "mailto:a@mail.example", true}, {"carol@chicago.example", "mailto:b@mail.example", false}}},
	} {
		w := start(x.limits)
		for i, s := range x.steps {
			w.pass(time.Second)
			if err := send(w, s.name, s.identifier); s.ok && err != nil {
				t.Errorf("%s, step %d: %v", what, i, err)
			} else if !s.ok {
				wantProblem(t, err, clientapi.CodeTooMany, fmt.Sprintf("%s, step %d", what, i))
			}
			w.ps[chicago].restart()
		}
		w.pass(authority.Keep + time.Minute)
		if err := w.ps[chicago].Forget(t.Context()); err != nil {
			t.Fatal(err)
		}
		for i, s := range x.steps {
			if !s.ok {
				if err := send(w, s.name, s.identifier); err != nil {
					t.Errorf("%s, step %d after a day: %v", what, i, err)
				}
			}
		}
	}
	w := newWorld(t, func(c *authority.Config) { c.Limits.Requests = ration.Config{PerSecond: 0.01, Burst: 2} })
	for i := range 3 {
		if err := send(w, fmt.Sprintf("u%d@atlanta.example", i), fmt.Sprintf("mailto:u%d@mail.example", i)); i < 2 && err != nil {
			t.Error(err)
		} else if i == 2 {
			wantProblem(t, err, clientapi.CodeTooMany, "three requests of two")
		}
	}
	w = newWorld(t, nil)
	var err error
	for i := 0; i < 21 && err == nil; i++ {
		w.pass(time.Millisecond)
		u := w.user("alice@atlanta.example")
		if err = u.send(u.request(fmt.Sprintf("mailto:u%d@mail.example", i))); err != nil && i < 10 {
			t.Fatal(i, err)
		}
	}
	wantProblem(t, err, clientapi.CodeTooMany, "one user's requests")
}

// TestRefusals: what costs no code.
func TestRefusals(t *testing.T) {
	w := newWorld(t, func(c *authority.Config) { c.Serve = []string{atlanta, chicago} })
	alice, bob := w.user("alice@atlanta.example"), w.user("bob@biloxi.example")
	good := alice.request(mail)
	direct := func(from string, body []byte, subject string) error {
		_, err := w.ps[from].caller.Call(t.Context(), peering.Request{Target: chicago, Endpoint: authority.EndpointVerify, Subject: subject, Body: body})
		return err
	}
	stale := w.user("alice@atlanta.example")
	old := stale.request(mail)
	w.pass(verification.MaxAge + time.Minute)
	for what, x := range map[string]struct {
		err  error
		code clientapi.Code
	}{
		"nonsense":                  {direct(atlanta, []byte("x"), chicago), clientapi.CodeInvalid},
		"through another provider":  {direct(biloxi, good.Bytes(), chicago), clientapi.CodeForbidden},
		"for another subject":       {direct(atlanta, good.Bytes(), atlanta), clientapi.CodeInvalid},
		"an old request":            {direct(atlanta, old.Bytes(), chicago), clientapi.CodeForbidden},
		"users that are not served": {bob.send(bob.request(mail)), clientapi.CodeForbidden},
		"a number":                  {alice.send(alice.request("tel:+16505551000")), clientapi.CodeForbidden},
		"another user's request":    {w.user("eve@atlanta.example").send(alice.request(mail)), clientapi.CodeForbidden},
		"nonsense of a device":      {alice.p.Verify(t.Context(), alice.who, &clientapi.NewVerification{Authority: chicago, Request: []byte("x")}), clientapi.CodeInvalid},
		"no domain":                 {alice.p.Verify(t.Context(), alice.who, &clientapi.NewVerification{Authority: "x y", Request: alice.request(mail).Bytes()}), clientapi.CodeInvalid},
		"no authority":              {alice.p.Verify(t.Context(), alice.who, &clientapi.NewVerification{Authority: biloxi, Request: alice.request(mail).Bytes()}), clientapi.CodeInvalid},
		"not one itself":            {alice.p.Verify(t.Context(), alice.who, &clientapi.NewVerification{Authority: atlanta, Request: alice.request(mail).Bytes()}), clientapi.CodeInvalid},
		"nobody": {alice.p.Verify(t.Context(), alice.who, &clientapi.NewVerification{Authority: "nobody.example", Request: alice.request(mail).Bytes()}),
			clientapi.CodeUnknownProvider},
	} {
		wantProblemOrRefusal(t, x.err, x.code, what)
	}
	_, err := alice.p.AnswerVerification(t.Context(), alice.who, &clientapi.VerificationAnswer{Authority: chicago, Answer: []byte("x")})
	wantProblem(t, err, clientapi.CodeInvalid, "an answer of nonsense")
	_, err = alice.answer(alice.request(mail), "12345678")
	wantProblem(t, err, clientapi.CodeNotFound, "an answer to no challenge")
	if n := w.records(); n != 0 {
		t.Errorf("%d records", n)
	}
	w.ps[chicago].sent.mu.Lock()
	defer w.ps[chicago].sent.mu.Unlock()
	if n := len(w.ps[chicago].sent.mails); n != 0 {
		t.Errorf("%d codes were sent", n)
	}
	if r := w.ps[atlanta].Routes(); r != nil {
		t.Errorf("who is no authority serves %d endpoints", len(r))
	}
}

func wantProblemOrRefusal(t testing.TB, err error, code clientapi.Code, what string) {
	t.Helper()
	var refused *peering.Refused
	if errors.As(err, &refused) {
		err = &refused.Problem
	}
	wantProblem(t, err, code, what)
}

// TestConfig: what cannot work is refused.
func TestConfig(t *testing.T) {
	w := newWorld(t, nil)
	for what, change := range map[string]func(*authority.Config){
		"no store":       func(c *authority.Config) { c.Store = nil },
		"no caller":      func(c *authority.Config) { c.Caller = nil },
		"no anchors":     func(c *authority.Config) { c.Anchors = nil },
		"no key":         func(c *authority.Config) { c.ProviderKey = nil },
		"no resolver":    func(c *authority.Config) { c.Resolve = nil },
		"no secrets":     func(c *authority.Config) { c.Secrets = nil },
		"no such domain": func(c *authority.Config) { c.Domain = "Chicago" },
	} {
		cfg := w.ps[chicago].cfg
		change(&cfg)
		if _, err := authority.New(cfg); !errors.Is(err, authority.ErrConfig) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
