package rooms_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/mimid/mimid/node/logstore"
	"github.com/mimid/mimid/node/rooms"
	"github.com/mimid/mimid/overlay"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/hub"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/store"
)

// certify has providers say that they have stored the log up to a piece's head, whatever else
// they have said.
func (w *world) certify(p *room.Piece, domains ...string) *room.Piece {
	c := room.Certificate{Head: p.Head.Head}
	for _, d := range domains {
		c.Signers = append(c.Signers, room.Signer{Domain: d, CoSignature: room.CoSign(c.Head, w.ps[d].key)})
	}
	p.Certified = &room.Certified{Head: p.Head, Certificate: c}
	return p
}

// twoFinal is a room of four providers, three of which decide. Two of these, the hub among
// them, have shown chicago and delta each other entries that they have certified; what
// chicago was shown is a commit if shaken. Carol of chicago is an administrator, and dave of
// delta.
func twoFinal(t *testing.T, shaken bool) (w *world, carol, dave *device, id store.RoomID, mine, theirs *room.Piece) {
	w, users, id := impatient(t)
	alice, bob := users["alice"], users["bob"]
	carol, dave = users["carol"], users["dave"]
	next := uint64(4)
	for _, d := range []*device{carol, dave} {
		if err := alice.role(id, d, policy.Admin); err != nil {
			t.Fatal(err)
		}
		next++
		for _, d := range users {
			d.follow(id, next)
		}
	}
	all := append([]string{delta}, three...)
	eventually(t, "all have it", func() bool {
		for _, d := range all {
			if w.ps[d].stand(id).Next != next {
				return false
			}
		}
		return true
	})
	atlanta, chicago, four := w.ps[three[0]], w.ps[three[2]], w.ps[delta]
	one, other := histories(t, w, alice, id)
	if shaken {
		up := must(parseUpdate(bob.handshake(mls.CommitOptions{})))(t)
		one = atlanta.forge(id, func(e *room.Entry) {
			e.Kind, e.Txn, e.Body = room.KindHandshake, room.TxnID{7}, must(room.HandshakeOf(&up.Bundle).Bytes())(t)
		})
	}
	// Delta has two entries: its history is the longer one.
	m := must(alice.group.Encrypt([]byte("more"), mls.SendOptions{AAD: tagged("more")}))(t)
	first := other.Entries[0]
	second := &room.Entry{Room: first.Room, Term: first.Term, Seq: first.Seq + 1, Prev: first.Hash(), AcceptedAt: first.AcceptedAt, Kind: room.KindMessage,
		Body: must((&room.Message{Message: m}).Bytes())(t)}
	other.Entries, other.Head = append(other.Entries, second), room.SignHead(room.HeadOf(second), atlanta.key)
	mine, theirs = w.certify(one, three[0], three[1]), w.certify(other, three[0], three[1])
	for _, d := range three[:2] {
		w.ps[d].down2(true)
	}
	chicago.gossip(three[0], mine.Append(nil))
	four.gossip(three[0], theirs.Append(nil))
	eventually(t, "each has its history", func() bool { return chicago.stand(id).Next == next+1 && four.stand(id).Next == next+2 })
	return w, carol, dave, id, mine, theirs
}

func (p *provider) conflict(id store.RoomID) *clientapi.Conflict {
	for _, s := range p.rooms.List() {
		if s.ID == room.ID(id).String() {
			return s.Conflict
		}
	}
	return nil
}

