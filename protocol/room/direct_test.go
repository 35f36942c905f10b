package room_test

import (
	"errors"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
)

// direct begins a direct room of two.
func (w *world) direct(d *device, other uri.User) error {
	w.t.Helper()
	return w.beginWith(d, func(ext mls.Extensions) mls.Extensions { return must(room.Direct(ext, d.user, other))(w.t) })
}

// lower and higher are names of rooms beside the one of world.
func lowerAndHigher(t testing.TB, than uri.Room) (lower, higher uri.Room) {
	for n := 0; lower.IsZero() || higher.IsZero(); n++ {
		x := must(uri.ParseRoom(fmt.Sprintf("mimi://biloxi.example/r/other%d", n)))(t)
		if room.Precedes(x, than) {
			lower = x
		} else {
			higher = x
		}
	}
	return lower, higher
}

// TestDirectRoom: who takes part in a room of two is settled, and what it means; each of them
// brings devices in, and each may end it, towards a room that precedes it.
func TestDirectRoom(t *testing.T) {
	w := newWorld(t)
	alice, bob, carol := w.device("alice@atlanta.example", "phone"), w.device("bob@biloxi.example", "phone"), w.device("carol@chicago.example", "phone")
	laptop := w.device("bob@biloxi.example", "laptop")
	if _, err := room.Direct(nil, alice.user, alice.user); !errors.Is(err, room.ErrPolicy) {
		t.Errorf("with oneself: %v", err)
	}
	if err := w.direct(alice, bob.user); err != nil {
		t.Fatal(err)
	}
	if p, ok := room.DirectOf(w.hub.Group().Context()); !ok || p != room.PairOf(bob.user, alice.user) {
		t.Errorf("it is the room of %v, %v", p, ok)
	}
	// Whoever is on the list comes in, by a Welcome or by itself.
	if err := errors.Join(alice.add(bob), bob.send("hello"), laptop.join(policy.None)); err != nil {
		t.Fatal(err)
	}
	ctx := func(d *device) *mls.GroupContext { return d.group.Public().Context() }
	set := func(d *device, who uri.User, as policy.Role) *mls.Proposal {
		return must(room.UpdateParticipants(ctx(d), []room.Participant{{User: who, Role: as}}, nil))(t)
	}
	lower, higher := lowerAndHigher(t, w.hub.URI())
	for _, x := range []struct {
		what string
		err  error
		why  string
	}{
		{"a third", alice.add(carol), "settled when it was made"},
		{"a third by itself", carol.join(policy.Peer), "nobody joins this room without being added"},
		{"leaves the list", bob.propose(must(room.UpdateParticipants(ctx(bob), nil, []uri.User{bob.user}))(t)), "settled when it was made"},
		{"bans", alice.commit(mls.CommitOptions{Remove: w.hub.Roster().Leaves(bob.user), Proposals: []*mls.Proposal{set(alice, bob.user, policy.Banned)}}), "lacks canBan"},
		{"kicks", alice.commit(mls.CommitOptions{Remove: w.hub.Roster().Leaves(bob.user)}), "lacks canKick"},
		{"says what roles mean", alice.define(policy.Basic()), "lacks canChangeRoleDefinitions"},
		{"sets the membership free", alice.set(&policy.Base{MultiDevice: true}), "settled when the room is made"},
		{"lets more in", alice.set(&policy.Base{Fixed: true, MultiDevice: true}), "lacks canChangeRoomMembershipStyle"},
		{"preauthorizes", alice.set(&policy.Preauth{}), "lacks canChangePreauthorizedUserList"},
		{"ends towards a higher one", alice.commit(mls.CommitOptions{Proposals: []*mls.Proposal{room.Ends(higher)}}), "the one with the lower id goes on"},
		{"ends towards itself", alice.commit(mls.CommitOptions{Proposals: []*mls.Proposal{room.Ends(w.hub.URI())}}), "the one with the lower id goes on"},
	} {
		says(t, x.what, x.err, x.why)
	}
	// All devices of one may go. He is on the list still, and comes back.
	if err := errors.Join(laptop.propose(&mls.Proposal{Type: mls.ProposalSelfRemove}), alice.commit(mls.CommitOptions{}), laptop.join(policy.None)); err != nil {
		t.Fatal(err)
	}
	if err := bob.commit(mls.CommitOptions{Proposals: []*mls.Proposal{room.Ends(lower)}}); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "the other one ends it as well", alice.commit(mls.CommitOptions{Proposals: []*mls.Proposal{room.Ends(lower)}}), room.ErrEnded)
	wantErr(t, "writes on in it", alice.send("hello?"), room.ErrEnded)
	if e := w.follower.Ended(); e == nil || e.Successor != lower {
		t.Errorf("it ended with %+v", e)
	}
}

