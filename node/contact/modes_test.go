package contact_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mimid/mimid/node/contact"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/consent"
	"github.com/mimid/mimid/protocol/wire"
	"github.com/mimid/mimid/store"
)

// set sets the user's modes: its mode, then whom an exception is for and its mode, in turns.
func (u *user) set(mode string, exceptions ...string) *clientapi.ConsentModes {
	t := u.p.w.t
	t.Helper()
	m := must(u.p.ConsentModes(t.Context(), u.who))(t)
	m.Mode, m.Exceptions = mode, nil
	for i := 0; i < len(exceptions); i += 2 {
		m.Exceptions = append(m.Exceptions, clientapi.ConsentException{Who: exceptions[i], Mode: exceptions[i+1]})
	}
	return must(u.p.SetConsentModes(t.Context(), u.who, m))(t)
}

// records counts what is stored about consent, except what is overwritten each time.
func (p *provider) records() (n, octets int) {
	p.w.t.Helper()
	err := p.store.View(func(tx *store.Tx) error {
		n, octets = 0, 0
		for it, err := range tx.Scan(store.Scan{Prefix: store.SpaceConsent.Prefix(nil)}) {
			if err != nil {
				return err
			}
			if err := contact.Check(it); err != nil {
				return fmt.Errorf("%q: %w", it.Key, err)
			}
			name := must(store.SpaceConsent.Parse(it.Key))(p.w.t)
			if name[0] == 7 {
				continue
			}
			n, octets = n+1, octets+len(name)+len(it.Value)
		}
		return nil
	})
	if err != nil {
		p.w.t.Fatal(err)
	}
	return n, octets
}

// In mode open a request is answered at once, nothing is stored of it, and KeyPackages are
// there without it, too. That ends with the mode. What was decided about somebody is above the mode.
func TestOpenMode(t *testing.T) {
	w := newWorld(t, atlanta, biloxi)
	alice, bob := w.user("alice@atlanta.example"), w.user("bob@biloxi.example")
	bob.set("open")
	bob.p.seen()
	before, _ := bob.p.records()
	if got, _ := alice.claim(bob.uri(), ""); got != wire.KeyMaterialSuccess {
		t.Errorf("unasked: %v", got)
	}
	alice.mustSay(wire.ConsentRequest, bob.uri(), "")
	if got := alice.p.consents(alice.who); got != "alice->bob granted; " {
		t.Errorf("Alice sees %q", got)
	}
	if got := strings.Join(bob.p.seen(), "; ") + bob.p.consents(bob.who); got != "" {
		t.Errorf("Bob sees %q", got)
	}
	if after, _ := bob.p.records(); after != before {
		t.Errorf("a request left %d records", after-before)
	}
	bob.set("ask")
	if got, _ := alice.claim(bob.uri(), ""); got != wire.KeyMaterialNoConsent {
		t.Errorf("after the mode has ended: %v", got)
	}
	bob.set("open")
	bob.mustSay(wire.ConsentRevoke, alice.uri(), "")
	if got, _ := alice.claim(bob.uri(), ""); got != wire.KeyMaterialNoConsent {
		t.Errorf("revoked: %v", got)
	}
	if got := alice.p.consents(alice.who); got != "alice->bob granted; " {
		t.Errorf("a revocation of what was never granted is told: Alice sees %q", got)
	}
}

// The most specific exception wins, and what was decided about the very pair is above all of
// them: whether KeyPackages are handed out shows it for every combination.
func TestModesAreResolved(t *testing.T) {
	w := newWorld(t, atlanta, biloxi)
	alice, bob := w.user("alice@atlanta.example"), w.user("bob@biloxi.example")
	modes := []string{"", "ask", "open", "quarantine", "closed"}
	parse := func(s string) consent.Mode { m, _ := consent.ParseMode(s); return m }
	for _, user := range modes[1:] {
		for _, provider := range modes {
			for _, who := range modes {
				var list []string
				if who != "" {
					list = append(list, string(alice.uri()), who)
				}
				if provider != "" {
					list = append(list, atlanta, provider)
				}
				w.pass(10e9) // for the ration
				bob.set(user, list...)
				m := consent.Resolve(parse(who), parse(provider), parse(user))
				want := wire.KeyMaterialNoConsent
				if consent.Judge(m, consent.None, consent.None) != consent.Refuse {
					want = wire.KeyMaterialSuccess
				}
				if got, _ := alice.claim(bob.uri(), ""); got != want {
					t.Errorf("%q, provider %q, user %q: %v, want %v", user, provider, who, got, want)
				}
			}
		}
	}
	bob.mustSay(wire.ConsentGrant, alice.uri(), "")
	bob.set("closed", string(alice.uri()), "closed", atlanta, "closed")
	if got, _ := alice.claim(bob.uri(), ""); got != wire.KeyMaterialSuccess {
		t.Errorf("granted, and closed: %v", got)
	}
}

