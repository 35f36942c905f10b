package overlay

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p-kad-dht"
	pb "github.com/libp2p/go-libp2p-kad-dht/pb"
	"github.com/libp2p/go-libp2p-kad-dht/records"
	libp2precord "github.com/libp2p/go-libp2p-record"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

const (
	dhtPrefix       = "/mimi" // the DHT speaks /mimi/kad/1.0.0
	dhtProtocol     = dhtPrefix + "/kad/1.0.0"
	recordNamespace = "mimi-provider"
	datastorePrefix = "d" // followed by a datastore key, which begins with a slash

	announceValidity = 25 * time.Hour // how long others keep that we announced a key
	announceAddrs    = 6 * time.Hour  // and our addresses with it
)

// newDHT makes a DHT server on the host. Its goroutines end with Close.
func newDHT(h host.Host, c *Config, store *datastore, v *recordValidator, rooms *roomBook, quota *quota, sizes *sizes) (*dht.IpfsDHT, error) {
	opts := []dht.Option{
		dht.ProtocolPrefix(dhtPrefix),
		dht.Mode(dht.ModeServer),
		dht.Datastore(store),
		dht.Validator(libp2precord.NamespacedValidator{recordNamespace: v, roomNamespace: rooms}),
		dht.MaxRecordAge(MaxValidity),
		dht.ProviderManagerOpts(records.ProvideValidity(announceValidity), records.ProviderAddrTTL(announceAddrs)),
		dht.OnRequestHook(quota.check),
		dht.WithCustomMessageSender(func(h host.Host, _ []protocol.ID) pb.MessageSenderWithDisconnect { return newMessageSender(h, sizes) }),
	}
	if c.Public {
		// On the Internet these keep one operator from filling routing tables. On a
		// LAN or a loopback interface they would empty them without a word.
		opts = append(opts,
			dht.QueryFilter(dht.PublicQueryFilter),
			dht.RoutingTableFilter(dht.PublicRoutingTableFilter),
			dht.RoutingTablePeerDiversityFilter(dht.NewRTPeerDiversityFilter(h, 2, 3)),
			dht.AddressFilter(publicOnly),
		)
	}
	d, err := dht.New(h, opts...)
	if err != nil {
		return nil, fmt.Errorf("starting the DHT: %w", err)
	}
	return d, nil
}

func publicOnly(addrs []multiaddr.Multiaddr) []multiaddr.Multiaddr {
	return multiaddr.FilterAddrs(addrs, manet.IsPublicAddr)
}

// A recordValidator tells the DHT which provider records to store, to return and to
// prefer. It does no IO. The DHT calls it from many goroutines.
type recordValidator struct {
	trust *trustTable
	now   func() time.Time
}

// Validate accepts a record that is sound, belongs under the key, is in time, and does
// not contradict what this node trusts: so a name whose provider is known here is not
// occupied by another key, neither in what we store for others nor in what we find.
func (v *recordValidator) Validate(key string, value []byte) error {
	r, err := openRecord(value)
	if err != nil {
		return err
	}
	if !slices.Contains(r.places(), key) {
		return fmt.Errorf("%w: %s does not belong under this key", ErrRecord, r.Domain)
	}
	if err := r.checkTime(v.now()); err != nil {
		return err
	}
	return v.trust.check(r)
}

// Select prefers, of records whose keys follow from one another, the one of the newest
// key, then the highest sequence number, then the greater bytes, so that all nodes prefer
// the same. Between keys that have nothing to do with each other it prefers the last. The
// DHT puts the new record first and the stored one last, so a name stays with the key
// that a node has stored until its record expires; and in a search it returns all of
// them, one after the other, and trust decides.
func (v *recordValidator) Select(_ string, values [][]byte) (int, error) {
	best := -1
	var record *Record
	for i, value := range values {
		r, err := openRecord(value)
		if err != nil || !v.trust.believes(r) {
			continue
		}
		if best < 0 || better(r, record, value, values[best]) {
			best, record = i, r
		}
	}
	if best < 0 {
		return 0, fmt.Errorf("%w: none of %d", ErrRecord, len(values))
	}
	return best, nil
}

