package mix

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/mimid/mimid/overlay"
	"github.com/mimid/mimid/protocol/onion"
)

// A Link sends packets to other nodes. Send does not wait, and owns the packet.
type Link interface {
	Send(to overlay.PeerID, packet []byte) error
}

// Peers says which peer a node of a path is. It is safe for concurrent use.
type Peers interface {
	Peer(onion.NodeID) (overlay.PeerID, bool)
}

// A Journal keeps replay tags over a restart. The Relay calls one method at a time.
type Journal interface {
	// Load calls each for every tag that is kept, in any order, those that were written more than
	// once included.
	Load(ctx context.Context, each func(onion.Epoch, onion.Tag) error) error
	// Append writes tags. When it returns nil they are on disk; after an error they may be.
	Append(ctx context.Context, marks []Mark) error
	// Drop forgets the tags of all epochs before one. After an error some may be left.
	Drop(ctx context.Context, before onion.Epoch) error
}

// A Mark is the tag of a packet that was seen.
type Mark struct {
	Epoch onion.Epoch
	Tag   onion.Tag
}

// An EpochKey is a relay's secret key of one epoch.
type EpochKey struct {
	Epoch onion.Epoch
	Key   onion.PrivateKey
}

// Limits bound what a Relay does for others. Zero fields are set to the defaults.
type Limits struct {
	PeerRate   int // packets a second that one peer may send. Default 500
	PeerBurst  int // and at once. Default 1,000
	TotalRate  int // the same for all peers together. Default 5,000
	TotalBurst int // Default 10,000
	Peers      int // whose packets are counted at once; those of others are dropped. Default 4,096

	Held       int // packets that are here at once, with those whose tags are being written. Default 32,768
	HeldOctets int // Default 256 MiB
	Tags       int // replay tags of one epoch, some 27 octets of memory each. Default 4,000,000
}

func (l Limits) withDefaults() Limits {
	for _, f := range []struct {
		field *int
		value int
	}{
		{&l.PeerRate, 500}, {&l.PeerBurst, 1000}, {&l.TotalRate, 5000}, {&l.TotalBurst, 10_000}, {&l.Peers, 4096},
		{&l.Held, 32_768}, {&l.HeldOctets, 256 << 20}, {&l.Tags, 4_000_000},
	} {
		if *f.field <= 0 {
			*f.field = f.value
		}
	}
	return l
}

// RelayConfig says what a Relay works on.
type RelayConfig struct {
	Format onion.Format
	Keys   []EpochKey // of the epoch before, this one and the next, as far as there are
	Link   Link
	Peers  Peers
	// Journal keeps the tags.
	Journal Journal
	// Deliver gets the payloads of packets whose path ends here, and Reply the bodies of those that
	// came by a reply block. They own what they get and do not wait; false says that there was no
	// room, and the packet is gone.
	Deliver, Reply func(to onion.Mailbox, content []byte) bool
	Limits         Limits
	Log            *slog.Logger // nil discards
}

// A Relay takes packets, takes a layer off, and sends them on or hands them over. Its methods may
// be called from any goroutine; everything that changes belongs to Run.
type Relay struct {
	cfg    RelayConfig
	in     chan incoming
	keys   chan newKey
	ended  chan struct{} // closed when Run has ended
	counts counters

	// Of Run.
	ring    onion.Keyring
	tags    map[onion.Epoch]*onion.Tags
	buckets *buckets
	delayed delayed
	held    int    // packets in fresh, writing and delayed
	octets  int    // of them
	fresh   []seen // those whose tags are to be written
	writing []seen // those whose tags are being written
}

type incoming struct {
	from   overlay.PeerID
	packet []byte
}

type newKey struct {
	EpochKey
	err chan error
}

// A seen packet is one that came for the first time.
type seen struct {
	hop onion.Hop
	at  time.Time
}

func (s *seen) octets() int { return len(s.hop.Packet) + len(s.hop.Body) }

// NewRelay makes a Relay. Error: ErrConfig.
func NewRelay(c RelayConfig) (*Relay, error) {
	if err := checkFormat(c.Format); err != nil {
		return nil, err
	}
	if c.Link == nil || c.Peers == nil || c.Journal == nil || c.Deliver == nil || c.Reply == nil {
		return nil, fmt.Errorf("%w: Link, Peers, Journal, Deliver and Reply are needed", ErrConfig)
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	c.Limits = c.Limits.withDefaults()
	r := &Relay{cfg: c, in: make(chan incoming), keys: make(chan newKey), ended: make(chan struct{}), tags: map[onion.Epoch]*onion.Tags{}}
	keys := slices.Clone(c.Keys)
	slices.SortFunc(keys, func(a, b EpochKey) int { return cmp.Compare(a.Epoch, b.Epoch) })
	for _, k := range keys {
		if err := r.put(k); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrConfig, err)
		}
	}
	return r, nil
}

