package contact_test

import (
	"context"
	"encoding/hex"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mimid/mimid/node/contact"
	"github.com/mimid/mimid/node/peering"
	"github.com/mimid/mimid/node/ration"
	"github.com/mimid/mimid/overlay"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/discovery"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
)

// secret derives once per identifier for all tests, because it takes time.
var secret = func() func(t testing.TB, text string) discovery.Secret {
	var mu sync.Mutex
	known := map[string]discovery.Secret{}
	return func(t testing.TB, text string) discovery.Secret {
		mu.Lock()
		defer mu.Unlock()
		if _, ok := known[text]; !ok {
			sii := must(discovery.ParseSII(text))(t)
			known[text] = must(discovery.Network{Salt: "test"}.Secret(sii))(t)
		}
		return known[text]
	}
}()

// claims makes a claim of the user.
func (u *user) claims(sii string, change func(*discovery.Terms)) *clientapi.NewClaim {
	t := u.p.w.t
	t.Helper()
	terms := discovery.Terms{User: u.who.User, Method: discovery.MethodAssigned, Issued: u.p.w.clock(), Expires: u.p.w.clock().Add(100 * 24 * time.Hour)}
	if change != nil {
		change(&terms)
	}
	c := must(discovery.Sign(u.p.w.userKey(u.who.User), u.cert, secret(t, sii), terms))(t)
	return &clientapi.NewClaim{SII: sii, Claim: c.Bytes()}
}

func (u *user) publish(sii string, change func(*discovery.Terms)) error {
	_, err := u.p.PublishClaim(context.Background(), u.who, u.claims(sii, change))
	return err
}

func (u *user) withdraw(sii string) error {
	t := u.p.w.t
	t.Helper()
	c := must(discovery.Withdraw(u.p.w.userKey(u.who.User), u.cert, secret(t, sii), u.who.User, u.p.w.clock()))(t)
	return u.p.WithdrawClaim(context.Background(), u.who, &clientapi.WithdrawClaim{SII: sii, Withdrawal: c.Bytes()})
}

// discover says who was found, and how many announcers were asked and failed.
func (u *user) discover(sii string) string {
	t := u.p.w.t
	t.Helper()
	d := must(u.p.Discover(context.Background(), u.who, &clientapi.Discover{Secret: secret(t, sii).Bytes()}))(t)
	out := ""
	for _, f := range d.Found {
		out += fmt.Sprintf("%s (%s, %s) ", f.User, f.Provider, f.Method)
	}
	return fmt.Sprintf("%s%d/%d", out, d.Asked, d.Failed)
}

func hostOf(t testing.TB, p *provider) string { return must(overlay.PeerHost(p.self))(t) }

// run runs the service until the test ends or stop is called.
func (p *provider) run() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	s := p.Service
	go func() { ended <- s.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			p.w.t.Errorf("Run: %v", err)
		}
	})
	p.w.t.Cleanup(stop)
	return stop
}

// watch runs WatchRivals until the test ends or stop is called.
func (p *provider) watch() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	s := p.Service
	go func() { ended <- s.WatchRivals(ctx) }()
	return sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			p.w.t.Errorf("WatchRivals: %v", err)
		}
	})
}

// announcers waits until so many nodes announce the identifier for a day.
func (w *world) announcers(sii string, day discovery.Day, want int) {
	w.t.Helper()
	k := secret(w.t, sii).DayKey(day)
	n := -1
	for range 2000 {
		w.mu.Lock()
		n = len(w.dht[k])
		w.mu.Unlock()
		if n == want {
			return
		}
		time.Sleep(time.Millisecond)
	}
	w.t.Errorf("%s is announced by %d nodes on %v, want %d", sii, n, day, want)
}

