package contact_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/mimid/mimid/node/peering"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/wire"
)

const club = "mimi://biloxi.example/r/club"

// Alice (atlanta) adds Carol (chicago) to a room of which biloxi is the hub.
func TestKeyMaterialByHub(t *testing.T) {
	w := newWorld(t, atlanta, biloxi, chicago)
	alice, carol := w.user("alice@atlanta.example"), w.user("carol@chicago.example")
	w.rooms[club] = roomAt{biloxi, []string{atlanta, biloxi}}
	if got, _ := alice.claim(carol.uri(), club); got != wire.KeyMaterialNoConsent {
		t.Errorf("without consent: %v", got)
	}
	carol.mustSay(wire.ConsentGrant, alice.uri(), "")
	w.ps[biloxi].calls, w.ps[chicago].calls = nil, nil
	if got, _ := alice.claim(carol.uri(), club); got != wire.KeyMaterialSuccess {
		t.Errorf("with consent: %v", got)
	}
	if len(w.ps[biloxi].calls) != 1 || len(w.ps[chicago].calls) != 1 {
		t.Errorf("went by the hub %v, to the target %v", w.ps[biloxi].calls, w.ps[chicago].calls)
	}
	// Without a room, directly.
	w.ps[biloxi].calls = nil
	if got, _ := alice.claim(carol.uri(), ""); got != wire.KeyMaterialSuccess || len(w.ps[biloxi].calls) != 0 {
		t.Errorf("without a room: %v, the hub saw %v", got, w.ps[biloxi].calls)
	}
	// A room that is made here: its hub is this provider.
	if got, _ := alice.claim(carol.uri(), "mimi://atlanta.example/r/new"); got != wire.KeyMaterialSuccess {
		t.Errorf("for a room that does not exist yet: %v", got)
	}
	w.ps[biloxi].down = true
	_, err := alice.p.ClaimKeyPackages(t.Context(), alice.who, &clientapi.ClaimKeyPackages{Request: alice.request(carol.uri(), club, nil)})
	wantProblem(t, err, clientapi.CodeUnreachable, "hub is down")
}

// Without consent nobody learns anything: for all kinds of users the answer is
// the same in every octet but the user's name, and accounts are not asked.
func TestNoConsentIsUniform(t *testing.T) {
	w := newWorld(t, atlanta, biloxi)
	alice := w.user("alice@atlanta.example")
	never, asked := w.user("never@biloxi.example"), w.user("asked@biloxi.example")
	revoked, other := w.user("revok@biloxi.example"), w.user("other@biloxi.example")
	alice.mustSay(wire.ConsentRequest, asked.uri(), "")
	revoked.mustSay(wire.ConsentGrant, alice.uri(), "")
	revoked.mustSay(wire.ConsentRevoke, alice.uri(), "")
	other.mustSay(wire.ConsentGrant, alice.uri(), "mimi://biloxi.example/r/another")
	var first string
	for _, user := range []wire.IdentifierURI{never.uri(), asked.uri(), revoked.uri(), other.uri(), "mimi://biloxi.example/u/nobdy"} {
		for _, room := range []string{"", club} {
			code, b := alice.claim(user, room)
			shape := strings.Replace(string(b), string(user), strings.Repeat("x", len(user)), 1)
			if first == "" {
				first = shape
			}
			if code != wire.KeyMaterialNoConsent || shape != first {
				t.Errorf("%s, room %q: %v, %x", user, room, code, b)
			}
		}
	}
	if n := w.ps[biloxi].claimed(); n != 0 {
		t.Errorf("accounts were asked %d times before consent", n)
	}
}

