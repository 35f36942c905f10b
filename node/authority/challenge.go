package authority

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/mimid/mimid/node/peering"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/verification"
	"github.com/mimid/mimid/store"
)

const (
	maxRequest = verification.MaxRequest
	maxAnswer  = verification.MaxAnswer

	// sendWithin is less than callers wait for an answer.
	sendWithin = 20 * time.Second
	// lasts is how long a statement lasts.
	lasts = verification.MaxLifetime
)

func (s *Service) handleVerify(ctx context.Context, in *peering.Incoming) (*peering.Response, error) {
	if err := s.admit(in); err != nil {
		return nil, err
	}
	if err := s.begin(ctx, in.Source, in.Body); err != nil {
		return nil, err
	}
	return &peering.Response{Status: http.StatusNoContent}, nil
}

func (s *Service) handleAnswer(ctx context.Context, in *peering.Incoming) (*peering.Response, error) {
	if err := s.admit(in); err != nil {
		return nil, err
	}
	b, err := s.answer(ctx, in.Source, in.Body)
	if err != nil {
		return nil, err
	}
	return &peering.Response{Body: b}, nil
}

// admit counts what another provider asks for, whatever comes of it.
func (s *Service) admit(in *peering.Incoming) error {
	if ok, wait := s.requests.Take(in.Source, 1, s.cfg.Now()); !ok {
		return tooMany(wait, "%s has much verified: wait", in.Source)
	}
	if in.Subject != s.self.Domain() {
		return invalid("this is %s, and the URL is for %.100q", s.self.Domain(), in.Subject)
	}
	return nil
}

// begin makes a challenge for a user of the provider from, and sends its code. The same request
// again sends nothing more, unless the sending failed.
func (s *Service) begin(ctx context.Context, from string, body []byte) error {
	q, err := verification.ParseRequest(body)
	if err != nil {
		return invalid("the request does not decode: %v", err)
	}
	ask := q.Ask()
	sender := s.cfg.Senders[ask.Method]
	switch {
	case ask.User.Provider().Domain() != from:
		return forbidden("%s asks for a user of %s", from, ask.User.Provider().Domain())
	case len(s.cfg.Serve) > 0 && !slices.Contains(s.cfg.Serve, from):
		return forbidden("%s does not verify for users of %s", s.self.Domain(), from)
	case sender == nil:
		return forbidden("%s does not verify by %s: it verifies by %v", s.self.Domain(), ask.Method, s.Methods())
	}
	if err := s.know(ctx, ask.User.Provider()); err != nil {
		return err
	}
	now := s.cfg.Now()
	asked, err := q.Verify(s.self, s.cfg.Anchors, now)
	if err != nil {
		return forbidden("the request does not verify: %v", err)
	}
	// Taken before anything is stored, so that who is told to wait has lost nothing.
	select {
	case s.sendings <- struct{}{}:
		defer func() { <-s.sendings }()
	default:
		return tooMany(2*time.Second, "%s sends many codes just now: wait", s.self.Domain())
	}
	var code string
	err = s.cfg.Store.Update(ctx, func(tx *store.Tx) (err error) {
		code, err = s.prepare(tx, asked, now)
		return err
	})
	if err != nil || code == "" {
		return err
	}
	m := Message{To: messageTo(asked.Identifier), Method: asked.Method, Code: code, User: asked.User.String(), Authority: s.self.Domain(), Made: now,
		Expires: now.Add(verification.CodeLifetime)}
	sending, cancel := context.WithTimeout(ctx, sendWithin)
	defer cancel()
	if err := sender.Send(sending, m); err != nil {
		s.cfg.Log.Warn("a code could not be sent", "method", ask.Method, "user", ask.User, "err", err)
		if errors.Is(err, ErrRefused) {
			return problem(http.StatusUnprocessableEntity, clientapi.CodeInvalid, "the code could not be delivered: the address or number was refused")
		}
		return problem(http.StatusBadGateway, clientapi.CodeUnreachable, "%s could not send the code now: try again", s.self.Domain())
	}
	return s.change(ctx, asked.ID(), func(c *verification.Challenge) { c.SentNow() })
}

// know makes the keys of a user's provider known.
func (s *Service) know(ctx context.Context, p uri.Provider) error {
	if p == s.self {
		return nil
	}
	if err := s.cfg.Resolve(ctx, p.Domain()); err != nil {
		return problem(http.StatusBadGateway, clientapi.CodeUnknownProvider, "the provider %s cannot be found", p.Domain())
	}
	return nil
}

