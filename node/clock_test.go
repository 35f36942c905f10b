package node_test

import (
	"fmt"
	"testing"
	"time"
)

// TestClocksApart: two providers whose clocks are two minutes apart share a room, in
// both directions, whichever of them orders it, and no entry goes back in time.
func TestClocksApart(t *testing.T) {
	for _, apart := range []time.Duration{2 * time.Minute, -2 * time.Minute} {
		t.Run(fmt.Sprintf("hub off by %v", apart), func(t *testing.T) {
			a := prepare(t, "atlanta.example")
			a.now = func() time.Time { return time.Now().Add(apart) }
			a.must()
			b := prepare(t, "biloxi.example", a.status().Addresses[0]).must()
			alice, bob, said := share(t, a, b)
			rooms, err := bob.Rooms(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for i := range 3 {
				if _, err := bob.Send(t.Context(), rooms[0].URI, fmt.Sprint("back ", i)); err != nil {
					t.Fatal(err)
				}
			}
			said(6)
			list, err := alice.Messages(rooms[0].URI, 0, 10)
			if err != nil {
				t.Fatal(err)
			}
			for i, m := range list {
				if i > 0 && m.AcceptedAt.Before(list[i-1].AcceptedAt) {
					t.Errorf("message %d was accepted before message %d", i, i-1)
				}
			}
			if d := time.Until(list[0].AcceptedAt) - apart; d.Abs() > time.Minute {
				t.Errorf("the hub's clock is not what counts: off by %v", d)
			}
		})
	}
}
