package interop

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestDifferential lets groups of our engine, ts-mls and mls-go live at random,
// created by ours, and compares everybody with everybody and with our server
// at every epoch (world.agree). Ours are stored and loaded at random.
//
// mls-go has no observer that one could compare with our server. Its view of
// the public state is compared all the same: each of its commits comes with a
// GroupInfo and ratchet tree of its own making, which our server takes only if
// they equal what it computed; and so do those of ts-mls.
func TestDifferential(t *testing.T) {
	for _, suite := range []uint16{1, 2, 3} {
		t.Run(fmt.Sprintf("suite%d", suite), func(t *testing.T) {
			t.Parallel()
			d := sharedDriver(t, suite)
			run, notes := 0, map[string]int{}
			rapid.Check(t, func(rt *rapid.T) {
				run++
				l := &life{rt: rt, world: &world{t: rt, d: d, suite: suite, prefix: fmt.Sprintf("%s %d ", t.Name(), run)}}
				l.excuse = func(m member, err error) bool {
					for _, k := range known {
						if m.kind() == k.kind && strings.Contains(err.Error(), k.text) {
							notes[k.kind+": "+k.text]++
							return true
						}
					}
					return false
				}
				creator := l.client("ours", "creator")
				l.check(creator.addPSK(psk, pskSecret))
				l.create(creator)
				for range rapid.IntRange(8, 20).Draw(rt, "steps") {
					l.step()
				}
			})
			for note, n := range notes {
				t.Logf("%d members dropped: %s", n, note)
			}
		})
	}
}

// known are the refusals that are defects of the others.
var known = []struct{ kind, text string }{
	{"ts-mls", "unmerged_leaves"}, // X4, RFC 9420 section 12.4.3.1
}

var psk, pskSecret = []byte("psk"), bytes.Repeat([]byte{1}, 32)

type life struct {
	*world
	rt    *rapid.T
	names int
}

func (l *life) fresh() member {
	l.names++
	m := l.client(rapid.SampledFrom([]string{"ours", "ts-mls", "mls-go"}).Draw(l.rt, "kind"), fmt.Sprint(l.names))
	l.check(m.addPSK(psk, pskSecret))
	return m
}

func (l *life) any(label string) member {
	return l.members[rapid.IntRange(0, len(l.members)-1).Draw(l.rt, label)]
}

func (l *life) step() {
	w, rt := l.world, l.rt
	for _, m := range l.members {
		if m, ok := m.(*ourMember); ok && rapid.IntRange(0, 3).Draw(rt, "restart") == 0 {
			l.check(m.restart())
		}
	}
	l.agree()
	by := l.any("by")
	// Whoever fell out by a defect of its own has a leaf still.
	var o commitOptions
	for _, leaf := range l.dead {
		o.proposals = append(o.proposals, Proposal{Remove: &leaf})
	}
	if len(l.dead) > 0 {
		l.dead = nil
		l.commit(by, o)
		return
	}
	op := rapid.SampledFrom([]string{"add", "add", "add several", "commit", "commit", "remove", "update", "propose", "external", "psk", "talk"}).Draw(rt, "op")
	switch n := len(l.members); {
	case n >= 8 && (op == "add" || op == "add several" || op == "external" || op == "propose"):
		op = "remove"
	case n < 3 && (op == "remove" || op == "update"):
		op = "add"
	}
	switch op {
	case "add":
		l.add(by, false, l.fresh())
	case "add several":
		who := []member{l.fresh()}
		for len(who)+len(l.members) < 8 && len(who) < 3 {
			who = append(who, l.fresh())
		}
		l.add(by, false, who...)
	case "commit":
		l.commit(by, o)
	case "remove":
		of := l.members[(slices.Index(l.members, by)+1)%len(l.members)]
		l.commit(by, commitOptions{proposals: []Proposal{{Remove: l.leaf(of)}}})
	case "update":
		of := l.members[(slices.Index(l.members, by)+1)%len(l.members)]
		l.propose(of, Proposal{Update: true}, false, nil)
		if !slices.Contains(l.members, by) {
			by = of
		}
		l.commit(by, o)
	case "propose":
		who := l.fresh()
		from := l.any("from")
		l.propose(from, Proposal{Add: made[[]byte](w)(who.keyPackage())}, false, nil)
		l.welcome(l.commit(by, o), false, who)
	case "external":
		who := l.fresh()
		if rapid.Bool().Draw(rt, "back") && len(l.members) > 1 && by.kind() == "ours" {
			who = by.again()
		}
		from := l.any("from")
		if from == by && who.name() == by.name() {
			from = l.members[(slices.Index(l.members, by)+1)%len(l.members)]
		}
		var eo externalOptions
		if who.name() == by.name() {
			eo.replace = l.leaf(by)
		}
		c, err := who.externalJoin(made[[]byte](w)(from.groupInfo(true)), nil, eo)
		if err != nil {
			if !l.excuse(who, err) {
				rt.Fatalf("external join of %s (%s): %v", who.name(), who.kind(), err)
			}
			return
		}
		l.committed(who, c, nil)
	case "psk":
		l.commit(by, commitOptions{proposals: []Proposal{{PSK: &PSK{ID: psk}}}})
	}
	l.talk(l.any("speaker"), op, []byte("aad"))
}
