package spam

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/mimid/mimid/node/contact"
	"github.com/mimid/mimid/node/ration"
	"github.com/mimid/mimid/protocol/consent"
)

// A scope is who asks whom, for any room.
type scope struct{ requester, target, from int } // from: the requester's provider

// A provider is the one that is attacked: what package contact does with requests of others, with its
// state machine, its rations and its limits, and with counters in memory in place of a store.
type provider struct {
	mode     consent.Mode
	limits   contact.Limits
	requests *ration.Ration
	states   map[scope]consent.State
	changed  map[scope]time.Duration
	target   map[int]int      // pending requests of each target
	asked    map[int]*waiting // the same by provider
	provider map[int]int      // of each provider
	scopes   map[int]int      // entries of each target
	octets   int              // of all records
	yielded  func(scope)      // told what had to go for another provider's request; may be nil
}

// waiting are the pending requests of one target, by provider; those who had some keep their index.
type waiting struct {
	of     map[string]int
	counts []consent.Waiting
	scopes [][]scope // in the order in which they came, which is that of accounts, too
}

func (w *waiting) index(from int) int {
	name := domain(from)
	i, ok := w.of[name]
	if !ok {
		i = len(w.counts)
		w.of[name], w.counts, w.scopes = i, append(w.counts, consent.Waiting{Provider: name}), append(w.scopes, nil)
	}
	return i
}

func domain(from int) string { return "p" + strconv.Itoa(from) + ".example" }

func newProvider(mode consent.Mode) *provider {
	l := contact.DefaultLimits()
	return &provider{mode: mode, limits: l, requests: ration.New(l.Requests), states: map[scope]consent.State{}, changed: map[scope]time.Duration{},
		target: map[int]int{}, asked: map[int]*waiting{}, provider: map[int]int{}, scopes: map[int]int{}}
}

// An outcome is what becomes of a request.
type outcome uint8

const (
	tooFast  outcome = iota // its provider is told to wait
	vanished                // over a limit, or refused
	kept                    // it waits, and the target does not see it
	shown                   // the target sees it
	admitted                // the requester may, by the mode
)

var names = [...]string{"too_fast", "vanished", "kept", "shown", "admitted"}

// epoch is the time of the rations' clock when the run begins.
var epoch = time.Unix(1_800_000_000, 0)

// ask is a request that arrives.
func (p *provider) ask(s scope, now time.Duration) outcome {
	if ok, _ := p.requests.Take(domain(s.from), 1, epoch.Add(now)); !ok {
		return tooFast
	}
	old := p.states[s]
	next, effect, err := consent.Step(p.mode, old, consent.Request)
	if err != nil {
		return vanished // no such event: cannot be
	}
	if pending(next) > pending(old) && !p.place(s, now) {
		return vanished
	}
	p.write(s, next, now)
	switch {
	case effect == consent.ShowRequest:
		return shown
	case effect == consent.TellGrant:
		return admitted
	case next == consent.Held:
		return kept
	}
	return vanished
}

// decide is what the target says.
func (p *provider) decide(s scope, e consent.Event, now time.Duration) error {
	next, _, err := consent.Step(p.mode, p.states[s], e)
	if err == nil {
		p.write(s, next, now)
	}
	return err
}

// sweep drops what has been in quarantine for so long that nobody will look.
func (p *provider) sweep(now time.Duration) {
	for s, at := range p.changed {
		if p.states[s] == consent.Held && now-at > p.limits.HeldFor {
			p.write(s, consent.None, now)
		}
	}
}

// place finds a place for a new request, as package contact does, and takes one of another provider away for
// it if it must.
func (p *provider) place(s scope, now time.Duration) bool {
	l := &p.limits
	if p.provider[s.from] >= l.PendingPerProvider || p.scopes[s.target] >= l.Scopes-1 {
		return false
	}
	w := p.waiting(s.target)
	ok, yields := consent.Places{User: l.PendingPerTarget, Provider: l.PendingPerPair}.Take(domain(s.from), w.counts)
	if !ok || yields == "" {
		return ok
	}
	list := w.scopes[w.of[yields]]
	gone := list[len(list)-1] // the newest
	p.write(gone, consent.None, now)
	if p.yielded != nil {
		p.yielded(gone)
	}
	return true
}

func (p *provider) waiting(target int) *waiting {
	w := p.asked[target]
	if w == nil {
		w = &waiting{of: map[string]int{}}
		p.asked[target] = w
	}
	return w
}

// waits says whether a request still waits for an answer.
func (p *provider) waits(s scope) bool { return pending(p.states[s]) > 0 }

func pending(s consent.State) int {
	if s == consent.Requested || s == consent.Held {
		return 1
	}
	return 0
}

func stored(s consent.State) int {
	if s == consent.None {
		return 0
	}
	return 1
}

func (p *provider) write(s scope, next consent.State, now time.Duration) {
	old := p.states[s]
	if next == old {
		return
	}
	change := pending(next) - pending(old)
	p.target[s.target] += change
	if change != 0 {
		w := p.waiting(s.target)
		i := w.index(s.from)
		if w.counts[i].Requests += change; change > 0 {
			w.scopes[i] = append(w.scopes[i], s)
		} else {
			w.scopes[i] = slices.DeleteFunc(w.scopes[i], func(x scope) bool { return x == s })
		}
	}
	p.provider[s.from] += change
	p.scopes[s.target] += stored(next) - stored(old)
	p.octets += (stored(next) - stored(old)) * record(s)
	if next == consent.None {
		delete(p.states, s)
		delete(p.changed, s)
		return
	}
	p.states[s], p.changed[s] = next, now
}

// record is how long the key and the value of a scope are: 01 TARGET 00 REQUESTER 00, and version, state, time.
func record(s scope) int {
	return 1 + len(fmt.Sprintf("mimi://here.example/u/t%d", s.target)) + 1 + len(fmt.Sprintf("mimi://p%d.example/u/u%d", s.from, s.requester)) + 1 + 10
}
