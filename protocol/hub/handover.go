package hub

import "github.com/mimid/mimid/protocol/room"

// This file is the hand over: an election that the hub itself asks for.

// handOver stops ordering and releases the room to target.
func (s *step) handOver(target Provider) {
	if s.role != Hub || target == s.cfg.Self {
		return
	}
	f := s.log.now()
	single := len(f.old) == 1 && len(f.new) == 0 && f.old.Has(s.cfg.Self) // ours to give
	if !single && !f.replicas().Has(target) || !s.cfg.Peers.Has(target) || single && !s.cfg.parties().Has(target) {
		s.effect(Effect{Kind: Rejected, Why: ErrTarget})
		return
	}
	t := next(s.state.Seen)
	s.follow(0)
	s.role = Releasing
	// The release is our vote in that term, so it binds us as one.
	s.state.Seen = t
	s.state.Vote = Vote{Term: t, For: target, Head: s.log.Last(), Release: true}
	if single {
		s.state.Given = s.state.Vote
	}
	s.write()
	s.release()
}

// given reports whether we have released a set of one and know of no hub after
// us. The release is the whole proof of the next hub, who may be at work already:
// our vote, which is still the set's majority, must not elect us again.
func (s *step) given() bool {
	v := s.state.Given
	return v.Release && v.Head == s.log.Last() && mutant != releaseTakenBack
}

// released is the release that we repeat.
func (s *step) released() Vote {
	if s.given() {
		return s.state.Given
	}
	return s.state.Vote
}

// release says so, again if need be, until a hub is heard in that term.
func (s *step) release() {
	s.releaseFrom(s.state.Final.Head.Seq)
}

// releaseAbove moves the release of a set of one above a term that its target has
// seen meanwhile. It is the same gift, of the same log to the same provider.
func (s *step) releaseAbove(t room.Term) {
	v := s.state.Given
	v.Term = next(t)
	s.state.Seen, s.state.Vote, s.state.Given = v.Term, v, v
	s.write()
	s.release()
}

// releaseFrom sends the release with the entries after a place.
func (s *step) releaseFrom(seq uint64) {
	v := s.released()
	s.send(v.For, Message{Kind: Release, Term: v.Term, Head: v.Head,
		Entries: s.log.After(seq), Final: s.state.Final})
}

// onRelease takes the room over, in a set of one at once, else as a candidate
// with two votes: Term, Head, Entries, Final.
func (s *step) onRelease(m *Message) {
	if m.Term.Compare(s.state.Seen) <= 0 {
		// A head below the window is long behind us: the releaser has missed it.
		if m.Head.Seq >= s.log.base && !s.log.Holds(m.Head) || s.log.Last() == m.Head {
			s.send(m.From, Message{Kind: Refuse, Term: m.Term, Seen: s.state.Seen, Hub: s.leader})
		}
		return
	}
	if s.state.Restored || m.Term.Era != m.Head.Term.Era || m.Head.Behind(s.log.Last()) {
		return
	}
	log, aside, ok := s.join(m)
	if !ok || log.Last() != m.Head || log.Hub() != m.From {
		return
	}
	before := s.state.Final.Head
	s.adopt(log, len(aside))
	if !s.certified(m.Final) {
		return
	}
	s.follow(0)
	s.vote(m.Term, s.cfg.Self, m.Head)
	s.votes = Set{s.cfg.Self}.With(m.From)
	f := s.log.now()
	switch {
	case len(f.old) == 1 && len(f.new) == 0 && f.old.Has(m.From):
		// The whole set has agreed: its only place moves with the release.
		s.lead(&Entry{Kind: Change, Hub: s.cfg.Self, Via: ByRelease, Voters: Set{m.From}, Set: Set{s.cfg.Self}})
	case mutant == handOverAlone:
		s.lead(&Entry{Kind: Change, Hub: s.cfg.Self, Via: ByVotes, Voters: s.votes})
	case !s.isReplica():
		s.write()
	default:
		s.role, s.excuse = Candidate, Released
		if !s.elected() {
			s.write()
			s.canvass()
		}
	}
	if len(aside) > 0 {
		s.effect(Effect{Kind: SetAside, Entries: aside})
	}
	if f := s.state.Final.Head; f != before && s.role != Hub {
		s.effect(Effect{Kind: Final, Head: f})
	}
}
