package rooms_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/store"
)

// left is a room of three, in which all providers take part and decide. Its hub has shown biloxi and
// chicago one history, which is final, and keeps back a certificate of another one, by itself
// and chicago, whose key it has. Then the two have replaced it: hub orders the room, other does not,
// and the piece is what was kept back.
func left(t *testing.T) (w *world, users map[string]*device, id store.RoomID, hub, other *provider, kept *room.Piece) {
	w, alice, bob, carol, id := trio(t)
	users = map[string]*device{three[0]: alice, three[1]: bob, three[2]: carol}
	next := uint64(4)
	for _, d := range []*device{bob, carol} {
		if err := alice.role(id, d, policy.Admin); err != nil {
			t.Fatal(err)
		}
		next++
		for _, d := range users {
			d.follow(id, next)
		}
	}
	w.alike(id, int(next))
	one, two := histories(t, w, alice, id)
	biloxi, chicago := w.ps[three[1]], w.ps[three[2]]
	w.ps[three[0]].down2(true)
	for _, p := range []*provider{biloxi, chicago} {
		p.gossip(three[0], w.certify(one, three[0], three[1]).Append(nil))
		eventually(t, p.domain+" has it", func() bool { return p.stand(id).Next == next+1 })
	}
	eventually(t, "another hub", func() bool { h := biloxi.stand(id).Hub; return h != three[0] && chicago.stand(id).Hub == h })
	hub, other = biloxi, chicago
	if biloxi.stand(id).Hub == three[2] {
		hub, other = chicago, biloxi
	}
	users[hub.domain].say(id, "on, without atlanta")
	eventually(t, "both have it", func() bool { return hub.stand(id).Next == next+3 && other.stand(id).Next == next+3 })
	return w, users, id, hub, other, w.certify(two, three[0], three[2])
}

// TestMoveWithoutLiar: in a room of three whose hub has lied and was replaced, that one shows
// a certificate that it has kept back. The two who are left stand still. An administrator of
// either moves the room, with the word of both: the proof of the lie is in the log, for
// everybody to check. (By the usual count one could move it: it would need the liar's word.)
func TestMoveWithoutLiar(t *testing.T) {
	for _, itself := range []bool{false, true} {
		t.Run(map[bool]string{false: "to the other", true: "to the hub itself"}[itself], func(t *testing.T) {
			w, users, id, hub, other, kept := left(t)
			to, second := other, hub
			if itself {
				to, second = hub, other
			}
			hub.gossip(three[0], kept.Append(nil)) // and it shows it the other
			for _, p := range []*provider{hub, other} {
				eventually(t, p.domain+" stands still", func() bool { return p.conflict(id) != nil })
			}
			end := hub.stand(id).Next
			d := users[to.domain]
			d.follow(id, end)
			era := uint32(1)
			if !itself {
				// Nobody is asked whose word is not needed, but all the others are.
				era = 2
				second.down2(true)
				err := d.update(id, d.moving(to.domain, 1))
				if err == nil || !strings.Contains(err.Error(), "all who take part but atlanta.example, which provably lied, and lacks that of "+second.domain) {
					t.Errorf("it is not said whom it waits for: %v", err)
				}
				to.restart()
				second.down2(false)
			}
			if err := d.update(id, d.moving(to.domain, era)); err != nil {
				t.Fatal(err)
			}
			d.say(id, "together")
			for _, p := range []*provider{hub, other} {
				eventually(t, p.domain+" goes on", func() bool {
					s := p.stand(id)
					return p.conflict(id) == nil && s.Hub == to.domain && s.Term == fmt.Sprintf("%d.1", era) && s.Next == end+2
				})
			}
			log := second.log(id)
			c := must(room.ParseHubChange(log[end].Body))(t)
			if len(c.Lies) != 1 || c.Lies[0].Provider != three[0] || len(c.Acks) != 2 {
				t.Errorf("the move has %d lies and %d acknowledgements", len(c.Lies), len(c.Acks))
			}
			// Who comes back has to believe it, too, but for its own people: it has nothing against it.
			old := w.ps[three[0]]
			old.down2(false)
			for _, p := range []*provider{hub, other} {
				p.restart()
				old.rooms.Exchange(context.Background(), p.domain)
			}
			users[second.domain].say(id, "and on")
			w.alike2(id, int(end)+3, hub, other)
		})
	}
}

// alike2 waits until two providers have the same log of a length.
func (w *world) alike2(id store.RoomID, n int, a, b *provider) {
	w.t.Helper()
	eventually(w.t, "both have it", func() bool { return len(a.log(id)) == n && len(b.log(id)) == n })
	x, y := a.log(id), b.log(id)
	for i := range x {
		if x[i].Hash() != y[i].Hash() {
			w.t.Errorf("entry %d differs", i)
		}
	}
}
