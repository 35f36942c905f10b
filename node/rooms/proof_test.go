package rooms_test

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mimid/mimid/node/logstore"
	"github.com/mimid/mimid/node/rooms"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/replica"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/store"
)

// told counts the times that a device's user is told that a provider has lied.
func (d *device) told(hub string) *atomic.Int32 {
	return d.states(func(st *clientapi.HubState) bool { return st.Lied && st.Hub == hub })
}

// states counts what a device's user is told of rooms' hubs.
func (d *device) states(wanted func(st *clientapi.HubState) bool) *atomic.Int32 {
	n := new(atomic.Int32)
	ctx, cancel := context.WithCancel(context.Background())
	s := must(d.p.feed.Open(ctx, d.who.User, d.who.Client, ""))(d.p.w.t)
	ended := make(chan struct{})
	d.p.w.t.Cleanup(func() { cancel(); <-ended })
	go func() {
		defer close(ended)
		defer s.Close()
		for {
			frames, err := s.Next(ctx)
			if err != nil {
				return
			}
			for _, f := range frames {
				_, data, _ := strings.Cut(string(f), "data: ")
				var st clientapi.HubState
				if strings.Contains(string(f), "event: "+clientapi.EventHub+"\n") && json.Unmarshal([]byte(data), &st) == nil && wanted(&st) {
					n.Add(1)
				}
			}
		}
	}()
	return n
}

// tail is how much of a room is not final at a provider.
func (p *provider) tail(id store.RoomID) uint64 {
	for _, s := range p.rooms.List() {
		if s.ID == room.ID(id).String() {
			return s.Tail
		}
	}
	return 0
}

// show has another provider show a piece.
func (p *provider) show(from string, id store.RoomID, piece []byte) {
	m := &replica.Message{Room: room.ID(id), Kind: replica.Show, Piece: piece}
	must(p.serve(context.Background(), rooms.EndpointReplica, &rooms.Request{Source: from, Subject: p.domain, Body: replica.Append(nil, []*replica.Message{m})}))(p.w.t)
}

func (p *provider) condemned(id store.RoomID) (c *logstore.Condemned) {
	err := p.st.View(func(tx *store.Tx) (err error) { c, err = logstore.ReadCondemned(tx, room.ID(id)); return err })
	if err != nil {
		return nil
	}
	return c
}

// histories are two entries at the end of the hub's log, both good, both signed.
func histories(t *testing.T, w *world, alice *device, id store.RoomID) (one, other *room.Piece) {
	piece := func(text string) *room.Piece {
		m := must(alice.group.Encrypt([]byte(text), mls.SendOptions{AAD: tagged(text)}))(t)
		body := must((&room.Message{Message: m}).Bytes())(t)
		return w.ps[three[0]].forge(id, func(e *room.Entry) { e.Body = body })
	}
	return piece("one"), piece("other")
}

// TestTwoHistories: a hub shows one history to one replica and another one to the other.
// Whoever sees both has the proof, keeps and shares it; the users are told, another hub is
// elected, and what was final stays.
func TestTwoHistories(t *testing.T) {
	w, alice, bob, carol, id := trio(t)
	bob.say(id, "before")
	carol.read(id, "before")
	before := w.alike(id, 5)
	tellsBob, tellsCarol := bob.told(three[0]), carol.told(three[0])
	one, other := histories(t, w, alice, id)
	key := w.ps[three[0]].key.Public().(ed25519.PublicKey)
	// What atlanta says to each of them is heard by that one only.
	for _, d := range three[1:] {
		w.ps[d].set(func() { w.ps[d].deaf = true })
	}
	w.ps[three[1]].gossip(three[0], one.Append(nil))
	w.ps[three[2]].gossip(three[0], other.Append(nil))
	for _, d := range three[1:] {
		eventually(t, d+" has a tail", func() bool { return w.ps[d].tail(id) == 1 })
		w.ps[d].set(func() { w.ps[d].deaf = false })
	}
	w.ps[three[1]].gossip(three[2], other.Append(nil)) // passed on by chicago
	for _, d := range three[1:] {
		p := w.ps[d]
		eventually(t, d+" keeps the proof", func() bool { return p.condemned(id) != nil })
		c := p.condemned(id)
		if c.Low == nil {
			t.Fatalf("%s: %s: one head only", d, c.Why)
		}
		eq := &room.Equivocation{Low: *c.Low, High: c.Head, Entries: c.Entries}
		if err := eq.Verify(key); err != nil {
			t.Errorf("%s: %s: %v", d, c.Why, err)
		}
		eventually(t, "another provider orders the room at "+d, func() bool { h := p.stand(id).Hub; return h != three[0] })
	}
	bob.say(id, "after")
	carol.read(id, "after")
	now := w.alike(id, len(before)+2)
	for i, e := range before {
		if now[i].Hash() != e.Hash() {
			t.Errorf("entry %d is another one", i)
		}
	}
	eventually(t, "both users are told", func() bool { return tellsBob.Load() > 0 && tellsCarol.Load() > 0 })
	if a, b := tellsBob.Load(), tellsCarol.Load(); a > 1 || b > 1 {
		t.Errorf("told %d and %d times", a, b)
	}
}

