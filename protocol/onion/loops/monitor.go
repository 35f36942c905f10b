package loops

import (
	"bytes"
	"math"
	"slices"
	"time"

	"github.com/mimid/mimid/protocol/onion"
)

// Config says how loops are judged. Zero fields are set to the defaults.
type Config struct {
	// Slack is what a loop has beside the delays that its sender has drawn for it. Default 10 s.
	Slack time.Duration
	// Window is how many of the last judged loops count. Default 64.
	Window int
	// Loss is the share of loops that is lost without an attack, in thousandths. Default 20.
	Loss int
	// Outstanding is how many loops may be on their way. Default 4,096.
	Outstanding int
}

func (c Config) withDefaults() Config {
	if c.Slack <= 0 {
		c.Slack = 10 * time.Second
	}
	if c.Window <= 0 {
		c.Window = 64
	}
	if c.Loss <= 0 {
		c.Loss = 20
	}
	if c.Outstanding <= 0 {
		c.Outstanding = 4096
	}
	return c
}

// minJudged is how many loops have to be judged before there can be an alarm.
const minJudged = 8

// maxSuspects is how many suspects are named.
const maxSuspects = 3

// A Monitor knows which loops are on their way, and what became of the last ones. It is owned by the
// caller's goroutine.
type Monitor struct {
	cfg    Config
	open   map[onion.Mailbox]loop
	judged []verdict // the last ones, oldest first

	sent, returned, lost uint64
}

type loop struct {
	sent, until time.Time
	over        []onion.NodeID
}

type verdict struct {
	lost bool
	over []onion.NodeID
	took time.Duration // of one that was not lost
}

// A Report is what the loops say.
type Report struct {
	Sent     uint64 // since the Monitor was made
	Returned uint64
	Lost     uint64
	// Judged and Missing are of the last loops: how many were judged, and how many of these were
	// lost. Bound is the highest Missing that is no alarm.
	Judged, Missing, Bound int
	Alarm                  bool
	// Suspects are the relays that most of the missing ones went over, if there is an alarm: each
	// with more than half of its loops missing.
	Suspects []onion.NodeID
	// Trip is the median of how long the last loops that returned were on their way; zero if none did.
	Trip time.Duration
}

// New makes a Monitor.
func New(c Config) *Monitor {
	return &Monitor{cfg: c.withDefaults(), open: map[onion.Mailbox]loop{}}
}

// Sent says that a loop leaves for a mailbox that no other one has, over some relays that were told
// to keep it for so long altogether. False: too many are on their way, or the mailbox is in use, and
// this one is not counted.
func (m *Monitor) Sent(now time.Time, to onion.Mailbox, over []onion.NodeID, delays time.Duration) bool {
	m.Expire(now)
	if _, ok := m.open[to]; ok || len(m.open) >= m.cfg.Outstanding {
		return false
	}
	m.open[to] = loop{now, now.Add(max(0, delays) + m.cfg.Slack), slices.Clone(over)}
	m.sent++
	return true
}

// Returned says that something has come for a mailbox. False: it is that of no loop on its way.
func (m *Monitor) Returned(now time.Time, to onion.Mailbox) bool {
	m.Expire(now)
	l, ok := m.open[to]
	if !ok {
		return false
	}
	delete(m.open, to)
	m.returned++
	m.judge(verdict{over: l.over, took: now.Sub(l.sent)})
	return true
}

// Expire judges the loops whose time is over. Sent and Returned do that, too.
func (m *Monitor) Expire(now time.Time) {
	type late struct {
		to onion.Mailbox
		loop
	}
	var all []late
	for to, l := range m.open {
		if !l.until.After(now) {
			all = append(all, late{to, l})
		}
	}
	slices.SortFunc(all, func(a, b late) int {
		if c := a.until.Compare(b.until); c != 0 {
			return c
		}
		return bytes.Compare(a.to[:], b.to[:])
	})
	for _, l := range all {
		delete(m.open, l.to)
		m.lost++
		m.judge(verdict{lost: true, over: l.over})
	}
}

func (m *Monitor) judge(v verdict) {
	if len(m.judged) == m.cfg.Window {
		m.judged = slices.Delete(m.judged, 0, 1)
	}
	m.judged = append(m.judged, v)
}

// Report says what is known now.
func (m *Monitor) Report(now time.Time) Report {
	m.Expire(now)
	r := Report{Sent: m.sent, Returned: m.returned, Lost: m.lost, Judged: len(m.judged)}
	var took []time.Duration
	for _, v := range m.judged {
		if v.lost {
			r.Missing++
			continue
		}
		took = append(took, v.took)
	}
	if len(took) > 0 {
		slices.Sort(took)
		r.Trip = took[len(took)/2]
	}
	r.Bound = m.bound(r.Judged)
	r.Alarm = r.Judged >= minJudged && r.Missing > r.Bound
	if r.Alarm {
		r.Suspects = m.suspects()
	}
	return r
}

// bound is the mean of a binomial distribution and three standard deviations, and one more, so that a
// single loss is never an alarm.
func (m *Monitor) bound(n int) int {
	p, f := float64(m.cfg.Loss)/1000, float64(n)
	return 1 + int(math.Floor(f*p+3*math.Sqrt(f*p*(1-min(p, 1)))))
}

func (m *Monitor) suspects() []onion.NodeID {
	type count struct{ lost, all int }
	counts := map[onion.NodeID]*count{}
	for _, v := range m.judged {
		for _, n := range v.over {
			c := counts[n]
			if c == nil {
				c = new(count)
				counts[n] = c
			}
			c.all++
			if v.lost {
				c.lost++
			}
		}
	}
	var out []onion.NodeID
	for n, c := range counts {
		if 2*c.lost > c.all {
			out = append(out, n)
		}
	}
	slices.SortFunc(out, func(a, b onion.NodeID) int {
		if d := counts[b].lost - counts[a].lost; d != 0 {
			return d
		}
		return bytes.Compare(a[:], b[:])
	})
	return out[:min(len(out), maxSuspects)]
}
