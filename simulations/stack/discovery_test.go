package stack_test

import "testing"

// Real nodes find who announces a key, also after a third of them has fallen silent; who searches
// has asked somebody, or has had the answer.
func TestDiscovery(t *testing.T) {
	r := run(t, "simulation = \"discovery\"\nseed = 4\n[parameters]\nnodes = 9\nkeys = 2\nsearches = 4\ndead = 0.3\nsettle = \"5s\"\nlinks = {model = \"uniform\", low = \"10ms\", high = \"60ms\"}\n")
	phases := 0
	for _, g := range r.Groups() {
		switch g.Metric {
		case "found":
			phases++
			if g.Count != 4 || g.Min != 1 {
				t.Errorf("%v: of %d searches the worst found %g", g.Labels, g.Count, g.Min)
			}
		case "hops", "latency":
			if g.Count != 4 {
				t.Errorf("%s, %v: %d observed", g.Metric, g.Labels, g.Count)
			}
		}
	}
	if phases != 2 {
		t.Errorf("%d phases were observed, want one before the deaths and one after", phases)
	}
}