// TestDirectOf: what is no direct room, though it has two participants.
func TestDirectOf(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.device("alice@atlanta.example", "phone"), w.device("bob@biloxi.example", "phone")
	w.begin(alice)
	if err := alice.add(bob); err != nil {
		t.Fatal(err)
	}
	if _, ok := room.DirectOf(w.hub.Group().Context()); ok {
		t.Error("a group of two is a direct room")
	}
	// A group ends towards whatever room it likes.
	_, higher := lowerAndHigher(t, w.hub.URI())
	if err := alice.commit(mls.CommitOptions{Proposals: []*mls.Proposal{room.Ends(higher)}}); err != nil {
		t.Error(err)
	}
	list := func(as policy.Role, who ...uri.User) []byte {
		var data wire.ParticipantListData
		for _, u := range who {
			data.Participants = append(data.Participants, wire.UserRolePair{User: wire.IdentifierURI(u.String()), Role: uint32(as)})
		}
		return must(data.Bytes())(t)
	}
	carol := w.device("carol@chicago.example", "phone")
	for what, edit := range map[string]func(mls.Dictionary){
		"":             func(d mls.Dictionary) {},
		"other roles":  func(d mls.Dictionary) { d[room.RolesComponent] = calmer(t).Append(nil) },
		"no roles":     func(d mls.Dictionary) { delete(d, room.RolesComponent) },
		"not fixed":    func(d mls.Dictionary) { d[room.BaseComponent] = (&policy.Base{MultiDevice: true}).Append(nil) },
		"another role": func(d mls.Dictionary) { d[wire.ComponentParticipantList] = list(policy.Banned, alice.user, bob.user) },
		"one user":     func(d mls.Dictionary) { d[wire.ComponentParticipantList] = list(policy.Peer, alice.user) },
		"three users": func(d mls.Dictionary) {
			d[wire.ComponentParticipantList] = list(policy.Peer, alice.user, bob.user, carol.user)
		},
		"no participants": func(d mls.Dictionary) { delete(d, wire.ComponentParticipantList) },
	} {
		ext := must(room.Direct(alice.create(func(*mls.GroupParams) {}).GroupInfo.Context.Extensions, alice.user, bob.user))(t)
		d := must(ext.Dictionary(room.BodyLimits().Limits))(t)
		edit(d)
		ext[2] = d.Extension()
		if _, ok := room.DirectOf(&mls.GroupContext{Extensions: ext}); ok != (what == "") {
			t.Errorf("%q: a direct room: %v", what, ok)
		}
	}
}

// calmer are roles like those of a direct room, but for a name.
func calmer(t *testing.T) *policy.Roles {
	defs := append([]policy.Definition{}, policy.Direct().All()...)
	defs[2].Name = "twin"
	return must(policy.NewRoles(defs))(t)
}

// TestDirectRooms: however many direct rooms a pair has made, and in whatever order its
// devices end them towards others that they know, the lowest stays, every other one leads to
// it, and at no time has a pair none.
func TestDirectRooms(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(2, 8).Draw(rt, "rooms")
		names := make([]uri.Room, n)
		for i := range names {
			names[i] = must(uri.ParseRoom(fmt.Sprintf("mimi://%s/r/room%d", []string{"atlanta.example", "biloxi.example"}[i%2], rapid.IntRange(0, 1<<30).Draw(rt, "name")*n+i)))(t)
		}
		next := map[int]int{}
		lead := func(i int) int {
			for steps := 0; ; steps++ {
				j, ended := next[i]
				if !ended {
					return i
				}
				if steps > n {
					rt.Fatalf("rooms end in a circle: %v", next)
				}
				i = j
			}
		}
		// Each device knows some of the rooms, and ends all of them but the lowest that it knows.
		for range rapid.IntRange(1, 20).Draw(rt, "steps") {
			known := rapid.SliceOfNDistinct(rapid.IntRange(0, n-1), 1, n, rapid.ID[int]).Draw(rt, "known")
			best := known[0]
			for _, i := range known {
				if room.Precedes(names[i], names[best]) {
					best = i
				}
			}
			for _, i := range known {
				if _, ended := next[i]; i != best && !ended && room.Precedes(names[best], names[i]) {
					next[i] = best
				}
			}
			if len(next) == n {
				rt.Fatal("all rooms have ended")
			}
		}
		// In the end everybody hears of all.
		lowest := 0
		for i := range names {
			if room.Precedes(names[i], names[lowest]) {
				lowest = i
			}
		}
		for i := range names {
			if _, ended := next[i]; !ended && i != lowest {
				next[i] = lowest
			}
		}
		for i := range names {
			if lead(i) != lowest {
				rt.Errorf("room %d leads to %d, not %d", i, lead(i), lowest)
			}
		}
	})
}
