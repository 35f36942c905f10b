package node_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/mimid/mimid/client"
	"github.com/mimid/mimid/node"
	"github.com/mimid/mimid/protocol/clientapi"
)

// configured changes a node's configuration before it starts.
func (r *running) configured(change func(c *node.Config)) *running {
	r.t.Helper()
	change(&r.cfg)
	b, err := r.cfg.Bytes()
	if err == nil {
		err = os.WriteFile(filepath.Join(r.dir, node.ConfigName), b, 0o600)
	}
	if err != nil {
		r.t.Fatal(err)
	}
	return r
}

// TestRecruitedReplica: a room of two whole nodes has a third one that is willing keep it,
// by itself; another one when that dies; none of them when a third provider's user comes.
// In between its own hub dies, and nothing is lost.
func TestRecruitedReplica(t *testing.T) {
	ctx := t.Context()
	impatient := func(c *node.Config) { c.Failover.RecruitPatience = node.Duration(time.Second) }
	offers := func(c *node.Config) { c.Failover.ReplicaForOthers = true }
	a := prepare(t, "atlanta.example").configured(impatient).must()
	boot := a.status().Addresses[0]
	b := prepare(t, "biloxi.example", boot).configured(impatient).must()
	willing := map[string]*running{}
	for _, d := range []string{"chicago.example", "dover.example"} {
		willing[d] = prepare(t, d, boot).configured(offers).must()
	}
	alice, bob := a.user("alice"), b.user("bob")
	if err := bob.Accept(ctx, alice.User()); err != nil {
		t.Fatal(err)
	}
	room, err := alice.CreateRoomAs(ctx, client.NewRoom{Name: "room", Outside: true})
	if err != nil {
		t.Fatal(err)
	}
	within(t, "bob can be added", func() bool { return alice.AddUser(ctx, room, bob.User()) == nil })
	recruit := func(what string, is func(d string) bool) (d string) {
		t.Helper()
		within(t, what, func() bool {
			x, err := alice.Outside(ctx, room)
			y, err2 := bob.Outside(ctx, room)
			v, err3 := bob.Verify(ctx, room)
			d = x.Recruit
			return err == nil && err2 == nil && err3 == nil && x == y && is(d) && v.Replicas == 3
		})
		return d
	}
	sent := 0
	say := func(x *client.Client, who ...*client.Client) {
		t.Helper()
		if _, err := x.Send(ctx, room, fmt.Sprint(sent)); err != nil {
			t.Fatal(err)
		}
		sent++
		for _, y := range who {
			within(t, fmt.Sprintf("%s has %d messages", y.User(), sent), func() bool {
				list, err := y.Messages(room, 0, 1000)
				return err == nil && len(list) == sent && !slices.ContainsFunc(list, func(m client.Message) bool { return m.State != client.StateFinal })
			})
		}
	}
	first := recruit("a replica was recruited", func(d string) bool { return d != "" })
	say(alice, alice, bob)
	within(t, "the recruit's operator sees what it is", func() bool {
		x, err := willing[first].operator().Room(ctx, room.String())
		return err == nil && x.Role == "replica" && slices.Equal(x.Outside, []string{first}) && len(x.Participants) == 2
	})

	// It is gone for good.
	willing[first].stop()
	second := recruit("another one was recruited", func(d string) bool { return d != "" && d != first })
	say(bob, alice, bob)

	// The room's hub is gone.
	a.stop()
	say(bob, bob)
	a.must()
	say(alice, alice, bob)

	// A third provider's user comes: the one that was gone, and is back.
	willing[first].must()
	carol := willing[first].user("carol")
	if err := carol.Accept(ctx, alice.User()); err != nil {
		t.Fatal(err)
	}
	within(t, "carol can be added", func() bool { return alice.AddUser(ctx, room, carol.User()) == nil })
	recruit("the recruit was dropped", func(d string) bool { return d == "" })
	within(t, "those who take part decide", func() bool {
		x, err := b.operator().Room(ctx, room.String())
		return err == nil && len(x.NextReplicas) == 0 && len(x.Replicas) == 3 && slices.Contains(x.Replicas, first) && !slices.Contains(x.Replicas, second)
	})
	within(t, "the recruit knows", func() bool {
		x, err := willing[second].operator().Room(ctx, room.String())
		return err == nil && len(x.Outside) == 0 && x.Role == "follower"
	})
	within(t, "carol is in", func() bool { _, err := carol.Verify(ctx, room); return err == nil })
	say(carol, alice, bob)

	// Its administrator forbids it, which changes nothing now; and nobody is recruited.
	if err := alice.AllowOutside(ctx, room, false); err != nil {
		t.Fatal(err)
	}
	within(t, "all know that it is forbidden", func() bool {
		x, err := bob.Outside(ctx, room)
		return err == nil && x == (client.Outside{})
	})
	for _, r := range append([]*running{a, b}, willing[first], willing[second]) {
		if err := r.stop(); err != nil {
			t.Error(err)
		}
		cfg, _ := node.ReadConfig(r.dir)
		v, err := node.Verify(ctx, cfg, nil)
		if err != nil || len(v.Faults) > 0 || v.Rooms != 1 {
			t.Errorf("%s: %+v, %v", r.cfg.Domain, v, err)
		}
	}
}

