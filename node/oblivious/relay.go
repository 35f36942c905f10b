package oblivious

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/mimid/mimid/node/peering"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/ohttp"
	"github.com/mimid/mimid/protocol/uri"
)

// Caller asks other providers; *peering.Caller does.
type Caller interface {
	Call(ctx context.Context, q peering.Request) (*peering.Response, error)
}

// RelayConfig configures a Relay. All but Now is required.
type RelayConfig struct {
	// Domain is the own provider's.
	Domain string
	// Gateway is the own one, for rooms of which this provider is the hub. It is asked
	// directly; from it nothing is hidden, since relay and gateway are the same.
	Gateway *Gateway
	Caller  Caller
	Now     func() time.Time
}

// Relay passes the requests of the own devices on to gateways. Safe for concurrent use.
type Relay struct {
	cfg RelayConfig

	mu    sync.Mutex
	known map[string]kept // guarded by mu
}

// kept are the keys of a gateway, the same for all users, so that a gateway can not tell
// them apart by the keys that each was given.
type kept struct {
	signed []byte
	until  time.Time
}

const (
	// keepTime is how long keys are kept; anewTime how long they are at least, whoever says
	// that they are outdated.
	keepTime, anewTime = time.Hour, 10 * time.Second
	maxKept            = 1024
)

// NewRelay returns a Relay. Error: ErrConfig.
func NewRelay(c RelayConfig) (*Relay, error) {
	if c.Domain == "" || c.Gateway == nil || c.Caller == nil {
		return nil, fmt.Errorf("%w: Domain, Gateway and Caller are required", ErrConfig)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Relay{cfg: c, known: map[string]kept{}}, nil
}

// Keys are the signed keys of a domain's gateway, as ohttp.ParseSigned reads them. anew says
// that those known have been refused. Errors are Problems, or those of peering.Caller.
func (r *Relay) Keys(ctx context.Context, gateway string, anew bool) ([]byte, error) {
	if err := domain(gateway); err != nil {
		return nil, err
	}
	if gateway == r.cfg.Domain {
		s, err := r.cfg.Gateway.Signed()
		if err != nil {
			return nil, err
		}
		return s.Append(nil), nil
	}
	now := r.cfg.Now()
	r.mu.Lock()
	k, ok := r.known[gateway]
	r.mu.Unlock()
	if ok && now.Before(k.until) && (!anew || k.until.Sub(now) > keepTime-anewTime) {
		return k.signed, nil
	}
	res, err := r.cfg.Caller.Call(ctx, peering.Request{Target: gateway, Endpoint: EndpointKeys, Subject: gateway, MaxResponse: ohttp.MaxSigned})
	if err != nil {
		return nil, passOn(err)
	}
	s, err := ohttp.ParseSigned(res.Body)
	if err != nil {
		return nil, problem(http.StatusBadGateway, clientapi.CodeUnreachable, "%s answers with keys that cannot be read: %v", gateway, err)
	}
	k = kept{s.Append(nil), now.Add(keepTime)}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.known) >= maxKept {
		clear(r.known) // they are fetched again
	}
	r.known[gateway] = k
	return k.signed, nil
}

// Pass passes an encrypted request on and returns the encrypted answer. Errors are Problems,
// or those of peering.Caller.
func (r *Relay) Pass(ctx context.Context, gateway string, sealed []byte) ([]byte, error) {
	if err := domain(gateway); err != nil {
		return nil, err
	}
	if len(sealed) > maxSealed {
		return nil, problem(http.StatusRequestEntityTooLarge, clientapi.CodeTooLarge, "an encrypted request of %d octets: at most %d", len(sealed), maxSealed)
	}
	if gateway == r.cfg.Domain {
		return r.cfg.Gateway.Answer(ctx, gateway, sealed)
	}
	res, err := r.cfg.Caller.Call(ctx, peering.Request{Target: gateway, Endpoint: Endpoint, Subject: gateway, Body: sealed, MaxResponse: maxAnswer})
	if err != nil {
		return nil, passOn(err)
	}
	return res.Body, nil
}

// MaxRequest is the longest encrypted request that is passed on, in octets.
const MaxRequest = maxSealed

func domain(s string) error {
	if _, err := uri.ParseDomain(s); err != nil {
		return problem(http.StatusUnprocessableEntity, clientapi.CodeInvalid, "gateway %.100q: %v", s, err)
	}
	return nil
}

// passOn is what a gateway has refused with, as it is.
func passOn(err error) error {
	if no, ok := errors.AsType[*peering.Refused](err); ok && no.Problem.Code == clientapi.CodeKeySet {
		return problem(no.Problem.Status, no.Problem.Code, "%s says: %.300q", no.Target, no.Problem.Detail)
	}
	if p := peering.Problem(err); p != nil {
		return p
	}
	return err
}
