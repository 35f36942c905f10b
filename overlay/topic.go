package overlay

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
	"unicode/utf8"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pubsubpb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
)

const (
	// MaxMessage is the longest message of a topic, in bytes.
	MaxMessage = 256 << 10

	// MaxTopicName bounds the name of a topic, in bytes. Short names keep the first
	// message between peers small: it names all topics.
	MaxTopicName = 64

	// The first message between peers is not split, and a peer that finds it too long
	// drops the connection without an error that anybody would see. So the bound is
	// high, and Join refuses before it is reached.
	maxRPC        = 4 << 20
	topicOverhead = 12 // bytes of a subscription besides the name
	maxHello      = maxRPC - 64<<10
)

// A Verdict is what a TopicHandler says about a message.
type Verdict int

// What happens to a message, and to the peer that sent it.
const (
	Accept Verdict = iota // it is passed on
	Ignore                // it is not passed on
	Reject                // it is not passed on, and the peer loses standing
)

// A TopicHandler decides about the messages and peers of one topic. Both functions are
// called on gossip's goroutines, many topics share them, and so they must be quick and
// must not call the overlay.
type TopicHandler struct {
	// Receive gets each message once, though it may come from many peers: also if it
	// was ignored or rejected, it is not handed in again within five minutes. from is
	// the neighbour that passed it on, not who wrote it. The data must not be changed.
	// Own messages are not handed in.
	Receive func(from PeerID, data []byte) Verdict

	// Allow says whether a peer may take part: others get no messages from us, and
	// theirs are dropped unseen. nil allows all.
	Allow func(PeerID) bool
}

// A Topic is a joined topic. It is safe for concurrent use.
type Topic struct {
	name    string
	handler TopicHandler
	gossip  *gossip
	topic   *pubsub.Topic
	cancel  pubsub.RelayCancelFunc
	mesh    mesh
}

// Join takes part in a topic: its messages go to the handler and are passed on. The name
// is UTF-8 of at most MaxTopicName bytes. A topic costs no goroutine. Errors are
// ErrTopic, ErrFull if names of all topics together would be too long to be announced,
// and ErrNotRunning; Leave, or the end of Run, ends it.
func (o *Overlay) Join(name string, h TopicHandler) (*Topic, error) {
	n := o.net.Load()
	if n == nil {
		return nil, ErrNotRunning
	}
	return n.gossip.join(name, h)
}

// Publish sends data to the peers of the topic that are allowed, as far as we are
// connected to them, and they pass it on. That nobody was there is no error. Sending the
// same data again within five minutes does nothing.
func (t *Topic) Publish(ctx context.Context, data []byte) error {
	if len(data) > MaxMessage {
		return fmt.Errorf("%w: %d bytes, at most %d are allowed", ErrTooLarge, len(data), MaxMessage)
	}
	err := t.topic.Publish(ctx, data)
	var refused pubsub.ValidationError
	switch {
	case errors.As(err, &refused):
		return fmt.Errorf("%w: publishing to %q: %v", ErrTopic, t.name, err)
	case errors.Is(err, pubsub.ErrTopicClosed):
		return fmt.Errorf("%w: %q was left", ErrTopic, t.name)
	case err != nil:
		return fmt.Errorf("publishing: %w", err)
	}
	t.gossip.counters.published.Inc()
	return nil
}

// Peers returns the connected peers that take part in the topic and are allowed, in no
// particular order.
func (t *Topic) Peers() []PeerID {
	var out []PeerID
	for _, id := range t.topic.ListPeers() {
		if p := peerText(id); t.allows(p) {
			out = append(out, p)
		}
	}
	return out
}

// Leave ends taking part. Handler functions may still be running when it returns, but no
// new calls begin. The second call does nothing.
func (t *Topic) Leave() { t.gossip.leave(t) }

func (t *Topic) allows(p PeerID) bool { return t.handler.Allow == nil || t.handler.Allow(p) }

// A gossip is gossipsub with the settings that rooms need. It is safe for concurrent use.
type gossip struct {
	self     peer.ID
	pubsub   *pubsub.PubSub
	counters *counters
	maxSubs  int // topics that one peer may announce

	joining sync.Mutex // held by join and leave, over calls of pubsub

	mu        sync.RWMutex
	topics    map[string]*Topic   // guarded by mu
	helloSize int                 // guarded by mu
	subs      map[peer.ID]int     // guarded by mu; topics that a peer has announced
	demerits  map[peer.ID]demerit // guarded by mu
	names     map[peer.ID]PeerID  // guarded by mu; texts of connected peers, which take time to make
}

