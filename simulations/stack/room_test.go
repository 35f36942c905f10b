package stack_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/mimid/mimid/simulations"
	"github.com/mimid/mimid/simulations/links"
	"github.com/mimid/mimid/simulations/stack"
	"github.com/mimid/mimid/simulations/virtual"
)

// A room of whole providers loses its hub: all that is promised holds, everybody who is left is served again,
// not before the silence after which a provider is taken for dead.
func TestRoomLosesItsHub(t *testing.T) {
	r := run(t, "simulation = \"room\"\nseed = 2\n[parameters]\nproviders = 3\ncalm = \"10s\"\nlasts = \"15s\"\nlinks = {model = \"uniform\", low = \"10ms\", high = \"60ms\"}\n")
	for _, v := range r.Violations() {
		t.Error(v)
	}
	if g := of(t, r, "served"); g.Min != 1 {
		t.Errorf("%.2f of the members who are left were served again", g.Min)
	}
	// A provider is silent from its last sign of life on, which is at most two fifths of suspect before the fault.
	if g := of(t, r, "told"); g.Count != 2 || g.Min < 600 {
		t.Errorf("%d were told of another hub, the first after %.0f ms", g.Count, g.Min)
	}
	if g := of(t, r, "service"); g.Count != 2 || g.Min < 600 {
		t.Errorf("%d were served, the first after %.0f ms", g.Count, g.Min)
	}
	sent, read := of(t, r, "final"), of(t, r, "read")
	if sent.Count < 5 || read.Count < sent.Count || read.Min < 10 {
		t.Errorf("%d messages were read %d times, the first after %.1f ms", sent.Count, read.Count, read.Min)
	}
	if g := of(t, r, "stretch"); g.Min < 1 {
		t.Errorf("a message took %.2f of the shortest way", g.Min)
	}
	for _, g := range r.Groups() {
		t.Logf("%-10s %5d  min %8.1f p50 %8.1f p95 %8.1f max %8.1f", g.Metric, g.Count, g.Min, g.P50, g.P95, g.Max)
	}
}

// Where a message takes a tenth of a second, four candidates for a dead hub's place end each other's elections unless each
// waits longer and longer: the room would stand still for ever.
func TestElectionOverLongWays(t *testing.T) {
	if testing.Short() {
		t.Skip("takes ten seconds of CPU time")
	}
	r := run(t, "simulation = \"room\"\nseed = 2\n[parameters]\nproviders = 5\nsay = \"1s\"\ncalm = \"5s\"\nlasts = \"20s\"\nlinks = {model = \"fixed\", low = \"100ms\"}\n")
	for _, v := range r.Violations() {
		t.Error(v)
	}
	if g := of(t, r, "served"); g.Min != 1 {
		t.Errorf("%.2f of the members who are left were served again", g.Min)
	}
}

// A hub that is cut off and comes back finds another one: what its own member said meanwhile is final in the end, and
// everybody has everything once.
func TestIsolatedHubComesBack(t *testing.T) {
	r := run(t, "simulation = \"room\"\nseed = 1\n[parameters]\nproviders = 4\ncalm = \"5s\"\nlasts = \"15s\"\nfault = \"isolate\"\nlinks = {model = \"uniform\", low = \"10ms\", high = \"60ms\"}\n")
	for _, v := range r.Violations() {
		t.Error(v)
	}
	if g := of(t, r, "served"); g.Min != 1 {
		t.Errorf("%.2f of the others were served while the hub was away", g.Min)
	}
	if g := of(t, r, "told"); g.Count != 3 {
		t.Errorf("%d of the others know another hub", g.Count)
	}
}

// A room that cannot come to be, as a provider stands still, ends the run: virtual time would go on for ever.
func TestRoomThatDoesNotForm(t *testing.T) {
	virtual.Bubble(t, func() {
		took, err := stack.FormFrozen(context.Background(), links.Spec{Model: "fixed", Low: simulations.Duration(20 * time.Millisecond)})
		if err == nil || !strings.Contains(err.Error(), "no room of 2 providers has come to be within 10m0s of virtual time") {
			t.Errorf("after %s: %v", took, err)
		}
	})
}