// better says whether r comes before the record old that precedes it.
func better(r, old *Record, value, oldValue []byte) bool {
	follows := func(a, b *Record) bool {
		return slices.ContainsFunc(a.Rotations, func(rot Rotation) bool { return rot.Old.Equal(b.ProviderKey) })
	}
	switch {
	case r.ProviderKey.Equal(old.ProviderKey):
		return r.Seq > old.Seq || r.Seq == old.Seq && bytes.Compare(value, oldValue) > 0
	case follows(old, r):
		return false
	}
	return true // it follows, or has nothing to do with the other
}

// A quota bounds what one peer, and all peers together, may make this node store in an
// hour. Reading is bounded by the resource manager. It is safe for concurrent use.
type quota struct {
	each  quotaUse // what one peer may
	total quotaUse // what all together may
	peers int
	key   int // announcements of one key

	mu    sync.Mutex
	since time.Time             // guarded by mu, begin of the hour
	used  map[peer.ID]*quotaUse // guarded by mu, at most peers entries
	keys  map[[8]byte]int       // guarded by mu, announcements of a key, by a part of its hash; at most total.providers entries
	all   quotaUse              // guarded by mu
}

// A quotaUse counts provider records, announcements and room records.
type quotaUse struct{ values, providers, rooms int }

func (u quotaUse) plus(o quotaUse) quotaUse {
	return quotaUse{u.values + o.values, u.providers + o.providers, u.rooms + o.rooms}
}

func (u quotaUse) within(max quotaUse) bool {
	return u.values <= max.values && u.providers <= max.providers && u.rooms <= max.rooms
}

func newQuota(l Limits) *quota {
	return &quota{
		each:  quotaUse{l.ValuesPerPeer, l.AnnouncementsPerPeer, l.RoomsPerPeer},
		total: quotaUse{l.StoredValues, l.StoredAnnouncements, l.StoredRooms},
		peers: 16384, used: make(map[peer.ID]*quotaUse),
		key: l.AnnouncementsPerKey, keys: make(map[[8]byte]int),
	}
}

// check is the DHT's request hook. It cannot refuse a request, so it takes out what was
// to be stored, which the DHT then refuses itself.
func (q *quota) check(_ context.Context, s network.Stream, m *pb.Message) {
	switch m.GetType() {
	case pb.Message_PUT_VALUE:
		use, most := quotaUse{values: 1}, MaxRecord
		if strings.HasPrefix(string(m.GetKey()), "/"+roomNamespace+"/") {
			use, most = quotaUse{rooms: 1}, MaxRoomRecord
		}
		if len(m.GetRecord().GetValue()) > most || !q.take(s.Conn().RemotePeer(), use) {
			m.Record = nil
		}
	case pb.Message_ADD_PROVIDER:
		if !q.take(s.Conn().RemotePeer(), quotaUse{providers: 1}) || !q.takeKey(m.GetKey()) {
			m.ProviderPeers = nil
		}
	}
}

// takeKey counts an announcement of a key, which was taken: so that nobody with many names
// fills what this node holds of one key.
func (q *quota) takeKey(key []byte) bool {
	sum := sha256.Sum256(key)
	part := [8]byte(sum[:])
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.keys[part] >= q.key {
		return false
	}
	q.keys[part]++
	return true
}

func (q *quota) take(p peer.ID, use quotaUse) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if now := time.Now(); now.Sub(q.since) >= time.Hour {
		q.since, q.all = now, quotaUse{}
		clear(q.used)
		clear(q.keys)
	}
	u := q.used[p]
	if u == nil {
		if len(q.used) >= q.peers {
			return false
		}
		u = &quotaUse{}
		q.used[p] = u
	}
	if !u.plus(use).within(q.each) || !q.all.plus(use).within(q.total) {
		return false
	}
	*u = u.plus(use)
	q.all = q.all.plus(use)
	return true
}
