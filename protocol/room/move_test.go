package room_test

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/presentation"
	"github.com/mimid/mimid/protocol/room"
)

// move is an admin's move in the making; what a test does not set is as it should be.
type move struct {
	by     *device
	staged *mls.StagedCommit
	body   room.HubChange
	ack    room.Ack
	term   room.Term
}

// move stages a device's commit that moves the room to a provider.
func (w *world) move(by *device, hub string, edit func(h *room.Hosting, o *mls.CommitOptions)) *move {
	w.t.Helper()
	h := w.refreshed(hub)
	h.Hub, h.Term = w.replica(hub), room.Term{Era: w.hub.At().Term.Era + 1, Number: 1}
	var o mls.CommitOptions
	if edit != nil {
		edit(h, &o)
	}
	o.Proposals = append(o.Proposals, hostingUpdate(h))
	s := must(by.group.Commit(o, w.now))(w.t)
	m := &move{by: by, staged: s, term: h.Term}
	m.body = room.HubChange{Via: room.ByMove, Hub: h.Hub, Commit: must(room.HandshakeOf(bundle(s)).Bytes())(w.t)}
	m.ack = room.Ack{Room: w.hub.ID(), Term: h.Term, Hub: hub, Commit: room.CommitHash(m.body.Commit), Head: w.end()}
	return m
}

// acks has these providers acknowledge the move as it stands.
func (w *world) acks(m *move, providers ...string) {
	m.body.Acks = nil
	for _, p := range providers {
		m.body.Acks = append(m.body.Acks, room.SignAck(m.ack, false, p, w.providers[p]))
	}
}

func (w *world) moveEntry(m *move) *room.Entry {
	e := w.hub.NewEntry(room.KindHubChange, room.TxnID{7}, m.body.Bytes(), w.now)
	e.Term = m.term
	return e
}

// done has all members follow a move that is in the log.
func (w *world) done(m *move) {
	w.t.Helper()
	if err := m.by.group.Merge(m.staged); err != nil {
		w.t.Fatal(err)
	}
	for _, o := range w.clients {
		if o != m.by && o.group != nil && !o.group.Removed() {
			o.follow(m.staged.Message)
		}
	}
}

func (d *device) setRole(other *device, role policy.Role) error {
	p := must(room.UpdateParticipants(d.w.hub.Group().Context(), []room.Participant{{User: other.user, Role: role}}, nil))(d.w.t)
	return d.commit(mls.CommitOptions{Proposals: []*mls.Proposal{p}})
}

func (d *device) promote(other *device) error { return d.setRole(other, policy.Admin) }

// TestMove: the hub of a set of one is gone. An admin of another provider moves the
// room there, and it goes on, with the same members, across a reload.
func TestMove(t *testing.T) {
	w, alice, bob, carol := three(t)
	if err := alice.promote(bob); err != nil {
		t.Fatal(err)
	}
	parts := map[string][]byte{}
	w.reload(parts)
	epoch := w.hub.Epoch()
	m := w.move(bob, biloxi, nil)
	w.acks(m, biloxi, chicago)
	st, err := w.put(w.moveEntry(m))
	if err != nil {
		t.Fatal(err)
	}
	if st.Commit() == nil {
		t.Error("the step shows no commit")
	}
	w.done(m)
	w.reload(parts)
	for who, s := range map[string]*room.State{"hub": w.hub, "follower": w.follower} {
		now, next := s.Set()
		if s.Hub().Domain != biloxi || s.At().Term != (room.Term{Era: 1, Number: 1}) || len(now) != 1 || now[0].Domain != biloxi || len(next) > 0 {
			t.Errorf("%s: hub %s in %s, sets %v and %v", who, s.Hub().Domain, s.At().Term, now, next)
		}
		if h := s.Hosting(); s.Epoch() != epoch+1 || h.Hub.Domain != biloxi || h.Term != s.At().Term || s.GroupInfo().Context.Epoch != epoch+1 {
			t.Errorf("%s: epoch %d (was %d), room_hosting says %s in %s", who, s.Epoch(), epoch, h.Hub.Domain, h.Term)
		}
	}
	if err := alice.send("still a member"); err != nil {
		t.Error(err)
	}
	if err := carol.commit(mls.CommitOptions{}); err != nil {
		t.Error(err)
	}
	// And on, from a set of three, with the set as it is then.
	if err := bob.host(w.refreshed(atlanta, biloxi, chicago)); err != nil {
		t.Fatal(err)
	}
	m = w.move(alice, atlanta, func(h *room.Hosting, _ *mls.CommitOptions) {
		h.Replicas, h.Failover = w.replicas(atlanta, chicago, biloxi), room.FailoverAuto
	})
	w.acks(m, atlanta, chicago)
	if _, err := w.put(w.moveEntry(m)); err != nil {
		t.Fatal(err)
	}
	w.done(m)
	if now, next := w.hub.Set(); len(now) != 3 || len(next) > 0 || w.hub.At().Term != (room.Term{Era: 2, Number: 1}) {
		t.Errorf("sets %v and %v in %s: a change that was in progress goes with the move", now, next, w.hub.At().Term)
	}
}