// prepare stores a challenge with a new code, which it returns; "" if the code was sent before.
func (s *Service) prepare(tx *store.Tx, a *verification.Asked, now time.Time) (string, error) {
	c, err := readChallenge(tx, a.ID())
	if err != nil {
		return "", err
	}
	fresh := c == nil
	if fresh {
		if c, err = verification.NewChallenge(a, now); err != nil {
			return "", invalid("%v", err)
		}
	} else if c.Sent() || c.Statement() != nil {
		return "", nil
	}
	code, err := c.NextCode(now)
	if err != nil {
		return "", spent(err)
	}
	if !fresh {
		return code, writeChallenge(tx, c)
	}
	of := countersOf(a.Identifier.String(), a.User)
	l := s.cfg.Limits
	for i, limit := range []struct {
		n    int
		what string
	}{
		{l.PerIdentifier, "codes were sent there"}, {l.PerClaimant, "codes were sent there"},
		{l.PerUser, "codes were sent for " + a.User.String()}, {l.PerProvider, "codes were sent for users of " + a.User.Provider().Domain()},
		{l.All, "codes were sent"},
	} {
		n, err := readCount(tx, i+1, of[i])
		if err != nil {
			return "", err
		}
		if n >= limit.n {
			return "", tooMany(time.Hour, "%d %s within a day, which is the limit of %s: wait, or ask another authority", n, limit.what, s.self.Domain())
		}
	}
	return code, addChallenge(tx, c, of)
}

// change stores a change to a challenge, if it is still there.
func (s *Service) change(ctx context.Context, id verification.ID, fn func(*verification.Challenge)) error {
	return s.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		c, err := readChallenge(tx, id)
		if err != nil || c == nil {
			return err
		}
		fn(c)
		return writeChallenge(tx, c)
	})
}

// answer judges a code that came through the provider from, and returns the statement. A
// right code stays right until the statement is stored, so what fails in between can be
// repeated.
func (s *Service) answer(ctx context.Context, from string, body []byte) ([]byte, error) {
	a, err := verification.ParseAnswer(body)
	if err != nil {
		return nil, invalid("the answer does not decode: %v", err)
	}
	now := s.cfg.Now()
	var c *verification.Challenge
	var wrong error
	err = s.cfg.Store.Update(ctx, func(tx *store.Tx) (err error) {
		if c, err = readChallenge(tx, a.ID()); err != nil {
			return err
		}
		if c == nil || c.User().Provider().Domain() != from {
			return problem(http.StatusNotFound, clientapi.CodeNotFound, "there is no such challenge, or not any more: ask for a new code")
		}
		if wrong = c.Try(a, now); errors.Is(wrong, verification.ErrSignature) {
			return nil
		}
		return writeChallenge(tx, c) // the attempt counts before its result is told
	})
	switch {
	case err != nil:
		return nil, err
	case wrong != nil:
		return nil, spent(wrong)
	case c.Statement() != nil:
		return c.Statement(), nil
	}
	secret, err := s.cfg.Secrets.Secret(ctx, c.Identifier())
	if err != nil {
		s.cfg.Log.Warn("an identifier's secret could not be derived", "err", err)
		return nil, problem(http.StatusServiceUnavailable, clientapi.CodeUnavailable, "the code is right, and %s cannot sign now: enter it again later", s.self.Domain())
	}
	st, err := verification.Sign(s.cfg.ProviderKey(), verification.Facts{ClaimID: secret.ClaimID(), User: c.User(), KeyID: c.KeyID(), Method: c.Method(),
		Authority: s.self, Issued: now, Expires: now.Add(lasts)})
	if err != nil {
		return nil, err
	}
	var out []byte
	err = s.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		c, err := readChallenge(tx, a.ID())
		if err != nil {
			return err
		}
		if c == nil {
			return problem(http.StatusNotFound, clientapi.CodeNotFound, "the challenge has ended: ask for a new code")
		}
		if c.Statement() == nil { // else somebody else was faster with the same answer
			c.Done(st)
		}
		out = c.Statement()
		return writeChallenge(tx, c)
	})
	return out, err
}

// spent says what is wrong with an answer, or a request for one more code.
func spent(err error) *clientapi.Problem {
	switch {
	case errors.Is(err, verification.ErrCode):
		return problem(http.StatusForbidden, clientapi.CodeWrongCode, "that is not the code that was sent: %v", err)
	case errors.Is(err, verification.ErrExpired), errors.Is(err, verification.ErrSpent):
		return problem(http.StatusForbidden, clientapi.CodeSpent, "ask for a new code: %v", err)
	}
	return forbidden("%v", err)
}
