package contact_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/mimid/mimid/node/peering"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/wire"
)

// deliver brings the oldest thing that waits at a provider, twice, as an outbox may.
func (p *provider) deliver() bool {
	t := p.w.t
	t.Helper()
	p.mu.Lock()
	if len(p.waits) == 0 {
		p.mu.Unlock()
		return false
	}
	x := p.waits[0]
	p.waits = p.waits[1:]
	p.mu.Unlock()
	var id peering.ID
	rand.Read(id[:])
	for range 2 {
		if _, err := p.caller.Call(context.Background(), peering.Request{Target: x.target, Endpoint: x.item.Endpoint, Subject: x.item.Subject,
			Room: x.item.Room, ID: id, Body: x.item.Body}); err != nil {
			t.Fatal(err)
		}
	}
	return true
}

// TestConsentRaces: whatever the two say, in whatever order, and however late it arrives, for
// all histories of up to five steps: KeyPackages are there exactly if the target's last word is
// yes, and no cancellation has arrived since; so a revocation is in force at once, and no
// request or cancellation that is still on its way brings consent back.
func TestConsentRaces(t *testing.T) {
	const request, cancel, grant, revoke, toBob, toAlice = 'q', 'c', 'g', 'r', '>', '<'
	depth := 5
	if testing.Short() {
		depth = 4
	}
	w := newWorld(t, atlanta, biloxi)
	alice := w.user("alice@atlanta.example")
	histories := 0
	n := 0
	run := func(history string) {
		n++
		bob := w.user(fmt.Sprintf("b%05d@biloxi.example", n))
		w.pass(1e11) // for the rations
		say := func(u *user, op wire.ConsentOperation, other wire.IdentifierURI) {
			if err := u.says(op, other, ""); err != nil {
				t.Fatalf("%q: %v", history, err)
			}
		}
		allowed := false
		var onItsWay []rune // to Bob
		deliver := func() {
			what := onItsWay[0]
			onItsWay = onItsWay[1:]
			if what == cancel {
				allowed = false
			}
			if !alice.p.deliver() {
				t.Fatalf("%q: nothing waits", history)
			}
		}
		check := func(at string) {
			got, _ := alice.claim(bob.uri(), "")
			if want := map[bool]wire.KeyMaterialUserCode{true: wire.KeyMaterialSuccess, false: wire.KeyMaterialNoConsent}[allowed]; got != want {
				t.Fatalf("%q, %s: %v, want %v", history, at, got, want)
			}
		}
		for i, x := range history {
			switch x {
			case request:
				say(alice, wire.ConsentRequest, bob.uri())
				onItsWay = append(onItsWay, x)
			case cancel:
				say(alice, wire.ConsentCancel, bob.uri())
				onItsWay = append(onItsWay, x)
			case grant:
				say(bob, wire.ConsentGrant, alice.uri())
				allowed = true
			case revoke:
				say(bob, wire.ConsentRevoke, alice.uri())
				allowed = false
			case toBob:
				deliver()
			case toAlice:
				bob.p.deliver()
			}
			if i == len(history)-1 {
				check("at its end")
			}
		}
		for len(onItsWay) > 0 {
			deliver()
		}
		for bob.p.deliver() {
		}
		check("when all has arrived")
		state := ""
		for _, c := range must(alice.p.Consents(t.Context(), alice.who))(t).Consents {
			if c.Target == string(bob.uri()) {
				state = c.State
			}
		}
		// Alice may believe in a grant that her own cancellation has ended, if the two crossed;
		// then she gets no KeyPackages, and asks again. Without that she sees what holds.
		if (state == "granted") != allowed && !strings.ContainsRune(history, cancel) {
			t.Fatalf("%q: Alice sees %q, and it is allowed: %v", history, state, allowed)
		}
		histories++
	}
	var walk func(prefix []rune, toB, toA int)
	walk = func(prefix []rune, toB, toA int) {
		if len(prefix) > 0 && prefix[len(prefix)-1] != toBob && prefix[len(prefix)-1] != toAlice {
			run(string(prefix)) // what ends with an arrival is part of what follows
		}
		if len(prefix) == depth {
			return
		}
		for _, x := range []rune{request, cancel, grant, revoke, toBob, toAlice} {
			b, a := toB, toA
			switch x {
			case request, cancel:
				b++
			case grant, revoke:
				a++ // at most: not each word is told
			case toBob:
				b--
			case toAlice:
				a--
			}
			if b >= 0 && a >= 0 && b <= 2 && a <= 2 {
				walk(append(slices.Clone(prefix), x), b, a)
			}
		}
	}
	walk(nil, 0, 0)
	if min := map[bool]int{true: 150, false: 800}[testing.Short()]; histories < min {
		t.Errorf("only %d histories", histories)
	}
	t.Logf("%d histories", histories)
}

