package room_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/wire"
)

// crowd begins a room with so many participants, a client each, of whom the first is its
// admin; roles nil: the basic ones. Only the hub and the admin follow.
func crowd(b testing.TB, n int, roles *policy.Roles) (*world, *device) {
	b.Helper()
	w := newWorld(b)
	alice := w.device("alice@atlanta.example", "phone")
	e := room.FirstEntry(alice.create(func(p *mls.GroupParams) {
		if roles != nil {
			p.Extensions = must(room.WithRoles(p.Extensions, alice.user, roles))(b)
		}
	}), room.TxnID{1}, w.now)
	w.hub = must(room.Begin(e, w.rules))(b)
	for made := 1; made < n; {
		var o mls.CommitOptions
		var set []room.Participant
		for range min(250, n-made) {
			d := w.device(fmt.Sprintf("user%d@biloxi.example", made), "phone")
			o.Add = append(o.Add, must(d.keyPackage().KeyPackage().Verify(w.config(), w.now))(b))
			set = append(set, room.Participant{User: d.user, Role: policy.Member})
			made++
		}
		o.Proposals = []*mls.Proposal{must(room.UpdateParticipants(alice.group.Public().Context(), set, nil))(b)}
		alice.alone(o)
	}
	w.clients = w.clients[:1]
	return w, alice
}

// alone makes a commit that the hub takes and nobody else follows.
func (d *device) alone(o mls.CommitOptions) {
	t := d.w.t
	t.Helper()
	s := must(d.group.Commit(o, d.w.now))(t)
	st := must(d.w.hub.Check(d.w.hub.NewEntry(room.KindHandshake, room.TxnID{}, must(room.HandshakeOf(bundle(s)).Bytes())(t), d.w.now)))(t)
	if err := d.w.hub.Advance(st); err != nil {
		t.Fatal(err)
	}
	if err := d.group.Merge(s); err != nil {
		t.Fatal(err)
	}
}

// change is a commit of alice's that changes a member's role, for the hub to judge.
func (d *device) change(b testing.TB) (*wire.HandshakeBundle, *mls.Change) {
	p := must(room.UpdateParticipants(d.group.Public().Context(), []room.Participant{{User: d.w.hub.Participants()[5].User, Role: policy.Moderator}}, nil))(b)
	s := must(d.group.Commit(mls.CommitOptions{Proposals: []*mls.Proposal{p}}, d.w.now))(b)
	return bundle(s), must(d.w.hub.Group().Process(s.Message.Public, s.GroupInfo, d.w.now))(b)
}

