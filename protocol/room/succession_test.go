package room_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/presentation"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
)

// succeed commits an update of the succession, with other proposals.
func (d *device) succeed(s *room.Succession, more ...*mls.Proposal) error {
	p, err := room.UpdateSuccession(s)
	if err != nil {
		return err
	}
	return d.commit(mls.CommitOptions{Proposals: append(more, p)})
}

func (w *world) succession() *room.Succession {
	w.t.Helper()
	return must(room.SuccessionOf(w.hub.Group().Context()))(w.t)
}

// claims has a device claim the room, of which these are said to be gone.
func (d *device) claims(gone ...string) error {
	s := d.w.succession()
	slices.Sort(gone)
	s.Claim = &room.Claim{Claimant: d.user.String(), At: uint64(d.w.now.UnixMilli()), Gone: gone, Endorsers: []string{d.user.String()}}
	return d.succeed(s)
}

func (d *device) endorses() error {
	s := d.w.succession()
	s.Claim.Endorsers = append(s.Claim.Endorsers, d.user.String())
	slices.Sort(s.Claim.Endorsers)
	return d.succeed(s)
}

func (d *device) ends() error {
	s := d.w.succession()
	s.Claim = nil
	return d.succeed(s)
}

func (d *device) takes() error {
	s := d.w.succession()
	s.Claim = nil
	p := must(room.UpdateParticipants(d.w.hub.Group().Context(), []room.Participant{{User: d.user, Role: policy.Admin}}, nil))(d.w.t)
	return d.succeed(s, p)
}

const patience = room.DefaultPatience

// TestSuccession: the founder's provider is gone. A moderator claims the room, another
// one endorses it, and after the room's patience it is its.
func TestSuccession(t *testing.T) {
	w, alice, bob, carol := three(t)
	dave := w.device("dave@chicago.example", "phone")
	if err := errors.Join(alice.add(dave), alice.setRole(bob, policy.Moderator), alice.setRole(carol, policy.Moderator)); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "nobody is gone", bob.claims(), room.ErrSuccession)
	wantErr(t, "somebody else is gone", bob.claims(chicago), room.ErrSuccession)
	wantErr(t, "not of the next role", dave.claims(atlanta), room.ErrSuccession)
	wantErr(t, "an administrator", alice.claims(atlanta), room.ErrSuccession)
	wantErr(t, "the own provider is gone, too", bob.claims(atlanta, biloxi), room.ErrSuccession)
	wantErr(t, "who is gone holds no power", bob.claims(atlanta, carol.user.String()), room.ErrSuccession)
	wantErr(t, "without a claim", bob.takes(), room.ErrSuccession)
	if err := bob.claims(atlanta); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "another claim", carol.claims(atlanta), room.ErrSuccession)
	wantErr(t, "a member endorses", dave.endorses(), room.ErrSuccession)
	wantErr(t, "a member ends", dave.ends(), room.ErrSuccession)
	wantErr(t, "a successor ends what is not against it", carol.ends(), room.ErrSuccession)
	if err := bob.takes(); err == nil || !strings.Contains(err.Error(), "1 more successors have to") {
		t.Errorf("without the other: %v", err)
	}
	wantErr(t, "twice", bob.endorses(), room.ErrSuccession)
	if err := carol.endorses(); err != nil {
		t.Fatal(err)
	}
	w.now = w.now.Add(patience - time.Millisecond) // an entry's time never goes back
	wantErr(t, "too early", bob.takes(), room.ErrSuccession)
	w.now = w.now.Add(time.Millisecond)
	wantErr(t, "who endorsed takes", carol.takes(), room.ErrSuccession)
	wantErr(t, "and the claim goes on", func() error {
		p := must(room.UpdateParticipants(w.hub.Group().Context(), []room.Participant{{User: bob.user, Role: policy.Admin}}, nil))(t)
		return bob.commit(mls.CommitOptions{Proposals: []*mls.Proposal{p}})
	}(), room.ErrSuccession)
	w.reload(map[string][]byte{})
	if err := bob.takes(); err != nil {
		t.Fatal(err)
	}
	if r := w.follower.Role(bob.user); r != policy.Admin {
		t.Errorf("bob is %d", r)
	}
	if w.follower.Role(alice.user) != policy.Admin {
		t.Error("alice has lost what nobody has taken from her")
	}
	if err := errors.Join(bob.setRole(carol, policy.Admin), alice.setRole(dave, policy.Moderator)); err != nil {
		t.Error(err)
	}
}

