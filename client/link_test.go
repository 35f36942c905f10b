package client_test

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mimid/mimid/client"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
)

func (p *person) link(u uri.Room, t client.LinkTerms) *client.HeldLink {
	p.t.Helper()
	h, err := p.c.MakeLink(ctx10(p.t), u, t)
	if err != nil {
		p.t.Fatal(err)
	}
	return h
}

func (p *person) joins(h *client.HeldLink) error {
	_, err := p.c.JoinRoom(ctx10(p.t), h.Reveal())
	return err
}

// refusedLink checks that a link lets nobody in, that the user is told why and what to do, and
// that the link is not said again by that.
func refusedLink(t *testing.T, what string, err error, h *client.HeldLink, want string) {
	t.Helper()
	if !errors.Is(err, client.ErrLink) || !errors.Is(err, client.ErrRefused) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "ask") {
		t.Errorf("%s: %v", what, err)
	}
	if err != nil && strings.Contains(err.Error(), h.Reveal()[len(h.Room.String())+8:][:10]) {
		t.Errorf("%s: the error tells the link: %v", what, err)
	}
}

// holds says whether anything of a device's storage has a link's secret.
func (m *memory) holds(h *client.HeldLink) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, v := range m.data {
		if secret, _, _ := strings.Cut(h.Reveal()[len(h.Room.String()):], "."); bytes.Contains(v, []byte(secret)) {
			return true
		}
	}
	return false
}

// TestJoinByLink: a link lets people into a room that lets in nobody else, as often as it says,
// until its time is over or it is revoked; whoever comes too late is told why.
func TestJoinByLink(t *testing.T) {
	f := newFake(t)
	alice := f.person("alice", "atlanta.example")
	bob, carol, dave := f.person("bob", "biloxi.example"), f.person("carol", "chicago.example"), f.person("dave", "biloxi.example")
	u := alice.create("club")

	once := alice.link(u, client.LinkTerms{Uses: 1})
	if alice.store.holds(once) {
		t.Error("who makes a link keeps its secret")
	}
	if _, err := bob.c.JoinRoom(ctx10(t), u.String()); !errors.Is(err, client.ErrRefused) || errors.Is(err, client.ErrLink) {
		t.Errorf("without the link: %v", err)
	}
	if err := bob.joins(once); err != nil {
		t.Fatal(err)
	}
	if bob.store.holds(once) {
		t.Error("who is in keeps the link's secret")
	}
	bob.send(u, "by link")
	alice.hears(u, "bob: by link")
	refusedLink(t, "used up", carol.joins(once), once, "it was used as often as it could be")
	if err := bob.joins(once); err != nil {
		t.Errorf("who is in already: %v", err)
	}

	many := alice.link(u, client.LinkTerms{For: time.Hour, Role: "moderator"})
	gone := alice.link(u, client.LinkTerms{Uses: 3})
	list, err := alice.c.Links(ctx10(t), u)
	if err != nil || len(list) != 2 || list[0].Role != "moderator" || list[0].Uses != 0 || list[0].Expired || time.Until(list[0].Expires) > time.Hour ||
		list[1].Role != "member" || list[1].Uses != 3 || !list[1].Expires.IsZero() {
		t.Fatalf("%+v, %v", list, err)
	}
	if strings.Contains(fmt.Sprintf("%+v %v", list, many), many.Reveal()[len(u.String())+6:][:43]) {
		t.Error("a link is printed")
	}
	if err := alice.c.RevokeLinks(ctx10(t), u, list[1].ID); err != nil {
		t.Fatal(err)
	}
	if err := alice.c.RevokeLinks(ctx10(t), u, list[1].ID); !errors.Is(err, client.ErrName) {
		t.Errorf("revoked twice: %v", err)
	}
	refusedLink(t, "revoked", carol.joins(gone), gone, "it was revoked")
	if err := carol.joins(many); err != nil {
		t.Fatal(err)
	}
	r, err := carol.c.FindRoom(ctx10(t), u.String())
	if err != nil || len(r.Participants) != 3 || r.Participants[2].Role != "moderator" {
		t.Errorf("%+v, %v", r.Participants, err)
	}
	f.mu.Lock()
	f.late = 2 * time.Hour
	f.mu.Unlock()
	for _, p := range []*person{alice, bob, carol, dave} {
		p.ahead.Store(int64(2 * time.Hour))
	}
	refusedLink(t, "expired", dave.joins(many), many, "it has expired")
	if list, err = alice.c.Links(ctx10(t), u); err != nil || len(list) != 1 || !list[0].Expired {
		t.Errorf("%+v, %v", list, err)
	}
	next := alice.link(u, client.LinkTerms{}) // and what has expired goes
	if list, err = alice.c.Links(ctx10(t), u); err != nil || len(list) != 1 || list[0].Expired {
		t.Errorf("%+v, %v", list, err)
	}
	refusedLink(t, "expired and cleared away", dave.joins(many), many, "it has expired")
	forged := *alice.link(alice.create("other"), client.LinkTerms{})
	forged.Room = u
	refusedLink(t, "of another room", dave.joins(&forged), &forged, "the room knows no such link")
	if rooms, err := dave.c.Rooms(ctx10(t)); err != nil || len(rooms) != 0 {
		t.Errorf("something is left of it: %+v, %v", rooms, err)
	}
	if dave.store.holds(many) || dave.store.holds(&forged) {
		t.Error("who was refused keeps the link's secret")
	}

	// Who is banned does not come in by a link, and is told.
	if err := alice.c.Ban(ctx10(t), u, bob.user()); err != nil {
		t.Fatal(err)
	}
	await[client.RoomLeft](bob, nil)
	if err := bob.joins(next); !errors.Is(err, client.ErrRefused) {
		t.Errorf("banned: %v", err)
	}
	if err := dave.joins(next); err != nil {
		t.Fatal(err)
	}
	agree(u, alice, carol, dave)
}