// newGossip starts gossipsub, which ends with ctx.
func newGossip(ctx context.Context, h host.Host, c *Config, counters *counters) (*gossip, error) {
	g := &gossip{
		self: h.ID(), counters: counters, maxSubs: c.Limits.TopicsPerPeer,
		topics: make(map[string]*Topic), subs: make(map[peer.ID]int),
		demerits: make(map[peer.ID]demerit), names: make(map[peer.ID]PeerID),
	}
	params := &pubsub.PeerScoreParams{
		AppSpecificScore:          g.score,
		AppSpecificWeight:         1,
		BehaviourPenaltyWeight:    -1,
		BehaviourPenaltyDecay:     pubsub.ScoreParameterDecay(10 * time.Minute),
		BehaviourPenaltyThreshold: 20,
		DecayInterval:             time.Second,
		DecayToZero:               0.01,
		RetainScore:               10 * time.Minute,
	}
	// For each of its topics a heartbeat goes through all messages of the last HistoryGossip
	// heartbeats, of whatever topic, to tell of them who is not in the mesh. With ten thousand
	// topics that is what limits how much can be said, so each message is told of once.
	// Where a mesh holds everybody, nobody is told; and what is missed so is asked for as a
	// range of the log. A neighbour has two heartbeats to ask for what it was told of.
	router := pubsub.DefaultGossipSubParams()
	router.HistoryGossip, router.HistoryLength = 1, 3
	thresholds := &pubsub.PeerScoreThresholds{GossipThreshold: -50, PublishThreshold: -100, GraylistThreshold: -200}
	ps, err := pubsub.NewGossipSub(ctx, h,
		pubsub.WithGossipSubParams(router),
		pubsub.WithMessageSignaturePolicy(pubsub.StrictNoSign),
		pubsub.WithNoAuthor(),
		pubsub.WithMessageIdFn(messageID),
		pubsub.WithMaxMessageSize(maxRPC),
		pubsub.WithMaxControlMessageSize(maxRPC),
		pubsub.WithSeenMessagesTTL(5*time.Minute),
		pubsub.WithPeerOutboundQueueSize(256),
		pubsub.WithValidateQueueSize(256),
		pubsub.WithDefaultValidator(g.receive, pubsub.WithValidatorInline(true)),
		pubsub.WithPeerFilter(g.mayJoin),
		pubsub.WithAppSpecificRpcInspector(g.inspect),
		pubsub.WithSubscriptionFilter(g),
		pubsub.WithPeerScore(params, thresholds),
		// Without floodsub, to whose peers gossipsub sends without asking the peer
		// filter; for the same reason there is no flood publishing. A room whose
		// providers fit into the mesh (six, up to twelve) gets everything in one hop
		// anyway.
		pubsub.WithGossipSubProtocols(
			[]protocolID{pubsub.GossipSubID_v13, pubsub.GossipSubID_v12, pubsub.GossipSubID_v11},
			pubsub.GossipSubDefaultFeatures),
		pubsub.WithFloodPublish(false),
		pubsub.WithRawTracer(meshTracer{g}),
		pubsub.WithLogger(quiet(c.Log)),
		pubsub.WithRPCLogger(quiet(c.Log)),
	)
	if err != nil {
		return nil, fmt.Errorf("starting gossip: %w", err)
	}
	g.pubsub = ps
	return g, nil
}

// messageID is the same for the same data in the same topic.
func messageID(m *pubsubpb.Message) string {
	h := sha256.New()
	var n [4]byte
	binary.BigEndian.PutUint32(n[:], uint32(len(m.GetTopic())))
	h.Write(n[:])
	h.Write([]byte(m.GetTopic()))
	h.Write(m.GetData())
	return string(h.Sum(nil))
}

func (g *gossip) join(name string, h TopicHandler) (*Topic, error) {
	if name == "" || len(name) > MaxTopicName || !utf8.ValidString(name) {
		return nil, fmt.Errorf("%w: a name is UTF-8 of 1 to %d bytes, got %.80q", ErrTopic, MaxTopicName, name)
	}
	if h.Receive == nil {
		return nil, fmt.Errorf("%w: %q without a Receive function", ErrTopic, name)
	}
	g.joining.Lock()
	defer g.joining.Unlock()
	t := &Topic{name: name, handler: h, gossip: g}
	size := len(name) + topicOverhead
	g.mu.Lock()
	switch {
	case g.topics[name] != nil:
		g.mu.Unlock()
		return nil, fmt.Errorf("%w: %q is joined already", ErrTopic, name)
	case g.helloSize+size > maxHello:
		count := len(g.topics)
		g.mu.Unlock()
		return nil, fmt.Errorf("%w: %d topics are joined, more names do not fit into one announcement", ErrFull, count)
	}
	// Known before gossipsub is told, so that no message finds no handler.
	g.topics[name] = t
	g.helloSize += size
	g.mu.Unlock()

	var err error
	if t.topic, err = g.pubsub.Join(name); err == nil {
		t.cancel, err = t.topic.Relay()
	}
	if err != nil {
		g.forget(t)
		return nil, fmt.Errorf("%w: joining %q: %v", ErrTopic, name, err)
	}
	return t, nil
}

