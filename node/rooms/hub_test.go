package rooms_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mimid/mimid/node/rooms"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/wire"
	"github.com/mimid/mimid/store"
)

// status returns what an error says to a client: "503 unavailable".
func status(err error) string {
	var p *clientapi.Problem
	if errors.As(err, &p) {
		return fmt.Sprintf("%d %s", p.Status, p.Code)
	}
	return fmt.Sprint(err)
}

// signing is a hub's key that a test can take away, or make slow.
type signing struct {
	gone    atomic.Bool
	slow    atomic.Bool // the next use closes entered and waits for proceed
	entered chan struct{}
	proceed chan struct{}
}

// pair is a room of alice at its hub and bob at a follower, with two entries.
func pair(t *testing.T, tweak func(w *world)) (w *world, alice, bob *device, id store.RoomID) {
	t.Helper()
	w = prepareWorld(t, false, "atlanta.example", "biloxi.example", "chicago.example")
	if tweak != nil {
		tweak(w)
	}
	w.start()
	alice, bob = w.device("alice@atlanta.example", "phone"), w.device("bob@biloxi.example", "phone")
	id, _, err := alice.create("room")
	if err != nil {
		t.Fatal(err)
	}
	if err := alice.add(id, bob); err != nil {
		t.Fatal(err)
	}
	alice.follow(id, 2)
	bob.follow(id, 2)
	return w, alice, bob, id
}

func (s *signing) tweak(w *world) {
	p := w.ps["atlanta.example"]
	p.tweak = func(c *rooms.Config) {
		c.Signer = func(pub ed25519.PublicKey) ed25519.PrivateKey {
			if s.slow.CompareAndSwap(true, false) {
				close(s.entered)
				<-s.proceed
			}
			if s.gone.Load() {
				return nil
			}
			return p.key
		}
	}
}

// TestMissingKey: a hub that lacks the room's key is unavailable; it does not say
// that the message is not allowed.
func TestMissingKey(t *testing.T) {
	s := &signing{}
	w, alice, bob, id := pair(t, s.tweak)
	s.gone.Store(true)
	ma, mb := alice.message("a"), bob.message("b")
	for d, m := range map[*device]*clientapi.SubmitMessage{alice: ma, bob: mb} {
		if r, err := d.send(id, m); status(err) != "503 unavailable" {
			t.Errorf("%s without the hub's key: %v, %v", d.who.User, r, err)
		}
	}
	if n := w.ps["atlanta.example"].rooms.List()[0].Next; n != 2 {
		t.Errorf("%d entries", n)
	}
	s.gone.Store(false)
	for d, m := range map[*device]*clientapi.SubmitMessage{alice: ma, bob: mb} {
		if r, err := d.send(id, m); err != nil || r.Code != wire.SubmitAccepted {
			t.Errorf("%s with the hub's key: %v, %v", d.who.User, r, err)
		}
	}
}

// hold has the hub's goroutine wait in the middle of writing a message, until the
// returned function is called, which returns what became of the message.
func (s *signing) hold(t *testing.T, alice *device, id store.RoomID) (release func() error) {
	t.Helper()
	s.entered, s.proceed = make(chan struct{}), make(chan struct{})
	s.slow.Store(true)
	done := make(chan error, 1)
	m := alice.message("held")
	go func() {
		_, err := alice.send(id, m)
		done <- err
	}()
	select {
	case <-s.entered:
	case <-time.After(10 * time.Second):
		t.Fatal("nothing is being written")
	}
	return func() error {
		close(s.proceed)
		return <-done
	}
}

// TestDuplicateDuringBatch: what is durable already is said at once, whatever
// becomes of the batch that is being made.
func TestDuplicateDuringBatch(t *testing.T) {
	s := &signing{}
	w, alice, _, id := pair(t, s.tweak)
	p := w.ps["atlanta.example"]
	old := alice.message("old")
	first, err := alice.send(id, old)
	if err != nil {
		t.Fatal(err)
	}
	release := s.hold(t, alice, id)
	fresh := alice.message("fresh")
	failed := make(chan error, 1)
	go func() {
		_, err := alice.send(id, fresh)
		failed <- err
	}()
	eventually(t, "one waits", func() bool { return p.rooms.Queued(room.ID(id)) == 1 })
	type answer struct {
		res *wire.SubmitMessageResponse
		err error
	}
	again := make(chan answer, 1)
	go func() {
		r, err := alice.send(id, old)
		again <- answer{r, err}
	}()
	eventually(t, "two wait", func() bool { return p.rooms.Queued(room.ID(id)) == 2 })
	s.gone.Store(true)
	if err := release(); status(err) != "503 unavailable" {
		t.Errorf("the held message: %v", err)
	}
	if err := <-failed; status(err) != "503 unavailable" {
		t.Errorf("a message in a batch that failed: %v", err)
	}
	if a := <-again; a.err != nil || a.res.AcceptedAt != first.AcceptedAt {
		t.Errorf("an old message again: %v, %v; accepted at %d before", a.res, a.err, first.AcceptedAt)
	}
}

