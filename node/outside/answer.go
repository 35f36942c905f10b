package outside

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/mimid/mimid/node/peering"
	"github.com/mimid/mimid/node/ration"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
)

const (
	maxRequest = 32 << 10 // a KeyMaterialRequest
	// claimWithin bounds a claim for another provider; it is less than Config.Within.
	claimWithin = 10 * time.Second
	atOnce      = 4
)

// answering bounds what is done for others.
type answering struct {
	rate  *ration.Ration
	slots chan struct{}
}

func newAnswering() answering {
	return answering{ration.New(ration.Config{PerSecond: 0.1, Burst: 6}), make(chan struct{}, atOnce)}
}

// Routes are the endpoints that other providers call.
func (w *Watch) Routes() []peering.Route {
	return []peering.Route{{Endpoint: Endpoint, Handler: w.handle, MaxBody: maxRequest, Idempotent: true}}
}

// handle brings a request back to the provider that it comes from, as a stranger.
func (w *Watch) handle(ctx context.Context, in *peering.Incoming) (*peering.Response, error) {
	if in.Subject != in.Source {
		return nil, invalid("%s asks for a look at %.200q, and not at itself", in.Source, in.Subject)
	}
	if ok, wait := w.rate.Take(in.Source, 1, w.cfg.Now()); !ok {
		p := &clientapi.Problem{Status: http.StatusTooManyRequests, Code: clientapi.CodeTooMany, Detail: in.Source + " has others look often: wait"}
		p.Retry = max(1, wait.Milliseconds())
		return nil, p
	}
	m, err := wire.ParseKeyMaterialRequest(in.Body, wire.Limits{})
	if err != nil {
		return nil, invalid("the request does not decode: %v", err)
	}
	target, err := uri.ParseUser(string(m.TargetUser))
	if err != nil {
		return nil, invalid("the target user: %v", err)
	}
	if target.Provider().Domain() != in.Source || m.RequestingUser != m.TargetUser || m.Room == "" {
		return nil, invalid("the request is not one of a user of %s for its own KeyPackages, for a room", in.Source)
	}
	select {
	case w.slots <- struct{}{}:
		defer func() { <-w.slots }()
	default:
		p := &clientapi.Problem{Status: http.StatusTooManyRequests, Code: clientapi.CodeTooMany, Detail: "this provider looks for others already: wait"}
		p.Retry = 1000
		return nil, p
	}
	v, err := w.claimAsStranger(ctx, in.Source, m, in.Body)
	if err != nil {
		return nil, err
	}
	return &peering.Response{Body: v.Bytes()}, nil
}

func invalid(format string, args ...any) error {
	return &clientapi.Problem{Status: http.StatusUnprocessableEntity, Code: clientapi.CodeInvalid, Detail: fmt.Sprintf(format, args...)}
}

func (w *Watch) claimAsStranger(ctx context.Context, domain string, m *wire.KeyMaterialRequest, body []byte) (*Verdict, error) {
	ctx, cancel := context.WithTimeout(ctx, claimWithin)
	defer cancel()
	s, err := w.cfg.Stranger(domain)
	if err != nil {
		return nil, fmt.Errorf("making a stranger: %w", err)
	}
	defer s.Close()
	resp, err := s.Call(ctx, peering.Request{Target: domain, Endpoint: wire.EndpointKeyMaterial.String(), Subject: string(m.TargetUser), Room: m.Room,
		Body: body, MaxResponse: MaxAnswer})
	switch {
	case err == nil:
	case refused(err):
		return &Verdict{Outcome: Refused}, nil
	default:
		w.cfg.Log.Debug("a stranger cannot claim KeyPackages", "provider", domain, "error", err)
		return &Verdict{Outcome: Unreachable}, nil
	}
	got, err := wire.ParseKeyMaterialResponse(resp.Body, wire.Limits{})
	if err != nil || got.User != m.TargetUser || got.Status != wire.KeyMaterialSuccess {
		return &Verdict{Outcome: Refused}, nil
	}
	for _, c := range got.Clients {
		if c.Status != wire.ClientSuccess {
			return &Verdict{Outcome: Refused}, nil
		}
		if _, err := c.KeyPackage.Verify(mls.Config{Authenticator: w.cfg.Authenticator}, w.cfg.Now()); err != nil {
			return &Verdict{Outcome: Distrusted}, nil
		}
	}
	return &Verdict{Claimed, resp.Body}, nil
}

// refused says that there was an answer, and it was no.
func refused(err error) bool {
	var r *peering.Refused
	return errors.As(err, &r)
}
