package knocks_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mimid/mimid/node/knocks"
	"github.com/mimid/mimid/node/peering"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/knock"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
)

func code(err error) clientapi.Code {
	p, ok := errors.AsType[*clientapi.Problem](err)
	if !ok {
		return ""
	}
	return p.Code
}

// The whole way, of a refusal: shown at two providers, refused at one, withdrawn at both, told
// at the third.
func TestRefused(t *testing.T) {
	w := newWorld(t)
	if k := w.must(w.says(carol, knock.Ask, "me")); k.State != clientapi.KnockWaiting || k.Hub != atlanta || k.Note != "me" {
		t.Fatalf("%+v", k)
	}
	w.deliver()
	w.want(alice, "me")
	w.want(bob, "me")
	if err := w.refuse(bob, carol, "another time"); err != nil {
		t.Fatal(err)
	}
	w.want(alice)
	if err := w.refuse(alice, carol, ""); code(err) != clientapi.CodeNotFound {
		t.Errorf("refused twice: %v", err)
	}
	w.deliver()
	w.want(bob)
	list, err := w.ps[chicago].Knocks(context.Background(), identity(carol))
	if err != nil || len(list.Knocks) != 1 || list.Knocks[0].State != clientapi.KnockRefused || list.Knocks[0].Text != "another time" {
		t.Errorf("%+v, %v", list, err)
	}
	for domain, want := range map[string][]string{atlanta: {"alice waiting", "alice gone"}, biloxi: {"bob waiting", "bob gone"},
		chicago: {"carol asking", "carol waiting", "carol refused"}} {
		if got := w.ps[domain].events; !slices.Equal(got, want) {
			t.Errorf("%s told %q, not %q", domain, got, want)
		}
	}
	// Asked again: refused at once, and nobody is told.
	if k := w.must(w.says(carol, knock.Ask, "please")); k.State != clientapi.KnockRefused {
		t.Errorf("%+v", k)
	}
	w.want(alice)
	if _, due := w.ps[chicago].Due(carol, theRoom); due {
		t.Error("an answered knock is brought again")
	}
}

// Carol's provider is away while she is answered; it hears when it is back, and after a restart.
func TestAwayWhileAnswered(t *testing.T) {
	w := newWorld(t)
	w.must(w.says(carol, knock.Ask, "me"))
	w.ps[chicago].set(func() { w.ps[chicago].down = true })
	if err := w.refuse(alice, carol, ""); err != nil {
		t.Fatal(err)
	}
	w.deliver()
	if s := w.state(carol); s != clientapi.KnockWaiting {
		t.Errorf("%s", s)
	}
	w.ps[chicago].restart()
	w.ps[chicago].set(func() { w.ps[chicago].down = false })
	w.deliver()
	if s := w.state(carol); s != clientapi.KnockRefused {
		t.Errorf("%s", s)
	}
}

// What the hub says gets lost for good: the next repetition brings it.
func TestAnswerLost(t *testing.T) {
	w := newWorld(t)
	w.must(w.says(carol, knock.Ask, "me"))
	if err := w.refuse(alice, carol, "no"); err != nil {
		t.Fatal(err)
	}
	w.ps[atlanta].set(func() { w.ps[atlanta].waiting = nil })
	w.ps[chicago].turn()
	if s := w.state(carol); s != clientapi.KnockWaiting {
		t.Errorf("brought again at once: %s", s)
	}
	w.pass(time.Hour + time.Second)
	w.ps[chicago].turn()
	if s := w.state(carol); s != clientapi.KnockRefused {
		t.Errorf("%s", s)
	}
}

// The hub is away, or its answers get lost: the knock is kept, brought again less and less
// often, and shown once.
func TestHubAway(t *testing.T) {
	w := newWorld(t)
	hub, c := w.ps[atlanta], w.ps[chicago]
	hub.set(func() { hub.down = true })
	k := w.must(w.says(carol, knock.Ask, "me"))
	if k.State != clientapi.KnockAsking || !strings.Contains(k.Trouble, atlanta) {
		t.Fatalf("%+v", k)
	}
	w.pass(time.Minute)
	hub.set(func() { hub.down, hub.lost = false, true })
	c.turn()
	w.pass(time.Minute)
	c.turn()
	if s := w.state(carol); s != clientapi.KnockAsking {
		t.Errorf("%s", s)
	}
	w.want(alice, "me") // it has happened all the same
	c.restart()
	hub.set(func() { hub.lost = false })
	c.turn()
	if s := w.state(carol); s != clientapi.KnockWaiting {
		t.Errorf("after a restart: %s", s)
	}
	if n := slices.Index(hub.events, "alice waiting"); n < 0 || slices.Contains(hub.events[n+1:], "alice waiting") {
		t.Errorf("told %q", hub.events)
	}
	// Nobody brings it more than once in an hour from now on.
	before := hub.calls[knock.EndpointKnock]
	for range 60 {
		w.pass(time.Minute)
		c.turn()
	}
	if n := hub.calls[knock.EndpointKnock] - before; n != 1 {
		t.Errorf("brought %d times in an hour", n)
	}
	// And when the hub is away for long, not more than some dozen times a day.
	hub.set(func() { hub.down = true })
	before = hub.calls[knock.EndpointKnock]
	for range 24 * 60 {
		w.pass(time.Minute)
		c.turn()
	}
	if n := hub.calls[knock.EndpointKnock] - before; n < 24 || n > 60 {
		t.Errorf("tried %d times in a day", n)
	}
}

