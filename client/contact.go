package client

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"

	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/consent"
	"github.com/mimid/mimid/protocol/mls/x509auth"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
)

// RequestContact asks a user for consent to be added to rooms. Whatever the user
// decides, or whether there is such a user, only a grant is ever heard of. That there is
// no such provider, or that nobody can find it now, is an error at once.
func (c *Client) RequestContact(ctx context.Context, who uri.User) error {
	if _, _, err := c.self(ctx); err != nil {
		return err
	}
	if err := c.know(ctx, who.Provider().Domain()); err != nil {
		return fmt.Errorf("asking %s: %w", who, err)
	}
	return c.consent(ctx, wire.ConsentRequest, who)
}

// Accept lets a user add this one to rooms.
func (c *Client) Accept(ctx context.Context, who uri.User) error {
	return c.consent(ctx, wire.ConsentGrant, who)
}

// Reject refuses a user, or takes back what was granted. The user is not told of
// a refusal.
func (c *Client) Reject(ctx context.Context, who uri.User) error {
	return c.consent(ctx, wire.ConsentRevoke, who)
}

func (c *Client) consent(ctx context.Context, op wire.ConsentOperation, who uri.User) error {
	return c.consentAbout(ctx, op, who, uri.Room{}, nil)
}

// Consents lists all consent that this user gave or asked for.
func (c *Client) Consents(ctx context.Context) ([]clientapi.Consent, error) {
	_, api, err := c.self(ctx)
	if err != nil {
		return nil, err
	}
	out := new(clientapi.Consents)
	if err := api.call(ctx, "GET", "/v1/consent", nil, out); err != nil {
		return nil, fmt.Errorf("listing consent: %w", err)
	}
	return out.Consents, nil
}

// Requests lists the users who ask for consent for any room and have no answer; about one room,
// see Invitations.
func (c *Client) Requests(ctx context.Context) ([]uri.User, error) {
	all, err := c.Consents(ctx)
	if err != nil {
		return nil, err
	}
	m, _, err := c.self(ctx)
	if err != nil {
		return nil, err
	}
	var out []uri.User
	for _, x := range all {
		if x.Target != m.User || x.State != "requested" || x.Room != "" {
			continue
		}
		u, err := uri.ParseUser(x.Requester)
		if err != nil {
			return nil, fmt.Errorf("listing requests: %w: %w", ErrProtocol, err)
		}
		out = append(out, u)
	}
	return out, nil
}

// self returns the identity as it is now, and the provider.
func (c *Client) self(ctx context.Context) (m *me, api *provider, err error) {
	err = c.do(ctx, func() (error, error) {
		c.untouched()
		m, api = c.me, c.api
		return nil, nil
	})
	return m, api, err
}

// User returns who this client belongs to; zero before Register. Not to be called
// while Register runs.
func (c *Client) User() uri.User { return c.user }

func (c *Client) consented(b *batch, v *clientapi.ConsentEvent) error {
	e, err := wire.ParseConsentEntry(v.Entry, wire.Limits{})
	if err != nil {
		return err
	}
	from, err := uri.ParseUser(string(e.Scope.Requester))
	if err != nil {
		return err
	}
	to, err := uri.ParseUser(string(e.Scope.Target))
	if err != nil {
		return err
	}
	s, err := c.signedConsent(e)
	if err != nil {
		return err
	}
	signed := s != nil
	if to == c.user && v.State == "granted" && len(c.uninvited) > 0 {
		c.unknown.at = c.cfg.Now() // one of these rooms may be one to come into now
	}
	if from == c.user && e.Scope.Room != "" {
		c.invitedElsewhere(b, e, to, s)
		c.invitationHeard(b, to, string(e.Scope.Room), v.State)
	}
	b.tell(ConsentChanged{Requester: from, Target: to, Room: string(e.Scope.Room), State: v.State, Signed: signed})
	return nil
}

// signedConsent returns the signature of a word by the user whose it is. A signature that does
// not fit is an error; one that cannot be judged, as the user's provider is not known here, or by
// another key, is none: nil. Of the own user this device knows the key: what bears another one,
// nobody of this user has said.
func (c *Client) signedConsent(e *wire.ConsentEntry) (*consent.Signature, error) {
	who := e.Scope.Requester
	if e.Operation == wire.ConsentGrant || e.Operation == wire.ConsentRevoke {
		who = e.Scope.Target
	}
	s, err := consent.Verify(e, c.trust.anchors, c.cfg.Now())
	own := string(who) == c.user.String()
	switch {
	case errors.Is(err, x509auth.ErrUnknownProvider), errors.Is(err, x509auth.ErrUntrusted) && !own:
		return nil, nil
	case err != nil || s == nil:
		return nil, err
	case own && !s.Key.Equal(ed25519.NewKeyFromSeed(c.me.UserKey).Public()):
		return nil, fmt.Errorf("a word of this user with another user's key: %w", consent.ErrSignature)
	}
	return s, nil
}
