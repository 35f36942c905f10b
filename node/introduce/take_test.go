package introduce_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/mimid/mimid/node/introduce"
	"github.com/mimid/mimid/node/peering"
	"github.com/mimid/mimid/node/ration"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/consent"
	"github.com/mimid/mimid/protocol/introduction"
	"github.com/mimid/mimid/protocol/privacypass"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/store"
)

// many lets a test make as many tokens and requests as it likes.
func many() introduce.Limits {
	return introduce.Limits{PerDay: introduce.MaxPerDay, Requests: ration.Config{PerSecond: 1, Burst: 1e4}, Keys: ration.Config{PerSecond: 1, Burst: 1e4}}
}

// request makes a request with a fresh token of p.
func (p *provider) request(target, text string) (*introduction.Request, introduction.Secret) {
	p.w.t.Helper()
	u := user(p.w.t, target)
	s := introduction.NewSecret()
	return &introduction.Request{Issuer: must(uri.ParseDomain(p.domain))(p.w.t), Target: u, Handle: s.Handle(), Text: text,
		Token: *p.token(identity(p.w.t, p.domain+"/u/alice"), u.Provider().Domain())}, s
}

// send brings a request as a device does.
func (p *provider) send(r *introduction.Request) (bool, error) {
	out, err := p.Introduce(p.w.t.Context(), &clientapi.Introduce{Request: r.Bytes()})
	if err != nil {
		return false, err
	}
	return out.Granted, nil
}

func (p *provider) waiting(who string) []clientapi.Introduction {
	p.w.t.Helper()
	return must(p.Introductions(p.w.t.Context(), identity(p.w.t, p.domain+"/u/"+who)))(p.w.t).Introductions
}

func (p *provider) judge(who, handle string, accept bool) error {
	return p.JudgeIntroduction(p.w.t.Context(), identity(p.w.t, p.domain+"/u/"+who), &clientapi.JudgeIntroduction{Handle: handle, Accept: accept})
}

func (p *provider) redeem(target, requester string, s introduction.Secret) (ok bool) {
	p.w.t.Helper()
	err := p.store.Store.Update(p.w.t.Context(), func(tx *store.Tx) (err error) {
		ok, err = p.Redeem(tx, user(p.w.t, target), user(p.w.t, requester), s)
		return err
	})
	if err != nil {
		p.w.t.Fatal(err)
	}
	return ok
}

// TestIntroduction: a request is shown to its target without a name, the asker hears of a yes and
// nothing else, and its secret is good once, for this target and users of its provider.
func TestIntroduction(t *testing.T) {
	for _, target := range []string{"biloxi.example/u/bob", "atlanta.example/u/bob"} {
		w := newWorld(t, many())
		a, b := w.ps[atlanta], w.ps[user(t, target).Provider().Domain()]
		r, secret := a.request(target, "we met yesterday")
		if granted := must(a.send(r))(t); granted {
			t.Fatal("granted at once")
		}
		list := b.waiting("bob")
		if len(list) != 1 || list[0].Text != "we met yesterday" || list[0].Provider != atlanta || fmt.Sprint(b.heard()) != "[bob introduction we met yesterday]" {
			t.Fatalf("shown: %+v, told %v", list, b.heard())
		}
		if len(b.waiting("alice")) != 0 {
			t.Error("shown to another user")
		}
		wantProblem(t, b.judge("alice", list[0].Handle, true), clientapi.CodeNotFound, "another user's answer")
		if must(a.send(r))(t) || b.redeem(target, "atlanta.example/u/alice", secret) {
			t.Error("yes before it was said")
		}
		for range 2 { // the same again is the same
			if err := b.judge("bob", list[0].Handle, true); err != nil {
				t.Fatal(err)
			}
		}
		wantProblem(t, b.judge("bob", list[0].Handle, false), clientapi.CodeNotFound, "no after yes")
		if len(b.waiting("bob")) != 0 {
			t.Error("what was answered is still shown")
		}
		for range 2 {
			if !must(a.send(r))(t) {
				t.Error("the yes is not heard")
			}
		}
		if b.redeem(target, "chicago.example/u/alice", secret) || b.redeem(b.domain+"/u/carol", "atlanta.example/u/alice", secret) ||
			b.redeem(target, "atlanta.example/u/alice", introduction.NewSecret()) {
			t.Error("the secret is good for somebody else")
		}
		if !b.redeem(target, "atlanta.example/u/alice", secret) || b.redeem(target, "atlanta.example/u/alice", secret) {
			t.Error("the secret is not good once")
		}
		if n := len(b.heard()); n != 1 {
			t.Errorf("told %d times", n)
		}
		b.stored()
	}
}

