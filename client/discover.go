package client

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"time"

	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/discovery"
	"github.com/mimid/mimid/protocol/uri"
)

// claimTime is how long a claim lives; publishing again renews it.
const claimTime = 90 * 24 * time.Hour

// Found is an owner of an identifier, verified by this device.
type Found struct {
	User            uri.User
	Method          string
	Tags            []string
	Issued, Expires time.Time
}

// Discovery is what a search brought.
type Discovery struct {
	Found []Found // in the owners' order
	// Asked and Failed count the providers that announced the identifier, and
	// those that gave no valid answer; Refused counts answers that the own
	// provider believed and this device does not.
	Asked, Failed, Refused int
}

// secret computes what all who know an identifier have in common. It takes a
// while and some memory, on purpose.
func (c *Client) secret(ctx context.Context, api *provider, sii string) (discovery.SII, discovery.Secret, error) {
	s, err := discovery.ParseSII(sii)
	if err != nil {
		return s, discovery.Secret{}, err
	}
	about := new(clientapi.Provider)
	if err := api.call(ctx, "GET", "/v1/provider", nil, about); err != nil {
		return s, discovery.Secret{}, err
	}
	x, err := discovery.Network{Salt: about.Salt}.Secret(s)
	return s, x, err
}

// PublishHandle claims a handle, such as "handle:alice", or renews the claim, so
// that others find this user by it.
func (c *Client) PublishHandle(ctx context.Context, sii string) error {
	m, api, err := c.self(ctx)
	if err != nil {
		return err
	}
	s, secret, err := c.secret(ctx, api, sii)
	if err == nil {
		now := c.cfg.Now()
		var claim *discovery.Claim
		claim, err = discovery.Sign(ed25519.NewKeyFromSeed(m.UserKey), m.UserCert, secret,
			discovery.Terms{User: m.user, Method: discovery.MethodAssigned, Issued: now, Expires: now.Add(claimTime)})
		if err == nil {
			err = api.call(ctx, "POST", "/v1/claims", &clientapi.NewClaim{SII: s.String(), Claim: claim.Bytes()}, nil)
		}
	}
	if err != nil {
		return fmt.Errorf("publishing %.80q: %w", sii, err)
	}
	return nil
}

// Withdraw takes a published identifier back.
func (c *Client) Withdraw(ctx context.Context, sii string) error {
	m, api, err := c.self(ctx)
	if err != nil {
		return err
	}
	s, secret, err := c.secret(ctx, api, sii)
	if err == nil {
		var claim *discovery.Claim
		claim, err = discovery.Withdraw(ed25519.NewKeyFromSeed(m.UserKey), m.UserCert, secret, m.user, c.cfg.Now())
		if err == nil {
			err = api.call(ctx, "DELETE", "/v1/claims", &clientapi.WithdrawClaim{SII: s.String(), Withdrawal: claim.Bytes()}, nil)
		}
	}
	if err != nil {
		return fmt.Errorf("withdrawing %.80q: %w", sii, err)
	}
	return nil
}

// Discover asks all providers for the owners of an identifier, and verifies what
// they claim. Several owners are normal: let a person choose.
func (c *Client) Discover(ctx context.Context, sii string) (*Discovery, error) {
	_, api, err := c.self(ctx)
	if err != nil {
		return nil, err
	}
	s, secret, err := c.secret(ctx, api, sii)
	got := new(clientapi.Discovered)
	if err == nil {
		err = api.call(ctx, "POST", "/v1/discover", &clientapi.Discover{SII: s.String()}, got)
	}
	if err != nil {
		return nil, fmt.Errorf("discovering %.80q: %w", sii, err)
	}
	out := &Discovery{Asked: got.Asked, Failed: got.Failed}
	for _, x := range got.Found {
		v, err := c.verifyClaim(ctx, secret, &x)
		if err != nil || v.Withdrawn() {
			c.log.Warn("claim refused", "user", x.User, "error", err)
			out.Refused++
			continue
		}
		out.Found = append(out.Found, Found{v.User(), string(v.Method()), v.Tags(), v.Issued(), v.Expires()})
	}
	return out, nil
}

func (c *Client) verifyClaim(ctx context.Context, secret discovery.Secret, x *clientapi.Found) (*discovery.VerifiedClaim, error) {
	claim, err := discovery.ParseClaim(x.Claim)
	if err != nil {
		return nil, err
	}
	u, err := uri.ParseUser(x.User)
	if err != nil {
		return nil, err
	}
	if err := c.know(ctx, u.Provider().Domain()); err != nil {
		return nil, err
	}
	v, err := claim.Verify(secret, c.trust.anchors, c.cfg.Now())
	if err == nil && v.User() != u {
		return nil, fmt.Errorf("claim of %s shown as one of %s: %w", v.User(), u, ErrProtocol)
	}
	return v, err
}
