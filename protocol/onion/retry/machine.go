package retry

import (
	"container/heap"
	"errors"
	"fmt"
	"time"

	"github.com/mimid/mimid/protocol/onion"
)

var (
	// ErrBusy says that as many messages wait for their verdict as may. Nothing has begun.
	ErrBusy = errors.New("too many messages are under way")

	// ErrBegun says that a message with the same id is under way, or that it has no parts or too
	// many. Nothing has begun.
	ErrBegun = errors.New("this message cannot be begun")

	// ErrOther says that an acknowledgement came by the reply block of another part than it
	// speaks of, or says what no acknowledgement says: the far end is broken or hostile, and
	// nothing has changed.
	ErrOther = errors.New("an acknowledgement of another part")
)

// Config bounds what a Machine does. Zero fields are set to the defaults.
type Config struct {
	// Tries is how often a part is sent at most. Default 4.
	Tries int
	// Margin is what a first try has beside its own delays. It doubles with each one. Default 2 s.
	Margin time.Duration
	// Messages is how many may be under way at once. Default 1,024.
	Messages int
}

func (c Config) withDefaults() Config {
	if c.Tries <= 0 {
		c.Tries = 4
	}
	if c.Margin <= 0 {
		c.Margin = 2 * time.Second
	}
	if c.Messages <= 0 {
		c.Messages = 1024
	}
	return c
}

// A Try is one packet: the caller builds it on a new path, sends it, and calls Sent or Failed.
type Try struct {
	Message onion.MessageID
	Index   uint8 // of the part
	Number  int   // of the try, from 1
}

// A Verdict is what is known of a message in the end.
type Verdict uint8

const (
	Delivered Verdict = 1 // the far end says that it is on its disk
	Refused   Verdict = 2 // the far end says that it does not take it
	Unknown   Verdict = 3 // nobody has said either: it may have arrived or not
)

func (v Verdict) String() string {
	switch v {
	case Delivered:
		return "delivered"
	case Refused:
		return "refused"
	case Unknown:
		return "unknown"
	}
	return fmt.Sprintf("verdict %d", uint8(v))
}

// An Effect is what the caller has to do: send a packet, or tell whoever waits. One of both is set.
type Effect struct {
	Send    *Try
	Message onion.MessageID // of the verdict
	Verdict Verdict
}

// A Machine keeps the messages of one sender. It is owned by the caller's goroutine.
type Machine struct {
	cfg       Config
	messages  map[onion.MessageID]*message
	deadlines deadlines
	clock     time.Time // the latest that was seen
	count     uint64    // of deadlines, so that those of one time have an order
}

type message struct {
	parts []part
}

type part struct {
	state    state
	tries    int
	deadline uint64 // the number of the one that counts, 0: none
}

type state uint8

const (
	asked state = iota // a try was asked for, and perhaps sent
	held               // the far end holds it in memory
)

// New makes a Machine without messages.
func New(c Config) *Machine {
	return &Machine{cfg: c.withDefaults(), messages: map[onion.MessageID]*message{}}
}

// Len is how many messages have no verdict yet.
func (m *Machine) Len() int { return len(m.messages) }

// Begin takes a message of so many parts. Errors: ErrBusy, ErrBegun.
func (m *Machine) Begin(now time.Time, id onion.MessageID, parts int) ([]Effect, error) {
	m.tick(now)
	if _, ok := m.messages[id]; ok || parts < 1 || parts > onion.MaxParts {
		return nil, fmt.Errorf("%w: %d parts, under way: %t", ErrBegun, parts, ok)
	}
	if len(m.messages) >= m.cfg.Messages {
		return nil, fmt.Errorf("%w: %d", ErrBusy, len(m.messages))
	}
	g := &message{parts: make([]part, parts)}
	m.messages[id] = g
	var out []Effect
	for i := range g.parts {
		out = append(out, m.try(id, g, i))
	}
	return out, nil
}

// try asks for the next try of a part. Until Sent says for how long its packets were told to wait,
// it has the time that it has at least.
func (m *Machine) try(id onion.MessageID, g *message, i int) Effect {
	p := &g.parts[i]
	p.state = asked
	p.tries++
	m.arm(id, i, p, m.clock.Add(m.margin(p.tries)))
	return Effect{Send: &Try{Message: id, Index: uint8(i), Number: p.tries}}
}

func (m *Machine) margin(try int) time.Duration { return m.cfg.Margin << min(try-1, 10) }

// Sent says that the packet of a try has left, and how long it and the answer to it were told to wait
// on their way.
func (m *Machine) Sent(now time.Time, t Try, delays time.Duration) {
	m.tick(now)
	if p := m.current(t); p != nil {
		m.arm(t.Message, int(t.Index), p, m.clock.Add(max(0, delays)+m.margin(t.Number)))
	}
}

// Failed says that the packet of a try could not be built or sent. The try counts, and the next one
// follows when this one's time is over, so that what fails at once does not fail all tries at once.
func (m *Machine) Failed(now time.Time, t Try) { m.Sent(now, t, 0) }