// Taken back while the hub is away: it hears of it when it is back; nobody who has heard is
// left with it. What nobody has heard of is taken back at once.
func TestCancel(t *testing.T) {
	w := newWorld(t)
	hub, c := w.ps[atlanta], w.ps[chicago]
	w.must(w.says(carol, knock.Ask, "me"))
	w.deliver()
	hub.set(func() { hub.down = true })
	if k := w.must(w.says(carol, knock.Cancel, "")); k.State != clientapi.KnockCancelling {
		t.Fatalf("%+v", k)
	}
	if ok, err := c.Admits(context.Background(), bob, carol, theRoom, atlanta); ok || err != nil {
		t.Errorf("admitted after the cancel: %v", err)
	}
	hub.set(func() { hub.down = false })
	w.pass(time.Minute)
	c.turn()
	w.deliver()
	w.want(alice)
	w.want(bob)
	if s := w.state(carol); s != clientapi.KnockCancelled {
		t.Errorf("%s", s)
	}
	if _, err := w.says(carol, knock.Cancel, ""); code(err) != clientapi.CodeNotFound {
		t.Errorf("taken back twice: %v", err)
	}
	w.must(w.says(carol, knock.Ask, "once more"))
	w.deliver()
	w.want(bob, "once more")
}

// The hub has another one become of it: the new one hears from carol's provider, which asks
// the network who it is; or it has a copy, which counts.
func TestHubMoves(t *testing.T) {
	for _, copies := range []bool{true, false} {
		w := newWorld(t)
		w.must(w.says(carol, knock.Ask, "me"))
		if copies {
			w.deliver()
		} else {
			w.ps[atlanta].set(func() { w.ps[atlanta].waiting = nil })
		}
		w.mu.Lock()
		w.hub, w.hints = biloxi, []string{biloxi}
		w.mu.Unlock()
		w.ps[atlanta].set(func() { w.ps[atlanta].down = true })
		if !copies {
			w.want(bob)
			w.pass(time.Hour + time.Second)
			w.ps[chicago].turn()
		}
		w.want(bob, "me")
		if err := w.refuse(bob, carol, ""); err != nil {
			t.Fatal(err)
		}
		w.deliver() // with copies, from another than the one that took it: it is asked, and says so
		w.ps[chicago].turn()
		if s := w.state(carol); s != clientapi.KnockRefused {
			t.Errorf("copies %t: %s", copies, s)
		}
		// The former hub, back, does not answer for the room.
		w.ps[atlanta].set(func() { w.ps[atlanta].down = false })
		_, err := w.ps[chicago].Call(context.Background(), peering.Request{Target: atlanta, Endpoint: knock.EndpointKnock, Subject: theRoom.String(),
			Room: wire.IdentifierURI(theRoom.String()), Body: w.word(carol, knock.Ask, "x")})
		if refused, ok := errors.AsType[*peering.Refused](err); !ok || refused.Problem.Code != clientapi.CodeForbidden {
			t.Errorf("the former hub: %v", err)
		}
	}
}

// Who is let in by the log is inside, at all providers, whatever else is on its way.
func TestInside(t *testing.T) {
	w := newWorld(t)
	w.must(w.says(carol, knock.Ask, "me"))
	w.deliver()
	w.moves(carol, knock.Inside)
	w.want(alice)
	w.want(bob)
	if err := w.refuse(bob, carol, ""); code(err) != clientapi.CodeNotFound {
		t.Errorf("refused though inside: %v", err)
	}
	w.deliver()
	if s := w.state(carol); s != clientapi.KnockInside {
		t.Errorf("%s", s)
	}
	// And nothing is left but what her provider shows her for a while.
	for d, want := range map[string]int{atlanta: 0, biloxi: 0, chicago: 2} {
		if n, _, err := knocks.Size(w.ps[d].store); n != want || err != nil {
			t.Errorf("%s keeps %d keys, %v", d, n, err)
		}
	}
	w.pass(8 * 24 * time.Hour)
	w.ps[chicago].Sweep(context.Background())
	if n, _, err := knocks.Size(w.ps[chicago].store); n != 0 || err != nil {
		t.Errorf("a week later %d keys, %v", n, err)
	}
}

