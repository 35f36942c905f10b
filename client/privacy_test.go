package client_test

import (
	"errors"
	"math"
	"testing"

	"github.com/mimid/mimid/client"
	"github.com/mimid/mimid/protocol/clientapi"
)

// TestPrivacy: a device asks as its user has chosen, also after it was opened again, and does not believe a provider
// that has asked in another way than it was to.
func TestPrivacy(t *testing.T) {
	f := newFake(t)
	alice, bob := f.person("alice", "atlanta.example"), f.person("bob", "biloxi.example")
	if err := bob.c.Publish(ctx10(t), "handle:bob"); err != nil {
		t.Fatal(err)
	}
	if p, err := alice.c.Privacy(ctx10(t)); err != nil || p.Over != client.PrivacyOpen || p.RefuseBelow != 0 {
		t.Fatalf("at first %+v, %v", p, err)
	}
	for _, p := range []client.Privacy{{}, {Over: "pigeon"}, {Over: "onion", RefuseBelow: -1}, {Over: "onion", WarnBelow: math.NaN()}} {
		if err := alice.c.SetPrivacy(ctx10(t), p); !errors.Is(err, client.ErrPrivacy) {
			t.Errorf("%+v: %v", p, err)
		}
	}
	find := func() (clientapi.Discover, error) {
		out, err := alice.c.Discover(ctx10(t), "handle:bob")
		if err == nil && len(out.Found) != 1 {
			t.Errorf("found %+v", out)
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.discovered, err
	}
	if q, err := find(); err != nil || q.Privacy != nil {
		t.Errorf("openly: %+v, %v", q.Privacy, err)
	}
	if err := alice.c.SetPrivacy(ctx10(t), client.Privacy{Over: client.PrivacyOnion, RefuseBelow: 7, WarnBelow: 9}); err != nil {
		t.Fatal(err)
	}
	alice.restart()
	if q, err := find(); err != nil || q.Privacy == nil || *q.Privacy != (clientapi.Privacy{Over: "onion", Floor: 7}) {
		t.Errorf("over relays: %+v, %v", q.Privacy, err)
	}
	f.mu.Lock()
	f.forgetful = true
	f.mu.Unlock()
	if _, err := find(); !errors.Is(err, client.ErrProtocol) {
		t.Errorf("a provider that does not say how it has asked: %v", err)
	}
}

// TestSteady: a device that is to be written to steadily reads nothing else, and reads again when its user says
// otherwise, or its provider does so; no restart is needed.
func TestSteady(t *testing.T) {
	f := newFake(t)
	alice, bob := f.person("alice", "atlanta.example"), f.person("bob", "biloxi.example")
	u := alice.create("clubhouse")
	alice.add(u, bob)
	bob.send(u, "one")
	alice.hears(u, "bob: one")
	choose := func(steady bool) {
		t.Helper()
		if err := alice.c.SetPrivacy(ctx10(t), client.Privacy{Over: client.PrivacyOpen, Steady: steady}); err != nil {
			t.Fatal(err)
		}
	}
	choose(true)
	await(alice, func(p client.Problem) bool { return errors.Is(p.Err, client.ErrProtocol) })
	choose(false)
	bob.send(u, "two")
	alice.hears(u, "bob: one", "bob: two")
	f.mu.Lock()
	f.steady = true
	f.mu.Unlock()
	choose(true)
	bob.send(u, "three")
	alice.hears(u, "bob: one", "bob: two", "bob: three")
}
