package introduce_test

import (
	"context"
	"errors"
	"testing"

	"github.com/mimid/mimid/node/introduce"
	"github.com/mimid/mimid/node/peering"
	"github.com/mimid/mimid/protocol/clientapi"
)

// veil is relays to the providers of a world.
type veil struct {
	w      *world
	refuse error
}

func (v veil) Check(*clientapi.Privacy) error { return v.refuse }

func (v veil) Call(ctx context.Context, q peering.Request) (*peering.Response, error) {
	for _, r := range v.w.ps[q.Target].Routes() {
		if r.Endpoint == q.Endpoint && r.Unnamed && r.Idempotent {
			return r.Handler(ctx, &peering.Incoming{Endpoint: q.Endpoint, Subject: q.Subject, Body: q.Body})
		}
	}
	return nil, errors.New("not for who is not named")
}

// TestIntroducedOverRelays: the target's provider takes a request that nobody in particular brings, by its token; it is
// spent as any, and shown and answered as any. What cannot go over relays does not go.
func TestIntroducedOverRelays(t *testing.T) {
	w := newWorld(t, many())
	a, b := w.ps[atlanta], w.ps[biloxi]
	r, _ := a.request("biloxi.example/u/bob", "hello")
	send := func() (*clientapi.Introduced, error) {
		return a.Introduce(t.Context(), &clientapi.Introduce{Request: r.Bytes(), Privacy: &clientapi.Privacy{Over: "onion"}})
	}
	for what, v := range map[string]introduce.Veil{"no relays": nil, "below the floor": veil{w, &clientapi.Problem{Code: clientapi.CodePrivacy}}} {
		a.cfg.Veil = v
		a.start()
		_, err := send()
		wantProblem(t, err, clientapi.CodePrivacy, what)
	}
	a.cfg.Veil = veil{w: w}
	a.start()
	for range 2 { // the same again is the same
		if out := must(send())(t); out.Granted || out.Over != "onion" {
			t.Errorf("%+v", out)
		}
	}
	list := b.waiting("bob")
	if len(list) != 1 || list[0].Text != "hello" || list[0].Provider != atlanta {
		t.Fatalf("shown: %+v", list)
	}
	if err := b.judge("bob", list[0].Handle, true); err != nil {
		t.Fatal(err)
	}
	if !must(send())(t).Granted {
		t.Error("the yes does not come back")
	}
	b.mu.Lock()
	if n := b.calls[introduce.EndpointIntroduce]; n != 0 {
		t.Errorf("%d requests by name", n)
	}
	b.mu.Unlock()

	// The token is spent, whoever brings another request with it.
	r.Text = "other words"
	_, err := send()
	if err == nil {
		t.Error("a token was taken for two requests")
	}
	// A token of the target's own provider does not come over relays.
	own, _ := b.request("biloxi.example/u/bob", "hello")
	_, err = veil{w: w}.Call(t.Context(), peering.Request{Target: biloxi, Endpoint: introduce.EndpointIntroduce, Subject: biloxi, Body: own.Bytes()})
	wantProblem(t, err, clientapi.CodeForbidden, "an own token")
}