func TestDiscoveryStory(t *testing.T) {
	w := newWorld(t, atlanta, biloxi, chicago)
	alice, bob, carol := w.user("alice@atlanta.example"), w.user("bob@biloxi.example"), w.user("carol@chicago.example")
	bob.p.run()
	carol.p.run()
	today := discovery.DayOf(w.clock())
	if got := alice.discover("handle:bob"); got != "0/0" {
		t.Errorf("before it is published: %s", got)
	}
	if err := bob.publish("handle:bob", func(x *discovery.Terms) { x.Tags = []string{"work"} }); err != nil {
		t.Fatal(err)
	}
	w.announcers("handle:bob", today, 1)
	w.announcers("handle:bob", today+1, 1)
	const bobs, carols = "mimi://biloxi.example/u/bob (biloxi.example, assigned) ", "mimi://chicago.example/u/carol (chicago.example, assigned) "
	if got := alice.discover("HANDLE:Bob"); got != bobs+"1/0" {
		t.Errorf("Alice finds %s", got)
	}
	if got := bob.discover("handle:bob"); got != bobs+"0/0" {
		t.Errorf("at the own provider: %s", got)
	}
	// The same handle at another provider: both are shown.
	if err := carol.publish("handle:bob", nil); err != nil {
		t.Fatal(err)
	}
	w.announcers("handle:bob", today, 2)
	if got := alice.discover("handle:bob"); got != bobs+carols+"2/0" {
		t.Errorf("two owners: %s", got)
	}
	list := must(bob.p.Claims(t.Context(), bob.who))(t)
	if len(list.Claims) != 1 || list.Claims[0].SII != "handle:bob" {
		t.Errorf("Bob's claims: %v", list)
	}
	w.pass(time.Second)
	if err := bob.withdraw("handle:bob"); err != nil {
		t.Fatal(err)
	}
	w.announcers("handle:bob", today, 1)
	if got := alice.discover("handle:bob"); got != carols+"1/0" {
		t.Errorf("after Bob withdrew: %s", got)
	}
	if list := must(bob.p.Claims(t.Context(), bob.who))(t); len(list.Claims) != 0 {
		t.Errorf("Bob's claims: %v", list)
	}
	if err := bob.withdraw("handle:bob"); err != nil {
		t.Errorf("the same withdrawal again, whose answer was lost: %v", err)
	}
}

// After a restart, and on the next day, everything is announced again, and
// nothing of yesterday.
func TestAnnouncedAgain(t *testing.T) {
	w := newWorld(t, atlanta, biloxi)
	alice, bob := w.user("alice@atlanta.example"), w.user("bob@biloxi.example")
	stop := bob.p.run()
	if err := bob.publish("handle:bob", nil); err != nil {
		t.Fatal(err)
	}
	first := discovery.DayOf(w.clock())
	w.announcers("handle:bob", first, 1)
	stop()
	w.mu.Lock()
	clear(w.dht)
	w.mu.Unlock()
	w.pass(24 * time.Hour)
	bob.p.restart()
	w.pass(time.Second)
	if got := alice.discover("handle:bob"); got != "0/0" {
		t.Errorf("before it runs: %s", got)
	}
	bob.p.run()
	w.announcers("handle:bob", first+1, 1)
	w.announcers("handle:bob", first+2, 1)
	w.announcers("handle:bob", first, 0)
	if got := alice.discover("handle:bob"); !strings.HasPrefix(got, string(bob.uri())) {
		t.Errorf("after a restart: %s", got)
	}
}

// The user certificate in a claim ends before the claim: the provider renews it.
func TestRenewal(t *testing.T) {
	w := newWorld(t, atlanta, biloxi)
	alice, bob, eve := w.user("alice@atlanta.example"), w.user("bob@biloxi.example"), w.user("eve@biloxi.example")
	long := func(x *discovery.Terms) { x.Expires = x.Issued.Add(170 * 24 * time.Hour) }
	if err := bob.publish("handle:bob", long); err != nil {
		t.Fatal(err)
	}
	if err := eve.publish("handle:eve", nil); err != nil { // 100 days
		t.Fatal(err)
	}
	for day := 60; day <= 120; day += 60 {
		w.pass(60 * 24 * time.Hour)
		bob.p.restart()
		stop := bob.p.run()
		w.announcers("handle:bob", discovery.DayOf(w.clock()), 1)
		stop()
	}
	w.pass(time.Second)
	if got := alice.discover("handle:bob"); got != "mimi://biloxi.example/u/bob (biloxi.example, assigned) 1/0" {
		t.Errorf("after 120 days: %s", got)
	}
	w.announcers("handle:eve", discovery.DayOf(w.clock()), 0)
	w.pass(60 * 24 * time.Hour)
	if got := bob.discover("handle:bob"); got != "0/0" {
		t.Errorf("after the claim's end: %s", got)
	}
}

