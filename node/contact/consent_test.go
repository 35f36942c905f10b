package contact_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mimid/mimid/node/contact"
	"github.com/mimid/mimid/node/peering"
	"github.com/mimid/mimid/node/ration"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/wire"
)

// Alice asks Bob, who has never heard of her; he grants, she fetches his
// KeyPackages; he takes it back.
func TestConsentStory(t *testing.T) {
	for _, other := range []string{"bob@biloxi.example", "bob@atlanta.example"} {
		t.Run(other, func(t *testing.T) {
			w := newWorld(t, atlanta, biloxi)
			alice, bob := w.user("alice@atlanta.example"), w.user(other)
			status := func(want wire.KeyMaterialUserCode) {
				t.Helper()
				if got, _ := alice.claim(bob.uri(), ""); got != want {
					t.Errorf("KeyPackages: %v, want %v", got, want)
				}
			}
			check := func(atAlice, atBob string) {
				t.Helper()
				if got := alice.p.consents(alice.who); got != atAlice {
					t.Errorf("Alice sees %q, want %q", got, atAlice)
				}
				if got := bob.p.consents(bob.who); got != atBob {
					t.Errorf("Bob sees %q, want %q", got, atBob)
				}
			}
			events := func(alices, bobs []string) {
				t.Helper()
				if alice.p != bob.p {
					if diff := cmp.Diff(alices, alice.p.seen()); diff != "" {
						t.Errorf("Alice: %s", diff)
					}
					if diff := cmp.Diff(bobs, bob.p.seen()); diff != "" {
						t.Errorf("Bob: %s", diff)
					}
					return
				}
				seen := strings.Join(alice.p.seen(), "\n")
				for _, e := range append(alices, bobs...) {
					if !strings.Contains(seen, e) {
						t.Errorf("%q is missing in %q", e, seen)
					}
				}
			}
			status(wire.KeyMaterialNoConsent)
			alice.mustSay(wire.ConsentRequest, bob.uri(), "")
			events([]string{"alice: request, requested"}, []string{"bob: request, requested"})
			check("alice->bob requested; ", "alice->bob requested; ")
			status(wire.KeyMaterialNoConsent)

			bob.mustSay(wire.ConsentGrant, alice.uri(), "")
			events([]string{"alice: grant, granted"}, []string{"bob: grant, granted"})
			check("alice->bob granted; ", "alice->bob granted; ")
			status(wire.KeyMaterialSuccess)

			bob.mustSay(wire.ConsentRevoke, alice.uri(), "")
			events([]string{"alice: revoke, revoked"}, []string{"bob: revoke, revoked"})
			check("alice->bob revoked; ", "alice->bob revoked; ")
			status(wire.KeyMaterialNoConsent)

			// Asking again is not heard any more, and Alice cannot tell.
			alice.mustSay(wire.ConsentRequest, bob.uri(), "")
			events([]string{"alice: request, requested"}, nil)
			check("alice->bob requested; ", "alice->bob revoked; ")
			alice.mustSay(wire.ConsentCancel, bob.uri(), "")
			check("", "alice->bob revoked; ")
		})
	}
}

func TestConsentForOneRoom(t *testing.T) {
	const club, other = "mimi://atlanta.example/r/club", "mimi://atlanta.example/r/other"
	w := newWorld(t, atlanta, biloxi)
	alice, bob := w.user("alice@atlanta.example"), w.user("bob@biloxi.example")
	bob.mustSay(wire.ConsentGrant, alice.uri(), club) // unasked
	for room, want := range map[string]wire.KeyMaterialUserCode{club: wire.KeyMaterialSuccess, other: wire.KeyMaterialNoConsent, "": wire.KeyMaterialNoConsent} {
		if got, _ := alice.claim(bob.uri(), room); got != want {
			t.Errorf("for room %q: %v, want %v", room, got, want)
		}
	}
	if got := alice.p.consents(alice.who); got != "alice->bob"+club+" granted; " {
		t.Errorf("Alice sees %q", got)
	}
	bob.mustSay(wire.ConsentGrant, alice.uri(), "")
	bob.mustSay(wire.ConsentRevoke, alice.uri(), club)
	for room, want := range map[string]wire.KeyMaterialUserCode{club: wire.KeyMaterialNoConsent, other: wire.KeyMaterialSuccess} {
		if got, _ := alice.claim(bob.uri(), room); got != want {
			t.Errorf("granted but for one room, room %q: %v, want %v", room, got, want)
		}
	}
}

