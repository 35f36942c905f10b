package client_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mimid/mimid/client"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/uri"
)

// dropDevice is the account's part: token and KeyPackages are gone.
func (f *fake) dropDevice(r *http.Request, u *fakeUser) (any, error) {
	for token, d := range f.devices {
		if d.uri == u.uri && strings.HasSuffix(d.client, "/"+r.PathValue("name")) {
			delete(f.devices, token)
			return nil, nil
		}
	}
	return nil, refused(404, clientapi.CodeNotFound, "no such device")
}

// clients is how many of a user's devices somebody sees in a room.
func (p *person) clients(u uri.Room, of uri.User) int {
	p.t.Helper()
	list, err := p.c.Rooms(ctx10(p.t))
	if err != nil {
		p.t.Fatal(err)
	}
	for _, r := range list {
		for _, x := range r.Participants {
			if r.URI == u && x.User == of {
				return x.Clients
			}
		}
	}
	return 0
}

// twoDevices is a user with a first device and a tablet, both in two rooms with somebody else.
// Of the fake's, the tablet hears what goes on.
func twoDevices(t *testing.T) (f *fake, phone, tablet, bob *person, rooms []uri.Room) {
	f = newFake(t)
	phone, bob = f.person("alice", "atlanta.example"), f.person("bob", "biloxi.example")
	f.ready(bob)
	for _, name := range []string{"club", "choir"} {
		u := phone.create(name)
		phone.add(u, bob)
		rooms = append(rooms, u)
	}
	tablet = f.tablet()
	o := phone.offers()
	if _, waited, came := comes(t, o, tablet, o.Code()); waited != nil || came != nil {
		t.Fatal(waited, came)
	}
	tablet.run()
	t.Cleanup(func() { tablet.kill() })
	for _, u := range rooms {
		eventually(t, "the tablet is in", func() bool { return tablet.clients(u, tablet.c.User()) == 2 && bob.clients(u, tablet.c.User()) == 2 })
	}
	return f, phone, tablet, bob, rooms
}

// TestRemoveDevice: a device is taken out of the account and of all rooms, and hears nothing
// more; what is said afterwards is for a group without it. It can be said again, and what the
// account does not know, and no room has, is told.
func TestRemoveDevice(t *testing.T) {
	f, _, tablet, bob, rooms := twoDevices(t)
	if _, err := tablet.c.RemoveDevice(ctx10(t), "tablet"); !errors.Is(err, client.ErrOwnDevice) {
		t.Errorf("itself: %v", err)
	}
	for _, name := range []string{"laptop", "", "a/b"} {
		if _, err := tablet.c.RemoveDevice(ctx10(t), name); !errors.Is(err, client.ErrNoDevice) {
			t.Errorf("%q: %v", name, err)
		}
	}
	list, err := tablet.c.RemoveDevice(ctx10(t), "phone")
	if err != nil || len(list) != len(rooms) {
		t.Fatalf("%+v, %v", list, err)
	}
	for _, x := range list {
		if x.Err != nil {
			t.Errorf("%s: %v", x.Name, x.Err)
		}
	}
	for _, u := range rooms {
		if n := tablet.clients(u, tablet.c.User()); n != 1 {
			t.Errorf("%d devices are left", n)
		}
		eventually(t, "bob sees one device", func() bool { return bob.clients(u, tablet.c.User()) == 1 })
		bob.send(u, "are you alone?")
		tablet.hears(u, "bob: are you alone?")
	}
	if list, err := tablet.c.RemoveDevice(ctx10(t), "phone"); !errors.Is(err, client.ErrNoDevice) {
		t.Errorf("again: %+v, %v", list, err)
	}
	f.mu.Lock()
	_, known := f.devices["token-mimi://atlanta.example/d/alice/phone"]
	f.mu.Unlock()
	if known {
		t.Error("the account has the device")
	}
}

// TestRemoveDeviceOffline: nothing is removed where the provider does not answer; what was begun
// goes on after a restart, and a device that the account has no more comes out of the rooms.
func TestRemoveDeviceOffline(t *testing.T) {
	f, _, tablet, bob, rooms := twoDevices(t)
	f.set(func() {
		f.refuse = func(r *http.Request) *clientapi.Problem {
			if r.Method == "DELETE" {
				return refused(503, clientapi.CodeUnavailable, "not now")
			}
			return nil
		}
	})
	if list, err := tablet.c.RemoveDevice(ctx10(t), "phone"); err == nil || len(list) > 0 {
		t.Errorf("%+v, %v", list, err)
	}
	if n := tablet.clients(rooms[0], tablet.c.User()); n != 2 {
		t.Errorf("%d devices, though the account has both", n)
	}
	// The answer is lost, and then the rooms' hub takes no changes.
	f.set(func() {
		f.refuse = func(r *http.Request) *clientapi.Problem {
			if strings.HasSuffix(r.URL.Path, "/updates") {
				return refused(503, clientapi.CodeUnavailable, "not now")
			}
			return nil
		}
		f.after = func(r *http.Request) *clientapi.Problem {
			if r.Method == "DELETE" {
				return refused(503, clientapi.CodeUnavailable, "the answer is lost")
			}
			return nil
		}
	})
	if list, err := tablet.c.RemoveDevice(ctx10(t), "phone"); err == nil || len(list) > 0 {
		t.Errorf("%+v, %v", list, err)
	}
	f.set(func() { f.after = nil })
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	list, err := tablet.c.RemoveDevice(ctx, "phone")
	if err != nil || len(list) != 2 || !errors.Is(list[0].Err, context.DeadlineExceeded) {
		t.Errorf("%+v, %v", list, err)
	}
	f.set(func() { f.refuse = nil })
	tablet.restart()
	for _, u := range rooms {
		eventually(t, "one device is left", func() bool { return tablet.clients(u, tablet.c.User()) == 1 && bob.clients(u, tablet.c.User()) == 1 })
	}
}
