package mix_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mimid/mimid/node/mix"
	"github.com/mimid/mimid/overlay"
	"github.com/mimid/mimid/protocol/onion"
)

// A bench is one Relay between fakes, in virtual time. Packets come from peers of any name, and go to the
// node next.
type bench struct {
	t       *testing.T
	keys    []mix.EpochKey // epoch-1 to epoch+1
	next    onion.PrivateKey
	journal *memoryJournal
	link    *memoryLink
	room    bool // for what is handed over
	limits  mix.Limits

	mu       sync.Mutex
	arrived  []string
	relay    *mix.Relay
	cancel   context.CancelFunc
	runEnded chan error
}

var (
	here = onion.NodeID{1}
	next = onion.NodeID{2}
)

// A memoryLink remembers what it was given, and when.
type memoryLink struct {
	mu   sync.Mutex
	sent []sentPacket
	fail error
}

type sentPacket struct {
	at     time.Time
	to     overlay.PeerID
	packet []byte
}

func (l *memoryLink) Send(to overlay.PeerID, packet []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fail != nil {
		return l.fail
	}
	l.sent = append(l.sent, sentPacket{time.Now(), to, packet})
	return nil
}

func (l *memoryLink) list() []sentPacket {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.sent)
}

// onePeer knows only next.
type onePeer struct{}

func (onePeer) Peer(n onion.NodeID) (overlay.PeerID, bool) { return "next", n == next }

func newBench(t *testing.T) *bench {
	b := &bench{t: t, journal: &memoryJournal{}, link: &memoryLink{}, room: true, next: must[onion.PrivateKey](t)(onion.GenerateKey(format.Suite))}
	for e := epoch - 1; e <= epoch+1; e++ {
		b.keys = append(b.keys, mix.EpochKey{Epoch: e, Key: must[onion.PrivateKey](t)(onion.GenerateKey(format.Suite))})
	}
	return b
}

func (b *bench) hand(what string) func(onion.Mailbox, []byte) bool {
	return func(to onion.Mailbox, content []byte) bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.room {
			b.arrived = append(b.arrived, fmt.Sprintf("%s %d %d", what, to[0], len(content)))
		}
		return b.room
	}
}

// start runs a Relay as a program that begins does.
func (b *bench) start() {
	b.t.Helper()
	b.relay = must[*mix.Relay](b.t)(mix.NewRelay(mix.RelayConfig{Format: format, Keys: b.keys, Link: b.link, Peers: onePeer{}, Journal: b.journal,
		Deliver: b.hand("payload"), Reply: b.hand("reply"), Limits: b.limits}))
	ctx, cancel := context.WithCancel(context.Background())
	b.cancel, b.runEnded = cancel, make(chan error, 1)
	go func() { b.runEnded <- b.relay.Run(ctx) }()
	synctest.Wait()
}

func (b *bench) stop() {
	b.t.Helper()
	b.cancel()
	if err := <-b.runEnded; err != nil {
		b.t.Error(err)
	}
}

// apart is longer than tags wait for others to share a write with.
const apart = 5 * time.Millisecond

// give lets a packet come, and everything happen that happens soon.
func (b *bench) give(from overlay.PeerID, packet []byte) {
	b.relay.Receive(context.Background(), from, packet)
	time.Sleep(apart)
	synctest.Wait()
}

// packet is one that goes on to next after a delay; e is the epoch it is built for, with the key that
// the bench has for it.
func (b *bench) packet(e onion.Epoch, delay time.Duration) []byte {
	key := b.keys[0].Key.Public()
	for _, k := range b.keys {
		if k.Epoch == e {
			key = k.Key.Public()
		}
	}
	return must[[]byte](b.t)(format.Build(e, []onion.Relay{{Node: here, Key: key, Delay: delay}, {Node: next, Key: b.next.Public()}}, onion.Mailbox{}, nil))
}

func (b *bench) want(c mix.Counts) {
	b.t.Helper()
	synctest.Wait()
	if d := cmp.Diff(c, b.relay.Counts()); d != "" {
		b.t.Errorf("counts (- wanted):\n%s", d)
	}
	if n := len(b.link.list()); uint64(n) != c.Forwarded {
		b.t.Errorf("%d packets were sent, %d counted", n, c.Forwarded)
	}
}

