package overlay

import (
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"time"

	pb "github.com/libp2p/go-libp2p-kad-dht/pb"
	kb "github.com/libp2p/go-libp2p-kbucket"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
)

// Announcers finds nodes, up to limit and without this one, that have announced a key,
// and connects to none of them. It ends early with ctx. Anybody can announce anything:
// what an announcer is worth must be proven by what it says.
//
// libp2p's own search ends with the first so many that it meets, so that a single node
// can hide all by making up announcers. This one asks the whole region of the key, on
// paths that share no node (see walk), and names whom most nodes name.
func (o *Overlay) Announcers(ctx context.Context, key [32]byte, limit int) iter.Seq[PeerID] {
	return func(yield func(PeerID) bool) {
		n := o.net.Load()
		if n == nil || limit <= 0 {
			return
		}
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		mh := announceCID(key).Hash()
		w := n.newWalk(kb.ConvertKey(string(mh)), limit)
		name := func(infos []peer.AddrInfo) bool {
			for _, info := range infos {
				n.learn(info)
				if !yield(peerText(info.ID)) {
					return false
				}
			}
			return true
		}
		// What lies here is as good as what two others say.
		if own, err := n.dht.ProviderStore().GetProviders(ctx, mh); err == nil && !name(w.count(own, announcerWitnesses, 0)) {
			return
		}
		if n.walk(ctx, w, func(ctx context.Context, p peer.ID) (announcers, closer []*peer.AddrInfo, err error) {
			return n.messenger.GetProviders(ctx, p, mh)
		}, name) {
			name(w.rest())
		}
	}
}

// newWalk begins a walk at the nodes of the routing table.
func (n *running) newWalk(target kb.ID, limit int) *walk {
	table := n.dht.RoutingTable()
	var known []peer.AddrInfo
	for _, p := range table.NearestPeers(target, table.Size()) {
		known = append(known, peer.AddrInfo{ID: p})
	}
	return newWalk(n.host.ID(), target, regionRadius(n.networkSize()), limit, rand.IntN, known)
}

// askNode asks one node in a walk.
type askNode func(ctx context.Context, p peer.ID) (announcers, closer []*peer.AddrInfo, err error)

// walk goes on until nobody is left to ask, ctx ends, or nothing has come for a while and
// enough has come before. It returns false if name did.
func (n *running) walk(ctx context.Context, w *walk, ask askNode, name func([]peer.AddrInfo) bool) bool {
	type reply struct {
		h                  *heard
		announcers, closer []*peer.AddrInfo
		err                error
		slow               bool
	}
	last := 0 // hops to who answered last
	if told, ok := ctx.Value(walkedKey{}).(func(Walked)); ok {
		defer func() { told(Walked{Asked: w.asked, Answered: w.replies, Hops: last}) }()
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	replies := make(chan reply, 2*walkAsked) // nobody who asks waits for us
	patience := time.NewTimer(walkPatience)
	defer patience.Stop()
	for open := 0; ; {
		for h := w.next(); h != nil; h = w.next() {
			open++
			n.learn(h.info)
			go func() {
				ctx, cancel := context.WithTimeout(ctx, askNodeWithin)
				defer cancel()
				slow := time.AfterFunc(askNodeSlow, func() { replies <- reply{h: h, slow: true} })
				defer slow.Stop()
				r := reply{h: h}
				r.announcers, r.closer, r.err = ask(ctx, h.info.ID)
				replies <- r
			}()
		}
		if open == 0 {
			return true
		}
		select {
		case r := <-replies:
			if r.slow {
				w.release(r.h)
				continue
			}
			open--
			if r.err != nil {
				w.fail(r.h)
				continue
			}
			patience.Reset(walkPatience)
			last = r.h.hops
			if !name(w.answer(r.h, n.plain(r.announcers), n.plain(r.closer))) {
				return false
			}
		case <-patience.C:
			if w.replies >= walkEnough {
				return true
			}
			patience.Reset(walkPatience)
		case <-ctx.Done():
			return true
		}
	}
}

const maxHeardAddrs = 16

// plain bounds what a node says of others.
func (n *running) plain(infos []*peer.AddrInfo) []peer.AddrInfo {
	infos = infos[:min(len(infos), max(answerAnnouncers, walkCloser))]
	out := make([]peer.AddrInfo, 0, len(infos))
	for _, i := range infos {
		addrs := i.Addrs
		if n.o.cfg.Public {
			addrs = publicOnly(addrs)
		}
		out = append(out, peer.AddrInfo{ID: i.ID, Addrs: addrs[:min(len(addrs), maxHeardAddrs)]})
	}
	return out
}

// learn lets libp2p know where a node is said to be, for a while.
func (n *running) learn(info peer.AddrInfo) {
	if len(info.Addrs) > 0 && info.ID != n.host.ID() {
		n.host.Peerstore().AddAddrs(info.ID, info.Addrs, peerstore.TempAddrTTL)
	}
}

func newMessenger(m pb.MessageSender) (*pb.ProtocolMessenger, error) {
	out, err := pb.NewProtocolMessenger(m)
	if err != nil {
		return nil, fmt.Errorf("making DHT messenger: %w", err)
	}
	return out, nil
}
