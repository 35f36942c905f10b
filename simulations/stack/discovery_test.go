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

// Providers end and begin again while others search, and all searches for who is there find it.
func TestDiscoveryUnderChurn(t *testing.T) {
	r := run(t, "simulation = \"discovery\"\nseed = 5\n[parameters]\nnodes = 9\nkeys = 2\nsearches = 6\ndead = 0.0\nsettle = \"5s\"\nlasts = \"20m\"\n"+
		"churn = {model = \"exponential\", up = \"10m\", down = \"5m\"}\nlinks = {model = \"uniform\", low = \"10ms\", high = \"60ms\"}\n")
	for _, v := range r.Violations() {
		t.Error(v)
	}
	tide := false
	for _, g := range r.Groups() {
		t.Logf("%-10s %v %5d  min %8.1f p50 %8.1f max %8.1f", g.Metric, g.Labels, g.Count, g.Min, g.P50, g.Max)
		switch {
		case g.Metric == "found" && g.Labels[0].Value == "coming and going":
			tide = true
			if g.Count < 3 || g.Min != 1 {
				t.Errorf("of %d searches while nodes came and went the worst found %g", g.Count, g.Min)
			}
		case g.Metric == "back" && (g.Count < 4 || g.Max > 30_000):
			t.Errorf("%d nodes came back, the last after %.0f ms", g.Count, g.Max)
		case g.Metric == "online" && (g.Min > 7 || g.Max < 7):
			t.Errorf("%.0f to %.0f of 9 were there, and two of three are on average", g.Min, g.Max)
		}
	}
	if !tide {
		t.Error("nobody searched while nodes came and went")
	}
}