// TestSignOfLife: whom a claim is against ends it with whatever it commits, and has to.
func TestSignOfLife(t *testing.T) {
	w, alice, bob, carol := three(t)
	anna := w.device("anna@atlanta.example", "phone")
	if err := alice.add(anna); err != nil {
		t.Fatal(err)
	}
	for who, d := range map[string]*device{"the administrator": alice, "a member of the provider that is said to be gone": anna} {
		if err := bob.claims(atlanta); err != nil {
			t.Fatal(err)
		}
		wantErr(t, who+" looks away", d.commit(mls.CommitOptions{}), room.ErrSuccession)
		wantErr(t, who+" changes the claim", d.endorses(), room.ErrSuccession)
		if err := d.ends(); err != nil {
			t.Errorf("%s: %v", who, err)
		}
		w.now = w.now.Add(patience)
		wantErr(t, "taken after a sign of life of "+who, bob.takes(), room.ErrSuccession)
	}
	if err := errors.Join(bob.claims(atlanta), carol.endorses()); err != nil {
		t.Fatal(err)
	}
	if err := bob.ends(); err != nil {
		t.Errorf("the claimant gives up: %v", err)
	}
	// Alone an administrator says who is gone: nobody of its provider is in the way.
	if err := bob.claims(alice.user.String()); err != nil {
		t.Fatal(err)
	}
	if err := anna.commit(mls.CommitOptions{}); err != nil {
		t.Errorf("somebody against whom it is not: %v", err)
	}
	w.now = w.now.Add(patience)
	wantErr(t, "one of three", bob.takes(), room.ErrSuccession)
	if err := anna.endorses(); err != nil {
		t.Fatal(err)
	}
	if err := bob.takes(); err != nil {
		t.Error(err)
	}
}

// TestNoAdministrator: when the last one has stepped down there is nobody to wait for.
func TestNoAdministrator(t *testing.T) {
	w, alice, bob, carol := three(t)
	defs := append([]policy.Definition{}, policy.Basic().All()...)
	defs[4].Min = 0 // else the last one could not step down
	if err := errors.Join(alice.define(must(policy.NewRoles(defs))(t)), alice.setRole(alice, policy.Member)); err != nil {
		t.Fatal(err)
	}
	if err := bob.claims(); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "one of three", bob.takes(), room.ErrSuccession)
	if err := errors.Join(carol.endorses(), bob.takes()); err != nil {
		t.Error(err)
	}
	if w.follower.Role(bob.user) != policy.Admin {
		t.Error("bob is no administrator")
	}
}

// TestPatience: who holds power says for how long it may be silent, or that nobody
// succeeds.
func TestPatience(t *testing.T) {
	w, alice, bob, carol := three(t)
	wantErr(t, "by a member", bob.succeed(&room.Succession{Patience: time.Hour}), room.ErrSuccession)
	for _, p := range []time.Duration{time.Millisecond, room.MaxPatience + time.Millisecond, time.Hour + time.Microsecond, -time.Hour} {
		wantErr(t, p.String(), alice.succeed(&room.Succession{Patience: p}), room.ErrSuccession)
	}
	if err := alice.succeed(&room.Succession{Patience: time.Minute}); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(bob.claims(atlanta), carol.endorses()); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "a claim in the same breath", alice.succeed(&room.Succession{Patience: time.Hour, Claim: w.succession().Claim}), room.ErrSuccession)
	if err := alice.succeed(&room.Succession{}); err != nil { // and ends the claim
		t.Fatal(err)
	}
	wantErr(t, "where nobody succeeds", bob.claims(atlanta), room.ErrSuccession)
	if err := errors.Join(alice.succeed(&room.Succession{Patience: time.Minute}), bob.claims(atlanta), carol.endorses()); err != nil {
		t.Fatal(err)
	}
	w.now = w.now.Add(time.Minute)
	if err := bob.takes(); err != nil {
		t.Error(err)
	}
}

