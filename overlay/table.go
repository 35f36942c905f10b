package overlay

import (
	"context"
	"math/rand/v2"
	"time"

	kb "github.com/libp2p/go-libp2p-kbucket"
	"github.com/libp2p/go-libp2p/core/peer"
)

const (
	refreshEvery = 10 * time.Minute // as libp2p does, at most an eighth later
	refreshFew   = 2 * time.Minute  // while the table has few nodes
	fewNodes     = 10               // of a table are few
)

// A tableKeeper keeps the DHT's routing table full, in the place of libp2p's own refresh.
// That searches in every bucket as soon as the first node is known, when all buckets look
// empty: a node asks hundreds of others, and connects to them, to learn what it is told
// anyhow while it looks for itself. Here a node looks for itself first, and then in the
// buckets that have room left. The rest is as with libp2p: every ten minutes nodes that
// were not heard of are asked whether they are there, and every bucket that nothing was
// looked for in is searched.
//
// All but the channel belongs to the goroutine in run.
type tableKeeper struct {
	n     *running
	wake  chan struct{} // a DHT server has connected, or our addresses have changed
	begun bool          // a first round has been made
}

func newTableKeeper(n *running) *tableKeeper {
	return &tableKeeper{n: n, wake: make(chan struct{}, 1)}
}

func (k *tableKeeper) poke() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// met is told of a DHT server that has connected. Who knows few looks around again.
func (k *tableKeeper) met() {
	if k.n.dht.RoutingTable().Size() <= fewNodes {
		k.poke()
	}
}

func (k *tableKeeper) run(ctx context.Context) {
	for {
		k.refresh(ctx)
		wait := refreshEvery + rand.N(refreshEvery/8)
		switch size := k.n.dht.RoutingTable().Size(); {
		case size == 0 && len(k.n.host.Network().Peers()) > 0:
			wait = settleMore // libp2p asks a node something before it takes it in
		case size <= fewNodes || !k.begun:
			wait = refreshFew
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
			continue
		case <-k.wake:
			timer.Stop()
		}
		select { // let a burst of events settle
		case <-time.After(settle):
		case <-ctx.Done():
			return
		}
	}
}

func (k *tableKeeper) refresh(ctx context.Context) {
	table := k.n.dht.RoutingTable()
	if table.Size() == 0 {
		return
	}
	if k.begun {
		k.libp2p(ctx)
		return
	}
	// libp2p counts its own rounds, and after the first no longer lets newcomers displace
	// others. So the first is its own, too, with nothing to do but to look for ourselves.
	for cpl := range kb.PeerIDPreimageMaxCpl + 1 {
		if id, err := table.GenRandPeerID(cpl); err == nil {
			table.ResetCplRefreshedAtForID(kb.ConvertPeerID(id), time.Now())
		}
	}
	if k.libp2p(ctx) != nil {
		return
	}
	k.begun = true
	for cpl := range k.edge() {
		if table.NPeersForCpl(cpl) >= k.n.dht.BucketSize() || ctx.Err() != nil {
			continue
		}
		id, err := table.GenRandPeerID(cpl)
		if err != nil {
			continue
		}
		if _, err := k.n.dht.GetClosestPeers(ctx, string(id)); err != nil && ctx.Err() == nil {
			k.n.o.log.Debug("looking for nodes", "bucket", cpl, "error", err)
		}
	}
}

// libp2p has libp2p refresh the table.
func (k *tableKeeper) libp2p(ctx context.Context) error {
	select {
	case err := <-k.n.dht.RefreshRoutingTable():
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// edge is the first bucket that looking for ourselves has filled with all that there are:
// whoever knows the nodes nearest to it knows all that are as near as the farthest of them.
func (k *tableKeeper) edge() uint {
	self := kb.ConvertPeerID(k.n.host.ID())
	near := k.n.dht.RoutingTable().NearestPeers(self, k.n.dht.BucketSize())
	if len(near) < k.n.dht.BucketSize() {
		return 0
	}
	return uint(kb.CommonPrefixLen(self, kb.ConvertPeerID(farthest(near))))
}

func farthest(nearestFirst []peer.ID) peer.ID { return nearestFirst[len(nearestFirst)-1] }
