package overlay

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	kb "github.com/libp2p/go-libp2p-kbucket"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/routing"
)

const (
	maxRoomCandidates = 32 // signers of one room that a search looks at
	roomResolvers     = 8  // of whose keys so many are looked up at once
	findRoomTimeout   = 20 * time.Second
	searchRoomTimeout = 12 * time.Second // of it, which leaves some for keys
)

// AnnounceRoom says once in the DHT that this provider orders a room, for a week; those
// that store it forget it after two days, so repeat it daily. Of rec only Room, Era and
// Number count: the rest is this provider's. From then until WithdrawRoom this node
// prefers its own word about the room to that of others. It is for rooms that another
// provider's name is in the URI of: nobody looks for others here.
//
// Errors: ErrNotRunning, ErrNoPeers, ErrFull, the context's, or the storage's. After
// ErrNoPeers, too, the record lies in this node's own part of the DHT.
func (o *Overlay) AnnounceRoom(ctx context.Context, rec RoomRecord) error {
	n := o.net.Load()
	if n == nil {
		return ErrNotRunning
	}
	now := o.cfg.Now().Truncate(time.Millisecond).UTC()
	rec.Hub, rec.ProviderKey, rec.Made, rec.Expires = o.cfg.Domain, o.providerKey, now, now.Add(RoomValidity)
	value, err := rec.seal(o.cfg.ProviderKey)
	if err != nil {
		return err
	}
	if !o.rooms.order(rec.Room, o.cfg.Limits.Announced) {
		return fmt.Errorf("%w: %d rooms are announced", ErrFull, o.cfg.Limits.Announced)
	}
	ctx, cancel := context.WithTimeout(ctx, announceTimeout)
	defer cancel()
	err = n.dht.PutValue(ctx, roomKey(rec.Room), value)
	if errors.Is(err, kb.ErrLookupFailure) {
		return fmt.Errorf("%w: announcing a room", ErrNoPeers)
	}
	if err != nil {
		return fmt.Errorf("announcing a room: %w", err)
	}
	return nil
}

// WithdrawRoom says that this provider does not order the room any more. What others
// hold of its word they forget within two days; the term in it is a lower one than the
// present hub's.
func (o *Overlay) WithdrawRoom(room [32]byte) { o.rooms.drop(room) }

// FindRoom returns who says in the DHT that it orders a room, the highest term first and
// within a term the latest. Each record is valid and signed by the key that its provider
// is known by, see Resolve; but any provider can sign one, and of any term: take the
// first that the room's log proves right. Simultaneous calls for one room do one search.
//
// Errors: ErrRoomUnknown; ErrRoomRecord, if there are records but none by whom it names;
// ErrNoPeers, ErrNotRunning, and the context's.
func (o *Overlay) FindRoom(ctx context.Context, room [32]byte) ([]RoomRecord, error) {
	ch := o.flight.DoChan(roomKey(room), func() (any, error) { // no domain has a slash
		n := o.net.Load()
		if n == nil {
			return nil, ErrNotRunning
		}
		return n.findRoom(room)
	})
	select {
	case res := <-ch:
		if res.Err != nil {
			return nil, res.Err
		}
		return slices.Clone(res.Val.([]RoomRecord)), nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// findRoom outlives the caller that began it, as lookup does.
func (n *running) findRoom(room [32]byte) ([]RoomRecord, error) {
	if !n.begin() {
		return nil, ErrNotRunning
	}
	defer n.end()
	key := roomKey(room)
	if err := n.misses.get(key); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(n.ctx, findRoomTimeout)
	defer cancel()

	n.o.rooms.ask(room)
	err := n.searchRoom(ctx, key)
	candidates := n.o.rooms.answered(room)
	if len(candidates) == 0 {
		if errors.Is(err, ErrRoomUnknown) {
			n.misses.put(key, err)
		}
		return nil, err
	}
	var mu sync.Mutex
	var out []RoomRecord
	var dropped error
	var wg sync.WaitGroup
	slots := make(chan struct{}, roomResolvers)
	for _, c := range candidates {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			err := n.o.speaksFor(ctx, c)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				dropped = err
				return
			}
			out = append(out, *c)
		})
	}
	wg.Wait()
	if len(out) == 0 {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("finding who orders a room: %w", context.Cause(ctx))
		}
		n.misses.put(key, dropped)
		return nil, dropped
	}
	slices.SortFunc(out, func(a, b RoomRecord) int {
		if c := b.newer(&a); c != 0 {
			return c
		}
		return bytes.Compare(a.ProviderKey, b.ProviderKey)
	})
	return out, nil
}

// searchRoom asks the nodes that are to hold a room's records. What they hold goes
// through Validate, which notes it: Select would hide all but one.
func (n *running) searchRoom(ctx context.Context, key string) error {
	ctx, cancel := context.WithTimeout(ctx, searchRoomTimeout)
	defer cancel()
	values, err := n.dht.SearchValue(ctx, key)
	if err == nil {
		for range values {
		}
	}
	switch {
	case errors.Is(err, kb.ErrLookupFailure), n.dht.RoutingTable().Size() == 0:
		return fmt.Errorf("%w: looking for who orders a room", ErrNoPeers)
	case ctx.Err() != nil:
		return fmt.Errorf("looking for who orders a room: %w", context.Cause(ctx))
	case err != nil && !errors.Is(err, routing.ErrNotFound):
		return fmt.Errorf("looking for who orders a room: %w", err)
	}
	return ErrRoomUnknown
}

