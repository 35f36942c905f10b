package client

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/discovery"
	"github.com/mimid/mimid/protocol/uri"
)

// Discover asks all providers for the owners of an identifier, such as
// "handle:alice". Several owners are normal: let a person choose. Claims that the
// own provider believed and this device does not are left out and counted as
// failed. Nothing is sent to anybody who was found. It goes as Privacy says.
func (c *Client) Discover(ctx context.Context, sii string) (*clientapi.Discovered, error) {
	_, _, api, secret, err := c.identifier(ctx, sii)
	out, about := new(clientapi.Discovered), new(clientapi.Provider)
	if err == nil {
		err = api.call(ctx, "GET", "/v1/provider", nil, about)
	}
	var want *clientapi.Privacy
	if err == nil {
		want, err = c.want(ctx)
	}
	if err == nil {
		err = api.callAs(ctx, want, "/v1/discover", &clientapi.Discover{Secret: secret.Bytes(), Privacy: want}, out, &out.Over)
	}
	if err != nil {
		return nil, fmt.Errorf("discovering %.80q: %w", sii, err)
	}
	var claims []*discovery.VerifiedClaim
	for _, x := range out.Found {
		v, err := c.verifyClaim(ctx, secret, &x)
		if err != nil || v.Withdrawn() {
			c.log.Warn("claim refused", "user", x.User, "error", err)
			out.Failed++
			continue
		}
		claims = append(claims, v)
	}
	// What is shown is what was signed.
	group := discovery.Group(claims)
	out.Found, out.Conflict = []clientapi.Found{}, group.Conflict()
	for i, o := range group.Owners {
		for _, v := range o.Claims {
			standing, by := c.standing(ctx, v, about.Authorities)
			out.Found = append(out.Found, clientapi.Found{User: v.User().String(), Provider: v.Provider().Domain(), Method: string(v.Method()), Tags: v.Tags(),
				Verified: string(standing), Authority: by.Authority(), VerifiedAt: by.At(), Owner: i + 1,
				Issued: v.Issued().UnixMilli(), Expires: v.Expires().UnixMilli(), Claim: v.Claim().Bytes()})
		}
	}
	return out, nil
}

// ErrSeveral: several people claim the identifier, so nothing was sent to any. Let a person
// choose one by name.
var ErrSeveral = errors.New("client: several people claim this; look with `mimid client find` and name the one you mean")

// ErrNobody: nobody was found who claims the identifier.
var ErrNobody = errors.New("client: nobody was found who claims this")

// Owner returns the account of whoever owns an identifier, the one that the owner ranks
// first, to be asked for consent. There is none if several people claim it, whoever was
// verified, and when. It sends nothing to anybody.
//
// Errors: those of Discover, ErrSeveral, ErrNobody.
func (c *Client) Owner(ctx context.Context, sii string) (uri.User, error) {
	found, err := c.Discover(ctx, sii)
	if err != nil {
		return uri.User{}, err
	}
	switch {
	case len(found.Found) == 0:
		return uri.User{}, fmt.Errorf("%.80q: %w", sii, ErrNobody)
	case found.Conflict:
		return uri.User{}, fmt.Errorf("%.80q: %w", sii, ErrSeveral)
	}
	u, err := uri.ParseUser(found.Found[0].User)
	if err != nil {
		return u, fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	return u, nil
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
