package node_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mimid/mimid/client"
	"github.com/mimid/mimid/node/admin"
)

// TestReports: what was said before the room moved and after is reported to the hub that
// orders it now, which can tell that it was said; its operator sees it, and nobody else.
func TestReports(t *testing.T) {
	ctx := t.Context()
	a := prepare(t, "atlanta.example").must()
	b := prepare(t, "biloxi.example", a.status().Addresses[0]).must()
	alice, bob := a.user("alice"), b.user("bob")
	if err := bob.Accept(ctx, alice.User()); err != nil {
		t.Fatal(err)
	}
	room, err := alice.CreateRoom(ctx, "room")
	if err != nil {
		t.Fatal(err)
	}
	within(t, "bob can be added", func() bool { return alice.AddUser(ctx, room, bob.User()) == nil })
	within(t, "bob is in", func() bool { _, err := bob.Verify(ctx, room); return err == nil })
	says := func(text string, n int) {
		t.Helper()
		if _, err := bob.Send(ctx, room, text); err != nil {
			t.Fatal(err)
		}
		within(t, "alice reads "+text, func() bool {
			list, err := alice.Messages(room, 0, 100)
			return err == nil && len(list) == n
		})
	}
	says("first insult", 1)
	within(t, "the room moves", func() bool {
		_, err := a.operator().MoveRoom(ctx, room.String(), "biloxi.example")
		return err == nil
	})
	says("second insult", 2)
	within(t, "alice's report is taken", func() bool {
		hub, err := alice.Report(ctx, room, client.Report{Messages: []uint64{0, 1}, Note: "twice"})
		if err != nil {
			t.Log(err)
		}
		return err == nil && hub == "biloxi.example"
	})
	if _, err := alice.Report(ctx, room, client.Report{Messages: []uint64{1, 0}, Note: "once more", Named: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := bob.Report(ctx, room, client.Report{Messages: []uint64{0}}); !errors.Is(err, client.ErrRefused) {
		t.Errorf("bob reports himself: %v", err)
	}
	if _, err := bob.Report(ctx, room, client.Report{Messages: []uint64{7}}); !errors.Is(err, client.ErrNoMessage) {
		t.Errorf("bob reports what is not there: %v", err)
	}
	seen := func(r *running) []admin.AbuseReport {
		t.Helper()
		list, err := r.operator().Reports(ctx, 0, false)
		if err != nil {
			t.Fatal(err)
		}
		return list.Reports
	}
	if got := seen(a); len(got) != 0 {
		t.Errorf("the former hub has %+v", got)
	}
	list := seen(b)
	if len(list) != 1 || list[0].Times != 2 || list[0].Abuser != bob.User().String() || list[0].Room != room.String() {
		t.Fatalf("reports: %+v", list)
	}
	r, err := b.operator().Report(ctx, list[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Messages) != 2 || r.Messages[0].Text != "first insult" || r.Messages[0].FrankedBy != "atlanta.example" ||
		r.Messages[1].Text != "second insult" || r.Messages[1].FrankedBy != "biloxi.example" {
		t.Errorf("messages: %+v", r.Messages)
	}
	if v := r.Voices; len(v) != 2 || v[0].Note != "twice" || v[0].Reporter != "" || v[0].Provider != "atlanta.example" || v[1].Reporter != alice.User().String() {
		t.Errorf("voices: %+v", v)
	}
	if r, err = b.operator().ResolveReport(ctx, r.ID, admin.ResolveAbuse{}); err != nil || r.Outcome != "dismissed" {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := b.operator().ResolveReport(ctx, r.ID, admin.ResolveAbuse{}); err == nil || !strings.Contains(err.Error(), "resolved already") {
		t.Errorf("resolved twice: %v", err)
	}
	if got := seen(b); len(got) != 0 {
		t.Errorf("open after it was resolved: %+v", got)
	}
}

// TestReportedAndBanned: what a member reports the operator of the room's hub resolves with
// a ban; a member's device commits it by itself, who is banned is told by whom, says nothing
// more and reads nothing more. An administrator the hub cannot ban.
func TestReportedAndBanned(t *testing.T) {
	ctx := t.Context()
	a := prepare(t, "atlanta.example").must()
	b := prepare(t, "biloxi.example", a.status().Addresses[0]).must()
	alice, bob, carol := a.user("alice"), b.user("bob"), b.user("carol")
	room, err := alice.CreateRoom(ctx, "room")
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []*client.Client{bob, carol} {
		if err := x.Accept(ctx, alice.User()); err != nil {
			t.Fatal(err)
		}
		within(t, "somebody can be added", func() bool { return alice.AddUser(ctx, room, x.User()) == nil })
		within(t, "and is in", func() bool { _, err := x.Verify(ctx, room); return err == nil })
	}
	reads := func(c *client.Client, text string) bool {
		list, err := c.Messages(room, 0, 100)
		return err == nil && slices.ContainsFunc(list, func(m client.Message) bool { return m.Text == text })
	}
	report := func(by, about *client.Client, text string) uint64 {
		t.Helper()
		if _, err := about.Send(ctx, room, text); err != nil {
			t.Fatal(err)
		}
		within(t, "it is read", func() bool { return reads(by, text) })
		list, _ := by.Messages(room, 0, 100)
		i := slices.IndexFunc(list, func(m client.Message) bool { return m.Text == text })
		if _, err := by.Report(ctx, room, client.Report{Messages: []uint64{list[i].Index}}); err != nil {
			t.Fatal(err)
		}
		all, err := a.operator().Reports(ctx, 0, false)
		if err != nil || len(all.Reports) != 1 {
			t.Fatalf("%+v, %v", all, err)
		}
		return all.Reports[0].ID
	}
	if _, err := alice.Send(ctx, room, "an earlier insult"); err != nil {
		t.Fatal(err)
	}
	within(t, "bob reads", func() bool { return reads(bob, "an earlier insult") })
	id := report(carol, bob, "insult")
	events := bob.Events()
	if r, err := a.operator().ResolveReport(ctx, id, admin.ResolveAbuse{Ban: true}); err != nil || r.Outcome != "banned" {
		t.Fatalf("%+v, %v", r, err)
	}
	told := ""
	within(t, "bob is told", func() bool {
		for {
			select {
			case n := <-events:
				if x, ok := n.(client.RoomLeft); ok {
					told = x.Reason
				}
			default:
				return told != ""
			}
		}
	})
	if want := "banned from the room by atlanta.example, the provider that orders it"; told != want {
		t.Errorf("bob is told %q, want %q", told, want)
	}
	if _, err := bob.Send(ctx, room, "I am still here"); !errors.Is(err, client.ErrNoRoom) {
		t.Errorf("bob says something: %v", err)
	}
	if _, err := carol.Send(ctx, room, "finally"); err != nil {
		t.Fatal(err)
	}
	within(t, "alice reads on", func() bool { return reads(alice, "finally") })
	if reads(bob, "finally") {
		t.Error("bob reads on")
	}
	within(t, "the list says banned", func() bool {
		r, err := a.operator().Room(ctx, room.String())
		return err == nil && slices.ContainsFunc(r.Participants, func(p admin.Participant) bool { return p.User == bob.User().String() && p.Role == "banned" })
	})
	if err := alice.AddUser(ctx, room, bob.User()); err == nil {
		t.Error("a banned user is added again")
	}

	// An administrator must be able to move the room away from its hub.
	id = report(carol, alice, "insult by the admin")
	if _, err := a.operator().ResolveReport(ctx, id, admin.ResolveAbuse{Ban: true}); err == nil || !strings.Contains(err.Error(), "the role policy_enforcer may not make banned of admin") {
		t.Errorf("banning an administrator: %v", err)
	}
	if all, err := a.operator().Reports(ctx, 0, false); err != nil || len(all.Reports) != 1 {
		t.Errorf("after a ban that came to nothing the report is gone: %+v, %v", all, err)
	}
	// Who is out may still report what it has seen.
	if list, err := bob.Messages(room, 0, 1); err != nil || len(list) != 1 || list[0].Text != "an earlier insult" {
		t.Fatalf("bob has %+v, %v", list, err)
	}
	if hub, err := bob.Report(ctx, room, client.Report{Messages: []uint64{0}}); err != nil || hub != "atlanta.example" {
		t.Errorf("bob, who is banned, reports: %s, %v", hub, err)
	}
	if all, err := a.operator().Reports(ctx, 0, false); err != nil || len(all.Reports) != 2 {
		t.Errorf("of what bob has seen: %+v, %v", all, err)
	}
}

// TestBannedAfterMove: the provider that orders a room is gone, and an administrator has moved
// the room. The operator of the new hub bans whom somebody reports there, as that of the old
// one could: an administrator's device has named the new hub to the group by itself.
func TestBannedAfterMove(t *testing.T) {
	ctx := t.Context()
	a := prepare(t, "atlanta.example").must()
	b := prepare(t, "biloxi.example", a.status().Addresses[0]).must()
	alice, bob, carol := a.user("alice"), b.user("bob"), b.user("carol")
	room, err := alice.CreateRoom(ctx, "room")
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []*client.Client{bob, carol} {
		if err := x.Accept(ctx, alice.User()); err != nil {
			t.Fatal(err)
		}
		within(t, "somebody can be added", func() bool { return alice.AddUser(ctx, room, x.User()) == nil })
		within(t, "and is in", func() bool { _, err := x.Verify(ctx, room); return err == nil })
	}
	if err := alice.SetRole(ctx, room, bob.User(), "admin"); err != nil {
		t.Fatal(err)
	}
	within(t, "bob knows", func() bool {
		s, err := bob.Verify(ctx, room)
		r, err2 := a.operator().Room(ctx, room.String())
		return err == nil && err2 == nil && s.Epoch == r.Epoch
	})
	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
	within(t, "bob moves the room", func() bool {
		try, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		err := bob.MoveRoom(try, room)
		if err != nil {
			t.Log(err)
		}
		return err == nil
	})
	if _, err := carol.Send(ctx, room, "insult"); err != nil {
		t.Fatal(err)
	}
	var index uint64
	within(t, "bob reads it", func() bool {
		list, err := bob.Messages(room, 0, 100)
		i := slices.IndexFunc(list, func(m client.Message) bool { return m.Text == "insult" })
		if err == nil && i >= 0 {
			index = list[i].Index
		}
		return i >= 0
	})
	if hub, err := bob.Report(ctx, room, client.Report{Messages: []uint64{index}}); err != nil || hub != "biloxi.example" {
		t.Fatalf("%s, %v", hub, err)
	}
	all, err := b.operator().Reports(ctx, 0, false)
	if err != nil || len(all.Reports) != 1 {
		t.Fatalf("%+v, %v", all, err)
	}
	within(t, "the new hub's operator bans", func() bool {
		r, err := b.operator().ResolveReport(ctx, all.Reports[0].ID, admin.ResolveAbuse{Ban: true})
		if err != nil {
			t.Log(err)
		}
		return err == nil && r.Outcome == "banned"
	})
	within(t, "the list says banned", func() bool {
		r, err := b.operator().Room(ctx, room.String())
		return err == nil && slices.ContainsFunc(r.Participants, func(p admin.Participant) bool {
			return p.User == carol.User().String() && p.Role == "banned"
		})
	})
	within(t, "carol is out", func() bool { _, err := carol.Send(ctx, room, "still here"); return errors.Is(err, client.ErrNoRoom) })
}
