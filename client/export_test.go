package client

import "context"

// Looked is how often the loop has looked at a room.
func (c *Client) Looked() (n uint64) {
	c.do(context.Background(), func() (error, error) {
		c.untouched()
		n = c.looks.counted
		return nil, nil
	})
	return n
}