func TestPublishRefusals(t *testing.T) {
	w := newWorld(t, atlanta, biloxi)
	w.add(chicago, func(c *contact.Config) { c.Unverified = true; c.Limits.Claims = 2 })
	w.pass(time.Second)
	alice, bob, carol := w.user("alice@atlanta.example"), w.user("bob@atlanta.example"), w.user("carol@chicago.example")
	if err := alice.publish("handle:boss", nil); err != nil {
		t.Fatal(err)
	}
	if err := alice.publish("handle:boss", nil); err != nil {
		t.Errorf("the same claim again: %v", err)
	}
	unverified := func(x *discovery.Terms) { x.Method = discovery.MethodUnverified }
	other := alice.claims("handle:other", nil)
	other.SII = "handle:boss"
	stranger := *alice
	stranger.who = w.user("stranger@atlanta.example").who
	replaced := w.user("replaced@atlanta.example")
	for name, x := range map[string]struct {
		u     *user
		claim *clientapi.NewClaim
		code  clientapi.Code
	}{
		"taken":                       {bob, bob.claims("handle:boss", nil), clientapi.CodeExists},
		"older than the one there":    {alice, alice.claims("handle:boss", func(x *discovery.Terms) { x.Issued = x.Issued.Add(-time.Hour) }), clientapi.CodeExists},
		"another user's":              {bob, alice.claims("handle:mine", nil), clientapi.CodeForbidden},
		"in another user's name":      {&stranger, stranger.claims("handle:mine", nil), clientapi.CodeForbidden},
		"another identifier":          {alice, other, clientapi.CodeForbidden},
		"handle by another method":    {alice, alice.claims("handle:mine", func(x *discovery.Terms) { x.Method = discovery.MethodSMS }), clientapi.CodeInvalid},
		"from the future":             {alice, alice.claims("handle:mine", func(x *discovery.Terms) { x.Issued = x.Issued.Add(time.Hour) }), clientapi.CodeForbidden},
		"a number, where none may be": {alice, alice.claims("tel:+16505551000", unverified), clientapi.CodeForbidden},
		"a number as if verified":     {carol, carol.claims("tel:+16505551000", func(x *discovery.Terms) { x.Method = discovery.MethodSMS }), clientapi.CodeInvalid},
		"not an identifier":           {alice, &clientapi.NewClaim{SII: "alice", Claim: other.Claim}, clientapi.CodeInvalid},
		"nonsense":                    {alice, &clientapi.NewClaim{SII: "handle:mine", Claim: []byte("x")}, clientapi.CodeInvalid},
		"of a user who is gone":       {replaced, replaced.claims("handle:mine", nil), clientapi.CodeNotFound},
	} {
		if name == "of a user who is gone" {
			delete(w.ps[atlanta].users, x.u.who.User.String())
		}
		_, err := x.u.p.PublishClaim(t.Context(), x.u.who, x.claim)
		wantProblem(t, err, x.code, name)
	}
	if err := carol.publish("tel:+16505551000", unverified); err != nil {
		t.Errorf("a number where they are accepted: %v", err)
	}
	if err := carol.publish("handle:carol", nil); err != nil {
		t.Fatal(err)
	}
	wantProblem(t, carol.publish("handle:carol2", nil), clientapi.CodeTooMany, "a third claim")
	wantProblem(t, alice.withdraw("handle:never"), clientapi.CodeNotFound, "withdrawing what was not claimed")
	err := bob.p.WithdrawClaim(t.Context(), bob.who, &clientapi.WithdrawClaim{SII: "handle:boss", Withdrawal: alice.claims("handle:boss", nil).Claim})
	wantProblem(t, err, clientapi.CodeForbidden, "a claim as a withdrawal")
	// Who withdraws frees the handle, and the old claim does not come back.
	old := alice.claims("handle:boss", nil)
	w.pass(time.Minute)
	if err := alice.withdraw("handle:boss"); err != nil {
		t.Fatal(err)
	}
	_, err = alice.p.PublishClaim(t.Context(), alice.who, old)
	wantProblem(t, err, clientapi.CodeExists, "a claim from before the withdrawal")
	if err := bob.publish("handle:boss", nil); err != nil {
		t.Errorf("after it was withdrawn: %v", err)
	}
}

