package node_test

import (
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mimid/mimid/client"
	"github.com/mimid/mimid/node/admin"
)

// TestGoneForGood: the provider that a room began at is gone for more than two days, and
// with it its record. Somebody of a provider that has never met it comes into the room all
// the same: her provider takes the gone one's key, on which the first entry and the members
// that were there rest, on the word of those that the room lives at now, and shows it so.
func TestGoneForGood(t *testing.T) {
	ctx := t.Context()
	var ahead atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	with := func(domain string, boot ...string) *running {
		r := prepare(t, domain, boot...)
		r.now = now
		return r.must()
	}
	b := with("biloxi.example")
	boot := b.status().Addresses[0]
	a, c := with("atlanta.example", boot), with("chicago.example", boot)
	alice, bob, carol := a.user("alice"), b.user("bob"), c.user("carol")
	for _, x := range []*client.Client{bob, carol} {
		if err := x.Accept(ctx, alice.User()); err != nil {
			t.Fatal(err)
		}
	}
	room, err := alice.CreateRoom(ctx, "room")
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []*client.Client{bob, carol} {
		within(t, "somebody can be added", func() bool { return alice.AddUser(ctx, room, x.User()) == nil })
	}
	within(t, "three providers decide", func() bool { v, err := carol.Verify(ctx, room); return err == nil && v.Replicas == 3 })
	within(t, "bob can be made an administrator", func() bool { return alice.SetRole(ctx, room, bob.User(), "admin") == nil })
	if _, err := a.operator().MoveRoom(ctx, room.String(), "chicago.example"); err != nil {
		t.Fatal(err)
	}
	a.stop()
	ahead.Store(int64(50 * time.Hour))
	for _, r := range []*running{b, c} { // whose records would be new every four hours
		r.stop()
		r.must()
	}

	d := with("dallas.example", boot)
	dave := d.user("dave")
	within(t, "dave can consent", func() bool { return dave.Accept(ctx, bob.User()) == nil })
	within(t, "dave can be added", func() bool { return bob.AddUser(ctx, room, dave.User()) == nil })
	within(t, "dave can speak", func() bool { _, err := dave.Send(ctx, room, "hello"); return err == nil })
	within(t, "bob reads it", func() bool {
		said, err := bob.Conversation(room)
		return err == nil && slices.ContainsFunc(said, func(s client.Said) bool { return s.Sender == dave.User() })
	})
	within(t, "dallas follows", func() bool {
		x, err := d.operator().Room(ctx, room.String())
		return err == nil && x.Hub == "chicago.example"
	})
	peers, err := d.operator().Peers(ctx)
	if err != nil || !slices.ContainsFunc(peers, func(p admin.Peer) bool { return p.Domain == "atlanta.example" && p.Trust == "told" }) {
		t.Errorf("%+v, %v", peers, err)
	}
}
