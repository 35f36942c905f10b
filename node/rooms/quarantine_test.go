package rooms_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mimid/mimid/node/rooms"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/store"
)

// warden holds all whose names begin with "held", and notes what it is asked.
type warden struct {
	mu    sync.Mutex
	notes map[string]int
}

func (q *warden) note(s string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.notes[s]++
}

func (q *warden) has(s string) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.notes[s]
}

func holds(u uri.User) bool { return strings.HasPrefix(u.Name(), "held") }

func (q *warden) Enters(tx *store.Tx, _ uri.Room, u, by uri.User, _ uint64) (bool, error) {
	tx.OnCommit(func() { q.note(u.Name() + " by " + by.Name()) })
	return holds(u), nil
}

func (q *warden) Welcomed(tx *store.Tx, u uri.User, w *clientapi.Welcome) (bool, error) {
	if len(w.Welcome) == 0 || w.At.Next == 0 {
		return false, errors.New("an empty Welcome")
	}
	tx.OnCommit(func() { q.note(u.Name() + " welcome") })
	return holds(u), nil
}

func (q *warden) Left(tx *store.Tx, u uri.User, _ room.ID) error {
	tx.OnCommit(func() { q.note(u.Name() + " left") })
	return nil
}

func (q *warden) Comes(context.Context, uri.User, room.ID) error { return nil }

// TestQuarantine: at the hub, at a follower and in a replica set, whoever is put into a room is
// asked about with the name of whose doing it is; who is held finds no room and hears nothing,
// neither of what is said nor a Welcome, and others do.
func TestQuarantine(t *testing.T) {
	w := prepareWorld(t, true, three...)
	watched(w)
	wardens := map[string]*warden{}
	for _, p := range w.ps {
		q, was := &warden{notes: map[string]int{}}, p.tweak
		wardens[p.domain] = q
		p.tweak = func(c *rooms.Config) { was(c); c.Quarantine = q }
	}
	w.start()
	alice, bob, carol := w.device("alice@atlanta.example", "phone"), w.device("bob@biloxi.example", "phone"), w.device("carol@chicago.example", "phone")
	local, remote, late := w.device("held1@atlanta.example", "phone"), w.device("held2@biloxi.example", "phone"), w.device("held3@chicago.example", "phone")
	id, _, err := alice.create("trap")
	if err != nil {
		t.Fatal(err)
	}
	expect := func(d *device, what string) {
		t.Helper()
		q, note := wardens[d.p.domain], d.who.User.Name()+what
		for deadline := time.Now().Add(20 * time.Second); q.has(note) == 0; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				q.mu.Lock()
				defer q.mu.Unlock()
				t.Fatalf("nobody asked about %q: %v", note, q.notes)
			}
		}
		if n := q.has(note); n != 1 {
			t.Errorf("asked %d times about %q", n, note)
		}
	}
	hearsNothing := func(d *device) {
		t.Helper()
		if list := must(d.p.rooms.Rooms(t.Context(), d.who))(t); len(list.Rooms) != 0 {
			t.Errorf("%s finds %+v", d.who.User, list.Rooms)
		}
		if _, err := d.p.rooms.Log(t.Context(), d.who, id, 0, 10); err == nil {
			t.Errorf("%s reads the log", d.who.User)
		}
		s := must(d.p.feed.Open(t.Context(), d.who.User, d.who.Client, ""))(t)
		defer s.Close()
		for n := 0; ; n++ {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			frames, err := s.Next(ctx)
			cancel()
			if err != nil {
				return
			}
			if n > 0 || len(frames) != 1 || !strings.Contains(string(frames[0]), "event: hello") {
				t.Errorf("%s hears %q", d.who.User, frames)
				return
			}
		}
	}
	// Streams that are open while it happens.
	type ear struct {
		d *device
		s interface {
			Next(context.Context) ([][]byte, error)
			Close()
		}
	}
	var ears []ear
	for _, d := range []*device{local, remote, late} {
		s := must(d.p.feed.Open(t.Context(), d.who.User, d.who.Client, ""))(t)
		defer s.Close()
		if _, err := s.Next(t.Context()); err != nil { // hello
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		if frames, err := s.Next(ctx); err == nil { // until it has caught up, it takes nothing that is pushed
			t.Errorf("%s hears %q", d.who.User, frames)
		}
		cancel()
		ears = append(ears, ear{d, s})
	}
	if err := alice.add(id, bob, carol, local, remote); err != nil {
		t.Fatal(err)
	}
	for _, d := range []*device{alice, bob, carol} {
		d.follow(id, 2)
	}
	for _, d := range []*device{bob, carol, local, remote} {
		expect(d, " by alice")
		expect(d, " welcome")
	}
	if err := alice.rehost(id, w.hosting(alice, three[0], room.FirstTerm, three...)); err != nil {
		t.Fatal(err)
	}
	for _, d := range []*device{alice, bob, carol} {
		d.follow(id, 4)
	}
	if err := alice.add(id, late); err != nil {
		t.Fatal(err)
	}
	expect(late, " by alice")
	expect(late, " welcome")
	bob.follow(id, 5)
	bob.say(id, "a secret")
	for _, d := range []*device{alice, carol} {
		d.read(id, "a secret")
	}
	for _, d := range []*device{local, remote, late} {
		hearsNothing(d)
	}
	for _, e := range ears {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		if frames, err := e.s.Next(ctx); err == nil {
			t.Errorf("%s's open stream hears %q", e.d.who.User, frames)
		}
	}
}
