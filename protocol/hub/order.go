package hub

// This file is the hub's: it appends, collects co-signatures, certifies.

// submit takes a submission into the log.
func (s *step) submit(ev Event) {
	reject := func(why error) { s.effect(Effect{Kind: Rejected, Txn: ev.Txn, Why: why}) }
	if s.role != Hub {
		reject(ErrNotHub)
		return
	}
	if at := s.log.Find(ev.Txn); at != 0 {
		// A duplicate is answered with the first result.
		s.effect(Effect{Kind: Accepted, Txn: ev.Txn, Head: s.log.At(at).Head()})
		return
	}
	e := &Entry{Kind: Ordinary, Txn: ev.Txn}
	if ev.Handshake {
		// One handshake at a time, because clients merge a commit when it is
		// final; and none before a set change has settled, because two sets have
		// a say then and a third would have to agree with both.
		if f := s.log.now(); len(f.new) > 0 || max(f.handshake, f.settled) > s.state.Final.Head.Seq {
			reject(ErrWait)
			return
		}
		e.Kind, e.Set = Handshake, ev.Set
	}
	s.order(e)
	before := s.state.Final.Head
	s.certify()
	s.settle()
	s.write()
	s.effect(Effect{Kind: Accepted, Txn: ev.Txn, Head: e.Head()})
	s.publish(before.Seq)
	s.announce(before)
}

// order appends an entry of our term. It must be written before anyone hears.
func (s *step) order(e *Entry) {
	last := s.log.Last()
	e.Term, e.Seq, e.Prev = s.leads, last.Seq+1, last.Hash
	e.Hash = s.cfg.Seal(e)
	s.log = s.log.append(e)
}

// publish sends every peer what it has not co-signed yet, under our signed head.
// From peers that have co-signed nothing in our term we suppose that they have
// what was final before this step; those who lack it ask.
func (s *step) publish(final uint64) {
	for _, p := range s.cfg.Peers {
		from, ok := s.acked(p)
		if !ok {
			from = final
		}
		if from < s.log.Last().Seq || !ok {
			s.sendFrom(p, from)
		}
	}
}

func (s *step) sendFrom(p Provider, seq uint64) {
	s.send(p, Message{Kind: Append, Term: s.leads, Head: s.log.Last(), Entries: s.log.After(seq), Final: s.state.Final})
}

// onCoSign counts a replica's signature: Term, Head.
func (s *step) onCoSign(m *Message) {
	if s.role != Hub || m.Term != s.leads || !s.log.Holds(m.Head) || !s.noteAck(m.From, m.Head.Seq) {
		return
	}
	before, n := s.state.Final.Head, s.log.Len()
	s.certify()
	s.settle()
	s.spread(before, n)
}

// spread writes and tells what a hub's log has gained over n entries, final up to
// before.
func (s *step) spread(before Head, n int) {
	if s.state.Final.Head == before && s.log.Len() == n {
		return
	}
	s.write()
	s.announce(before)
	if s.log.Len() > n {
		s.publish(before.Seq)
	}
	s.retire()
}

// retire hands the room over once it is final that the hub is no replica any
// more: a hub that does not vote cannot be outvoted by those who do. The successor is
// one that has just co-signed, for another may be dead.
func (s *step) retire() {
	f := s.log.now()
	if len(f.new) > 0 || f.settled > s.state.Final.Head.Seq || f.old.Has(s.cfg.Self) {
		return
	}
	to, signed := f.old[0], uint64(0)
	for _, p := range f.old {
		if seq, ok := s.acked(p); ok && seq > signed {
			to, signed = p, seq
		}
	}
	s.handOver(to)
}

// certify moves the certificate to the newest head that enough have co-signed.
// Only heads of our own term count: an older term's entry on a majority can
// still be replaced by a candidate with a newer term, until one of ours is
// above it.
func (s *step) certify() {
	for seq := s.log.Last().Seq; seq > s.state.Final.Head.Seq; seq-- {
		e := s.log.At(seq)
		if e.Term != s.leads {
			return
		}
		if signers := s.ackedBy(seq); s.log.forceAt(seq).quorum(signers, s.state.Final.Head.Seq) {
			s.state.Final = Certificate{Head: e.Head(), Signers: signers}
			return
		}
	}
}

// settle ends a set change once its commit is final. From there on the new set
// decides alone; the entry carries the old set's consent, under a head of our own term:
// what a hub before us has certified is final, but those who read the log see one term.
func (s *step) settle() {
	if f := s.log.now(); len(f.new) > 0 && f.handshake <= s.state.Final.Head.Seq && s.state.Final.Head.Term == s.leads {
		s.order(&Entry{Kind: Settled, Voters: s.state.Final.Signers})
		s.certify() // a new set of one is satisfied at once
	}
}

// announce tells of a new certificate, after it is written.
func (s *step) announce(before Head) {
	if s.state.Final.Head == before {
		return
	}
	s.effect(Effect{Kind: Final, Head: s.state.Final.Head})
	s.sendAll(s.cfg.Peers, Message{Kind: Certify, Term: s.leads, Final: s.state.Final})
}

// onNeed sends entries or a release again, from a head that the asker knows to be final: Head.
// Who has not heard of our era gets what is here, whoever ordered it: the log proves itself.
func (s *step) onNeed(m *Message) {
	from := m.Head.Seq
	if !s.log.Holds(m.Head) {
		from = 0 // let the asker see where we part
	}
	switch {
	case s.role == Hub:
		s.sendFrom(m.From, from)
	case s.role == Releasing && m.From == s.released().For:
		s.releaseFrom(from)
	case s.log.Last().Term.Era > m.Head.Term.Era && !s.state.Restored:
		s.send(m.From, Message{Kind: Answer, Head: s.log.Last(), Entries: s.log.After(from), Final: s.state.Final})
	}
}

// onRefuse stops a hub that has been outvoted: Seen is the refuser's term, Hub
// whom it follows there. If there is nobody, a failed election has fenced off
// enough to stop us, and we stand again above it, after a random time: else the
// room would wait for a suspicion that nobody has.
func (s *step) onRefuse(m *Message) {
	if !s.believes(m.Seen) {
		return // the hub of that era tells us, or a candidate in it
	}
	if s.role == Releasing && s.given() && m.From == s.state.Given.For && m.Seen.Compare(s.state.Given.Term) >= 0 {
		s.releaseAbove(later(m.Seen, s.state.Seen))
		return
	}
	if m.Seen.Compare(s.state.Seen) <= 0 {
		return
	}
	// Who already waits, or stands, keeps its reason: two refusals are often under way,
	// and the second must not make it forget the first.
	ex := s.excuse
	if s.role == Hub {
		ex = Refused
	}
	s.raise(m.Seen)
	s.write()
	if ex != NoExcuse && m.Hub == 0 {
		s.wait(ex)
	}
}

// resend repeats what may have been lost.
func (s *step) resend() {
	if s.state.Unsure && !s.state.Restored {
		s.ask()
	}
	switch {
	case s.state.Restored:
		s.ask()
	case s.role == Hub:
		s.publish(s.state.Final.Head.Seq)
	case s.role == Releasing:
		s.release()
	case s.role == Waiting:
		if s.may() {
			s.stand(s.excuse)
		}
	case s.role == Candidate:
		s.canvass()
	case s.role == Mover:
		s.callMove()
	}
}
