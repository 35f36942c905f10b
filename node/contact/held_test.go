package contact_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mimid/mimid/node/contact"
	"github.com/mimid/mimid/protocol/wire"
)

// TestHeldTotals: what is kept of strangers is counted for all users together, and goes when it goes.
func TestHeldTotals(t *testing.T) {
	w := newWorld(t, atlanta, chicago)
	w.add(biloxi, nil)
	carol, dave := w.user("carol@atlanta.example"), w.user("daved@chicago.example")
	bob, erin := w.user("bob@biloxi.example"), w.user("erin@biloxi.example")
	is := func(what string, want contact.Held) {
		t.Helper()
		got, err := w.ps[biloxi].Held()
		if err != nil || got != want {
			t.Errorf("%s: %v, %s", what, err, cmp.Diff(want, got))
		}
	}
	is("at first", contact.Held{})
	bob.set("quarantine")
	erin.set("quarantine")
	for n := range 3 {
		bob.put(roomAtAtlanta(n), carol)
	}
	bob.put(roomAtAtlanta(10), dave)
	erin.put(roomAtAtlanta(11), dave)
	rooms := contact.Held{Rooms: 5, RoomsOfOne: 3, Providers: 2}
	is("five rooms", rooms)
	bob.welcome(roomAtAtlanta(0), 6000)
	erin.welcome(roomAtAtlanta(11), 100)
	got, err := w.ps[biloxi].Held()
	if err != nil || got.Octets < 6100 || got.Octets > 2*6100 { // as JSON
		t.Errorf("Welcomes of 6100 octets: %+v, %v", got, err)
	}

	// Requests for consent, of a provider that has made no room.
	frank := w.user("frank@biloxi.example")
	for n := range 4 {
		who := fmt.Sprintf("mimi://chicago.example/u/some%d", n)
		if _, err := w.ps[chicago].peer(biloxi, "requestConsent", string(frank.uri()), "", entry(t, wire.ConsentRequest, wire.IdentifierURI(who), frank.uri(), "")); err != nil {
			t.Fatal(err)
		}
	}
	rooms.Octets, rooms.Requests, rooms.RequestsOfOne = got.Octets, 4, 4
	is("four requests", rooms)
}
