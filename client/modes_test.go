package client_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mimid/mimid/client"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/consent"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
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
	// First who stays out: when erin is in the room, it is one of somebody who may add grace.
	looks := func() int {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.calls["GET /v1/consent/modes"]
	}
	before := looks()
	set(grace, mallory.user().String(), "closed")
	set(grace, "atlanta.example", "open")
	set(grace, "", "open")
	eventually(t, "grace looks again", func() bool { return looks() > before })
	if err := grace.c.Sync(ctx10(t)); err != nil {
		t.Fatal(err)
	}
	if s := grace.state(u); s != "" {
		t.Errorf("grace's device is %s", s)
	}
	set(erin, "", "open")
	set(frank, "", "quarantine")
	set(frank, "atlanta.example", "open")
	eventually(t, "erin joins", func() bool { return erin.state(u) == "joined" })
	eventually(t, "frank joins", func() bool { return frank.state(u) == "joined" })
}

// TestSignedConsent: a device shows whether a word is signed by whose it is, and shows nothing
// of a forged one, in another's name or in that of its own user.
func TestSignedConsent(t *testing.T) {
	f := newFake(t)
	alice, bob, mallory := f.person("alice", "atlanta.example"), f.person("bob", "biloxi.example"), f.person("mallory", "atlanta.example")
	f.ready(bob)
	if err := alice.c.RequestContact(ctx10(t), bob.user()); err != nil {
		t.Fatal(err)
	}
	if err := bob.c.RequestContact(ctx10(t), mallory.user()); err != nil {
		t.Fatal(err)
	}
	var signed []byte
	f.mu.Lock()
	for _, e := range f.devices {
		if e.uri == bob.user().String() {
			for _, x := range e.feed {
				if x.kind == clientapi.EventConsent {
					var v clientapi.ConsentEvent
					if err := json.Unmarshal(x.data, &v); err != nil {
						t.Error(err)
					}
					signed = v.Entry
				}
			}
		}
	}
	f.mu.Unlock()
	push := func(entry []byte, state string) {
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, e := range f.devices {
			if e.uri == bob.user().String() {
				f.push(e, clientapi.EventConsent, &clientapi.ConsentEvent{Entry: entry, State: state})
			}
		}
	}
	push(signed, "requested")
	await(bob, func(x client.ConsentChanged) bool {
		return x.Requester == alice.user() && x.State == "requested" && x.Signed
	})
	e, err := wire.ParseConsentEntry(signed, wire.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	bare := &wire.ConsentEntry{Operation: e.Operation, Scope: e.Scope}
	b, err := bare.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	push(b, "granted")
	await(bob, func(x client.ConsentChanged) bool { return x.State == "granted" && !x.Signed })
	forged := func(change func(*wire.ConsentEntry)) {
		t.Helper()
		x := *e
		change(&x)
		b, err := x.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		push(b, "revoked")
		await(bob, func(x client.Problem) bool {
			return errors.Is(x.Err, consent.ErrSignature) && errors.Is(x.Err, client.ErrProtocol)
		})
	}
	forged(func(x *wire.ConsentEntry) { x.Scope.Requester = wire.IdentifierURI(mallory.user().String()) })
	forged(func(x *wire.ConsentEntry) { x.Operation = wire.ConsentCancel })
	// A grant to Mallory that Bob never gave, with a signature of Alice's.
	forged(func(x *wire.ConsentEntry) {
		x.Operation = wire.ConsentGrant
		x.Scope.Requester = wire.IdentifierURI(mallory.user().String())
	})
	if err := bob.c.Sync(ctx10(t)); err != nil {
		t.Fatal(err)
	}
	for more := true; more; {
		select {
		case n := <-bob.c.Events():
			if x, ok := n.(client.ConsentChanged); ok && x.State == "revoked" {
				t.Errorf("a forged word is shown: %+v", x)
			}
		default:
			more = false
		}
	}
}
