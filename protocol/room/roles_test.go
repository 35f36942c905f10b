package room_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/room"
)

const (
	reader policy.Role = 2
	writer policy.Role = 3
	chief  policy.Role = 5
)

// channel begins a room with the roles of a channel: alice is its admin, bob and carol read.
func channel(t *testing.T) (w *world, alice, bob, carol *device) {
	w = newWorld(t)
	alice, bob, carol = w.device("alice@atlanta.example", "phone"), w.device("bob@biloxi.example", "phone"), w.device("carol@chicago.example", "phone")
	c := alice.create(func(p *mls.GroupParams) {
		p.Extensions = must(room.WithRoles(p.Extensions, alice.user, policy.Channel()))(t)
	})
	e := room.FirstEntry(c, room.TxnID{1}, w.now)
	w.hub, w.follower = must(room.Begin(e, w.rules))(t), must(room.Begin(e, w.rules))(t)
	w.log = append(w.log, e)
	if err := alice.add(bob, carol); err != nil { // the helper's role for newcomers is 2: reader
		t.Fatal(err)
	}
	return w, alice, bob, carol
}

// define makes a commit that says what the roles mean, with more in it.
func (d *device) define(r *policy.Roles, more ...*mls.Proposal) error {
	return d.commit(mls.CommitOptions{Proposals: append(more, room.UpdateRoles(r))})
}

// TestOwnRoles: a room's own roles decide, at hub, follower and after a restart.
func TestOwnRoles(t *testing.T) {
	w, alice, bob, carol := channel(t)
	wantErr(t, "a reader writes", bob.send("hello"), room.ErrPolicy)
	if err := bob.send("hello"); err == nil || !strings.Contains(err.Error(), "the role reader lacks canSendMessage") {
		t.Error(err)
	}
	wantErr(t, "a reader adds", bob.add(w.device("dan@atlanta.example", "phone")), room.ErrPolicy)
	if err := errors.Join(alice.send("news"), alice.setRole(bob, writer), bob.send("more news")); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "a writer promotes", bob.setRole(carol, writer), room.ErrPolicy)
	wantErr(t, "a writer makes itself admin", bob.setRole(bob, chief), room.ErrPolicy)

	parts := map[string][]byte{}
	w.reload(parts)
	if got := w.hub.Roles().Name(w.hub.Role(bob.user)); got != "writer" {
		t.Errorf("after a restart bob is %s", got)
	}
	wantErr(t, "a reader writes after a restart", carol.send("hello"), room.ErrPolicy)
	if err := bob.send("and more"); err != nil {
		t.Error(err)
	}
	if p := w.hub.Participating(); len(p) != 3 {
		t.Errorf("%v take part", p)
	}
}

// TestRedefine: who says what the roles mean, and how far that goes.
func TestRedefine(t *testing.T) {
	w, alice, bob, carol := channel(t)
	quiet := policy.Channel()
	with := func(f func(d []policy.Definition) []policy.Definition) *policy.Roles {
		t.Helper()
		return must(policy.NewRoles(f(append([]policy.Definition{}, quiet.All()...))))(t)
	}
	all := func(d []policy.Definition) []policy.Definition { // readers may write
		d[2].Capabilities = append(append([]policy.Capability{}, d[2].Capabilities...), policy.SendMessage)
		return d
	}
	without := func(gone policy.Role) func(d []policy.Definition) []policy.Definition {
		return func(d []policy.Definition) (out []policy.Definition) {
			for _, x := range d {
				if x.Index != gone {
					x.Changes = nil
					out = append(out, x)
				}
			}
			return out
		}
	}
	promote := must(room.UpdateParticipants(alice.group.Public().Context(), []room.Participant{{User: bob.user, Role: writer}}, nil))(t)
	for name, x := range map[string]struct {
		by   *device
		to   *policy.Roles
		more []*mls.Proposal
		why  string
	}{
		"a reader":            {bob, with(all), nil, "the role reader lacks canChangeRoleDefinitions"},
		"with a list change":  {alice, with(all), []*mls.Proposal{promote}, "the same commit changes who takes part"},
		"a role that is used": {alice, with(without(reader)), nil, "would have role 2, which there is not"},
		"without clients": {alice, with(func(d []policy.Definition) []policy.Definition { d[2].MaxActive = policy.AtMost(0); return d }), nil,
			"with a device in the room, would be reader"},
		"nobody above": {alice, with(func(d []policy.Definition) []policy.Definition { d[5].Capabilities = nil; return d }), nil, "nobody could change a role any more"},
		"too many":     {alice, with(func(d []policy.Definition) []policy.Definition { d[2].Max = policy.AtMost(1); return d }), nil, "at most 1 are allowed"},
		"too few":      {alice, with(func(d []policy.Definition) []policy.Definition { d[3].Min = 1; return d }), nil, "at least 1 are demanded"},
	} {
		s, err := x.by.group.Commit(mls.CommitOptions{Proposals: append(x.more, room.UpdateRoles(x.to))}, w.now)
		if err != nil {
			t.Fatal(err)
		}
		before := w.hub.At()
		if _, err = w.update(bundle(s), x.by.user.Provider().Domain()); !errors.Is(err, room.ErrPolicy) || !strings.Contains(err.Error(), x.why) {
			t.Errorf("%s: %v", name, err)
		}
		if w.hub.At() != before {
			t.Fatal(name, ": refused, and yet the room moved")
		}
	}
	broken := &mls.Proposal{Type: mls.ProposalAppDataUpdate, AppData: &mls.AppDataUpdate{Component: room.RolesComponent, Op: mls.AppDataSet, Update: []byte{9}}}
	s := must(alice.group.Commit(mls.CommitOptions{Proposals: []*mls.Proposal{broken}}, w.now))(t)
	_, err := w.update(bundle(s), "atlanta.example")
	wantErr(t, "no roles at all", err, policy.ErrRoles)

	if err := errors.Join(alice.define(with(all)), carol.send("hello")); err != nil {
		t.Fatal(err)
	}
	if err := alice.define(quiet); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "as before", carol.send("hello"), room.ErrPolicy)
}

