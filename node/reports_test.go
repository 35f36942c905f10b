package node_test

import (
	"errors"
	"strings"
	"testing"

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
