package node_test

import (
	"testing"
	"time"

	"github.com/mimid/mimid/client"
	"github.com/mimid/mimid/protocol/uri"
)

// notices collects what a user is told of one kind.
func notices[T client.Notice](t *testing.T, c *client.Client) <-chan T {
	out := make(chan T, 100)
	done := make(chan struct{})
	t.Cleanup(func() { close(done) })
	go func() {
		for {
			select {
			case n := <-c.Events():
				if x, ok := n.(T); ok {
					out <- x
				}
			case <-done:
				return
			}
		}
	}()
	return out
}

func told(t *testing.T, ch <-chan client.SuccessionStep, step client.Step, by uri.User) client.SuccessionStep {
	t.Helper()
	select {
	case s := <-ch:
		if s.Step != step || s.By != by {
			t.Fatalf("told %s by %s, expected %s by %s", s.Step, s.By, step, by)
		}
		return s
	case <-time.After(30 * time.Second):
		t.Fatalf("not told %s by %s", step, by)
	}
	panic("not reached")
}

// TestSuccession: the provider of a room's founder and only administrator is away. A
// moderator claims the room; when the provider is back in time the founder's device ends
// that by itself. When it does not come back, and another moderator agrees, the room has
// a new administrator, who can do what only those can; everybody is told each step.
func TestSuccession(t *testing.T) {
	a := prepare(t, "atlanta.example").must()
	boot := a.status().Addresses[0]
	b := prepare(t, "biloxi.example", boot).must()
	c := prepare(t, "chicago.example", boot, b.status().Addresses[0]).must()
	alice, bob, carol, dave := a.user("alice"), b.user("bob"), c.user("carol"), c.user("dave")
	ctx := t.Context()
	for _, x := range []*client.Client{bob, carol, dave} {
		for _, who := range []*client.Client{alice, bob} {
			if x != who {
				if err := x.Accept(ctx, who.User()); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	room, err := alice.CreateRoom(ctx, "room")
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []*client.Client{bob, carol} {
		within(t, "she adds "+x.User().String(), func() bool { return alice.AddUser(ctx, room, x.User()) == nil })
	}
	for _, x := range []*client.Client{bob, carol} {
		within(t, "three decide", func() bool { v, err := x.Verify(ctx, room); return err == nil && v.Replicas == 3 })
		if err := alice.SetRole(ctx, room, x.User(), "moderator"); err != nil {
			t.Fatal(err)
		}
	}
	role := func(of, by *client.Client) string {
		r, err := by.FindRoom(ctx, room.String())
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range r.Participants {
			if p.User == of.User() {
				return p.Role
			}
		}
		return ""
	}
	for _, x := range []*client.Client{bob, carol} {
		within(t, "they are moderators", func() bool { return role(bob, x) == "moderator" && role(carol, x) == "moderator" })
	}
	bobs, carols := notices[client.SuccessionStep](t, bob), notices[client.SuccessionStep](t, carol)

	// A week is the default, and she comes back.
	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
	if err := bob.ClaimRoom(ctx, room, nil); err != nil {
		t.Fatal(err)
	}
	told(t, bobs, client.StepClaimed, bob.User())
	s := told(t, carols, client.StepClaimed, bob.User())
	if c := s.Claim; c.Claimant != bob.User() || len(c.Gone) != 1 || c.Gone[0] != "atlanta.example" || c.Missing != 1 || c.Due.Sub(c.Since) != 7*24*time.Hour {
		t.Errorf("the claim: %+v", c)
	}
	// What she wished for meanwhile is a sign of life like any other.
	wished := make(chan error, 1)
	go func() { wished <- alice.SetRole(ctx, room, carol.User(), "member") }()
	select {
	case err := <-wished:
		t.Fatalf("while her provider is away: %v", err)
	case <-time.After(200 * time.Millisecond):
	}
	a.must()
	told(t, carols, client.StepEnded, alice.User())
	told(t, bobs, client.StepEnded, alice.User())
	if err := <-wished; err != nil {
		t.Error(err)
	}
	if role(bob, carol) != "moderator" || role(carol, carol) != "member" {
		t.Errorf("bob is %s, carol %s", role(bob, carol), role(carol, carol))
	}
	if err := alice.SetRole(ctx, room, carol.User(), "moderator"); err != nil {
		t.Fatal(err)
	}

	// Three seconds, and she does not.
	if err := alice.SetPatience(ctx, room, 3*time.Second); err != nil {
		t.Fatal(err)
	}
	within(t, "bob knows", func() bool { s, err := bob.Succession(ctx, room); return err == nil && s.Patience == 3*time.Second })
	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
	if err := bob.ClaimRoom(ctx, room, []string{"atlanta.example"}); err != nil {
		t.Fatal(err)
	}
	told(t, carols, client.StepClaimed, bob.User())
	told(t, bobs, client.StepClaimed, bob.User())
	if err := carol.EndorseClaim(ctx, room); err != nil {
		t.Fatal(err)
	}
	if s := told(t, bobs, client.StepEndorsed, carol.User()); s.Claim.Missing != 0 {
		t.Errorf("%d are missing", s.Claim.Missing)
	}
	told(t, carols, client.StepEndorsed, carol.User())
	told(t, carols, client.StepTaken, bob.User())
	told(t, bobs, client.StepTaken, bob.User())
	if role(bob, carol) != "admin" {
		t.Errorf("bob is %s", role(bob, carol))
	}
	if err := bob.SetRole(ctx, room, carol.User(), "admin"); err != nil {
		t.Error(err)
	}
	within(t, "dave is added", func() bool { return bob.AddUser(ctx, room, dave.User()) == nil })

	// She comes back too late, and finds herself among three.
	a.must()
	within(t, "alice follows", func() bool { return role(dave, alice) == "member" && role(carol, alice) == "admin" })
	if role(alice, bob) != "admin" {
		t.Error("nobody has taken anything from alice")
	}
}
