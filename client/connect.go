package client

import (
	"context"
	"fmt"

	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
)

// Connect asks a user for consent like RequestContact, and gives it consent, in one step: the
// provider takes on both or neither. If the user accepts, each may add the other to rooms.
//
// Errors: those of RequestContact; *clientapi.Problem with CodeForbidden if the user is blocked.
func (c *Client) Connect(ctx context.Context, who uri.User) error {
	_, api, err := c.self(ctx)
	if err != nil {
		return err
	}
	if err := c.know(ctx, who.Provider().Domain()); err != nil {
		return fmt.Errorf("connecting with %s: %w", who, err)
	}
	var words clientapi.SendConsent
	if words.Entry, err = c.consentEntry(ctx, wire.ConsentRequest, who, uri.Room{}, nil); err == nil {
		words.Also, err = c.consentEntry(ctx, wire.ConsentGrant, who, uri.Room{}, nil)
	}
	if err == nil {
		err = api.call(ctx, "POST", "/v1/consent", &words, nil)
	}
	if err != nil {
		return fmt.Errorf("connecting with %s: %w", who, err)
	}
	return nil
}

// Block refuses a user everything, and hides that it asks. It is told no more than of
// Reject. What it has consent for in single rooms stands no longer.
func (c *Client) Block(ctx context.Context, who uri.User) error { return c.block(ctx, who, "block") }

// Unblock takes that back: the user is refused, as by Reject, and may be accepted again.
func (c *Client) Unblock(ctx context.Context, who uri.User) error {
	return c.block(ctx, who, "unblock")
}

func (c *Client) block(ctx context.Context, who uri.User, what string) error {
	_, api, err := c.self(ctx)
	if err != nil {
		return err
	}
	entry, err := c.consentEntry(ctx, wire.ConsentRevoke, who, uri.Room{}, nil)
	if err == nil {
		err = api.call(ctx, "POST", "/v1/consent", &clientapi.SendConsent{Entry: entry, Block: what}, nil)
	}
	if err != nil {
		return fmt.Errorf("saying %s to %s: %w", what, who, err)
	}
	return nil
}
