package search

import (
	"github.com/mimid/mimid/protocol/hub"
	"github.com/mimid/mimid/protocol/room"
)

// claims are what a provider can say of a later era, that nobody has begun, to those whom
// its word could make believe it: a hub, whoever asks for votes, and any voter. Nothing of it
// is signed, but by itself; so it must come to nothing: the room still comes to rest.
func (s *Scenario) claims(w *world, self hub.Provider) (out []*hub.Message) {
	if s.liar() {
		return s.yes(w)
	}
	for i := range s.Nodes {
		to, n := hub.Provider(i+1), w.nodes[i]
		if to == self || !n.up {
			continue
		}
		st := n.m.State()
		era := room.Term{Era: st.Seen.Era + 1, Number: 1}
		say := func(m hub.Message) {
			m.From, m.To = self, to
			out = append(out, &m)
		}
		switch n.m.Role() {
		case hub.Hub:
			say(hub.Message{Kind: hub.Refuse, Term: st.Seen, Seen: era})
		case hub.Canvasser:
			say(hub.Message{Kind: hub.Would, Term: room.Term{Era: st.Seen.Era, Number: st.Seen.Number + 1}, Seen: era})
		case hub.Candidate:
			say(hub.Message{Kind: hub.Grant, Term: st.Seen, Head: st.Vote.Head, Seen: era})
		}
		made := hub.Head{Term: era, Seq: 50, Hash: room.Hash{50}}
		say(hub.Message{Kind: hub.Stand, Term: room.Term{Era: era.Era, Number: 2}, Head: made, Excuse: hub.Asked})
	}
	return out
}

// yes is what a liar says to whoever wants its word: that is not of one history.
func (s *Scenario) yes(w *world) (out []*hub.Message) {
	for i := range s.Nodes {
		n := w.nodes[i]
		if !n.up {
			continue
		}
		st, log := n.m.State(), n.m.Log()
		m := hub.Message{From: s.Claimant, To: hub.Provider(i + 1), Term: st.Seen, Head: log.Last(), Grant: true}
		switch n.m.Role() {
		case hub.Hub:
			m.Kind, m.Term, m.Grant = hub.CoSign, log.Last().Term, false
		case hub.Candidate:
			m.Kind, m.Head, m.Seen = hub.Grant, st.Vote.Head, st.Seen
		case hub.Mover:
			m.Kind = hub.Ack
		default:
			continue
		}
		out = append(out, &m)
	}
	return out
}
