package room_test

import (
	"errors"
	"testing"
	"time"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/room"
)

// Who comes with a link that lets nobody in hears why: from the hub that has seen it end, from
// one that was restarted since, and from a follower, who may be the next hub.
func TestEndedLinks(t *testing.T) {
	w := newWorld(t)
	alice, bob, carol := w.device("alice@atlanta.example", "phone"), w.device("bob@biloxi.example", "phone"), w.device("carol@chicago.example", "phone")
	w.begin(alice)
	with := func(edit func(*room.JoinLink)) *room.HeldLink { return must(alice.link(edit))(t) }
	soon := uint64(w.now.Add(time.Hour).UnixMilli())
	once := with(func(l *room.JoinLink) { l.Uses = policy.AtMost(1) })
	revoked, good := with(nil), with(nil)
	expired := with(func(l *room.JoinLink) { l.Expires = soon })
	cleared := with(func(l *room.JoinLink) { l.Expires = soon })
	unknown, _ := room.NewLink(w.hub.URI())
	if err := errors.Join(bob.joinBy(policy.Member, bob.use(once)), alice.commit(mls.CommitOptions{Proposals: []*mls.Proposal{room.ChangeLinks(nil, revoked.Key())}})); err != nil {
		t.Fatal(err)
	}
	w.now = w.now.Add(time.Hour)
	if err := alice.commit(mls.CommitOptions{Proposals: []*mls.Proposal{room.ChangeLinks(nil, cleared.Key())}}); err != nil {
		t.Fatal(err)
	}
	look := func(who string, s *room.State) {
		t.Helper()
		now := uint64(w.now.UnixMilli())
		for h, want := range map[*room.HeldLink]room.LinkFault{once: room.LinkUsedUp, revoked: room.LinkRevoked, expired: room.LinkExpired, cleared: room.LinkExpired, unknown: room.LinkUnknown, good: 0} {
			code := h.Code([]byte("signature key"), []byte("hpke key"))
			var fault *room.LinkError
			err := s.MayAsk(carol.user, code, []byte("signature key"), []byte("hpke key"), now)
			switch {
			case want == 0 && err != nil, want != 0 && (!errors.As(err, &fault) || fault.Fault != want || !errors.Is(err, room.ErrJoinLink)):
				t.Errorf("%s says of a link %v, want %v", who, err, want)
			}
			// Why a link does not count is told to who holds it.
			if err := s.LinkStands(code, []byte("another key"), []byte("hpke key"), now); errors.As(err, &fault) || !errors.Is(err, room.ErrJoinLink) {
				t.Errorf("%s says to who only has seen it used: %v", who, err)
			}
		}
	}
	look("the hub", w.hub)
	look("a follower", w.follower)
	w.reload(map[string][]byte{})
	look("the hub, restarted", w.hub)
	if !w.hub.HasLinks(uint64(w.now.UnixMilli())) {
		t.Error("no link counts")
	}
	if err := alice.commit(mls.CommitOptions{Proposals: []*mls.Proposal{room.ChangeLinks(nil, good.Key())}}); err != nil {
		t.Fatal(err)
	}
	if w.hub.HasLinks(uint64(w.now.UnixMilli())) {
		t.Error("the expired one counts")
	}
}
