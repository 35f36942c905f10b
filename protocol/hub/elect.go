package hub

import "github.com/mimid/mimid/protocol/room"

// This file is the take-over: canvassing, standing, voting.

// may reports whether we may stand for hub: as a replica in force that knows all
// it has signed. After an acknowledged move only a log with that move can win in
// its era: without this an old replica set elects beside the moved room.
func (s *step) may() bool {
	return s.stands() && !s.given() && !s.state.Restored && (s.state.Seen.Era == s.log.Last().Term.Era || mutant == eraCrossing)
}

// stands reports whether we are in the set in force, or in the one before as long
// as we do not know that its end is final: Settled may be stored by nobody else
// yet, and then nobody who has it is in the new set, and nobody without it wins.
func (s *step) stands() bool {
	f := s.log.now()
	return f.replicas().Has(s.cfg.Self) ||
		f.before.Has(s.cfg.Self) && s.state.Final.Head.Seq < f.settled && mutant != newSetStandsOnly
}

// suspect begins a take over by asking around, without recording anything: a
// replica that is alone with its suspicion must not raise the term.
func (s *step) suspect() {
	switch s.role {
	case Hub:
		return
	case Mover, Waiting:
		s.resend()
		return
	case Releasing:
		if s.given() || !s.may() {
			s.resend()
			return
		}
		// Its successor does not come. It asked for an election by itself, and asks
		// for another: who stands above the term of the release may be voted for.
		s.stand(Refused)
		return
	}
	if s.cfg.Manual {
		return
	}
	s.suspects = true
	f := s.log.now()
	if s.may() && len(f.old) == 1 && len(f.new) == 0 && f.old[0] == s.cfg.Self && f.hub != s.cfg.Self {
		s.stand(NoExcuse) // our own vote is enough
		return
	}
	if !s.may() || s.isReplica() && len(f.old) < 3 && len(f.new) < 3 {
		return // nobody else could vote; only an admin moves this room
	}
	s.role, s.votes = Canvasser, Set{s.cfg.Self}
	s.sendAll(s.log.now().replicas(), Message{Kind: AskVote, Term: next(s.state.Seen), Head: s.log.Last()})
}

// doubt is suspecting without asking anybody: two that ask for the same room at once stand
// at once, and then neither wins.
func (s *step) doubt() {
	if s.role == Follower && !s.cfg.Manual {
		s.suspects = true
	}
}

// onAskVote answers whether Stand would be granted: Term, Head.
func (s *step) onAskVote(m *Message) {
	s.send(m.From, Message{Kind: Would, Term: m.Term, Seen: s.state.Seen, Grant: s.suspects && s.acceptable(m)})
	s.catchUp(m)
}

// catchUp asks who wants to be voted for in an era that we have not heard of for the log
// that goes on in it. We may be needed, and the hub that was moved to be dead.
func (s *step) catchUp(m *Message) {
	if !s.believes(m.Head.Term) {
		s.send(m.From, Message{Kind: Need, Head: s.state.Final.Head})
	}
}

// onWould counts: Term, Grant, Seen.
func (s *step) onWould(m *Message) {
	if s.role != Canvasser || !s.believes(m.Seen) {
		return
	}
	if m.Seen.Compare(s.state.Seen) > 0 {
		// Raising our own term is safe at any time; it takes a write.
		s.raise(m.Seen)
		s.suspects = true
		s.write()
		return
	}
	if m.Term == next(s.state.Seen) && m.Grant {
		s.votes = s.votes.With(m.From)
		if s.quorum(s.votes) {
			s.stand(NoExcuse)
		}
	}
}

// stand votes for ourselves in a term above all seen and asks for votes.
func (s *step) stand(ex Excuse) {
	// Above every term that we know to be somebody's: in the same one who votes for the
	// other cannot vote for us, and two that take turns would be in each other's way for ever.
	t := next(later(s.state.Seen, s.taken))
	s.follow(0)
	s.suspects = true
	s.role, s.excuse, s.votes = Candidate, ex, Set{s.cfg.Self}
	s.vote(t, s.cfg.Self, s.log.Last())
	if s.elected() {
		return
	}
	s.writeVote()
	s.canvass()
}

// vote notes a vote. It is not one before it is written.
func (s *step) vote(t room.Term, p Provider, h Head) {
	s.state.Seen = t
	s.state.Vote = Vote{Term: t, For: p, Head: h}
}