// The requester asks again after a grant that it lost: it is told again.
func TestLostGrant(t *testing.T) {
	w := newWorld(t, atlanta, biloxi)
	alice, bob := w.user("alice@atlanta.example"), w.user("bob@biloxi.example")
	bob.mustSay(wire.ConsentGrant, alice.uri(), "")
	alice.mustSay(wire.ConsentCancel, bob.uri(), "") // forgets, and Bob's provider too
	bob.mustSay(wire.ConsentGrant, alice.uri(), "")
	alice.p.seen()
	alice.mustSay(wire.ConsentRequest, bob.uri(), "")
	if got := alice.p.consents(alice.who); got != "alice->bob granted; " {
		t.Errorf("Alice sees %q", got)
	}
}

// What Alice sees is what she heard last, and nothing that nobody told her.
func TestRequestersView(t *testing.T) {
	w := newWorld(t, atlanta, biloxi)
	alice, bob := w.user("alice@atlanta.example"), w.user("bob@biloxi.example")
	revoke := entry(t, wire.ConsentRevoke, alice.uri(), bob.uri(), "")
	if _, err := bob.p.peer(atlanta, "updateConsent", string(alice.uri()), "", revoke); err != nil {
		t.Fatal(err)
	}
	if got := alice.p.consents(alice.who) + strings.Join(alice.p.seen(), ""); got != "" {
		t.Errorf("a revocation of what was never granted left %q", got)
	}
	bob.mustSay(wire.ConsentGrant, alice.uri(), "")
	bob.p.down = true // asking again must not look like losing it
	if err := alice.says(wire.ConsentRequest, bob.uri(), ""); err != nil {
		t.Fatal(err)
	}
	if got := alice.p.consents(alice.who); got != "alice->bob granted; " {
		t.Errorf("asking again, Alice sees %q", got)
	}
}

func TestConsentSurvivesRestart(t *testing.T) {
	w := newWorld(t, atlanta, biloxi)
	alice, bob := w.user("alice@atlanta.example"), w.user("bob@biloxi.example")
	alice.mustSay(wire.ConsentRequest, bob.uri(), "")
	bob.mustSay(wire.ConsentGrant, alice.uri(), "")
	alice.p.restart()
	bob.p.restart()
	if got, _ := alice.claim(bob.uri(), ""); got != wire.KeyMaterialSuccess {
		t.Errorf("after a restart: %v", got)
	}
}

func TestSendConsentRefusals(t *testing.T) {
	w := newWorld(t, atlanta, biloxi)
	alice, bob := w.user("alice@atlanta.example"), w.user("bob@biloxi.example")
	for name, x := range map[string]struct {
		entry []byte
		code  clientapi.Code
	}{
		"request for somebody else": {entry(t, wire.ConsentRequest, bob.uri(), alice.uri(), ""), clientapi.CodeForbidden},
		"grant by the requester":    {entry(t, wire.ConsentGrant, alice.uri(), bob.uri(), ""), clientapi.CodeForbidden},
		"about oneself":             {entry(t, wire.ConsentRequest, alice.uri(), alice.uri(), ""), clientapi.CodeInvalid},
		"target is a room":          {entry(t, wire.ConsentRequest, alice.uri(), "mimi://biloxi.example/r/x", ""), clientapi.CodeInvalid},
		"requester is a client":     {entry(t, wire.ConsentRequest, "mimi://atlanta.example/d/alice/phone", bob.uri(), ""), clientapi.CodeInvalid},
		"room is a user":            {entry(t, wire.ConsentRequest, alice.uri(), bob.uri(), string(bob.uri())), clientapi.CodeInvalid},
		"empty":                     {nil, clientapi.CodeInvalid},
		"truncated":                 {entry(t, wire.ConsentRequest, alice.uri(), bob.uri(), "")[:20], clientapi.CodeInvalid},
		"trailing octet":            {append(entry(t, wire.ConsentRequest, alice.uri(), bob.uri(), ""), 0), clientapi.CodeInvalid},
		"too long":                  {make([]byte, contact.MaxConsentEntry+1), clientapi.CodeTooLarge},
	} {
		wantProblem(t, alice.p.SendConsent(t.Context(), alice.who, &clientapi.SendConsent{Entry: x.entry}), x.code, name)
	}
	if got := alice.p.consents(alice.who) + strings.Join(alice.p.seen(), ""); got != "" {
		t.Errorf("refused words left %q", got)
	}
}

