package client

import (
	"context"
	"fmt"
	"net/http"

	"github.com/mimid/mimid/protocol/asset"
	"github.com/mimid/mimid/protocol/clientapi"
)

// Files is what this user keeps at its provider, of all its devices, encrypted: see
// clientapi.Assets.
type Files = clientapi.Assets

// Files asks the provider what it keeps.
func (c *Client) Files(ctx context.Context) (*Files, error) {
	out := new(Files)
	if err := c.ask(ctx, http.MethodGet, "/v1/assets", out); err != nil {
		return nil, fmt.Errorf("listing files: %w", err)
	}
	return out, nil
}

// DeleteFile has the provider delete a file, or give up an upload, by the hash that Files
// tells. Whoever has fetched it has it still.
func (c *Client) DeleteFile(ctx context.Context, hash string) error {
	if _, err := asset.ParseHash(hash); err != nil {
		return fmt.Errorf("deleting a file: %w: %w", err, ErrName)
	}
	if err := c.ask(ctx, http.MethodDelete, "/v1/assets/"+hash, nil); err != nil {
		return fmt.Errorf("deleting a file: %w", err)
	}
	return nil
}

// ask makes a call that has no body.
func (c *Client) ask(ctx context.Context, method, path string, out any) error {
	_, api, err := c.self(ctx)
	if err != nil {
		return err
	}
	return api.call(ctx, method, path, nil, out)
}