// TestUniform: of a user that there is not, that lets nobody ask, or has said no, the answers are
// those of one who has not looked, and as much is written.
func TestUniform(t *testing.T) {
	w := newWorld(t, many())
	a, b := w.ps[atlanta], w.ps[biloxi]
	b.setMode("carol", consent.Closed)
	b.setMode("alice", consent.Quarantine)
	b.setMode("alice "+chicago, consent.Closed)
	for _, who := range []string{"bob", "nobody", "carol", "alice"} {
		before, _ := b.stored()
		r, _ := a.request("biloxi.example/u/"+who, "hello")
		for range 3 {
			if must(a.send(r))(t) {
				t.Errorf("%s: granted", who)
			}
		}
		if n, _ := b.stored(); n <= before {
			t.Errorf("%s: nothing was written", who)
		}
		spent := *r
		spent.Text = "again"
		wantProblem(t, second(a.send(&spent)), clientapi.CodeSpent, who)
	}
	if got := len(b.waiting("carol")); got != 0 {
		t.Errorf("%d requests shown in mode closed", got)
	}
	if got := len(b.waiting("alice")); got != 1 {
		t.Errorf("%d requests kept in mode quarantine, want 1", got)
	}
	if got := b.heard(); fmt.Sprint(got) != "[bob introduction hello]" {
		t.Errorf("told %v: only bob lets strangers be shown", got)
	}
	r, _ := w.ps[chicago].request("biloxi.example/u/alice", "hello")
	must(w.ps[chicago].send(r))(t)
	if got := len(b.waiting("alice")); got != 1 {
		t.Errorf("%d requests, one of a provider whose users may not ask", got)
	}
	bob := b.waiting("bob")
	if err := b.judge("bob", bob[0].Handle, false); err != nil {
		t.Fatal(err)
	}
	if len(b.waiting("bob")) != 0 {
		t.Error("what was refused is still shown")
	}
	wantProblem(t, b.judge("bob", bob[0].Handle, true), clientapi.CodeNotFound, "yes after no")
}

// direct brings octets from one provider to another, past the first's own checks.
func (p *provider) direct(to string, body []byte) error {
	_, err := p.caller.Call(p.w.t.Context(), peering.Request{Target: to, Endpoint: introduce.EndpointIntroduce, Subject: to, Body: body, MaxResponse: 16})
	return err
}

func wantRefused(t testing.TB, err error, code clientapi.Code, what string) {
	t.Helper()
	var r *peering.Refused
	if !errors.As(err, &r) || r.Problem.Code != code {
		t.Errorf("%s: %v, want a refusal %q", what, err, code)
	}
}