// Who is banned is refused at once, and nobody is told.
func TestBanned(t *testing.T) {
	w := newWorld(t)
	w.moves(carol, knock.Banned)
	if k := w.must(w.says(carol, knock.Ask, "me")); k.State != clientapi.KnockRefused || k.Text != "" {
		t.Fatalf("%+v", k)
	}
	w.deliver()
	for _, d := range []string{atlanta, biloxi} {
		if p := w.ps[d]; len(p.events) > 0 || len(p.waiting) > 0 {
			t.Errorf("%s told %q, %d wait", d, p.events, len(p.waiting))
		}
	}
	w.moves(carol, knock.Closed)
	if k := w.must(w.says(carol, knock.Ask, "me")); k.State != clientapi.KnockClosed {
		t.Errorf("%+v", k)
	}
}

// Nobody answers for two weeks: it ends everywhere, and nothing is left at the hub.
func TestExpires(t *testing.T) {
	w := newWorld(t)
	w.must(w.says(carol, knock.Ask, "me"))
	w.deliver()
	w.pass(knock.Lifetime + time.Minute)
	for _, p := range w.ps {
		p.turn()
		p.Sweep(context.Background())
	}
	w.want(alice)
	w.want(bob)
	if s := w.state(carol); s != clientapi.KnockExpired {
		t.Errorf("%s", s)
	}
	for _, d := range []string{atlanta, biloxi} {
		if n, _, err := knocks.Size(w.ps[d].store); n != 0 || err != nil {
			t.Errorf("%s keeps %d keys, %v", d, n, err)
		}
	}
}

