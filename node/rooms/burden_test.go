package rooms_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mimid/mimid/node/rooms"
	"github.com/mimid/mimid/overlay"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/wire"
)

// TestLongTail: a hub whose replicas are away takes more than one write or one piece
// holds, and says so when it is too much. When they are back all of it becomes final.
func TestLongTail(t *testing.T) {
	w, alice, _, _, id := trio(t)
	for _, d := range three[1:] {
		w.ps[d].set(func() { w.ps[d].down = true })
	}
	took := 0
	for i := range 40 {
		m := alice.message(fmt.Sprint(i, strings.Repeat(" long", 120_000)))
		r, err := alice.send(id, m)
		if err != nil {
			if status(err) != "503 unavailable" || !strings.Contains(err.Error(), "waiting for a majority") {
				t.Fatalf("message %d: %v", i, err)
			}
			break
		}
		if r.Code != wire.SubmitAccepted {
			t.Fatalf("message %d: %v", i, r)
		}
		took++
	}
	if took != rooms.MaxTail/600_500 {
		t.Fatalf("%d messages of 600 kB were taken, %d bytes may be", took, rooms.MaxTail)
	}
	atlanta := w.ps[three[0]]
	if next := atlanta.stand(id).Next; next != 4 {
		t.Fatalf("the log is final up to %d", next)
	}
	atlanta.restart() // with all of it in the store
	w.heal()
	entries := w.alike(id, 4+took)
	if len(entries) != 4+took {
		t.Errorf("%d entries, %d were taken", len(entries), 4+took)
	}
	for range rooms.MaxTail/600_000 + 2 { // what is final does not count any more
		alice.say(id, strings.Repeat("long ", 120_000))
	}
}

// TestFalseCertificate: a participant that passes a piece on can put a false
// certificate beside it, and spoils nothing by that.
func TestFalseCertificate(t *testing.T) {
	w, alice, bob, _, id := trio(t)
	biloxi := w.ps[three[1]]
	watches := biloxi.tweak
	biloxi.tweak = func(c *rooms.Config) { watches(c); c.Idle = time.Minute } // so that it is read once
	biloxi.restart()
	bob.say(id, "loaded")
	w.alike(id, 5)
	var pieces, loads int
	biloxi.set(func() {
		biloxi.alter = func(data []byte) []byte {
			p := must(room.ParsePiece(data, overlay.MaxMessage))(t)
			if p.Certified == nil {
				return data
			}
			pieces++
			c := *p.Certified
			c.Certificate.Signers = slices.Clone(c.Certificate.Signers)
			c.Certificate.Signers[0].Signature[5] ^= 1
			p.Certified = &c
			return p.Append(nil)
		}
	})
	loads = int(biloxi.rooms.Stats().Loads)
	for i := range 5 {
		alice.say(id, fmt.Sprint("message ", i))
	}
	biloxi.set(func() { biloxi.alter = nil })
	alice.say(id, "end")
	bob.read(id, "message 0", "message 4", "end")
	if pieces < 3 {
		t.Fatalf("%d pieces had a certificate to be falsified", pieces)
	}
	if n := int(biloxi.rooms.Stats().Loads) - loads; n > 0 {
		t.Errorf("false certificates made the room be read again %d times", n)
	}
}

// TestFrozen: a hub that takes requests and answers none, as a stopped process does,
// holds up nobody who has to elect another.
func TestFrozen(t *testing.T) {
	w, alice, bob, carol, id := trio(t)
	bob.say(id, "before")
	carol.read(id, "before")
	alice.read(id, "before")
	atlanta := w.ps[three[0]]
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	frozen := func(ctx context.Context, _ *rooms.Request, _ string, _ rooms.Endpoint) (*rooms.Response, error) {
		select {
		case <-ctx.Done():
		case <-release:
		}
		return nil, context.Canceled
	}
	atlanta.set(func() { atlanta.answer = frozen })
	asked := atlanta.called(rooms.EndpointLog)
	// Both ask it for what they are told of, on the room's goroutine.
	for _, d := range three[1:] {
		w.ps[d].set(func() {
			w.ps[d].alter = func(data []byte) []byte {
				p := must(room.ParsePiece(data, overlay.MaxMessage))(t)
				p.Entries = nil
				return p.Append(nil)
			}
		})
	}
	if r, err := alice.send(id, alice.message("unheard")); err != nil || r.Code != wire.SubmitAccepted {
		t.Fatal(r, err)
	}
	eventually(t, "both ask", func() bool { return atlanta.called(rooms.EndpointLog) >= asked+2 })
	start := time.Now()
	atlanta.set(func() { atlanta.down = true }) // found dead
	for _, d := range three[1:] {
		w.ps[d].rooms.Suspected(three[0])
	}
	w.suspect(id)
	for _, d := range three[1:] {
		w.ps[d].set(func() { w.ps[d].alter = nil })
	}
	bob.say(id, "after")
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("it took %s", d)
	}
	carol.read(id, "before", "after")
}
