package evaluate_test

import (
	"context"
	"errors"
	"testing"

	"github.com/mimid/mimid/node/evaluate"
	"github.com/mimid/mimid/node/peering"
	"github.com/mimid/mimid/node/ration"
	"github.com/mimid/mimid/protocol/clientapi"
)

// veil is relays to the evaluators of a world.
type veil struct {
	w      *world
	refuse error
	only   string // who takes part; empty: all
}

func (v veil) Check(*clientapi.Privacy) error { return v.refuse }

func (v veil) Call(ctx context.Context, q peering.Request) (*peering.Response, error) {
	p := v.w.ps[q.Target]
	if p == nil || v.only != "" && v.only != q.Target {
		return nil, &clientapi.Problem{Status: 503, Code: clientapi.CodePrivacy, Detail: q.Target + " takes no part"}
	}
	r := p.Routes()[0]
	if !r.Unnamed || !r.Idempotent || r.Endpoint != q.Endpoint {
		return nil, errors.New("not for who is not named")
	}
	return r.Handler(ctx, &peering.Incoming{Endpoint: q.Endpoint, Subject: q.Subject, Body: q.Body})
}

// TestEvaluatedWithoutName: over relays no evaluator is called by name, not as a last resort either; what an
// evaluator does for who is not named costs a budget of its own, and what relays cannot do is no fault of its.
func TestEvaluatedWithoutName(t *testing.T) {
	w := newWorld(t, evaluate.Limits{Unnamed: ration.Config{PerSecond: 1, Burst: 1}})
	service := func(v evaluate.Veil) *evaluate.Service {
		return must(evaluate.New(evaluate.Config{Domain: outsider, Set: w.set, Caller: w.ps[outsider].caller, Veil: v, Now: w.clock}))(t)
	}
	b := must(w.set.Blind([]byte("handle:alice")))(t)
	q := &clientapi.Evaluate{Request: b.Request().Bytes(), Privacy: &clientapi.Privacy{Over: "onion"}}
	code := func(err error) clientapi.Code {
		p, _ := errors.AsType[*clientapi.Problem](err)
		if p == nil {
			return ""
		}
		return p.Code
	}

	_, err := service(nil).Evaluate(t.Context(), alice(t), q)
	if code(err) != clientapi.CodePrivacy {
		t.Errorf("no relays: %v", err)
	}
	_, err = service(veil{w: w, refuse: &clientapi.Problem{Code: clientapi.CodePrivacy}}).Evaluate(t.Context(), alice(t), q)
	if code(err) != clientapi.CodePrivacy {
		t.Errorf("below the floor: %v", err)
	}
	s := service(veil{w: w, only: "p1.example"})
	_, err = s.Evaluate(t.Context(), alice(t), q)
	if code(err) != clientapi.CodePrivacy || len(s.Faults()) != 0 {
		t.Errorf("two too few take part: %v, faults %v", err, s.Faults())
	}

	// The first has p1's budget spent. With that, three of the others are enough once.
	out, err := service(veil{w: w}).Evaluate(t.Context(), alice(t), q)
	if err != nil || len(out.Evaluations) != 3 || out.Over != "onion" {
		t.Fatalf("%v: %+v", err, out)
	}
	_, err = service(veil{w: w}).Evaluate(t.Context(), alice(t), q)
	if code(err) != clientapi.CodeUnreachable {
		t.Errorf("the budget of all who are not named: %v", err)
	}
	if n := w.served(); n != 0 {
		t.Errorf("%d calls by name", n)
	}
	// Who is named has its own.
	q.Privacy = nil
	out, err = service(veil{w: w}).Evaluate(t.Context(), alice(t), q)
	if err != nil || out.Over != "" || w.served() != 3 {
		t.Errorf("by name: %v, %+v", err, out)
	}
}
