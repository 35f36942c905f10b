package rooms_test

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mimid/mimid/node/rooms"
	"github.com/mimid/mimid/overlay"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/wire"
	"github.com/mimid/mimid/store"
)

// logOf reads a piece of a room's log from its hub.
func (w *world) logOf(id store.RoomID, next uint64) []byte {
	w.t.Helper()
	return must((peers{w.ps["biloxi.example"]}).Call(context.Background(), callLog(room.ID(id), room.AppendStands(nil, []room.Stand{{Room: room.ID(id), Next: next}}))))(w.t)
}

// alone has alice send n messages that biloxi does not hear of.
func alone(t *testing.T, w *world, alice *device, id store.RoomID, n int) {
	t.Helper()
	p := w.ps["biloxi.example"]
	p.set(func() { p.down = true })
	for range n {
		if r, err := alice.send(id, alice.message("unheard")); err != nil || r.Code != wire.SubmitAccepted {
			t.Fatal(r, err)
		}
	}
	time.Sleep(50 * time.Millisecond) // the nudge fails
	p.set(func() { p.down = false })
}

// rest waits until a provider has done all that there was to do.
func rest(t *testing.T, p *provider) {
	t.Helper()
	eventually(t, "rooms rest", func() bool { return p.rooms.Stats().Loaded == 0 })
}

func copyEntries(p *room.Piece) *room.Piece {
	q := &room.Piece{Head: p.Head}
	for _, e := range p.Entries {
		c := *e
		c.Body = slices.Clone(e.Body)
		q.Entries = append(q.Entries, &c)
	}
	return q
}

// damaged are pieces that are not what the hub has sent.
func damaged(p *room.Piece) map[string][]byte {
	out := map[string][]byte{}
	change := func(name string, f func(p *room.Piece)) {
		q := copyEntries(p)
		f(q)
		out[name] = q.Append(nil)
	}
	other := ed25519.NewKeyFromSeed(slices.Repeat([]byte{9}, 32))
	change("signature", func(p *room.Piece) { p.Head.Signature[3] ^= 1 })
	change("signed by another", func(p *room.Piece) { p.Head = room.SignHead(p.Head.Head, other) })
	change("head of another entry", func(p *room.Piece) { p.Head.Seq++ })
	change("body", func(p *room.Piece) { p.Entries[1].Body[9] ^= 1 })
	change("time", func(p *room.Piece) { p.Entries[0].AcceptedAt++ })
	change("order", func(p *room.Piece) { p.Entries[0], p.Entries[1] = p.Entries[1], p.Entries[0] })
	change("twice", func(p *room.Piece) { p.Entries = slices.Insert(p.Entries, 1, p.Entries[0]) })
	change("without the first", func(p *room.Piece) { p.Entries = p.Entries[1:] })
	change("without the middle", func(p *room.Piece) { p.Entries = slices.Delete(p.Entries, 1, 2) })
	change("without the last", func(p *room.Piece) { p.Entries = p.Entries[:len(p.Entries)-1] })
	change("of another room", func(p *room.Piece) {
		p.Head.Room[0] ^= 1
		for _, e := range p.Entries {
			e.Room[0] ^= 1
		}
	})
	whole := p.Append(nil)
	out["cut"] = whole[:len(whole)-7]
	out["cut in the head"] = whole[:40]
	out["more behind it"] = append(slices.Clone(whole), 0)
	out["nothing like it"] = []byte("room")
	return out
}

