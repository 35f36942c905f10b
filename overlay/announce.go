package overlay

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ipfs/go-cid"
	ds "github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"
	"github.com/libp2p/go-libp2p-kad-dht/provider"
	"github.com/libp2p/go-libp2p-kad-dht/provider/keystore"
	kb "github.com/libp2p/go-libp2p-kbucket"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
	"github.com/multiformats/go-multihash"
)

const (
	announceEvery   = 11 * time.Hour // at most an hour later: well within announceValidity
	announceDelay   = time.Hour
	announceRetry   = time.Minute // of the offer to be a replica
	announceTimeout = time.Minute
	announceSend    = 5 * time.Second // one record to one node

	// announceHolders is how many nodes hold a record. libp2p has 20 hold it, those that are
	// nearest to the key; a search asks further around it, and so do we announce.
	announceHolders = regionNodes

	// announceAlone is how many keys are announced one by one, so that the caller hears
	// what came of it. More are left to the sweep.
	announceAlone = 4
)

// Announce says in the DHT that this node has something to do with keys, and goes on
// saying so until Withdraw or the end of Run. Of a few keys, the error is that of the
// first attempt, for example ErrNoPeers; others follow. Many are announced in the
// background, all that belong to the same nodes at one time. The set is not stored: after
// a restart, announce again.
func (o *Overlay) Announce(ctx context.Context, keys ...[32]byte) error {
	n := o.net.Load()
	if n == nil {
		return ErrNotRunning
	}
	fresh, err := n.announcer.add(keys)
	if err != nil {
		return err
	}
	if len(fresh) > announceAlone {
		return n.announcer.sweep(fresh)
	}
	var first error
	for _, key := range fresh {
		err := n.provide(ctx, key)
		later := n.announcer.later
		if err != nil {
			later = n.announcer.sweep
		}
		first = cmp.Or(first, err, later([][32]byte{key}))
	}
	return first
}

// Withdraw ends saying so. Others may return this node until a day after the last
// announcement.
func (o *Overlay) Withdraw(keys ...[32]byte) {
	if n := o.net.Load(); n != nil {
		n.announcer.remove(keys)
	}
}

func announceHash(key [32]byte) multihash.Multihash {
	mh, err := multihash.Encode(key[:], multihash.SHA2_256)
	if err != nil {
		panic("overlay: " + err.Error()) // 32 bytes are a SHA-256
	}
	return mh
}

func announceCID(key [32]byte) cid.Cid { return cid.NewCidV1(cid.Raw, announceHash(key)) }

// provide announces one key to the nodes of its region.
func (n *running) provide(ctx context.Context, key [32]byte) error {
	ctx, cancel := context.WithTimeout(ctx, announceTimeout)
	defer cancel()
	mh := announceHash(key)
	holders, err := n.closest(ctx, string(mh), announceHolders)
	if err != nil {
		return err
	}
	self := peer.AddrInfo{ID: n.host.ID(), Addrs: n.dht.FilteredAddrs()}
	var mu sync.Mutex
	told := 0
	var last error
	var wg sync.WaitGroup
	for _, p := range holders {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, announceSend)
			defer cancel()
			err := n.messenger.PutProviderAddrs(ctx, p, mh, self)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				last = err
				return
			}
			told++
		})
	}
	wg.Wait()
	if told == 0 {
		return fmt.Errorf("%w: announcing: none of %d nodes takes it: %w", ErrNoPeers, len(holders), errors.Join(last, ctx.Err()))
	}
	return nil
}

// GetClosestPeers lets the sweep look for nodes as searches do, see walk.
func (n *running) GetClosestPeers(ctx context.Context, key string) ([]peer.ID, error) {
	return n.closest(ctx, key, announceHolders)
}

// walkToward walks towards a key, and asks for nothing but nodes.
func (n *running) walkToward(ctx context.Context, w *walk, key string) {
	n.walk(ctx, w, func(ctx context.Context, p peer.ID) (_, closer []*peer.AddrInfo, err error) {
		closer, err = n.messenger.GetClosestPeers(ctx, p, peer.ID(key))
		return nil, closer, err
	}, func([]peer.AddrInfo) bool { return true })
}

// closest returns nodes that are nearest to a key and answered, the nearest first. If the
// region of the key holds many more than the size of the network lets expect, somebody
// may have made them for it: then they are drawn of all that are in the region, so that
// others among them are told as well.
func (n *running) closest(ctx context.Context, key string, count int) ([]peer.ID, error) {
	w := n.newWalk(kb.ConvertKey(key), 0)
	n.walkToward(ctx, w, key)
	out := w.holders(count)
	if len(out) == 0 {
		return nil, fmt.Errorf("%w: %w", ErrNoPeers, kb.ErrLookupFailure)
	}
	return out, nil
}

