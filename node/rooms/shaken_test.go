package rooms_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/mimid/mimid/node/logstore"
	"github.com/mimid/mimid/node/rooms"
	"github.com/mimid/mimid/protocol/clientapi"
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

// the proof against the old hub accuses the new one after a restart.
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

// a room that was voted away from a liar, then shrank to one.
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

// a replica that signs the true head and, at once, a false one at its place.
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

// a voter restarts right after its vote; another candidate asks in the same term.
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

// a stranger's Ask about a room that its hub alone decides about.
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

// 20 goroutines repeat until they see their message in the log, while hubs die.
func TestStorm(t *testing.T) {
	w, alice, bob, carol, id := trio(t)
	devs := []*device{alice, bob, carol}
	type item struct {
		d *device
		m *clientapi.SubmitMessage
	}
	var items [20][]item
	for g := range items {
		for i := range 5 {
			d := devs[g%3]
			items[g] = append(items[g], item{d, d.message(fmt.Sprintf("g%d-%d", g, i))})
		}
	}
	var wg sync.WaitGroup
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	for g := range items {
		wg.Go(func() {
			for _, it := range items[g] {
				for n := 0; n < 2 && ctx.Err() == nil; { // accepted, and repeated once
					r, err := it.d.send(id, it.m)
					if err == nil && r.Code == wire.SubmitAccepted {
						n++
					} else {
						time.Sleep(30 * time.Millisecond)
					}
				}
			}
		})
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 4 {
		time.Sleep(time.Duration(100+rnd.IntN(200)) * time.Millisecond)
		h := w.ps[three[rnd.IntN(3)]].stand(id).Hub
		p := w.ps[h]
		p.set(func() { p.down = true })
		w.suspect(id)
		time.Sleep(time.Duration(300+rnd.IntN(500)) * time.Millisecond)
		w.heal()
	}
	wg.Wait()
	if ctx.Err() != nil {
		t.Fatal("not all were accepted in 60 s")
	}
	// What was set aside is submitted again until it is in the log.
	count := func() map[room.TxnID]int {
		m := map[room.TxnID]int{}
		for _, e := range w.ps[three[0]].log(id) {
			if e.Kind == room.KindMessage {
				m[e.Txn]++
			}
		}
		return m
	}
	eventually(t, "all are final", func() bool {
		if len(count()) == 100+0 {
			return true
		}
		for g := range items {
			for _, it := range items[g] {
				it.d.send(id, it.m)
			}
		}
		time.Sleep(100 * time.Millisecond)
		return len(count()) == 100
	})
	w.alike(id, 104)
	for txn, n := range count() {
		if n != 1 {
			t.Errorf("%s is in the log %d times", txn, n)
		}
	}
	var aside uint64
	for _, p := range w.ps {
		aside += p.rooms.Stats().Aside
	}
	l := w.ps[three[0]].log(id)
	t.Logf("aside %d, the log has %d entries and ends in term %s", aside, len(l), l[len(l)-1].Term)
}

// S2b: a room of five replicas, five hubs killed and restarted.
func TestFive(t *testing.T) {
	five := append([]string{"dallas.example", "essen.example"}, three...)
	w := prepareWorld(t, true, five...)
	watched(w)
	w.start()
	alice, bob, carol := w.device("alice@atlanta.example", "phone"), w.device("bob@biloxi.example", "phone"), w.device("carol@chicago.example", "phone")
	dan, eve := w.device("dan@dallas.example", "phone"), w.device("eve@essen.example", "phone")
	all := map[string]*device{three[0]: alice, three[1]: bob, three[2]: carol, five[0]: dan, five[1]: eve}
	id, _, err := alice.create("five")
	if err != nil {
		t.Fatal(err)
	}
	if err := alice.add(id, bob, carol, dan, eve); err != nil {
		t.Fatal(err)
	}
	for _, d := range all {
		d.follow(id, 2)
	}
	if err := alice.rehost(id, w.hosting(alice, three[0], room.FirstTerm, five...)); err != nil {
		t.Fatal(err)
	}
	for _, d := range all {
		d.follow(id, 4)
	}
	rnd := rand.New(rand.NewPCG(5, 5))
	var before []*room.Entry
	var last room.Term
	for i := range 5 {
		h := w.ps[three[0]].stand(id).Hub
		w.ps[h].set(func() { w.ps[h].down = true })
		w.ps[h].restart()
		var other string
		for other == "" || other == h {
			other = five[rnd.IntN(5)]
		}
		w.ps[other].restart()
		w.suspect(id)
		all[other].say(id, fmt.Sprint("kill ", i))
		for _, p := range w.ps {
			p.set(func() { p.down = false })
		}
		for _, p := range w.ps {
			for _, d := range five {
				if d != p.domain {
					p.rooms.Exchange(context.Background(), d)
				}
			}
		}
		var now []*room.Entry
		eventually(t, "alike", func() bool {
			now = nil
			for _, d := range five {
				l := w.ps[d].log(id)
				if now == nil {
					now = l
				}
				if len(l) < len(before)+2 || len(l) != len(now) || l[len(l)-1].Hash() != now[len(now)-1].Hash() {
					return false
				}
			}
			return true
		})
		for j, e := range before {
			if e.Hash() != now[j].Hash() {
				t.Fatalf("kill %d: entry %d is another", i, j)
			}
		}
		before = now
		if tm := now[len(now)-1].Term; tm.Compare(last) <= 0 {
			t.Errorf("kill %d: term %s after %s", i, tm, last)
		} else {
			last = tm
		}
		eventually(t, "all know the hub", func() bool {
			x := w.ps[three[0]].stand(id).Hub
			for _, d := range five {
				if w.ps[d].stand(id).Hub != x || x == h {
					return false
				}
			}
			return true
		})
	}
}
