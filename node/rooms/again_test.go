package rooms_test

import (
	"crypto/ed25519"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mimid/mimid/node/rooms"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/store"
)

// unheard is a trio of which two providers are down when a message comes: the hub has it,
// and nobody else.
func unheard(t *testing.T) (w *world, alice *device, id store.RoomID) {
	w, alice, _, carol, id := trio(t)
	alice.say(id, "heard")
	carol.read(id, "heard")
	for _, d := range three[1:] {
		w.ps[d].set(func() { w.ps[d].down = true })
	}
	alice.say(id, "unheard")
	return w, alice, id
}

// TestSaidLessAndLess: a hub that nobody answers says it again soon, and then less and
// less often, but never stops.
func TestSaidLessAndLess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, alice, id := unheard(t)
		atlanta := w.ps[three[0]]
		// One time of saying it is one message by gossip and a nudge for either of the others.
		for _, x := range []struct {
			within      time.Duration
			least, most int
			because     string
		}{
			{within: 2 * time.Second, least: 2, most: 8, because: "what was lost is soon said again"},
			{within: 10 * time.Second, least: 1, most: 6, because: "the pauses grow"},
			{within: time.Hour, least: 300, most: 1000, because: "they grow no longer than some seconds"},
		} {
			was := atlanta.spoken("gossip")
			time.Sleep(x.within)
			if n := atlanta.spoken("gossip") - was; n < x.least || n > x.most {
				t.Errorf("within %s it was said %d times, expected %d to %d: %s", x.within, n, x.least, x.most, x.because)
			}
		}
		was := atlanta.said()
		time.Sleep(time.Hour)
		if n := atlanta.said() - was; n > 3*1000+200 {
			t.Errorf("%d messages of all kinds in an hour", n)
		}
		was = atlanta.spoken("gossip")
		alice.say(id, "also unheard")
		time.Sleep(4 * time.Second)
		if n := atlanta.spoken("gossip") - was; n < 3 || n > 12 {
			t.Errorf("a new message was said %d times within four seconds: it must not wait as long as the old one", n)
		}
	})
}

// TestSaidAgainSoon: of a message everything is lost at first, what the hub says or what
// the others answer. Yet it is final long before anybody takes the hub for dead.
func TestSaidAgainSoon(t *testing.T) {
	for name, lose := range map[string]func(p *provider, lost bool){
		"pieces":  func(p *provider, lost bool) { p.deaf, p.mute = lost, lost },
		"answers": func(p *provider, lost bool) { p.mute = lost },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, alice, _, carol, id := trio(t)
				alice.say(id, "before")
				carol.read(id, "before")
				time.Sleep(time.Minute)
				next := w.ps[three[0]].stand(id).Next
				for _, p := range w.ps {
					p.set(func() { lose(p, true) })
				}
				alice.say(id, "lost")
				time.Sleep(100 * time.Millisecond)
				if n := w.ps[three[0]].stand(id).Next; n != next {
					t.Fatal("nothing was lost")
				}
				for _, p := range w.ps {
					p.set(func() { lose(p, false) })
				}
				start := time.Now()
				for w.ps[three[0]].stand(id).Next == next {
					if time.Sleep(10 * time.Millisecond); time.Since(start) > time.Minute {
						t.Fatal("never final")
					}
				}
				if d := time.Since(start); d > time.Second {
					t.Errorf("final %s after the way was free", d)
				}
			})
		})
	}
}

// TestAfterLongSilence: for an hour nobody has heard the hub. When they can, and nobody
// tells them, what it has is final within seconds; at once, if a new connection tells.
func TestAfterLongSilence(t *testing.T) {
	for _, x := range []struct {
		name   string
		told   bool
		within time.Duration
	}{
		{"nobody tells", false, 15 * time.Second},
		{"connected anew", true, time.Second},
	} {
		t.Run(x.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, _, id := unheard(t)
				atlanta := w.ps[three[0]]
				time.Sleep(time.Hour)
				if n := atlanta.stand(id).Next; n != 5 {
					t.Fatalf("%d entries are final, expected 5", n)
				}
				for _, d := range three[1:] {
					w.ps[d].set(func() { w.ps[d].down = false })
				}
				if x.told {
					w.heal()
				}
				start := time.Now()
				for atlanta.stand(id).Next != 6 {
					if time.Sleep(10 * time.Millisecond); time.Since(start) > 10*time.Minute {
						t.Fatal("never final")
					}
				}
				if d := time.Since(start); d > x.within {
					t.Errorf("final after %s, expected within %s", d, x.within)
				}
			})
		})
	}
}

