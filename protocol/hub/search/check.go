package search

import (
	"fmt"

	"github.com/mimid/mimid/protocol/hub"
	"github.com/mimid/mimid/protocol/room"
)

// written checks a durable write: terms and final heads never go back, nobody
// loses what was final, and only one log is final.
func (s *Scenario) written(w *world, n *node, before hub.Durable) string {
	b, d := before.State, n.d.State
	who := n.cfg.Self
	switch {
	case d.Seen.Compare(b.Seen) < 0:
		return fmt.Sprintf("%s goes back from term %s to %s", who, b.Seen, d.Seen)
	case d.Final.Head.Seq < b.Final.Head.Seq:
		return fmt.Sprintf("%s goes back from final %s to %s", who, b.Final.Head, d.Final.Head)
	case !n.d.Log.Holds(b.Final.Head):
		return fmt.Sprintf("%s loses %s, which it knew to be final", who, b.Final.Head)
	}
	if d.Final.Head == b.Final.Head || s.Budget.Lie > 0 {
		return ""
	}
	if s.Lossy {
		return s.agrees(w, n)
	}
	return s.final(w, n, d.Final.Head)
}

// final checks a certificate when it first appears on a disk.
func (s *Scenario) final(w *world, n *node, head hub.Head) string {
	for _, l := range w.past.leads {
		if l.term.Compare(head.Term) > 0 && !l.log.Holds(head) {
			return fmt.Sprintf("%s is final at %s, but %s became hub in term %s without it", head, n.cfg.Self, l.by, l.term)
		}
	}
	p := *w.past
	p.finals = append([]final(nil), p.finals...)
	for seq := uint64(0); seq <= head.Seq; seq++ {
		e := n.d.Log.At(seq)
		if seq < uint64(len(p.finals)) {
			if p.finals[seq].hash != e.Hash {
				return fmt.Sprintf("two final entries at %d: %s has %s", seq, n.cfg.Self, e)
			}
			if head.Term.Compare(p.finals[seq].by) < 0 {
				p.finals[seq].by = head.Term
			}
			continue
		}
		if e.Txn != (room.TxnID{}) && n.d.Log.Find(e.Txn) != seq {
			return fmt.Sprintf("submission %d is in the log twice", e.Txn[0])
		}
		p.finals = append(p.finals, final{e.Hash, head.Term})
	}
	w.past = &p
	return ""
}

// leads checks a new hub: one per term, with all that is final.
func (s *Scenario) leads(w *world, n *node, e *hub.Effect) string {
	if s.Budget.Lie > 0 {
		return ""
	}
	log := n.d.Log
	for _, l := range w.past.leads {
		if l.term == e.Head.Term && l.by != n.cfg.Self {
			return fmt.Sprintf("%s and %s are both hub of term %s", l.by, n.cfg.Self, l.term)
		}
	}
	if s.Lossy {
		if why := s.lost(w, n, e.Head); why != "" {
			return why
		}
		p := *w.past
		p.leads = append(p.leads[:len(p.leads):len(p.leads)], lead{e.Head.Term, n.cfg.Self, log})
		w.past = &p
		return ""
	}
	for seq, f := range w.past.finals {
		if e.Head.Term.Compare(f.by) < 0 {
			continue // the hub that certified it was ahead of this one
		}
		if at := log.At(uint64(seq)); at == nil || at.Hash != f.hash {
			return fmt.Sprintf("%s becomes hub of term %s without the final entry %d", n.cfg.Self, e.Head.Term, seq)
		}
	}
	p := *w.past
	p.leads = append(p.leads[:len(p.leads):len(p.leads)], lead{e.Head.Term, n.cfg.Self, log})
	w.past = &p
	return ""
}

