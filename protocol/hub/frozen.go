package hub

import "github.com/mimid/mimid/protocol/room"

// This file is the room with two final histories, and the way out of it.

// frozen is Step where the room stands still. No entry is taken, signed or voted for; what
// is left is an administrator's move into a new era, which decides between the histories:
// we may be named by one that continues ours, we acknowledge one that continues either, and
// we follow one that continues ours. Who comes from a backup asks first (recover.go), and
// answers are given as ever.
func (s *step) frozen(ev Event) {
	switch ev.Kind {
	case Submit:
		s.effect(Effect{Kind: Rejected, Txn: ev.Txn, Why: ErrStopped})
	case MoveHere:
		s.moveHere(ev.Set, ev.Term, ev.Liars)
	case Resend:
		switch {
		case s.state.Restored, s.state.Unsure:
			s.ask()
		case s.role == Mover:
			s.callMove()
		}
	case Contradict: // a restart forgets who has signed both
		if s.state.Restored || s.state.Unsure {
			s.twofaced = ev.Set
			s.ask()
		}
	case Deliver:
		m := ev.Message
		switch {
		case m == nil:
		case mutant == frozenVotes && (m.Kind == Stand || m.Kind == AskVote):
			s.deliver(m)
		case m.Kind == Move, m.Kind == Ack, m.Kind == Ask, m.Kind == Answer, m.Kind == Append && m.Term.Era > s.log.Last().Term.Era:
			s.deliver(m)
		}
	}
}

// thaw ends that where the log goes on into a later era: only a move begins one, so an
// administrator has chosen this history.
func (s *step) thaw(t room.Term) {
	if s.stopped() && t.Era > s.log.Last().Term.Era {
		s.state.Fork = [2]Head{}
	}
}