// peer sends a word on consent as a provider may, and returns what comes back.
func (p *provider) peer(to, endpoint, subject string, room string, entry []byte) (*peering.Response, error) {
	return p.caller.Call(context.Background(), peering.Request{Target: to, Endpoint: endpoint, Subject: subject, Room: wire.IdentifierURI(room), Body: entry})
}

func TestPeerConsentRefusals(t *testing.T) {
	w := newWorld(t, atlanta, biloxi, chicago)
	alice, bob, carol := w.user("alice@atlanta.example"), w.user("bob@biloxi.example"), w.user("carol@chicago.example")
	request := entry(t, wire.ConsentRequest, alice.uri(), bob.uri(), "")
	const ask, update = "requestConsent", "updateConsent"
	for name, x := range map[string]struct {
		from                    *provider
		endpoint, subject, room string
		entry                   []byte
		code                    clientapi.Code
	}{
		"for a user of another provider": {carol.p, ask, string(bob.uri()), "", request, clientapi.CodeForbidden},
		"to a user of another provider":  {alice.p, ask, string(carol.uri()), "", entry(t, wire.ConsentRequest, alice.uri(), carol.uri(), ""), clientapi.CodeInvalid},
		"grant for somebody else's user": {carol.p, update, string(bob.uri()), "", entry(t, wire.ConsentGrant, bob.uri(), alice.uri(), ""), clientapi.CodeForbidden},
		"request as an update":           {alice.p, update, string(bob.uri()), "", request, clientapi.CodeInvalid},
		"grant as a request":             {alice.p, ask, string(bob.uri()), "", entry(t, wire.ConsentGrant, bob.uri(), alice.uri(), ""), clientapi.CodeInvalid},
		"other subject":                  {alice.p, ask, string(carol.uri()), "", request, clientapi.CodeInvalid},
		"room in the envelope only":      {alice.p, ask, string(bob.uri()), "mimi://a.example/r/x", request, clientapi.CodeInvalid},
		"nonsense":                       {alice.p, ask, string(bob.uri()), "", []byte{9, 9}, clientapi.CodeInvalid},
	} {
		_, err := x.from.peer(biloxi, x.endpoint, x.subject, x.room, x.entry)
		wantProblem(t, err, x.code, name)
	}
	if got := bob.p.consents(bob.who) + strings.Join(bob.p.seen(), ""); got != "" {
		t.Errorf("refused words left %q", got)
	}
	// The draft has two forms of the subject.
	for _, subject := range []string{string(bob.uri()), biloxi} {
		if resp, err := alice.p.peer(biloxi, ask, subject, "", request); err != nil || resp.Status != 201 {
			t.Errorf("subject %s: %v, %v", subject, resp, err)
		}
	}
}