// What holds of moves that lose by design (Scenario.Lossy), beside that no disk goes back:
//
//   - agreement in an era: two providers that know entries of one era to be final have one
//     log up to there (agrees);
//   - a move loses nothing that anybody knows to be final whose acknowledgement it counts, and
//     in a room of three, where all but the replaced hub acknowledge, nothing that anybody
//     but that hub knows (lost). Whoever has acknowledged yet another move since may have been
//     shown more by the replaced hub meanwhile, and stops when it hears of this one; so may who
//     comes from a backup and has forgotten its acknowledgement. What an
//     earlier move has lost stays lost;
//   - nobody stops but who knows something final that a hub has not (stops).

// agrees checks a new certificate against what the others know of the same era.
func (s *Scenario) agrees(w *world, n *node) string {
	own := n.d.State.Final.Head
	for _, o := range w.nodes[:s.Nodes] {
		if o.cfg.Self == n.cfg.Self {
			continue // the node before this step
		}
		other := o.d.State.Final.Head
		if other.Term.Era != own.Term.Era || s.Conflict && own.Term.Era == 0 {
			continue
		}
		if own.Seq <= other.Seq && !o.d.Log.Holds(own) || own.Seq > other.Seq && !n.d.Log.Holds(other) {
			return fmt.Sprintf("in era %d %s is final at %s and %s at %s, of two logs", own.Term.Era, own, n.cfg.Self, other, o.cfg.Self)
		}
	}
	return ""
}

// lost checks a hub that a move has made.
func (s *Scenario) lost(w *world, n *node, head hub.Head) string {
	log := n.d.Log
	change := log.At(head.Seq)
	if change == nil || change.Via != hub.ByMove {
		return ""
	}
	if len(change.Liars) > 0 {
		return s.lostToAll(w, n, head)
	}
	replaced := log.HubAt(head.Seq - 1)
	for _, o := range w.nodes[:s.Nodes] {
		who, final := o.cfg.Self, o.d.State.Final.Head
		if s.Conflict && final.Term.Era == 0 {
			continue // the choice was between two
		}
		if o.d.State.Restored || o.d.State.Lost != (room.Term{}) {
			continue // it has forgotten that it has acknowledged this one, and was shown more since
		}
		if who == n.cfg.Self || !change.Voters.Has(who) && (who == replaced || s.Unasked.Has(who)) || final.Term.Compare(head.Term) >= 0 ||
			final.Term.Era < log.At(head.Seq-1).Term.Era || o.d.State.Seen.Era > head.Term.Era {
			continue
		}
		if !log.Holds(final) {
			return fmt.Sprintf("%s is moved to in term %s, instead of %s, without %s, which %s knows to be final", n.cfg.Self, head.Term, replaced, final, who)
		}
	}
	return ""
}

// lostToAll checks a hub that a move without the liars has made: it has the newest log of all
// who are honest, the replaced hub included, and so what they know to be final, but where
// the liar's vote has made another hub without that before.
func (s *Scenario) lostToAll(w *world, n *node, head hub.Head) string {
	log := n.d.Log
	mine := w.nodes[n.cfg.Self-1].d.State.Final.Head // before this step
	last := log.At(head.Seq - 1).Head()
	for _, o := range w.nodes[:s.Nodes] {
		who, final := o.cfg.Self, o.d.State.Final.Head
		if who != n.cfg.Self && o.d.Log.Holds(mine) && o.d.State.Seen.Era <= head.Term.Era && last.Behind(final) && final.Term.Compare(head.Term) < 0 && !log.Holds(final) {
			return fmt.Sprintf("%s is moved to in term %s by all who are honest, without %s, which %s knows to be final", n.cfg.Self, head.Term, final, who)
		}
	}
	return ""
}

// stops says whether somebody who stops has a reason: a hub whose log lacks what it knows.
func (s *Scenario) stops(w *world, p hub.Proof) bool {
	for _, l := range w.past.leads {
		if l.term.Compare(p.A.Term) > 0 && !l.log.Holds(p.A) {
			return true
		}
	}
	return false
}
