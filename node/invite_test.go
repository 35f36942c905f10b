package node_test

import (
	"errors"
	"testing"

	"github.com/mimid/mimid/client"
	"github.com/mimid/mimid/protocol/uri"
)

// invited has two providers, alice's room at one and bob at the other, who has given no
// consent to anybody.
func invited(t *testing.T) (a, b *running, alice, bob *client.Client, room uri.Room) {
	t.Helper()
	a = prepare(t, "atlanta.example").must()
	b = prepare(t, "biloxi.example", a.status().Addresses[0]).must()
	alice, bob = a.user("alice"), b.user("bob")
	room, err := alice.CreateRoom(t.Context(), "club")
	if err != nil {
		t.Fatal(err)
	}
	return a, b, alice, bob, room
}

// one waits for the only invitation that c has; none: that there is none.
func one(t *testing.T, c *client.Client) (v client.Invitation) {
	t.Helper()
	within(t, "an invitation", func() bool {
		list, err := c.Invitations(t.Context())
		if err != nil || len(list) != 1 {
			return false
		}
		v = list[0]
		return true
	})
	return v
}

func none(t *testing.T, c *client.Client) {
	t.Helper()
	within(t, "no invitation", func() bool {
		list, err := c.Invitations(t.Context())
		return err == nil && len(list) == 0
	})
}

// heard waits until c is told of a state of consent about a room.
func heardOf(t *testing.T, c *client.Client, state string) {
	t.Helper()
	for {
		select {
		case n := <-c.Events():
			if x, ok := n.(client.ConsentChanged); ok && x.Room != "" && x.State == state {
				return
			}
		case <-t.Context().Done():
			t.Fatal("not heard of " + state)
		}
	}
}

// Who is invited is added when it accepts, in the role that was offered, by the inviter's
// device, for this room and no other.
func TestInvitationAccepted(t *testing.T) {
	_, _, alice, bob, room := invited(t)
	ctx := t.Context()
	if err := alice.Invite(ctx, room, bob.User(), "moderator", "join us"); err != nil {
		t.Fatal(err)
	}
	v := one(t, bob)
	if v.Room != room || v.By != alice.User() || v.RoomName != "club" || v.Role != "moderator" || v.Note != "join us" {
		t.Errorf("%+v", v)
	}
	if list, err := bob.Requests(ctx); err != nil || len(list) > 0 {
		t.Errorf("an invitation is shown as a request for everything: %v, %v", list, err)
	}
	if err := alice.AddUser(ctx, room, bob.User()); !errors.Is(err, client.ErrNoConsent) {
		t.Errorf("added before the answer: %v", err)
	}
	if err := bob.AcceptInvitation(ctx, room, alice.User()); err != nil {
		t.Fatal(err)
	}
	within(t, "bob is in", func() bool { _, err := bob.Verify(ctx, room); return err == nil })
	none(t, bob)
	r, err := alice.FindRoom(ctx, room.String())
	if err != nil || len(r.Participants) != 2 || r.Participants[1].Role != "moderator" {
		t.Errorf("%+v, %v", r, err)
	}
	other, err := alice.CreateRoom(ctx, "other")
	if err != nil {
		t.Fatal(err)
	}
	if err := alice.AddUser(ctx, other, bob.User()); !errors.Is(err, client.ErrNoConsent) {
		t.Errorf("added to another room: %v", err)
	}
	if err := alice.Invite(ctx, room, bob.User(), "", ""); !errors.Is(err, client.ErrRefused) {
		t.Errorf("invited though inside: %v", err)
	}
}

// A refusal reaches the inviter, and further invitations to the room are not heard; one that is
// withdrawn is gone; who has refused the inviter altogether hears nothing; nobody knows whether
// there is such a user.
func TestInvitationDeclined(t *testing.T) {
	_, b, alice, bob, room := invited(t)
	ctx := t.Context()
	if err := alice.Invite(ctx, room, bob.User(), "", "first"); err != nil {
		t.Fatal(err)
	}
	one(t, bob)
	if err := alice.Withdraw(ctx, room, bob.User()); err != nil {
		t.Fatal(err)
	}
	none(t, bob)
	if err := alice.Invite(ctx, room, bob.User(), "", "second"); err != nil {
		t.Fatal(err)
	}
	if v := one(t, bob); v.Note != "second" {
		t.Errorf("%+v", v)
	}
	if err := bob.Decline(ctx, room, alice.User()); err != nil {
		t.Fatal(err)
	}
	heardOf(t, alice, "revoked")
	none(t, bob)

	bella := b.user("bella")
	if err := bella.Reject(ctx, alice.User()); err != nil {
		t.Fatal(err)
	}
	nobody, err := client.ParseUser("nobody@biloxi.example")
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range []uri.User{bob.User(), bella.User(), nobody} {
		if err := alice.Invite(ctx, room, u, "", "third"); err != nil {
			t.Errorf("%s: %v", u, err)
		}
	}
	// Something that comes after them in the same queue has come: so they have.
	bert := b.user("bert")
	if err := alice.Invite(ctx, room, bert.User(), "", ""); err != nil {
		t.Fatal(err)
	}
	one(t, bert)
	for _, c := range []*client.Client{bob, bella} {
		if list, err := c.Invitations(ctx); err != nil || len(list) > 0 {
			t.Errorf("%s is invited: %+v, %v", c.User(), list, err)
		}
	}
	if err := alice.Invite(ctx, room, bert.User(), "owner", ""); !errors.Is(err, client.ErrName) {
		t.Errorf("as what there is not: %v", err)
	}
	if err := alice.Invite(ctx, room, bert.User(), "", "a\nb"); !errors.Is(err, client.ErrNote) {
		t.Errorf("a note of two lines: %v", err)
	}
}
