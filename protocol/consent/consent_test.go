package consent_test

import (
	"bufio"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/mimid/mimid/protocol/consent"
)

var states = []consent.State{consent.None, consent.Requested, consent.Granted, consent.Revoked, consent.Blocked}
var events = []consent.Event{consent.Request, consent.Cancel, consent.Grant, consent.Revoke, consent.Block, consent.Unblock}

// TestTableIsTheDocumentedOne reads the table in the package documentation and
// steps through every cell.
func TestTableIsTheDocumentedOne(t *testing.T) {
	f, err := os.Open("consent.go")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cells := 0
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		fields := strings.Fields(strings.TrimPrefix(lines.Text(), "//"))
		if len(fields) != 7 || !strings.HasPrefix(lines.Text(), "//\t") {
			continue
		}
		for _, s := range states {
			if strings.ToLower(fields[0]) != s.String() {
				continue
			}
			for i, e := range events {
				cells++
				next, effect, err := consent.Step(s, e)
				got := strings.ToUpper(next.String()[:1]) + next.String()[1:]
				switch {
				case err != nil:
					got = "error"
				case effect == consent.ShowRequest:
					got += "+t"
				case effect == consent.WithdrawRequest:
					got += "+w"
				case effect == consent.TellGrant || effect == consent.TellRevoke:
					got += "+r"
				}
				if got != fields[i+1] {
					t.Errorf("%s in %s: %s, documented %s", e, s, got, fields[i+1])
				}
				if (effect == consent.TellGrant && next != consent.Granted) || (effect == consent.TellRevoke && next == consent.Granted) {
					t.Errorf("%s in %s: %s, but the state is %s", e, s, effect, next)
				}
			}
		}
	}
	if cells != len(states)*len(events) {
		t.Errorf("the documentation has %d cells, %d expected", cells, len(states)*len(events))
	}
}

// TestRequesterLearnsNothing searches all sequences of events up to six: what a
// requester is told is a function of whether it is granted, so no sequence of
// its own events tells refused, blocked and unanswered apart.
func TestRequesterLearnsNothing(t *testing.T) {
	told := func(e consent.Effect) bool { return e == consent.TellGrant || e == consent.TellRevoke }
	var walk func(s consent.State, depth int)
	seen := 0
	walk = func(s consent.State, depth int) {
		for _, e := range events {
			next, effect, err := consent.Step(s, e)
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

func TestAllows(t *testing.T) {
	for _, c := range []struct {
		any, room consent.State
		want      bool
		why       string
	}{
		{consent.None, consent.None, false, "nothing was said: the mode is ask"},
		{consent.Requested, consent.Requested, false, "asking is not enough"},
		{consent.Granted, consent.None, true, "any room"},
		{consent.Granted, consent.Requested, true, "any room, asked again for this one"},
		{consent.None, consent.Granted, true, "this room"},
		{consent.Granted, consent.Revoked, false, "any room but this one"},
		{consent.Revoked, consent.Granted, true, "this room only"},
		{consent.Blocked, consent.Granted, false, "a block stands"},
		{consent.Granted, consent.Blocked, false, "a block for this room stands"},
		{consent.Revoked, consent.None, false, "refused"},
	} {
		if got := consent.Allows(c.any, c.room); got != c.want {
			t.Errorf("any room %s, this room %s: %v (%s)", c.any, c.room, got, c.why)
		}
	}
}

func TestUnknownValues(t *testing.T) {
	for _, c := range []struct {
		s consent.State
		e consent.Event
	}{{5, consent.Request}, {255, consent.Grant}, {consent.None, 6}, {consent.Blocked, 255}} {
		if s, effect, err := consent.Step(c.s, c.e); !errors.Is(err, consent.ErrEvent) || s != c.s || effect != consent.Nothing {
			t.Errorf("%s in %s: %s, %s, %v", c.e, c.s, s, effect, err)
		}
	}
	if consent.Allows(9, 9) {
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
