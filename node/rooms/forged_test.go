package rooms_test

import (
	"context"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/mimid/mimid/overlay"
	"github.com/mimid/mimid/protocol/room"
)

// An altered piece under a genuine head must not make a follower begin the log anew.
func TestAlteredPiece(t *testing.T) {
	w, alice, _, id := pair(t, nil)
	biloxi := w.ps["biloxi.example"]
	biloxi.set(func() { biloxi.down = true })
	if _, err := alice.send(id, alice.message("one")); err != nil {
		t.Fatal(err)
	}
	time.Sleep(100 * time.Millisecond) // the nudge fails
	biloxi.set(func() { biloxi.down = false })
	body := must((peers{biloxi}).Call(context.Background(), callLog(room.ID(id), room.AppendStands(nil, []room.Stand{{Room: room.ID(id), Next: 2}}))))(t)
	p := must(room.ParsePiece(body, 1<<20))(t)
	p.Entries[0].Body = append([]byte{}, p.Entries[0].Body...)
	p.Entries[0].Body[9] ^= 1
	biloxi.mu.Lock()
	handlers := slices.Collect(maps.Values(biloxi.topics))
	biloxi.mu.Unlock()
	for _, h := range handlers {
		h.Receive(overlay.PeerID("atlanta.example"), p.Append(nil))
	}
	eventually(t, "caught up", func() bool { return biloxi.rooms.List()[0].Next == 3 })
	time.Sleep(100 * time.Millisecond)
	if s := biloxi.rooms.Stats(); s.Followed != 3 {
		t.Errorf("%d entries were followed, the log has 3: %+v", s.Followed, s)
	}
}
