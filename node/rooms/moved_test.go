package rooms_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mimid/mimid/node/rooms"
	"github.com/mimid/mimid/protocol/room"
)

// TestMovedHere: a room is listed where it is ordered if its URI names another provider,
// and nowhere else; the list is not made again while nothing changes. Who is in the room
// is told who orders it, and nobody else.
func TestMovedHere(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	w, alice, bob, carol, id := trio(t)
	atlanta, chicago := w.ps[three[0]].rooms, w.ps[three[2]].rooms
	here := func(r *rooms.Rooms) bool {
		list, _, changed := r.MovedHere(0)
		return changed && slices.ContainsFunc(list, func(h rooms.Here) bool { return h.Room == room.ID(id) && h.Term.Compare(room.FirstTerm) > 0 })
	}
	if here(atlanta) || here(chicago) {
		t.Error("listed though it has not moved")
	}
	if hub, term, err := chicago.HubFor(carol.who, room.ID(id)); err != nil || hub != three[0] || term != room.FirstTerm {
		t.Errorf("carol is told %s, %v, %v", hub, term, err)
	}
	if err := atlanta.Move(ctx, room.ID(id), three[2]); err != nil {
		t.Fatal(err)
	}
	if to, err := chicago.Moved(ctx, room.ID(id), room.FirstTerm); err != nil || to != three[2] {
		t.Fatalf("moved to %s, %v", to, err)
	}
	if to, err := atlanta.Moved(ctx, room.ID(id), room.FirstTerm); err != nil || to != three[2] {
		t.Fatalf("moved to %s, %v", to, err)
	}
	if here(atlanta) || !here(chicago) || here(w.ps[three[1]].rooms) {
		t.Error("listed somewhere else than where it has moved")
	}
	if hub, term, err := atlanta.HubFor(alice.who, room.ID(id)); err != nil || hub != three[2] || term.Compare(room.FirstTerm) <= 0 {
		t.Errorf("alice is told %s, %v, %v", hub, term, err)
	}
	_, at, _ := chicago.MovedHere(0)
	eventually(t, "nothing changes", func() bool {
		list, now, changed := chicago.MovedHere(at)
		still := !changed && list == nil && now == at
		at = now
		return still
	})
	bob.say(id, "on")
	eventually(t, "an entry is a change", func() bool { _, _, changed := chicago.MovedHere(at); return changed })
	dora := w.device("dora@chicago.example", "phone")
	if _, _, err := chicago.HubFor(dora.who, room.ID(id)); !strings.HasPrefix(status(err), "404 ") {
		t.Errorf("who is not in the room is told: %v", err)
	}
	if _, _, err := chicago.HubFor(carol.who, room.ID{1}); !strings.HasPrefix(status(err), "404 ") {
		t.Errorf("a room that is not there: %v", err)
	}
}