// TestBothWays: one step asks and grants, both or neither, and one answer connects both.
func TestBothWays(t *testing.T) {
	w := newWorld(t, atlanta, biloxi)
	alice, bob, carol := w.user("alice@atlanta.example"), w.user("bob@biloxi.example"), w.user("carol@biloxi.example")
	send := func(first, second []byte) error {
		return alice.p.SendConsent(t.Context(), alice.who, &clientapi.SendConsent{Entry: first, Also: second})
	}
	ask := entry(t, wire.ConsentRequest, alice.uri(), bob.uri(), "")
	give := entry(t, wire.ConsentGrant, bob.uri(), alice.uri(), "")
	for name, x := range map[string][2][]byte{
		"about somebody else": {ask, entry(t, wire.ConsentGrant, carol.uri(), alice.uri(), "")},
		"twice the same half": {ask, ask},
		"about a room":        {ask, entry(t, wire.ConsentGrant, bob.uri(), alice.uri(), "mimi://atlanta.example/r/club")},
		"nonsense":            {ask, []byte{9}},
	} {
		wantProblem(t, send(x[0], x[1]), clientapi.CodeInvalid, name)
	}
	wantProblem(t, send(ask, entry(t, wire.ConsentGrant, alice.uri(), bob.uri(), "")), clientapi.CodeForbidden, "in Bob's name")
	// A blocked Bob cannot be granted anything, and so nothing is asked of him either.
	block := &clientapi.SendConsent{Entry: entry(t, wire.ConsentRevoke, bob.uri(), alice.uri(), ""), Block: "block"}
	if err := alice.p.SendConsent(t.Context(), alice.who, block); err != nil {
		t.Fatal(err)
	}
	wantProblem(t, send(ask, give), clientapi.CodeForbidden, "with a block")
	w.flush()
	if got := bob.p.consents(bob.who) + strings.Join(bob.p.seen(), ""); got != "" {
		t.Errorf("Bob sees %q of what was refused, and of a block", got)
	}
	if got, _ := bob.claim(alice.uri(), ""); got != wire.KeyMaterialNoConsent {
		t.Errorf("blocked: %v", got)
	}
	block.Block = "unblock"
	if err := alice.p.SendConsent(t.Context(), alice.who, block); err != nil {
		t.Fatal(err)
	}
	if got := alice.p.consents(alice.who); got != "bob->alice revoked; " {
		t.Errorf("unblocked: %q", got)
	}
	block.Block = "perhaps"
	wantProblem(t, alice.p.SendConsent(t.Context(), alice.who, block), clientapi.CodeInvalid, "neither a block nor its end")
	wantProblem(t, alice.p.SendConsent(t.Context(), alice.who, &clientapi.SendConsent{Entry: ask, Block: "block"}), clientapi.CodeInvalid, "a block that is a request")

	if err := send(ask, give); err != nil {
		t.Fatal(err)
	}
	w.flush()
	if got := bob.p.consents(bob.who); got != "alice->bob requested; bob->alice granted; " {
		t.Errorf("Bob sees %q", got)
	}
	bob.mustSay(wire.ConsentGrant, alice.uri(), "")
	for _, x := range []struct{ from, to *user }{{alice, bob}, {bob, alice}} {
		if got, _ := x.from.claim(x.to.uri(), ""); got != wire.KeyMaterialSuccess {
			t.Errorf("%s of %s: %v", x.from.uri(), x.to.uri(), got)
		}
	}
}

// TestSpamWave: ten thousand requests by users of one provider, to one user and to many, cost
// a bounded number of records, octets and events, and do not stand in the way of others'. The
// work for each that is over a bound is that of the first ones: the same number of writes.
func TestSpamWave(t *testing.T) {
	const wave = 10_000
	spam := func(w *world, mode string) {
		bob, erin := w.user("bob@biloxi.example"), w.user("erin@biloxi.example")
		alice := w.user("alice@atlanta.example")
		b := w.ps[biloxi]
		if mode != "ask" {
			bob.set(mode)
		}
		b.seen()
		before, octets := b.records()
		refused := 0
		for n := range wave {
			w.pass(5e8) // as fast as the provider's ration allows
			target, who := bob, fmt.Sprintf("mimi://chicago.example/u/spam%05d", n)
			if n%2 == 1 {
				target = erin
			}
			e := entry(t, wire.ConsentRequest, wire.IdentifierURI(who), target.uri(), "")
			if _, err := w.ps[chicago].peer(biloxi, "requestConsent", string(target.uri()), "", e); err != nil {
				refused++
			}
		}
		if refused > 0 {
			t.Errorf("mode %s: %d of %d were refused: at this speed the caps are to hold, not the ration", mode, refused, wave)
		}
		records, size := b.records()
		records, size = records-before, size-octets
		// Each user: 50 states; and counters. In mode closed Bob has none.
		if records > 2*50+10 || size > 20_000 {
			t.Errorf("mode %s: %d records of %d octets are left", mode, records, size)
		}
		if n := len(b.seen()); n > 2*50 {
			t.Errorf("mode %s: devices were told %d times", mode, n)
		}
		t.Logf("mode %s: %d requests leave %d records, %d octets", mode, wave, records, size)
		for _, u := range []*user{bob, erin} {
			alice.mustSay(wire.ConsentRequest, u.uri(), "")
		}
		heard := strings.Contains(erin.p.consents(erin.who), "alice->erin requested")
		if !heard {
			t.Errorf("mode %s: a request by another provider's user to Erin vanishes", mode)
		}
		switch mode {
		case "ask":
			if !strings.Contains(bob.p.consents(bob.who), "alice->bob requested") {
				t.Error("a request by another provider's user vanishes")
			}
		case "quarantine":
			if !slices.ContainsFunc(bob.held().Requests, func(x clientapi.HeldRequest) bool { return x.By == string(alice.uri()) }) {
				t.Error("a request by another provider's user is not held")
			}
		}
		// One that is answered makes room for one more, of that provider too.
		first := wire.IdentifierURI("mimi://chicago.example/u/spam00001")
		erin.mustSay(wire.ConsentRevoke, first, "")
		e := entry(t, wire.ConsentRequest, "mimi://chicago.example/u/honest", erin.uri(), "")
		if _, err := w.ps[chicago].peer(biloxi, "requestConsent", string(erin.uri()), "", e); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(erin.p.consents(erin.who), "honest->erin requested") {
			t.Errorf("mode %s: an answered request leaves no place", mode)
		}
	}
	for _, mode := range []string{"ask", "quarantine", "closed"} {
		spam(newWorld(t, atlanta, biloxi, chicago), mode)
	}
}
