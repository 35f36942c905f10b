package rooms_test

import (
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
		time.Sleep(2 * time.Second)
		if n := atlanta.spoken("gossip") - was; n < 3 || n > 9 {
			t.Errorf("a new message was said %d times within two seconds: it must not wait as long as the old one", n)
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
		w, alice, _, carol, id := trio(t)
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
		if n := biloxi.spoken(rooms.EndpointReplica) - was; n < 2*3 {
			t.Errorf("asked %d times within two seconds: too few for an election that others are late for", n)
		}
		was = biloxi.spoken(rooms.EndpointReplica)
		time.Sleep(time.Hour)
		if n := biloxi.spoken(rooms.EndpointReplica) - was; n < 2*300 || n > 2*1000 {
			t.Errorf("asked %d times in an hour", n)
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

func (p *provider) spoken(what string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.spoke[what]
}
