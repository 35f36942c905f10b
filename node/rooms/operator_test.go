package rooms_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/mimid/mimid/node/rooms"
	"github.com/mimid/mimid/protocol/room"
)

// TestStanding: what the operator is shown of three replicas, and of a room that was
// released to a provider which does not answer. Who waits is told when it does.
func TestStanding(t *testing.T) {
	w, _, bob, carol, id := trio(t)
	ctx := context.Background()
	is := func(domain, role, to string) {
		t.Helper()
		s, err := w.ps[domain].rooms.Standing(ctx, room.ID(id))
		if err != nil || s.Role != role || s.To != to || !slices.Equal(s.Now, three) || len(s.Next) > 0 || s.Proof != "" {
			t.Errorf("%s: %+v, %v", domain, s, err)
		}
	}
	is(three[0], rooms.RoleHub, "")
	is(three[1], rooms.RoleReplica, "")
	atlanta, chicago := w.ps[three[0]], w.ps[three[2]]
	i := slices.IndexFunc(atlanta.rooms.List(), func(s rooms.Summary) bool { return s.ID == room.ID(id).String() })
	if got := atlanta.rooms.List()[i].Heirs(three[0]); !slices.Equal(got, three[1:]) {
		t.Errorf("it can go to %v", got)
	}
	first := room.Term{Number: 1}
	ignoring := func(yes bool) { // alive, but it does not hear of the room
		chicago.set(func() {
			chicago.deaf, chicago.answer = yes, nil
			if yes {
				chicago.answer = func(context.Context, *rooms.Request, string, rooms.Endpoint) (*rooms.Response, error) {
					return nil, errors.New("not now")
				}
			}
		})
	}
	ignoring(true)
	if err := atlanta.rooms.Move(ctx, room.ID(id), three[2]); err != nil {
		t.Fatal(err)
	}
	is(three[0], rooms.RoleReleasing, three[2])
	short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	if _, err := atlanta.rooms.Moved(short, room.ID(id), first); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("moved to nobody: %v", err)
	}
	ignoring(false)
	if to, err := atlanta.rooms.Moved(ctx, room.ID(id), first); err != nil || to != three[2] {
		t.Errorf("moved to %s, %v", to, err)
	}
	is(three[0], rooms.RoleReplica, "")
	bob.say(id, "after")
	carol.read(id, "after")
	if _, err := atlanta.rooms.Standing(ctx, room.ID{1}); err == nil {
		t.Error("a room that is not there")
	}
	if _, err := atlanta.rooms.Moved(ctx, room.ID{1}, first); err == nil {
		t.Error("waiting for a room that is not there")
	}
}

// TestHeirs: the order in which a room may be handed over.
func TestHeirs(t *testing.T) {
	for _, c := range []struct{ replicas, providers, want []string }{
		{[]string{"b", "a", "c"}, []string{"a", "b", "c", "d"}, []string{"c", "b"}}, // the set's order, from behind us on
		{[]string{"a"}, []string{"b", "a", "c"}, []string{"c", "b"}},                // alone: who takes part
		{[]string{"a"}, []string{"a"}, nil},
		{[]string{"a"}, []string{"b"}, []string{"b"}}, // our last user has left
		{[]string{"b", "c", "d"}, []string{"a"}, []string{"b", "c", "d"}},
	} {
		s := rooms.Summary{Replicas: c.replicas, Providers: c.providers}
		if got := s.Heirs("a"); !slices.Equal(got, c.want) {
			t.Errorf("%v of %v: %v, expected %v", c.replicas, c.providers, got, c.want)
		}
	}
}
