package veil_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/mimid/mimid/node/mix"
	"github.com/mimid/mimid/node/peering"
	"github.com/mimid/mimid/node/veil"
	"github.com/mimid/mimid/overlay"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/onion"
	"github.com/mimid/mimid/protocol/onion/relays"
	"github.com/mimid/mimid/protocol/onion/retry"
)

const (
	epoch  onion.Epoch = 500_000
	delay              = 50 * time.Millisecond
	margin             = time.Second
)

var format = onion.Format{Suite: onion.X25519, Class: onion.Class8K}

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// A world is five providers: p0, p1 and p2 relay, p3 asks and p4 answers. Run in virtual time.
type world struct {
	t     *testing.T
	ctx   context.Context
	list  *relays.Cosigned
	nodes []*node
	stop  func()

	mu   sync.Mutex
	sent map[[2]overlay.PeerID]int                 // guarded by mu: packets from one to another
	lose func(from, to overlay.PeerID, n int) bool // guarded by mu: whether the nth packet of a link is lost
}

type node struct {
	w      *world
	peer   overlay.PeerID
	id     onion.NodeID
	relay  *mix.Relay
	sender *mix.Sender
	exit   *mix.Exit
	veil   *veil.Service
	report clientapi.PrivacyReport
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, sent: map[[2]overlay.PeerID]int{}}
	s := &relays.Snapshot{Format: format, Epoch: epoch, Previous: [32]byte{1}, Rate: 1_000_000, Delay: delay}
	var keys []onion.PrivateKey
	for i := range 5 {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, must[onion.PrivateKey](t)(onion.GenerateKey(format.Suite)))
		d := relays.Descriptor{Suite: format.Suite, Provider: fmt.Sprintf("p%d.example", i), Operator: fmt.Sprintf("operator-%d", i), Network: uint32(i + 1),
			Address: netip.AddrFrom4([4]byte{10, byte(i), 0, 1}), Capacity: 1, First: epoch, Keys: []onion.PublicKey{keys[i].Public()}}
		if i < relays.Layers {
			d.Capacity = 1000
		}
		r := must[*relays.Relay](t)(d.Sign(key))
		s.Relays = append(s.Relays, r)
		w.nodes = append(w.nodes, &node{w: w, peer: overlay.PeerID(fmt.Sprint("peer", i)), id: r.Node(), report: clientapi.PrivacyReport{Onion: true, AnonymitySet: 5}})
	}
	s.Sort()
	b := must[[]byte](t)(s.Bytes())
	_, witness, _ := ed25519.GenerateKey(rand.Reader)
	w.list = must[*relays.Cosigned](t)(relays.Witnesses{"w": witness.Public().(ed25519.PublicKey)}.Verify(b, epoch, []relays.Cosignature{relays.Cosign("w", witness, epoch, relays.Hash(b))}))
	ctx, cancel := context.WithCancel(context.Background())
	w.ctx = ctx
	var wg sync.WaitGroup
	for i, n := range w.nodes {
		n.veil = must[*veil.Service](t)(veil.New(veil.Config{Net: n, Format: format, Margin: margin}))
		n.exit = must[*mix.Exit](t)(mix.NewExit(mix.ExitConfig{Format: format, Link: wire{n}, Peers: w, Inbox: inbox{n}, Delay: delay}))
		n.sender = must[*mix.Sender](t)(mix.NewSender(mix.SenderConfig{Format: format, Self: n.id, Link: wire{n}, Peers: w, Retry: retry.Config{Margin: margin}}))
		n.relay = must[*mix.Relay](t)(mix.NewRelay(mix.RelayConfig{Format: format, Keys: []mix.EpochKey{{Epoch: epoch, Key: keys[i]}}, Link: wire{n}, Peers: w, Journal: journal{},
			Reply: n.sender.Reply, Deliver: n.exit.Deliver}))
		for _, run := range []func(context.Context) error{n.relay.Run, n.exit.Run, n.sender.Run, n.veil.Run} {
			wg.Go(func() {
				if err := run(ctx); err != nil {
					t.Error(err)
				}
			})
		}
		if err := n.sender.Use(ctx, w.list); err != nil {
			t.Fatal(err)
		}
	}
	w.stop = func() { cancel(); wg.Wait() }
	return w
}

func (w *world) asker() *node    { return w.nodes[3] }
func (w *world) answerer() *node { return w.nodes[4] }

// Peer implements mix.Peers.
func (w *world) Peer(id onion.NodeID) (overlay.PeerID, bool) {
	for _, n := range w.nodes {
		if n.id == id {
			return n.peer, true
		}
	}
	return "", false
}

// losing sets which packets are lost.
func (w *world) losing(f func(from, to overlay.PeerID, n int) bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lose = f
}

// packets are those from one to another so far; nil is any.
func (w *world) packets(from, to *node) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for link, count := range w.sent {
		if (from == nil || link[0] == from.peer) && (to == nil || link[1] == to.peer) {
			n += count
		}
	}
	return n
}

// Send implements veil.Net.
func (n *node) Send(ctx context.Context, exit onion.NodeID, to onion.Mailbox, id onion.MessageID, message []byte) error {
	return n.sender.Send(ctx, exit, to, id, message)
}

// A wire is the mix.Link of a node: what it sends is there at once, or lost.
type wire struct{ n *node }

func (l wire) Send(to overlay.PeerID, packet []byte) error {
	n := l.n
	n.w.mu.Lock()
	link := [2]overlay.PeerID{n.peer, to}
	n.w.sent[link]++
	lost := n.w.lose != nil && n.w.lose(n.peer, to, n.w.sent[link])
	n.w.mu.Unlock()
	if lost {
		return nil
	}
	for _, v := range n.w.nodes {
		if v.peer == to {
			go v.relay.Receive(n.w.ctx, n.peer, packet)
		}
	}
	return nil
}

// Node implements veil.Net.
func (n *node) Node(target string) (onion.NodeID, bool) {
	for i, v := range n.w.nodes {
		if target == fmt.Sprintf("p%d.example", i) {
			return v.id, true
		}
	}
	return onion.NodeID{}, false
}

// Blocks implements veil.Net.
func (n *node) Blocks(ctx context.Context, far onion.NodeID, count int) (*mix.Blocks, error) {
	return n.sender.Blocks(ctx, far, count)
}

// Answer implements veil.Net.
func (n *node) Answer(block onion.SURB, payload []byte) error { return n.exit.Answer(block, payload) }

// Privacy implements veil.Net.
func (n *node) Privacy() clientapi.PrivacyReport { return n.report }

// inbox gives what comes to the consumer at once. It refuses other kinds.
type inbox struct{ n *node }

func (inbox) Recent(context.Context, func(onion.Mailbox, onion.MessageID) error) error { return nil }

func (b inbox) Put(ctx context.Context, batch []mix.Message) ([]bool, error) {
	refused := make([]bool, len(batch))
	for i, m := range batch {
		if refused[i] = m.To != mix.MailboxOf(veil.Kind); !refused[i] {
			if _, err := b.n.veil.Consume(ctx, m); err != nil {
				return nil, err
			}
		}
	}
	return refused, nil
}

type journal struct{}

func (journal) Load(context.Context, func(onion.Epoch, onion.Tag) error) error { return nil }
func (journal) Append(context.Context, []mix.Mark) error                       { return nil }
func (journal) Drop(context.Context, onion.Epoch) error                        { return nil }

func ask(endpoint string, body []byte) peering.Request {
	return peering.Request{Target: "p4.example", Endpoint: endpoint, Subject: "subject", Body: body, MaxResponse: 40_000}
}
