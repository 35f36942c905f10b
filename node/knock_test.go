package node_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/mimid/mimid/client"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/uri"
)

// knocking is a room at atlanta, of alice there and bob at biloxi, and carol at
// chicago, who knows its URI.
type knocking struct {
	t                 *testing.T
	a, b, c           *running
	alice, bob, carol *client.Client
	room              uri.Room
}

func newKnocking(t *testing.T, bob string) *knocking {
	t.Helper()
	k := &knocking{t: t}
	k.a = prepare(t, "atlanta.example").must()
	boot := k.a.status().Addresses[0]
	k.b, k.c = prepare(t, "biloxi.example", boot).must(), prepare(t, "chicago.example", boot).must()
	k.alice, k.bob, k.carol = k.a.user("alice"), k.b.user("bob"), k.c.user("carol")
	ctx := t.Context()
	if err := k.bob.Accept(ctx, k.alice.User()); err != nil {
		t.Fatal(err)
	}
	var err error
	if k.room, err = k.alice.CreateRoom(ctx, "room"); err != nil {
		t.Fatal(err)
	}
	within(t, "bob can be added", func() bool { return k.alice.AddUser(ctx, k.room, k.bob.User()) == nil })
	within(t, "bob is in", func() bool { _, err := k.bob.Verify(ctx, k.room); return err == nil })
	if bob != "" {
		if err := k.alice.SetRole(ctx, k.room, k.bob.User(), bob); err != nil {
			t.Fatal(err)
		}
	}
	return k
}

// knock has carol knock and returns where that stands after the first attempt.
func (k *knocking) knock(note string) client.Knock {
	k.t.Helper()
	got, err := k.carol.Knock(k.t.Context(), k.room, note)
	if err != nil {
		k.t.Fatal(err)
	}
	return got
}

// sees waits until c sees these notes at the door.
func (k *knocking) sees(c *client.Client, notes ...string) {
	k.t.Helper()
	var last any
	within(k.t, c.User().Short()+" sees "+strings.Join(notes, ", "), func() bool {
		list, failed, err := c.RoomKnocks(k.t.Context(), k.room)
		last = err
		var got []string
		for _, x := range list {
			got = append(got, x.Note)
		}
		return err == nil && failed == 0 && slices.Equal(got, notes)
	})
	_ = last
}

// state waits until carol's knock is in a state, and returns it.
func (k *knocking) state(want string) (x client.Knock) {
	k.t.Helper()
	within(k.t, "carol's knock is "+want, func() bool {
		list, err := k.carol.Knocks(k.t.Context())
		if err != nil || len(list) != 1 {
			return false
		}
		x = list[0]
		return x.State == want
	})
	return x
}

// Who has asked to be let in is seen by those who may answer, at the hub and elsewhere, and
// let in by either of them, without any other consent.
func TestKnockAccepted(t *testing.T) {
	k := newKnocking(t, "moderator")
	if got := k.knock("it is me"); got.State != clientapi.KnockWaiting || got.Hub != "atlanta.example" {
		t.Fatalf("%+v", got)
	}
	k.sees(k.alice, "it is me")
	k.sees(k.bob, "it is me")
	if err := k.bob.AcceptKnock(t.Context(), k.room, k.carol.User()); err != nil {
		t.Fatal(err)
	}
	within(t, "carol is in", func() bool { _, err := k.carol.Verify(t.Context(), k.room); return err == nil })
	k.state(clientapi.KnockInside)
	k.sees(k.alice)
	k.sees(k.bob)
}