// TestConflict, DESIGN section 5, "Conflicting certificates freeze the room for an admin
// move": most replicas have certified two histories. Whoever hears of both stands still, keeps
// the proof, shows it to the others, and tells operator and users. An administrator moves the
// room on one of them; who has the other one judges her commit by what it is shown, and
// acknowledges it, but takes nothing back before its people want it to.
func TestConflict(t *testing.T) {
	for name, shaken := range map[string]bool{"two messages": false, "a commit and a message": true} {
		t.Run(name, func(t *testing.T) {
			w, carol, dave, id, mine, theirs := twoFinal(t, shaken)
			ctx := context.Background()
			chicago, four := w.ps[three[2]], w.ps[delta]
			at := mine.Entries[0].Seq
			stops := func(st *clientapi.HubState) bool {
				return st.Stopped && st.Conflict != nil && st.Conflict.From == at && fmt.Sprint(st.Conflict.Liars) == "[atlanta.example biloxi.example]"
			}
			tellsCarol, tellsDave := carol.states(stops), dave.states(stops)
			// A neighbour passes on what delta has.
			chicago.gossip(delta, theirs.Append(nil))
			eventually(t, "chicago stands still", func() bool { return chicago.conflict(id) != nil })
			eventually(t, "delta is shown it", func() bool { return four.conflict(id) != nil })
			eventually(t, "both users are told", func() bool { return tellsCarol.Load() > 0 && tellsDave.Load() > 0 })
			for range 2 {
				for p, other := range map[*provider]*room.Piece{chicago: theirs, four: mine} {
					if _, broken := p.accused(id); !strings.Contains(broken, "two histories") || !strings.Contains(broken, "atlanta.example, biloxi.example") {
						t.Errorf("%s says %q", p.domain, broken)
					}
					c := p.condemned(id)
					if c == nil || c.Cert == nil || c.Cert.Head != other.Head.Head || len(c.Entries) != len(other.Entries) || c.Entries[0].Hash() != other.Entries[0].Hash() {
						t.Fatalf("%s keeps %+v", p.domain, c)
					}
					if c := p.conflict(id); c == nil || c.From != at || len(c.Liars) != 2 {
						t.Errorf("%s: %+v", p.domain, c)
					}
				}
				for _, d := range []*device{carol, dave} {
					_, err := d.send(id, d.message("more"))
					if err == nil || !strings.Contains(err.Error(), "an administrator") {
						t.Errorf("%s: the room goes on, or it is not said what to do: %v", d.who.User, err)
					}
				}
				chicago.restart()
				four.restart()
			}
			// Biloxi's provider is shown both, too, before it is gone for a while.
			biloxi := w.ps[three[1]]
			biloxi.gossip(three[0], mine.Append(nil))
			eventually(t, "biloxi has chicago's", func() bool { return biloxi.stand(id).Next == at+1 })
			biloxi.gossip(three[0], theirs.Append(nil))
			eventually(t, "biloxi stands still", func() bool { return biloxi.conflict(id) != nil })
			carol.follow(id, at+1)
			if err := carol.update(id, carol.moving(three[2], 1)); err != nil {
				t.Fatal(err)
			}
			carol.say(id, "on")
			if s := chicago.stand(id); s.Hub != three[2] || s.Term != "1.1" || chicago.conflict(id) != nil {
				t.Errorf("%+v, conflict %v", s, chicago.conflict(id))
			}
			if _, broken := chicago.accused(id); broken != "" {
				t.Errorf("chicago still stands still: %s", broken)
			}
			eventually(t, "delta hears of it", func() bool {
				list := must(four.rooms.Rooms(ctx, dave.who))(t)
				p := list.Rooms[0].Parting
				return p != nil && *p == clientapi.Parting{From: at, End: at + 2, Era: 1, Hub: three[0], To: three[2]}
			})
			if s := four.stand(id); s.Next != at+2 || s.Hub != three[0] || four.log(id)[at].Hash() != theirs.Entries[0].Hash() {
				t.Errorf("something was taken back unasked: %+v", s)
			}
			four.restart()
			if p := must(four.rooms.Rejoin(ctx, dave.who, id))(t); !p.Followed {
				t.Errorf("%+v", p)
			}
			eventually(t, "delta follows", func() bool { return four.stand(id).Next == chicago.stand(id).Next && four.stand(id).Hub == three[2] })
			a, b := chicago.log(id), four.log(id)
			if a[len(a)-1].Hash() != b[len(b)-1].Hash() || a[at].Hash() != mine.Entries[0].Hash() {
				t.Error("they have two logs")
			}
			carol.say(id, "together")
			eventually(t, "delta hears on", func() bool { return len(four.log(id)) == len(a)+1 })
			// The other certificate, shown again, stops nobody any more.
			chicago.show(delta, id, theirs.Append(nil))
			carol.say(id, "and on")
			for _, p := range []*provider{chicago, four} {
				p.restart()
				if _, broken := p.accused(id); broken != "" {
					t.Errorf("%s: %s", p.domain, broken)
				}
			}
			carol.say(id, "after a restart")
			biloxi.down2(false)
			biloxi.rooms.Exchange(ctx, three[2])
			eventually(t, "biloxi goes on with what continues its history", func() bool {
				return biloxi.conflict(id) == nil && biloxi.stand(id).Hub == three[2] && biloxi.stand(id).Next == chicago.stand(id).Next
			})
			if _, broken := biloxi.accused(id); broken != "" || len(must(biloxi.rooms.BranchesOf(id))(t)) > 0 {
				t.Errorf("biloxi: %q", broken)
			}
			for _, b := range must(four.rooms.BranchesOf(id))(t) {
				if b.Parts != at || b.End != at+2 {
					t.Errorf("the branch %+v", b)
				}
			}
		})
	}
}

