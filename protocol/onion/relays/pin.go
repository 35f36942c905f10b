package relays

import (
	"fmt"
	"io"
	"time"

	"github.com/mimid/mimid/protocol/onion"
)

const (
	// PinFor is how long an entry stays the same at least. Who draws another for each message
	// meets a path of bad relays sooner or later, for certain; who keeps one either does at once
	// or not for a long time.
	PinFor = 30 * 24 * time.Hour

	// PinGone is how long an entry may be in no snapshot before another is chosen: long enough
	// that nobody makes users choose anew by a short attack on their entry.
	PinGone = 48 * time.Hour
)

// A Pin is a first hop that stays. The zero value is none. It has to be kept durably.
type Pin struct {
	Node  onion.NodeID
	Since time.Time // when it was chosen
	Seen  time.Time // when it was last in a snapshot
}

// Keep returns the entry to use now, and the pin to remember: the same one while it is good for,
// another, if there is one, if it is too old or was gone for too long. While it is gone for less, the error is
// ErrEntryGone and the pin stays. among are the relays that may be chosen from.
func (p Pin) Keep(now time.Time, random io.Reader, c *Cosigned, among []*Relay) (Pin, *Relay, error) {
	if p.Node != (onion.NodeID{}) && now.Sub(p.Since) < PinFor {
		if r := c.Relay(p.Node); r != nil {
			if now.After(p.Seen) {
				p.Seen = now
			}
			return p, r, nil
		}
		if now.Sub(p.Seen) < PinGone {
			return p, nil, fmt.Errorf("%w: last seen at %s", ErrEntryGone, p.Seen.UTC().Format(time.RFC3339))
		}
	}
	var may, same []*Relay
	for _, r := range among {
		switch {
		case c.Relay(r.node) == nil:
		case r.node == p.Node:
			same = append(same, r)
		default:
			may = append(may, r)
		}
	}
	if len(may) == 0 {
		may = same
	}
	if len(may) == 0 {
		return p, nil, fmt.Errorf("%w: none to choose an entry from", ErrTooFew)
	}
	n, err := below(random, uint64(len(may)))
	if err != nil {
		return p, nil, fmt.Errorf("drawing an entry: %w", err)
	}
	return Pin{Node: may[n].node, Since: now, Seen: now}, c.Relay(may[n].node), nil
}
