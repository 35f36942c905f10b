package rooms_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/mimid/mimid/node/logstore"
	"github.com/mimid/mimid/node/rooms"
	"github.com/mimid/mimid/protocol/hub"
	"github.com/mimid/mimid/protocol/replica"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/wire"
	"github.com/mimid/mimid/store"
)

func (p *provider) accused(id store.RoomID) (accused, broken string) {
	for _, s := range p.rooms.List() {
		if s.ID == room.ID(id).String() {
			return s.Accused, s.Broken
		}
	}
	return "", ""
}

func lied(t *testing.T) (w *world, alice, bob, carol *device, id store.RoomID, hubNow string) {
	w, alice, bob, carol, id = trio(t)
	bob.say(id, "before")
	carol.read(id, "before")
	w.alike(id, 5)
	lie := w.ps[three[0]].forge(id, func(*room.Entry) {})
	for _, d := range three[1:] {
		w.ps[d].gossip(three[0], lie.Append(nil))
	}
	for _, d := range three[1:] {
		eventually(t, "another at "+d, func() bool { h := w.ps[d].stand(id).Hub; return h != three[0] && h != "" })
	}
	bob.say(id, "after")
	carol.read(id, "after")
	w.alike(id, 7)
	return w, alice, bob, carol, id, w.ps[three[1]].stand(id).Hub
}

// TestAccusedAfterRestart: the proof against an old hub does not accuse the new one
// after a restart.
func TestAccusedAfterRestart(t *testing.T) {
	w, _, bob, carol, id, h := lied(t)
	term := w.ps[three[1]].stand(id).Term
	for _, d := range three[1:] {
		w.ps[d].restart()
	}
	for _, d := range three[1:] {
		if a, b := w.ps[d].accused(id); a != "" && a == h || b != "" {
			t.Errorf("%s after its restart: accuses %q (hub %s, who did not lie), broken %q", d, a, h, b)
		}
	}
	bob.say(id, "on")
	carol.read(id, "on")
	time.Sleep(1500 * time.Millisecond)
	if n := w.ps[three[1]].stand(id); n.Hub != h || n.Term != term {
		t.Errorf("an honest hub was voted out: %s in %s, was %s in %s", n.Hub, n.Term, h, term)
	}
}

// TestShrunkAfterLie: a room that was voted away from a liar and shrank to one goes on
// after a restart.
func TestShrunkAfterLie(t *testing.T) {
	w, alice, _, _, id, h := lied(t)
	n := uint64(len(w.alike(id, 7)))
	alice.follow(id, n)
	l := w.ps[h].log(id)
	if err := alice.rehost(id, w.hosting(alice, h, l[len(l)-1].Term, h)); err != nil {
		t.Fatal(err)
	}
	w.alike(id, int(n)+2)
	for _, d := range three[1:] {
		w.ps[d].restart()
	}
	for _, d := range three[1:] {
		if a, b := w.ps[d].accused(id); a != "" || b != "" {
			t.Errorf("%s after its restart: accuses %q, broken %q", d, a, b)
		}
	}
}

func (p *provider) tailOf(id store.RoomID) (out []*room.Entry) {
	p.st.View(func(tx *store.Tx) error {
		out, _, _ = logstore.Tail(tx, room.ID(id), p.stand(id).Next)
		return nil
	})
	return out
}

