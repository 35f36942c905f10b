package consent_test

import (
	"errors"
	"testing"

	"github.com/mimid/mimid/protocol/consent"
)

var states = []consent.State{consent.None, consent.Requested, consent.Granted, consent.Revoked, consent.Blocked, consent.Held}
var events = []consent.Event{consent.Request, consent.Cancel, consent.Grant, consent.Revoke, consent.Block, consent.Unblock}

// TestRequesterLearnsNothing searches all sequences of events up to six: what a
// requester is told is a function of whether it is granted, so no sequence of
// its own events tells refused, blocked and unanswered apart.
func TestRequesterLearnsNothing(t *testing.T) {
	told := func(e consent.Effect) bool { return e == consent.TellGrant || e == consent.TellRevoke }
	var walk func(s consent.State, depth int)
	seen := 0
	walk = func(s consent.State, depth int) {
		for _, e := range events {
			next, effect, err := consent.Step(consent.Ask, s, e)
			seen++
			if err != nil {
				if next != s || effect != consent.Nothing {
					t.Fatalf("%s in %s fails and changes something", e, s)
				}
				continue
			}
			if told(effect) && s != consent.Granted && next != consent.Granted {
				t.Fatalf("%s in %s tells the requester %s", e, s, effect)
			}
			if (e == consent.Request || e == consent.Cancel) && next == consent.Granted && s != consent.Granted {
				t.Fatalf("a requester grants itself consent in %s", s)
			}
			if s == consent.Blocked && next == consent.Granted {
				t.Fatalf("%s lifts a block into a grant", e)
			}
			if depth > 1 {
				walk(next, depth-1)
			}
		}
	}
	walk(consent.None, 6)
	if seen < 10_000 {
		t.Errorf("only %d steps searched", seen)
	}
}

func TestUnknownValues(t *testing.T) {
	for _, c := range []struct {
		s consent.State
		e consent.Event
	}{{6, consent.Request}, {255, consent.Grant}, {consent.None, 6}, {consent.Blocked, 255}} {
		if s, effect, err := consent.Step(consent.Ask, c.s, c.e); !errors.Is(err, consent.ErrEvent) || s != c.s || effect != consent.Nothing {
			t.Errorf("%s in %s: %s, %s, %v", c.e, c.s, s, effect, err)
		}
	}
	for _, m := range []consent.Mode{consent.Unset, 5, 255} {
		if s, effect, err := consent.Step(m, consent.None, consent.Request); !errors.Is(err, consent.ErrEvent) || s != consent.None || effect != consent.Nothing {
			t.Errorf("in mode %s: %s, %s, %v", m, s, effect, err)
		}
		if v := consent.Judge(m, consent.None, consent.None); v != consent.Refuse {
			t.Errorf("mode %s: %s", m, v)
		}
	}
	if v := consent.Judge(consent.Ask, 9, 9); v != consent.Refuse {
		t.Error("an unknown state allows")
	}
}

// TestParseState: each state is read by the name that it is printed with.
func TestParseState(t *testing.T) {
	for _, s := range states {
		if got, ok := consent.ParseState(s.String()); !ok || got != s {
			t.Errorf("%s is read as %s, %v", s, got, ok)
		}
	}
	if got, ok := consent.ParseState("Granted"); ok || got != consent.None {
		t.Errorf("an unknown name is read as %s", got)
	}
}