// TestCanvassedLessAndLess: who is left of three asks for votes less and less often. When
// another one is there again it has a hub at once.
func TestCanvassedLessAndLess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, alice, bob, carol, id := trio(t)
		for _, p := range w.ps { // only the hub counts as dead; nobody knows of the other
			watches := p.tweak
			p.tweak = func(c *rooms.Config) {
				watches(c)
				dead := c.Dead
				c.Dead = func(domain string) bool { return domain == three[0] && dead(domain) }
			}
			p.restart()
		}
		alice.say(id, "before")
		carol.read(id, "before")
		time.Sleep(time.Minute)
		biloxi, chicago := w.ps[three[1]], w.ps[three[2]]
		for _, p := range []*provider{w.ps[three[0]], chicago} {
			p.set(func() { p.down = true })
		}
		biloxi.rooms.Suspect(room.ID(id))
		was := biloxi.spoken(rooms.EndpointReplica)
		time.Sleep(2 * time.Second)
		if n := biloxi.spoken(rooms.EndpointReplica) - was; n < 3 {
			t.Errorf("asked %d times within two seconds: too few for an election that others are late for", n)
		}
		was = biloxi.spoken(rooms.EndpointReplica)
		time.Sleep(time.Hour)
		if n := biloxi.spoken(rooms.EndpointReplica) - was; n < 40 || n > 150 {
			t.Errorf("asked %d times in an hour", n)
		}
		if busy, idle := biloxi.rooms.Suspected(three[0]); len(busy) != 0 || len(idle) != 1 {
			t.Errorf("%d rooms with traffic and %d idle ones: an election that fails is no traffic", len(busy), len(idle))
		}
		bob.p.rooms.SubmitMessage(t.Context(), bob.who, id, bob.message("somebody waits"))
		if busy, _ := biloxi.rooms.Suspected(three[0]); len(busy) != 1 {
			t.Error("a room in which somebody wants to say something is none with traffic")
		}
		chicago.set(func() { chicago.down = false })
		start := time.Now()
		chicago.rooms.Suspect(room.ID(id))
		for chicago.stand(id).Hub == three[0] {
			if time.Sleep(10 * time.Millisecond); time.Since(start) > time.Minute {
				t.Fatal("no hub")
			}
		}
		if d := time.Since(start); d > time.Second {
			t.Errorf("a hub after %s", d)
		}
	})
}

// TestDoubtsLater: only one provider can win the election, since it alone has what the hub
// ordered last, and the other one finds the hub dead three seconds later. From there on the
// room has a hub within a second, and nothing is missing.
func TestDoubtsLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, alice, bob, carol, id := trio(t)
		atlanta, biloxi, chicago := w.ps[three[0]], w.ps[three[1]], w.ps[three[2]]
		late := new(atomic.Bool) // whether chicago has found out
		watches := chicago.tweak
		chicago.tweak = func(c *rooms.Config) {
			watches(c)
			dead := c.Dead
			c.Dead = func(domain string) bool { return late.Load() && dead(domain) }
		}
		chicago.restart()
		alice.say(id, "before")
		carol.read(id, "before")
		time.Sleep(time.Minute)
		chicago.down2(true)
		biloxi.set(func() { biloxi.mute = true }) // its co-signature is lost
		alice.say(id, "last")
		time.Sleep(100 * time.Millisecond)
		if a, b := biloxi.tail(id), chicago.tail(id); a != 1 || b != 0 {
			t.Fatalf("%d entries are not final at biloxi, and %d at chicago", a, b)
		}
		atlanta.down2(true)
		chicago.down2(false)
		biloxi.set(func() { biloxi.mute = false })
		biloxi.rooms.Suspect(room.ID(id))
		time.Sleep(3 * time.Second)
		if h := biloxi.stand(id).Hub; h != three[0] {
			t.Fatalf("%s is hub by one vote", h)
		}
		late.Store(true)
		start := time.Now()
		chicago.rooms.Suspect(room.ID(id))
		for chicago.stand(id).Hub == three[0] {
			if time.Sleep(10 * time.Millisecond); time.Since(start) > time.Minute {
				t.Fatal("no hub")
			}
		}
		if d := time.Since(start); d > time.Second || chicago.stand(id).Hub != three[1] {
			t.Errorf("%s is hub after %s", chicago.stand(id).Hub, d)
		}
		carol.read(id, "before", "last")
		bob.say(id, "after")
		carol.read(id, "after")
	})
}

func (p *provider) spoken(what string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.spoke[what]
}