// TestDamagedGossip: whatever comes by gossip, the follower ends with the hub's log
// and has written each entry once. A piece that nobody honest passes on is the
// neighbour's fault.
func TestDamagedGossip(t *testing.T) {
	w, alice, bob, id := pair(t, nil)
	alone(t, w, alice, id, 3)
	biloxi := w.ps["biloxi.example"]
	good := must(room.ParsePiece(w.logOf(id, 2), 1<<20))(t)
	// The hub is silent, so that the pieces are all that there is.
	atlanta := w.ps["atlanta.example"]
	atlanta.set(func() { atlanta.down = true })
	reject := map[string]bool{"of another room": true, "cut": true, "cut in the head": true, "more behind it": true, "nothing like it": true}
	for name, data := range damaged(good) {
		if v := biloxi.gossip("chicago.example", data); (v == overlay.Reject) != reject[name] {
			t.Errorf("%s: verdict %v", name, v)
		}
	}
	time.Sleep(100 * time.Millisecond)
	if l := biloxi.rooms.List()[0]; l.Next != 2 || l.Broken != "" {
		t.Errorf("after damaged pieces: %+v", l)
	}
	for range 5 {
		biloxi.gossip("chicago.example", good.Append(nil))
	}
	eventually(t, "the good piece is written", func() bool { return biloxi.rooms.List()[0].Next == 5 })
	for range 5 {
		biloxi.gossip("chicago.example", good.Append(nil))
	}
	atlanta.set(func() { atlanta.down = false })
	bob.follow(id, 5)
	rest(t, biloxi)
	if s := biloxi.rooms.Stats(); s.Followed != 5 || s.Broken != 0 {
		t.Errorf("%+v", s)
	}
}

// TestDamagedRanges: a hub that answers with damaged ranges holds its follower up
// and does nothing worse; with the first good answer the log goes on.
func TestDamagedRanges(t *testing.T) {
	w, alice, bob, id := pair(t, nil)
	alone(t, w, alice, id, 3)
	biloxi, atlanta := w.ps["biloxi.example"], w.ps["atlanta.example"]
	bad := damaged(must(room.ParsePiece(w.logOf(id, 2), 1<<20))(t))
	for name, data := range bad {
		atlanta.set(func() {
			atlanta.answer = func(ctx context.Context, q *rooms.Request, endpoint string, next rooms.Endpoint) (*rooms.Response, error) {
				if endpoint == rooms.EndpointLog {
					return &rooms.Response{Status: 200, Body: data}, nil
				}
				return next(ctx, q)
			}
		})
		n := atlanta.called(rooms.EndpointLog)
		biloxi.rooms.Exchange(context.Background(), "atlanta.example")
		eventually(t, name+": asked", func() bool { return atlanta.called(rooms.EndpointLog) > n })
		rest(t, biloxi)
		if l := biloxi.rooms.List()[0]; l.Next != 2 || l.Broken != "" {
			t.Errorf("%s: %+v", name, l)
		}
		if asked := atlanta.called(rooms.EndpointLog) - n; asked > 10 { // a slow machine asks again after its pause meanwhile
			t.Errorf("%s: asked %d times at once", name, asked)
		}
	}
	atlanta.set(func() { atlanta.answer = nil })
	biloxi.rooms.Exchange(context.Background(), "atlanta.example")
	bob.follow(id, 5)
	rest(t, biloxi)
	if s := biloxi.rooms.Stats(); s.Followed != 5 {
		t.Errorf("%+v", s)
	}
}

