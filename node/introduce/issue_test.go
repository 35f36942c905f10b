package introduce_test

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/mimid/mimid/node/introduce"
	"github.com/mimid/mimid/node/peering"
	"github.com/mimid/mimid/node/ration"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/introduction"
	"github.com/mimid/mimid/protocol/privacypass"
)

// keys are an issuer's, as another provider gets them.
func (p *provider) keysOf(issuer string) (introduction.Keys, error) {
	res, err := p.caller.Call(p.w.t.Context(), peering.Request{Target: issuer, Endpoint: introduce.EndpointKeys, Subject: issuer, MaxResponse: introduction.MaxKeysSize})
	if err != nil {
		return nil, err
	}
	return introduction.ParseKeys(res.Body)
}

// TestToken: a device gets a token, and another provider can check it with what it hears from the
// issuer, of the week's key and no other.
func TestToken(t *testing.T) {
	w := newWorld(t, introduce.Limits{PerDay: 2})
	a, b := w.ps[atlanta], w.ps[biloxi]
	alice := identity(t, "atlanta.example/u/alice")
	tok := a.token(alice, biloxi)
	keys := must(b.keysOf(atlanta))(t)
	k, ok := keys.ByID(tok.KeyID)
	if !ok || k.Week != introduction.WeekOf(w.now) {
		t.Fatalf("the key of the token is not published: %d keys", len(keys))
	}
	if err := k.Key.Verify(tok, introduction.Challenge(atlanta, biloxi, k.Week)); err != nil {
		t.Error(err)
	}
	if err := k.Key.Verify(tok, introduction.Challenge(atlanta, chicago, k.Week)); !errors.Is(err, privacypass.ErrToken) {
		t.Errorf("at another provider: %v", err)
	}
	if got := must(a.TokenKeys(t.Context(), alice))(t).Left; got != 1 {
		t.Errorf("%d tokens left, want 1", got)
	}
}

// TestQuota: so many tokens per user and day of UTC, and not one more; what is asked for again costs
// nothing, and what is refused neither.
func TestQuota(t *testing.T) {
	w := newWorld(t, introduce.Limits{PerDay: 3})
	p := w.ps[atlanta]
	alice, bob := identity(t, "atlanta.example/u/alice"), identity(t, "atlanta.example/u/bob")
	var all []asked
	for range 5 {
		all = append(all, p.ask(alice, biloxi))
	}
	first := must(p.NewTokens(t.Context(), alice, newTokens(all[0], all[1])))(t)
	if first.Left != 1 || len(first.Responses) != 2 {
		t.Fatalf("%+v", first)
	}
	// Two of which one is over it: none.
	x := wantProblem(t, second(p.NewTokens(t.Context(), alice, newTokens(all[2], all[3]))), clientapi.CodeTooMany, "4 of 3")
	if until := w.now.Add(time.Duration(x.Retry) * time.Millisecond); !until.Equal(time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("to come again at %s", until)
	}
	again := must(p.NewTokens(t.Context(), alice, newTokens(all[0], all[1])))(t)
	if again.Left != 1 || !bytes.Equal(again.Responses[1], first.Responses[1]) {
		t.Error("the same again is answered otherwise")
	}
	if got := must(p.NewTokens(t.Context(), alice, newTokens(all[2])))(t); got.Left != 0 {
		t.Errorf("%d left, want 0", got.Left)
	}
	wantProblem(t, second(p.NewTokens(t.Context(), alice, newTokens(all[3]))), clientapi.CodeTooMany, "the fourth")
	p.start() // a restart gives nothing back
	wantProblem(t, second(p.NewTokens(t.Context(), alice, newTokens(all[3]))), clientapi.CodeTooMany, "the fourth, after a restart")
	must(p.NewTokens(t.Context(), bob, newTokens(p.ask(bob, biloxi))))(t) // another user's are its own
	w.pass(20 * time.Hour)
	if got := must(p.NewTokens(t.Context(), alice, newTokens(all[3])))(t); got.Left != 2 {
		t.Errorf("%d left on the next day, want 2", got.Left)
	}
}

func second[T any](_ T, err error) error { return err }

// TestQuotaAtOnce: who asks many times at once gets no more.
func TestQuotaAtOnce(t *testing.T) {
	w := newWorld(t, introduce.Limits{PerDay: 3})
	p := w.ps[atlanta]
	alice := identity(t, "atlanta.example/u/alice")
	var got int
	var mu sync.Mutex
	var wait sync.WaitGroup
	for range 8 {
		a := p.ask(alice, biloxi)
		wait.Go(func() {
			if _, err := p.NewTokens(t.Context(), alice, newTokens(a)); err == nil {
				mu.Lock()
				defer mu.Unlock()
				got++
			}
		})
	}
	wait.Wait()
	if got != 3 {
		t.Errorf("%d tokens, want 3", got)
	}
}

// TestCountedBeforeSigned: a token whose count was not kept is not given; one whose count was
// kept, although that was not heard, is given to who asks again, and counted once.
func TestCountedBeforeSigned(t *testing.T) {
	w := newWorld(t, introduce.Limits{PerDay: 1})
	p := w.ps[atlanta]
	alice := identity(t, "atlanta.example/u/alice")
	a, other := p.ask(alice, biloxi), p.ask(alice, biloxi)
	p.store.fail(1, 0)
	if _, err := p.NewTokens(t.Context(), alice, newTokens(other)); !errors.Is(err, errLost) {
		t.Fatalf("a count that was not kept: %v", err)
	}
	p.store.fail(0, 1)
	if _, err := p.NewTokens(t.Context(), alice, newTokens(a)); !errors.Is(err, errLost) {
		t.Fatalf("a count whose keeping was not heard of: %v", err)
	}
	wantProblem(t, second(p.NewTokens(t.Context(), alice, newTokens(other))), clientapi.CodeTooMany, "another one")
	out := must(p.NewTokens(t.Context(), alice, newTokens(a)))(t)
	must(a.pending.Finish(out.Responses[0]))(t)
}