func inBubble(t *testing.T, f func(*testing.T, *bench)) {
	synctest.Test(t, func(t *testing.T) { f(t, newBench(t)) })
}

// TestReplayedAlsoAfterRestart: a packet that comes again is dropped, by a Relay that runs and by one
// that has begun anew; one whose journal is gone would send it again.
func TestReplayedAlsoAfterRestart(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.start()
		packet := b.packet(epoch, 0)
		for range 3 {
			b.give("a", slices.Clone(packet))
		}
		b.give("another", slices.Clone(packet))
		changed := slices.Clone(packet)
		changed[len(changed)-1] ^= 1 // another body behind the same header
		b.give("a", changed)
		b.want(mix.Counts{Received: 5, Decapsulated: 5, Replayed: 4, Forwarded: 1})
		b.stop()

		b.link.sent = nil
		b.start()
		b.give("a", slices.Clone(packet))
		b.want(mix.Counts{Received: 1, Decapsulated: 1, Replayed: 1})
		b.give("a", b.packet(epoch, 0))
		b.want(mix.Counts{Received: 2, Decapsulated: 2, Replayed: 1, Forwarded: 1})
		b.stop()

		b.link.sent, b.journal = nil, &memoryJournal{}
		b.start()
		b.give("a", slices.Clone(packet))
		b.want(mix.Counts{Received: 1, Decapsulated: 1, Forwarded: 1})
		b.stop()
	})
}

// TestTagOnDiskFirst: nothing is sent and nothing handed over while the tags are being written, and all
// packets that come meanwhile share one write.
func TestTagOnDiskFirst(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.start()
		stall := make(chan struct{})
		b.journal.set(func() { b.journal.stall = stall })
		const packets = 60
		for range packets - 1 {
			b.give("a", b.packet(epoch, 0))
		}
		b.give("a", must[[]byte](t)(format.Build(epoch, []onion.Relay{{Node: here, Key: b.keys[1].Key.Public()}}, onion.Mailbox{9}, []byte("abc"))))
		time.Sleep(time.Hour)
		b.want(mix.Counts{Received: packets, Decapsulated: packets})
		if len(b.arrived) != 0 {
			t.Errorf("%s was handed over", b.arrived)
		}
		close(stall)
		synctest.Wait()
		b.want(mix.Counts{Received: packets, Decapsulated: packets, Forwarded: packets - 1, Delivered: 1})
		if marks, writes := b.journal.written(); marks != packets || writes != 2 {
			t.Errorf("%d tags in %d writes, where the first packet has one and the others share one", marks, writes)
		}
		if len(b.arrived) != 1 || b.arrived[0] != "payload 9 3" {
			t.Errorf("%s was handed over", b.arrived)
		}
		b.stop()
	})
}

// TestWritesAreShared: a packet that comes after a while of nothing has its tag written at once; those that come
// soon after one share a write, are sent on a few milliseconds later, and one that is to wait for longer no later
// than it says.
func TestWritesAreShared(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.start()
		for range 3 {
			begun := time.Now()
			_, before := b.journal.written()
			sent := len(b.link.list())
			for i := range 41 {
				b.relay.Receive(t.Context(), "a", b.packet(epoch, time.Duration(i%2)*10*time.Millisecond))
				if synctest.Wait(); i == 0 && len(b.link.list()) != sent+1 {
					t.Error("the first packet waits for others")
				}
				time.Sleep(apart / 50)
			}
			time.Sleep(time.Second)
			if _, writes := b.journal.written(); writes != before+3 { // the first, and two times those of 4 ms
				t.Errorf("%d writes for 41 packets in 4.1 ms", writes-before)
			}
			for i, s := range b.link.list()[sent:] {
				late := s.at.Sub(begun)
				if i > 20 { // those with a delay, in their order
					late -= time.Duration(2*(i-21)+1)*apart/50 + 10*time.Millisecond
				}
				if late < 0 || i <= 20 && late >= 2*apart || i > 20 && late != 0 {
					t.Errorf("packet %d was sent %v too late", i, late)
				}
			}
		}
		b.stop()
	})
}

