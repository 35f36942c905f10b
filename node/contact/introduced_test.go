package contact_test

import (
	"context"
	"testing"

	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/introduction"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
	"github.com/mimid/mimid/store"
)

// TestIntroducedByName: who was told yes without a name is granted when it says its name, and hears of
// it, once; unless the target has refused or blocked this name, and then nothing is used up.
func TestIntroducedByName(t *testing.T) {
	good := introduction.NewSecret()
	left, asked := 1, 0
	w := newWorld(t, atlanta, biloxi)
	bob := w.user("bob@biloxi.example")
	bob.p.cfg.Redeem = func(_ *store.Tx, target, requester uri.User, s introduction.Secret) (bool, error) {
		asked++
		if s != good || left == 0 || target != bob.who.User || requester.Provider().Domain() != atlanta {
			return false, nil
		}
		left--
		return true, nil
	}
	bob.p.restart()
	says := func(u *user, s introduction.Secret) {
		t.Helper()
		e := &wire.ConsentEntry{Operation: wire.ConsentRequest, Scope: wire.ConsentScope{Requester: u.uri(), Target: bob.uri()}}
		introduction.Attach(e, s)
		if err := u.p.SendConsent(context.Background(), u.who, &clientapi.SendConsent{Entry: must(e.Bytes())(t)}); err != nil {
			t.Fatal(err)
		}
		w.flush()
	}
	state := func(u *user, want string) {
		t.Helper()
		if got := u.p.consents(u.who); got != want {
			t.Errorf("%s sees %q, want %q", u.who.User, got, want)
		}
	}
	mallory := w.user("mallory@atlanta.example")
	says(mallory, introduction.NewSecret())
	state(bob, "mallory->bob requested; ")
	refuse := &wire.ConsentEntry{Operation: wire.ConsentRevoke, Scope: wire.ConsentScope{Requester: mallory.uri(), Target: bob.uri()}}
	if err := bob.p.SendConsent(context.Background(), bob.who, &clientapi.SendConsent{Entry: must(refuse.Bytes())(t)}); err != nil {
		t.Fatal(err)
	}
	before := asked
	says(mallory, good)
	state(bob, "mallory->bob revoked; ")
	if left != 1 || asked != before {
		t.Error("a refused name uses the yes up")
	}
	alice := w.user("alice@atlanta.example")
	says(alice, good)
	state(alice, "alice->bob granted; ")
	state(bob, "alice->bob granted; mallory->bob revoked; ")
	says(alice, good) // once more, as a device does whose answer was lost
	state(alice, "alice->bob granted; ")
	if left != 0 {
		t.Error("not redeemed")
	}
	// It goes with a request about any room, and nothing else.
	for what, e := range map[string]*wire.ConsentEntry{
		"a grant":  {Operation: wire.ConsentGrant, Scope: wire.ConsentScope{Requester: bob.uri(), Target: alice.uri()}},
		"one room": {Operation: wire.ConsentRequest, Scope: wire.ConsentScope{Requester: alice.uri(), Target: bob.uri(), Room: "mimi://atlanta.example/r/x"}},
	} {
		introduction.Attach(e, good)
		err := alice.p.SendConsent(context.Background(), alice.who, &clientapi.SendConsent{Entry: must(e.Bytes())(t)})
		wantProblem(t, err, clientapi.CodeInvalid, what)
	}
}