// TestPoison: a replica that signs the true head and, at once, a false one at its place
// spoils no certificate.
func TestPoison(t *testing.T) {
	w, alice, bob, _, id := trio(t)
	bob.say(id, "before")
	w.alike(id, 5)
	atlanta, biloxi, chicago := w.ps[three[0]], w.ps[three[1]], w.ps[three[2]]
	for _, p := range []*provider{biloxi, chicago} {
		p.set(func() { p.down = true })
	}
	if r, err := alice.send(id, alice.message("m")); err != nil || r.Code != wire.SubmitAccepted {
		t.Fatal(r, err)
	}
	tail := atlanta.tailOf(id)
	if len(tail) != 1 {
		t.Fatal(len(tail))
	}
	e := tail[0]
	truth := room.CoSign(room.HeadOf(e), chicago.key)
	bad := room.HeadOf(e)
	bad.Hash[0] ^= 1
	lie := room.CoSign(bad, chicago.key)
	ms := func(c room.CoSignature) *replica.Message {
		return &replica.Message{Room: room.ID(id), Kind: replica.CoSign, Term: c.Head.Term, Head: hub.Head{Term: c.Head.Term, Seq: c.Head.Seq, Hash: c.Head.Hash}, Sign: &c}
	}
	_, err := atlanta.serve(context.Background(), rooms.EndpointReplica, &rooms.Request{Source: three[2], Subject: three[0], Body: replica.Append(nil, []*replica.Message{ms(truth), ms(lie)})})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "final at the hub", func() bool { return atlanta.stand(id).Next == e.Seq+1 })
	atlanta.st.View(func(tx *store.Tx) error {
		for b, err := range logstore.LastBatches(tx, room.ID(id)) {
			if err != nil {
				t.Fatal(err)
			}
			if b.Cert == nil {
				t.Error("the hub stored what is final with no certificate")
				break
			}
			for _, s := range b.Cert.Signers {
				if s.Head != room.HeadOf(e) {
					t.Errorf("certificate of head %d (%s) holds %s's signature of another head %d (%s)", e.Seq, e.Hash(), s.Domain, s.Head.Seq, s.Head.Hash)
				}
			}
			break
		}
		return nil
	})
	biloxi.set(func() { biloxi.down = false })
	biloxi.rooms.Exchange(context.Background(), three[0])
	ok := false
	for range 300 {
		if biloxi.stand(id).Next == e.Seq+1 {
			ok = true
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if !ok {
		t.Errorf("an honest follower has not got the entry as final 3 s later")
	}
}

// TestVoteOnce: a voter restarts right after its vote, and another candidate asks in the
// same term in vain.
func TestVoteOnce(t *testing.T) {
	w, _, bob, _, id := trio(t)
	bob.say(id, "before")
	l := w.alike(id, 5)
	atlanta, biloxi, chicago := w.ps[three[0]], w.ps[three[1]], w.ps[three[2]]
	for _, p := range []*provider{atlanta, chicago} {
		p.set(func() { p.down = true })
	}
	biloxi.rooms.Suspect(room.ID(id))
	last := l[len(l)-1]
	term := last.Term
	term.Number += 5
	var set room.Hash
	set[0] = 7
	stand := func(from string, set room.Hash) {
		m := &replica.Message{Room: room.ID(id), Kind: replica.Stand, Term: term, Head: hub.Head{Term: last.Term, Seq: last.Seq, Hash: last.Hash()}, Set: set}
		if _, err := biloxi.serve(context.Background(), rooms.EndpointReplica, &rooms.Request{Source: from, Subject: three[1], Body: replica.Append(nil, []*replica.Message{m})}); err != nil {
			t.Fatal(err)
		}
	}
	read := func() (st hub.State, v logstore.VotedSet, who string) {
		n := &plainNames{}
		biloxi.st.View(func(tx *store.Tx) (err error) {
			st, v, _, err = logstore.ReadReplica(tx, room.ID(id), n)
			return err
		})
		if st.Vote.For != 0 {
			who = n.Name(st.Vote.For)
		}
		return
	}
	stand(three[2], set)
	eventually(t, "it votes", func() bool { st, _, who := read(); return st.Vote.Term == term && who == three[2] })
	biloxi.restart()
	stand(three[0], set)
	other := set
	other[0] = 8
	stand(three[2], other)
	time.Sleep(time.Second)
	st, v, who := read()
	if st.Vote.Term == term && (who != three[2] || v.Set != set) {
		t.Errorf("voted twice: %v for %s, set %x", st.Vote.Term, who, v.Set[:2])
	}
	t.Logf("vote %v for %s, set %x", st.Vote.Term, who, v.Set[:2])
}

type plainNames []string

func (n *plainNames) Name(p hub.Provider) string { return (*n)[p-1] }
func (n *plainNames) Number(d string) hub.Provider {
	for i, x := range *n {
		if x == d {
			return hub.Provider(i + 1)
		}
	}
	*n = append(*n, d)
	return hub.Provider(len(*n))
}

// TestStranger: a stranger's Ask about a room that its hub alone decides about changes
// nothing.
func TestStranger(t *testing.T) {
	w := prepareWorld(t, true, append([]string{"dallas.example"}, three...)...)
	watched(w)
	w.start()
	alice := w.device("alice@atlanta.example", "phone")
	id, _, err := alice.create("alone")
	if err != nil {
		t.Fatal(err)
	}
	atlanta := w.ps[three[0]]
	made := false
	var mu sync.Mutex
	done := make(chan bool)
	go func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			atlanta.st.View(func(tx *store.Tx) error {
				if _, _, _, err := logstore.ReadReplica(tx, room.ID(id), &plainNames{}); err == nil {
					mu.Lock()
					made = true
					mu.Unlock()
				}
				return nil
			})
		}
	}()
	for range 200 {
		m := &replica.Message{Room: room.ID(id), Kind: replica.Ask}
		atlanta.serve(context.Background(), rooms.EndpointReplica, &rooms.Request{Source: "dallas.example", Subject: three[0], Body: replica.Append(nil, []*replica.Message{m})})
		time.Sleep(time.Millisecond)
	}
	close(done)
	mu.Lock()
	defer mu.Unlock()
	if made {
		t.Error("a stranger's message made the hub write replica state of a room that it has no part in")
	}
}
