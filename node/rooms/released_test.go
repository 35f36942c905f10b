package rooms_test

import (
	"context"
	"testing"

	"github.com/mimid/mimid/node/rooms"
	"github.com/mimid/mimid/protocol/room"
)

// TestReleasedToTheDead: a hub of three releases the room to a replica that does not
// answer. It orders the room again, the operator is told so, and who comes back follows.
func TestReleasedToTheDead(t *testing.T) {
	w, alice, bob, carol, id := trio(t)
	ctx := context.Background()
	atlanta, chicago := w.ps[three[0]], w.ps[three[2]]
	chicago.down2(true)
	if err := atlanta.rooms.Move(ctx, room.ID(id), three[2]); err != nil {
		t.Fatal(err)
	}
	if to, err := atlanta.rooms.Moved(ctx, room.ID(id), room.Term{Number: 1}); err != nil || to != three[0] {
		t.Errorf("ordered by %s, %v", to, err)
	}
	bob.say(id, "meanwhile")
	alice.read(id, "meanwhile")
	w.heal()
	carol.read(id, "meanwhile")
	s, err := chicago.rooms.Standing(ctx, room.ID(id))
	if err != nil || s.Role != rooms.RoleReplica || s.Term.Number < 3 {
		t.Errorf("who came back: %+v, %v", s, err)
	}
	carol.say(id, "back")
	alice.read(id, "back")
}