// TestRecruitWithdraws: one of two willing providers is recruited at an administrator's
// wish and stays, whoever of two administrators looks; when it offers that no more the
// other one is, and when that one does not either, none.
func TestRecruitWithdraws(t *testing.T) {
	ctx := t.Context()
	a := prepare(t, "atlanta.example").must()
	boot := a.status().Addresses[0]
	b := prepare(t, "biloxi.example", boot).must()
	alice, bob, _ := share(t, a, b)
	rooms, err := alice.Rooms(ctx)
	if err != nil {
		t.Fatal(err)
	}
	room := rooms[0].URI
	_, err = alice.Recruit(ctx, room)
	var p *clientapi.Problem
	if !errors.As(err, &p) || p.Code != clientapi.CodeNotFound {
		t.Fatalf("nobody is willing: %v", err)
	}
	if x, err := alice.Outside(ctx, room); err != nil || x != (client.Outside{Allowed: true}) {
		t.Fatalf("%+v, %v", x, err)
	}
	if _, err := bob.Recruit(ctx, room); !errors.Is(err, client.ErrRefused) && !errors.As(err, &p) {
		t.Fatalf("a member recruits: %v", err)
	}
	willing := map[string]*running{}
	for _, d := range []string{"chicago.example", "dover.example"} {
		willing[d] = prepare(t, d, boot).configured(func(c *node.Config) { c.Failover.ReplicaForOthers = true }).must()
	}
	if err := alice.SetRole(ctx, room, bob.User(), "admin"); err != nil {
		t.Fatal(err)
	}
	changes := notices[client.RecruitChanged](t, bob)
	var first string
	within(t, "one is recruited", func() bool { d, err := alice.Recruit(ctx, room); first = d; return err == nil })
	if again, err := bob.Recruit(ctx, room); err != nil || again != first {
		t.Fatalf("bob recruits %s after %s, %v", again, first, err)
	}
	select {
	case n := <-changes:
		if n != (client.RecruitChanged{Room: room, Recruit: first}) {
			t.Errorf("bob is told %+v", n)
		}
	case <-time.After(10 * time.Second):
		t.Error("bob is not told who keeps the room")
	}
	for _, c := range []*client.Client{alice, bob} {
		if err := c.SettleReceipts(ctx); err != nil { // else the room goes on by them
			t.Fatal(err)
		}
	}
	within(t, "both have caught up", func() bool { return errors.Join(alice.Sync(ctx), bob.Sync(ctx)) == nil }) // their requests are rationed
	before, err := alice.Verify(ctx, room)
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(3 * time.Second) // both look meanwhile, again and again
	if after, err := alice.Verify(ctx, room); err != nil || after != before {
		t.Errorf("the room went on by itself from %+v to %+v, %v", before, after, err)
	}
	withdraw := func(d string) {
		t.Helper()
		if err := willing[d].stop(); err != nil {
			t.Fatal(err)
		}
		willing[d].configured(func(c *node.Config) { c.Failover.ReplicaForOthers = false }).must()
	}
	keeps := func(d string, replicas int) {
		t.Helper()
		within(t, "the room is kept by "+d, func() bool {
			x, err := bob.Outside(ctx, room)
			v, err2 := bob.Verify(ctx, room)
			return err == nil && err2 == nil && x.Recruit == d && v.Replicas == replicas
		})
	}
	second := "chicago.example"
	if first == second {
		second = "dover.example"
	}
	withdraw(first)
	keeps(second, 3)
	withdraw(second)
	keeps("", 1)
	// Each step is told once, and nothing else. One may be dropped before another is named.
	for now := first; ; {
		var n client.RecruitChanged
		select {
		case n = <-changes:
		case <-time.After(10 * time.Second):
			t.Fatalf("bob is not told that %s keeps the room no more", now)
		}
		if n.Room != room || n.Former != now && n.Former != "" || n.Recruit == n.Former {
			t.Errorf("bob is told %+v while %s keeps the room", n, now)
		}
		if now = n.Recruit; now == "" && n.Former == second {
			break
		}
	}
	select {
	case n := <-changes:
		t.Errorf("bob is told %+v at last", n)
	case <-time.After(100 * time.Millisecond):
	}
	for d, r := range willing {
		within(t, d+" is free of it", func() bool {
			x, err := r.operator().Room(ctx, room.String())
			return err == nil && !slices.Contains(x.Outside, d) && x.Role == "follower"
		})
	}
	if _, err := bob.Send(ctx, room, "among us"); err != nil {
		t.Fatal(err)
	}
	within(t, "alice reads it", func() bool {
		list, err := alice.Messages(room, 0, 1000)
		return err == nil && len(list) == 4 && list[3].State == client.StateFinal
	})
}