// TestReplay: a token is spent once: not with another request, at another provider, by another
// provider, after a restart, or when its week is over; and nothing of that writes anything.
func TestReplay(t *testing.T) {
	w := newWorld(t, many())
	a, b := w.ps[atlanta], w.ps[biloxi]
	r, _ := a.request("biloxi.example/u/bob", "first")
	must(a.send(r))(t)
	n, octets := b.stored()
	other := *r
	other.Text, other.Handle = "second", introduction.NewSecret().Handle()
	toCarol := *r
	toCarol.Target = user(t, "biloxi.example/u/carol")
	elsewhere := *r
	elsewhere.Target = user(t, "chicago.example/u/bob")
	for range 2 {
		for _, x := range []*introduction.Request{&other, &toCarol} {
			wantProblem(t, second(a.send(x)), clientapi.CodeSpent, x.Text)
			wantRefused(t, a.direct(biloxi, x.Bytes()), clientapi.CodeSpent, x.Text)
		}
		wantProblem(t, second(a.send(&elsewhere)), clientapi.CodeForbidden, "at another provider")
		wantRefused(t, a.direct(chicago, elsewhere.Bytes()), clientapi.CodeForbidden, "at another provider")
		wantRefused(t, w.ps[chicago].direct(biloxi, r.Bytes()), clientapi.CodeForbidden, "by another provider")
		wantRefused(t, a.direct(chicago, r.Bytes()), clientapi.CodeInvalid, "for another provider's user")
		b.start() // a crash
	}
	if got := b.waiting("bob"); len(got) != 1 || got[0].Text != "first" {
		t.Errorf("%+v", got)
	}
	w.now = introduction.WeekOf(w.now).Over().Add(-time.Second)
	if err := b.Forget(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantRefused(t, a.direct(biloxi, other.Bytes()), clientapi.CodeSpent, "in the last second")
	w.pass(time.Second)
	for range 2 { // before and after it was forgotten
		for _, x := range []*introduction.Request{r, &other} {
			if err := a.direct(biloxi, x.Bytes()); err == nil {
				t.Error("a token is taken whose week is over")
			}
		}
		if err := b.Forget(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if m, after := b.stored(); m != 2 || n != 4 || octets <= after {
		t.Errorf("%d records, %d octets, and in the end %d, %d: want 4, and the request that still waits", n, octets, m, after)
	}
}

// TestSpendAtOnce: of many requests with one token at once, one is taken.
func TestSpendAtOnce(t *testing.T) {
	w := newWorld(t, many())
	a, b := w.ps[atlanta], w.ps[biloxi]
	r, _ := a.request("biloxi.example/u/bob", "first")
	must(b.keysAsked(r))(t)
	var taken int
	var mu sync.Mutex
	var wait sync.WaitGroup
	for i := range 8 {
		x := *r
		x.Text, x.Handle = fmt.Sprint(i), introduction.NewSecret().Handle()
		wait.Go(func() {
			if err := a.direct(biloxi, x.Bytes()); err == nil {
				mu.Lock()
				defer mu.Unlock()
				taken++
			} else {
				wantRefused(t, err, clientapi.CodeSpent, x.Text)
			}
		})
	}
	wait.Wait()
	if taken != 1 || len(b.waiting("bob")) != 1 || len(b.heard()) != 1 {
		t.Errorf("%d taken, %d wait, told %v", taken, len(b.waiting("bob")), b.heard())
	}
}

// TestSpentMeanwhile: a token that is spent while another request with it is looked at is spent.
func TestSpentMeanwhile(t *testing.T) {
	w := newWorld(t, many())
	a, b := w.ps[atlanta], w.ps[biloxi]
	r, _ := a.request("biloxi.example/u/bob", "first")
	other := *r
	other.Text, other.Handle = "second", introduction.NewSecret().Handle()
	hook := func(f func()) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.onHas = f
	}
	hook(func() {
		hook(nil)
		if err := a.direct(biloxi, other.Bytes()); err != nil {
			t.Error(err)
		}
	})
	wantRefused(t, a.direct(biloxi, r.Bytes()), clientapi.CodeSpent, "the first, which was overtaken")
	if got := b.waiting("bob"); len(got) != 1 || got[0].Text != "second" {
		t.Errorf("%+v", got)
	}
}

// TestForeignName: an issuer's key signs for no other issuer.
func TestForeignName(t *testing.T) {
	w := newWorld(t, many())
	c := w.ps[chicago]
	mallory := identity(t, "chicago.example/u/mallory")
	keys := must(introduction.ParseKeys(must(c.TokenKeys(t.Context(), mallory))(t).Keys))(t)
	octets, pending, err := privacypass.Ask(keys[0].Key, introduction.Challenge(atlanta, biloxi, keys[0].Week))
	if err != nil {
		t.Fatal(err)
	}
	out := must(c.NewTokens(t.Context(), mallory, &clientapi.NewTokens{Requests: [][]byte{octets}}))(t)
	r := &introduction.Request{Issuer: must(uri.ParseDomain(atlanta))(t), Target: user(t, "biloxi.example/u/bob"), Text: "from Atlanta",
		Token: *must(pending.Finish(out.Responses[0]))(t)}
	wantRefused(t, c.direct(biloxi, r.Bytes()), clientapi.CodeForbidden, "in another provider's name")
	r.Issuer = must(uri.ParseDomain(chicago))(t)
	wantRefused(t, c.direct(biloxi, r.Bytes()), clientapi.CodeForbidden, "of another provider's challenge")
	if n := len(w.ps[biloxi].waiting("bob")); n != 0 {
		t.Errorf("%d are shown", n)
	}
}

// keysAsked has a provider know the issuer's keys, by a request with another token.
func (p *provider) keysAsked(r *introduction.Request) (bool, error) {
	x, _ := p.w.ps[r.Issuer.Domain()].request(p.domain+"/u/carol", "")
	granted, err := p.w.ps[r.Issuer.Domain()].send(x)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.told = nil
	return granted, err
}

// TestWeekEndsMeanwhile: a token whose week ends while it is looked at is not taken: that it was
// spent may be forgotten by then.
func TestWeekEndsMeanwhile(t *testing.T) {
	w := newWorld(t, many())
	a, b := w.ps[atlanta], w.ps[biloxi]
	r, _ := a.request("biloxi.example/u/bob", "late")
	w.now = introduction.WeekOf(w.now).Over().Add(-time.Second)
	b.mu.Lock()
	b.onHas = func() { w.pass(time.Second) }
	b.mu.Unlock()
	wantRefused(t, a.direct(biloxi, r.Bytes()), clientapi.CodeForbidden, "after the end")
	if n, _ := b.stored(); n != 0 {
		t.Errorf("%d records", n)
	}
}

// TestNoRelay: a provider carries nothing of who is no user of its.
func TestNoRelay(t *testing.T) {
	w := newWorld(t, many())
	a, b := w.ps[atlanta], w.ps[biloxi]
	r, _ := a.request("biloxi.example/u/bob", "hello")
	foreign, _ := w.ps[chicago].request("biloxi.example/u/bob", "hello")
	forged := *r
	forged.Token.Signature[9]++
	other := *r
	other.Target = user(t, "chicago.example/u/bob")
	for what, x := range map[string]*introduction.Request{"another's user": foreign, "a forged token": &forged, "a token for another provider": &other} {
		if _, err := a.send(x); err == nil {
			t.Errorf("%s: carried", what)
		}
	}
	if err := second(a.Introduce(t.Context(), &clientapi.Introduce{Request: []byte("nonsense")})); err == nil {
		t.Error("nonsense is carried")
	}
	for _, p := range []*provider{b, w.ps[chicago]} {
		p.mu.Lock()
		if n := p.calls[introduce.EndpointIntroduce]; n != 0 {
			t.Errorf("%s was called %d times", p.domain, n)
		}
		p.mu.Unlock()
	}
}

// TestSpendFails: a spending that was not kept is none; one that was kept, although that was not
// heard of, is one, and the same request again is shown once.
func TestSpendFails(t *testing.T) {
	w := newWorld(t, many())
	a, b := w.ps[atlanta], w.ps[biloxi]
	r, _ := a.request("biloxi.example/u/bob", "hello")
	other := *r
	other.Text = "another"
	b.store.fail(1, 0)
	if err := a.direct(biloxi, r.Bytes()); err == nil {
		t.Fatal("acknowledged, and not kept")
	}
	if n, _ := b.stored(); n != 0 || len(b.heard()) != 0 {
		t.Fatalf("%d records of what was not kept", n)
	}
	b.store.fail(0, 1)
	if err := a.direct(biloxi, r.Bytes()); err == nil {
		t.Fatal("acknowledged without knowing")
	}
	b.start()
	wantRefused(t, a.direct(biloxi, other.Bytes()), clientapi.CodeSpent, "for another request")
	must(a.send(r))(t)
	if got := b.heard(); len(got) != 1 || len(b.waiting("bob")) != 1 {
		t.Errorf("told %v, %d wait", got, len(b.waiting("bob")))
	}
	// The answer is lost on its way.
	r, _ = a.request("biloxi.example/u/carol", "hello")
	hide := func(yes bool) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.hides = yes
	}
	hide(true)
	wantProblem(t, second(a.send(r)), clientapi.CodeUnreachable, "a lost answer")
	hide(false)
	must(a.send(r))(t)
	if got := b.heard(); len(got) != 2 {
		t.Errorf("told %v", got)
	}
}

// TestFlood: requests of one issuer cost bounded records and octets, and leave others' through;
// what is no request, or has a bad token, costs nothing.
func TestFlood(t *testing.T) {
	l := many()
	l.PerIssuer, l.PerTarget, l.PerPair = 12, 6, 4
	w := newWorld(t, l)
	a, b, c := w.ps[atlanta], w.ps[biloxi], w.ps[chicago]
	bad, _ := a.request("biloxi.example/u/bob", "hello")
	must(a.send(bad))(t)
	n, octets := b.stored()
	for i := range 200 {
		x := *bad
		x.Token.Signature[i]++
		wantRefused(t, a.direct(biloxi, x.Bytes()), clientapi.CodeForbidden, "a bad signature")
		wantRefused(t, a.direct(biloxi, bytes.Repeat([]byte{byte(i)}, 100)), clientapi.CodeInvalid, "nonsense")
	}
	if m, o := b.stored(); m != n || o != octets {
		t.Errorf("%d records, %d octets for bad tokens", m-n, o-octets)
	}
	refused := 0
	for i := range 20 {
		r, _ := a.request("biloxi.example/u/bob", fmt.Sprint("flood ", i))
		if err := a.direct(biloxi, r.Bytes()); err != nil {
			wantRefused(t, err, clientapi.CodeTooMany, "over the limit of the week")
			refused++
		}
	}
	if refused != 20-11 || len(b.waiting("bob")) != 4 {
		t.Errorf("%d refused, %d shown; want 9 and 4", refused, len(b.waiting("bob")))
	}
	// 12 spent, 4 that wait with their index, a count, a decoy.
	if m, o := b.stored(); m != 12+8+2 || o > 4096 {
		t.Errorf("%d records, %d octets", m, o)
	}
	for range 3 {
		r, _ := c.request("biloxi.example/u/bob", "another's")
		must(c.send(r))(t)
	}
	if got := b.waiting("bob"); len(got) != 6 {
		t.Errorf("%d wait, want 6: two of another provider's", len(got))
	}
	carol, _ := c.request("biloxi.example/u/carol", "another's")
	must(c.send(carol))(t)
	if len(b.waiting("carol")) != 1 {
		t.Error("a full user takes the place of another")
	}
	// After a while there is room, and the next week the issuer's users come again.
	w.now = (introduction.WeekOf(w.now) + 1).Begins()
	w.pass(12 * 24 * time.Hour)
	if err := b.Forget(t.Context()); err != nil {
		t.Fatal(err)
	}
	r, _ := a.request("biloxi.example/u/bob", "the next week")
	must(a.send(r))(t)
	if got := b.waiting("bob"); len(got) != 1 || got[0].Text != "the next week" {
		t.Errorf("%+v", got)
	}
}

// TestKeysAreAskedFor: an issuer is asked for its keys once, and again only for a token of another
// key, and not more often than once in a minute, whatever comes.
func TestKeysAreAskedFor(t *testing.T) {
	w := newWorld(t, many())
	a, b := w.ps[atlanta], w.ps[biloxi]
	asked := func() int {
		a.mu.Lock()
		defer a.mu.Unlock()
		return a.calls[introduce.EndpointKeys]
	}
	for range 3 {
		r, _ := a.request("biloxi.example/u/bob", "hello")
		must(a.send(r))(t)
	}
	if asked() != 1 {
		t.Errorf("asked %d times", asked())
	}
	bad, _ := a.request("biloxi.example/u/bob", "hello")
	bad.Token.KeyID[0]++
	for range 5 {
		if err := a.direct(biloxi, bad.Bytes()); err == nil {
			t.Fatal("a token of no key")
		}
	}
	if asked() != 1 {
		t.Errorf("asked %d times within a minute", asked())
	}
	w.pass(time.Minute)
	wantRefused(t, a.direct(biloxi, bad.Bytes()), clientapi.CodeForbidden, "a token of no key")
	if asked() != 2 {
		t.Errorf("asked %d times, want 2", asked())
	}
	w.now = (introduction.WeekOf(w.now) + 1).Begins()
	r, _ := a.request("biloxi.example/u/bob", "next week")
	must(a.send(r))(t)
	if asked() != 3 || len(b.waiting("bob")) != 4 {
		t.Errorf("asked %d times, %d wait", asked(), len(b.waiting("bob")))
	}
}

// TestRates: what another provider brings is counted before it is looked at.
func TestRates(t *testing.T) {
	l := many()
	l.Requests = ration.Config{PerSecond: 0.001, Burst: 3}
	w := newWorld(t, l)
	for range 3 {
		wantRefused(t, w.ps[atlanta].direct(biloxi, []byte("nonsense")), clientapi.CodeInvalid, "nonsense")
	}
	err := w.ps[atlanta].direct(biloxi, []byte("nonsense"))
	wantRefused(t, err, clientapi.CodeTooMany, "the fourth")
	var r *peering.Refused
	if errors.As(err, &r) && r.Problem.Status != http.StatusTooManyRequests {
		t.Errorf("status %d", r.Problem.Status)
	}
	wantRefused(t, w.ps[chicago].direct(biloxi, []byte("nonsense")), clientapi.CodeInvalid, "another provider")
}

// TestAnswerInTime: what waits too long is dropped, and a yes that nobody follows, too.
func TestAnswerInTime(t *testing.T) {
	w := newWorld(t, many())
	a, b := w.ps[atlanta], w.ps[biloxi]
	w.now = introduction.WeekOf(w.now).Begins()
	r, secret := a.request("biloxi.example/u/bob", "hello")
	must(a.send(r))(t)
	r2, secret2 := a.request("biloxi.example/u/carol", "hello")
	must(a.send(r2))(t)
	bob, carol := b.waiting("bob")[0], b.waiting("carol")[0]
	w.pass(13 * 24 * time.Hour)
	if err := errors.Join(b.judge("bob", bob.Handle, true), b.Forget(t.Context())); err != nil {
		t.Fatal(err)
	}
	if len(b.waiting("carol")) != 1 {
		t.Error("dropped too early")
	}
	w.pass(24 * time.Hour)
	wantProblem(t, b.judge("carol", carol.Handle, true), clientapi.CodeNotFound, "an answer that is too late")
	if len(b.waiting("carol")) != 0 || b.redeem("biloxi.example/u/carol", "atlanta.example/u/alice", secret2) {
		t.Error("after its time")
	}
	if err := b.Forget(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n, _ := b.stored(); n != 2 {
		t.Errorf("%d records, want what was answered with yes", n)
	}
	w.pass(13 * 24 * time.Hour)
	if b.redeem("biloxi.example/u/bob", "atlanta.example/u/alice", secret) {
		t.Error("a yes is good for ever")
	}
	if err := b.Forget(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n, _ := b.stored(); n != 0 {
		t.Errorf("%d records are left", n)
	}
	if slices.Contains(b.heard(), "") {
		t.Error("told of nothing")
	}
}