// TestConflictPower: an administrator who has lost the capability in one of two final
// histories cannot choose the other one: who knows of that does not acknowledge it. One who
// has it in both can.
func TestConflictPower(t *testing.T) {
	w, users, id := impatient(t)
	alice, carol, dave := users["alice"], users["carol"], users["dave"]
	next := uint64(4)
	for _, d := range []*device{carol, dave} {
		if err := alice.role(id, d, policy.Admin); err != nil {
			t.Fatal(err)
		}
		next++
		for _, d := range users {
			d.follow(id, next)
		}
	}
	atlanta, chicago, four := w.ps[three[0]], w.ps[three[2]], w.ps[delta]
	eventually(t, "all have it", func() bool { return chicago.stand(id).Next == next && four.stand(id).Next == next })
	one, _ := histories(t, w, alice, id)
	demote := must(room.UpdateParticipants(alice.group.Public().Context(), []room.Participant{{User: carol.who.User, Role: policy.Member}}, nil))(t)
	up := must(parseUpdate(alice.handshake(mls.CommitOptions{Proposals: []*mls.Proposal{demote}})))(t)
	other := atlanta.forge(id, func(e *room.Entry) {
		e.Kind, e.Txn, e.Body = room.KindHandshake, room.TxnID{7}, must(room.HandshakeOf(&up.Bundle).Bytes())(t)
	})
	mine, theirs := w.certify(one, three[0], three[1]), w.certify(other, three[0], three[1])
	for _, d := range three[:2] {
		w.ps[d].down2(true)
	}
	chicago.gossip(three[0], mine.Append(nil))
	four.gossip(three[0], theirs.Append(nil))
	eventually(t, "both are final", func() bool { return chicago.stand(id).Next == next+1 && four.stand(id).Next == next+1 })
	chicago.gossip(delta, theirs.Append(nil))
	eventually(t, "both stand still", func() bool { return chicago.conflict(id) != nil && four.conflict(id) != nil })
	carol.follow(id, next+1)
	if err := carol.update(id, carol.moving(three[2], 1)); err == nil || !strings.Contains(err.Error(), "no word of biloxi.example, delta.example") {
		t.Errorf("she was removed as an administrator in a history that is final, and moves the room: %v", err)
	}
	// Nor does a history count that delta cannot show to be final.
	four.set(func() {
		four.answer = func(ctx context.Context, q *rooms.Request, endpoint string, next rooms.Endpoint) (*rooms.Response, error) {
			res, err := next(ctx, q)
			if endpoint != rooms.EndpointLog || err != nil || len(res.Body) == 0 {
				return res, err
			}
			p := must(room.ParsePiece(res.Body, 1<<20))(t)
			p.Certified = nil
			return &rooms.Response{Status: 200, Body: p.Append(nil)}, nil
		}
	})
	dave.follow(id, next+1)
	if err := dave.update(id, dave.moving(delta, 2)); err == nil || !strings.Contains(err.Error(), "no word of biloxi.example, chicago.example") {
		t.Errorf("a history without a certificate is chosen: %v", err)
	}
	four.set(func() { four.answer = nil })
	if err := dave.update(id, dave.moving(delta, 3)); err != nil {
		t.Fatal(err)
	}
	if s := four.stand(id); s.Hub != delta || s.Term != "3.1" {
		t.Errorf("%+v", s)
	}
	eventually(t, "chicago hears of it", func() bool {
		p := chicago.conflict(id)
		return p != nil && must(chicago.rooms.Rooms(t.Context(), carol.who))(t).Rooms[0].Parting != nil
	})
}

