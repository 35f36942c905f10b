package failover

import (
	"github.com/mimid/mimid/protocol/hub"
	"github.com/mimid/mimid/protocol/room"
)

// This file is about what must hold. A sentence that proves wrong ends the run.

// write performs a durable write of a seat, and looks at what it says.
func (s *seat) write(st *hub.Store) {
	w, before := s.at.w, s.disk.state
	s.disk.apply(st)
	w.stats.Writes++
	if s.marked && !st.State.Restored {
		s.marked = false
		w.say("%s: room %d: whole again", s.at.self, s.place.index)
	}
	if s.at.lies() {
		return
	}
	now := s.disk.state
	switch {
	case now.Seen.Compare(before.Seen) < 0:
		w.fail("%s: room %d goes back from term %s to %s", s.at.self, s.place.index, before.Seen, now.Seen)
	case now.Final.Head.Seq < before.Final.Head.Seq:
		w.fail("%s: room %d goes back from final %s to %s", s.at.self, s.place.index, before.Final.Head, now.Final.Head)
	case !s.disk.holds(before.Final.Head):
		w.fail("%s: room %d loses %s, which it knew to be final", s.at.self, s.place.index, before.Final.Head)
	case !s.disk.holds(now.Final.Head):
		w.fail("%s: room %d writes %s as final, which it does not hold", s.at.self, s.place.index, now.Final.Head)
	case before.Fork != [2]hub.Head{} && now.Fork == before.Fork && now.Vote.Term.Compare(before.Vote.Term) > 0 && now.Vote.Term.Era <= before.Seen.Era:
		w.fail("%s votes for %s in term %s of room %d, which stands still there", s.at.self, now.Vote.For, now.Vote.Term, s.place.index)
	default:
		s.finals(now.Final.Head)
	}
}

// finals compares what has become final on a disk with what was ever final.
func (s *seat) finals(head hub.Head) {
	w, pl := s.at.w, s.place
	if pl.parted || pl.lossy {
		w.watching.lossy(w, s, head.Seq)
		return
	}
	for seq := s.known + 1; seq <= head.Seq; seq++ {
		e := s.disk.entries[seq]
		if seq < uint64(len(pl.finals)) {
			f := &pl.finals[seq]
			if f.hash != e.Hash && pl.lied {
				w.say("room %d has two final histories: %s has %s", pl.index, s.at.self, e)
				pl.parted = true
				return
			}
			if f.hash != e.Hash {
				w.fail("two final entries at place %d of room %d: %s has %s", seq, pl.index, s.at.self, e)
				return
			}
			if head.Term.Compare(f.by) < 0 {
				f.by = head.Term
			}
			continue
		}
		pl.finals = append(pl.finals, final{e.Hash, head.Term})
		w.stats.Finals++
		if e.Txn == (room.TxnID{}) {
			continue
		}
		if at := pl.where[e.Txn]; at != 0 {
			w.fail("a submission is final twice in room %d: at %d and at %d", pl.index, at, seq)
			return
		}
		pl.where[e.Txn] = seq
		w.watching.final(w, pl, e.Txn)
	}
	s.known = max(s.known, head.Seq)
}

// leads looks at a new hub: it is the only one of its term, and has all that is final.
func (w *world) leads(s *seat, head hub.Head) {
	pl := s.place
	w.stats.Elections++
	w.elected(s)
	w.say("%s: room %d: leads from %s", s.at.self, pl.index, head)
	if pl.lied || pl.lossy || s.at.lies() {
		return
	}
	if by, ok := pl.leads[head.Term]; ok && by != s.at.self {
		w.fail("%s and %s are both hub of room %d in term %s", by, s.at.self, pl.index, head.Term)
		return
	}
	pl.leads[head.Term] = s.at.self
	for seq := len(pl.finals) - 1; seq >= 0; seq-- {
		f := pl.finals[seq]
		if head.Term.Compare(f.by) < 0 {
			continue // certified by a hub that was ahead of this one
		}
		if seq >= len(s.disk.entries) || s.disk.entries[seq].Hash != f.hash {
			w.fail("%s becomes hub of room %d in term %s without the final entry %d", s.at.self, pl.index, head.Term, seq)
		}
		return
	}
}

// elected counts elections: how many there are in a second.
func (w *world) elected(s *seat) {
	sec := int64(w.e.Now() / 1e9)
	if sec != w.stats.second {
		w.stats.second, w.stats.inSecond = sec, 0
	}
	w.stats.inSecond++
	w.stats.MostElections = max(w.stats.MostElections, w.stats.inSecond)
	if w.stats.MostElections > maxElections {
		w.fail("%d elections in a second", w.stats.MostElections)
	}
	if w.healed && w.e.Now() > w.healedAt+Bound && w.plan.liar < 0 && !s.place.lossy {
		w.fail("%s is elected in room %d %s after everything was healed", s.at.self, s.place.index, w.e.Now()-w.healedAt)
	}
}