// TestClaimsTime: a claim is as of when the hub takes it.
func TestClaimsTime(t *testing.T) {
	w, _, bob, _ := three(t)
	for _, off := range []time.Duration{-5*time.Minute - time.Millisecond, 5*time.Minute + time.Millisecond, -patience, patience} {
		s := w.succession()
		s.Claim = &room.Claim{Claimant: bob.user.String(), At: uint64(w.now.Add(off).UnixMilli()), Gone: []string{atlanta}, Endorsers: []string{bob.user.String()}}
		wantErr(t, off.String(), bob.succeed(s), room.ErrSuccession)
	}
	s := w.succession()
	s.Claim = &room.Claim{Claimant: bob.user.String(), At: uint64(w.now.Add(-5 * time.Minute).UnixMilli()), Gone: []string{atlanta}, Endorsers: []string{bob.user.String()}}
	if err := bob.succeed(s); err != nil {
		t.Error(err)
	}
}

// TestStaleClaim: a claim that comes to nothing does not stand in the way for ever.
func TestStaleClaim(t *testing.T) {
	w, alice, bob, carol := three(t)
	if err := bob.claims(atlanta); err != nil {
		t.Fatal(err)
	}
	w.now = w.now.Add(2 * patience)
	wantErr(t, "in its time", carol.claims(atlanta), room.ErrSuccession)
	w.now = w.now.Add(time.Millisecond)
	if err := errors.Join(carol.claims(atlanta), bob.endorses()); err != nil {
		t.Fatal(err)
	}
	// Anybody may clear it away now, and nobody may take what is endorsed for another.
	w.now = w.now.Add(2*patience + time.Millisecond)
	wantErr(t, "taken by another successor", bob.takes(), room.ErrSuccession)
	if err := errors.Join(carol.ends(), bob.claims(atlanta)); err != nil {
		t.Fatal(err)
	}
	// The claimant's client is removed from the group: then anybody may go on.
	if err := alice.commit(mls.CommitOptions{Remove: w.hub.Roster().Leaves(bob.user), Proposals: []*mls.Proposal{
		must(room.UpdateParticipants(w.hub.Group().Context(), nil, []uri.User{bob.user}))(t),
		must(room.UpdateSuccession(&room.Succession{Patience: patience}))(t)}}); err != nil {
		t.Fatal(err)
	}
	if err := carol.claims(atlanta); err != nil {
		t.Error(err)
	}
}

// TestSuccessionByProposal: nobody's name gets into a claim by what another commits.
func TestSuccessionByProposal(t *testing.T) {
	w, _, bob, carol := three(t)
	s := w.succession()
	s.Claim = &room.Claim{Claimant: bob.user.String(), At: uint64(w.now.UnixMilli()), Gone: []string{atlanta}, Endorsers: []string{bob.user.String()}}
	wantErr(t, "proposed", bob.propose(must(room.UpdateSuccession(s))(t)), room.ErrSuccession)
	wantErr(t, "for another", carol.succeed(s), room.ErrSuccession)
	s.Claim.Endorsers = []string{bob.user.String(), carol.user.String()}
	wantErr(t, "with another", bob.succeed(s), room.ErrSuccession)
	wantErr(t, "without itself", bob.succeed(&room.Succession{Patience: patience, Claim: &room.Claim{Claimant: bob.user.String(),
		At: s.Claim.At, Gone: []string{atlanta}, Endorsers: []string{carol.user.String()}}}), room.ErrSuccession)
	if err := bob.claims(atlanta); err != nil {
		t.Fatal(err)
	}
	s = w.succession()
	s.Claim.Endorsers = append(s.Claim.Endorsers, carol.user.String())
	wantErr(t, "the claimant endorses for another", bob.succeed(s), room.ErrSuccession)
	s = w.succession()
	s.Claim.Gone, s.Claim.Endorsers = []string{atlanta, chicago}, []string{bob.user.String(), carol.user.String()}
	wantErr(t, "more are gone now", carol.succeed(s), room.ErrSuccession)
}

