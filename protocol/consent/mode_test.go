package consent_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/mimid/mimid/protocol/consent"
)

var modes = []consent.Mode{consent.Ask, consent.Open, consent.Quarantine, consent.Closed}

// tables are those in the package documentation: the cells of each row by the row's name.
func tables(t *testing.T) (steps, requests, verdicts map[string][]string) {
	t.Helper()
	b, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	var into map[string][]string
	width := 0 // of the rows' names
	for line := range strings.Lines(string(b)) {
		line, inside := strings.CutPrefix(strings.ReplaceAll(line, "by mode", "by-mode"), "//\t")
		switch {
		case !inside:
			into = nil
		case strings.HasPrefix(line, "            request"):
			steps = map[string][]string{}
			into, width = steps, 12
		case strings.HasPrefix(line, "request in  ask"):
			requests = map[string][]string{}
			into, width = requests, 12
		case strings.HasPrefix(strings.TrimSpace(line), "ask "):
			verdicts = map[string][]string{}
			into, width = verdicts, 24
		case into != nil:
			into[strings.TrimSpace(line[:width])] = strings.Fields(line[width:])
		}
	}
	return steps, requests, verdicts
}

// shown is a step as the tables write it.
func shown(next consent.State, effect consent.Effect, err error) string {
	if err != nil {
		return "error"
	}
	s := strings.ToUpper(next.String()[:1]) + next.String()[1:]
	switch effect {
	case consent.ShowRequest:
		s += "+t"
	case consent.WithdrawRequest:
		s += "+w"
	case consent.TellGrant, consent.TellRevoke:
		s += "+r"
	}
	return s
}

// TestTableIsTheDocumentedOne reads the tables in the package documentation and steps through
// every cell, in each mode.
func TestTableIsTheDocumentedOne(t *testing.T) {
	steps, requests, verdicts := tables(t)
	cells := 0
	for _, m := range modes {
		for _, s := range states {
			for i, e := range events {
				name := strings.ToUpper(s.String()[:1]) + s.String()[1:]
				if len(steps[name]) != len(events) {
					t.Fatalf("the row of %s is %q", name, steps[name])
				}
				want := steps[name][i]
				if want == "by-mode" {
					if len(requests[name]) != len(modes) {
						t.Fatalf("the row of requests in %s is %q", name, requests[name])
					}
					want = requests[name][int(m-consent.Ask)]
				}
				cells++
				next, effect, err := consent.Step(m, s, e)
				if got := shown(next, effect, err); got != want {
					t.Errorf("%s in %s, mode %s: %s, documented %s", e, s, m, got, want)
				}
				if effect == consent.TellRevoke && next == consent.Granted || effect == consent.TellGrant && next != consent.Granted && m != consent.Open {
					t.Errorf("%s in %s, mode %s: %s, but the state is %s", e, s, m, effect, next)
				}
			}
		}
	}
	if want := len(modes) * len(states) * len(events); cells != want || len(steps) != len(states) || len(requests) != 3 {
		t.Errorf("%d cells of %d, in tables of %d and %d rows", cells, want, len(steps), len(requests))
	}
	if len(verdicts) != 6 {
		t.Fatalf("the table of verdicts has the rows %v", verdicts)
	}
	for _, m := range modes {
		for _, any := range states {
			for _, room := range states {
				row := "otherwise"
				switch {
				case any == consent.Blocked || room == consent.Blocked:
					row = "Blocked, any or room"
				case room == consent.Granted:
					row = "room Granted"
				case room == consent.Revoked:
					row = "room Revoked"
				case any == consent.Granted:
					row = "any Granted"
				case any == consent.Revoked:
					row = "any Revoked"
				}
				if len(verdicts[row]) != len(modes) {
					t.Fatalf("the row %q is %q", row, verdicts[row])
				}
				if got, want := consent.Judge(m, any, room).String(), verdicts[row][int(m-consent.Ask)]; got != want {
					t.Errorf("any room %s, this room %s, mode %s: %s, documented %s", any, room, m, got, want)
				}
			}
		}
	}
}

