package rooms_test

import (
	"context"
	"crypto/ed25519"
	"testing"

	"github.com/mimid/mimid/node/rooms"
	"github.com/mimid/mimid/overlay"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/store"
)

// apart is a room that atlanta orders alone. It has shown its two followers another message
// each at one place, both good and both signed, and they hear no gossip of each other.
func apart(t *testing.T) (w *world, id store.RoomID, biloxi, chicago *provider) {
	w = prepareWorld(t, true, three...)
	watched(w)
	w.start()
	alice, bob, carol := w.device("alice@atlanta.example", "phone"), w.device("bob@biloxi.example", "phone"), w.device("carol@chicago.example", "phone")
	id, _, err := alice.create("apart")
	if err != nil {
		t.Fatal(err)
	}
	if err := alice.add(id, bob, carol); err != nil {
		t.Fatal(err)
	}
	bob.follow(id, 2)
	carol.follow(id, 2)
	biloxi, chicago = w.ps[three[1]], w.ps[three[2]]
	for _, p := range w.ps {
		p.set(func() { p.deaf = true })
	}
	for i, p := range []*provider{biloxi, chicago} {
		m := must(alice.group.Encrypt([]byte{'a' + byte(i)}, mls.SendOptions{AAD: tagged("x")}))(t)
		body := must((&room.Message{Message: m}).Bytes())(t)
		piece := w.ps[three[0]].forge(id, func(e *room.Entry) { e.Body = body })
		if v := p.gossip(three[0], piece.Append(nil)); v != overlay.Accept {
			t.Fatalf("verdict %v", v)
		}
		patiently(t, p.domain+" has it", func() bool { return p.stand(id).Next == 3 })
	}
	return w, id, biloxi, chicago
}

// twoHeadsKept says whether a provider stands still and keeps the proof of two heads.
func (p *provider) twoHeadsKept(id store.RoomID, liar *provider) bool {
	t := p.w.t
	t.Helper()
	c := p.condemned(id)
	if c == nil {
		return false
	}
	if c.Low == nil {
		t.Fatalf("%s: %s: one head only", p.domain, c.Why)
	}
	eq := &room.Equivocation{Low: *c.Low, High: c.Head, Entries: c.Entries}
	if err := eq.Verify(liar.key.Public().(ed25519.PublicKey)); err != nil {
		t.Fatalf("%s: %v", p.domain, err)
	}
	_, broken := p.accused(id)
	return broken != ""
}

// TestExchangedHeads: of DESIGN section 5: providers exchange newest heads when they talk.
// Two followers of a hub that shows each of them another history of one length find it out
// when either asks the other where it stands, and the other one is shown the proof.
func TestExchangedHeads(t *testing.T) {
	w, id, biloxi, chicago := apart(t)
	for _, p := range []*provider{biloxi, chicago} {
		if _, broken := p.accused(id); broken != "" || p.condemned(id) != nil {
			t.Fatalf("%s knows already: %s", p.domain, broken)
		}
	}
	biloxi.rooms.Exchange(context.Background(), chicago.domain)
	for _, p := range []*provider{biloxi, chicago} {
		patiently(t, p.domain+" has the proof", func() bool { return p.twoHeadsKept(id, w.ps[three[0]]) })
	}
}

// TestNudgedHeads: the same is found out by a nudge, which names a hash, too.
func TestNudgedHeads(t *testing.T) {
	w, id, biloxi, chicago := apart(t)
	at := chicago.log(id)
	last := at[len(at)-1]
	nudge := room.AppendStands(nil, []room.Stand{{Room: room.ID(id), Term: last.Term, Next: last.Seq + 1, Last: last.Hash()}})
	must(biloxi.serve(context.Background(), rooms.EndpointNudge, &rooms.Request{Source: chicago.domain, Subject: biloxi.domain, Body: nudge}))(t)
	patiently(t, "biloxi has the proof", func() bool { return biloxi.twoHeadsKept(id, w.ps[three[0]]) })
}

// TestFellowsAsked: without a connection or a nudge those that only follow are asked, too,
// one each time, in turns.
func TestFellowsAsked(t *testing.T) {
	w, id, biloxi, chicago := apart(t)
	biloxi.restart() // and so exchanges with its hub and one more
	for _, p := range []*provider{biloxi, chicago} {
		patiently(t, p.domain+" has the proof", func() bool { return p.twoHeadsKept(id, w.ps[three[0]]) })
	}
}

// TestStandsBelieved: what a follower says that stands elsewhere costs a question and changes
// nothing, and where two have the same nobody asks for anything.
func TestStandsBelieved(t *testing.T) {
	w, alice, bob, id := pair(t, nil)
	if _, err := alice.send(id, alice.message("one")); err != nil {
		t.Fatal(err)
	}
	bob.read(id, "one")
	biloxi, atlanta := w.ps["biloxi.example"], w.ps["atlanta.example"]
	patiently(t, "both have the same", func() bool { return biloxi.stand(id).Next == 3 && atlanta.stand(id).Next == 3 })
	list := biloxi.log(id)
	last := list[len(list)-1]
	stand := room.Stand{Room: room.ID(id), Term: last.Term, Next: last.Seq + 1, Last: last.Hash()}
	ask := func(s room.Stand) []room.Stand {
		r := must(atlanta.serve(context.Background(), rooms.EndpointHeads, &rooms.Request{Source: biloxi.domain, Subject: atlanta.domain, Body: room.AppendStands(nil, []room.Stand{s})}))(t)
		return must(room.ParseStands(r.Body))(t)
	}
	other, silent, stranger := stand, stand, stand
	other.Last[3]++
	silent.Last = room.Hash{}
	stranger.Room[0]++
	for _, c := range []struct {
		why  string
		s    room.Stand
		told bool
	}{{"the same", stand, false}, {"another hash", other, true}, {"no hash", silent, false}, {"a room that is not here", stranger, false}} {
		got := ask(c.s)
		if len(got) != 0 != c.told {
			t.Errorf("%s: %v", c.why, got)
		} else if c.told && got[0] != stand {
			t.Errorf("%s: told %v, expected %v", c.why, got[0], stand)
		}
	}
	asked := biloxi.rooms.Stats().Ranges
	claim := func(s room.Stand) {
		must(biloxi.serve(context.Background(), rooms.EndpointNudge, &rooms.Request{Source: atlanta.domain, Subject: biloxi.domain, Body: room.AppendStands(nil, []room.Stand{s})}))(t)
		must(biloxi.rooms.Standing(context.Background(), room.ID(id)))(t)
	}
	// If it is just asking for something else, the claim goes unheard.
	patiently(t, "it asks", func() bool { claim(other); return biloxi.rooms.Stats().Ranges > asked })
	claim(stand)
	if n := biloxi.rooms.Stats().Ranges - asked; n != 1 {
		t.Errorf("%d questions for one claim that is false and one that is true", n)
	}
	if _, broken := biloxi.accused(id); broken != "" || biloxi.condemned(id) != nil {
		t.Errorf("a claim stops the room: %s", broken)
	}
}