// BenchmarkDecide is the decision about a commit in a room of a thousand: all that Judge
// asks, without MLS. The view of the epoch is there, as it is at a hub that serves the room.
func BenchmarkDecide(b *testing.B) {
	for _, n := range []int{10, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			w, alice := crowd(b, n, nil)
			_, c := alice.change(b)
			lead := w.hub.Lead()
			at := uint64(w.now.UnixMilli())
			for b.Loop() {
				if err := w.hub.Roster().Judge(w.hub.Group(), c, &lead, at, w.rules.Anchors); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkView is what comes with each epoch: who takes part is read out.
func BenchmarkView(b *testing.B) {
	w, _ := crowd(b, 1000, nil)
	for b.Loop() {
		if _, err := room.ViewOf(w.hub.Group().Context(), w.hub.Roster()); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkHandshake is a commit in a room of a thousand at its hub: what MLS takes of it,
// and all of it but the storage.
func BenchmarkHandshake(b *testing.B) {
	w, alice := crowd(b, 1000, nil)
	bd, _ := alice.change(b)
	body := must(room.HandshakeOf(bd).Bytes())(b)
	b.Run("mls", func(b *testing.B) {
		for b.Loop() {
			if _, err := w.hub.Group().Process(bd.Message.Public, bd.GroupInfo.Full, w.now); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("check", func(b *testing.B) {
		for b.Loop() {
			if _, err := w.hub.Check(w.hub.NewEntry(room.KindHandshake, room.TxnID{}, body, w.now)); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("check-advance", func(b *testing.B) {
		var mlsTime, all time.Duration
		n := 0
		for b.Loop() {
			role := policy.Role(2 + n%2)
			n++
			b.StopTimer()
			p := must(room.UpdateParticipants(alice.group.Public().Context(), []room.Participant{{User: w.hub.Participants()[5].User, Role: 5 - role}}, nil))(b)
			s := must(alice.group.Commit(mls.CommitOptions{Proposals: []*mls.Proposal{p}}, w.now))(b)
			body := must(room.HandshakeOf(bundle(s)).Bytes())(b)
			at := time.Now()
			must(w.hub.Group().Process(s.Message.Public, s.GroupInfo, w.now))(b)
			mlsTime += time.Since(at)
			b.StartTimer()
			at = time.Now()
			st, err := w.hub.Check(w.hub.NewEntry(room.KindHandshake, room.TxnID{}, body, w.now))
			if err != nil {
				b.Fatal(err)
			}
			if err := w.hub.Advance(st); err != nil {
				b.Fatal(err)
			}
			w.hub.Unsaved()
			all += time.Since(at)
			b.StopTimer()
			if err := alice.group.Merge(s); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
		}
		b.ReportMetric(float64((all-mlsTime).Microseconds())/float64(n), "us-beyond-mls/op")
	})
}

// BenchmarkChannel is a channel with 2,000 readers: its roster and its admission of messages.
func BenchmarkChannel(b *testing.B) {
	w, alice := crowd(b, 2004, policy.Channel())
	var set []room.Participant
	for _, p := range w.hub.Participants()[1:4] {
		set = append(set, room.Participant{User: p.User, Role: writer})
	}
	alice.alone(mls.CommitOptions{Proposals: []*mls.Proposal{must(room.UpdateParticipants(alice.group.Public().Context(), set, nil))(b)}})
	req := &wire.SubmitMessageRequest{Message: must(alice.group.Encrypt([]byte("news"), mls.SendOptions{AAD: tagged("news")}))(b), SendingURI: wire.IdentifierURI(alice.user.String())}
	reader := &wire.SubmitMessageRequest{Message: req.Message, SendingURI: wire.IdentifierURI(w.hub.Participants()[9].User.String())}
	b.Run("writer", func(b *testing.B) {
		for b.Loop() {
			if _, err := w.hub.AdmitMessage(req, "atlanta.example"); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("reader-refused", func(b *testing.B) {
		for b.Loop() {
			if _, err := w.hub.AdmitMessage(reader, "biloxi.example"); err == nil {
				b.Fatal("a reader writes")
			}
		}
	})
	b.Run("commit", func(b *testing.B) {
		for b.Loop() {
			alice.alone(mls.CommitOptions{})
		}
	})
	total := 0
	for _, p := range w.hub.Unsaved() {
		total += len(p.Value)
	}
	b.Logf("GroupInfo %d bytes, tree %d bytes, unsaved of all %d bytes", len(w.hub.GroupInfo().Bytes()), len(w.hub.Group().Tree().Append(nil)), total)
}

// BenchmarkCommitNaming is a member's commit with a new encryption key in a room of a hundred, from
// making it to its being adopted by the hub, where leaves have certificates and where they have
// pseudonyms.
func BenchmarkCommitNaming(b *testing.B) {
	for _, masked := range []bool{false, true} {
		name := "open"
		if masked {
			name = "pseudonymous"
		}
		b.Run(name, func(b *testing.B) {
			w := newWorld(b)
			make := func(user string) *device {
				if masked {
					return w.masked(user)
				}
				return w.device(user, "phone")
			}
			alice := make("alice@atlanta.example")
			edit := func(p *mls.GroupParams) {}
			if masked {
				edit = asPseudonymous(b)
			}
			w.beginAs(alice, edit)
			var o mls.CommitOptions
			var set []room.Participant
			for i := range 99 {
				d := make(fmt.Sprintf("user%d@biloxi.example", i))
				o.Add = append(o.Add, must(d.keyPackage().KeyPackage().Verify(w.config(), w.now))(b))
				set = append(set, room.Participant{User: d.user, Role: policy.Member})
			}
			o.Proposals = []*mls.Proposal{must(room.UpdateParticipants(alice.group.Public().Context(), set, nil))(b)}
			w.clients = w.clients[:1]
			alice.alone(o)
			alice.alone(mls.CommitOptions{})
			b.ReportAllocs()
			for b.Loop() {
				alice.alone(mls.CommitOptions{})
			}
		})
	}
}
