package rooms_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/mimid/mimid/node/logstore"
	"github.com/mimid/mimid/node/rooms"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/store"
)

// TestLaggingVoter: who was away votes for another hub, and has yet to hear what became
// final before: that is of a term that its own vote ends. It gets it all the same, also
// if it is more than one answer holds.
func TestLaggingVoter(t *testing.T) {
	for name, size := range map[string]int{"little": 10, "more than a piece": 60_000} {
		t.Run(name, func(t *testing.T) {
			w, alice, bob, carol, id := trio(t)
			atlanta, chicago := w.ps[three[0]], w.ps[three[2]]
			chicago.set(func() { chicago.down = true })
			var all []string
			for i := range 12 {
				text := fmt.Sprint(i, strings.Repeat("x", size))
				alice.say(id, text)
				all = append(all, text)
			}
			bob.read(id, all...) // final, by the others
			atlanta.set(func() { atlanta.down = true })
			chicago.set(func() { chicago.down = false })
			w.suspect(id)
			took := bob.say(id, "after")
			t.Logf("another hub after %s", took)
			carol.read(id, append(all, "after")...)
		})
	}
}

// TestLaggingAfterVote: who has voted before it could ask for what it lacks, and lacks
// more than one answer holds, catches up all the same.
func TestLaggingAfterVote(t *testing.T) {
	w, alice, bob, carol, id := trio(t)
	atlanta, biloxi, chicago := w.ps[three[0]], w.ps[three[1]], w.ps[three[2]]
	chicago.set(func() { chicago.down = true })
	var all []string
	for i := range 24 {
		text := fmt.Sprint(i, strings.Repeat("x", 60_000))
		alice.say(id, text)
		all = append(all, text)
	}
	bob.read(id, all...) // final, by the others
	atlanta.set(func() { atlanta.down = true })
	refuse := func(_ context.Context, q *rooms.Request, endpoint string, next rooms.Endpoint) (*rooms.Response, error) {
		if endpoint == rooms.EndpointLog {
			return nil, errors.New("not now")
		}
		return next(context.Background(), q)
	}
	biloxi.set(func() { biloxi.answer = refuse })
	chicago.set(func() { chicago.down = false })
	voted := func() bool {
		v := false
		err := chicago.st.View(func(tx *store.Tx) error {
			st, _, _, err := logstore.ReadReplica(tx, room.ID(id), &plainNames{})
			v = err == nil && st.Vote.Term.Number > 1
			return err
		})
		return err == nil && v
	}
	w.suspect(id)
	eventually(t, "chicago votes", voted)
	if n := chicago.stand(id).Next; n > 5 {
		t.Fatalf("chicago had %d entries when it voted: this shows nothing", n)
	}
	biloxi.set(func() { biloxi.answer = nil })
	bob.say(id, "after")
	carol.read(id, append(all, "after")...)
}