// maxElections is how many there may be in a second, all providers together: what
// their paces let begin, and each room with traffic once.
const maxElections = providers*electRate + rooms

func (w *world) stops(s *seat, p hub.Proof) {
	w.say("%s: room %d: stopped by %s and %s", s.at.self, s.place.index, p.A, p.B)
	s.place.stopped = true
	if s.place.lied {
		s.place.moved = max(s.place.moved, w.e.Now()) // people are told at once, and talk
		w.stood(s.place)
	}
	w.stats.Stopped++
	if !s.place.lied && !s.place.lossy {
		w.fail("%s stops room %d, in which nobody has lied: %s and %s", s.at.self, s.place.index, p.A, p.B)
	}
}

func (w *world) convicted(s *seat, p hub.Proof) {
	w.say("%s: room %d: convicts %s", s.at.self, s.place.index, p.Liar)
	w.stats.Convicted++
	if !s.place.lied || int(p.Liar)-1 != w.plan.liar {
		w.fail("%s convicts %s in room %d, which has not lied", s.at.self, p.Liar, s.place.index)
	}
}

// alive notes that a room has made final what a client said after healing.
func (w *world) alive(pl *place) {
	if pl.live != 0 {
		return
	}
	pl.live = w.e.Now()
	took := w.e.Now() - w.healedAt
	w.stats.Recovery = append(w.stats.Recovery, took)
	if took > Bound && !pl.stopped && !pl.lied {
		w.fail("room %d took %s after everything was healed until it took a submission, the bound is %s", pl.index, took, Bound)
	}
}

// end looks at the world after its rest.
func (w *world) end() {
	for _, pl := range w.rooms {
		if w.broken != "" {
			return
		}
		if pl.lied {
			if w.noticed(pl); w.broken == "" {
				w.settledOn(pl)
			}
			continue
		}
		if pl.stopped {
			continue
		}
		if pl.live == 0 && len(pl.probes) > 0 {
			w.fail("room %d has taken no submission since everything was healed", pl.index)
			return
		}
		if len(pl.probes) > 0 { // else nobody says anything, and a room without a hub stays so
			w.complete(pl)
		}
	}
}

// complete looks for what clients were told, and what they still wait for.
func (w *world) complete(pl *place) {
	gone := w.gone()
	for _, c := range w.clients {
		if c.place != pl || c.at.self == gone || c.at.lies() {
			continue
		}
		for _, p := range pl.peers {
			s := w.providers[p-1].seats[pl.index]
			if p == gone || pl.lossy || pl.parted || int(p)-1 == w.plan.liar {
				continue
			}
			for _, x := range c.told {
				if x.seq >= uint64(len(s.disk.entries)) || s.disk.entries[x.seq].Hash != x.hash {
					w.fail("%s does not hold entry %d of room %d, which a client was told is final", p, x.seq, pl.index)
					return
				}
				if s.disk.state.Final.Head.Seq < x.seq {
					w.fail("%s does not know at the end that entry %d of room %d is final, as a client was told", p, x.seq, pl.index)
					return
				}
			}
		}
		if c.dead {
			continue
		}
		for _, x := range c.subs {
			if !x.ev.Handshake {
				w.fail("what a client of %s submitted to room %d at %s is not final at the end (accepted: %v)", c.at.self, pl.index, x.since, x.accepted)
				return
			}
		}
	}
}

// noticed looks for two logs of one term at honest providers that do not know it.
func (w *world) noticed(pl *place) {
	for i, p := range pl.peers {
		for _, q := range pl.peers[i+1:] {
			a, b := w.providers[p-1], w.providers[q-1]
			if a.lies() || b.lies() || !a.process.Up() || !b.process.Up() {
				continue
			}
			s, t := a.seats[pl.index], b.seats[pl.index]
			for seq := 1; seq < min(len(s.disk.entries), len(t.disk.entries)); seq++ {
				x, y := s.disk.entries[seq], t.disk.entries[seq]
				if x.Hash == y.Hash {
					continue
				}
				if x.Term == y.Term && !s.knows() && !t.knows() {
					w.fail("%s and %s hold two logs of term %s in room %d, from place %d on, and neither knows", p, q, x.Term, pl.index, seq)
				}
				w.stats.Forks++
				break
			}
		}
	}
}

// knows says whether a provider has seen through the liar, in this room.
func (s *seat) knows() bool {
	return s.disk.state.Liars.Has(name(s.at.w.plan.liar)) || s.disk.state.Fork != [2]hub.Head{}
}

// gone is who is dead for good, once it is; 0 for nobody.
func (w *world) gone() hub.Provider {
	if g := w.plan.gone; g >= 0 && w.providers[g].finished {
		return name(g)
	}
	return 0
}
