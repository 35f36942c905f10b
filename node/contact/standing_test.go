package contact_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/mimid/mimid/node/contact"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/discovery"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/verification"
)

const phone = "tel:+16505551000"

// stated is what an authority states of a user and an identifier.
func (u *user) stated(by, sii string, change func(*verification.Facts)) []byte {
	t := u.p.w.t
	t.Helper()
	f := verification.Facts{ClaimID: secret(t, sii).ClaimID(), User: u.who.User, KeyID: must(discovery.KeyID(u.p.w.userKey(u.who.User).Public()))(t), Method: discovery.MethodSMS,
		Authority: must(uri.ParseDomain(by))(t), Issued: u.p.w.clock(), Expires: u.p.w.clock().Add(150 * 24 * time.Hour)}
	if change != nil {
		change(&f)
	}
	return must(verification.Sign(key(by), f))(t).Bytes()
}

// verified makes the terms of a claim those of a number that an authority has verified.
func (u *user) verified(by string, change func(*verification.Facts)) func(*discovery.Terms) {
	return func(x *discovery.Terms) {
		x.Method, x.Statement = discovery.MethodSMS, u.stated(by, phone, change)
	}
}

// standings says who stands for what was found.
func (u *user) standings(sii string) (out []string) {
	t := u.p.w.t
	t.Helper()
	d := must(u.p.Discover(t.Context(), u.who, &clientapi.Discover{Secret: secret(t, sii).Bytes()}))(t)
	for _, f := range d.Found {
		out = append(out, fmt.Sprintf("%s %s %s", f.User, f.Verified, f.Authority))
	}
	return out
}

// TestVerifiedClaims: a provider publishes a number that an authority which it believes has
// verified, for this user and key and while that lasts, and no other; searchers see whom they
// themselves believe.
func TestVerifiedClaims(t *testing.T) {
	w := newWorld(t, chicago)
	for _, d := range []string{atlanta, biloxi} {
		w.add(d, func(c *contact.Config) { c.Authorities = []string{chicago, "gone.example"} })
	}
	w.add("detroit.example", func(c *contact.Config) { c.Unverified = true })
	w.pass(time.Second)
	alice, bob, dora := w.user("alice@atlanta.example"), w.user("bob@biloxi.example"), w.user("dora@detroit.example")
	bob.p.run()
	dora.p.run()
	for what, x := range map[string]struct {
		change func(*discovery.Terms)
		code   clientapi.Code
	}{
		"nothing stated":            {func(x *discovery.Terms) { x.Method = discovery.MethodUnverified }, clientapi.CodeForbidden},
		"nothing stated, as if":     {func(x *discovery.Terms) { x.Method = discovery.MethodSMS }, clientapi.CodeForbidden},
		"stated by itself":          {bob.verified(biloxi, nil), clientapi.CodeForbidden},
		"stated by another":         {bob.verified(atlanta, nil), clientapi.CodeForbidden},
		"by who cannot be found":    {bob.verified("gone.example", nil), clientapi.CodeUnreachable},
		"stated of another user":    {bob.verified(chicago, func(f *verification.Facts) { f.User = alice.who.User }), clientapi.CodeForbidden},
		"stated of another key":     {bob.verified(chicago, func(f *verification.Facts) { f.KeyID[0] ^= 1 }), clientapi.CodeForbidden},
		"stated of another number":  {bob.verified(chicago, func(f *verification.Facts) { f.ClaimID[0] ^= 1 }), clientapi.CodeForbidden},
		"stated by another method":  {bob.verified(chicago, func(f *verification.Facts) { f.Method = discovery.MethodCall }), clientapi.CodeForbidden},
		"stated for a shorter time": {bob.verified(chicago, func(f *verification.Facts) { f.Expires = f.Issued.Add(99 * 24 * time.Hour) }), clientapi.CodeInvalid},
		"garbage stated": {func(x *discovery.Terms) { x.Method, x.Statement = discovery.MethodSMS, []byte("garbage") },
			clientapi.CodeInvalid},
	} {
		wantProblem(t, bob.publish(phone, x.change), x.code, what)
	}
	wantProblem(t, bob.publish("handle:bob", func(x *discovery.Terms) { x.Statement = bob.stated(chicago, "handle:bob", nil) }), clientapi.CodeInvalid, "stated of a handle")

	if err := bob.publish(phone, bob.verified(chicago, nil)); err != nil {
		t.Fatal(err)
	}
	if err := dora.publish(phone, func(x *discovery.Terms) { x.Method = discovery.MethodUnverified }); err != nil {
		t.Fatal(err)
	}
	w.announcers(phone, discovery.DayOf(w.clock()), 2)
	if got := fmt.Sprint(alice.standings(phone)); got != "[mimi://biloxi.example/u/bob authority chicago.example mimi://detroit.example/u/dora nobody ]" {
		t.Errorf("Alice, who believes chicago, sees %s", got)
	}
	if got := fmt.Sprint(w.user("carla@chicago.example").standings(phone)); got != "[mimi://biloxi.example/u/bob provider  mimi://detroit.example/u/dora nobody ]" {
		t.Errorf("who believes nobody sees %s", got)
	}
}
