package client_test

import (
	"errors"
	"testing"

	"github.com/mimid/mimid/client"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/oprf"
	"github.com/mimid/mimid/protocol/uri"
)

// TestEvaluated: with evaluators, an identifier is published and found with their help; what a
// provider passes on that does not verify is no help, and too little of it an error.
func TestEvaluated(t *testing.T) {
	f := newFake(t)
	alice, bob := f.person("alice", "atlanta.example"), f.person("bob", "biloxi.example")
	if err := bob.c.Publish(ctx10(t), "handle:bob"); err != nil {
		t.Fatal(err)
	}
	plan := oprf.Plan{Threshold: 2}
	for _, d := range []string{"a.example", "b.example", "c.example"} {
		p, err := uri.ParseDomain(d)
		if err != nil {
			t.Fatal(err)
		}
		plan.Evaluators = append(plan.Evaluators, p)
	}
	set, shares, err := oprf.Deal(plan)
	if err != nil {
		t.Fatal(err)
	}
	f.mu.Lock()
	f.evaluators, f.shares = set, shares
	f.mu.Unlock()
	// What was published before is another secret's.
	if got, err := alice.c.Discover(ctx10(t), "handle:bob"); err != nil || len(got.Found) != 0 || got.Failed != 1 {
		t.Errorf("before it is published anew: %+v, %v", got, err)
	}
	if err := bob.c.Publish(ctx10(t), "handle:bob"); err != nil {
		t.Fatal(err)
	}
	found := func() error {
		got, err := alice.c.Discover(ctx10(t), "handle:bob")
		if err == nil && (len(got.Found) != 1 || got.Found[0].User != bob.user().String()) {
			t.Errorf("found %+v", got)
		}
		return err
	}
	if err := found(); err != nil {
		t.Fatal(err)
	}
	for what, x := range map[string]struct {
		pass func([]clientapi.Evaluation) []clientapi.Evaluation
		ok   bool
	}{
		"the last two": {func(es []clientapi.Evaluation) []clientapi.Evaluation { return es[1:] }, true},
		"one is garbage": {func(es []clientapi.Evaluation) []clientapi.Evaluation {
			es[0].Evaluation = []byte("garbage")
			return es
		}, true},
		"two are another one's": {func(es []clientapi.Evaluation) []clientapi.Evaluation {
			es[0].Evaluation, es[1].Evaluation = es[2].Evaluation, es[2].Evaluation
			return es
		}, false},
		"one three times": {func(es []clientapi.Evaluation) []clientapi.Evaluation {
			return []clientapi.Evaluation{es[0], es[0], es[0]}
		}, false},
		"nothing": {func([]clientapi.Evaluation) []clientapi.Evaluation { return nil }, false},
	} {
		f.mu.Lock()
		f.evaluate = x.pass
		f.mu.Unlock()
		if err := found(); x.ok && err != nil || !x.ok && !errors.Is(err, client.ErrProtocol) {
			t.Errorf("passed on is %s: %v", what, err)
		}
	}
}
