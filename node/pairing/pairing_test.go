package pairing_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/mimid/mimid/node/account"
	"github.com/mimid/mimid/node/pairing"
	"github.com/mimid/mimid/protocol/clientapi"
	wire "github.com/mimid/mimid/protocol/pairing"
	"github.com/mimid/mimid/protocol/uri"
)

// world is a service with a clock and invites of its own.
type world struct {
	*pairing.Service
	t *testing.T

	mu   sync.Mutex
	now  time.Time
	n    int
	open []string // ids of invites that were made and not revoked
}

func newWorld(t *testing.T, wait time.Duration) *world {
	w := &world{t: t, now: time.Unix(1_800_000_000, 0)}
	w.Service = pairing.New(pairing.Config{Invites: w, Wait: wait, Now: func() time.Time {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.now
	}})
	return w
}

func (w *world) CreateInvite(_ context.Context, n account.NewInvite) (*account.Invite, string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n.Lifetime < wire.Lifetime || n.Lifetime > time.Hour || n.Replaces {
		w.t.Errorf("an invite %+v", n)
	}
	w.n++
	id := fmt.Sprintf("%s-%d", n.Name, w.n)
	w.open = append(w.open, id)
	return &account.Invite{ID: id}, "code of " + id, nil
}

func (w *world) RevokeInvite(_ context.Context, id string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !slices.Contains(w.open, id) {
		return errors.New("no such invite")
	}
	w.open = slices.DeleteFunc(w.open, func(s string) bool { return s == id })
	return nil
}

func (w *world) invites(want ...string) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if !slices.Equal(w.open, want) {
		w.t.Errorf("invites %q, want %q", w.open, want)
	}
}

func (w *world) pass(d time.Duration) { w.mu.Lock(); w.now = w.now.Add(d); w.mu.Unlock() }

func who(t *testing.T, name string) account.Identity {
	t.Helper()
	u, err := uri.ParseShort(name + "@atlanta.example")
	if err != nil {
		t.Fatal(err)
	}
	return account.Identity{User: u}
}

func box(i int) string { return fmt.Sprintf("%032x", i) }

func (w *world) opens(name string, i int) {
	w.t.Helper()
	p, err := w.OpenPairing(context.Background(), who(w.t, name), &clientapi.NewPairing{Box: box(i)})
	if err != nil || p.Invite == "" || p.Expires == 0 {
		w.t.Fatal(p, err)
	}
}

func (w *world) says(i int, hello string) (string, error) {
	a, err := w.SayHello(context.Background(), box(i), &clientapi.PairingHello{Hello: []byte(hello)})
	if err != nil {
		return "", err
	}
	return string(a.Answer), nil
}

func (w *world) answers(name string, i int, text string) error {
	return w.AnswerPairing(context.Background(), who(w.t, name), box(i), &clientapi.PairingAnswer{Answer: []byte(text)})
}

func (w *world) hello(name string, i int) (string, error) {
	h, err := w.PairingHello(context.Background(), who(w.t, name), box(i))
	if err != nil {
		return "", err
	}
	return string(h.Hello), nil
}

func refused(t *testing.T, what string, err error, code clientapi.Code) {
	t.Helper()
	if p, ok := errors.AsType[*clientapi.Problem](err); !ok || p.Code != code {
		t.Errorf("%s: %v, want %s", what, err, code)
	}
}

