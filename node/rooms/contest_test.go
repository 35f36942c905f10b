package rooms_test

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/mimid/mimid/node/rooms"
	"github.com/mimid/mimid/protocol/room"
)

// TestElectionOverSlowLinks: the hub of five dies where a message takes longer than the
// pause between two attempts. Somebody is elected all the same, and after few candidacies.
func TestElectionOverSlowLinks(t *testing.T) {
	five := append([]string{delta, "echo.example"}, three...)
	w := prepareWorld(t, true, five...)
	watched(w)
	w.start()
	var all []*device
	for i, d := range five {
		all = append(all, w.device(fmt.Sprintf("user%d@%s", i, d), "phone"))
	}
	alice := all[0]
	id, _, err := alice.create("slow")
	if err != nil {
		t.Fatal(err)
	}
	if err := alice.add(id, all[1:]...); err != nil {
		t.Fatal(err)
	}
	for _, d := range all {
		d.follow(id, 2)
	}
	if err := alice.rehost(id, w.hosting(alice, five[0], room.FirstTerm, five...)); err != nil {
		t.Fatal(err)
	}
	for _, d := range all {
		d.follow(id, 4)
	}
	w.delay.Store(int64(250 * time.Millisecond))
	was := all[1].p.stand(id).Term
	for round, dead := range []string{five[0], ""} {
		if dead == "" {
			dead = all[1].p.stand(id).Hub
		}
		w.ps[dead].set(func() { w.ps[dead].down = true })
		for _, d := range five {
			if !w.ps[d].isDown() {
				w.ps[d].rooms.Suspect(room.ID(id))
			}
		}
		speaker := all[slices.IndexFunc(all, func(d *device) bool { return !d.p.isDown() })]
		speaker.say(id, fmt.Sprint("without the hub ", round))
		now := speaker.p.stand(id)
		var from, to room.Term
		if _, err := fmt.Sscanf(was+" "+now.Term, "%d.%d %d.%d", &from.Era, &from.Number, &to.Era, &to.Number); err != nil {
			t.Fatal(err)
		}
		if n := to.Number - from.Number; n > 15 { // where candidates end each other's it is some 20 a minute, for ever
			t.Errorf("it took %d terms", n)
		}
		t.Logf("ordered by %s in term %s after %s", now.Hub, now.Term, was)
		was = now.Term
	}
}

// TestRounds: a candidacy has the longer the more have led to nothing and the longer answers
// take, and never longer than 5 s, whatever stood still between question and answer.
func TestRounds(t *testing.T) {
	for _, c := range []struct {
		rounds       int
		answer, want time.Duration
	}{
		{0, 0, 100 * time.Millisecond},
		{1, 0, 100 * time.Millisecond},
		{1, 200 * time.Millisecond, 600 * time.Millisecond},
		{3, 200 * time.Millisecond, 2400 * time.Millisecond},
		{4, 0, 800 * time.Millisecond},
		{1000, 0, 5 * time.Second},
		{1, time.Hour, 5 * time.Second},
		{2, math.MaxInt64, 5 * time.Second}, // nobody was asked
	} {
		if got := rooms.Round(c.rounds, c.answer); got != c.want {
			t.Errorf("after %d, with answers of %s: %s, want %s", c.rounds, c.answer, got, c.want)
		}
	}
}
