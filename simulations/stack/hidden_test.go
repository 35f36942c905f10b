package stack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mimid/mimid/client"
	"github.com/mimid/mimid/node"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/simulations"
	"github.com/mimid/mimid/simulations/links"
	"github.com/mimid/mimid/simulations/memnet"
	"github.com/mimid/mimid/simulations/virtual"
)

// Six whole providers in virtual time, of which three relay. Messages of a pseudonymous room come to its hub over
// relays: once each, in their order, with the hub's signed answer; while there is no way they wait, and say why.
func TestHiddenMessages(t *testing.T) {
	if testing.Short() {
		t.Skip("some seconds of CPU time for cover packets")
	}
	var log sharedLog
	virtual.Bubble(t, func() {
		if err := hiddenMessages(t, &log); err != nil {
			t.Errorf("%v\n%s", err, log.String())
		}
	})
}

// relaying makes all providers of a world take part in the onion overlay, and the first three relay.
func relaying() func(*node.Config) {
	i := 0
	return func(c *node.Config) {
		o := &c.Onion
		o.Enabled, o.Relay, o.Witnesses = true, i < 3, []string{"p0.example", "p1.example", "p2.example"}
		o.Epoch, o.Rate, o.Delay = node.Duration(time.Minute), 2, node.Duration(20*time.Millisecond)
		// Relays are told apart by networks; nobody is at the first address.
		c.Overlay.Announce = []string{fmt.Sprintf("/ip4/198.%d.0.1/tcp/4001", i), memnet.Addr(i).String()}
		i++
	}
}

// sharedLog is what nodes have to say that do so at once.
type sharedLog struct {
	mu sync.Mutex
	b  bytes.Buffer // guarded by mu
}

