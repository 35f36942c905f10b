package hub

import "github.com/mimid/mimid/protocol/room"

// This file is about providers that sign contradictions.

// forked finds the proof that somebody signed two logs of one term, given where
// two logs part: mine and theirs are what is only in one of them. Batches are
// stored with the signed head that ends them, and a Change follows a signed
// head, so the last entry of each term is one.
func (s *step) forked(mine, theirs []*Entry) (Proof, bool) {
	var t room.Term
	for i := len(mine) - 1; i >= 0; i-- {
		if mine[i].Term == t {
			continue
		}
		t = mine[i].Term
		if b, ok := lastOf(t, theirs); ok {
			return Proof{Liar: s.hubAt(mine[i].Seq), Term: t, A: mine[i].Head(), B: b}, true
		}
	}
	return Proof{}, false
}

func (s *step) hubAt(seq uint64) Provider { return s.log.forceAt(seq).hub }

// convict notes a proof once and passes it on. A hub that is proven a liar is
// suspected at once.
func (s *step) convict(p Proof) {
	if p.Liar == 0 || p.Liar == s.cfg.Self || s.state.Liars.Has(p.Liar) {
		return
	}
	s.state.Liars = s.state.Liars.With(p.Liar)
	if s.leader == p.Liar {
		s.leader = 0
	}
	s.write()
	s.effect(Effect{Kind: Convicted, Proof: p})
	s.sendAll(s.cfg.Peers.Without(p.Liar), Message{Kind: Convict, Proof: p})
	if s.role == Follower && s.log.Hub() == p.Liar {
		s.suspects = true
	}
}

// votedTwice finds providers that voted for the hub of a term and, in that same
// term, for us.
func (s *step) votedTwice(log Log, t room.Term) {
	if s.role != Candidate || s.state.Seen != t {
		return
	}
	for seq := uint64(log.Len()) - 1; seq > log.base && log.At(seq).Term == t; seq-- {
		e := log.At(seq)
		if e.Kind != Change || e.Hub == s.cfg.Self || e.Via != ByVotes {
			continue
		}
		for _, p := range e.Voters {
			if p != s.cfg.Self && s.votes.Has(p) {
				s.convict(Proof{Liar: p, Term: t, Votes: true, A: s.state.Vote.Head, B: log.At(seq - 1).Head()})
			}
		}
	}
}