// Nodes that announce and do not know, or pass on, or lie.
func TestAttacks(t *testing.T) {
	w := newWorld(t, atlanta, biloxi, chicago)
	alice, bob := w.user("alice@atlanta.example"), w.user("bob@biloxi.example")
	bob.p.run()
	if err := bob.publish("handle:bob", nil); err != nil {
		t.Fatal(err)
	}
	today := discovery.DayOf(w.clock())
	k := secret(t, "handle:bob").DayKey(today)
	w.announcers("handle:bob", today, 1)
	const bobs = "mimi://biloxi.example/u/bob (biloxi.example, assigned) "
	attacker := w.ps[chicago]
	w.mu.Lock()
	w.dht[k] = append(w.dht[k], attacker.self)
	w.mu.Unlock()
	if got := alice.discover("handle:bob"); got != bobs+"2/1" {
		t.Errorf("an announcer that announces nothing: %s", got)
	}

	// One that hands every query on to the true announcer.
	var handles int
	relay := func(ctx context.Context, in *peering.Incoming) (*peering.Response, error) {
		if in.Endpoint == contact.EndpointReveal {
			handles++
		}
		q, err := discovery.ParseQuery(in.Body)
		if err != nil {
			return nil, err
		}
		q.Searcher = must(uri.ParseDomain(chicago))(t)
		return attacker.caller.Call(ctx, peering.Request{Target: biloxi, Endpoint: in.Endpoint, Subject: in.Subject, Body: q.Bytes()})
	}
	attacker.server = must(peering.NewServer(peering.Config{Domain: chicago, Aliases: []string{hostOf(t, attacker)}, Directory: directory{w}, Now: w.clock,
		Routes: []peering.Route{{Endpoint: contact.EndpointLookup, Handler: relay, Idempotent: true}, {Endpoint: contact.EndpointReveal, Handler: relay, Idempotent: true}}}))(t)
	w.pass(time.Second)
	if got := alice.discover("handle:bob"); got != bobs+"2/1" || handles != 0 {
		t.Errorf("an announcer in between: %s, and it got %d handles", got, handles)
	}

	// One that knows the identifier and speaks in another provider's name.
	liar := must(discovery.NewAnnouncer(bob.who.User.Provider(), []byte(attacker.self)))(t)
	lie := func(_ context.Context, in *peering.Incoming) (*peering.Response, error) {
		if in.Endpoint == contact.EndpointReveal {
			handles++
			return nil, fmt.Errorf("not reached")
		}
		q, err := discovery.ParseQuery(in.Body)
		if err != nil {
			return nil, err
		}
		c, err := liar.Challenge(q, alice.who.User.Provider(), secret(t, "handle:bob"), w.clock())
		return &peering.Response{Body: c.Bytes()}, err
	}
	attacker.server = must(peering.NewServer(peering.Config{Domain: chicago, Aliases: []string{hostOf(t, attacker)}, Directory: directory{w}, Now: w.clock,
		Routes: []peering.Route{{Endpoint: contact.EndpointLookup, Handler: lie, Idempotent: true}, {Endpoint: contact.EndpointReveal, Handler: lie, Idempotent: true}}}))(t)
	w.pass(time.Second)
	if got := alice.discover("handle:bob"); got != bobs+"2/1" || handles != 0 {
		t.Errorf("an announcer in another's name: %s, and it got %d handles", got, handles)
	}
}

