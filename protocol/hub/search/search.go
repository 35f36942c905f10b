package search

import (
	"fmt"
	"strings"

	"github.com/mimid/mimid/protocol/hub"
)

// A Result is what a search has seen.
type Result struct {
	States      int
	Transitions int
	Depth       int  // up to here all states were looked at
	Deepest     int  // the longest history looked at
	Complete    bool // nothing was left out within the bounds
	Calms       int  // states from which the room was seen to come to rest
	Violation   string
	Trace       []string
}

// String is one line, and the trace if something was found.
func (r *Result) String() string {
	s := fmt.Sprintf("%d distinct states, %d transitions, all to depth %d, some to %d, complete %v, %d at rest", r.States, r.Transitions, r.Depth, r.Deepest, r.Complete, r.Calms)
	if r.Violation != "" {
		trace := r.Trace[:min(len(r.Trace), 100)]
		s += fmt.Sprintf("\n%s\n%s", r.Violation, strings.Join(trace, "\n"))
	}
	return s
}

// maxFrontier bounds memory: a wider frontier is searched depth first from
// there on, which looks at the same states but may find a longer trace.
const maxFrontier = 3_000_000

// Run searches a scenario breadth first, so that the first violation has a
// shortest trace.
func Run(s *Scenario) *Result {
	r := &Result{Complete: true}
	seen := newVisited()
	var into draft
	w := s.start()
	seen.add(w.fingerprint())
	frontier := []*world{w}
	for len(frontier) > 0 {
		var nextFrontier []*world
		for i, w := range frontier {
			frontier[i] = nil
			nextFrontier = s.expand(w, &into, seen, r, nextFrontier)
			switch {
			case s.Limit > 0 && seen.n >= s.Limit/2:
				// Half of the states near the beginning, half far from it.
				s.deepen(append(nextFrontier, frontier[i+1:]...), 0, seen, r)
				nextFrontier = nil
			case len(nextFrontier) > maxFrontier:
				nextFrontier = s.deepen(nextFrontier, maxFrontier/2, seen, r)
			}
			if r.Violation != "" || !r.Complete {
				r.States = seen.n
				return r
			}
			if nextFrontier == nil && s.Limit > 0 && seen.n >= s.Limit/2 {
				break
			}
		}
		frontier = nextFrontier
		r.Depth++
	}
	r.States = seen.n
	return r
}

// deepen searches depth first until keep worlds of the stack are left. Now and
// then it goes on from another place of the stack, so that one corner does not
// take all the time.
func (s *Scenario) deepen(stack []*world, keep int, seen *visited, r *Result) []*world {
	var into draft
	for n := uint64(1); len(stack) > keep; n++ {
		if s.Limit > 0 && seen.n >= s.Limit {
			r.Complete = false
			return nil
		}
		last := len(stack) - 1
		if n%64 == 0 {
			i := n * 0x9e3779b97f4a7c15 % uint64(len(stack))
			stack[i], stack[last] = stack[last], stack[i]
		}
		w := stack[last]
		stack[last] = nil
		stack = s.expand(w, &into, seen, r, stack[:last])
		if r.Violation != "" {
			return nil
		}
	}
	return stack
}

// expand makes a world's successors and appends the new ones.
func (s *Scenario) expand(w *world, into *draft, seen *visited, r *Result, out []*world) []*world {
	try := func(a action, x *done, packet int, keep bool) bool {
		nw, why := s.step(into, w, a, x, packet, keep)
		if nw == nil {
			return false
		}
		r.Transitions++
		if a.kind == happen && a.ev.Kind == hub.Submit && !a.lie {
			nw.out = w.out.Sent(a.ev.Txn, w.nodes[a.at].m.Log().Last().Term)
			nw.outFP = w.outFP*31 + uint64(a.ev.Txn[0]) + 7*w.nodes[a.at].m.Log().Last().Term.Number
		}
		if why != "" && r.Violation == "" {
			r.Violation = why
			r.Trace = (&hop{prev: w.path, act: a}).trace()
			return false
		}
		if seen.add(nw.fingerprint()) {
			nw.path = &hop{prev: w.path, act: a, depth: w.path.len() + 1}
			r.Deepest = max(r.Deepest, nw.path.depth)
			out = append(out, nw)
			into.kept()
		}
		return true
	}
	each := func(a action, packet int, keep bool) {
		a.cut = -1
		x := s.react(w, a)
		something := try(a, &x, packet, keep)
		if w.left.Crash == 0 || a.kind != happen || a.lie || r.Violation != "" {
			return
		}
		// Not sending is no worse than a message that never arrives, so it is
		// enough to crash right before each write but the first, which is as if
		// the event had not been, and after everything.
		if something {
			for i, e := range x.effects {
				if e.Kind == hub.Write && i > 0 {
					a.cut = i
					try(a, &x, packet, keep)
				}
			}
		}
		a.cut = len(x.effects)
		try(a, &x, packet, keep)
	}
	s.actions(w, each)
	if r.Violation == "" && s.Calm > 0 && w.fingerprint()%uint64(s.Calm) == 0 {
		r.Calms++
		if trace, why := s.calm(w); why != "" {
			r.Violation = why
			r.Trace = append(w.path.trace(), "    Nothing goes wrong any more; what was under way is lost.")
			for _, a := range trace {
				r.Trace = append(r.Trace, "    "+a.String())
			}
		}
	}
	return out
}

