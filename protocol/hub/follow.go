package hub

// This file is the follower's: it stores what a hub orders, and co-signs.

// onAppend takes a hub's entries: Term, Head, Entries, Final.
func (s *step) onAppend(m *Message) {
	if m.Term.Compare(s.state.Seen) < 0 && mutant != noTermFence {
		// The fence: a majority that has voted above has promised not to help
		// an older hub finish anything.
		s.send(m.From, Message{Kind: Refuse, Term: m.Term, Seen: s.state.Seen, Hub: s.leader})
		if (s.role == Follower || s.role == Canvasser) && len(m.Entries) > 0 && (m.Term.Era == s.state.Seen.Era || m.Term.Era > s.log.Last().Term.Era) &&
			m.Head.Term == m.Term && s.log.Last().Behind(m.Head) {
			// Storing is no help to that hub, and needs no fence: else who stood in
			// vain, with an old log, could neither win nor ever catch up. Nor could who has
			// acknowledged a move that came to nothing, because another one had come about,
			// unheard, in an era between: nobody could move the room a third time.
			s.heard(m)
		}
		return
	}
	if s.role == Hub && m.Term == s.leads || m.Head.Term != m.Term {
		return
	}
	log, aside, ok := s.join(m)
	if !ok {
		return
	}
	if log.forceAt(m.Head.Seq).hub != m.From {
		return // not the hub of the term that its own log names
	}
	s.votedTwice(log, m.Term)
	changed := log.Len() != s.log.Len() || len(aside) > 0 || m.Term != s.state.Seen
	s.adopt(log, len(aside))
	if m.Term != s.state.Seen || s.role != Follower {
		s.follow(m.From)
	}
	s.leader, s.suspects = m.From, false
	s.state.Seen = later(m.Term, s.state.Seen)
	before := s.state.Final.Head
	if !s.certified(m.Final) {
		return // stopped
	}
	co := Message{Kind: CoSign, Term: m.Term, Head: m.Head}
	signs := s.log.forceAt(m.Head.Seq).replicas().Has(s.cfg.Self) && !s.state.Restored
	if mutant == coSignBeforeSync && signs {
		s.send(m.From, co)
		signs = false
	}
	if changed || s.state.Final.Head != before {
		s.write()
	}
	if len(aside) > 0 {
		s.effect(Effect{Kind: SetAside, Entries: aside})
	}
	if s.state.Final.Head != before {
		s.effect(Effect{Kind: Final, Head: s.state.Final.Head})
	}
	if signs {
		s.send(m.From, co)
	}
}

// heard stores what goes on in another era than the one that we are bound to, if it is not
// beyond it. We take nothing of that for final: the move that we have acknowledged may
// still come about without it.
func (s *step) heard(m *Message) {
	if t := m.Head.Term; t.Era < s.state.Seen.Era {
		c := *m
		c.Final = Certificate{}
		m = &c
	}
	s.take(m)
}

// join lays a hub's entries over our log and returns the log that results and
// what of ours is not in it. It is false if the entries do not connect, prove
// nothing or contradict what is final, and then it has done what is to do.
func (s *step) join(m *Message) (Log, []*Entry, bool) {
	at, rest, ok := s.log.splice(m.Entries)
	if !ok || len(rest) == 0 && !s.log.Holds(m.Head) {
		s.send(m.From, Message{Kind: Need, Head: s.state.Final.Head})
		return Log{}, nil, false
	}
	if len(rest) == 0 {
		return s.log, nil, true
	}
	log, ok := s.extend(s.log.cut(at), rest)
	if !ok || !log.Holds(m.Head) {
		return Log{}, nil, false
	}
	aside := s.log.After(at - 1)
	if len(aside) == 0 {
		return log, nil, true
	}
	if p, found := s.forked(aside, rest); found && p.Liar != s.cfg.Self {
		s.convict(p)
		if p.Liar == m.From || p.Term == m.Term {
			return Log{}, nil, false
		}
	}
	if at <= s.state.Final.Head.Seq {
		s.stop(s.state.Final.Head, m.Head)
		return Log{}, nil, false
	}
	return log, aside, true
}

