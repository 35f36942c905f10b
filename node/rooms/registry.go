package rooms

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mimid/mimid/node/logstore"
	"github.com/mimid/mimid/overlay"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/store"
)

// handle is one room, loaded or not.
type handle struct {
	id room.ID

	mu       sync.Mutex
	head     *logstore.Head      // guarded by mu: as stored; nil while the first entry is still to come
	live     *live               // guarded by mu: nil while nothing happens
	broken   string              // guarded by mu: why the log cannot be followed
	brokeIn  uint32              // guarded by mu: the era of the log then
	accused  string              // guarded by mu: a hub of several replicas that has signed what cannot be
	twice    []votedIn           // guarded by mu: who has voted twice in one term; the slice never changes
	held     string              // guarded by mu: why the next entry cannot be verified yet
	parting  *clientapi.Parting  // guarded by mu: a branch that the room was moved away from; it never changes
	conflict *clientapi.Conflict // guarded by mu: with broken: two histories are final; it never changes
	pins     int                 // guarded by mu: callers of obtain that have not released it
	ended    ended               // guarded by mu
	proved   *proved             // guarded by mu: nil until something happens
	// guarded by mu: called once, when another provider orders the room or its hub is
	// found dead
	moved map[*func()]struct{}

	// joining is held while a topic is joined or left. Gossip asks back meanwhile
	// who may take part, for which it needs mu: joining is taken before mu, never
	// after it.
	joining sync.Mutex
	name    string                // guarded by joining: of the topic
	topic   atomic.Pointer[Topic] // nil while nobody else takes part

	tip     atomic.Uint64 // of a replicated room: the place after what is not final here
	behind  atomic.Bool   // something was missed: catch up
	traffic atomic.Int64  // when somebody said something here last, Unix ms; 0: not since the start
	prod    atomic.Int64  // when a user's submission had another hub looked for, Unix ms
	asked   atomic.Bool   // a task to catch up waits already
	relayed atomic.Int32  // submissions that others have brought and that are being ordered
	owed    atomic.Int32  // submissions of local users that are looked after, see relay.go
}

// ended is where a hub has said that its log ends, and when it was asked.
type ended struct {
	next uint64
	at   time.Time
}

func (h *handle) stand() *logstore.Head {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.head
}

// whenMoved has f called when the room's hub is another one, or in another term, or dead,
// unless stop is called before.
func (h *handle) whenMoved(f func()) (stop func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.moved == nil {
		h.moved = map[*func()]struct{}{}
	}
	h.moved[&f] = struct{}{}
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.moved, &f)
	}
}

// moveLocked calls those who wait for the hub; mu is held.
func (h *handle) moveLocked() {
	for f := range h.moved {
		(*f)()
	}
	h.moved = nil
}

func (h *handle) stopped() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.broken != "" && h.parting != nil && !h.parting.Followed {
		return fmt.Errorf("%s: %w", h.broken, errParted)
	}
	if h.broken != "" && h.conflict != nil {
		return fmt.Errorf("%s: %w", h.broken, errConflict)
	}
	if h.broken != "" {
		return fmt.Errorf("%s: %w", h.broken, ErrBroken)
	}
	return nil
}

func (r *Rooms) readHeads() error {
	return r.cfg.Store.View(func(tx *store.Tx) error {
		if err := errors.Join(r.readPromises(tx), r.readBans(tx)); err != nil {
			return err
		}
		for head, err := range logstore.Heads(tx) {
			if err != nil {
				return err
			}
			id := head.ID()
			h := &handle{id: id, head: head}
			if err := h.readParting(tx); err != nil {
				return err
			}
			r.rooms[id] = h
			r.turns.Add(1)
			r.counts.here.Add(1)
		}
		if err := r.readVoted(tx); err != nil {
			return err
		}
		for c, err := range logstore.AllCondemned(tx) {
			if err != nil {
				return err
			}
			h := r.rooms[c.Room]
			if h == nil {
				continue
			}
			if c.Head.Term.Era > h.head.At.Term.Era {
				if c, err = logstore.ReadCondemned(tx, h.id); err != nil {
					return err
				}
			}
			p, ok := partingOf(c, h.head)
			switch {
			case ok: // moved away from before the end of this log
				h.broken, h.parting = c.Why, p
			case c.Cert != nil && h.head.At.Term.Era <= c.Cert.Head.Term.Era:
				if err := h.readConflict(tx, c); err != nil {
					return err
				}
			case c.Head.Verify(h.head.HubKey[:]) != nil || c.Head.Term.Compare(h.head.At.Term) < 0:
				// Another provider has ordered since: the proof is kept, and holds up nobody.
			case len(h.head.Set) > 0 && h.head.Member(h.head.Hub):
				h.accused = h.head.Hub // others may give the room another hub
			default:
				h.broken, h.brokeIn = c.Why, h.head.At.Term.Era
			}
		}
		return nil
	})
}

