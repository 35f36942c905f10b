package node_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/mimid/mimid/client"
	"github.com/mimid/mimid/node"
	"github.com/mimid/mimid/node/rooms"
	"github.com/mimid/mimid/overlay"
	"github.com/mimid/mimid/protocol/clientapi"
	protocolroom "github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
)

// herd is n rooms in one term.
func herd(n int, number uint64) (out []rooms.Here) {
	for i := range n {
		h := rooms.Here{Term: protocolroom.Term{Number: number}}
		binary.BigEndian.PutUint64(h.Room[:], uint64(i))
		out = append(out, h)
	}
	return out
}

// Three days of a provider with 10,000 rooms that have moved to it all at once: it never
// announces more than nodes take from one peer, the first at once, all within half a day,
// and each again before anybody forgets it. What comes later is not behind them.
func TestPaceOfNotices(t *testing.T) {
	const many = 10_000
	spread := rand.New(rand.NewPCG(9, 9))
	var n node.Notices
	start := time.Unix(1_800_000_000, 0)
	list := herd(many, 2)
	n.Sync(list)
	last := make(map[protocolroom.ID]time.Time)
	var hour [72]int
	for s := range 72 * 3600 {
		now := start.Add(time.Duration(s) * time.Second)
		if s == 3600 {
			late := rooms.Here{Room: protocolroom.ID{1}, Term: protocolroom.Term{Number: 1}}
			list = append(list, late)
		}
		if s%600 == 0 {
			n.Sync(list)
		}
		for {
			h, ok := n.Next(now)
			if !ok {
				break
			}
			hour[s/3600]++
			if before, ok := last[h.Room]; ok && (now.Sub(before) > 44*time.Hour || now.Sub(before) < 20*time.Hour) {
				t.Fatalf("again after %v", now.Sub(before))
			}
			last[h.Room] = now
			n.Done(h, now, time.Duration(spread.Int64N(int64(4*time.Hour))), nil)
		}
		if s == 0 && len(last) != 20 {
			t.Errorf("%d are announced at once", len(last))
		}
		if s == 12*3600 && len(last) != many+1 {
			t.Errorf("%d are announced in half a day", len(last))
		}
	}
	total := 0
	for i, k := range hour {
		if total += k; k > 920 {
			t.Errorf("%d in hour %d", k, i)
		}
	}
	end := start.Add(72 * time.Hour)
	for id, at := range last {
		if end.Sub(at) > 44*time.Hour {
			t.Fatalf("room %x was last announced %v before the end", id[:8], end.Sub(at))
		}
	}
	if total > 4*many {
		t.Errorf("%d announcements in three days", total)
	}
}

// A room is announced anew at once in a later term, not any more when it is gone, and
// again a minute after a failure; repetitions wait for new ones.
func TestNotices(t *testing.T) {
	var n node.Notices
	now := time.Unix(1_800_000_000, 0)
	next := func(want bool) rooms.Here {
		t.Helper()
		h, ok := n.Next(now)
		if ok != want {
			t.Fatalf("announces %v, %t", h, ok)
		}
		return h
	}
	next(false)
	n.Sync(herd(1, 1))
	n.Done(next(true), now, 0, nil)
	next(false)
	n.Sync(herd(1, 2))
	h := next(true)
	if h.Term.Number != 2 {
		t.Errorf("term %v", h.Term)
	}
	n.Done(h, now, 0, errors.New("no peers"))
	next(false)
	now = now.Add(time.Minute)
	h = next(true)
	n.Sync(herd(1, 3)) // meanwhile
	n.Done(h, now, 0, nil)
	if h = next(true); h.Term.Number != 3 {
		t.Errorf("a term that came while another was announced: %v", h.Term)
	}
	n.Done(h, now, 0, nil)
	now = now.Add(21 * time.Hour)
	n.Sync(herd(2, 3))
	if h = next(true); h != herd(2, 3)[1] {
		t.Errorf("the repetition comes before the new one")
	}
	n.Done(h, now, 0, nil)
	next(true)
	if gone := n.Sync(nil); gone != 2 {
		t.Errorf("%d are gone", gone)
	}
	next(false)
}