// TestJournalFails: a packet whose tag could not be written is not sent, whether the tag is on disk or
// not; it stays known as long as the Relay runs, and after a restart if it is on disk.
func TestJournalFails(t *testing.T) {
	for _, onDisk := range []bool{false, true} {
		t.Run(fmt.Sprintf("on disk %t", onDisk), func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bench) {
				b.start()
				if onDisk {
					b.journal.after = 1
				} else {
					b.journal.before = 1
				}
				packet := b.packet(epoch, 0)
				b.give("a", slices.Clone(packet))
				b.give("a", slices.Clone(packet))
				b.want(mix.Counts{Received: 2, Decapsulated: 2, NotStored: 1, Replayed: 1})
				b.give("a", b.packet(epoch, 0)) // and it goes on
				b.want(mix.Counts{Received: 3, Decapsulated: 3, NotStored: 1, Replayed: 1, Forwarded: 1})
				b.stop()

				b.link.sent = nil
				b.start()
				b.give("a", slices.Clone(packet))
				if onDisk {
					b.want(mix.Counts{Received: 1, Decapsulated: 1, Replayed: 1})
				} else { // it was never sent, so that this is not a second time
					b.want(mix.Counts{Received: 1, Decapsulated: 1, Forwarded: 1})
				}
				b.stop()
			})
		})
	}
}

// TestDelays: a packet leaves when its delay is over, counted from when it came, however long its tag
// took; those of one time in the order in which they came.
func TestDelays(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.start()
		stall := make(chan struct{})
		b.journal.set(func() { b.journal.stall = stall })
		begun := time.Now()
		var want []time.Duration
		for _, ms := range []int{500, 20, 3_600_000, 500, 0, 70} {
			d := time.Duration(ms) * time.Millisecond
			b.relay.Receive(t.Context(), "a", b.packet(epoch, d))
			want = append(want, max(d, 50*time.Millisecond))
		}
		time.Sleep(50 * time.Millisecond)
		close(stall)
		time.Sleep(2 * time.Hour)
		slices.Sort(want)
		var got []time.Duration
		for _, s := range b.link.list() {
			got = append(got, s.at.Sub(begun))
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("(- wanted)\n%s", d)
		}
		b.want(mix.Counts{Received: 6, Decapsulated: 6, Forwarded: 6})
		b.stop()
	})
}

// TestRefusals: what is not a packet of this network, of a key that is held, or of anybody's making is
// dropped and counted, costs a decapsulation only if it could have been one, and leaves no tag.
func TestRefusals(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.start()
		good := b.packet(epoch, 0)
		with := func(at int, x byte) []byte {
			p := slices.Clone(good)
			p[at] ^= x
			return p
		}
		for _, p := range [][]byte{nil, good[:len(good)-1], append(slices.Clone(good), 0), make([]byte, 1<<20), with(0, 1), with(1, 3)} {
			b.give("a", p)
		}
		b.want(mix.Counts{Received: 6, Malformed: 6})
		for _, e := range []onion.Epoch{epoch - 2, epoch + 2, epoch + 100} {
			b.give("a", b.packet(e, 0))
		}
		b.want(mix.Counts{Received: 9, Malformed: 6, UnknownKey: 3})
		tampered := must[[]byte](t)(format.Build(epoch, []onion.Relay{{Node: here, Key: b.keys[1].Key.Public()}}, onion.Mailbox{}, nil))
		tampered[len(tampered)-1] ^= 1
		for _, p := range [][]byte{with(10, 1), with(100, 1), with(format.HeaderSize()-1, 1), tampered} {
			b.give("a", p)
		}
		b.want(mix.Counts{Received: 13, Malformed: 6, UnknownKey: 3, Decapsulated: 4, Forged: 4})
		if marks, _ := b.journal.written(); marks != 0 {
			t.Errorf("%d tags were written", marks)
		}
		for e := epoch - 1; e <= epoch+1; e++ {
			b.give("a", b.packet(e, 0))
		}
		b.want(mix.Counts{Received: 16, Malformed: 6, UnknownKey: 3, Decapsulated: 7, Forged: 4, Forwarded: 3})
		b.stop()
	})
}

