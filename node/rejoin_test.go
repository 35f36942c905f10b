package node_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mimid/mimid/client"
	"github.com/mimid/mimid/node"
	"github.com/mimid/mimid/protocol/uri"
)

// texts are what a device has of a room: text, state, in the order in which it came.
func texts(t *testing.T, c *client.Client, u uri.Room) (out []string) {
	t.Helper()
	list, err := c.Messages(u, 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range list {
		out = append(out, m.Text+" "+string(m.State))
	}
	return out
}

func has(t *testing.T, c *client.Client, u uri.Room, want ...string) bool {
	t.Helper()
	got := texts(t, c, u)
	return !slices.ContainsFunc(want, func(s string) bool { return !slices.Contains(got, s) })
}

func TestRejoin(t *testing.T) {
	t.Run("the group is as it was", func(t *testing.T) { rejoin(t, false) })
	t.Run("the group was changed", func(t *testing.T) { rejoin(t, true) })
}

// rejoin: atlanta orders a room alone and is cut off from the others with its users,
// alice and ann, who go on talking, change the group, and are told that it is final. Bob, an
// administrator at biloxi, moves the room there. When atlanta is back it stands still, and
// its users are told; nothing is taken back. Alice comes back: what she has said since is
// sent again and is the same message, what ann said is shown as lost until ann comes back,
// too, and both are in the group with the others. If they have changed the group meanwhile
// they enter it anew.
func rejoin(t *testing.T, changed bool) {
	ctx := t.Context()
	b := prepare(t, "biloxi.example").must()
	boot := b.status().Addresses[0]
	a := prepare(t, "atlanta.example", boot).must()
	alice, ann, bob := a.user("alice"), a.user("ann"), b.user("bob")
	for _, x := range []*client.Client{bob, ann} {
		if err := x.Accept(ctx, alice.User()); err != nil {
			t.Fatal(err)
		}
	}
	room, err := alice.CreateRoom(ctx, "room")
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []*client.Client{bob, ann} {
		within(t, "somebody can be added", func() bool { return alice.AddUser(ctx, room, x.User()) == nil })
	}
	within(t, "bob is an administrator", func() bool { return alice.SetRole(ctx, room, bob.User(), "admin") == nil })
	same := func() bool {
		var first client.Summary
		for i, x := range []*client.Client{alice, ann, bob} {
			v, err := x.Verify(ctx, room)
			if err != nil || i > 0 && v != first {
				return false
			}
			first = v
		}
		return true
	}
	within(t, "all are in it", same)
	say := func(c *client.Client, text string) {
		t.Helper()
		within(t, text+" is sent", func() bool { _, err := c.Send(ctx, room, text); return err == nil })
		within(t, text+" is final", func() bool { return has(t, c, room, text+" final") })
	}
	say(bob, "before")
	within(t, "all have it", func() bool { return has(t, alice, room, "before final") && has(t, ann, room, "before final") })
	if _, err := alice.Rejoin(ctx, room, true); !errors.Is(err, client.ErrNothingLost) {
		t.Errorf("where nothing is lost: %v", err)
	}

	b.stop()
	say(alice, "alice alone")
	say(ann, "ann alone")
	if changed {
		within(t, "alice's group goes on without the others", func() bool { return alice.SetRole(ctx, room, ann.User(), "moderator") == nil })
	}
	say(alice, "alice alone, too")
	within(t, "they have what they said", func() bool {
		return has(t, alice, room, "ann alone final") && has(t, ann, room, "alice alone final", "alice alone, too final")
	})
	ids := map[string]string{}
	for _, m := range must1(alice.Messages(room, 0, 100)) {
		ids[m.Text] = fmt.Sprint(m.ID)
	}
	lost := must1(alice.Verify(ctx, room))
	a.stop()

	b.must()
	if err := bob.MoveRoom(ctx, room); err != nil {
		t.Fatal(err)
	}
	say(bob, "moved")
	parts := must1(bob.Verify(ctx, room)).Next - 2

	// The old hub comes back, and its users with it.
	a.must()
	for _, x := range []*client.Client{alice, ann} {
		within(t, "its users are told", func() bool {
			sctx, cancel := context.WithTimeout(ctx, 5*time.Second)
			defer cancel()
			x.Sync(sctx)
			list := must1(x.Rooms(ctx))
			return list[0].State == "parted" && strings.Contains(list[0].Reason, fmt.Sprintf("moved to biloxi.example from entry %d on", parts))
		})
	}
	notice := func(x *client.Client) (p client.RoomParted) {
		for {
			select {
			case n := <-x.Events():
				if p, ok := n.(client.RoomParted); ok {
					return p
				}
			default:
				return p
			}
		}
	}
	for _, x := range []*client.Client{alice, ann} {
		if p := notice(x); p.From != parts || p.Entries != lost.Next-parts || p.To != "biloxi.example" {
			t.Errorf("told %+v; the branches part at %d, and the lost one ends at %d", p, parts, lost.Next)
		}
	}
	if !has(t, alice, room, "alice alone final", "ann alone final", "alice alone, too final") {
		t.Errorf("something was taken back unasked: %q", texts(t, alice, room))
	}

	back, err := alice.Rejoin(ctx, room, true)
	if err != nil {
		t.Fatal(err)
	}
	if back.Hub != "biloxi.example" || back.From != parts || back.Entries != lost.Next-parts || back.Resent != 2 || back.Lost != 1 || back.Anew != changed {
		t.Errorf("%+v", back)
	}
	within(t, "bob has what alice said", func() bool { return has(t, bob, room, "alice alone final", "alice alone, too final") })
	within(t, "alice's are in the room, ann's is lost", func() bool { return has(t, alice, room, "alice alone final", "ann alone lost") })
	if changed == has(t, alice, room, "moved final") {
		t.Errorf("entered anew: %t; of what was said before she came back alice has %q", changed, texts(t, alice, room))
	}
	for _, m := range must1(bob.Messages(room, 0, 100)) {
		if strings.HasPrefix(m.Text, "alice") && fmt.Sprint(m.ID) != ids[m.Text] {
			t.Errorf("%q is another message at bob's", m.Text)
		}
	}
	if has(t, bob, room, "ann alone final") || len(texts(t, bob, room)) != 4 {
		t.Errorf("bob has %q", texts(t, bob, room))
	}
	// Ann's device has been shown the room as it goes on, and waits for her.
	if _, err := ann.Send(ctx, room, "into the void"); !errors.Is(err, client.ErrParted) {
		t.Errorf("ann is not asked: %v", err)
	}
	if !has(t, ann, room, "alice alone final", "ann alone final") || has(t, ann, room, "moved final") {
		t.Errorf("ann has %q", texts(t, ann, room))
	}
	if back, err = ann.Rejoin(ctx, room, true); err != nil || back.Resent != 1 || back.Lost != 2 {
		t.Fatal(back, err)
	}
	for _, x := range []*client.Client{alice, ann, bob} {
		within(t, "all have what ann said, in the room", func() bool { return has(t, x, room, "ann alone final", "before final") })
		want := []string{"alice alone final", "alice alone, too final"}
		if changed && x == ann { // sent again before she was in the group again
			want = []string{"alice alone lost", "alice alone, too lost"}
		}
		within(t, "all have what alice said", func() bool { return has(t, x, room, want...) })
		if n := len(texts(t, x, room)); n != 5 && !(changed && n == 4 && x != bob) {
			t.Errorf("%s has %q", x.User(), texts(t, x, room))
		}
	}
	say(bob, "all here")
	within(t, "they are in one group", func() bool { return has(t, alice, room, "all here final") && same() })
	// Roles that were given in the lost branch were not given.
	for _, r := range must1(bob.Rooms(ctx)) {
		for _, p := range r.Participants {
			if p.User == ann.User() && p.Role != "member" {
				t.Errorf("ann is %s", p.Role)
			}
		}
	}
	x, err := a.operator().Room(ctx, room.String())
	if err != nil || x.Trouble != "" || x.Hub != "biloxi.example" || x.Role != "follower" {
		t.Errorf("%+v, %v", x, err)
	}
	for _, r := range []*running{a, b} {
		r.stop()
		cfg := must1(node.ReadConfig(r.dir))
		if v, err := node.Verify(ctx, cfg, nil); err != nil || len(v.Faults) > 0 {
			t.Errorf("%s: %+v, %v", r.dir, v, err)
		}
	}
}

func must1[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
