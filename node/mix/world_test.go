package mix_test

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peerstore"

	"github.com/mimid/mimid/node/mix"
	"github.com/mimid/mimid/overlay"
	"github.com/mimid/mimid/overlay/link"
	"github.com/mimid/mimid/protocol/onion"
	"github.com/mimid/mimid/protocol/onion/relays"
	"github.com/mimid/mimid/protocol/onion/retry"
)

const epoch onion.Epoch = 500_000

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

// A world is a network of nodes in this process. The first three mix; the others are ends.
type world struct {
	t     testing.TB
	nodes []*node
	peers map[onion.NodeID]overlay.PeerID // written before anything runs
	list  *relays.Cosigned

	// In worlds without hosts: whether a packet is lost, and how long it is on its way.
	lose    func() bool
	latency time.Duration
	sent    func(from, to overlay.PeerID) // called for each packet, if it is not nil
}

func (w *world) Peer(n onion.NodeID) (overlay.PeerID, bool) {
	p, ok := w.peers[n]
	return p, ok
}

// A node is a provider's, as far as onion packets go.
type node struct {
	host    host.Host // nil in worlds without them
	id      onion.NodeID
	key     onion.PrivateKey // of the epoch
	self    *relays.Relay
	journal *memoryJournal
	inbox   *memoryInbox
	cover   mix.Cover
	entry   func(*relays.Cosigned, []*relays.Relay) (*relays.Relay, error)

	link   mix.Link
	relay  *mix.Relay
	now    atomic.Pointer[mix.Relay] // the same, for others
	exit   *mix.Exit
	sender *mix.Sender
	stop   func()
}