// TestCondemned: a hub that signs what cannot be is not followed any further, also
// after a restart, and what it has signed is kept.
func TestCondemned(t *testing.T) {
	w, alice, bob, id := pair(t, nil)
	atlanta, biloxi := w.ps["atlanta.example"], w.ps["biloxi.example"]
	p := must(room.ParsePiece(w.logOf(id, 1), 1<<20))(t)
	last := p.Entries[len(p.Entries)-1]
	pos := room.Position{Term: last.Term, Next: last.Seq + 1, Last: last.Hash(), AcceptedAt: last.AcceptedAt}
	bad := &room.Entry{Room: room.ID(id), Term: last.Term, Seq: pos.Next, Prev: pos.Last, AcceptedAt: pos.AcceptedAt, Kind: room.KindHandshake, Body: []byte("no handshake")}
	lie := must(room.Seal(room.ID(id), pos, []*room.Entry{bad}, atlanta.key))(t)
	head := lie.Head()
	piece := room.Piece{Head: head, Entries: lie.Entries()}
	if v := biloxi.gossip("atlanta.example", piece.Append(nil)); v != overlay.Accept {
		t.Errorf("verdict %v", v)
	}
	eventually(t, "condemned", func() bool { return biloxi.rooms.List()[0].Broken != "" })
	why := biloxi.rooms.List()[0].Broken
	check := func(when string) {
		t.Helper()
		if l := biloxi.rooms.List()[0]; l.Broken != why || l.Next != 2 {
			t.Errorf("%s: %+v", when, l)
		}
		c, err := biloxi.rooms.Condemned(id)
		if err != nil || len(c.Entries) != 1 || c.Why != why || c.Entries[0].Hash() != bad.Hash() || c.Head != head {
			t.Fatalf("%s: %+v, %v", when, c, err)
		}
		if err := c.Head.Verify(atlanta.key.Public().(ed25519.PublicKey)); err != nil {
			t.Errorf("%s: the proof proves nothing: %v", when, err)
		}
	}
	eventually(t, "kept", func() bool { _, err := biloxi.rooms.Condemned(id); return err == nil })
	check("at once")
	biloxi.restart()
	check("after a restart")
	n := atlanta.called(rooms.EndpointLog)
	if r, err := alice.send(id, alice.message("goes on elsewhere")); err != nil || r.Code != wire.SubmitAccepted {
		t.Errorf("%v, %v", r, err)
	}
	biloxi.rooms.Exchange(context.Background(), "atlanta.example")
	time.Sleep(100 * time.Millisecond)
	if asked := atlanta.called(rooms.EndpointLog) - n; asked != 0 {
		t.Errorf("the log of a condemned room is asked for %d times", asked)
	}
	check("after more")
	if r, err := biloxi.rooms.Room(context.Background(), bob.who, id); err != nil || len(r.Participants) != 2 {
		t.Errorf("what was written is there: %v, %v", r, err)
	}
	if _, err := atlanta.rooms.Condemned(id); !strings.HasPrefix(status(err), "404 ") {
		t.Errorf("nothing is known against a good room: %v", err)
	}
}

// TestClocks: a hub's clock may be two minutes off; a hub of next week is not
// believed, and not condemned.
func TestClocks(t *testing.T) {
	for _, off := range []time.Duration{-2 * time.Minute, 2 * time.Minute} {
		w, alice, bob, id := pair(t, func(w *world) {
			w.ps["atlanta.example"].tweak = func(c *rooms.Config) {
				c.Now = func() time.Time { return time.Now().Add(off) }
			}
		})
		for _, d := range []*device{bob, alice} {
			if r, err := d.send(id, d.message("hello")); err != nil || r.Code != wire.SubmitAccepted {
				t.Fatalf("%s: %v, %v", off, r, err)
			}
		}
		if err := bob.commit(id, mls.CommitOptions{}); err != nil {
			t.Errorf("%s: bob commits: %v", off, err)
		}
		bob.follow(id, 5)
		alice.follow(id, 5)
		if s := w.ps["biloxi.example"].rooms.List()[0]; s.Broken != "" {
			t.Errorf("%s: %+v", off, s)
		}
	}
	var ahead time.Duration
	w, alice, _, id := pair(t, func(w *world) {
		w.ps["atlanta.example"].tweak = func(c *rooms.Config) {
			c.Now = func() time.Time {
				w.ps["atlanta.example"].mu.Lock()
				defer w.ps["atlanta.example"].mu.Unlock()
				return time.Now().Add(ahead)
			}
		}
	})
	w.ps["atlanta.example"].set(func() { ahead = 7 * 24 * time.Hour })
	if _, err := alice.send(id, alice.message("from next week")); err != nil {
		t.Fatal(err)
	}
	time.Sleep(100 * time.Millisecond)
	if l := w.ps["biloxi.example"].rooms.List()[0]; l.Next != 2 || l.Broken != "" {
		t.Errorf("a hub of next week: %+v", l)
	}
}