// What a searcher may not do.
func TestLookupRefusals(t *testing.T) {
	w := newWorld(t, atlanta)
	w.add(biloxi, func(c *contact.Config) { c.Limits.Lookups = ration.Config{PerSecond: 1, Burst: 20} })
	w.pass(time.Second)
	bob := w.user("bob@biloxi.example")
	bob.p.run()
	if err := bob.publish("handle:bob", nil); err != nil {
		t.Fatal(err)
	}
	sec, today := secret(t, "handle:bob"), discovery.DayOf(w.clock())
	w.announcers("handle:bob", today, 1)
	a := w.ps[atlanta]
	self := w.user("x@atlanta.example").who.User.Provider()
	call := func(endpoint string, k [32]byte, body []byte) ([]byte, error) {
		resp, err := a.caller.Call(t.Context(), peering.Request{Target: biloxi, Endpoint: endpoint, Subject: hex.EncodeToString(k[:]), Body: body})
		if err != nil {
			return nil, err
		}
		return resp.Body, nil
	}
	s := must(discovery.NewSearcher(sec, today, self, []byte(bob.p.self)))(t)
	k := sec.DayKey(today)
	lookup := func(s *discovery.Searcher) discovery.Reveal {
		t.Helper()
		b := must(call(contact.EndpointLookup, k, s.Query().Bytes()))(t)
		return must(s.Reveal(must(discovery.ParseChallenge(b))(t)))(t)
	}
	reveal := lookup(s)
	if b := must(call(contact.EndpointReveal, k, reveal.Bytes()))(t); len(must(discovery.ParseAnswer(b))(t).Claims) != 1 {
		t.Fatal("an honest searcher finds nothing")
	}
	forged := reveal
	forged.Proof[0] ^= 1
	otherNonce := reveal
	otherNonce.Nonce[31] ^= 1
	otherHandle := reveal
	otherHandle.Handle[0] ^= 1
	foreign := s.Query()
	foreign.Searcher = bob.who.User.Provider()
	unknown := s.Query()
	unknown.DayKey[0] ^= 1
	for name, x := range map[string]struct {
		endpoint string
		key      [32]byte
		body     []byte
		code     clientapi.Code
	}{
		"reveal without the proof":    {contact.EndpointReveal, k, forged.Bytes(), clientapi.CodeForbidden},
		"reveal for another nonce":    {contact.EndpointReveal, k, otherNonce.Bytes(), clientapi.CodeForbidden},
		"reveal with another handle":  {contact.EndpointReveal, k, otherHandle.Bytes(), clientapi.CodeForbidden},
		"query in another's name":     {contact.EndpointLookup, k, foreign.Bytes(), clientapi.CodeForbidden},
		"key that nobody announces":   {contact.EndpointLookup, unknown.DayKey, unknown.Bytes(), clientapi.CodeNotFound},
		"key of another URL":          {contact.EndpointLookup, unknown.DayKey, s.Query().Bytes(), clientapi.CodeInvalid},
		"reveal of another URL":       {contact.EndpointReveal, unknown.DayKey, reveal.Bytes(), clientapi.CodeInvalid},
		"query that does not decode":  {contact.EndpointLookup, k, []byte("x"), clientapi.CodeInvalid},
		"reveal that does not decode": {contact.EndpointReveal, k, s.Query().Bytes(), clientapi.CodeInvalid},
	} {
		_, err := call(x.endpoint, x.key, x.body)
		wantProblem(t, err, x.code, name)
	}
	w.pass(3 * time.Minute)
	_, err := call(contact.EndpointReveal, k, reveal.Bytes())
	wantProblem(t, err, clientapi.CodeForbidden, "a reveal long after the challenge")
	for i := 0; i < 40 && err != nil && !strings.Contains(err.Error(), "too_many"); i++ {
		_, err = call(contact.EndpointLookup, unknown.DayKey, unknown.Bytes())
	}
	wantProblem(t, err, clientapi.CodeTooMany, "enumeration by a provider")
	for i := 0; i < 60; i++ {
		if _, err = bob.p.Discover(t.Context(), bob.who, &clientapi.Discover{Secret: secret(t, "handle:bob").Bytes()}); err != nil {
			break
		}
	}
	wantProblem(t, err, clientapi.CodeTooMany, "enumeration by a user")
	_, err = bob.p.Discover(t.Context(), bob.who, &clientapi.Discover{Secret: []byte("bob")})
	wantProblem(t, err, clientapi.CodeInvalid, "not a secret")
}