// In mode closed a request is not kept; in mode quarantine it is, and no device is told.
func TestClosedAndHeldRequests(t *testing.T) {
	w := newWorld(t, atlanta, biloxi)
	alice, bob := w.user("alice@atlanta.example"), w.user("bob@biloxi.example")
	bob.set("closed")
	bob.p.seen()
	before, _ := bob.p.records()
	alice.mustSay(wire.ConsentRequest, bob.uri(), "")
	if after, _ := bob.p.records(); after != before {
		t.Errorf("mode closed: a request left %d records", after-before)
	}
	bob.set("quarantine")
	bob.p.seen()
	alice.mustSay(wire.ConsentRequest, bob.uri(), "")
	if got := strings.Join(bob.p.seen(), "; ") + bob.p.consents(bob.who); got != "" {
		t.Errorf("mode quarantine: Bob sees %q", got)
	}
	if after, _ := bob.p.records(); after <= before {
		t.Error("mode quarantine: the request is not kept")
	}
	bob.set("ask")
	alice.mustSay(wire.ConsentRequest, bob.uri(), "")
	if got := bob.p.consents(bob.who); got != "alice->bob requested; " {
		t.Errorf("asked again in mode ask: Bob sees %q", got)
	}
}

// Who is refused gets the same octets whatever the user's modes are.
func TestModesRefuseAlike(t *testing.T) {
	w := newWorld(t, atlanta, biloxi)
	alice := w.user("alice@atlanta.example")
	var shape []byte
	for name, list := range map[string][]string{"never0": nil, "ask-00": {"ask"}, "closed": {"closed"},
		"except": {"open", atlanta, "closed"}, "contac": {"open", atlanta, "open", "mimi://atlanta.example/u/alice", "ask"}, "nobody": {"none"}} {
		target := wire.IdentifierURI("mimi://biloxi.example/u/" + name)
		if name != "nobody" {
			bob := w.user(name + "@biloxi.example")
			if len(list) > 0 {
				bob.set(list[0], list[1:]...)
			}
		}
		status, got := alice.claim(target, "")
		got = bytes.Replace(got, []byte(name), []byte("x"), 1)
		if shape == nil {
			shape = got
		}
		if status != wire.KeyMaterialNoConsent || !bytes.Equal(got, shape) {
			t.Errorf("%s: %v, %x, others %x", name, status, got, shape)
		}
	}
	if n := w.ps[biloxi].claimed(); n != 0 {
		t.Errorf("%d claims were looked up", n)
	}
}

// Setting the modes is one step, against the revision that was read, and what is no mode is
// refused and changes nothing.
func TestSetModes(t *testing.T) {
	w := newWorld(t, atlanta, biloxi)
	bob := w.user("bob@biloxi.example")
	if m := must(bob.p.ConsentModes(t.Context(), bob.who))(t); m.Mode != "ask" || m.Revision != 0 || len(m.Exceptions) != 0 {
		t.Errorf("at first: %+v", m)
	}
	first := bob.set("quarantine", "chicago.example", "closed", "mimi://atlanta.example/u/alice", "open")
	bob.p.restart()
	got := must(bob.p.ConsentModes(t.Context(), bob.who))(t)
	if diff := cmp.Diff(first, got); diff != "" || got.Revision != 1 {
		t.Errorf("after a restart, revision %d: %s", got.Revision, diff)
	}
	ex := func(who, mode string) clientapi.ConsentModes {
		return clientapi.ConsentModes{Mode: "ask", Revision: 1, Exceptions: []clientapi.ConsentException{{Who: who, Mode: mode}}}
	}
	long := clientapi.ConsentModes{Mode: "ask", Revision: 1}
	for i := range contact.MaxExceptions + 1 {
		long.Exceptions = append(long.Exceptions, clientapi.ConsentException{Who: fmt.Sprintf("p%d.example", i), Mode: "open"})
	}
	twice := ex("chicago.example", "open")
	twice.Exceptions = append(twice.Exceptions, clientapi.ConsentException{Who: "CHICAGO.example", Mode: "ask"})
	for _, m := range []clientapi.ConsentModes{{Mode: "", Revision: 1}, {Mode: "unset", Revision: 1}, ex("chicago.example", ""), ex("", "open"),
		ex("mimi://biloxi.example/u/bob", "open"), ex("no domain", "open"), ex("mimi://atlanta.example/r/club", "open"), long, twice} {
		_, err := bob.p.SetConsentModes(t.Context(), bob.who, &m)
		wantProblem(t, err, clientapi.CodeInvalid, fmt.Sprintf("%.200v", m))
	}
	_, err := bob.p.SetConsentModes(t.Context(), bob.who, &clientapi.ConsentModes{Mode: "open"})
	wantProblem(t, err, clientapi.CodeRevision, "an old revision")
	if diff := cmp.Diff(first, must(bob.p.ConsentModes(t.Context(), bob.who))(t)); diff != "" {
		t.Errorf("after refusals: %s", diff)
	}
	if next := bob.set("open"); next.Revision != 2 || len(next.Exceptions) != 0 {
		t.Errorf("%+v", next)
	}
	if n, _ := bob.p.records(); n != 1 {
		t.Errorf("%d records, 1 expected", n)
	}
}