// TestIncompatibleProtocol_5_2: who asks in a protocol, or for cipher suites, that nobody here
// has is told so, and the same of whomever: of who has consented, has not, and does not exist.
func TestIncompatibleProtocol_5_2(t *testing.T) {
	w := newWorld(t, atlanta, biloxi)
	alice, bob, shy := w.user("alice@atlanta.example"), w.user("bob@biloxi.example"), w.user("shy@biloxi.example")
	bob.mustSay(wire.ConsentGrant, alice.uri(), "")
	var first string
	for _, target := range []wire.IdentifierURI{bob.uri(), shy.uri(), "mimi://biloxi.example/u/bye"} {
		suites := alice.request(target, "", func(m *wire.KeyMaterialRequest) { m.Suites = []mls.CipherSuite{0x7777, 0xf001} })
		other := append([]byte{2}, "what no MLS provider can read"...)
		for what, body := range map[string][]byte{"cipher suites that nobody has": suites, "another protocol": other} {
			resp := must(w.ps[atlanta].caller.Call(t.Context(), peering.Request{Target: biloxi, Endpoint: "keyMaterial", Subject: string(target), Body: body}))(t)
			m := must(wire.ParseKeyMaterialResponse(resp.Body, wire.Limits{}))(t)
			if m.Status != wire.KeyMaterialIncompatibleProtocol || m.User != target {
				t.Errorf("%s, of %s: %v of %s", what, target, m.Status, m.User)
			}
			shape := strings.Replace(string(resp.Body), string(target), strings.Repeat("x", len(target)), 1)
			if first == "" {
				first = shape
			}
			if shape != first {
				t.Errorf("%s, of %s: %x", what, target, resp.Body)
			}
		}
	}
	if n := w.ps[biloxi].claimed(); n != 0 {
		t.Errorf("accounts were asked %d times", n)
	}
	_, err := w.ps[atlanta].caller.Call(t.Context(), peering.Request{Target: biloxi, Endpoint: "keyMaterial", Subject: "mimi://biloxi.example/d/bob/phone", Body: []byte{2}})
	wantProblem(t, err, clientapi.CodeInvalid, "of no user")
	// One suite that there is makes it a question of consent again.
	if code, _ := alice.claim(shy.uri(), ""); code != wire.KeyMaterialNoConsent {
		t.Errorf("a suite that there is: %v", code)
	}
}

// A user's own devices need no consent.
func TestOwnDevices(t *testing.T) {
	w := newWorld(t, atlanta)
	alice := w.user("alice@atlanta.example")
	if got, _ := alice.claim(alice.uri(), ""); got != wire.KeyMaterialSuccess {
		t.Errorf("%v", got)
	}
}

func TestClaimRefusals(t *testing.T) {
	w := newWorld(t, atlanta, biloxi)
	alice, mallory, bob := w.user("alice@atlanta.example"), w.user("mallory@atlanta.example"), w.user("bob@biloxi.example")
	bad := func(change func(*wire.KeyMaterialRequest)) []byte { return alice.request(bob.uri(), "", change) }
	forged := bad(nil)
	forged[len(forged)-1] ^= 1
	for name, x := range map[string]struct {
		request []byte
		code    clientapi.Code
	}{
		"in another user's name":        {mallory.request(bob.uri(), "", nil), clientapi.CodeForbidden},
		"another user's credential":     {bad(func(m *wire.KeyMaterialRequest) { m.Credential = mallory.cred }), clientapi.CodeForbidden},
		"names another requesting user": {bad(func(m *wire.KeyMaterialRequest) { m.RequestingUser = mallory.uri() }), clientapi.CodeForbidden},
		"forged signature":              {forged, clientapi.CodeForbidden},
		"target is a client":            {bad(func(m *wire.KeyMaterialRequest) { m.TargetUser = "mimi://biloxi.example/d/bob/phone" }), clientapi.CodeInvalid},
		"room is none":                  {bad(func(m *wire.KeyMaterialRequest) { m.Room = "mimi://biloxi.example/u/bob" }), clientapi.CodeInvalid},
		"unknown provider":              {bad(func(m *wire.KeyMaterialRequest) { m.TargetUser = "mimi://nowhere.example/u/bob" }), clientapi.CodeUnknownProvider},
		"truncated":                     {bad(nil)[:40], clientapi.CodeInvalid},
		"too long":                      {make([]byte, 40<<10), clientapi.CodeTooLarge},
	} {
		_, err := alice.p.ClaimKeyPackages(t.Context(), alice.who, &clientapi.ClaimKeyPackages{Request: x.request})
		wantProblem(t, err, x.code, name)
	}
	w.pass(365 * 24 * time.Hour)
	_, err := alice.p.ClaimKeyPackages(t.Context(), alice.who, &clientapi.ClaimKeyPackages{Request: bad(nil)})
	wantProblem(t, err, clientapi.CodeForbidden, "expired credential")
}

