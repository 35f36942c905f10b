package rooms_test

import (
	"crypto/ed25519"
	"testing"

	"github.com/mimid/mimid/node/logstore"
	"github.com/mimid/mimid/overlay"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/store"
)

// forge makes a piece of one entry at the end of a provider's log, as its key signs it.
func (p *provider) forge(id store.RoomID, change func(e *room.Entry)) *room.Piece {
	t := p.w.t
	t.Helper()
	l := p.log(id)
	last := l[len(l)-1]
	e := &room.Entry{Room: room.ID(id), Term: last.Term, Seq: last.Seq + 1, Prev: last.Hash(), AcceptedAt: last.AcceptedAt, Kind: room.KindMessage, Body: []byte("no message")}
	change(e)
	return &room.Piece{Head: room.SignHead(room.HeadOf(e), p.key), Entries: []*room.Entry{e}}
}

// TestLyingHub: a hub that signs what cannot be is voted out, from before the lie on,
// and those who saw it keep the proof.
func TestLyingHub(t *testing.T) {
	w, alice, bob, carol, id := trio(t)
	bob.say(id, "before")
	carol.read(id, "before")
	before := w.alike(id, 5)
	lie := w.ps[three[0]].forge(id, func(*room.Entry) {})
	for _, d := range three[1:] {
		if v := w.ps[d].gossip(three[0], lie.Append(nil)); v != overlay.Accept {
			t.Fatalf("%s: verdict %v", d, v)
		}
	}
	for _, d := range three[1:] {
		p := w.ps[d]
		eventually(t, "another provider orders the room at "+d, func() bool { h := p.stand(id).Hub; return h != three[0] && h != "" })
		var c *logstore.Condemned
		if err := p.st.View(func(tx *store.Tx) (err error) { c, err = logstore.ReadCondemned(tx, room.ID(id)); return err }); err != nil {
			t.Fatalf("%s has no proof: %v", d, err)
		}
		if err := c.Head.Verify(w.ps[three[0]].key.Public().(ed25519.PublicKey)); err != nil || c.Head.Head != lie.Head.Head || len(c.Entries) != 1 {
			t.Errorf("%s: the proof is %+v, %v", d, c, err)
		}
	}
	bob.say(id, "after")
	alice.read(id, "before", "after")
	carol.read(id, "before", "after")
	now := w.alike(id, len(before)+2)
	for i, e := range before {
		if now[i].Hash() != e.Hash() {
			t.Errorf("entry %d is another one", i)
		}
	}
	for _, e := range now {
		if e.Hash() == lie.Entries[0].Hash() {
			t.Error("the lie is in the log")
		}
	}
}

// TestForeignPieces: what no replica has signed, or an ended term's hub, changes nothing.
func TestForeignPieces(t *testing.T) {
	w, alice, bob, carol, id := trio(t)
	alice.say(id, "before")
	w.alike(id, 5)
	old := w.ps[three[0]]
	stale := old.forge(id, func(e *room.Entry) {})
	old.set(func() { old.down = true })
	w.suspect(id)
	bob.say(id, "new term")
	carol.read(id, "before", "new term")
	biloxi, chicago := w.ps[three[1]], w.ps[three[2]]
	eventually(t, "both have the same", func() bool { return biloxi.stand(id).Next == chicago.stand(id).Next })
	next := biloxi.stand(id).Next
	biloxi.gossip(three[0], stale.Append(nil)) // of the old term, at a place that is taken
	foreign := old.forge(id, func(e *room.Entry) { e.Kind, e.Txn = room.KindHubChange, room.TxnID{}; e.Term.Number = 99 })
	biloxi.gossip(three[0], foreign.Append(nil)) // a hub by nobody's vote
	bob.say(id, "still there")
	carol.read(id, "still there")
	eventually(t, "biloxi has it", func() bool { return biloxi.stand(id).Next > next }) // it may be the follower
	if n := biloxi.stand(id); n.Next != next+1 || n.Term == "0.99" {
		t.Errorf("the log has %d entries in term %s, %d expected", n.Next, n.Term, next+1)
	}
	for _, s := range biloxi.rooms.List() {
		if s.Broken != "" {
			t.Errorf("the room is broken: %s", s.Broken)
		}
	}
}
