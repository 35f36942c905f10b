package onion

import (
	"bytes"
	"fmt"
	"time"
)

// Limits bound what a Reassembler holds. Zero fields are set to the defaults.
type Limits struct {
	// Messages is how many messages are held for one mailbox: those that lack parts, and those
	// that were complete within Remember. Default 1,024.
	Messages int
	// Octets is how much data is held for one mailbox in messages that lack parts. Default 4 MiB.
	Octets int
	// Total is the same for all mailboxes together. Default 64 MiB.
	Total int
	// Keep is how long a message may lack parts, from the first that came. Default 10 minutes.
	Keep time.Duration
	// Remember is for how long after a message is complete its repetition is known to be one: as
	// long as a sender tries, at least. Default 2 hours.
	Remember time.Duration
}

func (l Limits) withDefaults() Limits {
	if l.Messages == 0 {
		l.Messages = 1024
	}
	if l.Octets == 0 {
		l.Octets = 4 << 20
	}
	if l.Total == 0 {
		l.Total = 64 << 20
	}
	if l.Keep == 0 {
		l.Keep = 10 * time.Minute
	}
	if l.Remember == 0 {
		l.Remember = 2 * time.Hour
	}
	return l
}

// A Reassembler puts messages together again, and knows repetitions. Who sends cannot be known, so
// that what is counted is what is held for each mailbox: who floods one does not harm another.
// It forgets with the process: who says Complete has the message on disk, and its MessageID, which
// it gives to Stored again after a restart. It is owned by the caller's goroutine.
type Reassembler struct {
	limits Limits
	boxes  map[Mailbox]*box
	octets int

	// Both are in the order of their deadlines, since each has one duration and time does not go
	// back: clock is the latest that was seen.
	partial, done []deadline
	clock         time.Time
}

type box struct {
	octets   int
	messages map[MessageID]*assembly
}

type assembly struct {
	parts  []Fragment // by index; Count is 0 where one is missing; nil when all were handed out
	stored bool       // said by the caller
	until  time.Time
	have   int
	octets int
}

type deadline struct {
	at      time.Time
	mailbox Mailbox
	message MessageID
}

// NewReassembler makes an empty one.
func NewReassembler(l Limits) *Reassembler {
	return &Reassembler{limits: l.withDefaults(), boxes: map[Mailbox]*box{}}
}

// Add takes a part that came for a mailbox. Once, when the last part has come, it returns the
// message, which is not nil even if it is empty: the caller stores it, calls Stored, and only then
// acknowledges it as Complete; or calls Forget if it could not. Otherwise status is what to
// acknowledge, also for a repetition, whose acknowledgement may have been lost. It is 0 with an
// error and with the message. The part's data is copied.
func (r *Reassembler) Add(now time.Time, to Mailbox, p Fragment) (message []byte, status Status, err error) {
	r.Expire(now)
	if err := p.check(); err != nil {
		return nil, 0, err
	}
	b := r.boxes[to]
	var a *assembly
	if b != nil {
		a = b.messages[p.Message]
	}
	if a != nil {
		switch {
		case a.stored:
			return nil, Complete, nil
		case a.parts == nil:
			return nil, Held, nil // the caller is about to store it
		case len(a.parts) != int(p.Count):
			return nil, 0, fmt.Errorf("%w: of %d parts, where another said %d", ErrFragment, p.Count, len(a.parts))
		case a.parts[p.Index].Count != 0:
			if !a.parts[p.Index].equal(p) {
				return nil, 0, fmt.Errorf("%w: part %d came before, and was another", ErrFragment, p.Index)
			}
			return nil, Held, nil
		}
	}
	if err := r.admit(b, a, p); err != nil {
		return nil, 0, err
	}
	if b == nil {
		b = &box{messages: map[MessageID]*assembly{}}
		r.boxes[to] = b
	}
	if a == nil {
		a = &assembly{parts: make([]Fragment, p.Count), until: r.clock.Add(r.limits.Keep)}
		b.messages[p.Message] = a
		r.partial = append(r.partial, deadline{a.until, to, p.Message})
	}
	p.Data, p.Reply = bytes.Clone(p.Data), nil
	a.parts[p.Index] = p
	a.have++
	r.account(b, a, len(p.Data))
	if a.have < len(a.parts) {
		return nil, Held, nil
	}
	message = make([]byte, 0, a.octets)
	for _, part := range a.parts {
		message = append(message, part.Data...)
	}
	r.account(b, a, -a.octets)
	a.parts = nil
	return message, 0, nil
}