// TestMoveRefused: what is no move.
func TestMoveRefused(t *testing.T) {
	w, alice, bob, carol := three(t)
	if err := alice.promote(bob); err != nil {
		t.Fatal(err)
	}
	old := w.end()
	if err := alice.send("newer"); err != nil {
		t.Fatal(err)
	}
	before := w.hub.At()
	stranger := key(66).Public().(ed25519.PublicKey)
	w.providers["dallas.example"] = key(77)
	cases := []struct {
		why  string
		by   *device
		hub  string
		edit func(h *room.Hosting, o *mls.CommitOptions)
		acks []string
		late func(m *move)
		want error
	}{
		{why: "too few", acks: []string{biloxi}, want: room.ErrQuorum},
		{why: "the replaced hub counts", acks: []string{atlanta, biloxi}, want: room.ErrVote},
		{why: "a stranger counts", acks: []string{biloxi, "dallas.example"}, want: room.ErrVote},
		{why: "a member moves, and an administrator's provider acknowledges", by: carol, hub: chicago, want: room.ErrVote},
		{why: "the same era", edit: func(h *room.Hosting, _ *mls.CommitOptions) { h.Term = room.Term{Number: 2} }, want: room.ErrVote},
		{why: "not the era's first", edit: func(h *room.Hosting, _ *mls.CommitOptions) { h.Term.Number = 2 }, want: room.ErrVote},
		{why: "to the same hub", by: alice, hub: atlanta, want: room.ErrVote},
		{why: "to a provider without a participant", hub: "dallas.example", want: room.ErrPolicy},
		{why: "a hub that is no replica", edit: func(h *room.Hosting, _ *mls.CommitOptions) { h.Replicas = w.replicas(chicago) }, want: room.ErrPolicy},
		{why: "another term than the commit's", late: func(m *move) { m.term.Era = 5 }, want: room.ErrPolicy},
		{why: "another hub than the commit's", late: func(m *move) { m.body.Hub = w.replica(chicago) }, want: room.ErrPolicy},
		{why: "another key than the provider's", edit: func(h *room.Hosting, _ *mls.CommitOptions) {
			copy(h.Hub.ProviderKey[:], stranger)
			h.Replicas = []room.Replica{h.Hub}
		}, late: func(m *move) { copy(m.body.Hub.ProviderKey[:], stranger) }, want: room.ErrHosting},
		{why: "acknowledged for another commit", late: func(m *move) { m.ack.Commit[3] ^= 1; w.acks(m, biloxi, chicago) }, want: room.ErrVote},
		{why: "for another term", late: func(m *move) { m.ack.Term.Era++; w.acks(m, biloxi, chicago) }, want: room.ErrVote},
		{why: "for another hub", late: func(m *move) { m.ack.Hub = chicago; w.acks(m, biloxi, chicago) }, want: room.ErrVote},
		{why: "for another room", late: func(m *move) { m.ack.Room[0] ^= 1; w.acks(m, biloxi, chicago) }, want: room.ErrVote},
		{why: "with another room's log", late: func(m *move) { m.ack.Head.Room[0] ^= 1; w.acks(m, biloxi, chicago) }, want: room.ErrVote},
		{why: "with a newer log", late: func(m *move) { m.ack.Head.Seq++; w.acks(m, biloxi, chicago) }, want: room.ErrVote},
		{why: "with a log of a newer term", late: func(m *move) { m.ack.Head.Term.Number++; w.acks(m, biloxi, chicago) }, want: room.ErrVote},
		{why: "under another's key", late: func(m *move) { m.body.Acks[0] = room.SignAck(m.ack, false, biloxi, w.providers[chicago]) }, want: room.ErrSignature},
		{why: "one twice", acks: []string{biloxi, biloxi}, want: room.ErrVote},
		{why: "in another order", acks: []string{chicago, biloxi}, want: room.ErrVote},
		{why: "no commit in it", late: func(m *move) { m.body.Commit = nil }, want: room.ErrVote},
		{why: "adds somebody", edit: func(_ *room.Hosting, o *mls.CommitOptions) {
			x := w.device("dave@biloxi.example", "phone")
			o.Proposals = append(o.Proposals, must(room.UpdateParticipants(w.hub.Group().Context(), []room.Participant{{User: x.user, Role: 2}}, nil))(t))
			o.Add = append(o.Add, must(x.keyPackage().KeyPackage().Verify(w.config(), w.now))(t))
		}, want: room.ErrPolicy},
	}
	for _, c := range cases {
		t.Run(c.why, func(t *testing.T) {
			by, hub, acks := c.by, c.hub, c.acks
			if by == nil {
				by = bob
			}
			if hub == "" {
				hub = biloxi
			}
			if acks == nil {
				acks = []string{biloxi, chicago}
			}
			m := w.move(by, hub, c.edit)
			w.acks(m, acks...)
			if c.late != nil {
				c.late(m)
			}
			_, err := w.hub.Check(w.moveEntry(m))
			if !errors.Is(err, c.want) {
				t.Errorf("%v, expected %v", err, c.want)
			}
			if w.hub.At() != before {
				t.Error("refused, and yet the room moved")
			}
		})
	}
	// Whoever acknowledges with an older log is behind; that is no reason to refuse.
	m := w.move(bob, biloxi, nil)
	w.acks(m, biloxi, chicago)
	m.ack.Head = old
	m.body.Acks[1] = room.SignAck(m.ack, false, chicago, w.providers[chicago])
	if _, err := w.put(w.moveEntry(m)); err != nil {
		t.Errorf("one is behind: %v", err)
	}
}