// TestIdentifierQuery: MIMI section 5.8. Each code is reached, and each but success says
// nothing of users: whatever is asked, the octets are the same.
func TestIdentifierQuery(t *testing.T) {
	w := newWorld(t, atlanta, biloxi)
	bob := w.user("bob@biloxi.example")
	w.user("shy@biloxi.example")
	if err := bob.publish("handle:bobby", nil); err != nil {
		t.Fatal(err)
	}
	if err := bob.publish("handle:robert", nil); err != nil {
		t.Fatal(err)
	}
	if err := w.user("eve@biloxi.example").publish("handle:eve", nil); err != nil {
		t.Fatal(err)
	}
	shapes := map[wire.IdentifierQueryCode][]byte{}
	handle := func(s ...string) (out []wire.QueryElement) {
		for _, x := range s {
			out = append(out, wire.QueryElement{Type: wire.SearchHandle, Value: x})
		}
		return out
	}
	by := func(t wire.SearchIdentifierType, v string) []wire.QueryElement {
		return []wire.QueryElement{{Type: t, Value: v}}
	}
	ask := func(name string, q []wire.QueryElement, code wire.IdentifierQueryCode) {
		t.Helper()
		body := must((&wire.IdentifierRequest{Elements: q}).Bytes())(t)
		resp := must(w.ps[atlanta].caller.Call(t.Context(), peering.Request{Target: biloxi, Endpoint: "identifierQuery", Subject: biloxi, Body: body}))(t)
		m := must(wire.ParseIdentifierResponse(resp.Body, wire.Limits{}))(t)
		if m.Code != code || code == wire.QuerySuccess && fmt.Sprint(m.URIs) != "[mimi://biloxi.example/u/bob]" {
			t.Errorf("%s: %v %v, want %v", name, m.Code, m.URIs, code)
		}
		if shapes[code] == nil {
			shapes[code] = resp.Body
		}
		if diff := cmp.Diff(shapes[code], resp.Body); diff != "" {
			t.Errorf("%s: two answers %v differ: %s", name, code, diff)
		}
	}
	for _, x := range []struct {
		name  string
		query []wire.QueryElement
		code  wire.IdentifierQueryCode
	}{
		{"published", handle("bobby"), wire.QuerySuccess},
		{"with the scheme", handle("handle:bobby"), wire.QuerySuccess},
		{"the same twice: all match", handle("bobby", "bobby"), wire.QuerySuccess},
		{"two of one user", handle("bobby", "robert"), wire.QuerySuccess},
		{"two of two users", handle("bobby", "eve"), wire.QueryNotFound},
		{"one there, one not", handle("bobby", "nobody"), wire.QueryNotFound},
		{"more than are looked up", handle("bobby", "bobby", "bobby", "bobby", "bobby"), wire.QueryNotFound},
		{"a user, no handle", handle("shy"), wire.QueryNotFound},
		{"part of it", handle("bob"), wire.QueryNotFound},
		{"not a handle", handle("a b"), wire.QueryNotFound},
		{"handle is a number", handle("tel:+16505551000"), wire.QueryNotFound},
		// These say how this provider searches, and are the same for names that there are.
		{"by part of a name", by(wire.SearchPartialName, "bobby"), wire.QueryAmbiguous},
		{"by a profile", by(wire.SearchWholeProfile, "nobody"), wire.QueryAmbiguous},
		{"by part of a name and by handle", append(by(wire.SearchPartialName, "bobby"), handle("bobby")...), wire.QueryAmbiguous},
		{"by telephone", by(wire.SearchPhone, "+16505551000"), wire.QueryUnsupportedField},
		{"by address", by(wire.SearchEmail, "bob@biloxi.example"), wire.QueryUnsupportedField},
		{"by nick", by(wire.SearchNick, "bobby"), wire.QueryUnsupportedField},
		{"by a claim", []wire.QueryElement{{Type: wire.SearchOIDCStdClaim, Field: "given_name", Value: "Bob"}}, wire.QueryUnsupportedField},
		{"by a property and by handle", append(handle("bobby"), wire.QueryElement{Type: wire.SearchVCardField, Field: "FN", Value: "Bob"}), wire.QueryUnsupportedField},
	} {
		ask(x.name, x.query, x.code)
	}
	_, err := w.ps[atlanta].caller.Call(t.Context(), peering.Request{Target: biloxi, Endpoint: "identifierQuery", Subject: chicago,
		Body: must((&wire.IdentifierRequest{Elements: handle("bobby")}).Bytes())(t)})
	wantProblem(t, err, clientapi.CodeInvalid, "for another domain")

	// A provider that answers no queries refuses each, before it looks at it.
	p := w.ps[biloxi]
	p.cfg.NoQueries = true
	p.restart()
	for _, q := range [][]wire.QueryElement{handle("bobby"), handle("shy"), by(wire.SearchPhone, "+16505551000"), by(wire.SearchPartialName, "bob")} {
		ask("where none is answered", q, wire.QueryForbidden)
	}
}