// extend appends another's entries, checking what only the log can tell: that
// every hub of the chain is one by a proof, and every settling by a certificate.
func (s *step) extend(log Log, es []*Entry) (Log, bool) {
	for _, e := range es {
		f, last := log.now(), log.Last()
		switch {
		case e == nil || e.Seq != last.Seq+1 || e.Prev != last.Hash || e.Kind <= Create || e.Kind > Settled:
			return Log{}, false
		case e.Kind == Change:
			if e.Term.Compare(last.Term) <= 0 || !s.proven(f, e) {
				return Log{}, false
			}
		case e.Term != last.Term:
			return Log{}, false
		case e.Kind == Settled && (len(f.new) == 0 || !f.quorum(e.Voters, 0) && mutant != newSetWhenFinal):
			return Log{}, false
		}
		log = log.append(e)
	}
	return log, true
}

// proven reports whether a Change carries its proof.
func (s *step) proven(f force, e *Entry) bool {
	switch e.Via {
	case ByVotes:
		return len(e.Set) == 0 && f.replicas().Union(f.before).Has(e.Hub) && f.quorum(e.Voters, s.state.Final.Head.Seq) || mutant == handOverAlone || mutant == newSetWhenFinal
	case ByRelease:
		return len(f.old) == 1 && len(f.new) == 0 && e.Voters.Has(f.old[0]) && len(e.Set) == 1 && e.Set[0] == e.Hub
	case ByMove:
		of := e.Of
		if len(of) == 0 {
			of = s.cfg.parties()
		}
		return len(e.Set) > 0 && moved(of, f.hub, e.Voters, e.Liars)
	}
	return false
}

// adopt replaces the log, of which n entries at the end were set aside.
func (s *step) adopt(log Log, n int) {
	s.kept = min(s.kept, s.log.Len()-n)
	s.thaw(log.Last().Term)
	s.log = log
}

// onCertify takes a certificate: Final.
func (s *step) onCertify(m *Message) {
	before := s.state.Final.Head
	if m.Final.Head.Seq <= before.Seq && s.log.Holds(m.Final.Head) {
		return
	}
	if m.Final.Head.Seq > before.Seq && !s.log.Holds(m.Final.Head) {
		s.send(m.From, Message{Kind: Need, Head: before})
		return
	}
	if !s.certified(m.Final) || s.state.Final.Head == before {
		return
	}
	s.write()
	s.effect(Effect{Kind: Final, Head: s.state.Final.Head})
}

// certified notes a certificate for a head of our log. It stops the room, and
// returns false, if the certificate is for another log than one of ours.
func (s *step) certified(c Certificate) bool {
	if c.Head.Seq == 0 {
		return true
	}
	mine := s.log.At(c.Head.Seq)
	if mine == nil {
		return true
	}
	if mutant != newSetWhenFinal && !s.log.forceAt(c.Head.Seq).quorum(c.Signers, 0) {
		return true // not a certificate, by what our log says of who decides there
	}
	switch {
	case mine.Hash == c.Head.Hash:
		if c.Head.Seq > s.state.Final.Head.Seq {
			s.state.Final = c
		}
	case c.Head.Seq <= s.state.Final.Head.Seq && c.Head.Term.Era >= s.log.Last().Term.Era:
		s.stop(s.state.Final.Head, c.Head)
		return false
	}
	return true
}

// stop ends everything: two logs claim to be final, and no later proof may undo
// what somebody has been told is final. What an admin may still do is in frozen.go.
func (s *step) stop(mine, theirs Head) {
	if s.stopped() {
		return // whoever shows another contradiction must not end a move out of this one
	}
	s.follow(0)
	s.state.Fork = [2]Head{mine, theirs}
	s.write()
	s.effect(Effect{Kind: Stopped, Proof: Proof{A: mine, B: theirs}})
	if s.state.Restored {
		s.ask() // others are asked now
	}
}