// TestMostSpecificWins: a decision about the pair is above an exception for the contact, that
// above one for its provider, that above the user's mode.
func TestMostSpecificWins(t *testing.T) {
	all := append([]consent.Mode{consent.Unset}, modes...)
	for _, contact := range all {
		for _, provider := range all {
			for _, user := range all {
				want := consent.Ask
				if user != consent.Unset {
					want = user
				}
				if provider != consent.Unset {
					want = provider
				}
				if contact != consent.Unset {
					want = contact
				}
				got := consent.Resolve(contact, provider, user)
				if got != want || !got.Valid() {
					t.Errorf("contact %s, provider %s, user %s: %s, not %s", contact, provider, user, got, want)
				}
				for s, want := range map[consent.State]consent.Verdict{consent.Granted: consent.Admit, consent.Revoked: consent.Refuse, consent.Blocked: consent.Refuse} {
					if v := consent.Judge(got, s, consent.None); v != want {
						t.Errorf("%s in mode %s: %s", s, got, v)
					}
				}
			}
		}
	}
}

// TestParseMode: each mode is read by the name that it is printed with, and Unset is none.
func TestParseMode(t *testing.T) {
	for _, m := range modes {
		if got, ok := consent.ParseMode(m.String()); !ok || got != m {
			t.Errorf("%s is read as %s, %v", m, got, ok)
		}
	}
	for _, name := range []string{"", "unset", "Open", "Mode(5)"} {
		if m, ok := consent.ParseMode(name); ok {
			t.Errorf("%q is read as %s", name, m)
		}
	}
}

// naive is the state machine told as a story: it keeps all that was said and reads it from
// the beginning whenever it is asked. It knows no states.
type naive struct {
	said []struct {
		m consent.Mode
		e consent.Event
	}
}

// story says what the target's last word was ("grant", "revoke", "block", or ""), whether a
// request waits, and whether it was shown.
func (n *naive) story() (word string, waits, visible bool) {
	for _, x := range n.said {
		switch x.e {
		case consent.Block:
			word, waits, visible = "block", false, false
		case consent.Unblock:
			if word == "block" {
				word = "revoke"
			}
		case consent.Grant:
			if word != "block" {
				word, waits, visible = "grant", false, false
			}
		case consent.Revoke:
			if word != "block" {
				word, waits, visible = "revoke", false, false
			}
		case consent.Cancel:
			if word == "grant" {
				word = ""
			}
			waits, visible = false, false
		case consent.Request:
			if word == "" && (x.m == consent.Ask || x.m == consent.Quarantine) {
				waits, visible = true, visible || x.m == consent.Ask
			}
		}
	}
	return word, waits, visible
}

// TestAgainstTheStory: whatever is said, in whatever modes, the states and effects are those
// of the story.
func TestAgainstTheStory(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var n naive
		s := consent.None
		for range rapid.IntRange(1, 30).Draw(t, "length") {
			m, e := rapid.SampledFrom(modes).Draw(t, "mode"), rapid.SampledFrom(events).Draw(t, "event")
			word, _, visible := n.story()
			next, effect, err := consent.Step(m, s, e)
			if word == "block" && e == consent.Grant {
				if !errors.Is(err, consent.ErrBlocked) || next != s {
					t.Fatalf("a grant while blocked: %s, %v", next, err)
				}
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			n.said = append(n.said, struct {
				m consent.Mode
				e consent.Event
			}{m, e})
			s = next
			now, waits, shows := n.story()
			want := map[string]consent.State{"grant": consent.Granted, "revoke": consent.Revoked, "block": consent.Blocked}[now]
			if now == "" && waits {
				want = consent.Held
				if shows {
					want = consent.Requested
				}
			}
			if s != want {
				t.Fatalf("after %s in mode %s: %s, not %s", e, m, s, want)
			}
			tells := consent.Nothing
			switch {
			case e == consent.Grant, e == consent.Request && (word == "grant" || word == "" && m == consent.Open):
				tells = consent.TellGrant
			case word == "grant" && (now == "revoke" || now == "block") && e != consent.Unblock:
				tells = consent.TellRevoke
			case !visible && shows:
				tells = consent.ShowRequest
			case visible && e == consent.Cancel && word == "":
				tells = consent.WithdrawRequest
			}
			if effect != tells {
				t.Fatalf("%s in mode %s after %q: %s, not %s", e, m, word, effect, tells)
			}
		}
	})
}