// TestFloodCostsNoDecapsulation: beyond what a peer may send, and beyond what all may, packets are
// dropped before anything is computed with them. Others are not harmed by a peer's flood, and tokens
// come back with time.
func TestFloodCostsNoDecapsulation(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.limits = mix.Limits{PeerRate: 10, PeerBurst: 20, TotalRate: 30, TotalBurst: 55, Peers: 4}
		b.start()
		good := b.packet(epoch, 0)
		flood := func(from overlay.PeerID, n int) {
			for range n {
				b.relay.Receive(context.Background(), from, good)
			}
			synctest.Wait()
		}
		flood("a", 10_000)
		b.want(mix.Counts{Received: 10_000, Limited: 9_980, Decapsulated: 20, Replayed: 19, Forwarded: 1})
		flood("b", 1_000) // has tokens of its own
		b.want(mix.Counts{Received: 11_000, Limited: 10_960, Decapsulated: 40, Replayed: 39, Forwarded: 1})
		flood("c", 1_000) // those of all are gone
		b.want(mix.Counts{Received: 12_000, Limited: 11_945, Decapsulated: 55, Replayed: 54, Forwarded: 1})
		time.Sleep(time.Second)
		flood("a", 1_000)
		b.want(mix.Counts{Received: 13_000, Limited: 12_935, Decapsulated: 65, Replayed: 64, Forwarded: 1})
		flood("d", 1)
		flood("e", 1) // a fifth peer is not counted, and so not taken
		b.want(mix.Counts{Received: 13_002, Limited: 12_936, Decapsulated: 66, Replayed: 65, Forwarded: 1})
		time.Sleep(time.Minute) // and now the others are forgotten
		flood("e", 1)
		b.want(mix.Counts{Received: 13_003, Limited: 12_936, Decapsulated: 67, Replayed: 66, Forwarded: 1})
		b.stop()
	})
}

// TestHeldIsBounded: beyond what may be held packets are dropped before anything is computed with them,
// in number and in octets, those whose tags are being written included; and when some have left there
// is room.
func TestHeldIsBounded(t *testing.T) {
	size := format.PacketSize()
	for name, l := range map[string]mix.Limits{"number": {Held: 3}, "octets": {HeldOctets: 4*size - 1}} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bench) {
				b.limits = l
				b.start()
				stall := make(chan struct{})
				b.journal.set(func() { b.journal.stall = stall })
				for range 5 {
					b.give("a", b.packet(epoch, time.Second))
				}
				b.want(mix.Counts{Received: 5, Decapsulated: 3, Full: 2})
				close(stall)
				synctest.Wait()
				b.give("a", b.packet(epoch, 0))
				b.want(mix.Counts{Received: 6, Decapsulated: 3, Full: 3})
				time.Sleep(time.Second)
				for range 4 {
					b.give("a", b.packet(epoch, time.Second))
				}
				b.want(mix.Counts{Received: 10, Decapsulated: 6, Full: 4, Forwarded: 3})
				time.Sleep(time.Second)
				b.want(mix.Counts{Received: 10, Decapsulated: 6, Full: 4, Forwarded: 6})
				b.stop()
			})
		})
	}
}

// TestFullTags: when an epoch has as many tags as may be, its packets are dropped, since their
// repetition could not be told.
func TestFullTags(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.limits = mix.Limits{Tags: 2}
		b.start()
		for range 3 {
			b.give("a", b.packet(epoch, 0))
		}
		b.give("a", b.packet(epoch+1, 0))
		b.want(mix.Counts{Received: 4, Decapsulated: 4, Full: 1, Forwarded: 3})
		b.stop()
	})
}

// TestNextEpoch: with a new key the oldest goes, its packets are no longer opened, and its tags leave the
// disk; those of the others stay.
func TestNextEpoch(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.start()
		first := map[onion.Epoch][]byte{}
		for e := epoch - 1; e <= epoch+1; e++ {
			first[e] = b.packet(e, 0)
			b.give("a", slices.Clone(first[e]))
		}
		k := mix.EpochKey{Epoch: epoch + 2, Key: must[onion.PrivateKey](t)(onion.GenerateKey(format.Suite))}
		if err := b.relay.SetKey(t.Context(), k); err != nil {
			t.Fatal(err)
		}
		b.keys = append(b.keys, k)
		if err := b.relay.SetKey(t.Context(), b.keys[0]); !errors.Is(err, onion.ErrUnknownKey) {
			t.Errorf("an old key: %v", err)
		}
		synctest.Wait()
		for e := epoch - 1; e <= epoch+1; e++ {
			b.give("a", slices.Clone(first[e]))
		}
		b.give("a", b.packet(epoch+2, 0))
		b.want(mix.Counts{Received: 7, UnknownKey: 1, Decapsulated: 6, Replayed: 2, Forwarded: 4})
		var kept []onion.Epoch
		for _, m := range b.journal.marks {
			kept = append(kept, m.Epoch)
		}
		if d := cmp.Diff([]onion.Epoch{epoch, epoch + 1, epoch + 2}, kept); d != "" {
			t.Errorf("tags on disk (- wanted):\n%s", d)
		}
		b.stop()
		if err := b.relay.SetKey(t.Context(), k); !errors.Is(err, mix.ErrNotRunning) {
			t.Errorf("a key for a relay that has ended: %v", err)
		}

		b.keys = b.keys[2:] // a restart an epoch later drops what the run before could not
		b.start()
		synctest.Wait()
		if n, _ := b.journal.written(); n != 2 {
			t.Errorf("%d tags are left on disk", n)
		}
		b.stop()
	})
}