// checkFormat says whether packets can have this format.
func checkFormat(f onion.Format) error {
	if _, err := f.Split(onion.MessageID{}, nil, false); err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return nil
}

// Receive takes a packet from a peer, and waits until Run has taken it. It owns the packet.
func (r *Relay) Receive(ctx context.Context, from overlay.PeerID, packet []byte) {
	select {
	case r.in <- incoming{from, packet}:
	case <-r.ended:
	case <-ctx.Done():
	}
}

// SetKey adds the key of an epoch, and drops those that are too old, with their replay tags: called
// with the key of e+1 when e begins, it leaves e-1, e and e+1. Errors: those of onion.Keyring.Put,
// ErrNotRunning, ctx's.
func (r *Relay) SetKey(ctx context.Context, k EpochKey) error {
	n := newKey{k, make(chan error, 1)}
	select {
	case r.keys <- n:
		return <-n.err
	case <-r.ended:
		return ErrNotRunning
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// put takes a key in, and drops the tags of those that have left the ring.
func (r *Relay) put(k EpochKey) error {
	if err := r.ring.Put(k.Epoch, k.Key); err != nil {
		return err
	}
	old := r.tags
	r.tags = map[onion.Epoch]*onion.Tags{}
	for _, e := range r.ring.Epochs() {
		if r.tags[e] = old[e]; old[e] == nil {
			r.tags[e] = onion.NewTags(r.cfg.Limits.Tags)
		}
	}
	return nil
}

// oldest is the first epoch whose tags are still needed; false if there is no key.
func (r *Relay) oldest() (onion.Epoch, bool) {
	e := r.ring.Epochs()
	if len(e) == 0 {
		return 0, false
	}
	return e[0], true
}

// Run reads the journal and relays until ctx ends, which is no error. Packets that are here then are
// lost; their senders send others. It is called once. Error: the journal's, when it cannot be read,
// since a packet that was seen before could not be told then.
func (r *Relay) Run(ctx context.Context) error {
	defer close(r.ended)
	r.buckets = newBuckets(r.cfg.Limits, time.Now())
	if err := r.load(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("reading replay tags: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	jobs, results := make(chan job, 1), make(chan result, 1)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		r.journal(ctx, jobs, results)
	}()
	defer func() {
		cancel()
		<-stopped
	}()
	r.loop(ctx, jobs, results)
	return nil
}

func (r *Relay) load(ctx context.Context) error {
	return r.cfg.Journal.Load(ctx, func(e onion.Epoch, tag onion.Tag) error {
		if tags := r.tags[e]; tags != nil {
			if err := tags.Add(tag); err != nil && !errors.Is(err, onion.ErrReplayed) {
				return err
			}
		}
		return nil
	})
}

// A job for the journal: tags to be written, or epochs to be forgotten.
type job struct {
	marks []Mark
	drop  bool
	below onion.Epoch
}

type result struct {
	job job
	err error
}

// journal does one job after the other, beside the loop, which goes on unwrapping meanwhile: what comes
// during one write shares the next.
func (r *Relay) journal(ctx context.Context, jobs <-chan job, results chan<- result) {
	for {
		select {
		case <-ctx.Done():
			return
		case j := <-jobs:
			res := result{job: j}
			if j.drop {
				res.err = r.cfg.Journal.Drop(ctx, j.below)
			} else {
				res.err = r.cfg.Journal.Append(ctx, j.marks)
			}
			select {
			case results <- res:
			case <-ctx.Done():
				return
			}
		}
	}
}

func (r *Relay) loop(ctx context.Context, jobs chan<- job, results <-chan result) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	busy, drop := false, true // the start drops what a run before left
	var write time.Time       // when the next write may begin
	for {
		due, wait := r.delayed.next()
		if !busy {
			if below, ok := r.oldest(); drop && ok {
				jobs <- job{drop: true, below: below}
				busy, drop = true, false
			} else if now := time.Now(); len(r.fresh) > 0 && !now.Before(write) {
				jobs <- job{marks: r.marks()}
				busy, write = true, now.Add(shared)
			} else if len(r.fresh) > 0 && (!wait || write.Before(due)) {
				due, wait = write, true
			}
		}
		if wait {
			timer.Reset(time.Until(due))
		} else {
			timer.Stop()
		}
		select {
		case <-ctx.Done():
			return
		case p := <-r.in:
			r.packet(time.Now(), p)
		case res := <-results:
			busy = false
			if res.job.drop {
				if res.err != nil && ctx.Err() == nil {
					r.cfg.Log.Warn("old replay tags were not removed, and will be with the next key", "err", res.err)
				}
				continue
			}
			r.written(ctx, res.err)
		case n := <-r.keys:
			n.err <- r.put(n.EpochKey)
			drop = true
		case <-timer.C:
		}
		r.send(time.Now())
	}
}

// shared is how long after a write the next begins at the earliest, so that a relay with much to do does not
// write for every other packet: at 6,000 packets a second two dozen share one. A packet that comes after a
// while of nothing does not wait, and one that is to wait for longer anyway leaves no later.
const shared = 4 * time.Millisecond

// marks begins the writing of all tags that are to be written.
func (r *Relay) marks() []Mark {
	r.fresh, r.writing = r.writing[:0], r.fresh
	marks := make([]Mark, len(r.writing))
	for i, s := range r.writing {
		marks[i] = Mark{s.hop.Epoch, s.hop.Tag}
	}
	return marks
}

// packet looks at a packet that has come. The order is that of what it costs: a token, a look at what is
// held already, the decapsulation, the tag. Nothing is done for a packet before its tag is on disk.
func (r *Relay) packet(now time.Time, p incoming) {
	r.counts.received.Add(1)
	if !r.buckets.take(now, p.from) {
		r.counts.limited.Add(1)
		return
	}
	if r.held >= r.cfg.Limits.Held || r.octets+len(p.packet) > r.cfg.Limits.HeldOctets {
		r.counts.full.Add(1)
		return
	}
	hop, err := r.cfg.Format.Unwrap(&r.ring, p.packet)
	switch {
	case errors.Is(err, onion.ErrSize), errors.Is(err, onion.ErrFormat):
		r.counts.malformed.Add(1)
		return
	case errors.Is(err, onion.ErrUnknownKey):
		r.counts.unknownKey.Add(1)
		return
	}
	r.counts.decapsulated.Add(1)
	if err != nil {
		r.counts.forged.Add(1)
		return
	}
	switch err := r.tags[hop.Epoch].Add(hop.Tag); {
	case errors.Is(err, onion.ErrReplayed):
		r.counts.replayed.Add(1)
		return
	case err != nil:
		r.counts.full.Add(1)
		return
	}
	s := seen{hop, now}
	r.held++
	r.octets += s.octets()
	r.fresh = append(r.fresh, s)
}

// written goes on with the packets whose tags were written. If they were not, or nobody knows, the
// packets are dropped: after a crash they could come again. In memory the tags stay.
func (r *Relay) written(ctx context.Context, err error) {
	if err != nil && ctx.Err() == nil {
		r.counts.notStored.Add(uint64(len(r.writing)))
		r.cfg.Log.Error("replay tags were not written, and their packets are dropped", "packets", len(r.writing), "err", err)
	}
	for i := range r.writing {
		s := r.writing[i]
		r.writing[i] = seen{} // or the array would keep the packet
		if err == nil && s.hop.Kind == onion.Forward {
			r.delayed.add(waiting{due: s.at.Add(s.hop.Delay), next: s.hop.Next, packet: s.hop.Packet})
			continue
		}
		r.held--
		r.octets -= s.octets()
		if err == nil {
			r.arrived(s.hop)
		}
	}
	r.writing = r.writing[:0]
}

// arrived hands over what has come to the end of its path.
func (r *Relay) arrived(hop onion.Hop) {
	hand, count := r.cfg.Deliver, &r.counts.delivered
	if hop.Kind == onion.Reply {
		hand, count = r.cfg.Reply, &r.counts.replies
	}
	if !hand(hop.Mailbox, hop.Body) {
		count = &r.counts.notTaken
	}
	count.Add(1)
}

// send sends on what is due.
func (r *Relay) send(now time.Time) {
	for {
		w, ok := r.delayed.pop(now)
		if !ok {
			return
		}
		r.held--
		r.octets -= len(w.packet)
		if forward(r.cfg.Peers, r.cfg.Link, w.next, w.packet) != nil {
			r.counts.unsent.Add(1)
			continue
		}
		r.counts.forwarded.Add(1)
	}
}

// errNoPeer says that a node of a path is not known as a peer.
var errNoPeer = errors.New("mix: this node is not known")

func forward(peers Peers, link Link, next onion.NodeID, packet []byte) error {
	to, ok := peers.Peer(next)
	if !ok {
		return errNoPeer
	}
	return link.Send(to, packet)
}