// TestSuccessors: the highest role, seven at most, those who have stood longest, and
// nobody without a client.
func TestSuccessors(t *testing.T) {
	w, alice, bob, carol := three(t)
	var more []*device
	for _, n := range []string{"d", "e", "f", "g", "h", "i", "j"} {
		more = append(more, w.device(n+"@biloxi.example", "phone"))
	}
	if err := alice.add(more...); err != nil {
		t.Fatal(err)
	}
	names := func(gone ...string) string {
		list := must(room.ParticipantsOf(w.hub.Group().Context()))(t)
		var out []string
		for _, u := range room.Successors(w.hub.Roles(), list, w.hub.Roster().Clients, gone) {
			out = append(out, u[strings.LastIndex(u, "/")+1:])
		}
		return strings.Join(out, " ")
	}
	if got := names(atlanta); got != "bob carol d e f g h" {
		t.Error(got)
	}
	if got := names(atlanta, biloxi); got != "carol" {
		t.Error(got)
	}
	if got := names(atlanta, bob.user.String()); got != "carol d e f g h i" {
		t.Error(got)
	}
	// Who has no client is not there; who comes again comes last.
	if err := alice.commit(mls.CommitOptions{Remove: w.hub.Roster().Leaves(carol.user)}); err != nil {
		t.Fatal(err)
	}
	if got := names(atlanta); got != "bob d e f g h i" {
		t.Error(got)
	}
	if err := alice.setRole(more[6], policy.Moderator); err != nil {
		t.Fatal(err)
	}
	if got := names(atlanta); got != "j" {
		t.Error(got)
	}
}

// TestMoveInAbsence: all who hold power are gone with the hub. A successor moves the room
// with witnesses of their absence, and is no administrator by that.
func TestMoveInAbsence(t *testing.T) {
	w, alice, bob, carol := three(t)
	absent := func(m *move, providers ...string) {
		m.body.Acks = nil
		for _, p := range providers {
			m.body.Acks = append(m.body.Acks, room.SignAck(m.ack, true, p, w.providers[p]))
		}
	}
	check := func(m *move) error { _, err := w.hub.Check(w.moveEntry(m)); return err }
	m := w.move(bob, biloxi, nil)
	absent(m, biloxi)
	wantErr(t, "one of two", check(m), room.ErrQuorum)
	w.acks(m, biloxi, chicago)
	wantErr(t, "nobody says who is absent", check(m), room.ErrSignature)
	absent(m, atlanta, biloxi)
	wantErr(t, "who has to be away is there", check(m), room.ErrVote)
	absent(m, biloxi, chicago)
	if err := check(m); err != nil {
		t.Errorf("in order: %v", err)
	}
	by := w.move(alice, biloxi, nil)
	absent(by, biloxi, chicago)
	wantErr(t, "an administrator needs no absence, and nobody may say so", check(by), room.ErrSignature)

	if err := alice.setRole(carol, policy.Moderator); err != nil {
		t.Fatal(err)
	}
	m = w.move(bob, biloxi, nil)
	absent(m, biloxi, chicago)
	wantErr(t, "not of the next role", check(m), room.ErrPolicy)
	m = w.move(carol, biloxi, nil)
	absent(m, biloxi, chicago)
	if err := check(m); err != nil {
		t.Errorf("the moderator: %v", err)
	}
	if err := alice.promote(carol); err != nil {
		t.Fatal(err)
	}
	m = w.move(bob, biloxi, nil)
	absent(m, biloxi, chicago)
	wantErr(t, "an administrator's provider witnesses", check(m), room.ErrVote)
	if err := alice.setRole(carol, policy.Member); err != nil {
		t.Fatal(err)
	}
	if err := alice.succeed(&room.Succession{}); err != nil {
		t.Fatal(err)
	}
	m = w.move(bob, biloxi, nil)
	absent(m, biloxi, chicago)
	wantErr(t, "nobody succeeds", check(m), room.ErrPolicy)
	if err := alice.succeed(&room.Succession{Patience: time.Hour}); err != nil {
		t.Fatal(err)
	}
	m = w.move(bob, biloxi, nil)
	absent(m, biloxi, chicago)
	if _, err := w.put(w.moveEntry(m)); err != nil {
		t.Fatal(err)
	}
	w.done(m)
	if w.hub.Role(bob.user) != policy.Member || w.hub.Hub().Domain != biloxi {
		t.Errorf("bob is %d, hub %s", w.hub.Role(bob.user), w.hub.Hub().Domain)
	}
	if err := errors.Join(bob.claims(atlanta), carol.endorses()); err != nil {
		t.Fatal(err)
	}
	w.now = w.now.Add(time.Hour)
	if err := bob.takes(); err != nil {
		t.Error(err)
	}
}

