package hub

import "github.com/mimid/mimid/protocol/room"

// This file is the return of a replica from a backup, which has forgotten
// signatures that others hold.

// ask asks the others what they hold: those whose answers we wait for before we vote and
// sign, and those that we have to hear before we acknowledge a move.
func (s *step) ask() {
	for _, p := range s.others().Union(s.movers()) {
		if !s.answered.Has(p) {
			s.send(p, Message{Kind: Ask, Final: s.state.Final})
		}
	}
	s.whole()
}

// others are who must answer before we sign anything: the other replicas, or all
// participants where there is no other replica. Who is no replica, as far as it knows, has
// only moves to remember. Where the room stands still only moves are signed for; of who
// has signed both histories no word is waited for.
func (s *step) others() Set {
	f := s.log.now()
	o := f.replicas().Without(s.cfg.Self)
	switch {
	case s.stopped():
		var out Set
		for _, p := range o.Union(s.cfg.parties()).Without(s.cfg.Self) {
			if !s.twofaced.Has(p) && !s.state.Liars.Has(p) {
				out = out.With(p)
			}
		}
		return out
	case len(o) == 0:
		return s.cfg.parties().Without(s.cfg.Self)
	case !f.replicas().Has(s.cfg.Self) && !s.stands() && f.hub != s.cfg.Self && mutant != restoredMoves:
		return s.movers()
	}
	return o
}

// movers are who must answer before we acknowledge a move: a move is told by the
// participant that it names as hub, and nobody else need know of it. The hub itself is no
// such; it may be what the room is moved away from, and gone for good.
func (s *step) movers() Set {
	if s.stopped() {
		return s.others()
	}
	var out Set
	for _, p := range s.cfg.parties().Without(s.cfg.Self).Without(s.log.Hub()) {
		if !s.state.Liars.Has(p) {
			out = out.With(p)
		}
	}
	return out
}

// onAsk answers with all that is beyond the asker's final head: Final. One that
// has forgotten itself is no witness.
func (s *step) onAsk(m *Message) {
	if s.state.Restored {
		return
	}
	from := uint64(0)
	if s.log.Holds(m.Final.Head) {
		from = m.Final.Head.Seq
	}
	s.send(m.From, Message{Kind: Answer, Head: s.log.Last(), Entries: s.log.After(from), Final: s.state.Final,
		Seen: later(s.state.Seen, s.state.Vote.Term)})
}

// onAnswer collects: Head, Entries, Final, Seen. Without Seen it is a part of what the
// other holds: entries that it was asked for before it answers.
func (s *step) onAnswer(m *Message) {
	if !s.state.Restored && !s.stopped() && m.Head.Term.Era > s.log.Last().Term.Era {
		if s.heard(m); s.stopped() {
			return
		}
	}
	if !s.state.Restored && !s.state.Unsure || s.answered.Has(m.From) {
		return
	}
	switch {
	case !s.state.Restored:
		if m.Seen != (room.Term{}) {
			s.raise(m.Seen)
			s.answered = s.answered.With(m.From)
			s.sure()
			s.write()
		}
		return
	case s.stopped():
		// Nothing of its log is taken: what counts is which terms it has seen. A log that goes
		// on into another era comes from its hub.
	case s.log.Last().Behind(m.Head) && !s.take(m) && !s.stopped():
		return
	}
	if m.Seen == (room.Term{}) {
		return
	}
	s.state.Seen = later(s.state.Seen, m.Seen)
	s.answered = s.answered.With(m.From)
	s.write()
	s.whole()
}

// whole ends the quarantine when all others have answered. Of what we may have
// signed and forgotten, every vote was for somebody who has now told of its
// term, and every co-signature is of a head that its hub has now shown. What we
// may have ordered ourselves nobody can tell, so we are hub of none of these
// terms any more.
func (s *step) whole() {
	if !s.state.Restored || !s.others().Within(s.answered) {
		return
	}
	s.follow(0)
	s.state.Restored = false
	s.state.Lost = s.state.Seen
	s.state.Vote = Vote{Term: s.state.Seen}
	s.sure()
	s.write()
}

// sure ends the rest of it when everybody has answered whom a forgotten move could name.
func (s *step) sure() {
	if s.state.Restored || !s.movers().Within(s.answered) && mutant != restoredMoves {
		return
	}
	s.state.Unsure = false
	s.answered = nil
}