// loopback makes a host that listens on this machine only.
func loopback(t testing.TB, key ed25519.PrivateKey) host.Host {
	h, err := libp2p.New(libp2p.Identity(must[crypto.PrivKey](t)(crypto.UnmarshalEd25519PrivateKey(key))), libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"),
		libp2p.DisableRelay(), libp2p.DisableMetrics(), libp2p.ResourceManager(&network.NullResourceManager{}), libp2p.DisableIdentifyAddressDiscovery())
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// newWorld makes nodes with hosts that know each other's addresses, and a snapshot of them. Nothing
// runs yet.
func newWorld(t testing.TB, n int, delay time.Duration, newHost func(i int, key ed25519.PrivateKey) host.Host) *world {
	w := &world{t: t, peers: map[onion.NodeID]overlay.PeerID{}}
	for i := range n {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		v := &node{key: must[onion.PrivateKey](t)(onion.GenerateKey(format.Suite)), journal: &memoryJournal{}, inbox: &memoryInbox{}}
		peerID := overlay.PeerID(fmt.Sprint("peer", i))
		if newHost != nil {
			v.host = newHost(i, key)
			t.Cleanup(func() { v.host.Close() })
			peerID = overlay.PeerID(v.host.ID().String())
		}
		d := relays.Descriptor{
			Suite: format.Suite, Provider: fmt.Sprintf("p%d.example", i), Operator: fmt.Sprintf("operator-%d", i), Network: uint32(i + 1),
			Address: netip.AddrFrom4([4]byte{10, byte(i), 0, 1}), Capacity: 1, First: epoch, Keys: []onion.PublicKey{v.key.Public()},
		}
		if i < relays.Layers {
			d.Capacity = 1000
		}
		v.self = must[*relays.Relay](t)(d.Sign(key))
		v.id = v.self.Node()
		w.nodes = append(w.nodes, v)
		w.peers[v.id] = peerID
	}
	for _, a := range w.nodes {
		for _, b := range w.nodes {
			if a != b && newHost != nil {
				a.host.Peerstore().AddAddrs(b.host.ID(), b.host.Addrs(), peerstore.PermanentAddrTTL)
			}
		}
	}
	w.list = w.snapshot(delay)
	return w
}

func (w *world) snapshot(delay time.Duration) *relays.Cosigned {
	// A thousand packets a second are more than the ends want, so that they do not mix.
	s := &relays.Snapshot{Format: format, Epoch: epoch, Previous: [32]byte{1}, Rate: 1_000_000, Delay: delay}
	for _, v := range w.nodes {
		s.Relays = append(s.Relays, v.self)
	}
	s.Sort()
	b := must[[]byte](w.t)(s.Bytes())
	_, witness, _ := ed25519.GenerateKey(rand.Reader)
	return must[*relays.Cosigned](w.t)(relays.Witnesses{"w": witness.Public().(ed25519.PublicKey)}.Verify(b, epoch,
		[]relays.Cosignature{relays.Cosign("w", witness, epoch, relays.Hash(b))}))
}

// start makes a node's parts anew, as its program does, and runs them.
func (w *world) start(v *node, change ...func(*mix.RelayConfig)) {
	w.t.Helper()
	var relay *mix.Relay
	runs := []func(context.Context) error{}
	if v.host == nil {
		v.link = wire{w, w.peers[v.id]}
	} else {
		l := must[*link.Link](w.t)(link.New(link.Config{Host: v.host, Size: format.PacketSize(),
			Receive: func(ctx context.Context, from overlay.PeerID, packet []byte) { relay.Receive(ctx, from, packet) }}))
		v.link, runs = l, append(runs, l.Run)
	}
	v.exit = must[*mix.Exit](w.t)(mix.NewExit(mix.ExitConfig{Format: format, Link: v.link, Peers: w, Inbox: v.inbox}))
	v.sender = must[*mix.Sender](w.t)(mix.NewSender(mix.SenderConfig{Format: format, Self: v.id, Link: v.link, Peers: w, Retry: retry.Config{Tries: 6}, Cover: v.cover, Entry: v.entry}))
	c := mix.RelayConfig{Format: format, Keys: []mix.EpochKey{{Epoch: epoch, Key: v.key}}, Link: v.link, Peers: w, Journal: v.journal, Reply: v.sender.Reply,
		Deliver: func(to onion.Mailbox, payload []byte) bool { return v.sender.Loop(to) || v.exit.Deliver(to, payload) }}
	for _, f := range change {
		f(&c)
	}
	relay = must[*mix.Relay](w.t)(mix.NewRelay(c))
	v.relay = relay
	v.now.Store(relay)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for _, run := range append(runs, v.relay.Run, v.exit.Run, v.sender.Run) {
		wg.Go(func() {
			if err := run(ctx); err != nil {
				w.t.Error(err)
			}
		})
	}
	v.stop = sync.OnceFunc(func() { cancel(); wg.Wait() })
	w.t.Cleanup(v.stop)
	if err := v.sender.Use(ctx, w.list); err != nil {
		w.t.Fatal(err)
	}
}

// A wire is the Link of a node in a world without hosts: a packet is there at once, or lost.
type wire struct {
	w    *world
	from overlay.PeerID
}

func (l wire) Send(to overlay.PeerID, packet []byte) error {
	if l.w.sent != nil {
		l.w.sent(l.from, to)
	}
	if l.w.lose != nil && l.w.lose() {
		return nil
	}
	for _, v := range l.w.nodes {
		if l.w.peers[v.id] == to {
			go func() {
				time.Sleep(l.w.latency)
				v.now.Load().Receive(context.Background(), l.from, packet) // until the relay has ended
			}()
			return nil
		}
	}
	return link.ErrPeer
}

// patience is for how long anything may take on a loaded machine.
const patience = 2 * time.Minute

func patient(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// until waits for a condition.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

var errDisk = errors.New("the disk is gone")

// A memoryJournal is strict: it is used by one call at a time, and remembers what was on disk. It can
// fail without having written, and yet having written.
type memoryJournal struct {
	mu            sync.Mutex
	busy          bool
	marks         []mix.Mark
	writes        int
	before, after int           // so many of the next writes fail, before and after having written
	stall         chan struct{} // writes wait for it, if it is not nil
}

func (j *memoryJournal) enter() func() {
	j.mu.Lock()
	if j.busy {
		panic("two calls of a journal at once")
	}
	j.busy = true
	stall := j.stall
	j.mu.Unlock()
	if stall != nil {
		<-stall
	}
	j.mu.Lock()
	return func() { j.busy = false; j.mu.Unlock() }
}

func (j *memoryJournal) Load(_ context.Context, each func(onion.Epoch, onion.Tag) error) error {
	defer j.enter()()
	for _, m := range j.marks {
		if err := each(m.Epoch, m.Tag); err != nil {
			return err
		}
	}
	return nil
}

func (j *memoryJournal) Append(_ context.Context, marks []mix.Mark) error {
	defer j.enter()()
	if len(marks) == 0 {
		panic("nothing to write")
	}
	if j.before > 0 {
		j.before--
		return errDisk
	}
	for _, m := range marks {
		if slices.Contains(j.marks, m) {
			panic("a tag is written twice")
		}
	}
	j.marks = append(j.marks, marks...)
	j.writes++
	if j.after > 0 {
		j.after--
		return errDisk
	}
	return nil
}

func (j *memoryJournal) Drop(_ context.Context, below onion.Epoch) error {
	defer j.enter()()
	j.marks = slices.DeleteFunc(j.marks, func(m mix.Mark) bool { return m.Epoch < below })
	return nil
}

// set changes a journal while it is in use.
func (j *memoryJournal) set(f func()) {
	j.mu.Lock()
	defer j.mu.Unlock()
	f()
}

func (j *memoryJournal) written() (marks, writes int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.marks), j.writes
}

// A memoryInbox is strict likewise.
type memoryInbox struct {
	mu            sync.Mutex
	messages      []mix.Message // each once
	puts          int           // messages that were put in, each time
	refuse        onion.Mailbox
	before, after int // so many of the next puts fail, before and after having written
}

func (b *memoryInbox) Recent(_ context.Context, each func(onion.Mailbox, onion.MessageID) error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range b.messages {
		if err := each(m.To, m.ID); err != nil {
			return err
		}
	}
	return nil
}

func (b *memoryInbox) Put(_ context.Context, batch []mix.Message) ([]bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(batch) == 0 {
		panic("nothing to keep")
	}
	if b.before > 0 {
		b.before--
		return nil, errDisk
	}
	refused := make([]bool, len(batch))
	for i, m := range batch {
		b.puts++
		if refused[i] = b.refuse != (onion.Mailbox{}) && m.To == b.refuse; refused[i] {
			continue
		}
		if !slices.ContainsFunc(b.messages, func(o mix.Message) bool { return o.To == m.To && o.ID == m.ID }) {
			b.messages = append(b.messages, m)
		}
	}
	if b.after > 0 {
		b.after--
		return nil, errDisk
	}
	return refused, nil
}

func (b *memoryInbox) list() []mix.Message {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := slices.Clone(b.messages)
	slices.SortFunc(out, func(a, b mix.Message) int { return cmp.Compare(string(a.ID[:]), string(b.ID[:])) })
	return out
}

func newID() (id onion.MessageID) {
	rand.Read(id[:])
	return id
}
