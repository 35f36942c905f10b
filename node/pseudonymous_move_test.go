package node_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/mimid/mimid/client"
	"github.com/mimid/mimid/node"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
)

// adminIn makes somebody an administrator and waits until it knows that it is one.
func adminIn(t *testing.T, u uri.Room, by, who *client.Client) {
	t.Helper()
	if err := by.SetRole(t.Context(), u, who.User(), "admin"); err != nil {
		t.Fatal(err)
	}
	within(t, who.User().Short()+" knows", func() bool {
		r, err := who.FindRoom(t.Context(), u.String())
		return err == nil && slices.ContainsFunc(r.Participants, func(p client.Participant) bool { return p.User == who.User() && p.Role == "admin" })
	})
}

// TestPseudonymousRoomMoves: an administrator moves the room away from a provider that is gone,
// operators hand it over, and one leaves by a drain. Under each hub something is said, and under
// the first new one somebody is added; all name all, and no provider has learnt a name.
func TestPseudonymousRoomMoves(t *testing.T) {
	ctx := t.Context()
	a := prepare(t, "atlanta.example").must()
	b := prepare(t, "biloxi.example", a.status().Addresses[0]).must()
	alice, bob, carol, dora := a.user("alice.liddell"), b.user("bob.cratchit"), b.user("carol.bingley"), b.user("dora.spenlow")
	u, err := alice.CreateRoomAs(ctx, client.NewRoom{Name: "circle", Pseudonymous: true})
	if err != nil {
		t.Fatal(err)
	}
	joinedBy(t, u, alice, bob)
	names(t, bob, u, alice, bob)
	adminIn(t, u, alice, bob)
	joinedBy(t, u, bob, carol)
	for _, x := range []*client.Client{alice, bob, carol} {
		names(t, x, u, alice, bob, carol)
	}
	within(t, "the hub has all of it", func() bool {
		s, err := bob.Verify(ctx, u)
		x, err2 := a.operator().Room(ctx, u.String())
		return err == nil && err2 == nil && s.Epoch == x.Epoch
	})
	said := func(by *client.Client, text, hub string, who ...*client.Client) {
		t.Helper()
		if _, err := by.Send(ctx, u, text); err != nil {
			t.Fatal(err)
		}
		for _, x := range who {
			readBy(t, x, u, by, text)
		}
		if s, err := by.Verify(ctx, u); err != nil || s.Hub != hub {
			t.Errorf("%q was ordered by %s, not %s: %v", text, s.Hub, hub, err)
		}
	}
	said(carol, "under the first hub", "atlanta.example", alice, bob, carol)

	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
	within(t, "bob moves the room", func() bool {
		try, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		return bob.MoveRoom(try, u) == nil
	})
	said(carol, "under the second hub", "biloxi.example", bob, carol)
	joinedBy(t, u, bob, dora)
	for _, x := range []*client.Client{bob, carol, dora} {
		names(t, x, u, alice, bob, carol, dora)
	}
	a.must()
	names(t, alice, u, alice, bob, carol, dora)
	said(dora, "there she is again", "biloxi.example", alice, bob, carol, dora)

	all := []*client.Client{alice, bob, carol, dora}
	within(t, "biloxi's operator hands it over", func() bool {
		_, err := b.operator().MoveRoom(ctx, u.String(), "atlanta.example")
		return err == nil
	})
	within(t, "bob knows", func() bool { s, err := bob.Verify(ctx, u); return err == nil && s.Hub == "atlanta.example" })
	said(bob, "handed over", "atlanta.example", all...)
	within(t, "atlanta is drained", func() bool {
		d, err := a.operator().Drain(ctx, nil)
		return err == nil && d.Stayed == 0
	})
	within(t, "alice knows", func() bool { s, err := alice.Verify(ctx, u); return err == nil && s.Hub == "biloxi.example" })
	said(alice, "drained", "biloxi.example", all...)
	for _, x := range all {
		names(t, x, u, all...)
	}
	noNames(t, u, []*running{a, b}, a, "carol.bingley", "dora.spenlow")
}

// noNames stops providers and sees that no name is in the room at any of them, nor of strangers
// anywhere at one.
func noNames(t *testing.T, u uri.Room, all []*running, at *running, strangers ...string) {
	t.Helper()
	for _, r := range all {
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
	}
	everybody := []string{"alice.liddell", "bob.cratchit", "carol.bingley", "dora.spenlow"}
	for _, r := range all {
		found := r.traces(room.IDOf([]byte(u.String())), everybody...)
		any := false
		for _, name := range everybody {
			any = any || len(found[name]) > 0
			if slices.Contains(found[name], "room") {
				t.Errorf("%s has %s in the room", r.cfg.Domain, name)
			}
			if r == at && slices.Contains(strangers, name) && len(found[name]) > 0 {
				t.Errorf("%s has traces of %s in %v", r.cfg.Domain, name, found[name])
			}
		}
		if !any && r == at {
			t.Errorf("%s has nobody's name: is that all of its store?", r.cfg.Domain)
		}
	}
}

