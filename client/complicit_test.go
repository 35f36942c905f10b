package client_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/mimid/mimid/client"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
)

// TestComplicitHub: a member whose device has no policy commits what it may not. An honest hub
// refuses that; of one that orders it the others' devices follow nothing more: they tell their
// users why, keep what was said, and stand by the room as it was.
func TestComplicitHub(t *testing.T) {
	list := func(t *testing.T, g *mls.PublicGroup, set ...room.Participant) []*mls.Proposal {
		t.Helper()
		p, err := room.UpdateParticipants(g.Context(), set, nil)
		if err != nil {
			t.Fatal(err)
		}
		return []*mls.Proposal{p}
	}
	leaves := func(t *testing.T, g *mls.PublicGroup, u uri.User) []mls.LeafIndex {
		t.Helper()
		r, err := room.RosterOf(g)
		if err != nil {
			t.Fatal(err)
		}
		return r.Leaves(u)
	}
	for name, c := range map[string]struct {
		does func(t *testing.T, g *mls.PublicGroup, alice, carol uri.User) mls.CommitOptions
		why  string
	}{
		"kicks an administrator": {func(t *testing.T, g *mls.PublicGroup, alice, _ uri.User) mls.CommitOptions {
			return mls.CommitOptions{Remove: leaves(t, g, alice)}
		}, "canKick"},
		"becomes an administrator": {func(t *testing.T, g *mls.PublicGroup, _, carol uri.User) mls.CommitOptions {
			return mls.CommitOptions{Proposals: list(t, g, room.Participant{User: carol, Role: policy.Admin})}
		}, "admin"},
		"changes the policy": {func(t *testing.T, g *mls.PublicGroup, _, _ uri.User) mls.CommitOptions {
			p, err := room.Update(&policy.Base{})
			if err != nil {
				t.Fatal(err)
			}
			return mls.CommitOptions{Proposals: []*mls.Proposal{p}}
		}, "canChangeRoomMembershipStyle"},
		"ends the room": {func(*testing.T, *mls.PublicGroup, uri.User, uri.User) mls.CommitOptions {
			return mls.CommitOptions{Proposals: []*mls.Proposal{room.Ends(uri.Room{})}}
		}, "canDestroyRoom"},
	} {
		t.Run(name, func(t *testing.T) {
			f, alice, bob, carol, u := three(t)
			bob.send(u, "before")
			alice.hears(u, "bob: before")
			outlaw := func() (*wire.UpdateRoomResponse, error) {
				return carol.c.CommitUnjudged(ctx10(t), u, func(g *mls.PublicGroup) mls.CommitOptions { return c.does(t, g, alice.user(), carol.user()) })
			}
			if r, err := outlaw(); err != nil || r.Code != wire.UpdateNotAllowed || !strings.Contains(r.Description, c.why) {
				t.Fatalf("an honest hub: %+v, %v", r, err)
			}
			alice.send(u, "nothing has happened")
			bob.hears(u, "alice: nothing has happened")
			f.mu.Lock()
			f.complicit = true
			f.mu.Unlock()
			if r, err := outlaw(); err != nil || r.Code != wire.UpdateSuccess {
				t.Fatalf("a complicit hub: %+v, %v", r, err)
			}
			for _, p := range []*person{alice, bob} {
				told := await(p, func(x client.Problem) bool { return x.Room == u })
				if !strings.Contains(told.Err.Error(), c.why) || !errors.Is(told.Err, room.ErrPolicy) {
					t.Errorf("%s is told %v", p.name, told.Err)
				}
				eventually(t, p.name+" follows no more", func() bool { return p.state(u) == "stopped" })
				if _, err := p.c.Send(ctx10(t), u, "after"); err == nil {
					t.Errorf("%s says something there", p.name)
				}
				p.hears(u, "bob: before", "alice: nothing has happened")
			}
		})
	}
}