// An announcer repeats announcements by libp2p's sweep: twice a day it goes through the
// keys in the order of the ids of nodes, and tells each node all that it is to hold at one
// time. The sweep begins with the first key, for it begins with five walks through the DHT, and goes on looking
// around now and then: a node that announces nothing does not do that. An announcer is safe for concurrent use.
type announcer struct {
	n     *running
	limit int
	store keystore.Keystore // of the sweep: the keys again, in memory

	mu     sync.Mutex
	keys   map[[32]byte]struct{}      // guarded by mu
	sweeps *provider.SweepingProvider // guarded by mu; nil: nothing was left to it yet
	closed bool                       // guarded by mu
}

func newAnnouncer(n *running, limit int) (*announcer, error) {
	store, err := keystore.NewKeystore(dssync.MutexWrap(ds.NewMapDatastore()))
	if err != nil {
		return nil, fmt.Errorf("making the memory of announcements: %w", err)
	}
	return &announcer{n: n, limit: limit, store: store, keys: make(map[[32]byte]struct{})}, nil
}

// sweeping returns the sweep, which begins with the first call.
func (a *announcer) sweeping() (*provider.SweepingProvider, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return nil, provider.ErrClosed
	}
	if a.sweeps == nil {
		s, err := newSweep(a.n, a.store)
		if err != nil {
			return nil, err
		}
		a.sweeps = s
	}
	return a.sweeps, nil
}

func newSweep(n *running, store keystore.Keystore) (*provider.SweepingProvider, error) {
	s, err := provider.New(
		provider.WithKeystore(store),
		provider.WithHost(n.host),
		provider.WithRouter(n),
		provider.WithMessageSender(n.dht.MessageSender()),
		provider.WithSelfAddrs(func() []multiaddr.Multiaddr { return n.dht.FilteredAddrs() }),
		provider.WithReplicationFactor(announceHolders),
		provider.WithReprovideInterval(announceEvery),
		provider.WithMaxReprovideDelay(announceDelay),
		provider.WithSendProviderRecordTimeout(announceSend),
		provider.WithConnectivityCheckOnlineInterval(10*time.Second),
		provider.WithResumeCycle(false),
	)
	if err != nil {
		return nil, fmt.Errorf("starting the sweep of announcements: %w", err)
	}
	return s, nil
}

// add returns the keys that are not announced yet. It adds all or none.
func (a *announcer) add(keys [][32]byte) (fresh [][32]byte, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, k := range keys {
		if _, ok := a.keys[k]; !ok {
			fresh = append(fresh, k)
		}
	}
	if len(a.keys)+len(fresh) > a.limit {
		return nil, fmt.Errorf("%w: %d keys are announced, and %d more would be over the limit of %d", ErrFull, len(a.keys), len(fresh), a.limit)
	}
	for _, k := range fresh {
		a.keys[k] = struct{}{}
	}
	return fresh, nil
}

func (a *announcer) remove(keys [][32]byte) {
	a.mu.Lock()
	for _, k := range keys {
		delete(a.keys, k)
	}
	s := a.sweeps
	a.mu.Unlock()
	if s == nil {
		return
	}
	if err := s.StopProviding(hashes(keys)...); err != nil && !errors.Is(err, provider.ErrClosed) {
		panic("overlay: " + err.Error()) // the sweep's memory is a map, and fails not
	}
}

// sweep leaves keys to the sweep, which announces them now, or once it finds other nodes,
// and again when their turn comes.
func (a *announcer) sweep(keys [][32]byte) error {
	s, err := a.sweeping()
	if err == nil {
		err = s.StartProviding(false, hashes(keys)...)
	}
	if err != nil {
		return fmt.Errorf("announcing %d keys: %w", len(keys), err)
	}
	return nil
}

// later leaves keys to the sweep that have just been announced.
func (a *announcer) later(keys [][32]byte) error {
	// Not with a caller's context: what the sweep has is what we think that it has.
	s, err := a.sweeping()
	if err == nil {
		_, err = a.store.Put(context.Background(), hashes(keys)...)
	}
	if err == nil {
		err = s.AddToSchedule(hashes(keys)...)
	}
	if err != nil {
		return fmt.Errorf("announcing %d keys: %w", len(keys), err)
	}
	return nil
}

// close ends the sweep, and then what it reads.
func (a *announcer) close() error {
	a.mu.Lock()
	s := a.sweeps
	a.closed = true
	a.mu.Unlock()
	var err error
	if s != nil {
		err = s.Close()
	}
	return errors.Join(err, a.store.Close())
}

func hashes(keys [][32]byte) (out []multihash.Multihash) {
	for _, k := range keys {
		out = append(out, announceHash(k))
	}
	return out
}
