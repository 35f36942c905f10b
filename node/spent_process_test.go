package node_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/introduction"
	"github.com/mimid/mimid/protocol/privacypass"
	"github.com/mimid/mimid/protocol/uri"
)

// TestSpentTokenOutlivesKills: a token that stands for somebody without a name is taken for one
// request, however often the target's provider is killed (SIGKILL, real processes) after it has
// answered, or while several requests with one token come at once.
func TestSpentTokenOutlivesKills(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: two nodes as processes, of which one is killed again and again")
	}
	w := newCrashWorld(t, 1, false)
	stranger := &crashDevice{w: w, at: w.hub, http: w.alice.http} // says no name
	request := func(token *privacypass.Token, target uri.User, text string) *introduction.Request {
		return &introduction.Request{Issuer: w.alice.user.Provider(), Target: target, Handle: introduction.NewSecret().Handle(), Text: text, Token: *token}
	}
	// asks returns whether a request is taken; if not, its token is spent. What is not answered is sent again.
	asks := func(r *introduction.Request) bool {
		t.Helper()
		var last error
		for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
			var out clientapi.Introduced
			last = stranger.call("POST", "/v1/introduce", &clientapi.Introduce{Request: r.Bytes()}, &out)
			p, refused := errors.AsType[*clientapi.Problem](last)
			switch {
			case last == nil && !out.Granted:
				return true
			case last == nil:
				t.Fatalf("%q is granted by nobody", r.Text)
			case refused && p.Code == clientapi.CodeSpent:
				return false
			}
		}
		t.Fatalf("%q gets no answer: %v", r.Text, last)
		return false
	}
	again := func() {
		w.follower.kill()
		w.follower.start()
	}

	token := w.alice.introductionToken("biloxi.example")
	first := request(token, w.bob.user, "first")
	if !asks(first) {
		t.Fatal("a fresh token is spent")
	}
	for round := range 2 {
		again()
		carol := crashMust(uri.ParseUser("mimi://biloxi.example/u/carol"))(t)
		for _, r := range []*introduction.Request{request(token, w.bob.user, "second"), request(token, carol, "to carol")} {
			if asks(r) {
				t.Errorf("round %d: after a kill the token is taken again, %s", round, r.Text)
			}
		}
		if !asks(first) {
			t.Errorf("round %d: after a kill the first request is not known any more", round)
		}
	}

	want := []string{"first"}
	for round := range 2 {
		token := w.alice.introductionToken("biloxi.example")
		var all []*introduction.Request
		var wg sync.WaitGroup
		for i := range 4 {
			r := request(token, w.bob.user, fmt.Sprintf("%d of round %d", i, round))
			all = append(all, r)
			wg.Go(func() {
				_ = stranger.call("POST", "/v1/introduce", &clientapi.Introduce{Request: r.Bytes()}, new(clientapi.Introduced))
			})
		}
		time.Sleep(w.soon(20 * time.Millisecond))
		again()
		wg.Wait()
		taken := 0
		for _, r := range all {
			if asks(r) {
				taken++
				want = append(want, r.Text)
			}
		}
		if taken != 1 {
			t.Errorf("round %d: %d of four requests with one token are taken, want 1", round, taken)
		}
	}
	var got clientapi.Introductions
	if err := w.bob.call("GET", "/v1/introductions", nil, &got); err != nil {
		t.Fatal(err)
	}
	var shown []string
	for _, i := range got.Introductions {
		shown = append(shown, i.Text)
	}
	slices.Sort(shown)
	slices.Sort(want)
	if !slices.Equal(shown, want) {
		t.Errorf("bob is shown %q, taken were %q", shown, want)
	}
}

// introductionToken has a token signed that introduces at another provider.
func (d *crashDevice) introductionToken(origin string) *privacypass.Token {
	t := d.w.t
	t.Helper()
	var published clientapi.TokenKeys
	if err := d.call("GET", "/v1/tokens", nil, &published); err != nil {
		t.Fatal(err)
	}
	keys := crashMust(introduction.ParseKeys(published.Keys))(t)
	ask, pending, err := privacypass.Ask(keys[0].Key, introduction.Challenge(d.at.domain, origin, keys[0].Week))
	if err != nil {
		t.Fatal(err)
	}
	var out clientapi.Tokens
	if err := d.call("POST", "/v1/tokens", &clientapi.NewTokens{Requests: [][]byte{ask}}, &out); err != nil || len(out.Responses) != 1 {
		t.Fatal(len(out.Responses), err)
	}
	return crashMust(pending.Finish(out.Responses[0]))(t)
}