// TestStall: a hub that does not answer about one room holds up neither another
// room nor the end, and one that calls out all the time is asked once.
func TestStall(t *testing.T) {
	w, alice, bob, id := pair(t, nil)
	atlanta, biloxi := w.ps["atlanta.example"], w.ps["biloxi.example"]
	ann, ben := w.device("ann@atlanta.example", "phone"), w.device("ben@biloxi.example", "phone")
	other, _, err := ann.create("other")
	if err == nil {
		err = ann.add(other, ben)
	}
	if err != nil {
		t.Fatal(err)
	}
	ann.follow(other, 2)
	ben.follow(other, 2)
	alone(t, w, alice, id, 1)
	stalled := make(chan struct{}, 100)
	atlanta.set(func() {
		atlanta.answer = func(ctx context.Context, q *rooms.Request, endpoint string, next rooms.Endpoint) (*rooms.Response, error) {
			if endpoint == rooms.EndpointLog && q.Subject == room.ID(id).String() {
				stalled <- struct{}{}
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return next(ctx, q)
		}
	})
	nudge := room.AppendStands(nil, []room.Stand{{Room: room.ID(id), Next: 1000}})
	for range 3 * rooms.QueueLength {
		if _, err := biloxi.serve(context.Background(), rooms.EndpointNudge, &rooms.Request{Source: "atlanta.example", Subject: "biloxi.example", Body: nudge}); err != nil {
			t.Fatal(err)
		}
	}
	<-stalled
	if q := biloxi.rooms.Queued(room.ID(id)); q > 1 {
		t.Errorf("%d tasks wait for one room after as many nudges", q)
	}
	for range 20 {
		if r, err := ben.send(other, ben.message("x")); err != nil || r.Code != wire.SubmitAccepted {
			t.Fatalf("%v, %v", r, err)
		}
	}
	ann.follow(other, 22)
	ben.follow(other, 22)
	// Bob's messages go to the hub, beside what stalls.
	if r, err := bob.send(id, bob.message("y")); err != nil || r.Code != wire.SubmitAccepted {
		t.Errorf("%v, %v", r, err)
	}
	if len(stalled) > 2 {
		t.Errorf("asked %d times at once", len(stalled)+1)
	}
	closed := make(chan struct{})
	go func() {
		biloxi.close()
		close(closed)
	}()
	select {
	case <-closed:
	case <-time.After(5 * time.Second):
		t.Error("does not stop while a hub stalls")
	}
}

// TestHeld: a commit adds a user by a key of its provider that the follower does not
// have. While it cannot look, the log waits there, the operator sees why, and the hub is
// not blamed. As soon as it can, the log goes on.
func TestHeld(t *testing.T) {
	w, alice, bob, id := pair(t, nil)
	carol := w.device("carol@chicago.example", "phone")
	biloxi := w.ps["biloxi.example"]
	before := ed25519.NewKeyFromSeed(make([]byte, 32)).Public()
	biloxi.set(func() { biloxi.old, biloxi.lost = map[string]crypto.PublicKey{"chicago.example": before}, true })
	if err := alice.add(id, carol); err != nil {
		t.Fatal(err)
	}
	carol.follow(id, 3)
	eventually(t, "the log waits", func() bool { return biloxi.rooms.List()[0].Held != "" })
	if l := biloxi.rooms.List()[0]; l.Next != 2 || l.Broken != "" || !strings.Contains(l.Held, "entry 2") || !strings.Contains(l.Held, "carol") {
		t.Errorf("%+v", l)
	}
	biloxi.set(func() { biloxi.lost = false })
	if _, err := alice.send(id, alice.message("one")); err != nil {
		t.Fatal(err)
	}
	bob.follow(id, 4)
	eventually(t, "nothing is held", func() bool { return biloxi.rooms.List()[0].Held == "" })
	if s := biloxi.rooms.Stats(); s.Broken != 0 {
		t.Errorf("%+v", s)
	}
}
