package mix

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/mimid/mimid/protocol/onion"
	"github.com/mimid/mimid/protocol/onion/relays"
)

// A Message is one that has come whole.
type Message struct {
	To   onion.Mailbox
	ID   onion.MessageID
	Data []byte
}

// An Inbox keeps messages on disk. The Exit calls one method at a time.
type Inbox interface {
	// Recent calls each for all messages that were put in within some time: Limits.Remember of
	// the Exit, or longer.
	Recent(ctx context.Context, each func(to onion.Mailbox, id onion.MessageID) error) error
	// Put keeps messages and says which it does not take for their mailboxes' sake. When it
	// returns no error, the others are on disk; after an error they may be. A message that it has
	// already, by mailbox and id, is kept once: that is what makes a message come once, also if
	// its first acknowledgement was lost in a crash.
	Put(ctx context.Context, batch []Message) (refused []bool, err error)
}

// ExitConfig says what an Exit works on.
type ExitConfig struct {
	Format onion.Format
	Link   Link
	Peers  Peers
	Inbox  Inbox
	Limits onion.Limits // of what is held of messages that lack parts
	// Delay is for how long an acknowledgement or answer is kept on average before it leaves, as a relay
	// keeps a packet; zero: it leaves at once, and tells who watches this node that what came was for it.
	Delay time.Duration
	Queue int          // payloads that may wait, and answers. Default 1,024
	Log   *slog.Logger // nil discards
}

// putAtOnce bounds how many messages are put into the Inbox together.
const putAtOnce = 64

// An Exit puts the messages together whose packets end here, keeps them, and acknowledges what it
// has kept. Deliver and Answer may be called from any goroutine; the rest belongs to Run.
type Exit struct {
	cfg     ExitConfig
	in      chan delivery
	answers chan waiting
	asm     *onion.Reassembler
	whom    []answer
	put     []Message
	delayed delayed // acknowledgements and answers that wait for their time
}

type delivery struct {
	to      onion.Mailbox
	payload []byte
}

// An answer is owed for a message in the batch that is being kept.
type answer struct {
	surb  *onion.SURB
	index uint8
}

// NewExit makes an Exit. Error: ErrConfig.
func NewExit(c ExitConfig) (*Exit, error) {
	if err := checkFormat(c.Format); err != nil {
		return nil, err
	}
	if c.Link == nil || c.Peers == nil || c.Inbox == nil {
		return nil, fmt.Errorf("%w: Link, Peers and Inbox are needed", ErrConfig)
	}
	if c.Queue <= 0 {
		c.Queue = 1024
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Exit{cfg: c, in: make(chan delivery, c.Queue), answers: make(chan waiting, c.Queue), asm: onion.NewReassembler(c.Limits)}, nil
}

// Deliver is RelayConfig.Deliver.
func (x *Exit) Deliver(to onion.Mailbox, payload []byte) bool {
	select {
	case x.in <- delivery{to, payload}:
		return true
	default:
		return false
	}
}

// Run keeps and acknowledges until ctx ends, which is no error. It is called once. Error: the Inbox's,
// when it does not say what it has.
func (x *Exit) Run(ctx context.Context) error {
	err := x.cfg.Inbox.Recent(ctx, func(to onion.Mailbox, id onion.MessageID) error {
		x.asm.Stored(time.Now(), to, id)
		return nil
	})
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("reading which messages came: %w", err)
	}
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		if due, ok := x.delayed.next(); ok {
			timer.Reset(time.Until(due))
		} else {
			timer.Stop()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
			x.send(time.Now())
		case w := <-x.answers:
			x.later(w.next, w.packet)
		case d := <-x.in:
			x.take(d)
			for more := true; more && len(x.put) < putAtOnce; { // what waits already shares the fsync
				select {
				case d := <-x.in:
					x.take(d)
				default:
					more = false
				}
			}
			x.keep(ctx)
		}
	}
}

// take looks at one payload. What is no part of a message is dropped without a word, since there is
// nobody to say it to.
func (x *Exit) take(d delivery) {
	p, err := x.cfg.Format.ParseFragment(d.payload)
	if err != nil {
		return
	}
	message, status, err := x.asm.Add(time.Now(), d.to, p)
	switch {
	case err != nil:
		return // it does not fit, or there is no room: its sender tries again
	case message != nil:
		x.put = append(x.put, Message{d.to, p.Message, message})
		x.whom = append(x.whom, answer{p.Reply, p.Index})
	default:
		x.acknowledge(p.Reply, onion.Ack{Message: p.Message, Index: p.Index, Status: status})
	}
}

// keep has the batch on disk, and only then says so. What could not be kept is forgotten: when its
// parts come again, it is tried again, and the Inbox knows if it had kept it after all.
func (x *Exit) keep(ctx context.Context) {
	if len(x.put) == 0 {
		return
	}
	batch, whom := x.put, x.whom
	x.put, x.whom = nil, nil
	refused, err := x.cfg.Inbox.Put(ctx, batch)
	if err == nil && len(refused) != len(batch) {
		err = errors.New("the inbox has not said which messages it refuses")
	}
	if err != nil && ctx.Err() == nil {
		x.cfg.Log.Error("messages were not kept, and not acknowledged", "messages", len(batch), "err", err)
	}
	for i, m := range batch {
		ack := onion.Ack{Message: m.ID, Index: whom[i].index, Status: onion.Complete}
		switch {
		case err != nil:
			x.asm.Forget(m.To, m.ID)
			continue
		case refused[i]:
			x.asm.Forget(m.To, m.ID)
			ack.Status = onion.Refused
		default:
			x.asm.Stored(time.Now(), m.To, m.ID)
		}
		x.acknowledge(whom[i].surb, ack)
	}
}

// acknowledge answers by a reply block, if there is one. That an answer was lost its sender notices.
func (x *Exit) acknowledge(surb *onion.SURB, a onion.Ack) {
	if surb == nil {
		return
	}
	first, packet, err := surb.Reply(a.Bytes())
	if err != nil {
		x.cfg.Log.Debug("an acknowledgement was not made", "err", err)
		return
	}
	x.later(first, packet)
}

// Answer sends a payload by a reply block that a message has brought. That it was lost only who made the
// block can notice. Errors: ErrBusy, and onion's for a payload that is too long.
func (x *Exit) Answer(surb onion.SURB, payload []byte) error {
	first, packet, err := surb.Reply(payload)
	if err != nil {
		return err
	}
	select {
	case x.answers <- waiting{next: first, packet: packet}:
		return nil
	default:
		return fmt.Errorf("%w: %d wait to leave", ErrBusy, cap(x.answers))
	}
}

// later sends a packet at its time.
func (x *Exit) later(next onion.NodeID, packet []byte) {
	now := time.Now()
	var d time.Duration
	if x.cfg.Delay > 0 {
		var err error
		if d, err = relays.Exponential(rand.Reader, x.cfg.Delay); err != nil { // crypto/rand's reader does not fail
			d = x.cfg.Delay
		}
	}
	if len(x.delayed.heap) >= x.cfg.Queue {
		x.cfg.Log.Debug("an answer is dropped: too many wait to leave")
		return
	}
	x.delayed.add(waiting{due: now.Add(d), next: next, packet: packet})
	x.send(now)
}

// send sends what is due.
func (x *Exit) send(now time.Time) {
	for {
		w, ok := x.delayed.pop(now)
		if !ok {
			return
		}
		if err := forward(x.cfg.Peers, x.cfg.Link, w.next, w.packet); err != nil {
			x.cfg.Log.Debug("an answer was not sent", "err", err)
		}
	}
}
