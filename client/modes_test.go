package client_test

import (
	"errors"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mimid/mimid/client"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/uri"
)

func (f *fake) consentModes(_ *http.Request, u *fakeUser) (any, error) {
	if m := f.modes[u.uri]; m != nil {
		return m, nil
	}
	return &clientapi.ConsentModes{Mode: "ask"}, nil
}

// setConsentModes is as strict about revisions as a provider.
func (f *fake) setConsentModes(r *http.Request, u *fakeUser) (any, error) {
	m, err := body[clientapi.ConsentModes](r)
	if err != nil {
		return nil, err
	}
	old := f.modes[u.uri]
	if old == nil {
		old = new(clientapi.ConsentModes)
	}
	if f.overtaken > 0 {
		f.overtaken--
		old.Revision++
		f.modes[u.uri] = old
	}
	if m.Revision != old.Revision {
		return nil, &clientapi.Problem{Status: 409, Code: clientapi.CodeRevision, Detail: "set meanwhile"}
	}
	m.Revision++
	f.modes[u.uri] = m
	for _, x := range f.devices {
		if x.uri == u.uri {
			f.push(x, clientapi.EventModes, &clientapi.ModesEvent{Revision: m.Revision})
		}
	}
	return m, nil
}

// TestConsentModes: modes and exceptions are set one by one, also where another device sets
// them at the same time, and what is none is refused here.
func TestConsentModes(t *testing.T) {
	f := newFake(t)
	bob := f.person("bob", "biloxi.example")
	for _, x := range []struct{ who, mode string }{{"", "quarantine"}, {"alice@atlanta.example", "open"}, {"chicago.example", "closed"},
		{"alice@atlanta.example", "ask"}, {"mimi://atlanta.example/u/dave", "open"}, {"chicago.example", ""}} {
		f.mu.Lock()
		f.overtaken = 1
		f.mu.Unlock()
		if _, err := bob.c.SetConsentMode(ctx10(t), x.who, x.mode); err != nil {
			t.Fatalf("%+v: %v", x, err)
		}
	}
	m, err := bob.c.ConsentModes(ctx10(t))
	if err != nil {
		t.Fatal(err)
	}
	want := []clientapi.ConsentException{{Who: "mimi://atlanta.example/u/alice", Mode: "ask"}, {Who: "mimi://atlanta.example/u/dave", Mode: "open"}}
	if diff := cmp.Diff(want, m.Exceptions); m.Mode != "quarantine" || diff != "" {
		t.Errorf("mode %s, exceptions %s", m.Mode, diff)
	}
	for _, x := range []struct{ who, mode string }{{"", ""}, {"", "unset"}, {"chicago.example", "Open"}, {"not a domain", "open"}, {"mimi://chicago.example/x", "open"}, {"@", "ask"}} {
		if _, err := bob.c.SetConsentMode(ctx10(t), x.who, x.mode); !errors.Is(err, client.ErrMode) {
			t.Errorf("%+v: %v", x, err)
		}
	}
	f.mu.Lock()
	f.overtaken = 3
	f.mu.Unlock()
	var p *clientapi.Problem
	if _, err := bob.c.SetConsentMode(ctx10(t), "", "open"); !errors.As(err, &p) || p.Code != clientapi.CodeRevision {
		t.Errorf("always overtaken: %v", err)
	}
}

// TestUninvitedByMode: somebody is put on a list by a stranger and stays out. Once the mode
// is open, or an exception for the stranger's provider is, its device comes in, and an
// exception that is closed for the stranger is above both.
func TestUninvitedByMode(t *testing.T) {
	f := newFake(t)
	mallory := f.person("mallory", "atlanta.example")
	erin, frank, grace := f.person("erin", "biloxi.example"), f.person("frank", "biloxi.example"), f.person("grace", "biloxi.example")
	u := mallory.create("den")
	all := []*person{erin, frank, grace}
	for _, p := range all {
		f.ready(p)
	}
	f.mu.Lock()
	f.shy = true
	for _, p := range all {
		x := f.users[p.user().String()]
		x.packages, x.last = nil, nil
	}
	f.mu.Unlock()
	if _, err := mallory.c.AddUsers(ctx10(t), u, []uri.User{erin.user(), frank.user(), grace.user()}); err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		await(p, func(x client.Problem) bool { return errors.Is(x.Err, client.ErrUninvited) && x.Room == u })
	}
	set := func(p *person, who, mode string) {
		t.Helper()
		if _, err := p.c.SetConsentMode(ctx10(t), who, mode); err != nil {
			t.Fatal(err)
		}
	}
	set(grace, mallory.user().String(), "closed")
	set(grace, "atlanta.example", "open")
	set(grace, "", "open")
	set(erin, "", "open")
	set(frank, "", "quarantine")
	set(frank, "atlanta.example", "open")
	eventually(t, "erin joins", func() bool { return erin.state(u) == "joined" })
	eventually(t, "frank joins", func() bool { return frank.state(u) == "joined" })
	if err := grace.c.Sync(ctx10(t)); err != nil {
		t.Fatal(err)
	}
	if s := grace.state(u); s != "" {
		t.Errorf("grace's device is %s", s)
	}
}
