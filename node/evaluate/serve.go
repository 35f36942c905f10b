package evaluate

import (
	"context"
	"encoding/hex"
	"net/http"

	"github.com/mimid/mimid/node/peering"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/oprf"
)

// Routes are the endpoints that other providers call: none unless this is an evaluator.
func (s *Service) Routes() []peering.Route {
	if s.cfg.Share == nil {
		return nil
	}
	return []peering.Route{{Endpoint: Endpoint, Handler: s.handle, MaxBody: oprf.MaxRequest, Idempotent: true, Unnamed: true}}
}

// handle evaluates for another provider, or for one that is not named. What it asks for is counted before anything is
// computed with it, and also when it comes to nothing.
func (s *Service) handle(_ context.Context, in *peering.Incoming) (*peering.Response, error) {
	budget, who := s.providers, in.Source
	if in.Source == "" {
		budget, who = s.unnamed, "who is not named"
	}
	r, err := oprf.ParseRequest(in.Body)
	if err != nil {
		budget.Take(in.Source, 1, s.cfg.Now())
		return nil, problem(http.StatusUnprocessableEntity, clientapi.CodeInvalid, "the request does not decode: %v", err)
	}
	if ok, wait := budget.Take(in.Source, float64(r.Len()), s.cfg.Now()); !ok {
		return nil, tooMany(wait, "%s has many identifiers evaluated: wait", who)
	}
	set := r.Set()
	if in.Subject != hex.EncodeToString(set[:]) {
		return nil, problem(http.StatusUnprocessableEntity, clientapi.CodeInvalid, "the request is for another key set than the URL")
	}
	if set != s.cfg.Set.ID() {
		return nil, problem(http.StatusConflict, clientapi.CodeKeySet, "the request is for key set %s, and this evaluator has a share of %s", set, s.cfg.Set.ID())
	}
	e, err := s.cfg.Share.Evaluate(r)
	if err != nil {
		return nil, err
	}
	return &peering.Response{Body: e.Bytes()}, nil
}
