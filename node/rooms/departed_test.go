package rooms_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/mimid/mimid/node/rooms"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
)

// TestDepartedDecides: the last user of a replica is removed, and the hub dies before anybody
// has replaced the replica. The other one orders the room with its help; once a commit has
// replaced it, it follows no more.
func TestDepartedDecides(t *testing.T) {
	w, alice, bob, carol, id := trio(t)
	atlanta, biloxi, chicago := w.ps[three[0]], w.ps[three[1]], w.ps[three[2]]
	if err := alice.role(id, carol, policy.Admin); err != nil {
		t.Fatal(err)
	}
	for _, d := range []*device{alice, bob, carol} {
		d.follow(id, 5)
	}
	o := mls.CommitOptions{Remove: []mls.LeafIndex{1}}
	o.Proposals = append(o.Proposals, must(room.UpdateParticipants(alice.group.Public().Context(), nil, []uri.User{bob.who.User}))(t))
	if err := alice.commit(id, o); err != nil {
		t.Fatal(err)
	}
	alice.follow(id, 6)
	carol.follow(id, 6)
	eventually(t, "biloxi has the commit, and follows on", func() bool {
		s := biloxi.summary(id)
		return s.Next == 6 && slices.Equal(s.Outside, []string{three[1]})
	})
	atlanta.set(func() { atlanta.down = true })
	for _, p := range []*provider{biloxi, chicago} {
		p.rooms.Suspect(room.ID(id))
	}
	carol.say(id, "after")
	// One of the two orders the room now, by the other's vote; either will do.
	var hub string
	eventually(t, "biloxi has decided with chicago", func() bool {
		s := biloxi.summary(id)
		hub = s.Hub
		return hub != three[0] && hub == chicago.stand(id).Hub && s.Next >= 8 // the change, and what carol says
	})
	// chicago takes it over alone; what ends biloxi's part is decided with it.
	var term room.Term
	if _, err := fmt.Sscanf(chicago.stand(id).Term, "%d.%d", &term.Era, &term.Number); err != nil {
		t.Fatal(err)
	}
	carol.follow(id, chicago.stand(id).Next)
	if err := carol.rehost(id, w.hosting(carol, hub, term, three[2])); err != nil {
		t.Fatal(err)
	}
	eventually(t, "chicago orders it, and biloxi has what ended its part", func() bool {
		s := biloxi.summary(id)
		return chicago.stand(id).Hub == three[2] && !slices.Contains(s.Providers, three[1])
	})
	end := biloxi.summary(id).Next
	carol.say(id, "among us")
	eventually(t, "it is in the log", func() bool { return chicago.stand(id).Next > end })
	body := room.AppendStands(nil, []room.Stand{{Room: room.ID(id), Next: end}})
	res, err := chicago.serve(context.Background(), rooms.EndpointLog, &rooms.Request{Source: three[1], Subject: room.ID(id).String(), Body: body})
	if err != nil || len(res.Body) > 0 {
		t.Errorf("chicago shows what came after: %v, %v", res, err)
	}
	if s := biloxi.summary(id); s.Next != end {
		t.Errorf("biloxi follows to %d, its part ended with %d", s.Next, end)
	}
}