// lookup returns a room that is there.
func (r *Rooms) lookup(id room.ID) (*handle, error) {
	r.mu.RLock()
	h := r.rooms[id]
	r.mu.RUnlock()
	if h == nil || h.stand() == nil {
		return nil, fmt.Errorf("room %s: %w", id, ErrUnknown)
	}
	return h, nil
}

// obtain returns a room's handle, made if there is none. Whoever obtains it
// releases it: until then it is not forgotten, or two goroutines could own a room.
func (r *Rooms) obtain(id room.ID) *handle {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := r.rooms[id]
	if h == nil {
		h = &handle{id: id}
		r.rooms[id] = h
	}
	h.mu.Lock()
	h.pins++
	h.mu.Unlock()
	return h
}

// release ends what obtain began.
func (r *Rooms) release(h *handle) {
	h.mu.Lock()
	h.pins--
	h.mu.Unlock()
	r.forget(h)
}

// forget drops the handle of a room that never came to be, once nobody needs it:
// after release, and when its goroutine ends, whichever is later. Like everybody
// who holds both, it takes r.mu before h.mu.
func (r *Rooms) forget(h *handle) {
	r.mu.Lock()
	defer r.mu.Unlock()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.head == nil && h.live == nil && h.pins == 0 && r.rooms[h.id] == h {
		delete(r.rooms, h.id)
	}
}

func (r *Rooms) all() []*handle {
	r.mu.RLock()
	defer r.mu.RUnlock()
	out := make([]*handle, 0, len(r.rooms))
	for _, h := range r.rooms {
		out = append(out, h)
	}
	return out
}

// topicName hides the room's name: outsiders see random bytes.
func topicName(t [16]byte) string { return hex.EncodeToString(t[:]) }

func (r *Rooms) joinTopics(ctx context.Context) error {
	for _, h := range r.all() {
		if err := ctx.Err(); err != nil {
			return nil
		}
		if err := r.refreshTopic(h); err != nil {
			return err
		}
	}
	return nil
}

// refreshTopic joins the room's topic, or leaves it, as its head says: a room
// without another provider needs none, and one that this provider no longer takes
// part in is not listened to.
func (r *Rooms) refreshTopic(h *handle) error {
	h.joining.Lock()
	defer h.joining.Unlock()
	head := h.stand()
	if head == nil {
		return nil
	}
	want := ""
	if h.stopped() == nil && slices.Contains(head.Providers, r.cfg.Domain) && len(head.Providers) > 1 {
		want = topicName(head.Topic)
	}
	if want == h.name {
		return nil
	}
	h.leaveTopic()
	if want == "" {
		return nil
	}
	t, err := r.cfg.Gossip.Join(want, overlay.TopicHandler{
		Receive: func(from overlay.PeerID, data []byte) overlay.Verdict { return r.receive(h, data) },
		Allow:   func(p overlay.PeerID) bool { return r.allows(h, p) },
	})
	switch {
	case errors.Is(err, overlay.ErrNotRunning):
		return nil // joined when Run begins
	case err != nil:
		return fmt.Errorf("joining topic of room %s: %w", head.URI, err)
	}
	h.topic.Store(&t)
	h.name = want
	return nil
}

// leaveTopic is called with joining held.
func (h *handle) leaveTopic() {
	if t := h.topic.Swap(nil); t != nil {
		(*t).Leave()
	}
	h.name = ""
}

func (r *Rooms) leaveTopics() {
	for _, h := range r.all() {
		h.joining.Lock()
		h.leaveTopic()
		h.joining.Unlock()
	}
}

// allows says whether a node belongs to a provider that takes part in the room.
func (r *Rooms) allows(h *handle, p overlay.PeerID) bool {
	r.mu.RLock()
	domain, ok := r.nodes[p]
	r.mu.RUnlock()
	if !ok {
		return false
	}
	head := h.stand()
	return head != nil && slices.Contains(head.Providers, domain)
}

// learn finds a provider and notes whose nodes its nodes are.
func (r *Rooms) learn(ctx context.Context, domain string) error {
	return r.learnBy(ctx, domain, r.cfg.Peers.Resolve)
}

func (r *Rooms) learnBy(ctx context.Context, domain string, find func(context.Context, string) ([]overlay.PeerID, error)) error {
	if domain == r.cfg.Domain {
		return nil
	}
	nodes, err := find(ctx, domain)
	if err != nil {
		return err
	}
	r.Learn(domain, nodes)
	return nil
}

// Learn notes whose nodes these are, so that they may take part in the gossip of
// the provider's rooms. One that has none is reached by HTTPS only: no gossip leads to it.
func (r *Rooms) Learn(domain string, nodes []overlay.PeerID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(nodes) == 0 {
		maps.DeleteFunc(r.nodes, func(_ overlay.PeerID, d string) bool { return d == domain })
	}
	for _, n := range nodes {
		r.nodes[n] = domain
	}
}

// knows says whether any node of a provider is known.
func (r *Rooms) knows(domain string) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, d := range r.nodes {
		if d == domain {
			return true
		}
	}
	return domain == r.cfg.Domain
}
