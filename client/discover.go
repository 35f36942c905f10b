package client

import (
	"context"
	"fmt"
	"net/url"

	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/discovery"
	"github.com/mimid/mimid/protocol/uri"
)

// Discover asks all providers for the owners of an identifier, such as
// "handle:alice". Several owners are normal: let a person choose. Claims that the
// own provider believed and this device does not are left out and counted as
// failed.
func (c *Client) Discover(ctx context.Context, sii string) (*clientapi.Discovered, error) {
	_, _, api, secret, err := c.identifier(ctx, sii)
	out, about := new(clientapi.Discovered), new(clientapi.Provider)
	if err == nil {
		err = api.call(ctx, "GET", "/v1/provider", nil, about)
	}
	if err == nil {
		err = api.call(ctx, "POST", "/v1/discover", &clientapi.Discover{Secret: secret.Bytes()}, out)
	}
	if err != nil {
		return nil, fmt.Errorf("discovering %.80q: %w", sii, err)
	}
	var good []clientapi.Found
	for _, x := range out.Found {
		v, err := c.verifyClaim(ctx, secret, &x)
		if err != nil || v.Withdrawn() {
			c.log.Warn("claim refused", "user", x.User, "error", err)
			out.Failed++
			continue
		}
		// What is shown is what was signed.
		x.Provider, x.Method, x.Tags = v.Provider().Domain(), string(v.Method()), v.Tags()
		standing, by := c.standing(ctx, v, about.Authorities)
		x.Verified, x.Authority = string(standing), by.Domain()
		x.Issued, x.Expires = v.Issued().UnixMilli(), v.Expires().UnixMilli()
		good = append(good, x)
	}
	out.Found = good
	return out, nil
}

// WhoOrders asks who orders a room, for who has only its URI: the provider in it need not
// exist any more. Unless the answer is proven, it is a hint, see clientapi.FoundRoom.
// ErrName if it is no room's URI.
func (c *Client) WhoOrders(ctx context.Context, room string) (*clientapi.FoundRoom, error) {
	u, err := ParseRoom(room)
	if err != nil {
		return nil, err
	}
	_, api, err := c.self(ctx)
	out := new(clientapi.FoundRoom)
	if err == nil {
		err = api.call(ctx, "GET", "/v1/room-hub?uri="+url.QueryEscape(u.String()), nil, out)
	}
	if err == nil && len(out.Hubs) == 0 {
		err = fmt.Errorf("an answer without a provider: %w", ErrProtocol)
	}
	if err != nil {
		return nil, fmt.Errorf("finding who orders %s: %w", u, err)
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
