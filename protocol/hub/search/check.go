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
