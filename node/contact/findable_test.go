package contact_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mimid/mimid/node/contact"
	"github.com/mimid/mimid/node/peering"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/wire"
)

// query asks biloxi as atlanta does, and returns the code and who was found.
func (w *world) query(q ...wire.QueryElement) string {
	t := w.t
	t.Helper()
	w.pass(time.Second)
	body := must((&wire.IdentifierRequest{Elements: q}).Bytes())(t)
	resp := must(w.ps[atlanta].caller.Call(t.Context(), peering.Request{Target: biloxi, Endpoint: "identifierQuery", Subject: biloxi, Body: body}))(t)
	m := must(wire.ParseIdentifierResponse(resp.Body, wire.Limits{}))(t)
	out := fmt.Sprint(m.Code)
	for _, u := range m.URIs {
		out += " " + strings.TrimPrefix(string(u), "mimi://biloxi.example/u/")
	}
	return out
}

func (u *user) findable(f clientapi.Findable) error {
	_, err := u.p.SetFindable(u.p.w.t.Context(), u.who, &f)
	return err
}

func byHandle(s string) wire.QueryElement {
	return wire.QueryElement{Type: wire.SearchHandle, Value: s}
}
func byPart(s string) wire.QueryElement {
	return wire.QueryElement{Type: wire.SearchPartialName, Value: s}
}
func byClaim(field, s string) wire.QueryElement {
	return wire.QueryElement{Type: wire.SearchOIDCStdClaim, Field: field, Value: s}
}

// TestSearchPolicies_5_8: MIMI section 5.8, "Find internal address": Xavier wants to be found by
// his first or last name or handle, Yolanda by her exact handle, Zach not at all, even by his
// exact handle. Elements of a query all have to match; what the provider's policy does not
// allow, no user's does.
func TestSearchPolicies_5_8(t *testing.T) {
	w := newWorld(t, atlanta)
	w.add(biloxi, func(c *contact.Config) { c.Names = true })
	w.pass(time.Second)
	xavier, yolanda, zach := w.user("xavier@biloxi.example"), w.user("yolanda@biloxi.example"), w.user("zach@biloxi.example")
	for _, u := range []*user{xavier, yolanda, zach} {
		if err := u.publish("handle:"+u.who.User.Name()+"1", nil); err != nil {
			t.Fatal(err)
		}
	}
	if got := must(yolanda.p.Findable(t.Context(), yolanda.who))(t); *got != (clientapi.Findable{Mode: clientapi.FindExact}) {
		t.Errorf("who has chosen nothing: %+v", got)
	}
	for u, f := range map[*user]clientapi.Findable{
		xavier:  {Mode: clientapi.FindNames, Given: "Xavier", Family: "Müller"},
		yolanda: {Mode: clientapi.FindExact},
		zach:    {Mode: clientapi.FindNone},
	} {
		if err := u.findable(f); err != nil {
			t.Fatal(err)
		}
		if got := must(u.p.Findable(t.Context(), u.who))(t); *got != f {
			t.Errorf("%s is findable by %+v", u.who.User, got)
		}
	}
	check := func(when string) {
		t.Helper()
		for _, x := range []struct {
			q    []wire.QueryElement
			want string
		}{
			{[]wire.QueryElement{byHandle("xavier1")}, "success xavier"},
			{[]wire.QueryElement{byPart("XAV")}, "success xavier"},
			{[]wire.QueryElement{byPart("mÜLL")}, "success xavier"},
			{[]wire.QueryElement{byClaim("given_name", "Xavier")}, "success xavier"},
			{[]wire.QueryElement{byClaim("given_name", "xavier")}, "notFound"},
			{[]wire.QueryElement{byClaim("given_name", "Xavier"), byClaim("family_name", "Müller")}, "success xavier"},
			{[]wire.QueryElement{byClaim("given_name", "Xavier"), byClaim("family_name", "Maier")}, "notFound"},
			{[]wire.QueryElement{byHandle("xavier1"), byPart("xavier")}, "success xavier"},
			{[]wire.QueryElement{byHandle("xavier1"), byPart("yolanda")}, "notFound"},
			{[]wire.QueryElement{byHandle("xavier")}, "notFound"}, // part of the handle
			{[]wire.QueryElement{byPart("xa")}, "ambiguous"},
			{[]wire.QueryElement{{Type: wire.SearchWholeProfile, Value: "xavier"}}, "ambiguous"},
			{[]wire.QueryElement{byClaim("nickname", "Xavier")}, "unsupportedField"},

			{[]wire.QueryElement{byHandle("yolanda1")}, "success yolanda"},
			{[]wire.QueryElement{byPart("yolanda")}, "notFound"},
			{[]wire.QueryElement{byHandle("yolanda1"), byPart("yol")}, "notFound"},

			{[]wire.QueryElement{byHandle("zach1")}, "notFound"},
			{[]wire.QueryElement{byPart("zach")}, "notFound"},
		} {
			if got := w.query(x.q...); got != x.want {
				t.Errorf("%s, %v: %s, want %s", when, x.q, got, x.want)
			}
		}
	}
	check("at first")
	w.ps[biloxi].restart()
	stop := w.ps[biloxi].run()
	for range 2000 {
		if w.query(byHandle("yolanda1")) != "notFound" {
			break
		}
		time.Sleep(time.Millisecond)
	}
	check("after a restart")
	stop()

	// Changed, it holds at once.
	if err := zach.findable(clientapi.Findable{Mode: clientapi.FindNames, Given: "Zacharias"}); err != nil {
		t.Fatal(err)
	}
	if err := xavier.findable(clientapi.Findable{Mode: clientapi.FindNone}); err != nil {
		t.Fatal(err)
	}
	if got := w.query(byPart("zach")) + w.query(byHandle("xavier1")) + w.query(byPart("xavier")); got != "success zachnotFoundnotFound" {
		t.Errorf("after the change: %s", got)
	}

	// Many at once are nobody; the provider's policy outranks the users'.
	for i := range 17 {
		if err := w.user(fmt.Sprintf("max%d@biloxi.example", i)).findable(clientapi.Findable{Mode: clientapi.FindNames, Given: fmt.Sprintf("Max-%d", i)}); err != nil {
			t.Fatal(err)
		}
	}
	if got := w.query(byPart("max")); got != "ambiguous" {
		t.Errorf("17 at once: %s", got)
	}
	if got := w.query(byPart("max-1")); got != "success max1 max10 max11 max12 max13 max14 max15 max16" {
		t.Errorf("eight at once: %s", got)
	}
	w.ps[biloxi].cfg.Names = false
	w.ps[biloxi].restart()
	if got := w.query(byPart("max-1")) + w.query(byClaim("given_name", "Zacharias")); got != "ambiguousunsupportedField" {
		t.Errorf("where the provider does not search by names: %s", got)
	}

	for what, f := range map[string]clientapi.Findable{
		"no such mode":        {Mode: "all"},
		"no mode":             {},
		"a name without need": {Mode: clientapi.FindExact, Given: "Xavier"},
		"no name":             {Mode: clientapi.FindNames},
		"a long name":         {Mode: clientapi.FindNames, Given: strings.Repeat("x", 129)},
		"a control character": {Mode: clientapi.FindNames, Given: "x\ny"},
		"not a text":          {Mode: clientapi.FindNames, Given: "\xff"},
	} {
		wantProblem(t, xavier.findable(f), clientapi.CodeInvalid, what)
	}
}
