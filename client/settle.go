package client

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// Settle waits until what this device does by itself is done for now: KeyPackages
// are at the provider, rooms that it created exist, wishes and messages have
// reached their hubs, and what other members proposed is committed, and
// attachments have gone out. Messages that do not go over relays now (Held) are not waited for. A short-lived program calls it before it ends.
func (c *Client) Settle(ctx context.Context) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		busy := ""
		err := c.do(ctx, func() (error, error) {
			c.untouched()
			if c.packages.busy || c.packages.fails > 0 || !c.packages.at.After(c.cfg.Now()) {
				busy = "publishing KeyPackages"
			}
			for _, r := range c.rooms {
				if w := c.current(r); w != r && w.State == roomJoined && r.gone() && !r.Folded {
					busy = "carrying over a direct room"
				}
				if r.State == roomCreating {
					busy = "creating a room"
				}
				if r.State == roomJoined && slices.ContainsFunc(c.wishesOf(r), func(w *wish) bool { return w.Kind == wishObject || w.Kind == wishTake }) {
					busy = "ending or taking up a claim to a room"
				}
				if r.State == roomJoined && r.claim != nil && !r.claimAt.After(c.cfg.Now()) {
					busy = "looking at a claim to a room"
				}
				if r.State == roomJoined && !c.leaving(r) && len(r.group.Public().Pending()) > 0 {
					busy = "completing what other members asked for"
				}
			}
			if len(c.attachments) > 0 {
				busy = "bringing attachments to the provider"
			}
			for _, o := range c.outbox {
				// In a parted room it waits for its user, in a direct one perhaps for the other.
				if r := c.rooms[o.Room]; r == nil || r.State != roomParted && r.held == "" && !(r.waits() && o.Request == nil) {
					busy = "sending messages"
				}
			}
			return nil, nil
		})
		if err != nil || busy == "" {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", busy, ctx.Err())
		}
	}
}
