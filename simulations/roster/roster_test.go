package roster

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/mimid/mimid/protocol/onion"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/simulations"
	"github.com/mimid/mimid/simulations/engine"
)

func groups(t *testing.T, text string) []simulations.Group {
	t.Helper()
	s, err := simulations.Parse([]byte("simulation = \"roster\"\n[parameters]\nlasts = \"168h\"\n"+text), "x", []simulations.Simulation{Simulation()})
	if err != nil {
		t.Fatal(err)
	}
	r := s.Execute(t.Context(), nil)
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	if v := r.Violations(); len(v) > 0 {
		t.Fatal(v)
	}
	return r.Groups()
}

func find(t *testing.T, all []simulations.Group, metric, of string) simulations.Group {
	t.Helper()
	for _, g := range all {
		if g.Metric == metric && g.Label("of") == of {
			return g
		}
	}
	t.Fatalf("no %s of %q", metric, of)
	panic("unreachable")
}

// TestLevels: what the hub learns at each level. Names and senders of all at level open; at level pseudonymous no name, but which pseudonym
// writes, and by that whom it has seen in another room; at level onion neither, beyond what guessing gives.
func TestLevels(t *testing.T) {
	for _, c := range []struct {
		level                                string
		named, sender, provider, least, most float64
	}{
		{open, 1, 1, 1, 1, 1},
		{pseudonymous, 0, 1, 1, .5, 1},
		{onionLevel, 0, 1. / 30, .12, 0, 0},
	} {
		all := groups(t, fmt.Sprintf("level = %q\n", c.level))
		linked, chance := find(t, all, "linked", "measured").Mean, find(t, all, "linked", "chance").Mean
		t.Logf("%s: named %.2f, sender %.3f, provider %.3f, linked %.2f (by chance %.2f), late %.0f ms, %.0f octets", c.level, find(t, all, "named", "").Mean,
			find(t, all, "sender", "").Mean, find(t, all, "provider", "").Mean, linked, chance, find(t, all, "late", "").P50, find(t, all, "octets", "").P50)
		if c.most == 0 {
			c.least, c.most = max(0, chance-.25), chance+.25
		}
		if got := find(t, all, "named", "").Mean; got != c.named {
			t.Errorf("%s: %.2f are named", c.level, got)
		}
		if got := find(t, all, "sender", "").Mean; math.Abs(got-c.sender) > .01 {
			t.Errorf("%s: the sender of %.3f is named, want %.3f", c.level, got, c.sender)
		}
		if got := find(t, all, "provider", "").Mean; math.Abs(got-c.provider) > .05 {
			t.Errorf("%s: the provider of %.3f is named, want %.3f", c.level, got, c.provider)
		}
		if linked < c.least || linked > c.most {
			t.Errorf("%s: %.2f are recognised, by chance %.2f", c.level, linked, chance)
		}
		if octets := find(t, all, "octets", ""); (octets.Min == octets.Max) != (c.level == onionLevel) {
			t.Errorf("%s: %g to %g octets", c.level, octets.Min, octets.Max)
		} else if c.level == onionLevel && int(octets.Max) != (onion.Format{Suite: onion.X25519, Class: onion.Class8K}).PacketSize() {
			t.Errorf("%g octets are no packet", octets.Max)
		}
	}
}

// TestHabits: who writes at all hours is recognised by chance only.
func TestHabits(t *testing.T) {
	all := groups(t, "level = \"pseudonymous\"\nhabit = \"24h\"\nrooms = 40\n")
	linked, chance := find(t, all, "linked", "measured"), find(t, all, "linked", "chance")
	if math.Abs(linked.Mean-chance.Mean) > .15 {
		t.Errorf("%.2f are recognised, by chance %.2f", linked.Mean, chance.Mean)
	}
}

// TestNothingElseIsSent: above level open nothing that the hub gets has a user's name in it, and at level onion no request names who writes, or the
// provider.
func TestNothingElseIsSent(t *testing.T) {
	for _, level := range []string{open, pseudonymous, onionLevel} {
		p := Parameters{Level: level, Providers: 3, Users: 4, Rooms: 2, Members: 6, Rate: 1, Habit: simulations.Duration(time.Hour), Lasts: simulations.Duration(time.Hour), Size: 100}
		e := engine.New(1)
		w, err := newWorld(e, p, newCheck(&simulations.Run{}, p), planted{})
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range w.rooms {
			for _, u := range x.members {
				name := strings.TrimPrefix(u.name, "mimi://"+u.provider+"/u/")
				for _, s := range w.hub.rooms[x.uri].list {
					if got := strings.HasSuffix(s.String(), "/"+name) && s.Provider().Domain() == u.provider; got && level != open {
						t.Errorf("%s: %s is on the list", level, s)
					}
				}
			}
		}
		x, u := w.rooms[0], w.rooms[0].members[0]
		w.write(x, u)
		e.Run(time.Minute)
		if w.err != nil || w.messages != 1 {
			t.Fatalf("%s: %d messages, %v", level, w.messages, w.err)
		}
		knows := len(w.hub.rooms[x.uri].at) // participants of whom it knows when they write
		if (knows == 1) != (level != onionLevel) {
			t.Errorf("%s: the hub knows of %d participants when they write", level, knows)
		}
	}
}

// TestAgain by hand.
func TestAgain(t *testing.T) {
	parse := func(s string) uri.URI {
		u, err := uri.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	a, b, c, far := parse("mimi://x.example/p/a"), parse("mimi://x.example/p/b"), parse("mimi://x.example/p/c"), parse("mimi://y.example/p/d")
	name := parse("mimi://x.example/u/a")
	early, late := &[24]float64{8: 5, 9: 2}, &[24]float64{20: 5}
	one := &seen{list: []uri.URI{a, name}, at: map[string]*[24]float64{a.String(): early}}
	two := &seen{list: []uri.URI{b, c, far}, at: map[string]*[24]float64{b.String(): late, c.String(): {7: 1, 8: 3}, far.String(): early}}
	if is, ok := one.again(a, two); !ok || is != c.String() {
		t.Errorf("%q %t", is, ok)
	}
	if is, ok := one.again(name, two); ok {
		t.Errorf("who has a name is %q", is)
	}
	two.list = append(two.list, name)
	if is, ok := one.again(name, two); !ok || is != name.String() {
		t.Errorf("who has a name is %q", is)
	}
	one.at = map[string]*[24]float64{}
	if is, ok := one.again(a, two); ok {
		t.Errorf("who has written nothing is %q", is)
	}
}

func TestCheck(t *testing.T) {
	for text, want := range map[string]string{
		"level = \"mine\"":  "parameters.level",
		"providers = 1":     "parameters.providers = 1",
		"rooms = 1":         "parameters.rooms = 1",
		"members = 900":     "parameters.members = 900",
		"rate = 900.0":      "parameters.rate = 900",
		"habit = \"1s\"":    "parameters.habit",
		"size = 1":          "parameters.size = 1",
		"delay = \"1h\"":    "parameters.delay",
		"lasts = \"9000h\"": "parameters.lasts",
	} {
		_, err := simulations.Parse([]byte("simulation = \"roster\"\n[parameters]\n"+text+"\n"), "x", []simulations.Simulation{Simulation()})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}