// speaksFor says whether the signer of a record is the provider that it names: whether
// its key is the one in force for the domain.
func (o *Overlay) speaksFor(ctx context.Context, c *RoomRecord) error {
	if c.Hub == o.cfg.Domain && !o.rooms.orders(c.Room) {
		return fmt.Errorf("%w: it is this provider's own and is not true any more", ErrRoomRecord)
	}
	rec, err := o.Resolve(ctx, c.Hub)
	if err == nil && !rec.ProviderKey.Equal(c.ProviderKey) {
		rec, err = o.Refresh(ctx, c.Hub) // perhaps it has a new key
	}
	if err != nil {
		return fmt.Errorf("%w: its signer is unknown: %w", ErrRoomRecord, err)
	}
	if !rec.ProviderKey.Equal(c.ProviderKey) {
		return fmt.Errorf("%w: signed with key %s, but that of %s is %s", ErrRoomRecord, Fingerprint(c.ProviderKey), c.Hub, Fingerprint(rec.ProviderKey))
	}
	return nil
}

// A roomBook tells the DHT which room records to store and to prefer, and collects those
// that a search meets. It does no IO. It is safe for concurrent use.
type roomBook struct {
	self peer.ID
	key  ed25519.PublicKey // of this provider
	now  func() time.Time

	mu     sync.Mutex
	ours   map[[32]byte]struct{}               // guarded by mu; rooms that this provider orders
	asking map[[32]byte]map[string]*RoomRecord // guarded by mu; searches in progress, the newest record of each signer
}

func newRoomBook(self peer.ID, key ed25519.PublicKey, now func() time.Time) *roomBook {
	return &roomBook{self: self, key: key, now: now, ours: make(map[[32]byte]struct{}), asking: make(map[[32]byte]map[string]*RoomRecord)}
}

// order notes a room of ours, unless there are too many.
func (k *roomBook) order(room [32]byte, limit int) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, ok := k.ours[room]; !ok && len(k.ours) >= limit {
		return false
	}
	k.ours[room] = struct{}{}
	return true
}

func (k *roomBook) drop(room [32]byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.ours, room)
}

func (k *roomBook) orders(room [32]byte) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	_, ok := k.ours[room]
	return ok
}

// ownPlace says whether a key of the datastore is where the record of a room of ours
// lies. Strangers can fill our part of the DHT, but not keep us from announcing.
func (k *roomBook) ownPlace(place string) bool {
	b, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(place[strings.LastIndexByte(place, '/')+1:])
	if err != nil {
		return false
	}
	room, ok := strings.CutPrefix(string(b), "/"+roomNamespace+"/")
	return ok && len(room) == 32 && k.orders([32]byte([]byte(room)))
}

func (k *roomBook) ask(room [32]byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.asking[room] = make(map[string]*RoomRecord)
}

// answered ends what ask began.
func (k *roomBook) answered(room [32]byte) []*RoomRecord {
	k.mu.Lock()
	defer k.mu.Unlock()
	var out []*RoomRecord
	for _, r := range k.asking[room] {
		out = append(out, r)
	}
	delete(k.asking, room)
	return out
}

// Validate accepts a record that is sound, of the room of the key, and in time. It cannot
// know whether the signer orders the room, and does not look up whether it is the
// provider that it names.
func (k *roomBook) Validate(key string, value []byte) error {
	r, err := openRoomRecord(value)
	if err != nil {
		return err
	}
	if roomKey(r.Room) != key {
		return fmt.Errorf("%w: it is of another room", ErrRoomRecord)
	}
	if err := r.checkTime(k.now()); err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if found, ok := k.asking[r.Room]; ok {
		signer := r.Hub + "/" + string(r.ProviderKey)
		if old := found[signer]; old != nil && r.newer(old) > 0 || old == nil && len(found) < maxRoomCandidates {
			found[signer] = r
		}
	}
	return nil
}

// Select says which of several records of one room this node keeps: a node keeps one, so
// that nobody can fill it with a room. Of one signer it is the newest. Among signers it
// is us, if we order the room; else, at half of the nodes, the newest, which is right as
// long as nobody lies; at the other half the signer that a hash of node, room and key
// names, so that who signs a term of a thousand years ahead cannot drive out the others
// everywhere. A search asks some twenty nodes and sees what each has kept.
func (k *roomBook) Select(key string, values [][]byte) (int, error) {
	best := -1
	var record *RoomRecord
	for i, value := range values {
		r, err := openRoomRecord(value)
		if err != nil {
			continue
		}
		if best < 0 || k.prefers(r, record, value, values[best]) {
			best, record = i, r
		}
	}
	if best < 0 {
		return 0, fmt.Errorf("%w: none of %d", ErrRoomRecord, len(values))
	}
	return best, nil
}

// prefers is a strict order, the same for the life of a node but for the rooms it orders.
func (k *roomBook) prefers(r, old *RoomRecord, value, oldValue []byte) bool {
	if !r.ProviderKey.Equal(old.ProviderKey) {
		if ours := r.ProviderKey.Equal(k.key); (ours || old.ProviderKey.Equal(k.key)) && k.orders(r.Room) {
			return ours
		}
		if k.rank(r.Room, nil)[0]&1 == 0 {
			a, b := k.rank(r.Room, r.ProviderKey), k.rank(r.Room, old.ProviderKey)
			return bytes.Compare(a[:], b[:]) > 0
		}
	}
	if c := r.newer(old); c != 0 {
		return c > 0
	}
	return bytes.Compare(value, oldValue) > 0
}

// rank is a hash that is another one at every node.
func (k *roomBook) rank(room [32]byte, key ed25519.PublicKey) [32]byte {
	m := append([]byte("mimid-room-rank"), 0, byte(len(k.self)))
	m = append(m, k.self...)
	m = append(m, room[:]...)
	return sha256.Sum256(append(m, key...))
}