func (s *step) writeVote() {
	if mutant == voteNotDurable {
		return
	}
	s.write()
}

func (s *step) canvass() {
	for _, p := range s.log.now().replicas() {
		if !s.votes.Has(p) {
			s.send(p, Message{Kind: Stand, Term: s.state.Seen, Head: s.state.Vote.Head, Excuse: s.excuse})
		}
	}
}

// acceptable is every check of a voter but suspicion: Term, Head.
func (s *step) acceptable(m *Message) bool {
	last, final := s.log.Last(), s.state.Final.Head
	switch {
	case s.state.Restored:
		return false // it may have voted in this term and forgotten
	case s.given() && m.Head.Term.Compare(s.state.Given.Head.Term) <= 0:
		// Our vote is the whole set's, and the room is another's already. A log that
		// ends in a later term has a hub after us, by this release: in it our vote is
		// one of several, and may be needed.
		return false
	case m.Term.Compare(s.state.Seen) < 0 || m.Term.Compare(s.state.Vote.Term) <= 0:
		return false // one vote per term, none below the fence
	case m.Head.Term.Era != m.Term.Era && mutant != eraCrossing:
		return false // see may
	case !s.believes(m.Term):
		return false
	case mutant == logCheckFinalOnly:
		return !m.Head.Behind(final)
	case m.Head.Behind(last):
		// By the last stored entry, final here or not: others may know that it
		// is final.
		return false
	case m.Head.Seq < final.Seq || m.Head.Seq == final.Seq && m.Head.Hash != final.Hash:
		return false
	}
	return true
}

// onStand votes or refuses: Term, Head, Excuse.
func (s *step) onStand(m *Message) {
	again := s.state.Vote == Vote{Term: m.Term, For: m.From, Head: m.Head} && s.state.Seen == m.Term && !s.state.Restored
	if !again {
		if !s.acceptable(m) || !s.suspects && m.Excuse == NoExcuse {
			if m.Term.Era == s.state.Seen.Era {
				s.taken = later(s.taken, m.Term)
			}
			s.send(m.From, Message{Kind: Grant, Term: m.Term, Head: m.Head, Seen: s.state.Seen})
			s.catchUp(m)
			return
		}
		s.follow(0)
		s.suspects = true
		s.vote(m.Term, m.From, m.Head)
		s.writeVote()
	}
	s.send(m.From, Message{Kind: Grant, Term: m.Term, Head: m.Head, Seen: m.Term, Grant: true})
}

// onGrant counts a vote: Term, Head, Grant, Seen.
func (s *step) onGrant(m *Message) {
	switch {
	case !s.believes(m.Seen):
	case m.Seen.Compare(s.state.Seen) > 0 && !m.Grant && s.role == Candidate:
		// Whoever stood with a reason still has it above: else two candidates
		// that fence each other off wait for each other.
		ex := s.excuse
		s.raise(m.Seen)
		s.suspects = true
		s.write()
		if ex != NoExcuse {
			s.wait(ex)
		}
	case m.Grant && s.role == Candidate && m.Term == s.state.Seen && m.Head == s.state.Vote.Head:
		s.votes = s.votes.With(m.From)
		s.elected()
	}
}

// elected makes us hub if a majority has voted for us.
func (s *step) elected() bool {
	if !s.quorum(s.votes) {
		return false
	}
	s.lead(&Entry{Kind: Change, Hub: s.cfg.Self, Via: ByVotes, Voters: s.votes})
	return true
}

// wait keeps a reason to stand until the caller has let a random time pass. Two
// that stood again at once would fence each other off for ever.
func (s *step) wait(ex Excuse) {
	if !s.may() {
		return
	}
	s.role, s.excuse, s.suspects = Waiting, ex, true
	s.effect(Effect{Kind: Wait})
}

// lead begins our term with its Change, whose prev is the head that was voted
// for: nothing can have been appended between.
func (s *step) lead(e *Entry) {
	t := s.state.Seen
	s.thaw(t)
	s.follow(s.cfg.Self)
	s.role, s.leads = Hub, t
	s.order(e)
	before := s.state.Final.Head
	s.certify()
	s.settle()
	s.write()
	s.effect(Effect{Kind: Leads, Head: e.Head()})
	s.publish(before.Seq)
	s.announce(before)
}
