package search

import (
	"fmt"

	"github.com/mimid/mimid/protocol/hub"
)

// An action is one thing that happens in a world.
type action struct {
	kind actionKind
	at   int       // node
	ev   hub.Event // of happen
	cut  int       // effects performed before a crash, -1: all and no crash
	lie  bool      // the machine that answers is a copy, thrown away
}

type actionKind uint8

const (
	happen actionKind = iota
	restart
	restore
	claim // the node says ev.Message, whatever its machine thinks
)

func (a action) String() string {
	who := hub.Provider(a.at + 1).String()
	var s string
	switch a.kind {
	case restart:
		return who + " restarts"
	case restore:
		return who + " restarts from its backup"
	case claim:
		return "LYING: " + a.ev.Message.String()
	}
	switch a.ev.Kind {
	case hub.Deliver:
		s = "deliver " + a.ev.Message.String()
	case hub.Submit:
		s = fmt.Sprintf("%s gets submission %d", who, a.ev.Txn[0])
		if len(a.ev.Set) > 0 {
			s += ": set " + a.ev.Set.String()
		}
	case hub.Suspect:
		s = who + " suspects the hub"
	case hub.Doubt:
		s = who + " would vote for another hub"
	case hub.Resend:
		s = who + " repeats"
	case hub.HandOver:
		s = fmt.Sprintf("%s is asked to hand over to %s", who, a.ev.Target)
	case hub.MoveHere:
		s = fmt.Sprintf("%s gets an admin's commit: set %s", who, a.ev.Set)
	case hub.Request:
		s = who + " is asked to stand"
	case hub.Contradict:
		s = who + " is shown the other history"
	}
	if a.lie {
		s += ", LYING"
	}
	if a.cut >= 0 {
		s += fmt.Sprintf(", and crashes after %d effects", a.cut)
	}
	return s
}

// A draft is a world that is being made from another by one action, and the node
// that the action is about. Most worlds were seen before: then the memory serves for
// the next one.
type draft struct {
	w *world
	n *node
}

// blank readies the draft to be written.
func (d *draft) blank() {
	if d.w == nil {
		d.w, d.n = new(world), new(node)
	}
}

// kept says that the world stays in use.
func (d *draft) kept() { d.w, d.n = nil, nil }

// A done is what a machine makes of an event.
type done struct {
	m       hub.Machine
	effects []hub.Effect
}

// react lets a node's machine do what an action says.
func (s *Scenario) react(w *world, a action) (x done) {
	n := w.nodes[a.at]
	if s.Conflict && a.kind == happen && a.ev.Kind == hub.Deliver && a.ev.Message.Kind == hub.Move {
		a.ev.Message = compared(a.ev.Message, n.d.Log, w.nodes[a.ev.Message.From-1].d.Log)
	}
	switch a.kind {
	case restart:
		x.m, x.effects = hub.Restart(n.cfg, durable(n.cfg, n.d), false)
	case restore:
		x.m, x.effects = hub.Restart(n.cfg, durable(n.cfg, *n.back), true)
	case claim:
		x.m, x.effects = n.m, []hub.Effect{{Kind: hub.Send, Message: a.ev.Message}}
	default:
		if n.cfg.Window > 0 {
			return n.window(a.ev)
		}
		x.m, x.effects = n.m.Step(a.ev)
	}
	return x
}

// step performs an action, of which x came. It returns nil if nothing comes of it,
// and a sentence if something happened that must not. The world that it returns is
// the draft's.
func (s *Scenario) step(into *draft, w *world, a action, x *done, packetIndex int, keep bool) (*world, string) {
	n := w.nodes[a.at]
	into.blank()
	nw, nn := into.w, into.n
	*nw, *nn = *w, *n
	nn.m = x.m
	switch a.kind {
	case restart:
		nn.up = true
	case restore:
		nn.up = true
		nn.d = *n.back
		nw.left.Restore--
	case claim:
		nw.left.Claim--
	default:
		if a.ev.Kind == hub.Deliver {
			if !keep {
				nw.take(packetIndex)
			} else {
				nw.left.Duplicate--
			}
		}
	}
	why := ""
	for i := range x.effects {
		if i == a.cut {
			break
		}
		if bad := s.perform(nw, nn, &x.effects[i], a); bad != "" && why == "" {
			why = bad
		}
	}
	if a.cut >= 0 {
		nn.up = false
		nn.m = hub.Machine{}
		nw.left.Crash--
	}
	if a.lie {
		*nn = *n
		nw.left.Lie--
	}
	nn.seal()
	if a.kind == happen && a.ev.Kind == hub.Deliver && len(x.effects) == 0 && nn.fp == n.fp {
		return nil, "" // as if it were still on its way
	}
	nw.nodes[a.at] = nn
	if s.Budget.Restore == 0 { // a backup forgets what is durable
		nw.prune(a.at)
	}
	if nw.past != w.past {
		nw.pastFP = nw.past.digest()
	}
	return nw, why
}

// signs says whether a message is the word of a replica, which it gives for one history only.
func signs(m *hub.Message) bool {
	return m.Kind == hub.CoSign || m.Kind == hub.Release || m.Grant && (m.Kind == hub.Grant || m.Kind == hub.Would)
}

// perform does one effect.
func (s *Scenario) perform(w *world, n *node, e *hub.Effect, a action) string {
	switch e.Kind {
	case hub.Write:
		if a.lie {
			return ""
		}
		before := n.d
		n.d = n.d.Apply(e.Store)
		return s.written(w, n, before)
	case hub.Send:
		if e.Message.Kind == hub.Certify && s.Quiet {
			return ""
		}
		if signs(e.Message) && n.m.State().Fork != ([2]hub.Head{}) && a.kind == happen {
			return fmt.Sprintf("%s stands still, and says %s", n.cfg.Self, e.Message)
		}
		if int(e.Message.To) <= s.Nodes {
			w.post(e.Message)
		}
	case hub.Accepted:
		if a.lie {
			return ""
		}
		for _, t := range w.past.accepted {
			if t == e.Txn {
				return ""
			}
		}
		p := *w.past
		p.accepted = append(p.accepted[:len(p.accepted):len(p.accepted)], e.Txn)
		w.past = &p
	case hub.Leads:
		return s.leads(w, n, e)
	case hub.Stopped:
		if s.Conflict && e.Proof.A.Term.Era == 0 {
			return ""
		}
		if s.Lossy && s.stops(w, e.Proof) {
			return ""
		}
		if s.Budget.Lie == 0 {
			return fmt.Sprintf("%s sees two final histories: %s and %s", n.cfg.Self, e.Proof.A, e.Proof.B)
		}
	case hub.Convicted:
		if s.Conflict && int(e.Proof.Liar) > s.Nodes {
			return ""
		}
		if s.Budget.Lie == 0 || e.Proof.Liar != 1 {
			return fmt.Sprintf("%s convicts %s, which has not lied", n.cfg.Self, e.Proof.Liar)
		}
	}
	return ""
}
