package overlay

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base32"
	"testing"
	"time"

	ds "github.com/ipfs/go-datastore"
	pb "github.com/libp2p/go-libp2p-kad-dht/pb"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
)

// Connections counts connections to a peer.
func Connections(o *Overlay, p PeerID) int {
	id, _ := p.decode()
	return len(o.net.Load().host.Network().ConnsToPeer(id))
}

// HTTPStreams counts open HTTP streams, of both directions.
func HTTPStreams(o *Overlay) (n int) {
	for _, c := range o.net.Load().host.Network().Conns() {
		for _, s := range c.GetStreams() {
			if s.Protocol() == httpProtocol {
				n++
			}
		}
	}
	return n
}

// OpenHTTPStream opens a raw stream to a peer's HTTP server.
func OpenHTTPStream(ctx context.Context, o *Overlay, p PeerID) (network.Stream, error) {
	id, err := p.decode()
	if err != nil {
		return nil, err
	}
	return o.net.Load().host.NewStream(ctx, id, httpProtocol)
}

// PeerID converts for tests that speak to libp2p directly.
func (p PeerID) Libp2p() peer.ID {
	id, err := p.decode()
	if err != nil {
		panic(err)
	}
	return id
}

// Lookup resolves without memory.
func Lookup(o *Overlay, domain string) (*Record, error) {
	ForgetMisses(o)
	return o.net.Load().lookup(domain)
}

// ForgetMisses lets a failed lookup be repeated at once.
func ForgetMisses(o *Overlay) {
	n := o.net.Load()
	n.misses.mu.Lock()
	defer n.misses.mu.Unlock()
	clear(n.misses.m)
}

// Stale makes the next Resolve look for a newer record.
func Stale(o *Overlay, domain string) {
	o.trust.mu.Lock()
	defer o.trust.mu.Unlock()
	o.trust.entries[domain].fresh = time.Time{}
}

// Republish wakes the publisher, as a change of address does.
func Republish(o *Overlay) {
	p := o.net.Load().publisher
	o.sealing.Lock()
	p.where = nil
	o.sealing.Unlock()
	p.poke(pokeAddrs)
}

// The record codec.
var (
	Open           = openRecord
	ParsePayload   = parsePayload
	RecordKey      = recordKey
	KeyedRecordKey = keyedRecordKey
)

func Payload(r *Record) ([]byte, error)                      { return r.appendPayload(nil) }
func Seal(r *Record, key ed25519.PrivateKey) ([]byte, error) { return r.seal(key) }
func Validator(o *Overlay) interface {
	Validate(key string, value []byte) error
	Select(key string, values [][]byte) (int, error)
} {
	return &recordValidator{o.trust, o.cfg.Now}
}

// StoredEntry is a trust entry as it is stored.
func StoredEntry(r *Record, env []byte) ([]byte, error) {
	e := &trustEntry{how: DNS, keys: r.keys(), seq: r.Seq, record: r, envelope: env, pin: Fingerprint(r.ProviderKey), conflicts: 2, badKey: Fingerprint(r.ProviderKey), badTime: time.UnixMilli(5)}
	return e.append(nil)
}

// StoredAgain reads and writes a stored trust entry.
func StoredAgain(b []byte) ([]byte, error) {
	e, err := parseTrustEntry(b)
	if err != nil {
		return nil, err
	}
	return e.append(nil)
}

// Demerits is what counts against a peer's messages.
func Demerits(o *Overlay, p PeerID) float64 { return -o.net.Load().gossip.score(p.Libp2p()) }

// Connect connects one overlay with another.
func Connect(ctx context.Context, from, to *Overlay) error {
	n := from.net.Load()
	from.remember(Node{to.self, to.Addrs()})
	return n.connect(ctx, to.net.Load().host.ID())
}

// FillHello pretends that so many topics are joined that no name more fits.
func FillHello(o *Overlay) {
	g := o.net.Load().gossip
	g.mu.Lock()
	defer g.mu.Unlock()
	g.helloSize = maxHello
}

// Subscriptions counts the topics that peers have announced.
func Subscriptions(o *Overlay) (n int) {
	g := o.net.Load().gossip
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, subs := range g.subs {
		n += subs
	}
	return n
}

// Sweeping says whether the sweep of announcements has begun.
func Sweeping(o *Overlay) bool {
	a := o.net.Load().announcer
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.sweeps != nil
}

// StoredAnnouncements counts what the DHT server keeps for others.
func StoredAnnouncements(o *Overlay) (n int) {
	d := o.net.Load().dht
	for i := range 10 {
		for j := range 10 {
			got, _ := d.ProviderStore().GetProviders(context.Background(), announceCID([32]byte{byte(i), byte(j)}).Hash())
			for _, p := range got {
				if p.ID != d.PeerID() {
					n++
				}
			}
		}
	}
	return n
}

// QuotaTakesValue asks whether a peer may store one more value.
func QuotaTakesValue(o *Overlay, p PeerID) bool {
	return o.net.Load().quota.take(p.Libp2p(), quotaUse{values: 1})
}

// NewDatastore makes a datastore with bounds by prefix.
func NewDatastore(kv KV, prefix string, max map[string]int) (ds.Batching, error) {
	var bounds []*bound
	for p, n := range max {
		bounds = append(bounds, &bound{prefix: p, max: n})
	}
	return newDatastore(context.Background(), kv, prefix, bounds...)
}

