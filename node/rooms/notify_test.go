package rooms_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mimid/mimid/node/rooms"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
	"github.com/mimid/mimid/store"
)

var notify = wire.EndpointNotify.String()

// TestInventedRooms: a provider that tells of rooms and then shows none leaves
// nothing behind, however many it makes up, nor do rooms that cannot begin.
func TestInventedRooms(t *testing.T) {
	w, alice, _, _ := pair(t, nil)
	p, biloxi := w.ps["atlanta.example"], w.ps["biloxi.example"]
	biloxi.set(func() {
		biloxi.answer = func(ctx context.Context, q *rooms.Request, endpoint string, next rooms.Endpoint) (*rooms.Response, error) {
			if endpoint == rooms.EndpointLog {
				return &rooms.Response{Status: 200}, nil
			}
			return next(ctx, q)
		}
	})
	body := must((wire.Fanout{{Timestamp: 1, Message: must(alice.group.Commit(mls.CommitOptions{}, time.Now()))(t).Message}}).Bytes())(t)
	const n = 10_000
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for j := i; j < n; j += 16 {
				_, err := p.serve(context.Background(), notify, &rooms.Request{Source: "biloxi.example", Subject: fmt.Sprintf("mimi://biloxi.example/r/%032d", j), Body: body})
				if !strings.HasPrefix(status(err), "422 ") {
					t.Errorf("an invented room: %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
	// The caller goes before the room's goroutine does, which has the handle then.
	stalled := make(chan struct{})
	biloxi.set(func() {
		biloxi.answer = func(ctx context.Context, q *rooms.Request, endpoint string, next rooms.Endpoint) (*rooms.Response, error) {
			<-stalled
			return &rooms.Response{Status: 200}, nil
		}
	})
	for i := range 20 {
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		_, err := p.serve(ctx, notify, &rooms.Request{Source: "biloxi.example", Subject: fmt.Sprintf("mimi://biloxi.example/r/%032dx", i), Body: body})
		cancel()
		if !strings.HasPrefix(status(err), "503 ") {
			t.Errorf("a room that is not shown in time: %v", err)
		}
	}
	if n := p.rooms.Handles(); n < 20 {
		t.Errorf("%d handles while rooms are asked for", n)
	}
	close(stalled)
	for i := range 20 {
		bad := &clientapi.NewRoom{URI: fmt.Sprintf("mimi://atlanta.example/r/%032d", i), Nonce: nonce()}
		r := must(uri.ParseRoom(bad.URI))(t)
		g := must(mls.CreateGroup(mls.GroupParams{LeafParams: alice.leaf, GroupID: must(room.GroupID(r))(t),
			Extensions: must(room.Extensions(alice.who.User, &room.Hosting{Term: room.FirstTerm, Failover: room.FailoverAdmin,
				Hub: room.Replica{Domain: "chicago.example", FrankingKey: make([]byte, 32)}, Replicas: []room.Replica{{Domain: "chicago.example", FrankingKey: make([]byte, 32)}}}, nil))(t)}, alice.config()))(t)
		bad.GroupInfo, bad.Tree = must(g.GroupInfo(false))(t).Bytes(), g.Public().Tree().Bytes()
		if _, err := p.rooms.CreateRoom(context.Background(), alice.who, bad); !strings.HasPrefix(status(err), "422 ") {
			t.Fatalf("a room of another hub: %v", err)
		}
	}
	eventually(t, "handles are freed", func() bool { return p.rooms.Handles() == 1 })
	if s := p.rooms.Stats(); s.Rooms != 1 {
		t.Errorf("%+v", s)
	}
}

// TestForeignNotify: only a room's hub tells of it.
func TestForeignNotify(t *testing.T) {
	w, alice, _, _ := pair(t, nil)
	p := w.ps["biloxi.example"]
	name := p.rooms.List()[0].URI
	body := must((wire.Fanout{{Timestamp: 1, Message: must(alice.group.Commit(mls.CommitOptions{}, time.Now()))(t).Message}}).Bytes())(t)
	for subject, want := range map[string]string{name: "403 ", "mimi://atlanta.example/r/" + strings.Repeat("y", 32): "403 ", "room": "422 "} {
		if _, err := p.serve(context.Background(), notify, &rooms.Request{Source: "chicago.example", Subject: subject, Body: body}); !strings.HasPrefix(status(err), want) {
			t.Errorf("%s: %v", subject, err)
		}
	}
	if _, err := p.serve(context.Background(), notify, &rooms.Request{Source: "atlanta.example", Subject: name, Body: body[:9]}); !strings.HasPrefix(status(err), "422 ") {
		t.Errorf("a cut notice: %v", err)
	}
	eventually(t, "no handle is kept of rooms that there are not", func() bool { return p.rooms.Handles() == 1 })
	// Nor may another provider that has the room, to one that knows nothing of it.
	d := w.ps["chicago.example"]
	w.ps["biloxi.example"].set(func() {
		w.ps["biloxi.example"].answer = func(ctx context.Context, q *rooms.Request, endpoint string, next rooms.Endpoint) (*rooms.Response, error) {
			q.Source = "biloxi.example" // its own way to read
			return next(ctx, q)
		}
	})
	_, err := d.serve(context.Background(), notify, &rooms.Request{Source: "biloxi.example", Subject: name, Body: body})
	if !strings.HasPrefix(status(err), "403 ") || !strings.Contains(err.Error(), "biloxi.example is not the hub") {
		t.Errorf("a follower's notice: %v", err)
	}
}

// welcomes counts the Welcomes in a user's feed.
func (d *device) welcomes() int {
	t := d.p.w.t
	t.Helper()
	n := 0
	mark := fmt.Sprint(time.Now().UnixNano())
	err := d.p.st.Update(context.Background(), func(tx *store.Tx) error { return d.p.feed.Put(tx, d.who.User, "mark", mark) })
	if err != nil {
		t.Fatal(err)
	}
	d.listen("", func(_, event, data string) bool {
		if event == clientapi.EventWelcome {
			n++
		}
		return event == "mark" && strings.Contains(data, mark)
	})
	return n
}

// notices records the notices to a provider and hands none of them on while held.
type notices struct {
	mu   sync.Mutex
	list []*rooms.Request
	held bool
}

func (n *notices) answer(ctx context.Context, q *rooms.Request, endpoint string, next rooms.Endpoint) (*rooms.Response, error) {
	if endpoint == notify {
		n.mu.Lock()
		n.list = append(n.list, q)
		held := n.held
		n.mu.Unlock()
		if held {
			return nil, &clientapi.Problem{Status: 503, Code: clientapi.CodeUnavailable}
		}
	}
	return next(ctx, q)
}

func (n *notices) first(t *testing.T) *rooms.Request {
	t.Helper()
	eventually(t, "a notice", func() bool { n.mu.Lock(); defer n.mu.Unlock(); return len(n.list) > 0 })
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.list[0]
}

// TestWelcomeOnce: a notice that comes again, also after a restart, puts no second
// Welcome into the feed.
func TestWelcomeOnce(t *testing.T) {
	var n notices
	w, _, bob, _ := pair(t, func(w *world) { w.ps["biloxi.example"].answer = n.answer })
	p := w.ps["biloxi.example"]
	bill := w.device("bill@biloxi.example", "phone")
	q := n.first(t)
	again := func(when string) {
		t.Helper()
		for range 3 {
			if r, err := p.serve(context.Background(), notify, q); err != nil || r.Status != 201 {
				t.Errorf("%s: %+v, %v", when, r, err)
			}
		}
		if got := bob.welcomes(); got != 1 {
			t.Errorf("%s: %d Welcomes in the feed", when, got)
		}
		if got := bill.welcomes(); got != 0 {
			t.Errorf("%s: %d Welcomes for somebody else", when, got)
		}
	}
	again("again")
	p.restart()
	again("after a restart")
}

// TestWelcomeFirst: a Welcome that comes before the room's log can be read is not
// taken, so that the hub tells again.
func TestWelcomeFirst(t *testing.T) {
	w := newWorld(t, "atlanta.example", "biloxi.example")
	atlanta, biloxi := w.ps["atlanta.example"], w.ps["biloxi.example"]
	alice, bob := w.device("alice@atlanta.example", "phone"), w.device("bob@biloxi.example", "phone")
	id, _, err := alice.create("room")
	if err != nil {
		t.Fatal(err)
	}
	atlanta.set(func() {
		atlanta.answer = func(ctx context.Context, q *rooms.Request, endpoint string, next rooms.Endpoint) (*rooms.Response, error) {
			if endpoint == rooms.EndpointLog {
				return nil, errors.New("not now")
			}
			return next(ctx, q)
		}
	})
	if err := alice.add(id, bob); err != nil {
		t.Fatal(err)
	}
	eventually(t, "told twice", func() bool { return biloxi.called(notify) >= 2 })
	if got := bob.welcomes(); got != 0 {
		t.Errorf("%d Welcomes of a room that is not there", got)
	}
	atlanta.set(func() { atlanta.answer = nil })
	alice.follow(id, 2)
	bob.follow(id, 2)
	if r, err := bob.send(id, bob.message("here")); err != nil || r.Code != wire.SubmitAccepted {
		t.Errorf("%v, %v", r, err)
	}
}

// TestWelcomeLate: the commit of a Welcome that comes long after it, and after a
// restart, is found with few reads; one that no commit fits is not looked for
// without end.
func TestWelcomeLate(t *testing.T) {
	n := notices{held: true}
	w := prepareWorld(t, false, "atlanta.example", "biloxi.example")
	w.ps["biloxi.example"].answer = n.answer
	w.start()
	p := w.ps["biloxi.example"]
	alice, bob := w.device("alice@atlanta.example", "phone"), w.device("bob@biloxi.example", "phone")
	id, _, err := alice.create("room")
	if err != nil {
		t.Fatal(err)
	}
	const before, after = 100, 400
	for range before {
		if _, err := alice.send(id, alice.message("before")); err != nil {
			t.Fatal(err)
		}
	}
	if err := alice.add(id, bob); err != nil {
		t.Fatal(err)
	}
	alice.follow(id, before+2)
	for range after {
		if _, err := alice.send(id, alice.message("after")); err != nil {
			t.Fatal(err)
		}
	}
	q := n.first(t)
	// The room is told of without the Welcome.
	bare := *q
	bare.Body = must((wire.Fanout{{Timestamp: 1, Message: must(alice.group.Commit(mls.CommitOptions{}, time.Now()))(t).Message}}).Bytes())(t)
	if _, err := p.rooms.Endpoints()[notify](context.Background(), &bare); err != nil {
		t.Fatal(err)
	}
	if l := p.rooms.List()[0]; l.Next != before+2+after {
		t.Fatalf("%+v", l)
	}
	if got := bob.welcomes(); got != 0 {
		t.Fatalf("%d Welcomes already", got)
	}
	n.mu.Lock()
	n.held = false
	n.mu.Unlock()
	p.restart()
	eventually(t, "the Welcome is taken", func() bool {
		_, err := p.serve(context.Background(), notify, q)
		return err == nil
	})
	if reads := p.rooms.Searched(); reads == 0 || reads > 64 {
		t.Errorf("%d entries read to find a commit of a log of %d", reads, before+2+after)
	}
	if got := bob.welcomes(); got != 1 {
		t.Errorf("%d Welcomes", got)
	}
	bob.listen("", func(_, event, data string) bool {
		var welcome clientapi.Welcome
		if event != clientapi.EventWelcome {
			return false
		}
		if err := json.Unmarshal([]byte(data), &welcome); err != nil {
			t.Fatal(err)
		}
		bob.join(&welcome)
		return true
	})
	bob.follow(id, before+2+after)

	// No commit of the log makes such a tree.
	p.rooms.LimitSearch(300)
	seen := p.rooms.Searched()
	if _, found, err := p.rooms.SearchCommit(context.Background(), room.ID(id), make([]byte, 32), 0); found || err != nil {
		t.Errorf("%v, %v", found, err)
	}
	if reads := p.rooms.Searched() - seen; reads < 300 || reads > 300+16 {
		t.Errorf("%d entries read", reads)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	seen = p.rooms.Searched()
	if _, _, err := p.rooms.SearchCommit(ctx, room.ID(id), make([]byte, 32), 0); !errors.Is(err, context.Canceled) {
		t.Errorf("nobody waits any more: %v", err)
	}
	if reads := p.rooms.Searched() - seen; reads > 16 {
		t.Errorf("%d entries read for nobody", reads)
	}
}

// TestRemovedProvider: a provider whose last user is removed reads the log to the
// entry that says so, and no further.
func TestRemovedProvider(t *testing.T) {
	w, alice, bob, id := pair(t, nil)
	biloxi := w.ps["biloxi.example"]
	var o mls.CommitOptions
	o.Remove = []mls.LeafIndex{1}
	o.Proposals = append(o.Proposals, must(room.UpdateParticipants(alice.group.Public().Context(), nil, []uri.User{bob.who.User}))(t))
	if err := alice.commit(id, o); err != nil {
		t.Fatal(err)
	}
	eventually(t, "biloxi learns that it is out", func() bool { return biloxi.rooms.List()[0].Next == 3 })
	alice.follow(id, 3)
	for range 3 {
		if r, err := alice.send(id, alice.message("among us")); err != nil || r.Code != wire.SubmitAccepted {
			t.Fatalf("%v, %v", r, err)
		}
	}
	all := must(room.ParsePiece(w.logOf(id, 0), 1<<20))(t)
	for {
		last := all.Entries[len(all.Entries)-1].Seq
		if last > 2 {
			t.Fatalf("biloxi reads entry %d", last)
		}
		if last == 2 {
			break
		}
		all = must(room.ParsePiece(w.logOf(id, last+1), 1<<20))(t)
	}
	if more := w.logOf(id, 3); len(more) != 0 {
		t.Errorf("biloxi reads %d bytes behind its removal", len(more))
	}
	w.ps["atlanta.example"].rooms.TakePart(room.ID(id), "biloxi.example")
	if more := w.logOf(id, 3); len(more) != 0 {
		t.Errorf("biloxi reads %d bytes while its removal is being written", len(more))
	}
	biloxi.rooms.Exchange(context.Background(), "atlanta.example")
	biloxi.restart()
	biloxi.rooms.Exchange(context.Background(), "atlanta.example")
	time.Sleep(50 * time.Millisecond)
	if l := biloxi.rooms.List()[0]; l.Next != 3 {
		t.Errorf("%+v", l)
	}
	if _, err := bob.send(id, bob.message("still here?")); !strings.HasPrefix(status(err), "404 ") {
		t.Errorf("who was removed sends: %v", err)
	}
}

// TestLookups: who does not take part cannot make a hub look anybody up; who does
// can for its own room, and so many at a time.
func TestLookups(t *testing.T) {
	w, alice, _, id := pair(t, func(w *world) { w.lazy = true })
	p := w.ps["atlanta.example"]
	looked := func() int {
		p.mu.Lock()
		defer p.mu.Unlock()
		n := 0
		for d, times := range p.known {
			if d == "chicago.example" || strings.HasPrefix(d, "many") {
				n += times
			}
		}
		return n
	}
	name := p.rooms.List()[0].URI
	carol := w.device("carol@chicago.example", "phone")
	raw := alice.handshake(alice.adding(carol))
	if r, err := p.serve(context.Background(), wire.EndpointUpdate.String(), &rooms.Request{Source: "chicago.example", Subject: name, Body: raw, ID: room.NewTxnNonce()}); err == nil {
		if res := must(wire.ParseUpdateRoomResponse(r.Body, wire.Limits{}))(t); res.Code == wire.UpdateSuccess {
			t.Error("a stranger's update is taken")
		}
	}
	if n := looked(); n != 0 {
		t.Errorf("%d lookups for a stranger", n)
	}
	var o mls.CommitOptions
	var many []room.Participant
	for i := range rooms.MaxLookups + 20 {
		many = append(many, room.Participant{User: must(uri.ParseShort(fmt.Sprintf("u@many%d.example", i)))(t), Role: policy.Member})
	}
	o.Proposals = append(o.Proposals, must(room.UpdateParticipants(alice.group.Public().Context(), many, nil))(t))
	// By a provider that takes part, and in the name of a user that is not its own.
	r := must(p.serve(context.Background(), wire.EndpointUpdate.String(), &rooms.Request{Source: "biloxi.example", Subject: name, Body: alice.handshake(o), ID: room.NewTxnNonce()}))(t)
	if res := must(wire.ParseUpdateRoomResponse(r.Body, wire.Limits{}))(t); res.Code != wire.UpdateNotAllowed {
		t.Errorf("%s %s", res.Code, res.Description)
	}
	if n := looked(); n != rooms.MaxLookups {
		t.Errorf("%d lookups for one update, %d at most", n, rooms.MaxLookups)
	}
	if err := alice.update(id, raw); err != nil {
		t.Errorf("carol, whose provider is looked up: %v", err)
	}
	if n := looked(); n <= rooms.MaxLookups {
		t.Error("carol's provider is not looked up")
	}
}

// TestNudgesCarryOn: more heads than fit into one call take another.
func TestNudgesCarryOn(t *testing.T) {
	w := newWorld(t, "atlanta.example", "biloxi.example")
	p := w.ps["biloxi.example"]
	var mu sync.Mutex
	seen := map[room.ID]bool{}
	p.set(func() {
		p.answer = func(_ context.Context, q *rooms.Request, endpoint string, _ rooms.Endpoint) (*rooms.Response, error) {
			stands, err := room.ParseStands(q.Body)
			mu.Lock()
			defer mu.Unlock()
			for _, s := range stands {
				seen[s.Room] = true
			}
			return &rooms.Response{Status: 200}, err
		}
	})
	heads := make([]room.SignedHead, room.MaxStands+5)
	for i := range heads {
		heads[i].Room = room.IDOf([]byte(fmt.Sprint(i)))
	}
	w.ps["atlanta.example"].rooms.NudgeAll("biloxi.example", heads)
	eventually(t, "all are told", func() bool { mu.Lock(); defer mu.Unlock(); return len(seen) == len(heads) })
	if n := p.called(rooms.EndpointNudge); n > 3 {
		t.Errorf("%d calls", n)
	}
}