// TestLinkRights: who may make and revoke links, and for which roles.
func TestLinkRights(t *testing.T) {
	_, alice, bob, _, u := three(t)
	if _, err := bob.c.MakeLink(ctx10(t), u, client.LinkTerms{}); !errors.Is(err, client.ErrRefused) || !strings.Contains(err.Error(), "canCreateJoinCode") {
		t.Errorf("a member makes a link: %v", err)
	}
	if _, err := alice.c.MakeLink(ctx10(t), u, client.LinkTerms{Role: "king"}); !errors.Is(err, client.ErrName) {
		t.Errorf("for a role that there is not: %v", err)
	}
	if _, err := alice.c.MakeLink(ctx10(t), u, client.LinkTerms{Role: "banned"}); !errors.Is(err, client.ErrRefused) {
		t.Errorf("for the banned: %v", err)
	}
	alice.link(u, client.LinkTerms{})
	agree(u, alice, bob)
	list, err := bob.c.Links(ctx10(t), u)
	if err != nil || len(list) != 1 {
		t.Fatalf("%+v, %v", list, err)
	}
	if err := bob.c.RevokeLinks(ctx10(t), u, list[0].ID); !errors.Is(err, client.ErrRefused) || !strings.Contains(err.Error(), "canDeleteJoinCode") {
		t.Errorf("a member revokes a link: %v", err)
	}
	if err := bob.c.RevokeLinks(ctx10(t), u, ""); !errors.Is(err, client.ErrName) {
		t.Errorf("no id: %v", err)
	}
	if err := alice.c.SetRole(ctx10(t), u, bob.user(), "moderator"); err != nil {
		t.Fatal(err)
	}
	agree(u, alice, bob)
	if _, err := bob.c.MakeLink(ctx10(t), u, client.LinkTerms{Role: "admin"}); !errors.Is(err, client.ErrRefused) {
		t.Errorf("a moderator makes administrators: %v", err)
	}
	if err := bob.c.RevokeLinks(ctx10(t), u, list[0].ID, list[0].ID[:6]); err != nil {
		t.Errorf("a moderator revokes a link, named twice: %v", err)
	}
	// A room may take the right away from everybody who holds a link.
	h := alice.link(u, client.LinkTerms{})
	if err := alice.c.SetPolicy(ctx10(t), u, &policy.Operational{}); err != nil {
		t.Fatal(err)
	}
	dave := alice.f.person("dave", "biloxi.example")
	if err := dave.joins(h); !errors.Is(err, client.ErrRefused) {
		t.Errorf("into a room that nobody joins by itself: %v", err)
	}
}

