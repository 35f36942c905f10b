package rooms_test

import (
	"context"
	"testing"

	"github.com/mimid/mimid/protocol/room"
)

// TestReleasedToTheDead: a hub of three releases the room to a replica that does not
// answer; the two others go on.
func TestReleasedToTheDead(t *testing.T) {
	w, alice, bob, carol, id := trio(t)
	w.ps[three[2]].down2(true)
	if err := w.ps[three[0]].rooms.Move(context.Background(), room.ID(id), three[2]); err != nil {
		t.Fatal(err)
	}
	bob.say(id, "meanwhile")
	alice.read(id, "meanwhile")
	w.heal()
	carol.read(id, "meanwhile")
}
