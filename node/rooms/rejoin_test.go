package rooms_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/wire"
)

// TestRejoinAsReplica: a hub whose branch has lost comes back to a room in which it decides
// again, because the move names it among the new replicas. Of its branch nothing stands in the
// way: not what was final there, nor what it had ordered and nobody has co-signed. It
// co-signs what the room goes on with, also where that is not final without it.
func TestRejoinAsReplica(t *testing.T) {
	w, users, id := impatient(t)
	ctx := context.Background()
	alice, carol, dave := users["alice"], users["carol"], users["dave"]
	if err := alice.role(id, dave, policy.Admin); err != nil {
		t.Fatal(err)
	}
	for _, d := range users {
		d.follow(id, 5)
	}
	atlanta, biloxi, chicago, four := w.ps[three[0]], w.ps[three[1]], w.ps[three[2]], w.ps[delta]
	for _, p := range w.ps {
		eventually(t, "all have it", func() bool { return p.stand(id).Next == 5 })
	}
	w.split(three[0], three[1])
	for i := range 8 { // more than the room has when it goes on
		alice.say(id, fmt.Sprint("among us ", i))
	}
	eventually(t, "it is final", func() bool { return atlanta.stand(id).Next == 13 })
	biloxi.down2(true)
	for _, text := range []string{"alone", "and again"} {
		if r, err := alice.send(id, alice.message(text)); err != nil || r.Code != wire.SubmitAccepted {
			t.Fatal(r, err)
		}
	}
	eventually(t, "two entries are not final", func() bool { return atlanta.tail(id) == 2 && len(atlanta.tailOf(id)) == 2 })

	h := w.hosting(dave, delta, room.Term{Era: 1, Number: 1}, delta, three[2], three[0])
	if err := dave.update(id, dave.handshake(mls.CommitOptions{Proposals: []*mls.Proposal{must(room.UpdateHosting(h))(t)}})); err != nil {
		t.Fatal(err)
	}
	carol.say(id, "moved")
	w.split()
	atlanta.rooms.Exchange(ctx, three[2])
	eventually(t, "the old hub stands still", func() bool { _, broken := atlanta.accused(id); return strings.Contains(broken, "moved to "+delta) })

	// Nobody shows it the room at first: what is stored then is what it has of it alone.
	w.split(three[0])
	if p := must(atlanta.rooms.Rejoin(ctx, alice.who, id))(t); !p.Followed || p.From != 5 || p.End != 13 {
		t.Errorf("%+v", p)
	}
	for range 2 {
		if n, stored := atlanta.tail(id), atlanta.tailOf(id); n != 0 || len(stored) != 0 {
			t.Errorf("of the lost branch %d entries are still to become final, %d are stored", n, len(stored))
		}
		if s := atlanta.stand(id); s.Next != 5 {
			t.Errorf("%+v", s)
		}
		atlanta.restart()
	}
	w.split()
	atlanta.rooms.Exchange(ctx, delta)
	eventually(t, "it follows", func() bool { return atlanta.stand(id).Hub == delta && atlanta.stand(id).Next == four.stand(id).Next })
	// From here on nothing is final without its signature.
	chicago.down2(true)
	for range 2 {
		next := four.stand(id).Next
		dave.say(id, "on")
		for _, p := range []*provider{four, atlanta} {
			eventually(t, "it is final at "+p.domain, func() bool { return p.stand(id).Next > next })
		}
		atlanta.restart()
	}
	a, b := atlanta.log(id), four.log(id)
	if len(a) != len(b) || a[len(a)-1].Hash() != b[len(b)-1].Hash() {
		t.Errorf("it has another log: %d entries, and %d", len(a), len(b))
	}
	if _, broken := atlanta.accused(id); broken != "" {
		t.Errorf("it stands still: %s", broken)
	}
}
