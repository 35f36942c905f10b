package rooms_test

import (
	"context"
	"testing"

	"github.com/mimid/mimid/node/rooms"
	"github.com/mimid/mimid/protocol/hub"
	"github.com/mimid/mimid/protocol/replica"
	"github.com/mimid/mimid/protocol/room"
)

// TestClaimedByReplica: so does one of the replicas, whose word about elections counts.
func TestClaimedByReplica(t *testing.T) {
	w, users, id := impatient(t)
	users["bob"].say(id, "before")
	w.alike(id, 5)
	liar := three[2]
	era := room.Term{Era: 7, Number: 1}
	for _, kind := range []replica.Kind{replica.Refuse, replica.Would, replica.Grant, replica.AskVote, replica.Stand, replica.Answer} {
		m := &replica.Message{Room: room.ID(id), Kind: kind, Term: era, Seen: era, Excuse: hub.Released, Head: hub.Head{Term: era, Seq: 9, Hash: room.Hash{9}}}
		if kind == replica.Refuse {
			m.Term = room.FirstTerm
		}
		for _, d := range three[:2] {
			w.ps[d].serve(context.Background(), rooms.EndpointReplica, &rooms.Request{Source: liar, Subject: d, Body: replica.Append(nil, []*replica.Message{m})})
		}
	}
	users["bob"].say(id, "after")
	users["carol"].read(id, "before", "after")
	for _, d := range three {
		if s, err := w.ps[d].rooms.Standing(context.Background(), room.ID(id)); err != nil || s.Seen.Era != 0 {
			t.Errorf("%s has seen term %s: %v", d, s.Seen, err)
		}
	}
}

// TestRefusedByNobody: a provider that takes part and decides nothing says that it has seen a
// term of a later era. The room goes on in its own.
func TestRefusedByNobody(t *testing.T) {
	w, users, id := impatient(t)
	users["bob"].say(id, "before")
	w.alike(id, 5)
	for _, kind := range []replica.Kind{replica.Refuse, replica.Would, replica.Grant, replica.AskVote, replica.Stand} {
		m := &replica.Message{Room: room.ID(id), Kind: kind, Term: room.Term{Era: 7, Number: 1}, Seen: room.Term{Era: 7, Number: 1}, Excuse: hub.Asked}
		if kind == replica.Refuse {
			m.Term = room.FirstTerm
		}
		for _, d := range three {
			// Whatever is answered: one message in a request may be believed, and another not.
			w.ps[d].serve(context.Background(), rooms.EndpointReplica, &rooms.Request{Source: delta, Subject: d, Body: replica.Append(nil, []*replica.Message{m})})
		}
	}
	users["bob"].say(id, "after")
	users["carol"].read(id, "before", "after")
	for _, d := range three {
		if s, err := w.ps[d].rooms.Standing(context.Background(), room.ID(id)); err != nil || s.Seen.Era != 0 {
			t.Errorf("%s has seen term %s: %v", d, s.Seen, err)
		}
	}
}
