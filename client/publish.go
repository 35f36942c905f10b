package client

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/discovery"
	"github.com/mimid/mimid/protocol/oprf"
	"github.com/mimid/mimid/protocol/uri"
)

// claimLifetime is how long a published identifier is good; publish it again
// before.
const claimLifetime = 90 * 24 * time.Hour

// Publish lets others find this user by an identifier, such as "handle:alice": the
// user signs a claim, and the provider, if it agrees, signs it too and announces
// it. Nothing is published that the user did not ask for.
//
// Errors: discovery's for an identifier that is none, ErrUnreachable,
// *clientapi.Problem (the handle is somebody else's here, or the provider cannot
// verify such an identifier).
func (c *Client) Publish(ctx context.Context, sii string) error {
	return c.PublishAs(ctx, sii, Preference{})
}

// Preference is what a user would use an identifier's account for, among several that have
// the same identifier at several providers.
type Preference struct {
	// Rank is the order among the own claims: 0 comes first.
	Rank uint8
	// Tags are words of lower-case letters, digits and hyphens, such as "work": at most
	// discovery.MaxTags.
	Tags []string
}

// PublishAs is Publish with a preference. Publishing again replaces what was published, and
// renews it.
func (c *Client) PublishAs(ctx context.Context, sii string, p Preference) error {
	err := c.publishClaim(ctx, sii, p)
	if err != nil {
		return fmt.Errorf("publishing %q: %w", sii, err)
	}
	return nil
}

func (c *Client) publishClaim(ctx context.Context, sii string, p Preference) error {
	s, m, api, secret, err := c.identifier(ctx, sii)
	if err != nil {
		return err
	}
	now := c.cfg.Now()
	terms := discovery.Terms{User: m.user, Method: discovery.MethodAssigned, Issued: now, Expires: now.Add(claimLifetime), Rank: p.Rank, Tags: p.Tags}
	if s.Kind() != discovery.KindHandle {
		terms.Method = discovery.MethodUnverified
		if err := c.state(&terms, s, m, secret); err != nil {
			return err
		}
	}
	claim, err := discovery.Sign(ed25519.NewKeyFromSeed(m.UserKey), m.UserCert, secret, terms)
	if err != nil {
		return err
	}
	return api.call(ctx, "POST", "/v1/claims", &clientapi.NewClaim{SII: s.String(), Claim: claim.Bytes()}, new(clientapi.Claim))
}

// Unpublish takes an identifier back.
func (c *Client) Unpublish(ctx context.Context, sii string) error {
	s, m, api, secret, err := c.identifier(ctx, sii)
	if err != nil {
		return fmt.Errorf("withdrawing %q: %w", sii, err)
	}
	w, err := discovery.Withdraw(ed25519.NewKeyFromSeed(m.UserKey), m.UserCert, secret, m.user, c.cfg.Now())
	if err == nil {
		err = api.call(ctx, "DELETE", "/v1/claims", &clientapi.WithdrawClaim{SII: s.String(), Withdrawal: w.Bytes()}, nil)
	}
	if err == nil {
		err = c.keepVerification(ctx, s, nil)
	}
	if err != nil {
		return fmt.Errorf("withdrawing %q: %w", sii, err)
	}
	return nil
}

// Published lists the identifiers that this user has published.
func (c *Client) Published(ctx context.Context) ([]clientapi.Claim, error) {
	_, api, err := c.self(ctx)
	if err != nil {
		return nil, err
	}
	out := new(clientapi.Claims)
	if err := api.call(ctx, "GET", "/v1/claims", nil, out); err != nil {
		return nil, fmt.Errorf("listing published identifiers: %w", err)
	}
	return out.Claims, nil
}

// identifier reads an identifier and derives its secret, for the network that the
// provider is in. It takes some 30 ms and 19 MiB, on purpose, and with evaluators a round trip.
func (c *Client) identifier(ctx context.Context, sii string) (discovery.SII, *me, *provider, discovery.Secret, error) {
	fail := func(err error) (discovery.SII, *me, *provider, discovery.Secret, error) {
		return discovery.SII{}, nil, nil, discovery.Secret{}, err
	}
	s, err := discovery.ParseSII(sii)
	if err != nil {
		return fail(err)
	}
	m, api, err := c.self(ctx)
	if err != nil {
		return fail(err)
	}
	about := new(clientapi.Provider)
	if err := api.call(ctx, "GET", "/v1/provider", nil, about); err != nil {
		return fail(err)
	}
	secret, err := c.secretOf(ctx, api, about, s)
	if err != nil {
		return fail(err)
	}
	return s, m, api, secret, nil
}

// secretOf derives an identifier's secret; in a network with evaluators with their help,
// from whom the identifier is hidden.
func (c *Client) secretOf(ctx context.Context, api *provider, about *clientapi.Provider, s discovery.SII) (discovery.Secret, error) {
	network := discovery.Network{Salt: about.Salt}
	if len(about.Evaluators) == 0 {
		return network.Secret(s)
	}
	set, err := oprf.ParseKeySet(about.Evaluators)
	if err != nil {
		return discovery.Secret{}, fmt.Errorf("the network's evaluators: %w: %w", ErrProtocol, err)
	}
	input, err := network.Input(s)
	if err != nil {
		return discovery.Secret{}, err
	}
	blinding, err := set.Blind(input)
	if err != nil {
		return discovery.Secret{}, err
	}
	want, err := c.want(ctx)
	if err != nil {
		return discovery.Secret{}, err
	}
	out := new(clientapi.Evaluated)
	if err := api.callAs(ctx, want, "/v1/evaluate", &clientapi.Evaluate{Request: blinding.Request().Bytes(), Privacy: want}, out, &out.Over); err != nil {
		return discovery.Secret{}, fmt.Errorf("having it evaluated: %w", err)
	}
	var good []*oprf.Verified
	var bad error
	for _, x := range out.Evaluations[:min(len(out.Evaluations), oprf.MaxEvaluators)] {
		e, err := oprf.ParseEvaluation(x.Evaluation)
		if err == nil {
			var v *oprf.Verified
			if v, err = set.Verify(blinding.Request(), x.Number, e); err == nil {
				good = append(good, v)
				continue
			}
		}
		bad = errors.Join(bad, err)
	}
	values, err := blinding.Finish(good...)
	if err != nil {
		return discovery.Secret{}, fmt.Errorf("%w: the provider passed on what does not verify: %w", ErrProtocol, errors.Join(err, bad))
	}
	return network.Evaluated(values[0]), nil
}

// rivaled takes an event about others who claim what this user has published.
func (c *Client) rivaled(b *batch, data []byte) error {
	v := new(clientapi.RivalsEvent)
	if err := json.Unmarshal(data, v); err != nil {
		return err
	}
	if _, err := discovery.ParseSII(v.SII); err != nil {
		return errors.New("rivals for no identifier")
	}
	for _, r := range v.Rivals {
		if _, err := uri.ParseUser(r.User); err != nil {
			return err
		}
	}
	b.tell(RivalsChanged{SII: v.SII, Rivals: v.Rivals})
	return nil
}