// TestLinkRace: two use a link at once that is good for one. One is in, the other hears that it
// was used, and does not try for ever.
func TestLinkRace(t *testing.T) {
	f := newFake(t)
	alice := f.person("alice", "atlanta.example")
	bob, carol := f.person("bob", "biloxi.example"), f.person("carol", "chicago.example")
	u := alice.create("club")
	h := alice.link(u, client.LinkTerms{Uses: 1})
	// Both have the GroupInfo before either commits.
	asked, both := 0, make(chan struct{})
	f.mu.Lock()
	f.after = func(r *http.Request) *clientapi.Problem {
		if strings.HasSuffix(r.URL.Path, "/groupinfo") {
			if asked++; asked == 2 {
				close(both)
			}
		}
		return nil
	}
	f.refuse = func(r *http.Request) *clientapi.Problem {
		if strings.HasSuffix(r.URL.Path, "/updates") {
			select {
			case <-both:
			default:
				return &clientapi.Problem{Status: 503, Code: clientapi.CodeUnavailable}
			}
		}
		return nil
	}
	f.mu.Unlock()
	done := make(chan error, 2)
	for _, p := range []*person{bob, carol} {
		go func() { done <- p.joins(h) }()
	}
	var won, lost int
	for range 2 {
		switch err := <-done; {
		case err == nil:
			won++
		default:
			lost++
			refusedLink(t, "the loser", err, h, "it was used as often as it could be")
		}
	}
	if won != 1 || lost != 1 {
		t.Fatalf("%d are in, %d are not", won, lost)
	}
	r, err := alice.c.FindRoom(ctx10(t), u.String())
	for ; err == nil && len(r.Participants) != 2; r, err = alice.c.FindRoom(ctx10(t), u.String()) {
		time.Sleep(time.Millisecond)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := f.calls["POST /v1/rooms/{room}/groupinfo"]; n > 5 {
		t.Errorf("%d requests for the GroupInfo", n)
	}
}

// TestLinkSurvivesRestart: whoever was coming in by a link when the device was switched off
// goes on by itself.
func TestLinkSurvivesRestart(t *testing.T) {
	f := newFake(t)
	alice, bob := f.person("alice", "atlanta.example"), f.person("bob", "biloxi.example")
	u := alice.create("club")
	h := alice.link(u, client.LinkTerms{Uses: 1})
	tried := make(chan struct{}, 100)
	f.mu.Lock()
	f.refuse = func(r *http.Request) *clientapi.Problem {
		if strings.HasSuffix(r.URL.Path, "/groupinfo") {
			tried <- struct{}{}
			return &clientapi.Problem{Status: 502, Code: clientapi.CodeUnreachable, Detail: "atlanta.example does not answer"}
		}
		return nil
	}
	f.mu.Unlock()
	done := make(chan error, 1)
	go func() { done <- bob.joins(h) }()
	<-tried
	<-tried
	bob.kill()
	if err := <-done; !errors.Is(err, client.ErrStopped) {
		t.Errorf("%v", err)
	}
	f.mu.Lock()
	f.refuse = nil
	f.mu.Unlock()
	bob.restart()
	await[client.RoomJoined](bob, nil)
	agree(u, alice, bob)
	if bob.store.holds(h) {
		t.Error("the link is kept")
	}
}

// TestLinkText: what is no link is refused before anything is asked, and is not said again.
func TestLinkText(t *testing.T) {
	f := newFake(t)
	alice, bob := f.person("alice", "atlanta.example"), f.person("bob", "biloxi.example")
	h := alice.link(alice.create("club"), client.LinkTerms{})
	text := h.Reveal()
	code := text[strings.Index(text, "=")+1:]
	for _, bad := range []string{text[:len(text)-1], text + "x", strings.Replace(text, "?join", "?jion", 1), strings.Replace(text, "/r/", "/u/", 1), "?join=" + code, "club?" + code} {
		_, err := bob.c.JoinRoom(ctx10(t), bad)
		if !errors.Is(err, client.ErrLink) || !errors.Is(err, client.ErrName) || strings.Contains(err.Error(), code[:10]) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if _, err := client.ParseRoom(text); err == nil || strings.Contains(err.Error(), code[:10]) {
		t.Errorf("a link as a room's address: %v", err)
	}
	if _, err := bob.c.FindRoom(ctx10(t), text); err == nil || strings.Contains(err.Error(), code[:10]) {
		t.Errorf("a link as a room's name: %v", err)
	}
	if _, err := bob.c.JoinRoom(ctx10(t), " "+text+"\n"); err != nil {
		t.Errorf("pasted with spaces around it: %v", err)
	}
}

// TestLinkToASwappedRoom: a device that holds a link does not come into a room that is shown
// under the name and is another one than the link was made for: the entry that the link names is
// another one, or the log is shorter than it was. Nothing of it is left, and the link as it was
// made leads into the room that it is for.
func TestLinkToASwappedRoom(t *testing.T) {
	f := newFake(t)
	alice, bob := f.person("alice", "atlanta.example"), f.person("bob", "biloxi.example")
	u := alice.create("club")
	h := alice.link(u, client.LinkTerms{})
	rest, pin, pinned := strings.Cut(h.Reveal()[len(u.String()):], ".")
	raw, err := base64.RawURLEncoding.DecodeString(pin)
	if !pinned || err != nil || len(raw) != 24 {
		t.Fatalf("a link with %q, %v", pin, err)
	}
	at := binary.BigEndian.Uint64(raw)
	for what, change := range map[string]func(b []byte){
		"another entry":   func(b []byte) { b[23] ^= 1 },
		"a shorter log":   func(b []byte) { binary.BigEndian.PutUint64(b, at+1000) },
		"its first entry": func(b []byte) { binary.BigEndian.PutUint64(b, 0) },
	} {
		b := bytes.Clone(raw)
		change(b)
		_, err := bob.c.JoinRoom(ctx10(t), u.String()+rest+"."+base64.RawURLEncoding.EncodeToString(b))
		if !errors.Is(err, client.ErrLink) || !errors.Is(err, client.ErrRefused) || !errors.Is(err, room.ErrWrongRoom) {
			t.Errorf("%s: %v", what, err)
		}
		if rooms, err := bob.c.Rooms(ctx10(t)); err != nil || len(rooms) != 0 {
			t.Errorf("%s: something is left of it: %+v, %v", what, rooms, err)
		}
	}
	if err := bob.joins(h); err != nil {
		t.Fatal(err)
	}
	bob.send(u, "the right one")
	alice.hears(u, "bob: the right one")
}