// TestNothingIsSaidToTheDead: trying would cost a connection for each of a dead hub's rooms.
func TestNothingIsSaidToTheDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, alice, bob, carol, id := trio(t)
		alice.say(id, "before")
		carol.read(id, "before")
		atlanta, biloxi, chicago := w.ps[three[0]], w.ps[three[1]], w.ps[three[2]]
		atlanta.set(func() { atlanta.down = true })
		for _, p := range w.ps {
			p.set(func() { clear(p.toldTo) })
		}
		w.suspect(id)
		bob.say(id, "after")
		for _, p := range []*provider{biloxi, chicago} {
			p.mu.Lock()
			if n := p.toldTo[three[0]+" "+rooms.EndpointReplica]; n > 0 {
				t.Errorf("%s has said %d things to a dead hub", p.domain, n)
			}
			p.mu.Unlock()
		}
		biloxi.set(func() {
			if biloxi.toldTo[three[2]+" "+rooms.EndpointReplica] == 0 {
				t.Error("nothing was said to anybody")
			}
		})
	})
}

// TestHeadIsNotVerifiedAgain: a head that comes by gossip, to the room and under a certificate is
// not verified each time; one that is another in any way, or is to be of another key, is not taken for it.
func TestHeadIsNotVerifiedAgain(t *testing.T) {
	w, alice, _, carol, id := trio(t)
	biloxi := w.ps[three[1]]
	watches := biloxi.tweak
	biloxi.tweak = func(c *rooms.Config) { watches(c); c.Idle = time.Minute }
	biloxi.restart()
	alice.say(id, "first")
	carol.read(id, "first")
	w.alike(id, 5)
	was := biloxi.rooms.Verified()
	for i := range 10 {
		alice.say(id, fmt.Sprint("message ", i))
		w.alike(id, 6+i)
	}
	if n := biloxi.rooms.Verified() - was; n > 2*10+3 { // three of each were computed, or more
		t.Errorf("%d heads verified for ten messages", n)
	}

	key := w.ps[three[0]].key.Public().(ed25519.PublicKey)
	head := room.SignHead(room.Head{Room: room.ID(id), Term: room.FirstTerm, Seq: 99}, w.ps[three[0]].key)
	if err := biloxi.rooms.VerifyHead(&head, key); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(h *room.SignedHead){
		"signature": func(h *room.SignedHead) { h.Signature[3] ^= 1 },
		"place":     func(h *room.SignedHead) { h.Seq++ },
		"hash":      func(h *room.SignedHead) { h.Hash[0] ^= 1 },
	} {
		other := head
		if change(&other); biloxi.rooms.VerifyHead(&other, key) == nil {
			t.Errorf("a head with another %s is taken for the one that was verified", name)
		}
	}
	if biloxi.rooms.VerifyHead(&head, biloxi.key.Public().(ed25519.PublicKey)) == nil {
		t.Error("a head of one provider is taken for another's")
	}
}

// TestElectionOfIdleRoom: what one election says and writes. The other replica, which has not
// loaded the room, votes without asking for votes itself.
func TestElectionOfIdleRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, alice, _, carol, id := trio(t)
		alice.say(id, "before")
		carol.read(id, "before")
		time.Sleep(time.Minute) // nobody has it in memory
		atlanta, biloxi, chicago := w.ps[three[0]], w.ps[three[1]], w.ps[three[2]]
		atlanta.set(func() { atlanta.down = true })
		was := map[*provider]uint64{}
		for _, p := range []*provider{biloxi, chicago} {
			p.set(func() { clear(p.spoke) })
			was[p] = p.st.Stats().Functions
		}
		biloxi.rooms.Suspect(room.ID(id))
		time.Sleep(time.Minute)
		for _, p := range []*provider{biloxi, chicago} {
			if hub := p.stand(id).Hub; hub != three[1] {
				t.Fatalf("the room's hub is %s at %s", hub, p.domain)
			}
		}
		// Would you vote for me, vote for me; I would, I do, and I have stored your entry. The
		// hub publishes its entry and the certificate.
		if a, b := biloxi.spoken(rooms.EndpointReplica), chicago.spoken(rooms.EndpointReplica); a != 2 || b != 3 {
			t.Errorf("the candidate said %d things, expected 2, and the other replica %d, expected 3", a, b)
		}
		if a, b := biloxi.spoken("gossip"), chicago.spoken("gossip"); a != 2 || b != 0 {
			t.Errorf("the new hub published %d pieces, expected 2, and the other replica %d", a, b)
		}
		for p, n := range was {
			if n = p.st.Stats().Functions - n; n != 3 { // a vote, the entry, that it is final
				t.Errorf("%s wrote %d times, expected 3", p.domain, n)
			}
		}
	})
}