// One hello and one answer, each kept to whom they are for, and said again without harm.
func TestBox(t *testing.T) {
	w := newWorld(t, time.Millisecond)
	w.opens("alice", 1)
	w.opens("bob", 2)
	if h, err := w.hello("alice", 1); h != "" || err != nil {
		t.Errorf("before anybody came: %q, %v", h, err)
	}
	refused(t, "an answer to nobody", w.answers("alice", 1, "x"), clientapi.CodeInvalid)
	for range 2 {
		if a, err := w.says(1, "hello"); a != "" || err != nil {
			t.Errorf("before there is an answer: %q, %v", a, err)
		}
	}
	_, err := w.says(1, "another hello")
	refused(t, "the code a second time", err, clientapi.CodeExists)
	_, err = w.hello("bob", 1)
	refused(t, "another user reads the hello", err, clientapi.CodeNotFound)
	refused(t, "another user answers", w.answers("bob", 1, "x"), clientapi.CodeNotFound)
	refused(t, "another user closes it", w.ClosePairing(context.Background(), who(t, "bob"), box(1)), clientapi.CodeNotFound)
	if h, err := w.hello("alice", 1); h != "hello" || err != nil {
		t.Errorf("%q, %v", h, err)
	}
	for range 2 {
		if err := w.answers("alice", 1, "answer"); err != nil {
			t.Error(err)
		}
	}
	refused(t, "another answer", w.answers("alice", 1, "another"), clientapi.CodeExists)
	for range 2 {
		if a, err := w.says(1, "hello"); a != "answer" || err != nil {
			t.Errorf("%q, %v", a, err)
		}
	}
	_, err = w.says(1, "another hello")
	refused(t, "the code when it was answered", err, clientapi.CodeExists)
	if err := w.ClosePairing(context.Background(), who(t, "bob"), box(2)); err != nil {
		t.Error(err)
	}
	_, err = w.says(2, "hello")
	refused(t, "when it was taken back", err, clientapi.CodeNotFound)
	w.invites("alice-1") // which was given away
	for what, b := range map[string][]byte{"nothing": nil, "too much": bytes.Repeat([]byte{1}, 4096)} {
		_, err := w.SayHello(context.Background(), box(1), &clientapi.PairingHello{Hello: b})
		refused(t, what, err, clientapi.CodeInvalid)
		refused(t, what, w.AnswerPairing(context.Background(), who(t, "alice"), box(1), &clientapi.PairingAnswer{Answer: b}), clientapi.CodeInvalid)
	}
}

// A user has one box; it is gone when its time is over, and its invite is revoked if nobody
// was given it.
func TestBoxesEnd(t *testing.T) {
	w := newWorld(t, time.Millisecond)
	w.opens("alice", 1)
	w.opens("alice", 2)
	_, err := w.says(1, "hello")
	refused(t, "the former code", err, clientapi.CodeNotFound)
	w.invites("alice-2")
	_, err = w.OpenPairing(context.Background(), who(t, "bob"), &clientapi.NewPairing{Box: box(2)})
	refused(t, "another's box", err, clientapi.CodeExists)
	w.invites("alice-2")
	for _, name := range []string{"", "xyz", box(1) + "00"} {
		_, err := w.OpenPairing(context.Background(), who(t, "bob"), &clientapi.NewPairing{Box: name})
		refused(t, "a box called "+name, err, clientapi.CodeInvalid)
	}
	w.pass(wire.Lifetime - time.Second)
	if _, err := w.says(2, "hello"); err != nil {
		t.Errorf("in its last second: %v", err)
	}
	w.pass(time.Second)
	_, err = w.says(2, "hello")
	refused(t, "an expired code", err, clientapi.CodeNotFound)
	_, err = w.hello("alice", 2)
	refused(t, "an expired code at the old device", err, clientapi.CodeNotFound)
	refused(t, "an answer that comes too late", w.answers("alice", 2, "answer"), clientapi.CodeNotFound)
	w.opens("bob", 2) // the name is free again
}

// Whoever waits hears at once of what comes, and that there will be nothing.
func TestWaiting(t *testing.T) {
	w := newWorld(t, time.Minute)
	w.opens("alice", 1)
	heard := make(chan string, 2)
	go func() { h, _ := w.hello("alice", 1); heard <- h }()
	go func() { a, _ := w.says(1, "hello"); heard <- a }()
	if got := <-heard; got != "hello" {
		t.Fatalf("%q", got)
	}
	if err := w.answers("alice", 1, "answer"); err != nil {
		t.Fatal(err)
	}
	if got := <-heard; got != "answer" {
		t.Fatalf("%q", got)
	}
	w.opens("bob", 2)
	failed := make(chan error, 1)
	go func() { _, err := w.says(2, "hello"); failed <- err }()
	for h := ""; h == ""; {
		h, _ = w.hello("bob", 2)
	}
	w.opens("bob", 3)
	refused(t, "waiting at a box that is replaced", <-failed, clientapi.CodeNotFound)
}

// There is an end to how many boxes there are.
func TestMaxBoxes(t *testing.T) {
	w := newWorld(t, time.Millisecond)
	for i := range pairing.MaxBoxes {
		w.opens(fmt.Sprintf("u%d", i), i)
	}
	_, err := w.OpenPairing(context.Background(), who(t, "alice"), &clientapi.NewPairing{Box: box(pairing.MaxBoxes)})
	refused(t, "one too many", err, clientapi.CodeUnavailable)
	w.opens("u0", pairing.MaxBoxes) // in place of the user's own
	w.pass(wire.Lifetime)
	w.opens("alice", pairing.MaxBoxes)
}
