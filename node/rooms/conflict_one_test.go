package rooms_test

import (
	"fmt"
	"testing"

	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/policy"
)

// TestConflictByOneLiar: it takes no majority of liars to make two histories final. A hub of
// three shows each of the other two another entry, each of them co-signs what it is shown, and
// the hub is in both majorities. Neither of the two votes for the other from then on. Both
// stand still, name the hub, and an administrator moves the room.
func TestConflictByOneLiar(t *testing.T) {
	w, users, id := impatient(t)
	alice, bob, carol := users["alice"], users["bob"], users["carol"]
	if err := alice.role(id, carol, policy.Admin); err != nil {
		t.Fatal(err)
	}
	for _, d := range users {
		d.follow(id, 5)
	}
	biloxi, chicago, four := w.ps[three[1]], w.ps[three[2]], w.ps[delta]
	for _, p := range w.ps {
		eventually(t, "all have it", func() bool { return p.stand(id).Next == 5 })
	}
	one, other := histories(t, w, alice, id)
	hers, his := w.certify(one, three[0], three[2]), w.certify(other, three[0], three[1])
	w.ps[three[0]].down2(true)
	chicago.gossip(three[0], hers.Append(nil))
	four.gossip(three[0], hers.Append(nil)) // or it would take whichever comes first
	biloxi.gossip(three[0], his.Append(nil))
	eventually(t, "each has its history", func() bool {
		return chicago.stand(id).Next == 6 && four.stand(id).Next == 6 && biloxi.stand(id).Next == 6
	})
	chicago.show(three[1], id, his.Append(nil))
	biloxi.show(three[2], id, hers.Append(nil))
	for _, p := range []*provider{biloxi, chicago} {
		eventually(t, p.domain+" stands still", func() bool { return p.conflict(id) != nil })
		if c := p.conflict(id); c.From != 5 || fmt.Sprint(c.Liars) != "[atlanta.example]" {
			t.Errorf("%s says %+v", p.domain, c)
		}
	}
	carol.follow(id, 6)
	if err := carol.update(id, carol.moving(three[2], 1)); err != nil {
		t.Fatal(err)
	}
	carol.say(id, "on")
	if s := chicago.stand(id); s.Hub != three[2] || s.Term != "1.1" || chicago.conflict(id) != nil {
		t.Errorf("%+v, conflict %v", s, chicago.conflict(id))
	}
	eventually(t, "delta follows", func() bool { return four.stand(id).Next == chicago.stand(id).Next && four.stand(id).Hub == three[2] })
	eventually(t, "biloxi hears of it", func() bool {
		p := biloxi.stand(id).Parting
		return p != nil && *p == clientapi.Parting{From: 5, End: 6, Era: 1, Hub: three[0], To: three[2]}
	})
	if p := must(biloxi.rooms.Rejoin(t.Context(), bob.who, id))(t); !p.Followed {
		t.Errorf("%+v", p)
	}
	eventually(t, "biloxi follows", func() bool {
		return biloxi.stand(id).Next == chicago.stand(id).Next && biloxi.stand(id).Hub == three[2]
	})
	a, b := chicago.log(id), biloxi.log(id)
	if a[5].Hash() != hers.Entries[0].Hash() || a[len(a)-1].Hash() != b[len(b)-1].Hash() {
		t.Error("what was final at the chosen provider is gone, or there are two logs")
	}
}
