package node

import (
	"strings"
	"testing"

	"github.com/mimid/mimid/node/admin"
	"github.com/mimid/mimid/overlay"
)

func TestJudgeCrowd(t *testing.T) {
	for name, c := range map[string]struct {
		list    []overlay.Region
		outcome admin.Outcome
		found   string
	}{
		"nothing announced": {nil, admin.Good, "no identifiers"},
		"small":             {[]overlay.Region{{Nodes: 7, Expected: 30, All: true}}, admin.Good, "too small"},
		"as expected":       {[]overlay.Region{{Nodes: 28, Expected: 30}, {Nodes: 41, Expected: 30}}, admin.Good, "at most 41 nodes; some 30"},
		"one crowded":       {[]overlay.Region{{Nodes: 28, Expected: 30}, {Nodes: 77, Expected: 30}, {Nodes: 30, Expected: 30}}, admin.Note, "around 1 of 3 announced keys there are up to 77 nodes, and some 30"},
	} {
		if got := judgeCrowd(c.list); got.Outcome != c.outcome || !strings.Contains(got.Found, c.found) || got.Part != "crowding" {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
