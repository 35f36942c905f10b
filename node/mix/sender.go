package mix

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/mimid/mimid/protocol/onion"
	"github.com/mimid/mimid/protocol/onion/loops"
	"github.com/mimid/mimid/protocol/onion/relays"
	"github.com/mimid/mimid/protocol/onion/retry"
)

// SenderConfig says what a Sender works on.
type SenderConfig struct {
	Format onion.Format
	// Self is this node, where the paths of acknowledgements end. It has to be in the snapshots.
	Self  onion.NodeID
	Link  Link
	Peers Peers
	Retry retry.Config
	Cover Cover
	// Entry chooses the first hop that stays, when a snapshot is taken: among are those that may be
	// chosen from, which are none in small networks; nil, nil is none. nil never has one.
	Entry func(c *relays.Cosigned, among []*relays.Relay) (*relays.Relay, error)
	Queue int          // acknowledgements and answers that may wait. Default 1,024
	Log   *slog.Logger // nil discards
}

// A Sender sends messages over relays, and knows of each what became of it. Its methods may be
// called from any goroutine; everything that changes belongs to Run.
type Sender struct {
	cfg       SenderConfig
	begin     chan *sending
	snapshots chan snapshot
	replies   chan delivery
	blocks    chan blocksCall
	ended     chan struct{}

	mu       sync.Mutex
	loops    *loops.Monitor // guarded by mu
	waiting  int            // guarded by mu
	entryID  onion.NodeID   // guarded by mu
	entryErr error          // written by Run, guarded by mu for others

	// Of Run.
	entry    *relays.Relay
	queue    []retry.Try // packets of messages that wait for their time
	machine  *retry.Machine
	relays   *relays.Cosigned
	active   *relays.Active
	sendings map[onion.MessageID]*sending
	expected map[onion.Mailbox]expected
	wanted   map[onion.Mailbox]wantedAnswer
}

type snapshot struct {
	relays *relays.Cosigned
	active *relays.Active
}

// A sending is a message under way.
type sending struct {
	id     onion.MessageID
	exit   onion.NodeID
	to     onion.Mailbox
	parts  []onion.Fragment
	boxes  []onion.Mailbox // of its reply blocks
	result chan error      // with room for one
}

// An expected acknowledgement is one that the keys of its reply block read.
type expected struct {
	try  retry.Try
	keys onion.ReplyKeys
}

