package rooms_test

import (
	"context"
	"testing"
	"time"

	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/room"
)

// TestRestoredForgetsNoMove: a follower has acknowledged a move, and comes back from a backup
// of before it. It acknowledges no other one, by which two would be hub of one term, before
// all who could have asked for the first have answered.
func TestRestoredForgetsNoMove(t *testing.T) {
	w := prepareWorld(t, true, append([]string{delta}, three...)...)
	watched(w)
	w.start()
	alice, bob := w.device("alice@atlanta.example", "phone"), w.device("bob@biloxi.example", "phone")
	carol, dave := w.device("carol@chicago.example", "phone"), w.device("dave@"+delta, "phone")
	all := []*device{alice, bob, carol, dave}
	id, _, err := alice.create("orphans")
	if err == nil {
		err = alice.add(id, all[1:]...)
	}
	if err != nil {
		t.Fatal(err)
	}
	for i, d := range []*device{bob, dave} {
		for _, x := range all {
			x.follow(id, uint64(2+i))
		}
		if err := alice.role(id, d, policy.Admin); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range all {
		d.follow(id, 4)
	}
	atlanta, biloxi, chicago := w.ps[three[0]], w.ps[three[1]], w.ps[three[2]]
	restore := chicago.backup()
	atlanta.down2(true)
	w.split(delta)
	if err := bob.update(id, bob.moving(three[1], 1)); err != nil {
		t.Fatal(err) // chicago has acknowledged it: two of three
	}
	bob.say(id, "moved")
	carol.read(id, "moved")
	w.split(three[1])
	restore()
	if chicago.stand(id).Next != 4 || !chicago.marked(id) {
		t.Fatalf("it is not back: %+v", chicago.stand(id))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if r, err := w.ps[delta].rooms.SubmitUpdate(ctx, dave.who, id, &clientapi.SubmitUpdate{Request: dave.moving(delta, 1), Nonce: nonce()}); err == nil {
		t.Errorf("dave has moved the room in the same era: %v", r)
	}
	if s := chicago.stand(id); s.Hub != three[0] || s.Next != 4 {
		t.Errorf("chicago follows %s, to %d", s.Hub, s.Next)
	}
	w.split()
	first := biloxi.log(id)[4]
	eventually(t, "chicago and delta follow biloxi", func() bool {
		for _, p := range []*provider{chicago, w.ps[delta]} {
			p.rooms.Exchange(t.Context(), three[1])
			if log := p.log(id); len(log) < 6 || log[4].Hash() != first.Hash() || log[4].Kind != room.KindHubChange {
				return false
			}
		}
		return true
	})
}