// TestRoleBounds: no commit leaves more or fewer of a role than there may be.
func TestRoleBounds(t *testing.T) {
	w, alice, bob, carol := channel(t)
	defs := append([]policy.Definition{}, policy.Channel().All()...)
	defs[3].Max = policy.AtMost(1)
	defs[5].MinActive = 1
	if err := errors.Join(alice.define(must(policy.NewRoles(defs))(t)), alice.setRole(bob, writer)); err != nil {
		t.Fatal(err)
	}
	err := alice.setRole(carol, writer)
	wantErr(t, "a second writer", err, room.ErrPolicy)
	if err == nil || !strings.Contains(err.Error(), "there would be 2 of the role writer, at most 1 are allowed") {
		t.Error(err)
	}
	err = alice.setRole(alice, reader)
	wantErr(t, "the last admin steps down", err, room.ErrPolicy)
	if err := errors.Join(alice.setRole(carol, chief), alice.setRole(alice, reader)); err != nil {
		t.Fatal(err)
	}
	if w.hub.Role(alice.user) != reader {
		t.Error("alice did not step down")
	}
	defs[3].MinActive = 1
	if err := carol.define(must(policy.NewRoles(defs))(t)); err != nil {
		t.Fatal(err)
	}
	err = carol.commit(mls.CommitOptions{Remove: []mls.LeafIndex{bob.group.OwnLeaf()}})
	wantErr(t, "the last writer is kicked", err, room.ErrPolicy)
	if err == nil || !strings.Contains(err.Error(), "there would be 0 of the role writer with a device, at least 1 are demanded") {
		t.Error(err)
	}
}

// TestFirstRoles: with which roles a room may begin.
func TestFirstRoles(t *testing.T) {
	w := newWorld(t)
	alice := w.device("alice@atlanta.example", "phone")
	begin := func(f func(p *mls.GroupParams)) error {
		_, err := room.Begin(room.FirstEntry(alice.create(f), room.TxnID{1}, w.now), w.rules)
		return err
	}
	headless := must(policy.NewRoles([]policy.Definition{{Index: 2, Name: "member"}}))(t)
	if _, err := room.WithRoles(must(room.Extensions(alice.user, w.hosting(), nil))(t), alice.user, headless); !errors.Is(err, policy.ErrRoles) {
		t.Errorf("roles with nobody above: %v", err)
	}
	dictionary := func(data []byte) func(p *mls.GroupParams) {
		return func(p *mls.GroupParams) {
			d := must(p.Extensions.Dictionary(room.BodyLimits().Limits))(t)
			d[room.RolesComponent] = data
			for i := range p.Extensions {
				if p.Extensions[i].Type == mls.ExtAppDataDictionary {
					p.Extensions[i] = d.Extension()
				}
			}
		}
	}
	wantErr(t, "the creator is no admin of these roles", begin(dictionary(policy.Channel().Append(nil))), room.ErrPolicy)
	wantErr(t, "nobody is above", begin(dictionary(headless.Append(nil))), room.ErrPolicy)
	wantErr(t, "no roles at all", begin(dictionary([]byte{3, 1})), policy.ErrRoles)
	wantErr(t, "the basic ones, spelt out", begin(dictionary(policy.Basic().Append(nil))), nil)
}
