package rooms_test

import (
	"testing"

	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/room"
)

// TestRestoredConflict: a replica comes from a backup, and the room stands still because two
// histories of it are final. It may have acknowledged a move and forgotten it, so it asks
// those who take part, and acknowledges none before they have answered, but for those who
// have signed both histories. Then it does, and the room is moved with its word.
func TestRestoredConflict(t *testing.T) {
	for name, before := range map[string]bool{"stopped after the restore": false, "stopped before the backup": true} {
		t.Run(name, func(t *testing.T) {
			w, carol, dave, id, mine, theirs := twoFinal(t, false)
			ctx := t.Context()
			chicago, four := w.ps[three[2]], w.ps[delta]
			at := mine.Entries[0].Seq
			stop := func() {
				t.Helper()
				chicago.gossip(delta, theirs.Append(nil))
				eventually(t, "chicago stands still", func() bool { return chicago.conflict(id) != nil })
			}
			if before {
				stop()
				eventually(t, "delta is shown it", func() bool { return four.conflict(id) != nil })
			}
			restore := chicago.backup()
			four.down2(true)
			restore()
			if !before {
				stop()
			}
			carol.follow(id, at+1)
			for range 2 {
				if err := chicago.rooms.Tick(ctx, room.ID(id)); err != nil {
					t.Fatal(err)
				}
				// It does not acknowledge its own user's move either.
				if err := carol.update(id, carol.moving(three[2], 1)); err == nil || chicago.stand(id).Term != "0.1" {
					t.Errorf("it signs for a move that it may have forgotten another one beside: %v, %+v", err, chicago.stand(id))
				}
				if s, err := chicago.rooms.Standing(ctx, room.ID(id)); err != nil || s.Role != "restored" || s.Seen != room.FirstTerm || !chicago.marked(id) {
					t.Errorf("nobody has answered it: %+v, %v", s, err)
				}
				chicago.restart()
			}
			four.down2(false)
			four.show(three[2], id, mine.Append(nil)) // what was said while it was down is lost
			eventually(t, "delta stands still", func() bool { return four.conflict(id) != nil })
			eventually(t, "it is whole, without a word of atlanta and biloxi", func() bool { return !chicago.marked(id) })
			if chicago.conflict(id) == nil {
				t.Error("the conflict is over, and nobody has decided it")
			}
			if before {
				// Delta's user chooses its history; chicago, which has the other one, is needed.
				dave.follow(id, at+2)
				if err := dave.update(id, dave.moving(delta, 1)); err != nil {
					t.Fatal(err)
				}
				eventually(t, "chicago hears of it", func() bool {
					p := chicago.stand(id).Parting
					return p != nil && *p == clientapi.Parting{From: at, End: at + 1, Era: 1, Hub: three[0], To: delta}
				})
				return
			}
			if err := carol.update(id, carol.moving(three[2], 1)); err != nil {
				t.Fatal(err)
			}
			carol.say(id, "on")
			if s := chicago.stand(id); s.Hub != three[2] || s.Term != "1.1" || chicago.conflict(id) != nil {
				t.Errorf("%+v, conflict %v", s, chicago.conflict(id))
			}
		})
	}
}
