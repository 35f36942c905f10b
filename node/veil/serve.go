package veil

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"

	"github.com/mimid/mimid/node/mix"
	"github.com/mimid/mimid/node/peering"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/store"
)

const (
	workers = 8
	waiting = 64 // requests that wait for a worker
)

// Serve says what can be asked: those of the routes that are Unnamed. Others are as if they were not there.
func (s *Service) Serve(routes []peering.Route) {
	m := map[string]peering.Route{}
	for _, r := range routes {
		if r.Unnamed && r.Idempotent && r.Handler != nil {
			m[r.Endpoint] = r
		}
	}
	s.routes.Store(&m)
}

// Consume is the mix.Consumer of Kind. It does not wait for handlers: a request whose answer a crash takes is
// asked again by who asked.
func (s *Service) Consume(_ context.Context, m mix.Message) (func(*store.Tx) error, error) {
	r, err := parseRequest(s.cfg.Format, m.Data)
	if err != nil {
		s.cfg.Log.Debug("a request over relays is none, and there is nobody to be told", "err", err)
		return nil, nil
	}
	select {
	case s.jobs <- r:
	default:
		s.shed.Add(1)
		s.answer(r, nil, &clientapi.Problem{Status: http.StatusTooManyRequests, Code: clientapi.CodeTooMany, Detail: "this provider answers as many requests over relays as it can: wait", Retry: 2000})
	}
	return nil, nil
}

// Run answers until ctx ends, which is no error.
func (s *Service) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case r := <-s.jobs:
					s.serve(ctx, r)
				}
			}
		})
	}
	wg.Wait()
	return nil
}

// serve answers one request.
func (s *Service) serve(ctx context.Context, r *request) {
	route, ok := (*s.routes.Load())[r.endpoint]
	limit := route.MaxBody
	if limit <= 0 {
		limit = maxBody
	}
	switch {
	case !ok:
		s.answer(r, nil, &clientapi.Problem{Status: http.StatusNotFound, Code: peering.CodeEndpoint, Detail: fmt.Sprintf("this provider has no endpoint %.64q for who is not named", r.endpoint)})
		return
	case len(r.body) > limit:
		s.answer(r, nil, &clientapi.Problem{Status: http.StatusRequestEntityTooLarge, Code: clientapi.CodeTooLarge, Detail: fmt.Sprintf("a body of %d octets: at most %d", len(r.body), limit)})
		return
	}
	ctx, cancel := context.WithTimeout(ctx, handleWithin)
	defer cancel()
	resp, err := route.Handler(ctx, &peering.Incoming{Endpoint: r.endpoint, Subject: r.subject, Body: r.body})
	if err != nil {
		bad, ok := errors.AsType[*clientapi.Problem](err)
		if !ok {
			if ctx.Err() == nil {
				s.cfg.Log.Error("a request over relays failed here", "endpoint", r.endpoint, "err", err)
			}
			bad = &clientapi.Problem{Status: http.StatusInternalServerError, Code: clientapi.CodeInternal, Detail: "this provider has made a mistake, which is in its log"}
		}
		s.answer(r, nil, bad)
		return
	}
	s.answer(r, resp.Body, nil)
}

// answer sends an answer by the reply blocks of its request.
func (s *Service) answer(r *request, body []byte, bad *clientapi.Problem) {
	out, err := parts(s.cfg.Format, encode(body, bad), len(r.blocks))
	if err != nil {
		out, err = parts(s.cfg.Format, encode(nil, &clientapi.Problem{Status: http.StatusRequestEntityTooLarge, Code: clientapi.CodeTooLarge, Detail: fmt.Sprintf("the answer has %d octets, for which there are too few reply blocks", len(body))}), len(r.blocks))
	}
	for i := range out {
		if err = s.cfg.Net.Answer(r.blocks[i], out[i]); err != nil {
			break
		}
	}
	if err != nil {
		s.cfg.Log.Debug("an answer over relays was not sent", "err", err)
		return
	}
	if bad == nil || bad.Status != http.StatusTooManyRequests {
		s.served.Add(1)
	}
}
