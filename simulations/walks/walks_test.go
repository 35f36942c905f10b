package walks_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/mimid/mimid/overlay"
	"github.com/mimid/mimid/simulations/walks"
)

// A check finds each thing that a walk may not do, and nothing in one that is as it should be.
func TestCheck(t *testing.T) {
	ids := func(n int) (out []overlay.PeerID) {
		for i := range n {
			out = append(out, overlay.PeerID(fmt.Sprint("node ", i)))
		}
		return out
	}
	asked := func(c *walks.Check, n int, announcers ...overlay.PeerID) {
		for _, p := range ids(n) {
			c.Asked(p)
		}
		for _, p := range ids(n) {
			c.Answered(p, announcers)
		}
	}
	for _, x := range []struct {
		name, want string // of a violation; empty: none
		walk       func(c *walks.Check)
	}{
		{"a walk", "", func(c *walks.Check) {
			asked(c, overlay.WalkAsked, "self", "a", "b", "c")
			c.Named([]overlay.PeerID{"a"})
			c.Named([]overlay.PeerID{"b"})
			c.Over()
			c.Holders(ids(overlay.WalkHolders))
		}},
		{"asks its own node", "its own node", func(c *walks.Check) { c.Asked("self") }},
		{"asks twice", "twice", func(c *walks.Check) { asked(c, 1); asked(c, 1) }},
		{"asks too many", "more than 96 nodes", func(c *walks.Check) { asked(c, overlay.WalkAsked+1) }},
		{"names whom nobody has named", "whom nobody has named", func(c *walks.Check) { asked(c, 1, "a"); c.Named([]overlay.PeerID{"x"}) }},
		{"names itself", "whom nobody has named", func(c *walks.Check) { asked(c, 1, "self"); c.Named([]overlay.PeerID{"self"}) }},
		{"names twice", "names \"a\" twice", func(c *walks.Check) { asked(c, 1, "a"); c.Named([]overlay.PeerID{"a", "a"}) }},
		{"names too many", "more than 2 announcers", func(c *walks.Check) { asked(c, 1, "a", "b", "c"); c.Named([]overlay.PeerID{"a", "b", "c"}) }},
		{"keeps one back", "has named 1 announcers", func(c *walks.Check) { asked(c, 1, "a", "b"); c.Named([]overlay.PeerID{"a"}); c.Over() }},
		{"has one hold a record who has not answered", "has not answered", func(c *walks.Check) { c.Asked("node 0"); c.Holders(ids(1)) }},
		{"has one hold a record twice", "goes to \"node 0\" twice", func(c *walks.Check) { asked(c, 1); c.Holders(append(ids(1), ids(1)...)) }},
		{"has too many hold a record", "are to hold it", func(c *walks.Check) { asked(c, 40); c.Holders(ids(overlay.WalkHolders + 1)) }},
		{"has too few hold a record", "only, of 40", func(c *walks.Check) { asked(c, 40); c.Holders(ids(overlay.WalkHolders - 1)) }},
	} {
		var found []string
		x.walk(walks.New("self", 2, func(format string, args ...any) { found = append(found, fmt.Sprintf(format, args...)) }))
		if v := strings.Join(found, "\n"); x.want == "" && v != "" || !strings.Contains(v, x.want) {
			t.Errorf("a walk that %s: found %q, want %q", x.name, v, x.want)
		}
	}
}
