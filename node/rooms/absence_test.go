package rooms_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mimid/mimid/node/rooms"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/store"
)

// silences is what providers say of each other's silence.
type silences struct {
	mu sync.Mutex
	of map[[2]string]time.Duration // whose, seen by whom
}

func (s *silences) set(whose, by string, d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.of[[2]string{whose, by}] = d
}

func (s *silences) get(whose, by string) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.of[[2]string{whose, by}]
}

// heirs is a room of three, ordered by atlanta, whose only administrator is there.
func heirs(t *testing.T) (w *world, s *silences, alice, bob, carol *device, id store.RoomID) {
	w = prepareWorld(t, true, three...)
	watched(w)
	s = &silences{of: map[[2]string]time.Duration{}}
	for _, p := range w.ps {
		tweak := p.tweak
		p.tweak = func(c *rooms.Config) {
			tweak(c)
			c.Silence = func(domain string) time.Duration { return s.get(domain, p.domain) }
		}
	}
	w.start()
	alice = w.device("alice@atlanta.example", "phone")
	bob, carol = w.device("bob@biloxi.example", "phone"), w.device("carol@chicago.example", "phone")
	id, _, err := alice.create("heirs")
	if err == nil {
		err = alice.add(id, bob, carol)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []*device{alice, bob, carol} {
		d.follow(id, 2)
	}
	return w, s, alice, bob, carol, id
}

// TestMoveInAbsence: a member who holds no power moves the room when every provider that
// acknowledges it has seen no sign of life for the room's patience, and none asked now is
// given; the log says so, and the member is no administrator.
func TestMoveInAbsence(t *testing.T) {
	w, s, alice, bob, carol, id := heirs(t)
	atlanta, biloxi, chicago := three[0], three[1], three[2]
	enough := room.DefaultPatience
	w.ps[atlanta].set(func() { // whoever asks it hears it
		w.ps[atlanta].answer = func(ctx context.Context, q *rooms.Request, endpoint string, next rooms.Endpoint) (*rooms.Response, error) {
			s.set(atlanta, q.Source, 0)
			return next(ctx, q)
		}
	})
	refused := func(why string) {
		t.Helper()
		if err := bob.update(id, bob.moving(biloxi, 1)); err == nil || !strings.Contains(err.Error(), "was heard") {
			t.Fatalf("%s: %v", why, err)
		}
	}
	s.set(atlanta, biloxi, enough-time.Second)
	refused("it was heard a second too late")
	s.set(atlanta, biloxi, enough)
	refused("it answers when it is asked")

	w.ps[atlanta].down2(true)
	s.set(atlanta, biloxi, enough)
	s.set(atlanta, chicago, enough-time.Second)
	moved := make(chan error, 1)
	go func() { moved <- bob.update(id, bob.moving(biloxi, 1)) }()
	select {
	case err := <-moved:
		t.Fatalf("moved while another provider has heard the administrators': %v", err)
	case <-time.After(time.Second):
	}
	if at := w.ps[chicago].stand(id); at.Hub != atlanta {
		t.Fatalf("hub %s", at.Hub)
	}
	s.set(atlanta, chicago, enough)
	if err := <-moved; err != nil {
		t.Fatal(err)
	}
	carol.say(id, "moved")
	bob.read(id, "moved")
	if err := bob.role(id, bob, policy.Admin); err == nil {
		t.Error("who has moved the room is an administrator by that")
	}
	// It comes back, and follows.
	w.heal()
	alice.read(id, "moved")
}

// TestNoRequestInAbsence: while most replicas answer, the wish of somebody who holds no
// power does not stand in for suspicion, however long the administrators are silent.
func TestNoRequestInAbsence(t *testing.T) {
	w, s, alice, bob, carol, id := heirs(t)
	atlanta, biloxi, chicago := three[0], three[1], three[2]
	if err := alice.rehost(id, w.hosting(alice, atlanta, room.FirstTerm, three...)); err != nil {
		t.Fatal(err)
	}
	for _, d := range []*device{alice, bob, carol} {
		d.follow(id, 4) // the commit, and that it is settled
	}
	s.set(atlanta, biloxi, 2*room.DefaultPatience)
	s.set(atlanta, chicago, 2*room.DefaultPatience)
	if err := bob.update(id, bob.moving(biloxi, 1)); err == nil || !strings.Contains(err.Error(), "they decide who orders it") {
		t.Errorf("a member asks the replicas to elect its provider: %v", err)
	}
	time.Sleep(300 * time.Millisecond)
	if at := w.ps[biloxi].stand(id); at.Hub != atlanta {
		t.Errorf("hub %s", at.Hub)
	}
}