// current is the part of a try, if it is its latest one and not acknowledged.
func (m *Machine) current(t Try) *part {
	g := m.messages[t.Message]
	if g == nil || int(t.Index) >= len(g.parts) {
		return nil
	}
	if p := &g.parts[t.Index]; p.tries == t.Number && p.state == asked {
		return p
	}
	return nil
}

// Acknowledged takes an acknowledgement that came by the reply block of a try, and was
// authentic. Error: ErrOther.
func (m *Machine) Acknowledged(now time.Time, t Try, a onion.Ack) ([]Effect, error) {
	m.tick(now)
	if a.Message != t.Message || a.Index != t.Index {
		return nil, fmt.Errorf("%w: part %d by that of part %d", ErrOther, a.Index, t.Index)
	}
	g := m.messages[t.Message]
	if g == nil {
		return nil, nil // its verdict was given
	}
	if int(t.Index) >= len(g.parts) || t.Number < 1 || t.Number > g.parts[t.Index].tries {
		return nil, fmt.Errorf("%w: part %d, try %d, which was none", ErrOther, t.Index, t.Number)
	}
	switch a.Status {
	case onion.Complete:
		return m.end(t.Message, Delivered), nil
	case onion.Refused:
		return m.end(t.Message, Refused), nil
	case onion.Held:
	default:
		return nil, fmt.Errorf("%w: status %d", ErrOther, a.Status)
	}
	p := &g.parts[t.Index]
	if p.state == held {
		return nil, nil
	}
	// Complete may be on its way with the acknowledgement of another part. If it does not come, this
	// deadline is what begins all of them again.
	p.state = held
	m.arm(t.Message, int(t.Index), p, m.clock.Add(m.margin(p.tries)))
	return nil, nil
}

// end gives a message's verdict and forgets it.
func (m *Machine) end(id onion.MessageID, v Verdict) []Effect {
	delete(m.messages, id)
	return []Effect{{Message: id, Verdict: v}}
}

// Expire looks at what was to be heard by now.
func (m *Machine) Expire(now time.Time) []Effect {
	m.tick(now)
	var out []Effect
	for len(m.deadlines) > 0 && !m.deadlines[0].at.After(m.clock) {
		d := heap.Pop(&m.deadlines).(deadline)
		if g := m.live(d); g != nil { // or else another one counts by now
			out = append(out, m.expired(d, g)...)
		}
	}
	return out
}

func (m *Machine) expired(d deadline, g *message) []Effect {
	p := &g.parts[d.part]
	p.deadline = 0
	if p.state == asked {
		if p.tries >= m.cfg.Tries {
			return m.end(d.message, Unknown)
		}
		return []Effect{m.try(d.message, g, d.part)}
	}
	for _, q := range g.parts {
		if q.state == asked || q.deadline != 0 {
			return nil // the last of those that are waited for decides
		}
	}
	// All are held, and nobody says Complete: what was held is gone.
	for _, q := range g.parts {
		if q.tries >= m.cfg.Tries {
			return m.end(d.message, Unknown)
		}
	}
	var out []Effect
	for i := range g.parts {
		out = append(out, m.try(d.message, g, i))
	}
	return out
}

// Next is when Expire has to be called; zero if no message is under way.
func (m *Machine) Next() time.Time {
	for len(m.deadlines) > 0 {
		d := m.deadlines[0]
		if m.live(d) != nil {
			return d.at
		}
		heap.Pop(&m.deadlines)
	}
	return time.Time{}
}

// live is the message of a deadline, if it is the one that counts. A message with the same id that
// was begun later may have fewer parts.
func (m *Machine) live(d deadline) *message {
	if g := m.messages[d.message]; g != nil && d.part < len(g.parts) && g.parts[d.part].deadline == d.number {
		return g
	}
	return nil
}

func (m *Machine) tick(now time.Time) {
	if now.After(m.clock) {
		m.clock = now
	}
}

func (m *Machine) arm(id onion.MessageID, i int, p *part, at time.Time) {
	m.count++
	p.deadline = m.count
	heap.Push(&m.deadlines, deadline{at: at, number: m.count, message: id, part: i})
}

// A deadline is one of a part. Those that do not count any more stay until their time has come:
// there are at most three of each try.
type deadline struct {
	at      time.Time
	number  uint64
	message onion.MessageID
	part    int
}

// deadlines implement heap.Interface.
type deadlines []deadline

func (d deadlines) Len() int { return len(d) }
func (d deadlines) Less(i, j int) bool {
	if !d[i].at.Equal(d[j].at) {
		return d[i].at.Before(d[j].at)
	}
	return d[i].number < d[j].number
}
func (d deadlines) Swap(i, j int) { d[i], d[j] = d[j], d[i] }
func (d *deadlines) Push(x any)   { *d = append(*d, x.(deadline)) }
func (d *deadlines) Pop() any {
	old := *d
	x := old[len(old)-1]
	*d = old[:len(old)-1]
	return x
}
