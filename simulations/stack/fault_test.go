package stack_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/mimid/mimid/simulations"
	"github.com/mimid/mimid/simulations/stack"
)

// What can happen to a hub while people go on talking, and ends: nothing that was final is lost or doubled, all logs end
// alike, what was said meanwhile is final in the end (room checks that in each run), and who could reach a majority was served.
func TestFaultsOfAHub(t *testing.T) {
	if testing.Short() {
		t.Skip("whole providers; some seconds of CPU time")
	}
	for _, c := range []struct {
		fault, set string
		providers  int
		moved      float64 // 1: the room is ordered by another one at the end, 0: by the same
		told       int     // of another hub
	}{
		{"freeze", "say = \"1s\"\nlasts = \"12s\"", 3, 1, 2},
		{"partition", "lasts = \"20s\"\nsay = \"2s\"", 5, 1, 3},
		{"slow", "say = \"1s\"\nlasts = \"12s\"\nslow = \"2s\"", 3, 1, 2},
		{"disk", "say = \"1s\"\nlasts = \"6s\"\nslow = \"100ms\"", 3, 0, 0},
		{"skew", "say = \"1s\"\nlasts = \"6s\"\nskew = \"-4m\"", 3, 0, 0},  // others take what is dated five minutes off
		{"skew", "say = \"1s\"\nlasts = \"20s\"\nskew = \"20m\"", 3, 1, 2}, // and refuse this
	} {
		t.Run(c.fault, func(t *testing.T) {
			r := run(t, fmt.Sprintf("simulation = \"room\"\nseed = 4\n[parameters]\nproviders = %d\ncalm = \"1s\"\nfault = %q\n%s\nlinks = {model = \"uniform\", low = \"10ms\", high = \"60ms\"}\n", c.providers, c.fault, c.set))
			for _, v := range r.Violations() {
				t.Error(v)
			}
			if g := of(t, r, "served"); g.Min != 1 {
				t.Errorf("%.2f of those who reached a majority were served", g.Min)
			}
			if g := of(t, r, "moved"); g.Min != c.moved {
				t.Errorf("the hub is another one: %g, want %g", g.Min, c.moved)
			}
			if g := of(t, r, "back"); g.Count != 1 {
				t.Errorf("%d members of the hub were served after it", g.Count)
			}
			if c.told > 0 {
				if g := of(t, r, "told"); g.Count != c.told {
					t.Errorf("%d of the others were told of another hub, want %d", g.Count, c.told)
				}
			}
			show(t, r)
		})
	}
}

func show(t *testing.T, r *simulations.Result) {
	t.Helper()
	for _, g := range r.Groups() {
		t.Logf("%-10s %5d  min %8.1f p50 %8.1f p95 %8.1f max %8.1f", g.Metric, g.Count, g.Min, g.P50, g.P95, g.Max)
	}
}

func TestRoomMistakes(t *testing.T) {
	for text, want := range map[string]string{
		`fault = "fire"`: "parameters.fault", `slow = "0s"`: "parameters.slow", `skew = "25h"`: "parameters.skew", `providers = 1`: "parameters.providers",
		"providers = 2\nfault = \"kill\"": "nobody could take over", `suspect = "1ms"`: "parameters.suspect", `lasts = "1ms"`: "parameters.lasts", `say = "1ms"`: "parameters.say",
	} {
		_, err := simulations.Parse([]byte("simulation = \"room\"\n[parameters]\n"+text), "x", []simulations.Simulation{stack.Room()})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want one with %q", text, err, want)
		}
	}
}