// TestBusy: who comes when the room's queue is full is told to come again; who is
// in it is answered.
func TestBusy(t *testing.T) {
	s := &signing{}
	w, alice, _, id := pair(t, s.tweak)
	p := w.ps["atlanta.example"]
	old := alice.message("old")
	if _, err := alice.send(id, old); err != nil {
		t.Fatal(err)
	}
	release := s.hold(t, alice, id)
	var wg sync.WaitGroup
	var accepted atomic.Int64
	for range rooms.QueueLength {
		wg.Go(func() {
			if r, err := alice.send(id, old); err != nil || r.Code != wire.SubmitAccepted {
				t.Errorf("%v, %v", r, err)
				return
			}
			accepted.Add(1)
		})
	}
	eventually(t, "the queue is full", func() bool { return p.rooms.Queued(room.ID(id)) == rooms.QueueLength })
	for range 3 {
		_, err := alice.send(id, old)
		var pr *clientapi.Problem
		if !errors.As(err, &pr) || pr.Status != 429 || pr.Retry <= 0 {
			t.Errorf("one too many: %v", err)
		}
	}
	if err := release(); err != nil {
		t.Error(err)
	}
	wg.Wait()
	if accepted.Load() != rooms.QueueLength {
		t.Errorf("%d of %d were answered", accepted.Load(), rooms.QueueLength)
	}
}

// TestShutdownAnswers: whoever waits when the provider stops is answered, and what
// was being written is written.
func TestShutdownAnswers(t *testing.T) {
	s := &signing{}
	w, alice, _, id := pair(t, s.tweak)
	p := w.ps["atlanta.example"]
	release := s.hold(t, alice, id)
	const n = 50
	answers := make(chan error, n)
	for i := range n {
		m := alice.message(fmt.Sprint(i))
		go func() {
			_, err := alice.send(id, m)
			answers <- err
		}()
	}
	eventually(t, "all wait", func() bool { return p.rooms.Queued(room.ID(id)) == n })
	closed := make(chan struct{})
	go func() {
		p.close()
		close(closed)
	}()
	<-p.ctx.Done()
	if err := release(); err != nil && status(err) != "503 unavailable" {
		t.Errorf("the held message: %v", err)
	}
	late := time.After(10 * time.Second)
	for range n {
		select {
		case err := <-answers:
			if status(err) != "503 unavailable" {
				t.Errorf("a waiter hears %v", err)
			}
		case <-late:
			t.Fatal("waiters are not answered")
		}
	}
	select {
	case <-closed:
	case <-late:
		t.Fatal("does not stop")
	}
	if _, err := alice.send(id, alice.message("late")); status(err) != "503 unavailable" {
		t.Errorf("after the end: %v", err)
	}
}

// TestFullDisk: when nothing can be written nothing is lost: the same again works
// once there is room.
func TestFullDisk(t *testing.T) {
	w, alice, bob, id := pair(t, nil)
	p := w.ps["atlanta.example"]
	p.set(func() {
		p.deliver = func(*store.Tx, rooms.Call) error { return fmt.Errorf("writing: %w", store.ErrDiskFull) }
	})
	carol := w.device("carol@chicago.example", "phone")
	raw := alice.handshake(alice.adding(carol))
	for range 3 {
		if err := alice.update(id, raw); status(err) != "503 unavailable" {
			t.Errorf("on a full disk: %v", err)
		}
	}
	if l := p.rooms.List()[0]; l.Next != 2 || l.Epoch != 1 {
		t.Errorf("%+v", l)
	}
	if r, err := bob.send(id, bob.message("in between")); err != nil || r.Code != wire.SubmitAccepted {
		t.Errorf("a message that needs no notice: %v, %v", r, err)
	}
	p.set(func() { p.deliver = nil })
	if err := alice.update(id, raw); err != nil {
		t.Fatalf("the same with room on the disk: %v", err)
	}
	carol.follow(id, 4)
	bob.follow(id, 4)
	alice.follow(id, 4)
	if l := p.rooms.List()[0]; l.Next != 4 || l.Epoch != 2 {
		t.Errorf("%+v", l)
	}
}

