package hub_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/mimid/mimid/protocol/hub"
	"github.com/mimid/mimid/protocol/room"
)

// TestMoveRefusedByLog: who holds a newer handshake than the move's commit cannot judge
// it and refuses; what it shows ends the move, and is kept, so that the next one extends it.
func TestMoveRefusedByLog(t *testing.T) {
	term := room.Term{Number: 1}
	create := &hub.Entry{Kind: hub.Create, Hub: 1, Set: hub.SetOf(1), Term: term, Hash: room.Hash{1}}
	shook := &hub.Entry{Kind: hub.Handshake, Term: term, Seq: 1, Prev: create.Hash, Hash: room.Hash{2}}
	cfg := &hub.Config{Self: 2, Peers: hub.SetOf(1, 2, 3), Seal: func(*hub.Entry) room.Hash { return room.Hash{9} }}
	m, _ := hub.Restart(cfg, hub.Durable{State: hub.State{Seen: term}, Log: hub.Begin(create)}, false)
	m, effects := m.Step(hub.Event{Kind: hub.MoveHere, Set: hub.SetOf(2)})
	if m.Role() != hub.Mover || effects[0].Kind != hub.Write {
		t.Fatalf("a move begins as %v with %v", m.Role(), effects)
	}
	next := room.Term{Era: 1, Number: 1}
	refusal := func(head hub.Head, entries ...*hub.Entry) hub.Event {
		return hub.Event{Kind: hub.Deliver, Message: &hub.Message{Kind: hub.Ack, From: 3, To: 2, Term: next, Seen: next, Head: head, Entries: entries}}
	}
	same, effects := m.Step(refusal(create.Head()))
	if same.Role() != hub.Mover || len(effects) > 0 {
		t.Errorf("a refusal without news: %v, %v", same.Role(), effects)
	}
	m, effects = m.Step(refusal(shook.Head(), shook))
	log := m.Log()
	if m.Role() != hub.Follower || log.Last() != shook.Head() || m.State().Seen != next {
		t.Errorf("after a refusal with news: %v, log to %v, seen %v", m.Role(), log.Last(), m.State().Seen)
	}
	if !slices.ContainsFunc(effects, func(e hub.Effect) bool { return e.Kind == hub.Rejected && errors.Is(e.Why, hub.ErrMove) }) ||
		!slices.ContainsFunc(effects, func(e hub.Effect) bool { return e.Kind == hub.Write }) {
		t.Errorf("effects %v", effects)
	}
	// On the newest handshake, in a new era, it comes about.
	m, _ = m.Step(hub.Event{Kind: hub.MoveHere, Set: hub.SetOf(2)})
	next.Era = 2
	m, _ = m.Step(hub.Event{Kind: hub.Deliver, Message: &hub.Message{Kind: hub.Ack, From: 3, To: 2, Term: next, Head: shook.Head(), Grant: true}})
	if m.Role() != hub.Hub || m.State().Seen != next {
		t.Errorf("%v in %v", m.Role(), m.State().Seen)
	}
}