// Resources makes the resource manager.
func Resources(l Limits) (network.ResourceManager, error) {
	if err := l.withDefaults(); err != nil {
		return nil, err
	}
	return newResources(l)
}

// PublishNodes publishes a record of the overlay's provider with other nodes.
func PublishNodes(t testing.TB, o *Overlay, key ed25519.PrivateKey, nodes []Node) {
	t.Helper()
	n := o.net.Load()
	old, _ := o.trust.get(o.cfg.Domain)
	r := *old
	r.Nodes, r.Seq = nodes, r.Seq+1
	env, err := r.seal(key)
	if err != nil {
		t.Fatal(err)
	}
	if err := o.trust.accept(t.Context(), &r, env, testimony{}); err != nil {
		t.Fatal(err)
	}
	for _, place := range r.places() {
		if err := n.dht.PutValue(t.Context(), place, env); err != nil {
			t.Fatal(err)
		}
	}
}

// Disconnect ends the connections with a peer.
func Disconnect(o *Overlay, p PeerID) { o.net.Load().host.Network().ClosePeer(p.Libp2p()) }

// AcceptRecord judges a record as a lookup does for which DNS has answered so.
func AcceptRecord(o *Overlay, r *Record, key ed25519.PrivateKey, dns ...string) error {
	env, err := r.seal(key)
	if err != nil {
		return err
	}
	return o.trust.accept(context.Background(), r, env, testimony{dns: dns})
}

// AcceptCertified judges a record as a lookup does for which DNS and an HTTPS directory
// have answered so.
func AcceptCertified(o *Overlay, r *Record, key ed25519.PrivateKey, dns, certified []string) error {
	env, err := r.seal(key)
	if err != nil {
		return err
	}
	return o.trust.accept(context.Background(), r, env, testimony{dns, certified})
}

// HearRecord is Hear for which DNS has answered so.
func HearRecord(o *Overlay, r *Record, key ed25519.PrivateKey, dns ...string) error {
	env, err := r.seal(key)
	if err != nil {
		return err
	}
	return o.trust.hear(context.Background(), r, env, dns)
}

// SealRecord signs a record.
func SealRecord(r *Record, key ed25519.PrivateKey) ([]byte, error) { return r.seal(key) }

// The room record codec and validator.
var (
	OpenRoom = openRoomRecord
	RoomKey  = roomKey
)

// SealRoom signs a room record as it is, even one that nobody would accept.
func SealRoom(r *RoomRecord, key ed25519.PrivateKey) []byte {
	b := r.appendSigned(nil)
	return append(b, ed25519.Sign(key, roomMessage(b))...)
}

// RoomValidator is what the DHT asks about room records.
func RoomValidator(o *Overlay) interface {
	Validate(key string, value []byte) error
	Select(key string, values [][]byte) (int, error)
} {
	return o.rooms
}

// PutRoom puts a room record of somebody's into the DHT.
func PutRoom(ctx context.Context, o *Overlay, room [32]byte, value []byte) error {
	ForgetMisses(o)
	return o.net.Load().dht.PutValue(ctx, roomKey(room), value)
}

// KeepsRoom says whether a node keeps a room record.
func KeepsRoom(o *Overlay, room [32]byte, value []byte) bool {
	name := base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString([]byte(roomKey(room)))
	b, _, err := o.cfg.KV.Get(context.Background(), []byte(datastorePrefix+"/"+roomNamespace+"/"+name))
	if err != nil {
		panic(err)
	}
	return bytes.Contains(b, value)
}

// StoredRooms counts the room records that a node keeps.
func StoredRooms(o *Overlay) (n int) {
	_ = o.cfg.KV.Scan(context.Background(), []byte(datastorePrefix+"/"+roomNamespace+"/"), func(_, _ []byte) error { n++; return nil })
	return n
}

// WillingKey is what willing providers announce.
func WillingKey() [32]byte { return willingKey() }

// Turn replaces a node's part in the DHT, and ends the streams that are served.
func Turn(o *Overlay, serve func(network.Stream)) {
	h := o.net.Load().host
	h.SetStreamHandler(dhtProtocol, serve)
	for _, c := range h.Network().Conns() {
		for _, s := range c.GetStreams() {
			if s.Protocol() == dhtProtocol && s.Stat().Direction == network.DirInbound {
				s.Reset()
			}
		}
	}
}

// PlainAnnouncers is libp2p's own search.
func PlainAnnouncers(ctx context.Context, o *Overlay, key [32]byte, limit int) (out []PeerID) {
	for info := range o.net.Load().dht.FindProvidersAsync(ctx, announceCID(key), limit) {
		out = append(out, peerText(info.ID))
	}
	return out
}

// TableSize is the size of a node's routing table.
func TableSize(o *Overlay) int { return o.net.Load().dht.RoutingTable().Size() }

// RefreshTable has a node look for others now.
func RefreshTable(o *Overlay) { o.net.Load().dht.RefreshRoutingTable() }

// ForceRefresh has all of the routing table refreshed, however long ago it was.
func ForceRefresh(o *Overlay) { o.net.Load().dht.ForceRefresh() }

// Sizes are the estimates of the network's size at random places.
func Sizes(o *Overlay) []float64 { return o.net.Load().sizes.known() }

// ReadAnswer reads what a peer answers to a request of the DHT.
func ReadAnswer(b []byte, q *pb.Message) (*pb.Message, error) {
	return readAnswer(bufio.NewReader(bytes.NewReader(b)), q)
}
