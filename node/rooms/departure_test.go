package rooms_test

import (
	"context"
	"sync"
	"testing"

	"github.com/mimid/mimid/node/rooms"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/replica"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
)

// TestDeparture: a commit that ends a provider's part in a room becomes final together with
// what was said after it, by co-signatures that come all at once. The log nevertheless has a
// signed head, with its certificate, that ends with the commit: the provider may read no
// further, and could not be shown the commit otherwise.
func TestDeparture(t *testing.T) {
	domains := []string{atlanta, biloxi, chicago, dover}
	w := prepareWorld(t, true, domains...)
	watched(w)
	w.start()
	alice, bob, carol, dora := w.device("alice@atlanta.example", "phone"), w.device("bob@biloxi.example", "phone"),
		w.device("carol@chicago.example", "phone"), w.device("dora@"+dover, "phone")
	id, _, err := alice.create("four")
	if err == nil {
		err = alice.add(id, bob, carol, dora)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []*device{alice, bob, carol, dora} {
		d.follow(id, 2)
	}
	if err := alice.rehost(id, w.hosting(alice, atlanta, room.FirstTerm, domains[:3]...)); err != nil {
		t.Fatal(err)
	}
	for _, d := range []*device{alice, bob, carol, dora} {
		d.follow(id, 4)
	}
	hub := w.ps[atlanta]
	w.ps[dover].down2(true)

	// What the other replicas say is held up.
	var mu sync.Mutex
	var held []*rooms.Request
	signed := map[string]uint64{} // by whom, up to which place
	hub.set(func() {
		hub.answer = func(ctx context.Context, q *rooms.Request, endpoint string, next rooms.Endpoint) (*rooms.Response, error) {
			if endpoint != rooms.EndpointReplica {
				return next(ctx, q)
			}
			list, _ := replica.Parse(q.Body)
			mu.Lock()
			defer mu.Unlock()
			held = append(held, q)
			for _, m := range list {
				if m.Kind == replica.CoSign {
					signed[q.Source] = max(signed[q.Source], m.Head.Seq)
				}
			}
			return &rooms.Response{Status: 200}, nil
		}
	})
	both := func(seq uint64) func() bool {
		return func() bool {
			mu.Lock()
			defer mu.Unlock()
			return signed[biloxi] >= seq && signed[chicago] >= seq
		}
	}
	pub := alice.group.Public()
	raw := alice.handshake(mls.CommitOptions{Remove: must(room.RosterOf(pub))(t).Leaves(dora.who.User),
		Proposals: []*mls.Proposal{must(room.UpdateParticipants(pub.Context(), nil, []uri.User{dora.who.User}))(t)}})
	final := make(chan error, 1)
	go func() { final <- alice.update(id, raw) }()
	eventually(t, "the commit is co-signed", both(4))
	if r, err := bob.send(id, bob.message("after it")); err != nil || r.Code != wire.SubmitAccepted {
		t.Fatal(r, err)
	}
	eventually(t, "what follows is co-signed", both(5))
	if n := hub.stand(id).Next; n != 4 {
		t.Fatalf("%d entries are final", n)
	}
	release, err := hub.rooms.Hold(room.ID(id))
	if err != nil {
		t.Fatal(err)
	}
	hub.set(func() { hub.answer = nil })
	mu.Lock()
	for _, q := range held {
		if _, err := hub.serve(context.Background(), rooms.EndpointReplica, q); err != nil {
			t.Error(err)
		}
	}
	mu.Unlock()
	release()
	if err := <-final; err != nil {
		t.Fatal(err)
	}
	eventually(t, "all is final", func() bool { return hub.stand(id).Next >= 6 })
	w.ps[dover].down2(false)
	w.heal()
	eventually(t, "dover has the commit that ends its part", func() bool { return w.ps[dover].stand(id).Next == 5 })
	bob.say(id, "not for dover")
	w.heal()
	if n := w.ps[dover].stand(id).Next; n != 5 {
		t.Errorf("dover has %d entries", n)
	}
}
