package rooms_test

import (
	"context"
	"strings"
	"testing"

	"github.com/mimid/mimid/node/rooms"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/room"
)

// TestBegun: providers whose users take part in a room from its first entry hear of it then,
// also one that was away; others do not, and only from its hub.
func TestBegun(t *testing.T) {
	w := prepareWorld(t, false, "atlanta.example", "biloxi.example", "chicago.example")
	w.start()
	alice, bob := w.device("alice@atlanta.example", "phone"), w.device("bob@biloxi.example", "phone")
	a, b, c := w.ps["atlanta.example"], w.ps["biloxi.example"], w.ps["chicago.example"]
	b.set(func() { b.down = true })
	id, n, err := alice.createWith("pair", func(ext mls.Extensions) (mls.Extensions, error) {
		return room.Direct(ext, alice.who.User, bob.who.User)
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(b.rooms.List()) != 0 {
		t.Fatal("who is away knows of the room")
	}
	b.set(func() { b.down = false })
	eventually(t, "bob's provider follows the room", func() bool { return len(b.rooms.List()) == 1 })
	got, err := b.rooms.Room(context.Background(), bob.who, id)
	if err != nil || got.URI != n.URI || len(got.Participants) != 2 {
		t.Errorf("bob is shown %+v, %v", got, err)
	}
	if c.called(rooms.EndpointBegun) != 0 || a.called(rooms.EndpointBegun) != 0 {
		t.Error("others are told")
	}
	// Said again it changes nothing.
	begun := func(to *provider, from, name string) error {
		_, err := to.serve(context.Background(), rooms.EndpointBegun, &rooms.Request{Source: from, Subject: name})
		return err
	}
	if err := begun(b, "atlanta.example", n.URI); err != nil {
		t.Errorf("told twice: %v", err)
	}
	for _, x := range []struct{ what, from, name, want string }{
		{"another provider", "chicago.example", n.URI, "403 "},
		{"no name", "atlanta.example", "pair", "422 "},
		{"a room that is not there", "atlanta.example", "mimi://atlanta.example/r/" + strings.Repeat("z", 20), "403 "},
	} {
		if err := begun(b, x.from, x.name); !strings.HasPrefix(status(err), x.want) {
			t.Errorf("%s: %v", x.what, err)
		}
	}
	if n := len(b.rooms.List()); n != 1 {
		t.Errorf("%d rooms", n)
	}
	// An ordinary room begins with its creator, so nobody is told.
	told := b.called(rooms.EndpointBegun)
	if _, _, err := alice.create("group"); err != nil {
		t.Fatal(err)
	}
	if b.called(rooms.EndpointBegun) != told {
		t.Error("told of a group")
	}
}
