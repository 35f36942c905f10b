package rooms_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/mimid/mimid/node/rooms"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
)

// TestGroupInfoByLink: the hub gives the GroupInfo to who holds a link that counts, and says to
// who holds another one why it does not. Whoever does not hold it hears no more than anybody;
// and of providers of members a stranger hears only while people come in by themselves.
func TestGroupInfoByLink(t *testing.T) {
	w := newWorld(t, three...)
	alice, bob, carol := w.device("alice@atlanta.example", "phone"), w.device("bob@biloxi.example", "phone"), w.device("carol@chicago.example", "phone")
	id, made, err := alice.create("room")
	if err != nil {
		t.Fatal(err)
	}
	if err := alice.add(id, bob); err != nil {
		t.Fatal(err)
	}
	alice.follow(id, 2)
	hub, name := w.ps["atlanta.example"], must(uri.ParseRoom(made.URI))(t)
	ask := func(by *device, h *room.HeldLink, spoil func(*wire.GroupInfoRequest)) string {
		t.Helper()
		key := must(mls.GenerateHPKEKey(room.Suite))(t)
		m := &wire.GroupInfoRequest{Suite: room.Suite, Credential: by.leaf.Credential, GroupInfoKey: key.Public()}
		m.JoiningCode = h.Code(by.leaf.Signer.Public(), m.GroupInfoKey)
		if spoil != nil {
			spoil(m)
		}
		if err := m.Sign(by.leaf.Signer); err != nil {
			t.Fatal(err)
		}
		r, err := hub.serve(context.Background(), wire.EndpointGroupInfo.String(), &rooms.Request{Source: by.p.domain, Subject: made.URI, Body: must(m.Bytes())(t)})
		if p, ok := errors.AsType[*clientapi.Problem](err); ok {
			return string(p.Code) + ": " + p.Detail
		}
		if err != nil {
			t.Fatal(err)
		}
		return must(wire.ParseGroupInfoResponse(r.Body, wire.Limits{}))(t).Status.String()
	}
	is := func(why, got, want string) {
		t.Helper()
		if !strings.Contains(got, want) {
			t.Errorf("%s: %s, want %s", why, got, want)
		}
	}
	record := func(of string) error {
		_, err := hub.serve(context.Background(), rooms.EndpointRecord, &rooms.Request{Source: "chicago.example", Subject: room.ID(id).String(), Body: append(append([]byte{}, id[:]...), of...)})
		return err
	}
	h, l := room.NewLink(name)
	l.Role = policy.Member
	is("a link that the room does not know", ask(carol, h, nil), "link_unknown")
	if err := record("biloxi.example"); !strings.HasPrefix(status(err), "404 ") {
		t.Errorf("a stranger asks about a member's provider: %v", err)
	}
	change := func(p *mls.Proposal) {
		t.Helper()
		n := alice.at + 1
		if err := alice.commit(id, mls.CommitOptions{Proposals: []*mls.Proposal{p}}); err != nil {
			t.Fatal(err)
		}
		alice.follow(id, n)
	}
	change(room.ChangeLinks([]room.JoinLink{l}))
	is("a link that counts", ask(carol, h, nil), "success")
	is("as seen in another's request", ask(carol, h, func(m *wire.GroupInfoRequest) { m.JoiningCode[40] ^= 1 }), "notAuthorized")
	is("in a participant's request", ask(bob, h, nil), "success")
	if err := errors.Join(record("biloxi.example"), record("atlanta.example")); err != nil {
		t.Errorf("who may come in asks about members' providers: %v", err)
	}
	if err := record("dallas.example"); !strings.HasPrefix(status(err), "404 ") {
		t.Errorf("who may come in asks about others: %v", err)
	}
	ban := must(room.UpdateParticipants(alice.group.Public().Context(), []room.Participant{{User: carol.who.User, Role: policy.Banned}}, nil))(t)
	change(ban)
	is("banned", ask(carol, h, nil), "you are banned")
	is("banned, and without the secret", ask(carol, h, func(m *wire.GroupInfoRequest) { m.JoiningCode = m.JoiningCode[:9] }), "you are banned")
	dave := w.device("dave@chicago.example", "phone")
	change(room.ChangeLinks(nil, l.Key))
	is("revoked", ask(dave, h, nil), "link_revoked")
	is("revoked, as seen in another's request", ask(dave, h, func(m *wire.GroupInfoRequest) { m.JoiningCode[40] ^= 1 }), "notAuthorized")
	is("revoked, in a participant's request", ask(bob, h, nil), "success")
	if err := record("biloxi.example"); !strings.HasPrefix(status(err), "404 ") {
		t.Errorf("when no link counts: %v", err)
	}
}

// TestStrangersLookedUp: the provider of who comes by a link is looked up when the link counts,
// and by a worthless one nobody has anybody looked up.
func TestStrangersLookedUp(t *testing.T) {
	w := prepareWorld(t, false, three...)
	w.lazy = true
	w.start()
	alice, carol := w.device("alice@atlanta.example", "phone"), w.device("carol@chicago.example", "phone")
	id, made, err := alice.create("room")
	if err != nil {
		t.Fatal(err)
	}
	hub, h, l := w.ps["atlanta.example"], (*room.HeldLink)(nil), room.JoinLink{}
	h, l = room.NewLink(must(uri.ParseRoom(made.URI))(t))
	l.Role = policy.Member
	ask := func(code bool) (status string, known int) {
		t.Helper()
		key := must(mls.GenerateHPKEKey(room.Suite))(t)
		m := &wire.GroupInfoRequest{Suite: room.Suite, Credential: carol.leaf.Credential, GroupInfoKey: key.Public()}
		if code {
			m.JoiningCode = h.Code(carol.leaf.Signer.Public(), m.GroupInfoKey)
		}
		if err := m.Sign(carol.leaf.Signer); err != nil {
			t.Fatal(err)
		}
		r, err := hub.serve(context.Background(), wire.EndpointGroupInfo.String(), &rooms.Request{Source: carol.p.domain, Subject: made.URI, Body: must(m.Bytes())(t)})
		hub.mu.Lock()
		defer hub.mu.Unlock()
		if p, ok := errors.AsType[*clientapi.Problem](err); ok {
			return string(p.Code), hub.known[carol.p.domain]
		}
		return must(wire.ParseGroupInfoResponse(must(r, err)(t).Body, wire.Limits{}))(t).Status.String(), hub.known[carol.p.domain]
	}
	for _, c := range []struct {
		why    string
		before func() error
		code   bool
		status string
		known  int
	}{
		{"no link", nil, false, "notAuthorized", 0},
		{"a link that the room does not know", nil, true, "link_unknown", 0},
		{"no link, where others have one", func() error {
			return alice.commit(id, mls.CommitOptions{Proposals: []*mls.Proposal{room.ChangeLinks([]room.JoinLink{l})}})
		}, false, "notAuthorized", 0},
		{"a link that counts", nil, true, "success", 1},
	} {
		if c.before != nil {
			if err := c.before(); err != nil {
				t.Fatal(err)
			}
		}
		if status, known := ask(c.code); status != c.status || known != c.known {
			t.Errorf("%s: %s, and looked up %d times; want %s, %d", c.why, status, known, c.status, c.known)
		}
	}
}
