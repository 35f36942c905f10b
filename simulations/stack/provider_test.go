package stack

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/mimid/mimid/client"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/simulations"
	"github.com/mimid/mimid/simulations/links"
	"github.com/mimid/mimid/simulations/virtual"
)

// Two whole providers with a client each share a room in virtual time, and what the one
// says the other reads after the ways that it has to go, and not before.
func TestTwoProviders(t *testing.T) {
	var log bytes.Buffer
	virtual.Bubble(t, func() {
		if err := twoProviders(t, &log); err != nil {
			t.Errorf("%v\n%s", err, log.String())
		}
	})
}

func twoProviders(t *testing.T, log *bytes.Buffer) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	const way = 50 * time.Millisecond
	w, err := newWorld(ctx, 1, 2, links.Spec{Model: "fixed", Low: simulations.Duration(way)}, nil, log)
	defer func() {
		if err := w.close(); err != nil {
			t.Errorf("stopping: %v", err)
		}
	}()
	if err != nil {
		return err
	}
	alice, err := w.enter(ctx, w.providers[0], "alice")
	if err != nil {
		return err
	}
	bob, err := w.enter(ctx, w.providers[1], "bob")
	if err != nil {
		return err
	}
	u, err := alice.CreateRoom(ctx, "room")
	if err != nil {
		return err
	}
	if err := bob.Accept(ctx, alice.User()); err != nil {
		return err
	}
	if err := await(ctx, "adding bob", func() bool { return alice.AddUser(ctx, u, bob.User()) == nil }); err != nil {
		return err
	}
	if err := await(ctx, "bob is in", func() bool { _, err := bob.Verify(ctx, u); return err == nil }); err != nil {
		return err
	}
	for _, x := range []struct {
		from, to *person
		text     string
	}{{alice, bob, "hello"}, {bob, alice, "hello yourself"}} {
		sent := time.Now()
		if _, err := x.from.Send(ctx, u, x.text); err != nil {
			return err
		}
		if err := await(ctx, "reading", func() bool { return has(x.to, u, x.text) }); err != nil {
			return err
		}
		took := time.Since(sent)
		t.Logf("%q took %s", x.text, took)
		if took < way || took > 20*way {
			t.Errorf("%q took %s, with %s each way", x.text, took, way)
		}
	}
	return nil
}

func has(x *person, u uri.Room, text string) bool {
	list, err := x.Messages(u, 0, 100)
	if err != nil {
		return false
	}
	for _, m := range list {
		if m.Text == text && m.State == client.StateFinal {
			return true
		}
	}
	return false
}
