package client

import (
	"context"
	"fmt"

	"github.com/mimid/mimid/protocol/clientapi"
)

// Findable is by what other providers' users may find this one with MIMI's identifierQuery.
type Findable = clientapi.Findable

// SetFindable says by what others may find this user: "none", "exact" (published handles,
// where nothing was chosen) or "names". What Publish announces in the overlay is apart from
// this. Errors: ErrUnreachable, *clientapi.Problem.
func (c *Client) SetFindable(ctx context.Context, f Findable) error {
	_, api, err := c.self(ctx)
	if err == nil {
		err = api.call(ctx, "PUT", "/v1/findable", &f, new(Findable))
	}
	if err != nil {
		return fmt.Errorf("saying by what to be found: %w", err)
	}
	return nil
}

// Findable says by what others may find this user.
func (c *Client) Findable(ctx context.Context) (*Findable, error) {
	_, api, err := c.self(ctx)
	out := new(Findable)
	if err == nil {
		err = api.call(ctx, "GET", "/v1/findable", nil, out)
	}
	if err != nil {
		return nil, fmt.Errorf("asking by what to be found: %w", err)
	}
	return out, nil
}

// FindBy makes a Findable of a mode and names as people write them.
func FindBy(mode, given, family string) Findable {
	return Findable{Mode: clientapi.FindMode(mode), Given: given, Family: family}
}
