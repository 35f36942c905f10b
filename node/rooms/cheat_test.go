package rooms_test

import (
	"testing"
	"time"

	"github.com/mimid/mimid/overlay"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/store"
)

// What a hub may do against honest followers, and what becomes of it, is in:
//
//   - an entry that cannot be: TestCheatingHub, TestLyingHub, TestSharedLie
//   - two histories: TestTwoHistories
//   - one member's messages, or everybody's, are left lying: TestLeftLying
//   - an ended term goes on: TestForeignPieces, TestReplayedTerm
//   - entries in another order than they came in is its right, until it has signed one:
//     a second order is a second history
//   - an administrator who was removed, and one who decides alone, does what he may not:
//     TestMoveAfterRemoval, TestMoveRefused, TestParted

// TestCheatingHub: whatever a hub signs that its room does not allow, the two others
// refuse, keep the proof, vote it out, and go on from before it.
func TestCheatingHub(t *testing.T) {
	handshake := func(raw []byte) []byte {
		b, err := parseUpdate(raw)
		if err == nil {
			var body []byte
			if body, err = room.HandshakeOf(&b.Bundle).Bytes(); err == nil {
				return body
			}
		}
		panic(err)
	}
	for _, c := range []struct {
		name string
		// lie changes the entry that follows all that is final.
		lie func(w *world, bob *device, id store.RoomID, e *room.Entry)
	}{
		{"a commit that a member may not make", func(w *world, bob *device, id store.RoomID, e *room.Entry) {
			p := must(room.UpdateParticipants(bob.group.Public().Context(), []room.Participant{{User: bob.who.User, Role: policy.Admin}}, nil))(w.t)
			e.Kind, e.Body = room.KindHandshake, handshake(bob.handshake(mls.CommitOptions{Proposals: []*mls.Proposal{p}}))
		}},
		{"a commit with another signature", func(w *world, bob *device, id store.RoomID, e *room.Entry) {
			e.Kind, e.Body = room.KindHandshake, handshake(bob.handshake(mls.CommitOptions{}))
			e.Body[len(e.Body)/2] ^= 1
		}},
		{"a set change that is settled without a certificate", func(_ *world, _ *device, _ store.RoomID, e *room.Entry) {
			e.Kind, e.Txn = room.KindSettled, room.TxnID{}
			e.Body = (&room.Settled{}).Bytes()
		}},
		{"another hub by nobody's vote", func(w *world, _ *device, _ store.RoomID, e *room.Entry) {
			e.Kind, e.Txn, e.Term.Number = room.KindHubChange, room.TxnID{}, e.Term.Number+1
			e.Body = (&room.HubChange{Via: room.ByVotes, Hub: w.replica(three[0])}).Bytes()
		}},
		{"a second beginning", func(w *world, _ *device, id store.RoomID, e *room.Entry) {
			e.Kind, e.Body = room.KindCreate, w.ps[three[1]].log(id)[0].Body
		}},
		{"a clock that runs back", func(w *world, _ *device, id store.RoomID, e *room.Entry) {
			for _, old := range w.ps[three[1]].log(id) {
				if old.Kind == room.KindMessage {
					e.Body = old.Body
				}
			}
			e.AcceptedAt = 1
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, alice, bob, carol, id := trio(t)
			bob.say(id, "before")
			carol.read(id, "before")
			before := w.alike(id, 5)
			atlanta := w.ps[three[0]]
			lie := atlanta.forge(id, func(e *room.Entry) { e.Txn = room.TxnID{9}; c.lie(w, bob, id, e) })
			for _, d := range three[1:] {
				if v := w.ps[d].gossip(three[0], lie.Append(nil)); v != overlay.Accept {
					t.Fatalf("%s: verdict %v", d, v)
				}
			}
			for _, d := range three[1:] {
				p := w.ps[d]
				eventually(t, "another provider orders the room at "+d, func() bool { h := p.stand(id).Hub; return h != three[0] && h != "" })
				if k := p.condemned(id); k == nil || k.Head.Head != lie.Head.Head {
					t.Errorf("%s keeps no proof: %+v", d, k)
				} else {
					t.Log(k.Why)
				}
			}
			carol.say(id, "after")
			alice.read(id, "before", "after")
			now := w.alike(id, len(before)+2)
			for i, e := range before {
				if now[i].Hash() != e.Hash() {
					t.Errorf("entry %d is another one", i)
				}
			}
			for _, e := range now {
				if e.Hash() == lie.Entries[0].Hash() {
					t.Error("the lie is in the log")
				}
			}
		})
	}
}

// TestReplayedTerm: what a hub once said is said again when its term has ended, and by
// itself with new entries: nobody takes any of it.
func TestReplayedTerm(t *testing.T) {
	w, alice, bob, carol, id := trio(t)
	alice.say(id, "before")
	bob.read(id, "before")
	w.alike(id, 5)
	atlanta := w.ps[three[0]]
	mine, theirs := histories(t, w, alice, id)
	old := &room.Piece{Head: room.SignHead(room.HeadOf(w.ps[three[1]].log(id)[4]), atlanta.key), Entries: w.ps[three[1]].log(id)[3:5]}
	if err := atlanta.rooms.Move(t.Context(), room.ID(id), three[1]); err != nil {
		t.Fatal(err)
	}
	carol.say(id, "new term")
	bob.read(id, "before", "new term")
	next, term := uint64(len(w.alike(id, 7))), w.ps[three[2]].stand(id).Term
	for _, d := range three[1:] {
		for _, p := range []*room.Piece{old, mine, theirs, mine} {
			w.ps[d].gossip(three[0], p.Append(nil))
		}
	}
	carol.say(id, "goes on")
	bob.read(id, "new term", "goes on")
	time.Sleep(300 * time.Millisecond)
	for _, d := range three[1:] {
		if s := w.ps[d].stand(id); s.Next != next+1 || s.Term != term || s.Hub != three[1] {
			t.Errorf("%s: %+v; expected %d entries in term %s", d, s, next+1, term)
		}
	}
	w.alike(id, int(next)+1)
}
