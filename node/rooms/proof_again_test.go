package rooms_test

import (
	"crypto/ed25519"
	"testing"

	"github.com/mimid/mimid/protocol/room"
)

// TestLieAboutWhatIsFinal: a hub has signed another entry than the one that is final long
// ago, and of which nothing is in memory. Who is shown that makes the proof of it and of
// its own log; who was away then is shown it with the next exchange.
func TestLieAboutWhatIsFinal(t *testing.T) {
	w, _, bob, carol, id := trio(t)
	for _, text := range []string{"one", "two", "three"} {
		bob.say(id, text)
	}
	carol.read(id, "one", "two", "three")
	w.alike(id, 7)
	atlanta, biloxi, chicago := w.ps[three[0]], w.ps[three[1]], w.ps[three[2]]
	e := *biloxi.log(id)[4]
	e.AcceptedAt++
	lie := &room.Piece{Head: room.SignHead(room.HeadOf(&e), atlanta.key), Entries: []*room.Entry{&e}}
	chicago.set(func() { chicago.down = true })
	atlanta.set(func() { atlanta.down = true })
	biloxi.restart()
	biloxi.show(three[2], id, lie.Append(nil))
	eventually(t, "biloxi accuses atlanta", func() bool { a, _ := biloxi.accused(id); return a == three[0] })
	c := biloxi.condemned(id)
	if c == nil || c.Low == nil || c.Low.Hash != e.Hash() && c.Head.Hash != e.Hash() {
		t.Fatalf("it keeps %+v", c)
	}
	if err := (&room.Equivocation{Low: *c.Low, High: c.Head, Entries: c.Entries}).Verify(w.ps[three[0]].key.Public().(ed25519.PublicKey)); err != nil {
		t.Errorf("the proof: %v", err)
	}
	chicago.set(func() { chicago.down = false })
	if a, _ := chicago.accused(id); a != "" {
		t.Fatal("chicago knows already")
	}
	biloxi.rooms.Exchange(t.Context(), three[2])
	eventually(t, "chicago accuses atlanta", func() bool { a, _ := chicago.accused(id); return a == three[0] })
	bob.say(id, "without atlanta")
	carol.read(id, "without atlanta")
	if s := chicago.stand(id); s.Hub == three[0] {
		t.Error("atlanta orders the room still")
	}
}