// TestNowhereToGo: packets for a node that is not known, or that the link does not take, and contents that
// nobody has room for, are counted and gone, and hold no room.
func TestNowhereToGo(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.limits = mix.Limits{Held: 1}
		b.start()
		key := b.keys[1].Key.Public()
		b.give("a", must[[]byte](t)(format.Build(epoch, []onion.Relay{{Node: here, Key: key}, {Node: onion.NodeID{3}, Key: b.next.Public()}}, onion.Mailbox{}, nil)))
		b.link.fail = errors.New("full")
		b.give("a", b.packet(epoch, 0))
		b.link.fail = nil
		b.room = false
		end := []onion.Relay{{Node: here, Key: key}}
		b.give("a", must[[]byte](t)(format.Build(epoch, end, onion.Mailbox{4}, nil)))
		b.want(mix.Counts{Received: 3, Decapsulated: 3, Unsent: 2, NotTaken: 1})
		b.room = true
		b.give("a", must[[]byte](t)(format.Build(epoch, end, onion.Mailbox{5}, nil)))
		surb, keys, err := format.NewSURB(epoch, end, onion.Mailbox{6})
		if err != nil {
			t.Fatal(err)
		}
		_, reply, err := surb.Reply([]byte("yes"))
		if err != nil || keys.Equal(onion.ReplyKeys{}) {
			t.Fatal(err)
		}
		b.give("a", reply)
		b.give("a", b.packet(epoch, 0))
		b.want(mix.Counts{Received: 6, Decapsulated: 6, Unsent: 2, NotTaken: 1, Delivered: 1, Replies: 1, Forwarded: 1})
		if d := cmp.Diff([]string{"payload 5 0", "reply 6 8192"}, b.arrived); d != "" {
			t.Errorf("handed over (- wanted):\n%s", d)
		}
		b.stop()
	})
}

// A brokenJournal cannot be read.
type brokenJournal struct{ memoryJournal }

func (*brokenJournal) Load(context.Context, func(onion.Epoch, onion.Tag) error) error { return errDisk }

// TestUnreadableJournal: a Relay that cannot know which packets it has seen does not run, and takes none.
func TestUnreadableJournal(t *testing.T) {
	hand := func(onion.Mailbox, []byte) bool { return true }
	c := mix.RelayConfig{Format: format, Link: &memoryLink{}, Peers: onePeer{}, Journal: &brokenJournal{}, Deliver: hand, Reply: hand}
	r := must[*mix.Relay](t)(mix.NewRelay(c))
	if err := r.Run(t.Context()); !errors.Is(err, errDisk) {
		t.Errorf("it ran: %v", err)
	}
	r.Receive(context.Background(), "a", nil) // comes back, and nothing happens
	if c := r.Counts(); c != (mix.Counts{}) {
		t.Errorf("%+v", c)
	}
	for _, change := range []func(*mix.RelayConfig){
		func(c *mix.RelayConfig) { c.Format = onion.Format{} }, func(c *mix.RelayConfig) { c.Journal = nil },
		func(c *mix.RelayConfig) { c.Deliver = nil }, func(c *mix.RelayConfig) { c.Keys = []mix.EpochKey{{Epoch: 1}} },
	} {
		bad := c
		change(&bad)
		if _, err := mix.NewRelay(bad); !errors.Is(err, mix.ErrConfig) {
			t.Errorf("%v", err)
		}
	}
}