// TestSharedLie: one replica alone saw an entry that cannot be. It shows it to the others,
// so that together they elect another hub.
func TestSharedLie(t *testing.T) {
	w, alice, bob, carol, id := trio(t)
	alice.say(id, "before")
	bob.read(id, "before")
	w.alike(id, 5)
	lie := w.ps[three[0]].forge(id, func(*room.Entry) {})
	w.ps[three[1]].gossip(three[0], lie.Append(nil))
	for _, d := range three[1:] {
		eventually(t, "another provider orders the room at "+d, func() bool { h := w.ps[d].stand(id).Hub; return h != three[0] })
		if c := w.ps[d].condemned(id); c == nil || c.Low != nil || c.Head.Head != lie.Head.Head {
			t.Errorf("%s: %+v", d, c)
		}
	}
	bob.say(id, "after")
	carol.read(id, "before", "after")
}

// TestShownAndTrue: what another provider shows is judged, not believed: a true piece
// accuses nobody, and one that nobody signed changes nothing.
func TestShownAndTrue(t *testing.T) {
	w, alice, bob, _, id := trio(t)
	alice.say(id, "before")
	bob.read(id, "before")
	w.alike(id, 5)
	chicago := w.ps[three[2]]
	stand := room.AppendStands(nil, []room.Stand{{Room: room.ID(id), Next: 4}})
	next := must((peers{w.ps[three[1]]}).Call(context.Background(), callLog(room.ID(id), stand)))(t)
	foreign := w.ps[three[0]].forge(id, func(*room.Entry) {})
	foreign.Head = room.SignHead(foreign.Head.Head, w.ps[three[1]].key) // a replica, but not the hub
	for _, p := range []*room.Piece{must(room.ParsePiece(next, 1<<20))(t), foreign} {
		chicago.show(three[1], id, p.Append(nil))
	}
	chicago.show(three[1], id, []byte("no piece"))
	alice.say(id, "on")
	bob.read(id, "on")
	time.Sleep(300 * time.Millisecond) // an election would have begun
	for _, d := range three {
		if a, b := w.ps[d].accused(id); a != "" || b != "" || w.ps[d].stand(id).Hub != three[0] {
			t.Errorf("%s: accused %q, broken %q, hub %s", d, a, b, w.ps[d].stand(id).Hub)
		}
	}
	if !strings.HasPrefix(w.ps[three[0]].stand(id).Term, "0.1") {
		t.Error(w.ps[three[0]].stand(id).Term)
	}
}

// TestShownByAnybody: what no replica has signed is not even looked at: a participant
// could have the room read anew and again.
func TestShownByAnybody(t *testing.T) {
	w, users, id := impatient(t, func(c *rooms.Config) { c.Idle = time.Hour })
	users["bob"].say(id, "before")
	w.alike(id, 5)
	chicago, from := w.ps[three[2]], w.ps[delta]
	loads := chicago.rooms.Stats().Loads
	chicago.show(delta, id, from.forge(id, func(*room.Entry) {}).Append(nil))
	users["bob"].say(id, "after")
	users["carol"].read(id, "before", "after")
	if s := chicago.rooms.Stats(); s.Loads != loads {
		t.Errorf("the room was read %d times anew", s.Loads-loads)
	}
}

// TestToldThatItStops: where one provider orders a room alone and signs what cannot be,
// the users of another one are told at once that their room stands still.
func TestToldThatItStops(t *testing.T) {
	w, alice, bob, id := pair(t, nil)
	if _, err := alice.send(id, alice.message("one")); err != nil {
		t.Fatal(err)
	}
	bob.read(id, "one")
	biloxi, lie := w.ps["biloxi.example"], w.ps["atlanta.example"].forge(id, func(*room.Entry) {})
	soon := time.AfterFunc(100*time.Millisecond, func() { biloxi.gossip("atlanta.example", lie.Append(nil)) })
	defer soon.Stop()
	bob.listen("", func(_, event, data string) bool {
		return event == clientapi.EventHub && strings.Contains(data, `"hub":"atlanta.example"`) && strings.Contains(data, `"stopped":true`)
	})
	if s := biloxi.rooms.List()[0]; s.Broken == "" {
		t.Errorf("%+v", s)
	}
}
