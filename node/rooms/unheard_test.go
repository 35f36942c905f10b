package rooms_test

import (
	"testing"

	"github.com/mimid/mimid/node/rooms"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/room"
)

// unheardEra is a room that bob has moved from atlanta to biloxi, chicago and delta, of which
// delta has not heard, and then biloxi is gone, too: chicago needs delta's vote. before are
// those who decided before; delta does not know that atlanta is gone.
func unheardEra(t *testing.T, before ...string) {
	domains := append([]string{delta, "elko.example", "flint.example"}, three...)
	w := prepareWorld(t, true, domains...)
	watched(w)
	atlanta, biloxi, chicago, four := w.ps[three[0]], w.ps[three[1]], w.ps[three[2]], w.ps[delta]
	tweak := four.tweak
	four.tweak = func(c *rooms.Config) {
		tweak(c)
		dead := c.Dead
		c.Dead = func(domain string) bool { return dead(domain) && domain != three[0] }
	}
	w.start()
	alice, bob, carol := w.device("alice@atlanta.example", "phone"), w.device("bob@biloxi.example", "phone"), w.device("carol@chicago.example", "phone")
	others := []*device{bob, carol, w.device("dave@"+delta, "phone"), w.device("erin@elko.example", "phone"), w.device("frank@flint.example", "phone")}
	id, _, err := alice.create("unheard")
	if err == nil {
		err = alice.add(id, others...)
	}
	if err != nil {
		t.Fatal(err)
	}
	next := uint64(2)
	all := append([]*device{alice}, others...)
	follow := func(n uint64) {
		next += n
		for _, d := range all {
			d.follow(id, next)
		}
	}
	follow(0)
	if err := alice.role(id, bob, policy.Admin); err != nil {
		t.Fatal(err)
	}
	follow(1)
	if len(before) > 1 {
		if err := alice.rehost(id, w.hosting(alice, three[0], room.FirstTerm, before...)); err != nil {
			t.Fatal(err)
		}
		follow(2) // the commit, and that it is settled
	}

	atlanta.down2(true)
	w.ps["elko.example"].down2(true)
	w.split(delta)
	h := w.hosting(bob, three[1], room.Term{Era: 1, Number: 1}, three[1], three[2], delta)
	if err := bob.update(id, bob.handshake(mls.CommitOptions{Proposals: []*mls.Proposal{must(room.UpdateHosting(h))(t)}})); err != nil {
		t.Fatal(err)
	}
	bob.say(id, "moved")
	carol.read(id, "moved")
	if s := four.stand(id); s.Hub != three[0] || s.Next != next {
		t.Fatalf("delta has heard of it: %+v", s)
	}

	biloxi.down2(true)
	w.split()
	chicago.rooms.Suspect(room.ID(id))
	carol.say(id, "after")
	others[2].read(id, "moved", "after")
	if s := four.stand(id); s.Hub != three[2] || s.Term == "1.1" {
		t.Errorf("delta follows %s in term %s", s.Hub, s.Term)
	}
}

// TestVoterOfAnUnheardEra: who is asked for a vote in an era that it has not heard of asks
// the candidate, and not the hub that it knows, for the log that goes on in it, and votes
// (protocol/hub/testdata/claims_moved.txt). Without it nobody would order the room.
func TestVoterOfAnUnheardEra(t *testing.T) {
	unheardEra(t, append([]string{delta, "elko.example"}, three...)...)
}

// TestVoterOfAnUnheardSet: so does who takes the candidate for one that does not decide about
// the room, or knows only of one that decides alone.
func TestVoterOfAnUnheardSet(t *testing.T) {
	for name, before := range map[string][]string{"alone": {three[0]}, "others": {three[0], delta, "elko.example"}} {
		t.Run(name, func(t *testing.T) { unheardEra(t, before...) })
	}
}