// TestMoveAfterRemoval: who was removed from power cannot undo it by moving the room
// from before that, because no provider that knows of it acknowledges an older log.
func TestMoveAfterRemoval(t *testing.T) {
	w, alice, bob, carol := three(t)
	if err := alice.promote(bob); err != nil {
		t.Fatal(err)
	}
	m := w.move(bob, biloxi, nil)
	if err := alice.setRole(bob, policy.Member); err != nil {
		t.Fatal(err)
	}
	if err := carol.send("bye"); err != nil {
		t.Fatal(err)
	}
	w.acks(m, biloxi, chicago)
	_, err := w.hub.Check(w.moveEntry(m))
	if err == nil {
		t.Fatal("a removed admin has moved the room")
	}
	// From the fork before the removal the acknowledgements do not help: chicago's log
	// is newer.
	m.ack.Head = w.end()
	w.acks(m, biloxi, chicago)
	e := w.moveEntry(m)
	c := must(room.ParseHubChange(e.Body))(t)
	lead := w.hub.Lead()
	at := w.hub.At()
	at.Next -= 2
	if err := lead.Acknowledged(e, at, c, []string{atlanta, biloxi, chicago}, nil, w.rules.Anchors); !errors.Is(err, room.ErrVote) {
		t.Errorf("from before the removal: %v", err)
	}
}

func TestMoveStrict(t *testing.T) {
	w, alice, bob, _ := three(t)
	if err := alice.promote(bob); err != nil {
		t.Fatal(err)
	}
	m := w.move(bob, biloxi, nil)
	w.acks(m, biloxi, chicago)
	b := m.body.Bytes()
	c := must(room.ParseHubChange(b))(t)
	if !bytes.Equal(c.Bytes(), b) || len(c.Acks) != 2 || c.Acks[1].Provider != chicago {
		t.Errorf("it does not survive: %v", c)
	}
	for i := range b {
		if _, err := room.ParseHubChange(b[:i]); err == nil {
			t.Fatalf("%d of %d bytes decode", i, len(b))
		}
	}
	if _, err := room.ParseHubChange(append(slices.Clone(b), 0)); !errors.Is(err, presentation.ErrTrailing) {
		t.Errorf("a byte more: %v", err)
	}
	a := m.body.Acks[0]
	if err := a.Verify(w.providers[biloxi].Public().(ed25519.PublicKey), false); err != nil {
		t.Error(err)
	}
	for what, edit := range map[string]func(a *room.SignedAck){"room": func(a *room.SignedAck) { a.Room[0] ^= 1 }, "era": func(a *room.SignedAck) { a.Term.Era++ },
		"number": func(a *room.SignedAck) { a.Term.Number++ }, "hub": func(a *room.SignedAck) { a.Hub += "x" }, "commit": func(a *room.SignedAck) { a.Commit[31] ^= 1 },
		"head": func(a *room.SignedAck) { a.Head.Hash[0] ^= 1 }, "provider": func(a *room.SignedAck) { a.Provider += "x" }} {
		x := a
		edit(&x)
		if err := x.Verify(w.providers[biloxi].Public().(ed25519.PublicKey), false); !errors.Is(err, room.ErrSignature) {
			t.Errorf("%s is not under the signature: %v", what, err)
		}
	}
	if fmt.Sprint(room.ByMove) != "by move" {
		t.Error(room.ByMove)
	}
}

// TestMoveByMember: with the same set and another hub a commit copies nothing that the
// log says, so it takes an administrator, or witnesses of the absence of all.
func TestMoveByMember(t *testing.T) {
	w, alice, _, carol := settledThree(t)
	same := func(h *room.Hosting, _ *mls.CommitOptions) {
		h.Replicas, h.Failover = w.replicas(atlanta, biloxi, chicago), w.hub.Hosting().Failover
	}
	m := w.move(carol, chicago, same)
	w.acks(m, biloxi, chicago)
	if _, err := w.hub.Check(w.moveEntry(m)); !errors.Is(err, room.ErrSignature) {
		t.Errorf("a member moves the room: %v", err)
	}
	m = w.move(alice, chicago, same)
	w.acks(m, biloxi, chicago)
	if _, err := w.hub.Check(w.moveEntry(m)); err != nil {
		t.Errorf("an administrator does: %v", err)
	}
}