func (g *gossip) leave(t *Topic) {
	g.joining.Lock()
	defer g.joining.Unlock()
	if !g.forget(t) {
		return
	}
	t.cancel()
	t.topic.Close() // errors say that gossip has ended
}

func (g *gossip) forget(t *Topic) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.topics[t.name] != t {
		return false
	}
	delete(g.topics, t.name)
	g.helloSize -= len(t.name) + topicOverhead
	return true
}

func (g *gossip) count() int {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return len(g.topics)
}

func (g *gossip) lookup(topic string, id peer.ID) (*Topic, PeerID) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	p, ok := g.names[id]
	if !ok {
		p = peerText(id)
	}
	return g.topics[topic], p
}

// mayJoin is gossipsub's peer filter: it keeps a peer out of the mesh and of gossip.
func (g *gossip) mayJoin(id peer.ID, topic string) bool {
	t, p := g.lookup(topic, id)
	return t == nil || t.allows(p)
}

// inspect drops messages of peers that are not allowed and messages that are too long,
// before gossipsub notes their hash as seen: otherwise a stranger could make us ignore
// a message by sending it first.
func (g *gossip) inspect(id peer.ID, rpc *pubsub.RPC) error {
	rpc.Publish = slices.DeleteFunc(rpc.Publish, func(m *pubsubpb.Message) bool {
		t, p := g.lookup(m.GetTopic(), id)
		if t == nil {
			return true
		}
		if len(m.GetData()) > MaxMessage {
			g.demerit(id)
			return true
		}
		return !t.allows(p)
	})
	return nil
}

// receive is gossipsub's validator for all topics.
func (g *gossip) receive(_ context.Context, id peer.ID, m *pubsub.Message) pubsub.ValidationResult {
	if id == g.self {
		return pubsub.ValidationAccept
	}
	t, p := g.lookup(m.GetTopic(), id)
	if t == nil {
		return pubsub.ValidationIgnore // just left
	}
	g.counters.received.Inc()
	switch t.handler.Receive(p, m.GetData()) {
	case Accept:
		return pubsub.ValidationAccept
	case Reject:
		g.counters.rejected.Inc()
		g.demerit(id)
		return pubsub.ValidationReject
	}
	return pubsub.ValidationIgnore
}

// CanSubscribe implements gossipsub's subscription filter.
func (g *gossip) CanSubscribe(topic string) bool { return len(topic) <= MaxTopicName }

// FilterIncomingSubscriptions bounds the topics that a peer can make us remember. All are
// kept within the bound, also for topics we have not joined: we may join later, and the
// peer does not announce them again.
func (g *gossip) FilterIncomingSubscriptions(id peer.ID, subs []*pubsubpb.RPC_SubOpts) ([]*pubsubpb.RPC_SubOpts, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	count := g.subs[id]
	kept := subs[:0]
	for _, s := range subs {
		switch {
		case len(s.GetTopicid()) > MaxTopicName:
			continue
		case !s.GetSubscribe():
			count = max(0, count-1)
		case count >= g.maxSubs:
			continue
		default:
			count++
		}
		kept = append(kept, s)
	}
	g.subs[id] = count
	return kept, nil
}

// A demerit counts what a peer did wrong; it halves every ten minutes.
type demerit struct {
	points float64
	at     time.Time
}

const (
	demeritHalf   = 10 * time.Minute
	demeritPoints = 10 // of one bad message: gossip stops at 50, everything at 200
	maxDemerits   = 4096
)

func (d demerit) now(t time.Time) float64 {
	for ; d.points > 0.1 && t.Sub(d.at) >= demeritHalf; d.at = d.at.Add(demeritHalf) {
		d.points /= 2
	}
	return d.points
}

func (g *gossip) demerit(id peer.ID) {
	now := time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	d, ok := g.demerits[id]
	if !ok && len(g.demerits) >= maxDemerits {
		for k := range g.demerits { // any one: the table is full of offenders
			delete(g.demerits, k)
			break
		}
	}
	g.demerits[id] = demerit{min(d.now(now)+demeritPoints, 1000), now}
}

// score is gossipsub's application score.
func (g *gossip) score(id peer.ID) float64 {
	g.mu.RLock()
	defer g.mu.RUnlock()
	d, ok := g.demerits[id]
	if !ok {
		return 0
	}
	return -d.now(time.Now())
}

// connected and disconnected keep what is known of connected peers only.
func (g *gossip) connected(id peer.ID) {
	text := peerText(id)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.names[id] = text
}

func (g *gossip) disconnected(n network.Network, id peer.ID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if n.Connectedness(id) != network.Connected {
		delete(g.names, id)
		delete(g.subs, id)
	}
}
