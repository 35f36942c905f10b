package contact_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mimid/mimid/node/abuse"
	"github.com/mimid/mimid/node/contact"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
	"github.com/mimid/mimid/store"
)

func roomAtAtlanta(n int) uri.Room {
	u, err := uri.ParseRoom(fmt.Sprintf("mimi://atlanta.example/r/room%d", n))
	if err != nil {
		panic(err)
	}
	return u
}

func idOf(u uri.Room) room.ID { return room.IDOf([]byte(u.String())) }

// put does what a room does when somebody adds the user: it asks, and hides the room or not.
func (u *user) put(into uri.Room, by *user) (held bool) {
	p, t := u.p, u.p.w.t
	t.Helper()
	err := p.store.Update(t.Context(), func(tx *store.Tx) (err error) {
		if held, err = p.Enters(tx, into, u.who.User, by.who.User, 3); err != nil {
			return err
		}
		pos, err := p.hidden.Next(tx)
		if err != nil {
			return err
		}
		if held {
			return p.hidden.Hide(tx, u.who.User, idOf(into), pos)
		}
		return p.hidden.Join(tx, u.who.User, idOf(into), pos)
	})
	if err != nil {
		t.Fatal(err)
	}
	return held
}

// welcome does what a room does when a Welcome comes.
func (u *user) welcome(into uri.Room, octets int) (held bool) {
	t := u.p.w.t
	t.Helper()
	err := u.p.store.Update(t.Context(), func(tx *store.Tx) (err error) {
		held, err = u.p.Welcomed(tx, u.who.User, &clientapi.Welcome{Room: idOf(into).String(), URI: into.String(), Welcome: make([]byte, octets), At: clientapi.Position{Next: 4}})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return held
}

// rooms are those that the user's devices find.
func (u *user) rooms() int {
	t := u.p.w.t
	t.Helper()
	n := 0
	err := u.p.store.View(func(tx *store.Tx) error {
		list, err := u.p.hidden.Rooms(tx, u.who.User)
		n = len(list)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (u *user) judge(about uri.Room, verdict string) error {
	return u.p.Judged(context.Background(), u.who, store.RoomID(idOf(about)), &clientapi.JudgeHeld{Verdict: verdict})
}

func (u *user) held() *clientapi.Quarantine {
	u.p.w.t.Helper()
	return must(u.p.Quarantine(context.Background(), u.who))(u.p.w.t)
}

// A room by a stranger is held, with its Welcome; the devices find neither room nor event.
// Accepted, over a restart, it is there, and the Welcome comes as it was.
func TestHeldRoom(t *testing.T) {
	w := newWorld(t, atlanta, biloxi)
	carol, bob := w.user("carol@atlanta.example"), w.user("bob@biloxi.example")
	bob.set("quarantine")
	bob.p.seen()
	if got, _ := carol.claim(bob.uri(), ""); got != wire.KeyMaterialSuccess {
		t.Errorf("KeyPackages in mode quarantine: %v", got)
	}
	garden := roomAtAtlanta(1)
	const size = 100_000 // several pieces
	if !bob.put(garden, carol) || !bob.welcome(garden, size) {
		t.Fatal("the room is not held")
	}
	if n, seen := bob.rooms(), bob.p.seen(); n != 0 || len(seen) != 0 {
		t.Errorf("the devices find %d rooms, and hear %.200q", n, seen)
	}
	q := bob.held()
	if len(q.Rooms) != 1 || q.Rooms[0].By != string(carol.uri()) || q.Rooms[0].URI != garden.String() || q.Rooms[0].Octets < size || !q.Rooms[0].Joins ||
		q.Rooms[0].At != w.clock().UnixMilli() || q.Rooms[0].Until != w.clock().Add(14*24*time.Hour).UnixMilli() {
		t.Errorf("quarantine: %+v", q)
	}
	_, octets := bob.p.records() // decodes each, too
	if octets < size {
		t.Errorf("%d octets are stored", octets)
	}
	bob.p.restart()
	wantProblem(t, bob.judge(garden, "perhaps"), clientapi.CodeInvalid, "a verdict that is none")
	wantProblem(t, bob.judge(roomAtAtlanta(2), clientapi.HeldAccept), clientapi.CodeNotFound, "another room")
	if err := bob.judge(garden, clientapi.HeldAccept); err != nil {
		t.Fatal(err)
	}
	seen := bob.p.seen()
	if len(seen) != 1 || !strings.HasPrefix(seen[0], "bob: welcome ") || len(seen[0]) < size || bob.rooms() != 1 {
		t.Errorf("accepted: %d rooms, %.200q", bob.rooms(), seen)
	}
	if got, want := bob.p.consents(bob.who), "carol->bob"+garden.String()+" granted; "; got != want {
		t.Errorf("accepting is consent for %q, not %q", got, want)
	}
	if n, _ := bob.p.records(); n != 3 { // the mode, the grant and how many grants there are
		t.Errorf("%d records are left", n)
	}
	wantProblem(t, bob.judge(garden, clientapi.HeldReject), clientapi.CodeNotFound, "a second verdict")
	if bob.welcome(garden, 10) {
		t.Error("a Welcome to a room that was accepted is held")
	}
}

// Rejecting drops the Welcome and tells nobody; whoever did it may not do it again in this room.
// Reporting is that, a block, and a word to the operator.
func TestRejectHeld(t *testing.T) {
	w := newWorld(t, atlanta)
	reports := &reportsOf{}
	w.add(biloxi, func(c *contact.Config) { c.Reports = reports })
	carol, bob := w.user("carol@atlanta.example"), w.user("bob@biloxi.example")
	bob.set("quarantine")
	bob.p.seen()
	one, two := roomAtAtlanta(1), roomAtAtlanta(2)
	for _, r := range []uri.Room{one, two} {
		if !bob.put(r, carol) || !bob.welcome(r, 10) {
			t.Fatal("not held")
		}
	}
	if err := bob.judge(one, clientapi.HeldReject); err != nil {
		t.Fatal(err)
	}
	if !bob.welcome(one, 10) {
		t.Error("a Welcome to what was rejected reaches the devices")
	}
	if got, _ := carol.claim(bob.uri(), one.String()); got != wire.KeyMaterialNoConsent {
		t.Errorf("KeyPackages for a room that was rejected: %v", got)
	}
	if got, _ := carol.claim(bob.uri(), two.String()); got != wire.KeyMaterialSuccess {
		t.Errorf("for another one: %v", got)
	}
	if len(reports.got) != 0 {
		t.Error("the operator is told of a rejection")
	}
	reports.err = abuse.ErrFull // which is not the user's trouble
	if err := bob.judge(two, clientapi.HeldReport); err != nil {
		t.Fatal(err)
	}
	if len(reports.got) != 1 || reports.got[0].Abuser != string(carol.uri()) || reports.got[0].Room != two.String() {
		t.Errorf("the operator is told %+v", reports.got)
	}
	if got, _ := carol.claim(bob.uri(), roomAtAtlanta(3).String()); got != wire.KeyMaterialNoConsent {
		t.Errorf("KeyPackages for whom was reported: %v", got)
	}
	if n := bob.rooms(); n != 0 || len(bob.p.seen()) != 0 || len(bob.held().Rooms) != 0 {
		t.Errorf("the devices find %d rooms", n)
	}
	bob.p.mu.Lock()
	waits := len(bob.p.waits)
	bob.p.mu.Unlock()
	if waits != 0 {
		t.Errorf("another provider is told: %+v", bob.p.waits)
	}
}

type reportsOf struct {
	got []abuse.Report
	err error
}

func (r *reportsOf) Put(_ context.Context, x abuse.Report, _ abuse.Voice) (uint64, error) {
	r.got = append(r.got, x)
	return 1, r.err
}

// What an own user does itself, what somebody does whom it lets, and what it knocks for is not
// held; nor is anything in the other modes.
func TestNotHeld(t *testing.T) {
	w := newWorld(t, atlanta)
	knocked := roomAtAtlanta(7)
	w.add(biloxi, func(c *contact.Config) {
		c.Waits = func(_ *store.Tx, _ uri.User, r uri.Room) (bool, error) { return r == knocked, nil }
	})
	carol, dave, bob := w.user("carol@atlanta.example"), w.user("daved@atlanta.example"), w.user("bob@biloxi.example")
	bob.set("quarantine", string(dave.uri()), "open")
	n := 10
	next := func() uri.Room { n++; return roomAtAtlanta(n) }
	for _, c := range []struct {
		why  string
		by   *user
		into uri.Room
		want bool
	}{{"by itself", bob, next(), false}, {"an exception", dave, next(), false}, {"it waits at the door", carol, knocked, false}, {"a stranger", carol, next(), true}} {
		if got := bob.put(c.into, c.by); got != c.want {
			t.Errorf("%s: held %v", c.why, got)
		}
	}
	bob.mustSay(wire.ConsentGrant, carol.uri(), "")
	if got := len(bob.held().Rooms); got != 0 || bob.rooms() != 4 {
		t.Errorf("consent for whom it was leaves %d rooms in quarantine, the devices find %d", got, bob.rooms())
	}
	if bob.put(next(), carol) {
		t.Error("by whom has consent: held")
	}
	for _, mode := range []string{"ask", "open", "closed"} {
		bob.set(mode)
		if bob.put(next(), dave) {
			t.Errorf("mode %s: held", mode)
		}
	}
	// Who comes into a held room by itself hears of it.
	bob.set("quarantine")
	den := next()
	if !bob.put(den, dave) {
		t.Fatal("not held")
	}
	before := bob.rooms()
	if err := bob.p.Comes(t.Context(), bob.who.User, idOf(den)); err != nil {
		t.Fatal(err)
	}
	if bob.rooms() != before+1 || len(bob.held().Rooms) != 0 {
		t.Error("who comes into a held room by itself does not hear of it")
	}
	// Who is taken off a room's list has nothing in quarantine.
	attic := next()
	bob.put(attic, dave)
	err := bob.p.store.Update(t.Context(), func(tx *store.Tx) error {
		return errors.Join(bob.p.hidden.Leave(tx, bob.who.User, idOf(attic), 99), bob.p.Left(tx, bob.who.User, idOf(attic)))
	})
	if err != nil || len(bob.held().Rooms) != 0 {
		t.Errorf("removed: %v, %+v", err, bob.held())
	}
}

// The caps hold, per user, per user and provider, per provider, and in octets; what is over
// them is dropped, the newest, and reaches no device; and it ends after its time.
func TestHeldCaps(t *testing.T) {
	w := newWorld(t, atlanta, chicago)
	w.add(biloxi, func(c *contact.Config) {
		c.Limits = contact.Limits{HeldPerTarget: 5, HeldPerPair: 3, HeldPerProvider: 4, HeldOctets: 10_000, HeldFor: time.Hour}
	})
	carol, dave := w.user("carol@atlanta.example"), w.user("daved@chicago.example")
	bob, erin := w.user("bob@biloxi.example"), w.user("erin@biloxi.example")
	bob.set("quarantine")
	erin.set("quarantine")
	empty, _ := w.ps[biloxi].records()
	names := func(u *user) (out string) {
		for _, x := range u.held().Rooms {
			out += x.URI[strings.LastIndex(x.URI, "/room")+5:] + " "
		}
		return out
	}
	has := func(u *user, what string, want ...string) {
		t.Helper()
		got := strings.Fields(names(u))
		left := map[string]bool{}
		for _, x := range want {
			left[x] = true
		}
		for _, x := range got {
			if !left[x] {
				t.Errorf("%s: %v, want %v", what, got, want)
			}
		}
		if len(got) != len(want) {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	for n := range 6 { // of which three are kept
		if !bob.put(roomAtAtlanta(n), carol) {
			t.Error("what is over a cap reaches the devices")
		}
	}
	has(bob, "by one provider", "0", "1", "2")
	for n := 10; n < 13; n++ {
		bob.put(roomAtAtlanta(n), dave)
	}
	has(bob, "by another one", "0", "1", "2", "10", "11")
	for n := 20; n < 23; n++ {
		erin.put(roomAtAtlanta(n), carol)
	}
	has(erin, "for another user", "20")
	if !bob.welcome(roomAtAtlanta(0), 6000) || !bob.welcome(roomAtAtlanta(1), 6000) || !bob.welcome(roomAtAtlanta(5), 100) {
		t.Error("a Welcome over a cap reaches the devices")
	}
	for _, x := range bob.held().Rooms {
		if want := x.URI == roomAtAtlanta(0).String(); x.Joins != want {
			t.Errorf("%s: Welcome kept %v, want %v", x.URI, x.Joins, want)
		}
	}
	if !bob.welcome(roomAtAtlanta(0), 2000) || !bob.welcome(roomAtAtlanta(1), 3000) {
		t.Error("not held")
	}
	for _, x := range bob.held().Rooms { // a Welcome in the place of another one counts once
		if want := x.URI == roomAtAtlanta(0).String() || x.URI == roomAtAtlanta(1).String(); x.Joins != want {
			t.Errorf("%s: Welcome kept %v, want %v", x.URI, x.Joins, want)
		}
	}
	// A place that is free again is taken.
	if err := bob.judge(roomAtAtlanta(1), clientapi.HeldReject); err != nil {
		t.Fatal(err)
	}
	bob.put(roomAtAtlanta(30), carol)
	has(bob, "after one was rejected", "0", "2", "10", "11", "30")
	bob.p.pass(t, 59*time.Minute)
	has(bob, "before its time", "0", "2", "10", "11", "30")
	bob.put(roomAtAtlanta(31), dave) // no place
	bob.p.pass(t, time.Minute)
	has(bob, "after its time")
	has(erin, "after its time")
	if n := bob.rooms() + erin.rooms(); n != 0 {
		t.Errorf("what has ended is %d rooms on devices", n)
	}
	if n, _ := w.ps[biloxi].records(); n != empty+2 { // what was rejected, and that it is one decision
		t.Errorf("%d records, %d before", n, empty)
	}
}

// pass lets time pass and has the service drop what is too old.
func (p *provider) pass(t testing.TB, d time.Duration) {
	t.Helper()
	p.w.pass(d)
	if err := p.ExpireHeld(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// A request in mode quarantine ends like a room, and can be answered before.
func TestHeldRequests(t *testing.T) {
	w := newWorld(t, atlanta, biloxi)
	carol, dave, bob := w.user("carol@atlanta.example"), w.user("daved@atlanta.example"), w.user("bob@biloxi.example")
	bob.set("quarantine")
	carol.mustSay(wire.ConsentRequest, bob.uri(), "")
	dave.mustSay(wire.ConsentRequest, bob.uri(), "")
	if q := bob.held(); len(q.Requests) != 2 || q.Requests[0].By != string(carol.uri()) {
		t.Errorf("%+v", q)
	}
	bob.mustSay(wire.ConsentGrant, carol.uri(), "")
	if got := carol.p.consents(carol.who); got != "carol->bob granted; " {
		t.Errorf("Carol sees %q", got)
	}
	bob.p.pass(t, 14*24*time.Hour)
	if q := bob.held(); len(q.Requests) != 0 {
		t.Errorf("after two weeks: %+v", q)
	}
	if got := bob.p.consents(bob.who); got != "carol->bob granted; " {
		t.Errorf("after two weeks Bob sees %q", got)
	}
}
