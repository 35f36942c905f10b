package contact_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mimid/mimid/node/contact"
	"github.com/mimid/mimid/protocol/wire"
)

// TestWaveOfFourProviders: four providers, each of which may have 50 of a user's 200 places, fill them.
// A request of another provider's user is heard all the same, in the place of the newest of theirs, of
// which nothing is left; the four take no place back, and what the counters say is what is there.
func TestWaveOfFourProviders(t *testing.T) {
	for _, mode := range []string{"ask", "quarantine"} {
		w := newWorld(t, atlanta, biloxi, chicago)
		b, p := w.user("bob@biloxi.example"), w.ps[biloxi]
		alice, dave := w.user("alice@atlanta.example"), w.user("dave@chicago.example")
		var spammers []*provider
		for i := range 4 {
			spammers = append(spammers, w.add(fmt.Sprintf("spam%d.example", i), nil))
		}
		w.pass(time.Second)
		if mode != "ask" {
			b.set(mode)
		}
		said := func(s *provider, n int, room string) {
			t.Helper()
			who := wire.IdentifierURI(fmt.Sprintf("mimi://%s/u/u%03d", s.domain, n))
			resp, err := s.peer(biloxi, "requestConsent", string(b.uri()), room, entry(t, wire.ConsentRequest, who, b.uri(), room))
			if err != nil || resp.Status != 201 || len(resp.Body) != 0 {
				t.Fatalf("mode %s: %v, %v", mode, resp, err)
			}
		}
		wave := func(from int) {
			for n := range 60 {
				for _, s := range spammers {
					room := ""
					if n%7 == 3 { // some ask about a room
						room = fmt.Sprintf("mimi://%s/r/%s", s.domain, strings.Repeat("x", 20))
					}
					w.pass(500 * time.Millisecond)
					said(s, from+n, room)
				}
			}
		}
		waits := func() (of map[string]int, who []string) {
			t.Helper()
			of = map[string]int{}
			add := func(state, requester string) {
				if state == "requested" {
					who = append(who, requester)
					domain, _, _ := strings.Cut(strings.TrimPrefix(requester, "mimi://"), "/")
					of[domain]++
				}
			}
			for _, c := range must(p.Consents(t.Context(), b.who))(t).Consents {
				add(c.State, c.Requester)
			}
			for _, r := range b.held().Requests {
				add("requested", r.By)
			}
			return of, who
		}
		counted := func(what string) {
			t.Helper()
			of, who := waits()
			h := must(p.Held())(t)
			most := 0
			for _, n := range of {
				most = max(most, n)
			}
			want := contact.Held{Requests: len(who), RequestsOfOne: most, Providers: len(of)}
			if h != want {
				t.Errorf("mode %s, %s: %+v is counted, and there is %+v", mode, what, h, want)
			}
		}

		wave(0)
		if of, who := waits(); len(who) != 200 || of["spam0.example"] != 50 || of["spam3.example"] != 50 {
			t.Fatalf("mode %s: %d wait, %v", mode, len(who), of)
		}
		counted("full")
		_, before := waits()
		// The newest of what Bob has said about anybody there is no request, and stays.
		b.mustSay(wire.ConsentGrant, "mimi://spam0.example/u/friend", "")
		p.seen()
		alice.mustSay(wire.ConsentRequest, b.uri(), "")
		if got := p.seen(); mode == "ask" && !slices.Equal(got, []string{"bob: cancel, none", "bob: request, requested"}) || mode != "ask" && len(got) != 0 {
			t.Errorf("mode %s: Bob's devices are told %q", mode, got)
		}
		dave.mustSay(wire.ConsentRequest, b.uri(), "")
		p.seen()
		_, after := waits()
		var gone []string
		for _, x := range before {
			if !slices.Contains(after, x) {
				gone = append(gone, x)
			}
		}
		if want := []string{"mimi://spam0.example/u/u049", "mimi://spam1.example/u/u049"}; !slices.Equal(slices.Sorted(slices.Values(gone)), want) {
			t.Errorf("mode %s: %s went, want %s", mode, gone, want)
		}
		counted("with two others")
		wave(100) // they take none back
		of, who := waits()
		if want := map[string]int{"spam0.example": 49, "spam1.example": 49, "spam2.example": 50, "spam3.example": 50, atlanta: 1, chicago: 1}; !maps.Equal(of, want) {
			t.Errorf("mode %s: %v, want %v", mode, of, want)
		}
		if len(p.seen()) != 0 {
			t.Errorf("mode %s: devices are told of what vanished", mode)
		}

		// What went can be asked again, as if it had not been: there is no place for it now.
		said(spammers[0], 49, "")
		if again, _ := waits(); !maps.Equal(of, again) {
			t.Errorf("mode %s: %v, and after a repeat %v", mode, of, again)
		}
		// Nothing of it outlives a crash, and everything else does.
		p.restart()
		if again, list := waits(); !maps.Equal(of, again) || len(list) != len(who) {
			t.Errorf("mode %s: %v, and after a restart %v", mode, of, again)
		}
		p.records() // all of them can be read
		if !strings.Contains(p.consents(b.who), "friend->bob granted") {
			t.Errorf("mode %s: a grant went for a request", mode)
		}
		// An answer makes room as before.
		b.mustSay(wire.ConsentRevoke, "mimi://spam2.example/u/u000", "")
		said(spammers[1], 200, "")
		if again, _ := waits(); again["spam1.example"] != 50 || again["spam2.example"] != 49 {
			t.Errorf("mode %s: after an answer %v", mode, again)
		}
		counted("at the end")
	}
}

