package introduce_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/introduction"
)

// TestIssuersShare: one issuer's users have all of a user's places. Another one's take them, one by one, until both
// have as many: the newest go that were not answered, without a trace but that their tokens are spent.
func TestIssuersShare(t *testing.T) {
	l := many()
	l.PerTarget, l.PerPair = 4, 4
	w := newWorld(t, l)
	a, b, c := w.ps[atlanta], w.ps[biloxi], w.ps[chicago]
	var sent []*introduction.Request
	for i := range 4 {
		r, _ := a.request("biloxi.example/u/bob", fmt.Sprint("atlanta ", i))
		must(a.send(r))(t)
		sent = append(sent, r)
		w.pass(time.Second)
	}
	texts := func() (out []string) {
		for _, i := range b.waiting("bob") {
			out = append(out, i.Text)
		}
		slices.Sort(out)
		return out
	}
	is := func(what string, want ...string) {
		t.Helper()
		if got := texts(); !slices.Equal(got, want) {
			t.Errorf("%s: %q wait, want %q", what, got, want)
		}
	}
	is("full", "atlanta 0", "atlanta 1", "atlanta 2", "atlanta 3")
	// The newest is answered with yes, which stands.
	if err := b.judge("bob", fmt.Sprintf("%x", sent[3].Handle), true); err != nil {
		t.Fatal(err)
	}
	n, _ := b.stored()
	other := func(i int) {
		t.Helper()
		r, _ := c.request("biloxi.example/u/bob", fmt.Sprint("chicago ", i))
		must(c.send(r))(t)
		w.pass(time.Second)
	}
	other(0)
	is("another issuer's", "atlanta 0", "atlanta 1", "chicago 0")
	other(1)
	is("as many of each", "atlanta 0", "chicago 0", "chicago 1")
	other(2)
	is("no more", "atlanta 0", "chicago 0", "chicago 1")
	if !must(a.send(sent[3]))(t) {
		t.Error("a yes is gone")
	}
	// What went is spent, and its repetition brings it back to nobody.
	for _, r := range sent[1:3] {
		if must(a.send(r))(t) {
			t.Errorf("%q was granted by nobody", r.Text)
		}
		again := *r
		again.Text = "once more"
		wantProblem(t, second(a.send(&again)), clientapi.CodeSpent, r.Text)
	}
	is("after repetitions", "atlanta 0", "chicago 0", "chicago 1")
	// As many records of what waits as before; more are the three spent tokens, chicago's count, and what
	// was written for the one that vanished.
	if m, _ := b.stored(); m != n+3+1+1 {
		t.Errorf("%d records, %d before", m, n)
	}
}

// TestAnsweredStay: where all that wait are answered with yes, nothing goes.
func TestAnsweredStay(t *testing.T) {
	l := many()
	l.PerTarget, l.PerPair = 2, 2
	w := newWorld(t, l)
	a, b, c := w.ps[atlanta], w.ps[biloxi], w.ps[chicago]
	for range 2 {
		r, _ := a.request("biloxi.example/u/bob", "hello")
		must(a.send(r))(t)
		if err := b.judge("bob", fmt.Sprintf("%x", r.Handle), true); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if !must(a.send(r))(t) {
				t.Error("a yes is gone")
			}
		}()
	}
	r, _ := c.request("biloxi.example/u/bob", "hello from chicago")
	must(c.send(r))(t)
	if got := b.waiting("bob"); len(got) != 0 {
		t.Errorf("%+v", got)
	}
}
