// Package churn says when nodes come and go: how long their sessions last, by a distribution or by a
// trace that somebody has measured, and how long they are away.
//
//	none         nobody goes
//	exponential  sessions whose end does not depend on how long they have lasted
//	weibull      with shape below 1 most sessions are short, and who has stayed for long stays longer, as
//	             has been found in one network after the other (Stutzbach and Rejaie, Understanding Churn in
//	             Peer-to-Peer Networks, IMC 2006)
//	trace        each session as long as one of a list, drawn by chance
//
// Up is the mean of sessions, of a trace its own. The time between two sessions of a node is exponential, with mean Down.
// All sessions of a run are drawn when it begins, so that who asks whether a node is up changes nothing.
//
// A Spec is what a scenario has; Draw makes a node's sessions.
package churn

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/mimid/mimid/simulations"
)

// A Spec is a model's parameters in a scenario.
type Spec struct {
	Model string               `toml:"model" doc:"none, exponential, weibull or trace"`
	Up    simulations.Duration `toml:"up" doc:"mean length of a session (exponential, weibull)"`
	Down  simulations.Duration `toml:"down" doc:"mean time between two sessions of a node"`
	Shape float64              `toml:"shape" doc:"of weibull; 1 is exponential"`
	Trace string               `toml:"trace" doc:"lengths of sessions that were measured, as in 20m 3h 1h30m; lines that begin with # are notes"`
}

// maxSessions bounds a trace, and the sessions of one node.
const maxSessions = 100_000

// Check says what is wrong with a Spec that is used for so long.
func (s Spec) Check(lasts time.Duration) error {
	up := s.Up.D()
	switch s.Model {
	case "none":
		return nil
	case "exponential":
	case "weibull":
		if !(s.Shape >= .2 && s.Shape <= 10) {
			return fmt.Errorf("churn.shape = %g must be 0.2 to 10", s.Shape)
		}
	case "trace":
		list, err := parse(s.Trace)
		if err != nil {
			return err
		}
		up = mean(list)
	default:
		return fmt.Errorf("churn.model = %q does not exist; there are none, exponential, weibull, trace", s.Model)
	}
	if up < time.Second || s.Down.D() < time.Second || up > 365*24*time.Hour || s.Down.D() > 365*24*time.Hour {
		return fmt.Errorf("churn.up = %s and churn.down = %s must be 1s to 8760h, on average", up, s.Down.D())
	}
	if n := (lasts + warm(up, s.Down.D())) / (up + s.Down.D()); n > maxSessions/10 {
		return fmt.Errorf("churn.up = %s and churn.down = %s make some %d sessions of each node, at most %d are kept", up, s.Down.D(), n, maxSessions/10)
	}
	return nil
}

// warm is for how long nodes come and go before a run begins, so that what it finds is not a beginning: a
// session that is under way is longer than most.
func warm(up, down time.Duration) time.Duration { return 20 * (up + down) }

// parse reads a trace.
func parse(text string) (out []time.Duration, err error) {
	for line := range strings.Lines(text) {
		if strings.HasPrefix(strings.TrimSpace(line), "#") {
			continue
		}
		for word := range strings.FieldsFuncSeq(line, func(r rune) bool { return r == ' ' || r == ',' || r == '\t' || r == '\n' || r == '\r' }) {
			d, err := time.ParseDuration(word)
			if err != nil || d <= 0 {
				return nil, fmt.Errorf("churn.trace: %.40q is no length of a session; write it as 20m or 1h30m", word)
			}
			if len(out) == maxSessions {
				return nil, fmt.Errorf("churn.trace has more than %d sessions", maxSessions)
			}
			out = append(out, d)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("churn.trace is empty; it is a list of lengths, as in 20m 3h 1h30m")
	}
	return out, nil
}

func mean(list []time.Duration) time.Duration {
	sum := 0.0
	for _, d := range list {
		sum += float64(d)
	}
	return time.Duration(sum / float64(len(list)))
}

// A Model draws sessions. It belongs to one goroutine.
type Model struct {
	spec  Spec
	rand  *rand.Rand
	trace []time.Duration
	up    time.Duration // mean
}

// New makes a model. The Spec must have passed Check.
func New(s Spec, r *rand.Rand) *Model {
	m := &Model{spec: s, rand: r, up: s.Up.D()}
	if s.Model == "trace" {
		m.trace, _ = parse(s.Trace) // Check has read it
		m.up = mean(m.trace)
	}
	return m
}

// Session draws the length of one.
func (m *Model) Session() time.Duration {
	switch m.spec.Model {
	case "exponential":
		return time.Duration(m.rand.ExpFloat64() * float64(m.up))
	case "weibull":
		return time.Duration(math.Pow(m.rand.ExpFloat64(), 1/m.spec.Shape) * float64(m.up) / math.Gamma(1+1/m.spec.Shape))
	case "trace":
		return m.trace[m.rand.IntN(len(m.trace))]
	default:
		return math.MaxInt64
	}
}

// Draw makes the sessions of one node from time 0 on, for so long.
func (m *Model) Draw(lasts time.Duration) Sessions {
	if m.spec.Model == "none" {
		return Sessions{{math.MinInt64, math.MaxInt64}}
	}
	down := m.spec.Down.D()
	var out Sessions
	at := -warm(m.up, down) + time.Duration(m.rand.Float64()*float64(down))
	for at < lasts {
		s := Session{at, at + m.Session()}
		at = s.End + time.Duration(m.rand.ExpFloat64()*float64(down))
		if s.End > 0 && s.End > s.Begin {
			out = append(out, s)
		}
	}
	return out
}

// A Session is a time in which a node is up: from Begin to before End.
type Session struct{ Begin, End time.Duration }

// Sessions are those of one node, in their order.
type Sessions []Session

// Up says whether the node is up.
func (s Sessions) Up(at time.Duration) bool {
	_, up := s.Of(at)
	return up
}

// Of is the session that a time falls into.
func (s Sessions) Of(at time.Duration) (Session, bool) {
	i, _ := slices.BinarySearchFunc(s, at, func(x Session, at time.Duration) int {
		if x.End <= at {
			return -1
		}
		return 1
	})
	if i < len(s) && s[i].Begin <= at {
		return s[i], true
	}
	return Session{}, false
}
