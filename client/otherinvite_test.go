package client_test

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/mimid/mimid/client"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/wire"
)

// TestInvitationByOtherDevice: who accepts an invitation is added by another device of who made
// it, if that one is away. A provider that shows the old words again has nobody added again
// whom the user has put out, and one that makes an invitation up has nobody added.
func TestInvitationByOtherDevice(t *testing.T) {
	if testing.Short() {
		t.Skip("a second device comes in after two seconds")
	}
	f, phone, tablet, _, rooms := twoDevices(t)
	carol, mallory, u := f.person("carol", "chicago.example"), f.person("mallory", "chicago.example"), rooms[0]
	f.ready(carol)
	f.ready(mallory)
	f.mu.Lock()
	f.echo = true
	alice := f.users[tablet.c.User().String()]
	f.mu.Unlock()
	if err := phone.c.Invite(ctx10(t), u, carol.user(), "moderator", ""); err != nil {
		t.Fatal(err)
	}
	about := func(state string) func(client.ConsentChanged) bool {
		return func(x client.ConsentChanged) bool { return x.State == state && x.Room == u.String() }
	}
	await(tablet, about("requested"))
	phone.kill()
	if err := carol.c.AcceptInvitation(ctx10(t), u, tablet.c.User()); err != nil {
		t.Fatal(err)
	}
	await[client.RoomJoined](carol, nil)
	if r, err := tablet.c.FindRoom(ctx10(t), u.String()); err != nil || !slices.ContainsFunc(r.Participants, func(p client.Participant) bool { return p.User == carol.user() && p.Role == "moderator" }) {
		t.Errorf("carol is no moderator: %+v, %v", r.Participants, err)
	}

	if err := tablet.c.RemoveUser(ctx10(t), u, carol.user()); err != nil {
		t.Fatal(err)
	}
	await[client.RoomLeft](carol, nil)
	f.mu.Lock()
	var old []fakeEvent
	var forged []*clientapi.ConsentEvent
	for _, x := range alice.feed {
		if x.kind != clientapi.EventConsent {
			continue
		}
		var v clientapi.ConsentEvent
		if err := json.Unmarshal(x.data, &v); err != nil {
			t.Fatal(err)
		}
		e, err := wire.ParseConsentEntry(v.Entry, wire.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if string(e.Scope.Room) != u.String() {
			continue
		}
		old = append(old, x)
		if e.Operation == wire.ConsentRequest {
			e.Extensions = mls.Dictionary{0x8011: e.Extensions[0x8011]} // the invitation, unsigned
		} else {
			e.Extensions = nil
		}
		e.Scope.Target = wire.IdentifierURI(mallory.user().String())
		b, err := e.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		forged = append(forged, &clientapi.ConsentEvent{Entry: b, State: v.State})
	}
	if len(old) != 2 {
		t.Fatalf("%d words on consent about the room", len(old))
	}
	for _, x := range old {
		f.push(alice, x.kind, json.RawMessage(x.data))
	}
	for _, x := range forged {
		f.push(alice, clientapi.EventConsent, x)
	}
	claims := f.calls["POST /v1/keypackages/claim"]
	f.mu.Unlock()
	await(tablet, func(x client.ConsentChanged) bool { return x.Target == mallory.user() && x.State == "granted" })
	if n := tablet.c.WaitingInvitations(ctx10(t)); n != 0 {
		t.Errorf("the tablet is about to add somebody by %d invitations", n)
	}
	if got := tablet.users(u); !slices.Equal(got, []string{"alice", "bob"}) {
		t.Errorf("in the room are %q", got)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := f.calls["POST /v1/keypackages/claim"]; n != claims {
		t.Errorf("the tablet has asked for KeyPackages of somebody %d times", n-claims)
	}
}