// NewSender makes a Sender. Error: ErrConfig.
func NewSender(c SenderConfig) (*Sender, error) {
	if err := checkFormat(c.Format); err != nil {
		return nil, err
	}
	if c.Link == nil || c.Peers == nil || c.Self == (onion.NodeID{}) {
		return nil, fmt.Errorf("%w: Link, Peers and Self are needed", ErrConfig)
	}
	if c.Queue <= 0 {
		c.Queue = 1024
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Sender{
		cfg: c, begin: make(chan *sending), snapshots: make(chan snapshot), replies: make(chan delivery, c.Queue), blocks: make(chan blocksCall), ended: make(chan struct{}),
		machine: retry.New(c.Retry), loops: loops.New(c.Cover.Loops), sendings: map[onion.MessageID]*sending{}, expected: map[onion.Mailbox]expected{}, wanted: map[onion.Mailbox]wantedAnswer{},
	}, nil
}

// Use takes the snapshot of an epoch, from which paths are drawn from now on; nil: there is none any
// more. Errors: ErrConfig for one of another format or without this node, those of relays.Active,
// ErrNotRunning, ctx's.
func (s *Sender) Use(ctx context.Context, c *relays.Cosigned) error {
	if c == nil {
		return s.use(ctx, snapshot{})
	}
	if f := c.Snapshot().Format; f != s.cfg.Format {
		return fmt.Errorf("%w: a snapshot of format %v, not %v", ErrConfig, f, s.cfg.Format)
	}
	if c.Relay(s.cfg.Self) == nil {
		return fmt.Errorf("%w: this node is not in the snapshot, so that nothing can be answered to it", ErrConfig)
	}
	active, err := c.Active()
	if err != nil {
		return err
	}
	return s.use(ctx, snapshot{c, active})
}

func (s *Sender) use(ctx context.Context, n snapshot) error {
	select {
	case s.snapshots <- n:
		return nil
	case <-s.ended:
		return ErrNotRunning
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Send sends a message to a mailbox at a node, and waits for what becomes of it. Nil is returned only
// if the far end has said that it has the message on its disk. The id is random, and the same if the
// caller sends a message again. When ctx ends first, the message stays under way, and the error is
// ErrUnconfirmed with ctx's cause.
//
// Errors: ErrRefused and ErrUnconfirmed; ErrNoRelays, ErrNoExit, onion.ErrSize, retry.ErrBusy and
// retry.ErrBegun, with which nothing was sent; ErrNotRunning, which is ErrUnconfirmed, too, if the
// message was under way.
func (s *Sender) Send(ctx context.Context, exit onion.NodeID, to onion.Mailbox, id onion.MessageID, message []byte) error {
	parts, err := s.cfg.Format.Split(id, message, true)
	if err != nil {
		return err
	}
	g := &sending{id: id, exit: exit, to: to, parts: parts, result: make(chan error, 1)}
	select {
	case s.begin <- g:
	case <-s.ended:
		return ErrNotRunning
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case err := <-g.result:
		return err
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrUnconfirmed, context.Cause(ctx))
	case <-s.ended:
	}
	select {
	case err := <-g.result: // it came with the end
		return err
	default:
		return fmt.Errorf("%w: %w", ErrUnconfirmed, ErrNotRunning)
	}
}

// Reply is RelayConfig.Reply.
func (s *Sender) Reply(to onion.Mailbox, body []byte) bool {
	select {
	case s.replies <- delivery{to, body}:
		return true
	default:
		return false
	}
}

// Run sends until ctx ends, which is no error. It is called once.
func (s *Sender) Run(ctx context.Context) error {
	defer close(s.ended)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	due := time.NewTimer(time.Hour) // of the next packet, if they do not leave at once
	defer due.Stop()
	if due.Stop(); s.cfg.Cover.Every > 0 {
		due.Reset(s.next())
	}
	for {
		if next := s.machine.Next(); next.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(time.Until(next))
		}
		select {
		case <-ctx.Done():
			return nil
		case n := <-s.snapshots:
			s.relays, s.active = n.relays, n.active
			s.choose(n.relays, n.active)
		case g := <-s.begin:
			if err := s.start(g); err != nil {
				g.result <- err
			}
		case d := <-s.replies:
			if !s.answered(d) {
				s.reply(d)
			}
		case c := <-s.blocks:
			s.answerBlocks(c)
		case <-due.C:
			s.tick()
			due.Reset(s.next())
		case <-timer.C:
			s.do(s.machine.Expire(time.Now()))
		}
	}
}

func (s *Sender) start(g *sending) error {
	if s.relays == nil {
		return ErrNoRelays
	}
	if s.relays.Relay(g.exit) == nil {
		return ErrNoExit
	}
	effects, err := s.machine.Begin(time.Now(), g.id, len(g.parts))
	if err != nil {
		return err
	}
	s.sendings[g.id] = g
	s.do(effects)
	return nil
}

func (s *Sender) do(effects []retry.Effect) {
	for _, e := range effects {
		if e.Send != nil {
			s.enqueue(*e.Send)
			continue
		}
		g := s.sendings[e.Message]
		delete(s.sendings, e.Message)
		for _, b := range g.boxes {
			delete(s.expected, b)
		}
		switch e.Verdict {
		case retry.Delivered:
			g.result <- nil
		case retry.Refused:
			g.result <- ErrRefused
		default:
			g.result <- ErrUnconfirmed
		}
	}
}

// try sends one packet on a new path, with a reply block of a new path.
func (s *Sender) try(t retry.Try) {
	g := s.sendings[t.Message]
	delays, err := s.packet(g, t)
	if err != nil {
		s.cfg.Log.Debug("a packet was not sent", "try", t.Number, "err", err)
		s.machine.Failed(time.Now(), t)
		return
	}
	s.machine.Sent(time.Now(), t, delays)
}

// packet builds and sends a packet, and says for how long it and its answer were told to wait.
func (s *Sender) packet(g *sending, t retry.Try) (time.Duration, error) {
	if s.relays == nil {
		return 0, ErrNoRelays // not any more
	}
	exit, self := s.relays.Relay(g.exit), s.relays.Relay(s.cfg.Self)
	if exit == nil {
		return 0, ErrNoExit // of a later epoch than the message's first
	}
	there, err := s.pathOver(exit, s.cfg.Self)
	if err != nil {
		return 0, err
	}
	back, err := s.path(nil, self, g.exit)
	if err != nil {
		return 0, err
	}
	var box onion.Mailbox
	rand.Read(box[:])
	epoch := s.active.Epoch
	surb, keys, err := s.cfg.Format.NewSURB(epoch, back, box)
	if err != nil {
		return 0, err
	}
	part := g.parts[t.Index]
	part.Reply = &surb
	payload, err := s.cfg.Format.AppendFragment(nil, part)
	if err != nil {
		return 0, err
	}
	packet, err := s.cfg.Format.Build(epoch, there, g.to, payload)
	if err != nil {
		return 0, err
	}
	if err := forward(s.cfg.Peers, s.cfg.Link, there[0].Node, packet); err != nil {
		return 0, err
	}
	s.expected[box] = expected{t, keys}
	g.boxes = append(g.boxes, box)
	var delays time.Duration
	for _, hop := range append(there, back...) {
		delays += hop.Delay
	}
	return delays, nil
}

// maxDraws is how often a path is drawn, until the node that begins it is not on it.
const maxDraws = 16

// path draws a way to a node from another one, which is not on it but at its end, if it sends to itself:
// its first hop would be no hop, and a later one would see what it has sent come back.
func (s *Sender) path(entry, to *relays.Relay, from onion.NodeID) ([]onion.Relay, error) {
	for range maxDraws {
		path, err := s.active.Path(rand.Reader, entry, to)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(path[:len(path)-1], func(r onion.Relay) bool { return r.Node == from }) {
			return path, nil
		}
	}
	return nil, relays.ErrNoPath
}

// reply reads an acknowledgement. What the keys of its reply block do not read is not from who got the
// message, and changes nothing.
func (s *Sender) reply(d delivery) {
	e, ok := s.expected[d.to]
	if !ok {
		return // of a message that has its verdict, or of none
	}
	payload, err := e.keys.Open(s.cfg.Format, d.payload)
	var ack onion.Ack
	if err == nil {
		ack, err = onion.ParseAck(payload)
	}
	var effects []retry.Effect
	if err == nil {
		effects, err = s.machine.Acknowledged(time.Now(), e.try, ack)
	}
	if err != nil {
		s.cfg.Log.Debug("an acknowledgement says nothing", "err", errors.Unwrap(err))
		return
	}
	s.do(effects)
}