// Stored says that a message is on disk, so that repetitions are acknowledged as Complete from now
// on. After a restart it is called for each message that was stored within Limits.Remember.
func (r *Reassembler) Stored(now time.Time, to Mailbox, id MessageID) {
	r.Expire(now)
	b := r.boxes[to]
	if b == nil {
		b = &box{messages: map[MessageID]*assembly{}}
		r.boxes[to] = b
	}
	a := b.messages[id]
	if a == nil {
		a = &assembly{}
		b.messages[id] = a
	}
	if a.stored {
		return
	}
	r.account(b, a, -a.octets)
	a.parts, a.stored, a.until = nil, true, r.clock.Add(r.limits.Remember)
	r.done = append(r.done, deadline{a.until, to, id})
}

// Forget drops a message that could not be stored: when its parts come again, it is a new one.
func (r *Reassembler) Forget(to Mailbox, id MessageID) {
	if b := r.boxes[to]; b != nil {
		if a := b.messages[id]; a != nil && !a.stored {
			r.drop(to, id, b, a)
		}
	}
}

func (r *Reassembler) account(b *box, a *assembly, octets int) {
	a.octets += octets
	b.octets += octets
	r.octets += octets
}

// admit says whether there is room. Nothing is thrown away for a newcomer: who floods would
// otherwise throw out what others are about to complete.
func (r *Reassembler) admit(b *box, a *assembly, p Fragment) error {
	n := len(p.Data)
	switch {
	case a == nil && b != nil && len(b.messages) >= r.limits.Messages:
		return fmt.Errorf("%d messages of one mailbox: %w", len(b.messages), ErrFull)
	case b != nil && b.octets+n > r.limits.Octets, n > r.limits.Octets:
		return fmt.Errorf("above %d octets of one mailbox: %w", r.limits.Octets, ErrFull)
	case r.octets+n > r.limits.Total:
		return fmt.Errorf("above %d octets: %w", r.limits.Total, ErrFull)
	}
	return nil
}

// Expire forgets what is too old: messages that lack parts, which it returns in the order in which
// they began, and those that were complete. Add does it, too.
func (r *Reassembler) Expire(now time.Time) (lost []MessageID) {
	if now.After(r.clock) {
		r.clock = now
	}
	for len(r.partial) > 0 && !r.partial[0].at.After(r.clock) {
		if r.end(r.partial[0]) {
			lost = append(lost, r.partial[0].message)
		}
		r.partial = r.partial[1:]
	}
	for len(r.done) > 0 && !r.done[0].at.After(r.clock) {
		r.end(r.done[0])
		r.done = r.done[1:]
	}
	return lost
}

// end drops a message at its deadline. One that was stored since, or forgotten and begun anew, has
// another.
func (r *Reassembler) end(d deadline) bool {
	b := r.boxes[d.mailbox]
	if b == nil {
		return false
	}
	a := b.messages[d.message]
	if a == nil || !a.until.Equal(d.at) {
		return false
	}
	r.drop(d.mailbox, d.message, b, a)
	return true
}

func (r *Reassembler) drop(to Mailbox, id MessageID, b *box, a *assembly) {
	r.account(b, a, -a.octets)
	delete(b.messages, id)
	if len(b.messages) == 0 {
		delete(r.boxes, to)
	}
}

// Next is when there is something to expire; zero if nothing is held.
func (r *Reassembler) Next() time.Time {
	switch {
	case len(r.partial) == 0 && len(r.done) == 0:
		return time.Time{}
	case len(r.done) == 0 || len(r.partial) > 0 && r.partial[0].at.Before(r.done[0].at):
		return r.partial[0].at
	}
	return r.done[0].at
}

// Held is how many octets of incomplete messages there are.
func (r *Reassembler) Held() int { return r.octets }
