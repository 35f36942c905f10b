package rooms_test

import (
	"testing"
	"time"

	"github.com/mimid/mimid/protocol/room"
)

// TestRoomTooLargeForNotices: where the tree is too large for a notice, the commit is taken all
// the same, and the other provider hears of it and follows the room, without a Welcome for its
// users, whose devices come in by an external commit (client.TestRejoin). Who is added when the
// tree fits again has a Welcome.
func TestRoomTooLargeForNotices(t *testing.T) {
	w := prepareWorld(t, false, "atlanta.example", "biloxi.example")
	w.start()
	atlanta, biloxi := w.ps["atlanta.example"], w.ps["biloxi.example"]
	alice, al := w.device("alice@atlanta.example", "phone"), w.device("al@atlanta.example", "phone")
	bob, bill := w.device("bob@biloxi.example", "phone"), w.device("bill@biloxi.example", "phone")
	id, _, err := alice.create("room")
	if err != nil {
		t.Fatal(err)
	}
	atlanta.rooms.LimitNotice(2000)
	if err := alice.add(id, bob, al); err != nil {
		t.Fatal(err)
	}
	alice.follow(id, 2)
	al.follow(id, 2) // of the hub's own provider
	eventually(t, "biloxi follows", func() bool {
		l := biloxi.rooms.List()
		return len(l) == 1 && l[0].Next == 2
	})
	if got := bob.welcomes(); got != 0 {
		t.Errorf("%d Welcomes in a notice of at most 2,000 octets", got)
	}
	atlanta.rooms.LimitNotice(room.MaxNotice)
	if err := alice.add(id, bill); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the next one has a Welcome", func() bool { return bill.welcomes() == 1 })
	time.Sleep(50 * time.Millisecond)
	if got := bob.welcomes(); got != 0 {
		t.Errorf("%d Welcomes for who was added before", got)
	}
}
