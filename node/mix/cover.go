package mix

import (
	"cmp"
	"crypto/rand"
	"fmt"
	"slices"
	"time"

	"github.com/mimid/mimid/protocol/onion"
	"github.com/mimid/mimid/protocol/onion/loops"
	"github.com/mimid/mimid/protocol/onion/relays"
	"github.com/mimid/mimid/protocol/onion/retry"
)

// Cover says how a Sender hides when it sends. The zero value does not hide it: each packet leaves at
// once, and there are no loops.
type Cover struct {
	// Every is the mean time between two packets. They leave at times that do not depend on what
	// there is to send (a Poisson process): a packet of a message if one waits, and a loop otherwise,
	// which is a packet to this node itself.
	Every time.Duration
	// Loops says how those that do not come back are judged.
	Loops loops.Config
}

// Health is what a Sender knows about its way through the network.
type Health struct {
	Loops   loops.Report
	Waiting int // packets of messages that wait for their time
	// Entry is the first hop that stays, zero if there is none: EntryErr says why.
	Entry    onion.NodeID
	EntryErr error
}

// Health says how things are.
func (s *Sender) Health() Health {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Health{Loops: s.loops.Report(time.Now()), Waiting: s.waiting, Entry: s.entryID, EntryErr: s.entryErr}
}

// Loop takes what has come for a mailbox if it is a loop of this Sender. Others are for the Exit.
func (s *Sender) Loop(to onion.Mailbox) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.loops.Returned(time.Now(), to)
}

// patienceInQueue is how many mean times a packet is given for each one before it in the queue, until
// it counts as lost. A wait that is longer wastes a try, and nothing else.
const patienceInQueue = 4

// enqueue lets a try leave at once, or when its time comes.
func (s *Sender) enqueue(t retry.Try) {
	if s.cfg.Cover.Every <= 0 {
		s.try(t)
		return
	}
	// An earlier try of the same part that has not left is not worth sending any more.
	s.queue = slices.DeleteFunc(s.queue, func(q retry.Try) bool { return q.Message == t.Message && q.Index == t.Index })
	s.queue = append(s.queue, t)
	s.machine.Sent(time.Now(), t, time.Duration(len(s.queue))*patienceInQueue*s.cfg.Cover.Every)
	s.countWaiting()
}

func (s *Sender) countWaiting() {
	s.mu.Lock()
	s.waiting = len(s.queue)
	s.mu.Unlock()
}

// tick sends what is due now: a packet of a message, or a loop.
func (s *Sender) tick() {
	defer s.countWaiting()
	for len(s.queue) > 0 {
		t := s.queue[0]
		s.queue = slices.Delete(s.queue, 0, 1)
		if s.sendings[t.Message] != nil { // it may have its verdict already
			s.try(t)
			return
		}
	}
	if err := s.loop(); err != nil {
		s.cfg.Log.Debug("a loop was not sent", "err", err)
	}
}

// loop sends a packet to this node itself.
func (s *Sender) loop() error {
	if s.relays == nil {
		return ErrNoRelays
	}
	path, err := s.pathOver(s.relays.Relay(s.cfg.Self), s.cfg.Self)
	if err != nil {
		return err
	}
	var to onion.Mailbox
	rand.Read(to[:])
	packet, err := s.cfg.Format.Build(s.active.Epoch, path, to, nil)
	if err != nil {
		return err
	}
	var delays time.Duration
	var over []onion.NodeID
	for _, hop := range path[:len(path)-1] {
		delays += hop.Delay
		over = append(over, hop.Node)
	}
	// Counted before it leaves: it may be back before Send returns.
	s.mu.Lock()
	counted := s.loops.Sent(time.Now(), to, over, delays)
	s.mu.Unlock()
	if !counted {
		return fmt.Errorf("%w: too many loops are on their way", ErrConfig)
	}
	// That the link refuses it is a loss like any other: whoever stops our packets would see to that.
	return forward(s.cfg.Peers, s.cfg.Link, path[0].Node, packet)
}

// pathOver is path with the entry in front, if there is one and it is not the end itself: that one
// would see who sends to it. Error, too: relays.ErrEntryGone, and then nothing is sent.
func (s *Sender) pathOver(to *relays.Relay, from onion.NodeID) ([]onion.Relay, error) {
	if s.entryErr != nil {
		return nil, s.entryErr
	}
	entry := s.entry
	if entry != nil && entry.Node() == to.Node() {
		entry = nil
	}
	return s.path(entry, to, from)
}

// choose finds the first hop for a new snapshot.
func (s *Sender) choose(c *relays.Cosigned, a *relays.Active) {
	var entry *relays.Relay
	var err error
	if c != nil && s.cfg.Entry != nil {
		entry, err = s.cfg.Entry(c, c.Entries(a, s.cfg.Self))
	}
	s.entry = entry
	s.mu.Lock()
	defer s.mu.Unlock()
	s.entryErr, s.entryID = err, onion.NodeID{}
	if entry != nil {
		s.entryID = entry.Node()
	}
}

// next is when the next packet is due after one.
func (s *Sender) next() time.Duration {
	d, err := relays.Exponential(rand.Reader, s.cfg.Cover.Every)
	if err != nil { // crypto/rand's reader does not fail
		d = s.cfg.Cover.Every
	}
	return cmp.Or(d, time.Millisecond)
}