// TestHostileHubAlone: the only one who decides about a room signs what cannot be, or two
// histories. Whoever sees that stands still with the proof, and an administrator moves the
// room to its own provider, from before the lie.
func TestHostileHubAlone(t *testing.T) {
	for _, c := range []struct {
		name, why string
		two       bool
	}{{"an entry that cannot be", "", false}, {"two histories", "two histories", true}} {
		t.Run(c.name, func(t *testing.T) {
			w, alice, bob, carol, id := orphans(t)
			atlanta, biloxi, chicago := w.ps[three[0]], w.ps[three[1]], w.ps[three[2]]
			stops := func(st *clientapi.HubState) bool { return st.Stopped && st.Hub == three[0] }
			tellsBob := bob.states(stops)
			next, one := uint64(3), atlanta.forge(id, func(*room.Entry) {})
			if c.two {
				var other *room.Piece
				one, other = histories(t, w, alice, id)
				biloxi.gossip(three[0], other.Append(nil))
				chicago.gossip(three[0], one.Append(nil))
				next++
				for _, p := range []*provider{biloxi, chicago} {
					eventually(t, p.domain+" has its history", func() bool { return p.stand(id).Next == next })
				}
			}
			atlanta.down2(true)
			biloxi.gossip(three[2], one.Append(nil))
			broken := func(p *provider) string { _, s := p.accused(id); return s }
			eventually(t, "biloxi stands still", func() bool { return broken(biloxi) != "" })
			eventually(t, "its user is told", func() bool { return tellsBob.Load() > 0 })
			if k := biloxi.condemned(id); k == nil || !strings.Contains(k.Why, c.why) || c.two != (k.Low != nil) {
				t.Fatalf("it keeps %+v", k)
			} else if c.two {
				// Chicago is shown it, too.
				eventually(t, "chicago keeps the proof", func() bool { return chicago.condemned(id) != nil && broken(chicago) != "" })
				for _, k := range []*logstore.Condemned{k, chicago.condemned(id)} {
					if k.Low == nil {
						t.Fatalf("one head only: %s", k.Why)
					}
					if err := (&room.Equivocation{Low: *k.Low, High: k.Head, Entries: k.Entries}).Verify(w.ps[three[0]].key.Public().(ed25519.PublicKey)); err != nil {
						t.Errorf("the proof: %v", err)
					}
				}
			} else {
				chicago.gossip(three[0], one.Append(nil))
				eventually(t, "chicago stands still", func() bool { return broken(chicago) != "" })
			}
			biloxi.restart()
			if broken(biloxi) == "" {
				t.Error("after a restart it knows nothing of it")
			}
			bob.follow(id, next)
			if err := bob.update(id, bob.moving(three[1], 1)); err != nil {
				t.Fatal(err)
			}
			bob.say(id, "on")
			if broken(biloxi) != "" || biloxi.stand(id).Hub != three[1] {
				t.Errorf("biloxi: %q, %+v", broken(biloxi), biloxi.stand(id))
			}
			if c.two { // chicago has believed the other one
				eventually(t, "chicago stands still", func() bool { p := chicago.stand(id).Parting; return p != nil && p.From == 3 && p.To == three[1] })
				must(chicago.rooms.Rejoin(t.Context(), carol.who, id))(t)
			}
			eventually(t, "chicago follows", func() bool { return chicago.stand(id).Next == biloxi.stand(id).Next && broken(chicago) == "" })
			for _, p := range []*provider{biloxi, chicago} {
				p.restart()
				if broken(p) != "" {
					t.Errorf("%s after a restart: %s", p.domain, broken(p))
				}
			}
			bob.say(id, "after a restart")
			if a, b := biloxi.log(id), chicago.log(id); a[3].Hash() != b[3].Hash() {
				t.Error("they have two logs")
			}
		})
	}
}

// numbers number providers.
type numbers []string

func (n *numbers) Name(p hub.Provider) string { return (*n)[p-1] }

func (n *numbers) Number(domain string) hub.Provider {
	i := slices.Index(*n, domain)
	if i < 0 {
		i = len(*n)
		*n = append(*n, domain)
	}
	return hub.Provider(i + 1)
}

// TestConflictHalfWritten: a crash came between the proof and what the machine wrote of it. The
// room stands still all the same, and the machine knows why as soon as it is read.
func TestConflictHalfWritten(t *testing.T) {
	w, carol, _, id, _, theirs := twoFinal(t, false)
	chicago := w.ps[three[2]]
	chicago.gossip(delta, theirs.Append(nil))
	eventually(t, "chicago stands still", func() bool { return chicago.conflict(id) != nil })
	fork := func(clear bool) (f [2]hub.Head) {
		chicago.close()
		st := must(store.Open(store.Options{Dir: chicago.dir}))(t)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { st.Run(ctx); close(ended) }()
		err := st.Update(ctx, func(tx *store.Tx) error {
			n := new(numbers)
			s, voted, marks, err := logstore.ReadReplica(tx, room.ID(id), n)
			if err != nil {
				return err
			}
			if f = s.Fork; clear {
				s.Fork = [2]hub.Head{}
			}
			return logstore.PutReplica(tx, room.ID(id), s, voted, marks, n)
		})
		cancel()
		if err := errors.Join(err, st.Close(context.Background())); err != nil {
			t.Fatal(err)
		}
		<-ended
		chicago.set(func() { chicago.topics = map[string]overlay.TopicHandler{} })
		chicago.start()
		return f
	}
	if f := fork(true); f[1].Hash != theirs.Head.Hash {
		t.Fatalf("the machine has stopped over %+v", f)
	}
	if chicago.conflict(id) == nil {
		t.Fatal("after a restart it knows nothing of it")
	}
	if _, err := carol.send(id, carol.message("more")); err == nil {
		t.Error("the room goes on")
	}
	if err := chicago.rooms.Tick(t.Context(), room.ID(id)); err != nil { // it is read
		t.Fatal(err)
	}
	eventually(t, "the machine knows it again, and has written that", func() bool {
		var s hub.State
		err := chicago.st.View(func(tx *store.Tx) (err error) {
			s, _, _, err = logstore.ReadReplica(tx, room.ID(id), new(numbers))
			return err
		})
		return err == nil && s.Fork[1].Hash == theirs.Head.Hash
	})
	fork(false)
}
