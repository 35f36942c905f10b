package watch

import (
	"container/list"
	"time"
)

// PaceConfig says how fast rooms may elect.
type PaceConfig struct {
	// Rate is how many rooms elect in any one second, all together. Default 50.
	Rate int
	// Idle is how many of them may be idle rooms. Default a fifth of Rate.
	Idle int
	// Together is how many idle rooms go at once, after a pause that keeps to Idle.
	// Default all of a second, which share their fsyncs and requests.
	Together int
}

// Pace decides in which order, and how fast, the rooms of dead hubs elect. Rooms
// with traffic go first, as many at once as Rate still allows in this second;
// idle ones go in small groups, while no room with traffic waits. Within their kind,
// rooms go in the order in which they came.
//
// A Pace has no clock and no goroutine and is owned by its caller's goroutine.
// It holds about 200 octets for each waiting room.
type Pace struct {
	gap    time.Duration // between groups of idle rooms
	group  int           // idle rooms that go at once
	left   int           // of the group that has begun
	recent []time.Time   // a ring: when the last Rate rooms went
	oldest int           // of the ring
	idleAt time.Time     // when the next group may begin
	latest time.Time     // time does not go back

	wait  map[[32]byte]*list.Element
	lines [2]list.List // by Rate
}

type waiting struct {
	room [32]byte
	rate Rate
}

// NewPace returns a Pace for which no room waits.
func NewPace(cfg PaceConfig) *Pace {
	if cfg.Rate < 1 {
		cfg.Rate = 50
	}
	if cfg.Idle < 1 {
		cfg.Idle = max(1, cfg.Rate/5)
	}
	cfg.Idle = min(cfg.Idle, cfg.Rate)
	if cfg.Together < 1 {
		cfg.Together = cfg.Idle
	}
	cfg.Together = min(cfg.Together, cfg.Rate)
	return &Pace{
		gap:    time.Second * time.Duration(cfg.Together) / time.Duration(cfg.Idle),
		group:  cfg.Together,
		recent: make([]time.Time, cfg.Rate),
		wait:   map[[32]byte]*list.Element{},
	}
}

// Add lets a room wait for its election. Adding a waiting one again with traffic
// moves it to those; without traffic it changes nothing.
func (p *Pace) Add(room [32]byte, busy bool) {
	rate := Idle
	if busy {
		rate = Busy
	}
	if e := p.wait[room]; e != nil {
		if e.Value.(waiting).rate >= rate {
			return
		}
		p.Remove(room)
	}
	p.wait[room] = p.lines[rate].PushBack(waiting{room, rate})
}

// Remove says that a room need not elect: its hub is back, or has a successor.
// It does nothing if the room does not wait.
func (p *Pace) Remove(room [32]byte) {
	if e := p.wait[room]; e != nil {
		p.lines[e.Value.(waiting).rate].Remove(e)
		delete(p.wait, room)
	}
}

// Len returns how many rooms wait.
func (p *Pace) Len() int { return len(p.wait) }

// Next returns the rooms that shall elect now. They no longer wait: one whose
// election fails has to be added again.
func (p *Pace) Next(now time.Time) [][32]byte {
	p.pass(now)
	var out [][32]byte
	for p.free() <= 0 {
		switch {
		case p.lines[Busy].Len() > 0:
			out = append(out, p.send(Busy))
		case p.lines[Idle].Len() > 0 && (p.left > 0 || !p.latest.Before(p.idleAt)):
			if p.left == 0 {
				p.left, p.idleAt = p.group, p.latest.Add(p.gap)
			}
			out = append(out, p.send(Idle))
			p.left--
		default:
			return out
		}
	}
	return out
}

// Wait returns how long until Next has a room, if nothing changes, and false if
// none waits.
func (p *Pace) Wait(now time.Time) (time.Duration, bool) {
	p.pass(now)
	if len(p.wait) == 0 {
		return 0, false
	}
	wait := max(0, p.free())
	if p.lines[Busy].Len() == 0 && p.left == 0 {
		wait = max(wait, p.idleAt.Sub(p.latest))
	}
	return wait, true
}

// free is how long until one more room may go: a second after the one that was
// Rate rooms ago.
func (p *Pace) free() time.Duration {
	t := p.recent[p.oldest]
	if t.IsZero() {
		return 0
	}
	return t.Add(time.Second).Sub(p.latest)
}

func (p *Pace) pass(now time.Time) {
	if now.After(p.latest) {
		p.latest = now
	}
}

func (p *Pace) send(rate Rate) [32]byte {
	room := p.lines[rate].Front().Value.(waiting).room
	p.Remove(room)
	p.recent[p.oldest] = p.latest
	p.oldest = (p.oldest + 1) % len(p.recent)
	return room
}