func drawSuccession(t *rapid.T) *room.Succession {
	s := &room.Succession{Patience: time.Duration(rapid.Int64Range(1000, int64(room.MaxPatience/time.Millisecond)).Draw(t, "patience")) * time.Millisecond}
	user := rapid.Map(rapid.StringMatching(`[a-z]{1,9}`), func(n string) string { return "mimi://atlanta.example/u/" + n })
	if rapid.Bool().Draw(t, "claim") {
		c := &room.Claim{At: uint64(rapid.Int64Min(0).Draw(t, "at")), Gone: rapid.SliceOfNDistinct(rapid.OneOf(user, rapid.StringMatching(`[a-z]{1,9}\.example`)), 0, 5, rapid.ID).Draw(t, "gone"),
			Endorsers: rapid.SliceOfNDistinct(user, 1, 7, rapid.ID).Draw(t, "endorsers")}
		slices.Sort(c.Gone)
		slices.Sort(c.Endorsers)
		c.Claimant = rapid.SampledFrom(c.Endorsers).Draw(t, "claimant")
		s.Claim = c
	}
	return s
}

func TestSuccessionRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawSuccession(t)
		b := s.Append(nil)
		got, err := room.ParseSuccession(b)
		if err != nil || !bytes.Equal(got.Append(nil), b) || got.Patience != s.Patience || (got.Claim == nil) != (s.Claim == nil) {
			t.Fatalf("%v: %v, %v", s, got, err)
		}
		if _, err := room.ParseSuccession(append(b, 0)); !errors.Is(err, presentation.ErrTrailing) {
			t.Fatal(err)
		}
		if _, err := room.ParseSuccession(b[:rapid.IntRange(0, len(b)-1).Draw(t, "cut")]); err == nil {
			t.Fatal("a piece of it decodes")
		}
	})
}

func FuzzSuccession(f *testing.F) {
	f.Add((&room.Succession{Patience: room.DefaultPatience}).Append(nil))
	f.Add((&room.Succession{Patience: time.Hour, Claim: &room.Claim{Claimant: "mimi://a.example/u/b", At: 1, Gone: []string{"c.example"},
		Endorsers: []string{"mimi://a.example/u/b"}}}).Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := room.ParseSuccession(b)
		if err != nil {
			return
		}
		if !bytes.Equal(s.Append(nil), b) {
			t.Fatalf("%x is not canonical", b)
		}
	})
}