func (l *sharedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *sharedLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func hiddenMessages(t *testing.T, log *sharedLog) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	w, err := newWorld(ctx, 1, 6, links.Spec{Model: "fixed", Low: simulations.Duration(10 * time.Millisecond)}, relaying(), log)
	defer func() {
		if err := w.close(); err != nil {
			t.Errorf("stopping: %v", err)
		}
	}()
	if err != nil {
		return err
	}
	alice, err := w.enter(ctx, w.providers[4], "alice")
	if err != nil {
		return err
	}
	bob, err := w.enter(ctx, w.providers[3], "bob")
	if err != nil {
		return err
	}
	if err := alice.SetPrivacy(ctx, client.Privacy{Over: client.PrivacyOpen, Steady: true}); err != nil {
		return err
	}
	u, err := alice.CreateRoomAs(ctx, client.NewRoom{Name: "circle", Pseudonymous: true})
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
	// A third provider: from here on three decide.
	carol, err := w.enter(ctx, w.providers[5], "carol")
	if err != nil {
		return err
	}
	if err := carol.Accept(ctx, alice.User()); err != nil {
		return err
	}
	if err := await(ctx, "adding carol", func() bool { return alice.AddUser(ctx, u, carol.User()) == nil }); err != nil {
		return err
	}
	if err := await(ctx, "carol is in, and three decide", func() bool {
		s, err := carol.Verify(ctx, u)
		x, bad := bob.Verify(ctx, u)
		return err == nil && bad == nil && s.Replicas == 3 && s.Head == x.Head
	}); err != nil {
		return err
	}
	if err := await(ctx, "relays", func() bool { r, err := bob.RoomPrivacyReport(ctx, u); return err == nil && r.Onion }); err != nil {
		r, _ := bob.RoomPrivacyReport(ctx, u)
		return fmt.Errorf("%w: %+v", err, r)
	}
	if err := bob.SetRoomPrivacy(ctx, u, client.RoomPrivacy{Level: client.PrivacyOnion}); err != nil {
		return err
	}
	if err := bob.SetTyping(ctx, u, true); err != nil {
		return err
	}
	if err := bob.TellTyping(ctx, u, true); !errors.Is(err, client.ErrRefused) {
		t.Errorf("saying that somebody types: %v", err)
	}
	began := time.Now()
	for i := range 5 {
		if _, err := bob.Send(ctx, u, fmt.Sprint("hidden ", i)); err != nil {
			return err
		}
	}
	if err := await(ctx, "reading", func() bool { return has(alice, u, "hidden 4") && has(bob, u, "hidden 4") && has(carol, u, "hidden 4") }); err != nil {
		return err
	}
	t.Logf("5 messages took %s", time.Since(began))
	if r, err := bob.RoomPrivacyReport(ctx, u); err != nil || r.Senders != 2 || r.SenderProviders != 2 || r.Hub != "p4.example" || r.ComputedMS == 0 {
		t.Errorf("%+v, %v", r, err)
	}
	said := []string{"hidden 0", "hidden 1", "hidden 2", "hidden 3", "hidden 4"}
	if err := inOrder(alice, u, said...); err != nil {
		return err
	}

	// One of three relays is away, and nothing comes by another way.
	w.fabric.Isolate(2, len(w.providers), true)
	for i := 5; i < 8; i++ {
		said = append(said, fmt.Sprint("hidden ", i))
		if _, err := bob.Send(ctx, u, said[i]); err != nil {
			return err
		}
	}
	why := ""
	if err := long(ctx, "held", func() bool { why, err = bob.Held(ctx, u); return err == nil && why != "" }); err != nil {
		return err
	}
	t.Logf("held: %s", why)
	if err := inOrder(alice, u, said[:5]...); err != nil {
		return err
	}
	list, err := bob.Messages(u, 5, 3)
	if err != nil || len(list) != 3 {
		return fmt.Errorf("%d messages wait: %v", len(list), err)
	}
	for _, m := range list {
		if m.State != client.StateQueued {
			t.Errorf("%q is %s", m.Text, m.State)
		}
	}
	w.fabric.Isolate(2, len(w.providers), false)
	if err := long(ctx, "reading what waited", func() bool { return has(alice, u, said[7]) && has(bob, u, said[7]) }); err != nil {
		return err
	}
	if err := inOrder(alice, u, said...); err != nil {
		return err
	}

	// Below the floor nothing is sent; without it, and openly, it is.
	if err := bob.SetRoomPrivacy(ctx, u, client.RoomPrivacy{Level: client.PrivacyOnion, RefuseBelow: 3}); err != nil {
		return err
	}
	if _, err := bob.Send(ctx, u, "few"); err != nil {
		return err
	}
	if err := await(ctx, "held again", func() bool { why, err = bob.Held(ctx, u); return err == nil && why != "" }); err != nil {
		return err
	}
	if !strings.Contains(why, "2 providers at most, which have somebody in the room") {
		t.Errorf("held: %s", why)
	}
	if has(alice, u, "few") {
		t.Error("sent below the floor")
	}
	if err := bob.SetRoomPrivacy(ctx, u, client.RoomPrivacy{Level: client.PrivacyPseudonymous}); err != nil {
		return err
	}
	if err := await(ctx, "reading what came openly", func() bool { return has(alice, u, "few") }); err != nil {
		return err
	}
	if list, err = alice.Messages(u, 8, 1); err != nil || len(list) != 1 || list[0].Hidden {
		return fmt.Errorf("%+v, %v", list, err)
	}

	// The hub's own user cannot hide from it, and is told so.
	if err := alice.SetRoomPrivacy(ctx, u, client.RoomPrivacy{Level: client.PrivacyOnion}); err != nil {
		return err
	}
	if _, err := alice.Send(ctx, u, "not hidden"); err != nil {
		return err
	}
	if err := await(ctx, "held at the hub", func() bool { why, err = alice.Held(ctx, u); return err == nil && why != "" }); err != nil {
		return err
	}
	if !strings.Contains(why, "your own provider orders the room") {
		t.Errorf("held: %s", why)
	}

	// The hub dies, and another one, which needs another proof, has the next message; or it is bob's own now.
	if err := bob.SetRoomPrivacy(ctx, u, client.DefaultOnion()); err != nil {
		return err
	}
	w.fabric.Isolate(4, len(w.providers), true)
	defer w.fabric.Isolate(4, len(w.providers), false)
	if _, err := bob.Send(ctx, u, "to another hub"); err != nil {
		return err
	}
	if err := long(ctx, "another hub", func() bool {
		why, err = bob.Held(ctx, u)
		return has(carol, u, "to another hub") || err == nil && strings.Contains(why, "your own provider orders the room")
	}); err != nil {
		s, _ := bob.Verify(ctx, u)
		return fmt.Errorf("%w: hub %s, %s", err, s.Hub, why)
	}
	s, err := bob.Verify(ctx, u)
	if err != nil {
		return err
	}
	t.Logf("hub %s, held: %q", s.Hub, why)
	if list, err = carol.Messages(u, 0, 100); err != nil || s.Hub == "p4.example" {
		return fmt.Errorf("hub %s, %w", s.Hub, err)
	}
	for _, m := range list {
		if m.Text == "to another hub" && !m.Hidden {
			t.Error("it came another way")
		}
	}
	return nil
}

// long is await for what takes epochs of the onion overlay.
func long(ctx context.Context, what string, is func() bool) (err error) {
	for range 5 {
		if err = await(ctx, what, is); err == nil {
			return nil
		}
	}
	return err
}

// inOrder says whether somebody reads these, hidden, and nothing else.
func inOrder(x *person, u uri.Room, want ...string) error {
	list, err := x.Messages(u, 0, 100)
	if err != nil {
		return err
	}
	if len(list) != len(want) {
		return fmt.Errorf("%s reads %d messages, not %d", x.User(), len(list), len(want))
	}
	for i, m := range list {
		if m.Text != want[i] || !m.Hidden || m.State != client.StateFinal {
			return fmt.Errorf("%s reads %q (hidden %t, %s), not %q", x.User(), m.Text, m.Hidden, m.State, want[i])
		}
	}
	return nil
}
