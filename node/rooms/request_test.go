package rooms_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/mimid/mimid/node/rooms"
	"github.com/mimid/mimid/protocol/hub"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/replica"
	"github.com/mimid/mimid/protocol/room"
)

// TestRequest: while most replicas answer, an administrator's move to one of them is an
// ordinary election, for which her commit stands in for suspicion: in the same era, with
// everything that was said, and the former hub votes and follows. Nobody else can have it.
func TestRequest(t *testing.T) {
	w, users, id := impatient(t)
	alice, bob, carol, dave := users["alice"], users["bob"], users["carol"], users["dave"]
	all := []*device{alice, bob, carol, dave}
	for i, x := range []*device{bob, dave} {
		if err := alice.role(id, x, policy.Admin); err != nil {
			t.Fatal(err)
		}
		for _, d := range all {
			d.follow(id, 5+uint64(i))
		}
	}
	refused := func(what, text string, err error) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v, expected %q", what, err, text)
		}
	}
	refused("a member's wish", "notAllowed", carol.update(id, carol.moving(three[2], 1)))
	refused("a move to who is no replica", "they decide who orders it", dave.update(id, dave.moving(delta, 1)))

	// Somebody else's reason is none: chicago stands with Bob's commit, then with its own
	// member's, then with junk.
	body := func(raw []byte) []byte {
		h := room.HandshakeOf(&must(parseUpdate(raw))(t).Bundle)
		return must(h.Bytes())(t)
	}
	atlanta, biloxi := w.ps[three[0]], w.ps[three[1]]
	wish := bob.moving(three[1], 1)
	l := atlanta.log(id)
	last := room.HeadOf(l[len(l)-1])
	for _, commit := range [][]byte{body(wish), body(carol.moving(three[2], 1)), []byte("junk"), {}} {
		m := &replica.Message{Room: room.ID(id), Kind: replica.Stand, Term: room.Term{Number: 9}, Excuse: hub.Asked, Commit: commit,
			Head: hub.Head{Term: last.Term, Seq: last.Seq, Hash: last.Hash}}
		must(atlanta.serve(context.Background(), rooms.EndpointReplica,
			&rooms.Request{Source: three[2], Subject: three[0], Body: replica.Append(nil, []*replica.Message{m})}))(t)
	}
	s, err := atlanta.rooms.Standing(t.Context(), room.ID(id))
	if err != nil || s.Role != rooms.RoleHub || s.Seen != room.FirstTerm {
		t.Errorf("after false reasons: %+v, %v", s, err)
	}

	bob.say(id, "before")
	carol.read(id, "before")
	deadline := time.Now().Add(time.Minute)
	for biloxi.stand(id).Hub != three[1] && time.Now().Before(deadline) {
		if err := bob.update(id, wish); err == nil || !strings.Contains(err.Error(), "moving") && !strings.Contains(err.Error(), "wrongEpoch") {
			t.Errorf("until it is here: %v", err)
		}
		time.Sleep(20 * time.Millisecond)
	}
	if s := biloxi.stand(id); s.Hub != three[1] || !strings.HasPrefix(s.Term, "0.") {
		t.Fatalf("%+v", s)
	}
	eventually(t, "its client is told to look again", func() bool {
		err := bob.update(id, wish)
		return err != nil && strings.Contains(err.Error(), "wrongEpoch")
	})
	bob.say(id, "after")
	for _, d := range []*device{alice, carol, dave} {
		d.read(id, "before", "after")
	}
	w.alike(id, 9)
	if s, err := atlanta.rooms.Standing(t.Context(), room.ID(id)); err != nil || s.Role != rooms.RoleReplica {
		t.Errorf("the former hub: %+v, %v", s, err)
	}
}
