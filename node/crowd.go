package node

import (
	"context"
	"crypto/rand"
	"errors"

	"github.com/mimid/mimid/node/admin"
	"github.com/mimid/mimid/overlay"
)

// lookAround is how many of the keys that are announced are looked around at a time.
const lookAround = 3

// checkCrowd looks whether there are more nodes around announced keys than come by chance.
func (n *Node) checkCrowd(ctx context.Context, p *parts) []admin.Check {
	if !n.cfg.Overlay.Enabled {
		return nil
	}
	var from [32]byte
	rand.Read(from[:]) // never fails
	list, err := p.overlay.Regions(ctx, from, lookAround)
	if err != nil && !errors.Is(err, overlay.ErrNotRunning) {
		return []admin.Check{worth("crowding", "", "not all of the network could be looked at: %v", err)}
	}
	return []admin.Check{judgeCrowd(list)}
}

// judgeCrowd says what regions look like, without a key.
func judgeCrowd(list []overlay.Region) admin.Check {
	const part = "crowding"
	crowded, most, small := 0, overlay.Region{}, 0
	for _, r := range list {
		if r.All {
			small++
		}
		if r.Nodes > most.Nodes {
			most = r
		}
		if r.Crowded() {
			crowded++
		}
	}
	switch {
	case len(list) == 0:
		return good(part, "no identifiers are announced")
	case small == len(list):
		return good(part, "the network is too small to tell: each node is near to each key")
	case crowded > 0:
		return worth(part, "if it stays: somebody may hide users here from searches, or watch who looks for them; searches go on, as far as docs/threats.md says",
			"around %d of %d announced keys there are up to %d nodes, and some %.0f are expected by the size of the network", crowded, len(list), most.Nodes, most.Expected)
	}
	return good(part, "around %d announced keys there are at most %d nodes; some %.0f are expected", len(list), most.Nodes, most.Expected)
}