// What a person is told when nobody is found.
func TestFindProblem(t *testing.T) {
	u, err := uri.ParseRoom("mimi://atlanta.example/r/clubhouse")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		err    error
		status int
		text   string
	}{
		{overlay.ErrRoomUnknown, 404, "it never moved away from atlanta.example"},
		{fmt.Errorf("%w: its signer is unknown: %w", overlay.ErrRoomRecord, overlay.ErrUnknownProvider), 404, "its signer is unknown: unknown provider"},
		{fmt.Errorf("%w: looking", overlay.ErrNoPeers), 503, "try again later"},
		{overlay.ErrNotRunning, 503, "try again later"},
	} {
		var p *clientapi.Problem
		if err := node.FindProblem(c.err, u); !errors.As(err, &p) || p.Status != c.status || !strings.Contains(p.Detail, c.text) || strings.Contains(p.Detail, "overlay:") {
			t.Errorf("%v: %v", c.err, err)
		}
	}
	if err := node.FindProblem(nil, u); err != nil {
		t.Error(err)
	}
	if err := node.FindProblem(context.Canceled, u); err != context.Canceled {
		t.Error(err)
	}
}

// TestFoundByURI: three providers share a room; the one that it began at hands it over
// and is never seen again. Somebody at a fourth provider, which never saw the room and
// knows its URI, finds who orders it, also when it has moved on; and whoever is in the
// room finds it proven.
func TestFoundByURI(t *testing.T) {
	ctx := t.Context()
	b := prepare(t, "biloxi.example").must() // what the others meet through
	boot := b.status().Addresses[0]
	a, c := prepare(t, "atlanta.example", boot).must(), prepare(t, "chicago.example", boot).must()
	alice, bob, carol := a.user("alice"), b.user("bob"), c.user("carol")
	for _, x := range []*client.Client{bob, carol} {
		if err := x.Accept(ctx, alice.User()); err != nil {
			t.Fatal(err)
		}
	}
	room, err := alice.CreateRoom(ctx, "room")
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []*client.Client{bob, carol} {
		within(t, "somebody can be added", func() bool { return alice.AddUser(ctx, room, x.User()) == nil })
	}
	within(t, "three providers decide", func() bool { v, err := carol.Verify(ctx, room); return err == nil && v.Replicas == 3 })

	found := func(x *client.Client, u uri.Room) (*clientapi.FoundRoom, error) {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		return x.WhoOrders(ctx, u.String())
	}
	if f, err := found(bob, room); err != nil || !f.Proven || len(f.Hubs) != 1 || f.Hubs[0].Provider != "atlanta.example" {
		t.Errorf("a member is told %+v, %v", f, err)
	}
	d := prepare(t, "dallas.example", boot).must()
	dave := d.user("dave")
	if f, err := found(dave, room); err == nil || !strings.Contains(err.Error(), "nobody says that it orders") {
		t.Errorf("before it has moved: %+v, %v", f, err)
	}

	if _, err := a.operator().MoveRoom(ctx, room.String(), "chicago.example"); err != nil {
		t.Fatal(err)
	}
	a.stop()
	finds := func(x *client.Client, hub string) {
		t.Helper()
		within(t, hub+" is found", func() bool {
			f, err := found(x, room)
			return err == nil && !f.Proven && f.Hubs[0].Provider == hub
		})
	}
	finds(dave, "chicago.example")
	f, err := found(dave, room)
	if err != nil || len(f.Hubs) != 1 || f.Hubs[0].Term == "0.1" || f.Hubs[0].Said == 0 || f.URI != room.String() {
		t.Errorf("%+v, %v", f, err)
	}
	within(t, "bob's provider follows", func() bool { v, err := bob.Verify(ctx, room); return err == nil && v.Hub == "chicago.example" })
	if f, err := found(bob, room); err != nil || !f.Proven || f.Hubs[0].Provider != "chicago.example" {
		t.Errorf("a member is told %+v, %v", f, err)
	}
	// The new one dies, too: the last one takes the room over, and says so.
	within(t, "it can move on", func() bool {
		_, err := c.operator().MoveRoom(ctx, room.String(), "biloxi.example")
		return err == nil
	})
	finds(dave, "biloxi.example")
	stranger := b.user("eve") // at the hub itself, and not in the room
	finds(stranger, "biloxi.example")
	c.stop()
	late := prepare(t, "elgin.example", boot).must()
	finds(late.user("erin"), "biloxi.example")
}

