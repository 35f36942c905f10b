package rooms_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/wire"
)

var three = []string{"atlanta.example", "biloxi.example", "chicago.example"}

// TestStory: a room over three providers; everybody reads everything, in one
// order, also a provider that hears no gossip, one that was away, and one that was
// restarted.
func TestStory(t *testing.T) {
	w, alice, bob, id := pair(t, nil)
	carol := w.device("carol@chicago.example", "phone")
	if err := bob.add(id, carol); err != nil {
		t.Fatal(err)
	}
	carol.follow(id, 3)
	bob.follow(id, 3)
	alice.follow(id, 3)

	n := uint64(3)
	say := func(d *device, text string) {
		t.Helper()
		r, err := d.send(id, d.message(text))
		if err != nil || r.Code != wire.SubmitAccepted {
			t.Fatalf("%s says %s: %v, %v", d.who.User, text, r, err)
		}
		n++
	}
	all := func() {
		t.Helper()
		for _, d := range []*device{alice, bob, carol} {
			d.follow(id, n)
		}
	}
	say(alice, "a1")
	say(bob, "b1")
	say(carol, "c1")
	all()

	chicago := w.ps["chicago.example"]
	chicago.set(func() { chicago.deaf = true })
	say(bob, "b2")
	all() // carol by a nudge
	if chicago.rooms.Stats().Ranges == 0 || w.ps["atlanta.example"].rooms.Stats().Nudges == 0 {
		t.Error("a provider without gossip was not nudged")
	}
	chicago.set(func() { chicago.deaf = false })

	biloxi := w.ps["biloxi.example"]
	biloxi.set(func() { biloxi.down = true })
	say(alice, "a2")
	say(carol, "c2")
	biloxi.set(func() { biloxi.down = false })
	biloxi.rooms.Exchange(context.Background(), "atlanta.example")
	all()

	for _, p := range w.ps {
		p.restart()
	}
	eventually(t, "rooms run again", func() bool {
		_, err := alice.send(id, alice.message("warm up"))
		return err == nil
	})
	n++
	say(carol, "c3")
	all()
	want := map[*device][]string{
		alice: {"b1", "c1", "b2", "c2", "c3"}, bob: {"a1", "c1", "a2", "c2", "warm up", "c3"}, carol: {"a1", "b1", "b2", "a2", "warm up"}}
	for d, texts := range want {
		if !slices.Equal(d.plain, texts) {
			t.Errorf("%s read %v, expected %v", d.who.User, d.plain, texts)
		}
	}
	eventually(t, "the logs end alike", func() bool { // devices hear of an entry a little before the list does
		heads := map[string]bool{}
		for _, p := range w.ps {
			for _, s := range p.rooms.List() {
				heads[s.Head] = true
			}
		}
		return len(heads) == 1
	})
}