// actions calls do for everything that can happen in a world.
func (s *Scenario) actions(w *world, do func(a action, packet int, keep bool)) {
	for i, p := range w.net {
		at := int(p.m.To) - 1
		if !w.nodes[at].up || w.sameEarlier(i) {
			continue
		}
		a := action{at: at, ev: hub.Event{Kind: hub.Deliver, Message: p.m}}
		do(a, i, false)
		if w.left.Duplicate > 0 {
			do(a, i, true)
		}
	}
	for i := range s.Nodes {
		n := w.nodes[i]
		self := hub.Provider(i + 1)
		if !n.up {
			do(action{kind: restart, at: i, cut: -1}, -1, false)
			if w.left.Restore > 0 {
				do(action{kind: restore, at: i, cut: -1}, -1, false)
			}
			continue
		}
		s.local(w, i, n, self, do)
	}
	if s.liar() && w.left.Claim > 0 {
		for _, m := range s.claims(w, s.Claimant) {
			do(action{kind: claim, at: int(m.To) - 1, ev: hub.Event{Message: m}, cut: -1}, -1, false)
		}
	}
}

func (s *Scenario) local(w *world, i int, n *node, self hub.Provider, do func(a action, packet int, keep bool)) {
	event := func(ev hub.Event, lie bool) { do(action{at: i, ev: ev, lie: lie}, -1, false) }
	stands := s.Standing == nil || s.Standing.Has(self)
	if n.m.Role() == hub.Hub {
		due := w.out.Due(n.m.Log().Last().Term)
		if len(due) > 0 {
			event(due[0], false)
		}
		if w.left.Lie > 0 && self == 1 {
			event(hub.Event{Kind: hub.Submit, Txn: txn(100 + int(w.left.Lie))}, true)
		}
		if w.left.HandOver > 0 {
			for _, t := range s.Targets {
				if t != self {
					w.left.HandOver--
					event(hub.Event{Kind: hub.HandOver, Target: t}, false)
					w.left.HandOver++
				}
			}
		}
	}
	spend := func(left *int8, ev hub.Event) {
		if *left > 0 {
			*left--
			event(ev, false)
			*left++
		}
	}
	if n.m.Role() != hub.Hub && stands {
		spend(&w.left.Suspect, hub.Event{Kind: hub.Suspect})
		spend(&w.left.Request, hub.Event{Kind: hub.Request})
	}
	if n.m.Role() == hub.Follower && w.left.Doubt > 0 {
		spend(&w.left.Doubt, hub.Event{Kind: hub.Doubt})
	}
	if s.Movers.Has(self) && n.m.Role() != hub.Hub {
		spend(&w.left.Move, hub.Event{Kind: hub.MoveHere, Set: s.MoveSet(self), Liars: s.lies()})
	}
	if head, ok := s.other(n); ok && w.left.Show > 0 && (n.m.State().Fork == ([2]hub.Head{}) || n.m.State().Restored) {
		spend(&w.left.Show, hub.Event{Kind: hub.Contradict, Head: head, Set: s.Set})
	}
	if w.left.Claim > 0 && self == s.Claimant {
		for _, m := range s.claims(w, self) {
			do(action{kind: claim, at: i, ev: hub.Event{Message: m}, cut: -1}, -1, false)
		}
	}
	if n.m.Role() != hub.Follower {
		spend(&w.left.Resend, hub.Event{Kind: hub.Resend})
	}
}

func (w *world) sameEarlier(i int) bool {
	for _, p := range w.net[:i] {
		if p.fp == w.net[i].fp {
			return true
		}
	}
	return false
}

func (h *hop) len() int {
	if h == nil {
		return 0
	}
	return h.depth
}

func (h *hop) trace() []string {
	var rev []string
	for ; h != nil; h = h.prev {
		rev = append(rev, h.act.String())
	}
	out := make([]string, 0, len(rev))
	for i := len(rev) - 1; i >= 0; i-- {
		out = append(out, fmt.Sprintf("%2d. %s", len(out)+1, rev[i]))
	}
	return out
}
