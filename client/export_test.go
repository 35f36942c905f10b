package client

import (
	"context"

	"github.com/mimid/mimid/protocol/content"
	"github.com/mimid/mimid/protocol/uri"
)

// Looked is how often the loop has looked at a room.
func (c *Client) Looked() (n uint64) {
	c.do(context.Background(), func() (error, error) {
		c.untouched()
		n = c.looks.counted
		return nil, nil
	})
	return n
}

// SendUnjudged sends what the own role may not allow, as a hostile device does.
func (c *Client) SendUnjudged(ctx context.Context, u uri.Room, m *content.Message) (uint64, error) {
	return c.sendContent(ctx, u, m, func(*batch, *roomState, *content.Message) error { return nil })
}