// What providers may not do for users.
func TestPeerClaimRefusals(t *testing.T) {
	w := newWorld(t, atlanta, biloxi, chicago)
	alice, bob, carol := w.user("alice@atlanta.example"), w.user("bob@biloxi.example"), w.user("carol@chicago.example")
	bob.mustSay(wire.ConsentGrant, alice.uri(), "")
	carol.mustSay(wire.ConsentGrant, alice.uri(), "")
	w.rooms[club] = roomAt{biloxi, []string{atlanta, biloxi}}
	w.rooms["mimi://atlanta.example/r/home"] = roomAt{atlanta, []string{atlanta, biloxi}}
	call := func(from, to string, target wire.IdentifierURI, room string, body []byte) error {
		_, err := w.ps[from].caller.Call(context.Background(), peering.Request{Target: to, Endpoint: "keyMaterial", Subject: string(target),
			Room: wire.IdentifierURI(room), Body: body})
		return err
	}
	good := alice.request(bob.uri(), "", nil)
	forged := append([]byte{}, good...)
	mallory := w.user("mallory@atlanta.example")
	borrowed := mallory.request(bob.uri(), "", func(m *wire.KeyMaterialRequest) { m.RequestingUser = alice.uri() })
	forged[len(forged)-1] ^= 1
	for name, x := range map[string]struct {
		from, to string
		target   wire.IdentifierURI
		room     string
		body     []byte
		code     clientapi.Code
	}{
		"another provider's user, no room":        {chicago, biloxi, bob.uri(), "", good, clientapi.CodeForbidden},
		"signed by another user":                  {atlanta, biloxi, bob.uri(), "", borrowed, clientapi.CodeForbidden},
		"forged signature":                        {atlanta, biloxi, bob.uri(), "", forged, clientapi.CodeForbidden},
		"subject of another user":                 {atlanta, biloxi, carol.uri(), "", good, clientapi.CodeInvalid},
		"room of the envelope only":               {atlanta, biloxi, bob.uri(), club, good, clientapi.CodeInvalid},
		"relay for a room of another hub":         {atlanta, biloxi, carol.uri(), "mimi://atlanta.example/r/home", alice.request(carol.uri(), "mimi://atlanta.example/r/home", nil), clientapi.CodeForbidden},
		"relay for an unknown room":               {atlanta, biloxi, carol.uri(), "mimi://biloxi.example/r/x", alice.request(carol.uri(), "mimi://biloxi.example/r/x", nil), clientapi.CodeForbidden},
		"relay for a provider outside the room":   {chicago, biloxi, alice.uri(), club, carol.request(alice.uri(), club, nil), clientapi.CodeForbidden},
		"relay of another provider's user":        {biloxi, atlanta, carol.uri(), "mimi://atlanta.example/r/home", alice.request(carol.uri(), "mimi://atlanta.example/r/home", nil), clientapi.CodeForbidden},
		"relay without a room":                    {atlanta, biloxi, carol.uri(), "", alice.request(carol.uri(), "", nil), clientapi.CodeForbidden},
		"nonsense":                                {atlanta, biloxi, bob.uri(), "", []byte("\x01nonsense"), clientapi.CodeInvalid},
		"requester of a provider nobody can find": {chicago, biloxi, bob.uri(), club, alice.request(bob.uri(), club, func(m *wire.KeyMaterialRequest) { m.RequestingUser = "mimi://nowhere.example/u/x" }), peering.CodeUnresolved},
	} {
		wantProblem(t, call(x.from, x.to, x.target, x.room, x.body), x.code, name)
	}
	if n := bob.p.claimed() + carol.p.claimed(); n != 0 {
		t.Errorf("%d claims reached the accounts", n)
	}
	if err := call(atlanta, biloxi, bob.uri(), "", good); err != nil {
		t.Errorf("the request that all others were made from: %v", err)
	}
}

// A target's provider that answers nonsense, or about somebody else.
func TestNonsenseAnswer(t *testing.T) {
	w := newWorld(t, atlanta, biloxi)
	alice, bob := w.user("alice@atlanta.example"), w.user("bob@biloxi.example")
	other := must((&wire.KeyMaterialResponse{Status: wire.KeyMaterialNoConsent, User: "mimi://biloxi.example/u/other"}).Bytes())(t)
	for name, body := range map[string][]byte{"nonsense": []byte("x"), "nothing": nil, "about another user": other} {
		p := w.ps[biloxi]
		p.server = must(peering.NewServer(peering.Config{Domain: biloxi, Directory: directory{w}, Now: w.clock, Routes: []peering.Route{{Endpoint: "keyMaterial", Idempotent: true,
			Handler: func(context.Context, *peering.Incoming) (*peering.Response, error) {
				return &peering.Response{Body: body}, nil
			}}}}))(t)
		w.pass(time.Second)
		_, err := alice.p.ClaimKeyPackages(t.Context(), alice.who, &clientapi.ClaimKeyPackages{Request: alice.request(bob.uri(), "", nil)})
		wantProblem(t, err, clientapi.CodeUnreachable, name)
	}
}