// A knock lets fetch KeyPackages: the hub that was asked for whoever it asks, and nobody else,
// while it waits.
func TestAdmits(t *testing.T) {
	w := newWorld(t)
	admits := func(by uri.User, source string) bool {
		t.Helper()
		ok, err := w.ps[chicago].Admits(context.Background(), by, carol, theRoom, source)
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	if admits(bob, atlanta) {
		t.Error("before she has knocked")
	}
	w.must(w.says(carol, knock.Ask, "me"))
	if !admits(bob, atlanta) || admits(bob, biloxi) || admits(user("mallory", chicago), chicago) {
		t.Error("not the hub, or others than the hub")
	}
	other := must(uri.ParseRoom("mimi://atlanta.example/r/bbbbbbbbbbbbbbbbbbbb"))
	if ok, err := w.ps[chicago].Admits(context.Background(), bob, carol, other, atlanta); ok || err != nil {
		t.Error("for another room", err)
	}
	w.pass(knock.Lifetime + time.Second)
	if admits(bob, atlanta) {
		t.Error("after two weeks")
	}
}

// Hostile words and words of others, at every endpoint.
func TestHostile(t *testing.T) {
	w := newWorld(t)
	w.must(w.says(carol, knock.Ask, "me"))
	w.deliver()
	mallory := w.add("mallory.example")
	call := func(from *site, to, endpoint string, body []byte) clientapi.Code {
		_, err := from.Call(context.Background(), peering.Request{Target: to, Endpoint: endpoint, Subject: theRoom.String(), Room: wire.IdentifierURI(theRoom.String()), Body: body})
		if refused, ok := errors.AsType[*peering.Refused](err); ok {
			return refused.Problem.Code
		}
		if err != nil {
			t.Errorf("%s: %v", endpoint, err)
		}
		return ""
	}
	forged := w.word(carol, knock.Cancel, "")
	forged[len(forged)-1] ^= 1
	for why, c := range map[string]struct {
		from *site
		to   string
		ep   string
		body []byte
		want clientapi.Code
	}{
		"another provider's user":       {mallory, atlanta, knock.EndpointKnock, w.word(carol, knock.Cancel, ""), clientapi.CodeForbidden},
		"a forged signature":            {w.ps[chicago], atlanta, knock.EndpointKnock, forged, clientapi.CodeForbidden},
		"nonsense":                      {mallory, atlanta, knock.EndpointKnock, []byte{1, 2, 3}, clientapi.CodeInvalid},
		"at who orders nothing":         {w.ps[chicago], biloxi, knock.EndpointKnock, w.word(carol, knock.Ask, ""), clientapi.CodeForbidden},
		"where there is no room":        {w.ps[chicago], "mallory.example", knock.EndpointKnock, w.word(carol, knock.Ask, ""), clientapi.CodeForbidden},
		"withdrawn by another":          {mallory, biloxi, knock.EndpointShow, (&knock.Showing{User: carol}).Append(nil), clientapi.CodeForbidden},
		"refused for another":           {mallory, atlanta, knock.EndpointRefuse, (&knock.Refusal{User: carol, By: bob}).Append(nil), clientapi.CodeForbidden},
		"refused by who may not":        {mallory, atlanta, knock.EndpointRefuse, (&knock.Refusal{User: carol, By: user("m", "mallory.example")}).Append(nil), clientapi.CodeForbidden},
		"a status of another's user":    {mallory, biloxi, knock.EndpointStatus, (&knock.Status{User: carol, Answer: knock.IsRefused}).Append(nil), clientapi.CodeInvalid},
		"a status of who was not asked": {mallory, chicago, knock.EndpointStatus, (&knock.Status{User: carol, Answer: knock.IsRefused}).Append(nil), ""},
	} {
		if got := call(c.from, c.to, c.ep, c.body); got != c.want {
			t.Errorf("%s: %q, not %q", why, got, c.want)
		}
	}
	w.want(alice, "me")
	w.want(bob, "me")
	if s := w.state(carol); s != clientapi.KnockWaiting {
		t.Errorf("%s", s)
	}
	// A member who may not answer, and a user who is not in the room.
	w.mu.Lock()
	w.may[bob] = false
	w.mu.Unlock()
	if err := w.refuse(bob, carol, ""); code(err) != clientapi.CodeForbidden {
		t.Errorf("a member: %v", err)
	}
	if err := w.refuse(user("eve", atlanta), carol, ""); code(err) != clientapi.CodeNotFound {
		t.Errorf("a stranger: %v", err)
	}
	// Somebody else's word, at the own provider.
	if _, err := w.ps[chicago].SendKnock(context.Background(), identity(user("eve", chicago)), &clientapi.SendKnock{Word: w.word(carol, knock.Cancel, "")}); code(err) != clientapi.CodeForbidden {
		t.Errorf("another's word: %v", err)
	}
}

// 10,000 users of one provider knock at one room as fast as they can: what is kept, and what
// members are shown, stays bounded, and another provider's user still gets in.
func TestFlood(t *testing.T) {
	w := newWorld(t)
	flooder := w.add("flood.example")
	body := map[string]int{}
	for i := range 10_000 {
		if i%10 == 0 {
			w.pass(time.Second)
		}
		u := user(fmt.Sprintf("u%d", i), "flood.example")
		raw := w.word(u, knock.Ask, strings.Repeat("x", knock.MaxNote))
		_, err := flooder.Call(context.Background(), peering.Request{Target: atlanta, Endpoint: knock.EndpointKnock, Subject: theRoom.String(), Room: wire.IdentifierURI(theRoom.String()), Body: raw})
		switch refused, ok := errors.AsType[*peering.Refused](err); {
		case err == nil:
			body["taken"]++
		case ok && refused.Problem.Code == clientapi.CodeTooMany:
			body["refused"]++
		default:
			t.Fatal(err)
		}
	}
	if body["taken"] != 50 {
		t.Errorf("%v", body)
	}
	keys, octets, err := knocks.Size(w.ps[atlanta].store)
	if err != nil || keys != 50+4 || octets > 50*4096 {
		t.Errorf("%d keys, %d octets, %v", keys, octets, err)
	}
	if n := len(w.sees(alice)); n != 50 {
		t.Errorf("alice sees %d", n)
	}
	w.must(w.says(carol, knock.Ask, "me"))
	if s := w.state(carol); s != clientapi.KnockWaiting {
		t.Errorf("carol, of another provider: %s", s)
	}
}

// A user's own knocks are bounded, too.
func TestOwnLimit(t *testing.T) {
	w := newWorld(t)
	for i := range 60 {
		w.pass(11 * time.Second)
		r := must(uri.ParseRoom(fmt.Sprintf("mimi://nobody.example/r/aaaaaaaaaaaaaaaaa%d", i)))
		x := must(knock.ParseWord(w.word(carol, knock.Ask, "")))
		x.Room = r
		_, signer := device(carol)
		if err := x.Sign(signer); err != nil {
			t.Fatal(err)
		}
		_, err := w.ps[chicago].SendKnock(context.Background(), identity(carol), &clientapi.SendKnock{Word: x.Append(nil)})
		if want := map[bool]clientapi.Code{true: clientapi.CodeTooMany}[i >= 50]; code(err) != want {
			t.Fatalf("knock %d: %v", i, err)
		}
	}
}
