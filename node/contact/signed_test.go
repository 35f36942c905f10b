package contact_test

import (
	"context"
	"testing"

	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/consent"
	"github.com/mimid/mimid/protocol/wire"
)

// signedEntry is a word, signed by a user, in whose name ever.
func (u *user) signedEntry(op wire.ConsentOperation, requester, target wire.IdentifierURI, change func(*wire.ConsentEntry)) []byte {
	t := u.p.w.t
	t.Helper()
	e := &wire.ConsentEntry{Operation: op, Scope: wire.ConsentScope{Requester: requester, Target: target}}
	if err := consent.Sign(e, key(u.who.User.String()), u.cert, u.p.w.clock()); err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(e)
	}
	return must(e.Bytes())(t)
}

// Signed words do what unsigned ones do, arrive with their signatures, and forged ones do
// nothing, at the own provider and at the other, where a forger's provider brings them.
func TestSignedConsent(t *testing.T) {
	w := newWorld(t, atlanta, biloxi)
	alice, mallory, bob := w.user("alice@atlanta.example"), w.user("mallory@atlanta.example"), w.user("bob@biloxi.example")
	send := func(u *user, entry []byte) error {
		return u.p.SendConsent(context.Background(), u.who, &clientapi.SendConsent{Entry: entry})
	}
	if err := send(alice, alice.signedEntry(wire.ConsentRequest, alice.uri(), bob.uri(), nil)); err != nil {
		t.Fatal(err)
	}
	w.flush()
	if got := bob.p.consents(bob.who); got != "alice->bob requested; " {
		t.Errorf("Bob sees %q", got)
	}
	if err := send(bob, bob.signedEntry(wire.ConsentGrant, alice.uri(), bob.uri(), nil)); err != nil {
		t.Fatal(err)
	}
	w.flush()
	if got := alice.p.consents(alice.who); got != "alice->bob granted; " {
		t.Errorf("Alice sees %q", got)
	}
	before, _ := bob.p.records()
	forged := map[string][]byte{
		"by another user": mallory.signedEntry(wire.ConsentCancel, alice.uri(), bob.uri(), nil),
		"of another word": alice.signedEntry(wire.ConsentRequest, alice.uri(), bob.uri(), func(e *wire.ConsentEntry) { e.Operation = wire.ConsentCancel }),
		"by the target":   bob.signedEntry(wire.ConsentCancel, alice.uri(), bob.uri(), nil),
	}
	for name, e := range forged {
		wantProblem(t, send(alice, e), clientapi.CodeInvalid, name+", at the own provider")
		_, err := alice.p.peer(biloxi, "requestConsent", string(bob.uri()), "", e)
		wantProblem(t, err, clientapi.CodeInvalid, name+", at the other")
	}
	_, err := bob.p.peer(atlanta, "updateConsent", string(alice.uri()), "", alice.signedEntry(wire.ConsentRevoke, alice.uri(), bob.uri(), nil))
	wantProblem(t, err, clientapi.CodeInvalid, "a revocation signed by the requester")
	if after, _ := bob.p.records(); after != before {
		t.Errorf("%d records, %d before", after, before)
	}
	if got := alice.p.consents(alice.who) + bob.p.consents(bob.who); got != "alice->bob granted; alice->bob granted; " {
		t.Errorf("afterwards %q", got)
	}
	// A refusal of a forged word is the same for a user that does not exist.
	_, err1 := alice.p.peer(biloxi, "requestConsent", "mimi://biloxi.example/u/nobdy", "", mallory.signedEntry(wire.ConsentRequest, alice.uri(), "mimi://biloxi.example/u/nobdy", nil))
	_, err2 := alice.p.peer(biloxi, "requestConsent", string(bob.uri()), "", mallory.signedEntry(wire.ConsentRequest, alice.uri(), bob.uri(), nil))
	if err1 == nil || err2 == nil || err1.Error() != err2.Error() {
		t.Errorf("refusals differ: %v; %v", err1, err2)
	}
}