// TestIdleUnderLoad: rooms are dropped from memory between messages, and nothing is
// lost with them.
func TestIdleUnderLoad(t *testing.T) {
	w, alice, bob, id := pair(t, func(w *world) {
		for _, p := range w.ps {
			p.tweak = func(c *rooms.Config) { c.Idle = time.Millisecond }
		}
	})
	const senders, each = 4, 40
	var ms [senders][]*clientapi.SubmitMessage
	for i := range ms {
		for j := range each {
			ms[i] = append(ms[i], alice.message(fmt.Sprint(i, j)))
		}
	}
	var wg sync.WaitGroup
	for i := range ms {
		wg.Go(func() {
			for j, m := range ms[i] {
				if r, err := alice.send(id, m); err != nil || r.Code != wire.SubmitAccepted {
					t.Errorf("%v, %v", r, err)
				}
				time.Sleep(time.Duration(j%3) * time.Millisecond)
			}
		})
	}
	wg.Wait()
	bob.follow(id, 2+senders*each)
	if len(bob.plain) != senders*each {
		t.Errorf("bob read %d of %d messages", len(bob.plain), senders*each)
	}
	for _, p := range w.ps {
		rest(t, p)
	}
	// On a busy machine it may never have been idle until now.
	if r, err := alice.send(id, alice.message("last")); err != nil || r.Code != wire.SubmitAccepted {
		t.Errorf("%v, %v", r, err)
	}
	if s := w.ps["atlanta.example"].rooms.Stats(); s.Loads < 2 || s.Ordered != 3+senders*each {
		t.Errorf("%+v", s)
	}
}

// TestManyRooms: after a start rooms are their heads; one that is used is loaded,
// and no other.
func TestManyRooms(t *testing.T) {
	w := newWorld(t, "atlanta.example")
	alice := w.device("alice@atlanta.example", "phone")
	const n = 200
	var last store.RoomID
	for i := range n {
		id, _, err := alice.create(fmt.Sprintf("room%d", i))
		if err != nil {
			t.Fatal(err)
		}
		last = id
	}
	p := w.ps["atlanta.example"]
	p.restart()
	if s := p.rooms.Stats(); s.Rooms != n || s.Loaded != 0 || s.Loads != 0 || p.rooms.Handles() != n {
		t.Errorf("after a start: %+v", s)
	}
	if l, err := p.rooms.Rooms(context.Background(), alice.who); err != nil || len(l.Rooms) != n {
		t.Errorf("%v", err)
	}
	if s := p.rooms.Stats(); s.Loads != 0 {
		t.Errorf("listing loads rooms: %+v", s)
	}
	if r, err := alice.send(last, alice.message("x")); err != nil || r.Code != wire.SubmitAccepted {
		t.Errorf("%v, %v", r, err)
	}
	if s := p.rooms.Stats(); s.Loads != 1 {
		t.Errorf("one message loads %d rooms", s.Loads)
	}
}

// TestTwoRooms: two rooms at once, each in its own order.
func TestTwoRooms(t *testing.T) {
	w := newWorld(t, "atlanta.example", "biloxi.example")
	const n = 60
	var wg sync.WaitGroup
	for i := range 2 {
		alice, bob := w.device(fmt.Sprintf("alice%d@atlanta.example", i), "phone"), w.device(fmt.Sprintf("bob%d@biloxi.example", i), "phone")
		id, _, err := alice.create(fmt.Sprintf("room%d", i))
		if err == nil {
			err = alice.add(id, bob)
		}
		if err != nil {
			t.Fatal(err)
		}
		alice.follow(id, 2)
		bob.follow(id, 2)
		for d, other := range map[*device]*device{alice: bob, bob: alice} {
			wg.Go(func() {
				for j := range n {
					if r, err := d.send(id, d.message(fmt.Sprintf("%d %03d", i, j))); err != nil || r.Code != wire.SubmitAccepted {
						t.Errorf("%v, %v", r, err)
					}
				}
			})
			defer func() {
				other.follow(id, 2+2*n)
				for j, text := range other.plain {
					if text != fmt.Sprintf("%d %03d", i, j) {
						t.Fatalf("%s reads %q as number %d", other.who.User, text, j)
					}
				}
			}()
		}
	}
	wg.Wait()
}
