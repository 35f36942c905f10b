package client

import (
	"context"

	"github.com/mimid/mimid/protocol/content"
	"github.com/mimid/mimid/protocol/room"
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

// SendReport sends any octets in the place of a report, as a hostile device does.
func (c *Client) SendReport(ctx context.Context, u uri.Room, b []byte) error {
	return c.do(ctx, func() (error, error) {
		w := new(batch)
		c.enqueue(w, &outItem{Room: room.IDOf([]byte(u.String())), Report: true, Content: b})
		return nil, c.commit(w)
	})
}

// TypeUnjudged is SetTyping of who may not.
func (c *Client) TypeUnjudged(ctx context.Context, u uri.Room) error {
	return c.joined(ctx, u, func(r *roomState) error { return c.sayTyping(r, true) })
}

// SendUnjudged sends what the own role may not allow, as a hostile device does.
func (c *Client) SendUnjudged(ctx context.Context, u uri.Room, m *content.Message) (uint64, error) {
	return c.sendContent(ctx, u, m, func(*batch, *roomState, *content.Message) error { return nil })
}
