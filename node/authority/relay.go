package authority

import (
	"context"
	"errors"
	"net/http"

	"github.com/mimid/mimid/node/account"
	"github.com/mimid/mimid/node/peering"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/verification"
)

// Verify passes an own user's request on to its authority.
func (s *Service) Verify(ctx context.Context, who account.Identity, q *clientapi.NewVerification) error {
	m, err := verification.ParseRequest(q.Request)
	if err != nil {
		return invalid("the request does not decode: %v", err)
	}
	if m.Ask().User != who.User {
		return forbidden("the request is of %s, and this is %s", m.Ask().User, who.User)
	}
	_, err = s.pass(ctx, who, q.Authority, EndpointVerify, q.Request, func(ctx context.Context) ([]byte, error) {
		return nil, s.begin(ctx, s.self.Domain(), q.Request)
	})
	return err
}

// AnswerVerification passes an own user's code on, and returns the statement.
func (s *Service) AnswerVerification(ctx context.Context, who account.Identity, a *clientapi.VerificationAnswer) (*clientapi.Verified, error) {
	b, err := s.pass(ctx, who, a.Authority, EndpointAnswer, a.Answer, func(ctx context.Context) ([]byte, error) {
		return s.answer(ctx, s.self.Domain(), a.Answer)
	})
	if err != nil {
		return nil, err
	}
	return &clientapi.Verified{Statement: b}, nil
}

// pass asks an authority, which may be this provider.
func (s *Service) pass(ctx context.Context, who account.Identity, domain, endpoint string, body []byte, here func(context.Context) ([]byte, error)) ([]byte, error) {
	p, err := uri.ParseDomain(domain)
	if err != nil {
		return nil, invalid("authority %.100q: %v", domain, err)
	}
	if ok, wait := s.users.Take(who.User.String(), 1, s.cfg.Now()); !ok {
		return nil, tooMany(wait, "%s has had much verified: wait", who.User)
	}
	if p == s.self {
		if len(s.cfg.Senders) == 0 {
			return nil, notOne(p)
		}
		return here(ctx)
	}
	resp, err := s.cfg.Caller.Call(ctx, peering.Request{Target: p.Domain(), Endpoint: endpoint, Subject: p.Domain(), Body: body, MaxResponse: verification.MaxStatement})
	if err != nil {
		var refused *peering.Refused
		if errors.As(err, &refused) && refused.Problem.Code == peering.CodeEndpoint {
			return nil, notOne(p)
		}
		if bad := peering.Problem(err); bad != nil {
			return nil, bad
		}
		s.cfg.Log.Debug("asking an authority", "provider", p.Domain(), "err", err)
		return nil, problem(http.StatusBadGateway, clientapi.CodeUnreachable, "the authority %s does not answer: try again", p.Domain())
	}
	return resp.Body, nil
}

func notOne(p uri.Provider) error {
	return problem(http.StatusUnprocessableEntity, clientapi.CodeInvalid, "%s is no verification authority", p.Domain())
}