// A stranger cannot tell whether a user exists, has refused it, or is flooded:
// the answers are the same, and each costs the disk one commit.
func TestConsentIsUniform(t *testing.T) {
	w := newWorld(t, atlanta)
	p := w.add(biloxi, func(c *contact.Config) { c.Limits.PendingPerTarget = 2 })
	alice, bob := w.user("alice@atlanta.example"), w.user("bob@biloxi.example")
	refuses, flooded := w.user("refuses@biloxi.example"), w.user("flooded@biloxi.example")
	refuses.mustSay(wire.ConsentRevoke, alice.uri(), "")
	for i := range 2 {
		if _, err := alice.p.peer(biloxi, "requestConsent", string(flooded.uri()), "",
			entry(t, wire.ConsentRequest, wire.IdentifierURI(fmt.Sprintf("mimi://atlanta.example/u/u%d", i)), flooded.uri(), "")); err != nil {
			t.Fatal(err)
		}
	}
	for _, op := range []struct {
		op       wire.ConsentOperation
		endpoint string
	}{{wire.ConsentRequest, "requestConsent"}, {wire.ConsentCancel, "requestConsent"}, {wire.ConsentRevoke, "updateConsent"}, {wire.ConsentGrant, "updateConsent"}} {
		for _, user := range []wire.IdentifierURI{bob.uri(), refuses.uri(), flooded.uri(), "mimi://biloxi.example/u/nobody"} {
			e := entry(t, op.op, alice.uri(), user, "")
			if op.endpoint == "updateConsent" {
				e = entry(t, op.op, user, alice.uri(), "")
			}
			before := p.store.Stats()
			resp, err := alice.p.peer(biloxi, op.endpoint, string(user), "", e)
			after := p.store.Stats()
			if err != nil || resp.Status != 201 || len(resp.Body) != 0 {
				t.Errorf("%v about %s: %v, %v", op.op, user, resp, err)
			}
			if after.Commits != before.Commits+1 {
				t.Errorf("%v about %s took %d commits, which can be told from outside", op.op, user, after.Commits-before.Commits)
			}
		}
	}
	if got := p.consents(flooded.who); strings.Count(got, "requested") != 2 {
		t.Errorf("more requests than the limit are shown: %s", got)
	}
}

func TestConsentLimits(t *testing.T) {
	w := newWorld(t)
	w.add(atlanta, func(c *contact.Config) { c.Limits.Scopes = 3; c.Limits.Sent = ration.Config{PerSecond: 1, Burst: 8} })
	w.add(biloxi, func(c *contact.Config) {
		c.Limits.PendingPerProvider = 3
		c.Limits.Requests = ration.Config{PerSecond: 1, Burst: 12}
	})
	w.pass(time.Second)
	alice := w.user("alice@atlanta.example")
	name := func(i int) wire.IdentifierURI {
		return wire.IdentifierURI(fmt.Sprintf("mimi://chicago.example/u/u%d", i))
	}
	for i := range 3 {
		if err := errors.Join(alice.says(wire.ConsentRequest, name(i), ""), alice.says(wire.ConsentGrant, name(i), "")); err != nil {
			t.Fatal(err)
		}
	}
	wantProblem(t, alice.says(wire.ConsentRequest, name(3), ""), clientapi.CodeTooMany, "a fourth scope asked for")
	wantProblem(t, alice.says(wire.ConsentGrant, name(3), ""), clientapi.CodeTooMany, "a fourth scope given")
	wantProblem(t, alice.says(wire.ConsentGrant, name(0), ""), clientapi.CodeTooMany, "too fast")
	w.pass(3 * time.Second)
	if err := errors.Join(alice.says(wire.ConsentCancel, name(0), ""), alice.says(wire.ConsentRequest, name(3), "")); err != nil {
		t.Errorf("after taking one back: %v", err)
	}

	// One provider's users together, whoever they ask.
	p := w.ps[biloxi]
	for i := range 5 {
		target := w.user(fmt.Sprintf("t%d@biloxi.example", i))
		if _, err := alice.p.peer(biloxi, "requestConsent", string(target.uri()), "", entry(t, wire.ConsentRequest, alice.uri(), target.uri(), "")); err != nil {
			t.Fatal(err)
		}
	}
	if got := p.seen(); len(got) != 3 {
		t.Errorf("%d requests of one provider are shown, want 3: %v", len(got), got)
	}
	// An answer makes room.
	(&user{p: p, who: w.user("t0@biloxi.example").who}).mustSay(wire.ConsentRevoke, alice.uri(), "")
	p.seen()
	if _, err := alice.p.peer(biloxi, "requestConsent", "mimi://biloxi.example/u/t4", "", entry(t, wire.ConsentRequest, alice.uri(), "mimi://biloxi.example/u/t4", "")); err != nil {
		t.Fatal(err)
	}
	if got := p.seen(); len(got) != 1 {
		t.Errorf("after an answer %v is shown", got)
	}
	// The rate does not depend on who is asked.
	var err error
	for i := 0; i < 20 && err == nil; i++ {
		_, err = alice.p.peer(biloxi, "requestConsent", "mimi://biloxi.example/u/nobody", "", entry(t, wire.ConsentRequest, alice.uri(), "mimi://biloxi.example/u/nobody", ""))
	}
	wantProblem(t, err, clientapi.CodeTooMany, "a flood")
}
