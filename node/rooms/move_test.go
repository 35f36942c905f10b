package rooms_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mimid/mimid/node/logstore"
	"github.com/mimid/mimid/node/rooms"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/replica"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/wire"
	"github.com/mimid/mimid/store"
)

// orphans is a room of three users of three providers that its hub, atlanta, decides
// about alone. Bob is an administrator, too.
func orphans(t *testing.T) (w *world, alice, bob, carol *device, id store.RoomID) {
	w = prepareWorld(t, true, three...)
	watched(w)
	w.start()
	alice, bob, carol = w.device("alice@atlanta.example", "phone"), w.device("bob@biloxi.example", "phone"), w.device("carol@chicago.example", "phone")
	id, _, err := alice.create("orphans")
	if err == nil {
		err = alice.add(id, bob, carol)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []*device{alice, bob, carol} {
		d.follow(id, 2)
	}
	if err := alice.role(id, bob, policy.Admin); err != nil {
		t.Fatal(err)
	}
	for _, d := range []*device{alice, bob, carol} {
		d.follow(id, 3)
	}
	return w, alice, bob, carol, id
}

func (d *device) role(id store.RoomID, other *device, role policy.Role) error {
	p := must(room.UpdateParticipants(d.group.Public().Context(), []room.Participant{{User: other.who.User, Role: role}}, nil))(d.p.w.t)
	return d.commit(id, mls.CommitOptions{Proposals: []*mls.Proposal{p}})
}

// moving is a commit that moves the room to a provider in an era.
func (d *device) moving(hub string, era uint32) []byte {
	h := d.p.w.hosting(d, hub, room.Term{Era: era, Number: 1}, hub)
	return d.handshake(mls.CommitOptions{Proposals: []*mls.Proposal{must(room.UpdateHosting(h))(d.p.w.t)}})
}

func (p *provider) down2(down bool) { p.set(func() { p.down = down }) }

// TestMoveRoom: the only one who decided about a room is gone for good, and an
// administrator moves the room to its own provider. When the old hub comes back after
// all, it follows.
func TestMoveRoom(t *testing.T) {
	w, alice, bob, carol, id := orphans(t)
	bob.say(id, "before")
	carol.read(id, "before")
	alice.read(id, "before")
	atlanta, biloxi := w.ps[three[0]], w.ps[three[1]]
	atlanta.down2(true)
	if err := bob.update(id, bob.moving(three[1], 1)); err != nil {
		t.Fatal(err)
	}
	carol.say(id, "after")
	bob.read(id, "after")
	carol.follow(id, 6)
	at := biloxi.stand(id)
	if at.Hub != three[1] || at.Term != (room.Term{Era: 1, Number: 1}.String()) {
		t.Errorf("hub %s in term %s", at.Hub, at.Term)
	}
	for _, p := range []*provider{biloxi, w.ps[three[2]]} {
		eventually(t, p.domain+" has no replica's state any more", func() bool { return !p.replicated(id) })
		p.restart()
	}
	carol.say(id, "restarted")
	w.heal()
	eventually(t, "the old hub follows", func() bool { return atlanta.stand(id).Hub == three[1] })
	alice.read(id, "before", "after", "restarted")
	alice.say(id, "back")
	carol.read(id, "back")
	w.alike(id, 8)
	// And back again, by the administrator there.
	biloxi.down2(true)
	if err := alice.update(id, alice.moving(three[0], 5)); err != nil {
		t.Fatal(err)
	}
	carol.say(id, "home")
	alice.read(id, "home")
	w.heal()
	bob.read(id, "home")
	w.alike(id, 10)
}

func (p *provider) replicated(id store.RoomID) bool {
	err := p.st.View(func(tx *store.Tx) error {
		_, _, _, err := logstore.ReadReplica(tx, room.ID(id), &plainNames{})
		return err
	})
	return err == nil
}

// TestMoveOfTwo: in a room of two providers the one that is left is the majority of the
// others, and can be told so by its own user only.
func TestMoveOfTwo(t *testing.T) {
	w := prepareWorld(t, true, three...)
	watched(w)
	w.start()
	alice, bob := w.device("alice@atlanta.example", "phone"), w.device("bob@biloxi.example", "phone")
	id, _, err := alice.create("two")
	if err == nil {
		err = alice.add(id, bob)
	}
	if err != nil {
		t.Fatal(err)
	}
	alice.follow(id, 2)
	bob.follow(id, 2)
	if err := bob.update(id, bob.moving(three[1], 1)); err == nil || !strings.Contains(err.Error(), "notAllowed") || !strings.Contains(err.Error(), "was heard 0s ago") {
		t.Fatalf("a member moves the room: %v", err)
	}
	if err := alice.role(id, bob, policy.Admin); err != nil {
		t.Fatal(err)
	}
	bob.follow(id, 3)
	w.ps[three[0]].down2(true)
	if err := bob.update(id, bob.moving(three[1], 1)); err != nil {
		t.Fatal(err)
	}
	bob.say(id, "alone")
	// Who wishes it again is told that there is something newer to look at, not that something is wrong.
	if err := bob.update(id, bob.moving(three[1], 2)); err == nil || !strings.Contains(err.Error(), "wrongEpoch") {
		t.Errorf("the room is moved to where it is: %v", err)
	}
	w.heal()
	alice.read(id, "alone")
}

// TestMoveBehind: the new hub has not heard of the newest commit, another provider has.
// The move must not undo it: it is made anew on what that other shows.
func TestMoveBehind(t *testing.T) {
	w, alice, bob, carol, id := orphans(t)
	atlanta, biloxi, chicago := w.ps[three[0]], w.ps[three[1]], w.ps[three[2]]
	old := bob.moving(three[1], 1)
	biloxi.down2(true)
	if err := alice.commit(id, mls.CommitOptions{}); err != nil {
		t.Fatal(err)
	}
	carol.follow(id, 4)
	atlanta.down2(true)
	biloxi.down2(false)
	if n := biloxi.stand(id).Next; n != 3 {
		t.Fatalf("biloxi has %d entries", n)
	}
	if err := bob.update(id, old); err == nil || !strings.Contains(err.Error(), "poch") {
		t.Fatalf("a move from before the newest commit: %v", err)
	}
	bob.follow(id, 4) // chicago has shown it
	if err := bob.update(id, bob.moving(three[1], 1)); err == nil || !strings.Contains(err.Error(), "later one") {
		t.Fatalf("a move in an era that was begun: %v", err)
	}
	if err := bob.update(id, bob.moving(three[1], 2)); err != nil {
		t.Fatal(err)
	}
	carol.say(id, "moved")
	bob.read(id, "moved")
	if at := biloxi.stand(id); at.Hub != three[1] || at.Term != (room.Term{Era: 2, Number: 1}.String()) {
		t.Errorf("hub %s in term %s", at.Hub, at.Term)
	}
	// The old hub comes back and has ordered more, which nobody else has: it stands
	// still, and says so.
	_ = chicago
}

// TestParted: the hub of a set of one went on alone while the room was moved away. It
// cannot take back what it has told its users is final, so it stands still, says why, and
// takes nothing more.
func TestParted(t *testing.T) {
	w, alice, bob, carol, id := orphans(t)
	atlanta := w.ps[three[0]]
	bob.say(id, "before")
	carol.read(id, "before")
	atlanta.down2(true)
	for i := range 5 { // more than the others will have
		if r, err := alice.send(id, alice.message(fmt.Sprint("alone ", i))); err != nil || r.Code != wire.SubmitAccepted {
			t.Fatal(r, err)
		}
	}
	if err := bob.update(id, bob.moving(three[1], 1)); err != nil {
		t.Fatal(err)
	}
	carol.say(id, "moved")
	bob.read(id, "moved")
	// A claim without acknowledgements stops nobody.
	var forged atomic.Int32
	for _, d := range three[1:] {
		p := w.ps[d]
		p.set(func() {
			p.answer = func(ctx context.Context, q *rooms.Request, endpoint string, next rooms.Endpoint) (*rooms.Response, error) {
				res, err := next(ctx, q)
				if endpoint != rooms.EndpointLog || err != nil || len(res.Body) == 0 {
					return res, err
				}
				piece, err := room.ParsePiece(res.Body, 1<<20)
				if err != nil || len(piece.Entries) == 0 || piece.Entries[0].Kind != room.KindHubChange {
					return res, err
				}
				e := *piece.Entries[0]
				c, err := room.ParseHubChange(e.Body)
				if err != nil {
					return nil, err
				}
				c.Acks[0].Signature[9] ^= 1
				e.Body = c.Bytes()
				forged.Add(1)
				return &rooms.Response{Status: 200, Body: room.AppendPiece(nil, new(room.SignHead(room.HeadOf(&e), p.key)), [][]byte{e.Append(nil)}, nil)}, nil
			}
		})
	}
	w.heal()
	eventually(t, "it is shown", func() bool { return forged.Load() >= 1 })
	if r, err := alice.send(id, alice.message("alone 5")); err != nil || r.Code != wire.SubmitAccepted {
		t.Fatalf("a claim has stopped the room: %v, %v", r, err)
	}
	for _, d := range three[1:] {
		w.ps[d].set(func() { w.ps[d].answer = nil })
	}
	w.heal()
	eventually(t, "the old hub stands still", func() bool { _, broken := atlanta.accused(id); return broken != "" })
	if _, broken := atlanta.accused(id); !strings.Contains(broken, "moved to biloxi.example from entry 4 on, and 6 entries") {
		t.Errorf("it says %q", broken)
	}
	if _, err := alice.send(id, alice.message("more")); err == nil {
		t.Error("it goes on ordering")
	}
	eventually(t, "the proof is kept", func() bool { c, err := atlanta.rooms.Condemned(id); return err == nil && c != nil })
	atlanta.restart()
	if _, broken := atlanta.accused(id); broken == "" {
		t.Error("after a restart it knows nothing of it")
	}
}

// TestMoveRefused: while most other replicas are gone there is no move.
func TestMoveRefused(t *testing.T) {
	w, alice, bob, carol, id := trio(t)
	if err := alice.role(id, bob, policy.Admin); err != nil {
		t.Fatal(err)
	}
	for _, d := range []*device{alice, bob, carol} {
		d.follow(id, 5)
	}
	// Two of three are gone for good.
	w.ps[three[0]].down2(true)
	w.ps[three[2]].down2(true)
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	_, err := w.ps[three[1]].rooms.SubmitUpdate(ctx, bob.who, id, &clientapi.SubmitUpdate{Request: bob.moving(three[1], 1), Nonce: nonce()})
	if err == nil || !strings.Contains(err.Error(), "in time") {
		t.Errorf("a move without a majority of the other providers: %v", err)
	}
	w.ps[three[2]].down2(false)
	bob.say(id, "goes on")
	carol.read(id, "goes on")
}

// TestAckOnce: a provider acknowledges one move of an era, before and after a restart,
// and none that it cannot judge.
func TestAckOnce(t *testing.T) {
	w, _, bob, carol, id := orphans(t)
	chicago := w.ps[three[2]]
	var acks []*replica.Message
	biloxi := w.ps[three[1]]
	biloxi.set(func() {
		biloxi.answer = func(ctx context.Context, q *rooms.Request, endpoint string, next rooms.Endpoint) (*rooms.Response, error) {
			if endpoint == rooms.EndpointReplica && q.Source == three[2] {
				list, _ := replica.Parse(q.Body)
				for _, m := range list {
					if m.Kind == replica.Ack {
						biloxi.set(func() { acks = append(acks, m) })
					}
				}
				return &rooms.Response{Status: 200}, nil
			}
			return next(ctx, q)
		}
	})
	say := func(raw []byte, from string, term room.Term) {
		h := room.HandshakeOf(&must(parseUpdate(raw))(t).Bundle)
		m := &replica.Message{Room: room.ID(id), Kind: replica.Move, Term: term, Commit: must(h.Bytes())(t)}
		chicago.serve(context.Background(), rooms.EndpointReplica, &rooms.Request{Source: from, Subject: three[2], Body: replica.Append(nil, []*replica.Message{m})})
	}
	count := func() (n int) {
		biloxi.set(func() {
			for _, a := range acks {
				if a.Ack != nil {
					n++
				}
			}
		})
		return n
	}
	settled := func(id store.RoomID) { // all that was said before is done
		must(chicago.rooms.Show(context.Background(), id))(t)
	}
	one := room.Term{Era: 1, Number: 1}
	first := bob.moving(three[1], 1)
	say(carol.moving(three[1], 1), three[1], one) // a member's
	say(first, three[0], one)                     // said by another than it names
	say(first, three[1], room.Term{Era: 2, Number: 1})
	settled(id)
	if chicago.replicated(id) {
		t.Error("what is no move made chicago write")
	}
	say(first, three[1], one)
	eventually(t, "acknowledged", func() bool { return count() == 1 })
	say(bob.moving(three[1], 1), three[1], one) // another commit
	settled(id)
	chicago.restart()
	say(bob.moving(three[1], 1), three[1], one)
	settled(id)
	say(first, three[1], one) // the same again
	eventually(t, "acknowledged again", func() bool { return count() == 2 })
	biloxi.set(func() {
		a := slices.DeleteFunc(slices.Clone(acks), func(m *replica.Message) bool { return m.Ack == nil })
		if fmt.Sprint(*a[0].Ack) != fmt.Sprint(*a[1].Ack) {
			t.Errorf("two acknowledgements differ: %v and %v", a[0].Ack, a[1].Ack)
		}
	})
	// It keeps to it: what the old hub orders now is not stored here.
	next := chicago.stand(id).Next
	bob.say(id, "late")
	settled(id)
	if n := chicago.stand(id).Next; n != next {
		t.Errorf("chicago went on to %d with the hub that it has acknowledged to leave", n)
	}
}

func parseUpdate(raw []byte) (*wire.UpdateRequest, error) {
	return wire.ParseUpdateRequest(raw, wire.Limits{})
}

// TestMoveGathers: whoever moves a room here has missed messages, and no handshake. The
// others acknowledge the move, and show what is missing.
func TestMoveGathers(t *testing.T) {
	w, alice, bob, carol, id := orphans(t)
	atlanta, biloxi := w.ps[three[0]], w.ps[three[1]]
	biloxi.down2(true)
	alice.say(id, "missed")
	carol.say(id, "missed, too")
	alice.read(id, "missed, too")
	carol.read(id, "missed")
	atlanta.down2(true)
	biloxi.down2(false)
	if n := biloxi.stand(id).Next; n != 3 {
		t.Fatalf("it has missed nothing: %d entries", n)
	}
	if err := bob.update(id, bob.moving(three[1], 1)); err != nil {
		t.Fatal(err)
	}
	bob.read(id, "missed", "missed, too")
	bob.say(id, "moved")
	carol.read(id, "missed", "moved")
	if s := biloxi.stand(id); s.Hub != three[1] || s.Term != "1.1" {
		t.Errorf("%+v", s)
	}
	w.heal()
	alice.read(id, "missed, too", "moved")
	w.alike(id, 7)
}

// TestRejoin: a provider that went on alone while the room was moved away keeps what it had
// as a lost branch, readable by those who were in it, and follows the room as it was moved;
// its feed goes on with what the room has. Nothing of it happens by itself.
func TestRejoin(t *testing.T) {
	w, alice, bob, carol, id := orphans(t)
	ctx := context.Background()
	atlanta := w.ps[three[0]]
	bob.say(id, "before")
	carol.read(id, "before")
	if _, err := atlanta.rooms.Rejoin(ctx, alice.who, id); !strings.HasPrefix(status(err), "404 ") {
		t.Errorf("a room that was not moved: %v", err)
	}
	atlanta.down2(true)
	ann := w.device("ann@atlanta.example", "phone")
	if err := alice.add(id, ann); err != nil {
		t.Fatal(err)
	}
	alice.follow(id, 5)
	for i := range 4 {
		if r, err := alice.send(id, alice.message(fmt.Sprint("alone ", i))); err != nil || r.Code != wire.SubmitAccepted {
			t.Fatal(r, err)
		}
	}
	ann.follow(id, 9)
	had := must(atlanta.rooms.Log(ctx, alice.who, id, 0, 100))(t)
	if err := bob.update(id, bob.moving(three[1], 1)); err != nil {
		t.Fatal(err)
	}
	carol.say(id, "moved")
	w.heal()
	eventually(t, "the old hub stands still", func() bool { _, broken := atlanta.accused(id); return broken != "" })
	want := clientapi.Parting{From: 4, End: 9, Era: 1, Hub: three[0], To: three[1]}
	for range 2 {
		list := must(atlanta.rooms.Rooms(ctx, ann.who))(t)
		if p := list.Rooms[0].Parting; p == nil || *p != want {
			t.Errorf("users are told %+v", p)
		}
		if s := atlanta.stand(id); s.Next != 9 || s.Term != "0.1" {
			t.Fatalf("something was taken back unasked: %+v", s)
		}
		atlanta.restart()
		w.heal()
	}
	dora := w.device("dora@atlanta.example", "phone")
	if _, err := atlanta.rooms.Rejoin(ctx, dora.who, id); !strings.HasPrefix(status(err), "404 ") {
		t.Errorf("somebody who is not in the room: %v", err)
	}
	want.Followed = true
	for range 2 { // the second time there is nothing to do
		if p := must(atlanta.rooms.Rejoin(ctx, alice.who, id))(t); *p != want {
			t.Errorf("rejoining says %+v", p)
		}
	}
	eventually(t, "it follows", func() bool { return atlanta.stand(id).Hub == three[1] })
	w.alike(id, 6)
	if _, broken := atlanta.accused(id); broken != "" {
		t.Errorf("it still stands still: %s", broken)
	}
	carol.say(id, "welcome back")
	w.alike(id, 7)
	atlanta.restart()
	w.alike(id, 7)
	if atlanta.replicated(id) {
		t.Error("it still holds a replica's state")
	}

	// What it had is there to be read, and joins the log that they share.
	for _, d := range []*device{alice, ann} {
		var got [][]byte
		for from := uint64(0); from < want.End; {
			l := must(atlanta.rooms.Branch(ctx, d.who, id, from, 2))(t)
			if len(l.Entries) == 0 {
				t.Fatalf("nothing from %d on", from)
			}
			got = append(got, l.Entries...)
			from += uint64(len(l.Entries))
		}
		if fmt.Sprint(got) != fmt.Sprint(had.Entries) {
			t.Errorf("%s reads another branch", d.who.User)
		}
	}
	if l, err := atlanta.rooms.Branch(ctx, dora.who, id, 0, 100); err == nil {
		t.Errorf("somebody else reads %d entries", len(l.Entries))
	}
	// Who came in with the lost branch only is not in the room.
	if _, err := atlanta.rooms.Log(ctx, ann.who, id, 0, 100); !strings.HasPrefix(status(err), "404 ") {
		t.Errorf("ann reads the room: %v", err)
	}
	b := must(atlanta.rooms.BranchesOf(id))(t)
	if len(b) != 1 || b[0].Cutting || b[0].Number != 1 || !strings.Contains(b[0].Why, "5 entries here are not in its log") {
		t.Errorf("%+v", b)
	}
	if _, err := atlanta.rooms.Condemned(id); err == nil {
		t.Error("the proof still holds the room up")
	}
	// A new stream tells the room's log once, and nothing of the branch.
	var seqs []uint64
	alice.listen("", func(_, event, data string) bool {
		if event == clientapi.EventEntries {
			var es clientapi.Entries
			if err := json.Unmarshal([]byte(data), &es); err != nil {
				t.Fatal(err)
			}
			for _, x := range es.Entries {
				seqs = append(seqs, must(room.ParseEntry(x))(t).Seq)
			}
		}
		return len(seqs) >= 7
	})
	if fmt.Sprint(seqs) != "[0 1 2 3 4 5 6]" {
		t.Errorf("the feed has entries %v", seqs)
	}
}

// TestSecondMove: of three providers two live; the room was moved to the third, which is gone,
// before they had its log. They cannot move it a second time: the former hub's word does not
// count, and nobody can tell whether the third is gone or slow (package hub,
// mutant_move_counts_hub). Whoever tries is told whose word is missing and what to do, and who
// sends, why nothing is ordered; when that provider is back the wish comes to an end.
func TestSecondMove(t *testing.T) {
	w, alice, bob, carol, id := orphans(t)
	atlanta, biloxi, chicago := w.ps[three[0]], w.ps[three[1]], w.ps[three[2]]
	if err := alice.role(id, carol, policy.Admin); err != nil {
		t.Fatal(err)
	}
	for _, d := range []*device{alice, bob, carol} {
		d.follow(id, 4)
	}
	// Neither of the others hears of the outcome of the move.
	for _, p := range []*provider{atlanta, chicago} {
		p.set(func() {
			p.deaf = true
			p.answer = func(ctx context.Context, q *rooms.Request, endpoint string, next rooms.Endpoint) (*rooms.Response, error) {
				if q.Source == three[1] && endpoint != rooms.EndpointReplica {
					return &rooms.Response{Status: 200}, nil
				}
				return next(ctx, q)
			}
		})
	}
	if err := bob.update(id, bob.moving(three[1], 1)); err != nil {
		t.Fatal(err)
	}
	biloxi.down2(true)
	eventually(t, "they know of the move, and not of its outcome", func() bool {
		return chicago.replicated(id) && atlanta.replicated(id) && chicago.stand(id).Hub == three[0] && atlanta.stand(id).Hub == three[0]
	})
	if _, err := alice.send(id, alice.message("nobody orders this")); err == nil || !strings.Contains(err.Error(), "acknowledged that the room is moved to biloxi.example") {
		t.Errorf("the former hub goes on, or does not say why not: %v", err)
	}
	if x := must(atlanta.rooms.Room(context.Background(), alice.who, id))(t); x.MovingTo != three[1] || x.Hub != three[0] {
		t.Errorf("its users are not told that it is bound: %+v", x)
	}
	wish := &clientapi.SubmitUpdate{Request: carol.moving(three[2], 2), Nonce: nonce()}
	try := func() error {
		got, err := chicago.rooms.SubmitUpdate(context.Background(), carol.who, id, wish)
		if err != nil {
			return err
		}
		if res := must(wire.ParseUpdateRoomResponse(got.Response, wire.Limits{}))(t); res.Code != wire.UpdateSuccess {
			return fmt.Errorf("%s %s", res.Code, res.Description)
		}
		return nil
	}
	for range 2 {
		err := try()
		if err == nil || !strings.HasPrefix(status(err), "503 ") {
			t.Fatalf("without biloxi: %v", err)
		}
		for _, s := range []string{"the word of 2 of the 2 providers", "beside its hub atlanta.example", "has that of 1", "no word of biloxi.example", "Bring those up", "who is left makes a new one"} {
			if !strings.Contains(err.Error(), s) {
				t.Errorf("who moves the room is told %q, without %q", err, s)
			}
		}
	}
	for _, p := range []*provider{atlanta, chicago} {
		p.set(func() { p.deaf, p.answer = false, nil })
	}
	biloxi.down2(false)
	var err error
	eventually(t, "the wish comes to an end", func() bool { err = try(); return err != nil && !strings.HasPrefix(status(err), "503 ") })
	if !strings.Contains(err.Error(), "poch") {
		t.Errorf("it ends with %v", err)
	}
	// Biloxi has acknowledged it and orders nothing any more. So the wish is made anew, as a
	// client does by itself, on what biloxi has shown.
	carol.follow(id, 5)
	if err := carol.update(id, carol.moving(three[2], 3)); err != nil {
		t.Fatal(err)
	}
	w.heal()
	eventually(t, "all follow chicago", func() bool { return atlanta.stand(id).Hub == three[2] && biloxi.stand(id).Hub == three[2] })
	carol.say(id, "on")
	bob.read(id, "on")
	alice.read(id, "on")
}

// TestRejoinCutOff: a provider that gives its branch up while nobody can show it the room as
// it goes on has a log that it once ordered the end of. It signs nothing there again, also
// after a restart, and follows when it can.
func TestRejoinCutOff(t *testing.T) {
	w, alice, bob, carol, id := orphans(t)
	ctx := context.Background()
	atlanta := w.ps[three[0]]
	atlanta.down2(true)
	for i := range 2 {
		if r, err := alice.send(id, alice.message(fmt.Sprint("alone ", i))); err != nil || r.Code != wire.SubmitAccepted {
			t.Fatal(r, err)
		}
	}
	if err := bob.update(id, bob.moving(three[1], 1)); err != nil {
		t.Fatal(err)
	}
	carol.follow(id, 4)
	w.heal()
	eventually(t, "the old hub stands still", func() bool { _, broken := atlanta.accused(id); return broken != "" })
	atlanta.down2(true)
	if p := must(atlanta.rooms.Rejoin(ctx, alice.who, id))(t); !p.Followed || p.From != 3 {
		t.Errorf("%+v", p)
	}
	for range 2 {
		if s := atlanta.stand(id); s.Next != 3 || s.Hub != three[0] {
			t.Errorf("%+v", s)
		}
		// Time passes for the machine, which would stand for hub if it were not bound.
		if err := atlanta.rooms.Tick(ctx, room.ID(id)); err != nil {
			t.Fatal(err)
		}
		if s := atlanta.stand(id); s.Next != 3 || s.Term != "0.1" {
			t.Errorf("it stands for hub: %+v", s)
		}
		if r, err := alice.send(id, alice.message("again")); err == nil && r.Code == wire.SubmitAccepted {
			t.Error("it orders the place anew that it has signed another entry for")
		}
		atlanta.restart()
	}
	w.heal()
	eventually(t, "it follows", func() bool { return atlanta.stand(id).Hub == three[1] })
	carol.say(id, "on")
	w.alike(id, 5)
}

// TestRejoinReplicas: two of three replicas, the hub among them, were cut off from the rest
// and made entries final, while an administrator moved the room with the word of those who are
// left. When they are back both stand still. Whoever wants to comes back, and from then on its
// provider signs nothing of the old era any more: not as its hub, and not for the other one
// that is still there. What was said is in the lost branch of each.
func TestRejoinReplicas(t *testing.T) {
	w, users, id := impatient(t)
	ctx := context.Background()
	alice, bob, carol, dave := users["alice"], users["bob"], users["carol"], users["dave"]
	if err := alice.role(id, dave, policy.Admin); err != nil {
		t.Fatal(err)
	}
	for _, d := range users {
		d.follow(id, 5)
	}
	atlanta, biloxi, chicago, four := w.ps[three[0]], w.ps[three[1]], w.ps[three[2]], w.ps[delta]
	for _, p := range w.ps {
		eventually(t, "all have it", func() bool { return p.stand(id).Next == 5 })
	}
	w.split(three[0], three[1])
	alice.say(id, "among us")
	bob.say(id, "two")
	for _, p := range []*provider{atlanta, biloxi} {
		eventually(t, "it is final at "+p.domain, func() bool { return p.stand(id).Next == 7 })
	}
	branch := atlanta.log(id)
	if err := dave.update(id, dave.moving(delta, 1)); err != nil {
		t.Fatal(err)
	}
	carol.say(id, "moved")
	eventually(t, "chicago follows", func() bool { return chicago.stand(id).Hub == delta })
	w.split()
	for _, p := range []*provider{atlanta, biloxi} {
		p.rooms.Exchange(ctx, three[2])
		eventually(t, p.domain+" stands still", func() bool { _, broken := p.accused(id); return strings.Contains(broken, "moved to "+delta) })
		if s := p.stand(id); s.Next != 7 || s.Hub != three[0] || *s.Parting != (clientapi.Parting{From: 5, End: 7, Era: 1, Hub: three[0], To: delta}) {
			t.Errorf("%+v, %+v", s, s.Parting)
		}
		p.restart()
	}
	// The hub comes back while it reaches nobody who has the room as it goes on.
	w.split(three[0], three[1])
	if p := must(atlanta.rooms.Rejoin(ctx, alice.who, id))(t); !p.Followed {
		t.Errorf("%+v", p)
	}
	for range 2 {
		if err := atlanta.rooms.Tick(ctx, room.ID(id)); err != nil {
			t.Fatal(err)
		}
		// What biloxi has of the old era is shown to it.
		must(atlanta.rooms.Endpoints()[rooms.EndpointReplica](ctx, &rooms.Request{Source: three[1], Subject: three[0], Body: replica.Append(nil, []*replica.Message{
			{Room: room.ID(id), Kind: replica.Show, Piece: must(biloxi.piece(id, 5))(t).Append(nil)}})}))(t)
		if r, err := alice.send(id, alice.message("again")); err == nil && r.Code == wire.SubmitAccepted {
			t.Error("it orders the places anew that it has signed other entries for")
		}
		if err := atlanta.rooms.Tick(ctx, room.ID(id)); err != nil {
			t.Fatal(err)
		}
		if s := atlanta.stand(id); s.Next != 5 || s.Term != "0.1" || atlanta.tail(id) != 0 {
			t.Errorf("bound to the move, it takes or orders something: %+v, %d not final", s, atlanta.tail(id))
		}
		atlanta.restart()
	}
	if s, _ := atlanta.rooms.Standing(ctx, room.ID(id)); s == nil || s.Role == rooms.RoleHub || s.Seen.Era != 1 {
		t.Errorf("%+v", s)
	}
	w.split()
	atlanta.rooms.Exchange(ctx, three[2])
	if p := must(biloxi.rooms.Rejoin(ctx, bob.who, id))(t); !p.Followed {
		t.Errorf("%+v", p)
	}
	for _, p := range []*provider{atlanta, biloxi} {
		eventually(t, p.domain+" follows", func() bool { return p.stand(id).Hub == delta && p.stand(id).Next == four.stand(id).Next })
	}
	carol.say(id, "welcome back")
	for _, p := range []*provider{atlanta, biloxi} {
		eventually(t, p.domain+" hears on", func() bool { return p.stand(id).Next == four.stand(id).Next })
		a, b := p.log(id), four.log(id)
		if a[len(a)-1].Hash() != b[len(b)-1].Hash() {
			t.Errorf("%s has another log", p.domain)
		}
		got := must(p.rooms.Branch(ctx, map[*provider]*device{atlanta: alice, biloxi: bob}[p].who, id, 5, 10))(t)
		if len(got.Entries) != 2 || must(room.ParseEntry(got.Entries[1]))(t).Hash() != branch[6].Hash() {
			t.Errorf("%s keeps another branch, of %d entries", p.domain, len(got.Entries))
		}
		if p.replicated(id) {
			t.Errorf("%s still holds a replica's state", p.domain)
		}
	}
}

// piece is what a provider shows of its log from a place on.
func (p *provider) piece(id store.RoomID, from uint64) (*room.Piece, error) {
	body, err := p.serve(context.Background(), rooms.EndpointLog, &rooms.Request{Source: three[2], Subject: room.ID(id).String(),
		Body: room.AppendStands(nil, []room.Stand{{Room: room.ID(id), Next: from}})})
	if err != nil {
		return nil, err
	}
	return room.ParsePiece(body.Body, 1<<20)
}