// TestKeyIsKept: no token is signed, and nothing published, with a key that may be lost; one that
// was kept without anybody hearing of it is the week's.
func TestKeyIsKept(t *testing.T) {
	w := newWorld(t, introduce.Limits{PerDay: 5})
	p := w.ps[atlanta]
	alice := identity(t, "atlanta.example/u/alice")
	p.store.fail(1, 0)
	if _, err := p.TokenKeys(t.Context(), alice); !errors.Is(err, errLost) {
		t.Fatalf("a key that was not kept: %v", err)
	}
	p.store.fail(0, 1)
	if _, err := p.TokenKeys(t.Context(), alice); !errors.Is(err, errLost) {
		t.Fatalf("a key that may have been kept: %v", err)
	}
	if n, _ := p.stored(); n != 1 {
		t.Fatalf("%d records, want the key", n)
	}
	first := must(p.TokenKeys(t.Context(), alice))(t).Keys
	p.start()
	if got := must(p.TokenKeys(t.Context(), alice))(t).Keys; !bytes.Equal(got, first) {
		t.Error("another key after a restart")
	}
	if n, _ := p.stored(); n != 1 {
		t.Errorf("%d records, want one key", n)
	}
}

// TestRotation: each week has its key, the last one's is published for a week more and signs
// nothing, and then it is deleted.
func TestRotation(t *testing.T) {
	w := newWorld(t, introduce.Limits{PerDay: 5})
	p := w.ps[atlanta]
	alice := identity(t, "atlanta.example/u/alice")
	old := p.ask(alice, biloxi)
	must(p.NewTokens(t.Context(), alice, newTokens(old)))(t)
	week := introduction.WeekOf(w.now)
	weeks := func() (out []introduction.Week) {
		for _, k := range must(w.ps[biloxi].keysOf(atlanta))(t) {
			out = append(out, k.Week)
		}
		return out
	}
	w.now = (week + 1).Begins()
	if got, want := weeks(), []introduction.Week{week + 1, week}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("weeks %v, want %v", got, want)
	}
	// That two keys end in the same octet happens once in 256 times; then it is the next check.
	if err := second(p.NewTokens(t.Context(), alice, newTokens(old))); err == nil {
		if x := must(p.NewTokens(t.Context(), alice, newTokens(old)))(t); second(old.pending.Finish(x.Responses[0])) == nil {
			t.Error("last week's key signs")
		}
	} else {
		wantProblem(t, err, clientapi.CodeRevision, "last week's key")
	}
	if err := p.Forget(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := weeks(); len(got) != 2 {
		t.Errorf("weeks %v: the last one's is forgotten too early", got)
	}
	w.now = week.Over()
	if got, want := weeks(), []introduction.Week{week + 2, week + 1}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("weeks %v, want %v", got, want)
	}
	before, _ := p.stored()
	if err := p.Forget(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n, _ := p.stored(); n != 2 || before <= n {
		t.Errorf("%d records, and %d before: want two keys", n, before)
	}
}

// TestRefusedTokens: what cannot be signed is not counted.
func TestRefusedTokens(t *testing.T) {
	w := newWorld(t, introduce.Limits{PerDay: 5, Users: ration.Config{PerSecond: 0.001, Burst: 6}})
	p := w.ps[atlanta]
	alice := identity(t, "atlanta.example/u/alice")
	a := p.ask(alice, biloxi)
	other := bytes.Clone(a.request)
	other[2]++
	for what, n := range map[string]*clientapi.NewTokens{"none": {}, "nine": {Requests: make([][]byte, 9)}, "nothing": {Requests: [][]byte{nil}},
		"long": {Requests: [][]byte{append(bytes.Clone(a.request), 0)}}} {
		wantProblem(t, second(p.NewTokens(t.Context(), alice, n)), clientapi.CodeInvalid, what)
	}
	wantProblem(t, second(p.NewTokens(t.Context(), alice, &clientapi.NewTokens{Requests: [][]byte{other}})), clientapi.CodeRevision, "another key")
	if got := must(p.TokenKeys(t.Context(), alice))(t).Left; got != 5 {
		t.Errorf("%d left, want 5", got)
	}
	for range 6 { // to sign the same again costs time
		must(p.NewTokens(t.Context(), alice, newTokens(a)))(t)
	}
	wantProblem(t, second(p.NewTokens(t.Context(), alice, newTokens(a))), clientapi.CodeTooMany, "the same for the seventh time")

	none := newWorld(t, introduce.Limits{}).ps[atlanta]
	wantProblem(t, second(none.TokenKeys(t.Context(), alice)), clientapi.CodeNotFound, "no tokens")
	wantProblem(t, second(none.NewTokens(t.Context(), alice, newTokens(a))), clientapi.CodeNotFound, "no tokens")
	if _, err := none.w.ps[biloxi].keysOf(atlanta); err == nil {
		t.Error("keys of an issuer that is none")
	}
	if n, _ := none.stored(); n != 0 {
		t.Errorf("%d records", n)
	}
}