// TestFourthProvider: somebody of a fourth provider, which decides nothing, comes into a
// room that three decide about; its provider has the log from the beginning. It is away
// while the room moves from its hub, which then is gone for good, and nobody says
// anything: when it is back, it follows the present hub.
func TestFourthProvider(t *testing.T) {
	ctx := t.Context()
	b := prepare(t, "biloxi.example").must()
	boot := b.status().Addresses[0]
	a, c, d := prepare(t, "atlanta.example", boot).must(), prepare(t, "chicago.example", boot).must(), prepare(t, "dallas.example", boot).must()
	alice, people := a.user("alice"), []*client.Client{b.user("bob"), c.user("carol"), d.user("dave")}
	for _, x := range people {
		if err := x.Accept(ctx, alice.User()); err != nil {
			t.Fatal(err)
		}
	}
	room, err := alice.CreateRoom(ctx, "room")
	if err != nil {
		t.Fatal(err)
	}
	add := func(x *client.Client) {
		t.Helper()
		within(t, "somebody can be added", func() bool { return alice.AddUser(ctx, room, x.User()) == nil })
	}
	add(people[0])
	add(people[1])
	within(t, "three providers decide", func() bool { v, err := alice.Verify(ctx, room); return err == nil && v.Replicas == 3 })
	add(people[2])
	is := func(r *running, want string) func() bool {
		return func() bool {
			x, err := r.operator().Room(ctx, room.String())
			return err == nil && x.Hub+" "+x.Role == want
		}
	}
	within(t, "dallas follows", is(d, "atlanta.example follower"))
	d.stop()
	if _, err := a.operator().MoveRoom(ctx, room.String(), "chicago.example"); err != nil {
		t.Fatal(err)
	}
	a.stop()
	d.must()
	// It asks when it is connected; if those that it asks do not know yet that the move is
	// final, again a minute later.
	for end := time.Now().Add(90 * time.Second); !is(d, "chicago.example follower")(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("dallas does not follow again within 90 s")
		}
	}
}

// TestNewToAMovedRoom: somebody of a third provider comes into a room that one provider
// alone has decided about, and that has moved: the notice does not come from where the
// room's URI says that it began, and the log begins in one term and goes on in another.
func TestNewToAMovedRoom(t *testing.T) {
	ctx := t.Context()
	a := prepare(t, "atlanta.example").must()
	boot := a.status().Addresses[0]
	b, c := prepare(t, "biloxi.example", boot).must(), prepare(t, "chicago.example", boot).must()
	alice, bob, carol := a.user("alice"), b.user("bob"), c.user("carol")
	for _, x := range []*client.Client{bob, carol} {
		if err := x.Accept(ctx, alice.User()); err != nil {
			t.Fatal(err)
		}
	}
	room, err := alice.CreateRoom(ctx, "room")
	if err != nil {
		t.Fatal(err)
	}
	within(t, "bob can be added", func() bool { return alice.AddUser(ctx, room, bob.User()) == nil })
	within(t, "it can be moved", func() bool {
		_, err := a.operator().MoveRoom(ctx, room.String(), "biloxi.example")
		return err == nil
	})
	within(t, "carol can be added", func() bool { return alice.AddUser(ctx, room, carol.User()) == nil })
	within(t, "chicago follows", func() bool {
		x, err := c.operator().Room(ctx, room.String())
		return err == nil && x.Hub == "biloxi.example"
	})
}
