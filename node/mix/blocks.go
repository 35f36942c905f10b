package mix

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/mimid/mimid/protocol/onion"
)

// maxBlocks bounds the reply blocks that wait for what is answered by them, of all callers together.
const maxBlocks = 4096

// ErrBusy says that as many reply blocks wait for answers as may. Nothing was made.
var ErrBusy = errors.New("mix: too many answers are waited for")

// Blocks are reply blocks by which a node that does not know this one can answer it. Who made them closes
// them.
type Blocks struct {
	Blocks []onion.SURB
	// Delay is for how long relays keep the slowest of the packets that come back by them.
	Delay time.Duration
	// Answers gets what comes back by each, in any order and each once: what only the far end can have
	// written. It has room for all.
	Answers <-chan []byte

	sender *Sender
	boxes  []onion.Mailbox
}

// A wantedAnswer is one that the keys of its reply block read.
type wantedAnswer struct {
	keys onion.ReplyKeys
	to   chan<- []byte
}

// blocksCall asks Run for reply blocks, or, with close, to forget some.
type blocksCall struct {
	far    onion.NodeID
	n      int
	close  *Blocks
	result chan blocksResult
}

type blocksResult struct {
	blocks *Blocks
	err    error
}

// Blocks makes reply blocks of paths from a node to this one, of the present snapshot. Errors: ErrNoRelays,
// relays.ErrNoPath, ErrBusy, ErrConfig for none or too many, ErrNotRunning, ctx's.
func (s *Sender) Blocks(ctx context.Context, far onion.NodeID, n int) (*Blocks, error) {
	if n < 1 || n > onion.MaxParts {
		return nil, fmt.Errorf("%w: %d reply blocks, where 1 to %d are possible", ErrConfig, n, onion.MaxParts)
	}
	c := blocksCall{far: far, n: n, result: make(chan blocksResult, 1)}
	select {
	case s.blocks <- c:
		r := <-c.result
		return r.blocks, r.err
	case <-s.ended:
		return nil, ErrNotRunning
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Close forgets the blocks: what comes back by them later is dropped.
func (b *Blocks) Close() {
	select {
	case b.sender.blocks <- blocksCall{close: b}:
	case <-b.sender.ended:
	}
}

// answerBlocks does one call.
func (s *Sender) answerBlocks(c blocksCall) {
	if c.close != nil {
		for _, box := range c.close.boxes {
			delete(s.wanted, box)
		}
		return
	}
	b, err := s.makeBlocks(c.far, c.n)
	c.result <- blocksResult{b, err}
}

func (s *Sender) makeBlocks(far onion.NodeID, n int) (*Blocks, error) {
	switch {
	case s.relays == nil:
		return nil, ErrNoRelays
	case len(s.wanted)+n > maxBlocks:
		return nil, fmt.Errorf("%w: %d", ErrBusy, len(s.wanted))
	}
	self := s.relays.Relay(s.cfg.Self)
	answers := make(chan []byte, n)
	b := &Blocks{Answers: answers, sender: s}
	keys := make([]onion.ReplyKeys, n)
	for i := range n {
		path, err := s.path(nil, self, far)
		if err != nil {
			return nil, err
		}
		var box onion.Mailbox
		rand.Read(box[:])
		surb, k, err := s.cfg.Format.NewSURB(s.active.Epoch, path, box)
		if err != nil {
			return nil, err
		}
		var delay time.Duration
		for _, hop := range path {
			delay += hop.Delay
		}
		b.Delay = max(b.Delay, delay)
		b.Blocks, b.boxes, keys[i] = append(b.Blocks, surb), append(b.boxes, box), k
	}
	for i, box := range b.boxes { // all or none
		s.wanted[box] = wantedAnswer{keys[i], answers}
	}
	return b, nil
}

// answered hands over what has come back by a reply block of Blocks; false: it is none of these.
func (s *Sender) answered(d delivery) bool {
	w, ok := s.wanted[d.to]
	if !ok {
		return false
	}
	payload, err := w.keys.Open(s.cfg.Format, d.payload)
	if err != nil { // not from whom the block was given to
		s.cfg.Log.Debug("an answer says nothing", "err", errors.Unwrap(err))
		return true
	}
	delete(s.wanted, d.to)
	w.to <- payload
	return true
}