// TestShareOfOwnLimits: a provider at its own limits takes nobody's place.
func TestShareOfOwnLimits(t *testing.T) {
	w := newWorld(t, atlanta, chicago)
	p := w.add(biloxi, func(c *contact.Config) {
		c.Limits.PendingPerTarget, c.Limits.PendingPerPair, c.Limits.PendingPerProvider, c.Limits.Scopes = 4, 4, 5, 9
	})
	w.pass(time.Second)
	b, erin, other := w.user("bob@biloxi.example"), w.user("erin@biloxi.example"), w.user("other@biloxi.example")
	ask := func(s string, n int, target *user) {
		t.Helper()
		who := wire.IdentifierURI(fmt.Sprintf("mimi://%s/u/user%d", s, n))
		if _, err := w.ps[s].peer(biloxi, "requestConsent", string(target.uri()), "", entry(t, wire.ConsentRequest, who, target.uri(), "")); err != nil {
			t.Fatal(err)
		}
	}
	requested := func(u *user) (n int) {
		for _, c := range must(p.Consents(t.Context(), u.who))(t).Consents {
			if c.State == "requested" && strings.HasPrefix(c.Requester, "mimi://"+chicago) {
				n++
			}
		}
		return n
	}
	for n := range 4 {
		ask(atlanta, n, b)
		ask(chicago, n, erin)
	}
	ask(chicago, 4, other) // the last one of chicago's five
	ask(chicago, 5, b)
	if n := requested(b); n != 0 {
		t.Errorf("a provider with as many requests as it may have takes %d places of another's", n)
	}
	// A user whose scopes are all in use hears no request, full or not.
	for n := range 4 {
		b.mustSay(wire.ConsentGrant, wire.IdentifierURI(fmt.Sprintf("mimi://atlanta.example/u/friend%d", n)), "")
	}
	erin.mustSay(wire.ConsentRevoke, "mimi://chicago.example/u/user0", "")
	ask(chicago, 6, b)
	if n := requested(b); n != 0 {
		t.Errorf("%d requests take what a user has left for its own words", n)
	}
}

// TestHeldRoomsShare: where one provider's rooms take all of a user's places in quarantine, another one's take theirs until
// both have as many; the newest go with their Welcomes, and nothing of them reaches a device.
func TestHeldRoomsShare(t *testing.T) {
	w := newWorld(t, atlanta, chicago)
	w.add(biloxi, func(c *contact.Config) {
		c.Limits = contact.Limits{HeldPerTarget: 4, HeldPerPair: 4, HeldPerProvider: 10, HeldOctets: 100_000}
	})
	w.pass(time.Second)
	carol, dave, bob := w.user("carol@atlanta.example"), w.user("daved@chicago.example"), w.user("bob@biloxi.example")
	bob.set("quarantine")
	has := func(what string, want ...string) {
		t.Helper()
		var got []string
		for _, x := range bob.held().Rooms {
			got = append(got, x.URI)
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	name := func(n int) string { return roomAtAtlanta(n).String() }
	for n := range 4 {
		if !bob.put(roomAtAtlanta(n), carol) || !bob.welcome(roomAtAtlanta(n), 1000) {
			t.Fatal("it reaches devices")
		}
		w.pass(time.Second)
	}
	has("full", name(0), name(1), name(2), name(3))
	octets := must(w.ps[biloxi].Held())(t).Octets
	for n := 10; n < 13; n++ {
		if !bob.put(roomAtAtlanta(n), dave) {
			t.Error("what is over a cap reaches the devices")
		}
		w.pass(time.Second)
		if n == 10 {
			has("another one's", name(0), name(1), name(2), name(10))
			if h := must(w.ps[biloxi].Held())(t); h.Octets != octets*3/4 || h.Rooms != 4 || h.RoomsOfOne != 3 {
				t.Errorf("%+v is counted, of %d octets of four Welcomes", h, octets)
			}
		}
	}
	has("as many of each", name(0), name(1), name(10), name(11))
	if !bob.welcome(roomAtAtlanta(3), 1000) || bob.rooms() != 0 {
		t.Error("a room that went reaches the devices")
	}
	w.ps[biloxi].records()
}
