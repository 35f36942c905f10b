package rooms_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/mimid/mimid/node/rooms"
)

// TestBackdated: a hub that has said that a room's log ends there cannot order an entry of
// an earlier time afterwards: somebody could seem to have been silent who had no time to
// speak. Minutes are forgiven, as clocks differ; and when its time is right it is followed.
func TestBackdated(t *testing.T) {
	for off, followed := range map[time.Duration]bool{4 * time.Minute: true, 48 * time.Hour: false} {
		t.Run(off.String(), func(t *testing.T) {
			w := prepareWorld(t, true, three...)
			watched(w)
			var passed atomic.Int64 // at biloxi, while it is as ever at the hub
			biloxi := w.ps[three[1]]
			tweak := biloxi.tweak
			biloxi.tweak = func(c *rooms.Config) {
				tweak(c)
				c.Now = func() time.Time { return time.Now().Add(time.Duration(passed.Load())) }
			}
			w.start()
			alice, bob := w.device("alice@atlanta.example", "phone"), w.device("bob@biloxi.example", "phone")
			id, _, err := alice.create("room")
			if err == nil {
				err = alice.add(id, bob)
			}
			if err != nil {
				t.Fatal(err)
			}
			alice.follow(id, 2)
			bob.follow(id, 2)
			passed.Store(int64(off))
			alice.say(id, "nobody has asked") // it can have been there all the time
			bob.read(id, "nobody has asked")
			// Its users read an entry a moment before the provider asks beyond it.
			eventually(t, "biloxi stands behind it", func() bool { return biloxi.stand(id).Next == 3 })
			biloxi.rooms.Exchange(t.Context(), three[0])
			alice.say(id, "it is said that this is not there")
			if followed {
				bob.read(id, "it is said that this is not there")
				return
			}
			for range 3 {
				time.Sleep(100 * time.Millisecond)
				biloxi.rooms.Exchange(t.Context(), three[0])
			}
			if n := biloxi.stand(id).Next; n != 3 {
				t.Errorf("biloxi follows up to %d", n)
			}
		})
	}
}