// TestPseudonymousRoomSucceeds: the only administrator's provider is gone. A moderator claims
// the room, another one agrees, and it is theirs; the claim has pseudonyms, and its members see
// names.
func TestPseudonymousRoomSucceeds(t *testing.T) {
	ctx := t.Context()
	a := prepare(t, "atlanta.example").must()
	b := prepare(t, "biloxi.example", a.status().Addresses[0]).must()
	c := prepare(t, "chicago.example", a.status().Addresses[0], b.status().Addresses[0]).must()
	alice, bob, carol := a.user("alice.liddell"), b.user("bob.cratchit"), c.user("carol.bingley")
	u, err := alice.CreateRoomAs(ctx, client.NewRoom{Name: "circle", Pseudonymous: true})
	if err != nil {
		t.Fatal(err)
	}
	joinedBy(t, u, alice, bob)
	joinedBy(t, u, alice, carol)
	for _, x := range []*client.Client{bob, carol} {
		names(t, x, u, alice, bob, carol)
		within(t, "three decide", func() bool { v, err := x.Verify(ctx, u); return err == nil && v.Replicas == 3 })
		if err := alice.SetRole(ctx, u, x.User(), "moderator"); err != nil {
			t.Fatal(err)
		}
	}
	if err := alice.SetPatience(ctx, u, 3*time.Second); err != nil {
		t.Fatal(err)
	}
	for _, x := range []*client.Client{bob, carol} {
		within(t, "it is known who succeeds", func() bool {
			s, err := x.Succession(ctx, u)
			return err == nil && s.Patience == 3*time.Second && slices.Contains(s.Successors, bob.User()) && slices.Contains(s.Successors, carol.User())
		})
	}
	bobs, carols := notices[client.SuccessionStep](t, bob), notices[client.SuccessionStep](t, carol)
	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
	if err := bob.ClaimRoom(ctx, u, []string{alice.User().String()}); err != nil {
		t.Fatal(err)
	}
	s := told(t, carols, client.StepClaimed, bob.User())
	if x := s.Claim; x.Claimant != bob.User() || !slices.Equal(x.Gone, []string{alice.User().String()}) || !slices.Equal(x.Endorsers, []uri.User{bob.User()}) {
		t.Errorf("the claim: %+v", x)
	}
	told(t, bobs, client.StepClaimed, bob.User())
	if err := carol.EndorseClaim(ctx, u); err != nil {
		t.Fatal(err)
	}
	told(t, bobs, client.StepEndorsed, carol.User())
	told(t, bobs, client.StepTaken, bob.User())
	if err := bob.SetRole(ctx, u, carol.User(), "admin"); err != nil {
		t.Error(err)
	}
	noNames(t, u, []*running{b, c}, c, "bob.cratchit")
}

// TestPseudonymousRoomRecruits: a provider in which nobody takes part keeps a room of two, and
// learns no name by it.
func TestPseudonymousRoomRecruits(t *testing.T) {
	ctx := t.Context()
	a := prepare(t, "atlanta.example").must()
	b := prepare(t, "biloxi.example", a.status().Addresses[0]).must()
	c := prepare(t, "chicago.example", a.status().Addresses[0]).configured(func(c *node.Config) { c.Failover.ReplicaForOthers = true }).must()
	alice, bob := a.user("alice.liddell"), b.user("bob.cratchit")
	u, err := alice.CreateRoomAs(ctx, client.NewRoom{Name: "circle", Pseudonymous: true, Outside: true})
	if err != nil {
		t.Fatal(err)
	}
	joinedBy(t, u, alice, bob)
	within(t, "chicago keeps it, too", func() bool {
		x, err := bob.Outside(ctx, u)
		v, err2 := bob.Verify(ctx, u)
		return err == nil && err2 == nil && x.Recruit == "chicago.example" && v.Replicas == 3
	})
	names(t, bob, u, alice, bob)
	if _, err := bob.Send(ctx, u, "it is kept by three"); err != nil {
		t.Fatal(err)
	}
	readBy(t, alice, u, bob, "it is kept by three")
	if err := c.stop(); err != nil {
		t.Fatal(err)
	}
	if found := c.traces(room.IDOf([]byte(u.String())), "alice.liddell", "bob.cratchit", "circle"); len(found["alice.liddell"])+len(found["bob.cratchit"]) > 0 || len(found["circle"]) == 0 {
		t.Errorf("chicago has %v", found)
	}
}