// TestSubmissions: what the hub answers, through a follower as well.
func TestSubmissions(t *testing.T) {
	w := newWorld(t, three...)
	alice, bob, carol := w.device("alice@atlanta.example", "phone"), w.device("bob@biloxi.example", "phone"), w.device("carol@chicago.example", "phone")
	id, made, err := alice.create("room")
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	code := func(err error) clientapi.Code {
		var p *clientapi.Problem
		if errors.As(err, &p) {
			return p.Code
		}
		return clientapi.Code(fmt.Sprint(err))
	}
	if _, err := alice.p.rooms.CreateRoom(ctx, alice.who, made); err != nil {
		t.Errorf("the same creation again: %v", err)
	}
	again := *made
	again.Nonce = nonce()
	if _, err := alice.p.rooms.CreateRoom(ctx, alice.who, &again); code(err) != clientapi.CodeExists {
		t.Errorf("another creation of the same room: %v", err)
	}
	if err := alice.add(id, bob); err != nil {
		t.Fatal(err)
	}
	alice.follow(id, 2)
	bob.follow(id, 2)

	m := bob.message("once")
	first, err := bob.send(id, m)
	if err != nil || first.Code != wire.SubmitAccepted {
		t.Fatal(first, err)
	}
	second, err := bob.send(id, m)
	if err != nil || second.AcceptedAt != first.AcceptedAt || second.Code != wire.SubmitAccepted {
		t.Errorf("the same message again: %v, %v", second, err)
	}
	if s := w.ps["atlanta.example"].rooms.Stats(); s.Ordered != 3 || s.Duplicates != 2 {
		t.Errorf("%+v", s)
	}
	forged := bob.message("forged")
	if _, err := bob.send(id, strangers(t, forged, alice)); code(err) != clientapi.CodeForbidden {
		t.Errorf("a message as somebody else: %v", err)
	}
	if _, err := carol.send(id, strangers(t, bob.message("x"), carol)); code(err) != clientapi.CodeNotFound {
		t.Errorf("a message by a stranger: %v", err)
	}
	if _, err := bob.p.rooms.SubmitMessage(ctx, bob.who, id, &clientapi.SubmitMessage{Request: m.Request[:10], Nonce: nonce()}); code(err) != clientapi.CodeInvalid {
		t.Errorf("a cut message: %v", err)
	}
	if _, err := bob.p.rooms.SubmitMessage(ctx, bob.who, id, &clientapi.SubmitMessage{Request: m.Request, Nonce: []byte("short")}); code(err) != clientapi.CodeInvalid {
		t.Errorf("a short nonce: %v", err)
	}
	// A commit that loses, and a message of an epoch that is over.
	old := bob.message("old")
	if err := alice.commit(id, mls.CommitOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := bob.commit(id, mls.CommitOptions{}); err == nil || err.Error()[:10] != "wrongEpoch" {
		t.Errorf("a commit that lost: %v", err)
	}
	alice.follow(id, 4)
	for range room.PastEpochs {
		if err := alice.commit(id, mls.CommitOptions{}); err != nil {
			t.Fatal(err)
		}
		alice.follow(id, alice.at+1)
	}
	if r, err := bob.send(id, old); err != nil || r.Code != wire.SubmitEpochTooOld || r.CurrentEpoch != alice.group.Epoch() {
		t.Errorf("an old message: %+v, %v", r, err)
	}
	// Another provider asks for what it does not take part in.
	stand := room.AppendStands(nil, []room.Stand{{Room: room.ID(id)}})
	if _, err := (peers{w.ps["chicago.example"]}).Call(ctx, callLog(room.ID(id), stand)); code(err) != clientapi.CodeNotFound {
		t.Errorf("a stranger reads the log: %v", err)
	}
	if r, err := alice.p.rooms.Room(ctx, alice.who, id); err != nil || len(r.Participants) != 2 || r.Participants[0].Role != "admin" {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := alice.p.rooms.Room(ctx, carol.who, id); code(err) != clientapi.CodeNotFound {
		t.Errorf("a stranger looks: %v", err)
	}
	if l, err := bob.p.rooms.Log(ctx, bob.who, id, 1, 2); err != nil || len(l.Entries) < 2 {
		t.Errorf("%v, %v", l, err)
	}
}

// strangers makes a message one of somebody else.
func strangers(t *testing.T, m *clientapi.SubmitMessage, as *device) *clientapi.SubmitMessage {
	req := must(wire.ParseSubmitMessageRequest(m.Request, wire.Limits{}))(t)
	req.SendingURI = wire.IdentifierURI(as.who.User.String())
	return &clientapi.SubmitMessage{Nonce: m.Nonce, Request: must(req.Bytes())(t)}
}

// TestForgery: a handshake in another member's name is refused by the provider that
// it is given to, hub or follower, and changes nothing anywhere.
func TestForgery(t *testing.T) {
	w := newWorld(t, "atlanta.example", "biloxi.example")
	alice, bob := w.device("alice@atlanta.example", "phone"), w.device("bob@biloxi.example", "phone")
	id, made, err := alice.create("room")
	if err != nil {
		t.Fatal(err)
	}
	if err := alice.add(id, bob); err != nil {
		t.Fatal(err)
	}
	alice.follow(id, 2)
	bob.follow(id, 2)
	group := []byte("mimi://atlanta.example/g/" + made.URI[len("mimi://atlanta.example/r/"):])
	for _, d := range []*device{alice, bob} {
		s := must(d.group.Commit(mls.CommitOptions{}, time.Now()))(t)
		raw := must((&wire.UpdateRequest{Bundle: wire.HandshakeBundle{Message: s.Message, GroupInfo: &wire.GroupInfoOption{Full: s.GroupInfo},
			Tree: &wire.RatchetTreeOption{Representation: wire.TreeDistributionService}}}).Bytes())(t)
		leaf := bytes.Index(raw, group) + len(group) + 8 + 1 + 3 // behind epoch and sender type
		raw[leaf] ^= 1                                           // alice's leaf is 0, bob's is 1
		before := w.ps["atlanta.example"].calls[wire.EndpointUpdate.String()]
		got, err := d.p.rooms.SubmitUpdate(context.Background(), d.who, id, &clientapi.SubmitUpdate{Request: raw, Nonce: nonce()})
		if err != nil {
			t.Fatal(err)
		}
		res := must(wire.ParseUpdateRoomResponse(got.Response, wire.Limits{}))(t)
		if res.Code != wire.UpdateNotAllowed || !strings.Contains(res.Description, "signature") {
			t.Errorf("%s forges: %s %s", d.who.User, res.Code, res.Description)
		}
		if d.p.rooms.Stats().Refused != 1 || w.ps["atlanta.example"].calls[wire.EndpointUpdate.String()] != before {
			t.Errorf("%s: not refused by its own provider", d.who.User)
		}
	}
	for _, p := range w.ps {
		if l := p.rooms.List(); l[0].Next != 2 || l[0].Epoch != 1 {
			t.Errorf("%s: %+v", p.domain, l[0])
		}
	}
}

// TestBatches: under load many submissions share a commit, and each is answered
// with its own entry.
func TestBatches(t *testing.T) {
	w := newWorld(t, "atlanta.example", "biloxi.example")
	alice, bob := w.device("alice@atlanta.example", "phone"), w.device("bob@biloxi.example", "phone")
	id, _, err := alice.create("room")
	if err != nil {
		t.Fatal(err)
	}
	if err := alice.add(id, bob); err != nil {
		t.Fatal(err)
	}
	alice.follow(id, 2)
	bob.follow(id, 2)
	const n = 500
	var ms []*clientapi.SubmitMessage
	for i := range n {
		ms = append(ms, alice.message(fmt.Sprint(i)))
	}
	before := w.ps["atlanta.example"].st.Stats()
	var wg sync.WaitGroup
	for _, m := range ms {
		wg.Go(func() {
			if r, err := alice.send(id, m); err != nil || r.Code != wire.SubmitAccepted {
				t.Errorf("%v, %v", r, err)
			}
		})
	}
	wg.Wait()
	after := w.ps["atlanta.example"].st.Stats()
	if commits := after.Commits - before.Commits; commits > n/4 {
		t.Errorf("%d messages took %d commits", n, commits)
	}
	bob.follow(id, 2+n)
	slices.Sort(bob.plain)
	if bob.plain = slices.Compact(bob.plain); len(bob.plain) != n {
		t.Errorf("bob read %d different messages of %d", len(bob.plain), n)
	}
}
