package overlay

import (
	"slices"
	"sync"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// Mesh returns those of Peers that are in the topic's mesh: what is published goes to
// them at once, and from them on. A peer that has just subscribed is not among them
// until the next heartbeat, up to a second later, and what is published before may
// never reach it: gossipsub tells only peers outside the mesh what they have missed,
// and by then it is inside.
func (t *Topic) Mesh() []PeerID {
	t.mesh.mu.Lock()
	ids := slices.Clone(t.mesh.peers)
	t.mesh.mu.Unlock()
	var out []PeerID
	for _, id := range ids {
		if p := peerText(id); t.allows(p) {
			out = append(out, p)
		}
	}
	return out
}

// mesh is which peers were grafted and not pruned.
type mesh struct {
	mu    sync.Mutex
	peers []peer.ID // guarded by mu; a dozen at most
}

func (m *mesh) add(p peer.ID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !slices.Contains(m.peers, p) {
		m.peers = append(m.peers, p)
	}
}

func (m *mesh) remove(p peer.ID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.peers = slices.DeleteFunc(m.peers, func(o peer.ID) bool { return o == p })
}

// meshTracer keeps the topics' meshes. Called on gossipsub's goroutine.
type meshTracer struct{ g *gossip }

func (m meshTracer) topic(name string) *Topic {
	m.g.mu.RLock()
	defer m.g.mu.RUnlock()
	return m.g.topics[name]
}

func (m meshTracer) Graft(p peer.ID, name string) {
	if t := m.topic(name); t != nil {
		t.mesh.add(p)
	}
}

func (m meshTracer) Prune(p peer.ID, name string) {
	if t := m.topic(name); t != nil {
		t.mesh.remove(p)
	}
}

// OnClosedOutboundStream: a peer that is gone is taken out of all meshes without a
// prune.
func (m meshTracer) OnClosedOutboundStream(p peer.ID) {
	m.g.mu.RLock()
	defer m.g.mu.RUnlock()
	for _, t := range m.g.topics {
		t.mesh.remove(p)
	}
}

func (meshTracer) OnNewOutboundStream(peer.ID, protocol.ID)             {}
func (meshTracer) Join(string)                                          {}
func (meshTracer) Leave(string)                                         {}
func (meshTracer) ValidateMessage(*pubsub.Message)                      {}
func (meshTracer) DeliverMessage(*pubsub.Message)                       {}
func (meshTracer) RejectMessage(*pubsub.Message, string)                {}
func (meshTracer) DuplicateMessage(*pubsub.Message)                     {}
func (meshTracer) ThrottlePeer(peer.ID)                                 {}
func (meshTracer) RecvRPC(*pubsub.RPC)                                  {}
func (meshTracer) SendRPC(*pubsub.RPC, peer.ID)                         {}
func (meshTracer) DropRPC(*pubsub.RPC, peer.ID)                         {}
func (meshTracer) UndeliverableMessage(*pubsub.Message)                 {}
func (meshTracer) SendRPCCompleted(*pubsub.RPC, peer.ID, time.Duration) {}
