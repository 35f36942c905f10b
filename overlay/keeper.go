package overlay

import (
	"fmt"
	"sync"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/net/connmgr"
)

const (
	dhtTag   = "kbucket" // by which libp2p's DHT protects a peer in its routing table
	dhtValue = 5         // of such a peer that is not protected, as libp2p's DHT values those of the nearer buckets
)

// A keeper is libp2p's connection manager, but that it keeps to its limit. The DHT protects everybody in its two
// farthest buckets, forty peers, whatever the limit is: a node that is to keep 32 connections would keep 60 and more, and close those that it
// has just opened, as the only ones that it may close. Here the DHT protects a third of the limit at most, and the others in the table are
// closed after those who are in no table. A closed one stays in the table. It is safe for concurrent use.
type keeper struct {
	*connmgr.BasicConnMgr
	most int // peers that the DHT may protect

	mu    sync.Mutex
	table map[peer.ID]struct{} // guarded by mu, that it protects; at most most
}

// newKeeper keeps two thirds of the limit beside what is protected once there are more connections than the limit: with the third that the DHT
// may protect, these are as many as the limit.
func newKeeper(l Limits) (*keeper, error) {
	m, err := connmgr.NewConnManager(l.Connections*2/3, l.Connections, connmgr.WithGracePeriod(l.ConnectionGrace))
	if err != nil {
		return nil, fmt.Errorf("making connection manager: %w", err)
	}
	return &keeper{BasicConnMgr: m, most: l.Connections / 3, table: make(map[peer.ID]struct{})}, nil
}

// Protect implements libp2p's connection manager.
func (k *keeper) Protect(p peer.ID, tag string) {
	if tag == dhtTag && !k.admit(p) {
		k.TagPeer(p, dhtTag, dhtValue)
		return
	}
	k.BasicConnMgr.Protect(p, tag)
}

func (k *keeper) admit(p peer.ID) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, ok := k.table[p]; !ok && len(k.table) >= k.most {
		return false
	}
	k.table[p] = struct{}{}
	return true
}

// Unprotect implements libp2p's connection manager. The DHT takes its tag from the peer as well.
func (k *keeper) Unprotect(p peer.ID, tag string) bool {
	if tag == dhtTag {
		k.mu.Lock()
		delete(k.table, p)
		k.mu.Unlock()
	}
	return k.BasicConnMgr.Unprotect(p, tag)
}
