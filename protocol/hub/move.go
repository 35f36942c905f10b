package hub

import "github.com/mimid/mimid/protocol/room"

// This file is the admin move: a new era without the old hub's consent.

// moved reports whether enough have acknowledged a move away from hub: a
// majority of those who took part, the replaced one not counted. Where the move proves
// that some of them have lied, it takes all the others, the replaced one too.
func moved(of Set, replaced Provider, acks, liars Set) bool {
	switch {
	case len(liars) > 0 && mutant == liarsLeftOut:
		return majority(of.Without(replaced).less(liars), acks.Without(replaced))
	case len(liars) > 0:
		rest := of.With(replaced).less(liars)
		return len(rest) > 0 && rest.Within(acks)
	case mutant == moveCountsHub:
		return majority(of, acks)
	}
	return majority(of.Without(replaced), acks.Without(replaced))
}

// parties are who is asked to acknowledge a move.
func (c *Config) parties() Set {
	if len(c.Parties) == 0 {
		return c.Peers
	}
	return c.Parties
}

// moveHere begins a move by an admin's commit that makes the given set, in the era that
// it names, if that is none too low. The caller can prove that liars have lied.
func (s *step) moveHere(set Set, t room.Term, liars Set) {
	if s.role == Hub || s.state.Restored || s.state.Unsure || len(set) == 0 {
		return
	}
	s.follow(0)
	s.vote(room.Term{Era: max(s.state.Seen.Era+1, t.Era), Number: 1}, s.cfg.Self, s.log.Last())
	s.role, s.votes, s.commit, s.on, s.lied = Mover, Set{s.cfg.Self}, set, s.log.handshake(), liars
	s.write()
	s.callMove()
	s.move()
}

// voices are whose acknowledgement may count for our move.
func (s *step) voices() Set {
	if len(s.lied) > 0 {
		return s.cfg.parties().With(s.log.Hub())
	}
	return s.cfg.parties()
}

func (s *step) callMove() {
	for _, p := range s.voices() {
		if !s.votes.Has(p) {
			s.send(p, Message{Kind: Move, Term: s.state.Seen, Head: s.on, Set: s.commit, Final: s.state.Final})
		}
	}
}

// onMove acknowledges, once per era: Term, Final, Common. The answer shows the log that
// we hold, which does not change any more until the move is decided.
func (s *step) onMove(m *Message) {
	again := s.state.Vote.Term == m.Term && s.state.Vote.For == m.From && s.state.Seen == m.Term && s.leader == 0
	if !again {
		if s.state.Unsure && !s.state.Restored {
			s.ask()
		}
		forgetful := s.state.Restored || s.state.Unsure
		if m.Term.Era <= s.state.Seen.Era || forgetful && !(mutant == frozenForgets && s.stopped()) {
			s.send(m.From, Message{Kind: Ack, Term: m.Term, Seen: s.state.Seen})
			return
		}
		if mutant == frozenUnbound && m.Common != (Head{}) {
			s.send(m.From, Message{Kind: Ack, Term: m.Term, Head: m.Common, Grant: true})
			return
		}
		s.follow(0)
		s.vote(m.Term, m.From, s.log.Last())
		s.write()
	}
	if s.stopped() && m.Common != (Head{}) && mutant != frozenShows {
		// What is behind the place where the two part is what the administrator has chosen
		// between. Our entries would only show once more that they contradict the others.
		s.send(m.From, Message{Kind: Ack, Term: m.Term, Head: m.Common, Grant: true})
		return
	}
	from := uint64(0)
	if s.log.Holds(m.Final.Head) {
		from = m.Final.Head.Seq
	}
	s.send(m.From, Message{Kind: Ack, Term: m.Term, Head: s.log.Last(), Entries: s.log.After(from), Final: s.state.Final, Grant: true})
}

// onAck counts an acknowledgement and takes the newest log among them: Term,
// Head, Entries, Final, Grant. Who refuses because it holds a newer handshake, so
// that it cannot judge the commit, shows it, and that ends the move.
func (s *step) onAck(m *Message) {
	if s.role != Mover || m.Term != s.state.Seen || s.votes.Has(m.From) || s.lied.Has(m.From) || !s.voices().Has(m.From) {
		return
	}
	if s.log.Last().Behind(m.Head) && !s.take(m) {
		return
	}
	if !m.Grant {
		if s.log.handshake() != s.on {
			s.follow(0)
			s.effect(Effect{Kind: Rejected, Why: ErrMove})
		}
		return
	}
	s.votes = s.votes.With(m.From)
	s.move()
}

// take adopts a newer log as another holds it, without co-signing it. Storing
// what others have proven needs no fence: only signatures make things final.
func (s *step) take(m *Message) bool {
	log, aside, ok := s.join(m)
	if !ok || log.Last().Behind(m.Head) {
		return false
	}
	before := s.state.Final.Head
	s.adopt(log, len(aside))
	s.raise(log.Last().Term) // the log proves it
	if !s.certified(m.Final) {
		return false
	}
	s.write()
	if len(aside) > 0 {
		s.effect(Effect{Kind: SetAside, Entries: aside})
	}
	if f := s.state.Final.Head; f != before {
		s.effect(Effect{Kind: Final, Head: f})
	}
	return true
}

// move takes effect when enough have acknowledged, if the commit extends the
// newest handshake that they hold. So nobody can be kept in a room, or in power,
// by moving it from before the commit that removed them.
//
// The usual count comes first, but for a move to the very hub that it replaces: that one
// may go on in a new era only with the word of everybody who has not lied.
func (s *step) move() {
	of, by := s.cfg.parties(), s.log.Hub()
	var liars Set
	if len(s.lied) > 0 && by == s.cfg.Self || !moved(of, by, s.votes, nil) {
		liars = s.lied
		if len(liars) == 0 || !moved(of, by, s.votes, liars) {
			return
		}
	}
	if s.log.handshake() != s.on {
		s.follow(0)
		s.effect(Effect{Kind: Rejected, Why: ErrMove})
		return
	}
	s.lead(&Entry{Kind: Change, Hub: s.cfg.Self, Via: ByMove, Voters: s.votes.less(liars), Set: s.commit, Liars: liars})
}
